//! Users of the console: who they are, what they may, how they sign in.
//!
//! Passwords are kept as argon2id hashes, sessions and API tokens as the SHA-256 of random secrets, and the secret of a
//! second factor is sealed. All times are of the machine's clock, also while a recording is served.

mod attempts;
mod audit;
mod first_run;
mod model;
mod password;
mod second_factor;
mod sessions;
mod streams;
mod tokens;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::ControlError;
use super::database::Database;
use super::vault::{KeyPlace, VaultError};

pub use audit::{AuditEntry, AuditFilter};
pub use model::{Actor, Change, NewUser, Permission, Role, User};
pub use password::{Hidden, PASSWORD_MAX, PASSWORD_MIN};
pub use second_factor::{Enrolment, reseal};
pub use sessions::{Lifetimes, SignIn, SignedIn, Ticket};
pub use streams::Streams;
pub use tokens::{ApiToken, NewToken, Scope};

use audit::Deed;
use streams::Table;

/// Why something about users was not done. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The key that seals the secrets of second factors.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A value that cannot be taken.
    #[error("{field}: {problem}")]
    Wrong {
        /// The field.
        field: &'static str,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// There is no such user, token or entry.
    #[error("{0}: there is none")]
    Unknown(String),
    /// It would clash with what is there.
    #[error("{0}")]
    Conflict(String),
    /// Who asks may not.
    #[error("{0}")]
    NotAllowed(String),
    /// The name, password or code is not right; which of them is not told.
    #[error("the name, the password or the code is not right")]
    WrongCredentials,
    /// The password is right and a code is needed too.
    #[error("this account has a second factor: give the code as well")]
    TotpRequired,
    /// The account is kept out.
    #[error("this account is disabled; an administrator can enable it")]
    Disabled,
    /// Too many wrong passwords.
    #[error("too many wrong passwords; try again in {0} s")]
    TooMany(u64),
    /// The machine gave no random numbers, or could not hash.
    #[error("{0}")]
    Machine(String),
}

/// Why a transaction is taken back.
enum Abort {
    Sql(rusqlite::Error),
    Told(UserError),
}

impl From<rusqlite::Error> for Abort {
    fn from(error: rusqlite::Error) -> Abort {
        Abort::Sql(error)
    }
}

impl From<UserError> for Abort {
    fn from(error: UserError) -> Abort {
        Abort::Told(error)
    }
}

impl From<VaultError> for Abort {
    fn from(error: VaultError) -> Abort {
        Abort::Told(error.into())
    }
}

/// The users of a state directory. Several processes may hold them; what one changes holds in the others at once. Its
/// methods wait for the disk.
pub struct Users {
    database: Mutex<Database>,
    place: KeyPlace,
    lifetimes: Lifetimes,
    first_run: Mutex<Option<[u8; 32]>>,
    streams: Table,
    seen_version: AtomicI64,
}

