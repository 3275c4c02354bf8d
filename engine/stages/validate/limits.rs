//! The thresholds of the checks, by class and instrument.

use std::collections::BTreeMap;

use serde::Deserialize;
use tickwire_schemas::words::Check;

use crate::market::{Class, Decimal9, Instrument};
use crate::stages::Market;

/// The section `[validate]`: one table for each class, and tables for single instruments that override their class.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    fx: Thresholds,
    metal: Thresholds,
    index: Thresholds,
    crypto: Thresholds,
    #[serde(default)]
    instruments: BTreeMap<String, Thresholds>,
}

/// Thresholds as configured; what an instrument leaves out is its class's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    max_spread: Option<Distance>,
    max_price_change: Option<Distance>,
    min_tick_interval_ms: Option<u32>,
    max_stale_ms: Option<u32>,
    max_future_ms: Option<u32>,
    level_ticks: Option<u32>,
    level_ms: Option<u32>,
    confirm_ms: Option<u32>,
    refuse: Option<Vec<Check>>,
}

/// A distance between prices: `"20 pips"`, `"50 bps"`, `"2 %"`, or absolute: `"0.005"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// Billionths of the price's own unit.
    Absolute(i64),
    /// Billionths of a pip.
    Pips(i64),
    /// Billionths of a ten-thousandth of the price.
    Bps(i64),
}

impl<'de> Deserialize<'de> for Distance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let wrong = |problem: String| {
            serde::de::Error::custom(format!(
                "\"{text}\": {problem}, expected a distance such as \"20 pips\", \"50 bps\", \"2 %\" or \"0.005\""
            ))
        };
        let number: Decimal9 = digits.parse().map_err(|e| wrong(format!("{e}")))?;
        if number.e9() <= 0 {
            return Err(wrong("must be greater than zero".into()));
        }
        match trimmed[digits.len()..].trim() {
            "pips" | "pip" => Ok(Distance::Pips(number.e9())),
            "bps" => Ok(Distance::Bps(number.e9())),
            "%" => number.e9().checked_mul(100).map(Distance::Bps).ok_or_else(|| wrong("out of range".into())),
            "" => Ok(Distance::Absolute(number.e9())),
            unit => Err(wrong(format!("unknown unit `{unit}`"))),
        }
    }
}

/// The thresholds of one instrument, ready to compare with.
#[derive(Debug, Clone)]
pub struct Limits {
    spread: Distance,
    change: Distance,
    pip_e9: i64,
    /// Ticks closer together than this are flagged or refused.
    pub interval_ns: i64,
    /// A stamp older than this is stale; 0 switches the check off.
    pub stale_ns: i64,
    /// A stamp further ahead than this lies in the future.
    pub future_ns: i64,
    /// Ticks after which a refused level is believed.
    pub level_ticks: u32,
    /// Time over which they must come.
    pub level_ns: i64,
    /// How old another source's word may be to confirm a level.
    pub confirm_ns: i64,
    /// Bits of the checks that refuse; the others flag.
    pub refuse: u32,
}

impl Limits {
    /// Whether a spread is wider than allowed.
    #[must_use]
    pub fn too_wide(&self, bid_e9: i64, ask_e9: i64) -> bool {
        let sum = bid_e9.saturating_add(ask_e9);
        self.exceeds(self.spread, ask_e9.saturating_sub(bid_e9), sum)
    }

    /// Whether the way from one level to another is longer than allowed. Levels are sums of bid and ask.
    #[must_use]
    pub fn jumps(&self, from_sum: i64, to_sum: i64) -> bool {
        let twice = i128::from(to_sum.abs_diff(from_sum));
        match self.change {
            Distance::Absolute(e9) => twice > 2 * i128::from(e9),
            // Both sides times 1e9: a pip is in billionths, and so is their number.
            Distance::Pips(e9) => twice * 1_000_000_000 > 2 * i128::from(e9) * i128::from(self.pip_e9),
            Distance::Bps(e9) => twice * 10_000_000_000_000 > i128::from(e9) * i128::from(from_sum.unsigned_abs()),
        }
    }

    fn exceeds(&self, limit: Distance, distance_e9: i64, sum_e9: i64) -> bool {
        let distance = i128::from(distance_e9);
        match limit {
            Distance::Absolute(e9) => distance > i128::from(e9),
            Distance::Pips(e9) => distance * 1_000_000_000 > i128::from(e9) * i128::from(self.pip_e9),
            // Relative to the mid, which is half the sum.
            Distance::Bps(e9) => distance * 2 * 10_000_000_000_000 > i128::from(e9) * i128::from(sum_e9.unsigned_abs()),
        }
    }
}

impl Config {
    /// Refuses thresholds for symbols that nobody trades: they would be a typing error without a word.
    ///
    /// # Errors
    /// A sentence naming the symbol.
    pub fn check(&self, market: &Market) -> Result<(), String> {
        let known = |symbol: &&String| market.instruments().iter().any(|i| i.symbol.eq_ignore_ascii_case(symbol));
        match self.instruments.keys().find(|symbol| !known(symbol)) {
            Some(symbol) => Err(format!(
                "instruments.{symbol}: {symbol} is no instrument, expected a section [instruments.{symbol}]"
            )),
            None => Ok(()),
        }
    }

    /// The limits of an instrument: its own, else its class's.
    ///
    /// # Errors
    /// A sentence naming the threshold that neither sets.
    pub fn limits(&self, instrument: &Instrument) -> Result<Limits, String> {
        let class = match instrument.class {
            Class::Fx => &self.fx,
            Class::Metal => &self.metal,
            Class::Index => &self.index,
            Class::Crypto => &self.crypto,
        };
        let none = Thresholds::default();
        let own = self.instruments.iter().find(|(symbol, _)| symbol.eq_ignore_ascii_case(&instrument.symbol));
        let own = own.map_or(&none, |(_, thresholds)| thresholds);
        let missing = |key: &str| {
            format!("{}.{key} is not set, nor is instruments.{}.{key}", instrument.class.word(), instrument.symbol)
        };
        let ms = |own: Option<u32>, class: Option<u32>, key| {
            own.or(class).map(|ms| i64::from(ms) * 1_000_000).ok_or_else(|| missing(key))
        };
        let refuse = own.refuse.as_ref().or(class.refuse.as_ref()).ok_or_else(|| missing("refuse"))?;
        Ok(Limits {
            spread: own.max_spread.or(class.max_spread).ok_or_else(|| missing("max_spread"))?,
            change: own.max_price_change.or(class.max_price_change).ok_or_else(|| missing("max_price_change"))?,
            pip_e9: instrument.pip.e9(),
            interval_ns: ms(own.min_tick_interval_ms, class.min_tick_interval_ms, "min_tick_interval_ms")?,
            stale_ns: ms(own.max_stale_ms, class.max_stale_ms, "max_stale_ms")?,
            future_ns: ms(own.max_future_ms, class.max_future_ms, "max_future_ms")?,
            level_ticks: own.level_ticks.or(class.level_ticks).ok_or_else(|| missing("level_ticks"))?,
            level_ns: ms(own.level_ms, class.level_ms, "level_ms")?,
            confirm_ns: ms(own.confirm_ms, class.confirm_ms, "confirm_ms")?,
            refuse: refuse.iter().fold(0, |bits, check| bits | check.bit()),
        })
    }
}
