//! The arguments of `tickwire connections`.

use std::collections::BTreeMap;
use std::io::BufRead;

use clap::{Args, Subcommand, ValueEnum};
use toml::{Table, Value};

use super::super::Failure;
use crate::config::is_secret;
use crate::control::service::{InstrumentWanted, Wanted};

/// What to do.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Action {
    /// Makes one; it is not connected before it is activated
    Add(New),
    /// Changes the keys that are given and leaves the others; a running engine takes it up
    Edit {
        #[command(flatten)]
        change: Change,
        /// Leaves a running engine as it is, until it is told to reload
        #[arg(long)]
        no_reload: bool,
    },
    /// All of them, those of configuration files too, which are read-only here
    List {
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// One of them with its keys, secrets left out
    Show {
        /// Its name
        name: String,
    },
    /// Connects once: says how long that took, whether prices come, and the account's balance
    Test {
        /// Its name
        name: String,
    },
    /// Has it connected, by a running engine at once
    Activate {
        /// Its name
        name: String,
        /// Leaves a running engine as it is, until it is told to reload
        #[arg(long)]
        no_reload: bool,
    },
    /// Lets it go, by a running engine at once
    Deactivate {
        /// Its name
        name: String,
        /// Leaves a running engine as it is, until it is told to reload
        #[arg(long)]
        no_reload: bool,
    },
    /// Forgets it and its secrets; its log stays
    Remove {
        /// Its name
        name: String,
        /// What becomes of the rows that it stored; asked for on a terminal
        #[arg(long, value_enum)]
        data: Option<Stored>,
        /// Leaves a running engine as it is, until it is told to reload
        #[arg(long)]
        no_reload: bool,
    },
    /// What was done with it, newest first
    Logs {
        /// Its name
        name: String,
        /// Entries to show
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Newer entries to leave out
        #[arg(long, default_value_t = 0)]
        skip: u32,
        /// Those of one action: create, edit, test, activate, connect, error, …
        #[arg(long, value_name = "WORD")]
        action: Option<String>,
        /// Those that did not come off
        #[arg(long)]
        failed: bool,
    },
    /// Asks its venue for the list of symbols
    Symbols {
        /// Its name
        name: String,
        /// Part of a symbol or of its description
        #[arg(long, value_name = "TEXT", default_value = "")]
        search: String,
        /// Most symbols to show
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Asks its venue for the state of the trading account
    Account {
        /// Its name
        name: String,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Asks its venue what is open in the trading account
    Positions {
        /// Its name
        name: String,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// What becomes of stored rows.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Stored {
    /// They stay
    Keep,
    /// They are deleted
    Delete,
}

/// Keys of a connection.
#[derive(Debug, Args)]
pub(in crate::cli) struct Keys {
    /// Who stands behind it, in words
    #[arg(long, value_name = "TEXT")]
    provider: Option<String>,
    /// What to subscribe: canonical symbols, or CANONICAL=VENUE'S
    #[arg(long, value_name = "SYMBOL,…", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Lengths of past bars to fetch
    #[arg(long, value_name = "M1,…", value_delimiter = ',')]
    timeframes: Vec<String>,
    /// A symbol that is not configured, where its name does not say what it is; repeatable
    #[arg(long = "instrument", value_name = "SYMBOL=CLASS:DIGITS:PIP")]
    instruments: Vec<String>,
    /// A key of `[sources.NAME]` and its value; repeatable. Secrets go by --secret
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A key that is a secret: read from standard input, a line for each in their order; repeatable
    #[arg(long = "secret", value_name = "KEY")]
    secrets: Vec<String>,
    /// Whether each tick is stored
    #[arg(long, value_name = "true|false")]
    ticks: Option<bool>,
    /// Days to keep what it stores
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention: Option<u32>,
}

/// A new connection.
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// Name of its source: a-z, 0-9, _ and -
    pub(super) name: String,
    /// The adapter, as in `adapter = "…"`
    #[arg(long)]
    pub(super) adapter: String,
    /// The user whose private one it is; without it is global
    #[arg(long, value_name = "USER")]
    pub(super) owner: Option<String>,
    #[command(flatten)]
    pub(super) keys: Keys,
}

/// A changed connection.
#[derive(Debug, Args)]
pub(in crate::cli) struct Change {
    /// Its name
    pub(super) name: String,
    #[command(flatten)]
    pub(super) keys: Keys,
}

impl Keys {
    /// What they ask for, with a line of `input` for each secret.
    pub(super) fn wanted(self, input: &mut impl BufRead) -> Result<Wanted, Failure> {
        let mut wanted = Wanted::default();
        for set in &self.sets {
            let (key, value) =
                set.split_once('=').ok_or_else(|| Failure::usage(format!("--set {set}: expected KEY=VALUE")))?;
            if is_secret(key.rsplit('.').next().unwrap_or(key)) || key.starts_with("secrets.") {
                // The value is on the command line, where others can read it: not to be repeated.
                return Err(Failure::usage(format!("--set {key}: is a secret, expected --secret {key}")));
            }
            let parsed = format!("x = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
            let value = serde_json::to_value(parsed.unwrap_or_else(|| Value::String(value.into())));
            wanted.config.insert(key.into(), value.unwrap_or_default());
        }
        for key in self.secrets {
            let mut line = String::new();
            input.read_line(&mut line).map_err(|e| Failure::failed(format!("standard input: {e}")))?;
            let secret = line.trim_end_matches(['\r', '\n']);
            if secret.is_empty() {
                return Err(Failure::usage(format!("--secret {key}: expected a line of standard input with it")));
            }
            wanted.secrets.insert(key, secret.into());
        }
        if !self.symbols.is_empty() {
            let pairs = self.symbols.iter().map(|symbol| symbol.split_once('=').unwrap_or((symbol, "")));
            wanted.symbols = Some(pairs.map(|(ours, theirs)| (ours.to_string(), theirs.to_string())).collect());
        }
        wanted.timeframes = Some(self.timeframes).filter(|words| !words.is_empty());
        wanted.instruments =
            self.instruments.iter().map(|text| instrument(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
        (wanted.provider, wanted.stores_ticks, wanted.retention_days) = (self.provider, self.ticks, self.retention);
        Ok(wanted)
    }
}

fn instrument(text: &str) -> Result<(String, InstrumentWanted), Failure> {
    let parse = || {
        let (symbol, rest) = text.split_once('=')?;
        let [class, digits, pip] = rest.split(':').collect::<Vec<_>>().try_into().ok()?;
        let (class, pip) = (class.to_string(), pip.to_string());
        Some((symbol.to_string(), InstrumentWanted { class, digits: digits.parse().ok()?, pip }))
    };
    parse().ok_or_else(|| Failure::usage(format!("--instrument {text}: expected SYMBOL=CLASS:DIGITS:PIP")))
}
