//! The control database: so far the catalogue of ids.

mod catalogue;
mod instruments;

pub use catalogue::{Catalogue, ControlError};
pub use instruments::{InstrumentSpec, instruments};
