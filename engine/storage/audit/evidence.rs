//! What the journal and the database say, gathered for comparison.

use std::collections::BTreeMap;
use std::path::Path;

use tickwire_schemas::NO_TIME;
use tickwire_schemas::words::{Cause, GapState};

use super::{AuditError, Digest, Subject};
use crate::journal::JournalError;
use crate::storage::client::{self, DatabaseError, database_of};
use crate::storage::manifest::Ledger;
use crate::storage::rows::{Audience, Lane, Stored, Table};
use crate::storage::source::Source;

/// The journal, as far as its segments are still there.
#[derive(Debug, Default)]
pub(super) struct Journaled {
    /// Rows that the manifests say are acknowledged.
    pub(super) stored: BTreeMap<(Lane, u32), Digest>,
    /// Rows that no manifest knows yet.
    pub(super) waiting: BTreeMap<(Lane, u32), u64>,
    /// Holes and damage.
    pub(super) faults: Vec<String>,
    /// Starts of the engine.
    pub(super) notes: Vec<String>,
    /// Closed gaps of cause restart and the longest, by epoch.
    restarts: BTreeMap<u32, (u64, i64)>,
}

impl Journaled {
    pub(super) fn read(dir: &Path, ledger: &Ledger) -> Result<Journaled, JournalError> {
        let mut out = Journaled::default();
        let begun = ledger.begun();
        let mut source = Source::open(dir, None, None)?;
        let mut last: Option<(u32, u64)> = None;
        while let Some(found) = source.next_record()? {
            let (epoch, seq) = (found.head.epoch, found.head.seq);
            out.follow(last.replace((epoch, seq)), epoch, seq);
            let Some(row) = found.row else { continue };
            out.restart(&row);
            for lane in row.lanes(source.names()).filter(|lane| found.at >= ledger.since(lane.table)) {
                if !ledger.has(lane, epoch, seq) {
                    *out.waiting.entry((lane, epoch)).or_default() += 1;
                } else if !begun
                    .iter()
                    .any(|m| (m.lane, m.epoch) == (lane, epoch) && (m.first_seq..=m.last_seq).contains(&seq))
                {
                    out.stored.entry((lane, epoch)).or_default().add(seq);
                }
            }
        }
        for (epoch, (holes, longest_ns)) in std::mem::take(&mut out.restarts) {
            let seconds = longest_ns as f64 / 1e9;
            let note = format!(
                "epoch {epoch}: nothing was received before it for up to {seconds:.3} s ({holes} gaps, cause restart)"
            );
            out.notes.push(note);
        }
        let report = source.report();
        if !report.is_sound() {
            out.faults.extend(report.notes);
        } else {
            out.notes.extend(report.notes);
        }
        Ok(out)
    }

    /// Every record of an epoch has the `seq` after the one before.
    fn follow(&mut self, last: Option<(u32, u64)>, epoch: u32, seq: u64) {
        match last {
            Some((before, last)) if before == epoch && last + 1 != seq => {
                self.faults.push(format!("epoch {epoch}: the journal goes from seq {last} to seq {seq}"));
            }
            Some((before, last)) if before != epoch => {
                self.notes.push(format!("epoch {epoch} follows epoch {before}, whose journal ends at seq {last}"));
            }
            _ => {}
        }
    }

    /// What arrived while the engine was not running, or was never journaled, is told by gaps.
    fn restart(&mut self, row: &Stored) {
        if let Stored::Gap(gap) = row
            && (gap.cause, gap.state) == (Cause::Restart.code(), GapState::Closed.code())
        {
            let (holes, longest_ns) = self.restarts.entry(gap.head.epoch).or_default();
            *holes += 1;
            if gap.from_ns != NO_TIME {
                *longest_ns = gap.to_ns.saturating_sub(gap.from_ns).max(*longest_ns);
            }
        }
    }

