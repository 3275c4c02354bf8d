//! The `[journal]` section; `config/default.toml` says what each key does.

use serde::Deserialize;

use super::queue::BLOCK_BYTES;
use crate::config::{Config, ConfigError};

/// Fewest blocks of a queue: one being filled, one being written, and room between them.
pub(super) const BLOCKS_MIN: u64 = 4;

/// The journal's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
    /// Time between two syncs, in milliseconds.
    pub sync_ms: u64,
    /// Memory between the pipeline and the disk, in bytes.
    pub queue_bytes: u64,
    /// How long a segment is kept after the database has it, in hours.
    pub keep_hours: u64,
    /// Size of the journal from which segments are not kept for `keep_hours`, in bytes.
    pub max_bytes: u64,
    /// Time between two snapshots of the stages' state, in seconds.
    pub snapshot_every_s: u64,
}

impl JournalConfig {
    /// The name of its section.
    pub const SECTION: &'static str = "journal";

    /// Takes the section out of `config`.
    ///
    /// # Errors
    /// [`ConfigError::Key`] naming a key that is unknown, of a wrong type or out of range.
    pub fn parse(config: &Config) -> Result<JournalConfig, ConfigError> {
        let parsed: JournalConfig = config.section(Self::SECTION)?;
        let ranges = [
            ("segment_bytes", parsed.segment_bytes, 1 << 20, 4 << 30),
            ("sync_ms", parsed.sync_ms, 1, 10_000),
            ("queue_bytes", parsed.queue_bytes, BLOCKS_MIN * BLOCK_BYTES as u64, 16 << 30),
            ("keep_hours", parsed.keep_hours, 0, 24 * 366),
            ("max_bytes", parsed.max_bytes, parsed.segment_bytes.saturating_mul(2), i64::MAX as u64),
            ("snapshot_every_s", parsed.snapshot_every_s, 1, 3600),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let key = format!("{}.{key}", Self::SECTION);
                return Err(config.bad_key(&key, format!("{value} is out of range, expected {least} to {most}")));
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "[journal]\nsegment_bytes = 67108864\nsync_ms = 10\nqueue_bytes = 67108864\nkeep_hours = 24\n\
                        max_bytes = 1000000000000\nsnapshot_every_s = 60\n";

    fn parse(extra: &str) -> Result<JournalConfig, String> {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(GOOD, "good").unwrap();
        config.overlay(&format!("[journal]\n{extra}"), "my.toml").unwrap();
        JournalConfig::parse(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn a_wrong_key_type_or_value_is_one_sentence_naming_key_and_file() {
        assert_eq!(parse("sync_ms = 5").unwrap().sync_ms, 5);
        for (extra, parts) in [
            ("sync_sm = 5", ["my.toml", "sync_sm"]),
            ("sync_ms = \"5\"", ["my.toml", "journal.sync_ms"]),
            ("sync_ms = 0", ["my.toml: journal.sync_ms", "0 is out of range, expected 1 to 10000"]),
            ("max_bytes = 5", ["my.toml: journal.max_bytes", "expected 134217728"]),
        ] {
            let error = parse(extra).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{extra}: {error}");
        }
    }
}
