//! The best bid and the best ask over the global sources that are live and young enough.
//!
//! Evaluated at every accepted tick, at every change of a source's state and, for age, at every timer; published when
//! anything changed. Ties go to the smaller `priority`, then to the source named first. A source that is not live
//! leaves at once. A private source never enters the common price: it gets quotes of its own, under its own id.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::{Head, Quote, SourceState, Tick};
use tickwire_schemas::words::{QuoteState, SourceStatus, Verdict, flag, quote_flag};
use tickwire_schemas::{INSTRUMENT_ALL, NO_PRICE, NO_SIZE, NO_TIME, SOURCE_BEST};

use super::{Derived, Emit, Market, Pair, PerPair, Stage, StateError};
use crate::market::InputRef;
use crate::ring::Mark;

mod book;

use book::{BestSides, Book, Latest};

/// The section `[aggregate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    max_age_ms: u64,
    #[serde(default)]
    quotes_every_tick: bool,
}

/// Price, size and persistent id of the source of one side of a best price.
type Side = (i64, u64, u32);

/// No price on a side.
const NO_SIDE: Side = (NO_PRICE, NO_SIZE, SOURCE_BEST);

/// What was published of a price, to see whether it changed. One that never was needs no notice that it is absent, and so
/// begins as if that had been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    bid: Side,
    ask: Side,
    sources: u16,
    state: u8,
    flags: u8,
}

impl Published {
    const ABSENT: Published =
        Published { bid: NO_SIDE, ask: NO_SIDE, sources: 0, state: QuoteState::Stale.code(), flags: 0 };
}

impl Default for Published {
    fn default() -> Published {
        Published::ABSENT
    }
}

/// The stage.
pub struct Aggregate {
    market: Market,
    every_tick: bool,
    book: Book,
    /// What each private source's own quote says.
    own: PerPair<Published>,
    /// What the common price says, by instrument.
    best: Vec<Published>,
    /// The sources that are not common property.
    private: Vec<usize>,
}

impl Aggregate {
    /// Publishes the common price of an instrument if it changed without a tick.
    fn refresh(&mut self, instrument: usize, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        let best = self.book.best(instrument, now_ns);
        let id = self.market.instruments()[instrument].id.0;
        self.publish((instrument, id), best, (now_ns, NO_TIME), false, out);
    }

    /// Publishes the common price of an instrument, by its dense index and its id, if it changed.
    #[inline(always)]
    fn publish(
        &mut self,
        (instrument, id): (usize, u32),
        (bid, ask, sources): BestSides,
        (now_ns, event_ns): (i64, i64),
        force: bool,
        out: &mut Derived<'_, impl Emit>,
    ) {
        let mut found = Published { bid, ask, sources, state: 0, flags: 0 };
        let is_crossed = found.is_crossed();
        let is_cross_source =
            is_crossed & (bid.2 != ask.2) || is_crossed && self.book.hides_a_cross(instrument, bid, ask);
        found.flags = u8::from(is_cross_source) * quote_flag::CROSS_SOURCE;
        let before = &mut self.best[instrument];
        if found.repeats(before) && !force {
            return;
        }
        found.state = state_of(&found).code();
        *before = found;
        out.quote((None, instrument), &mut found.quote(SOURCE_BEST, id, now_ns, event_ns));
    }

    #[inline(always)]
    fn on_tick(&mut self, tick: &Tick, pair: Pair, out: &mut Derived<'_, impl Emit>) {
        match self.book.take(pair, Latest::from(tick)) {
            Some(best) => {
                let (whose, times) = ((pair.1, tick.head.instrument_id), (tick.ts_recv_ns, tick.ts_event_ns));
                self.publish(whose, best, times, self.every_tick, out);
            }
            None => self.on_private(tick, pair, out),
        }
    }

