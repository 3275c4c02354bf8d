//! A venue's bar of a hole as the record that it becomes.

use tickwire_schemas::NO_PRICE;
use tickwire_schemas::record::{Bar, Head, Ohlc, Repair};
use tickwire_schemas::words::{BarState, Basis, Origin, RepairStep, Timeframe};

const ABSENT: Ohlc = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };

/// The bar, its revision not filled in; `None` when the repair brings none, or one of a timeframe or basis that is
/// unknown.
pub(super) fn bar(head: Head, repair: &Repair) -> Option<Bar> {
    if RepairStep::from_code(repair.step) != Some(RepairStep::Bar) {
        return None;
    }
    let timeframe = Timeframe::from_code(repair.timeframe)?;
    let basis = Basis::from_code(repair.basis)?;
    let (bid, ask, mid) = match basis {
        Basis::Quote => (repair.prices, repair.ask, ABSENT),
        Basis::Bid => (repair.prices, ABSENT, ABSENT),
        Basis::Ask => (ABSENT, repair.ask, ABSENT),
        Basis::Mid | Basis::Last => (ABSENT, ABSENT, repair.prices),
    };
    Some(Bar {
        head,
        open_ts_ns: repair.from_ns,
        close_ts_ns: repair.to_ns,
        bid,
        ask,
        mid,
        ticks: repair.ticks,
        volume_e8: repair.volume_e8,
        revision: 0,
        timeframe: timeframe.code(),
        origin: Origin::Repair.code(),
        basis: basis.code(),
        state: BarState::Revised.code(),
    })
}
