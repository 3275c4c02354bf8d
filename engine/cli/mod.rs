//! Subcommands: one file each, and the arguments they share.

pub mod audit;
mod backfill;
mod check_config;
mod connections;
mod jobs;
pub mod loadtest;
mod record;
mod reload;
mod replay;
mod replay_check;
mod run;
mod simulate;
mod sources;
pub mod sql;
mod store;
mod users;
mod vault;
mod venue;
pub mod watch;
mod watch_arguments;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Config, ConfigError};
use crate::control::sections::{Unfit, add_connections};
use crate::runtime::Settings;
use crate::storage::StorageConfig;

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
    /// Writes what the sources say to one file, for `replay`
    Record(record::Options),
    /// Runs the simulated brokers of a configuration alone
    Simulate,
    /// Serves the embedded ClickHouse engine over HTTP; started by `run`
    Store(store::Options),
    /// Asks the database one question
    Sql {
        /// The query
        query: String,
        /// Output format, any that ClickHouse knows
        #[arg(long, value_name = "FORMAT", default_value = "PrettyCompact")]
        format: String,
        /// As the user who may write, instead of the read-only one
        #[arg(long)]
        write: bool,
    },
    /// Shows how good each source is, and the best of each symbol
    Sources(sources::Options),
    /// Shows records as they come: a live table, lines, or JSON
    Watch(watch_arguments::Watch),
    /// Holds many terminals in one process and says how fast and how completely records arrive
    Loadtest(loadtest::Options),
    /// Fetches a venue's past bars into the database; the same again goes on where it stopped
    Backfill(backfill::Options),
    /// Data connections kept in the state directory: makes, changes, tests and shows them
    Connections {
        #[command(subcommand)]
        action: connections::Action,
    },
    /// Work beside the prices: backfills, polls, retention and the like, what was done and what is to be
    Jobs {
        #[command(subcommand)]
        action: jobs::Action,
    },
    /// Users of the console and their API tokens: makes, changes and removes them
    Users {
        #[command(subcommand)]
        action: users::Action,
    },
    /// The key that seals the secrets of connections and second factors
    Vault {
        #[command(subcommand)]
        action: vault::Action,
    },
    /// Asks a source's venue for its list of symbols, or for the state of the trading account
    Venue(venue::Options),
    /// Compares journal and manifests with the database; exit code 1 on any difference
    Audit,
    /// Validates the configuration and prints what is in effect, secrets masked
    CheckConfig,
    /// Lets the running engine read its configuration again and says what changed; exit code 1 when it is refused
    Reload,
    /// Replays the journal and compares every record with the journaled one; exit code 1 on any difference
    ReplayCheck,
    /// Plays recordings through the stages, as fast as it goes, and writes what they make of them
    Replay(replay::Options),
}

/// What every subcommand takes.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Configuration file over the built-in defaults; repeatable, later wins
    #[arg(long = "config", value_name = "FILE", global = true)]
    configs: Vec<PathBuf>,
    /// Where ids, journal, database and certificates live
    #[arg(long, value_name = "DIR", env = "TICKWIRE_STATE_DIR", default_value = "state", global = true)]
    state_dir: PathBuf,
}

impl Common {
    fn config(&self) -> Result<Config, ConfigError> {
        self.config_over("")
    }

    /// The configuration over defaults that a subcommand has of its own.
    fn config_over(&self, own_defaults: &str) -> Result<Config, ConfigError> {
        // Other programs' variables need not be text.
        let text =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load_over(own_defaults, &self.configs, text)
    }

    /// The configuration and the wanted connections of the state directory. One of these that makes no sense is told on
    /// standard error and left out.
    fn settings(&self) -> Result<Settings, Failure> {
        let base = self.config()?;
        let mut config = base.clone();
        for Unfit { name, problem } in add_connections(&mut config, &self.state_dir).map_err(Failure::failed)? {
            eprintln!("tickwire: connection {name} is left out: {problem}");
        }
        Ok(Settings::new(config)?.over(base))
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
        Command::Record(options) => record::run(&common, &options),
        Command::Simulate => simulate::run(&common),
        Command::Store(options) => store::run(options),
        Command::Sql { query, format, write } => run_sql(&common, &query, &format, write),
        Command::Sources(options) => run_sources(&common, &options),
        Command::Watch(watch) => watch::run(&watch.options(common.state_dir)).map_err(Failure::failed),
        Command::Loadtest(options) => loadtest::run(&common, &options),
        Command::Backfill(options) => backfill::run(&common, options),
        Command::Connections { action } => connections::run(&common, action),
        Command::Jobs { action } => jobs::run(&common, action),
        Command::Users { action } => users::run(&common, action),
        Command::Vault { action } => vault::run(&common, &action),
        Command::Venue(options) => venue::run(&common, &options),
        Command::Audit => run_audit(&common),
        Command::CheckConfig => check_config::run(&common),
        Command::Reload => reload::run(&common),
        Command::ReplayCheck => replay_check::run(&common),
        Command::Replay(options) => replay::run(&common, options),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("tickwire: {}", failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

fn run_sql(common: &Common, query: &str, format: &str, write: bool) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let storage = StorageConfig::parse(&common.config()?)?;
    let outcome = sql::run(&common.state_dir, &storage, query, format, write, &mut std::io::stdout().lock());
    outcome.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
}

fn run_sources(common: &Common, options: &sources::Options) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let storage = StorageConfig::parse(&common.config()?)?;
    let outcome = sources::run(&common.state_dir, &storage, options, &mut std::io::stdout().lock());
    outcome.map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
}

fn run_audit(common: &Common) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let storage = StorageConfig::parse(&common.config()?)?;
    let report = audit::run(&common.state_dir, &storage).map_err(Failure::failed)?;
    say(report.print())?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes to standard output. Who closes it has read enough: that is no fault.
fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    match write!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Logs to standard error: for people on a terminal, as JSON otherwise. `TICKWIRE_LOG` filters, default `level`; with
/// `info,spans=trace` it says of each session with a venue, insert, question to a venue's history and request to the console
/// how long it was busy and how long it waited, when it ends.
fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_env("TICKWIRE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_span_events(FmtSpan::CLOSE);
    // A second subscriber in one process (tests) is refused; the first one stays.
    let _ = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
}