impl Users {
    /// Opens them.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn open(state_dir: &Path, lifetimes: Lifetimes) -> Result<Users, UserError> {
        let users = Users {
            database: Mutex::new(Database::open(state_dir)?),
            place: KeyPlace::find(state_dir),
            lifetimes,
            first_run: Mutex::new(None),
            streams: Table::default(),
            seen_version: AtomicI64::new(0),
        };
        users.refresh()?;
        Ok(users)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn list(&self) -> Result<Vec<User>, UserError> {
        self.read(|db| {
            let mut statement = db.prepare(&format!("{SELECT} ORDER BY name"))?;
            Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// [`UserError::Unknown`] or [`UserError::Control`].
    pub fn get(&self, name: &str) -> Result<User, UserError> {
        self.read(|db| one(db, name))
    }

    /// Makes one.
    ///
    /// # Errors
    /// [`UserError::Wrong`] with the field, [`UserError::Conflict`] when the name is taken, [`UserError::NotAllowed`].
    pub fn add(&self, actor: &Actor, new: &NewUser, now_ns: i64) -> Result<User, UserError> {
        let permissions = if new.role == Role::Staff { new.permissions.clone() } else { Vec::new() };
        actor.may_manage(new.role, &permissions)?;
        let made = self.made(new)?;
        self.write(|db| {
            let user = insert(db, new, &made, now_ns)?;
            let message = format!("made as {}", described(&user));
            Deed::of(actor, "add_user", &user.name, &message).note(db, now_ns)?;
            Ok(user)
        })
    }

    /// Checks what does not depend on the others and hashes the password, which takes long.
    fn made(&self, new: &NewUser) -> Result<String, UserError> {
        check_name(&new.name)?;
        check_sources(new.sources.as_deref())?;
        password::check(&new.password, "password")?;
        password::hash(&new.password)
    }

    /// Changes one. A new password, or being disabled, ends their sessions.
    ///
    /// # Errors
    /// [`UserError::Unknown`], [`UserError::Wrong`], [`UserError::NotAllowed`], or [`UserError::Conflict`] when nobody
    /// would be left to administrate.
    pub fn edit(&self, actor: &Actor, name: &str, change: &Change, now_ns: i64) -> Result<User, UserError> {
        let hash = match &change.password {
            Some(new) => {
                password::check(new, "password")?;
                Some(password::hash(new)?)
            }
            None => None,
        };
        if let Some(sources) = &change.sources {
            check_sources(sources.as_deref())?;
        }
        let user = self.write(|db| {
            let administrators_before = administrators(db)?;
            let before = one(db, name)?;
            actor.may_manage(before.role, &before.permissions)?;
            let after = changed(&before, change);
            if !actor.is_above_all() && actor.name() == before.name {
                let same = |u: &User| (u.role, u.permissions.clone(), u.sources.clone(), u.disabled);
                if same(&before) != same(&after) {
                    return Err(UserError::NotAllowed("nobody changes what they may themselves".into()).into());
                }
            }
            actor.may_manage(after.role, &after.permissions)?;
            update(db, &after, now_ns)?;
            if let Some(hash) = &hash {
                db.execute("UPDATE users SET password = ?2 WHERE id = ?1", params![before.id, hash])?;
            }
            if change.totp_off {
                second_factor::forget(db, before.id)?;
            }
            if hash.is_some() || after.disabled {
                sessions::end_all(db, before.id)?;
            }
            keep_an_administrator(db, administrators_before)?;
            let message = said(&before, &after, change);
            Deed::of(actor, "edit_user", &before.name, &message).note(db, now_ns)?;
            one(db, name)
        })?;
        self.refresh()?;
        Ok(user)
    }

    /// Removes one with their sessions and tokens. Whose connections are still there stays: they would be nobody's, and
    /// the next of that name would find them.
    ///
    /// # Errors
    /// [`UserError::Unknown`], [`UserError::NotAllowed`] or [`UserError::Conflict`].
    pub fn remove(&self, actor: &Actor, name: &str, now_ns: i64) -> Result<(), UserError> {
        self.write(|db| {
            let administrators_before = administrators(db)?;
            let user = one(db, name)?;
            actor.may_manage(user.role, &user.permissions)?;
            let mut statement = db.prepare("SELECT name FROM data_connections WHERE owner = ?1 ORDER BY name")?;
            let owned: Vec<String> =
                statement.query_map(params![user.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            if !owned.is_empty() {
                let problem = format!("{} owns connections: remove {} first", user.name, owned.join(", "));
                return Err(UserError::Conflict(problem).into());
            }
            db.execute("DELETE FROM users WHERE id = ?1", params![user.id])?;
            keep_an_administrator(db, administrators_before)?;
            let message = format!("removed, was {}", described(&user));
            Ok(Deed::of(actor, "remove_user", &user.name, &message).note(db, now_ns)?)
        })?;
        self.refresh()
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, f: impl FnOnce(&rusqlite::Connection) -> Result<T, Abort>) -> Result<T, UserError> {
        self.lock().run(|db| told(f(db)))?
    }

    /// All of it or nothing.
    fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Abort>) -> Result<T, UserError> {
        self.lock().run(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match f(&transaction) {
                Ok(done) => {
                    transaction.commit()?;
                    Ok(Ok(done))
                }
                // Dropping the transaction takes it back.
                aborted => told(aborted),
            }
        })?
    }
}

fn told<T>(done: Result<T, Abort>) -> rusqlite::Result<Result<T, UserError>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(Abort::Told(error)) => Ok(Err(error)),
        Err(Abort::Sql(error)) => Err(error),
    }
}

const SELECT: &str = "SELECT users.id, users.name, role, permissions, is_disabled, totp_secret IS NOT NULL, sources, \
                      users.created_ns, changed_ns, last_signed_in_ns FROM users";

fn read(row: &Row<'_>) -> rusqlite::Result<User> {
    let role: String = row.get(2)?;
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        // What a later version wrote gives nothing.
        role: Role::ALL.into_iter().find(|known| known.word() == role).unwrap_or(Role::Demo),
        permissions: words(&row.get::<_, String>(3)?),
        disabled: row.get(4)?,
        totp: row.get(5)?,
        sources: row.get::<_, Option<String>>(6)?.map(|text| words(&text)),
        created_ns: row.get(7)?,
        changed_ns: row.get(8)?,
        last_signed_in_ns: row.get(9)?,
    })
}

/// The words of a JSON array that are known.
fn words<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    let all: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    all.into_iter().filter_map(|word| serde_json::from_value(word).ok()).collect()
}

