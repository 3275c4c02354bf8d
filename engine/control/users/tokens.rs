//! API tokens: for programs, which act as the user whose tokens they are.

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::Deed;
use super::sessions::{USED_EVERY_NS, hashed, hex, random};
use super::{Actor, Hidden, SELECT, SignedIn, Ticket, UserError, Users, json, one, read, words};

/// What a token may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read over the API what its user may read.
    Read,
    /// Change over the API what its user may change.
    Write,
    /// Connect terminals over QUIC.
    Stream,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Given once and never reused.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// What it is for, in words.
    pub name: String,
    /// What it may.
    pub scopes: Vec<Scope>,
    /// When it was made, nanoseconds UTC.
    pub created_ns: i64,
    /// When it was last used, nanoseconds UTC, to the minute.
    pub last_used_ns: Option<i64>,
    /// When it ends, nanoseconds UTC.
    pub expires_ns: Option<i64>,
}

/// A token to make.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for, in words.
    pub name: String,
    /// What it may.
    pub scopes: Vec<Scope>,
    /// When it ends, nanoseconds UTC; `None`: never.
    pub expires_ns: Option<i64>,
}

/// In front of every token, so that people and scanners of leaked secrets know what it is.
const PREFIX: &str = "tickwire_";

/// Most tokens of one user.
const TOKENS_MAX: i64 = 100;

/// Longest name of a token, in characters.
const TOKEN_NAME_MAX: usize = 64;

const TOKEN: &str = "SELECT api_tokens.id, users.name, api_tokens.name, scopes, api_tokens.created_ns, last_used_ns, \
                     expires_ns FROM api_tokens JOIN users ON users.id = user_id";

impl Users {
    /// Tokens of a user, or of all, newest first.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn tokens(&self, of: Option<&str>) -> Result<Vec<ApiToken>, UserError> {
        let sql = format!("{TOKEN} WHERE ?1 IS NULL OR users.name = ?1 ORDER BY api_tokens.id DESC");
        self.read(|db| Ok(db.prepare(&sql)?.query_map(params![of], token)?.collect::<rusqlite::Result<_>>()?))
    }

    /// Makes one for the user of this name: what it is, and its secret, which is told this once.
    ///
    /// # Errors
    /// [`UserError::Unknown`], [`UserError::Wrong`], or [`UserError::Conflict`] when the user has too many.
    pub fn add_token(
        &self,
        actor: &Actor,
        user: &str,
        new: &NewToken,
        now_ns: i64,
    ) -> Result<(ApiToken, Hidden), UserError> {
        let wrong = |field, problem: String| Err(UserError::Wrong { field, problem });
        let characters = new.name.chars().count();
        if !(1..=TOKEN_NAME_MAX).contains(&characters) {
            return wrong("name", format!("expected 1 to {TOKEN_NAME_MAX} characters that say what it is for"));
        }
        let mut scopes = new.scopes.clone();
        scopes.sort_by_key(|scope| *scope as u8);
        scopes.dedup();
        if scopes.is_empty() {
            return wrong("scopes", "expected at least one of read, write and stream".into());
        }
        if new.expires_ns.is_some_and(|expires_ns| expires_ns <= now_ns) {
            return wrong("expires_at", "is past, expected a time to come".into());
        }
        let secret = Hidden::new(format!("{PREFIX}{}", hex(random::<32>()?.as_slice())));
        let made = self.write(|db| {
            let user = one(db, user)?;
            let sql = "SELECT count(*) FROM api_tokens WHERE user_id = ?1";
            if db.query_row(sql, params![user.id], |row| row.get::<_, i64>(0))? >= TOKENS_MAX {
                let problem = format!("{} has {TOKENS_MAX} tokens: remove one first", user.name);
                return Err(UserError::Conflict(problem).into());
            }
            db.execute(
                "INSERT INTO api_tokens (user_id, name, hash, scopes, created_ns, expires_ns) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![user.id, new.name, hashed(secret.show()), json(&scopes), now_ns, new.expires_ns],
            )?;
            let id = db.last_insert_rowid();
            let message = format!("token {id} {:?} for {} with {}", new.name, user.name, json(&scopes));
            Deed::of(actor, "add_token", &user.name, &message).note(db, now_ns)?;
            Ok(db.query_row(&format!("{TOKEN} WHERE api_tokens.id = ?1"), params![id], token)?)
        })?;
        self.refresh()?;
        Ok((made, secret))
    }

    /// Removes a token: one's own, or anybody's whom the actor may manage. Of others' it is not told whether they are
    /// there.
    ///
    /// # Errors
    /// [`UserError::Unknown`].
    pub fn remove_token(&self, actor: &Actor, id: i64, now_ns: i64) -> Result<(), UserError> {
        self.write(|db| {
            let unknown = || UserError::Unknown("a token of this id".into());
            let found = db.query_row(&format!("{TOKEN} WHERE api_tokens.id = ?1"), params![id], token).optional()?;
            let found = found.ok_or_else(unknown)?;
            let owner = one(db, &found.user)?;
            if actor.name() != owner.name && actor.may_manage(owner.role, &owner.permissions).is_err() {
                return Err(unknown().into());
            }
            db.execute("DELETE FROM api_tokens WHERE id = ?1", params![id])?;
            let message = format!("token {id} {:?} of {}", found.name, owner.name);
            Ok(Deed::of(actor, "remove_token", &owner.name, &message).note(db, now_ns)?)
        })?;
        self.refresh()
    }

    /// Who a token is of; `None` when there is none, it has ended, or its user is disabled.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn by_token(&self, secret: &str, now_ns: i64) -> Result<Option<SignedIn>, UserError> {
        self.token(&hashed(secret), now_ns)
    }

    pub(super) fn token(&self, hash: &[u8; 32], now_ns: i64) -> Result<Option<SignedIn>, UserError> {
        let sql = SELECT.replacen(
            " FROM users",
            ", scopes, last_used_ns, expires_ns FROM api_tokens JOIN users ON users.id = user_id WHERE hash = ?1 \
             AND is_disabled = 0 AND (expires_ns IS NULL OR expires_ns > ?2)",
            1,
        );
        self.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let of = |row: &Row<'_>| {
                let scopes = words(&row.get::<_, String>(10)?);
                Ok((read(row)?, scopes, row.get::<_, Option<i64>>(11)?, row.get::<_, Option<i64>>(12)?))
            };
            let Some((user, scopes, used_ns, expires_ns)) =
                statement.query_row(params![hash, now_ns], of).optional()?
            else {
                return Ok(None);
            };
            if used_ns.is_none_or(|used_ns| now_ns - used_ns >= USED_EVERY_NS) {
                db.execute("UPDATE api_tokens SET last_used_ns = ?2 WHERE hash = ?1", params![hash, now_ns])?;
            }
            Ok(Some(SignedIn { user, ticket: Ticket::Token(*hash), csrf: None, scopes: Some(scopes), expires_ns }))
        })
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: row.get(0)?,
        user: row.get(1)?,
        name: row.get(2)?,
        scopes: words(&row.get::<_, String>(3)?),
        created_ns: row.get(4)?,
        last_used_ns: row.get(5)?,
        expires_ns: row.get(6)?,
    })
}
