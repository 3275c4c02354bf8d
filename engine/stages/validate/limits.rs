//! The thresholds of the checks, by class and instrument.

use std::collections::BTreeMap;

use serde::Deserialize;
use tickwire_schemas::words::Check;

use crate::market::{Class, Decimal9, Instrument, Span};
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

/// So many billionths of a ten-thousandth are one.
const SHARE_ONE: u128 = 10_000_000_000_000;

/// A distance as what it is compared with.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Billionths of the price's own unit.
    Fixed(u64),
    /// Billionths of a ten-thousandth of the price.
    Share(u64),
}

impl Distance {
    /// As a bound on whole billionths, `times` over: they exceed a fraction of one when they exceed what is whole of it.
    fn bound(self, pip_e9: i64, times: i128) -> Bound {
        // No two prices are further apart than a number of 64 bits says.
        let fixed = |e9: i128| Bound::Fixed(u64::try_from(e9).unwrap_or(u64::MAX));
        match self {
            Distance::Absolute(e9) => fixed(times * i128::from(e9)),
            Distance::Pips(e9) => fixed((times * i128::from(e9) * i128::from(pip_e9)).div_euclid(1_000_000_000)),
            Distance::Bps(e9) => Bound::Share(e9.unsigned_abs()),
        }
    }
}

/// The thresholds of one instrument, ready to compare with.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of a spread.
    spread: Bound,
    /// Of the way between two sums of bid and ask: twice the distance.
    change: Bound,
    /// The instrument's class.
    pub class: Class,
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
    /// Whether a spread, not crossed, is wider than allowed.
    #[must_use]
    #[inline]
    pub fn too_wide(&self, bid_e9: i64, ask_e9: i64) -> bool {
        // Of an ask that is not below the bid, exact for any two numbers.
        let distance = ask_e9.wrapping_sub(bid_e9) as u64;
        match self.spread {
            Bound::Fixed(bound) => distance > bound,
            // Relative to the mid, which is half the sum.
            Bound::Share(share) => exceeds(distance, 2, share, bid_e9.saturating_add(ask_e9)),
        }
    }

    /// What nearly every tick keeps within near a level, greater than zero, while the market is open.
    pub(super) fn usual(&self, sum: i64, open: Span) -> Usual {
        let share_of = |share: u64, of: i64, times: u128| {
            let part = u128::from(share) * u128::from(of.unsigned_abs()) / (times * SHARE_ONE);
            i64::try_from(part).unwrap_or(i64::MAX)
        };
        let way = match self.change {
            Bound::Fixed(bound) => i64::try_from(bound).unwrap_or(i64::MAX),
            Bound::Share(share) => share_of(share, sum, 1),
        };
        // A quarter of the way to both sides. Of a share the lowest allows less, so it is looked at once more.
        let aside = (way / 4).min(sum / 2);
        let (lowest, highest) = (sum - aside, sum.saturating_add(aside));
        if self.jumps(lowest, highest) {
            return Usual::default();
        }
        let spread = match self.spread {
            Bound::Fixed(bound) => bound,
            Bound::Share(share) => share_of(share, lowest, 2).unsigned_abs(),
        };
        Usual {
            sums_from: lowest,
            sums: highest.abs_diff(lowest) + 1,
            spread,
            age_ns: if self.stale_ns > 0 { self.stale_ns.unsigned_abs() } else { i64::MAX.unsigned_abs() },
            open_from_ns: open.from_ns,
            open_ns: open.to_ns.saturating_sub(open.from_ns).unsigned_abs(),
            interval_ns: self.interval_ns.unsigned_abs(),
            refuse: self.refuse,
        }
    }

    /// Whether the way from one level to another is longer than allowed. Levels are sums of bid and ask.
    #[must_use]
    #[inline]
    pub fn jumps(&self, from_sum: i64, to_sum: i64) -> bool {
        let twice = to_sum.abs_diff(from_sum);
        match self.change {
            Bound::Fixed(bound) => twice > bound,
            Bound::Share(share) => exceeds(twice, 1, share, from_sum),
        }
    }
}

