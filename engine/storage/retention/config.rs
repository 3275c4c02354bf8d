//! The section `[retention]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Rules, TABLES};
use crate::config::{Config, ConfigError};

/// When rows are deleted, and which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Whether they are, of themselves; by hand they always can be.
    pub enabled: bool,
    /// When, UTC: `HH:MM`.
    pub at: String,
    /// Days that rows are kept where nothing else is said.
    pub days: u32,
    /// By table.
    #[serde(default)]
    pub tables: BTreeMap<String, u32>,
    /// By connection of a configuration file; those of the control database say it themselves.
    #[serde(default)]
    pub connections: BTreeMap<String, u32>,
}

/// Longest that rows are kept: a hundred years.
const DAYS_MAX: u32 = 36_500;

impl RetentionConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(config: &Config) -> Result<RetentionConfig, ConfigError> {
        let retention: RetentionConfig = config.section("retention")?;
        if retention.at_ns().is_none() {
            let problem = format!("\"{}\" is no time of day, expected HH:MM such as \"02:00\"", retention.at);
            return Err(config.bad_key("retention.at", problem));
        }
        let tables = retention.tables.iter().map(|(name, days)| (format!("tables.{name}"), *days));
        let connections = retention.connections.iter().map(|(name, days)| (format!("connections.{name}"), *days));
        for (key, days) in [("days".to_string(), retention.days)].into_iter().chain(tables).chain(connections) {
            if !(1..=DAYS_MAX).contains(&days) {
                return Err(config.bad_key(&format!("retention.{key}"), format!("{days}, expected 1 to {DAYS_MAX}")));
            }
        }
        let unknown = retention.tables.keys().find(|name| TABLES.iter().all(|aged| aged.table != **name));
        if let Some(name) = unknown {
            let known: Vec<_> = TABLES.iter().map(|aged| aged.table).collect();
            let problem = format!("there is no such table, expected one of {}", known.join(", "));
            return Err(config.bad_key(&format!("retention.tables.{name}"), problem));
        }
        Ok(retention)
    }

    /// Nanoseconds from midnight UTC to when.
    #[must_use]
    pub fn at_ns(&self) -> Option<i64> {
        let (hours, minutes) = self.at.split_once(':')?;
        let two = |text: &str| (text.len() == 2).then(|| text.parse::<i64>().ok()).flatten();
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        ((0..24).contains(&hours) && (0..60).contains(&minutes)).then_some((hours * 60 + minutes) * 60_000_000_000)
    }

    /// The rules, with days of connections that say them themselves.
    #[must_use]
    pub fn rules(&self, connections: impl IntoIterator<Item = (String, u32)>) -> Rules {
        let all = self.connections.clone().into_iter().chain(connections);
        Rules { days: self.days, tables: self.tables.clone(), connections: all.collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> Result<RetentionConfig, String> {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(text, "test").unwrap();
        RetentionConfig::parse(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn a_time_of_day_and_days_and_tables_that_there_are() {
        let default = parsed("").unwrap();
        assert_eq!((default.at_ns(), default.days), (Some(7_200_000_000_000), 365));
        for (text, expected) in [
            ("[retention]\nat = \"24:00\"", "no time of day"),
            ("[retention]\nat = \"2:00\"", "no time of day"),
            ("[retention]\ndays = 0", "expected 1 to 36500"),
            ("[retention.tables]\ntick = 5", "retention.tables.tick"),
            ("[retention.tables]\nticks = 0", "expected 1 to 36500"),
            ("[retention]\nday = 5", "day"),
        ] {
            let problem = parsed(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
