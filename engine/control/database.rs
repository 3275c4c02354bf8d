//! The control database: one SQLite file in WAL mode, migrated when it is opened.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

/// Migrations in order; the database's `user_version` counts those that were applied.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../schemas/control/0001_catalogue.sql"),
    include_str!("../../schemas/control/0002_indicators.sql"),
    include_str!("../../schemas/control/0003_connections.sql"),
    include_str!("../../schemas/control/0004_users.sql"),
    include_str!("../../schemas/control/0005_jobs.sql"),
    include_str!("../../schemas/control/0006_alerts.sql"),
    include_str!("../../schemas/control/0007_connections.sql"),
];

/// How long to wait for another process.
const BUSY: Duration = Duration::from_secs(5);

/// How often to look whether it is done, where SQLite does not wait by itself.
const BUSY_LOOK: Duration = Duration::from_millis(5);

/// What is wrong with the control database.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// SQLite's own word.
    #[error("control database {path}: {error}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// Written by a later version of the program.
    #[error("control database {path} has version {found}, this program knows up to {known}: use the newer program")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: usize,
        /// Version known.
        known: usize,
    },
}

/// Makes the file if there is none, for its owner alone: hashes of passwords are nobody else's to try. What is wrong with
/// the file SQLite says when it opens it. One that is there is not touched: closing it would take away the locks that all
/// connections of this process have on it (<https://www.sqlite.org/howtocorrupt.html>, 2.2), and another process that took
/// itself for the last one would then delete a log that is written to.
fn make_private(path: &Path) {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = std::fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(path);
}

/// Sets up a connection; the database's version. Of two that turn a new database to WAL at once SQLite refuses one without
/// waiting, as it does who comes while the last one before leaves (<https://www.sqlite.org/wal.html>, 9): to be tried again.
fn configure(db: &Connection) -> rusqlite::Result<usize> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// An open control database. Several processes may hold it.
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
}

impl Database {
    /// Opens that of a state directory, making or migrating it as needed.
    pub(super) fn open(state_dir: &Path) -> Result<Database, ControlError> {
        let path = state_dir.join("control.db");
        make_private(&path);
        let opened = Connection::open(&path);
        Self::migrate(opened.map_err(|error| ControlError::Database { path: path.clone(), error })?, path)
    }

    /// One that nobody keeps.
    pub(super) fn in_memory() -> Result<Database, ControlError> {
        let path = PathBuf::from(":memory:");
        let opened = Connection::open_in_memory();
        Self::migrate(opened.map_err(|error| ControlError::Database { path: path.clone(), error })?, path)
    }

    fn migrate(connection: Connection, path: PathBuf) -> Result<Database, ControlError> {
        let mut database = Database { path, connection };
        // First of all: opening may already have to wait for another process.
        database.run(|db| db.busy_timeout(BUSY))?;
        let found = database.run(|db| {
            let begun = Instant::now();
            loop {
                match configure(db) {
                    Err(error)
                        if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY =>
                    {
                        std::thread::sleep(BUSY_LOOK);
                    }
                    other => return other,
                }
            }
        })?;
        // Nearly always: nothing to do, and nobody to wait for.
        if found == MIGRATIONS.len() {
            return Ok(database);
        }
        for (version, sql) in MIGRATIONS.iter().enumerate() {
            let found = database.run(|db| {
                // Two processes may open an old database at once: one migrates, the other waits and then sees that.
                let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                let found = transaction.query_row("PRAGMA user_version", [], |row| row.get::<_, usize>(0))?;
                if found == version {
                    transaction.execute_batch(sql)?;
                    transaction.pragma_update(None, "user_version", version + 1)?;
                }
                transaction.commit()?;
                Ok(found)
            })?;
            if found > MIGRATIONS.len() {
                return Err(ControlError::TooNew { path: database.path, found, known: MIGRATIONS.len() });
            }
        }
        Ok(database)
    }

    /// Does something with it; errors name the file.
    pub(super) fn run<T>(&mut self, f: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, ControlError> {
        f(&mut self.connection).map_err(|error| ControlError::Database { path: self.path.clone(), error })
    }
}
