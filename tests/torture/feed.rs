//! A session without a socket: the engine's decisions, and a link that comes and goes as the test says.

use tickwire::feeds::machine::{Machine, Pace, State, Step};
use tickwire::market::Input;
use tickwire_schemas::record::SourceState;
use tickwire_schemas::words::{Cause, SourceStatus};

use super::stages::SECOND;

/// Five seconds to mute, ten more to a new connection.
pub const PACE: Pace = Pace {
    liveness_ns: 5 * SECOND,
    mute_reconnect_ns: 10 * SECOND,
    backoff_min_ns: SECOND / 5,
    backoff_max_ns: 3 * SECOND,
    login_backoff_ns: 60 * SECOND,
    ping_every_ns: Some(2 * SECOND),
    age_max_ns: None,
    overlaps: false,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Down,
    /// Until then.
    Opening(i64),
    Up,
}

pub struct Feed {
    pub machine: Machine,
    pub link: Link,
    /// Connections made.
    pub connects: u32,
    source: u32,
    pub opens_in_ns: i64,
    published: Option<State>,
}

impl Feed {
    /// Of a source whose connections take a while to open.
    pub fn new(source: u32, pace: Pace, seed: u64, opens_in_ns: i64) -> Feed {
        let machine = Machine::new(pace, seed);
        Feed { machine, link: Link::Down, connects: 0, source, opens_in_ns, published: None }
    }

    pub fn status(&self) -> SourceStatus {
        self.machine.state().status
    }

    /// Asks the machine what to do until it waits or reads, as the session does; true when it let go of its connection.
    pub fn step(&mut self, now_ns: i64, is_open: bool, out: &mut impl FnMut(Input)) -> bool {
        let mut left = false;
        loop {
            let step = self.machine.step(now_ns, is_open);
            self.publish(now_ns, out);
            match (step, self.link) {
                (Step::Connect, Link::Down) => self.link = Link::Opening(now_ns + self.opens_in_ns),
                (Step::Connect, Link::Opening(until_ns)) if now_ns >= until_ns => {
                    (self.link, self.connects) = (Link::Up, self.connects + 1);
                    self.machine.connected(now_ns);
                }
                (Step::Disconnect, _) => (self.link, left) = (Link::Down, true),
                (Step::Ping, _) => {}
                (Step::Replace, _) => unreachable!("these connections do not overlap"),
                (Step::Connect | Step::Wait(_) | Step::Read(_), _) => return left,
            }
        }
    }

    /// A price came.
    pub fn data(&mut self, now_ns: i64, out: &mut impl FnMut(Input)) {
        if self.machine.data(now_ns) {
            self.publish(now_ns, out);
        }
    }

    /// The connection broke.
    pub fn failed(&mut self, cause: Cause, now_ns: i64, out: &mut impl FnMut(Input)) {
        self.link = Link::Down;
        self.machine.failed(cause, None, now_ns);
        self.publish(now_ns, out);
    }

    /// The connection was let go for no failure of it.
    pub fn leave(&mut self, cause: Cause, now_ns: i64, out: &mut impl FnMut(Input)) {
        self.link = Link::Down;
        self.machine.leave(now_ns, cause);
        self.publish(now_ns, out);
    }

    fn publish(&mut self, now_ns: i64, out: &mut impl FnMut(Input)) {
        let state = self.machine.state();
        if self.published.replace(state) == Some(state) {
            return;
        }
        let mut record = SourceState {
            ts_recv_ns: now_ns,
            attempt: state.attempt,
            status: state.status.code(),
            cause: state.cause.code(),
            ..SourceState::default()
        };
        record.head.source_id = self.source;
        out(Input::SourceState(record));
    }
}
