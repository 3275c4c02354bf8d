//! `GET /api/status`: how the engine is, as far as the viewer may see.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tickwire_schemas::words::{GapState, SourceStatus};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::alerts::{self, Alert};
use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Paging, Shared, blocking, time};
use crate::console::health::{self, Health, Sampler, View, round};
use crate::console::viewer::Viewer;
use crate::control::connections::{Connections, Status as ConnectionStatus};
use crate::control::users::Permission;
use crate::feeds::FeedStatus;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(status))
}

/// Alerts that the status shows.
const NEWEST_ALERTS: u32 = 10;

/// How the engine is.
#[derive(Debug, Serialize, ToSchema)]
struct EngineStatus {
    service: &'static str,
    status: Health,
    version: &'static str,
    uptime_seconds: i64,
    /// RFC 3339.
    at: String,
    /// What is wrong, a sentence each.
    problems: Vec<String>,
    connections: Connected,
    rates: Rates,
    /// Terminals connected over QUIC.
    terminals: u64,
    latency_ms: Latency,
    storage: Storage,
    gaps: Gaps,
    /// The newest ten that the viewer may see.
    alerts: Vec<Alert>,
}

/// Connections by what they do: those that the viewer sees.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Connected {
    active: u64,
    inactive: u64,
    error: u64,
    testing: u64,
    stale: u64,
    total: u64,
}

impl Connected {
    fn count(&mut self, status: ConnectionStatus) {
        self.total += 1;
        *match status {
            ConnectionStatus::Active => &mut self.active,
            ConnectionStatus::Inactive => &mut self.inactive,
            ConnectionStatus::Error => &mut self.error,
            ConnectionStatus::Testing => &mut self.testing,
            ConnectionStatus::Stale => &mut self.stale,
        } += 1;
    }
}

/// Over the last ten seconds.
#[derive(Debug, Serialize, ToSchema)]
struct Rates {
    /// Ticks and trades of the sources that the viewer sees.
    ticks_per_second: f64,
    /// Records of every kind that the engine published.
    published_per_second: f64,
}

/// From publication to the terminals' connections, over the last second with deliveries.
#[derive(Debug, Serialize, ToSchema)]
struct Latency {
    p50: f64,
    p99: f64,
}

/// How far the database is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StorageState)]
struct Storage {
    /// `embedded`, `server` or `off`.
    mode: &'static str,
    /// Rows that are journaled and not yet in the database.
    lag_rows: u64,
    /// Age of the oldest of them.
    lag_seconds: f64,
    /// What is wrong now; told to those with the permission view-system.
    #[schema(required)]
    last_error: Option<String>,
}

/// Holes of this run, of the sources that the viewer sees.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GapCounts)]
struct Gaps {
    /// Data is missing now.
    open: u64,
    /// Nothing mended them.
    lost: u64,
}

