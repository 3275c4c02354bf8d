//! `tickwire record`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};
use tickwire_schemas::words::Kind;

use super::{Common, Failure, log_to_stderr, say};
use crate::runtime::{Recorded, on_signal, record};

/// What `record` takes of its own.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Seconds after which to end; without it, at Ctrl-C
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(1..=31_536_000))]
    duration: Option<u64>,
}

/// Records until told to stop, and says what is in the file.
pub(super) fn run(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let settings = common.settings()?;
    if settings.sources.is_empty() {
        return Err(Failure::usage("no sources are configured, expected sections [sources.NAME]"));
    }
    let stop = on_signal().map_err(Failure::failed)?;
    let limit = options.duration.map(Duration::from_secs);
    let recorded = record(settings, &options.output, limit, &stop).map_err(Failure::failed)?;
    say(format!("{}{}\n", summary(&recorded), options.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(recorded: &Recorded) -> String {
    let Recorded { inputs, dropped, bytes, took } = recorded;
    let line = |((source, kind), count): (&(String, Kind), &u64)| {
        let source = if source.is_empty() { "-" } else { source };
        format!("{source:<24} {:<12} {count:>12}\n", kind.to_string())
    };
    let (lines, total): (String, u64) = (inputs.iter().map(line).collect(), inputs.values().sum());
    format!("{lines}{total} inputs, {bytes} bytes, {:.1} s, {dropped} dropped at the door\n", took.as_secs_f64())
}
