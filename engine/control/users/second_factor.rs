//! The second factor: codes of six digits for thirty seconds each (RFC 6238, SHA-1, as authenticator apps have them).

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Transaction, params};
use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, TOTP};
use zeroize::Zeroizing;

use super::attempts::Attempt;
use super::audit::Deed;
use super::sessions::random;
use super::{Abort, Hidden, SignedIn, UserError, Users};
use crate::control::vault::{KeyName, KeyPlace, Owner, Vault, VaultError};

const DIGITS: usize = 6;
const STEP_S: u64 = 30;

/// Codes before and after that of now, for clocks that are not quite right.
const SKEW: u64 = 1;

/// What an authenticator app is given, once.
#[derive(Debug)]
pub struct Enrolment {
    /// In base 32, to be typed.
    pub secret: Hidden,
    /// The same as a link, for a QR code.
    pub uri: Hidden,
}

fn owner_of(user_id: i64) -> Owner {
    Owner { kind: "user_totp", id: user_id }
}

fn totp(secret: &[u8], name: &str) -> Result<TOTP, UserError> {
    let made = TOTP::new(Algorithm::SHA1, DIGITS, 0, STEP_S, secret.to_vec(), Some("Tickwire".into()), name.into());
    made.map_err(|error| UserError::Machine(format!("a second factor: {error}")))
}

/// The step whose code it is, if it is later than `used`.
fn step_of(totp: &TOTP, code: &Hidden, used: u64, now_ns: i64) -> Option<u64> {
    let now = u64::try_from(now_ns / 1_000_000_000).unwrap_or(0) / STEP_S;
    let text: Zeroizing<String> = Zeroizing::new(code.show().chars().filter(|c| !c.is_whitespace()).collect());
    let steps = now.saturating_sub(SKEW)..=now + SKEW;
    steps.filter(|step| *step > used).find(|step| {
        let expected = Zeroizing::new(totp.generate(step * STEP_S));
        expected.as_bytes().ct_eq(text.as_bytes()).into()
    })
}

/// A sealed secret of a user and the step that was used last.
fn sealed(db: &Transaction<'_>, column: &str, user_id: i64) -> rusqlite::Result<Option<(Vec<u8>, u64)>> {
    let sql = format!("SELECT {column}, totp_step FROM users WHERE id = ?1 AND {column} IS NOT NULL");
    let found = db.query_row(&sql, params![user_id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?))).optional()?;
    Ok(found.map(|(sealed, step)| (sealed, u64::try_from(step).unwrap_or(0))))
}

/// Uses a code up; false when it is not right or was used before.
pub(super) fn use_code(
    db: &Transaction<'_>,
    place: &KeyPlace,
    user_id: i64,
    code: &Hidden,
    now_ns: i64,
) -> Result<bool, Abort> {
    take(db, place, "totp_secret", user_id, code, now_ns)
}

fn take(
    db: &Transaction<'_>,
    place: &KeyPlace,
    column: &str,
    user_id: i64,
    code: &Hidden,
    now_ns: i64,
) -> Result<bool, Abort> {
    let Some((sealed, used)) = sealed(db, column, user_id)? else { return Ok(false) };
    let secret = vault(db, place)?.ok_or_else(gone)?.open(owner_of(user_id), &sealed)?;
    let Some(step) = step_of(&totp(&secret, "")?, code, used, now_ns) else { return Ok(false) };
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    db.execute("UPDATE users SET totp_step = ?2 WHERE id = ?1", params![user_id, step])?;
    Ok(true)
}

/// The key in use, also when a rotation was broken off between the database and the key's file; none where there is none
/// yet.
fn vault(db: &Transaction<'_>, place: &KeyPlace) -> Result<Option<Vault>, Abort> {
    if place.is_rotating() {
        let sql = "SELECT key_name FROM vault";
        let name = db.query_row(sql, [], |row| row.get::<_, [u8; 4]>(0).map(KeyName)).optional()?;
        name.map_or(Ok(()), |name| place.finish_rotation(name))?;
    }
    Ok(place.vault()?)
}

fn gone() -> VaultError {
    let problem = "is gone, and with it the secrets of second factors; expected it back, or an administrator to take the \
                   second factor away";
    VaultError::Key { place: "vault.key".into(), problem: problem.into() }
}

/// Notes with what key secrets are sealed, where nothing has been.
fn keep_key(db: &Transaction<'_>, key: KeyName) -> rusqlite::Result<()> {
    let sql = "INSERT INTO vault (only_row, key_name) VALUES (1, ?1) ON CONFLICT DO NOTHING";
    db.execute(sql, params![key.0]).map(|_| ())
}

