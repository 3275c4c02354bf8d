//! What is published: quotes of ten symbols in turn, each stamped with the time at which it was *meant* to be sent.

use std::num::NonZeroU64;
use std::time::Duration;

use tickwire::clock::now_ns;
use tickwire_schemas::record::{Head, Quote};

pub const SYMBOLS: u32 = 10;
pub const EPOCH: u32 = 1;

/// Quotes in the order in which they are due.
pub struct Schedule {
    interval_ns: i64,
    /// Whether the time between two is the same each time, or random: exponential, as of events that know nothing of each
    /// other.
    even: bool,
    next_ns: i64,
    seq: u64,
}

impl Schedule {
    /// `rate` quotes a second, from now on.
    pub fn new(rate: u64) -> Schedule {
        Schedule::with_gaps(rate, true)
    }

    /// As many on average, each the same time after the last or not.
    pub fn with_gaps(rate: u64, even: bool) -> Schedule {
        // Sleeps end on time: the kernel's habit is 50 us later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Schedule { interval_ns: 1_000_000_000 / rate.max(1) as i64, even, next_ns: now_ns(), seq: 0 }
    }

    /// Sleeps until the next is due.
    pub fn wait(&self) {
        if let Ok(wait @ 1..) = u64::try_from(self.next_ns - now_ns()) {
            std::thread::sleep(Duration::from_nanos(wait));
        }
    }

    /// The next quote if it is due, however late we are: its stamp is when it was due.
    pub fn next_due(&mut self) -> Option<Quote> {
        if self.next_ns > now_ns() {
            return None;
        }
        let instrument_id = (self.seq % u64::from(SYMBOLS)) as u32 + 1;
        let chain = self.seq / u64::from(SYMBOLS) + 1;
        self.seq += 1;
        let head =
            Head { epoch: EPOCH, seq: self.seq, chain, source_id: 0, instrument_id, ts_publish_ns: self.next_ns };
        let step = (self.seq % 1000) as i64 * 1000;
        let quote = Quote {
            head,
            ts_event_ns: self.next_ns,
            ts_recv_ns: self.next_ns,
            bid_e9: 1_085_100_000 + step,
            ask_e9: 1_085_200_000 + step,
            bid_size_e8: 100_000_000,
            ask_size_e8: 200_000_000,
            bid_source_id: 1,
            ask_source_id: 1,
            sources: 2,
            state: 0,
            flags: 0,
        };
        let gaps = if self.even { 1.0 } else { -(1.0 - fastrand::f64()).ln() };
        self.next_ns += (self.interval_ns as f64 * gaps) as i64;
        Some(quote)
    }
}
