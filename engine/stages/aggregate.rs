//! The best bid and the best ask over the global sources that are live and young enough.
//!
//! Evaluated at every accepted tick, at every change of a source's state and, for age, at every timer; published when
//! anything changed. Ties go to the smaller `priority`, then to the source named first. A source that is not live
//! leaves at once. A private source never enters the common price: it gets quotes of its own, under its own id.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Head, Quote, SourceState, Tick};
use tickwire_schemas::words::{QuoteState, SourceStatus, Verdict, flag, quote_flag};
use tickwire_schemas::{INSTRUMENT_ALL, NO_PRICE, NO_SIZE, NO_TIME, SOURCE_BEST};

use super::{Derived, Market, Pair, PerPair, Stage, StateError};
use crate::market::Input;
use crate::ring::Mark;

/// The section `[aggregate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    max_age_ms: u64,
    #[serde(default)]
    quotes_every_tick: bool,
}

/// What a source last said about an instrument.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Latest {
    bid_e9: i64,
    ask_e9: i64,
    bid_size_e8: u64,
    ask_size_e8: u64,
    ts_recv_ns: i64,
    valid: bool,
}

impl Default for Latest {
    fn default() -> Self {
        let (bid_e9, ask_e9) = (NO_PRICE, NO_PRICE);
        Latest { bid_e9, ask_e9, bid_size_e8: NO_SIZE, ask_size_e8: NO_SIZE, ts_recv_ns: 0, valid: false }
    }
}

/// What was published of a price, to see whether it changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    ever: bool,
    bid: (i64, u64, u32),
    ask: (i64, u64, u32),
    sources: u16,
    state: u8,
    flags: u8,
}

/// The stage.
pub struct Aggregate {
    market: Market,
    max_age_ns: i64,
    every_tick: bool,
    latest: Prices,
    /// What each private source's own quote says.
    own: PerPair<Published>,
    /// What the common price says, by instrument.
    best: Vec<Published>,
    /// Receive time of the oldest price that counts, by instrument; timers need no look before that is too old. `i64::MAX`
    /// when none counts. Or earlier than that: between two scans it is not kept up.
    oldest_ns: Vec<i64>,
    /// Whether each price that there was counted in the last scan, by instrument: then none comes to count again by a clock
    /// that runs backwards.
    complete: Vec<bool>,
    /// The sources that are not common property.
    private: Vec<usize>,
}

/// What every source last said, by source within instrument: all that one best price is chosen from stands together.
struct Prices {
    cells: Vec<Latest>,
    /// The place of each source within an instrument: first global ones, in the order of preference among equal prices.
    places: Vec<usize>,
    /// Persistent ids of the global sources, in that order.
    global_ids: Vec<u32>,
}

impl Prices {
    fn new(market: &Market) -> Prices {
        let sources = market.sources();
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|source| (!market.is_global(*source), sources[*source].priority));
        let mut places = vec![0; sources.len()];
        order.iter().enumerate().for_each(|(place, source)| places[*source] = place);
        let global = order.iter().filter(|source| market.is_global(**source));
        Prices {
            cells: vec![Latest::default(); sources.len() * market.instruments().len()],
            global_ids: global.map(|source| sources[*source].id.0).collect(),
            places,
        }
    }

    #[inline]
    fn index(&self, (source, instrument): Pair) -> usize {
        instrument * self.places.len() + self.places[source]
    }

    #[inline]
    fn at(&mut self, pair: Pair) -> &mut Latest {
        let index = self.index(pair);
        &mut self.cells[index]
    }

    fn get(&self, pair: Pair) -> &Latest {
        &self.cells[self.index(pair)]
    }

    /// What global sources last said of an instrument, with their persistent ids.
    #[inline]
    fn global(&self, instrument: usize) -> impl Iterator<Item = (u32, &Latest)> {
        let first = instrument * self.places.len();
        self.global_ids.iter().copied().zip(&self.cells[first..first + self.global_ids.len()])
    }
}

impl Aggregate {
    /// What was received before this is too old.
    #[inline]
    fn horizon_ns(&self, now_ns: i64) -> i64 {
        if self.max_age_ns > 0 { now_ns.saturating_sub(self.max_age_ns) } else { i64::MIN }
    }

