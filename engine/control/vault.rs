//! Seals secrets for the control database.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) with a random nonce of 24 bytes. What a secret belongs to (its kind and id)
//! is authenticated with it, so that a sealed value which is copied to another row does not open there. A sealed value is
//! one byte for the version (1), four for the key, 24 of nonce, then the ciphertext with its tag of 16.
//!
//! The key is 32 bytes in hexadecimal: from the variable `TICKWIRE_VAULT_KEY`, or else in the file `vault.key` of the
//! state directory, which is made with the first secret and which nobody but its owner may read.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The variable that holds the key, where it is not in a file.
pub const KEY_VARIABLE: &str = "TICKWIRE_VAULT_KEY";

/// Name of the key file in the state directory.
const KEY_FILE: &str = "vault.key";

/// Name of the next key while a rotation is under way.
const NEXT_FILE: &str = "vault.key.next";

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + 4 + NONCE_BYTES;

/// Why a secret cannot be sealed or opened. Never holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key is not where it should be, or not what it should be.
    #[error("{place}: {problem}")]
    Key {
        /// File or variable.
        place: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// Sealed with a key that is not here.
    #[error("a secret of {owner} was sealed with another key ({found}) than the one in use ({expected})")]
    OtherKey {
        /// What it belongs to.
        owner: String,
        /// Name of the key it was sealed with.
        found: String,
        /// Name of the key in use.
        expected: String,
    },
    /// Changed since it was sealed, or sealed for something else.
    #[error("a secret of {0} does not open: it was damaged, or belongs to something else")]
    Damaged(String),
}

/// What a secret belongs to: authenticated with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The kind of thing, such as `data_connection`.
    pub kind: &'static str,
    /// Its id in the control database.
    pub id: i64,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// The name of a key: the first four bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyName(pub [u8; 4]);

impl std::fmt::Debug for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key, ready to seal and open with. Wiped from memory when it is dropped.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    name: KeyName,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.name)
    }
}

impl Vault {
    fn of(key: &[u8; KEY_BYTES]) -> Vault {
        let digest = Sha256::digest(key);
        let name = KeyName([digest[0], digest[1], digest[2], digest[3]]);
        Vault { cipher: XChaCha20Poly1305::new(key.into()), name }
    }

    /// The name of its key.
    #[must_use]
    pub fn key_name(&self) -> KeyName {
        self.name
    }

    /// Seals a secret of `owner`.
    ///
    /// # Errors
    /// None that can be caused from outside: only a secret of 256 GiB is too long.
    pub fn seal(&self, owner: Owner, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = XNonce::generate();
        let aad = owner.to_string();
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: secret, aad: aad.as_bytes() });
        let sealed = sealed.map_err(|_| VaultError::Damaged(owner.to_string()))?;
        let mut out = Vec::with_capacity(HEAD_BYTES + sealed.len());
        out.push(VERSION);
        out.extend(self.name.0);
        out.extend(&nonce[..]);
        out.extend(sealed);
        Ok(out)
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// [`VaultError::OtherKey`] or [`VaultError::Damaged`].
    pub fn open(&self, owner: Owner, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let damaged = || VaultError::Damaged(owner.to_string());
        let (head, body) = sealed.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
        let found = KeyName([head[1], head[2], head[3], head[4]]);
        if head[0] != VERSION {
            return Err(damaged());
        }
        if found != self.name {
            return Err(VaultError::OtherKey {
                owner: owner.to_string(),
                found: found.to_string(),
                expected: self.name.to_string(),
            });
        }
        let nonce: [u8; NONCE_BYTES] = head[5..].try_into().map_err(|_| damaged())?;
        let aad = owner.to_string();
        let opened = self.cipher.decrypt(&nonce.into(), Payload { msg: body, aad: aad.as_bytes() });
        opened.map(Zeroizing::new).map_err(|_| damaged())
    }
}

/// Where the key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the variable [`KEY_VARIABLE`]: whoever sets it also keeps it.
    Environment,
    /// In a file of the state directory.
    File(PathBuf),
}

impl KeyPlace {
    /// The variable where it is set, else the file of `state_dir`.
    #[must_use]
    pub fn find(state_dir: &Path) -> KeyPlace {
        match std::env::var_os(KEY_VARIABLE) {
            Some(_) => KeyPlace::Environment,
            None => KeyPlace::File(state_dir.join(KEY_FILE)),
        }
    }

    /// The vault with the key of this place; `None` when there is no key file yet.
    ///
    /// # Errors
    /// [`VaultError::Key`]: not a key, or a file that others may read.
    pub fn vault(&self) -> Result<Option<Vault>, VaultError> {
        match self {
            KeyPlace::Environment => {
                let text = Zeroizing::new(std::env::var(KEY_VARIABLE).unwrap_or_default());
                parse(&text, KEY_VARIABLE).map(Some)
            }
            KeyPlace::File(path) => read(path),
        }
    }

    /// The same, making a key file where there is none.
    ///
    /// # Errors
    /// See [`KeyPlace::vault`]; also when the file cannot be written.
    pub fn vault_or_new(&self) -> Result<Vault, VaultError> {
        match (self.vault()?, self) {
            (Some(vault), _) => Ok(vault),
            (None, KeyPlace::File(path)) => write_new(path),
            (None, KeyPlace::Environment) => Err(key_error(KEY_VARIABLE, "is not set")),
        }
    }