/// Takes the second factor of a user away.
pub(super) fn forget(db: &Transaction<'_>, user_id: i64) -> rusqlite::Result<()> {
    db.execute("UPDATE users SET totp_secret = NULL, totp_pending = NULL WHERE id = ?1", params![user_id]).map(|_| ())
}

/// Seals every secret of second factors anew, as a part of changing the key; how many those were.
///
/// # Errors
/// Of the database; the inner one of a sealed secret.
pub fn reseal(db: &Transaction<'_>, now: &Vault, next: &Vault) -> rusqlite::Result<Result<usize, VaultError>> {
    let mut count = 0;
    for column in ["totp_secret", "totp_pending"] {
        let mut statement = db.prepare(&format!("SELECT id, {column} FROM users WHERE {column} IS NOT NULL"))?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        for (id, sealed) in rows.collect::<rusqlite::Result<Vec<_>>>()? {
            match now.open(owner_of(id), &sealed).and_then(|secret| next.seal(owner_of(id), &secret)) {
                Ok(sealed) => {
                    db.execute(&format!("UPDATE users SET {column} = ?2 WHERE id = ?1"), params![id, sealed])?;
                }
                Err(error) => return Ok(Err(error)),
            }
            count += 1;
        }
    }
    Ok(Ok(count))
}

impl Users {
    /// Begins a second factor for the user of a session; it counts once a code confirms it.
    ///
    /// # Errors
    /// [`UserError::Conflict`] when there is one, [`UserError::Wrong`] for the password, [`UserError::TooMany`].
    pub fn enrol(
        &self,
        who: &SignedIn,
        password: &Hidden,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<Enrolment, UserError> {
        let user = &who.user;
        if user.totp {
            return Err(UserError::Conflict("there is a second factor already: remove it first".into()));
        }
        self.ask_again(user, password, "password", address, now_ns)?;
        let secret = random::<20>()?;
        self.write(|db| {
            // While this is written nobody changes the key.
            let vault = match vault(db, &self.place)? {
                Some(vault) => vault,
                None => self.place.vault_or_new()?,
            };
            let sealed = vault.seal(owner_of(user.id), secret.as_slice())?;
            db.execute("UPDATE users SET totp_pending = ?2 WHERE id = ?1", params![user.id, sealed])?;
            keep_key(db, vault.key_name())?;
            Ok(Deed::own(&user.name, "totp", address, "began a second factor").note(db, now_ns)?)
        })?;
        let totp = totp(secret.as_slice(), &user.name)?;
        Ok(Enrolment { secret: Hidden::new(totp.get_secret_base32()), uri: Hidden::new(totp.get_url()) })
    }

    /// Confirms it by a code: from now on signing in takes one.
    ///
    /// # Errors
    /// [`UserError::Conflict`] when none was begun, [`UserError::Wrong`] for the code, [`UserError::TooMany`].
    pub fn confirm(
        &self,
        who: &SignedIn,
        code: &Hidden,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<(), UserError> {
        let user = &who.user;
        let attempt = Attempt::new(&user.name, address);
        self.write(|db| {
            if sealed(db, "totp_pending", user.id)?.is_none() {
                return Err(UserError::Conflict("no second factor was begun, or it is on already".into()).into());
            }
            attempt.begin(db, now_ns)
        })?;
        let right = self.write(|db| {
            if !take(db, &self.place, "totp_pending", user.id, code, now_ns)? {
                return Ok(false);
            }
            let sql = "UPDATE users SET totp_secret = totp_pending, totp_pending = NULL WHERE id = ?1";
            db.execute(sql, params![user.id])?;
            attempt.take_back(db)?;
            Deed::own(&user.name, "totp", address, "turned the second factor on").note(db, now_ns)?;
            Ok(true)
        })?;
        let problem = "is not the code of now; is the clock of this machine and that of the device right?";
        if right { Ok(()) } else { Err(UserError::Wrong { field: "code", problem: problem.into() }) }
    }

    /// Takes it away.
    ///
    /// # Errors
    /// [`UserError::Wrong`] for the password, [`UserError::TooMany`].
    pub fn remove_factor(
        &self,
        who: &SignedIn,
        password: &Hidden,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<(), UserError> {
        let user = &who.user;
        self.ask_again(user, password, "password", address, now_ns)?;
        self.write(|db| {
            forget(db, user.id)?;
            Ok(Deed::own(&user.name, "totp", address, "turned the second factor off").note(db, now_ns)?)
        })
    }
}
