//! From the journal back to the state of the stages, and the proof that a replay gives the same records.

use std::collections::VecDeque;
use std::path::Path;

use tickwire_schemas::record::read_head;
use tickwire_schemas::words::Kind;

use super::pipeline::Pipeline;
use crate::journal::{JournalError, Reader, Recovery, is_input, snapshot};
use crate::stages::Recorder;

/// Takes up the snapshot and replays the inputs behind it; returns how many those were. A snapshot that the stages do
/// not understand is reported, and the stages begin with what the journal holds behind it.
///
/// # Errors
/// [`JournalError`] when the journal cannot be read.
pub(super) fn restore(pipeline: &mut Pipeline, recovery: &mut Recovery) -> Result<u64, JournalError> {
    if let Some(snapshot) = &recovery.snapshot
        && let Err(error) = pipeline.load(snapshot)
    {
        tracing::warn!(epoch = snapshot.epoch, seq = snapshot.seq, "snapshot not used: {error}");
    }
    let mut nowhere = Recorder::default();
    let mut replayed = 0;
    while let Some(entry) = recovery.replay.next()? {
        if is_input(entry.kind) {
            replayed += u64::from(pipeline.replay(entry.kind, entry.bytes, &mut nowhere));
            nowhere.records.clear();
        }
    }
    Ok(replayed)
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
/// with empty stages at the beginning of the journal, or, when that is gone, with the oldest snapshot kept.
///
/// # Errors
/// [`JournalError`] when the journal or a snapshot cannot be read.
pub fn compare(dir: &Path, pipeline: &mut Pipeline) -> Result<Comparison, JournalError> {
    let mut found = Comparison::default();
    let mut reader = Reader::open(dir, None)?;
    let mut expected: VecDeque<(Kind, Vec<u8>)> = VecDeque::new();
    let mut made = Recorder::default();
    let mut skip_to = None;
    let mut epoch = 0;
    while let Some(entry) = reader.next()? {
        let Ok(head) = read_head(entry.kind, entry.bytes) else { continue };
        if epoch == 0 && ((head.seq, head.chain) != (1, 1) || entry.kind == Kind::Drop) {
            // The beginning is gone (only a restart begins with a Drop): only a snapshot says how things stood.
            let snapshot = snapshot::oldest(dir)?;
            skip_to = Some(snapshot.as_ref().map_or((u32::MAX, 0), |s| (s.epoch, s.seq)));
            if let Some(Err(error)) = snapshot.map(|s| pipeline.load(&s)) {
                found.differs(format!("the oldest snapshot: {error}"));
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
