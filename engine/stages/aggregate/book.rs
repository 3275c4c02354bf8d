//! What every source last said of each instrument, and the best of it.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::Tick;
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::{NO_SIDE, Side};
use crate::stages::{Market, Pair};

/// Stands for no ask where the lowest is looked for.
const NO_ASK: i64 = i64::MAX;

/// Before every price. Half of the least number, so that the difference from any time of these centuries is a number too.
const LONG_AGO_NS: i64 = i64::MIN / 2;

/// What a source last said about an instrument.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Latest {
    pub(super) bid_e9: i64,
    pub(super) ask_e9: i64,
    pub(super) bid_size_e8: u64,
    pub(super) ask_size_e8: u64,
    pub(super) ts_recv_ns: i64,
    /// Whether it counts: its source has not left, and it was not found too old.
    pub(super) valid: bool,
}

impl Default for Latest {
    fn default() -> Self {
        let (bid_e9, ask_e9) = (NO_PRICE, NO_PRICE);
        Latest { bid_e9, ask_e9, bid_size_e8: NO_SIZE, ask_size_e8: NO_SIZE, ts_recv_ns: 0, valid: false }
    }
}

impl From<&Tick> for Latest {
    #[inline]
    fn from(tick: &Tick) -> Latest {
        let Tick { bid_e9, ask_e9, bid_size_e8, ask_size_e8, ts_recv_ns, .. } = *tick;
        Latest { bid_e9, ask_e9, bid_size_e8, ask_size_e8, ts_recv_ns, valid: true }
    }
}

/// The place of one source within an instrument.
#[derive(Clone, Copy)]
struct Cell {
    /// What competes for the best: [`NO_PRICE`] and [`NO_ASK`], which never win, for what is absent or does not count.
    bid_e9: i64,
    ask_e9: i64,
    /// Persistent id.
    source_id: u32,
    latest: Latest,
}

impl Cell {
    #[inline]
    fn set(&mut self, latest: Latest) {
        let says_ask = latest.valid & (latest.ask_e9 != NO_PRICE);
        self.bid_e9 = if latest.valid { latest.bid_e9 } else { NO_PRICE };
        self.ask_e9 = if says_ask { latest.ask_e9 } else { NO_ASK };
        self.latest = latest;
    }
}

/// What is known of all global prices of one instrument.
#[derive(Clone, Copy)]
struct Count {
    /// How many count.
    sources: u16,
    /// None that counts was received before; `i64::MAX` when none counts.
    oldest_ns: i64,
}

impl Count {
    const NONE: Count = Count { sources: 0, oldest_ns: i64::MAX };
}

/// All that was said last, by source within instrument: what one best price is chosen from stands together.
pub(super) struct Book {
    cells: Vec<Cell>,
    counts: Vec<Count>,
    /// The place of each source within an instrument: first global ones, in the order of preference among equal prices.
    places: Vec<usize>,
    /// How many of them are global.
    global: usize,
    /// What was received longer ago does not count; `i64::MAX` where nothing is too old.
    max_age_ns: i64,
}

