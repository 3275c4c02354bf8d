//! Polling a ring on a thread of our own, and what to do when there is nothing.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use disruptor::{EventPoller, MultiProducerBarrier, Polling, SingleConsumerBarrier, SingleProducerBarrier};
use serde::Deserialize;

use super::{Doorbell, Drained};
use crate::metrics;

/// A ring's consumer side, whatever it depends on.
pub trait Poll<E>: Send + 'static {
    /// Hands at most `limit` events to `each`. The slots are given back when it returns.
    fn poll_some(&mut self, limit: usize, each: &mut impl FnMut(&E)) -> Drained;

    /// Whether there is an event.
    fn has_events(&self) -> bool;
}

macro_rules! poll_over {
    ($($barrier:ty),*) => {$(
        impl<E: Send + Sync + 'static> Poll<E> for EventPoller<E, $barrier> {
            fn poll_some(&mut self, limit: usize, each: &mut impl FnMut(&E)) -> Drained {
                match self.take(limit as u64) {
                    Ok(mut events) => {
                        let count = (&mut events).len();
                        (&mut events).for_each(each);
                        Drained::Records(count)
                    }
                    Err(Polling::NoEvents) => Drained::Empty,
                    Err(Polling::Shutdown) => Drained::Shutdown,
                }
            }

            fn has_events(&self) -> bool {
                self.has_available()
            }
        }
    )*};
}
poll_over!(SingleProducerBarrier, MultiProducerBarrier, SingleConsumerBarrier);

/// What a consumer does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Burns its core: lowest latency, one core a consumer.
    Spin,
    /// Spins a little, then yields to other threads.
    SpinThenYield,
    /// Spins a little, then sleeps until the publisher rings.
    SpinThenPark,
}

/// Polls without work before yielding or parking: about a microsecond, less than a wake costs.
const SPINS: u32 = 200;

/// The longest sleep. A wake is never lost (see [`Doorbell`]); if one were, this would end the sleep and count it.
const PARK_MAX: Duration = Duration::from_millis(1);

/// Wakes a parked thread.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The idle state of one consumer thread. Made on the thread that waits.
pub struct Pace {
    idle: Idle,
    spins: u32,
    waker: Waker,
}

impl Pace {
    /// For the calling thread.
    #[must_use]
    pub fn new(idle: Idle) -> Pace {
        Pace { idle, spins: 0, waker: Waker::from(Arc::new(ThreadWaker(thread::current()))) }
    }

    /// Call after work was found.
    pub fn busy(&mut self) {
        self.spins = 0;
    }

    /// Call when there was nothing: spins, yields or sleeps until `bell` rings or `has_work` says so.
    pub fn idle(&mut self, bell: &Doorbell, has_work: impl Fn() -> bool) {
        self.spins = self.spins.saturating_add(1);
        if self.idle == Idle::Spin || self.spins < SPINS {
            return std::hint::spin_loop();
        }
        if self.idle == Idle::SpinThenYield {
            return thread::yield_now();
        }
        bell.waker().register(&self.waker);
        if bell.may_sleep(&has_work) {
            thread::park_timeout(PARK_MAX);
            if bell.unrung() && has_work() {
                metrics::PARK_BACKSTOPS.inc();
            }
        }
    }
}
