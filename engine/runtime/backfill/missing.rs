//! Which bars a venue did not have although the market was open, and in which hours it had no tick. Pure.

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::Timeframe;

use crate::market::{Calendar, Span};

/// Stretches that are named; the others are counted.
const NAMED_MAX: usize = 20;

const MINUTE_NS: i64 = 60_000_000_000;
pub(super) const HOUR_NS: i64 = 60 * MINUTE_NS;

/// Bars (or hours without a tick) in a row that are missing; closed sessions in between do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Opening of the first one.
    pub from_ns: i64,
    /// End of the last one.
    pub to_ns: i64,
    /// How many.
    pub bars: u64,
}

/// What is missing so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Bars.
    pub bars: u64,
    /// Stretches.
    pub holes: u64,
    /// The first of them.
    pub named: Vec<Hole>,
    /// The last bar that there should be is missing: the next one may belong to the same stretch.
    open: bool,
}

impl Missing {
    /// Looks at the times in `[from, to)` of what is there, in their order; pages come in theirs.
    pub fn page(
        &mut self,
        calendar: &mut Calendar,
        timeframe: Timeframe,
        (from_ns, to_ns): (i64, i64),
        times: impl Iterator<Item = i64>,
    ) {
        let mut times = times.peekable();
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            let Some(span) = calendar.interval(timeframe, at_ns) else { return };
            at_ns = span.to_ns;
            // It opens in the page before, or the page ends where none begins.
            if span.from_ns < from_ns || !is_open(calendar, span) {
                continue;
            }
            while times.next_if(|at_ns| *at_ns < span.from_ns).is_some() {}
            let there = times.next_if(|at_ns| span.contains(*at_ns)).is_some();
            self.expected(span, there);
        }
    }

    fn expected(&mut self, span: Span, there: bool) {
        let begins = !std::mem::replace(&mut self.open, !there);
        if there {
            return;
        }
        self.bars += 1;
        if begins {
            self.holes += 1;
            if self.named.len() < NAMED_MAX {
                self.named.push(Hole { from_ns: span.from_ns, to_ns: span.to_ns, bars: 1 });
            }
        } else if self.holes == self.named.len() as u64
            && let Some(hole) = self.named.last_mut()
        {
            hole.to_ns = span.to_ns;
            hole.bars += 1;
        }
    }
}

fn is_open(calendar: &mut Calendar, span: Span) -> bool {
    is_open_in(calendar, span.from_ns, span.to_ns)
}

/// Whether the market is open in any minute from and to.
pub(super) fn is_open_in(calendar: &mut Calendar, from_ns: i64, to_ns: i64) -> bool {
    let mut at_ns = from_ns;
    while at_ns < to_ns {
        if calendar.is_open(at_ns) {
            return true;
        }
        at_ns += MINUTE_NS;
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::{Class, Holidays};

    fn at(text: &str) -> i64 {
        i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    fn bars(timeframe: Timeframe, calendar: &mut Calendar, from_ns: i64, to_ns: i64, without: &[&str]) -> Vec<i64> {
        let without: Vec<i64> = without.iter().map(|text| at(text)).collect();
        let mut found = Vec::new();
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            let span = calendar.interval(timeframe, at_ns).unwrap();
            if is_open(calendar, span) && !without.contains(&span.from_ns) {
                found.push(span.from_ns);
            }
            at_ns = span.to_ns;
        }
        found
    }

    #[test]
    fn a_weekend_is_no_hole_and_a_hole_goes_on_behind_it_and_behind_a_page() {
        let mut calendar = Calendar::new(Class::Fx, &Holidays::default()).unwrap();
        let (from_ns, to_ns) = (at("2024-03-07T00:00:00Z"), at("2024-03-12T00:00:00Z"));
        // The last hour of the week, the first two of the next, and one by itself.
        let without = ["2024-03-08T21:00:00Z", "2024-03-10T21:00:00Z", "2024-03-10T22:00:00Z", "2024-03-11T12:00:00Z"];
        let all = bars(Timeframe::H1, &mut calendar, from_ns, to_ns, &without);
        let mut whole = Missing::default();
        whole.page(&mut calendar, Timeframe::H1, (from_ns, to_ns), all.iter().copied());
        let hole = |from: &str, to: &str, bars| Hole { from_ns: at(from), to_ns: at(to), bars };
        let named = [
            hole("2024-03-08T21:00:00Z", "2024-03-10T23:00:00Z", 3),
            hole("2024-03-11T12:00:00Z", "2024-03-11T13:00:00Z", 1),
        ];
        assert_eq!((whole.bars, whole.holes, &whole.named[..]), (4, 2, &named[..]));
        // Pages of any length say the same.
        for hours in [1, 7, 30] {
            let mut paged = Missing::default();
            let mut at_ns = from_ns;
            while at_ns < to_ns {
                let end_ns = (at_ns + hours * 60 * MINUTE_NS).min(to_ns);
                let some = all.iter().filter(|opens_ns| (at_ns..end_ns).contains(*opens_ns)).copied();
                paged.page(&mut calendar, Timeframe::H1, (at_ns, end_ns), some);
                at_ns = end_ns;
            }
            assert_eq!(paged, whole, "{hours} hours a page");
        }
    }

    #[test]
    fn hours_without_a_tick_are_missing_and_one_tick_is_enough() {
        let mut calendar = Calendar::new(Class::Crypto, &Holidays::default()).unwrap();
        let from_ns = at("2024-03-07T00:00:00Z");
        // Many in the first hour, one in the last nanosecond of the third, none in the second and fourth.
        let times = (0..500).map(|n| from_ns + n * 1_000_000).chain([from_ns + 3 * HOUR_NS - 1]);
        let mut missing = Missing::default();
        missing.page(&mut calendar, Timeframe::H1, (from_ns, from_ns + 4 * HOUR_NS), times);
        assert_eq!((missing.bars, missing.holes), (2, 2));
        assert_eq!(missing.named[0].from_ns, from_ns + HOUR_NS);
    }

    #[test]
    fn beyond_twenty_stretches_are_counted_alone() {
        let mut calendar = Calendar::new(Class::Crypto, &Holidays::default()).unwrap();
        let from_ns = at("2024-03-07T00:00:00Z");
        let every_other = (0..30).map(|n| from_ns + 2 * n * MINUTE_NS);
        let mut missing = Missing::default();
        missing.page(&mut calendar, Timeframe::M1, (from_ns, from_ns + 60 * MINUTE_NS), every_other);
        assert_eq!((missing.bars, missing.holes, missing.named.len()), (30, 30, 20));
        assert!(missing.named.iter().all(|hole| hole.bars == 1));
    }
}
