//! The mid price of the last ten minutes, a point for each ten seconds.

use std::collections::VecDeque;

use crate::market::Price;

/// Nanoseconds from one point to the next.
const STEP_NS: i64 = 10_000_000_000;

/// Points: ten minutes.
const POINTS: i64 = 60;

/// The last mid of each step in which there was one.
#[derive(Debug, Default)]
pub(super) struct Sparkline(VecDeque<(i64, i64)>);

impl Sparkline {
    /// A price with both sides.
    pub(super) fn push(&mut self, at_ns: i64, bid_e9: i64, ask_e9: i64) {
        let (step, mid) = (at_ns.div_euclid(STEP_NS), mid_e9(bid_e9, ask_e9));
        match self.0.back_mut() {
            Some((known, last)) if *known >= step => *last = mid,
            _ => self.0.push_back((step, mid)),
        }
        // One from before the first point shows what was so then.
        while self.0.get(1).is_some_and(|(next, _)| *next <= step - POINTS + 1) {
            self.0.pop_front();
        }
    }

    /// A point for each step up to now, oldest first, from the first price on: a step without one is as the one before.
    pub(super) fn points(&self, now_ns: i64) -> Vec<Price> {
        let last = now_ns.div_euclid(STEP_NS);
        let mut points = Vec::with_capacity(POINTS as usize);
        let mut known = self.0.iter().peekable();
        let mut mid = None;
        for step in last - POINTS + 1..=last {
            while let Some((_, next)) = known.next_if(|(at, _)| *at <= step) {
                mid = Price::from_e9(*next);
            }
            points.extend(mid);
        }
        points
    }
}

/// Half even at 1e-9, as bars have it.
fn mid_e9(bid_e9: i64, ask_e9: i64) -> i64 {
    let sum = i128::from(bid_e9) + i128::from(ask_e9);
    let half = sum.div_euclid(2);
    let odd = sum.rem_euclid(2) != 0 && half.rem_euclid(2) != 0;
    i64::try_from(half + i128::from(odd)).unwrap_or(bid_e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e9(line: &Sparkline, now_s: i64) -> Vec<i64> {
        line.points(now_s * 1_000_000_000).iter().map(|price| price.e9()).collect()
    }

    #[test]
    fn each_step_has_its_last_mid_and_a_quiet_one_that_before() {
        let mut line = Sparkline::default();
        assert!(e9(&line, 100).is_empty());
        for (at_s, mid) in [(100, 10), (101, 20), (109, 30), (130, 40)] {
            line.push(at_s * 1_000_000_000, mid - 1, mid + 1);
        }
        assert_eq!(e9(&line, 145), [30, 30, 30, 40, 40]);
    }

    #[test]
    fn what_is_kept_has_an_end_and_the_first_point_is_as_it_was() {
        let mut line = Sparkline::default();
        line.push(5_000_000_000, 7, 7);
        for step in 50..1_000 {
            line.push(step * STEP_NS, step, step);
            assert!(line.0.len() <= POINTS as usize + 1);
        }
        let points = e9(&line, 9_999);
        assert_eq!((points.len(), points[0], points[59]), (60, 940, 999));
        assert_eq!(e9(&line, 30_000), [999; 60], "nothing since");
    }

    #[test]
    fn mids_are_rounded_to_even() {
        let halves = [(1, 2, 2), (2, 3, 2), (-1, 0, 0), (-2, -1, -2), (1, 1, 1), (i64::MAX, i64::MAX, i64::MAX)];
        for (bid, ask, mid) in halves {
            assert_eq!(mid_e9(bid, ask), mid, "{bid} {ask}");
        }
    }
}
