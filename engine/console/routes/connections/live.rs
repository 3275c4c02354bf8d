//! How the feed of a connection is now.

use std::sync::atomic::Ordering::Relaxed;

use crate::console::health::{ACTIVE_NS, Sampler, status};
use crate::control::service::{Lines, Live, status_of};
use crate::metrics;

/// By its name; nothing when it does not run.
pub(super) fn live(sampler: &Sampler, name: &str, now_ns: i64) -> Option<Live> {
    let facts = sampler.facts();
    let view = facts.shown.now();
    let at = view.market.sources().iter().position(|source| source.name == name)?;
    let feed = (facts.feed)(at).filter(|_| !view.removed.contains(&at))?;
    let instruments = view.market.instruments().len();
    let seen = view.last_seen.get(at * instruments..(at + 1) * instruments)?;
    let active = seen.iter().map(|at| at.load(Relaxed)).filter(|at| *at > 0 && now_ns - at < ACTIVE_NS).count();
    let last_ns = metrics::LAST_DATA_NS.at(at).get();
    let (live, total) = feed.connections();
    Some(Live {
        state: status(at).word().into(),
        cause: feed.cause().word().into(),
        connections: Lines { live, total },
        ticks_per_second: (sampler.rate(at, now_ns) * 10.0).round() / 10.0,
        latency_ms: metrics::LATENCY_US.at(at).get() as f64 / 1000.0,
        last_tick_age_ms: (last_ns > 0).then(|| (now_ns - last_ns) / 1_000_000),
        active_symbols: active,
        reconnects: metrics::RECONNECTS.at(at, 0).get(),
        decode_errors: metrics::DECODE_ERRORS.at(at, 0).get(),
        dropped: metrics::INPUTS_DROPPED.at(at, 0).get(),
        status: status_of(feed.status(), feed.cause(), feed.attempt()),
        last_error: Some(feed.last_error()).filter(|error| !error.is_empty()),
    })
}
