//! Rows gathered into batches: one lane and one epoch each, cut by rows, bytes or age. Pure.
//!
//! A batch holds every row of its lane with `seq` from its first to its last, and nothing else. That is what allows
//! recovery to make the same batch again from the journal.

use std::collections::{BTreeMap, VecDeque};

use super::manifest::Manifest;
use super::names::Names;
use super::rows::{Audience, ENCODING, Lane, Stored, Table};
use crate::journal::Position;

/// A database that is behind gets so many times as many rows at once: each insert costs it something whatever its length.
pub const WHEN_BEHIND: u64 = 5;

/// When a batch is cut.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of one insert; [`WHEN_BEHIND`] times as many where another batch already waits.
    pub rows: u64,
    /// Bytes of one insert; a batch is cut by the row that reaches it.
    pub bytes: usize,
    /// Longest time that a row waits for company, nanoseconds.
    pub age_ns: i64,
}

/// Rows that are inserted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where they go.
    pub lane: Lane,
    /// Their epoch.
    pub epoch: u32,
    /// `seq` of the first row.
    pub first_seq: u64,
    /// `seq` of the last row.
    pub last_seq: u64,
    /// How many.
    pub rows: u64,
    /// The rows, encoded.
    pub bytes: Vec<u8>,
    /// Where the first row's record stands in the journal.
    pub from: Position,
    /// Where the last row's record stands in the journal.
    pub to: Position,
    /// Wrapping sum of every `seq`, and their exclusive or: the audit compares them with the database's.
    pub seq_sum: u64,
    /// See `seq_sum`.
    pub seq_xor: u64,
    /// Publication time of the first row.
    pub oldest_ns: i64,
    /// When the first row came into the batch, by the writer's clock.
    opened_ns: i64,
}

impl Batch {
    fn new(lane: Lane, epoch: u32, at: Position, now_ns: i64) -> Batch {
        Batch {
            lane,
            epoch,
            first_seq: 0,
            last_seq: 0,
            rows: 0,
            bytes: Vec::new(),
            from: at,
            to: at,
            seq_sum: 0,
            seq_xor: 0,
            oldest_ns: i64::MAX,
            opened_ns: now_ns,
        }
    }

    fn push(&mut self, row: &Stored, names: &Names, at: Position) {
        let head = row.head();
        if self.rows == 0 {
            self.first_seq = head.seq;
        }
        self.last_seq = head.seq;
        self.rows += 1;
        self.to = at;
        self.seq_sum = self.seq_sum.wrapping_add(head.seq);
        self.seq_xor ^= head.seq;
        self.oldest_ns = self.oldest_ns.min(head.ts_publish_ns);
        row.encode(self.lane.table, names, &mut self.bytes);
    }

    /// What is written down before it is sent.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        Manifest {
            lane: self.lane,
            epoch: self.epoch,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            rows: self.rows,
            crc: crc32c::crc32c(&self.bytes),
            encoding: ENCODING,
            from: self.from,
            to: self.to,
            seq_sum: self.seq_sum,
            seq_xor: self.seq_xor,
        }
    }
}

/// Why a batch could not be made again from the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// The journal holds other rows than the manifest says.
    #[error("batch {token}: the manifest says {expected}, the journal has {found}")]
    Differs {
        /// The batch.
        token: String,
        /// What was written down.
        expected: String,
        /// What was found.
        found: String,
    },
}

/// Makes the batch of `manifest` again, out of journal entries that begin at its `from`.
///
/// Feed it entries with [`Rebuild::push`] until that says it has enough, then [`Rebuild::finish`].
#[derive(Debug)]
pub struct Rebuild {
    manifest: Manifest,
    batch: Batch,
}

impl Rebuild {
    /// Begins to make the batch again.
    #[must_use]
    pub fn new(manifest: Manifest) -> Rebuild {
        Rebuild { manifest, batch: Batch::new(manifest.lane, manifest.epoch, manifest.from, 0) }
    }

    /// Takes a journaled row if it belongs to the batch; `false` once no later row can.
    pub fn push(&mut self, row: &Stored, names: &Names, at: Position) -> bool {
        let (head, wanted) = (row.head(), &self.manifest);
        if (head.epoch, head.seq) > (wanted.epoch, wanted.last_seq) {
            return false;
        }
        if head.epoch == wanted.epoch
            && head.seq >= wanted.first_seq
            && row.lanes(names).any(|lane| lane == wanted.lane)
        {
            self.batch.push(row, names, at);
        }
        head.epoch != wanted.epoch || head.seq < wanted.last_seq
    }

