//! The section `[jobs]`.

use serde::Deserialize;

use crate::config::{Config, ConfigError};

/// How jobs are done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsConfig {
    /// Jobs at a time.
    pub workers: usize,
    /// Attempts of which the last one's failure is final.
    pub attempts: u32,
    /// Wait after the first failure, milliseconds; it doubles with each, and half of it is random.
    pub backoff_ms: u32,
    /// Longest wait, milliseconds.
    pub backoff_max_ms: u32,
    /// Days of the past that a connection gets when it first has a timeframe; 0: none.
    pub backfill_days: u32,
    /// Days that jobs which are over are shown.
    pub history_days: u32,
}

impl JobsConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(config: &Config) -> Result<JobsConfig, ConfigError> {
        let jobs: JobsConfig = config.section("jobs")?;
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(config.bad_key(&format!("jobs.{key}"), format!("{value}, expected {least} to {most}")))
        };
        // One is kept for what is soon done.
        within("workers", jobs.workers as u64, 2, 32)?;
        within("attempts", jobs.attempts.into(), 1, 20)?;
        within("backoff_ms", jobs.backoff_ms.into(), 1, 3_600_000)?;
        within("backoff_max_ms", jobs.backoff_max_ms.into(), 1, 86_400_000)?;
        within("backfill_days", jobs.backfill_days.into(), 0, 36_500)?;
        within("history_days", jobs.history_days.into(), 1, 36_500)?;
        Ok(jobs)
    }

    /// The wait after a failure, nanoseconds. `random` is from 0 to 1.
    #[must_use]
    pub fn backoff_ns(&self, failures: u32, random: f64) -> i64 {
        let doubled = u64::from(self.backoff_ms) << failures.saturating_sub(1).min(24);
        let half_ms = doubled.min(self.backoff_max_ms.into()) as f64 / 2.0;
        ((half_ms + half_ms * random.clamp(0.0, 1.0)) * 1e6) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_half_of_each_is_random() {
        let config = JobsConfig {
            workers: 2,
            attempts: 3,
            backoff_ms: 1_000,
            backoff_max_ms: 5_000,
            backfill_days: 30,
            history_days: 30,
        };
        let longest = [1, 2, 3, 4, 60].map(|failures| config.backoff_ns(failures, 1.0) / 1_000_000);
        assert_eq!(longest, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(config.backoff_ns(2, 0.0), 1_000_000_000);
    }
}
