//! Which bars a venue did not have although the market was open. Pure.

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::Bar;
use tickwire_schemas::words::Timeframe;

use crate::market::{Calendar, Span};

/// Stretches that are named; the others are counted.
const NAMED_MAX: usize = 20;

const MINUTE_NS: i64 = 60_000_000_000;

/// Bars in a row that are missing; closed sessions in between do not count.
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
    /// Looks at the bars that open in `[from, to)`, in their order; pages come in theirs.
    pub fn page(&mut self, calendar: &mut Calendar, timeframe: Timeframe, (from_ns, to_ns): (i64, i64), bars: &[Bar]) {
        let mut bars = bars.iter().map(|bar| bar.open_ts_ns).peekable();
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            let Some(span) = calendar.interval(timeframe, at_ns) else { return };
            at_ns = span.to_ns;
            // It opens in the page before, or the page ends where none begins.
            if span.from_ns < from_ns || !is_open(calendar, span) {
                continue;
            }
            while bars.next_if(|open_ns| *open_ns < span.from_ns).is_some() {}
            let there = bars.next_if(|open_ns| span.contains(*open_ns)).is_some();
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

/// Whether the market is open in any minute of it.
fn is_open(calendar: &mut Calendar, span: Span) -> bool {
    let mut at_ns = span.from_ns;
    while at_ns < span.to_ns {
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

    fn bars(timeframe: Timeframe, calendar: &mut Calendar, from_ns: i64, to_ns: i64, without: &[&str]) -> Vec<Bar> {
        let without: Vec<i64> = without.iter().map(|text| at(text)).collect();
        let mut found = Vec::new();
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            let span = calendar.interval(timeframe, at_ns).unwrap();
            if is_open(calendar, span) && !without.contains(&span.from_ns) {
                found.push(Bar { open_ts_ns: span.from_ns, ..Bar::default() });
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
        whole.page(&mut calendar, Timeframe::H1, (from_ns, to_ns), &all);
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
                let some: Vec<Bar> = all.iter().filter(|b| (at_ns..end_ns).contains(&b.open_ts_ns)).copied().collect();
                paged.page(&mut calendar, Timeframe::H1, (at_ns, end_ns), &some);
                at_ns = end_ns;
            }
            assert_eq!(paged, whole, "{hours} hours a page");
        }
    }

    #[test]
    fn beyond_twenty_stretches_are_counted_alone() {
        let mut calendar = Calendar::new(Class::Crypto, &Holidays::default()).unwrap();
        let from_ns = at("2024-03-07T00:00:00Z");
        let every_other: Vec<Bar> =
            (0..30).map(|n| Bar { open_ts_ns: from_ns + 2 * n * MINUTE_NS, ..Bar::default() }).collect();
        let mut missing = Missing::default();
        missing.page(&mut calendar, Timeframe::M1, (from_ns, from_ns + 60 * MINUTE_NS), &every_other);
        assert_eq!((missing.bars, missing.holes, missing.named.len()), (30, 30, 20));
        assert!(missing.named.iter().all(|hole| hole.bars == 1));
    }
}
