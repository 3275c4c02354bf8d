//! Data connections that are kept in the control database, beside those of configuration files.
//!
//! A connection is what a section `[sources.NAME]` is, with its secrets sealed apart from its other keys. Here it is only
//! kept; whether its keys make sense is for whoever parses that section to say.

use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};
use tickwire_schemas::words::Timeframe;
use toml::Table;

mod instruments;
mod log;
mod sealing;

pub use log::{LogEntry, LogFilter};
pub(super) use sealing::vault_for_another;
use sealing::{opened, seal};

use super::ControlError;
use super::credentials::{Credentials, marks, refer};
use super::database::Database;
use super::vault::{KeyPlace, VaultError};

/// Days that rows are kept for, where nothing else is said.
pub const RETENTION_DAYS: u32 = 365;

/// What a connection does, as it is shown; apart from whether it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConnectionStatus)]
pub enum Status {
    /// Prices flow.
    Active,
    /// Not wanted, and not there.
    Inactive,
    /// Wanted, and refused or failing.
    Error,
    /// Being tested.
    Testing,
    /// Connected, and silent for longer than its markets explain.
    Stale,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] = [Status::Active, Status::Inactive, Status::Error, Status::Testing, Status::Stale];

    /// The word in the database and in answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Inactive => "inactive",
            Status::Error => "error",
            Status::Testing => "testing",
            Status::Stale => "stale",
        }
    }
}

/// What can be said of a connection by whoever makes or edits it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Word of the adapter.
    pub adapter: String,
    /// Who stands behind it, in words.
    pub provider: String,
    /// The keys of `[sources.NAME]`, without `adapter`, `scope`, `owner` and without secrets.
    pub config: Table,
    /// Whether each tick is stored, or bars alone.
    pub stores_ticks: bool,
    /// Days that its rows are kept for.
    pub retention_days: u32,
    /// Lengths of the past bars that are fetched for it.
    pub timeframes: Vec<Timeframe>,
}

/// A connection, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct DataConnection {
    /// Given once and never reused.
    pub id: i64,
    /// Name of its source.
    pub name: String,
    /// Empty for the administrators' global ones, else the user whose private one it is.
    pub owner: String,
    /// What its maker said.
    pub draft: Draft,
    /// Whether it is wanted.
    pub is_active: bool,
    /// How it is.
    pub status: Status,
    /// When it was last connected, nanoseconds UTC.
    pub last_connected_ns: Option<i64>,
    /// What last went wrong, in words.
    pub last_error: Option<String>,
    /// When it was made, nanoseconds UTC.
    pub created_ns: i64,
    /// When its maker last changed it, nanoseconds UTC.
    pub changed_ns: i64,
    /// Whether secrets are sealed for it.
    pub has_credentials: bool,
}

/// Between the state directory, the name, the key and the time of the last change in a full reference; no name of a source
/// holds it. With the time a changed secret makes a changed section, which a running engine then takes up.
const BETWEEN: char = '#';

/// Opens the secret that a full reference names, given without its first word: what
/// [`open_vault_with`](crate::config::open_vault_with) takes.
///
/// # Errors
/// One sentence; never a secret.
pub fn open_reference(reference: &str) -> Result<String, String> {
    let unknown = || "is no reference to a sealed secret".to_string();
    let (rest, _changed) = reference.rsplit_once(BETWEEN).ok_or_else(unknown)?;
    let (rest, key) = rest.rsplit_once(BETWEEN).ok_or_else(unknown)?;
    let (state_dir, name) = rest.rsplit_once(BETWEEN).ok_or_else(unknown)?;
    let mut connections = Connections::open(Path::new(state_dir)).map_err(|e| e.to_string())?;
    let credentials = connections.credentials(name).map_err(|e| e.to_string())?;
    let secret = credentials.get(key).map(str::to_string);
    secret.ok_or_else(|| format!("no secret is sealed for it in connection {name}, expected one"))
}

