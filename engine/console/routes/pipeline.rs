//! `GET /api/pipeline`: how long the stages take, how full the queues are, what comes in and what is refused.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tickwire_schemas::words::{Check, Verdict};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Shared};
use crate::console::health::{Sampler, round};
use crate::console::viewer::Viewer;
use crate::control::users::Permission;
use crate::metrics;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(pipeline))
}

/// The way of the inputs through the engine.
#[derive(Debug, Serialize, ToSchema)]
struct Pipeline {
    /// Of the last five seconds or more; one input in 16 is measured, and every one for `all`.
    stages: Vec<Stage>,
    /// From the socket's read to publication; absent before the first.
    #[schema(required)]
    publish: Option<Quantiles>,
    /// In the order of the data.
    queues: Vec<Queue>,
    /// By source.
    rates: Vec<Rate>,
    /// By source and reason, those that occurred since the start.
    rejects: Vec<Reject>,
}

/// What a stage takes.
#[derive(Debug, Serialize, ToSchema)]
struct Stage {
    /// Its name; `all` is the last group of stages as a whole, publication included.
    stage: &'static str,
    /// Inputs measured.
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
}

/// A distribution.
#[derive(Debug, Serialize, ToSchema)]
struct Quantiles {
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
}

/// How full a queue is.
#[derive(Debug, Serialize, ToSchema)]
struct Queue {
    /// `inbound` and `outbound` (slots of the rings before and behind the stages), `journal` (bytes of memory between the
    /// stages and the disk), `fanout` (records kept for terminals; it is always full after a while, and `dropped` are those
    /// that a newer one replaced), `storage` (rows journaled and not yet in the database), `repairs` (holes that wait).
    queue: &'static str,
    used: u64,
    /// Absent where the disk is the bound.
    #[schema(required)]
    capacity: Option<u64>,
    /// What found no room since the start.
    dropped: u64,
}

/// What comes from a source.
#[derive(Debug, Serialize, ToSchema)]
struct Rate {
    source: String,
    /// Ticks and trades that were accepted since the start.
    accepted: u64,
    /// Those that were not.
    rejected: u64,
    /// Ticks and trades a second, over the last ten.
    per_second: f64,
}

/// Why ticks and trades were refused or remarked upon.
#[derive(Debug, Serialize, ToSchema)]
struct Reject {
    source: String,
    /// `duplicate`, `out_of_order`, or the check that failed.
    reason: &'static str,
    count: u64,
}

/// The pipeline.
///
/// Needs the permission view-system.
#[utoipa::path(get, path = "/api/pipeline", tag = "system", responses(
    (status = 200, description = "The pipeline", body = Pipeline),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
))]
async fn pipeline(viewer: Viewer, State(services): State<Shared>) -> Result<Json<Pipeline>, ApiError> {
    viewer.needs(Permission::ViewSystem)?;
    let sampler = &services.sampler;
    let publish = metrics::PUBLISH_LATENCY.read([0.5, 0.99, 0.999]);
    Ok(Json(Pipeline {
        stages: metrics::read_stages([0.5, 0.99, 0.999])
            .into_iter()
            .map(|(stage, count, [p50_ns, p99_ns, p999_ns], max_ns)| Stage {
                stage,
                count,
                p50_ns,
                p99_ns,
                p999_ns,
                max_ns,
            })
            .collect(),
        publish: publish.filter(|(count, _)| *count > 0).map(|(_, [p50_ns, p99_ns, p999_ns])| Quantiles {
            p50_ns,
            p99_ns,
            p999_ns,
        }),
        queues: (sampler.facts().queues)()
            .into_iter()
            .map(|fill| Queue { queue: fill.queue, used: fill.used, capacity: fill.capacity, dropped: fill.dropped })
            .collect(),
        rates: rates(sampler),
        rejects: rejects(sampler),
    }))
}

fn by_verdict(source: usize, verdict: Verdict) -> u64 {
    metrics::TICKS.at(source, usize::from(verdict.code())).get()
}

/// Sources that were removed stay: what they said was counted.
fn rates(sampler: &Sampler) -> Vec<Rate> {
    let now_ns = clock::now_ns();
    let view = sampler.facts().shown.now();
    let of = |(at, name): (usize, &str)| Rate {
        source: name.to_string(),
        accepted: by_verdict(at, Verdict::Accepted),
        rejected: Verdict::ALL.iter().filter(|v| **v != Verdict::Accepted).map(|v| by_verdict(at, *v)).sum(),
        per_second: round(sampler.rate(at, now_ns)),
    };
    view.market.sources().iter().map(|source| source.name.as_str()).enumerate().map(of).collect()
}

fn rejects(sampler: &Sampler) -> Vec<Reject> {
    let view = sampler.facts().shown.now();
    let mut found = Vec::new();
    for (at, source) in view.market.sources().iter().enumerate() {
        let verdicts =
            [Verdict::Duplicate, Verdict::OutOfOrder].map(|verdict| (verdict.word(), by_verdict(at, verdict)));
        let check = |check: &Check| (check.word(), metrics::CHECKS.at(at, usize::from(check.code())).get());
        let counts = verdicts.into_iter().chain(Check::ALL.iter().map(check)).filter(|(_, count)| *count > 0);
        found.extend(counts.map(|(reason, count)| Reject { source: source.name.clone(), reason, count }));
    }
    found
}