    /// The batch, if it is the one that was written down.
    ///
    /// # Errors
    /// [`RebuildError::Differs`] when it has other rows.
    pub fn finish(self) -> Result<Batch, RebuildError> {
        let (found, expected) = (self.batch.manifest(), self.manifest);
        let same_rows = (found.first_seq, found.last_seq, found.rows, found.seq_sum, found.seq_xor)
            == (expected.first_seq, expected.last_seq, expected.rows, expected.seq_sum, expected.seq_xor);
        if same_rows && (found.crc == expected.crc || expected.encoding != ENCODING) {
            return Ok(self.batch);
        }
        let say = |m: &Manifest| format!("{} rows, seq {} to {}, crc {:08x}", m.rows, m.first_seq, m.last_seq, m.crc);
        Err(RebuildError::Differs { token: expected.token(), expected: say(&expected), found: say(&found) })
    }
}

/// The rows of one lane that are not written down yet: full batches in order, then the one still open.
#[derive(Debug, Default)]
struct Waiting {
    full: VecDeque<Batch>,
    open: Option<Batch>,
}

impl Waiting {
    fn first(&self) -> Option<&Batch> {
        self.full.front().or(self.open.as_ref())
    }
}

/// All rows that were read from the journal and are not written down yet.
#[derive(Debug)]
pub struct Lanes {
    limits: Limits,
    waiting: BTreeMap<Lane, Waiting>,
    bytes: usize,
    rows: u64,
}

impl Lanes {
    /// None yet.
    #[must_use]
    pub fn new(limits: Limits) -> Lanes {
        Lanes { limits, waiting: BTreeMap::new(), bytes: 0, rows: 0 }
    }

    /// Encoded bytes held: what the writer bounds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows held.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row of `lane`. Rows come in the journal's order.
    pub fn push(&mut self, lane: Lane, row: &Stored, names: &Names, at: Position, now_ns: i64) {
        let limits = self.limits;
        let epoch = row.head().epoch;
        let waiting = self.waiting.entry(lane).or_default();
        if let Some(old) = waiting.open.take_if(|open| open.epoch != epoch) {
            waiting.full.push_back(old);
        }
        let open = waiting.open.get_or_insert_with(|| Batch::new(lane, epoch, at, now_ns));
        let before = open.bytes.len();
        open.push(row, names, at);
        self.bytes += open.bytes.len() - before;
        self.rows += 1;
        let rows = if waiting.full.is_empty() { limits.rows } else { limits.rows.saturating_mul(WHEN_BEHIND) };
        if open.rows >= rows || open.bytes.len() >= limits.bytes {
            waiting.full.extend(waiting.open.take());
        }
    }

    /// The next batch to send: of the lanes that `idle` allows the one whose first row stands first in the journal,
    /// if it is full, old enough, or `all` are wanted. Batches of one lane leave in order.
    pub fn next(&mut self, now_ns: i64, all: bool, idle: impl Fn(Audience, Table) -> bool) -> Option<Batch> {
        let age_ns = self.limits.age_ns;
        let due = |w: &Waiting| {
            !w.full.is_empty()
                || w.open
                    .as_ref()
                    .is_some_and(|open| all || !(open.opened_ns..open.opened_ns + age_ns).contains(&now_ns))
        };
        let ready = self.waiting.iter().filter(|(lane, w)| idle(lane.audience, lane.table) && due(w));
        let lane = *ready.min_by_key(|(_, w)| w.first().map(|batch| batch.from))?.0;
        let waiting = self.waiting.get_mut(&lane)?;
        let batch = waiting.full.pop_front().or_else(|| waiting.open.take())?;
        if waiting.first().is_none() {
            self.waiting.remove(&lane);
        }
        self.bytes -= batch.bytes.len();
        self.rows -= batch.rows;
        Some(batch)
    }

    /// When the next open batch is old enough, by the writer's clock.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<i64> {
        self.waiting.values().filter_map(|w| w.open.as_ref()).map(|open| open.opened_ns + self.limits.age_ns).min()
    }

    /// Where in the journal the first row stands that is held here.
    #[must_use]
    pub fn first_position(&self) -> Option<Position> {
        self.waiting.values().filter_map(Waiting::first).map(|batch| batch.from).min()
    }

    /// Publication time of the oldest row held.
    #[must_use]
    pub fn oldest_ns(&self) -> Option<i64> {
        self.waiting.values().filter_map(Waiting::first).map(|batch| batch.oldest_ns).min()
    }

    /// Forgets the rows of one table, or of all; they are read from the journal again later. Says where the first stood.
    pub fn forget(&mut self, which: impl Fn(&Lane) -> bool) -> Option<Position> {
        let mut first = None;
        let (mut bytes, mut rows) = (0, 0);
        self.waiting.retain(|lane, w| {
            if !which(lane) {
                return true;
            }
            first = [first, w.first().map(|batch| batch.from)].into_iter().flatten().min();
            let batches = || w.full.iter().chain(&w.open);
            bytes += batches().map(|b| b.bytes.len()).sum::<usize>();
            rows += batches().map(|b| b.rows).sum::<u64>();
            false
        });
        self.bytes -= bytes;
        self.rows -= rows;
        first
    }
}

#[cfg(test)]
mod tests;