impl DataConnection {
    /// Its section `[sources.NAME]`, with references to its secrets in `state_dir`.
    #[must_use]
    pub fn section(&self, state_dir: &Path) -> Table {
        let mut table = self.draft.config.clone();
        let whose = format!("{}{BETWEEN}{}{BETWEEN}", state_dir.display(), self.name);
        refer(&mut table, "", &whose, &format!("{BETWEEN}{}", self.changed_ns));
        table.insert("adapter".into(), self.draft.adapter.clone().into());
        if !self.draft.timeframes.is_empty() {
            let words = self.draft.timeframes.iter().map(|timeframe| timeframe.word());
            table.insert("timeframes".into(), words.collect::<Vec<_>>().into());
        }
        if !self.draft.stores_ticks {
            table.insert("store_ticks".into(), false.into());
        }
        if !self.owner.is_empty() {
            table.insert("scope".into(), "private".into());
            table.insert("owner".into(), self.owner.clone().into());
        }
        table
    }
}

/// Why something about a connection was not done.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The key or a sealed secret.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The name is taken.
    #[error("the name \"{0}\" is taken, expected another name")]
    NameTaken(String),
    /// There is no such connection.
    #[error("there is no connection named \"{0}\"")]
    Unknown(String),
}

/// The connections of a state directory.
pub struct Connections {
    database: Database,
    place: KeyPlace,
}

impl Connections {
    /// Opens them, and finishes a rotation of the key that was broken off.
    ///
    /// # Errors
    /// [`ConnectionError::Control`] or, when a rotation cannot be finished, [`ConnectionError::Vault`].
    pub fn open(state_dir: &Path) -> Result<Connections, ConnectionError> {
        let mut connections = Connections { database: Database::open(state_dir)?, place: KeyPlace::find(state_dir) };
        connections.settle()?;
        Ok(connections)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`ConnectionError::Control`].
    pub fn list(&mut self) -> Result<Vec<DataConnection>, ConnectionError> {
        Ok(self.database.run(|db| {
            let mut statement = db.prepare(&format!("{SELECT} ORDER BY name"))?;
            statement.query_map([], read)?.collect()
        })?)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] or [`ConnectionError::Control`].
    pub fn get(&mut self, name: &str) -> Result<DataConnection, ConnectionError> {
        let found = self
            .database
            .run(|db| db.query_row(&format!("{SELECT} WHERE name = ?1"), params![name], read).optional())?;
        found.ok_or_else(|| ConnectionError::Unknown(name.into()))
    }

    /// Keeps a new one, not yet wanted. The first secret of all makes the key.
    ///
    /// # Errors
    /// [`ConnectionError::NameTaken`], or of the key or the database.
    pub fn add(
        &mut self,
        name: &str,
        owner: &str,
        draft: &Draft,
        credentials: &Credentials,
        now_ns: i64,
    ) -> Result<i64, ConnectionError> {
        let place = self.place.clone();
        self.locked(|transaction| {
            if is_taken(transaction, name, owner)? {
                return Err(ConnectionError::NameTaken(name.into()).into());
            }
            transaction.execute(
                "INSERT INTO data_connections (name, owner, adapter, provider, config, is_active, status, stores_ticks, \
                 retention_days, created_ns, changed_ns, timeframes) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, 'inactive', ?6, ?7, ?8, ?8, ?9)",
                params![
                    name,
                    owner,
                    draft.adapter,
                    draft.provider,
                    draft.config.to_string(),
                    draft.stores_ticks,
                    draft.retention_days,
                    now_ns,
                    words_of(&draft.timeframes)
                ],
            )?;
            let id = transaction.last_insert_rowid();
            seal(transaction, &place, id, credentials)?;
            Ok(id)
        })
    }

