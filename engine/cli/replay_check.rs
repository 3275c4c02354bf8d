//! `tickwire replay-check`

use std::process::ExitCode;

use super::{Common, Failure, log_to_stderr, say};
use crate::journal::Reader;
use crate::journal::format::list_segments;
use crate::runtime::{Pipeline, RunError, StateDir, compare, journaled_market};

/// Replays the journal of a stopped engine with the sources and instruments of each run, and stages as configured now, and compares.
pub(super) fn run(common: &Common) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let settings = common.settings()?;
    let journal = common.state_dir.join("journal");
    if !journal.is_dir() {
        // To lock a directory that was mistyped would make it.
        return Err(Failure::usage(format!(
            "{}: no such folder, expected the journal of an engine",
            journal.display()
        )));
    }
    let _state = StateDir::lock(&common.state_dir).map_err(Failure::failed)?;
    // The last run's own: what was served from a recording need not be configured.
    let segments = list_segments(&journal).map_err(Failure::failed)?;
    let mut headers = segments.iter().rev().filter_map(|id| Reader::file(&id.path(&journal)).ok());
    let Some(last) = headers.next() else {
        return Err(Failure::failed(format!("{}: nothing to compare", journal.display())));
    };
    let market = journaled_market(last.catalogue(), &settings);
    let found =
        compare(&journal, &market, |market| Pipeline::build(&settings, market)).map_err(|error| match error {
            RunError::Stages(_) => Failure::usage(error),
            _ => Failure::failed(error),
        })?;
    say(found.notes.iter().fold(String::new(), |text, note| text + note + "\n"))?;
    say(format!(
        "{} inputs replayed, {} records compared, {} different, {} made again that a crash had cut off, {} before the first snapshot not compared\n",
        found.inputs, found.records, found.differences, found.cut_off, found.skipped
    ))?;
    if found.records == 0 {
        return Err(Failure::failed(format!("{}: nothing to compare", journal.display())));
    }
    Ok(if found.differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
