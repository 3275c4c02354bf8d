//! Data connections: made, changed, watched and removed. What is done is the service's; here is who may.

mod bodies;
mod live;
mod venue;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::bodies::{ChangedConnection, NewConnection, Refusals, approved, limits, refusal};
use self::live::live;
use crate::clock;
use crate::console::api::{ApiError, Paging, Shared, blocking, time};
use crate::console::extract::{ApiJson, ApiPath, ApiQuery};
use crate::console::viewer::Viewer;
use crate::control::connections::{LogFilter, Status};
use crate::control::service::{Connection, Data, Origin, Service, Summary};
use crate::control::users::{Permission, Role};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(health))
        .routes(routes!(get, edit, remove))
        .routes(routes!(activate))
        .routes(routes!(deactivate))
        .routes(routes!(logs))
        .merge(venue::routes())
}

/// Connections.
#[derive(Serialize, ToSchema)]
struct ConnectionList {
    connections: Vec<Connection>,
}

/// The adapters that the viewer may make connections with; nothing: all.
pub(super) async fn approved_adapters(services: &Shared, viewer: &Viewer) -> Result<Option<Vec<String>>, ApiError> {
    if viewer.has(Permission::ManageDataConnections) {
        return Ok(None);
    }
    with(services, approved).await
}

/// Does something with the service off the console's thread.
async fn with<T: Send + 'static>(
    services: &Shared,
    f: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let services = Shared::clone(services);
    blocking(move || f(&services.sampler.facts().connections)).await
}

/// The connection of a name, where the viewer may see it: all else is not there.
fn seen(service: &Service, viewer: &Viewer, name: &str) -> Result<Connection, ApiError> {
    let connection = service.get(name).map_err(refusal)?;
    match viewer.sees_connection(connection.owner.as_deref().unwrap_or_default(), name) {
        true => Ok(connection),
        false => Err(ApiError::not_found(name)),
    }
}

/// The same, where they may change it too.
fn managed(service: &Service, viewer: &Viewer, name: &str) -> Result<Connection, ApiError> {
    let connection = seen(service, viewer, name)?;
    match manages(viewer, &connection) {
        true => Ok(connection),
        false => Err(ApiError::forbidden(format!("{name} is not yours to change"))),
    }
}

fn manages(viewer: &Viewer, connection: &Connection) -> bool {
    viewer.manages_connection(connection.owner.as_deref().unwrap_or_default())
}

/// As the viewer may see it: its keys are for those who may change it, and for those who look on as administrators do.
fn shown(services: &Shared, viewer: &Viewer, connection: Connection) -> Connection {
    let now = live(&services.sampler, &connection.name, clock::now_ns());
    let connection = connection.with_live(now);
    if manages(viewer, &connection) { connection } else { connection.outline() }
}

/// Every connection that the viewer may see.
#[utoipa::path(get, path = "/api/data-connections", tag = "connections", responses(
    (status = 200, description = "The connections", body = ConnectionList), Refusals,
))]
async fn list(viewer: Viewer, State(services): State<Shared>) -> Result<Json<ConnectionList>, ApiError> {
    let mut all = with(&services, |service| service.list().map_err(refusal)).await?;
    all.retain(|c| viewer.sees_connection(c.owner.as_deref().unwrap_or_default(), &c.name));
    Ok(Json(ConnectionList { connections: all.into_iter().map(|c| shown(&services, &viewer, c)).collect() }))
}

/// Makes a connection. Users make private ones; global ones need the permission manage-data-connections.
#[utoipa::path(post, path = "/api/data-connections", tag = "connections", request_body = NewConnection, responses(
    (status = 201, description = "It is kept, and not yet active", body = Connection), Refusals,
))]
async fn create(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiJson(mut body): ApiJson<NewConnection>,
) -> Result<(StatusCode, Json<Connection>), ApiError> {
    if viewer.role == Role::Demo {
        return Err(ApiError::forbidden("demo users look on"));
    }
    let manages_all = viewer.has(Permission::ManageDataConnections);
    let private = body.private.unwrap_or(!manages_all);
    if !private {
        viewer.needs(Permission::ManageDataConnections)?;
    }
    let (owner, asker) = (if private { viewer.name.clone() } else { String::new() }, viewer.clone());
    let made = with(&services, move |service| {
        let limits = limits(service, &asker, &owner)?;
        let wanted = body.wanted();
        service.create(&body.name, &owner, &body.adapter, &wanted, &limits).map_err(refusal)
    });
    Ok((StatusCode::CREATED, Json(shown(&services, &viewer, made.await?))))
}

