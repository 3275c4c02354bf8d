//! Timers of many connections, in steps of a millisecond: setting one costs the same with one as with ten thousand.

use std::time::{Duration, Instant};

/// Milliseconds ahead that are told apart; a later timer is looked at again at the end of that.
const SLOTS: usize = 512;

/// When timers of numbered things are due. A timer may come early, never late by more than a step: who is told looks at
/// its own deadline.
#[derive(Debug)]
pub(super) struct Wheel {
    start: Instant,
    /// The step that was taken last.
    step: u64,
    slots: Vec<Vec<u32>>,
}

impl Wheel {
    pub(super) fn new(start: Instant) -> Wheel {
        Wheel { start, step: 0, slots: vec![Vec::new(); SLOTS] }
    }

    /// The step in which a timer would come.
    pub(super) fn step_of(&self, deadline: Instant) -> u64 {
        let wanted = deadline.saturating_duration_since(self.start).as_micros().div_ceil(1000) as u64;
        wanted.clamp(self.step + 1, self.step + SLOTS as u64 - 1)
    }

    /// Sets a timer and says in which step it comes.
    pub(super) fn set(&mut self, id: u32, deadline: Instant) -> u64 {
        let step = self.step_of(deadline);
        self.slots[step as usize % SLOTS].push(id);
        step
    }

    /// Goes on to `now` and hands over what is due, with the step it was set for.
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<(u32, u64)>) {
        let until = now.saturating_duration_since(self.start).as_millis() as u64;
        while self.step < until {
            self.step += 1;
            let step = self.step;
            due.extend(self.slots[step as usize % SLOTS].drain(..).map(|id| (id, step)));
        }
    }

    /// How long nothing is due, at most `longest`.
    pub(super) fn idle(&self, now: Instant, longest: Duration) -> Duration {
        let elapsed = now.saturating_duration_since(self.start);
        let ahead = (1..SLOTS as u64).find(|ahead| !self.slots[(self.step + ahead) as usize % SLOTS].is_empty());
        let next = ahead.map(|ahead| Duration::from_millis(self.step + ahead).saturating_sub(elapsed));
        next.map_or(longest, |next| next.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_comes_in_its_millisecond_and_no_other() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut wheel = Wheel::new(start);
        let mut due = Vec::new();
        assert_eq!(wheel.set(7, at(3)), 3);
        assert_eq!(wheel.set(8, at(100)), 100);
        // Already past: at the next step. Too far: as far as it goes, to be looked at again.
        assert_eq!(wheel.set(9, start), 1);
        assert_eq!(wheel.set(6, at(10_000)), SLOTS as u64 - 1);
        assert_eq!(wheel.idle(start, Duration::from_secs(1)), Duration::from_millis(1));
        wheel.advance(at(2), &mut due);
        assert_eq!(due, [(9, 1)]);
        assert_eq!(wheel.idle(at(2), Duration::from_secs(1)), Duration::from_millis(1));
        due.clear();
        wheel.advance(at(99), &mut due);
        assert_eq!(due, [(7, 3)]);
        wheel.advance(at(5_000), &mut due);
        assert_eq!(due, [(7, 3), (8, 100), (6, 511)]);
        assert_eq!(wheel.idle(at(5_000), Duration::from_millis(64)), Duration::from_millis(64));
    }
}
