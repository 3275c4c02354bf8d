//! Slots, rings, pollers and idle strategies.

use crate::market::Input;

/// Where a feed puts its inputs. It never blocks and never fails: what does not fit is counted, and becomes a gap with
/// the next input that fits.
pub trait Inlet {
    /// Offers one input to the stages.
    fn offer(&self, input: Input);
}

/// What a consumer of the outbound ring found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// This many records.
    Records(usize),
    /// Nothing now.
    Empty,
    /// Nothing any more: the pipeline has stopped.
    Shutdown,
}

/// One consumer's end of the outbound ring.
pub trait Outlet: Send {
    /// Hands at most `limit` records to `each`, in order: the kind, and the bytes on the wire.
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(tickwire_schemas::words::Kind, &[u8])) -> Drained;

    /// Ready when [`Outlet::drain`] has something to say; else wakes the task of `cx` when it has. For consumers that
    /// also wait for sockets; those that do nothing else park their thread.
    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()>;
}
