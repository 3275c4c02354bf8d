//! What `/health` says.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tickwire_schemas::words::{self, Cause, Check, SourceStatus};
use utoipa::ToSchema;

use super::desk::Desk;
use super::live::Board;
use crate::control::service::Service;
use crate::fanout::FanoutStats;
use crate::feeds::FeedStatus;
use crate::market::Price;
use crate::stages::Market;
use crate::storage::{MarketData, StorageStatus};
use crate::{metrics, quality};

/// Receive time of the last data of each source and instrument, by source, then instrument; 0 before the first.
pub type LastSeen = Arc<[AtomicI64]>;

/// What there is to show. An entry is never taken away: a source that was removed stays as one that has stopped.
pub struct View {
    /// Sources and instruments.
    pub market: Market,
    /// Written by the pipeline.
    pub last_seen: LastSeen,
    /// Sources, by dense index, that are not configured any more.
    pub removed: BTreeSet<usize>,
}

impl View {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(market: &Market) -> View {
        View { market: market.clone(), last_seen: never_seen(market), removed: BTreeSet::new() }
    }
}

/// The cells of a market, before any data.
#[must_use]
pub fn never_seen(market: &Market) -> LastSeen {
    (0..market.sources().len() * market.instruments().len()).map(|_| AtomicI64::new(0)).collect()
}

/// The newest [`View`]: who has a clone shows the next one to all.
#[derive(Clone)]
pub struct Shown(Arc<Mutex<Arc<View>>>);

impl Shown {
    /// With a first one.
    #[must_use]
    pub fn new(view: View) -> Shown {
        Shown(Arc::new(Mutex::new(Arc::new(view))))
    }

    /// The newest.
    #[must_use]
    pub fn now(&self) -> Arc<View> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows another one.
    pub fn show(&self, view: View) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

/// What the console asks.
pub struct Facts {
    /// Sources and instruments.
    pub shown: Shown,
    /// How the connections of a source are, by dense index; a recording has none.
    pub feed: Box<dyn Fn(usize) -> Option<Arc<FeedStatus>> + Send + Sync>,
    /// The fan-out's own figures.
    pub fanout: Arc<FanoutStats>,
    /// How good the sources are.
    pub quality: Arc<quality::Board>,
    /// The database writer's own figures.
    pub storage: Box<dyn Fn() -> StorageStatus + Send + Sync>,
    /// What the pages about jobs and storage stand on.
    pub desk: Arc<Desk>,
    /// How full the queues between the threads are.
    pub queues: Box<dyn Fn() -> Vec<QueueFill> + Send + Sync>,
    /// Makes a hole wait again to be mended, by the epoch and the number that opened it; false when it cannot.
    pub retry_gap: Box<dyn Fn(u32, u64) -> bool + Send + Sync>,
    /// What is so now.
    pub live: Arc<Board>,
    /// What is stored; none when nothing is.
    pub market_data: Option<Arc<MarketData>>,
    /// When the engine started, nanoseconds UTC.
    pub started_ns: i64,
    /// The data connections, which are made and changed here.
    pub connections: Arc<Service>,
}

/// How full a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFill {
    /// Its name.
    pub queue: &'static str,
    /// What is in it.
    pub used: u64,
    /// What fits; `None` where a disk is the bound.
    pub capacity: Option<u64>,
    /// What found no room since the start.
    pub dropped: u64,
}

/// Seconds over which rates are taken.
const RATE_WINDOW_S: usize = 10;

/// A symbol counts as active when data came within this time.
pub(super) const ACTIVE_NS: i64 = 60_000_000_000;

/// Total ticks and trades of each source at a time.
struct Sample {
    at_ns: i64,
    totals: Vec<u64>,
    published: u64,
}

/// Keeps a few seconds of counters, so that rates can be told.
pub(super) struct Sampler {
    facts: Arc<Facts>,
    samples: Mutex<VecDeque<Sample>>,
    /// Samples in a row that found the pipeline waiting for the journal.
    stuck_samples: AtomicU32,
}

/// From so many on it is no burst that the disk will catch up with.
const STUCK_SAMPLES: u32 = 2;

/// Whether the engine serves, and what keeps it from being well.
pub(super) struct Verdict {
    pub(super) serves: bool,
    pub(super) well: bool,
    /// The pipeline waits for the journal.
    stuck: bool,
    /// Global sources that are live, and that are wanted.
    live: usize,
    wanted: usize,
}

