//! Snapshots: the state of all stages after one record, so that a restart need not replay everything.
//!
//! `EPOCH-SEQ.tws`, little endian: `TICKWSNP`, version (2), zero (2), epoch (4), seq (8), number of stages (4); for
//! each stage length of its name (4), name, length of its state (4), state; CRC32C of everything before (4).

use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::format::{JournalError, list_pairs};

const MAGIC: [u8; 8] = *b"TICKWSNP";
const VERSION: u16 = 1;

/// How many are kept: the last, and one before it should that be damaged.
const KEEP: usize = 2;

/// The state of all stages after the record `(epoch, seq)` was processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Start of the engine.
    pub epoch: u32,
    /// The record: a Timer whose `snapshot` is 1.
    pub seq: u64,
    /// Name and state of each stage.
    pub stages: Vec<(String, Vec<u8>)>,
}

impl Snapshot {
    /// The state of the stage `name`.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&[u8]> {
        self.stages.iter().find(|(n, _)| n == name).map(|(_, state)| state.as_slice())
    }

    fn to_bytes(&self) -> Vec<u8> {
        let length: usize = self.stages.iter().map(|(name, state)| 8 + name.len() + state.len()).sum();
        let mut out = Vec::with_capacity(32 + length);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&(self.stages.len() as u32).to_le_bytes());
        for (name, state) in &self.stages {
            for part in [name.as_bytes(), state] {
                out.extend_from_slice(&(part.len() as u32).to_le_bytes());
                out.extend_from_slice(part);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Snapshot> {
        let (mut rest, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let rest = &mut rest;
        let sound = take(rest, 8)? == MAGIC && take(rest, 4)? == [VERSION.to_le_bytes(), [0; 2]].as_flattened();
        let epoch = take_u32(rest)?;
        let seq = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        let mut stages = Vec::new();
        for _ in 0..take_u32(rest)? {
            let name = take_u32(rest)? as usize;
            let name = String::from_utf8(take(rest, name)?.to_vec()).ok()?;
            let state = take_u32(rest)? as usize;
            stages.push((name, take(rest, state)?.to_vec()));
        }
        (sound && rest.is_empty()).then_some(Snapshot { epoch, seq, stages })
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

/// The folder of the snapshots of the journal in `dir`.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

fn path_of(dir: &Path, (epoch, seq): (u32, u64)) -> PathBuf {
    folder(dir).join(format!("{epoch:010}-{seq:020}.tws"))
}

/// Epoch and `seq` of every snapshot of the journal in `dir`, in order.
pub(super) fn list(dir: &Path) -> Result<Vec<(u32, u64)>, JournalError> {
    list_pairs(&folder(dir), "tws")
}

/// Writes a snapshot whole or not at all, and removes those that are not kept.
pub(super) fn write(disk: &dyn Disk, dir: &Path, snapshot: &Snapshot) -> Result<(), JournalError> {
    let path = path_of(dir, (snapshot.epoch, snapshot.seq));
    disk::replace(disk, &path, &snapshot.to_bytes()).map_err(JournalError::io("write", &path))?;
    let all = list(dir)?;
    for old in &all[..all.len().saturating_sub(KEEP)] {
        let path = path_of(dir, *old);
        disk.remove(&path).map_err(JournalError::io("remove", &path))?;
    }
    Ok(())
}

/// The newest sound snapshot, and a sentence for each damaged one. A damaged one is put aside: it must not be counted
/// among those that are kept, nor hold segments.
pub(super) fn load(dir: &Path) -> Result<(Option<Snapshot>, Vec<String>), JournalError> {
    let mut notes = Vec::new();
    for id in list(dir)?.into_iter().rev() {
        let path = path_of(dir, id);
        let bytes = std::fs::read(&path).map_err(JournalError::io("read", &path))?;
        match Snapshot::from_bytes(&bytes).filter(|s| (s.epoch, s.seq) == id) {
            Some(snapshot) => return Ok((Some(snapshot), notes)),
            None => {
                let aside = path.with_extension("damaged");
                std::fs::rename(&path, &aside).map_err(JournalError::io("rename", &path))?;
                notes.push(format!(
                    "journal: the snapshot {} is damaged; put aside, the one before it is used",
                    path.display()
                ));
            }
        }
    }
    Ok((None, notes))
}

/// The oldest snapshot kept that is sound.
///
/// # Errors
/// [`JournalError`] when the folder or a file cannot be read.
pub fn oldest(dir: &Path) -> Result<Option<Snapshot>, JournalError> {
    for id in list(dir)? {
        let path = path_of(dir, id);
        let bytes = std::fs::read(&path).map_err(JournalError::io("read", &path))?;
        if let Some(snapshot) = Snapshot::from_bytes(&bytes) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::journal::disk::SystemDisk;

    fn snapshot(seq: u64) -> Snapshot {
        let stages = vec![("dedupe".into(), vec![1; 100]), ("validate".into(), Vec::new())];
        Snapshot { epoch: 3, seq, stages }
    }

    #[test]
    fn the_last_two_are_kept_and_the_previous_is_used_when_the_last_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(dir.path())).unwrap();
        for seq in [10, 20, 30] {
            write(&SystemDisk, dir.path(), &snapshot(seq)).unwrap();
        }
        assert_eq!(list(dir.path()).unwrap(), [(3, 20), (3, 30)]);
        assert_eq!(load(dir.path()).unwrap(), (Some(snapshot(30)), vec![]));

        let path = path_of(dir.path(), (3, 30));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (found, notes) = load(dir.path()).unwrap();
        assert_eq!(found, Some(snapshot(20)));
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("0000000003-00000000000000000030.tws is damaged"), "{}", notes[0]);
        // It does not count as one of the two any more.
        write(&SystemDisk, dir.path(), &snapshot(40)).unwrap();
        assert_eq!(list(dir.path()).unwrap(), [(3, 20), (3, 40)]);
    }

    #[test]
    fn no_damaged_snapshot_is_taken_for_a_sound_one() {
        let bytes = snapshot(7).to_bytes();
        assert_eq!(Snapshot::from_bytes(&bytes), Some(snapshot(7)));
        assert_eq!(snapshot(7).stage("dedupe"), Some(&[1; 100][..]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Snapshot::from_bytes(&bad), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Snapshot::from_bytes(&bytes[..length]), None, "{length} bytes");
        }
    }
}
