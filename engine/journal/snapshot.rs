//! Snapshots: the state of all stages after one record, so that a restart need not replay everything.
//!
//! `EPOCH-SEQ.tws`, little endian: `TICKWSNP`, version (2), version of the states (2), epoch (4), seq (8), number of
//! stages (4); for each stage length of its name (4), name, length of its state (4), state; CRC32C of everything before
//! (4). The version of the states is [`STATE_VERSION`]: their bytes do not explain themselves, so those of another
//! version are not read. Before there was such a number, 0 stood there.

use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::format::{JournalError, list_pairs};
use super::reader::Report;
use crate::stages::STATE_VERSION;

const MAGIC: [u8; 8] = *b"TICKWSNP";
const VERSION: u16 = 1;
/// Magic and both versions.
const HEAD_BYTES: usize = 12;

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
        out.extend_from_slice(&STATE_VERSION.to_le_bytes());
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

    fn from_bytes(bytes: &[u8]) -> Result<Snapshot, Unfit> {
        let versions = Self::versions(bytes).ok_or(Unfit::Damaged)?;
        if versions != (VERSION, STATE_VERSION) {
            return Err(Unfit::Version(versions));
        }
        Self::parse(bytes).ok_or(Unfit::Damaged)
    }

    /// Versions of the file and of the states, when the file is whole.
    fn versions(bytes: &[u8]) -> Option<(u16, u16)> {
        let (mut rest, crc) = bytes.split_last_chunk::<4>()?;
        let whole = crc32c::crc32c(rest) == u32::from_le_bytes(*crc) && take(&mut rest, 8)? == MAGIC;
        let versions = (take_u16(&mut rest)?, take_u16(&mut rest)?);
        whole.then_some(versions)
    }

    fn parse(bytes: &[u8]) -> Option<Snapshot> {
        let rest = &mut bytes.get(HEAD_BYTES..bytes.len().checked_sub(4)?)?;
        let epoch = take_u32(rest)?;
        let seq = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        let mut stages = Vec::new();
        for _ in 0..take_u32(rest)? {
            let name = take_u32(rest)? as usize;
            let name = String::from_utf8(take(rest, name)?.to_vec()).ok()?;
            let state = take_u32(rest)? as usize;
            stages.push((name, take(rest, state)?.to_vec()));
        }
        rest.is_empty().then_some(Snapshot { epoch, seq, stages })
    }
}

/// Why a file is no snapshot that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    /// Not what was written.
    Damaged,
    /// Written by an engine of another version: of the file, of the states.
    Version((u16, u16)),
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(take(rest, 2)?.try_into().ok()?))
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
pub(crate) fn write(disk: &dyn Disk, dir: &Path, snapshot: &Snapshot) -> Result<(), JournalError> {
    let path = path_of(dir, (snapshot.epoch, snapshot.seq));
    disk::replace(disk, &path, &snapshot.to_bytes()).map_err(JournalError::io("write", &path))?;
    let all = list(dir)?;
    for old in &all[..all.len().saturating_sub(KEEP)] {
        let path = path_of(dir, *old);
        disk.remove(&path).map_err(JournalError::io("remove", &path))?;
    }
    Ok(())
}

/// The newest snapshot that can be used, of those before `before`; a sentence in `report` for each that cannot. A damaged
/// one is put aside: it must not be counted among those that are kept, nor hold segments. One of another version stays,
/// for the engine that wrote it.
pub(super) fn load(
    dir: &Path,
    before: Option<(u32, u64)>,
    report: &mut Report,
) -> Result<Option<Snapshot>, JournalError> {
    for id in list(dir)?.into_iter().rev().filter(|id| before.is_none_or(|before| *id < before)) {
        let path = path_of(dir, id);
        match read(&path, id)? {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(Unfit::Damaged) => {
                let aside = path.with_extension("damaged");
                std::fs::rename(&path, &aside).map_err(JournalError::io("rename", &path))?;
                let path = path.display();
                report.damage(0, format!("journal: the snapshot {path} is damaged; put aside, not used"));
            }
            Err(Unfit::Version((file, states))) => report.note(format!(
                "journal: the snapshot {} has version {file} and states of version {states}, expected {VERSION} and \
                 {STATE_VERSION}: written by another version of the engine; not used",
                path.display()
            )),
        }
    }
    Ok(None)
}

