//! What a start finds: how far the last run came, and what brings the stages back to there.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use tickwire_schemas::NO_TIME;
use tickwire_schemas::record::{Drop, Record, Repair, SourceState, Tick, Timer, Trade};
use tickwire_schemas::words::Kind;

use super::format::{JournalError, Position, SegmentId, list_segments, seq_of};
use super::handle::{Lock, make_folders};
use super::reader::{Reader, Report, read_header};
use super::snapshot::{self, Snapshot};

/// What the journal in a folder holds for a start.
#[derive(Debug)]
pub struct Recovery {
    /// An epoch that no file here has used.
    pub epoch_next: u32,
    /// Epoch of the last record; 0 when there is none.
    pub last_epoch: u32,
    /// `seq` of the last record; 0 when there is none.
    pub last_seq: u64,
    /// When the last input was received, nanoseconds UTC; [`NO_TIME`] when there is none. From here to the start is the
    /// hole of cause `restart`.
    pub last_recv_ns: i64,
    /// The state to begin with; without one the stages begin empty. See [`Recovery::step_back`].
    pub snapshot: Option<Snapshot>,
    /// Every record after the snapshot, over segments and epochs, inputs ([`is_input`]) and derived ones. Ends where
    /// the journal ended at recovery.
    pub replay: Reader,
    /// What was wrong with snapshots and with the end of the journal. What is wrong with the rest is known when it has
    /// been replayed: `replay.report()`.
    pub report: Report,
    dir: PathBuf,
    /// The last segment there was.
    end: SegmentId,
}

impl Recovery {
    /// The stages cannot take up the snapshot, for the reason `why`: takes the one before it, or none, and everything
    /// that the journal holds behind that.
    ///
    /// # Errors
    /// [`JournalError`] when a file cannot be read.
    pub fn step_back(&mut self, why: &dyn fmt::Display) -> Result<(), JournalError> {
        let Some(unfit) = self.snapshot.take() else { return Ok(()) };
        let at = (unfit.epoch, unfit.seq);
        self.report.note(format!("journal: the snapshot of epoch {}, seq {} is not used: {why}", at.0, at.1));
        (self.snapshot, self.replay) = begin(&self.dir, Some(at), self.end, &mut self.report)?;
        Ok(())
    }
}

/// The newest snapshot before `before`, and what is to be replayed behind it, up to the segment `end`.
fn begin(
    dir: &Path,
    before: Option<(u32, u64)>,
    end: SegmentId,
    report: &mut Report,
) -> Result<(Option<Snapshot>, Reader), JournalError> {
    let snapshot = snapshot::load(dir, before, report)?;
    let from = match &snapshot {
        Some(snapshot) => find_after(dir, &list_segments(dir)?, (snapshot.epoch, snapshot.seq), report)?,
        None => None,
    };
    Ok((snapshot, Reader::until(dir, from, end)?))
}

/// A record of this kind entered the stages; the others were made by them.
#[must_use]
pub const fn is_input(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Tick | Kind::Trade | Kind::Timer | Kind::SourceState | Kind::Drop | Kind::External | Kind::Repair
    )
}

/// When an input was received, nanoseconds UTC; `None` for other records.
#[must_use]
pub fn received_ns(kind: Kind, record: &[u8]) -> Option<i64> {
    match kind {
        Kind::Tick => Tick::read(record).ok().map(|r| r.ts_recv_ns),
        Kind::Trade => Trade::read(record).ok().map(|r| r.ts_recv_ns),
        Kind::Timer => Timer::read(record).ok().map(|r| r.now_ns),
        Kind::SourceState => SourceState::read(record).ok().map(|r| r.ts_recv_ns),
        Kind::Drop => Drop::read(record).ok().map(|r| r.to_ns),
        Kind::Repair => Repair::read(record).ok().map(|r| r.ts_recv_ns),
        _ => None,
    }
}

