//! Slots, rings, pollers and idle strategies.
//!
//! Two rings of the `disruptor` crate carry everything: the *inbound* one from the feeds to the stages, the *outbound*
//! one from the last group of stages to the journal and the fan-out. We poll on our own threads, so that they can be
//! named, pinned and idle as configured. A consumer that sleeps is woken by a [`Doorbell`]; see there for the ordering.

mod doorbell;
mod inbound;
mod outbound;
mod poll;

pub use doorbell::Doorbell;
pub use inbound::{
    DenseSources, DoorSources, GroupInput, InSlot, Inbound, InboundFill, InletMaker, Mark, build_inbound,
};
pub use outbound::{OutSlot, Outbound, build_outbound};
pub use poll::{Idle, Pace, Poll};

use crate::market::Input;

/// What `doorbell` is built on; its loom test puts loom's in its place.
mod sync {
    pub(super) use futures_util::task::AtomicWaker as Waker;
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

/// Where a feed puts its inputs. It never blocks and never fails: what does not fit is counted, and becomes a gap with
/// the next input that fits.
pub trait Inlet {
    /// Offers one input to the stages.
    fn offer(&self, input: &Input);

    /// The same for whoever can wait: false when there is no room, and then nothing is counted and nothing lost.
    fn try_offer(&self, input: &Input) -> bool {
        self.offer(input);
        true
    }
}

/// What a consumer of a ring found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// This many records.
    Records(usize),
    /// Nothing now.
    Empty,
    /// Nothing any more: the producer has stopped.
    Shutdown,
}

/// One consumer's end of the outbound ring.
pub trait Outlet: Send {
    /// Hands at most `limit` records to `each`, in order: the kind, and the bytes on the wire.
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(tickwire_schemas::words::Kind, &[u8])) -> Drained;

    /// Ready when [`Outlet::drain`] has something to say; else wakes the task of `cx` when it has. For consumers that
    /// also wait for sockets; those that do nothing else park their thread.
    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()>;

    /// For a consumer that was told to wait and goes on for another reason: it need not be woken any more.
    fn awake(&mut self) {}
}

impl Outlet for Box<dyn Outlet> {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(tickwire_schemas::words::Kind, &[u8])) -> Drained {
        (**self).drain(limit, each)
    }

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        (**self).poll_ready(cx)
    }

    fn awake(&mut self) {
        (**self).awake();
    }
}

#[cfg(test)]
mod tests;
