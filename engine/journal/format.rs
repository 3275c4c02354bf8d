//! Layout of segments and entries, and positions in them; see the tables in the module above.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tickwire_schemas::record::RECORD_BYTES_MAX;
use tickwire_schemas::words::Kind;

use crate::market::{IndicatorName, Instrument, Source};

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"TICKWJRN";
/// Version of the layout; a reader refuses a greater one.
pub const VERSION: u16 = 1;
/// Length and checksum before the kind of an entry, in bytes.
pub const ENTRY_HEAD_BYTES: usize = 8;
/// Longest kind and record together that a reader believes; longer is damage.
pub const ENTRY_BYTES_MAX: usize = 4096;
/// Bytes of a segment's header before its JSON text.
pub const HEADER_FIXED_BYTES: usize = 32;
/// Longest JSON text of a header that a reader believes: some 100,000 instruments.
pub const HEADER_TEXT_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(RECORD_BYTES_MAX < ENTRY_BYTES_MAX);

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The system refused.
    #[error("journal: cannot {what} {path}: {error}", path = .path.display())]
    Io {
        /// What was tried, such as `read`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Written by a later version of the engine.
    #[error("journal: {path} has version {found}, expected at most {VERSION}: it was written by a later engine", path = .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// The segment to be made is there already: the epoch was used before.
    #[error("journal: {path} exists; an epoch must never be used twice", path = .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A recording is never written over anything.
    #[error("journal: {path} exists; a recording is not written over it", path = .path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The file does not begin as a segment does, or its beginning is damaged.
    #[error("journal: {path} has no sound header, expected a recording or a journal segment", path = .path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
    },
    /// Another process, or another journal of this one, writes there.
    #[error("journal: {path} is locked: another engine is using this folder", path = .path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The header does not fit.
    #[error(
        "journal: a segment of {segment_bytes} bytes is too small for its header of {header_bytes} bytes and one block of the queue"
    )]
    SegmentTooSmall {
        /// Configured length of a segment.
        segment_bytes: u64,
        /// Length of the header.
        header_bytes: u64,
    },
    /// The threads that would have to do it have ended.
    #[error("journal: it is stopping")]
    Stopping,
    /// The disk has not answered.
    #[error("journal: the disk did not take a new segment in time")]
    Slow,
    /// Stopped before everything was on the disk.
    #[error("journal: stopped with {records} records not on the disk: {reason}")]
    Unwritten {
        /// Records lost.
        records: u64,
        /// Why they could not be written.
        reason: String,
    },
}

impl JournalError {
    /// Wraps an error of the system, for `map_err`.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> JournalError + 'a {
        move |error| JournalError::Io { what, path: path.to_path_buf(), error }
    }
}

/// One segment: in order of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Start of the engine.
    pub epoch: u32,
    /// Counts from 1 within the epoch.
    pub number: u32,
}

impl SegmentId {
    /// The segment's file in the journal's folder.
    #[must_use]
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{self}.twj"))
    }

    /// The position before its first entry.
    #[must_use]
    pub fn start(self) -> Position {
        Position { epoch: self.epoch, segment: self.number, offset: 0 }
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:010}", self.epoch, self.number)
    }
}

/// A place between two entries. Greater is later; the text form is `EEEEEEEEEE-NNNNNNNNNN:OFFSET`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Start of the engine.
    pub epoch: u32,
    /// Number of the segment within the epoch.
    pub segment: u32,
    /// Byte offset in the segment; anything inside the header stands for the first entry.
    pub offset: u64,
}

impl Position {
    /// The segment it is in.
    #[must_use]
    pub fn id(self) -> SegmentId {
        SegmentId { epoch: self.epoch, number: self.segment }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id(), self.offset)
    }
}

/// The text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a journal position, expected EPOCH-SEGMENT:OFFSET")]
pub struct PositionError(String);

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let parse = || {
            let (id, offset) = text.split_once(':')?;
            let (epoch, segment) = id.split_once('-')?;
            Some(Position { epoch: epoch.parse().ok()?, segment: segment.parse().ok()?, offset: offset.parse().ok()? })
        };
        parse().ok_or_else(|| PositionError(text.into()))
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who and what the records of a segment are about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The engine that wrote it.
    pub engine_id: String,
    /// Every source it may name.
    pub sources: Vec<Source>,
    /// Every instrument it may name.
    pub instruments: Vec<Instrument>,
    /// The clock that stamped the records, where the writer said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Every indicator it may name; segments written before there were any have none.
    #[serde(default)]
    pub indicators: Vec<IndicatorName>,
}

/// The clock of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// When the run began, nanoseconds UTC by the machine's clock.
    pub started_ns: i64,
    /// Interval of its Timer inputs, milliseconds.
    pub timer_ms: u64,
}

/// What a segment begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its own name.
    pub id: SegmentId,
    /// No record in it has a smaller `seq`.
    pub first_seq: u64,
    /// Who and what its records are about.
    pub catalogue: Catalogue,
}

