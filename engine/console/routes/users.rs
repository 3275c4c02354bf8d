//! Users, and who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::session::hashing;
use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Paging, Services, Shared, blocking, time};
use crate::console::extract::{ApiJson, ApiPath, ApiQuery};
use crate::console::viewer::Viewer;
use crate::control::users::{AuditEntry, AuditFilter, Change, Hidden, NewUser, Permission, Role, User};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(edit, remove)).routes(routes!(audit))
}

/// A user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    name: String,
    role: Role,
    /// Of staff.
    permissions: Vec<Permission>,
    disabled: bool,
    /// Whether they have a second factor.
    totp: bool,
    /// Globs of the global sources they may read; null: all.
    #[schema(required)]
    sources: Option<Vec<String>>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    last_signed_in_at: Option<String>,
}

impl UserView {
    pub(super) fn new(user: &User) -> UserView {
        UserView {
            name: user.name.clone(),
            role: user.role,
            permissions: user.permissions.clone(),
            disabled: user.disabled,
            totp: user.totp,
            sources: user.sources.clone(),
            created_at: time(user.created_ns),
            last_signed_in_at: user.last_signed_in_ns.map(time),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Users)]
struct UsersView {
    users: Vec<UserView>,
}

/// All users, by name.
#[utoipa::path(get, path = "/api/users", tag = "users", responses(
    (status = 200, description = "All users", body = UsersView)))]
async fn list(State(services): State<Shared>, viewer: Viewer) -> Result<Json<UsersView>, ApiError> {
    viewer.needs(Permission::ManageUsers)?;
    let users = Arc::clone(&services.users);
    let all = blocking(move || Ok(users.list()?)).await?;
    Ok(Json(UsersView { users: all.iter().map(UserView::new).collect() }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUserBody {
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    name: String,
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 256)]
    password: Hidden,
    role: Role,
    /// For staff.
    #[serde(default)]
    permissions: Vec<Permission>,
    /// Globs of the global sources they may read; null: all.
    #[schema(max_items = 100)]
    sources: Option<Vec<String>>,
}

/// Makes a user.
#[utoipa::path(post, path = "/api/users", tag = "users", request_body = NewUserBody, responses(
    (status = 201, description = "Made", body = UserView),
    (status = 409, description = "The name is taken", body = ErrorBody)))]
async fn add(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiJson(body): ApiJson<NewUserBody>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    viewer.needs(Permission::ManageUsers)?;
    let NewUserBody { name, password, role, permissions, sources } = body;
    let new = NewUser { name, password, role, permissions, sources };
    let made = move |s: &Services| Ok(s.users.add(&viewer.actor(), &new, clock::machine_ns())?);
    let user = hashing(&services, made).await?;
    Ok((StatusCode::CREATED, Json(UserView::new(&user))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    /// Ends their sessions.
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 256)]
    password: Option<Hidden>,
    role: Option<Role>,
    permissions: Option<Vec<Permission>>,
    /// Null: all; left out: as it was.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>, max_items = 100)]
    sources: Option<Option<Vec<String>>>,
    disabled: Option<bool>,
    /// False takes their second factor away; nobody gives one to another.
    totp: Option<bool>,
}

/// What is there, also when it is null.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Changes a user: what is left out stays.
#[utoipa::path(patch, path = "/api/users/{name}", tag = "users", params(("name" = String, Path)),
    request_body = ChangeBody, responses(
    (status = 200, description = "As they are now", body = UserView),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 409, description = "Nobody would be left to administrate", body = ErrorBody)))]
async fn edit(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiPath(name): ApiPath<String>,
    ApiJson(body): ApiJson<ChangeBody>,
) -> Result<Json<UserView>, ApiError> {
    viewer.needs(Permission::ManageUsers)?;
    let ChangeBody { password, role, permissions, sources, disabled, totp } = body;
    if totp == Some(true) {
        return Err(ApiError::field("totp", "totp: expected false: only users themselves can turn it on"));
    }
    let change = Change { password, role, permissions, sources, disabled, totp_off: totp == Some(false) };
    let changed = move |s: &Services| Ok(s.users.edit(&viewer.actor(), &name, &change, clock::machine_ns())?);
    Ok(Json(UserView::new(&hashing(&services, changed).await?)))
}

/// Removes a user with their sessions and tokens.
#[utoipa::path(delete, path = "/api/users/{name}", tag = "users", params(("name" = String, Path)), responses(
    (status = 204, description = "Removed"),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 409, description = "Nobody would be left to administrate, or they own connections", body = ErrorBody)))]
async fn remove(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    viewer.needs(Permission::ManageUsers)?;
    let users = Arc::clone(&services.users);
    blocking(move || Ok(users.remove(&viewer.actor(), &name, clock::machine_ns())?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct EntryView {
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    /// The user; null for nobody who is signed in, and for the command line.
    #[schema(required)]
    actor: Option<String>,
    /// `sign_in`, `add_user`, …
    action: String,
    /// To whom or what.
    #[schema(required)]
    subject: Option<String>,
    succeeded: bool,
    /// Where from; null for the command line.
    #[schema(required)]
    address: Option<String>,
    message: String,
}

impl From<AuditEntry> for EntryView {
    fn from(entry: AuditEntry) -> EntryView {
        let AuditEntry { id, at_ns, actor, action, subject, succeeded, address, message } = entry;
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (actor, subject, address) = (some(actor), some(subject), some(address));
        EntryView { id, at: time(at_ns), actor, action, subject, succeeded, address, message }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
struct AuditView {
    entries: Vec<EntryView>,
    /// `before` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Done by this user.
    actor: Option<String>,
    /// Of this kind.
    action: Option<String>,
    /// That came off, or did not.
    succeeded: Option<bool>,
}

/// Who did what: sign-ins and refused ones, users, tokens, settings; newest first.
#[utoipa::path(get, path = "/api/audit", tag = "users", params(Paging, AuditQuery), responses(
    (status = 200, description = "A page of it", body = AuditView)))]
async fn audit(
    State(services): State<Shared>,
    viewer: Viewer,
    ApiQuery(paging): ApiQuery<Paging>,
    ApiQuery(query): ApiQuery<AuditQuery>,
) -> Result<Json<AuditView>, ApiError> {
    viewer.needs(Permission::ManageUsers)?;
    let (limit, before) = (paging.limit()?, paging.before()?);
    let AuditQuery { actor, action, succeeded } = query;
    let filter = AuditFilter { actor, action, succeeded, before };
    let users = Arc::clone(&services.users);
    let mut entries = blocking(move || Ok(users.audit(&filter, limit + 1)?)).await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.id.to_string());
    Ok(Json(AuditView { entries: entries.into_iter().map(EntryView::from).collect(), next }))
}
