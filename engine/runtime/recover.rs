//! From the journal back to the state of the stages, and the proof that a replay gives the same records.

use std::collections::VecDeque;
use std::path::Path;

use tickwire_schemas::record::read_head;
use tickwire_schemas::words::Kind;

use super::RunError;
use super::pipeline::Pipeline;
use crate::journal::format::list_segments;
use crate::journal::{Catalogue, Reader, Recovery, SegmentId, Snapshot, is_input, snapshot};
use crate::stages::{BuildError, Market, Recorder};

/// A pipeline that goes through the journal in the market that each segment was written for, as the engine did that
/// wrote it: what left the configuration between two runs still counts before, and is forgotten behind.
struct Walk<'a, F> {
    make: F,
    /// What is configured now: its days without trade and its indicators hold for all.
    now: &'a Market,
    pipeline: Pipeline,
    market: Market,
    segment: Option<SegmentId>,
}

impl<'a, F: Fn(&Market) -> Result<Pipeline, BuildError>> Walk<'a, F> {
    /// With empty stages.
    fn begin(make: F, now: &'a Market, catalogue: &Catalogue) -> Result<Self, BuildError> {
        let market = then(catalogue, now);
        Ok(Walk { pipeline: make(&market)?, make, now, market, segment: None })
    }

    /// Begins anew.
    fn again(&mut self, catalogue: &Catalogue) -> Result<(), BuildError> {
        self.market = then(catalogue, self.now);
        self.pipeline = (self.make)(&self.market)?;
        self.segment = None;
        Ok(())
    }

    /// To be called before an input of a segment, with that segment's catalogue.
    fn enter(&mut self, segment: SegmentId, catalogue: &Catalogue) -> Result<(), RunError> {
        if self.segment.replace(segment) == Some(segment) {
            return Ok(());
        }
        self.go_on_in(then(catalogue, self.now))
    }

    /// Takes the state along to another market, as a restart does.
    fn go_on_in(&mut self, market: Market) -> Result<(), RunError> {
        if market.sources() == self.market.sources() && market.instruments() == self.market.instruments() {
            return Ok(());
        }
        let state = self.pipeline.save();
        let mut next = (self.make)(&market)?;
        let failed = |error| RunError::Other(format!("the state of the stages in another market: {error}"));
        next.load(&state).map_err(failed)?;
        next.resume_after(state.epoch, state.seq);
        (self.pipeline, self.market) = (next, market);
        Ok(())
    }
}

/// The market of a catalogue; where its header was damaged, the one of now.
fn then(catalogue: &Catalogue, now: &Market) -> Market {
    if catalogue.sources.is_empty() && catalogue.instruments.is_empty() {
        return now.clone();
    }
    now.of(catalogue.sources.clone(), catalogue.instruments.clone())
}

/// The pipeline as the journal left it, in the market of `now`: with the newest snapshot that it can take up and the inputs
/// behind it replayed, each in the market that it was journaled in; how many those were. A snapshot that cannot be taken up
/// is in the report of `recovery`; without one the stages begin empty, at the beginning of what the journal still holds.
/// `make` makes the pipeline of a market with empty stages.
///
/// # Errors
/// [`RunError`] when the stages cannot be built or the journal cannot be read.
pub(super) fn restore(
    make: impl Fn(&Market) -> Result<Pipeline, BuildError>,
    now: &Market,
    recovery: &mut Recovery,
) -> Result<(Pipeline, u64), RunError> {
    let mut walk = Walk::begin(make, now, recovery.replay.catalogue())?;
    while let Some(snapshot) = &recovery.snapshot {
        let Err(error) = walk.pipeline.load(snapshot) else { break };
        recovery.step_back(&error)?;
        // Some stages may have taken up theirs: a state that never was.
        walk.again(recovery.replay.catalogue())?;
    }
    // What the journal still holds need not be where the chains began.
    let follows = recovery.snapshot.is_none();
    let mut nowhere = Recorder::default();
    let (mut record, mut replayed) = (Vec::new(), 0);
    while let Some((kind, segment)) = next(&mut recovery.replay, &mut record)? {
        if is_input(kind) {
            walk.enter(segment, recovery.replay.catalogue())?;
            replayed += u64::from(walk.pipeline.replay(kind, &record, &mut nowhere));
            nowhere.records.clear();
        }
        if follows {
            walk.pipeline.follow(kind, &record);
        }
    }
    walk.go_on_in(now.clone())?;
    Ok((walk.pipeline, replayed))
}

/// The next entry: its kind, the segment that it is in, and in `record` its bytes.
fn next(reader: &mut Reader, record: &mut Vec<u8>) -> Result<Option<(Kind, SegmentId)>, RunError> {
    let Some(entry) = reader.next()? else { return Ok(None) };
    record.clear();
    record.extend_from_slice(entry.bytes);
    Ok(Some((entry.kind, entry.position_after.id())))
}

