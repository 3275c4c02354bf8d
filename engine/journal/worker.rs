//! The thread `tw-journal-disk`: from the queue to the disk.
//!
//! A block is given back only when it is synced: after a failed sync the system may have dropped what it could not
//! write, so that everything since the last good one is written again. The thread never goes on without having
//! succeeded; meanwhile the queue fills and the pipeline waits.

use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};

use super::durable::{DurableAt, DurableSetter};
use super::format::{Catalogue, JournalError};
use super::queue::{Block, PARK_MAX, Queue};
use super::retention::Retention;
use super::segments::Segments;
use super::snapshot::{self, Snapshot};
use crate::{clock, metrics};

const MS_NS: i64 = 1_000_000;
/// First and longest pause before a failed operation is tried again.
const RETRY_MS: (u64, u64) = (5, 500);

/// Asks for a new segment with another catalogue; who asks is told when it is there.
pub(super) type Growth = (Catalogue, Sender<Result<(), JournalError>>);

pub(super) struct Worker {
    queue: Arc<Queue>,
    dir: std::path::PathBuf,
    segments: Segments,
    /// Written but not synced blocks of the current segment with their offsets.
    unsynced: Vec<(u64, Box<Block>)>,
    /// The unsynced blocks must be written again.
    rewrite: bool,
    durable: DurableSetter,
    durable_seq: u64,
    snapshots: Receiver<Snapshot>,
    growths: Receiver<Growth>,
    /// A snapshot of a record that is not durable yet.
    early: Option<Snapshot>,
    retention: Retention,
    sync_ns: i64,
    synced_ns: i64,
    last_error: String,
}

/// What the worker is given.
pub(super) struct Parts {
    pub(super) queue: Arc<Queue>,
    pub(super) dir: std::path::PathBuf,
    pub(super) segments: Segments,
    pub(super) durable: (DurableSetter, DurableAt),
    pub(super) snapshots: Receiver<Snapshot>,
    pub(super) growths: Receiver<Growth>,
    pub(super) retention: Retention,
    pub(super) sync_ms: u64,
}

/// How it ended.
pub(super) struct Finished {
    /// What is on the disk.
    pub(super) at: DurableAt,
    /// Why records were lost, if any were.
    pub(super) reason: String,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Worker {
        let unsynced = Vec::with_capacity(parts.queue.blocks());
        Worker {
            queue: parts.queue,
            dir: parts.dir,
            segments: parts.segments,
            unsynced,
            rewrite: false,
            durable: parts.durable.0,
            durable_seq: parts.durable.1.seq,
            snapshots: parts.snapshots,
            growths: parts.growths,
            early: None,
            retention: parts.retention,
            sync_ns: i64::try_from(parts.sync_ms).unwrap_or(i64::MAX / MS_NS).saturating_mul(MS_NS),
            synced_ns: clock::monotonic_ns(),
            last_error: String::new(),
        }
    }

    /// Writes until the consumer has ended and everything is on the disk, or the disk was given up.
    pub(super) fn run(mut self) -> Finished {
        self.queue.i_write();
        self.sweep();
        let done = self.write_until_ended();
        let at = DurableAt { position: self.segments.position(), seq: self.durable_seq };
        if done.is_some() {
            self.take_snapshots();
            if let Err(error) = self.segments.cut() {
                tracing::warn!("{error}; the next start cuts it");
            }
        }
        self.queue.lose(self.unsynced.iter().map(|(_, block)| block.records).sum());
        Finished { at, reason: self.reason() }
    }

    fn reason(&self) -> String {
        if self.last_error.is_empty() { "the time to stop was over".into() } else { self.last_error.clone() }
    }

    /// `None` when it was given up.
    fn write_until_ended(&mut self) -> Option<()> {
        loop {
            // Before the queue is looked into: nothing is handed over after it.
            let ended = self.queue.ended();
            while let Some(block) = self.queue.pop() {
                self.write(block)?;
                if self.is_due() {
                    break;
                }
            }
            if ended {
                self.write_rest()?;
                return self.sync();
            }
            self.grow()?;
            if self.is_due() {
                if self.queue.ask() && !self.queue.leaving() {
                    park_timeout(PARK_MAX);
                    continue;
                }
                self.write_rest()?;
                self.sync()?;
                self.after_sync();
            }
            if self.queue.leaving() {
                return None;
            }
            park_timeout(self.until_due());
        }
    }

    /// Writes what has been handed over: at most all blocks there are, since none is given back meanwhile.
    fn write_rest(&mut self) -> Option<()> {
        while let Some(block) = self.queue.pop() {
            self.write(block)?;
            if self.queue.leaving() {
                return None;
            }
        }
        Some(())
    }

    /// A sync is due: by the time, or because half of the memory waits for it.
    fn is_due(&self) -> bool {
        self.until_due().is_zero() || self.unsynced.len() * 2 >= self.queue.blocks()
    }