    /// Whether a rotation is under way, or was broken off.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        matches!(self, KeyPlace::File(path) if path.with_file_name(NEXT_FILE).exists())
    }

    /// Begins a rotation: the next key, kept beside the one in use until [`KeyPlace::finish_rotation`].
    ///
    /// # Errors
    /// [`VaultError::Key`]: the key is in the environment, which only its keeper can change, or the file cannot be written.
    pub fn begin_rotation(&self) -> Result<Vault, VaultError> {
        let KeyPlace::File(path) = self else {
            let problem = "holds the key, and only who sets it can change it; expected the key in the file of the state \
                           directory (unset the variable and write its value there, readable for its owner alone)";
            return Err(key_error(KEY_VARIABLE, problem));
        };
        let next = path.with_file_name(NEXT_FILE);
        match std::fs::remove_file(&next) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(key_error(&next.display().to_string(), &e.to_string()));
            }
            _ => {}
        }
        write_new(&next)
    }

    /// Ends a rotation, or one that was broken off: `in_use` is the key that the database says its secrets are sealed with.
    /// The next key takes the place of the one before when it is that, and is thrown away when it is not.
    ///
    /// # Errors
    /// [`VaultError::Key`] when a file cannot be read or moved.
    pub fn finish_rotation(&self, in_use: KeyName) -> Result<(), VaultError> {
        let KeyPlace::File(path) = self else { return Ok(()) };
        let next = path.with_file_name(NEXT_FILE);
        let Some(vault) = read(&next)? else { return Ok(()) };
        let failed = |e: std::io::Error| key_error(&next.display().to_string(), &e.to_string());
        if vault.key_name() == in_use {
            std::fs::rename(&next, path).map_err(failed)?;
        } else {
            std::fs::remove_file(&next).map_err(failed)?;
        }
        sync_folder(path)
    }
}

fn key_error(place: &str, problem: &str) -> VaultError {
    VaultError::Key { place: place.to_string(), problem: problem.to_string() }
}

fn parse(text: &str, place: &str) -> Result<Vault, VaultError> {
    let text = text.trim();
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    let is_key = text.len() == 2 * KEY_BYTES
        && pairs.zip(key.iter_mut()).all(|(pair, byte)| match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        });
    if is_key { Ok(Vault::of(&key)) } else { Err(key_error(place, "is not a key, expected 64 hexadecimal digits")) }
}

fn read(path: &Path) -> Result<Option<Vault>, VaultError> {
    let place = path.display().to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(key_error(&place, &e.to_string())),
    };
    let failed = |e: std::io::Error| key_error(&place, &e.to_string());
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let problem = format!("others may read it (mode {mode:04o}), expected 0600");
        return Err(key_error(&place, &problem));
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    parse(&text, &place).map(Some)
}

/// Makes a key file, which must not be there yet, and is whole on the disk when this returns.
fn write_new(path: &Path) -> Result<Vault, VaultError> {
    let place = path.display().to_string();
    let failed = |e: std::io::Error| key_error(&place, &e.to_string());
    let key = Zeroizing::new(<[u8; KEY_BYTES]>::generate());
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key.iter() {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text.push('\n');
    // Under another name first: a crash must not leave half a key.
    let draft = path.with_extension("draft");
    let _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    // Not `rename`, which would replace the key of another process that was faster.
    let linked = std::fs::hard_link(&draft, path);
    let _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => sync_folder(path)?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(e)),
    }
    read(path)?.ok_or_else(|| key_error(&place, "was made and is gone"))
}

fn sync_folder(path: &Path) -> Result<(), VaultError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|e| key_error(&folder.display().to_string(), &e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Owner = Owner { kind: "data_connection", id: 7 };

    fn place(dir: &Path) -> KeyPlace {
        KeyPlace::File(dir.join(KEY_FILE))
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_alone_and_only_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let vault = place(dir.path()).vault_or_new().unwrap();
        let sealed = vault.seal(A, b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_ne!(sealed, vault.seal(A, b"hunter2").unwrap(), "each has a nonce of its own");
        let again = place(dir.path()).vault().unwrap().unwrap();
        assert_eq!(again.open(A, &sealed).unwrap().as_slice(), b"hunter2");
        for other in [Owner { id: 8, ..A }, Owner { kind: "execution_connection", ..A }] {
            assert!(matches!(again.open(other, &sealed), Err(VaultError::Damaged(_))), "{other}");
        }
        for at in [0, HEAD_BYTES - 1, HEAD_BYTES, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(again.open(A, &changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(again.open(A, &sealed[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        place(dir.path()).vault_or_new().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = place(dir.path()).vault().unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("expected 0600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "canary", &"g".repeat(64), &"é".repeat(32), &"a".repeat(63)] {
            std::fs::write(&path, text).unwrap();
            let error = place(dir.path()).vault().unwrap_err().to_string();
            assert!(error.contains("expected 64 hexadecimal digits") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_rotation_that_is_broken_off_leaves_the_key_that_the_database_names() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let first = place.vault_or_new().unwrap();
        // Broken off before the database changed over.
        place.begin_rotation().unwrap();
        place.finish_rotation(first.key_name()).unwrap();
        assert_eq!(place.vault().unwrap().unwrap().key_name(), first.key_name());
        // And after.
        let second = place.begin_rotation().unwrap();
        assert_ne!(second.key_name(), first.key_name());
        place.finish_rotation(second.key_name()).unwrap();
        assert_eq!(place.vault().unwrap().unwrap().key_name(), second.key_name());
        let sealed = first.seal(A, b"x").unwrap();
        assert!(matches!(second.open(A, &sealed), Err(VaultError::OtherKey { .. })));
        assert!(!dir.path().join(NEXT_FILE).exists());
    }
}
