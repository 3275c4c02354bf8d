//! `tickwire replay`

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Common, Failure, log_to_stderr};
use crate::replay::{Paths, ReplayError};
use crate::runtime::{ReplayOptions, ReplayReport, Settings, Watcher, replay};

/// What is different from a running engine: bars are published as they close and not while they form.
const DEFAULTS: &str = "[bars]\nprovisional_ms = 0\n";

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Which files hold what, TOML
    manifest: PathBuf,
    /// The stages to run; those of pipeline.groups when left out
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',')]
    stages: Vec<String>,
    /// A quote for every accepted tick, changed or not
    #[arg(long)]
    quotes_every_tick: bool,
    /// Write best prices, as CSV, or Parquet where the name ends in .parquet
    #[arg(long, value_name = "FILE")]
    quotes: Option<PathBuf>,
    /// Write bars
    #[arg(long, value_name = "FILE")]
    bars: Option<PathBuf>,
    /// Write ticks and trades that were not accepted, with the reasons
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Write indicators
    #[arg(long, value_name = "FILE")]
    indicators: Option<PathBuf>,
    /// How many times faster than it happened; as fast as it goes when left out
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Stop at the first malformed row
    #[arg(long)]
    strict: bool,
    /// Keep the state in this file, and go on from it after being killed
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Inputs between two checkpoints
    #[arg(long, value_name = "N", default_value_t = 1_000_000, requires = "checkpoint",
        value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Failure {
        match error {
            ReplayError::Manifest(_) | ReplayError::Options(_) => Failure::usage(error),
            ReplayError::Malformed(_) | ReplayError::File(_) => Failure::failed(error),
        }
    }
}

/// Replays a manifest and prints what was counted.
pub(super) fn run(common: &Common, options: Options) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    if options.speed.is_some_and(|speed| !(speed > 0.0 && speed.is_finite())) {
        let speed = options.speed.unwrap_or_default();
        return Err(Failure::usage(format!("--speed is {speed}, expected a number above zero")));
    }
    let mut config = common.config_over(DEFAULTS)?;
    if options.quotes_every_tick {
        config.overlay("[aggregate]\nquotes_every_tick = true\n", "--quotes-every-tick")?;
    }
    let settings = Settings::new(config)?;
    let Options { manifest, stages, quotes, bars, rejects, indicators, speed, strict, checkpoint, .. } = options;
    let options = ReplayOptions {
        manifest,
        stages,
        paths: Paths { quotes, bars, rejects, indicators },
        speed,
        strict,
        checkpoint: checkpoint.map(|path| (path, options.checkpoint_every)),
    };
    let mut terminal = Terminal::new();
    let outcome = replay(&settings, &options, &mut terminal);
    terminal.bar.finish_and_clear();
    print(&outcome?);
    Ok(ExitCode::SUCCESS)
}

fn print(report: &ReplayReport) {
    print!("{}", report.summary.render(&report.market));
    println!("{:<12} {}", "malformed", report.malformed);
    let seconds = report.wall.as_secs_f64();
    println!("{:<12} {seconds:.3} s", "wall time");
    let rate = if seconds > 0.0 { report.data as f64 / seconds } else { 0.0 };
    println!("{:<12} {rate:.0} ticks/s", "rate");
}

/// Tells of the replay on standard error; a bar where that is a terminal.
struct Terminal {
    bar: ProgressBar,
}

impl Terminal {
    fn new() -> Terminal {
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {elapsed} eta {eta}");
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        Terminal { bar: style.map_or(bar.clone(), |style| bar.with_style(style)) }
    }
}

impl Watcher for Terminal {
    fn progress(&mut self, read: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(read);
    }

    fn malformed(&mut self, note: &str) {
        self.bar.suspend(|| eprintln!("tickwire: {note}; left out"));
    }
}
