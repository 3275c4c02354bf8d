//! The segment being written, one after the other.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile};
use super::format::{Catalogue, JournalError, Position, SegmentHeader, SegmentId};
use super::queue::BLOCK_BYTES;

/// Appends to segments. It never retries: that is its caller's decision, and every operation may be repeated.
pub(super) struct Segments {
    pub(super) disk: Box<dyn Disk>,
    dir: PathBuf,
    catalogue: Catalogue,
    segment_bytes: u64,
    id: SegmentId,
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl Segments {
    /// Makes the first segment of `epoch`.
    pub(super) fn new(
        disk: Box<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        epoch: u32,
        first_seq: u64,
        catalogue: Catalogue,
    ) -> Result<Segments, JournalError> {
        let id = SegmentId { epoch, number: 1 };
        let header = SegmentHeader { id, first_seq, catalogue };
        let (file, offset) = make(&*disk, dir, segment_bytes, &header)?;
        Ok(Segments { disk, dir: dir.into(), catalogue: header.catalogue, segment_bytes, id, file, offset })
    }

    /// Lets the segments that follow have another catalogue.
    pub(super) fn describe(&mut self, catalogue: Catalogue) -> Result<(), JournalError> {
        let header = SegmentHeader { id: self.id, first_seq: 0, catalogue };
        fits(header.to_bytes().len() as u64, self.segment_bytes)?;
        self.catalogue = header.catalogue;
        Ok(())
    }

    /// Behind the last byte written.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.id.epoch, segment: self.id.number, offset: self.offset }
    }

    /// There is room for `bytes` more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.offset + bytes as u64 <= self.segment_bytes
    }

    /// Writes at `offset`, which is at most the end of what has been written.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), JournalError> {
        let path = self.id.path(&self.dir);
        self.file.write_at(bytes, offset).map_err(JournalError::io("write", &path))?;
        self.offset = self.offset.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// Returns when all that was written is durable.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        let path = self.id.path(&self.dir);
        self.file.sync().map_err(JournalError::io("sync", &path))
    }

    /// Gives the room behind the data back.
    pub(super) fn cut(&mut self) -> Result<(), JournalError> {
        let path = self.id.path(&self.dir);
        self.file.cut(self.offset).map_err(JournalError::io("cut", &path))?;
        self.file.sync().map_err(JournalError::io("sync", &path))
    }

    /// Goes on in a new segment. The old one has been synced and cut.
    pub(super) fn roll(&mut self, first_seq: u64) -> Result<(), JournalError> {
        let id = SegmentId { number: self.id.number + 1, ..self.id };
        let header = SegmentHeader { id, first_seq, catalogue: std::mem::take(&mut self.catalogue) };
        let made = make(&*self.disk, &self.dir, self.segment_bytes, &header);
        self.catalogue = header.catalogue;
        let (file, offset) = made?;
        (self.id, self.file, self.offset) = (id, file, offset);
        Ok(())
    }
}

/// Whether a segment has room for its header and one block.
fn fits(header_bytes: u64, segment_bytes: u64) -> Result<(), JournalError> {
    if header_bytes + BLOCK_BYTES as u64 > segment_bytes {
        return Err(JournalError::SegmentTooSmall { segment_bytes, header_bytes });
    }
    Ok(())
}

/// Makes a segment under another name, so that there never is one with half a header: its file and its length.
fn make(
    disk: &dyn Disk,
    dir: &Path,
    segment_bytes: u64,
    header: &SegmentHeader,
) -> Result<(Box<dyn DiskFile>, u64), JournalError> {
    let bytes = header.to_bytes();
    let header_bytes = bytes.len() as u64;
    fits(header_bytes, segment_bytes)?;
    let path = header.id.path(dir);
    let beside = path.with_extension("tmp");
    let make = || {
        let mut file = disk.create(&beside, segment_bytes)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(&beside, &path)?;
        Ok(file)
    };
    let file = make().inspect_err(|_| {
        // Its room may be what others lack.
        let _ = disk.remove(&beside);
    });
    Ok((file.map_err(JournalError::io("create", &path))?, header_bytes))
}
