//! What was done with connections.

use rusqlite::{Row, params};
use serde_json::Value as Json;

use super::{ConnectionError, Connections, DataConnection};

/// Entries that are kept of one connection; older ones go when newer ones come.
const ENTRIES_MAX: u32 = 10_000;

/// An entry of a connection's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// When, nanoseconds UTC.
    pub at_ns: i64,
    /// What was done: `create`, `test`, `connect`, `backfill`, …
    pub action: String,
    /// Whether it came off.
    pub succeeded: bool,
    /// In words.
    pub message: String,
    /// Figures: `rows`, `latency_ms`, …
    pub metadata: Json,
}

/// Which entries of a log, newest first.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Of this action alone.
    pub action: Option<String>,
    /// That came off, or that did not.
    pub succeeded: Option<bool>,
    /// Older than the entry with this id.
    pub before: Option<i64>,
    /// Newer ones to leave out.
    pub skip: u32,
    /// Most entries.
    pub limit: u32,
}

impl Connections {
    /// Notes something that was done with a connection.
    ///
    /// # Errors
    /// [`ConnectionError::Control`].
    pub fn log(&mut self, connection: &DataConnection, entry: &LogEntry) -> Result<(), ConnectionError> {
        let sql = "INSERT INTO data_connection_logs (connection_id, name, owner, at_ns, action, succeeded, message, \
                   metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let trim = "DELETE FROM data_connection_logs WHERE connection_id = ?1 AND id <= (SELECT id FROM \
                    data_connection_logs WHERE connection_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
        let LogEntry { at_ns, action, succeeded, message, metadata } = entry;
        let DataConnection { id, name, owner, .. } = connection;
        self.database.run(|db| {
            let transaction = db.transaction()?;
            let metadata = metadata.to_string();
            transaction.execute(sql, params![id, name, owner, at_ns, action, succeeded, message, metadata])?;
            transaction.execute(trim, params![id, ENTRIES_MAX])?;
            transaction.commit()
        })?;
        Ok(())
    }

    /// What was done with the connection that has, or last had, a name, with the ids of the entries.
    ///
    /// # Errors
    /// [`ConnectionError::Control`].
    pub fn logs(&mut self, name: &str, filter: &LogFilter) -> Result<Vec<(i64, LogEntry)>, ConnectionError> {
        let sql = "SELECT id, at_ns, action, succeeded, message, metadata FROM data_connection_logs WHERE name = ?1 \
                   AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR succeeded = ?3) AND (?4 IS NULL OR id < ?4) \
                   ORDER BY id DESC LIMIT ?5 OFFSET ?6";
        let LogFilter { action, succeeded, before, skip, limit } = filter;
        Ok(self.database.run(|db| {
            let mut statement = db.prepare(sql)?;
            let entry = |row: &Row<'_>| {
                let entry = LogEntry {
                    at_ns: row.get(1)?,
                    action: row.get(2)?,
                    succeeded: row.get(3)?,
                    message: row.get(4)?,
                    metadata: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
                };
                Ok((row.get(0)?, entry))
            };
            statement.query_map(params![name, action, succeeded, before, limit, skip], entry)?.collect()
        })?)
    }
}
