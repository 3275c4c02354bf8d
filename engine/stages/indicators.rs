//! Indicators: values computed from the final bars that `bars` makes, for each series and each table of `[indicators]`.
//!
//! | name | parameters (default) | values, in order |
//! |---|---|---|
//! | `SMA` | period (20) | sma |
//! | `EMA` | period (20) | ema |
//! | `WMA` | period (20) | wma |
//! | `RSI` | period (14) | rsi |
//! | `MACD` | fast (12), slow (26), signal (9) | macd, signal, histogram |
//! | `ATR` | period (14) | atr, true range |
//! | `BB` | period (20), factor (2) | upper, middle, lower, deviation |
//! | `STOCH` | period (14), smoothing of %K (3), of %D (3) | %K, %D |
//! | `ADX` | period (14) | adx, +DI, -DI |
//! | `CCI` | period (20) | cci |
//! | `WILLR` | period (14) | %R |
//! | `VWAP` | anchor ("day", or "all") | vwap |
//!
//! Each family's own page says by which convention, and what it says of a market that does not move. All cost the same at
//! every bar on average, whatever their period, but for `CCI`.
//!
//! One record follows every final bar, from the first on. It is *warming* until all values are there; those that already
//! are stand in it. A bar without the chosen price (one side of the market was empty) is passed over without a record.
//! No value is ever NaN or infinite.
//!
//! Only a bar later than all before it in its series counts. Revisions, repairs of holes, and late bars of intervals that
//! had none, change bars but *do not cascade*: a value once said stands, as it stood for whoever acted on it. Recompute from `bars` where
//! the revised history is wanted.

mod average;
mod family;
mod spec;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Bar, Head, Indicator};
use tickwire_schemas::words::{IndicatorState, Timeframe};
use tickwire_schemas::{NO_PRICE, NO_SIZE, NO_VALUE, SOURCE_BEST};

use super::{Derived, Emit, Market, Pair, Stage, StateError};
use crate::market::{Calendar, Class, IndicatorName, InputRef};
use crate::ring::Mark;

pub use family::{Candle, FACTOR_MAX, Family, PERIOD_MAX, Parameter, Parameters, Values};
use spec::{PriceOf, Wanted};
pub use spec::{Spec, names};

/// The list: one word makes a module and an entry in [`Computation`].
macro_rules! families {
    ($($module:ident $family:ident),*) => {
        $(pub mod $module;)*

        /// An indicator of any family under way.
        #[derive(Debug, Clone)]
        pub enum Computation { $(#[doc = "Of this family."] $family($module::$family),)* }

        /// What the values of an indicator are, in order, by its canonical name, such as `EMA(20)`; nothing for a name that
        /// is no indicator's.
        #[must_use]
        pub fn outputs(name: &str) -> &'static [&'static str] {
            let family = name.split('(').next().unwrap_or_default();
            $(if family == <$module::$family as Family>::NAME {
                return <$module::$family as Family>::VALUES;
            })*
            &[]
        }

        /// Names of all families.
        pub const FAMILIES: &[&str] = &[$(<$module::$family as Family>::NAME),*];

        impl Computation {
            /// Of the family with this name, before the first candle; and its parameters as they stand in its canonical
            /// name, such as `12,26,9`.
            ///
            /// # Errors
            /// The configuration's key that is wrong, and a sentence with its value and what was expected.
            pub fn new(family: &str, parameters: &[Parameter]) -> Result<(Computation, String), (&'static str, String)> {
                let mut taken = Parameters::new(parameters);
                $(if family == <$module::$family as Family>::NAME {
                    let wrong = |problem| ("parameters", problem);
                    let made = <$module::$family as Family>::new(&mut taken).map_err(wrong)?;
                    return Ok((Computation::$family(made), taken.finish(family).map_err(wrong)?));
                })*
                let problem = format!("\"{family}\" is no indicator, expected one of {}", FAMILIES.join(", "));
                Err(("indicator", problem))
            }

            /// What its values are, in order.
            #[must_use]
            pub fn values(&self) -> &'static [&'static str] {
                match self { $(Computation::$family(_) => <$module::$family as Family>::VALUES,)* }
            }

            /// Takes in the next candle and gives the values after it.
            pub fn next(&mut self, candle: &Candle) -> Values {
                match self { $(Computation::$family(family) => family.next(candle),)* }
            }

            /// Its state: what came before, as far as it matters.
            #[must_use]
            pub fn save(&self) -> Vec<u8> {
                let mut out = Vec::new();
                match self { $(Computation::$family(family) => super::group::save_value(family, &mut out),)* }
                out
            }

            /// Goes on from what [`Computation::save`] wrote of an indicator of the same family and parameters.
            ///
            /// # Errors
            /// When the bytes are not such a state.
            pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
                match self { $(Computation::$family(family) => *family = super::group::load_value(bytes)?,)* }
                Ok(())
            }
        }
    };
}

