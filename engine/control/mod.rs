//! The control database: the catalogue of ids, data connections with sealed credentials, and what was done with them.

mod catalogue;
pub mod connections;
pub mod credentials;
mod database;
mod instruments;
pub mod settings;
pub mod users;
pub mod vault;

pub use catalogue::Catalogue;
pub use database::ControlError;
pub use instruments::{InstrumentSpec, instruments};
