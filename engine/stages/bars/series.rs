//! The bars of one source (or the composite) and instrument, in all timeframes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::{BarState, Timeframe};

use super::candle::{Candle, Update};
use crate::market::Calendar;

/// How bars are closed and kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// How long after its end the clock closes a bar.
    pub(super) close_delay_ns: i64,
    /// How long after its end a bar is still revised.
    pub(super) lateness_ns: i64,
}

/// Where closed, revised and forming bars go.
pub(super) type Publish<'a> = dyn FnMut(Timeframe, &Candle, BarState) + 'a;

/// The timeframes made of minutes, and those minutes' own first.
const MINUTES: usize = 0;
const COUNT: usize = Timeframe::ALL.len();

/// Room for closed bars that is made at the first tick: with the default lateness of a minute two minutes and one bar of
/// each longer timeframe are kept at most.
const CLOSED: usize = 16;

/// Repaired bars of which the revision is remembered: those of a few holes, which a venue may be asked for again.
const REPAIRED_MAX: usize = 128;

/// The bars of one source and instrument.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Series {
    /// What forms, by timeframe. Longer ones hold closed minutes only.
    forming: [Option<Candle>; COUNT],
    /// Trades of a minute later than the one that forms. They wait for its first price: a venue's stamps may be ahead of the
    /// clock that its prices go by, and a minute that trades closed would be revised by each price that follows.
    ahead: Option<Candle>,
    /// Closed bars that late ticks may still revise, oldest first, with the number of their timeframe.
    closed: VecDeque<(u8, Candle)>,
    /// Every interval that ends at or before this is closed, or was empty.
    closed_ns: i64,
    changed: bool,
    /// The last repaired bars, oldest first: timeframe, basis, opening and revision of each.
    repaired: VecDeque<(u8, u8, i64, u16)>,
}

impl Series {
    /// Takes an update of the minute that forms: almost all are. False for any other.
    #[inline]
    pub(super) fn absorb(&mut self, update: &Update) -> bool {
        match &mut self.forming[MINUTES] {
            Some(minute) if minute.contains(update.ts_ns) => {
                minute.absorb(update);
                self.changed = true;
                true
            }
            _ => false,
        }
    }

    /// Takes any update. False when it came too late, or at a time that no calendar knows.
    pub(super) fn take(
        &mut self,
        update: &Update,
        now_ns: i64,
        timing: &Timing,
        calendar: &mut Calendar,
        publish: &mut Publish<'_>,
    ) -> bool {
        let Some(minute) = calendar.interval(Timeframe::M1, update.ts_ns) else { return false };
        self.changed = true;
        if update.ts_ns < self.closed_ns {
            // Against the clock and not against this series' own progress: a tick far ahead must not make others late.
            if minute.to_ns.saturating_add(timing.lateness_ns) < now_ns {
                return false;
            }
            self.revise(update, calendar, publish);
            return true;
        }
        let span = (minute.from_ns, minute.to_ns);
        if update.is_volume() && self.waits(span) {
            self.ahead.get_or_insert(Candle::new(span)).absorb(update);
            return true;
        }
        if self.closed.capacity() == 0 {
            self.closed.reserve(CLOSED);
        }
        self.close_until(minute.from_ns, calendar, publish);
        self.forget(now_ns, timing);
        let mut candle = self.ahead.take_if(|ahead| ahead.span == span).unwrap_or(Candle::new(span));
        candle.absorb(update);
        self.forming[MINUTES] = Some(candle);
        true
    }

    /// Whether trades of this minute wait: none do, or these already.
    fn waits(&self, span: (i64, i64)) -> bool {
        self.ahead.is_none_or(|ahead| ahead.span == span)
    }

    /// Closes every bar that ends at or before `until_ns`.
    pub(super) fn close_until(&mut self, until_ns: i64, calendar: &mut Calendar, publish: &mut Publish<'_>) {
        if let Some(minute) = self.forming[MINUTES].take_if(|minute| minute.span.1 <= until_ns) {
            self.changed = true;
            // First what ended before this minute began, so that longer bars come out in the order of their ends.
            self.close_longer(minute.span.0, publish);
            publish(Timeframe::M1, &minute, BarState::Final);
            self.closed.push_back((MINUTES as u8, minute));
            for (at, timeframe) in Timeframe::ALL.iter().enumerate().skip(1) {
                if let Some(candle) = part_of(&mut self.forming[at], *timeframe, minute.span.0, calendar) {
                    candle.merge(&minute);
                }
            }
        }
        if let Some(ahead) = self.ahead.take_if(|ahead| ahead.span.1 <= until_ns) {
            // Its prices never came.
            self.forming[MINUTES] = Some(ahead);
            return self.close_until(until_ns, calendar, publish);
        }
        self.close_longer(until_ns, publish);
        self.closed_ns = self.closed_ns.max(until_ns);
    }

