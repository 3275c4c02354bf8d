//! Assembles the engine from its configuration, and takes it apart again.

mod assemble;
mod crash;
pub mod latency;
mod market;
pub mod pipeline;
mod recover;
mod settings;
mod stopping;

pub use assemble::{Engine, RunError};
pub use crash::catch_crashes;
pub use market::{StateDir, open_market};
pub use pipeline::Pipeline;
pub use recover::{Comparison, compare};
pub use settings::Settings;
pub use stopping::wait_for_signal;
