//! The past of the simulated market, and how often it may be asked for. Pure: from one seed every minute is always the
//! same, whoever asks for it and in whatever bars.
//!
//! The price at a minute is the symbol's usual one and waves of six lengths, from two minutes to five days, as high as a
//! walk with the symbol's volatility goes in that time. Bars of any length are made of minutes. Currencies and metals rest
//! from Friday 17:00 to Sunday 17:00 in New York, on Christmas and New Year's Day, metals for an hour a day as well.
//! Sessions are computed apart from the engine's calendar, so that each checks the other.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::stamp::{ServerTime, date_of, day_number};
use super::symbols::Symbol;

/// A minute.
pub(super) const MINUTE_NS: i64 = 60_000_000_000;
const DAY_NS: i64 = 1_440 * MINUTE_NS;

/// Lengths of the waves, in minutes.
const WAVES: [i64; 6] = [2, 8, 30, 120, 480, 7_200];

/// Open, high, low and close of the true price, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candle {
    pub(super) open_ns: i64,
    pub(super) close_ns: i64,
    pub(super) open: i64,
    pub(super) high: i64,
    pub(super) low: i64,
    pub(super) close: i64,
    pub(super) ticks: u64,
}

/// The market's past.
#[derive(Debug)]
pub(super) struct Past {
    seed: u64,
    volatility_permille: i64,
    /// Stretches without any bar.
    holes: Vec<(i64, i64)>,
}

impl Past {
    pub(super) fn new(seed: u64, volatility_permille: i64, holes: Vec<(i64, i64)>) -> Past {
        Past { seed, volatility_permille, holes }
    }

    /// The candle of `[from_ns, to_ns)`; none where nothing is traded in it.
    pub(super) fn candle(&self, symbol: &Symbol, from_ns: i64, to_ns: i64) -> Option<Candle> {
        let minutes = from_ns.div_euclid(MINUTE_NS)..to_ns.div_euclid(MINUTE_NS);
        let mut all: Option<Candle> = None;
        for minute in minutes.filter(|minute| self.trades(symbol, minute * MINUTE_NS)) {
            let one = self.minute(symbol, minute);
            let sum = all.get_or_insert(Candle { open_ns: from_ns, close_ns: to_ns, ticks: 0, ..one });
            sum.high = sum.high.max(one.high);
            sum.low = sum.low.min(one.low);
            sum.close = one.close;
            sum.ticks += one.ticks;
        }
        all
    }

    fn trades(&self, symbol: &Symbol, ns: i64) -> bool {
        is_open(symbol, ns) && !self.holes.iter().any(|(from, to)| (*from..*to).contains(&ns))
    }

    fn minute(&self, symbol: &Symbol, minute: i64) -> Candle {
        let (open, close) = (self.price(symbol, minute), self.price(symbol, minute + 1));
        let reach = self.share(symbol, 60) / 2;
        let point = symbol.point_e9();
        let up = reach * self.chance(symbol, 98, minute).abs() / 1_000 / point * point;
        let down = reach * self.chance(symbol, 99, minute).abs() / 1_000 / point * point;
        let ticks = 60 + self.chance(symbol, 97, minute).unsigned_abs() / 20;
        let (open_ns, close_ns) = (minute * MINUTE_NS, (minute + 1) * MINUTE_NS);
        Candle { open_ns, close_ns, open, high: open.max(close) + up, low: open.min(close) - down, close, ticks }
    }

    /// The true price at the start of a minute.
    fn price(&self, symbol: &Symbol, minute: i64) -> i64 {
        let wave = |length: &i64| {
            let (at, part) = (minute.div_euclid(*length), minute.rem_euclid(*length));
            let (a, b) = (self.chance(symbol, *length, at), self.chance(symbol, *length, at + 1));
            let height = self.share(symbol, 60 * length) / 2;
            height / 1_000 * (a * (length - part) + b * part) / length
        };
        let price = symbol.anchor_e9 + WAVES.iter().map(wave).sum::<i64>();
        let point = symbol.point_e9();
        price.clamp(symbol.anchor_e9 / 2, symbol.anchor_e9.saturating_mul(2)) / point * point
    }

    /// How far the price usually goes in so many seconds, in billionths: with the root of the time.
    fn share(&self, symbol: &Symbol, seconds: i64) -> i64 {
        let ppb = symbol.volatility_ppb * seconds.isqrt() * self.volatility_permille / 1_000;
        i64::try_from(i128::from(symbol.anchor_e9) * i128::from(ppb) / 1_000_000_000).unwrap_or(i64::MAX / 4)
    }

