//! How the sources are doing, for those who ask: written by the sessions when something changes, never per tick.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tickwire_schemas::words::{Cause, SourceStatus};

use super::machine::State;
use crate::market::SourceId;
use crate::metrics;

/// The state of one source.
#[derive(Debug)]
pub struct FeedStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its persistent number.
    pub source: SourceId,
    /// Its dense index, as in the metrics.
    pub index: usize,
    /// Symbols that it subscribes.
    pub symbols: usize,
    status: AtomicU8,
    cause: AtomicU8,
    attempt: AtomicU32,
    since_ns: AtomicI64,
    connections: AtomicU64,
    last_error: Mutex<String>,
}

impl FeedStatus {
    pub(super) fn new(name: String, source: SourceId, index: usize, symbols: usize) -> Self {
        FeedStatus {
            name,
            source,
            index,
            symbols,
            status: AtomicU8::new(SourceStatus::Connecting.code()),
            cause: AtomicU8::new(Cause::Start.code()),
            attempt: AtomicU32::new(0),
            since_ns: AtomicI64::new(0),
            connections: AtomicU64::new(0),
            last_error: Mutex::new(String::new()),
        }
    }

    /// Its state.
    pub fn status(&self) -> SourceStatus {
        SourceStatus::from_code(self.status.load(Relaxed)).unwrap_or(SourceStatus::Down)
    }

    /// Why it is in that state.
    pub fn cause(&self) -> Cause {
        Cause::from_code(self.cause.load(Relaxed)).unwrap_or(Cause::None)
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
        self.connections.load(Relaxed).saturating_sub(1)
    }

    /// What last went wrong, in words, or nothing. Stays when the source is live again.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_state(&self, state: State, now_ns: i64) {
        self.status.store(state.status.code(), Relaxed);
        self.cause.store(state.cause.code(), Relaxed);
        self.attempt.store(state.attempt, Relaxed);
        self.since_ns.store(now_ns, Relaxed);
        metrics::STATUS.at(self.index).set(i64::from(state.status.code()));
    }

    pub(super) fn connected(&self) {
        if self.connections.fetch_add(1, Relaxed) > 0 {
            metrics::RECONNECTS.at(self.index, 0).inc();
        }
    }

    pub(super) fn set_error(&self, text: &str) {
        let mut error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        error.clear();
        error.push_str(text);
    }
}
