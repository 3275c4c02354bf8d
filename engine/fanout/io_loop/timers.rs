//! When whom is due next: one entry for each, which moves only when its time comes nearer.

use std::collections::BTreeSet;
use std::time::Instant;

/// Entries by time. Most deadlines of a connection move away with every packet; an entry stays then, and is looked at
/// once too early, which is cheaper than moving it each time.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(Instant, usize)>);

impl Timers {
    /// Sees to it that `at` is looked at by `due`; `armed` is where its entry stands.
    pub(super) fn arm(&mut self, at: usize, armed: &mut Option<Instant>, due: Option<Instant>) {
        let Some(due) = due else { return };
        if armed.is_some_and(|armed| armed <= due) {
            return;
        }
        self.forget(at, armed);
        self.0.insert((due, at));
        *armed = Some(due);
    }

    /// Takes its entry away.
    pub(super) fn forget(&mut self, at: usize, armed: &mut Option<Instant>) {
        if let Some(armed) = armed.take() {
            self.0.remove(&(armed, at));
        }
    }

    /// Takes the first that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<usize> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, at)| at)
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_moves_only_nearer_and_is_taken_once() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let (mut timers, mut first, mut second) = (Timers::default(), None, None);
        timers.arm(1, &mut first, at(10));
        timers.arm(2, &mut second, at(20));
        timers.arm(1, &mut first, at(30));
        timers.arm(2, &mut second, at(5));
        timers.arm(2, &mut second, None);
        assert_eq!((first, second, timers.first()), (at(10), at(5), at(5)));
        assert_eq!(timers.due(start), None);
        assert_eq!(timers.due(at(10).unwrap()), Some(2));
        timers.forget(1, &mut first);
        assert_eq!((timers.due(at(99).unwrap()), first), (None, None));
    }
}
