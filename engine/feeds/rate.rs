//! How fast a host may be asked. Pure: it is told the time.
//!
//! Venues count the requests of an address in a window (120 in a second, 6,000 in a minute). A bucket that lets a quarter of
//! that through at once and spreads the other three quarters over the window never has more than all of it in any window,
//! wherever the venue's windows begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a host allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests that may follow each other at once, at least 1.
    burst: u32,
    /// Nanoseconds after which one more is allowed.
    every_ns: i64,
}

impl Rate {
    /// What stays within `most` requests in any window of this length. Both must be more than zero; where only one to
    /// three are allowed, it is one and the window is spread over what is left, at least one.
    #[must_use]
    pub fn within(most: u32, window: Duration) -> Rate {
        let burst = (most / 4).max(1);
        let spread = most.saturating_sub(burst).max(1);
        let window_ns = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
        Rate { burst, every_ns: (window_ns / i64::from(spread)).max(1) }
    }
}

/// What is left of a rate. Kept as the time at which it will be whole again, so that nothing has to be refilled.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    whole_ns: i64,
    held_until_ns: i64,
}

/// A bucket for each host, shared by whoever asks it.
#[derive(Debug, Default)]
pub struct Hosts(BTreeMap<String, Bucket>);

impl Hosts {
    /// Takes one request to `host` at `now_ns`, of any clock that only goes forward. Returns 0 when it may be sent, else
    /// the nanoseconds after which to ask again; then nothing was taken.
    pub fn take(&mut self, host: &str, rate: Rate, now_ns: i64) -> i64 {
        let bucket = self.bucket(host);
        let held_ns = bucket.held_until_ns.saturating_sub(now_ns);
        if held_ns > 0 {
            return held_ns;
        }
        let whole_ns = bucket.whole_ns.max(now_ns).saturating_add(rate.every_ns);
        let ahead_ns = whole_ns.saturating_sub(now_ns).saturating_sub(rate.every_ns.saturating_mul(rate.burst.into()));
        if ahead_ns > 0 {
            return ahead_ns;
        }
        bucket.whole_ns = whole_ns;
        0
    }

    /// Asks `host` nothing before `until_ns`: it said so (`Retry-After`), or failed.
    pub fn hold(&mut self, host: &str, until_ns: i64) {
        let bucket = self.bucket(host);
        bucket.held_until_ns = bucket.held_until_ns.max(until_ns);
    }

    fn bucket(&mut self, host: &str) -> &mut Bucket {
        self.0.entry(host.to_string()).or_insert(Bucket { whole_ns: i64::MIN, held_until_ns: i64::MIN })
    }
}

/// The buckets of a process, for whoever asks a host from whatever thread.
#[derive(Debug, Clone, Default)]
pub struct SharedHosts(Arc<Mutex<Hosts>>);

impl SharedHosts {
    /// See [`Hosts::take`].
    pub fn take(&self, host: &str, rate: Rate, now_ns: i64) -> i64 {
        self.lock().take(host, rate, now_ns)
    }

    /// See [`Hosts::hold`].
    pub fn hold(&self, host: &str, until_ns: i64) {
        self.lock().hold(host, until_ns);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Hosts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SECOND_NS: i64 = 1_000_000_000;

    /// When requests leave that are made as soon as they may be.
    fn departures(hosts: &mut Hosts, rate: Rate, mut now_ns: i64, count: usize) -> Vec<i64> {
        let mut left = Vec::new();
        while left.len() < count {
            match hosts.take("a", rate, now_ns) {
                0 => left.push(now_ns),
                wait_ns => now_ns += wait_ns,
            }
        }
        left
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_is_allowed(
            most in 2_u32..200, start_ns in 0_i64..SECOND_NS, pauses in proptest::collection::vec(0_i64..3 * SECOND_NS, 1..5),
        ) {
            let (mut hosts, rate) = (Hosts::default(), Rate::within(most, SECOND));
            let mut left = vec![];
            let mut now_ns = start_ns;
            for pause_ns in pauses {
                left.extend(departures(&mut hosts, rate, now_ns, most as usize));
                now_ns = left.last().copied().unwrap_or(now_ns) + pause_ns;
            }
            for (at, from_ns) in left.iter().enumerate() {
                let within = left[at..].iter().take_while(|ns| **ns < from_ns + SECOND_NS).count();
                prop_assert!(within <= most as usize, "{within} of {most}");
            }
        }
    }

    #[test]
    fn a_quarter_goes_at_once_and_the_rest_is_spread() {
        let left = departures(&mut Hosts::default(), Rate::within(120, SECOND), 7, 120);
        assert_eq!(left.iter().filter(|ns| **ns == 7).count(), 30);
        assert!(left[119] <= 7 + SECOND_NS, "all of them within the second: {}", left[119]);
    }

    #[test]
    fn a_host_that_asked_to_wait_is_left_alone_and_the_others_are_not() {
        let (mut hosts, rate) = (Hosts::default(), Rate::within(120, SECOND));
        hosts.hold("a", 5 * SECOND_NS);
        hosts.hold("a", 2 * SECOND_NS);
        assert_eq!(hosts.take("a", rate, SECOND_NS), 4 * SECOND_NS);
        assert_eq!(hosts.take("b", rate, SECOND_NS), 0);
        assert_eq!(hosts.take("a", rate, 5 * SECOND_NS), 0);
    }

    #[test]
    fn one_request_a_minute_is_one_request_a_minute() {
        let left = departures(&mut Hosts::default(), Rate::within(1, 60 * SECOND), 0, 3);
        assert_eq!(left, [0, 60 * SECOND_NS, 120 * SECOND_NS]);
    }
}