/// One connection.
#[utoipa::path(get, path = "/api/data-connections/{name}", tag = "connections", params(("name" = String, Path)), responses(
    (status = 200, description = "The connection", body = Connection), Refusals,
))]
async fn get(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Connection>, ApiError> {
    let asker = viewer.clone();
    let found = with(&services, move |service| seen(service, &asker, &name)).await?;
    Ok(Json(shown(&services, &viewer, found)))
}

/// What came of a change.
#[derive(Serialize, ToSchema)]
struct ChangeDone {
    connection: Connection,
    /// What the running engine changed, a sentence each.
    changes: Vec<String>,
}

/// Changes the keys that are given; a running source takes it up at once. Secrets that are not given stay.
#[utoipa::path(patch, path = "/api/data-connections/{name}", tag = "connections", params(("name" = String, Path)),
    request_body = ChangedConnection, responses(
    (status = 200, description = "The connection as it is now", body = Connection), Refusals,
))]
async fn edit(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiJson(mut body): ApiJson<ChangedConnection>,
) -> Result<Json<Connection>, ApiError> {
    let asker = viewer.clone();
    let changed = with(&services, move |service| {
        let connection = managed(service, &asker, &name)?;
        let limits = limits(service, &asker, connection.owner.as_deref().unwrap_or_default())?;
        service.edit(&name, &body.wanted(), &limits).map_err(refusal)
    });
    Ok(Json(shown(&services, &viewer, changed.await?.connection)))
}

/// What becomes of what a removed connection stored.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// `keep` or `delete`; must be said.
    #[param(required = true, pattern = "^(keep|delete)$")]
    data: Option<String>,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
struct Removed {
    /// Rows that were deleted from the database.
    rows_deleted: u64,
}

/// Forgets a connection and its secrets; a running source is let go first. Its log stays.
#[utoipa::path(delete, path = "/api/data-connections/{name}", tag = "connections", params(("name" = String, Path), Removal),
    responses((status = 200, description = "It is gone", body = Removed), Refusals,
))]
async fn remove(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(removal): ApiQuery<Removal>,
) -> Result<Json<Removed>, ApiError> {
    let removed = with(&services, move |service| {
        managed(service, &viewer, &name)?;
        let data = match removal.data.as_deref() {
            Some("keep") => Data::Keep,
            Some("delete") => Data::Delete,
            _ => return Err(ApiError::field("data", "data: expected keep or delete, for the rows that it stored")),
        };
        service.remove(&name, data).map_err(refusal)
    });
    Ok(Json(Removed { rows_deleted: removed.await? }))
}

/// Has a connection connected, at once.
#[utoipa::path(post, path = "/api/data-connections/{name}/activate", tag = "connections", params(("name" = String, Path)),
    responses((status = 200, description = "It is wanted, and being connected", body = ChangeDone), Refusals,
))]
async fn activate(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<ChangeDone>, ApiError> {
    let asker = viewer.clone();
    let changed = with(&services, move |service| {
        let connection = managed(service, &asker, &name)?;
        let limits = limits(service, &asker, connection.owner.as_deref().unwrap_or_default())?;
        service.activate(&name, &limits).map_err(refusal)
    });
    let changed = changed.await?;
    Ok(Json(ChangeDone { connection: shown(&services, &viewer, changed.connection), changes: changed.changes }))
}

/// Lets a connection go, at once.
#[utoipa::path(post, path = "/api/data-connections/{name}/deactivate", tag = "connections", params(("name" = String, Path)),
    responses((status = 200, description = "It is not wanted, and let go", body = ChangeDone), Refusals,
))]
async fn deactivate(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<ChangeDone>, ApiError> {
    let asker = viewer.clone();
    let changed = with(&services, move |service| {
        managed(service, &asker, &name)?;
        service.deactivate(&name).map_err(refusal)
    });
    let changed = changed.await?;
    Ok(Json(ChangeDone { connection: shown(&services, &viewer, changed.connection), changes: changed.changes }))
}

/// Which entries of a log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Those of one action: create, edit, test, activate, deactivate, connect, disconnect, error, backfill, …
    action: Option<String>,
    /// Those that came off, or that did not.
    succeeded: Option<bool>,
    /// Entries, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
}

