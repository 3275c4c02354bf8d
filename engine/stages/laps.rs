//! How long each stage of a group took over one input.

use super::NAMES;
use crate::clock;

/// A stopwatch with a time for each stage. Stages do not read it: the group stops it between them, one clock reading
/// for each stage, some 25 ns that are part of what is measured.
#[derive(Debug, Default)]
pub struct Laps {
    last_ns: i64,
    spent_ns: [u64; NAMES.len()],
}

impl Laps {
    /// Begins to measure, or leaves out what was done since the last lap.
    #[inline]
    pub fn restart(&mut self) {
        self.last_ns = clock::monotonic_ns();
    }

    /// Ends the lap of the group's stage number `at`.
    #[inline]
    pub(super) fn lap(&mut self, at: usize) {
        let now_ns = clock::monotonic_ns();
        self.spent_ns[at] = (now_ns - self.last_ns).max(0) as u64;
        self.last_ns = now_ns;
    }

    /// Nanoseconds that each stage of the group took, in their order.
    #[must_use]
    pub fn spent_ns(&self) -> &[u64] {
        &self.spent_ns
    }
}
