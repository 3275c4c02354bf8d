//! The section `[repair]`.

use serde::Deserialize;

use crate::config::{Config, ConfigError};

/// How holes are mended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairConfig {
    /// Whether they are.
    pub enabled: bool,
    /// How long after its end a bar is asked for, milliseconds.
    pub delay_ms: u32,
    /// Tries of a request of which the last one's failure makes its holes lost.
    pub attempts: u32,
    /// Wait after the first failure, milliseconds; it doubles with each.
    pub backoff_ms: u32,
    /// Most holes that wait.
    pub pending_max: usize,
    /// Most requests under way at a time, each to another source.
    pub requests: usize,
}

impl RepairConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(config: &Config) -> Result<RepairConfig, ConfigError> {
        let repair: RepairConfig = config.section("repair")?;
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(config.bad_key(&format!("repair.{key}"), format!("{value}, expected {least} to {most}")))
        };
        within("delay_ms", repair.delay_ms.into(), 0, 3_600_000)?;
        within("attempts", repair.attempts.into(), 1, 20)?;
        within("backoff_ms", repair.backoff_ms.into(), 1, 3_600_000)?;
        within("pending_max", repair.pending_max as u64, 1, 1_000_000)?;
        within("requests", repair.requests as u64, 1, 256)?;
        Ok(repair)
    }
}
