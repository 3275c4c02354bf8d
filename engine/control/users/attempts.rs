//! Slows guessing down: by the name that is tried, and by where it is tried from.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use super::{Abort, UserError};

const SECOND_NS: i64 = 1_000_000_000;

/// Wrong ones in a row for one name before each next one waits.
const FREE_BY_NAME: i64 = 5;

/// The same from one address, behind which there may be many people.
const FREE_BY_ADDRESS: i64 = 20;

/// The longest wait.
const WAIT_MAX_S: i64 = 15 * 60;

/// What was tried is forgotten after as much quiet.
const FORGET_NS: i64 = 24 * 3600 * SECOND_NS;

/// Names and addresses that are remembered at one time.
const KEYS_MAX: i64 = 10_000;

/// What an attempt is counted under.
pub(super) struct Attempt {
    name: [u8; 32],
    address: Option<[u8; 32]>,
}

impl Attempt {
    pub(super) fn new(name: &str, address: Option<IpAddr>) -> Attempt {
        let key = |kind: &str, text: &str| Sha256::digest(format!("{kind}:{text}")).into();
        // The names of users are equal whatever their capitals.
        let name = key("name", &name.to_ascii_lowercase());
        Attempt { name, address: address.map(|address| key("address", &network(address))) }
    }

    fn keys(&self) -> impl Iterator<Item = (&[u8; 32], i64)> {
        std::iter::once((&self.name, FREE_BY_NAME)).chain(self.address.iter().map(|key| (key, FREE_BY_ADDRESS)))
    }

    /// Counts it as wrong until [`Attempt::take_back`] or [`Attempt::right`] says otherwise, so that many at once are
    /// not looked at before any of them counts.
    pub(super) fn begin(&self, db: &Transaction<'_>, now_ns: i64) -> Result<(), Abort> {
        let mut wait_ns = 0;
        for (key, free) in self.keys() {
            let sql = "SELECT failures, last_ns FROM sign_in_attempts WHERE key = ?1";
            let found: Option<(i64, i64)> =
                db.query_row(sql, params![key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let Some((failures, last_ns)) = found else { continue };
            // A clock that was set back must not keep anybody out for longer.
            let since_ns = (now_ns - last_ns).max(0);
            wait_ns = wait_ns.max(wait_s(failures, free) * SECOND_NS - since_ns);
        }
        if wait_ns > 0 {
            let seconds = u64::try_from((wait_ns + SECOND_NS - 1) / SECOND_NS).unwrap_or(1);
            return Err(UserError::TooMany(seconds).into());
        }
        db.execute("DELETE FROM sign_in_attempts WHERE last_ns < ?1", params![now_ns - FORGET_NS])?;
        for (key, _) in self.keys() {
            let sql = "INSERT INTO sign_in_attempts (key, failures, last_ns) VALUES (?1, 1, ?2) \
                       ON CONFLICT DO UPDATE SET failures = failures + 1, last_ns = excluded.last_ns";
            db.execute(sql, params![key, now_ns])?;
        }
        let sql = "DELETE FROM sign_in_attempts WHERE key IN (SELECT key FROM sign_in_attempts ORDER BY last_ns DESC \
                   LIMIT -1 OFFSET ?1)";
        db.execute(sql, params![KEYS_MAX])?;
        Ok(())
    }

    /// It was neither right nor wrong.
    pub(super) fn take_back(&self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        for (key, _) in self.keys() {
            db.execute("UPDATE sign_in_attempts SET failures = failures - 1 WHERE key = ?1", params![key])?;
        }
        db.execute("DELETE FROM sign_in_attempts WHERE failures <= 0", [])?;
        Ok(())
    }

    /// It was right: the name is free again. The address is not, or one account would pay for guessing at others.
    pub(super) fn right(&self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        self.take_back(db)?;
        db.execute("DELETE FROM sign_in_attempts WHERE key = ?1", params![self.name])?;
        Ok(())
    }
}

/// Seconds to wait after so many wrong ones: 1, 2, 4, … from the last free one on.
fn wait_s(failures: i64, free: i64) -> i64 {
    let over = failures - free;
    if over < 0 { 0 } else { 1_i64.checked_shl(over.min(30) as u32).unwrap_or(WAIT_MAX_S).min(WAIT_MAX_S) }
}

/// An IPv6 customer has a whole network of 64 bits.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        v4 => v4.to_string(),
    }
}