    fn until_due(&self) -> Duration {
        let passed_ns = clock::monotonic_ns() - self.synced_ns;
        Duration::from_nanos(u64::try_from(self.sync_ns - passed_ns).unwrap_or(0))
    }

    fn write(&mut self, block: Box<Block>) -> Option<()> {
        // A new segment has room for at least one block.
        if !self.segments.has_room(block.bytes().len()) && self.roll(block.first_seq).is_none() {
            self.queue.lose(block.records);
            return None;
        }
        let offset = self.segments.position().offset;
        let records = block.records;
        let written = self.persist(|w| w.segments.write(block.bytes(), offset));
        if written.is_none() {
            self.queue.lose(records);
            return None;
        }
        metrics::JOURNAL_BYTES.add(block.bytes().len() as u64);
        self.unsynced.push((offset, block));
        Some(())
    }

    /// Begins a segment with another catalogue if somebody asks for it: a catalogue names what comes, not what was, so it
    /// stands before all records that need it.
    fn grow(&mut self) -> Option<()> {
        let Ok((catalogue, done)) = self.growths.try_recv() else { return Some(()) };
        let described = self.segments.describe(catalogue);
        if described.is_ok() {
            self.sync()?;
            self.roll(self.durable_seq + 1)?;
        }
        // Who asked may have given up.
        let _ = done.try_send(described);
        Some(())
    }

    fn roll(&mut self, first_seq: u64) -> Option<()> {
        self.sync()?;
        self.persist(|w| w.segments.cut())?;
        self.persist(|w| w.segments.roll(first_seq))?;
        self.sweep();
        Some(())
    }

    /// Makes everything written durable, tells so, and gives the blocks back.
    fn sync(&mut self) -> Option<()> {
        if let Some((_, last)) = self.unsynced.last() {
            let seq = last.last_seq;
            self.persist(Self::try_sync)?;
            metrics::JOURNAL_SYNCS.inc();
            self.durable_seq = seq;
            self.durable.set(DurableAt { position: self.segments.position(), seq });
            for (_, block) in self.unsynced.drain(..) {
                self.queue.recycle(block);
            }
            self.queue.recycled();
        }
        self.synced_ns = clock::monotonic_ns();
        Some(())
    }

    fn try_sync(&mut self) -> Result<(), JournalError> {
        if self.rewrite {
            for (offset, block) in &self.unsynced {
                self.segments.write(block.bytes(), *offset)?;
            }
        }
        self.rewrite = true;
        self.segments.sync()?;
        self.rewrite = false;
        Ok(())
    }

    /// Tries until it succeeds; `None` when the time to give up has come before. One message per episode.
    fn persist(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<(), JournalError>) -> Option<()> {
        let mut failures = 0u64;
        let mut pause_ms = RETRY_MS.0;
        loop {
            match attempt(self) {
                Ok(()) => {
                    if failures > 0 {
                        self.last_error.clear();
                        tracing::warn!("journal: writing again after {failures} failures; nothing was lost here");
                    }
                    return Some(());
                }
                Err(error) => {
                    metrics::JOURNAL_ERRORS.inc();
                    self.last_error = error.to_string();
                    if failures == 0 {
                        tracing::error!("{error}; tried again until it succeeds, while the pipeline waits");
                    }
                    failures += 1;
                }
            }
            if self.queue.gave_up() {
                return None;
            }
            park_timeout(Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(RETRY_MS.1);
        }
    }

    fn after_sync(&mut self) {
        if self.take_snapshots() {
            self.sweep();
        }
        self.housekeeping("mark what is stored", |w, now_ns| w.retention.stamp(&*w.segments.disk, now_ns));
    }

    /// Writes the snapshots whose records are durable; `true` when there was one.
    fn take_snapshots(&mut self) -> bool {
        let mut wrote = false;
        while let Some(snapshot) = self.early.take().or_else(|| self.snapshots.try_recv().ok()) {
            if snapshot.seq > self.durable_seq {
                self.early = Some(snapshot);
                break;
            }
            // The next one comes soon; the pipeline does not wait for this one.
            let written =
                self.housekeeping("write a snapshot", |w, _| snapshot::write(&*w.segments.disk, &w.dir, &snapshot));
            metrics::JOURNAL_SNAPSHOTS.add(u64::from(written));
            wrote |= written;
        }
        wrote
    }

    /// Deletes the segments that may go.
    fn sweep(&mut self) {
        self.housekeeping("delete old segments", |w, now_ns| {
            w.retention.sweep(&*w.segments.disk, w.segments.position().id(), now_ns)
        });
    }

    /// Does what may fail without harm until the next time; `true` when it did not fail.
    fn housekeeping(&mut self, what: &str, work: impl FnOnce(&mut Self, i64) -> Result<(), JournalError>) -> bool {
        let done = work(self, clock::machine_ns());
        if let Err(error) = &done {
            metrics::JOURNAL_ERRORS.inc();
            tracing::warn!("journal: cannot {what}, tried again later: {error}");
        }
        done.is_ok()
    }
}
