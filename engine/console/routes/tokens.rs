//! API tokens: everybody's own, and all of them for who manages users.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Shared, blocking, time};
use crate::console::extract::{ApiJson, ApiPath};
use crate::console::viewer::Viewer;
use crate::control::users::{ApiToken, NewToken, Permission, Scope};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove))
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    id: i64,
    user: String,
    name: String,
    scopes: Vec<Scope>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    last_used_at: Option<String>,
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
}

impl From<ApiToken> for TokenView {
    fn from(token: ApiToken) -> TokenView {
        let ApiToken { id, user, name, scopes, created_ns, last_used_ns, expires_ns } = token;
        let (last_used_at, expires_at) = (last_used_ns.map(time), expires_ns.map(time));
        TokenView { id, user, name, scopes, created_at: time(created_ns), last_used_at, expires_at }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
struct TokensView {
    tokens: Vec<TokenView>,
}

/// One's own tokens, or all of them for who manages users; newest first.
#[utoipa::path(get, path = "/api/tokens", tag = "tokens", responses(
    (status = 200, description = "The tokens, without their secrets", body = TokensView)))]
async fn list(State(services): State<Shared>, viewer: Viewer) -> Result<Json<TokensView>, ApiError> {
    let users = Arc::clone(&services.users);
    let of = (!viewer.has(Permission::ManageUsers)).then(|| viewer.name.clone());
    let tokens = blocking(move || Ok(users.tokens(of.as_deref())?)).await?;
    Ok(Json(TokensView { tokens: tokens.into_iter().map(TokenView::from).collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTokenBody {
    /// What it is for, in words.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// A time to come; left out or null: it does not expire.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
}

/// A token with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewToken)]
struct NewTokenView {
    #[serde(flatten)]
    made: TokenView,
    /// The secret.
    token: String,
}

/// Makes a token of one's own.
#[utoipa::path(post, path = "/api/tokens", tag = "tokens", request_body = NewTokenBody, responses(
    (status = 201, description = "Made; its secret is shown this once", body = NewTokenView),
    (status = 409, description = "There are too many", body = ErrorBody)))]
async fn add(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(body): ApiJson<NewTokenBody>,
) -> Result<(StatusCode, Json<NewTokenView>), ApiError> {
    // A token that makes others would outlive its own end.
    viewer.needs_session()?;
    let NewTokenBody { name, scopes, expires_at } = body;
    let expires_ns = match expires_at {
        Some(text) => {
            let wrong = || ApiError::field("expires_at", "expires_at: expected a time such as 2027-01-01T00:00:00Z");
            let at: Timestamp = text.parse().map_err(|_| wrong())?;
            Some(i64::try_from(at.as_nanosecond()).map_err(|_| wrong())?)
        }
        None => None,
    };
    let (users, new) = (Arc::clone(&services.users), NewToken { name, scopes, expires_ns });
    let made = move || Ok(users.add_token(&viewer.actor(), &viewer.name, &new, clock::machine_ns())?);
    let (made, secret) = blocking(made).await?;
    Ok((StatusCode::CREATED, Json(NewTokenView { made: made.into(), token: secret.show().to_string() })))
}

/// Removes a token: whoever shows it is not let in any more.
#[utoipa::path(delete, path = "/api/tokens/{id}", tag = "tokens", params(("id" = i64, Path)), responses(
    (status = 204, description = "Removed"),
    (status = 404, description = "There is none, or it is another's", body = ErrorBody)))]
async fn remove(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiPath(id): ApiPath<i64>,
) -> Result<StatusCode, ApiError> {
    let users = Arc::clone(&services.users);
    blocking(move || Ok(users.remove_token(&viewer.actor(), id, clock::machine_ns())?)).await?;
    Ok(StatusCode::NO_CONTENT)
}
