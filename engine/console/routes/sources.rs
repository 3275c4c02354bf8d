//! `GET /api/sources`: how good the sources are, and which is the best of a symbol.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console::api::{ApiError, ErrorBody, Shared};
use crate::console::health::round;
use crate::console::viewer::Viewer;
use crate::market::Price;
use crate::quality::{self, Summary};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(sources))
}

/// How good the sources are over the last 15 minutes. A closed market's symbols are not there.
#[derive(Debug, Serialize, ToSchema)]
struct Sources {
    /// By symbol, then source.
    summaries: Vec<SourceQuality>,
    /// The best global source by symbol, of those that the viewer may read.
    recommended: BTreeMap<String, String>,
}

/// A source and a symbol.
#[derive(Debug, Serialize, ToSchema)]
struct SourceQuality {
    symbol: String,
    source: String,
    /// 0 to 100: the sum of its parts.
    score: f64,
    parts: ScoreParts,
    uptime_percent: f64,
    completeness_percent: f64,
    /// Receipt less the source's stamp; absent without stamps, negative where the source's clock is ahead.
    #[schema(required)]
    latency_p50_ms: Option<f64>,
    #[schema(required)]
    latency_p99_ms: Option<f64>,
    /// Decimal; absent without a price.
    #[schema(required)]
    avg_spread: Option<String>,
    ticks_per_second: f64,
    /// Prices that were not accepted.
    rejects: u64,
    /// Of the sides of the common price; absent without one.
    #[schema(required)]
    best_share_percent: Option<f64>,
    /// Rank among equals: the smaller wins.
    priority: u16,
}

/// What the points of a score are for.
#[derive(Debug, Serialize, ToSchema)]
struct ScoreParts {
    /// Of 40.
    uptime: f64,
    /// Of 20.
    completeness: f64,
    /// Of 15.
    latency: f64,
    /// Of 15.
    spread: f64,
    /// Of 10.
    rejects: f64,
}

/// The sources that the viewer may read, judged.
#[utoipa::path(get, path = "/api/sources", tag = "system", responses(
    (status = 200, description = "How good the sources are", body = Sources),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn sources(viewer: Viewer, State(services): State<Shared>) -> Result<Json<Sources>, ApiError> {
    let facts = services.sampler.facts();
    let view = facts.shown.now();
    let reads = |summary: &&Summary| {
        let source = view.market.sources().iter().find(|source| source.name == *summary.source);
        source.is_some_and(|source| viewer.reads(source))
    };
    let summaries: Vec<Summary> = facts.quality.now().iter().filter(reads).cloned().collect();
    let best = quality::recommended(&summaries);
    let recommended = best.into_iter().map(|(symbol, source)| (symbol.to_string(), source.to_string())).collect();
    Ok(Json(Sources { summaries: summaries.iter().map(SourceQuality::from).collect(), recommended }))
}

impl From<&Summary> for SourceQuality {
    fn from(summary: &Summary) -> SourceQuality {
        let parts = &summary.parts;
        SourceQuality {
            symbol: summary.symbol.to_string(),
            source: summary.source.to_string(),
            score: round(summary.score),
            parts: ScoreParts {
                uptime: round(parts.uptime),
                completeness: round(parts.completeness),
                latency: round(parts.latency),
                spread: round(parts.spread),
                rejects: round(parts.rejects),
            },
            uptime_percent: round(summary.uptime_percent),
            completeness_percent: round(summary.completeness_percent),
            latency_p50_ms: summary.latency_p50_us.map(|us| round(us / 1e3)),
            latency_p99_ms: summary.latency_p99_us.map(|us| round(us as f64 / 1e3)),
            avg_spread: summary.avg_spread_e9.and_then(Price::from_e9).map(|spread| spread.to_string()),
            ticks_per_second: round(summary.ticks_per_second),
            rejects: summary.rejects,
            best_share_percent: summary.best_share_percent.map(round),
            priority: summary.priority,
        }
    }
}
