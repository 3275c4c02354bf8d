//! How many may come in, counted over all threads of a fan-out.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Connections being refused at one time with a reason; more are refused without one.
const REFUSALS_MAX: usize = 64;

/// Places of which there are only so many.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: AtomicUsize,
}

impl Places {
    fn new(most: usize) -> Places {
        Places { most, taken: AtomicUsize::new(0) }
    }

    /// Takes one, where one is free.
    pub(super) fn take(&self) -> bool {
        self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < self.most).then_some(taken + 1)).is_ok()
    }

    /// Gives one back.
    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }
}

/// What the threads ask before they let somebody in.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) connections: Places,
    pub(super) refusals: Places,
    admissions: AtomicU64,
}

impl Doors {
    pub(super) fn new(max_terminals: usize) -> Doors {
        let (connections, refusals) = (Places::new(max_terminals), Places::new(REFUSALS_MAX));
        Doors { connections, refusals, admissions: AtomicU64::new(0) }
    }

    /// The number of the next terminal that is admitted, from 1.
    pub(super) fn next_terminal(&self) -> u64 {
        self.admissions.fetch_add(1, Relaxed) + 1
    }
}