    /// A private source's price is its own quote.
    fn on_private(&mut self, tick: &Tick, pair: Pair, out: &mut Derived<'_, impl Emit>) {
        let id = tick.head.source_id;
        let side = |price: i64, size| if price == NO_PRICE { NO_SIDE } else { (price, size, id) };
        let mut own = Published {
            bid: side(tick.bid_e9, tick.bid_size_e8),
            ask: side(tick.ask_e9, tick.ask_size_e8),
            sources: 1,
            state: 0,
            flags: 0,
        };
        own.state = state_of(&own).code();
        let before = self.own.at(pair);
        if *before != own || self.every_tick {
            *before = own;
            let whose = (Some(pair.0), pair.1);
            out.quote(whose, &mut own.quote(id, tick.head.instrument_id, tick.ts_recv_ns, tick.ts_event_ns));
        }
    }

    /// Whether a state that a broker repeats on subscription is the last that was accepted: a duplicate to the record, but
    /// news to the price, since the source had left and says that its last word still holds. What was refused is not.
    fn is_confirmed(&self, tick: &Tick, pair: Pair, mark: Mark) -> bool {
        if mark.verdict != Verdict::Duplicate || tick.flags & flag::SNAPSHOT == 0 {
            return false;
        }
        let last = self.book.get(pair);
        let said = (tick.bid_e9, tick.ask_e9, tick.bid_size_e8, tick.ask_size_e8);
        last.ts_recv_ns != 0 && said == (last.bid_e9, last.ask_e9, last.bid_size_e8, last.ask_size_e8)
    }

    /// A source's price of an instrument no longer counts.
    fn withdraw(&mut self, (source, instrument): Pair, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        self.book.withdraw((source, instrument));
        if self.market.is_global(source) {
            return self.refresh(instrument, now_ns, out);
        }
        let gone = Published::ABSENT;
        *self.own.at((source, instrument)) = gone;
        let (source_id, instrument_id) =
            (self.market.sources()[source].id.0, self.market.instruments()[instrument].id.0);
        out.quote((Some(source), instrument), &mut gone.quote(source_id, instrument_id, now_ns, NO_TIME));
    }

    /// Of the whole source, or of the instrument that the state names.
    fn on_state(&mut self, state: &SourceState, out: &mut Derived<'_, impl Emit>) {
        let Some(source) = self.market.source(state.head.source_id) else { return };
        if state.head.instrument_id == INSTRUMENT_ALL {
            return self.on_leave(source, state.ts_recv_ns, out);
        }
        if let Some(instrument) = self.market.instrument(state.head.instrument_id)
            && self.book.get((source, instrument)).valid
        {
            self.withdraw((source, instrument), state.ts_recv_ns, out);
        }
    }

    /// A source that is not live takes its prices with it.
    fn on_leave(&mut self, source: usize, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        for instrument in 0..self.market.instruments().len() {
            if self.book.get((source, instrument)).valid {
                self.withdraw((source, instrument), now_ns, out);
            }
        }
    }

    /// Lets go of what is too old: where something may be.
    #[inline(never)]
    fn on_timer(&mut self, now_ns: i64, out: &mut Derived<'_, impl Emit>) {
        for instrument in 0..self.best.len() {
            if self.book.is_due(instrument, now_ns) {
                self.refresh(instrument, now_ns, out);
            }
        }
        for at in 0..self.private.len() {
            let source = self.private[at];
            for instrument in 0..self.market.instruments().len() {
                let latest = self.book.get((source, instrument));
                if latest.valid && self.book.is_too_old(latest, now_ns) {
                    self.withdraw((source, instrument), now_ns, out);
                }
            }
        }
        self.book.all_seen_to();
    }
}

impl Stage for Aggregate {
    const NAME: &'static str = "aggregate";
    const DERIVES: bool = true;
    type Config = Config;

