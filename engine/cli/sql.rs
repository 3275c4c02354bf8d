//! `tickwire sql`: one query, the answer as the database gives it.

use std::io::Write;
use std::path::Path;

use crate::storage::store::{Connected, READER, StoreConfig, WRITER, connect_or_start};
use crate::storage::{Endpoint, Mode, StorageConfig};

/// The configured database, running: the engine's, the server's, or one started for as long as this lives.
pub struct Database {
    writer: Endpoint,
    reader: Endpoint,
    // Stops the store if it was started for this.
    _store: Option<Connected>,
}

impl Database {
    /// Finds or starts it.
    ///
    /// # Errors
    /// One sentence when there is none, or it does not start.
    pub fn open(state: &Path, config: &StorageConfig) -> Result<Database, String> {
        match config.mode {
            Mode::Off => Err("storage.mode is \"off\": there is no database".into()),
            Mode::Server => {
                let writer = config.server()?;
                Ok(Database { reader: writer.clone(), writer, _store: None })
            }
            Mode::Embedded => {
                let mut store = StoreConfig::new(state, config.listen);
                store.cores.clone_from(&config.cores);
                store.memory_mib = config.memory_mib;
                let connected = connect_or_start(store).map_err(|e| e.to_string())?;
                let access = connected.access();
                let endpoint = |user: &str, password: &str| Endpoint {
                    url: access.url(),
                    user: user.into(),
                    password: password.into(),
                };
                let writer = endpoint(WRITER, access.writer_password());
                let reader = endpoint(READER, access.reader_password());
                Ok(Database { writer, reader, _store: Some(connected) })
            }
        }
    }

    /// With the rights of the engine.
    #[must_use]
    pub fn writer(&self) -> &Endpoint {
        &self.writer
    }

    /// With the rights of a quant; on a server of yours, with those of its configured user.
    #[must_use]
    pub fn reader(&self) -> &Endpoint {
        &self.reader
    }
}

/// Runs `query` and copies the answer to `out`. Without `write` as the read-only user, who sees global rows alone.
///
/// # Errors
/// The database's own words, or why it cannot be asked.
pub fn run(
    state: &Path,
    config: &StorageConfig,
    query: &str,
    format: &str,
    write: bool,
    out: &mut impl Write,
) -> Result<(), String> {
    let database = Database::open(state, config)?;
    let endpoint = if write { database.writer() } else { database.reader() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let mut client = endpoint.client().with_database(&config.database);
        if config.mode == Mode::Server && !write {
            // 2 and not 1: the server lets the client ask for compression and limits.
            client = client.with_setting("readonly", "2");
        }
        let mut answer = client.query_raw(query).fetch_bytes(format).map_err(|e| e.to_string())?;
        while let Some(chunk) = answer.next().await.map_err(|e| e.to_string())? {
            out.write_all(&chunk).map_err(|e| format!("cannot write the answer: {e}"))?;
        }
        out.flush().map_err(|e| format!("cannot write the answer: {e}"))
    })
}
