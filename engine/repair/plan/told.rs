//! What is handed out.

use tickwire_schemas::record::{Bar, Head, Ohlc, Repair};
use tickwire_schemas::words::{Basis, RepairStep};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::hole::{Facts, Key};
use crate::market::Span;

/// An input for the stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Index of the source; none when it is not configured any more.
    pub venue: Option<usize>,
    /// The input.
    pub repair: Repair,
    /// Why, when a hole is lost.
    pub why: Option<String>,
}

const ABSENT: Ohlc = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };

/// A bar of a hole, without its instrument and the time of the answer.
pub(super) fn of_bar(key: Key, facts: &Facts, bar: &Bar, span: Span) -> Repair {
    let (prices, ask) = match Basis::from_code(bar.basis) {
        Some(Basis::Quote | Basis::Bid) => (bar.bid, bar.ask),
        Some(Basis::Ask) => (ABSENT, bar.ask),
        Some(Basis::Mid | Basis::Last) | None => (bar.mid, ABSENT),
    };
    Repair {
        from_ns: span.from_ns,
        to_ns: span.to_ns,
        prices,
        ask,
        ticks: bar.ticks,
        volume_e8: bar.volume_e8,
        timeframe: bar.timeframe,
        basis: bar.basis,
        step: RepairStep::Bar.code(),
        ..of_hole(key, facts)
    }
}

/// The end of a hole, without its step and time.
pub(super) fn of_hole(key: Key, facts: &Facts) -> Repair {
    Repair {
        head: Head { source_id: facts.source_id, instrument_id: facts.instrument_id, ..Head::default() },
        from_ns: facts.from_ns,
        to_ns: facts.to_ns,
        gap_id: key.id,
        lost: facts.lost,
        gap_epoch: key.epoch,
        prices: ABSENT,
        ask: ABSENT,
        volume_e8: NO_SIZE,
        cause: facts.cause,
        ..Repair::default()
    }
}