fn read(path: &Path, id: (u32, u64)) -> Result<Result<Snapshot, Unfit>, JournalError> {
    let bytes = std::fs::read(path).map_err(JournalError::io("read", path))?;
    Ok(Snapshot::from_bytes(&bytes).and_then(|s| if (s.epoch, s.seq) == id { Ok(s) } else { Err(Unfit::Damaged) }))
}

/// The snapshots kept that can be read, the oldest first.
///
/// # Errors
/// [`JournalError`] when the folder or a file cannot be read.
pub fn kept(dir: &Path) -> Result<Vec<Snapshot>, JournalError> {
    let all = list(dir)?.into_iter().map(|id| read(&path_of(dir, id), id));
    Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
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
    fn the_last_two_are_kept_and_the_one_before_is_used_when_the_last_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(dir.path())).unwrap();
        for seq in [10, 20, 30] {
            write(&SystemDisk, dir.path(), &snapshot(seq)).unwrap();
        }
        assert_eq!(list(dir.path()).unwrap(), [(3, 20), (3, 30)]);
        let mut report = Report::default();
        assert_eq!(load(dir.path(), None, &mut report).unwrap(), Some(snapshot(30)));
        assert_eq!(load(dir.path(), Some((3, 30)), &mut report).unwrap(), Some(snapshot(20)));
        assert_eq!(load(dir.path(), Some((3, 20)), &mut report).unwrap(), None);
        assert_eq!(report, Report::default());

        let path = path_of(dir.path(), (3, 30));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(load(dir.path(), None, &mut report).unwrap(), Some(snapshot(20)));
        assert_eq!((report.notes.len(), report.damaged_places), (1, 1));
        assert!(report.notes[0].contains("0000000003-00000000000000000030.tws is damaged"), "{}", report.notes[0]);
        // It does not count as one of the two any more.
        write(&SystemDisk, dir.path(), &snapshot(40)).unwrap();
        assert_eq!(list(dir.path()).unwrap(), [(3, 20), (3, 40)]);
    }

    #[test]
    fn states_of_another_version_are_not_used_and_stay_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(dir.path())).unwrap();
        write(&SystemDisk, dir.path(), &snapshot(10)).unwrap();
        let mut bytes = snapshot(20).to_bytes();
        bytes.truncate(bytes.len() - 4);
        bytes[10..12].copy_from_slice(&[0; 2]);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        std::fs::write(path_of(dir.path(), (3, 20)), bytes).unwrap();
        let mut report = Report::default();
        assert_eq!(load(dir.path(), None, &mut report).unwrap(), Some(snapshot(10)));
        assert!(report.is_sound(), "nothing is damaged");
        let expected = format!("has version 1 and states of version 0, expected 1 and {STATE_VERSION}");
        assert!(report.notes[0].contains(&expected), "{}", report.notes[0]);
        assert_eq!(list(dir.path()).unwrap(), [(3, 10), (3, 20)]);
        assert_eq!(kept(dir.path()).unwrap(), [snapshot(10)]);
    }

    #[test]
    fn no_damaged_snapshot_is_taken_for_a_sound_one() {
        let bytes = snapshot(7).to_bytes();
        assert_eq!(Snapshot::from_bytes(&bytes), Ok(snapshot(7)));
        assert_eq!(snapshot(7).stage("dedupe"), Some(&[1; 100][..]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Snapshot::from_bytes(&bad), Err(Unfit::Damaged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Snapshot::from_bytes(&bytes[..length]), Err(Unfit::Damaged), "{length} bytes");
        }
    }
}