    /// Scans the global sources for the best sides. Few sources hold an instrument, so a scan beats any index.
    #[inline]
    fn best_of(&mut self, instrument: usize, now_ns: i64) -> Published {
        let horizon_ns = self.horizon_ns(now_ns);
        let (mut bid, mut ask, mut sources, mut oldest_ns, mut complete) = (NO_SIDE, NO_SIDE, 0, i64::MAX, true);
        for (id, latest) in self.latest.global(instrument) {
            if !latest.valid || latest.ts_recv_ns < horizon_ns {
                complete &= !latest.valid;
                continue;
            }
            oldest_ns = oldest_ns.min(latest.ts_recv_ns);
            sources += 1;
            if latest.bid_e9 != NO_PRICE && (bid.0 == NO_PRICE || latest.bid_e9 > bid.0) {
                bid = (latest.bid_e9, latest.bid_size_e8, id);
            }
            if latest.ask_e9 != NO_PRICE && (ask.0 == NO_PRICE || latest.ask_e9 < ask.0) {
                ask = (latest.ask_e9, latest.ask_size_e8, id);
            }
        }
        self.oldest_ns[instrument] = oldest_ns;
        self.complete[instrument] = complete;
        let mut found = Published { ever: true, bid, ask, sources, state: 0, flags: 0 };
        found.state = state_of(&found).code();
        if found.state == QuoteState::Crossed.code() && self.is_cross_source(instrument, horizon_ns, &found) {
            found.flags = quote_flag::CROSS_SOURCE;
        }
        found
    }

    /// What `oldest_ns` would be after a scan.
    fn oldest_of(&self, instrument: usize) -> i64 {
        if !self.complete[instrument] {
            return self.oldest_ns[instrument];
        }
        let counted = self.latest.global(instrument).filter(|(_, latest)| latest.valid);
        counted.map(|(_, latest)| latest.ts_recv_ns).min().unwrap_or(i64::MAX)
    }

    /// Whether one source bids more than another asks. The best bid and ask of one and the same source may hide it.
    fn is_cross_source(&self, instrument: usize, horizon_ns: i64, found: &Published) -> bool {
        if found.bid.2 != found.ask.2 {
            return true;
        }
        self.latest.global(instrument).any(|(id, latest)| {
            let is_another = latest.valid && latest.ts_recv_ns >= horizon_ns && id != found.bid.2;
            let bids_more = latest.bid_e9 != NO_PRICE && latest.bid_e9 > found.ask.0;
            is_another && (bids_more || (latest.ask_e9 != NO_PRICE && found.bid.0 > latest.ask_e9))
        })
    }

    /// What a scan would find after a tick of a global source whose price counted before, where that can be said without a
    /// look at the others: theirs all still count, and the tick improves on a best price, keeps its own, or changes none.
    #[inline]
    fn moved(&self, tick: &Tick, instrument: usize) -> Option<Published> {
        let before = &self.best[instrument];
        let (id, bid_e9, ask_e9) = (tick.head.source_id, tick.bid_e9, tick.ask_e9);
        let is_known = self.complete[instrument] && self.oldest_ns[instrument] >= self.horizon_ns(tick.ts_recv_ns);
        if !is_known || [bid_e9, ask_e9, before.bid.0, before.ask.0].contains(&NO_PRICE) {
            return None;
        }
        let better = |by: std::cmp::Ordering, holds: bool| match by {
            std::cmp::Ordering::Greater => Some(true),
            std::cmp::Ordering::Equal if holds => Some(true),
            std::cmp::Ordering::Less if !holds => Some(false),
            // Two at one price, or who had the best one has left it.
            _ => None,
        };
        let is_bid = better(bid_e9.cmp(&before.bid.0), before.bid.2 == id)?;
        let is_ask = better(before.ask.0.cmp(&ask_e9), before.ask.2 == id)?;
        let bid = if is_bid { (bid_e9, tick.bid_size_e8, id) } else { before.bid };
        let ask = if is_ask { (ask_e9, tick.ask_size_e8, id) } else { before.ask };
        if bid.0 >= ask.0 {
            return None;
        }
        let state = if before.sources > 1 { QuoteState::Ok } else { QuoteState::Single }.code();
        Some(Published { ever: true, bid, ask, sources: before.sources, state, flags: 0 })
    }

    /// Publishes the common price of an instrument if it changed.
    fn refresh(&mut self, instrument: usize, now_ns: i64, event_ns: i64, force: bool, out: &mut Derived<'_>) {
        let found = self.best_of(instrument, now_ns);
        self.publish(instrument, found, (now_ns, event_ns), force, out);
    }

    /// Publishes what was found unless it is what was published before.
    #[inline]
    fn publish(
        &mut self,
        instrument: usize,
        found: Published,
        (now_ns, event_ns): (i64, i64),
        force: bool,
        out: &mut Derived<'_>,
    ) {
        let before = &mut self.best[instrument];
        // A price that never was needs no notice that it is absent.
        if (found == *before && !force) || (!before.ever && found.sources == 0) {
            return;
        }
        *before = found;
        let id = self.market.instruments()[instrument].id.0;
        out.quote((None, instrument), found.quote(SOURCE_BEST, id, now_ns, event_ns));
    }

