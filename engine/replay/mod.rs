//! Recordings of many formats as one stream of inputs in the order of their times, and the tables that a replay writes.
//!
//! A [`Manifest`] says which files hold what; a [`Recording`] reads them on demand and merges them. What it hands out is
//! what feeds would have offered to the stages, so whoever runs the stages need not know that nobody is connected.

mod buffer;
pub mod checkpoint;
pub mod formats;
pub mod manifest;
pub mod merge;
pub mod output;
pub mod summary;

pub use checkpoint::Checkpoint;
pub use manifest::{Entry, Format, Manifest};
pub use merge::Recording;
pub use output::{Outputs, Paths};
pub use summary::Summary;

/// Why a recording cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The manifest, or what it asks for, makes no sense: the user's to mend.
    #[error("{0}")]
    Manifest(String),
    /// Options that do not go together, or a checkpoint of another replay.
    #[error("{0}")]
    Options(String),
    /// A row that is not of its format, where that is not tolerated.
    #[error("{0}")]
    Malformed(String),
    /// A file that cannot be read or written.
    #[error("{0}")]
    File(String),
}