/// How the engine is.
#[utoipa::path(get, path = "/api/status", tag = "system", responses(
    (status = 200, description = "How the engine is", body = EngineStatus),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn status(viewer: Viewer, State(services): State<Shared>) -> Result<Json<EngineStatus>, ApiError> {
    let dir = services.state_dir.clone();
    let kept = blocking(move || {
        let connections = Connections::open(&dir).and_then(|mut connections| connections.list());
        connections.map_err(ApiError::internal)
    })
    .await?;
    let paging = Paging::new(Some(NEWEST_ALERTS), None);
    let (alerts, _) = alerts::newest(&services, &viewer, None, &paging).await?;
    let (sampler, now_ns) = (&services.sampler, clock::now_ns());
    let facts = sampler.facts();
    let view = facts.shown.now();
    let sees = Sees { sampler, viewer: &viewer, view: &view };
    let mut connections = Connected::default();
    let mut ticks_per_second = 0.0;
    for at in sees.sources() {
        connections.count(connection_status((facts.feed)(at).as_deref(), health::status(at)));
        ticks_per_second += sampler.rate(at, now_ns);
    }
    // Those of the database that do not run.
    let runs = |name: &str| sees.all().any(|at| view.market.sources()[at].name == name);
    let idle = kept.iter().filter(|kept| !runs(&kept.name) && viewer.sees_connection(&kept.owner, &kept.name));
    idle.for_each(|kept| connections.count(kept.status));
    let storage = (facts.storage)();
    let sees_system = viewer.has(Permission::ViewSystem);
    Ok(Json(EngineStatus {
        service: "tickwire",
        status: sampler.verdict().word(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: (now_ns - facts.started_ns) / 1_000_000_000,
        at: time(now_ns),
        problems: sees.problems(storage.last_error.as_ref()),
        connections,
        rates: Rates {
            ticks_per_second: round(ticks_per_second),
            published_per_second: round(sampler.published_per_second(now_ns)),
        },
        terminals: facts.fanout.terminals(),
        latency_ms: Latency {
            p50: round(facts.fanout.latency_p50_ns() as f64 / 1e6),
            p99: round(facts.fanout.latency_p99_ns() as f64 / 1e6),
        },
        storage: Storage {
            mode: storage.mode,
            lag_rows: storage.lag_rows,
            lag_seconds: storage.lag_seconds,
            last_error: storage.last_error.filter(|_| sees_system),
        },
        gaps: sees.gaps(),
        alerts,
    }))
}

/// What a source's connections do, in a word for people: the same that is shown of it as a connection.
pub(in crate::console) fn connection_status(feed: Option<&FeedStatus>, status: SourceStatus) -> ConnectionStatus {
    let fault = feed.is_some_and(FeedStatus::is_faulty);
    match status {
        SourceStatus::Live => ConnectionStatus::Active,
        SourceStatus::Mute => ConnectionStatus::Stale,
        SourceStatus::Stopped => ConnectionStatus::Inactive,
        SourceStatus::Connecting | SourceStatus::Down if fault => ConnectionStatus::Error,
        // On its way, and nothing is known against it.
        SourceStatus::Connecting | SourceStatus::Down => ConnectionStatus::Active,
    }
}

/// What the viewer sees of the running engine.
struct Sees<'a> {
    sampler: &'a Sampler,
    viewer: &'a Viewer,
    view: &'a View,
}

impl Sees<'_> {
    /// Sources that run.
    fn all(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.view.market.sources().len()).filter(|at| !self.view.removed.contains(at))
    }

    fn sources(&self) -> impl Iterator<Item = usize> + '_ {
        self.all().filter(|at| {
            let source = &self.view.market.sources()[*at];
            self.viewer.sees_connection(&source.owner, &source.name)
        })
    }

    fn problems(&self, storage_error: Option<&String>) -> Vec<String> {
        let mut problems = Vec::new();
        if self.sampler.verdict().is_stuck() {
            problems
                .push("the journal's disk does not keep up: inputs wait, and are lost when there is no room".into());
        }
        match self.sampler.verdict().live_of_wanted() {
            (0, 0) => problems.push("no shared connection is switched on".into()),
            (0, _) => problems.push("no shared connection delivers prices".into()),
            _ => {}
        }
        for at in self.sources() {
            let Some(feed) = (self.sampler.facts().feed)(at) else { continue };
            let (status, cause) = (feed.status(), feed.cause());
            if !feed.is_faulty() && status != SourceStatus::Mute {
                continue;
            }
            let error = feed.last_error();
            let why = if error.is_empty() { String::new() } else { format!(": {error}") };
            problems.push(format!("{}: {status} ({cause}){why}", feed.name));
        }
        match storage_error {
            Some(error) if self.viewer.has(Permission::ViewSystem) => problems.push(format!("the database: {error}")),
            Some(_) => problems.push("the database does not take everything at the moment".into()),
            None => {}
        }
        problems
    }

    fn gaps(&self) -> Gaps {
        let holes = self.sampler.facts().quality.holes();
        let sees = |name: &str| {
            let source = self.view.market.sources().iter().find(|source| source.name == name);
            // One that is about every source is everybody's.
            name.is_empty() || source.is_some_and(|source| self.viewer.sees_connection(&source.owner, &source.name))
        };
        let lost = holes.counts.iter().filter(|((source, _, state), _)| *state == GapState::Lost && sees(source));
        Gaps {
            open: holes.open.iter().filter(|hole| sees(&hole.source)).count() as u64,
            lost: lost.map(|(_, count)| count).sum(),
        }
    }
}
