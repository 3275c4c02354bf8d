//! Subcommands: one file each, and the arguments they share.

pub mod audit;
mod check_config;
mod replay_check;
mod run;
mod simulate;
pub mod sql;
mod store;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError};
use crate::runtime::Settings;

/// A market-data engine: each broker connection held once, one best price out.
#[derive(Debug, Parser)]
#[command(name = "tickwire", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the engine: feeds, stages, journal, fan-out, storage, console, and the simulators a configuration names
    Run,
    /// Runs the simulated brokers of a configuration alone
    Simulate,
    /// Serves the embedded ClickHouse engine over HTTP; started by `run`
    Store(store::Options),
    /// Validates the configuration and prints what is in effect, secrets masked
    CheckConfig,
    /// Replays the journal and compares every record with the journaled one; exit code 1 on any difference
    ReplayCheck,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file over the built-in defaults; repeatable, later wins
    #[arg(long = "config", value_name = "FILE", global = true)]
    configs: Vec<PathBuf>,
    /// Where ids, journal, database and certificates live
    #[arg(long, value_name = "DIR", env = "TICKWIRE_STATE_DIR", default_value = "state", global = true)]
    state_dir: PathBuf,
}

impl Common {
    fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::new(Config::load(&self.configs, std::env::vars())?)
    }
}

/// Why a subcommand ended badly: the sentence, and the exit code that says whose fault it is.
struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// Wrong arguments or configuration: exit code 2.
    fn usage(sentence: impl ToString) -> Failure {
        Failure { code: 2, sentence: sentence.to_string() }
    }

    /// Anything that went wrong at run time: exit code 1.
    fn failed(sentence: impl ToString) -> Failure {
        Failure { code: 1, sentence: sentence.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::usage(error)
    }
}

/// The program: arguments in, exit code out.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    let outcome = match command {
        Command::Run => run::run(&common),
        Command::Simulate => simulate::run(&common),
        Command::Store(options) => store::run(options),
        Command::CheckConfig => check_config::run(&common),
        Command::ReplayCheck => replay_check::run(&common),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("tickwire: {}", failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

/// Logs to standard error: for people on a terminal, as JSON otherwise. `TICKWIRE_LOG` filters, default `info`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TICKWIRE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber in one process (tests) is refused; the first one stays.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}