    /// Replaces what its maker said of it; `credentials` replaces the secrets of its keys and leaves those of others.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`], or of the key or the database.
    pub fn edit(
        &mut self,
        name: &str,
        draft: &Draft,
        credentials: &Credentials,
        now_ns: i64,
    ) -> Result<(), ConnectionError> {
        let place = self.place.clone();
        self.locked(|transaction| {
            let (id, mut all) = opened(transaction, &place, name)?;
            for key in credentials.keys() {
                all.set(key, credentials.get(key).unwrap_or_default());
            }
            all.keep(&marks(&draft.config));
            transaction.execute(
                "UPDATE data_connections SET adapter = ?2, provider = ?3, config = ?4, stores_ticks = ?5, \
                 retention_days = ?6, changed_ns = ?7, timeframes = ?8 WHERE id = ?1",
                params![
                    id,
                    draft.adapter,
                    draft.provider,
                    draft.config.to_string(),
                    draft.stores_ticks,
                    draft.retention_days,
                    now_ns,
                    words_of(&draft.timeframes)
                ],
            )?;
            seal(transaction, &place, id, &all)
        })
    }

    /// Says whether it is wanted.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] or [`ConnectionError::Control`].
    pub fn set_active(&mut self, name: &str, is_active: bool, now_ns: i64) -> Result<(), ConnectionError> {
        let sql = "UPDATE data_connections SET is_active = ?2, changed_ns = ?3 WHERE name = ?1";
        self.change(name, |db| db.execute(sql, params![name, is_active, now_ns]))
    }

    /// Says how it is. A time or error that is `None` stays as it was.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] or [`ConnectionError::Control`].
    pub fn set_status(
        &mut self,
        name: &str,
        status: Status,
        connected_ns: Option<i64>,
        error: Option<&str>,
    ) -> Result<(), ConnectionError> {
        let sql = "UPDATE data_connections SET status = ?2, last_connected_ns = ifnull(?3, last_connected_ns), \
                   last_error = ifnull(?4, last_error) WHERE name = ?1";
        self.change(name, |db| db.execute(sql, params![name, status.word(), connected_ns, error]))
    }

    /// Removes it with its secrets; its log stays.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`] or [`ConnectionError::Control`].
    pub fn remove(&mut self, name: &str) -> Result<(), ConnectionError> {
        self.change(name, |db| db.execute("DELETE FROM data_connections WHERE name = ?1", params![name]))
    }

    fn change(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<usize>,
    ) -> Result<(), ConnectionError> {
        match self.database.run(f)? {
            0 => Err(ConnectionError::Unknown(name.into())),
            _ => Ok(()),
        }
    }
}

/// Whether a name is another connection's, or was that of somebody else: what is stored under it is theirs.
fn is_taken(transaction: &rusqlite::Transaction<'_>, name: &str, owner: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM data_connections WHERE name = ?1) \
               OR EXISTS (SELECT 1 FROM data_connection_logs WHERE name = ?1 AND owner <> ?2)";
    transaction.query_row(sql, params![name, owner], |row| row.get(0))
}

const SELECT: &str = "SELECT id, name, owner, adapter, provider, config, credentials IS NOT NULL, is_active, status, \
                      stores_ticks, retention_days, last_connected_ns, last_error, created_ns, changed_ns, timeframes \
                      FROM data_connections";

fn words_of(timeframes: &[Timeframe]) -> String {
    timeframes.iter().map(|timeframe| timeframe.word()).collect::<Vec<_>>().join(" ")
}

fn read(row: &Row<'_>) -> rusqlite::Result<DataConnection> {
    let config: String = row.get(5)?;
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let status: String = row.get(8)?;
    let status = Status::ALL.into_iter().find(|known| known.word() == status);
    Ok(DataConnection {
        id: row.get(0)?,
        name: row.get(1)?,
        owner: row.get(2)?,
        draft: Draft {
            adapter: row.get(3)?,
            provider: row.get(4)?,
            config: config.parse().map_err(|e: toml::de::Error| unreadable(5, e.into()))?,
            stores_ticks: row.get(9)?,
            retention_days: row.get(10)?,
            timeframes: row.get::<_, String>(15)?.split(' ').filter_map(Timeframe::from_word).collect(),
        },
        has_credentials: row.get(6)?,
        is_active: row.get(7)?,
        status: status.ok_or_else(|| unreadable(8, "no such status".into()))?,
        last_connected_ns: row.get(11)?,
        last_error: row.get(12)?,
        created_ns: row.get(13)?,
        changed_ns: row.get(14)?,
    })
}

#[cfg(test)]
mod tests;
