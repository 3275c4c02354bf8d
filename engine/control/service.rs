//! What people do with data connections, from the console and from the command line: one place for both.
//!
//! A change is kept in the control database first and taken up by the running engine then; what came of it is in the
//! connection's log. Everything here blocks: on the disk, and where it says so on a venue.

mod hosts;
mod names;
mod shown;
mod venue;
mod wanted;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};
use toml::Table;

use super::ControlError;
use super::connections::{
    ConnectionError, Connections, DataConnection, Draft, LogEntry, LogFilter, RETENTION_DAYS, Status,
};
use super::credentials::Credentials;
use super::sections::{fits, source_of, with_instruments};
use super::settings::Settings;
use crate::clock;
use crate::config::Config;
use crate::feeds::SourceSpec;
use crate::feeds::adapters::SettingsError;
use crate::feeds::config::one_source;

pub use hosts::Limits;
pub use names::canonical_name;
pub use shown::{Connection, Lines, Live, Origin, Summary, status_of};
pub use venue::{AccountNow, PositionNow, PriceNow, TestResult, VenueSymbolNow};
pub use wanted::{InstrumentWanted, Wanted};

/// The engine that runs over the state directory, as far as connections concern it.
pub trait Engine: Send + Sync {
    /// The configuration without the connections of the control database.
    ///
    /// # Errors
    /// One sentence, where its files cannot be read.
    fn base(&self) -> Result<Config, String>;

    /// Whether there is one.
    fn runs(&self) -> bool;

    /// Lets it take up what was changed: a sentence for each change, nothing where none runs.
    ///
    /// # Errors
    /// One sentence; sources that were there run on as they were.
    fn connections_changed(&self) -> Result<Vec<String>, String>;

    /// Deletes the rows of a source from the database, and counts them.
    ///
    /// # Errors
    /// One sentence.
    fn erase(&self, source: &str) -> Result<u64, String>;
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is none of this name.
    #[error("there is no connection named \"{0}\"")]
    NotFound(String),
    /// The name is another's.
    #[error("the name \"{0}\" is taken, expected another name")]
    NameTaken(String),
    /// It belongs to a configuration file.
    #[error("{0} stands in a configuration file, which is where it is changed")]
    ReadOnly(String),
    /// A key makes no sense.
    #[error("{}", if field.is_empty() { message.clone() } else { format!("{field}: {message}") })]
    Wrong {
        /// The key; empty for the whole.
        field: String,
        /// What is wrong and what was expected.
        message: String,
    },
    /// The venue has no such thing.
    #[error("{0}")]
    NotOffered(String),
    /// The venue refuses or is not there.
    #[error("{message}")]
    Venue {
        /// Word of the list of error codes.
        code: &'static str,
        /// In the venue's words, with a cure.
        message: String,
    },
    /// The running engine did not take it up.
    #[error("{0}")]
    Engine(String),
    /// The control database, or the key that seals secrets.
    #[error(transparent)]
    Control(ConnectionError),
}

impl From<ConnectionError> for ServiceError {
    fn from(error: ConnectionError) -> ServiceError {
        match error {
            ConnectionError::Unknown(name) => ServiceError::NotFound(name),
            ConnectionError::NameTaken(name) => ServiceError::NameTaken(name),
            other => ServiceError::Control(other),
        }
    }
}

impl From<ControlError> for ServiceError {
    fn from(error: ControlError) -> ServiceError {
        ServiceError::Control(error.into())
    }
}

impl From<SettingsError> for ServiceError {
    fn from(error: SettingsError) -> ServiceError {
        // A missing key is a fault of the whole: its name stands in the sentence.
        let missing = error.problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let field = match (error.key.as_str(), missing) {
            ("", Some(key)) => key.to_string(),
            (path, Some(key)) => format!("{path}.{key}"),
            (key, None) => key.to_string(),
        };
        ServiceError::Wrong { field, message: error.problem }
    }
}

impl ServiceError {
    pub(super) fn wrong(field: impl Into<String>, message: impl Into<String>) -> ServiceError {
        ServiceError::Wrong { field: field.into(), message: message.into() }
    }
}

/// What becomes of the rows that a connection stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// They stay, and can be read on.
    Keep,
    /// They are deleted.
    Delete,
}

/// What came of a change.
#[derive(Debug)]
pub struct Changed {
    /// The connection as it is now.
    pub connection: Connection,
    /// What the running engine changed, a sentence each; nothing where none runs.
    pub changes: Vec<String>,
}