families![
    sma Sma, ema Ema, wma Wma, rsi Rsi, macd Macd, atr Atr, bollinger Bollinger, stochastic Stochastic, adx Adx, cci Cci,
    williams Williams, vwap Vwap
];

/// The stage.
pub struct Indicators {
    market: Market,
    /// By timeframe within instrument within source; the composite's come first.
    series: Vec<Series>,
    /// Of each class, by its number.
    calendars: Vec<Calendar>,
}

/// What follows the bars of one source (or the composite), instrument and timeframe.
#[derive(Debug, Default)]
struct Series {
    /// Start of the last bar that counted.
    last_ns: Option<i64>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    id: u32,
    price: PriceOf,
    computation: Computation,
}

/// A series as saved: source, instrument and timeframe; start of the last bar; state by indicator.
#[derive(Serialize, Deserialize)]
struct Saved(u32, u32, u8, i64, Vec<(u32, Vec<u8>)>);

const TIMEFRAMES: usize = Timeframe::ALL.len();

impl Indicators {
    fn at(&self, source_id: u32, instrument_id: u32, timeframe: u8) -> Option<usize> {
        let source = if source_id == SOURCE_BEST { 0 } else { self.market.source(source_id)? + 1 };
        let instrument = self.market.instrument(instrument_id)?;
        let timeframe = Timeframe::from_code(timeframe)? as usize - 1;
        Some((source * self.market.instruments().len() + instrument) * TIMEFRAMES + timeframe)
    }

    /// Source, instrument and timeframe of a series.
    fn key(&self, at: usize) -> (u32, u32, u8) {
        let instruments = self.market.instruments();
        let (pair, timeframe) = (at / TIMEFRAMES, Timeframe::ALL[at % TIMEFRAMES]);
        let source = (pair / instruments.len()).checked_sub(1).map_or(SOURCE_BEST, |s| self.market.sources()[s].id.0);
        (source, instruments[pair % instruments.len()].id.0, timeframe.code())
    }

    /// Adds an indicator to the series it is wanted of, unless another table put it there.
    fn add(&mut self, wanted: &Wanted, id: u32) {
        let market = self.market.clone();
        let names = std::iter::once("best").chain(market.sources().iter().map(|source| source.name.as_str()));
        for (source, _) in names.enumerate().filter(|(_, name)| wanted.sources.is_match(name)) {
            let instruments = market.instruments().iter().enumerate();
            for (instrument, _) in instruments.filter(|(_, instrument)| wanted.symbols.is_match(&instrument.symbol)) {
                let first = (source * market.instruments().len() + instrument) * TIMEFRAMES;
                for timeframe in &wanted.timeframes {
                    let running = &mut self.series[first + *timeframe as usize - 1].running;
                    if running.iter().all(|running| running.id != id) {
                        running.push(Running { id, price: wanted.price, computation: wanted.computation.clone() });
                    }
                }
            }
        }
    }

    fn on_bar(&mut self, bar: &Bar, out: &mut Derived<'_, impl Emit>) {
        let Some(at) = self.at(bar.head.source_id, bar.head.instrument_id, bar.timeframe) else { return };
        let series = &mut self.series[at];
        if series.running.is_empty() || series.last_ns.is_some_and(|last_ns| bar.open_ts_ns <= last_ns) {
            return;
        }
        series.last_ns = Some(bar.open_ts_ns);
        let instrument = at / TIMEFRAMES % self.market.instruments().len();
        let calendar = &mut self.calendars[self.market.class(instrument) as usize];
        let day = calendar.trading_day(bar.open_ts_ns).map_or(0, |(_, span)| span.from_ns);
        // Most look at the same price: it is made once.
        let mut known: Option<(PriceOf, Option<Candle>)> = None;
        for running in &mut series.running {
            let candle = match known {
                Some((price, candle)) if price == running.price => candle,
                _ => candle(bar, running.price, day),
            };
            known = Some((running.price, candle));
            if let Some(candle) = candle {
                let values = running.computation.next(&candle);
                out.indicator(record(bar, running.id, &values, running.computation.values().len()));
            }
        }
    }
}

