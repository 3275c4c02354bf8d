//! `tickwire replay`

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::run::print_addresses;
use super::{Common, Failure, log_to_stderr, reload, say};
use crate::config::Config;
use crate::replay::{Paths, ReplayError};
use crate::runtime::{Engine, Playback, ReplayOptions, ReplayReport, Settings, Watcher, on_hangup, on_signal, replay};
use crate::stages::Layout;

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
    /// How many times faster than it happened; 0 is as fast as it goes, and so is none, but with --serve that is 1
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Run the whole engine with the recording in the place of the feeds: terminals, journal, database
    #[arg(long, conflicts_with_all = ["quotes", "bars", "rejects", "indicators", "checkpoint"])]
    serve: bool,
    /// Stop when everything is journaled and stored, instead of serving on
    #[arg(long, requires = "serve")]
    exit: bool,
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
    if options.speed.is_some_and(|speed| !(speed >= 0.0 && speed.is_finite())) {
        let speed = options.speed.unwrap_or_default();
        return Err(Failure::usage(format!("--speed is {speed}, expected a number from zero")));
    }
    if options.serve {
        return serve(common, &options);
    }
    log_to_stderr("warn");
    let settings = settings(common.config_over(DEFAULTS)?, &options)?;
    let Options { manifest, stages, quotes, bars, rejects, indicators, speed, strict, checkpoint, .. } = options;
    let options = ReplayOptions {
        manifest,
        stages,
        paths: Paths { quotes, bars, rejects, indicators },
        speed: speed.filter(|speed| *speed > 0.0),
        strict,
        checkpoint: checkpoint.map(|path| (path, options.checkpoint_every)),
    };
    let mut terminal = Terminal::new();
    let outcome = replay(&settings, &options, &mut terminal);
    terminal.bar.finish_and_clear();
    let report = outcome?;
    for number in &report.silent {
        let place = options.manifest.display();
        eprintln!(
            "tickwire: manifest {place}: [[source]] number {number} gave no input: nothing in its files is as its keys ask"
        );
    }
    say(summary(&report))?;
    if report.inputs == 0 {
        return Err(Failure::failed("nothing was replayed"));
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(mut config: Config, options: &Options) -> Result<Settings, Failure> {
    if options.quotes_every_tick {
        config.overlay("[aggregate]\nquotes_every_tick = true\n", "--quotes-every-tick")?;
    }
    Ok(Settings::new(config)?)
}

/// Runs the engine on a manifest until told to stop, or until everything is stored.
fn serve(common: &Common, options: &Options) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let mut settings = settings(common.config()?, options)?;
    if !options.stages.is_empty() {
        settings.layout =
            Layout::new(vec![options.stages.clone()]).map_err(|error| Failure::usage(format!("--stages: {error}")))?;
    }
    let speed = Some(options.speed.unwrap_or(1.0)).filter(|speed| *speed > 0.0);
    let playback = Playback::open(&settings, &options.manifest, options.strict, speed)?;
    let (mode, store) = (settings.storage.mode, settings.storage.listen);
    let told = on_signal().map_err(Failure::failed)?;
    let hangups = on_hangup().map_err(Failure::failed)?;
    let (engine, ended) = Engine::serve(settings, &common.state_dir, playback).map_err(Failure::failed)?;
    reload::listen(hangups, engine.control(), common.clone()).map_err(Failure::failed)?;
    print_addresses(&engine, mode, store);
    let ended = crossbeam::select! {
        recv(told) -> _ => None,
        recv(ended) -> ended => ended.ok(),
    };
    let is_done = matches!(ended, Some(Ok(_)));
    if let Some(Ok(played)) = &ended {
        println!("the recording has ended: {} inputs, {} malformed", played.inputs, played.malformed);
        if !options.exit {
            // The other end is only dropped when the process ends.
            let _ = told.recv();
        }
    }
    println!("stopping: replay, stages, journal, terminals, database");
    let stopped = if options.exit && is_done {
        println!("waiting until everything is stored; Ctrl-C twice ends at once");
        engine.finish()
    } else {
        engine.stop()
    };
    ended.transpose()?;
    stopped.map_err(Failure::failed)?;
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn summary(report: &ReplayReport) -> String {
    let seconds = report.wall.as_secs_f64();
    let rate = if seconds > 0.0 { report.data as f64 / seconds } else { 0.0 };
    let (counted, malformed) = (report.summary.render(&report.market), report.malformed);
    let line = |name: &str, value: String| format!("{name:<12} {value}\n");
    let malformed = line("malformed", malformed.to_string());
    counted + &malformed + &line("wall time", format!("{seconds:.3} s")) + &line("rate", format!("{rate:.0} ticks/s"))
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
