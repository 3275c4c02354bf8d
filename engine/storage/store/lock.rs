//! `store.lock`: who owns the data folder, and where it listens. The lock is the kernel's; the text says to whom to talk.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::StoreError;

/// How often a held lock is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What the owner writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its process.
    pub pid: u32,
    /// Where it serves HTTP.
    pub address: SocketAddr,
    /// Version of the program.
    pub version: String,
}

/// The held lock; given back when dropped or when the process ends in any way.
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(|source| StoreError::Io {
        doing: "open the lock file",
        path: path.into(),
        source,
    })
}

impl Lock {
    /// Takes the lock, waiting for an earlier owner to be gone.
    ///
    /// # Errors
    /// It is still held after `patience`, or by one that began to serve meanwhile; or the file cannot be opened.
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let file = open(path)?;
        let began = Instant::now();
        let earlier = read(&file);
        loop {
            match file.try_lock() {
                Ok(()) => {
                    let lock = Self { file, path: path.into() };
                    lock.write("")?;
                    return Ok(lock);
                }
                Err(TryLockError::WouldBlock) => {
                    let owner = read(&file);
                    // Whoever announces itself now has just come up and is not about to go.
                    if began.elapsed() >= patience || (owner.is_some() && owner != earlier) {
                        return Err(StoreError::Held { path: path.into(), owner });
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::Io { doing: "lock", path: path.into(), source });
                }
            }
        }
    }

    /// Says where this owner serves.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn announce(&self, owner: &Owner) -> Result<(), StoreError> {
        self.write(&serde_json::to_string(owner).unwrap_or_default())
    }

    fn write(&self, text: &str) -> Result<(), StoreError> {
        let mut file = &self.file;
        let done = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        done.map_err(|source| StoreError::Io { doing: "write", path: self.path.clone(), source })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.write("");
    }
}

fn read(mut file: &File) -> Option<Owner> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// State of a lock file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nobody has it.
    No,
    /// Somebody has it and does not serve yet.
    Starting,
    /// Somebody serves.
    By(Owner),
}

/// Looks at the lock without taking it.
///
/// # Errors
/// The file is there and cannot be opened or locked.
pub(super) fn look(path: &Path) -> Result<Held, StoreError> {
    let Ok(true) = path.try_exists() else { return Ok(Held::No) };
    let file = open(path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(Held::No),
        Err(TryLockError::WouldBlock) => Ok(read(&file).map_or(Held::Starting, Held::By)),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { doing: "lock", path: path.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn one_owner_at_a_time_and_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.lock");
        assert_eq!(look(&path).unwrap(), Held::No);
        let lock = Lock::take(&path, Duration::ZERO).unwrap();
        assert_eq!(look(&path).unwrap(), Held::Starting);
        let owner = Owner { pid: 7, address: "127.0.0.1:8123".parse().unwrap(), version: "1".into() };
        lock.announce(&owner).unwrap();
        assert_eq!(look(&path).unwrap(), Held::By(owner));
        let refused = Lock::take(&path, Duration::ZERO).err().unwrap().to_string();
        assert!(refused.contains("process 7"), "{refused}");
        drop(lock);
        assert_eq!(look(&path).unwrap(), Held::No);
        assert!(Lock::take(&path, Duration::ZERO).is_ok());
    }
}
