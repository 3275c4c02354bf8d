//! `GET /api/indicators`.

use axum::Json;
use axum::extract::State;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::series::{Span, Which, away, market_data};
use crate::console::api::{ApiError, ErrorBody, Paging, Shared};
use crate::console::extract::ApiQuery;
use crate::console::viewer::Viewer;
use crate::stages::indicators::outputs;
use crate::storage::market_data::Point;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(indicators))
}

/// A moment and the values then: `[t, value, …]`.
#[derive(Debug)]
struct PointShown(Point);

impl Serialize for PointShown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PointShown((open_ts_s, values)) = self;
        let mut list = serializer.serialize_seq(Some(1 + values.len()))?;
        list.serialize_element(open_ts_s)?;
        values.iter().try_for_each(|value| list.serialize_element(value))?;
        list.end()
    }
}

/// One indicator.
#[derive(Debug, Serialize, ToSchema)]
struct OfIndicator {
    /// Its name with its parameters, such as `EMA(20)`.
    indicator: String,
    /// What its values are, in their order.
    outputs: Vec<&'static str>,
    /// Start of the bar in seconds UTC, then the values; numbers, since they are no prices. Oldest first.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    points: Vec<PointShown>,
}

/// Every indicator of a series.
#[derive(Debug, Serialize, ToSchema)]
struct AllIndicators {
    series: Vec<OfIndicator>,
}

/// The newest values of every indicator of a series, oldest first; not those from before it had seen enough bars.
#[utoipa::path(get, path = "/api/indicators", tag = "market data", params(Which, Span, Paging), responses(
    (status = 200, description = "By indicator", body = AllIndicators),
    (status = 400, description = "A parameter is missing", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such source, or another's", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn indicators(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(which): ApiQuery<Which>,
    ApiQuery(span): ApiQuery<Span>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<AllIndicators>, ApiError> {
    let (series, readable) = which.series(&services, &viewer)?;
    let (range, limit) = (span.range()?, paging.limit()?);
    let found = market_data(&services)?.indicators(&series, range, limit).await.map_err(away)?;
    readable.found(&series.source, !found.is_empty())?;
    let shown = found.into_iter().map(|of| OfIndicator {
        outputs: outputs(&of.indicator).to_vec(),
        indicator: of.indicator,
        points: of.points.into_iter().map(PointShown).collect(),
    });
    Ok(Json(AllIndicators { series: shown.collect() }))
}