/// Looks at the journal in `dir`, which is made if it is not there, and mends its end: what a crash left half written
/// is cut off.
///
/// # Errors
/// [`JournalError`] when a file cannot be read or mended or was written by a later engine, or when an engine is running
/// there.
pub fn recover(dir: &Path) -> Result<Recovery, JournalError> {
    make_folders(dir)?;
    let _lock = Lock::take(dir)?;
    remove_half_made(dir)?;
    remove_half_made(&snapshot::folder(dir))?;
    let segments = list_segments(dir)?;
    let end = segments.last().copied().unwrap_or_default();
    let mut report = Report::default();
    let last = find_last(dir, &segments, &mut report)?;
    let (snapshot, replay) = begin(dir, None, end, &mut report)?;
    let at = snapshot.as_ref().map_or((0, 0), |s| (s.epoch, s.seq));
    let (last_epoch, last_seq) = last.at.max(at);
    Ok(Recovery {
        epoch_next: end.epoch.max(last_epoch) + 1,
        last_epoch,
        last_seq,
        last_recv_ns: last.recv_ns.unwrap_or(NO_TIME),
        snapshot,
        replay,
        report,
        dir: dir.into(),
        end,
    })
}

/// What a crash left of files that had no name yet.
fn remove_half_made(dir: &Path) -> Result<(), JournalError> {
    for entry in std::fs::read_dir(dir).map_err(JournalError::io("list", dir))? {
        let path = entry.map_err(JournalError::io("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            std::fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The last record and the last input's time.
#[derive(Default)]
struct Last {
    at: (u32, u64),
    recv_ns: Option<i64>,
}

/// Reads backwards over as many segments as it takes to find an input; cuts the end of the last one.
fn find_last(dir: &Path, segments: &[SegmentId], report: &mut Report) -> Result<Last, JournalError> {
    let mut last = Last::default();
    for id in segments.iter().rev() {
        let mut reader = Reader::until(dir, Some(id.start()), *id)?;
        let mut seq = None;
        let mut recv_ns = None;
        while let Some(entry) = reader.next()? {
            seq = Some(seq_of(entry.bytes));
            recv_ns = received_ns(entry.kind, entry.bytes).or(recv_ns);
        }
        if Some(id) == segments.last() {
            *report = merged(std::mem::take(report), reader.report());
            cut(dir, reader.position())?;
        }
        if let Some(seq) = seq {
            last.at = last.at.max((id.epoch, seq));
        }
        if recv_ns.is_some() {
            last.recv_ns = recv_ns;
            break;
        }
    }
    Ok(last)
}

fn merged(mut a: Report, b: Report) -> Report {
    a.torn_bytes += b.torn_bytes;
    a.damaged_places += b.damaged_places;
    a.damaged_bytes += b.damaged_bytes;
    a.missing_segments += b.missing_segments;
    b.notes.into_iter().for_each(|note| a.note(note));
    a
}

/// Cuts a segment to its data: what is behind is zeros, or torn.
fn cut(dir: &Path, end: Position) -> Result<(), JournalError> {
    let path = end.id().path(dir);
    // With a damaged header and no entry nothing is known to be data; it is left for somebody to look at.
    if end.offset > 0 {
        let file = File::options().write(true).open(&path).map_err(JournalError::io("open", &path))?;
        file.set_len(end.offset).and_then(|()| file.sync_all()).map_err(JournalError::io("cut", &path))?;
    }
    Ok(())
}

/// The position behind the record `after`, or `None` for the beginning.
fn find_after(
    dir: &Path,
    segments: &[SegmentId],
    after: (u32, u64),
    report: &mut Report,
) -> Result<Option<Position>, JournalError> {
    for id in segments.iter().rev().filter(|id| id.epoch <= after.0) {
        let path = id.path(dir);
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        let header = read_header(&file, &path)?.0;
        // A segment that begins right behind the record will do as well as the one that ends with it.
        if header.is_none_or(|header| (id.epoch, header.first_seq) > (after.0, after.1.saturating_add(1))) {
            continue;
        }
        let mut reader = Reader::until(dir, Some(id.start()), *id)?;
        let mut position = reader.position();
        while let Some(entry) = reader.next()? {
            if (id.epoch, seq_of(entry.bytes)) > after {
                break;
            }
            position = entry.position_after;
        }
        return Ok(Some(position));
    }
    if !segments.is_empty() {
        report.missing_segments += 1;
        let note = format!("journal: the segments behind the snapshot {after:?} are not there; what they held is lost");
        tracing::error!("{note}");
        report.note(note);
    }
    Ok(None)
}
