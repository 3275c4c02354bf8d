//! The envelope: a ten-byte header, then `count` records of one kind and one size, or one control message.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | `length`: bytes after the header |
//! | 4 | 1 | `version` |
//! | 5 | 1 | `kind` |
//! | 6 | 2 | `flags` |
//! | 8 | 2 | `count` of records; 1 for a control message |
//!
//! A reader skips a frame whose kind it does not know by its length. The size of a record is `length / count`, so that
//! a later version may add fields at the end.

use crate::record::{Record, RecordError};

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 10;

/// Flag: the records are the state at the time of subscription, not changes.
pub const FLAG_SNAPSHOT: u16 = 1;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes after the header.
    pub length: u32,
    /// [`crate::WIRE_VERSION`] of the writer.
    pub version: u8,
    /// [`crate::words::Kind`] below 128, control messages from 128.
    pub kind: u8,
    /// [`FLAG_SNAPSHOT`]; unknown bits are ignored.
    pub flags: u16,
    /// Records in the frame.
    pub count: u16,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header announces more bytes than the reader allows.
    #[error("a frame of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// Announced length.
        length: u32,
        /// The reader's limit.
        limit: u32,
    },
    /// The length is not a multiple of the count.
    #[error("a frame of {length} bytes cannot hold {count} records of one size")]
    Uneven {
        /// Announced length.
        length: u32,
        /// Announced count.
        count: u16,
    },
    /// A record in the frame cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..4].copy_from_slice(&self.length.to_le_bytes());
        out[4] = self.version;
        out[5] = self.kind;
        out[6..8].copy_from_slice(&self.flags.to_le_bytes());
        out[8..10].copy_from_slice(&self.count.to_le_bytes());
        out
    }

    /// Reads a header.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, version, kind, f0, f1, c0, c1] = *bytes;
        Header {
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            version,
            kind,
            flags: u16::from_le_bytes([f0, f1]),
            count: u16::from_le_bytes([c0, c1]),
        }
    }
}

/// One frame inside a buffer: its header and the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The header.
    pub header: Header,
    /// `header.length` bytes.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes the first frame off `bytes`: the frame and the rest, or `None` when it is not complete yet.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the header announces more than `limit` bytes.
    pub fn split(bytes: &'a [u8], limit: u32) -> Result<Option<(Frame<'a>, &'a [u8])>, FrameError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Header::from_bytes(head);
        if header.length > limit {
            return Err(FrameError::TooLong { length: header.length, limit });
        }
        let length = header.length as usize;
        Ok((rest.len() >= length).then(|| (Frame { header, body: &rest[..length] }, &rest[length..])))
    }

    /// The bytes of each record.
    ///
    /// # Errors
    /// [`FrameError::Uneven`] when the records cannot all have one size.
    pub fn records(&self) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + use<'a>, FrameError> {
        let (length, count) = (self.header.length, self.header.count);
        let even = if count == 0 { length == 0 } else { length > 0 && length.is_multiple_of(u32::from(count)) };
        if !even {
            return Err(FrameError::Uneven { length, count });
        }
        let stride = if count == 0 { 1 } else { self.body.len() / usize::from(count) };
        Ok(self.body.chunks_exact(stride))
    }

    /// Reads every record as `R`; the caller has looked at the kind.
    ///
    /// # Errors
    /// [`FrameError::Uneven`], or [`FrameError::Record`] when the records are shorter than `R`.
    pub fn read_all<R: Record>(&self) -> Result<Vec<R>, FrameError> {
        self.records()?.map(|bytes| Ok(R::read(bytes)?)).collect()
    }
}
