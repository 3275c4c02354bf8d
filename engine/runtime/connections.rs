//! The running engine, as the service of data connections knows it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::reconfigure::Control;
use crate::config::Config;
use crate::console::EndpointNow;
use crate::control::service::Engine;
use crate::metrics;
use crate::storage::{Mode, StorageConfig, erase};

/// How long the rows of a source that has stopped may take into the database, before they are deleted.
const STORED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// This process.
pub(super) struct Here {
    pub(super) state_dir: PathBuf,
    pub(super) control: Control,
    pub(super) storage: StorageConfig,
    pub(super) endpoint: EndpointNow,
}

impl Engine for Here {
    fn base(&self) -> Result<Config, String> {
        Ok(self.control.base())
    }

    fn runs(&self) -> bool {
        true
    }

    fn connections_changed(&self) -> Result<Vec<String>, String> {
        self.control.connections_changed().map(|changes| changes.lines())
    }

    fn erase(&self, source: &str) -> Result<u64, String> {
        if self.storage.mode == Mode::Off {
            return Ok(0);
        }
        let endpoint = (self.endpoint)().ok_or("the database is not up")?;
        // What is on its way would come behind the deletion.
        let begun = Instant::now();
        while metrics::STORAGE_LAG_ROWS.get() > 0 && begun.elapsed() < STORED_WITHIN {
            std::thread::sleep(LOOK_EVERY);
        }
        erase::source(&endpoint, &self.storage.database, &self.state_dir.join("manifests"), source)
    }
}