    #[inline]
    fn on_tick(&mut self, tick: &Tick, pair: Pair, out: &mut Derived<'_>) {
        let latest = self.latest.at(pair);
        let counted = latest.valid;
        *latest = Latest {
            bid_e9: tick.bid_e9,
            ask_e9: tick.ask_e9,
            bid_size_e8: tick.bid_size_e8,
            ask_size_e8: tick.ask_size_e8,
            ts_recv_ns: tick.ts_recv_ns,
            valid: true,
        };
        if self.latest.places[pair.0] < self.latest.global_ids.len() {
            let times = (tick.ts_recv_ns, tick.ts_event_ns);
            match self.moved(tick, pair.1).filter(|_| counted) {
                Some(found) => {
                    self.oldest_ns[pair.1] = self.oldest_ns[pair.1].min(times.0);
                    self.publish(pair.1, found, times, self.every_tick, out);
                }
                None => self.refresh(pair.1, times.0, times.1, self.every_tick, out),
            }
        } else {
            self.on_private(tick, pair, out);
        }
    }

    /// A private source's price is its own quote.
    fn on_private(&mut self, tick: &Tick, pair: Pair, out: &mut Derived<'_>) {
        let id = tick.head.source_id;
        let side = |price: i64, size| if price == NO_PRICE { NO_SIDE } else { (price, size, id) };
        let mut own = Published {
            ever: true,
            bid: side(tick.bid_e9, tick.bid_size_e8),
            ask: side(tick.ask_e9, tick.ask_size_e8),
            sources: 1,
            state: 0,
            flags: 0,
        };
        own.state = state_of(&own).code();
        if *self.own.get(pair) != own || self.every_tick {
            *self.own.at(pair) = own;
            let whose = (Some(pair.0), pair.1);
            out.quote(whose, own.quote(id, tick.head.instrument_id, tick.ts_recv_ns, tick.ts_event_ns));
        }
    }

    /// Whether a state that a broker repeats on subscription is the last that was accepted: a duplicate to the record, but
    /// news to the price, since the source had left and says that its last word still holds. What was refused is not.
    fn is_confirmed(&self, tick: &Tick, pair: Pair, mark: &Mark) -> bool {
        if mark.verdict != Verdict::Duplicate || tick.flags & flag::SNAPSHOT == 0 {
            return false;
        }
        let last = self.latest.get(pair);
        let said = (tick.bid_e9, tick.ask_e9, tick.bid_size_e8, tick.ask_size_e8);
        last.ts_recv_ns != 0 && said == (last.bid_e9, last.ask_e9, last.bid_size_e8, last.ask_size_e8)
    }

    /// A source's price of an instrument no longer counts.
    fn withdraw(&mut self, source: usize, instrument: usize, now_ns: i64, out: &mut Derived<'_>) {
        self.latest.at((source, instrument)).valid = false;
        if self.market.is_global(source) {
            return self.refresh(instrument, now_ns, NO_TIME, false, out);
        }
        let gone =
            Published { ever: true, bid: NO_SIDE, ask: NO_SIDE, sources: 0, state: QuoteState::Stale.code(), flags: 0 };
        *self.own.at((source, instrument)) = gone;
        let (source_id, instrument_id) =
            (self.market.sources()[source].id.0, self.market.instruments()[instrument].id.0);
        out.quote((Some(source), instrument), gone.quote(source_id, instrument_id, now_ns, NO_TIME));
    }

    /// Of the whole source, or of the instrument that the state names.
    fn on_state(&mut self, state: &SourceState, out: &mut Derived<'_>) {
        let Some(source) = self.market.source(state.head.source_id) else { return };
        if state.head.instrument_id == INSTRUMENT_ALL {
            return self.on_leave(source, state.ts_recv_ns, out);
        }
        if let Some(instrument) = self.market.instrument(state.head.instrument_id)
            && self.latest.get((source, instrument)).valid
        {
            self.withdraw(source, instrument, state.ts_recv_ns, out);
        }
    }

    /// A source that is not live takes its prices with it.
    fn on_leave(&mut self, source: usize, now_ns: i64, out: &mut Derived<'_>) {
        for instrument in 0..self.market.instruments().len() {
            if self.latest.get((source, instrument)).valid {
                self.withdraw(source, instrument, now_ns, out);
            }
        }
    }

    fn on_timer(&mut self, now_ns: i64, out: &mut Derived<'_>) {
        if self.max_age_ns == 0 {
            return;
        }
        for instrument in 0..self.oldest_ns.len() {
            if self.oldest_ns[instrument].saturating_add(self.max_age_ns) < now_ns {
                self.refresh(instrument, now_ns, NO_TIME, false, out);
            }
        }
        let oldest_ns = now_ns - self.max_age_ns;
        for at in 0..self.private.len() {
            let source = self.private[at];
            for instrument in 0..self.market.instruments().len() {
                let latest = self.latest.get((source, instrument));
                if latest.valid && latest.ts_recv_ns < oldest_ns {
                    self.withdraw(source, instrument, now_ns, out);
                }
            }
        }
    }
}

