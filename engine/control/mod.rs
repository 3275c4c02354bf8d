//! The control database: the catalogue of ids, data connections with sealed credentials, and what was done with them.

pub mod alerts;
mod catalogue;
pub mod connections;
pub mod credentials;
pub mod cures;
mod database;
mod instruments;
pub mod jobs;
pub mod sections;
pub mod service;
pub mod settings;
pub mod users;
pub mod vault;

pub use catalogue::Catalogue;
pub use database::ControlError;
pub use instruments::{InstrumentSpec, instruments};
