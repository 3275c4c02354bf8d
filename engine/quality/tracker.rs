//! Records in, minutes out. Pure.

use std::sync::Arc;

use tickwire_schemas::record::{
    Drop as DropRecord, Gap, Head, Quote, Record, RecordError, SourceState, Tick, Timer, Trade,
};
use tickwire_schemas::words::{Check, GapState, Kind, QuoteState, SourceStatus, Verdict};
use tickwire_schemas::{INSTRUMENT_ALL, NO_PRICE, NO_TIME, SOURCE_BEST};

use super::score::score;
use super::summary::SymbolNow;
use crate::market::{Calendar, Class};
use crate::stages::{Market, PerPair};
use crate::storage::quality::SourceMinute;
use crate::storage::rows::Audience;

pub(super) const MINUTE_NS: i64 = 60_000_000_000;

/// Latencies kept of a minute; beyond it every second one is let go, and from then on every second one is taken.
const LATENCIES_MAX: usize = 2_048;

/// Cells for reasons: the bits of the checks, and the two verdicts that are reasons themselves.
const REASONS: usize = 18;
const DUPLICATE: usize = 16;
const OUT_OF_ORDER: usize = 17;

/// Latencies of a minute, thinned evenly where they are too many.
#[derive(Debug, Default)]
struct Latencies {
    kept_us: Vec<i64>,
    /// One in 2 to the power of this is taken.
    thinned: u32,
    seen: u64,
}

impl Latencies {
    fn push(&mut self, us: i64) {
        if self.kept_us.len() == LATENCIES_MAX {
            let mut at = 0;
            self.kept_us.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.thinned += 1;
        }
        if self.seen.trailing_zeros() >= self.thinned {
            self.kept_us.push(us);
        }
        self.seen += 1;
    }

    /// The median and the value that 99 of 100 do not exceed, by nearest rank.
    fn quantiles(&self) -> [Option<i64>; 2] {
        let mut sorted = self.kept_us.clone();
        sorted.sort_unstable();
        let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).checked_sub(1);
        [50, 99].map(|percent| sorted.get(rank(percent)?).copied())
    }
}

/// What came of a pair in the minute that runs.
#[derive(Debug, Default)]
struct Counts {
    ticks: u64,
    rejects: u64,
    reasons: [u64; REASONS],
    latencies: Latencies,
    spreads: u64,
    spread_sum_e9: i128,
    best_bid: u64,
    best_ask: u64,
    /// Time of this minute in holes, up to `counted_to_ns`.
    missing_ns: i64,
}

/// A source and a symbol.
#[derive(Debug, Default)]
struct Pair {
    /// Whether the source is to say it, or did.
    known: bool,
    /// Whether there was any data: before it all is missing.
    seen: bool,
    /// Where the open hole began, if there is one.
    hole_ns: Option<i64>,
    /// Time up to which holes are counted.
    counted_to_ns: i64,
    counts: Counts,
}

impl Pair {
    /// Counts a hole from `from_ns` to `to_ns` as far as it is not counted yet.
    fn miss(&mut self, from_ns: i64, to_ns: i64) {
        let from_ns = from_ns.max(self.counted_to_ns);
        if to_ns > from_ns {
            self.counts.missing_ns += to_ns - from_ns;
            self.counted_to_ns = to_ns;
        }
    }

    /// Time in holes up to `now_ns`, in the span that begins at `from_ns`.
    fn missing_ns(&self, from_ns: i64, now_ns: i64) -> i64 {
        let begun_ns = if self.seen { self.hole_ns } else { Some(from_ns) };
        let open_ns = begun_ns.map_or(0, |begun| (now_ns - begun.max(self.counted_to_ns).max(from_ns)).max(0));
        self.counts.missing_ns + open_ns
    }
}

/// Whether a source is live.
#[derive(Debug, Default, Clone, Copy)]
struct Uptime {
    told: bool,
    live_since_ns: Option<i64>,
    /// Time of this minute in which it was, before `live_since_ns`.
    live_ns: i64,
}

