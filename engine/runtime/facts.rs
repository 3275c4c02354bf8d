//! What the console and the alerts are told of the running engine.

use std::sync::Arc;

use super::Settings;
use super::database::Database;
use crate::console::{Desk, EndpointNow, QueueFill, Shown};
use crate::control::jobs::Jobs;
use crate::fanout::FanoutHandle;
use crate::journal::JournalHandle;
use crate::metrics::{self, OUTBOUND_TAKEN, SOURCES_MAX};
use crate::repair::{Key, Repairer};
use crate::ring::InboundFill;
use crate::storage::{self, StorageStatus};

/// The database writer's own figures, and why there is none.
pub(super) fn storage_status(database: &Database) -> Box<dyn Fn() -> StorageStatus + Send + Sync> {
    let status = database.writer.as_ref().map(storage::Writer::status_handle);
    let (mode, store_error) = (database.mode, Arc::clone(&database.error));
    Box::new(move || {
        let mut now = status.as_ref().unwrap_or(&storage::StatusHandle::new(mode)).now();
        let error = store_error.lock().ok().and_then(|error| error.clone());
        now.last_error = error.or(now.last_error);
        now
    })
}

/// Makes a hole wait again to be mended, where holes are mended.
pub(super) fn retry_gap(repairer: Option<&Repairer>) -> Box<dyn Fn(u32, u64) -> bool + Send + Sync> {
    let retries = repairer.map(Repairer::sources);
    Box::new(move |epoch, id| retries.as_ref().is_some_and(|retries| retries.retry(Key { epoch, id })))
}

/// What the console shows of jobs and of the storage.
pub(super) fn desk(
    jobs: &Arc<Jobs>,
    settings: &Settings,
    database: &Database,
    journal: &JournalHandle,
    shown: Shown,
) -> Arc<Desk> {
    let sources = move || {
        let view = shown.now();
        let sources = view.market.sources().iter().enumerate().filter(|(at, _)| !view.removed.contains(at));
        sources.map(|(_, source)| (source.name.clone(), source.owner.clone())).collect()
    };
    Arc::new(Desk {
        jobs: Arc::clone(jobs),
        attempts: settings.jobs.attempts,
        endpoint: endpoint(database),
        database: settings.storage.database.clone(),
        retention: settings.retention.clone(),
        journal_dir: journal.dir().to_path_buf(),
        sources: Box::new(sources),
    })
}

/// Says where the database is, as soon as it is up.
pub(super) fn endpoint(database: &Database) -> EndpointNow {
    let endpoint = database.endpoint.clone();
    Box::new(move || endpoint.as_ref().and_then(|endpoint| endpoint.borrow().clone()))
}

/// The queues between the threads, in the order of the data.
pub(super) fn queues(
    settings: &Settings,
    inbound: &InboundFill,
    journal: &JournalHandle,
    fanout: &FanoutHandle,
) -> Box<dyn Fn() -> Vec<QueueFill> + Send + Sync> {
    let (inbound, journal, fanout) = (inbound.clone(), journal.fill(), fanout.stats());
    let (outbound_slots, pending_max) = (settings.outbound_slots as u64, settings.repair.pending_max as u64);
    Box::new(move || {
        let dropped = (0..SOURCES_MAX).map(|source| metrics::INPUTS_DROPPED.at(source, 0).get()).sum();
        let of = |queue, (used, capacity), dropped| QueueFill { queue, used, capacity: Some(capacity), dropped };
        // The slowest of the consumers is what the pipeline would wait for.
        let consumers = 1 + fanout.terminals_by_thread().len();
        let taken = OUTBOUND_TAKEN.iter().take(consumers).map(metrics::Counter::get).min().unwrap_or(0);
        let outbound = metrics::RECORDS.get().saturating_sub(taken).min(outbound_slots);
        let gauge = |gauge: &metrics::Gauge| gauge.get().unsigned_abs();
        let storage = QueueFill {
            queue: "storage",
            used: gauge(&metrics::STORAGE_LAG_ROWS),
            capacity: None,
            dropped: metrics::STORAGE_UNREADABLE.get(),
        };
        vec![
            of("inbound", inbound.now(), dropped),
            of("outbound", (outbound, outbound_slots), 0),
            of("journal", journal.now(), journal.lost()),
            of("fanout", fanout.window(), metrics::FANOUT_CONFLATED.get()),
            storage,
            of("repairs", (gauge(&metrics::REPAIRS_PENDING), pending_max), metrics::REPAIRS_OVERFLOWED.get()),
        ]
    })
}
