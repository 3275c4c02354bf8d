//! Where a replay can go on after it was killed: everything that the next input depends on, in one file.
//!
//! `TICKWRPL`, version (4), the state (postcard), CRC32C of everything before (4), little endian. Written beside its name,
//! synced and renamed, so that there is a whole one or none.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReplayError;
use super::summary::Summary;
use crate::journal::Snapshot;

const MAGIC: &[u8; 8] = b"TICKWRPL";
const VERSION: u32 = 2;

/// A replay between two inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Of the manifest, its files' lengths, the configuration and the options: what must not change.
    pub fingerprint: String,
    /// Inputs behind it, of the clock too.
    pub inputs: u64,
    /// Rows behind it, by entry of the manifest.
    pub rows: Vec<u64>,
    /// Lengths of the files that it wrote.
    pub lengths: Vec<u64>,
    /// What it counted.
    pub summary: Summary,
    epoch: u32,
    seq: u64,
    stages: Vec<(String, Vec<u8>)>,
}

impl Checkpoint {
    /// Of a replay whose stages are in the state `stages`.
    #[must_use]
    pub fn new(
        fingerprint: &str,
        inputs: u64,
        rows: Vec<u64>,
        lengths: Vec<u64>,
        summary: Summary,
        stages: Snapshot,
    ) -> Self {
        let Snapshot { epoch, seq, stages } = stages;
        Checkpoint { fingerprint: fingerprint.into(), inputs, rows, lengths, summary, epoch, seq, stages }
    }

    /// The state of the stages.
    #[must_use]
    pub fn stages(&self) -> Snapshot {
        Snapshot { epoch: self.epoch, seq: self.seq, stages: self.stages.clone() }
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// [`ReplayError::File`] naming the file.
    pub fn write(&self, path: &Path) -> Result<(), ReplayError> {
        let failed = |problem: String| ReplayError::File(format!("checkpoint {}: {problem}", path.display()));
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes = postcard::to_extend(self, bytes).map_err(|error| failed(error.to_string()))?;
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            // The new name must survive too.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        };
        write().map_err(|error: std::io::Error| failed(error.to_string()))
    }

    /// Reads one that fits `fingerprint`; `None` when there is no file.
    ///
    /// # Errors
    /// [`ReplayError::Options`] when it is damaged, or of another replay.
    pub fn read(path: &Path, fingerprint: &str) -> Result<Option<Checkpoint>, ReplayError> {
        let wrong = |problem: &str| {
            ReplayError::Options(format!("checkpoint {}: {problem}; remove it to begin anew", path.display()))
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        let damaged = || wrong("it is damaged, or no checkpoint of a replay");
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        let rest = body.strip_prefix(MAGIC.as_slice()).ok_or_else(damaged)?;
        let (version, state) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        if u32::from_le_bytes(*version) != VERSION {
            return Err(wrong("another version of this program wrote it"));
        }
        let checkpoint: Checkpoint = postcard::from_bytes(state).map_err(|_| damaged())?;
        if checkpoint.fingerprint != fingerprint {
            return Err(wrong(
                "it is of another replay: manifest, recordings, configuration and options must be the same",
            ));
        }
        Ok(Some(checkpoint))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_whole_one_of_the_same_replay_is_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(Checkpoint::read(&path, "a").unwrap(), None);
        let stages = Snapshot { epoch: 1, seq: 9, stages: vec![("bars".into(), vec![1, 2, 3])] };
        let checkpoint = Checkpoint::new("a", 7, vec![3, 4], vec![100], Summary::default(), stages.clone());
        checkpoint.write(&path).unwrap();
        let read = Checkpoint::read(&path, "a").unwrap().unwrap();
        assert_eq!((read.stages(), &read), (stages, &checkpoint));
        let other = Checkpoint::read(&path, "b").unwrap_err().to_string();
        assert!(other.contains("another replay") && other.contains("remove it"), "{other}");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Checkpoint::read(&path, "a").unwrap_err().to_string().contains("damaged"));
    }
}