fn json<T: Serialize>(words: &[T]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

fn one(db: &rusqlite::Connection, name: &str) -> Result<User, Abort> {
    let found = db.query_row(&format!("{SELECT} WHERE name = ?1"), params![name], read).optional()?;
    found.ok_or_else(|| UserError::Unknown("a user of this name".into()).into())
}

fn insert(db: &Transaction<'_>, new: &NewUser, hash: &str, now_ns: i64) -> Result<User, Abort> {
    let taken = db.query_row("SELECT 1 FROM users WHERE name = ?1", params![new.name], |_| Ok(())).optional()?;
    if taken.is_some() {
        return Err(UserError::Conflict(format!("a user named {} is there already", new.name)).into());
    }
    let permissions: &[Permission] = if new.role == Role::Staff { &new.permissions } else { &[] };
    let sources = new.sources.as_deref().map(json);
    db.execute(
        "INSERT INTO users (name, password, role, permissions, sources, is_disabled, created_ns, changed_ns) \
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)",
        params![new.name, hash, new.role.word(), json(permissions), sources, now_ns],
    )?;
    one(db, &new.name)
}

fn update(db: &Transaction<'_>, user: &User, now_ns: i64) -> rusqlite::Result<()> {
    let sources = user.sources.as_deref().map(json);
    let sql =
        "UPDATE users SET role = ?2, permissions = ?3, sources = ?4, is_disabled = ?5, changed_ns = ?6 WHERE id = ?1";
    db.execute(sql, params![user.id, user.role.word(), json(&user.permissions), sources, user.disabled, now_ns])?;
    Ok(())
}

fn changed(before: &User, change: &Change) -> User {
    let mut after = before.clone();
    after.role = change.role.unwrap_or(before.role);
    if let Some(permissions) = &change.permissions {
        after.permissions.clone_from(permissions);
    }
    if after.role != Role::Staff {
        after.permissions.clear();
    }
    if let Some(sources) = &change.sources {
        after.sources.clone_from(sources);
    }
    after.disabled = change.disabled.unwrap_or(before.disabled);
    after
}

fn described(user: &User) -> String {
    let permissions: Vec<&str> = user.permissions.iter().map(|permission| permission.word()).collect();
    if permissions.is_empty() {
        user.role.word().into()
    } else {
        format!("{} with {}", user.role.word(), permissions.join(", "))
    }
}

fn said(before: &User, after: &User, change: &Change) -> String {
    let mut parts = Vec::new();
    if described(before) != described(after) {
        parts.push(format!("{}, was {}", described(after), described(before)));
    }
    if before.sources != after.sources {
        let all = || "all sources".to_string();
        parts.push(format!("reads {}", after.sources.as_ref().map_or_else(all, |globs| globs.join(", "))));
    }
    if before.disabled != after.disabled {
        parts.push(if after.disabled { "disabled" } else { "enabled" }.into());
    }
    if change.password.is_some() {
        parts.push("new password".into());
    }
    if change.totp_off && before.totp {
        parts.push("second factor taken away".into());
    }
    if parts.is_empty() { "nothing changed".into() } else { parts.join("; ") }
}

fn administrators(db: &rusqlite::Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM users WHERE role = 'administrator' AND is_disabled = 0";
    db.query_row(sql, [], |row| row.get(0))
}

/// Refuses what was just written when it leaves nobody to administrate.
fn keep_an_administrator(db: &Transaction<'_>, before: i64) -> Result<(), Abort> {
    if before == 0 || administrators(db)? > 0 {
        return Ok(());
    }
    let problem = "this is the last enabled administrator, who cannot be removed, disabled or given another role";
    Err(UserError::Conflict(problem.into()).into())
}

/// Longest name.
pub const NAME_MAX: usize = 64;

fn check_name(name: &str) -> Result<(), UserError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    let problem = format!("expected 1 to {NAME_MAX} letters, digits, _, - and .");
    Err(UserError::Wrong { field: "name", problem })
}

/// Most globs of one user, and the longest.
const SOURCES_MAX: usize = 100;
const GLOB_MAX: usize = 200;

fn check_sources(globs: Option<&[String]>) -> Result<(), UserError> {
    let wrong = |problem: String| Err(UserError::Wrong { field: "sources", problem });
    let globs = globs.unwrap_or_default();
    if globs.len() > SOURCES_MAX {
        return wrong(format!("{} globs, expected at most {SOURCES_MAX}", globs.len()));
    }
    for glob in globs {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.*?".contains(c);
        if !(1..=GLOB_MAX).contains(&glob.len()) || !glob.chars().all(fits) {
            return wrong(format!("expected globs of 1 to {GLOB_MAX} letters, digits, _, -, ., * and ?"));
        }
    }
    Ok(())
}
