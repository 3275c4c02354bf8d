//! Waking a consumer that sleeps, without a system call when it does not.
//!
//! The publisher stores its cursor, then fences, then reads `asleep`; the consumer stores `asleep`, then fences, then
//! looks at the cursor again before it sleeps. With a SeqCst fence on both sides one of them sees the other, so no wake
//! is lost. `tests/doorbell_loom.rs` compiles this very file against loom's atomics and tries every interleaving.

use super::sync::{AtomicBool, Ordering, Waker, fence};

/// One consumer's bell.
#[derive(Debug, Default)]
pub struct Doorbell {
    asleep: AtomicBool,
    closed: AtomicBool,
    waker: Waker,
}

impl Doorbell {
    /// For the publisher, after it published: wakes the consumer if it sleeps.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.asleep.store(false, Ordering::Relaxed);
            self.waker.wake();
        }
    }

    /// For the publisher, when there will be nothing more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ring();
    }

    /// True once the publisher has closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// For the consumer, which has made its waker known: says that it is about to sleep. True when it may, because
    /// `has_work` still finds nothing.
    pub fn may_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if has_work() || self.is_closed() {
            self.asleep.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// For the consumer, awake again: true when nobody rang, so that something else ended its sleep.
    pub fn unrung(&self) -> bool {
        self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Where the consumer leaves its waker before it asks [`Doorbell::may_sleep`].
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}
