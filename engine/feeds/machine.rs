//! When to connect, when to wait, when a source is mute: a pure state machine, driven by events and the time.
//!
//! All times are nanoseconds of one monotonic clock. Randomness comes from a seed. Whether a market is open is told with
//! every question: while none of a source's is, silence is no fault.

use tickwire_schemas::words::{Cause, SourceStatus};

/// The intervals of a session, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// No price on any symbol for this long, with a market open, is mute. Heartbeats do not count.
    pub liveness_ns: i64,
    /// A source that has been mute this long is connected anew.
    pub mute_reconnect_ns: i64,
    /// Bound of the first wait after a failure; doubles with every failure.
    pub backoff_min_ns: i64,
    /// Bound of every wait.
    pub backoff_max_ns: i64,
    /// Wait after refused credentials: accounts are locked by those who insist.
    pub login_backoff_ns: i64,
    /// How often to ping, where the venue wants it.
    pub ping_every_ns: Option<i64>,
    /// Age at which a connection is replaced, where the venue limits it.
    pub age_max_ns: Option<i64>,
    /// Whether it may be replaced while it still delivers: the venue bears two connections for a moment.
    pub overlaps: bool,
}

/// A source's state, as it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The state.
    pub status: SourceStatus,
    /// Why it is so.
    pub cause: Cause,
    /// Connection attempts since the last live state.
    pub attempt: u32,
}

/// What the session is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until this time.
    Wait(i64),
    /// Connect, then report [`Machine::connected`] or [`Machine::failed`].
    Connect,
    /// Read, at most until this time.
    Read(i64),
    /// Send a ping, then ask again.
    Ping,
    /// Let go of the connection, then ask again.
    Disconnect,
    /// Make another connection beside this one, and read on; then report [`Machine::replaced`] or
    /// [`Machine::replace_failed`].
    Replace,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Waiting { until_ns: i64 },
    Connecting,
    Open(Open),
}

/// A connection.
#[derive(Debug, Clone, Copy)]
struct Open {
    since_ns: i64,
    /// Silence counts from here: the last price, or the opening of a market, or the connection.
    quiet_ns: i64,
    priced: bool,
    mute: bool,
    /// At the last look no market was open.
    closed: bool,
    ping_ns: i64,
    end_ns: i64,
    /// Another connection is being made.
    replacing: bool,
    /// Such attempts that failed, in a row.
    replace_failures: u32,
}

/// While the markets are closed the session looks this often whether one has opened.
const CLOSED_LOOK_NS: i64 = 1_000_000_000;

/// The decisions of one session.
#[derive(Debug)]
pub struct Machine {
    pace: Pace,
    phase: Phase,
    state: State,
    // Failures in a row, for the back-off. Unlike `attempt` it survives a live state that did not last.
    failures: u32,
    rng: fastrand::Rng,
}

