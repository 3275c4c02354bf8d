//! Signing in and out, and who a request is from.

use std::net::IpAddr;

use hmac::{Hmac, Mac};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::attempts::Attempt;
use super::audit::Deed;
use super::{Abort, Hidden, SELECT, Scope, User, UserError, Users, password, read, second_factor};

const SECOND_NS: i64 = 1_000_000_000;

/// Times of use are kept to the minute, so that not every request writes.
pub(super) const USED_EVERY_NS: i64 = 60 * SECOND_NS;

/// How long a session lasts.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Without being used, nanoseconds.
    pub idle_ns: i64,
    /// At the most, nanoseconds.
    pub most_ns: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Lifetimes { idle_ns: 8 * 3600 * SECOND_NS, most_ns: 24 * 3600 * SECOND_NS }
    }
}

/// What somebody types to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Name of the user.
    pub name: String,
    /// Their password.
    pub password: Hidden,
    /// Six digits, with a second factor.
    pub code: Option<Hidden>,
    /// Where from.
    pub address: Option<IpAddr>,
}

/// What shows that a request is from somebody, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ticket {
    /// A session, by the hash of its id.
    Session([u8; 32]),
    /// An API token, by its hash.
    Token([u8; 32]),
}

/// Whoever a request is from.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The user, as they are now.
    pub user: User,
    /// What shows it.
    pub ticket: Ticket,
    /// Bound to the session; a token has none.
    pub csrf: Option<String>,
    /// What a token may; a session may everything its user may.
    pub scopes: Option<Vec<Scope>>,
    /// When it ends at the latest, nanoseconds UTC.
    pub expires_ns: Option<i64>,
}

