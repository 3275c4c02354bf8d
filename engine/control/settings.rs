//! Settings that are changed while the engine runs, by key.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{OptionalExtension, params};
use serde_json::Value as Json;

use super::ControlError;
use super::database::Database;

/// Key of the adapters that new connections may use: a JSON array of words; absent or null means all.
pub const APPROVED_PROVIDERS: &str = "approved_providers";

/// The settings of a state directory. Several processes may hold them. Its methods wait for the disk.
pub struct Settings {
    database: Mutex<Database>,
}

impl Settings {
    /// Opens them.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn open(state_dir: &Path) -> Result<Settings, ControlError> {
        Ok(Settings { database: Mutex::new(Database::open(state_dir)?) })
    }

    /// What is set; `None` when nothing was.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn get(&self, key: &str) -> Result<Option<Json>, ControlError> {
        let sql = "SELECT value FROM settings WHERE key = ?1";
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let text: Option<String> = database.run(|db| db.query_row(sql, params![key], |row| row.get(0)).optional())?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Sets it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn put(&self, key: &str, value: &Json, now_ns: i64) -> Result<(), ControlError> {
        let sql = "INSERT INTO settings (key, value, changed_ns) VALUES (?1, ?2, ?3) \
                   ON CONFLICT DO UPDATE SET value = excluded.value, changed_ns = excluded.changed_ns";
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        database.run(|db| db.execute(sql, params![key, value.to_string(), now_ns]))?;
        Ok(())
    }

    /// Words of the adapters that new connections may use; `None` means all.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn approved_providers(&self) -> Result<Option<Vec<String>>, ControlError> {
        let found = self.get(APPROVED_PROVIDERS)?;
        Ok(found.and_then(|words| serde_json::from_value(words).ok()))
    }
}