impl Machine {
    /// A machine that connects at once.
    #[must_use]
    pub fn new(pace: Pace, seed: u64) -> Self {
        Machine {
            pace,
            phase: Phase::Waiting { until_ns: i64::MIN },
            state: State { status: SourceStatus::Connecting, cause: Cause::Start, attempt: 0 },
            failures: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The state to publish.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What to do at `now_ns`; `is_open` is whether any market of the source's instruments is open.
    pub fn step(&mut self, now_ns: i64, is_open: bool) -> Step {
        match self.phase {
            Phase::Waiting { until_ns } if now_ns < until_ns => Step::Wait(until_ns),
            Phase::Waiting { .. } | Phase::Connecting => {
                if matches!(self.phase, Phase::Waiting { .. }) {
                    self.state.attempt = self.state.attempt.saturating_add(1);
                }
                self.phase = Phase::Connecting;
                self.state.status = SourceStatus::Connecting;
                Step::Connect
            }
            Phase::Open(mut open) => {
                let step = self.step_open(&mut open, now_ns, is_open);
                if matches!(self.phase, Phase::Open(_)) {
                    self.phase = Phase::Open(open);
                }
                step
            }
        }
    }

    fn step_open(&mut self, open: &mut Open, now_ns: i64, is_open: bool) -> Step {
        if now_ns >= open.end_ns && !open.replacing {
            if self.pace.overlaps {
                open.replacing = true;
                return Step::Replace;
            }
            self.leave(now_ns, Cause::None);
            return Step::Disconnect;
        }
        let opens = is_open && open.closed;
        open.closed = !is_open;
        if opens {
            open.quiet_ns = open.quiet_ns.max(now_ns);
        }
        let mute_ns = open.quiet_ns.saturating_add(self.pace.liveness_ns);
        let leave_ns = mute_ns.saturating_add(self.pace.mute_reconnect_ns);
        if is_open && now_ns >= leave_ns {
            self.failed(Cause::Mute, None, now_ns);
            return Step::Disconnect;
        }
        if is_open && now_ns >= mute_ns && !open.mute {
            open.mute = true;
            (self.state.status, self.state.cause) = (SourceStatus::Mute, Cause::Mute);
        }
        if !is_open && std::mem::take(&mut open.mute) {
            // The last minutes before a close are often silent: that is not to be held against it until the opening.
            self.state.status = if open.priced { SourceStatus::Live } else { SourceStatus::Connecting };
            self.state.cause = Cause::None;
        }
        if let (true, Some(every_ns)) = (now_ns >= open.ping_ns, self.pace.ping_every_ns) {
            open.ping_ns = now_ns.saturating_add(every_ns);
            return Step::Ping;
        }
        let look_ns = match (is_open, open.mute) {
            (false, _) => now_ns.saturating_add(CLOSED_LOOK_NS),
            (true, true) => leave_ns,
            (true, false) => mute_ns,
        };
        let end_ns = if open.replacing { i64::MAX } else { open.end_ns };
        Step::Read(look_ns.min(open.ping_ns).min(end_ns))
    }

    /// The connection is made and subscribed. It is live with the first price, not before.
    pub fn connected(&mut self, now_ns: i64) {
        let after = |interval: Option<i64>| interval.map_or(i64::MAX, |ns| now_ns.saturating_add(ns));
        self.phase = Phase::Open(Open {
            since_ns: now_ns,
            quiet_ns: now_ns,
            priced: false,
            mute: false,
            closed: false,
            ping_ns: after(self.pace.ping_every_ns),
            end_ns: after(self.pace.age_max_ns),
            replacing: false,
            replace_failures: 0,
        });
    }

    /// The connection is good until this time and no longer: its token expires.
    pub fn expires(&mut self, at_ns: i64) {
        if let Phase::Open(open) = &mut self.phase {
            open.end_ns = open.end_ns.min(at_ns);
        }
    }

    /// Another connection is being made beside this one, for a reason of the session's.
    pub fn replacing(&mut self) {
        if let Phase::Open(open) = &mut self.phase {
            open.replacing = true;
        }
    }

    /// The other connection is the one that is read from now on. Whether prices flow is what it was.
    pub fn replaced(&mut self, now_ns: i64) {
        let Phase::Open(before) = self.phase else { return };
        self.connected(now_ns);
        if let Phase::Open(open) = &mut self.phase {
            let Open { quiet_ns, priced, mute, closed, .. } = before;
            *open = Open { quiet_ns, priced, mute, closed, ..*open };
        }
    }

    /// The other connection was not made, or is no more; this one goes on, and it is tried again.
    pub fn replace_failed(&mut self, retry_after_ns: Option<i64>, now_ns: i64) {
        let Phase::Open(mut open) = self.phase else { return };
        let bound = self.bound_of(open.replace_failures);
        let wait_ns = self.below(bound).max(self.pace.backoff_min_ns).max(retry_after_ns.unwrap_or(0));
        open.replacing = false;
        open.replace_failures = open.replace_failures.saturating_add(1);
        open.end_ns = now_ns.saturating_add(wait_ns);
        self.phase = Phase::Open(open);
    }

    /// A price or trade came. True when that changed the state.
    pub fn data(&mut self, now_ns: i64) -> bool {
        let Phase::Open(open) = &mut self.phase else { return false };
        (open.quiet_ns, open.priced, open.mute) = (now_ns, true, false);
        // A venue that takes every connection, says one price and hangs up must not be asked again and again.
        if self.failures > 0 && now_ns.saturating_sub(open.since_ns) >= self.pace.backoff_max_ns {
            self.failures = 0;
        }
        if self.state.status == SourceStatus::Live {
            return false;
        }
        self.state = State { status: SourceStatus::Live, cause: Cause::None, attempt: 0 };
        true
    }

    /// The connection was not made, or is no more; `retry_after_ns` is what the venue asked for.
    pub fn failed(&mut self, cause: Cause, retry_after_ns: Option<i64>, now_ns: i64) {
        let wait_ns = match cause {
            // Half of it at least: many sources with one password must not come back at one moment.
            Cause::LoginRefused => self.pace.login_backoff_ns - self.below(self.pace.login_backoff_ns / 2),
            _ => self.below(self.bound()),
        };
        self.failures = self.failures.saturating_add(1);
        let wait_ns = wait_ns.max(retry_after_ns.unwrap_or(0));
        self.phase = Phase::Waiting { until_ns: now_ns.saturating_add(wait_ns) };
        (self.state.status, self.state.cause) = (SourceStatus::Down, cause);
    }

    /// The connection ends for no fault of anybody's: connect anew at once, unless the last failures say otherwise.
    pub fn leave(&mut self, now_ns: i64, cause: Cause) {
        let wait_ns = if self.failures == 0 { 0 } else { self.below(self.bound()) };
        // Counted, so that a venue that asks us to leave at every turn is not obeyed in a tight loop.
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting { until_ns: now_ns.saturating_add(wait_ns) };
        (self.state.status, self.state.cause) = (SourceStatus::Down, cause);
    }

    /// The connection ends because something else is wanted of it: connect anew at once.
    pub fn again(&mut self, now_ns: i64) {
        self.phase = Phase::Waiting { until_ns: now_ns };
        (self.state.status, self.state.cause) = (SourceStatus::Down, Cause::None);
    }

    /// Something else is wanted: an attempt that waits is made at once. Failures count on.
    pub fn hurry(&mut self, now_ns: i64) {
        if let Phase::Waiting { until_ns } = &mut self.phase {
            *until_ns = now_ns.min(*until_ns);
        }
    }

    /// Stopped on purpose.
    pub fn stop(&mut self) {
        self.phase = Phase::Waiting { until_ns: i64::MAX };
        (self.state.status, self.state.cause) = (SourceStatus::Stopped, Cause::Stopped);
    }

    /// Bound of the next wait: doubles from the smallest to the largest.
    fn bound(&self) -> i64 {
        self.bound_of(self.failures)
    }

    fn bound_of(&self, failures: u32) -> i64 {
        let factor = 1_i64 << failures.min(40);
        self.pace.backoff_min_ns.saturating_mul(factor).min(self.pace.backoff_max_ns)
    }

    /// Full jitter: anything up to `bound`.
    fn below(&mut self, bound: i64) -> i64 {
        self.rng.i64(0..=bound.max(0))
    }
}

#[cfg(test)]
mod tests;