/// Takes the records of one run in their order and makes a row of each minute.
#[derive(Debug)]
pub struct Tracker {
    market: Market,
    /// By [`Class::ALL`].
    calendars: Vec<Calendar>,
    names: Vec<Arc<str>>,
    symbols: Vec<Arc<str>>,
    /// The greatest time so far; `None` before the first record.
    now_ns: Option<i64>,
    /// Where the span begins that is watched of this minute.
    from_ns: i64,
    pairs: PerPair<Pair>,
    uptimes: Vec<Uptime>,
    /// Common quotes with a price in this minute, by instrument.
    quotes: Vec<u64>,
    /// What the last common quote of each instrument said, and since when they say so; `None` before the first.
    common: Vec<Option<(QuoteState, i64)>>,
    closed: Vec<((usize, usize), SourceMinute)>,
}

impl Tracker {
    /// Over a market, with the pairs of source and instrument of which data is wanted. Others join when they say something.
    ///
    /// # Errors
    /// When the time zone database lacks a zone.
    pub fn new(market: &Market, wanted: &[(usize, usize)]) -> Result<Tracker, String> {
        let mut pairs = PerPair::<Pair>::new(market);
        wanted.iter().for_each(|pair| pairs.at(*pair).known = true);
        Ok(Tracker {
            calendars: Class::ALL.iter().map(|class| market.calendar(*class)).collect::<Result<_, _>>()?,
            names: market.sources().iter().map(|source| source.name.as_str().into()).collect(),
            symbols: market.instruments().iter().map(|instrument| instrument.symbol.as_str().into()).collect(),
            now_ns: None,
            from_ns: 0,
            pairs,
            uptimes: vec![Uptime::default(); market.sources().len()],
            quotes: vec![0; market.instruments().len()],
            common: vec![None; market.instruments().len()],
            closed: Vec::new(),
            market: market.clone(),
        })
    }

    /// Goes on over a market that has grown, with the pairs of which data is wanted from now on. Of the others there are no
    /// more rows, unless they say something.
    pub fn grow(&mut self, market: &Market, wanted: &[(usize, usize)]) {
        let mut pairs = PerPair::<Pair>::new(market);
        let (sources, instruments) = (self.uptimes.len(), self.quotes.len());
        for at in (0..sources).flat_map(|source| (0..instruments).map(move |instrument| (source, instrument))) {
            *pairs.at(at) = Pair { known: false, ..std::mem::take(self.pairs.at(at)) };
        }
        wanted.iter().for_each(|pair| pairs.at(*pair).known = true);
        self.pairs = pairs;
        self.names.extend(market.sources()[sources..].iter().map(|source| Arc::from(source.name.as_str())));
        let symbols =
            market.instruments()[instruments..].iter().map(|instrument| Arc::from(instrument.symbol.as_str()));
        self.symbols.extend(symbols);
        self.uptimes.resize(market.sources().len(), Uptime::default());
        self.quotes.resize(market.instruments().len(), 0);
        self.common.resize(market.instruments().len(), None);
        self.market = market.clone();
    }

