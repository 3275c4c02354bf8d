//! `tickwire reload`, and the running engine's answer to it.
//!
//! The order is SIGHUP; the engine reads the files again that it was started with and leaves its answer in the file
//! `reload.json` of the state directory.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{Common, Failure, log_to_stderr, say};
use crate::runtime::{Changes, Control, StateDir};

/// How long to wait for the engine's answer: longer than it waits for any of its parts.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The answer.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// Which engine gave it.
    pid: u32,
    /// How many it has given, this one included.
    count: u64,
    /// Why nothing, or not everything, is in effect.
    error: Option<String>,
    changes: Changes,
}

/// What the running engine says of itself.
#[derive(Deserialize)]
struct EngineFile {
    pid: u32,
}

/// Tells the engine of the state directory to read its configuration again, and waits for what it says.
pub(super) fn run(common: &Common) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let dir = &common.state_dir;
    let nobody = || Failure::failed(format!("no engine runs in {}: start one with `tickwire run`", dir.display()));
    let answer = tell(dir)?.ok_or_else(nobody)?;
    let mut lines = answer.changes.lines();
    if lines.is_empty() && answer.error.is_none() {
        lines.push("nothing changed".into());
    }
    say(lines.iter().fold(String::new(), |text, line| text + line + "\n"))?;
    answer.error.map_or(Ok(ExitCode::SUCCESS), |error| Err(Failure::failed(error)))
}

/// Whether an engine runs over a state directory.
pub(super) fn runs(dir: &Path) -> bool {
    // A note that a crash left behind may name the process of somebody else.
    dir.join("engine.json").exists() && StateDir::lock(dir).is_err()
}

/// Lets the engine of a state directory take up what was changed, where one runs: a sentence for each change.
///
/// # Errors
/// One sentence.
pub(super) fn take_up(dir: &Path) -> Result<Vec<String>, String> {
    match tell(dir).map_err(|failure| failure.sentence)? {
        None => Ok(Vec::new()),
        Some(Answer { error: Some(error), .. }) => Err(error),
        Some(answer) => Ok(answer.changes.lines()),
    }
}

/// The engine's answer to the order; none where no engine runs.
fn tell(dir: &Path) -> Result<Option<Answer>, Failure> {
    if !runs(dir) {
        return Ok(None);
    }
    let note = std::fs::read_to_string(dir.join("engine.json"));
    let note = note.map_err(|e| Failure::failed(format!("{}/engine.json: {e}", dir.display())))?;
    let engine: EngineFile =
        serde_json::from_str(&note).map_err(|e| Failure::failed(format!("{}/engine.json: {e}", dir.display())))?;
    let Some(pid) = i32::try_from(engine.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let before = answer(dir).filter(|answer| answer.pid == engine.pid).map_or(0, |answer| answer.count);
    kill_process(pid, Signal::HUP).map_err(|e| Failure::failed(format!("the engine, process {}: {e}", engine.pid)))?;
    let told = Instant::now();
    loop {
        match answer(dir) {
            Some(answer) if answer.pid == engine.pid && answer.count > before => return Ok(Some(answer)),
            _ if told.elapsed() > ANSWER_WITHIN => {
                return Err(Failure::failed("the engine did not answer in time; its log may say more"));
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn answer(dir: &Path) -> Option<Answer> {
    serde_json::from_str(&std::fs::read_to_string(dir.join("reload.json")).ok()?).ok()
}

/// Starts the thread that takes the order: reads the configuration again, has what it can put into effect, logs each
/// change and leaves the answer. A configuration with an error changes nothing.
pub(super) fn listen(hangups: Receiver<()>, control: Control, common: Common) -> std::io::Result<()> {
    let take = move || {
        let mut count = 0;
        while hangups.recv().is_ok() {
            count += 1;
            let changed = common.config().map_err(|e| e.to_string()).and_then(|base| control.base_changed(base));
            let mut answer = Answer { pid: std::process::id(), count, ..Answer::default() };
            match changed {
                Ok(changes) => {
                    let lines = changes.lines();
                    lines.iter().for_each(|line| tracing::info!("configuration read again: {line}"));
                    if lines.is_empty() {
                        tracing::info!("configuration read again: nothing changed");
                    }
                    answer.changes = changes;
                }
                Err(error) => {
                    tracing::error!("configuration read again: {error}");
                    answer.error = Some(error);
                }
            }
            leave(&common.state_dir, &answer);
        }
    };
    std::thread::Builder::new().name("tw-reload".into()).spawn(take)?;
    Ok(())
}

/// Under another name first: nobody reads half of it.
fn leave(dir: &Path, answer: &Answer) {
    let beside = dir.join("reload.json.tmp");
    let left = serde_json::to_vec(answer).map_err(std::io::Error::other);
    let left = left.and_then(|text| std::fs::write(&beside, text));
    if let Err(error) = left.and_then(|()| std::fs::rename(&beside, dir.join("reload.json"))) {
        tracing::warn!("{}/reload.json: {error}", dir.display());
    }
}
