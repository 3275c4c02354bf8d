//! `tickwire audit`: is every journaled row in the database, once?

use std::path::Path;

use crate::storage::StorageConfig;
use crate::storage::audit::{Report, Subject, audit};

use super::sql::Database;

/// Compares the journal and the manifests under `state` with the database, which it starts if none runs.
///
/// # Errors
/// One sentence when something cannot be read; a difference is in the report.
pub fn run(state: &Path, config: &StorageConfig) -> Result<Report, String> {
    let database = Database::open(state, config)?;
    let subject = Subject {
        journal_dir: state.join("journal"),
        manifests_dir: state.join("manifests"),
        endpoint: database.writer().clone(),
        database: config.database.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(audit(&subject)).map_err(|e| e.to_string())
}
