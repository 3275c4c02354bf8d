//! Which segments may go.
//!
//! Oldest first, a segment goes when all of this holds: the database has everything in it; all of it lies before the
//! oldest snapshot kept, so that no restart wants it; and the database has had it for `keep_hours`, or the journal is
//! longer than `max_bytes`. What the database does not have is never deleted: beyond `max_bytes` there is a warning.
//!
//! When the database has everything of a segment, its modification time is set to that moment, and the position is
//! kept in `journal/stored`, so that a restart does not begin to count anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::disk::{self, Disk};
use super::format::{JournalError, Position, SegmentId, list_segments};
use super::{reader, snapshot};

/// Stands for "nobody stores"; never written down, since the next run may store again.
const NOBODY: SegmentId = SegmentId { epoch: u32::MAX, number: u32::MAX };

const HOUR_NS: i64 = 3_600_000_000_000;

/// Told by the storage writer how far the database has the journal. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Stored(Arc<AtomicU64>);

impl Stored {
    /// Everything before `position` is in the database for good. An earlier position than before changes nothing.
    pub fn set(&self, position: Position) {
        // Segments are kept or deleted whole, so that the offset does not matter.
        self.0.fetch_max(u64::from(position.epoch) << 32 | u64::from(position.segment), Ordering::Release);
    }

    /// Nobody stores anything in this run: only snapshots and `keep_hours`, since the last write, hold segments.
    pub fn nobody_stores(&self) {
        self.set(Position { epoch: NOBODY.epoch, segment: NOBODY.number, offset: 0 });
    }

    /// The segment that the database does not have whole.
    fn segment(&self) -> SegmentId {
        let packed = self.0.load(Ordering::Acquire);
        SegmentId { epoch: (packed >> 32) as u32, number: packed as u32 }
    }
}

/// Deletes what may go.
pub(super) struct Retention {
    dir: PathBuf,
    keep_ns: i64,
    max_bytes: u64,
    stored: Stored,
    /// Segments before this have the time of their storing.
    stamped: SegmentId,
    warned: bool,
}

impl Retention {
    pub(super) fn new(dir: &Path, keep_hours: u64, max_bytes: u64, stored: Stored) -> Retention {
        let text = std::fs::read_to_string(dir.join("stored")).unwrap_or_default();
        let stamped = text.trim().parse::<Position>().unwrap_or_default();
        stored.set(stamped);
        let keep_ns = i64::try_from(keep_hours).unwrap_or(i64::MAX).saturating_mul(HOUR_NS);
        Retention { dir: dir.into(), keep_ns, max_bytes, stored, stamped: stamped.id(), warned: false }
    }

    /// Stamps the segments that the database has had whole since the last call; cheap when there are none.
    pub(super) fn stamp(&mut self, disk: &dyn Disk, now_ns: i64) -> Result<(), JournalError> {
        let stored = self.stored.segment();
        if stored == NOBODY {
            self.stamped = stored;
        }
        if stored <= self.stamped {
            return Ok(());
        }
        for id in list_segments(&self.dir)?.into_iter().filter(|id| (self.stamped..stored).contains(id)) {
            let path = id.path(&self.dir);
            disk.stamp(&path, now_ns).map_err(JournalError::io("stamp", &path))?;
        }
        let path = self.dir.join("stored");
        disk::replace(disk, &path, stored.start().to_string().as_bytes()).map_err(JournalError::io("write", &path))?;
        self.stamped = stored;
        Ok(())
    }

    /// Deletes what may go, of the segments before `current`.
    pub(super) fn sweep(&mut self, disk: &dyn Disk, current: SegmentId, now_ns: i64) -> Result<(), JournalError> {
        let segments = list_segments(&self.dir)?;
        let mut bytes = 0;
        for id in &segments {
            bytes += metadata(&id.path(&self.dir))?.len();
        }
        let floor = snapshot::list(&self.dir)?.first().copied();
        for pair in segments.windows(2) {
            let path = pair[0].path(&self.dir);
            let file = metadata(&path)?;
            let kept = pair[0] >= current
                || pair[0] >= self.stamped
                || !self.lies_before(floor, pair[1])?
                || (bytes <= self.max_bytes && age_ns(&file, now_ns) < self.keep_ns);
            if kept {
                break;
            }
            disk.remove(&path).map_err(JournalError::io("remove", &path))?;
            bytes -= file.len();
        }
        if bytes > self.max_bytes && !self.warned {
            tracing::warn!(
                "journal: {bytes} bytes in {}, more than journal.max_bytes = {}; nothing more can be deleted, because \
                 the database (up to segment {}) or the last snapshot ({floor:?}) is behind",
                self.dir.display(),
                self.max_bytes,
                self.stamped,
            );
        }
        self.warned = bytes > self.max_bytes;
        Ok(())
    }

    /// Everything before the segment `next` lies before the snapshot `floor`.
    fn lies_before(&self, floor: Option<(u32, u64)>, next: SegmentId) -> Result<bool, JournalError> {
        let Some((epoch, seq)) = floor else { return Ok(false) };
        let path = next.path(&self.dir);
        let file = std::fs::File::open(&path).map_err(JournalError::io("open", &path))?;
        let (header, _) = reader::read_header(&file, &path)?;
        Ok(header.is_some_and(|header| (next.epoch, header.first_seq) <= (epoch, seq.saturating_add(1))))
    }
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, JournalError> {
    std::fs::metadata(path).map_err(JournalError::io("read", path))
}

fn age_ns(file: &std::fs::Metadata, now_ns: i64) -> i64 {
    let modified = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    modified.map_or(0, |at| now_ns.saturating_sub(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)))
}
