//! Signing in and out, the first administrator, and what users change of their own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users::UserView;
use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Services, Shared, blocking, time};
use crate::console::extract::ApiJson;
use crate::console::viewer::{COOKIE, Peer, Viewer};
use crate::control::users::{Hidden, SignIn, SignedIn};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(session, sign_in, sign_out))
        .routes(routes!(first_run))
        .routes(routes!(change_password))
        .routes(routes!(enrol, confirm, remove_factor))
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    user: UserView,
    /// For the header `X-CSRF-Token`; null for a token, which needs none.
    #[schema(required)]
    csrf_token: Option<String>,
    /// When it ends at the latest.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
}

impl SessionView {
    fn new(signed_in: &SignedIn) -> SessionView {
        let (user, csrf_token) = (UserView::new(&signed_in.user), signed_in.csrf.clone());
        SessionView { user, csrf_token, expires_at: signed_in.expires_ns.map(time) }
    }
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/session", tag = "session", responses(
    (status = 200, description = "Who is signed in", body = SessionView)))]
async fn session(
    State(services): State<Shared>,
    viewer: Result<Viewer, ApiError>,
) -> Result<Json<SessionView>, ApiError> {
    match viewer {
        Ok(viewer) => Ok(Json(SessionView::new(&viewer.signed_in))),
        Err(error) => {
            let users = Arc::clone(&services.users);
            if blocking(move || Ok(users.first_run_pending()?)).await? {
                let problem = "there is no administrator yet: use the link that the engine printed when it started";
                return Err(ApiError::new(StatusCode::UNAUTHORIZED, "first_run_pending", problem));
            }
            Err(error)
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInBody {
    #[schema(max_length = 256)]
    name: String,
    #[schema(value_type = String, format = Password)]
    password: Hidden,
    /// Six digits, where there is a second factor.
    #[schema(value_type = Option<String>)]
    code: Option<Hidden>,
}

/// Signs in.
#[utoipa::path(post, path = "/api/session", tag = "session", security(()), request_body = SignInBody, responses(
    (status = 200, description = "Signed in; the cookie is set", body = SessionView),
    (status = 401, description = "Something of it is not right, or a code is needed", body = ErrorBody),
    (status = 403, description = "The account is disabled", body = ErrorBody),
    (status = 429, description = "Too many wrong passwords", body = ErrorBody, headers(("Retry-After" = u64)))))]
async fn sign_in(
    State(services): State<Shared>,
    Peer(address): Peer,
    ApiJson(body): ApiJson<SignInBody>,
) -> Result<impl IntoResponse, ApiError> {
    let SignInBody { name, password, code } = body;
    let who = SignIn { name, password, code, address };
    let (id, signed_in) = hashing(&services, move |s| Ok(s.users.sign_in(&who, clock::machine_ns())?)).await?;
    Ok((set_cookie(&services, &id, &signed_in), Json(SessionView::new(&signed_in))))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/session", tag = "session", responses((status = 204, description = "Signed out")))]
async fn sign_out(State(services): State<Shared>, viewer: Viewer) -> Result<impl IntoResponse, ApiError> {
    viewer.needs_session()?;
    let users = Arc::clone(&services.users);
    blocking(move || Ok(users.sign_out(&viewer.signed_in, viewer.address, clock::machine_ns())?)).await?;
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", secure(&services));
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(header::SET_COOKIE, gone)])))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstRunBody {
    /// What the link has behind the `#`.
    #[schema(value_type = String, format = Password)]
    token: Hidden,
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    name: String,
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    password: Hidden,
}

/// Makes the first administrator.
#[utoipa::path(post, path = "/api/first-run", tag = "session", security(()), request_body = FirstRunBody, responses(
    (status = 201, description = "Made and signed in; the cookie is set", body = SessionView),
    (status = 403, description = "Not the link that was printed", body = ErrorBody),
    (status = 409, description = "There is an administrator, or a user of this name", body = ErrorBody)))]
async fn first_run(
    State(services): State<Shared>,
    Peer(address): Peer,
    ApiJson(body): ApiJson<FirstRunBody>,
) -> Result<impl IntoResponse, ApiError> {
    let FirstRunBody { token, name, password } = body;
    let made = move |s: &Services| Ok(s.users.first_run(&token, &name, &password, address, clock::machine_ns())?);
    let (id, signed_in) = hashing(&services, made).await?;
    Ok((StatusCode::CREATED, set_cookie(&services, &id, &signed_in), Json(SessionView::new(&signed_in))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    #[schema(value_type = String, format = Password)]
    current: Hidden,
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    new: Hidden,
}

/// Changes one's own password; one's other sessions end.
#[utoipa::path(post, path = "/api/session/password", tag = "session", request_body = PasswordBody, responses(
    (status = 204, description = "Changed"),
    (status = 429, description = "Too many wrong passwords", body = ErrorBody, headers(("Retry-After" = u64)))))]
