//! A file as a stream of bytes or lines, unpacked on the way, of which a small part is in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes asked of the file at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What packed files begin with.
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// No row of any format is nearly this long.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Bytes read of all files so far, packed as they are: for progress.
pub(super) type BytesRead = Arc<AtomicU64>;

/// How a file is packed, beside what the ending `.zst` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not at all.
    None,
    /// LZMA with its old header; an empty file stands for nothing at all.
    Lzma,
}

/// The part of a file that is in memory, and the way to the rest.
pub(super) struct Buffer {
    reader: Box<dyn Read + Send>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    line: u64,
}

impl Buffer {
    /// Opens a file; what zstd packed is unpacked, whatever its name.
    ///
    /// # Errors
    /// The system's, or that it is packed otherwise.
    pub(super) fn open(path: &Path, packing: Packing, count: BytesRead) -> io::Result<Buffer> {
        let mut file = BufReader::with_capacity(CHUNK_BYTES, Counted { file: File::open(path)?, count });
        let front = file.fill_buf()?;
        if front.starts_with(&GZIP) {
            return Err(io::Error::other("it is packed with gzip; expected plain text, or packed with zstd"));
        }
        let is_zstd = front.starts_with(&ZSTD) || path.extension().is_some_and(|e| e == "zst");
        let mut reader: Box<dyn Read + Send> =
            if is_zstd { Box::new(zstd::Decoder::with_buffer(file)?) } else { Box::new(file) };
        if packing == Packing::Lzma {
            reader = Box::new(Cursor::new(unpack_lzma(reader)?));
        }
        Ok(Buffer { reader, bytes: Vec::new(), start: 0, end: 0, offset: 0, line: 0 })
    }

    /// What is in memory and not consumed.
    pub(super) fn available(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Has at least `need` bytes available; false when the file ends before.
    pub(super) fn fill(&mut self, need: usize) -> io::Result<bool> {
        while self.end - self.start < need {
            if !self.read_more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Steps over bytes that are available.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of the line last read, from 1.
    pub(super) fn line_number(&self) -> u64 {
        self.line
    }

    /// The next line without its end; `None` behind the last.
    pub(super) fn line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        let length = loop {
            let unsearched = &self.bytes[self.start + searched..self.end];
            if let Some(found) = memchr::memchr(b'\n', unsearched) {
                break searched + found + 1;
            }
            searched += unsearched.len();
            if !self.read_more()? {
                break searched;
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let line = self.start..self.start + length;
        self.consume(length);
        self.line += 1;
        let line = &self.bytes[line];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The next line without its end, if all of it is in memory, and its length with its end: it is stepped over by
    /// [`Buffer::step_over_line`].
    #[inline]
    pub(super) fn line_in_memory(&self) -> Option<(&[u8], usize)> {
        let available = &self.bytes[self.start..self.end];
        let end = memchr::memchr(b'\n', available)?;
        let line = &available[..end];
        Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
    }

    /// Steps over a line that is in memory, of this length with its end.
    #[inline]
    pub(super) fn step_over_line(&mut self, length: usize) {
        self.consume(length);
        self.line += 1;
    }

    /// Reads a chunk behind what is available; false at the end of the file.
    fn read_more(&mut self) -> io::Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end > ROW_BYTES_MAX {
            let problem = format!("behind line {} no row ends within {ROW_BYTES_MAX} bytes", self.line);
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        if self.bytes.len() < self.end + CHUNK_BYTES {
            self.bytes.resize(self.end + CHUNK_BYTES, 0);
        }
        let read = self.reader.read(&mut self.bytes[self.end..])?;
        self.end += read;
        Ok(read > 0)
    }
}

fn unpack_lzma(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let (mut packed, mut bytes) = (Vec::new(), Vec::new());
    reader.read_to_end(&mut packed)?;
    if !packed.is_empty() {
        lzma_rs::lzma_decompress(&mut BufReader::new(packed.as_slice()), &mut bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("not LZMA: {error:?}")))?;
    }
    Ok(bytes)
}

struct Counted {
    file: File,
    count: BytesRead,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.count.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_chunks_end() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(CHUNK_BYTES + 17);
        let text = format!("a\r\n\n{long}\nlast");
        let count = BytesRead::default();
        for name in ["lines.csv", "lines.csv.zst"] {
            let path = dir.path().join(name);
            let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
            std::fs::write(&path, if name.ends_with("zst") { packed } else { text.clone().into() }).unwrap();
            let mut buffer = Buffer::open(&path, Packing::None, Arc::clone(&count)).unwrap();
            for expected in ["a", "", long.as_str(), "last"] {
                assert_eq!(buffer.line().unwrap(), Some(expected.as_bytes()));
            }
            assert_eq!(buffer.line().unwrap(), None);
            assert_eq!((buffer.line_number(), buffer.offset()), (4, text.len() as u64));
        }
    }
}
