//! Bars: open, high, low and close of bid, ask and mid, for each source from its accepted ticks and for the composite
//! (`source = best`) from the quotes that `aggregate` makes.
//!
//! A tick belongs to the interval of the source's own stamp (of our receipt where it gives none), a quote to that of our
//! receipt: the common price is ours. Intervals follow the instrument's calendar and hold [open, close). A bar is *final*
//! when a tick (and not only a trade) of a later interval comes, or when the clock is `close_delay_ms` past its end. Until
//! `lateness_ms` past its end late ticks still change it: a *revised* bar follows, with a greater revision. Later ones are
//! counted and change nothing. An interval without ticks and trades has no bar.
//!
//! Ticks touch the minute alone; longer bars take in each minute as it closes, since every interval is made of whole
//! minutes. So a tick costs the same however many timeframes there are.
//!
//! A bar that was fetched to mend a hole is published as it comes, as *revised* and of origin *repair*, with a revision
//! greater than that of our own bar of the interval and of a repair before it, as far as these are remembered, else 1. It
//! changes nothing else: neither our own bars nor what forms, nor indicators.

mod candle;
mod repair;
mod series;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Bar, Head, Repair, Tick, Trade};
use tickwire_schemas::words::{BarState, Basis, Origin, Timeframe, Verdict};
use tickwire_schemas::{NO_PRICE, NO_SIZE, NO_TIME, SOURCE_BEST};

use super::{Best, Derived, Emit, Market, Pair, Stage, StateError};
use crate::market::{Calendar, Class, InputRef, VolumeOf};
use crate::ring::Mark;

use candle::{Candle, Update};
use series::{Series, Timing};

/// The section `[bars]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    timeframes: Vec<Timeframe>,
    close_delay_ms: u32,
    lateness_ms: u32,
    provisional_ms: u32,
}

const MINUTE_NS: i64 = 60_000_000_000;

/// Parts of a round of publishing forming bars. Which part a series is in follows from its ids alone, so that it does
/// not change when there are more of them.
const PARTS: usize = 64;

/// Which timeframes are published, by their order; all are built.
type Published = [bool; Timeframe::ALL.len()];

/// The stage.
pub struct Bars {
    market: Market,
    /// By instrument within source; the composite's come first.
    series: Vec<Series>,
    /// What the volume of each source's bars is made of.
    volumes: Vec<VolumeOf>,
    /// Of each class, by its number: intervals are asked of the calendar a few times a day.
    calendars: Vec<Calendar>,
    timing: Timing,
    published: Published,
    provisional_ns: i64,
    /// The series of each part of a round, in their order.
    parts: Vec<Vec<usize>>,
    clock: Clock,
}

/// What the stage knows of the time.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Clock {
    /// The latest of all inputs.
    now_ns: i64,
    /// The minute up to which the clock has closed bars.
    swept_ns: i64,
    /// When the round of publishing forming bars began, and how many of its parts are over.
    round_ns: i64,
    visited: usize,
}

/// Who a series is of: dense indices, the source `None` for the composite.
#[derive(Clone, Copy)]
struct Whose {
    source: Option<usize>,
    instrument: usize,
}

impl Bars {
    #[inline]
    fn at(&self, whose: Whose) -> usize {
        whose.source.map_or(0, |source| source + 1) * self.market.instruments().len() + whose.instrument
    }

    fn whose(&self, at: usize) -> Whose {
        let instruments = self.market.instruments().len();
        Whose { source: (at / instruments).checked_sub(1), instrument: at % instruments }
    }

    fn head(&self, whose: Whose) -> Head {
        let source_id = whose.source.map_or(SOURCE_BEST, |source| self.market.sources()[source].id.0);
        let instrument_id = self.market.instruments()[whose.instrument].id.0;
        Head { source_id, instrument_id, ..Head::default() }
    }

    /// Takes an update into its series and publishes the bars that it closes or revises.
    #[inline]
    fn update(&mut self, whose: Whose, update: Update, out: &mut Derived<'_, impl Emit>) {
        let at = self.at(whose);
        if !self.series[at].absorb(&update) {
            self.turn(at, whose, &update, out);
        }
    }

    /// Takes an update that is not of the minute that forms.
    #[cold]
    fn turn(&mut self, at: usize, whose: Whose, update: &Update, out: &mut Derived<'_, impl Emit>) {
        let (head, published) = (self.head(whose), self.published);
        let calendar = &mut self.calendars[self.market.class(whose.instrument) as usize];
        let taken = {
            let publish = &mut publisher(head, published, out);
            self.series[at].take(update, self.clock.now_ns, &self.timing, calendar, publish)
        };
        if let (false, Some(source)) = (taken, whose.source) {
            out.late(source);
        }
    }

