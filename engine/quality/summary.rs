//! The last minutes of each source and symbol together, and the best source of each symbol.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tickwire_schemas::NO_PRICE;
use tickwire_schemas::words::QuoteState;

use super::Holes;
use super::score::Parts;
use super::tracker::{MINUTE_NS, Tracker, minute_of};
use crate::storage::quality::SourceMinute;
use crate::storage::rows::Audience;

/// Minutes over which a source is judged, the running one included.
pub const WINDOW_MINUTES: usize = 15;

/// A source and symbol over the last minutes.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Name of the source.
    pub source: Arc<str>,
    /// Canonical symbol.
    pub symbol: Arc<str>,
    /// Whether the source is one user's: it is never recommended.
    pub is_private: bool,
    /// Rank among equals: the smaller wins.
    pub priority: u16,
    /// 0 to 100.
    pub score: f64,
    /// What its points are for.
    pub parts: Parts,
    /// Percent.
    pub uptime_percent: f64,
    /// Percent.
    pub completeness_percent: f64,
    /// Mean of the minutes' medians; `None` without stamps.
    pub latency_p50_us: Option<f64>,
    /// Greatest of the minutes'.
    pub latency_p99_us: Option<i64>,
    /// Billionths; `None` without a price.
    pub avg_spread_e9: Option<i64>,
    /// Accepted prices a second.
    pub ticks_per_second: f64,
    /// Prices with another verdict.
    pub rejects: u64,
    /// Percent of the sides of the common price that it made; `None` without a common price.
    pub best_share_percent: Option<f64>,
}

impl Summary {
    /// Of at least one minute of one pair.
    fn of<'a>(minutes: impl Iterator<Item = &'a SourceMinute> + Clone) -> Option<Summary> {
        let last = minutes.clone().last()?;
        // Sums the figure and the weight where there is a figure.
        let mean = |figure: &dyn Fn(&SourceMinute) -> Option<f64>, weight: &dyn Fn(&SourceMinute) -> f64| {
            let there = minutes.clone().filter_map(|m| Some((figure(m)?, weight(m))));
            let (sum, weights) = there.fold((0.0, 0.0), |(sum, all), (x, w)| (sum + x * w, all + w));
            (weights > 0.0).then(|| sum / weights)
        };
        let seconds = |m: &SourceMinute| f64::from(m.open_seconds);
        let ticks = |m: &SourceMinute| m.ticks as f64;
        let count = |of: fn(&SourceMinute) -> u64| minutes.clone().map(of).sum::<u64>();
        let quotes = count(|m| m.best_quotes);
        let spread = mean(&|m| (m.avg_spread_e9 != NO_PRICE).then_some(m.avg_spread_e9 as f64), &ticks);
        Some(Summary {
            source: Arc::clone(&last.source),
            symbol: Arc::clone(&last.symbol),
            is_private: last.audience == Audience::Private,
            priority: last.priority,
            score: mean(&|m| Some(f64::from(m.score)), &seconds)?,
            parts: Parts {
                uptime: mean(&|m| Some(Parts::of(m).uptime), &seconds)?,
                completeness: mean(&|m| Some(Parts::of(m).completeness), &seconds)?,
                latency: mean(&|m| Some(Parts::of(m).latency), &seconds)?,
                spread: mean(&|m| Some(Parts::of(m).spread), &seconds)?,
                rejects: mean(&|m| Some(Parts::of(m).rejects), &seconds)?,
            },
            uptime_percent: mean(&|m| Some(f64::from(m.uptime_percent)), &seconds)?,
            completeness_percent: mean(&|m| Some(f64::from(m.completeness_percent)), &seconds)?,
            latency_p50_us: mean(&|m| m.latency_p50_us.map(|us| us as f64), &ticks),
            latency_p99_us: minutes.clone().filter_map(|m| m.latency_p99_us).max(),
            avg_spread_e9: spread.map(|e9| e9 as i64),
            ticks_per_second: mean(&|m| Some(f64::from(m.ticks_per_second)), &seconds)?,
            rejects: count(|m| m.rejects),
            best_share_percent: (quotes > 0)
                .then(|| count(|m| m.best_bid_count + m.best_ask_count) as f64 * 50.0 / quotes as f64),
        })
    }
}

