//! Subcommands: one file each, and the arguments they share.

mod check_config;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};

/// A market-data engine: each broker connection held once, one best price out.
#[derive(Debug, Parser)]
#[command(name = "tickwire", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
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
    fn config(&self) -> Result<Config, ConfigError> {
        Config::load(&self.configs, std::env::vars())
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