/// A page of a log.
#[derive(Serialize, ToSchema)]
struct LogPage {
    entries: Vec<LogLine>,
    /// For `before` of the next page.
    #[schema(required)]
    next: Option<String>,
}

/// Something that was done with a connection.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectionLogEntry)]
struct LogLine {
    id: i64,
    at: String,
    action: String,
    succeeded: bool,
    message: String,
    /// Figures: `rows`, `latency_ms`, …
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
}

/// What was done with a connection, newest first; for those who manage connections also with one that was removed.
#[utoipa::path(get, path = "/api/data-connections/{name}/logs", tag = "connections",
    params(("name" = String, Path), LogQuery),
    responses((status = 200, description = "A page of the log", body = LogPage), Refusals,
))]
async fn logs(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<LogQuery>,
) -> Result<Json<LogPage>, ApiError> {
    let paging = Paging::of(query.limit, query.before);
    let (limit, before) = (paging.limit()?, paging.before()?);
    let filter = LogFilter { action: query.action, succeeded: query.succeeded, before, skip: 0, limit: limit + 1 };
    let mut entries = with(&services, move |service| {
        match seen(service, &viewer, &name) {
            Ok(connection) if !looks_into(&viewer, &connection) => {
                return Err(ApiError::forbidden(format!("the log of {name} is for those who manage it")));
            }
            Err(error) if !viewer.has(Permission::ManageDataConnections) => return Err(error),
            _ => {}
        }
        service.logs(&name, &filter).map_err(refusal)
    })
    .await?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let next = entries.last().filter(|_| more).map(|(id, _)| id.to_string());
    let line = |(id, entry): (i64, crate::control::connections::LogEntry)| LogLine {
        id,
        at: time(entry.at_ns),
        action: entry.action,
        succeeded: entry.succeeded,
        message: entry.message,
        metadata: entry.metadata,
    };
    Ok(Json(LogPage { entries: entries.into_iter().map(line).collect(), next }))
}

/// Whether they may read what a connection went through: its owner and those who manage it.
fn looks_into(viewer: &Viewer, connection: &Connection) -> bool {
    viewer.has(Permission::ManageDataConnections) || connection.owner.as_deref() == Some(viewer.name.as_str())
}

/// How the connections are.
#[derive(Serialize, ToSchema)]
struct ConnectionsHealth {
    connections: Vec<ConnectionHealth>,
    summary: Summary,
}

/// How a connection is.
#[derive(Serialize, ToSchema)]
struct ConnectionHealth {
    name: String,
    status: Status,
    /// Word of the feed's state; none while it does not run.
    #[schema(required)]
    state: Option<String>,
    /// Why it is so.
    #[schema(required)]
    cause: Option<String>,
    #[schema(required)]
    last_tick_at: Option<String>,
    #[schema(required)]
    last_tick_age_ms: Option<i64>,
    ticks_per_second: f64,
    #[schema(required)]
    latency_ms: Option<f64>,
    #[schema(required)]
    last_error: Option<String>,
}

/// How every connection is that the viewer may see.
#[utoipa::path(get, path = "/api/data-connections/health", tag = "connections", responses(
    (status = 200, description = "How they are", body = ConnectionsHealth), Refusals,
))]
async fn health(viewer: Viewer, State(services): State<Shared>) -> Result<Json<ConnectionsHealth>, ApiError> {
    let ConnectionList { connections } = list(viewer, State(services)).await?.0;
    let now_ns = clock::now_ns();
    let one = |c: Connection| {
        let age_ms = c.live.as_ref().and_then(|live| live.last_tick_age_ms);
        ConnectionHealth {
            name: c.name,
            status: c.status,
            state: c.live.as_ref().map(|live| live.state.clone()),
            cause: c.live.as_ref().map(|live| live.cause.clone()),
            last_tick_at: age_ms.map(|ms| time(now_ns - ms * 1_000_000)),
            last_tick_age_ms: age_ms,
            ticks_per_second: c.live.as_ref().map_or(0.0, |live| live.ticks_per_second),
            latency_ms: c.live.as_ref().map(|live| live.latency_ms),
            last_error: c.last_error.filter(|_| c.status == Status::Error || c.origin == Origin::Configuration),
        }
    };
    let connections: Vec<_> = connections.into_iter().map(one).collect();
    let summary = Summary::of(connections.iter().map(|connection| connection.status));
    Ok(Json(ConnectionsHealth { connections, summary }))
}
