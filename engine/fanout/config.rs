//! The `[fanout]` section.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::{Config, ConfigError, Secret};
use crate::metrics::OUTBOUND_TAKEN;
use crate::ring::Idle;

/// Threads at most: each that takes from the ring is counted.
const THREADS_MAX: usize = OUTBOUND_TAKEN.len() - 1;

/// Cores are numbered below this.
const CORES_MAX: usize = 1024;

/// Who moves the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A task for each terminal and subscription, woken when there is news.
    Tokio,
    /// One loop that takes what is new, gives each terminal what it can send, and sends for all with one call.
    #[default]
    Loop,
}

/// Addresses, certificate, limits and tokens of the QUIC endpoint. What each key does is in `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FanoutConfig {
    /// UDP address to listen on.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain; empty for a development certificate.
    pub certificate: PathBuf,
    /// PEM file with the private key; empty for a development certificate.
    pub key: PathBuf,
    /// Whether a terminal on this machine may come without a token.
    pub allow_anonymous_loopback: bool,
    /// Terminals at one time.
    pub max_terminals: u32,
    /// Records kept in memory for readers of `all`.
    pub window_records: u32,
    /// Least time between two deliveries to terminals, milliseconds.
    pub flush_ms: u32,
    /// The longest datagram to a terminal, bytes of UDP payload, where it and the path take it.
    pub datagram_bytes_max: u16,
    /// Who moves the datagrams.
    pub transport: Transport,
    /// Threads of [`Transport::Loop`], which share the terminals.
    pub threads: u32,
    /// What they do without work.
    pub idle: Idle,
    /// The core of each of them; those beyond the list are not pinned.
    pub cores: Vec<usize>,
    /// Who may come.
    pub tokens: Vec<TokenConfig>,
}

/// One token and what it allows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Name in the log.
    pub name: String,
    /// The secret.
    pub token: Secret,
    /// The user it belongs to: sees that user's private sources.
    #[serde(default)]
    pub user: String,
    /// Symbols or globs it may see.
    #[serde(default = "everything")]
    pub symbols: Vec<String>,
    /// Kinds of record it may see, or `*`.
    #[serde(default = "everything")]
    pub kinds: Vec<String>,
    /// Sources or globs it may see, `best` for the common price. Never widens to another user's private source.
    #[serde(default = "everything")]
    pub sources: Vec<String>,
    /// Most values a second of each chain, 0 for no limit; a limited token cannot ask for `all`.
    #[serde(default)]
    pub max_rate_hz: u32,
}

fn everything() -> Vec<String> {
    vec!["*".into()]
}

impl Default for FanoutConfig {
    fn default() -> Self {
        FanoutConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 4433)),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            allow_anonymous_loopback: true,
            max_terminals: 1000,
            window_records: 262_144,
            flush_ms: 0,
            datagram_bytes_max: tickwire_schemas::DATAGRAM_BYTES_MAX,
            transport: Transport::default(),
            threads: 1,
            idle: Idle::SpinThenPark,
            cores: Vec::new(),
            tokens: Vec::new(),
        }
    }
}

impl FanoutConfig {
    /// Parses and checks the section.
    ///
    /// # Errors
    /// [`ConfigError::Key`] naming the key that is unknown, of the wrong type or out of range.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let parsed: FanoutConfig = config.section("fanout")?;
        let bad = |key: &str, problem: &str| Err(config.bad_key(&format!("fanout.{key}"), problem));
        if parsed.certificate.as_os_str().is_empty() != parsed.key.as_os_str().is_empty() {
            return bad("certificate", "certificate and key go together; set both, or neither for a development one");
        }
        if !(1..=100_000).contains(&parsed.max_terminals) {
            return bad("max_terminals", "expected 1 to 100000");
        }
        if !(1..=16_777_216).contains(&parsed.window_records) {
            return bad("window_records", "expected 1 to 16777216");
        }
        if parsed.flush_ms > 1000 {
            return bad("flush_ms", "expected 0 to 1000");
        }
        if !(1200..=65_507).contains(&parsed.datagram_bytes_max) {
            return bad("datagram_bytes_max", "expected 1200 to 65507");
        }
        if !(1..=THREADS_MAX).contains(&(parsed.threads as usize)) {
            return bad("threads", &format!("expected 1 to {THREADS_MAX}"));
        }
        if parsed.threads > 1 && parsed.transport == Transport::Tokio {
            return bad("threads", "expected 1: transport \"tokio\" has one thread");
        }
        if parsed.cores.len() > parsed.threads as usize {
            return bad("cores", "expected at most one core for each of fanout.threads");
        }
        if let Some(core) = parsed.cores.iter().find(|core| **core >= CORES_MAX) {
            return bad("cores", &format!("core {core} is not below {CORES_MAX}"));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<FanoutConfig, String> {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(text, "test.toml").unwrap();
        FanoutConfig::from_config(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn a_wrong_key_is_named() {
        assert!(parse("[fanout]\nlisten = \"127.0.0.1:0\"").is_ok());
        let error = |text| parse(text).unwrap_err();
        assert!(error("[fanout]\nlissen = 1").contains("fanout.lissen"));
        assert!(error("[fanout]\ncertificate = \"a.pem\"").contains("fanout.certificate: certificate and key"));
        assert!(error("[fanout]\nmax_terminals = 0").contains("fanout.max_terminals: expected 1"));
        assert!(error("[fanout]\ndatagram_bytes_max = 1199").contains("fanout.datagram_bytes_max: expected 1200 to"));
        assert!(error("[fanout]\ntransport = \"pigeon\"").contains("fanout.transport"));
        assert!(error("[fanout]\ncores = [0, 1]").contains("fanout.cores: expected at most one"));
        assert!(parse("[fanout]\nthreads = 2\ncores = [0, 1]").is_ok());
        assert!(error("[fanout]\nthreads = 0").contains("fanout.threads: expected 1 to 16"));
        assert!(error("[fanout]\nthreads = 2\ntransport = \"tokio\"").contains("fanout.threads: expected 1: "));
        assert!(error("[[fanout.tokens]]\nname = \"a\"").contains("missing field `token`"));
    }
}
