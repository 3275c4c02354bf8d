//! Whether there is market data, and how much.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::series::{BEST, Span, Which, away, market_data, readable};
use crate::console::api::{ApiError, ErrorBody, Shared, time};
use crate::console::extract::ApiQuery;
use crate::console::viewer::Viewer;
use crate::storage::market_data::{Extent, TableStatistics};
use crate::storage::rows::Audience;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(exists)).routes(routes!(statistics))
}

/// Whether there are bars.
#[derive(Debug, Serialize, ToSchema)]
struct Exists {
    exists: bool,
    /// As they are stored: earlier revisions and other origins of an interval count too.
    rows: u64,
    #[schema(required)]
    first: Option<String>,
    #[schema(required)]
    last: Option<String>,
}

fn ends(extent: Extent) -> [Option<String>; 2] {
    [extent.first_ns, extent.last_ns].map(|ns| (extent.rows > 0).then(|| time(ns)))
}

/// Whether there are bars of a series within a span.
#[utoipa::path(get, path = "/api/market-data/exists", tag = "market data", params(Which, Span), responses(
    (status = 200, description = "Whether, how many, and the first and the last", body = Exists),
    (status = 400, description = "A parameter is missing", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such source, or another's", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn exists(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(which): ApiQuery<Which>,
    ApiQuery(span): ApiQuery<Span>,
) -> Result<Json<Exists>, ApiError> {
    let (series, readable) = which.series(&services, &viewer)?;
    let extent = market_data(&services)?.extent(&series, span.range()?).await.map_err(away)?;
    readable.found(&series.source, extent.rows > 0)?;
    let [first, last] = ends(extent);
    Ok(Json(Exists { exists: extent.rows > 0, rows: extent.rows, first, last }))
}

/// How much one table holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TableShown {
    table: &'static str,
    rows: u64,
    bytes: u64,
    /// `null` without rows.
    #[schema(required)]
    bytes_per_row: Option<f64>,
    #[schema(required)]
    oldest: Option<String>,
    #[schema(required)]
    newest: Option<String>,
}

impl From<&TableStatistics> for TableShown {
    fn from(of: &TableStatistics) -> TableShown {
        let [oldest, newest] = ends(of.extent);
        let rows = of.extent.rows;
        let bytes_per_row = (rows > 0).then(|| (of.bytes as f64 / rows as f64 * 100.0).round() / 100.0);
        TableShown { table: of.table, rows, bytes: of.bytes, bytes_per_row, oldest, newest }
    }
}

/// The bars of one series.
#[derive(Debug, Serialize, ToSchema)]
struct SeriesShown {
    source: String,
    symbol: String,
    timeframe: String,
    rows: u64,
    #[schema(required)]
    oldest: Option<String>,
    #[schema(required)]
    newest: Option<String>,
}

/// How much is stored.
#[derive(Debug, Serialize, ToSchema)]
struct StatisticsShown {
    /// Of global sources, all together.
    tables: Vec<TableShown>,
    /// Bars, by series that the viewer may read.
    series: Vec<SeriesShown>,
    /// When it was counted: some seconds ago at most.
    at: String,
}

/// How much is stored: rows as they stand on the disk, where earlier revisions of a bar count until they are merged away.
#[utoipa::path(get, path = "/api/market-data/statistics", tag = "market data", responses(
    (status = 200, description = "By table, and of bars by series", body = StatisticsShown),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn statistics(viewer: Viewer, State(services): State<Shared>) -> Result<Json<StatisticsShown>, ApiError> {
    let found = market_data(&services)?.statistics().await.map_err(away)?;
    let tables = found.tables.iter().filter(|of| of.audience == Audience::Global).map(TableShown::from).collect();
    let may_read = |audience: Audience, source: &str| {
        source == BEST || readable(&services, &viewer, source).is_ok_and(|readable| readable.audience == audience)
    };
    let series = found.series.iter().filter(|of| may_read(of.audience, &of.source)).map(|of| {
        let [oldest, newest] = ends(of.extent);
        SeriesShown {
            source: of.source.clone(),
            symbol: of.symbol.clone(),
            timeframe: of.timeframe.clone(),
            rows: of.extent.rows,
            oldest,
            newest,
        }
    });
    Ok(Json(StatisticsShown { tables, series: series.collect(), at: time(found.at_ns) }))
}