/// What nearly every tick of one source keeps within, near its last level: with these nothing is multiplied for a tick, and
/// neither limits nor calendar are looked at. A tick within them passes every check but the interval; what a tick beyond
/// them is [`Limits`] say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usual {
    /// So many sums of bid and ask from the first on, none of which is a jump from any other. None at first.
    pub(super) sums_from: i64,
    pub(super) sums: u64,
    /// The widest spread.
    pub(super) spread: u64,
    /// The age of the oldest stamp.
    pub(super) age_ns: u64,
    /// So long from then on the market is open.
    pub(super) open_from_ns: i64,
    pub(super) open_ns: u64,
    /// As in [`Limits`].
    pub(super) interval_ns: u64,
    /// As in [`Limits`].
    pub(super) refuse: u32,
}

impl Usual {
    /// Whether they are around this level and time.
    pub(super) fn holds(&self, sum: i64, now_ns: i64) -> bool {
        (sum.wrapping_sub(self.sums_from) as u64) < self.sums
            && (now_ns.wrapping_sub(self.open_from_ns) as u64) < self.open_ns
    }
}

/// Whether `distance` times `times` is more than this share, billionths of a ten-thousandth, of `of`.
#[inline]
fn exceeds(distance: u64, times: u64, share: u64, of: i64) -> bool {
    u128::from(distance) * (u128::from(times) * SHARE_ONE) > u128::from(share) * u128::from(of.unsigned_abs())
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
        let spread = own.max_spread.or(class.max_spread).ok_or_else(|| missing("max_spread"))?;
        let change = own.max_price_change.or(class.max_price_change).ok_or_else(|| missing("max_price_change"))?;
        Ok(Limits {
            spread: spread.bound(instrument.pip.e9(), 1),
            change: change.bound(instrument.pip.e9(), 2),
            class: instrument.class,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(distance: Distance, pip_e9: i64) -> Limits {
        Limits {
            spread: distance.bound(pip_e9, 1),
            change: distance.bound(pip_e9, 2),
            class: Class::Fx,
            interval_ns: 0,
            stale_ns: 0,
            future_ns: 0,
            level_ticks: 0,
            level_ns: 0,
            confirm_ns: 0,
            refuse: 0,
        }
    }

    proptest! {
        /// Around its very end a distance is held to what its own unit says, by arithmetic that needs no bound.
        #[test]
        fn a_bound_holds_what_its_distance_says(
            kind in 0..3, e9 in 1..=50_000_000_000_i64, pip in 1..=1_000_000_000_i64, mid in 1..=1_000_000_000_000_000_i64,
            aside in -2..=2_i64,
        ) {
            let (distance, wide_e18) = match kind {
                0 => (Distance::Absolute(e9), i128::from(e9) * 1_000_000_000),
                1 => (Distance::Pips(e9), i128::from(e9) * i128::from(pip)),
                _ => (Distance::Bps(e9), i128::from(e9) * i128::from(mid) / 10_000),
            };
            let width = (wide_e18 / 1_000_000_000) as i64 + aside;
            prop_assume!(width >= 0 && width / 2 < mid);
            let (bid, ask) = (mid - width / 2, mid + (width + 1) / 2);
            let limits = limits(distance, pip);
            let beyond = |of: i128, sum: i128| match distance {
                Distance::Absolute(e9) => 2 * of > 2 * i128::from(e9),
                Distance::Pips(e9) => of * 1_000_000_000 > i128::from(e9) * i128::from(pip),
                Distance::Bps(e9) => of * 2 * 10_000_000_000_000 > i128::from(e9) * sum,
            };
            prop_assert_eq!(limits.too_wide(bid, ask), beyond(i128::from(ask - bid), i128::from(ask + bid)));
            // The way between two levels, whose sums are twice the price.
            let (from, to) = (2 * mid, 2 * (mid + width));
            prop_assert_eq!(limits.jumps(from, to), beyond(i128::from(width), i128::from(from)));
            prop_assert_eq!(limits.jumps(to, from), beyond(i128::from(width), i128::from(to)));
        }
    }
}