/// Rows of minutes that are over, by pair: symbol first.
#[derive(Debug, Default)]
pub(super) struct Recent(BTreeMap<(usize, usize), VecDeque<SourceMinute>>);

impl Recent {
    pub(super) fn push(&mut self, (source, instrument): (usize, usize), minute: SourceMinute) {
        let minutes = self.0.entry((instrument, source)).or_default();
        if minutes.len() == WINDOW_MINUTES {
            minutes.pop_front();
        }
        minutes.push_back(minute);
    }

    /// Everything in the window that ends now, by symbol, then source.
    pub(super) fn summaries(&mut self, tracker: &mut Tracker) -> Vec<Summary> {
        let Some(now_ns) = tracker.now_ns() else { return Vec::new() };
        let first = (minute_of(now_ns) - (WINDOW_MINUTES as i64 - 1) * MINUTE_NS) / 1_000_000_000;
        self.0.retain(|_, minutes| {
            minutes.retain(|minute| minute.minute >= first);
            !minutes.is_empty()
        });
        let running: BTreeMap<_, _> =
            tracker.running().into_iter().map(|((source, instrument), row)| ((instrument, source), row)).collect();
        let mut pairs: Vec<_> = self.0.keys().chain(running.keys()).copied().collect();
        pairs.sort_unstable();
        pairs.dedup();
        let of = |pair| Summary::of(self.0.get(&pair).into_iter().flatten().chain(running.get(&pair)));
        pairs.into_iter().filter_map(of).collect()
    }
}

/// How the common price of a symbol is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolNow {
    /// Canonical symbol.
    pub symbol: Arc<str>,
    /// What its last quote said, and since when, nanoseconds UTC; `None` before the first of this run.
    pub common: Option<(QuoteState, i64)>,
    /// Whether its market is open.
    pub is_open: bool,
    /// Dense indices of the sources that are to say it, private ones among them.
    pub sources: Vec<usize>,
}

/// Where the last minutes, the holes and the symbols can be read.
#[derive(Debug, Default)]
pub struct Board {
    symbols: Mutex<Arc<[SymbolNow]>>,
    summaries: Mutex<Arc<[Summary]>>,
    holes: Mutex<Arc<Holes>>,
}