/// The connections of a state directory.
pub struct Service {
    state_dir: PathBuf,
    engine: Arc<dyn Engine>,
}

/// One that is there.
enum Found {
    Kept(Box<DataConnection>),
    Configured(Table),
}

/// What stands in the API where else a connection's name does.
const RESERVED: [&str; 3] = ["health", "symbols", "test"];

impl Service {
    /// Over a state directory.
    #[must_use]
    pub fn new(state_dir: &Path, engine: Arc<dyn Engine>) -> Service {
        Service { state_dir: std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.into()), engine }
    }

    /// All of them: those of configuration files first, then those of the control database.
    ///
    /// # Errors
    /// [`ServiceError::Control`] or [`ServiceError::Engine`].
    pub fn list(&self) -> Result<Vec<Connection>, ServiceError> {
        let configured = self.configured()?;
        let mut all: Vec<_> = configured.iter().map(|(name, table)| Connection::configured(name, table)).collect();
        let runs = self.engine.runs();
        all.extend(self.open()?.list()?.iter().map(|connection| Connection::kept(connection, runs)));
        Ok(all)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Control`] or [`ServiceError::Engine`].
    pub fn get(&self, name: &str) -> Result<Connection, ServiceError> {
        Ok(match self.find(name)? {
            Found::Kept(connection) => Connection::kept(&connection, self.engine.runs()),
            Found::Configured(table) => Connection::configured(name, &table),
        })
    }

    /// Keeps a new one, not yet wanted. An empty owner makes a global one.
    ///
    /// # Errors
    /// [`ServiceError::NameTaken`], [`ServiceError::Wrong`] or [`ServiceError::Control`].
    pub fn create(
        &self,
        name: &str,
        owner: &str,
        adapter: &str,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<Connection, ServiceError> {
        limits.adapter(adapter)?;
        if RESERVED.contains(&name) {
            let message = format!("{name} is a word of the console's own addresses, expected another name");
            return Err(ServiceError::Wrong { field: "name".into(), message });
        }
        let (draft, secrets) = wanted.over(empty(adapter), limits)?;
        let spec = source_of(&unkept(name, owner, &draft), &self.state_dir)?;
        limits.hosts(&draft.config)?;
        if self.configured()?.iter().any(|(known, _)| known == name) {
            return Err(ServiceError::NameTaken(name.into()));
        }
        let mut all = self.open()?;
        self.keep_instruments(&mut all, &spec, wanted, limits)?;
        all.add(name, owner, &draft, &secrets, clock::now_ns())?;
        let connection = all.get(name)?;
        note(&mut all, &connection, "create", Ok("kept, not yet active"), json!({}))?;
        Ok(Connection::kept(&connection, self.engine.runs()))
    }

    /// Changes what is given and leaves the rest; a running source takes it up.
    ///
    /// # Errors
    /// [`ServiceError`]: it is not there, is read-only or would make no sense; nothing has changed then.
    pub fn edit(&self, name: &str, wanted: &Wanted, limits: &Limits) -> Result<Changed, ServiceError> {
        let before = self.kept(name)?;
        let (draft, secrets) = wanted.over(before.draft.clone(), limits)?;
        let spec = source_of(&unkept(name, &before.owner, &draft), &self.state_dir)?;
        limits.hosts(&draft.config)?;
        limits.same_place(&before.draft.config, &draft.config, &secrets)?;
        let mut all = self.open()?;
        self.keep_instruments(&mut all, &spec, wanted, limits)?;
        all.edit(name, &draft, &secrets, clock::now_ns())?;
        let connection = all.get(name)?;
        // It is kept whatever the engine says; what it said is told.
        let (changes, outcome) = match before.is_active.then(|| self.take_up(&connection)) {
            Some(Err(problem)) => (vec![format!("kept, and not taken up by the running engine: {problem}")], false),
            Some(Ok(changes)) => (changes, true),
            None => (Vec::new(), true),
        };
        let text = if changes.is_empty() { "changed".into() } else { changes.join("; ") };
        note(&mut all, &connection, "edit", if outcome { Ok(&text) } else { Err(&text) }, json!({}))?;
        Ok(Changed { connection: self.get(name)?, changes })
    }

    /// Has it connected, by the running engine at once.
    ///
    /// # Errors
    /// [`ServiceError`]: it is not there, is read-only, cannot be a source, or the engine did not take it up; it is not
    /// wanted then.
    pub fn activate(&self, name: &str, limits: &Limits) -> Result<Changed, ServiceError> {
        let connection = self.kept(name)?;
        limits.hosts(&connection.draft.config)?;
        let mut all = self.open()?;
        let spec = source_of(&connection, &self.state_dir)?;
        self.keep_instruments(&mut all, &spec, &Wanted::default(), limits)?;
        let base = with_instruments(self.base()?, &mut all)?;
        fits(&base, &connection, &self.state_dir).map_err(|problem| ServiceError::wrong("", problem))?;
        all.set_active(name, true, clock::now_ns())?;
        match self.take_up(&connection) {
            Ok(changes) => {
                let text = match changes.is_empty() {
                    true => "wanted: connected from the next start on".to_string(),
                    false => changes.join("; "),
                };
                note(&mut all, &connection, "activate", Ok(&text), json!({}))?;
                Ok(Changed { connection: self.get(name)?, changes })
            }
            Err(problem) => {
                all.set_active(name, false, clock::now_ns())?;
                note(&mut all, &connection, "activate", Err(&problem), json!({}))?;
                Err(ServiceError::Engine(problem))
            }
        }
    }

    /// Lets it go, by the running engine at once.
    ///
    /// # Errors
    /// [`ServiceError`]: it is not there, is read-only, or the engine did not take it up.
    pub fn deactivate(&self, name: &str) -> Result<Changed, ServiceError> {
        let connection = self.kept(name)?;
        let mut all = self.open()?;
        let changes = self.let_go(&mut all, &connection)?;
        let text = if changes.is_empty() { "not wanted".to_string() } else { changes.join("; ") };
        note(&mut all, &connection, "deactivate", Ok(&text), json!({}))?;
        Ok(Changed { connection: self.get(name)?, changes })
    }

    fn let_go(&self, all: &mut Connections, connection: &DataConnection) -> Result<Vec<String>, ServiceError> {
        all.set_active(&connection.name, false, clock::now_ns())?;
        all.set_status(&connection.name, Status::Inactive, None, None)?;
        if !connection.is_active {
            return Ok(Vec::new());
        }
        self.take_up(connection).map_err(ServiceError::Engine)
    }

    /// Forgets it and its secrets; its log stays. How many rows were deleted with it.
    ///
    /// # Errors
    /// [`ServiceError`]: it is not there, is read-only, or its rows cannot be deleted, and then it stays, not wanted.
    pub fn remove(&self, name: &str, data: Data) -> Result<u64, ServiceError> {
        let connection = self.kept(name)?;
        let mut all = self.open()?;
        self.let_go(&mut all, &connection)?;
        let rows = match data {
            Data::Keep => 0,
            Data::Delete => match self.engine.erase(name) {
                Ok(rows) => rows,
                Err(problem) => {
                    let problem = format!("its rows are not deleted, so it stays: {problem}");
                    note(&mut all, &connection, "remove", Err(&problem), json!({}))?;
                    return Err(ServiceError::Engine(problem));
                }
            },
        };
        all.remove(name)?;
        let text = match data {
            Data::Keep => "forgotten with its secrets; its log and what it stored stay".to_string(),
            Data::Delete => format!("forgotten with its secrets and {rows} stored rows; its log stays"),
        };
        note(&mut all, &connection, "remove", Ok(&text), json!({ "rows": rows }))?;
        Ok(rows)
    }

    /// What was done with it, newest first, with the ids of the entries; also with one that was removed.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there never was one, [`ServiceError::Control`] or [`ServiceError::Engine`].
    pub fn logs(&self, name: &str, filter: &LogFilter) -> Result<Vec<(i64, LogEntry)>, ServiceError> {
        let mut all = self.open()?;
        let entries = all.logs(name, filter)?;
        if entries.is_empty() && self.find(name).is_err() {
            let any = LogFilter { limit: 1, ..LogFilter::default() };
            if all.logs(name, &any)?.is_empty() {
                return Err(ServiceError::NotFound(name.into()));
            }
        }
        Ok(entries)
    }

    /// Lets the engine take up a change, and what it says of this connection. What else differs is not theirs to know.
    fn take_up(&self, connection: &DataConnection) -> Result<Vec<String>, String> {
        let mut changes = self.engine.connections_changed()?;
        let name = format!("sources.{}", connection.name);
        let of_it = |rest: &str| rest.starts_with([':', '.']);
        changes.retain(|line| line.strip_prefix(&name).is_some_and(of_it) || line.starts_with("instruments."));
        Ok(changes)
    }

    /// Makes the instruments that its symbols stand for and nobody has yet.
    fn keep_instruments(
        &self,
        all: &mut Connections,
        spec: &SourceSpec,
        wanted: &Wanted,
        limits: &Limits,
    ) -> Result<(), ServiceError> {
        let configured = super::instruments(&self.base()?).map_err(|e| ServiceError::Engine(e.to_string()))?;
        let known = all.instruments()?;
        let made = wanted::instruments(spec, wanted, &configured, &known, limits)?;
        if made.is_empty() { Ok(()) } else { Ok(all.keep_instruments(&made, clock::now_ns())?) }
    }

    /// Whether those who do not manage connections may make them to this machine and private networks: the key
    /// `console.allow_private_hosts`.
    ///
    /// # Errors
    /// [`ServiceError::Engine`].
    pub fn allows_private_hosts(&self) -> Result<bool, ServiceError> {
        let console: Table = self.base()?.section("console").map_err(|e| ServiceError::Engine(e.to_string()))?;
        Ok(console.get("allow_private_hosts").and_then(toml::Value::as_bool).unwrap_or(false))
    }

    /// Words of the adapters that users may make connections with; `None` means all.
    ///
    /// # Errors
    /// [`ServiceError::Control`].
    pub fn approved_adapters(&self) -> Result<Option<Vec<String>>, ServiceError> {
        let approved = Settings::open(&self.state_dir).and_then(|settings| settings.approved_providers());
        Ok(approved?)
    }

    fn open(&self) -> Result<Connections, ServiceError> {
        Ok(Connections::open(&self.state_dir)?)
    }

    fn base(&self) -> Result<Config, ServiceError> {
        self.engine.base().map_err(ServiceError::Engine)
    }

    /// The sections of files, by name.
    fn configured(&self) -> Result<Vec<(String, Table)>, ServiceError> {
        let sections: std::collections::BTreeMap<String, Table> =
            self.base()?.section("sources").map_err(|e| ServiceError::Engine(e.to_string()))?;
        Ok(sections.into_iter().collect())
    }

    fn find(&self, name: &str) -> Result<Found, ServiceError> {
        if let Some((_, table)) = self.configured()?.into_iter().find(|(known, _)| known == name) {
            return Ok(Found::Configured(table));
        }
        Ok(Found::Kept(Box::new(self.open()?.get(name)?)))
    }

    fn kept(&self, name: &str) -> Result<DataConnection, ServiceError> {
        match self.find(name)? {
            Found::Kept(connection) => Ok(*connection),
            Found::Configured(_) => Err(ServiceError::ReadOnly(name.into())),
        }
    }

    fn spec(&self, name: &str) -> Result<SourceSpec, ServiceError> {
        Ok(match self.find(name)? {
            Found::Kept(connection) => source_of(&connection, &self.state_dir)?,
            Found::Configured(table) => one_source(name, table)?,
        })
    }
}

/// A draft about which nothing is said yet.
fn empty(adapter: &str) -> Draft {
    Draft {
        adapter: adapter.into(),
        provider: String::new(),
        config: Table::new(),
        stores_ticks: true,
        retention_days: RETENTION_DAYS,
        timeframes: Vec::new(),
    }
}

/// A connection as it would be: to see whether it makes sense.
fn unkept(name: &str, owner: &str, draft: &Draft) -> DataConnection {
    DataConnection {
        id: 0,
        name: name.into(),
        owner: owner.into(),
        draft: draft.clone(),
        is_active: false,
        status: Status::Inactive,
        last_connected_ns: None,
        last_error: None,
        created_ns: 0,
        changed_ns: 0,
        has_credentials: false,
    }
}

/// Keeps what was done in the connection's log.
fn note(
    all: &mut Connections,
    connection: &DataConnection,
    action: &str,
    outcome: Result<&str, &str>,
    metadata: Json,
) -> Result<(), ServiceError> {
    let (succeeded, message) = (outcome.is_ok(), outcome.unwrap_or_else(|problem| problem).to_string());
    let entry = LogEntry { at_ns: clock::now_ns(), action: action.into(), succeeded, message, metadata };
    Ok(all.log(connection, &entry)?)
}

/// Secrets that stand in for those that are not given.
fn stand_in(stored: Credentials, given: &Credentials) -> Credentials {
    let mut all = stored;
    for key in given.keys() {
        all.set(key, given.get(key).unwrap_or_default());
    }
    all
}

#[cfg(test)]
mod tests;