/// What a comparison of a journal with its replay found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Inputs replayed.
    pub inputs: u64,
    /// Records compared, inputs with their verdicts among them.
    pub records: u64,
    /// Records behind the last snapshot or beginning that the comparison began with.
    pub skipped: u64,
    /// Records that a replay makes and that a crash kept out of the journal: at the ends of epochs only.
    pub cut_off: u64,
    /// Differences found.
    pub differences: u64,
    /// The first differences, a sentence each.
    pub notes: Vec<String>,
}

/// Most differences that are described; all are counted.
const NOTES_MAX: usize = 20;

impl Comparison {
    fn differs(&mut self, note: String) {
        self.differences += 1;
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }
}

/// Replays the inputs of the journal in `dir` and compares every record with the journaled one, byte for byte. Each input
/// meets the market that it was journaled in; indicators and days without trade are those of `now`. Begins with empty
/// stages, which `make` makes for a market, at the beginning of the journal, or, when that is gone, with the oldest
/// snapshot kept that they can take up.
///
/// # Errors
/// [`RunError`] when the stages cannot be built, or the journal or a snapshot cannot be read.
pub fn compare(
    dir: &Path,
    now: &Market,
    make: impl Fn(&Market) -> Result<Pipeline, BuildError>,
) -> Result<Comparison, RunError> {
    let mut found = Comparison::default();
    let mut reader = Reader::open(dir, None)?;
    let mut walk = Walk::begin(make, now, reader.catalogue())?;
    let mut expected: VecDeque<(Kind, Vec<u8>)> = VecDeque::new();
    let mut made = Recorder::default();
    let (mut record, mut skip_to, mut epoch) = (Vec::new(), None, 0);
    while let Some((kind, segment)) = next(&mut reader, &mut record)? {
        let Ok(head) = read_head(kind, &record) else { continue };
        if epoch == 0 && ((head.seq, head.chain) != (1, 1) || kind == Kind::Drop) {
            // The beginning is gone (only a restart begins with a Drop): only a snapshot says how things stood.
            skip_to = Some(begin_with_a_snapshot(dir, &mut walk, &mut found)?);
        }
        if head.epoch != epoch {
            // A crash may have cut what followed from the last input of the epoch before.
            found.cut_off += expected.drain(..).count() as u64;
            epoch = head.epoch;
        }
        // Derived records of the snapshot's own input are part of its state: skip to the next input.
        if skip_to.is_some_and(|to| (head.epoch, head.seq) <= to || !is_input(kind)) {
            found.skipped += 1;
            continue;
        }
        skip_to = None;
        if is_input(kind) {
            for (kind, _) in expected.drain(..) {
                found.differs(format!("epoch {epoch}, seq {}: before it the replay makes a {kind} too", head.seq));
            }
            found.inputs += 1;
            walk.enter(segment, reader.catalogue())?;
            walk.pipeline.replay(kind, &record, &mut made);
            expected.extend(made.records.drain(..));
        }
        found.records += 1;
        match expected.pop_front() {
            Some((same, bytes)) if same == kind && bytes == record => {}
            Some((other, _)) => found.differs(format!(
                "epoch {epoch}, seq {}: journaled is a {kind}, the replay makes another {other}",
                head.seq
            )),
            None => found.differs(format!("epoch {epoch}, seq {}: the replay does not make this {kind}", head.seq)),
        }
    }
    found.cut_off += expected.len() as u64;
    Ok(found)
}

/// Takes up the oldest snapshot kept that can be; returns the record that it stands behind, beyond all without one.
fn begin_with_a_snapshot<F: Fn(&Market) -> Result<Pipeline, BuildError>>(
    dir: &Path,
    walk: &mut Walk<'_, F>,
    found: &mut Comparison,
) -> Result<(u32, u64), RunError> {
    for snapshot in snapshot::kept(dir)? {
        let Snapshot { epoch, seq, .. } = snapshot;
        walk.again(&catalogue_of(dir, (epoch, seq))?)?;
        match walk.pipeline.load(&snapshot) {
            Ok(()) => return Ok((epoch, seq)),
            Err(error) => {
                found.notes.push(format!("the snapshot of epoch {epoch}, seq {seq} is not used: {error}"));
            }
        }
    }
    Ok((u32::MAX, 0))
}

/// The catalogue that a record was journaled under; of the first segment behind it where its own is gone.
fn catalogue_of(dir: &Path, at: (u32, u64)) -> Result<Catalogue, RunError> {
    let mut found = Catalogue::default();
    for id in list_segments(dir)? {
        // A damaged header says nothing.
        let Ok(reader) = Reader::file(&id.path(dir)) else { continue };
        if (id.epoch, reader.header().first_seq) > at && found != Catalogue::default() {
            break;
        }
        found = reader.catalogue().clone();
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