    fn build(config: Config, market: &Market) -> Result<Self, String> {
        let max_age_ns = i64::try_from(config.max_age_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
        let max_age_ns =
            max_age_ns.ok_or_else(|| format!("max_age_ms is {}, which is out of range", config.max_age_ms))?;
        let max_age_ns = if max_age_ns == 0 { i64::MAX } else { max_age_ns };
        Ok(Aggregate {
            every_tick: config.quotes_every_tick,
            book: Book::new(market, max_age_ns),
            own: PerPair::new(market),
            best: vec![Published::default(); market.instruments().len()],
            private: (0..market.sources().len()).filter(|source| !market.is_global(*source)).collect(),
            market: market.clone(),
        })
    }

    #[inline(always)]
    fn derive(&mut self, input: InputRef<'_>, pair: Option<Pair>, mark: Mark, out: &mut Derived<'_, impl Emit>) {
        match input {
            InputRef::Tick(tick) => {
                if let Some(pair) = pair
                    && (mark.verdict == Verdict::Accepted || self.is_confirmed(tick, pair, mark))
                {
                    self.on_tick(tick, pair, out);
                }
            }
            InputRef::SourceState(state) if state.status != SourceStatus::Live.code() => {
                self.on_state(state, out);
            }
            InputRef::Timer(timer) if self.book.is_any_due(timer.now_ns) => self.on_timer(timer.now_ns, out),
            _ => {}
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        let (mut latest, mut own) = (Vec::new(), Vec::new());
        let mut by_source = PerPair::new(&self.market);
        for source in 0..self.market.sources().len() {
            let row = by_source.row(source).iter_mut().enumerate();
            row.for_each(|(instrument, cell)| *cell = *self.book.get((source, instrument)));
        }
        by_source.save(&self.market, |latest: &Latest| latest.ts_recv_ns != 0, &mut latest);
        self.own.save(&self.market, |own| *own != Published::ABSENT, &mut own);
        let best: Vec<_> = self.market.instruments().iter().map(|i| i.id.0).zip(&self.best).collect();
        super::group::save_value(&(latest, own, best), out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        type Saved = (Vec<u8>, Vec<u8>, Vec<(u32, Published)>);
        let (latest, own, best): Saved = super::group::load_value(bytes)?;
        let mut by_source = PerPair::<Latest>::new(&self.market);
        by_source.load(&self.market, &latest)?;
        by_source.iter().for_each(|(pair, latest)| self.book.set(pair, *latest));
        self.own.load(&self.market, &own)?;
        for (id, published) in best {
            if let Some(instrument) = self.market.instrument(id) {
                self.best[instrument] = published;
                let is_gone = |source: u32| source != SOURCE_BEST && self.market.source(source).is_none();
                // Of a source that there is no more: the next timer sees to it.
                if is_gone(published.bid.2) || is_gone(published.ask.2) {
                    self.book.make_due(instrument);
                }
            }
        }
        Ok(())
    }
}

/// How often two sources are crossed cannot be foretold either: so no branches.
#[inline]
fn state_of(found: &Published) -> QuoteState {
    let (bid, ask) = (found.bid.0, found.ask.0);
    let has_none = (bid == NO_PRICE) & (ask == NO_PRICE);
    let state = select_unpredictable(found.sources > 1, QuoteState::Ok, QuoteState::Single);
    let state = select_unpredictable(bid == ask, QuoteState::Locked, state);
    let state = select_unpredictable(found.is_crossed(), QuoteState::Crossed, state);
    select_unpredictable(has_none, QuoteState::Stale, state)
}

impl Published {
    /// An absent bid is above no ask.
    #[inline]
    fn is_crossed(&self) -> bool {
        (self.bid.0 > self.ask.0) & (self.ask.0 != NO_PRICE)
    }

    /// Whether it says what was published before; its state follows from what is compared. All at once: which part differs
    /// first cannot be foretold.
    #[inline]
    fn repeats(&self, before: &Published) -> bool {
        let side = |a: Side, b: Side| (a.0 ^ b.0) as u64 | (a.1 ^ b.1) | u64::from(a.2 ^ b.2);
        let rest = (self.sources ^ before.sources) | u16::from(self.flags ^ before.flags);
        side(self.bid, before.bid) | side(self.ask, before.ask) | u64::from(rest) == 0
    }

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
