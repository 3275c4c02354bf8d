//! Mends holes: asks venues for the bars of what was missed and hands them to the stages.
//!
//! The thread `tw-repair` ([`follow`]) reads the ledger of gaps from the journal, [`plan`] says what to ask of whom and
//! when, and the answers enter the stages as inputs, `Repair`, that are journaled like all others. So the journal says
//! what has been mended, and a restart goes on from there.

pub mod config;
pub mod follow;
pub mod plan;

pub use config::RepairConfig;
pub use follow::{Asked, RepairSources, Repairer, Setup, start};
pub use plan::{Job, Key, Past, Plan, Symbol, Told, Venue};
