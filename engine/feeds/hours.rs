//! Whether a source's silence is a fault.

use crate::clock;
use crate::market::Calendar;

/// Whether any of the source's markets is open.
pub(super) struct Hours {
    /// None: always open.
    calendars: Vec<Calendar>,
    is_open: bool,
    /// When to ask the calendars again, monotonic: not at every price.
    look_ns: i64,
}

/// How long an answer of the calendars holds, in nanoseconds.
const LOOK_EVERY_NS: i64 = 500_000_000;

impl Hours {
    pub(super) fn new(calendars: Vec<Calendar>) -> Hours {
        Hours { calendars, is_open: true, look_ns: i64::MIN }
    }

    pub(super) fn is_open(&mut self, monotonic_ns: i64) -> bool {
        if monotonic_ns >= self.look_ns && !self.calendars.is_empty() {
            let now_ns = clock::now_ns();
            self.is_open = self.calendars.iter_mut().any(|calendar| calendar.is_open(now_ns));
            self.look_ns = monotonic_ns.saturating_add(LOOK_EVERY_NS);
        }
        self.is_open
    }
}