    fn close_longer(&mut self, until_ns: i64, publish: &mut Publish<'_>) {
        for (at, timeframe) in Timeframe::ALL.iter().enumerate().skip(1) {
            if let Some(candle) = self.forming[at].take_if(|candle| candle.span.1 <= until_ns) {
                self.changed = true;
                publish(*timeframe, &candle, BarState::Final);
                self.closed.push_back((at as u8, candle));
            }
        }
    }

    /// Takes an update of a minute that is closed into every bar that holds it.
    fn revise(&mut self, update: &Update, calendar: &mut Calendar, publish: &mut Publish<'_>) {
        for (at, timeframe) in Timeframe::ALL.iter().enumerate() {
            let closed = self.closed.iter_mut().find(|(of, bar)| usize::from(*of) == at && bar.contains(update.ts_ns));
            if let Some((_, candle)) = closed {
                candle.absorb(update);
                candle.revision = candle.revision.saturating_add(1);
                publish(*timeframe, candle, BarState::Revised);
                continue;
            }
            let Some(span) = calendar.interval(*timeframe, update.ts_ns) else { continue };
            if at != MINUTES && span.to_ns > self.closed_ns {
                if let Some(candle) = part_of(&mut self.forming[at], *timeframe, update.ts_ns, calendar) {
                    candle.absorb(update);
                }
                continue;
            }
            // The interval was empty so far.
            let mut candle = Candle::new((span.from_ns, span.to_ns));
            candle.absorb(update);
            publish(*timeframe, &candle, BarState::Final);
            self.closed.push_back((at as u8, candle));
        }
    }

    /// Remembers a repaired bar and gives its revision: one more than that of our own bar and of the last repair.
    pub(super) fn repair(&mut self, timeframe: u8, basis: u8, open_ns: i64) -> u16 {
        let own = self.closed.iter().filter(|(at, bar)| at + 1 == timeframe && bar.span.0 == open_ns);
        let own = own.map(|(_, bar)| bar.revision).max().unwrap_or(0);
        let is_same = |(of, on, open, _): &&mut (u8, u8, i64, u16)| (*of, *on, *open) == (timeframe, basis, open_ns);
        if let Some((.., before)) = self.repaired.iter_mut().rev().find(is_same) {
            *before = own.max(*before).saturating_add(1);
            return *before;
        }
        let revision = own.saturating_add(1);
        if self.repaired.len() == REPAIRED_MAX {
            self.repaired.pop_front();
        } else if self.repaired.capacity() == 0 {
            self.repaired.reserve_exact(REPAIRED_MAX);
        }
        self.repaired.push_back((timeframe, basis, open_ns, revision));
        revision
    }

    /// Lets go of closed bars that nothing will revise any more.
    pub(super) fn forget(&mut self, now_ns: i64, timing: &Timing) {
        let is_over = |(_, candle): &(u8, Candle)| candle.span.1.saturating_add(timing.lateness_ns) < now_ns;
        // Bars close in the order of their ends, but for those of intervals that were empty until a late tick came.
        while self.closed.front().is_some_and(is_over) {
            self.closed.pop_front();
        }
        if self.closed.iter().any(is_over) {
            self.closed.retain(|closed| !is_over(closed));
        }
    }

    /// Whether anything changed since [`Series::forming`] was last asked.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        let forming = self.forming.iter().chain([&self.ahead]).any(Option::is_some);
        !forming && self.closed.is_empty() && self.repaired.is_empty()
    }

    /// Says that the clock had closed everything up to here: what a series without bars does not save.
    pub(super) fn closed_until(&mut self, swept_ns: i64) {
        self.closed_ns = self.closed_ns.max(swept_ns);
    }

    /// Hands out what forms as it would be if it ended now.
    pub(super) fn forming(&mut self, calendar: &mut Calendar, publish: &mut Publish<'_>) {
        self.changed = false;
        let minute = self.forming[MINUTES];
        if let Some(minute) = &minute {
            publish(Timeframe::M1, minute, BarState::Provisional);
        }
        for (at, timeframe) in Timeframe::ALL.iter().enumerate().skip(1) {
            let mut forming = self.forming[at];
            if let Some(minute) = &minute
                && let Some(candle) = part_of(&mut forming, *timeframe, minute.span.0, calendar)
            {
                candle.merge(minute);
            }
            if let Some(candle) = &forming {
                publish(*timeframe, candle, BarState::Provisional);
            }
        }
    }
}

/// The bar that holds `ns`: the one that forms, or a new one. A bar that forms and does not hold it has ended and is
/// closed before this is asked.
fn part_of<'a>(
    forming: &'a mut Option<Candle>,
    timeframe: Timeframe,
    ns: i64,
    calendar: &mut Calendar,
) -> Option<&'a mut Candle> {
    if forming.is_none_or(|candle| !candle.contains(ns)) {
        let span = calendar.interval(timeframe, ns)?;
        *forming = Some(Candle::new((span.from_ns, span.to_ns)));
    }
    forming.as_mut()
}
