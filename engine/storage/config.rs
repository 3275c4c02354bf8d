//! The section `[storage]`.

use std::net::SocketAddr;

use serde::Deserialize;

use super::batch::{Limits, WHEN_BEHIND};
use super::client::Endpoint;
use super::store::memory_limit;
use crate::config::{Config, ConfigError, Secret};

/// Where the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The engine starts ClickHouse's engine as a child and stores under its own state directory.
    Embedded,
    /// A ClickHouse server or cluster by URL.
    Server,
    /// Nothing is stored; the journal alone remembers.
    Off,
}

impl Mode {
    /// The word in configuration and `/health`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Embedded => "embedded",
            Mode::Server => "server",
            Mode::Off => "off",
        }
    }
}

/// The section as it stands in the configuration; `config/default.toml` explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Where the database is.
    pub mode: Mode,
    /// Address of the embedded store.
    pub listen: SocketAddr,
    /// Address of the server in mode `server`.
    pub url: String,
    /// The server's user.
    pub user: String,
    /// The server's password.
    pub password: Secret,
    /// Database for rows of global sources; those of private ones go to `<database>_private`.
    pub database: String,
    /// Rows of one insert; [`super::batch::WHEN_BEHIND`] times as many when the database is behind.
    pub batch_rows: u64,
    /// Longest wait of a row for company, milliseconds.
    pub batch_ms: u64,
    /// Cores for the embedded store.
    pub cores: Vec<usize>,
    /// Memory limit of the embedded store, MiB; 0 decides by the machine.
    pub memory_mib: u64,
}

/// Most rows of an insert: one block of the server, so that a batch is one part and one token.
const BATCH_ROWS_MAX: u64 = 1_000_000 / WHEN_BEHIND;
/// Least memory, MiB, of the embedded store: inserts of [`BATCH_BYTES_SMALL`] were seen to pass with it.
const MEMORY_MIB_MIN: u64 = 256;
/// Most memory, MiB: 1 TiB.
const MEMORY_MIB_MAX: u64 = 1 << 20;
/// Bytes of an insert, far below the 256 MB at which a server cuts blocks.
const BATCH_BYTES: usize = 24 << 20;
/// The same for an embedded store that has less memory than [`MEMORY_SMALL`], in bytes.
const BATCH_BYTES_SMALL: usize = 8 << 20;
const MEMORY_SMALL: u64 = 1 << 30;

impl StorageConfig {
    /// Parses and checks the section.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(config: &Config) -> Result<StorageConfig, ConfigError> {
        let section: StorageConfig = config.section("storage")?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if section.database.is_empty() || !section.database.chars().all(word) {
            let problem = format!("\"{}\" is not a database name, expected letters, digits and _", section.database);
            return Err(config.bad_key("storage.database", problem));
        }
        if section.mode == Mode::Embedded && !section.listen.ip().is_loopback() {
            let problem = format!("{} is not loopback; the embedded store serves this machine only", section.listen);
            return Err(config.bad_key("storage.listen", problem));
        }
        if section.mode == Mode::Embedded && section.database != "md" {
            let problem = format!("\"{}\": the embedded store's is `md`, which its reader may see", section.database);
            return Err(config.bad_key("storage.database", problem));
        }
        if section.mode == Mode::Server && !section.url.starts_with("http://") {
            let problem = format!("\"{}\": expected http://HOST:PORT (TLS is not supported yet)", section.url);
            return Err(config.bad_key("storage.url", problem));
        }
        if !(1..=BATCH_ROWS_MAX).contains(&section.batch_rows) {
            let problem = format!("{} is out of range, expected 1 to {BATCH_ROWS_MAX}", section.batch_rows);
            return Err(config.bad_key("storage.batch_rows", problem));
        }
        if !(1..=60_000).contains(&section.batch_ms) {
            let problem = format!("{} is out of range, expected 1 to 60000", section.batch_ms);
            return Err(config.bad_key("storage.batch_ms", problem));
        }
        if section.memory_mib != 0 && !(MEMORY_MIB_MIN..=MEMORY_MIB_MAX).contains(&section.memory_mib) {
            let problem = format!(
                "{} is out of range, expected {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX}, or 0 to go by the machine",
                section.memory_mib
            );
            return Err(config.bad_key("storage.memory_mib", problem));
        }
        Ok(section)
    }

    /// When batches are cut.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let has_little = self.mode == Mode::Embedded && memory_limit(self.memory_mib) < MEMORY_SMALL;
        let bytes = if has_little { BATCH_BYTES_SMALL } else { BATCH_BYTES };
        Limits { rows: self.batch_rows, bytes, age_ns: self.batch_ms as i64 * 1_000_000 }
    }

    /// The server of mode `server`.
    ///
    /// # Errors
    /// One sentence when the password's reference cannot be resolved.
    pub fn server(&self) -> Result<Endpoint, String> {
        let password = self.password.resolve().map_err(|e| format!("storage.password: {e}"))?;
        Ok(Endpoint { url: self.url.clone(), user: self.user.clone(), password })
    }
}