/// The bar of one price; `None` where it has none.
fn candle(bar: &Bar, price: PriceOf, day: i64) -> Option<Candle> {
    let prices = price.of(bar);
    if [prices.high_e9, prices.low_e9, prices.close_e9].contains(&NO_PRICE) {
        return None;
    }
    // Exact up to 9 million, so there the one rounding is that of the division: the f64 nearest to the decimal price.
    let value = |e9: i64| e9 as f64 / 1e9;
    Some(Candle {
        high: value(prices.high_e9),
        low: value(prices.low_e9),
        close: value(prices.close_e9),
        volume: (bar.volume_e8 != NO_SIZE).then(|| bar.volume_e8 as f64 / 1e8),
        ticks: bar.ticks as f64,
        day,
    })
}

fn record(bar: &Bar, indicator_id: u32, values: &Values, expected: usize) -> Indicator {
    let values_bits = values.map(bits);
    let ready = values_bits.iter().take(expected).all(|bits| *bits != NO_VALUE);
    Indicator {
        head: Head { source_id: bar.head.source_id, instrument_id: bar.head.instrument_id, ..Head::default() },
        bar_ts_ns: bar.open_ts_ns,
        values_bits,
        indicator_id,
        timeframe: bar.timeframe,
        state: if ready { IndicatorState::Ready } else { IndicatorState::Warming }.code(),
    }
}

/// The bits of a value. No family makes NaN or infinity of prices that a bar can hold; if one did, the record would say
/// that there is no value. Adding 0 makes a negative zero a plain one.
fn bits(value: Option<f64>) -> u64 {
    value.filter(|value| value.is_finite()).map_or(NO_VALUE, |value| (value + 0.0).to_bits())
}

impl Stage for Indicators {
    const NAME: &'static str = "indicators";
    const DERIVES: bool = true;
    type Config = BTreeMap<String, Spec>;

    fn build(config: Self::Config, market: &Market) -> Result<Self, String> {
        let count = (market.sources().len() + 1) * market.instruments().len() * TIMEFRAMES;
        let calendars = Class::ALL.iter().map(|class| market.calendar(*class)).collect::<Result<_, _>>()?;
        let series = std::iter::repeat_with(Series::default).take(count).collect();
        let mut stage = Indicators { market: market.clone(), series, calendars };
        for (table, spec) in &config {
            let wanted = spec.check().map_err(|(key, problem)| format!("{table}.{key}: {problem}"))?;
            let named = |known: &&IndicatorName| known.name == wanted.name;
            let id = market.indicators().iter().find(named).map(|known| known.id.0);
            stage.add(&wanted, id.ok_or_else(|| format!("{table}: {} has no id in this run", wanted.name))?);
        }
        Ok(stage)
    }

    #[inline]
    fn derive(&mut self, _input: InputRef<'_>, _pair: Option<Pair>, _mark: Mark, out: &mut Derived<'_, impl Emit>) {
        for at in 0..out.bars().len() {
            let bar = out.bars()[at];
            self.on_bar(&bar, out);
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        let mut saved = Vec::new();
        for (at, series) in self.series.iter().enumerate() {
            let Some(last_ns) = series.last_ns else { continue };
            let (source, instrument, timeframe) = self.key(at);
            let states = series.running.iter().map(|running| (running.id, running.computation.save())).collect();
            saved.push(Saved(source, instrument, timeframe, last_ns, states));
        }
        super::group::save_value(&saved, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let saved: Vec<Saved> = super::group::load_value(bytes)?;
        for Saved(source, instrument, timeframe, last_ns, states) in saved {
            let Some(at) = self.at(source, instrument, timeframe) else { continue };
            self.series[at].last_ns = Some(last_ns);
            for (id, state) in states {
                // What is no longer wanted is dropped; what is new begins to warm up.
                if let Some(running) = self.series[at].running.iter_mut().find(|running| running.id == id) {
                    running.computation.load(&state)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
