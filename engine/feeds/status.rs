//! How the sources are doing, for those who ask: written by the sessions when something changes, never per tick.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;

use super::machine::State;
use super::standby::Service;
use crate::market::SourceId;
use crate::{clock, metrics};

/// The state of one source.
#[derive(Debug)]
pub struct FeedStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its persistent number.
    pub source: SourceId,
    /// Its dense index, as in the metrics.
    pub index: usize,
    symbols: AtomicUsize,
    status: AtomicU8,
    cause: AtomicU8,
    attempt: AtomicU32,
    since_ns: AtomicI64,
    live: AtomicUsize,
    connections: AtomicUsize,
    reconnects: AtomicU64,
    /// When, on the monotonic clock, it came into service, or (negative) went out of it.
    service_ns: AtomicI64,
    flips: watch::Sender<u64>,
    last_error: Mutex<String>,
}

impl FeedStatus {
    fn new(name: String, source: SourceId, index: usize, flips: watch::Sender<u64>) -> Self {
        FeedStatus {
            name,
            source,
            index,
            symbols: AtomicUsize::new(0),
            status: AtomicU8::new(SourceStatus::Connecting.code()),
            cause: AtomicU8::new(Cause::Start.code()),
            attempt: AtomicU32::new(0),
            since_ns: AtomicI64::new(0),
            live: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            reconnects: AtomicU64::new(0),
            service_ns: AtomicI64::new(-clock::monotonic_ns().max(1)),
            flips,
            last_error: Mutex::new(String::new()),
        }
    }

    /// Its state; of several connections, that of the one that is worst off.
    pub fn status(&self) -> SourceStatus {
        SourceStatus::from_code(self.status.load(Relaxed)).unwrap_or(SourceStatus::Down)
    }

    /// Why it is in that state.
    pub fn cause(&self) -> Cause {
        Cause::from_code(self.cause.load(Relaxed)).unwrap_or(Cause::None)
    }

    /// Whether its connection cannot be made or kept. A silent one is not at fault, nor one that was stopped or held back.
    pub fn is_faulty(&self) -> bool {
        use Cause::{ClosedByPeer, ConnectFailed, LoginRefused, ProtocolError, RateLimited, ReadError};
        let faults = [ConnectFailed, LoginRefused, ClosedByPeer, ReadError, ProtocolError, RateLimited];
        matches!(self.status(), SourceStatus::Connecting | SourceStatus::Down) && faults.contains(&self.cause())
    }

    /// Symbols that it subscribes.
    pub fn symbols(&self) -> usize {
        self.symbols.load(Relaxed)
    }

    /// How many of its connections are live, and how many it has: more than one where the venue limits the symbols of
    /// each, none while it is held back.
    pub fn connections(&self) -> (usize, usize) {
        (self.live.load(Relaxed), self.connections.load(Relaxed))
    }

    /// Connection attempts since it was last live.
    pub fn attempt(&self) -> u32 {
        self.attempt.load(Relaxed)
    }

    /// When it came into that state, nanoseconds UTC; 0 before the first.
    pub fn since_ns(&self) -> i64 {
        self.since_ns.load(Relaxed)
    }

    /// Connections made after the first.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// What last went wrong, in words, or nothing. Stays when the source is live again.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since when it serves, or does not: a source that is held back serves through the one that it stands in for.
    pub(super) fn service(&self) -> Service {
        let at_ns = self.service_ns.load(Relaxed);
        Service { serves: at_ns > 0, since_ns: at_ns.saturating_abs() }
    }

    /// Of all connections together; `connections` is as [`FeedStatus::connections`].
    pub(super) fn set_state(&self, state: State, connections: (usize, usize), now_ns: i64) {
        let before = (self.status(), self.cause());
        self.status.store(state.status.code(), Relaxed);
        self.cause.store(state.cause.code(), Relaxed);
        self.attempt.store(state.attempt, Relaxed);
        self.live.store(connections.0, Relaxed);
        self.connections.store(connections.1, Relaxed);
        if before != (state.status, state.cause) || self.since_ns() == 0 {
            self.since_ns.store(now_ns, Relaxed);
        }
        metrics::STATUS.at(self.index).set(i64::from(state.status.code()));
        let serves = state.status == SourceStatus::Live || state.cause == Cause::Standby;
        if serves != self.service().serves {
            let monotonic_ns = clock::monotonic_ns().max(1);
            self.service_ns.store(if serves { monotonic_ns } else { -monotonic_ns }, Relaxed);
            self.flips.send_modify(|count| *count += 1);
        }
    }

    /// Says the state again to those who may have heard an older one in between.
    pub(super) fn repeat(&self) {
        metrics::STATUS.at(self.index).set(i64::from(self.status().code()));
    }

    pub(super) fn set_symbols(&self, symbols: usize) {
        self.symbols.store(symbols, Relaxed);
    }

    pub(super) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Relaxed);
        metrics::RECONNECTS.at(self.index, 0).inc();
    }

    pub(super) fn set_error(&self, text: &str) {
        let mut error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        error.clear();
        error.push_str(text);
    }
}

/// The states of all sources, which come and go.
#[derive(Debug, Clone)]
pub struct Statuses {
    all: Arc<RwLock<Vec<Arc<FeedStatus>>>>,
    /// Counts how often a source came into service or went out of it.
    flips: watch::Sender<u64>,
}

impl Statuses {
    pub(super) fn new() -> Statuses {
        Statuses { all: Arc::default(), flips: watch::Sender::new(0) }
    }

    /// Every source, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<FeedStatus>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The source with this dense index.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Arc<FeedStatus>> {
        self.find(|status| status.index == index)
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<FeedStatus>> {
        self.find(|status| status.name == name)
    }

    fn find(&self, is: impl Fn(&FeedStatus) -> bool) -> Option<Arc<FeedStatus>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).iter().find(|status| is(status)).cloned()
    }

    pub(super) fn add(&self, name: String, source: SourceId, index: usize) -> Arc<FeedStatus> {
        let status = Arc::new(FeedStatus::new(name, source, index, self.flips.clone()));
        self.all.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&status));
        status
    }

    pub(super) fn remove(&self, source: SourceId) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).retain(|status| status.source != source);
        self.flips.send_modify(|count| *count += 1);
    }

    pub(super) fn flips(&self) -> watch::Receiver<u64> {
        self.flips.subscribe()
    }
}
