//! Who did what to whom.

use std::net::IpAddr;

use rusqlite::{Row, params};

use super::{Actor, UserError, Users};

/// Entries that stay.
const ENTRIES_MAX: i64 = 100_000;

/// An entry of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the order.
    pub id: i64,
    /// When, nanoseconds UTC.
    pub at_ns: i64,
    /// Name of the user; empty for nobody who is signed in, and for the command line.
    pub actor: String,
    /// `sign_in`, `add_user`, …
    pub action: String,
    /// To whom or what; empty where there is none.
    pub subject: String,
    /// Whether it came off.
    pub succeeded: bool,
    /// Where from; empty for the command line.
    pub address: String,
    /// In words.
    pub message: String,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Done by this user.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// That came off, or did not.
    pub succeeded: Option<bool>,
    /// Older than this entry.
    pub before: Option<i64>,
}

impl Users {
    /// The newest entries that fit, newest first.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn audit(&self, filter: &AuditFilter, most: u32) -> Result<Vec<AuditEntry>, UserError> {
        let sql = "SELECT id, at_ns, actor, action, subject, succeeded, address, message FROM audit \
                   WHERE (?1 IS NULL OR actor = ?1) AND (?2 IS NULL OR action = ?2) \
                   AND (?3 IS NULL OR succeeded = ?3) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5";
        let AuditFilter { actor, action, succeeded, before } = filter;
        self.read(|db| {
            let mut statement = db.prepare_cached(sql)?;
            let entries = statement.query_map(params![actor, action, succeeded, before, most], entry)?;
            Ok(entries.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Notes what a user did elsewhere, such as changing settings.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn note(&self, actor: &Actor, action: &str, message: &str, now_ns: i64) -> Result<(), UserError> {
        self.write(|db| Ok(Deed::of(actor, action, "", message).note(db, now_ns)?))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get(0)?,
        at_ns: row.get(1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        succeeded: row.get(5)?,
        address: row.get(6)?,
        message: row.get(7)?,
    })
}

/// What is noted.
pub(super) struct Deed<'a> {
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) succeeded: bool,
    pub(super) address: Option<IpAddr>,
    pub(super) message: &'a str,
}

impl<'a> Deed<'a> {
    /// One that came off.
    pub(super) fn of(actor: &'a Actor, action: &'a str, subject: &'a str, message: &'a str) -> Deed<'a> {
        Deed { actor: actor.name(), action, subject, succeeded: true, address: actor.address(), message }
    }

    /// One of a user with themselves.
    pub(super) fn own(name: &'a str, action: &'a str, address: Option<IpAddr>, message: &'a str) -> Deed<'a> {
        Deed { actor: name, action, subject: name, succeeded: true, address, message }
    }

    pub(super) fn note(&self, db: &rusqlite::Connection, now_ns: i64) -> rusqlite::Result<()> {
        let Deed { actor, action, subject, succeeded, address, message } = self;
        let address = address.map(|address| address.to_canonical().to_string()).unwrap_or_default();
        let sql = "INSERT INTO audit (at_ns, actor, action, subject, succeeded, address, message) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        db.execute(sql, params![now_ns, actor, action, subject, succeeded, address, message])?;
        db.execute("DELETE FROM audit WHERE id <= ?1", params![db.last_insert_rowid() - ENTRIES_MAX])?;
        Ok(())
    }
}
