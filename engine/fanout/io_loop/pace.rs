//! What the loop does without work: spin, yield, or sleep until the socket, the ring or another thread has something.

use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Timespec;

use crate::fanout::udp::Socket;
use crate::ring::{Idle, Outlet};

/// Turns without work before yielding or sleeping. Each asks the socket, some 0.5 µs.
const SPINS: u32 = 16;

/// What other threads ring to end the loop's sleep.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    /// A bell that nobody has rung.
    pub(crate) fn new() -> std::io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    fn silence(&self) {
        // Nothing to read: it was not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails only when it was rung 2^64 times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// How the thread is to wait, and where.
pub(crate) struct Pace {
    pub(crate) idle: Idle,
    /// The core it is pinned to.
    pub(crate) core: Option<usize>,
    pub(crate) bell: Arc<Bell>,
}

impl Pace {
    /// For the calling thread, which is pinned by it.
    pub(super) fn start(self) -> Sleeper {
        if let Some(core) = self.core
            && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
        {
            tracing::warn!("the fan-out cannot be pinned to core {core}; it runs unpinned");
        }
        // Short sleeps end on time: the kernel's habit is 50 us later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let waker = Waker::from(Arc::clone(&self.bell));
        Sleeper { idle: self.idle, spins: 0, bell: self.bell, waker }
    }
}

/// The idle state of the thread.
pub(super) struct Sleeper {
    idle: Idle,
    spins: u32,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Sleeper {
    /// Whether the thread is to have its core for itself.
    pub(super) fn is_dedicated(&self) -> bool {
        self.idle == Idle::Spin
    }

    /// Work was found.
    pub(super) fn busy(&mut self) {
        self.spins = 0;
    }

    /// There was none: waits, at most until `until`, for the bell, for the ring where there is one, and for the socket,
    /// also to become writable when packets wait for it. False: it came back at once, to look again.
    pub(super) fn idle(
        &mut self,
        socket: &Socket,
        packets_wait: bool,
        outlet: Option<&mut (dyn Outlet + 'static)>,
        until: Instant,
    ) -> bool {
        self.spins = self.spins.saturating_add(1);
        if self.idle == Idle::Spin || self.spins < SPINS {
            std::hint::spin_loop();
            return self.spins >= SPINS;
        }
        if self.idle == Idle::SpinThenYield {
            thread::yield_now();
            return true;
        }
        let mut outlet = outlet;
        if let Some(outlet) = outlet.as_deref_mut()
            && outlet.poll_ready(&mut Context::from_waker(&self.waker)).is_ready()
        {
            return false;
        }
        let wait = until.saturating_duration_since(Instant::now());
        let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let events = if packets_wait { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut both = [PollFd::new(socket, events), PollFd::new(&self.bell.0, PollFlags::IN)];
        // Interrupted is as good as awake.
        let _ = poll(&mut both, Some(&wait));
        if !both[1].revents().is_empty() {
            self.bell.silence();
        }
        if let Some(outlet) = outlet {
            outlet.awake();
        }
        true
    }
}
