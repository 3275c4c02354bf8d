//! The last minutes of each source and symbol together, and the best source of each symbol.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tickwire_schemas::NO_PRICE;

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

/// Where the last minutes can be read.
#[derive(Debug, Default)]
pub struct Board(Mutex<Arc<[Summary]>>);

impl Board {
    /// Every source and symbol, by symbol, then source, each in the order of the configuration.
    #[must_use]
    pub fn now(&self) -> Arc<[Summary]> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, summaries: Vec<Summary>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = summaries.into();
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
