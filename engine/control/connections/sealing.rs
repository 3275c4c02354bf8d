//! The secrets of connections in the database, and the key that seals them.
//!
//! Which key is in use the database says; the key's file follows it. So whatever reads or writes both does it while it holds
//! the database's lock: a rotation by another process is then either over or has not begun.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::{ConnectionError, Connections};
use crate::control::credentials::{Credentials, owner_of};
use crate::control::vault::{KeyName, KeyPlace, Vault, VaultError};
use crate::control::{alerts, users};

/// What went wrong inside a transaction, which is then taken back.
pub(super) enum Inside {
    Sql(rusqlite::Error),
    Other(ConnectionError),
}

impl From<rusqlite::Error> for Inside {
    fn from(error: rusqlite::Error) -> Inside {
        Inside::Sql(error)
    }
}

impl From<ConnectionError> for Inside {
    fn from(error: ConnectionError) -> Inside {
        Inside::Other(error)
    }
}

impl From<VaultError> for Inside {
    fn from(error: VaultError) -> Inside {
        Inside::Other(error.into())
    }
}

impl Connections {
    /// Does something while nobody else writes, all of it or nothing.
    pub(super) fn locked<T>(
        &mut self,
        f: impl FnOnce(&Transaction<'_>) -> Result<T, Inside>,
    ) -> Result<T, ConnectionError> {
        self.database.run(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match f(&transaction) {
                Ok(value) => transaction.commit().map(|()| Ok(value)),
                Err(Inside::Sql(error)) => Err(error),
                Err(Inside::Other(error)) => Ok(Err(error)),
            }
        })?
    }

    /// Finishes a rotation that was broken off.
    pub(super) fn settle(&mut self) -> Result<(), ConnectionError> {
        if !self.place.is_rotating() {
            return Ok(());
        }
        let place = self.place.clone();
        self.locked(|transaction| match key_in_use(transaction)? {
            Some(name) => Ok(place.finish_rotation(name)?),
            None => Ok(()),
        })
    }

    /// Its secrets.
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`], or of the key or the database.
    pub fn credentials(&mut self, name: &str) -> Result<Credentials, ConnectionError> {
        let place = self.place.clone();
        self.locked(|transaction| opened(transaction, &place, name).map(|(_, credentials)| credentials))
    }

    /// Seals everything with a new key; how many secrets those were. Killed at any moment it leaves either the old key with
    /// the old seals or the new key with the new ones.
    ///
    /// # Errors
    /// Of the key (one in the environment is for its keeper to change), a sealed secret, or the database.
    pub fn rotate(&mut self) -> Result<usize, ConnectionError> {
        let place = self.place.clone();
        let sealed = self.locked(|transaction| {
            let now = vault_in_use(transaction, &place)?;
            let next = place.begin_rotation()?;
            let rows: Vec<(i64, Vec<u8>)> = {
                let sql = "SELECT id, credentials FROM data_connections WHERE credentials IS NOT NULL";
                let mut statement = transaction.prepare(sql)?;
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?
            };
            for (id, sealed) in &rows {
                let secret = now.open(owner_of(*id), sealed)?;
                keep_sealed(transaction, *id, Some(next.seal(owner_of(*id), &secret)?), next.key_name())?;
            }
            let of_users = users::reseal(transaction, &now, &next)??;
            let of_webhooks = alerts::reseal(transaction, &now, &next)??;
            transaction.execute(KEEP_KEY, params![next.key_name().0])?;
            Ok(rows.len() + of_users + of_webhooks)
        });
        // Whatever came of it: the key that the database names is the one that stays.
        self.settle()?;
        sealed
    }
}

const KEEP_KEY: &str =
    "INSERT INTO vault (only_row, key_name) VALUES (1, ?1) ON CONFLICT DO UPDATE SET key_name = excluded.key_name";

/// The key for a secret that is no connection's; noted as the one in use.
pub(in crate::control) fn vault_for_another(
    transaction: &Transaction<'_>,
    place: &KeyPlace,
) -> rusqlite::Result<Result<Vault, VaultError>> {
    let in_use = key_in_use(transaction)?.filter(|_| place.is_rotating());
    let vault = in_use.map_or(Ok(()), |name| place.finish_rotation(name)).and_then(|()| place.vault_or_new());
    if let Ok(vault) = &vault {
        transaction.execute(KEEP_KEY, params![vault.key_name().0])?;
    }
    Ok(vault)
}

/// The key of everything that is sealed; made, where nothing is yet.
fn vault_in_use(transaction: &Transaction<'_>, place: &KeyPlace) -> Result<Vault, Inside> {
    if let Some(name) = key_in_use(transaction)?.filter(|_| place.is_rotating()) {
        place.finish_rotation(name)?;
    }
    Ok(place.vault_or_new()?)
}

/// Seals the secrets of a connection in the place of those it had.
pub(super) fn seal(
    transaction: &Transaction<'_>,
    place: &KeyPlace,
    id: i64,
    credentials: &Credentials,
) -> Result<(), Inside> {
    if credentials.is_empty() {
        transaction.execute("UPDATE data_connections SET credentials = NULL WHERE id = ?1", params![id])?;
        return Ok(());
    }
    let vault = vault_in_use(transaction, place)?;
    Ok(keep_sealed(transaction, id, credentials.sealed(&vault, id)?, vault.key_name())?)
}

/// Id and secrets of the connection with a name.
pub(super) fn opened(
    transaction: &Transaction<'_>,
    place: &KeyPlace,
    name: &str,
) -> Result<(i64, Credentials), Inside> {
    let sql = "SELECT id, credentials FROM data_connections WHERE name = ?1";
    let found: Option<(i64, Option<Vec<u8>>)> =
        transaction.query_row(sql, params![name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (id, sealed) = found.ok_or_else(|| ConnectionError::Unknown(name.into()))?;
    let Some(sealed) = sealed else { return Ok((id, Credentials::default())) };
    if let Some(name) = key_in_use(transaction)?.filter(|_| place.is_rotating()) {
        place.finish_rotation(name)?;
    }
    let problem = "is gone, and with it the secrets that it sealed; expected it back, or the secrets entered anew";
    let gone = || VaultError::Key { place: "vault.key".into(), problem: problem.into() };
    let vault = place.vault()?.ok_or_else(gone)?;
    Ok((id, Credentials::opened(&vault, id, &sealed)?))
}

fn key_in_use(transaction: &Transaction<'_>) -> rusqlite::Result<Option<KeyName>> {
    let sql = "SELECT key_name FROM vault";
    transaction.query_row(sql, [], |row| row.get::<_, [u8; 4]>(0).map(KeyName)).optional()
}

fn keep_sealed(transaction: &Transaction<'_>, id: i64, sealed: Option<Vec<u8>>, key: KeyName) -> rusqlite::Result<()> {
    transaction.execute("UPDATE data_connections SET credentials = ?2 WHERE id = ?1", params![id, sealed])?;
    transaction.execute(KEEP_KEY, params![key.0]).map(|_| ())
}
