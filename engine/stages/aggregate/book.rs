//! What every source last said of each instrument, and the best of it.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::Tick;
use tickwire_schemas::{NO_PRICE, NO_SIZE, SOURCE_BEST};

use super::Side;
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
    /// Persistent id of the source, where the book has taken it up.
    #[serde(skip)]
    source_id: u32,
    /// Whether it counts: its source has not left, and it was not found too old.
    pub(super) valid: bool,
}

impl Latest {
    const NONE: Latest = Latest {
        bid_e9: NO_PRICE,
        ask_e9: NO_PRICE,
        bid_size_e8: NO_SIZE,
        ask_size_e8: NO_SIZE,
        ts_recv_ns: 0,
        source_id: 0,
        valid: false,
    };
}

impl Default for Latest {
    fn default() -> Self {
        Latest::NONE
    }
}

impl From<&Tick> for Latest {
    #[inline]
    fn from(tick: &Tick) -> Latest {
        let Tick { bid_e9, ask_e9, bid_size_e8, ask_size_e8, ts_recv_ns, .. } = *tick;
        Latest { bid_e9, ask_e9, bid_size_e8, ask_size_e8, ts_recv_ns, source_id: 0, valid: true }
    }
}

/// The place of one source within an instrument.
#[derive(Clone, Copy)]
struct Cell {
    /// What competes for the best: [`NO_PRICE`] and [`NO_ASK`], which never win, for what is absent or does not count.
    bid_e9: i64,
    ask_e9: i64,
    latest: Latest,
}

/// Where nobody says anything: worse than all who do.
const NOBODY: Cell = Cell::of(SOURCE_BEST);

/// A cache line each, and their places are found without a division.
const _: () = assert!(size_of::<Cell>() == 64);

impl Cell {
    const fn of(source_id: u32) -> Cell {
        Cell { bid_e9: NO_PRICE, ask_e9: NO_ASK, latest: Latest { source_id, ..Latest::NONE } }
    }

    #[inline]
    fn set(&mut self, latest: Latest) {
        let says_ask = latest.valid & (latest.ask_e9 != NO_PRICE);
        self.bid_e9 = if latest.valid { latest.bid_e9 } else { NO_PRICE };
        self.ask_e9 = if says_ask { latest.ask_e9 } else { NO_ASK };
        self.latest = Latest { source_id: self.latest.source_id, ..latest };
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

    #[inline]
    fn is_due(&self, now_ns: i64, max_age_ns: i64) -> bool {
        now_ns.wrapping_sub(self.oldest_ns) > max_age_ns
    }

    /// One source says something new.
    #[inline]
    fn change(&mut self, was_valid: bool, is_valid: bool) {
        self.sources = self.sources + u16::from(is_valid) - u16::from(was_valid);
    }
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
    /// None that counts, of any instrument and source, was received before: until it is too old a timer need not look at all.
    oldest_ns: i64,
}

impl Book {
    pub(super) fn new(market: &Market, max_age_ns: i64) -> Book {
        let sources = market.sources();
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|source| (!market.is_global(*source), sources[*source].priority));
        let mut places = vec![0; sources.len()];
        order.iter().enumerate().for_each(|(place, source)| places[*source] = place);
        let of_instrument: Vec<Cell> = order.iter().map(|source| Cell::of(sources[*source].id.0)).collect();
        let instruments = market.instruments().len();
        Book {
            cells: of_instrument.repeat(instruments),
            counts: vec![Count::NONE; instruments],
            places,
            global: order.iter().filter(|source| market.is_global(**source)).count(),
            max_age_ns,
            oldest_ns: i64::MAX,
        }
    }

    fn index(&self, (source, instrument): Pair) -> usize {
        instrument * self.places.len() + self.places[source]
    }

    #[inline]
    fn global(&self, instrument: usize) -> std::ops::Range<usize> {
        let first = instrument * self.places.len();
        first..first + self.global
    }

    /// What a source last said of an instrument.
    pub(super) fn get(&self, pair: Pair) -> &Latest {
        &self.cells[self.index(pair)].latest
    }

    /// A source says something new.
    pub(super) fn set(&mut self, pair: Pair, latest: Latest) {
        let index = self.index(pair);
        let before = self.cells[index].latest.valid;
        self.cells[index].set(latest);
        let since_ns = if latest.valid { latest.ts_recv_ns } else { i64::MAX };
        self.oldest_ns = self.oldest_ns.min(since_ns);
        if self.places[pair.0] < self.global {
            let count = &mut self.counts[pair.1];
            count.change(before, latest.valid);
            count.oldest_ns = count.oldest_ns.min(since_ns);
        }
    }

