//! Is every journaled row in the database, once? Compares the journal (as far as its segments are still there), the
//! manifests, and the database, and names every difference.
//!
//! Rows of a lane are compared by count, first and last `seq`, wrapping sum and exclusive or: a row that is missing or
//! there twice changes them. Only where they differ are the rows themselves fetched, to name them. Of bars the
//! database keeps the last revision: there the journal says which rows a merge may have taken away, and where it no longer
//! reaches back that far only the newest row and the count's upper bound are known. Tables of measurements
//! ([`super::rows::NOT_JOURNALED`]) have nothing to be compared with, and neither have bars and ticks that were asked of a
//! venue ([`FETCHED_EPOCH`]): those are counted.

mod evidence;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use super::client::{self, DatabaseError, Endpoint, database_of};
use super::manifest::{Ledger, Manifests, Total};
use super::retention::ledger::{self as deleted, Gone};
use super::rows::{Audience, FETCHED_EPOCH, Lane, Table};
use crate::journal::JournalError;
use evidence::{Journaled, seqs_in_database, summary};

/// Why the audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The manifests cannot be read.
    #[error("manifests: {0}")]
    Manifests(#[from] io::Error),
    /// The database does not answer.
    #[error("database: {0}")]
    Database(#[from] DatabaseError),
}

/// What is compared with what.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where the journal's segments are.
    pub journal_dir: PathBuf,
    /// Where manifests are kept.
    pub manifests_dir: PathBuf,
    /// The database.
    pub endpoint: Endpoint,
    /// Name of the database for global rows.
    pub database: String,
}

/// A set of rows of one lane and epoch, as far as it can be compared without looking at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    /// How many.
    pub rows: u64,
    /// Smallest `seq`.
    pub first_seq: u64,
    /// Greatest `seq`.
    pub last_seq: u64,
    /// Wrapping sum of every `seq`.
    pub seq_sum: u64,
    /// Exclusive or of every `seq`.
    pub seq_xor: u64,
}

impl Digest {
    fn add(&mut self, seq: u64) {
        self.first_seq = if self.rows == 0 { seq } else { self.first_seq.min(seq) };
        self.last_seq = self.last_seq.max(seq);
        self.rows += 1;
        self.seq_sum = self.seq_sum.wrapping_add(seq);
        self.seq_xor ^= seq;
    }
}

impl From<&Total> for Digest {
    fn from(t: &Total) -> Digest {
        Digest { rows: t.rows, first_seq: t.first_seq, last_seq: t.last_seq, seq_sum: t.seq_sum, seq_xor: t.seq_xor }
    }
}

/// What was found, ready to be printed.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Rows by audience, table and epoch: written down as stored, and found.
    pub tables: BTreeMap<(Audience, Table, u32), (u64, u64)>,
    /// What is not as it should be; empty when all is well.
    pub differences: Vec<String>,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
}

/// Compares everything.
///
/// # Errors
/// [`AuditError`] when something cannot be read; a difference is not an error.
pub async fn audit(subject: &Subject) -> Result<Report, AuditError> {
    // In this order: what the writer writes down while we look can only make the later ones greater.
    let live = Manifests::in_use(&subject.manifests_dir);
    let ledger = Ledger::read(&subject.manifests_dir)?;
    let journaled = Journaled::read(&subject.journal_dir, &ledger)?;
    let mut stored = BTreeMap::new();
    for audience in [Audience::Global, Audience::Private] {
        for table in Table::ALL {
            stored.extend(summary(subject, audience, table).await?);
        }
    }
    let deleted = deleted::Ledger::read(&subject.manifests_dir)?;
    let mut report = Report::default();
    for table in [Table::Bars, Table::Ticks] {
        let fetched = stored.extract_if(.., |(lane, epoch), _| lane.table == table && *epoch == FETCHED_EPOCH);
        let fetched: u64 = fetched.map(|(_, digest): (_, Digest)| digest.rows).sum();
        if fetched > 0 {
            let table = table.name();
            report
                .notes
                .push(format!("{table}: {fetched} rows were fetched from venues (epoch 0) and are not journaled"));
        }
    }
    let mut audit = Audit { subject, live, ledger, journaled, stored, deleted, report };
    audit.journal();
    audit.begun().await?;
    audit.lanes().await?;
    Ok(audit.report)
}