    #[inline]
    fn on_tick(&mut self, tick: &Tick, (source, instrument): Pair, out: &mut Derived<'_, impl Emit>) {
        let ts_ns = if tick.ts_event_ns == NO_TIME { tick.ts_recv_ns } else { tick.ts_event_ns };
        let volume = match self.volumes[source] {
            VolumeOf::BidSize => tick.bid_size_e8,
            VolumeOf::Trades => NO_SIZE,
        };
        let update = Update::price(ts_ns, tick.bid_e9, tick.ask_e9, volume);
        self.update(Whose { source: Some(source), instrument }, update, out);
    }

    fn on_trade(&mut self, trade: &Trade, (source, instrument): Pair, out: &mut Derived<'_, impl Emit>) {
        if self.volumes[source] != VolumeOf::Trades || trade.size_e8 == NO_SIZE {
            return;
        }
        let ts_ns = if trade.ts_event_ns == NO_TIME { trade.ts_recv_ns } else { trade.ts_event_ns };
        self.update(Whose { source: Some(source), instrument }, Update::volume(ts_ns, trade.size_e8), out);
    }

    #[inline]
    fn on_quote(&mut self, quote: &Best, out: &mut Derived<'_, impl Emit>) {
        if quote.bid_e9 == NO_PRICE && quote.ask_e9 == NO_PRICE {
            return;
        }
        let update = Update::price(quote.ts_recv_ns, quote.bid_e9, quote.ask_e9, NO_SIZE);
        self.update(Whose { source: None, instrument: quote.instrument }, update, out);
    }

    fn on_repair(&mut self, repair: &Repair, (source, instrument): Pair, out: &mut Derived<'_, impl Emit>) {
        let whose = Whose { source: Some(source), instrument };
        let Some(bar) = repair::bar(self.head(whose), repair) else { return };
        if self.published[usize::from(bar.timeframe) - 1] {
            let at = self.at(whose);
            let revision = self.series[at].repair(bar.timeframe, bar.basis, bar.open_ts_ns);
            out.bar(Bar { revision, ..bar });
        }
    }

    /// Closes what the clock has passed, once a minute: every interval ends with one.
    fn on_timer(&mut self, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        let passed_ns = (now_ns - self.timing.close_delay_ns).div_euclid(MINUTE_NS) * MINUTE_NS;
        if passed_ns > self.clock.swept_ns {
            self.clock.swept_ns = passed_ns;
            for at in 0..self.series.len() {
                let whose = self.whose(at);
                let (head, published) = (self.head(whose), self.published);
                let calendar = &mut self.calendars[self.market.class(whose.instrument) as usize];
                self.series[at].close_until(passed_ns, calendar, &mut publisher(head, published, out));
                self.series[at].forget(now_ns, &self.timing);
            }
        }
        if self.provisional_ns > 0 {
            self.go_round(now_ns, out);
        }
    }

    /// Publishes forming bars that changed: every series once a round, spread over its timers, so that no tick waits behind
    /// all of them.
    fn go_round(&mut self, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        let passed = (now_ns - self.clock.round_ns).clamp(0, self.provisional_ns);
        let due = (PARTS as i128 * i128::from(passed) / i128::from(self.provisional_ns)) as usize;
        let visiting = self.clock.visited.min(PARTS)..due;
        self.clock.visited = self.clock.visited.max(due);
        if self.clock.visited >= PARTS {
            (self.clock.round_ns, self.clock.visited) = (now_ns, 0);
        }
        for part in visiting {
            for nth in 0..self.parts[part].len() {
                let at = self.parts[part][nth];
                if self.series[at].changed() {
                    self.publish_forming(at, out);
                }
            }
        }
    }

    /// Publishes what is forming of a series.
    fn publish_forming(&mut self, at: usize, out: &mut Derived<'_, impl Emit>) {
        let whose = self.whose(at);
        let (head, published) = (self.head(whose), self.published);
        let calendar = &mut self.calendars[self.market.class(whose.instrument) as usize];
        self.series[at].forming(calendar, &mut publisher(head, published, out));
    }
}

/// The part of a round that the series with these ids is in: by Fibonacci hashing, so that the parts are alike however
/// the ids are given.
fn part_of_round(source_id: u32, instrument_id: u32) -> usize {
    let mixed = source_id.wrapping_mul(0x9E37_79B1) ^ instrument_id.wrapping_mul(0x85EB_CA77);
    (mixed >> (u32::BITS - PARTS.ilog2())) as usize
}