    /// The same, and what is the best after it; `None` where the source is private.
    #[inline(always)]
    pub(super) fn take(&mut self, (source, instrument): Pair, latest: Latest) -> Option<BestSides> {
        let (width, place) = (self.places.len(), self.places[source]);
        let row = &mut self.cells[instrument * width..][..width];
        let before = row[place].latest.valid;
        row[place].set(latest);
        if place >= self.global {
            self.oldest_ns = self.oldest_ns.min(latest.ts_recv_ns);
            return None;
        }
        let count = &mut self.counts[instrument];
        count.change(before, true);
        // Only where none counts, or the clock ran backwards.
        if latest.ts_recv_ns < count.oldest_ns {
            count.oldest_ns = latest.ts_recv_ns;
            self.oldest_ns = self.oldest_ns.min(latest.ts_recv_ns);
        }
        if count.is_due(latest.ts_recv_ns, self.max_age_ns) {
            return Some(self.best(instrument, latest.ts_recv_ns));
        }
        Some(best_of(&row[..self.global], count.sources))
    }

    /// What a source last said no longer counts.
    pub(super) fn withdraw(&mut self, pair: Pair) {
        self.set(pair, Latest { valid: false, ..*self.get(pair) });
    }

    /// Whether what was said was received too long ago to count.
    pub(super) fn is_too_old(&self, latest: &Latest, now_ns: i64) -> bool {
        now_ns.saturating_sub(latest.ts_recv_ns) > self.max_age_ns
    }

    /// Whether any price may have become too old.
    #[inline]
    pub(super) fn is_any_due(&self, now_ns: i64) -> bool {
        now_ns.wrapping_sub(self.oldest_ns) > self.max_age_ns
    }

    /// To be called when all that was due has been looked at.
    pub(super) fn all_seen_to(&mut self) {
        let private = self.cells.chunks(self.places.len().max(1)).flat_map(|row| &row[self.global..]);
        let private = private.filter(|cell| cell.latest.valid).map(|cell| cell.latest.ts_recv_ns);
        let oldest = self.counts.iter().map(|count| count.oldest_ns).chain(private).min();
        self.oldest_ns = oldest.unwrap_or(i64::MAX);
    }

    /// Whether a price of an instrument may have become too old.
    #[inline]
    pub(super) fn is_due(&self, instrument: usize, now_ns: i64) -> bool {
        self.counts[instrument].is_due(now_ns, self.max_age_ns)
    }

    /// Asks for a look at an instrument at the next timer.
    pub(super) fn make_due(&mut self, instrument: usize) {
        self.counts[instrument].oldest_ns = LONG_AGO_NS;
        self.oldest_ns = LONG_AGO_NS;
    }

    /// Lets go of what is too old. It does not come back to count by a clock that runs backwards.
    #[cold]
    fn expire(&mut self, instrument: usize, now_ns: i64) -> Count {
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
        count
    }

    /// The best of an instrument, without what is too old.
    #[inline(never)]
    pub(super) fn best(&mut self, instrument: usize, now_ns: i64) -> BestSides {
        let mut count = self.counts[instrument];
        if count.is_due(now_ns, self.max_age_ns) {
            count = self.expire(instrument, now_ns);
        }
        best_of(&self.cells[self.global(instrument)], count.sources)
    }

    /// Whether one source bids more than another asks, where the best bid and ask are crossed and both of one source.
    pub(super) fn hides_a_cross(&self, instrument: usize, bid: Side, ask: Side) -> bool {
        let others = self.cells[self.global(instrument)].iter().filter(|cell| cell.latest.source_id != bid.2);
        { others }.any(|cell| cell.bid_e9 > ask.0 || cell.ask_e9 < bid.0)
    }
}

/// The best sides, and how many sources count.
pub(super) type BestSides = (Side, Side, u16);

/// Who is best of those seen so far. Which of two is better cannot be foretold, so it goes without branches.
#[derive(Clone, Copy)]
struct Leaders<'a> {
    bid: &'a Cell,
    ask: &'a Cell,
    bid_e9: i64,
    ask_e9: i64,
}

impl<'a> Leaders<'a> {
    const NONE: Leaders<'static> = Leaders { bid: &NOBODY, ask: &NOBODY, bid_e9: NOBODY.bid_e9, ask_e9: NOBODY.ask_e9 };

    #[inline(always)]
    fn or(self, cell: &'a Cell) -> Leaders<'a> {
        Leaders {
            bid: select_unpredictable(cell.bid_e9 > self.bid_e9, cell, self.bid),
            ask: select_unpredictable(cell.ask_e9 < self.ask_e9, cell, self.ask),
            bid_e9: self.bid_e9.max(cell.bid_e9),
            ask_e9: self.ask_e9.min(cell.ask_e9),
        }
    }
}

/// Scans the global sources of an instrument: few hold one, so a scan beats any index. By twos, since for a loop over single
/// ones the compiler takes more instructions to go about it than to do it.
#[inline(always)]
fn best_of(cells: &[Cell], sources: u16) -> BestSides {
    let mut leaders = Leaders::NONE;
    let (twos, last) = cells.as_chunks::<2>();
    for [one, other] in twos {
        leaders = leaders.or(one).or(other);
    }
    if let [last] = last {
        leaders = leaders.or(last);
    }
    let Leaders { bid, ask, bid_e9, ask_e9 } = leaders;
    let ask_e9 = if ask_e9 == NO_ASK { NO_PRICE } else { ask_e9 };
    let bid = (bid_e9, bid.latest.bid_size_e8, bid.latest.source_id);
    (bid, (ask_e9, ask.latest.ask_size_e8, ask.latest.source_id), sources)
}
