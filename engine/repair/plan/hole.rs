//! One hole, and which bars of it are still to be asked for.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::Gap;
use tickwire_schemas::words::Timeframe;

use super::ticks::Ticks;
use crate::market::{Calendar, Span};

/// How far before a hole bars are looked for. Holes are cut by the time of receipt, bars by the venue's stamp, which is
/// earlier: what was missed first may belong to the bar before.
const MARGIN_NS: i64 = 1_000_000_000;

const MINUTE_NS: i64 = 60_000_000_000;

/// Timeframes there are.
pub(super) const TIMEFRAMES: usize = Timeframe::ALL.len();

/// Names a hole, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// [`Gap::gap_epoch`].
    pub epoch: u32,
    /// [`Gap::gap_id`].
    pub id: u64,
}

/// What its ledger entry says of a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) source_id: u32,
    pub(super) instrument_id: u32,
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    pub(super) lost: u64,
    pub(super) cause: u8,
}

impl Facts {
    pub(super) fn of(gap: &Gap) -> (Key, Facts) {
        let facts = Facts {
            source_id: gap.head.source_id,
            instrument_id: gap.head.instrument_id,
            from_ns: gap.from_ns,
            to_ns: gap.to_ns,
            lost: gap.lost,
            cause: gap.cause,
        };
        (Key { epoch: gap.gap_epoch, id: gap.gap_id }, facts)
    }

    /// Where data can be missing, by the venue's stamps.
    pub(super) fn reach(&self) -> Span {
        Span { from_ns: self.from_ns.saturating_sub(MARGIN_NS), to_ns: self.to_ns }
    }

    pub(super) fn touches(&self, span: Span) -> bool {
        let reach = self.reach();
        span.from_ns < reach.to_ns && reach.from_ns < span.to_ns
    }

    /// The first interval from `from_ns` on, the start of one or within the first, in which something can be missing: it
    /// reaches into the hole, and the market is open where it does.
    pub(super) fn next(&self, calendar: &mut Calendar, timeframe: Timeframe, from_ns: i64) -> Option<Span> {
        let reach = self.reach();
        let mut at_ns = from_ns.max(reach.from_ns);
        while at_ns < reach.to_ns {
            let span = calendar.interval(timeframe, at_ns)?;
            let common = Span { from_ns: span.from_ns.max(reach.from_ns), to_ns: span.to_ns.min(reach.to_ns) };
            if trades(calendar, common) {
                return Some(span);
            }
            at_ns = span.to_ns;
        }
        None
    }
}

/// Whether the market is open at any time of a stretch: sessions begin and end with minutes.
fn trades(calendar: &mut Calendar, stretch: Span) -> bool {
    let mut at_ns = stretch.from_ns;
    while at_ns < stretch.to_ns {
        if calendar.is_open(at_ns) {
            return true;
        }
        at_ns = (at_ns.div_euclid(MINUTE_NS) + 1) * MINUTE_NS;
    }
    false
}

/// The hole in one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Index of the symbol among those of its source.
    pub(super) symbol: usize,
    /// The next bar to ask for, by timeframe; none when all were asked for or given up.
    pub(super) next: [Option<Span>; TIMEFRAMES],
    /// The ticks that are still to be stored, where the venue has ticks.
    pub(super) ticks: Option<Ticks>,
}

/// A hole that is not done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) facts: Facts,
    /// Index of its source.
    pub(super) venue: usize,
    /// Its ledger entry waits for bars that can be had by then.
    pub(super) until_ns: i64,
    /// Its ledger entry is open.
    pub(super) is_open: bool,
    /// There were bars to ask for when it was taken up.
    pub(super) asks: bool,
    /// The venue had one of them.
    pub(super) found: bool,
    /// Why not all of it can be mended.
    pub(super) failed: Option<String>,
    pub(super) parts: Vec<Part>,
}

impl Hole {
    /// Whether the ledger entry can be closed: nothing that it waits for is still to be asked for.
    pub(super) fn is_mended(&self, delay_ns: i64) -> bool {
        let waits = |span: &Span| span.to_ns.saturating_add(delay_ns) <= self.until_ns;
        !self.parts.iter().any(|part| part.ticks.is_some() || part.next.iter().flatten().any(waits))
    }

    /// Whether no bar is to be asked for any more.
    pub(super) fn is_done(&self) -> bool {
        self.parts.iter().all(|part| part.next.iter().all(Option::is_none))
    }
}

/// The least that a bar lasts: trading days may lose an hour to daylight saving time.
pub(super) fn shortest_ns(timeframe: Timeframe) -> i64 {
    60_000_000_000
        * match timeframe {
            Timeframe::M1 => 1,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H4 => 180,
            Timeframe::D1 => 23 * 60,
            Timeframe::W1 => (7 * 24 - 1) * 60,
            Timeframe::MN => (28 * 24 - 1) * 60,
        }
}
