//! What the pages about jobs and storage stand on.

use std::path::PathBuf;
use std::sync::Arc;

use crate::control::jobs::Jobs;
use crate::storage::Endpoint;
use crate::storage::retention::RetentionConfig;

/// Says where the database is, as soon as it is up.
pub type EndpointNow = Box<dyn Fn() -> Option<Endpoint> + Send + Sync>;

/// What the runtime hands in for them.
pub struct Desk {
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// Attempts of a job that is queued by hand.
    pub attempts: u32,
    /// The database.
    pub endpoint: EndpointNow,
    /// Name of the database for global rows.
    pub database: String,
    /// How long rows are kept.
    pub retention: RetentionConfig,
    /// Where the journal's segments are.
    pub journal_dir: PathBuf,
    /// Names of the sources that are in effect, with their owners; empty: global.
    pub sources: Box<dyn Fn() -> Vec<(String, String)> + Send + Sync>,
}