async fn change_password(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(body): ApiJson<PasswordBody>,
) -> Result<StatusCode, ApiError> {
    viewer.needs_session()?;
    let changed = move |s: &Services| {
        let (current, new, now_ns) = (&body.current, &body.new, clock::machine_ns());
        Ok(s.users.change_password(&viewer.signed_in, current, new, viewer.address, now_ns)?)
    };
    hashing(&services, changed).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AgainBody {
    #[schema(value_type = String, format = Password)]
    password: Hidden,
}

/// What an authenticator app is given, once.
#[derive(Serialize, ToSchema)]
struct EnrolmentView {
    /// In base 32.
    secret: String,
    /// The same as a link.
    uri: String,
}

/// Begins a second factor; it counts once a code confirms it.
#[utoipa::path(post, path = "/api/session/totp", tag = "session", request_body = AgainBody, responses(
    (status = 200, description = "What the authenticator app is given", body = EnrolmentView),
    (status = 409, description = "There is one already", body = ErrorBody),
    (status = 429, description = "Too many wrong passwords", body = ErrorBody, headers(("Retry-After" = u64)))))]
async fn enrol(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(AgainBody { password }): ApiJson<AgainBody>,
) -> Result<Json<EnrolmentView>, ApiError> {
    viewer.needs_session()?;
    let begun =
        move |s: &Services| Ok(s.users.enrol(&viewer.signed_in, &password, viewer.address, clock::machine_ns())?);
    let enrolment = hashing(&services, begun).await?;
    let (secret, uri) = (enrolment.secret.show().to_string(), enrolment.uri.show().to_string());
    Ok(Json(EnrolmentView { secret, uri }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    /// Six digits.
    #[schema(value_type = String)]
    code: Hidden,
}

/// Confirms the second factor by a code: from now on signing in takes one.
#[utoipa::path(put, path = "/api/session/totp", tag = "session", request_body = CodeBody, responses(
    (status = 204, description = "It is on"),
    (status = 409, description = "None was begun", body = ErrorBody),
    (status = 429, description = "Too many wrong codes", body = ErrorBody, headers(("Retry-After" = u64)))))]
async fn confirm(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(CodeBody { code }): ApiJson<CodeBody>,
) -> Result<StatusCode, ApiError> {
    viewer.needs_session()?;
    let confirmed =
        move |s: &Services| Ok(s.users.confirm(&viewer.signed_in, &code, viewer.address, clock::machine_ns())?);
    hashing(&services, confirmed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes one's second factor away.
#[utoipa::path(delete, path = "/api/session/totp", tag = "session", request_body = AgainBody, responses(
    (status = 204, description = "It is off"),
    (status = 429, description = "Too many wrong passwords", body = ErrorBody, headers(("Retry-After" = u64)))))]
async fn remove_factor(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(AgainBody { password }): ApiJson<AgainBody>,
) -> Result<StatusCode, ApiError> {
    viewer.needs_session()?;
    let removed = move |s: &Services| {
        Ok(s.users.remove_factor(&viewer.signed_in, &password, viewer.address, clock::machine_ns())?)
    };
    hashing(&services, removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What hashes a password takes memory and time: a few at once, the others wait.
pub(super) async fn hashing<T: Send + 'static>(
    services: &Shared,
    work: impl FnOnce(&Services) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let _turn = services.hashing.acquire().await.map_err(ApiError::internal)?;
    let services = Arc::clone(services);
    blocking(move || work(&services)).await
}

fn secure(services: &Services) -> &'static str {
    if services.reach.behind_proxy { "; Secure" } else { "" }
}

fn set_cookie(
    services: &Services,
    id: &Hidden,
    signed_in: &SignedIn,
) -> AppendHeaders<[(header::HeaderName, String); 1]> {
    let seconds = signed_in.expires_ns.map_or(0, |ns| (ns - clock::machine_ns()) / 1_000_000_000);
    let cookie =
        format!("{COOKIE}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{}", id.show(), secure(services));
    AppendHeaders([(header::SET_COOKIE, cookie)])
}
