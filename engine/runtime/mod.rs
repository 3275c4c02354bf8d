//! Assembles the engine from its configuration, and takes it apart again.

mod alerts;
mod assemble;
mod backfill;
mod connections;
mod crash;
mod database;
mod facts;
mod feed_watch;
mod growth;
mod inputs;
mod jobs;
pub mod latency;
mod market;
pub mod pipeline;
mod reconfigure;
mod record;
mod recover;
mod repairs;
mod replay;
mod serve;
mod settings;
mod stopping;

pub use assemble::{Engine, RunError};
pub use backfill::{Backfill, BackfillError, BackfillReport, BackfillRequest, Hole, Missing, Progress, Told, Wanted};
pub use crash::catch_crashes;
pub use jobs::{Ground, InEffectNow, start_only};
pub use market::{StateDir, adopt_market, journaled_market, open_market};
pub use pipeline::Pipeline;
pub use reconfigure::{Changes, Control, ReconfigureError};
pub use record::{Recorded, record};
pub use recover::{Comparison, compare};
pub use replay::{ReplayOptions, ReplayReport, Watcher, replay};
pub use serve::{Ended, Playback, Played};
pub use settings::Settings;
pub use stopping::{on_hangup, on_signal, wait_for_signal};