impl Stage for Aggregate {
    const NAME: &'static str = "aggregate";
    const DERIVES: bool = true;
    type Config = Config;

    fn build(config: Config, market: &Market) -> Result<Self, String> {
        let max_age_ns = i64::try_from(config.max_age_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
        Ok(Aggregate {
            max_age_ns: max_age_ns
                .ok_or_else(|| format!("max_age_ms is {}, which is out of range", config.max_age_ms))?,
            every_tick: config.quotes_every_tick,
            latest: Prices::new(market),
            own: PerPair::new(market),
            best: vec![Published::default(); market.instruments().len()],
            oldest_ns: vec![i64::MAX; market.instruments().len()],
            complete: vec![false; market.instruments().len()],
            private: (0..market.sources().len()).filter(|source| !market.is_global(*source)).collect(),
            market: market.clone(),
        })
    }

    #[inline]
    fn derive(&mut self, input: &Input, pair: Option<Pair>, mark: &Mark, out: &mut Derived<'_>) {
        match input {
            Input::Tick(tick) => {
                if let Some(pair) = pair
                    && (mark.verdict == Verdict::Accepted || self.is_confirmed(tick, pair, mark))
                {
                    self.on_tick(tick, pair, out);
                }
            }
            Input::SourceState(state) if state.status != SourceStatus::Live.code() => {
                self.on_state(state, out);
            }
            Input::Timer(timer) => self.on_timer(timer.now_ns, out),
            _ => {}
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        let (mut latest, mut own) = (Vec::new(), Vec::new());
        let mut by_source = PerPair::new(&self.market);
        for source in 0..self.market.sources().len() {
            let row = by_source.row(source).iter_mut().enumerate();
            row.for_each(|(instrument, cell)| *cell = *self.latest.get((source, instrument)));
        }
        by_source.save(&self.market, |latest: &Latest| latest.ts_recv_ns != 0, &mut latest);
        self.own.save(&self.market, |own| own.ever, &mut own);
        let instruments = self.market.instruments().iter().zip(&self.best).enumerate();
        let best: Vec<_> = instruments.map(|(at, (i, best))| (i.id.0, *best, self.oldest_of(at))).collect();
        super::group::save_value(&(latest, own, best), out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        type Saved = (Vec<u8>, Vec<u8>, Vec<(u32, Published, i64)>);
        let (latest, own, best): Saved = super::group::load_value(bytes)?;
        let mut by_source = PerPair::<Latest>::new(&self.market);
        by_source.load(&self.market, &latest)?;
        by_source.iter().for_each(|(pair, cell)| *self.latest.at(pair) = *cell);
        self.own.load(&self.market, &own)?;
        for (id, published, oldest_ns) in best {
            if let Some(instrument) = self.market.instrument(id) {
                self.best[instrument] = published;
                let is_gone = |source: u32| source != SOURCE_BEST && self.market.source(source).is_none();
                // Of a source that there is no more: the next timer sees to it.
                let gone = is_gone(published.bid.2) || is_gone(published.ask.2);
                self.oldest_ns[instrument] = if gone { i64::MIN } else { oldest_ns };
            }
        }
        Ok(())
    }
}

/// No price on a side.
const NO_SIDE: (i64, u64, u32) = (NO_PRICE, NO_SIZE, SOURCE_BEST);

#[inline]
fn state_of(found: &Published) -> QuoteState {
    let (bid, ask) = (found.bid.0, found.ask.0);
    if bid == NO_PRICE && ask == NO_PRICE {
        return QuoteState::Stale;
    }
    if bid != NO_PRICE && ask != NO_PRICE && bid >= ask {
        return if bid > ask { QuoteState::Crossed } else { QuoteState::Locked };
    }
    if found.sources > 1 { QuoteState::Ok } else { QuoteState::Single }
}

impl Published {
    #[inline]
    fn quote(&self, source_id: u32, instrument_id: u32, now_ns: i64, ts_event_ns: i64) -> Quote {
        Quote {
            head: Head { source_id, instrument_id, ..Head::default() },
            ts_event_ns,
            ts_recv_ns: now_ns,
            bid_e9: self.bid.0,
            ask_e9: self.ask.0,
            bid_size_e8: self.bid.1,
            ask_size_e8: self.ask.1,
            bid_source_id: self.bid.2,
            ask_source_id: self.ask.2,
            sources: self.sources,
            state: self.state,
            flags: self.flags,
        }
    }
}