struct Audit<'a> {
    subject: &'a Subject,
    /// A writer is at work: rows may be on their way.
    live: bool,
    ledger: Ledger,
    journaled: Journaled,
    stored: BTreeMap<(Lane, u32), Digest>,
    deleted: deleted::Ledger,
    report: Report,
}

impl Audit<'_> {
    /// A difference, unless the engine is at work and this is how it should be then.
    fn pending(&mut self, text: String) {
        if self.live {
            self.report.notes.push(text);
        } else {
            self.report.differences.push(text);
        }
    }

    /// The journal by itself, and against what was written down.
    fn journal(&mut self) {
        self.report.differences.append(&mut self.journaled.faults);
        self.report.notes.append(&mut self.journaled.notes);
        let waiting: u64 = self.journaled.waiting.values().sum();
        if waiting > 0 {
            self.pending(format!(
                "{waiting} journaled rows are not in the database yet: the engine sends them when it runs"
            ));
        }
        for total in self.ledger.totals() {
            let Some(journaled) = self.journaled.stored.get(&(total.lane, total.epoch)) else { continue };
            // Where the older segments are gone the journal knows only the newer rows.
            if journaled.first_seq <= total.first_seq && *journaled != Digest::from(total) {
                self.report.differences.push(format!(
                    "{} epoch {}: the manifests say {} rows to seq {}, the journal has {} to seq {}",
                    total.lane, total.epoch, total.rows, total.last_seq, journaled.rows, journaled.last_seq
                ));
            }
        }
    }

    /// Batches that were sent and never acknowledged.
    async fn begun(&mut self) -> Result<(), AuditError> {
        for m in self.ledger.begun() {
            let database = database_of(&self.subject.database, m.lane.audience);
            let client = self.subject.endpoint.client().with_database(database);
            let found = client::count(&client, m.lane, m.epoch, m.first_seq, m.last_seq).await?;
            self.pending(format!(
                "batch {} was sent and not acknowledged; the database has {found} of its {} rows",
                m.token(),
                m.rows
            ));
        }
        Ok(())
    }

    /// What was acknowledged against what is there.
    async fn lanes(&mut self) -> Result<(), AuditError> {
        let totals: BTreeMap<_, _> = self.ledger.totals().map(|t| ((t.lane, t.epoch), Digest::from(t))).collect();
        let keys: BTreeSet<_> = totals.keys().chain(self.stored.keys()).copied().collect();
        for (lane, epoch) in keys {
            let expected = totals.get(&(lane, epoch)).copied().unwrap_or_default();
            let found = self.stored.get(&(lane, epoch)).copied().unwrap_or_default();
            let sums = self.report.tables.entry((lane.audience, lane.table, epoch)).or_default();
            *sums = (sums.0 + expected.rows, sums.1 + found.rows);
            if found == expected {
                continue;
            }
            if let Some(gone) = self.deleted.gone(lane, epoch) {
                self.after_deletion(lane, epoch, &expected, &found, gone);
            } else if lane.table == Table::Bars {
                self.bars(lane, epoch, &expected, &found).await?;
            } else {
                self.differing(lane, epoch, &expected, &found).await?;
            }
        }
        Ok(())
    }

    /// What is not there may have been deleted: then the rest is compared, by its sums, since nobody knows any more which
    /// of the rows that the journal has were deleted.
    fn after_deletion(&mut self, lane: Lane, epoch: u32, expected: &Digest, found: &Digest, gone: Gone) {
        let name = format!("{lane} epoch {epoch}");
        let (gone, begun) = match gone {
            Gone::Whole => return self.report.notes.push(format!("{name}: deleted by retention")),
            Gone::Rows(gone) => (gone, None),
            Gone::Begun(gone, begun) => (gone, Some(begun)),
        };
        let left = expected.rows.saturating_sub(gone.rows);
        let sums = (expected.seq_sum.wrapping_sub(gone.seq_sum), expected.seq_xor ^ gone.seq_xor);
        let as_expected = match begun {
            // Between nothing and all of them are gone.
            Some(begun) => (left.saturating_sub(begun.rows)..=left).contains(&found.rows),
            // Merges take away rows of bars too.
            None if lane.table == Table::Bars => found.rows <= left,
            None => (found.rows, found.seq_sum, found.seq_xor) == (left, sums.0, sums.1),
        };
        let Digest { rows, .. } = expected;
        let text = format!(
            "{name}: {rows} rows were stored, retention deleted {} of them, {} are there",
            gone.rows, found.rows
        );
        match (as_expected, begun) {
            (true, None) => self.report.notes.push(text),
            (true, Some(begun)) => {
                let more =
                    format!("{text}; it was broken off while it deleted {} more, which its next run does", begun.rows);
                self.report.notes.push(more);
            }
            (false, _) => self.pending(text),
        }
    }

    /// Merges take away rows of bars of which there is a later revision, in this epoch or a later one, and no others.
    async fn bars(&mut self, lane: Lane, epoch: u32, expected: &Digest, found: &Digest) -> Result<(), AuditError> {
        let journaled = Journaled::bars(&self.subject.journal_dir, lane)?;
        let of_epoch: Vec<_> = journaled.range((epoch, 0)..=(epoch, expected.last_seq)).collect();
        if of_epoch.len() as u64 != expected.rows {
            self.bars_without_journal(lane, epoch, expected, found);
            return Ok(());
        }
        let there = seqs_in_database(self.subject, lane, epoch).await?;
        let lasting = of_epoch.iter().filter(|(_, replaced)| !**replaced).map(|((_, seq), _)| *seq);
        let missing: Vec<u64> = lasting.filter(|seq| !there.contains_key(seq)).collect();
        let doubles: Vec<u64> = there.iter().filter(|(_, count)| **count > 1).map(|(seq, _)| *seq).collect();
        let unknown = |seq: &u64| !journaled.contains_key(&(epoch, *seq));
        let unknown: Vec<u64> = there.keys().copied().filter(unknown).collect();
        for (what, seqs) in [("missing", missing), ("more than once", doubles), ("never journaled", unknown)] {
            if !seqs.is_empty() {
                self.pending(format!("{lane} epoch {epoch}: {what}: {}", ranges(&seqs)));
            }
        }
        Ok(())
    }

    /// The newest row of all has no later revision; of earlier epochs any row may have one.
    fn bars_without_journal(&mut self, lane: Lane, epoch: u32, expected: &Digest, found: &Digest) {
        let later = self.ledger.totals().any(|total| total.lane == lane && total.epoch > epoch);
        if found.rows > expected.rows
            || found.last_seq > expected.last_seq
            || (found.last_seq != expected.last_seq && !later)
        {
            let text = format!(
                "{lane} epoch {epoch}: {} rows to seq {} were stored, {} to seq {} are there",
                expected.rows, expected.last_seq, found.rows, found.last_seq
            );
            self.pending(text);
        }
    }

    /// Names what is missing, double or unknown in a lane.
    async fn differing(&mut self, lane: Lane, epoch: u32, expected: &Digest, found: &Digest) -> Result<(), AuditError> {
        let there = seqs_in_database(self.subject, lane, epoch).await?;
        let mut acknowledged = Digest::default();
        let (mut doubles, mut beyond, mut on_their_way) = (Vec::new(), Vec::new(), 0);
        let begun: Vec<_> = self.ledger.begun().into_iter().filter(|m| m.lane == lane && m.epoch == epoch).collect();
        for (seq, count) in &there {
            let sent = begun.iter().any(|m| (m.first_seq..=m.last_seq).contains(seq));
            let known = *seq <= expected.last_seq && expected.rows > 0 && !sent;
            if *count > 1 {
                doubles.push(*seq);
            }
            match (known, sent || self.live) {
                (true, _) => acknowledged.add(*seq),
                (false, true) => on_their_way += count,
                (false, false) => beyond.push(*seq),
            }
        }
        let name = format!("{lane} epoch {epoch}");
        if !doubles.is_empty() {
            self.report.differences.push(format!("{name}: more than once: {}", ranges(&doubles)));
        }
        if !beyond.is_empty() {
            let text = format!("{name}: in the database and never written down as sent: {}", ranges(&beyond));
            self.report.differences.push(text);
        }
        if on_their_way > 0 {
            self.report.notes.push(format!("{name}: {on_their_way} rows arrived that are not acknowledged yet"));
        }
        if acknowledged != *expected {
            let missing = self.missing(lane, epoch, expected, &there)?;
            self.report.differences.push(format!("{name}: {missing}"));
        } else if doubles.is_empty() && beyond.is_empty() && on_their_way == 0 {
            // Between the summary and the second look: somebody has changed the table.
            let text = format!("{name}: changed while it was audited ({} then {} rows)", found.rows, there.len());
            self.pending(text);
        }
        Ok(())
    }

    /// What should be there and is not, by `seq` where the journal can tell.
    fn missing(
        &self,
        lane: Lane,
        epoch: u32,
        expected: &Digest,
        there: &BTreeMap<u64, u64>,
    ) -> Result<String, AuditError> {
        let journaled = Journaled::seqs(&self.subject.journal_dir, lane, epoch, expected.last_seq)?;
        let complete = journaled.len() as u64 == expected.rows;
        let missing: Vec<u64> = journaled.iter().copied().filter(|seq| !there.contains_key(seq)).collect();
        let known = there.range(..=expected.last_seq).count() as u64;
        let mut text = format!("{} rows were acknowledged and {known} of them are there", expected.rows);
        if !missing.is_empty() {
            let _ = write!(text, "; missing: {}", ranges(&missing));
        }
        if complete {
            let unknown: Vec<u64> = there
                .range(..=expected.last_seq)
                .map(|(seq, _)| *seq)
                .filter(|s| journaled.binary_search(s).is_err())
                .collect();
            if !unknown.is_empty() {
                let _ = write!(text, "; never journaled: {}", ranges(&unknown));
            }
        } else {
            text.push_str("; the journal no longer has all of them, so not every one can be named");
        }
        Ok(text)
    }
}