/// Publishes candles as bars of the series that `head` names.
fn publisher<'a>(
    head: Head,
    published: Published,
    out: &'a mut Derived<'_, impl Emit>,
) -> impl FnMut(Timeframe, &Candle, BarState) {
    move |timeframe, candle, state| {
        if published[timeframe as usize - 1] {
            out.bar(record(head, timeframe, candle, state));
        }
    }
}

fn record(head: Head, timeframe: Timeframe, candle: &Candle, state: BarState) -> Bar {
    Bar {
        head,
        open_ts_ns: candle.span.0,
        close_ts_ns: candle.span.1,
        bid: candle.bid.ohlc(),
        ask: candle.ask.ohlc(),
        mid: candle.mid.ohlc(),
        ticks: candle.ticks,
        volume_e8: candle.volume_e8,
        revision: candle.revision,
        timeframe: timeframe.code(),
        origin: Origin::Own.code(),
        basis: Basis::Quote.code(),
        state: state.code(),
    }
}

impl Stage for Bars {
    const NAME: &'static str = "bars";
    const DERIVES: bool = true;
    type Config = Config;

    fn build(config: Config, market: &Market) -> Result<Self, String> {
        if config.timeframes.is_empty() {
            return Err("timeframes is empty, expected at least one of M1, M5, M15, M30, H1, H4, D1, W1, MN".into());
        }
        let ms = |ms: u32| i64::from(ms) * 1_000_000;
        let mut published = [false; Timeframe::ALL.len()];
        config.timeframes.iter().for_each(|timeframe| published[*timeframe as usize - 1] = true);
        let count = (market.sources().len() + 1) * market.instruments().len();
        let mut stage = Bars {
            market: market.clone(),
            series: vec![Series::default(); count],
            volumes: market.sources().iter().map(|source| source.volume).collect(),
            calendars: Class::ALL.iter().map(|class| market.calendar(*class)).collect::<Result<_, _>>()?,
            timing: Timing { close_delay_ns: ms(config.close_delay_ms), lateness_ns: ms(config.lateness_ms) },
            published,
            provisional_ns: ms(config.provisional_ms),
            parts: vec![Vec::new(); PARTS],
            clock: Clock::default(),
        };
        for at in 0..count {
            let head = stage.head(stage.whose(at));
            stage.parts[part_of_round(head.source_id, head.instrument_id)].push(at);
        }
        Ok(stage)
    }

    #[inline]
    fn derive(&mut self, input: InputRef<'_>, pair: Option<Pair>, mark: Mark, out: &mut Derived<'_, impl Emit>) {
        self.clock.now_ns = self.clock.now_ns.max(input.now_ns());
        let is_accepted = mark.verdict == Verdict::Accepted;
        match (input, pair) {
            (InputRef::Tick(tick), Some(pair)) if is_accepted => self.on_tick(tick, pair, out),
            (InputRef::Trade(trade), Some(pair)) if is_accepted => self.on_trade(trade, pair, out),
            (InputRef::Repair(repair), Some(pair)) => self.on_repair(repair, pair, out),
            _ => {}
        }
        for at in 0..out.quotes().len() {
            let quote = out.quotes()[at];
            self.on_quote(&quote, out);
        }
        if let InputRef::Timer(timer) = input {
            self.on_timer(timer.now_ns, out);
        }
    }

    fn finish(&mut self, out: &mut Derived<'_, impl Emit>) {
        (0..self.series.len()).for_each(|at| self.publish_forming(at, out));
    }

    fn save(&self, out: &mut Vec<u8>) {
        let series = self.series.iter().enumerate().filter(|(_, series)| !series.is_empty());
        let series: Vec<(u32, u32, &Series)> = series
            .map(|(at, series)| {
                let head = self.head(self.whose(at));
                (head.source_id, head.instrument_id, series)
            })
            .collect();
        super::group::save_value(&(self.clock, series), out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (clock, saved): (Clock, Vec<(u32, u32, Series)>) = super::group::load_value(bytes)?;
        self.clock = clock;
        self.series.iter_mut().for_each(|series| series.closed_until(clock.swept_ns));
        for (source_id, instrument_id, series) in saved {
            let source = self.market.source(source_id);
            if let (true, Some(instrument)) =
                (source_id == SOURCE_BEST || source.is_some(), self.market.instrument(instrument_id))
            {
                let at = self.at(Whose { source, instrument });
                self.series[at] = series;
                self.series[at].closed_until(clock.swept_ns);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
