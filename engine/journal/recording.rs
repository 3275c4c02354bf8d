//! A recording: one file in the journal's format that grows at its end.
//!
//! What was synced survives loss of power, what was written survives `kill -9`. The end that a crash tears is an entry
//! that is not whole: [`super::Reader::file`] stops before it and reports it.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tickwire_schemas::words::Kind;

use super::disk::sync_dir;
use super::format::{self, Catalogue, ENTRY_BYTES_MAX, ENTRY_HEAD_BYTES, JournalError, SegmentHeader, SegmentId};

/// Bytes gathered before they are written: some 2,000 entries.
const BUFFER_BYTES: usize = 256 << 10;

/// A recording that is being written. Dropping it loses what was not written; [`Recording::sync`] first.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl Recording {
    /// Makes the file, which is not to be there yet, and puts its header on the disk. The records are of epoch 1 and
    /// count from 1.
    ///
    /// # Errors
    /// [`JournalError::Taken`] when there is such a file, [`JournalError::Io`] when it cannot be made.
    pub fn create(path: &Path, catalogue: Catalogue) -> Result<Recording, JournalError> {
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => JournalError::Taken { path: path.into() },
            _ => JournalError::io("create", path)(error),
        })?;
        let header = SegmentHeader { id: SegmentId { epoch: 1, number: 1 }, first_seq: 1, catalogue };
        let buffer = Vec::with_capacity(BUFFER_BYTES + ENTRY_HEAD_BYTES + ENTRY_BYTES_MAX);
        let mut recording = Recording { path: path.into(), file, buffer, written: 0 };
        recording.buffer.extend_from_slice(&header.to_bytes());
        recording.sync()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_dir(folder).map_err(JournalError::io("sync", folder))?;
        Ok(recording)
    }

    /// Adds a record at the end. It is written when there are enough of them, or at the next [`Recording::sync`].
    ///
    /// # Errors
    /// [`JournalError::Io`] when a write fails; the file may then end in a torn entry and takes no more.
    pub fn append(&mut self, kind: Kind, record: &[u8]) -> Result<(), JournalError> {
        let end = self.buffer.len();
        self.buffer.resize(end + ENTRY_HEAD_BYTES + 1 + record.len(), 0);
        let length = format::put_entry(&mut self.buffer[end..], kind, record);
        debug_assert_eq!(end + length, self.buffer.len());
        if self.buffer.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    /// Returns when everything added is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.write()?;
        self.file.sync_data().map_err(JournalError::io("sync", &self.path))
    }

    /// Bytes of the file, with those that are still to be written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write(&mut self) -> Result<(), JournalError> {
        self.file.write_all(&self.buffer).map_err(JournalError::io("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tickwire_schemas::record::{RECORD_BYTES_MAX, Record, Timer};

    use super::*;
    use crate::journal::{Clock, Reader};

    fn timer(now_ns: i64) -> Vec<u8> {
        let mut bytes = [0; RECORD_BYTES_MAX];
        let length = Timer { now_ns, ..Timer::default() }.write(&mut bytes);
        bytes[..length].to_vec()
    }

    fn times(reader: &mut Reader) -> Vec<i64> {
        std::iter::from_fn(|| reader.next().unwrap().map(|entry| Timer::read(entry.bytes).unwrap().now_ns)).collect()
    }

    #[test]
    fn what_was_recorded_is_read_back_while_it_grows_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.twj");
        let clock = Some(Clock { started_ns: 5, timer_ms: 50 });
        let catalogue = Catalogue { engine_id: "7".into(), clock, ..Catalogue::default() };
        let mut recording = Recording::create(&path, catalogue.clone()).unwrap();
        let mut reader = Reader::file(&path).unwrap();
        assert_eq!(reader.catalogue(), &catalogue);
        assert!(times(&mut reader).is_empty());
        (0..10_000).for_each(|now_ns| recording.append(Kind::Timer, &timer(now_ns)).unwrap());
        recording.sync().unwrap();
        assert_eq!(times(&mut reader), (0..10_000).collect::<Vec<_>>());
        recording.append(Kind::Timer, &timer(10_000)).unwrap();
        recording.sync().unwrap();
        assert_eq!(times(&mut reader), [10_000]);
        assert_eq!(recording.bytes(), path.metadata().unwrap().len());
        let again = Recording::create(&path, catalogue).unwrap_err().to_string();
        assert!(again.contains("r.twj exists; a recording is not written over it"), "{again}");
        assert_eq!(times(&mut Reader::file(&path).unwrap()).len(), 10_001);
    }

    #[test]
    fn a_torn_end_is_cut_and_reported_and_a_foreign_file_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.twj");
        let mut recording = Recording::create(&path, Catalogue::default()).unwrap();
        recording.append(Kind::Timer, &timer(1)).unwrap();
        let whole = recording.bytes();
        recording.append(Kind::Timer, &timer(2)).unwrap();
        recording.sync().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for end in whole..recording.bytes() {
            std::fs::write(&path, &bytes[..end as usize]).unwrap();
            let mut reader = Reader::file(&path).unwrap();
            assert_eq!(times(&mut reader), [1], "{end}");
            // An end in zeros cannot be told from room that nothing was written into.
            let report = reader.report();
            assert!(report.is_sound() && report.torn_bytes <= end - whole, "{end}: {report:?}");
            assert_eq!(report.torn_bytes > 0, end > whole, "{end}: {report:?}");
        }
        for text in ["", "ms_since_midnight,bid,ask\n1,2,3\n", "TICKWJRN"] {
            std::fs::write(&path, text).unwrap();
            let error = Reader::file(&path).unwrap_err().to_string();
            assert!(error.contains("has no sound header, expected a recording or a journal segment"), "{error}");
        }
    }
}
