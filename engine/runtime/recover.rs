//! From the journal back to the state of the stages, and the proof that a replay gives the same records.

use std::collections::VecDeque;
use std::path::Path;

use tickwire_schemas::record::read_head;
use tickwire_schemas::words::Kind;

use super::RunError;
use super::pipeline::Pipeline;
use crate::journal::{Reader, Recovery, Snapshot, is_input, snapshot};
use crate::stages::{BuildError, Recorder};

/// The pipeline as the journal left it: with the newest snapshot that it can take up and the inputs behind it replayed;
/// how many those were. A snapshot that cannot be taken up is in the report of `recovery`; without one the stages begin
/// empty, at the beginning of what the journal still holds. `make` makes the pipeline with empty stages.
///
/// # Errors
/// [`RunError`] when the stages cannot be built or the journal cannot be read.
pub(super) fn restore(
    make: impl Fn() -> Result<Pipeline, BuildError>,
    recovery: &mut Recovery,
) -> Result<(Pipeline, u64), RunError> {
    let mut pipeline = make()?;
    while let Some(snapshot) = &recovery.snapshot {
        let Err(error) = pipeline.load(snapshot) else { break };
        // Some stages may have taken up theirs: a state that never was.
        pipeline = make()?;
        recovery.step_back(&error)?;
    }
    // What the journal still holds need not be where the chains began.
    let follows = recovery.snapshot.is_none();
    let mut nowhere = Recorder::default();
    let mut replayed = 0;
    while let Some(entry) = recovery.replay.next()? {
        if is_input(entry.kind) {
            replayed += u64::from(pipeline.replay(entry.kind, entry.bytes, &mut nowhere));
            nowhere.records.clear();
        }
        if follows {
            pipeline.follow(entry.kind, entry.bytes);
        }
    }
    Ok((pipeline, replayed))
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

/// Replays the inputs of the journal in `dir` and compares every record with the journaled one, byte for byte. Begins
/// with empty stages, which `make` makes, at the beginning of the journal, or, when that is gone, with the oldest
/// snapshot kept that they can take up.
///
/// # Errors
/// [`RunError`] when the stages cannot be built, or the journal or a snapshot cannot be read.
pub fn compare(dir: &Path, make: impl Fn() -> Result<Pipeline, BuildError>) -> Result<Comparison, RunError> {
    let mut found = Comparison::default();
    let mut pipeline = make()?;
    let mut reader = Reader::open(dir, None)?;
    let mut expected: VecDeque<(Kind, Vec<u8>)> = VecDeque::new();
    let mut made = Recorder::default();
    let mut skip_to = None;
    let mut epoch = 0;
    while let Some(entry) = reader.next()? {
        let Ok(head) = read_head(entry.kind, entry.bytes) else { continue };
        if epoch == 0 && ((head.seq, head.chain) != (1, 1) || entry.kind == Kind::Drop) {
            // The beginning is gone (only a restart begins with a Drop): only a snapshot says how things stood.
            skip_to = Some((u32::MAX, 0));
            for snapshot in snapshot::kept(dir)? {
                pipeline = make()?;
                match pipeline.load(&snapshot) {
                    Ok(()) => {
                        skip_to = Some((snapshot.epoch, snapshot.seq));
                        break;
                    }
                    Err(error) => {
                        let Snapshot { epoch, seq, .. } = snapshot;
                        found.notes.push(format!("the snapshot of epoch {epoch}, seq {seq} is not used: {error}"));
                    }
                }
            }
        }
        if head.epoch != epoch {
            // A crash may have cut what followed from the last input of the epoch before.
            found.cut_off += expected.drain(..).count() as u64;
            epoch = head.epoch;
        }
        // Derived records of the snapshot's own input are part of its state: skip to the next input.
        if skip_to.is_some_and(|to| (head.epoch, head.seq) <= to || !is_input(entry.kind)) {
            found.skipped += 1;
            continue;
        }
        skip_to = None;
        if is_input(entry.kind) {
            for (kind, _) in expected.drain(..) {
                found.differs(format!("epoch {epoch}, seq {}: before it the replay makes a {kind} too", head.seq));
            }
            found.inputs += 1;
            pipeline.replay(entry.kind, entry.bytes, &mut made);
            expected.extend(made.records.drain(..));
        }
        found.records += 1;
        match expected.pop_front() {
            Some((kind, bytes)) if kind == entry.kind && bytes == entry.bytes => {}
            Some((kind, _)) => {
                found.differs(format!(
                    "epoch {epoch}, seq {}: journaled is a {}, the replay makes another {kind}",
                    head.seq, entry.kind
                ));
            }
            None => {
                found.differs(format!("epoch {epoch}, seq {}: the replay does not make this {}", head.seq, entry.kind))
            }
        }
    }
    found.cut_off += expected.len() as u64;
    Ok(found)
}

#[cfg(test)]
mod tests;
