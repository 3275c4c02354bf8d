//! Mends holes: asks venues for the bars of what was missed and hands them to the stages, and stores its ticks.
//!
//! The thread `tw-repair` ([`follow`]) reads the ledger of gaps from the journal, [`plan`] says what to ask of whom and
//! when, and the bars enter the stages as inputs, `Repair`, that are journaled like all others; ticks go straight to the database
//! ([`ticks`]), before the end of the hole is said. So the journal says
//! what has been mended, and a restart goes on from there.

pub mod config;
pub mod follow;
pub mod plan;
mod state;
pub mod ticks;

pub use config::RepairConfig;
pub use follow::{Asked, RepairSources, Repairer, Setup, start};
pub use plan::{Job, Key, Past, Plan, Symbol, TickJob, Told, Venue};
pub use ticks::Store;
