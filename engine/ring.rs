//! Slots, rings, pollers and idle strategies.

use crate::market::Input;

/// Where a feed puts its inputs. It never blocks and never fails: what does not fit is counted, and becomes a gap with
/// the next input that fits.
pub trait Inlet {
    /// Offers one input to the stages.
    fn offer(&self, input: Input);
}