impl Book {
    pub(super) fn new(market: &Market, max_age_ns: i64) -> Book {
        let sources = market.sources();
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|source| (!market.is_global(*source), sources[*source].priority));
        let mut places = vec![0; sources.len()];
        order.iter().enumerate().for_each(|(place, source)| places[*source] = place);
        let cell = |source: &usize| {
            let (source_id, latest) = (sources[*source].id.0, Latest::default());
            Cell { bid_e9: NO_PRICE, ask_e9: NO_ASK, source_id, latest }
        };
        let of_instrument: Vec<Cell> = order.iter().map(cell).collect();
        let instruments = market.instruments().len();
        Book {
            cells: of_instrument.repeat(instruments),
            counts: vec![Count::NONE; instruments],
            places,
            global: order.iter().filter(|source| market.is_global(**source)).count(),
            max_age_ns,
        }
    }

    #[inline]
    fn index(&self, (source, instrument): Pair) -> usize {
        instrument * self.places.len() + self.places[source]
    }

    #[inline]
    fn global(&self, instrument: usize) -> std::ops::Range<usize> {
        let first = instrument * self.places.len();
        first..first + self.global
    }

    /// Whether a source enters the common price.
    #[inline]
    pub(super) fn is_global(&self, source: usize) -> bool {
        self.places[source] < self.global
    }

    /// What a source last said of an instrument.
    pub(super) fn get(&self, pair: Pair) -> &Latest {
        &self.cells[self.index(pair)].latest
    }

    /// A source says something new.
    #[inline]
    pub(super) fn set(&mut self, pair: Pair, latest: Latest) {
        let index = self.index(pair);
        let before = self.cells[index].latest.valid;
        self.cells[index].set(latest);
        if self.is_global(pair.0) {
            let count = &mut self.counts[pair.1];
            count.sources = count.sources + u16::from(latest.valid) - u16::from(before);
            count.oldest_ns = count.oldest_ns.min(if latest.valid { latest.ts_recv_ns } else { i64::MAX });
        }
    }

    /// What a source last said no longer counts.
    pub(super) fn withdraw(&mut self, pair: Pair) {
        self.set(pair, Latest { valid: false, ..*self.get(pair) });
    }

    /// Whether what was said was received too long ago to count.
    pub(super) fn is_too_old(&self, latest: &Latest, now_ns: i64) -> bool {
        now_ns.saturating_sub(latest.ts_recv_ns) > self.max_age_ns
    }

    /// Whether a price of an instrument may have become too old.
    #[inline]
    pub(super) fn is_due(&self, instrument: usize, now_ns: i64) -> bool {
        now_ns.wrapping_sub(self.counts[instrument].oldest_ns) > self.max_age_ns
    }

    /// Asks for a look at an instrument at the next timer.
    pub(super) fn make_due(&mut self, instrument: usize) {
        self.counts[instrument].oldest_ns = LONG_AGO_NS;
    }

    /// Lets go of what is too old. It does not come back to count by a clock that runs backwards.
    #[cold]
    fn expire(&mut self, instrument: usize, now_ns: i64) {
        let mut count = Count::NONE;
        for at in self.global(instrument) {
            let latest = self.cells[at].latest;
            let valid = latest.valid && !self.is_too_old(&latest, now_ns);
            self.cells[at].set(Latest { valid, ..latest });
            if valid {
                count.sources += 1;
                count.oldest_ns = count.oldest_ns.min(latest.ts_recv_ns);
            }
        }
        self.counts[instrument] = count;
    }

    /// Scans the global sources of an instrument for the best sides, and says how many count. Few sources hold an
    /// instrument, so a scan beats any index; and which of them is better cannot be foretold, so it goes without branches.
    #[inline]
    pub(super) fn best(&mut self, instrument: usize, now_ns: i64) -> (Side, Side, u16) {
        if self.is_due(instrument, now_ns) {
            self.expire(instrument, now_ns);
        }
        let cells = &self.cells[self.global(instrument)];
        let (mut bid_e9, mut bid_at, mut ask_e9, mut ask_at) = (NO_PRICE, 0, NO_ASK, 0);
        for (at, cell) in cells.iter().enumerate() {
            bid_at = select_unpredictable(cell.bid_e9 > bid_e9, at, bid_at);
            ask_at = select_unpredictable(cell.ask_e9 < ask_e9, at, ask_at);
            (bid_e9, ask_e9) = (bid_e9.max(cell.bid_e9), ask_e9.min(cell.ask_e9));
        }
        let (mut bid, mut ask) = (NO_SIDE, NO_SIDE);
        if let (true, Some(cell)) = (bid_e9 != NO_PRICE, cells.get(bid_at)) {
            bid = (bid_e9, cell.latest.bid_size_e8, cell.source_id);
        }
        if let (true, Some(cell)) = (ask_e9 != NO_ASK, cells.get(ask_at)) {
            ask = (ask_e9, cell.latest.ask_size_e8, cell.source_id);
        }
        (bid, ask, self.counts[instrument].sources)
    }

    /// Whether one source bids more than another asks, where the best bid and ask are crossed and both of one source.
    pub(super) fn hides_a_cross(&self, instrument: usize, bid: Side, ask: Side) -> bool {
        let others = self.cells[self.global(instrument)].iter().filter(|cell| cell.source_id != bid.2);
        { others }.any(|cell| cell.bid_e9 > ask.0 || cell.ask_e9 < bid.0)
    }
}
