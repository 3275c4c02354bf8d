//! `GET /api/bars`, and the same as CSV.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::series::{Span, Which, away, market_data, too_many_streams};
use crate::console::api::{ApiError, ErrorBody, Paging, Shared, time};
use crate::console::extract::ApiQuery;
use crate::console::live::Permit;
use crate::console::viewer::Viewer;
use crate::market::Price;
use crate::storage::client::DatabaseError;
use crate::storage::market_data::{self, LATEST_MAX, MarketData, Range, Series, length_ns};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(bars)).routes(routes!(bars_csv))
}

/// Open, high, low and close, exact decimals.
type Prices = [String; 4];

/// A bar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct BarShown {
    /// Start of its interval, seconds UTC.
    t: i64,
    /// Open, high, low and close.
    #[schema(required, value_type = Option<Vec<String>>, min_items = 4, max_items = 4)]
    bid: Option<Prices>,
    #[schema(required, value_type = Option<Vec<String>>, min_items = 4, max_items = 4)]
    ask: Option<Prices>,
    #[schema(required, value_type = Option<Vec<String>>, min_items = 4, max_items = 4)]
    mid: Option<Prices>,
    /// Of trades.
    #[schema(required, value_type = Option<Vec<String>>, min_items = 4, max_items = 4)]
    last: Option<Prices>,
    ticks: u64,
    /// Exact decimal; `null` where there is none.
    #[schema(required)]
    volume: Option<String>,
    revision: u32,
    /// `own`, `polled`, `backfill` or `repair`.
    origin: String,
    /// `provisional` (live only), `final` or `revised`.
    state: String,
}

impl From<&market_data::Bar> for BarShown {
    fn from(bar: &market_data::Bar) -> BarShown {
        let prices = |ohlc: Option<[Price; 4]>| ohlc.map(|prices| prices.map(|price| price.to_string()));
        BarShown {
            t: bar.open_ts_s,
            bid: prices(bar.bid),
            ask: prices(bar.ask),
            mid: prices(bar.mid),
            last: prices(bar.last),
            ticks: bar.ticks,
            volume: bar.volume.map(|size| size.to_string()),
            revision: bar.revision,
            origin: bar.origin.clone(),
            state: bar.state.clone(),
        }
    }
}

/// A page of bars, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Bars {
    bars: Vec<BarShown>,
    /// `before` of the next page; `null` at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A page of bars, newest first: of each interval the last word of the origin that knows best.
#[utoipa::path(get, path = "/api/bars", tag = "market data", params(Which, Span, Paging), responses(
    (status = 200, description = "A page", body = Bars),
    (status = 400, description = "A parameter is missing", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such source, or another's", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn bars(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(which): ApiQuery<Which>,
    ApiQuery(span): ApiQuery<Span>,
    ApiQuery(paging): ApiQuery<Paging>,
) -> Result<Json<Bars>, ApiError> {
    let (series, readable) = which.series(&services, &viewer)?;
    let (limit, before, range) = (paging.limit()?, paging.before()?, span.range()?);
    let market_data = market_data(&services)?;
    // One more than is shown says whether there is more.
    let asked = limit + 1;
    let found = if before.is_none() && span.is_open() && asked <= LATEST_MAX {
        market_data.latest_bars(&series, asked).await
    } else {
        let before_ns = before.map_or(i64::MAX, |seconds| seconds.max(0).saturating_mul(1_000_000_000));
        let range = Range { to_ns: range.to_ns.min(before_ns), ..range };
        market_data.bars(&series, range, asked).await
    };
    let mut found = found.map_err(away)?;
    readable.found(&series.source, !found.is_empty())?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|bar| bar.open_ts_s.to_string());
    Ok(Json(Bars { bars: found.iter().map(BarShown::from).collect(), next }))
}

const CSV_HEADER: &str = "time,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close,\
    mid_open,mid_high,mid_low,mid_close,last_open,last_high,last_low,last_close,ticks,volume,revision,origin,state\n";

/// Bars of a span of time that are in memory at once: of minutes a month.
const CSV_BARS: i64 = 40_000;

/// All bars of a span as CSV, oldest first, with a line of names.
#[utoipa::path(get, path = "/api/bars.csv", tag = "market data", params(Which, Span), responses(
    (status = 200, description = "All rows", body = String, content_type = "text/csv"),
    (status = 400, description = "A parameter is missing", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "No such source, or another's", body = ErrorBody),
    (status = 422, description = "A parameter is wrong", body = ErrorBody),
    (status = 429, description = "Too many exports or streams of this user", body = ErrorBody),
    (status = 503, description = "The database is away", body = ErrorBody),
))]
async fn bars_csv(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiQuery(which): ApiQuery<Which>,
    ApiQuery(span): ApiQuery<Span>,
) -> Result<Response, ApiError> {
    let (series, readable) = which.series(&services, &viewer)?;
    let range = span.range()?;
    let market_data = Arc::clone(market_data(&services)?);
    let permit = services.streams.permit(&viewer.name).ok_or_else(too_many_streams)?;
    let extent = market_data.extent(&series, range).await.map_err(away)?;
    readable.found(&series.source, extent.rows > 0)?;
    let disposition = format!("attachment; filename=\"{}\"", file_name(&series));
    let mut parts = VecDeque::new();
    if extent.rows > 0 {
        let step_ns = length_ns(series.timeframe).saturating_mul(CSV_BARS);
        let mut from_ns = extent.first_ns;
        while from_ns <= extent.last_ns {
            let to_ns = from_ns.saturating_add(step_ns).min(extent.last_ns.saturating_add(1));
            parts.push_back(Range { from_ns, to_ns });
            from_ns = to_ns;
        }
    }
    let export = Export { market_data, series, parts, _permit: permit };
    let head = stream::once(async { Ok(Bytes::from_static(CSV_HEADER.as_bytes())) });
    let body = Body::from_stream(head.chain(stream::try_unfold(export, Export::next)));
    let headers =
        [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_string()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, body).into_response())
}

/// An export under way: a part is asked for when the one before has gone out.
struct Export {
    market_data: Arc<MarketData>,
    series: Series,
    parts: VecDeque<Range>,
    _permit: Permit,
}

impl Export {
    async fn next(mut self) -> Result<Option<(Bytes, Export)>, DatabaseError> {
        let Some(part) = self.parts.pop_front() else { return Ok(None) };
        // The status was sent long ago: who reads sees that the connection breaks, and not a file that is too short.
        let bars = self.market_data.bars_between(&self.series, part).await;
        let bars = bars.inspect_err(|error| tracing::warn!("console: an export broke off: {error}"))?;
        let mut text = String::with_capacity(bars.len() * 160);
        bars.iter().for_each(|bar| line(bar, &mut text));
        Ok(Some((Bytes::from(text), self)))
    }
}

fn line(bar: &market_data::Bar, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}", time(bar.open_ts_s.saturating_mul(1_000_000_000)));
    for ohlc in [bar.bid, bar.ask, bar.mid, bar.last] {
        match ohlc {
            Some(prices) => prices.iter().for_each(|price| {
                let _ = write!(out, ",{price}");
            }),
            None => out.push_str(",,,,"),
        }
    }
    let volume = bar.volume.map(|size| size.to_string()).unwrap_or_default();
    let _ = writeln!(out, ",{},{volume},{},{},{}", bar.ticks, bar.revision, bar.origin, bar.state);
}

/// A name that needs no quoting anywhere.
fn file_name(series: &Series) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name = format!("{}-{}-{}.csv", series.symbol, series.source, series.timeframe);
    name.chars().map(plain).collect()
}
