//! `GET /api/ticks`.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::series::{Span, away, best, market_data, readable, symbol};
use crate::console::api::{ApiError, ErrorBody, Paging, Shared, time};
use crate::console::extract::ApiQuery;
use crate::console::viewer::Viewer;
use crate::market::{Price, Size};
use crate::storage::market_data::{Cursor, Tick};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(ticks))
}

/// Which ticks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Name of a source, or `best`, whose quotes are told.
    #[serde(default = "best")]
    #[param(default = "best")]
    source: String,
    /// Canonical symbol.
    #[param(min_length = 1, max_length = 128)]
    symbol: String,
}

/// `before` of a page of ticks is no number.
#[derive(Debug, Deserialize)]
struct Before {
    before: Option<String>,
}

/// A price of one source.
#[derive(Debug, Serialize, ToSchema)]
struct TickShown {
    /// When it was received.
    at: String,
    /// The source's own stamp.
    #[schema(required)]
    event_at: Option<String>,
    #[schema(required)]
    bid: Option<String>,
    #[schema(required)]
    ask: Option<String>,
    #[schema(required)]
    bid_size: Option<String>,
    #[schema(required)]
    ask_size: Option<String>,
    /// `accepted`, `duplicate`, `out_of_order` or `refused`.
    verdict: String,
    /// The checks that refused it.
    reasons: Vec<String>,
}

impl From<&Tick> for TickShown {
    fn from(tick: &Tick) -> TickShown {
        let price = |price: Option<Price>| price.map(|price| price.to_string());
        let size = |size: Option<Size>| size.map(|size| size.to_string());
        TickShown {
            at: time(tick.recv_ns),
            event_at: tick.event_ns.map(time),
            bid: price(tick.bid),
            ask: price(tick.ask),
            bid_size: size(tick.bid_size),
            ask_size: size(tick.ask_size),
            verdict: tick.verdict.clone(),
            reasons: tick.reasons.clone(),
        }
    }
}

/// A page of ticks, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Ticks {
    ticks: Vec<TickShown>,
    /// `before` of the next page; `null` at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A page of ticks by receipt, newest first: accepted ones, and the others with their reasons.
#[utoipa::path(get, path = "/api/ticks", tag = "market data", params(Which, Span, Paging), responses(
    (status = 200, description = "A page", body = Ticks),
    (status = 400, description = "A parameter is missing", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such source, or another's", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn ticks(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(which): ApiQuery<Which>,
    ApiQuery(span): ApiQuery<Span>,
    ApiQuery(paging): ApiQuery<Paging>,
    ApiQuery(before): ApiQuery<Before>,
) -> Result<Json<Ticks>, ApiError> {
    let readable = readable(&services, &viewer, &which.source)?;
    let (symbol, range, limit) = (symbol(&which.symbol)?, span.range()?, paging.limit()?);
    let wrong = |()| ApiError::field("before", "before: is no `next` of a page");
    let before = before.before.map(|text| text.parse::<Cursor>().map_err(wrong)).transpose()?;
    let of = (readable.audience, which.source.as_str(), symbol.as_str());
    let mut found = market_data(&services)?.ticks(of, range, before, limit + 1).await.map_err(away)?;
    readable.found(&which.source, !found.is_empty())?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|tick| tick.place.to_string());
    Ok(Json(Ticks { ticks: found.iter().map(TickShown::from).collect(), next }))
}
