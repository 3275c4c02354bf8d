//! `GET /api/alerts`; rules and webhooks: `GET` and `PUT /api/alerts/settings`, `POST /api/alerts/webhooks/{id}/test`.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Paging, Services, Shared, blocking, time};
use crate::console::extract::{ApiJson, ApiPath, ApiQuery};
use crate::console::viewer::Viewer;
use crate::control::alerts::{
    self, AlertError, AlertRule, AlertSettings, Alerts, FieldError, SettingsDraft, Severity, webhook,
};
use crate::control::users::Permission;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(settings, set)).routes(routes!(test))
}

/// An alert.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::console) struct Alert {
    id: i64,
    rule: AlertRule,
    /// What it is about: a connection, a symbol, `database`, `state directory`, or a kind of job.
    subject: String,
    severity: Severity,
    /// What is wrong, in a sentence.
    message: String,
    /// RFC 3339.
    raised_at: String,
    /// Absent while it is raised.
    #[schema(required)]
    cleared_at: Option<String>,
    /// Why it is over; absent while it is raised.
    #[schema(required)]
    cleared_message: Option<String>,
}

impl From<alerts::Alert> for Alert {
    fn from(kept: alerts::Alert) -> Alert {
        Alert {
            id: kept.id,
            rule: kept.rule,
            subject: kept.subject,
            severity: kept.severity,
            message: kept.message,
            raised_at: time(kept.raised_ns),
            cleared_at: kept.cleared_ns.map(time),
            cleared_message: kept.cleared_message,
        }
    }
}

/// A page of alerts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertPage)]
struct Page {
    alerts: Vec<Alert>,
    #[schema(required)]
    next: Option<String>,
}

/// Which alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Those that are raised, or those that are over; absent: both.
    #[param(inline)]
    state: Option<Which>,
    /// Entries, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
}

/// Whether an alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AlertState)]
enum Which {
    Raised,
    Cleared,
}

/// Whether a viewer may know of an alert: of a connection as of the connection itself, of a symbol always, of the engine
/// with the permission view-system.
fn sees(viewer: &Viewer, alert: &alerts::Alert) -> bool {
    match (&alert.source, alert.rule) {
        (Some(source), _) => viewer.sees_connection(&alert.owner, source),
        (None, AlertRule::SymbolCrossed | AlertRule::SymbolSingleSource) => true,
        (None, AlertRule::JobFailed) => viewer.has(Permission::ManageJobs) || viewer.has(Permission::ViewSystem),
        (None, _) => viewer.has(Permission::ViewSystem),
    }
}

/// Alerts looked at for one page: who sees few of them gets shorter pages.
const LOOKED_AT_MAX: u32 = 5_000;

/// The newest alerts that the viewer may see, and where the next page begins.
pub(in crate::console) async fn newest(
    services: &Shared,
    viewer: &Viewer,
    raised: Option<bool>,
    paging: &Paging,
) -> Result<(Vec<Alert>, Option<i64>), ApiError> {
    let (limit, mut before) = (paging.limit()? as usize, paging.before()?);
    let (viewer, services) = (viewer.clone(), Shared::clone(services));
    blocking(move || {
        let mut alerts = open(&services)?;
        let mut found = Vec::new();
        for _ in 0..LOOKED_AT_MAX / 500 {
            let page = alerts.list(alerts::Page { raised, before, limit: 500 }).map_err(ApiError::internal)?;
            let is_last = page.len() < 500;
            for alert in page {
                if found.len() == limit {
                    return Ok((found, before));
                }
                before = Some(alert.id);
                if sees(&viewer, &alert) {
                    found.push(Alert::from(alert));
                }
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, before))
    })
    .await
}

fn open(services: &Services) -> Result<Alerts, ApiError> {
    Alerts::open(&services.state_dir).map_err(ApiError::internal)
}