    /// A number from -1,000 to 1,000 that belongs to a place of a wave of a symbol.
    fn chance(&self, symbol: &Symbol, wave: i64, at: i64) -> i64 {
        let mut hash = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        let name = symbol.name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
        for part in [name, wave.unsigned_abs(), at as u64] {
            // The finaliser of SplitMix64.
            hash = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            hash ^= hash >> 31;
        }
        (hash % 2_001) as i64 - 1_000
    }
}

/// Whether a symbol trades: by the clock on which the trading day begins at midnight.
fn is_open(symbol: &Symbol, ns: i64) -> bool {
    if symbol.crypto {
        return true;
    }
    let wall = ns + ServerTime::NewYorkClose.offset_ns(ns);
    let day = wall.div_euclid(DAY_NS);
    let (_, month, of_month) = date_of(day);
    // Day 0 was a Thursday: 2 is a Saturday, 3 a Sunday.
    let weekend = matches!(day.rem_euclid(7), 2 | 3);
    let rests = symbol.name.starts_with("XA") && wall.rem_euclid(DAY_NS) < 60 * MINUTE_NS;
    !weekend && !rests && !matches!((month, of_month), (12, 25) | (1, 1))
}

/// How a venue cuts time into bars, on its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) rule: ServerTime,
    pub(super) length: Length,
}

/// The length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Minutes(i64),
    /// Seven days from the weekday with this number; 0 is Monday.
    Week(i64),
    Month,
}

impl Cut {
    /// The bar that a time lies in: from and to, UTC.
    pub(super) fn around(self, ns: i64) -> (i64, i64) {
        let wall = ns + self.rule.offset_ns(ns);
        let day = wall.div_euclid(DAY_NS);
        let (from, to) = match self.length {
            Length::Minutes(minutes) => {
                let from = wall - wall.rem_euclid(minutes * MINUTE_NS);
                (from, from + minutes * MINUTE_NS)
            }
            Length::Week(first) => {
                let from = day - (day + 3 - first).rem_euclid(7);
                (from * DAY_NS, (from + 7) * DAY_NS)
            }
            Length::Month => {
                let (year, month, _) = date_of(day);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (day_number(year, month, 1) * DAY_NS, day_number(next.0, next.1, 1) * DAY_NS)
            }
        };
        (self.utc(from), self.utc(to))
    }

    fn utc(self, wall: i64) -> i64 {
        let near = wall - self.rule.offset_ns(wall);
        wall - self.rule.offset_ns(near)
    }

    /// The bars that begin in `[from_ns, to_ns)`, in order.
    pub(super) fn bars(self, from_ns: i64, to_ns: i64) -> impl Iterator<Item = (i64, i64)> {
        let first = self.around(from_ns);
        let first = if first.0 < from_ns { self.around(first.1) } else { first };
        // A bar that a change of the clock leaves without length would stop the walk.
        let next = move |bar: &(i64, i64)| Some(self.around(bar.1)).filter(|next| next.0 > bar.0);
        std::iter::successors(Some(first), next).take_while(move |bar| bar.0 < to_ns)
    }
}

/// Counts requests in a window that ends now.
#[derive(Debug)]
pub(super) struct Gate {
    most: usize,
    window: Duration,
    seen: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Answered; so many are in the window with it.
    Admitted(usize),
    /// One too many; so long until there is room again.
    TooMany(Duration),
    /// Again before that time.
    Insists,
}

impl Gate {
    /// `most` requests in any `window`.
    pub(super) fn new(most: usize, window: Duration) -> Gate {
        Gate { most, window, seen: VecDeque::new(), closed_until: None }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if self.closed_until.is_some_and(|until| now < until) {
            return Admission::Insists;
        }
        while self.seen.front().is_some_and(|seen| now.duration_since(*seen) >= self.window) {
            self.seen.pop_front();
        }
        if self.seen.len() < self.most {
            self.seen.push_back(now);
            return Admission::Admitted(self.seen.len());
        }
        // In whole seconds, as venues say it.
        let room = self.seen.front().map_or(self.window, |seen| self.window - now.duration_since(*seen));
        let wait = Duration::from_secs(room.as_nanos().div_ceil(1_000_000_000) as u64);
        self.closed_until = Some(now + wait);
        Admission::TooMany(wait)
    }