impl Verdict {
    pub(super) fn word(&self) -> Health {
        match (self.serves, self.well) {
            (false, _) => Health::Unavailable,
            (true, true) => Health::Ok,
            (true, false) => Health::Degraded,
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Global sources that are live, and that are wanted.
    pub(super) fn live_of_wanted(&self) -> (usize, usize) {
        (self.live, self.wanted)
    }
}

/// How the engine is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    /// All is well.
    Ok,
    /// It serves, and something is wrong.
    Degraded,
    /// It does not serve.
    Unavailable,
}

fn total(source: usize) -> u64 {
    words::Verdict::ALL.iter().map(|verdict| metrics::TICKS.at(source, usize::from(verdict.code())).get()).sum()
}

impl Sampler {
    pub(super) fn new(facts: Arc<Facts>) -> Sampler {
        Sampler {
            facts,
            samples: Mutex::new(VecDeque::with_capacity(RATE_WINDOW_S + 1)),
            stuck_samples: AtomicU32::new(0),
        }
    }

    pub(super) fn sample(&self, at_ns: i64) {
        let stuck = if metrics::JOURNAL_WAITING.get() > 0 { self.stuck_samples.load(Relaxed) + 1 } else { 0 };
        self.stuck_samples.store(stuck, Relaxed);
        let totals = (0..self.facts.shown.now().market.sources().len()).map(total).collect();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() > RATE_WINDOW_S {
            samples.pop_front();
        }
        samples.push_back(Sample { at_ns, totals, published: metrics::RECORDS.get() });
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Records of all kinds a second.
    pub(super) fn published_per_second(&self, now_ns: i64) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = samples.front() else { return 0.0 };
        let seconds = (now_ns - oldest.at_ns) as f64 / 1e9;
        let grown = metrics::RECORDS.get().saturating_sub(oldest.published);
        if seconds < 0.5 { 0.0 } else { grown as f64 / seconds }
    }

    /// Ticks and trades of a source a second.
    pub(super) fn rate(&self, source: usize, now_ns: i64) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = samples.front() else { return 0.0 };
        let seconds = (now_ns - oldest.at_ns) as f64 / 1e9;
        // A source that was not there then had said nothing.
        let before = oldest.totals.get(source).copied().unwrap_or(0);
        if seconds < 0.5 { 0.0 } else { (total(source) - before) as f64 / seconds }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let facts = &self.facts;
        let view = facts.shown.now();
        let (mut live, mut wanted) = (0, 0);
        for at in 0..view.market.sources().len() {
            // Who is held back is where it is wanted.
            let held = (facts.feed)(at).is_some_and(|feed| feed.cause() == Cause::Standby);
            if view.market.is_global(at) && !view.removed.contains(&at) && !held {
                wanted += 1;
                live += usize::from(status(at) == SourceStatus::Live);
            }
        }
        let stuck = self.stuck_samples.load(Relaxed) >= STUCK_SAMPLES;
        let serves = live > 0 && !stuck;
        let well = serves && live == wanted && (facts.storage)().last_error.is_none();
        Verdict { serves, well, stuck, live, wanted }
    }

    /// Whether the engine can serve, and everything it says about itself. It cannot when no global source is live, or
    /// when it has stopped taking inputs because the journal cannot be written.
    pub(super) fn health(&self, now_ns: i64) -> (bool, Value) {
        let facts = &self.facts;
        let view = facts.shown.now();
        let sources = view.market.sources();
        let mut connections = Map::new();
        for (at, source) in sources.iter().enumerate() {
            connections.insert(source.name.clone(), self.connection(&view, at, now_ns));
        }
        let verdict = self.verdict();
        let Verdict { serves, stuck, live, wanted, .. } = verdict;
        let storage = (facts.storage)();
        let [p50, p99] = [facts.fanout.latency_p50_ns(), facts.fanout.latency_p99_ns()].map(|ns| ns as f64 / 1e6);
        let summaries = facts.quality.now();
        let body = json!({
            "service_name": "tickwire",
            "status": verdict.word(),
            "timestamp": jiff::Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or_default().to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (now_ns - facts.started_ns) / 1_000_000_000,
            "broker_connections": connections,
            "aggregation_metrics": {
                "total_symbols_tracked": view.market.instruments().len(),
                "subscribers_count": facts.fanout.terminals(),
                "distribution_latency_ms": p50,
                "distribution_latency_p99_ms": p99,
            },
            "quality_metrics": {
                "data_completeness_percent": completeness(sources.len()),
                "avg_spread_quality": spread_quality(sources.len()),
                "broker_sync_status": if live == wanted { "synchronized" } else if live > 0 { "partial" } else { "lost" },
            },
            "source_quality": source_quality(&summaries),
            "recommended": quality::recommended(&summaries),
            "gaps": gaps(&facts.quality.holes()),
            "storage": storage,
            "journal": { "waiting": stuck, "errors": metrics::JOURNAL_ERRORS.get() },
        });
        (serves, body)
    }