/// Most notes that are printed: the last ones.
const NOTES_MAX: usize = 20;

/// Most ranges that one sentence names.
const RANGES_MAX: usize = 20;

/// `seq 3, 7 to 9 (4 rows)`.
fn ranges(seqs: &[u64]) -> String {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == *seq => *last = *seq,
            _ => found.push((*seq, *seq)),
        }
    }
    let shown = found.iter().take(RANGES_MAX).map(|(a, b)| if a == b { a.to_string() } else { format!("{a} to {b}") });
    let more = if found.len() > RANGES_MAX { " and more" } else { "" };
    format!("seq {}{more} ({} rows)", shown.collect::<Vec<_>>().join(", "), seqs.len())
}

impl Report {
    /// Whether every row is where it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }

    /// The table, the notes, the differences and the verdict, as lines of text.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out =
            format!("{:<14} {:<8} {:>6} {:>14} {:>14}\n", "table", "rows of", "epoch", "acknowledged", "found");
        for ((audience, table, epoch), (expected, found)) in &self.tables {
            let of = if *audience == Audience::Global { "global" } else { "private" };
            let _ = writeln!(out, "{:<14} {of:<8} {epoch:>6} {expected:>14} {found:>14}", table.name());
        }
        let earlier = self.notes.len().saturating_sub(NOTES_MAX);
        if earlier > 0 {
            let _ = writeln!(out, "note: {earlier} earlier notes are left away");
        }
        self.notes.iter().skip(earlier).for_each(|note| out.push_str(&format!("note: {note}\n")));
        self.differences.iter().for_each(|difference| out.push_str(&format!("difference: {difference}\n")));
        let rows: u64 = self.tables.values().map(|(_, found)| found).sum();
        let epochs = self.tables.keys().map(|(_, _, epoch)| epoch).collect::<BTreeSet<_>>().len();
        let _ = match self.differences.len() {
            0 => writeln!(out, "audit: clean: {rows} rows of {epochs} epochs, each once"),
            n => writeln!(out, "audit: {n} {}", if n == 1 { "difference" } else { "differences" }),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_are_named_as_ranges() {
        assert_eq!(ranges(&[3, 7, 8, 9]), "seq 3, 7 to 9 (4 rows)");
        let odd: Vec<u64> = (0..50).map(|n| n * 2).collect();
        assert!(ranges(&odd).ends_with("36, 38 and more (50 rows)"), "{}", ranges(&odd));
    }

    #[test]
    fn the_verdict_is_the_last_line() {
        let mut report = Report::default();
        report.tables.insert((Audience::Global, Table::Ticks, 1), (5, 5));
        assert!(report.print().ends_with("audit: clean: 5 rows of 1 epochs, each once\n"));
        report.differences.push("x".into());
        assert!(report.print().ends_with("difference: x\naudit: 1 difference\n"));
    }
}