/// Alerts, the newest first.
///
/// Those about a private connection only its owner sees, and who manages data connections; those about the engine who has
/// the permission view-system.
#[utoipa::path(get, path = "/api/alerts", tag = "alerts", params(Filter), responses(
    (status = 200, description = "A page of alerts", body = Page),
    (status = 400, description = "Not understood", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 422, description = "A wrong value", body = ErrorBody),
))]
async fn list(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(filter): ApiQuery<Filter>,
) -> Result<Json<Page>, ApiError> {
    let raised = filter.state.map(|state| state == Which::Raised);
    let paging = Paging::new(filter.limit, filter.before);
    let (alerts, next) = newest(&services, &viewer, raised, &paging).await?;
    Ok(Json(Page { alerts, next: next.map(|id| id.to_string()) }))
}

/// Rules and webhooks.
///
/// Needs the permission manage-settings.
#[utoipa::path(get, path = "/api/alerts/settings", tag = "alerts", responses(
    (status = 200, description = "Rules and webhooks; no secrets", body = AlertSettings),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
))]
async fn settings(viewer: Viewer, State(services): State<Shared>) -> Result<Json<AlertSettings>, ApiError> {
    viewer.needs(Permission::ManageSettings)?;
    blocking(move || Ok(Json(open(&services)?.settings().map_err(refused)?))).await
}

/// Changes rules and webhooks: those that are named. All of it or nothing.
///
/// Needs the permission manage-settings.
#[utoipa::path(put, path = "/api/alerts/settings", tag = "alerts", request_body = SettingsDraft, responses(
    (status = 200, description = "As it is now", body = AlertSettings),
    (status = 400, description = "Not understood", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
    (status = 422, description = "A wrong value", body = ErrorBody),
))]
async fn set(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiJson(draft): ApiJson<SettingsDraft>,
) -> Result<Json<AlertSettings>, ApiError> {
    viewer.needs(Permission::ManageSettings)?;
    blocking(move || {
        let mut alerts = open(&services)?;
        alerts.set(&draft).map_err(refused)?;
        Ok(Json(alerts.settings().map_err(refused)?))
    })
    .await
}

/// What a webhook said to a message that only tries the way.
#[derive(Debug, Serialize, ToSchema)]
struct Tried {
    succeeded: bool,
    /// What was answered; absent: nothing.
    #[schema(required)]
    status: Option<u16>,
    /// What went wrong; absent: it was taken.
    #[schema(required)]
    error: Option<String>,
}

/// Sends one message that says nothing, signed as others are.
///
/// Needs the permission manage-settings.
#[utoipa::path(post, path = "/api/alerts/webhooks/{id}/test", tag = "alerts",
    params(("id" = i64, Path, description = "The webhook")),
    responses(
        (status = 200, description = "What came of it", body = Tried),
        (status = 401, description = "Not signed in", body = ErrorBody),
        (status = 403, description = "Not allowed", body = ErrorBody),
        (status = 404, description = "There is none", body = ErrorBody),
    ))]
async fn test(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(id): ApiPath<i64>,
) -> Result<Json<Tried>, ApiError> {
    viewer.needs(Permission::ManageSettings)?;
    let there = Shared::clone(&services);
    let target = blocking(move || open(&there)?.target(id).map_err(refused)).await?;
    let target = target.ok_or_else(|| ApiError::not_found(format!("webhook {id}")))?;
    let now_ns = clock::machine_ns();
    let sent = webhook::send(&target, webhook::test_body(now_ns), now_ns).await;
    let told = sent.clone();
    blocking(move || open(&services)?.attempted(id, &told, now_ns).map_err(refused)).await?;
    Ok(Json(Tried { succeeded: sent.error.is_none(), status: sent.status, error: sent.error }))
}

fn refused(error: AlertError) -> ApiError {
    match error {
        AlertError::Field(FieldError { field, problem }) => {
            let message = format!("{field}: {problem}");
            ApiError::field(field, message)
        }
        other => ApiError::internal(other),
    }
}
