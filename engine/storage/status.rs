//! How the database writer is doing, for `/health`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::config::Mode;
use super::rows::Lane;
use crate::metrics;

/// The `storage` part of `/health`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StorageStatus {
    /// `embedded`, `server` or `off`.
    pub mode: &'static str,
    /// Journaled rows that the database has not acknowledged; a record that is not read yet counts as one.
    pub lag_rows: u64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
    /// What is wrong now; nothing when all is well.
    pub last_error: Option<String>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    lag_rows: u64,
    lag_ms: i64,
    /// What is wrong, by what it is wrong with.
    errors: BTreeMap<String, String>,
}

/// Shared by the writer and whoever asks.
#[derive(Debug, Clone)]
pub struct StatusHandle(Arc<Mutex<State>>);

/// The name under which errors stand that are no table's.
const GENERAL: &str = "";

impl StatusHandle {
    /// Nothing wrong, nothing waiting.
    #[must_use]
    pub fn new(mode: Mode) -> StatusHandle {
        StatusHandle(Arc::new(Mutex::new(State { mode, lag_rows: 0, lag_ms: 0, errors: BTreeMap::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is now.
    #[must_use]
    pub fn now(&self) -> StorageStatus {
        let state = self.state();
        StorageStatus {
            mode: state.mode.word(),
            lag_rows: state.lag_rows,
            lag_seconds: state.lag_ms as f64 / 1000.0,
            last_error: state.errors.values().next().cloned(),
        }
    }

    pub(super) fn lag(&self, rows: u64, ms: i64) {
        let mut state = self.state();
        (state.lag_rows, state.lag_ms) = (rows, ms);
        metrics::STORAGE_LAG_ROWS.set(rows as i64);
        metrics::STORAGE_LAG_MS.set(ms);
    }

    /// Something goes wrong with a table; logged when it begins.
    pub(super) fn failed(&self, lane: Lane, reason: &str) {
        self.set(table_of(lane), format!("{}: {reason}", lane.table.name()));
    }

    /// The table is well again.
    pub(super) fn recovered(&self, lane: Lane) {
        self.clear(table_of(lane));
    }

    /// Something goes wrong with the writer as a whole.
    pub(super) fn failed_generally(&self, reason: &str) {
        self.set(GENERAL.into(), reason.into());
    }

    /// It does not any more.
    pub(super) fn recovered_generally(&self) {
        self.clear(GENERAL.into());
    }

    fn set(&self, of: String, reason: String) {
        let before = self.state().errors.insert(of, reason.clone());
        if before.is_none() {
            tracing::warn!("storage: {reason}");
        }
    }

    fn clear(&self, of: String) {
        let before = self.state().errors.remove(&of);
        if let Some(before) = before {
            tracing::info!("storage: well again after: {before}");
        }
    }
}

fn table_of(lane: Lane) -> String {
    format!("{:?}.{}", lane.audience, lane.table.name())
}
