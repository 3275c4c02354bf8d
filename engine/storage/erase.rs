//! Deleting what one source has stored.

use std::path::Path;

use super::client::Endpoint;
use super::retention::{Retention, Rules};

/// Deletes every row of a source, waits until they are gone, and says how many they were. What it deletes is written down
/// in `manifests_dir`, so that the audit does not miss it. Rows of the common price name other sources beside it and stay.
/// Not from within a tokio runtime.
///
/// # Errors
/// The database's own words; what was deleted until then stays deleted.
pub fn source(endpoint: &Endpoint, database: &str, manifests_dir: &Path, source: &str) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let retention = Retention {
        endpoint: endpoint.clone(),
        database: database.into(),
        manifests_dir: manifests_dir.into(),
        rules: Rules::default(),
        only: None,
    };
    runtime.block_on(retention.erase(source)).map(|deleted| deleted.rows()).map_err(|e| e.to_string())
}