    /// Every journaled row of a lane of bars by epoch and `seq`, and whether a later row replaces it: one of the same bar
    /// whose revision is not less.
    pub(super) fn bars(dir: &Path, lane: Lane) -> Result<BTreeMap<(u32, u64), bool>, JournalError> {
        let mut source = Source::open(dir, None, None)?;
        let mut rows = BTreeMap::new();
        let mut last = BTreeMap::new();
        while let Some(found) = source.next_record()? {
            let Some(row @ Stored::Bar(bar)) = &found.row else { continue };
            if !row.lanes(source.names()).any(|of| of == lane) {
                continue;
            }
            let at = (found.head.epoch, found.head.seq);
            rows.insert(at, false);
            let ids = (bar.head.source_id, bar.head.instrument_id);
            let key = (ids, bar.timeframe, bar.origin, bar.basis, bar.open_ts_ns);
            let (best, best_at) = *last.entry(key).or_insert((bar.revision, at));
            if bar.revision >= best {
                rows.insert(best_at, best_at != at);
                last.insert(key, (bar.revision, at));
            } else {
                rows.insert(at, true);
            }
        }
        Ok(rows)
    }

    /// Every journaled `seq` of a lane in an epoch up to `last_seq`, in order.
    pub(super) fn seqs(dir: &Path, lane: Lane, epoch: u32, last_seq: u64) -> Result<Vec<u64>, JournalError> {
        let mut source = Source::open(dir, None, None)?;
        let mut seqs = Vec::new();
        while let Some(found) = source.next_record()? {
            let wanted = found.head.epoch == epoch && found.head.seq <= last_seq;
            if wanted && found.row.is_some_and(|row| row.lanes(source.names()).any(|of| of == lane)) {
                seqs.push(found.head.seq);
            }
        }
        Ok(seqs)
    }
}

/// What a table holds, by partition and epoch; nothing when there is no such table.
pub(super) async fn summary(
    subject: &Subject,
    audience: Audience,
    table: Table,
) -> Result<Vec<((Lane, u32), Digest)>, AuditError> {
    let sql = format!(
        "SELECT toUInt32(_partition_id) AS partition, epoch, count(), min(seq), max(seq), sum(seq), groupBitXor(seq) \
         FROM {} GROUP BY partition, epoch",
        table.name()
    );
    let client = subject.endpoint.client().with_database(database_of(&subject.database, audience));
    let text = match client::query(&client, &sql, "TabSeparated").await {
        // Never migrated: there is nothing in it.
        Err(DatabaseError::Refused(reason)) if reason.contains("Code: 60.") || reason.contains("Code: 81.") => {
            return Ok(Vec::new());
        }
        text => text?,
    };
    text.lines().map(|line| parse(audience, table, line)).collect()
}

fn parse(audience: Audience, table: Table, line: &str) -> Result<((Lane, u32), Digest), AuditError> {
    let numbers: Vec<u64> = line.split('\t').filter_map(|field| field.parse().ok()).collect();
    let [partition, epoch, rows, first_seq, last_seq, seq_sum, seq_xor] = numbers[..] else {
        return Err(DatabaseError::Again(format!("expected seven numbers, found {line:?}")).into());
    };
    let lane = Lane { audience, table, partition: partition as u32 };
    Ok(((lane, epoch as u32), Digest { rows, first_seq, last_seq, seq_sum, seq_xor }))
}

/// Every `seq` that a lane has of an epoch, and how often.
pub(super) async fn seqs_in_database(
    subject: &Subject,
    lane: Lane,
    epoch: u32,
) -> Result<BTreeMap<u64, u64>, AuditError> {
    let sql = format!(
        "SELECT seq, count() FROM {} WHERE _partition_id = '{}' AND epoch = {epoch} GROUP BY seq",
        lane.table.name(),
        lane.partition
    );
    let client = subject.endpoint.client().with_database(database_of(&subject.database, lane.audience));
    let text = client::query(&client, &sql, "TabSeparated").await?;
    let parse = |line: &str| {
        let (seq, count) = line.split_once('\t')?;
        Some((seq.parse().ok()?, count.parse().ok()?))
    };
    Ok(text.lines().filter_map(parse).collect())
}