    pub(super) fn market(&self) -> &Market {
        &self.market
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are too few.
    pub fn record(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), RecordError> {
        match kind {
            Kind::Tick => self.tick(&Tick::read(bytes)?),
            Kind::Trade => {
                let trade = Trade::read(bytes)?;
                self.advance(trade.ts_recv_ns);
                self.data(&trade.head);
            }
            Kind::Quote => self.quote(&Quote::read(bytes)?),
            Kind::Gap => self.gap(&Gap::read(bytes)?),
            Kind::SourceState => self.state(&SourceState::read(bytes)?),
            Kind::Timer => self.advance(Timer::read(bytes)?.now_ns),
            Kind::Drop => self.advance(DropRecord::read(bytes)?.to_ns),
            _ => {}
        }
        Ok(())
    }

    /// Whether minutes ended since the last [`Tracker::take_closed`].
    #[must_use]
    pub fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// The rows of minutes that ended since the last call, by symbol, then source.
    pub fn take_closed(&mut self) -> Vec<((usize, usize), SourceMinute)> {
        std::mem::take(&mut self.closed)
    }

    /// How the common price of each symbol is, and which sources are to make it.
    pub(super) fn symbols(&mut self) -> Vec<SymbolNow> {
        let now_ns = self.now();
        let mut open = [true; Class::ALL.len()];
        for (open, calendar) in open.iter_mut().zip(&mut self.calendars) {
            *open = calendar.is_open(now_ns);
        }
        let of = |instrument: usize| {
            let class = self.market.class(instrument);
            let known = (0..self.uptimes.len()).filter(|source| self.pairs.get((*source, instrument)).known);
            SymbolNow {
                symbol: Arc::clone(&self.symbols[instrument]),
                common: self.common[instrument],
                is_open: Class::ALL.iter().position(|c| *c == class).is_none_or(|at| open[at]),
                sources: known.collect(),
            }
        };
        (0..self.quotes.len()).map(of).collect()
    }

    /// Ends the minute that runs where it is.
    pub fn finish(&mut self) {
        if let Some(now_ns) = self.now_ns {
            self.close(now_ns);
        }
    }

    /// The time of the newest record.
    #[must_use]
    pub fn now_ns(&self) -> Option<i64> {
        self.now_ns
    }

    fn advance(&mut self, ns: i64) {
        let Some(now_ns) = self.now_ns else {
            self.now_ns = Some(ns);
            self.from_ns = ns;
            return;
        };
        if ns <= now_ns {
            return;
        }
        let end_ns = minute_of(self.from_ns) + MINUTE_NS;
        if ns >= end_ns {
            // Of minutes without a single record nobody knows anything: the clock's come many times a second.
            let watched = ns < end_ns + MINUTE_NS;
            self.close(if watched { end_ns } else { now_ns });
            self.from_ns = if watched { end_ns } else { ns };
        }
        self.now_ns = Some(ns);
    }

    fn now(&self) -> i64 {
        self.now_ns.unwrap_or_default()
    }

    /// Any data of a pair, whatever the verdict.
    fn data(&mut self, head: &Head) -> Option<(usize, usize)> {
        let (now_ns, from_ns) = (self.now(), self.from_ns);
        let at = self.market.pair(head)?;
        let uptime = &mut self.uptimes[at.0];
        if !uptime.told && uptime.live_since_ns.is_none() {
            uptime.live_since_ns = Some(now_ns);
        }
        let pair = self.pairs.at(at);
        pair.known = true;
        if !pair.seen {
            pair.miss(from_ns, now_ns);
            pair.seen = true;
        }
        Some(at)
    }

    fn tick(&mut self, tick: &Tick) {
        self.advance(tick.ts_recv_ns);
        let Some(at) = self.data(&tick.head) else { return };
        let counts = &mut self.pairs.at(at).counts;
        match Verdict::from_code(tick.verdict) {
            Some(Verdict::Accepted) => {
                counts.ticks += 1;
                if tick.ts_event_ns != NO_TIME {
                    counts.latencies.push(tick.ts_recv_ns.saturating_sub(tick.ts_event_ns) / 1_000);
                }
                if tick.bid_e9 != NO_PRICE && tick.ask_e9 != NO_PRICE {
                    counts.spreads += 1;
                    counts.spread_sum_e9 += i128::from(tick.ask_e9) - i128::from(tick.bid_e9);
                }
                return;
            }
            Some(Verdict::Duplicate) => counts.reasons[DUPLICATE] += 1,
            Some(Verdict::OutOfOrder) => counts.reasons[OUT_OF_ORDER] += 1,
            Some(Verdict::Refused) | None => {
                let failed = (0..DUPLICATE).filter(|bit| tick.reasons & (1 << bit) != 0);
                failed.for_each(|bit| counts.reasons[bit] += 1);
            }
        }
        counts.rejects += 1;
    }

    fn quote(&mut self, quote: &Quote) {
        self.advance(quote.ts_recv_ns);
        let Some(instrument) = self.market.instrument(quote.head.instrument_id) else { return };
        let makers = [quote.bid_source_id, quote.ask_source_id].map(|id| {
            let common = quote.head.source_id == SOURCE_BEST && id != SOURCE_BEST;
            common.then(|| self.market.source(id)).flatten()
        });
        self.quotes[instrument] += u64::from(makers.iter().any(Option::is_some));
        if let (SOURCE_BEST, Some(state)) = (quote.head.source_id, QuoteState::from_code(quote.state)) {
            let common = &mut self.common[instrument];
            if common.is_none_or(|(before, _)| before != state) {
                *common = Some((state, quote.ts_recv_ns));
            }
        }
        let [bid, ask] = makers;
        if let Some(source) = bid {
            self.pairs.at((source, instrument)).counts.best_bid += 1;
        }
        if let Some(source) = ask {
            self.pairs.at((source, instrument)).counts.best_ask += 1;
        }
    }

    fn state(&mut self, state: &SourceState) {
        self.advance(state.ts_recv_ns);
        let (now_ns, from_ns) = (self.now(), self.from_ns);
        // Of one instrument alone it is not the source's: a hole tells of it.
        let whole = state.head.instrument_id == INSTRUMENT_ALL;
        let Some(source) = self.market.source(state.head.source_id).filter(|_| whole) else { return };
        let uptime = &mut self.uptimes[source];
        uptime.told = true;
        if state.status == SourceStatus::Live.code() {
            uptime.live_since_ns.get_or_insert(now_ns);
        } else if let Some(since_ns) = uptime.live_since_ns.take() {
            uptime.live_ns += now_ns - since_ns.max(from_ns);
        }
    }

    fn gap(&mut self, gap: &Gap) {
        self.advance(gap.ts_recv_ns);
        let (now_ns, from_ns) = (self.now(), self.from_ns);
        let begun_ns = if gap.from_ns == NO_TIME { now_ns } else { gap.from_ns.max(from_ns) };
        let all = |id: u32, of: Option<usize>, count: usize, everything: u32| match of {
            Some(at) => at..at + 1,
            None if id == everything => 0..count,
            None => 0..0,
        };
        let (source_id, instrument_id) = (gap.head.source_id, gap.head.instrument_id);
        let sources = all(source_id, self.market.source(source_id), self.uptimes.len(), SOURCE_BEST);
        let instruments = all(instrument_id, self.market.instrument(instrument_id), self.quotes.len(), INSTRUMENT_ALL);
        for at in sources.flat_map(|source| instruments.clone().map(move |instrument| (source, instrument))) {
            let pair = self.pairs.at(at);
            if gap.state == GapState::Open.code() {
                pair.hole_ns.get_or_insert(begun_ns);
            } else if gap.state == GapState::Closed.code() {
                let to_ns = if gap.to_ns == NO_TIME { now_ns } else { gap.to_ns.min(now_ns) };
                let begun_ns = pair.hole_ns.take().map_or(begun_ns, |open| open.max(from_ns));
                pair.miss(begun_ns, to_ns);
            }
            // Repaired or lost: what was missing when the minute ran was missing.
        }
    }

    /// Ends a minute, or what was watched of it, at `to_ns`.
    fn close(&mut self, to_ns: i64) {
        let rows = self.rows(to_ns);
        self.closed.extend(rows);
        for uptime in &mut self.uptimes {
            uptime.live_ns = 0;
        }
        self.quotes.fill(0);
        for source in 0..self.uptimes.len() {
            for instrument in 0..self.quotes.len() {
                self.pairs.at((source, instrument)).counts = Counts::default();
            }
        }
        self.from_ns = to_ns;
    }

    /// The rows of the minute that runs, if it ended at the newest record.
    pub fn running(&mut self) -> Vec<((usize, usize), SourceMinute)> {
        self.now_ns.map_or_else(Vec::new, |now_ns| self.rows(now_ns))
    }

    fn rows(&mut self, to_ns: i64) -> Vec<((usize, usize), SourceMinute)> {
        let mut rows = Vec::new();
        if to_ns <= self.from_ns {
            return rows;
        }
        for instrument in 0..self.quotes.len() {
            let class = self.market.class(instrument);
            let calendar = Class::ALL.iter().position(|c| *c == class).and_then(|at| self.calendars.get_mut(at));
            if calendar.is_some_and(|calendar| !calendar.is_open(minute_of(self.from_ns))) {
                continue;
            }
            let first = rows.len();
            let known = (0..self.uptimes.len()).filter(|source| self.pairs.get((*source, instrument)).known);
            rows.extend(known.map(|source| ((source, instrument), self.row((source, instrument), to_ns))));
            let of_symbol = rows.get_mut(first..).unwrap_or_default();
            let global = of_symbol.iter().filter(|(_, row)| row.audience == Audience::Global);
            let narrowest = global.map(|(_, row)| row.avg_spread_e9).filter(|e9| *e9 != NO_PRICE).min();
            for (_, row) in of_symbol {
                row.score = score(row, narrowest.unwrap_or(row.avg_spread_e9));
            }
        }
        rows
    }

    /// A row without its score.
    fn row(&self, at: (usize, usize), to_ns: i64) -> SourceMinute {
        let (pair, uptime) = (self.pairs.get(at), self.uptimes[at.0]);
        let counts = &pair.counts;
        let span_ns = to_ns - self.from_ns;
        let live_ns = uptime.live_ns + uptime.live_since_ns.map_or(0, |since| (to_ns - since.max(self.from_ns)).max(0));
        let percent = |ns: i64| (ns.clamp(0, span_ns) as f64 / span_ns as f64 * 100.0) as f32;
        let [latency_p50_us, latency_p99_us] = counts.latencies.quantiles();
        let mean_e9 = counts.spread_sum_e9.div_euclid(i128::from(counts.spreads.max(1)));
        let private = !self.market.is_global(at.0);
        SourceMinute {
            audience: if private { Audience::Private } else { Audience::Global },
            source: Arc::clone(&self.names[at.0]),
            symbol: Arc::clone(&self.symbols[at.1]),
            minute: minute_of(self.from_ns) / 1_000_000_000,
            ticks: counts.ticks,
            rejects: counts.rejects,
            latency_p50_us,
            latency_p99_us,
            avg_spread_e9: if counts.spreads == 0 { NO_PRICE } else { i64::try_from(mean_e9).unwrap_or(NO_PRICE) },
            uptime_percent: percent(live_ns),
            completeness_percent: percent(span_ns - pair.missing_ns(self.from_ns, to_ns)),
            best_bid_count: counts.best_bid,
            best_ask_count: counts.best_ask,
            score: 0.0,
            reject_reasons: reasons(&counts.reasons),
            ticks_per_second: (counts.ticks as f64 * 1e9 / span_ns as f64) as f32,
            best_quotes: self.quotes[at.1],
            open_seconds: (span_ns as f64 / 1e9) as f32,
            priority: self.market.sources()[at.0].priority,
        }
    }
}

fn reasons(counts: &[u64; REASONS]) -> Vec<(&'static str, u64)> {
    let word = |at: usize| match at {
        DUPLICATE => Verdict::Duplicate.word(),
        OUT_OF_ORDER => Verdict::OutOfOrder.word(),
        bit => u8::try_from(bit).ok().and_then(Check::from_code).map_or("unknown", Check::word),
    };
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, count)| (word(at), *count)).collect()
}

/// The start of a time's minute.
pub(super) fn minute_of(ns: i64) -> i64 {
    ns.div_euclid(MINUTE_NS) * MINUTE_NS
}

#[cfg(test)]
mod tests;