    fn connection(&self, view: &View, source: usize, now_ns: i64) -> Value {
        let instruments = view.market.instruments().len();
        let seen = &view.last_seen[source * instruments..(source + 1) * instruments];
        let active = seen.iter().map(|at| at.load(Relaxed)).filter(|at| *at > 0 && now_ns - at < ACTIVE_NS).count();
        let last_ns = metrics::LAST_DATA_NS.at(source).get();
        let feed = (self.facts.feed)(source);
        let connections = feed.as_ref().map(|feed| feed.connections());
        json!({
            "status": status(source).word(),
            "cause": feed.as_ref().map(|feed| feed.cause().word()),
            "connections": connections.map(|(live, total)| json!({ "live": live, "total": total })),
            "symbols": feed.as_ref().map(|feed| feed.symbols()),
            "active_symbols": active,
            "ticks_per_second": (self.rate(source, now_ns) * 10.0).round() / 10.0,
            "latency_ms": metrics::LATENCY_US.at(source).get() as f64 / 1000.0,
            "last_tick_age_ms": (last_ns > 0).then(|| (now_ns - last_ns) / 1_000_000),
            "reconnects": metrics::RECONNECTS.at(source, 0).get(),
            "decode_errors": metrics::DECODE_ERRORS.at(source, 0).get(),
            "inputs_dropped": metrics::INPUTS_DROPPED.at(source, 0).get(),
            "last_error": feed.map(|feed| feed.last_error()).filter(|error| !error.is_empty()),
        })
    }
}

/// By symbol, then source.
fn source_quality(summaries: &[quality::Summary]) -> Value {
    let mut symbols = Map::new();
    for summary in summaries {
        let of_symbol = symbols.entry(summary.symbol.to_string()).or_insert_with(|| Value::Object(Map::new()));
        of_symbol[&*summary.source] = json!({
            "score": round(summary.score),
            "uptime_percent": round(summary.uptime_percent),
            "completeness_percent": round(summary.completeness_percent),
            "latency_p50_ms": summary.latency_p50_us.map(|us| round(us / 1e3)),
            "latency_p99_ms": summary.latency_p99_us.map(|us| round(us as f64 / 1e3)),
            "avg_spread": summary.avg_spread_e9.and_then(Price::from_e9).map(|spread| spread.to_string()),
            "ticks_per_second": round(summary.ticks_per_second),
            "rejects": summary.rejects,
            "best_share_percent": summary.best_share_percent.map(round),
        });
    }
    Value::Object(symbols)
}

/// The ledger of holes: counts by source, cause and state.
fn gaps(holes: &quality::Holes) -> Value {
    let mut counts = Map::new();
    for ((source, cause, state), count) in &holes.counts {
        let causes = counts.entry(source.to_string()).or_insert_with(|| Value::Object(Map::new()));
        causes[cause.word()][state.word()] = (*count).into();
    }
    let time = |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).ok().map(|time| time.to_string());
    let hole = |hole: &quality::Hole| {
        json!({
            "source": &*hole.source,
            "symbol": &*hole.symbol,
            "cause": hole.cause.word(),
            "state": hole.state.word(),
            "from": hole.from_ns.and_then(time),
            "to": hole.to_ns.and_then(time),
            "lost": hole.lost,
            "epoch_opened": hole.key.0,
            "gap_id": hole.key.1,
        })
    };
    json!({
        "open_count": holes.open_count,
        "open": holes.open.iter().map(hole).collect::<Vec<_>>(),
        "newest": holes.newest.iter().map(hole).collect::<Vec<_>>(),
        "counts": counts,
    })
}

pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

pub(super) fn status(source: usize) -> SourceStatus {
    u8::try_from(metrics::STATUS.at(source).get())
        .ok()
        .and_then(SourceStatus::from_code)
        .unwrap_or(SourceStatus::Connecting)
}

/// Percent of what was received that reached the stages: frames that could not be decoded and inputs that did not fit
/// are what is missing.
fn completeness(sources: usize) -> f64 {
    let (mut reached, mut lost) = (0, 0);
    for source in 0..sources {
        reached += total(source);
        lost += metrics::DECODE_ERRORS.at(source, 0).get() + metrics::INPUTS_DROPPED.at(source, 0).get();
    }
    share(reached, reached + lost)
}

/// Percent of the ticks whose spread was believable: neither crossed nor wider than allowed.
fn spread_quality(sources: usize) -> f64 {
    let (mut all, mut bad) = (0, 0);
    for source in 0..sources {
        all += total(source);
        for check in [Check::Spread, Check::Crossed] {
            bad += metrics::CHECKS.at(source, usize::from(check.code())).get();
        }
    }
    share(all.saturating_sub(bad), all)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { (part as f64 / whole as f64 * 1e5).round() / 1e3 }
}