impl SegmentHeader {
    /// The bytes at the front of the segment.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Text and numbers alone: there is nothing in a catalogue that JSON cannot say.
        let text = serde_json::to_vec(&self.catalogue).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_FIXED_BYTES + text.len() + 4);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.id.epoch.to_le_bytes());
        out.extend_from_slice(&self.id.number.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&text);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Bytes of the whole header, from its first [`HEADER_FIXED_BYTES`]; `None` when they are not a header's.
    #[must_use]
    pub fn length_of(fixed: &[u8]) -> Option<usize> {
        let text = u32_at(fixed, 12)? as usize;
        (fixed.starts_with(&MAGIC) && text <= HEADER_TEXT_BYTES_MAX).then_some(HEADER_FIXED_BYTES + text + 4)
    }

    /// The version of a whole header; `None` when it is damaged. Magic, version, length of the text and the place of the
    /// checksum are the same in every version.
    #[must_use]
    pub fn sound_version(bytes: &[u8]) -> Option<u16> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let sound = Self::length_of(bytes)? == bytes.len() && crc32c::crc32c(body) == u32::from_le_bytes(*crc);
        body.get(8..)?.first_chunk().copied().map(u16::from_le_bytes).filter(|_| sound)
    }

    /// Reads a header of exactly `bytes`; `None` when it is damaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<SegmentHeader> {
        Self::sound_version(bytes)?;
        let (body, _) = bytes.split_last_chunk::<4>()?;
        let catalogue = serde_json::from_slice(body.get(HEADER_FIXED_BYTES..)?).ok()?;
        let id = SegmentId { epoch: u32_at(body, 16)?, number: u32_at(body, 20)? };
        Some(SegmentHeader { id, first_seq: u64_at(body, 24)?, catalogue })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// Writes an entry to the front of `out` and returns its length, or 0 when it does not fit.
#[must_use]
pub fn put_entry(out: &mut [u8], kind: Kind, bytes: &[u8]) -> usize {
    let length = 1 + bytes.len();
    let Some(out) = out.get_mut(..ENTRY_HEAD_BYTES + length) else { return 0 };
    let (head, body) = out.split_at_mut(ENTRY_HEAD_BYTES);
    body[0] = kind.code();
    body[1..].copy_from_slice(bytes);
    head[..4].copy_from_slice(&(length as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    out.len()
}

/// Length of the whole entry that the first four bytes announce; `None` when no entry is that long.
#[must_use]
pub fn entry_bytes(front: &[u8]) -> Option<usize> {
    let length = u32_at(front, 0)? as usize;
    (1..=ENTRY_BYTES_MAX).contains(&length).then_some(ENTRY_HEAD_BYTES + length)
}

/// The entry at the front of `bytes`: its kind and whole length; `None` when there is no sound one.
#[must_use]
pub fn take_entry(bytes: &[u8]) -> Option<(Kind, usize)> {
    let total = entry_bytes(bytes)?;
    let body = bytes.get(ENTRY_HEAD_BYTES..total)?;
    let kind = Kind::from_code(body[0])?;
    (crc32c::crc32c(body) == u32_at(bytes, 4)?).then_some((kind, total))
}

/// The `seq` of a record of any kind; 0 when the bytes are too short to have one.
#[must_use]
pub fn seq_of(record: &[u8]) -> u64 {
    u64_at(record, 4).unwrap_or(0)
}

/// The segments in `dir`, in order; none when there is no such folder.
///
/// # Errors
/// [`JournalError::Io`] when the folder cannot be listed.
pub fn list_segments(dir: &Path) -> Result<Vec<SegmentId>, JournalError> {
    let numbers = list_pairs(dir, "twj")?;
    Ok(numbers
        .into_iter()
        .filter_map(|(epoch, number)| Some(SegmentId { epoch, number: u32::try_from(number).ok()? }))
        .collect())
}

/// The files `A-B.EXTENSION` in `dir` as `(A, B)`, in order.
pub(super) fn list_pairs(dir: &Path, extension: &str) -> Result<Vec<(u32, u64)>, JournalError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("list", dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(JournalError::io("list", dir))?.file_name();
        let pair = name.to_str().and_then(|name| {
            let (a, b) = name.strip_suffix(extension)?.strip_suffix('.')?.split_once('-')?;
            Some((a.parse().ok()?, b.parse().ok()?))
        });
        found.extend(pair);
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::IndicatorId;

    #[test]
    fn positions_keep_their_order_and_text() {
        let position = Position { epoch: 3, segment: 12, offset: 4096 };
        assert_eq!(position.to_string(), "0000000003-0000000012:4096");
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!(serde_json::from_str::<Position>("\"3-12:4096\"").unwrap(), position);
        assert!("3-12".parse::<Position>().is_err());
        assert!(position < SegmentId { epoch: 3, number: 13 }.start());
        assert!(position < Position { epoch: 4, segment: 1, offset: 0 });
    }

    #[test]
    fn a_header_survives_and_a_flipped_bit_does_not() {
        let indicators = vec![IndicatorName { id: IndicatorId(1), name: "EMA(20)".into() }];
        let catalogue = Catalogue { engine_id: "tw-1".into(), indicators, ..Catalogue::default() };
        let header = SegmentHeader { id: SegmentId { epoch: 2, number: 7 }, first_seq: 99, catalogue };
        let bytes = header.to_bytes();
        assert_eq!(SegmentHeader::from_bytes(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(SegmentHeader::from_bytes(&bad), SegmentHeader::from_bytes(&bytes), "bit {bit}");
        }
    }

    #[test]
    fn a_catalogue_from_before_there_were_indicators_has_none() {
        let old = r#"{"engine_id":"tw-1","sources":[],"instruments":[]}"#;
        assert_eq!(serde_json::from_str::<Catalogue>(old).unwrap().indicators, []);
    }

    #[test]
    fn an_entry_survives_and_a_flipped_bit_does_not() {
        let mut bytes = [0; 64];
        let length = put_entry(&mut bytes, Kind::Timer, b"record");
        assert_eq!(length, 8 + 1 + 6);
        assert_eq!(take_entry(&bytes), Some((Kind::Timer, length)));
        for bit in 0..length * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(take_entry(&bad), None, "bit {bit}");
        }
        assert_eq!(put_entry(&mut bytes[..14], Kind::Timer, b"record"), 0, "does not fit");
    }
}
