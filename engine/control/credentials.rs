//! The secrets of a connection: parted from its other keys, and sealed together.

use std::collections::BTreeMap;

use toml::{Table, Value};
use zeroize::{Zeroize, Zeroizing};

use super::vault::{Owner, Vault, VaultError};
use crate::config::is_secret;

/// Secrets by the key of `[sources.NAME]` that each is for. Wiped when dropped, and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Takes the secret of a key.
    pub fn set(&mut self, key: impl Into<String>, secret: impl Into<String>) {
        if let Some(mut before) = self.0.insert(key.into(), secret.into()) {
            before.zeroize();
        }
    }

    /// The secret of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Keys that have a secret.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Forgets the secrets of all keys but these.
    pub(super) fn keep(&mut self, keys: &[String]) {
        self.0.retain(|key, secret| {
            let kept = keys.contains(key);
            if !kept {
                secret.zeroize();
            }
            kept
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn sealed(&self, vault: &Vault, id: i64) -> Result<Option<Vec<u8>>, VaultError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let text = Zeroizing::new(serde_json::to_vec(&self.0).unwrap_or_default());
        vault.seal(owner_of(id), &text).map(Some)
    }

    pub(super) fn opened(vault: &Vault, id: i64, sealed: &[u8]) -> Result<Credentials, VaultError> {
        let text = vault.open(owner_of(id), sealed)?;
        serde_json::from_slice(&text).map(Credentials).map_err(|_| VaultError::Damaged(owner_of(id).to_string()))
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the secrets of a connection are sealed for.
pub(super) fn owner_of(id: i64) -> Owner {
    Owner { kind: "data_connection", id }
}

/// The word in front of a secret's place, in the text that the connection's keys have for it.
const SEALED: &str = "vault:";

/// Parts a table into its secrets, sealed apart, and the rest, in which each leaves a mark. Which keys are secrets their
/// names say: see [`is_secret`]. In a table `secrets` all are. What refers to the environment or to a file of this machine
/// is refused: a connection may be somebody's who may not read those.
///
/// # Errors
/// One sentence naming the key.
pub fn part_secrets(table: &mut Table) -> Result<Credentials, String> {
    let mut credentials = Credentials::default();
    part(table, "", false, &mut credentials)?;
    Ok(credentials)
}

fn part(table: &mut Table, path: &str, all: bool, credentials: &mut Credentials) -> Result<(), String> {
    for (key, value) in table.iter_mut() {
        let at = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => part(inner, &at, all || key == "secrets", credentials)?,
            // A text with places for secrets has none itself.
            Value::String(text) if (all || is_secret(key)) && !text.contains("{secret:") && text.as_str() != SEALED => {
                if ["env:", "file:", SEALED].iter().any(|scheme| text.starts_with(scheme)) {
                    text.zeroize();
                    return Err(format!("{at}: refers to a secret elsewhere, expected the secret itself"));
                }
                credentials.set(at, std::mem::take(text));
                text.push_str(SEALED);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The keys in which [`part_secrets`] left its mark.
#[must_use]
pub fn marks(table: &Table) -> Vec<String> {
    let mut found = Vec::new();
    find_marks(table, "", &mut found);
    found
}

fn find_marks(table: &Table, path: &str, found: &mut Vec<String>) {
    for (key, value) in table {
        let at = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => find_marks(inner, &at, found),
            Value::String(text) if text == SEALED => found.push(at),
            _ => {}
        }
    }
}

/// Puts a secret that belongs to the key at `path` where it is sealed, and its mark where it would stand.
///
/// # Errors
/// One sentence naming the key: it refers elsewhere, or stands where there is something else.
pub fn part_one(table: &mut Table, path: &str, secret: &str, credentials: &mut Credentials) -> Result<(), String> {
    if ["env:", "file:", SEALED].iter().any(|scheme| secret.starts_with(scheme)) {
        return Err(format!("{path}: refers to a secret elsewhere, expected the secret itself"));
    }
    let mut inner = table;
    let (way, key) = path.rsplit_once('.').unwrap_or(("", path));
    for step in way.split('.').filter(|step| !step.is_empty()) {
        let next = inner.entry(step).or_insert_with(|| Value::Table(Table::new()));
        inner = next.as_table_mut().ok_or_else(|| format!("{path}: {step} is no table"))?;
    }
    inner.insert(key.into(), SEALED.into());
    credentials.set(path, secret);
    Ok(())
}

/// The first text of a table that would be taken for a reference to a secret elsewhere: none of these is let in, since a
/// connection may be somebody's who may not read what it refers to.
#[must_use]
pub fn reference_in(table: &Table) -> Option<String> {
    fn within(value: &Value) -> bool {
        match value {
            Value::String(text) => {
                text != SEALED && ["env:", "file:", SEALED].iter().any(|scheme| text.starts_with(scheme))
            }
            Value::Array(items) => items.iter().any(within),
            Value::Table(table) => table.values().any(within),
            _ => false,
        }
    }
    table.iter().find(|(_, value)| within(value)).map(|(key, _)| key.clone())
}

/// Puts the full reference of each secret where [`part_secrets`] left its mark.
pub(super) fn refer(table: &mut Table, path: &str, whose: &str, since: &str) {
    for (key, value) in table.iter_mut() {
        let at = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => refer(inner, &at, whose, since),
            Value::String(text) if text == SEALED => *text = format!("{SEALED}{whose}{at}{since}"),
            _ => {}
        }
    }
}