    /// Lets nobody in for so long.
    pub(super) fn close_for(&mut self, now: Instant, wait: Duration) {
        self.closed_until = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> i64 {
        i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    #[test]
    fn a_long_bar_is_the_sum_of_its_minutes_and_closes_where_the_next_opens() {
        let (past, symbol) = (Past::new(7, 1_000, vec![]), Symbol::named("EURUSD"));
        let from = at("2024-03-05T10:00:00Z");
        let hour = past.candle(&symbol, from, from + 60 * MINUTE_NS).unwrap();
        let minutes: Vec<Candle> =
            (0..60).map(|m| past.candle(&symbol, from + m * MINUTE_NS, from + (m + 1) * MINUTE_NS).unwrap()).collect();
        assert!(minutes.windows(2).all(|two| two[0].close == two[1].open));
        assert_eq!((hour.open, hour.close), (minutes[0].open, minutes[59].close));
        assert_eq!(hour.high, minutes.iter().map(|m| m.high).max().unwrap());
        assert_eq!(hour.ticks, minutes.iter().map(|m| m.ticks).sum::<u64>());
        assert!(minutes.iter().all(|m| m.low <= m.open.min(m.close) && m.high >= m.open.max(m.close)));
        assert!(hour.high - hour.low < symbol.anchor_e9 / 50, "{hour:?}");
        assert!(hour.high > hour.low && hour.open % symbol.point_e9() == 0);
    }

    #[test]
    fn nothing_is_traded_at_weekends_and_in_holes() {
        let hole = (at("2024-03-05T10:00:00Z"), at("2024-03-05T10:30:00Z"));
        let past = Past::new(7, 1_000, vec![hole]);
        let trades = |name: &str, text: &str| past.trades(&Symbol::named(name), at(text));
        assert!(trades("EURUSD", "2024-03-08T21:59:00Z") && !trades("EURUSD", "2024-03-08T22:00:00Z"));
        // The clock changes in between.
        assert!(!trades("EURUSD", "2024-03-10T20:59:00Z") && trades("EURUSD", "2024-03-10T21:00:00Z"));
        assert!(!trades("XAUUSD", "2024-03-10T21:59:00Z") && trades("XAUUSD", "2024-03-10T22:00:00Z"));
        assert!(trades("BTCUSDT", "2024-03-09T12:00:00Z") && !trades("EURUSD", "2024-03-05T10:29:00Z"));
        assert!(!trades("EURUSD", "2024-12-25T12:00:00Z") && trades("EURUSD", "2024-12-26T12:00:00Z"));
    }

    #[test]
    fn days_weeks_and_months_are_cut_on_the_venues_clock() {
        let cut = |length| Cut { rule: ServerTime::NewYorkClose, length };
        let days: Vec<_> =
            cut(Length::Minutes(1_440)).bars(at("2024-03-08T00:00:00Z"), at("2024-03-12T00:00:00Z")).collect();
        let wanted = ["2024-03-08T22:00:00Z", "2024-03-09T22:00:00Z", "2024-03-10T21:00:00Z", "2024-03-11T21:00:00Z"];
        assert_eq!(days.iter().map(|day| day.0).collect::<Vec<_>>(), wanted.map(at));
        let week = cut(Length::Week(0)).around(at("2024-03-06T12:00:00Z"));
        assert_eq!(week, (at("2024-03-03T22:00:00Z"), at("2024-03-10T21:00:00Z")));
        let month = Cut { rule: ServerTime::Fixed(0), length: Length::Month }.around(at("2024-12-06T12:00:00Z"));
        assert_eq!(month, (at("2024-12-01T00:00:00Z"), at("2025-01-01T00:00:00Z")));
    }

    #[test]
    fn a_gate_counts_in_a_sliding_window_and_remembers_who_insists() {
        let mut gate = Gate::new(2, Duration::from_secs(1));
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        assert_eq!(gate.admit(after(0)), Admission::Admitted(1));
        assert_eq!(gate.admit(after(900)), Admission::Admitted(2));
        assert_eq!(gate.admit(after(950)), Admission::TooMany(Duration::from_secs(1)));
        assert_eq!(gate.admit(after(1_100)), Admission::Insists);
        assert_eq!(gate.admit(after(1_950)), Admission::Admitted(1));
    }
}
