//! The section `[indicators]`: which indicators of which series, and what they are called.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::Timeframe;

use super::{Computation, Parameter};
use crate::config::{Config, ConfigError};

/// One table, `[indicators.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    indicator: String,
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default = "every")]
    symbols: Vec<String>,
    #[serde(default = "best")]
    sources: Vec<String>,
    timeframes: Vec<Timeframe>,
    #[serde(default)]
    price: PriceOf,
}

fn every() -> Vec<String> {
    vec!["*".into()]
}

fn best() -> Vec<String> {
    vec!["best".into()]
}

/// Which of a bar's prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PriceOf {
    Bid,
    Ask,
    #[default]
    Mid,
}

impl PriceOf {
    pub(super) fn of(self, bar: &Bar) -> Ohlc {
        match self {
            PriceOf::Bid => bar.bid,
            PriceOf::Ask => bar.ask,
            PriceOf::Mid => bar.mid,
        }
    }
}

/// A table that makes sense.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The canonical name.
    pub(super) name: String,
    /// Before the first bar.
    pub(super) computation: Computation,
    pub(super) price: PriceOf,
    pub(super) symbols: GlobSet,
    pub(super) sources: GlobSet,
    pub(super) timeframes: BTreeSet<Timeframe>,
}

impl Spec {
    /// Checks the table; an error is the key and what is wrong with it.
    pub(super) fn check(&self) -> Result<Wanted, (&'static str, String)> {
        let (computation, parameters) = Computation::new(&self.indicator, &self.parameters)?;
        let price = match self.price {
            PriceOf::Bid => ",bid",
            PriceOf::Ask => ",ask",
            PriceOf::Mid => "",
        };
        if self.timeframes.is_empty() {
            return Err(("timeframes", "is empty, expected at least one timeframe such as \"M1\"".into()));
        }
        Ok(Wanted {
            name: format!("{}({parameters}{price})", self.indicator),
            computation,
            price: self.price,
            symbols: globs(&self.symbols).map_err(|problem| ("symbols", problem))?,
            sources: globs(&self.sources).map_err(|problem| ("sources", problem))?,
            timeframes: self.timeframes.iter().copied().collect(),
        })
    }
}

fn globs(texts: &[String]) -> Result<GlobSet, String> {
    if texts.is_empty() {
        return Err("is empty, expected at least one name or glob such as \"*\"".into());
    }
    let mut set = GlobSetBuilder::new();
    for text in texts {
        set.add(Glob::new(text).map_err(|e| format!("\"{text}\": {e}"))?);
    }
    set.build().map_err(|e| e.to_string())
}

/// The canonical names of all indicators of a configuration, each once, for which ids are needed before the stage is built
/// (see [`Market::with_indicators`](crate::stages::Market::with_indicators)).
///
/// # Errors
/// [`ConfigError`] naming the key that is wrong, its value and what was expected.
pub fn names(config: &Config) -> Result<Vec<String>, ConfigError> {
    let specs: BTreeMap<String, Spec> = config.section("indicators")?;
    let mut names = BTreeSet::new();
    for (table, spec) in &specs {
        let wanted =
            spec.check().map_err(|(key, problem)| config.bad_key(&format!("indicators.{table}.{key}"), problem))?;
        names.insert(wanted.name);
    }
    Ok(names.into_iter().collect())
}