/// Random bytes of the system.
///
/// # Errors
/// [`UserError::Machine`].
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, UserError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|e| UserError::Machine(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

/// In hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is kept of a random secret. It is long enough to need no salt.
pub(super) fn hashed(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Follows from the session's id and says nothing about it.
fn csrf_of(id: &str) -> String {
    // A key of any length is taken.
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(id.as_bytes());
    mac.map(|mac| hex(&mac.chain_update(b"csrf").finalize().into_bytes())).unwrap_or_default()
}

impl Users {
    /// Signs somebody in: the secret id of their new session, and who they are.
    ///
    /// # Errors
    /// [`UserError::WrongCredentials`], [`UserError::TotpRequired`], [`UserError::Disabled`], [`UserError::TooMany`].
    pub fn sign_in(&self, who: &SignIn, now_ns: i64) -> Result<(Hidden, SignedIn), UserError> {
        let SignIn { name, password, code, address } = who;
        let attempt = Attempt::new(name, *address);
        let started = self.write(|db| attempt.begin(db, now_ns));
        if let Err(UserError::TooMany(seconds)) = started {
            let known = self.hash_of(name)?.map(|(user, _)| user.name);
            let known = known.as_deref().unwrap_or(UNKNOWN);
            tracing::warn!(user = known, address = %shown(*address), "sign-in refused for {seconds} s: too many wrong");
        }
        started?;
        let found = self.hash_of(name)?;
        let right = password::verify(password, found.as_ref().map(|(_, hash)| hash.as_str()));
        let Some((user, _)) = found.filter(|_| right) else {
            // The name may be a password that was typed into the wrong field.
            let known = self.hash_of(name)?.map(|(user, _)| user.name);
            return self.refused(known.as_deref().unwrap_or(UNKNOWN), *address, "wrong password", now_ns);
        };
        if user.disabled {
            self.write(|db| Ok(attempt.take_back(db)?))?;
            self.refused::<()>(&user.name, *address, "the account is disabled", now_ns).ok();
            return Err(UserError::Disabled);
        }
        if user.totp {
            let Some(code) = code else {
                self.write(|db| Ok(attempt.take_back(db)?))?;
                return Err(UserError::TotpRequired);
            };
            if !self.use_code(&user, code, now_ns)? {
                return self.refused(&user.name, *address, "wrong code", now_ns);
            }
        }
        let id = Hidden::new(hex(random::<32>()?.as_slice()));
        let opened = self.write(|db| {
            attempt.right(db)?;
            let opened = self.open_session(db, user.id, &id, now_ns)?;
            Deed::own(&user.name, "sign_in", *address, "signed in").note(db, now_ns)?;
            Ok(opened)
        })?;
        Ok((id, opened))
    }

    /// Notes a refusal, in the log too.
    fn refused<T>(&self, name: &str, address: Option<IpAddr>, why: &str, now_ns: i64) -> Result<T, UserError> {
        tracing::warn!(user = name, address = %shown(address), "sign-in refused: {why}");
        self.write(|db| {
            let deed = Deed { actor: "", action: "sign_in", subject: name, succeeded: false, address, message: why };
            Ok(deed.note(db, now_ns)?)
        })?;
        Err(UserError::WrongCredentials)
    }

    fn hash_of(&self, name: &str) -> Result<Option<(User, String)>, UserError> {
        let sql = SELECT.replacen(" FROM users", ", password FROM users WHERE name = ?1", 1);
        self.read(|db| Ok(db.query_row(&sql, params![name], |row| Ok((read(row)?, row.get(10)?))).optional()?))
    }

    /// Opens one; what has ended meanwhile is swept out.
    pub(super) fn open_session(
        &self,
        db: &Transaction<'_>,
        user_id: i64,
        id: &Hidden,
        now_ns: i64,
    ) -> Result<SignedIn, Abort> {
        let (hash, expires_ns) = (hashed(id.show()), now_ns + self.lifetimes.most_ns);
        let sql = "DELETE FROM sessions WHERE expires_ns <= ?1 OR used_ns <= ?2";
        db.execute(sql, params![now_ns, now_ns - self.lifetimes.idle_ns])?;
        let sql =
            "INSERT INTO sessions (id_hash, user_id, created_ns, used_ns, expires_ns) VALUES (?1, ?2, ?3, ?3, ?4)";
        db.execute(sql, params![hash, user_id, now_ns, expires_ns])?;
        db.execute("UPDATE users SET last_signed_in_ns = ?2 WHERE id = ?1", params![user_id, now_ns])?;
        let user = db.query_row(&format!("{SELECT} WHERE id = ?1"), params![user_id], read)?;
        let (ticket, csrf) = (Ticket::Session(hash), Some(csrf_of(id.show())));
        Ok(SignedIn { user, ticket, csrf, scopes: None, expires_ns: Some(expires_ns) })
    }

    /// Who a session is of; `None` when it has ended, or its user is disabled.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn by_session(&self, id: &str, now_ns: i64) -> Result<Option<SignedIn>, UserError> {
        let found = self.session(&hashed(id), now_ns)?;
        Ok(found.map(|signed_in| SignedIn { csrf: Some(csrf_of(id)), ..signed_in }))
    }

    fn session(&self, hash: &[u8; 32], now_ns: i64) -> Result<Option<SignedIn>, UserError> {
        let sql = SELECT.replacen(
            " FROM users",
            ", used_ns, expires_ns FROM sessions JOIN users ON users.id = user_id WHERE id_hash = ?1 \
             AND is_disabled = 0",
            1,
        );
        let idle_ns = self.lifetimes.idle_ns;
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let of = |row: &Row<'_>| Ok((read(row)?, row.get::<_, i64>(10)?, row.get::<_, i64>(11)?));
            let Some((user, used_ns, expires_ns)) = statement.query_row(params![hash], of).optional()? else {
                return Ok(None);
            };
            if now_ns >= expires_ns || now_ns - used_ns >= idle_ns {
                return Ok(None);
            }
            if now_ns - used_ns >= USED_EVERY_NS {
                db.execute("UPDATE sessions SET used_ns = ?2 WHERE id_hash = ?1", params![hash, now_ns])?;
            }
            let ticket = Ticket::Session(*hash);
            Ok(Some(SignedIn { user, ticket, csrf: None, scopes: None, expires_ns: Some(expires_ns) }))
        })
    }

    /// Whether what somebody showed still holds and they are as they were then: for answers that go on for long.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn still(&self, ticket: &Ticket, changed_ns: i64, now_ns: i64) -> Result<bool, UserError> {
        let found = match ticket {
            Ticket::Session(hash) => self.session(hash, now_ns)?,
            Ticket::Token(hash) => self.token(hash, now_ns)?,
        };
        Ok(found.is_some_and(|now| now.user.changed_ns == changed_ns))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn sign_out(&self, signed_in: &SignedIn, address: Option<IpAddr>, now_ns: i64) -> Result<(), UserError> {
        let Ticket::Session(hash) = &signed_in.ticket else { return Ok(()) };
        self.write(|db| {
            db.execute("DELETE FROM sessions WHERE id_hash = ?1", params![hash])?;
            Ok(Deed::own(&signed_in.user.name, "sign_out", address, "signed out").note(db, now_ns)?)
        })
    }

    /// Whether it is the user's password: asked again before what matters. Guessing is slowed as at the sign-in.
    ///
    /// # Errors
    /// [`UserError::TooMany`], or [`UserError::Wrong`] with `field`.
    pub(super) fn ask_again(
        &self,
        user: &User,
        password: &Hidden,
        field: &'static str,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<(), UserError> {
        let attempt = Attempt::new(&user.name, address);
        self.write(|db| attempt.begin(db, now_ns))?;
        let found = self.hash_of(&user.name)?;
        if password::verify(password, found.as_ref().map(|(_, hash)| hash.as_str())) {
            return self.write(|db| Ok(attempt.take_back(db)?));
        }
        self.refused::<()>(&user.name, address, "wrong password, asked again", now_ns).ok();
        Err(UserError::Wrong { field, problem: "is not your password".into() })
    }

    /// Gives the user of a session another password; their other sessions end.
    ///
    /// # Errors
    /// [`UserError::Wrong`] for either password, [`UserError::TooMany`].
    pub fn change_password(
        &self,
        signed_in: &SignedIn,
        current: &Hidden,
        new: &Hidden,
        address: Option<IpAddr>,
        now_ns: i64,
    ) -> Result<(), UserError> {
        let user = &signed_in.user;
        password::check(new, "new")?;
        self.ask_again(user, current, "current", address, now_ns)?;
        let hash = password::hash(new)?;
        self.write(|db| {
            let sql = "UPDATE users SET password = ?2, changed_ns = ?3 WHERE id = ?1";
            db.execute(sql, params![user.id, hash, now_ns])?;
            let kept = if let Ticket::Session(hash) = &signed_in.ticket { &hash[..] } else { &[] };
            db.execute("DELETE FROM sessions WHERE user_id = ?1 AND id_hash != ?2", params![user.id, kept])?;
            Ok(Deed::own(&user.name, "password", address, "changed their password").note(db, now_ns)?)
        })
    }

    /// Uses a code of the second factor up; false when it is not right or was used.
    fn use_code(&self, user: &User, code: &Hidden, now_ns: i64) -> Result<bool, UserError> {
        self.write(|db| second_factor::use_code(db, &self.place, user.id, code, now_ns))
    }
}

/// Ends all sessions of a user.
pub(super) fn end_all(db: &Transaction<'_>, user_id: i64) -> rusqlite::Result<()> {
    db.execute("DELETE FROM sessions WHERE user_id = ?1", params![user_id]).map(|_| ())
}

/// Stands in the log for a name that nobody has.
const UNKNOWN: &str = "(unknown)";

fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "this machine".into(), |address| address.to_canonical().to_string())
}
