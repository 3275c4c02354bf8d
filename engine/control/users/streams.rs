//! Tokens with the scope `stream`, in memory: admitting a terminal must not wait for a disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::params;

use super::{Scope, UserError, Users, words};
use crate::clock;
use crate::fanout::{Access, Grant};

/// A token that admits terminals.
pub(super) struct Stream {
    id: i64,
    grant: Grant,
    expires_ns: Option<i64>,
    used_ns: AtomicI64,
}

/// By the hash of the token.
pub(super) type Table = Arc<RwLock<HashMap<[u8; 32], Stream>>>;

/// Admits terminals by the tokens of users, each as its user.
pub struct Streams(Table);

impl Access for Streams {
    fn admit(&self, token: &str, _loopback: bool) -> Option<Grant> {
        // What is looked up is a hash: how long that takes says nothing about any token.
        let hash = super::sessions::hashed(token);
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.get(&hash)?;
        let now_ns = clock::machine_ns();
        if stream.expires_ns.is_some_and(|expires_ns| expires_ns <= now_ns) {
            return None;
        }
        stream.used_ns.store(now_ns, Relaxed);
        Some(stream.grant.clone())
    }
}

const NEVER: i64 = 0;

impl Users {
    /// What admits terminals by these users' tokens.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams(Arc::clone(&self.streams))
    }

    /// Takes up what another process changed of the tokens that admit terminals, and writes down when they were used.
    /// What this process changes holds at once.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn refresh(&self) -> Result<(), UserError> {
        // The lock on the database is held until the table is in place, so that an older one never replaces a newer.
        self.write(|db| {
            let mut next = HashMap::new();
            for (id, used_ns) in self.used() {
                db.execute("UPDATE api_tokens SET last_used_ns = ?2 WHERE id = ?1", params![id, used_ns])?;
            }
            let mut statement = db.prepare_cached(
                "SELECT api_tokens.id, hash, users.name, api_tokens.name, scopes, sources, expires_ns \
                 FROM api_tokens JOIN users ON users.id = user_id WHERE is_disabled = 0",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let scopes: Vec<Scope> = words(&row.get::<_, String>(4)?);
                if !scopes.contains(&Scope::Stream) {
                    continue;
                }
                let (user, name): (String, String) = (row.get(2)?, row.get(3)?);
                let sources: Option<Vec<String>> = row.get::<_, Option<String>>(5)?.map(|text| words(&text));
                // Globs were checked when they were taken; if one makes no sense now, nobody is let in by it.
                let Ok(grant) = Grant::of_user(&user, &name, sources.as_deref()) else { continue };
                let (id, expires_ns, used_ns) = (row.get(0)?, row.get(6)?, AtomicI64::new(NEVER));
                next.insert(row.get::<_, [u8; 32]>(1)?, Stream { id, grant, expires_ns, used_ns });
            }
            *self.streams.write().unwrap_or_else(PoisonError::into_inner) = next;
            Ok(())
        })
    }

    /// The same when there is anything to do: cheap enough for every second.
    ///
    /// # Errors
    /// [`UserError::Control`].
    pub fn refresh_if_changed(&self) -> Result<(), UserError> {
        // It counts what others commit.
        let version = self.read(|db| Ok(db.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0))?))?;
        let used = {
            let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
            streams.values().any(|stream| stream.used_ns.load(Relaxed) != NEVER)
        };
        if self.seen_version.swap(version, Relaxed) == version && !used {
            return Ok(());
        }
        self.refresh()
    }

    /// Tokens that were used since they were last asked for.
    fn used(&self) -> Vec<(i64, i64)> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        let used = streams.values().map(|stream| (stream.id, stream.used_ns.swap(NEVER, Relaxed)));
        used.filter(|(_, used_ns)| *used_ns != NEVER).collect()
    }
}
