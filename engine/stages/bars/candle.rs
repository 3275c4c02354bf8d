//! One bar while it can still change.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::Ohlc;
use tickwire_schemas::{NO_PRICE, NO_SIZE};

/// What one tick, quote or trade does to a bar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update {
    /// The moment it belongs to.
    pub(super) ts_ns: i64,
    bid_e9: i64,
    ask_e9: i64,
    ticks: u64,
    volume_e8: u64,
}

impl Update {
    /// A price; either side may be absent.
    pub(super) fn price(ts_ns: i64, bid_e9: i64, ask_e9: i64, volume_e8: u64) -> Update {
        Update { ts_ns, bid_e9, ask_e9, ticks: 1, volume_e8 }
    }

    /// A trade, of which bars take the size.
    pub(super) fn volume(ts_ns: i64, volume_e8: u64) -> Update {
        Update { ts_ns, bid_e9: NO_PRICE, ask_e9: NO_PRICE, ticks: 0, volume_e8 }
    }

    /// Whether it is a trade.
    pub(super) fn is_volume(&self) -> bool {
        self.ticks == 0
    }
}

/// The mid, rounded half to even at 1e-9; absent where a side is.
#[inline]
fn mid(bid_e9: i64, ask_e9: i64) -> i64 {
    if bid_e9 == NO_PRICE || ask_e9 == NO_PRICE {
        return NO_PRICE;
    }
    // What both have, and half of what one has: that does not overflow.
    let apart = bid_e9 ^ ask_e9;
    let floor = (bid_e9 & ask_e9) + (apart >> 1);
    // An odd sum lies between two units: to the even one.
    floor + (apart & floor & 1)
}

/// Open, high, low and close of one price, and when the first and the last were said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Side {
    open_e9: i64,
    high_e9: i64,
    low_e9: i64,
    close_e9: i64,
    first_ns: i64,
    last_ns: i64,
}

impl Side {
    const NONE: Side = Side {
        open_e9: NO_PRICE,
        high_e9: i64::MIN,
        low_e9: i64::MAX,
        close_e9: NO_PRICE,
        first_ns: i64::MAX,
        last_ns: i64::MIN,
    };

    #[inline]
    fn absorb(&mut self, price_e9: i64, ts_ns: i64) {
        if price_e9 == NO_PRICE {
            return;
        }
        self.merge(&Side {
            open_e9: price_e9,
            high_e9: price_e9,
            low_e9: price_e9,
            close_e9: price_e9,
            first_ns: ts_ns,
            last_ns: ts_ns,
        });
    }

    /// Takes in what was said in another stretch. Of two prices at one moment the one that came first is the earlier.
    #[inline]
    fn merge(&mut self, other: &Side) {
        if other.first_ns < self.first_ns {
            self.open_e9 = other.open_e9;
            self.first_ns = other.first_ns;
        }
        if other.last_ns >= self.last_ns {
            self.close_e9 = other.close_e9;
            self.last_ns = other.last_ns;
        }
        self.high_e9 = self.high_e9.max(other.high_e9);
        self.low_e9 = self.low_e9.min(other.low_e9);
    }

    pub(super) fn ohlc(&self) -> Ohlc {
        if self.open_e9 == NO_PRICE {
            return Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };
        }
        Ohlc { open_e9: self.open_e9, high_e9: self.high_e9, low_e9: self.low_e9, close_e9: self.close_e9 }
    }
}

/// A bar while it can still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candle {
    /// From, inclusive, and to, exclusive.
    pub(super) span: (i64, i64),
    pub(super) bid: Side,
    pub(super) ask: Side,
    pub(super) mid: Side,
    pub(super) ticks: u64,
    pub(super) volume_e8: u64,
    pub(super) revision: u16,
}

impl Candle {
    pub(super) fn new(span: (i64, i64)) -> Candle {
        let none = Side::NONE;
        Candle { span, bid: none, ask: none, mid: none, ticks: 0, volume_e8: NO_SIZE, revision: 0 }
    }

    #[inline]
    pub(super) fn contains(&self, ns: i64) -> bool {
        self.span.0 <= ns && ns < self.span.1
    }

    #[inline]
    pub(super) fn absorb(&mut self, update: &Update) {
        self.bid.absorb(update.bid_e9, update.ts_ns);
        self.ask.absorb(update.ask_e9, update.ts_ns);
        self.mid.absorb(mid(update.bid_e9, update.ask_e9), update.ts_ns);
        self.ticks += update.ticks;
        self.add_volume(update.volume_e8);
    }

    /// Takes in a bar that lies within this one.
    pub(super) fn merge(&mut self, part: &Candle) {
        self.bid.merge(&part.bid);
        self.ask.merge(&part.ask);
        self.mid.merge(&part.mid);
        self.ticks += part.ticks;
        self.add_volume(part.volume_e8);
    }

    fn add_volume(&mut self, volume_e8: u64) {
        if volume_e8 != NO_SIZE {
            let before = if self.volume_e8 == NO_SIZE { 0 } else { self.volume_e8 };
            self.volume_e8 = before.saturating_add(volume_e8).min(NO_SIZE - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mid_is_rounded_half_to_even() {
        for (bid, ask, expected) in [(1, 2, 2), (2, 3, 2), (3, 4, 4), (-1, 0, 0), (-2, -1, -2), (-3, -2, -2), (4, 8, 6)]
        {
            assert_eq!(mid(bid, ask), expected, "{bid} {ask}");
        }
        assert_eq!(mid(i64::MAX, i64::MAX), i64::MAX);
        assert_eq!(mid(NO_PRICE, 5), NO_PRICE);
    }
}