impl Board {
    /// Every source and symbol, by symbol, then source, each in the order of the configuration.
    #[must_use]
    pub fn now(&self) -> Arc<[Summary]> {
        Arc::clone(&self.summaries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every symbol, in the order of the configuration.
    #[must_use]
    pub fn symbols(&self) -> Arc<[SymbolNow]> {
        Arc::clone(&self.symbols.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show_symbols(&self, symbols: Vec<SymbolNow>) {
        *self.symbols.lock().unwrap_or_else(PoisonError::into_inner) = symbols.into();
    }

    /// The holes of this run.
    #[must_use]
    pub fn holes(&self) -> Arc<Holes> {
        Arc::clone(&self.holes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, summaries: Vec<Summary>) {
        *self.summaries.lock().unwrap_or_else(PoisonError::into_inner) = summaries.into();
    }

    pub(super) fn show_holes(&self, holes: Holes) {
        *self.holes.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(holes);
    }
}

/// The best source of each symbol: the highest score, then the smaller priority, then the first.
#[must_use]
pub fn recommended(summaries: &[Summary]) -> BTreeMap<&str, &str> {
    let mut best: BTreeMap<&str, &Summary> = BTreeMap::new();
    for summary in summaries.iter().filter(|summary| !summary.is_private) {
        let better = |than: &&mut &Summary| {
            let by_score = summary.score.total_cmp(&than.score);
            by_score.then(than.priority.cmp(&summary.priority)).is_gt()
        };
        match best.get_mut(&*summary.symbol) {
            None => drop(best.insert(&summary.symbol, summary)),
            Some(known) if better(&known) => *known = summary,
            Some(_) => {}
        }
    }
    best.into_iter().map(|(symbol, summary)| (symbol, &*summary.source)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tickwire_schemas::record::{RECORD_BYTES_MAX, Record, Timer};

    use super::*;
    use crate::market::{Class, Instrument, InstrumentId};
    use crate::stages::Market;

    fn minute(source: &str, at: i64, score: f32) -> SourceMinute {
        SourceMinute {
            audience: Audience::Global,
            source: source.into(),
            symbol: "BTCUSD".into(),
            minute: at * 60,
            ticks: 10,
            rejects: 1,
            latency_p50_us: Some(100),
            latency_p99_us: Some(500),
            avg_spread_e9: 3_000,
            uptime_percent: 100.0,
            completeness_percent: 100.0,
            best_bid_count: 3,
            best_ask_count: 0,
            score,
            reject_reasons: Vec::new(),
            ticks_per_second: 0.5,
            best_quotes: 4,
            open_seconds: 60.0,
            priority: 1,
        }
    }

    /// A clock that stands at the beginning of a minute, and no source.
    fn at_minute(at: i64) -> Tracker {
        let instrument = Instrument {
            id: InstrumentId(1),
            symbol: "BTCUSD".into(),
            class: Class::Crypto,
            digits: 2,
            pip: "0.01".parse().unwrap(),
        };
        let mut tracker = Tracker::new(&Market::new(Vec::new(), vec![instrument]), &[]).unwrap();
        let mut bytes = [0; RECORD_BYTES_MAX];
        let length = Timer { now_ns: at * MINUTE_NS, ..Timer::default() }.write(&mut bytes);
        tracker.record(Timer::KIND, &bytes[..length]).unwrap();
        tracker
    }

    #[test]
    fn minutes_weigh_by_what_was_watched_and_prices_by_their_number() {
        let mut recent = Recent::default();
        recent.push((0, 0), minute("a", 100, 90.0));
        recent.push(
            (0, 0),
            SourceMinute {
                open_seconds: 20.0,
                ticks: 30,
                latency_p50_us: Some(300),
                latency_p99_us: Some(400),
                avg_spread_e9: 5_000,
                ..minute("a", 101, 50.0)
            },
        );
        // Nothing to measure: it does not weigh.
        let quiet = SourceMinute { ticks: 0, latency_p50_us: None, latency_p99_us: None, ..minute("a", 102, 0.0) };
        recent.push(
            (0, 0),
            SourceMinute { avg_spread_e9: NO_PRICE, open_seconds: 20.0, best_quotes: 0, best_bid_count: 0, ..quiet },
        );
        let found = &recent.summaries(&mut at_minute(103))[0];
        assert_eq!(found.score, 64.0);
        assert_eq!((found.latency_p50_us, found.latency_p99_us), (Some(250.0), Some(500)));
        assert_eq!((found.avg_spread_e9, found.rejects), (Some(4_500), 3));
        assert_eq!(found.best_share_percent, Some(37.5));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut recent = Recent::default();
        recent.push((0, 0), minute("a", 100, 10.0));
        (101..105).for_each(|at| recent.push((0, 0), minute("a", at, 90.0)));
        let score = |recent: &mut Recent, now| recent.summaries(&mut at_minute(now)).first().map(|s| s.score);
        assert_eq!(score(&mut recent, 114), Some(74.0));
        assert_eq!(score(&mut recent, 115), Some(90.0));
        assert_eq!(score(&mut recent, 200), None);
    }

    #[test]
    fn the_best_score_is_recommended_then_the_priority_then_the_first_and_never_a_private_source() {
        let of = |source: &str, score: f32, priority: u16| {
            Summary::of([SourceMinute { priority, ..minute(source, 1, score) }].iter()).unwrap()
        };
        let best = |summaries: &[Summary]| recommended(summaries)["BTCUSD"].to_string();
        assert_eq!(best(&[of("a", 70.0, 0), of("b", 80.0, 9), of("c", 75.0, 0)]), "b");
        assert_eq!(best(&[of("a", 80.0, 2), of("b", 80.0, 1)]), "b");
        assert_eq!(best(&[of("a", 80.0, 1), of("b", 80.0, 1)]), "a");
        let private = Summary { is_private: true, ..of("mine", 99.0, 0) };
        assert_eq!(best(&[of("a", 10.0, 1), private.clone()]), "a");
        assert!(recommended(&[private]).is_empty());
    }
}
