//! `POST /api/data-connections/{name}/backfill`: past bars of a connection.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs;
use crate::console::api::{ApiError, ErrorBody, Shared, blocking};
use crate::console::extract::{ApiJson, ApiPath};
use crate::console::viewer::Viewer;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(backfill))
}

/// Which bars.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BackfillWanted {
    /// Canonical symbol.
    symbol: String,
    /// M1 M5 M15 M30 H1 H4 D1 W1 MN
    #[schema(pattern = "^(M1|M5|M15|M30|H1|H4|D1|W1|MN)$")]
    timeframe: String,
    /// First opening of a bar: a date or RFC 3339.
    from: String,
    /// Before which bars open.
    to: String,
}

/// What does it.
#[derive(Debug, Serialize, ToSchema)]
struct BackfillQueued {
    /// Number of the job.
    job: i64,
}

/// Fetches a connection's past bars: for its owner, and for those who manage jobs.
#[utoipa::path(post, path = "/api/data-connections/{name}/backfill", tag = "data connections",
    params(("name" = String, Path, description = "Its name")), request_body = BackfillWanted, responses(
    (status = 202, description = "It is queued", body = BackfillQueued),
    (status = 400, description = "The body is malformed", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
    (status = 404, description = "There is no such connection, or it is another's", body = ErrorBody),
    (status = 409, description = "Too many jobs wait", body = ErrorBody),
    (status = 413, description = "The body is too long", body = ErrorBody),
    (status = 422, description = "A field has a wrong value", body = ErrorBody),
))]
async fn backfill(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiJson(wanted): ApiJson<BackfillWanted>,
) -> Result<(StatusCode, Json<BackfillQueued>), ApiError> {
    let BackfillWanted { symbol, timeframe, from, to } = wanted;
    let parameters = jobs::backfill_parameters(symbol, &timeframe, &from, Some(&to))?;
    blocking(move || {
        let (status, Json(job)) =
            jobs::queue(&services, &viewer, crate::control::jobs::Kind::Backfill, Some(name), parameters)?;
        Ok((status, Json(BackfillQueued { job: job.id() })))
    })
    .await
}
