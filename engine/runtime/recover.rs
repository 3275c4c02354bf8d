//! From the journal back to the state of the stages, and the proof that a replay gives the same records.

use std::collections::VecDeque;
use std::path::Path;

use tickwire_schemas::record::{TS_PUBLISH_OFFSET, read_head};
use tickwire_schemas::words::Kind;

use super::pipeline::Pipeline;
use crate::journal::{self, JournalError, Reader, Recovery};
use crate::stages::Recorder;

/// Takes up the newest snapshot and replays the inputs behind it. A snapshot that the stages do not understand is
/// reported, and the stages begin empty; the journal is not touched by that.
pub fn restore(pipeline: &mut Pipeline, recovery: &mut Recovery) -> Result<u64, JournalError> {
    if let Some(snapshot) = &recovery.snapshot
        && let Err(error) = pipeline.load(snapshot)
    {
        tracing::warn!(epoch = snapshot.epoch, seq = snapshot.seq, "the snapshot cannot be used: {error}; the stages begin with what the journal holds");
    }
    let mut nowhere = Recorder::default();
    let mut replayed = 0;
    recovery.replay(|kind, bytes| {
        replayed += u64::from(pipeline.replay(kind, bytes, &mut nowhere));
        nowhere.records.clear();
    })?;
    Ok(replayed)
}

/// What a comparison of a journal with its replay found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Inputs replayed.
    pub inputs: u64,
    /// Records compared, inputs with their verdicts among them.
    pub records: u64,
    /// The first differences, a sentence each.
    pub differences: Vec<String>,
}

/// Differences beyond these are counted with the first.
const DIFFERENCES_MAX: usize = 20;
