//! The arguments of `tickwire watch`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tickwire_terminal::Delivery;

use super::watch::WatchOptions;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DeliveryWord {
    /// The newest value of each chain
    Latest,
    /// Everything, in order
    All,
}

impl From<DeliveryWord> for Delivery {
    fn from(word: DeliveryWord) -> Delivery {
        match word {
            DeliveryWord::Latest => Delivery::Latest,
            DeliveryWord::All => Delivery::All,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// One object a line
    #[arg(long)]
    json: bool,
    /// One line of text a record, even on a terminal
    #[arg(long)]
    plain: bool,
    /// The engine; the local one when left out
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// SHA-256 of its certificate, in hexadecimal
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// Token by reference: env:NAME or file:PATH
    #[arg(long, value_name = "REF")]
    token: Option<String>,
    /// Symbols or globs, separated by commas; all when left out
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Kinds of record, separated by commas; quote when left out
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Sources or globs, separated by commas, `best` for the common price; the common price alone for quotes when left out
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    sources: Vec<String>,
    /// What to do when we cannot keep up
    #[arg(long, value_enum, default_value = "latest")]
    delivery: DeliveryWord,
    /// End after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

impl Watch {
    pub(super) fn options(self, state_dir: PathBuf) -> WatchOptions {
        let Watch { json, plain, connect, fingerprint, token, symbols, kinds, sources, delivery, limit } = self;
        let delivery = delivery.into();
        WatchOptions { state_dir, connect, fingerprint, token, symbols, kinds, sources, delivery, limit, json, plain }
    }
}
