//! Reads a journal from any position, over segments and epochs.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tickwire_schemas::words::Kind;

use super::durable::Durable;
use super::format::{
    self, Catalogue, ENTRY_BYTES_MAX, ENTRY_HEAD_BYTES, HEADER_FIXED_BYTES, JournalError, Position, SegmentHeader,
    SegmentId, list_segments,
};
use crate::metrics;

/// Bytes read at once: some 2,000 entries, and room for the longest one.
const BUFFER_BYTES: usize = 256 << 10;
const _: () = assert!(BUFFER_BYTES > 2 * (ENTRY_HEAD_BYTES + ENTRY_BYTES_MAX));

/// To compare a buffer with: the zeros of a preallocated segment are long.
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// Most sentences kept in a [`Report`]; all are counted.
const NOTES_MAX: usize = 32;

/// One journaled record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: Kind,
    /// The record, with its head.
    pub bytes: &'a [u8],
    /// Behind it: where a reader goes on after this entry.
    pub position_after: Position,
}

/// What was wrong with the part read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes behind the last sound entry of an epoch that are not zeros: a write that a crash cut short.
    pub torn_bytes: u64,
    /// Places skipped although sound entries or segments follow.
    pub damaged_places: u64,
    /// Bytes skipped there.
    pub damaged_bytes: u64,
    /// Segments that are not there although earlier and later ones are.
    pub missing_segments: u64,
    /// A sentence for each, the first 32.
    pub notes: Vec<String>,
}

impl Report {
    /// Nothing was wrong, but for a torn tail at most.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged_places == 0 && self.missing_segments == 0
    }

    pub(super) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    pub(super) fn damage(&mut self, bytes: u64, note: String) {
        self.damaged_places += 1;
        self.damaged_bytes += bytes;
        metrics::JOURNAL_DAMAGE.inc();
        tracing::error!("{note}");
        self.note(note);
    }
}

/// Reads entries in order. Without a [`Durable`] it ends behind the last sound entry there is, with one where the
/// journal is durable; calling [`Reader::next`] again later goes on from there.
#[derive(Debug)]
pub struct Reader {
    /// The folder; of a single file, the file.
    dir: PathBuf,
    durable: Option<Durable>,
    /// The last segment to read, if not the last there is.
    until: Option<SegmentId>,
    segment: Option<Segment>,
    /// Where to begin: until the first segment is there.
    from: Option<Position>,
    header: SegmentHeader,
    report: Report,
}

impl Reader {
    /// Reads the journal in `dir` from `from`, or from its beginning.
    ///
    /// # Errors
    /// [`JournalError`] when the folder or its first segment cannot be read.
    pub fn open(dir: &Path, from: Option<Position>) -> Result<Reader, JournalError> {
        Self::start(dir, from, None, None)
    }

    /// The same of a journal that is being written: never reads beyond what is durable.
    ///
    /// # Errors
    /// [`JournalError`] when the folder or its first segment cannot be read.
    pub fn follow(dir: &Path, from: Option<Position>, durable: Durable) -> Result<Reader, JournalError> {
        Self::start(dir, from, Some(durable), None)
    }

    /// Reads one file alone: a recording, or a segment taken out of its folder. While it is being written, it ends
    /// behind the last whole entry there is.
    ///
    /// # Errors
    /// [`JournalError`] when the file cannot be read, its header is damaged, or it was written by a later engine.
    pub fn file(path: &Path) -> Result<Reader, JournalError> {
        let file = File::open(path).map_err(JournalError::io("open", path))?;
        let (header, length) = read_header(&file, path)?;
        let header = header.ok_or_else(|| JournalError::NoHeader { path: path.into() })?;
        let until = Some(header.id);
        let segment = Some(Segment::new(header.id, path.into(), file, length));
        let report = Report::default();
        Ok(Reader { dir: path.into(), durable: None, until, segment, from: None, header, report })
    }

    /// Reads no further than the segment `until`.
    pub(super) fn until(dir: &Path, from: Option<Position>, until: SegmentId) -> Result<Reader, JournalError> {
        Self::start(dir, from, None, Some(until))
    }

    fn start(
        dir: &Path,
        from: Option<Position>,
        durable: Option<Durable>,
        until: Option<SegmentId>,
    ) -> Result<Reader, JournalError> {
        let (header, report) = (SegmentHeader::default(), Report::default());
        // Epochs count from 1: what a reader that had nothing to read gave as its position is the beginning.
        let from = from.filter(|from| from.epoch > 0);
        let mut reader = Reader { dir: dir.into(), durable, until, segment: None, from, header, report };
        reader.advance()?;
        Ok(reader)
    }

    /// The next entry; `None` at the end, which may be a different one later.
    ///
    /// # Errors
    /// [`JournalError`] when a file cannot be read or was written by a later engine. Damage is not an error: it is
    /// skipped and in [`Reader::report`].
    #[allow(clippy::should_implement_trait)] // An entry borrows from the reader, which an Iterator's item cannot.
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, JournalError> {
        let (kind, body) = loop {
            if let Some(segment) = &mut self.segment {
                if let Some(found) = segment.scan()? {
                    break found;
                }
                if segment.raise_limit(self.durable.as_ref())? || segment.skip(&mut self.report)? {
                    continue;
                }
            }
            if !self.advance()? {
                return Ok(None);
            }
        };
        let Some(segment) = &self.segment else { return Ok(None) };
        Ok(Some(Entry { kind, bytes: &segment.buffer[body], position_after: segment.position() }))
    }

    /// Behind the last entry read.
    #[must_use]
    pub fn position(&self) -> Position {
        self.segment.as_ref().map_or(self.from.unwrap_or_default(), Segment::position)
    }

    /// Header of the segment of the last entry read.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Who and what the last entry read is about.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.header.catalogue
    }

    /// What was wrong with the part read so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        if let Some(segment) = &self.segment {
            segment.report_torn(&mut report);
        }
        report
    }

    /// Goes to the next segment, if there is one to go to.
    fn advance(&mut self) -> Result<bool, JournalError> {
        let last = self.durable.as_ref().map(|d| d.now().position.id()).or(self.until);
        let here = self.segment.as_ref().map(|s| s.id);
        if here.is_some_and(|here| last.is_some_and(|last| here >= last)) {
            return Ok(false);
        }
        let first = self.from.map(Position::id);
        let wanted = |id: &SegmentId| match (here, first) {
            (Some(here), _) => *id > here,
            (None, Some(first)) => *id >= first,
            (None, None) => true,
        };
        let next = list_segments(&self.dir)?.into_iter().find(wanted);
        let Some(next) = next.filter(|id| last.is_none_or(|last| *id <= last)) else { return Ok(false) };
        let offset = self.from.filter(|from| from.id() == next).map_or(0, |from| from.offset);
        let (segment, header) = Segment::open(&self.dir, next, offset, &mut self.report)?;
        self.leave(here, first, next);
        match header {
            Some(header) => self.header = header,
            // The catalogue seldom changes: the previous one is the best guess there is.
            None => self.header.id = next,
        }
        self.segment = Some(segment);
        Ok(true)
    }

    /// Accounts for what lies between the end of the segment `here` and the beginning of `next`.
    fn leave(&mut self, here: Option<SegmentId>, first: Option<SegmentId>, next: SegmentId) {
        if let Some(segment) = self.segment.take() {
            if segment.id.epoch == next.epoch {
                segment.report_damaged_end(&mut self.report);
            } else {
                segment.report_torn(&mut self.report);
            }
        }
        let expected = match (here, first) {
            (Some(here), _) if here.epoch == next.epoch => here.number.saturating_add(1),
            (Some(_), _) => 1,
            (None, Some(first)) if first.epoch == next.epoch => first.number,
            (None, Some(_)) => 1,
            (None, None) => next.number,
        };
        if next.number > expected || first.is_some_and(|f| here.is_none() && f.epoch < next.epoch) {
            let missing = u64::from(next.number.saturating_sub(expected)).max(1);
            self.report.missing_segments += missing;
            metrics::JOURNAL_DAMAGE.inc();
            let note = format!("journal: {missing} segments or more before {next} are not there");
            tracing::error!("{note}");
            self.report.note(note);
        }
    }
}

/// One open segment and the part of it in memory.
#[derive(Debug)]
struct Segment {
    id: SegmentId,
    path: PathBuf,
    file: File,
    buffer: Box<[u8]>,
    /// Unread bytes in the buffer.
    have: Range<usize>,
    /// Offset in the file of the next entry, which is that of `have.start`.
    at: u64,
    /// Nothing is read from here on.
    limit: u64,
    /// End of what is not zeros behind `at`, when that is not an entry and none follows.
    torn_to: Option<u64>,
}

impl Segment {
    fn new(id: SegmentId, path: PathBuf, file: File, at: u64) -> Segment {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Segment { id, path, file, buffer, have: 0..0, at, limit: 0, torn_to: None }
    }

    fn open(
        dir: &Path,
        id: SegmentId,
        offset: u64,
        report: &mut Report,
    ) -> Result<(Segment, Option<SegmentHeader>), JournalError> {
        let path = id.path(dir);
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        let (header, length) = read_header(&file, &path)?;
        let header = header.filter(|h| h.id == id);
        if header.is_none() {
            report.damage(0, format!("journal: the header of {} is damaged", path.display()));
        }
        // Behind a damaged header the first entry is searched for from its beginning.
        let at = if header.is_some() { offset.max(length) } else { offset };
        Ok((Segment::new(id, path, file, at), header))
    }

    fn position(&self) -> Position {
        Position { epoch: self.id.epoch, segment: self.id.number, offset: self.at }
    }

    /// The entry at `at`, now behind it: its kind and where its record is in the buffer. `None`: there is none, or none
    /// yet.
    fn scan(&mut self) -> Result<Option<(Kind, Range<usize>)>, JournalError> {
        if !self.fill(4)? {
            return Ok(None);
        }
        let Some(total) = format::entry_bytes(&self.buffer[self.have.clone()]) else { return Ok(None) };
        if !self.fill(total)? {
            return Ok(None);
        }
        let start = self.have.start;
        let Some((kind, _)) = format::take_entry(&self.buffer[start..start + total]) else { return Ok(None) };
        self.have.start += total;
        self.at += total as u64;
        Ok(Some((kind, start + ENTRY_HEAD_BYTES + 1..start + total)))
    }

    /// Has `need` bytes in the buffer; `false` when there are fewer before the limit.
    fn fill(&mut self, need: usize) -> Result<bool, JournalError> {
        if self.have.len() >= need {
            return Ok(true);
        }
        if self.at + need as u64 > self.limit {
            return Ok(false);
        }
        self.buffer.copy_within(self.have.clone(), 0);
        self.have = 0..self.have.len();
        while self.have.len() < need {
            let offset = self.at + self.have.len() as u64;
            let room = (self.buffer.len() - self.have.end).min((self.limit - offset) as usize);
            let into = &mut self.buffer[self.have.end..self.have.end + room];
            match self.file.read_at(into, offset).map_err(JournalError::io("read", &self.path))? {
                0 => return Ok(false),
                read => self.have.end += read,
            }
        }
        Ok(true)
    }

    /// Looks how far may be read now; `true` when that is further than before.
    fn raise_limit(&mut self, durable: Option<&Durable>) -> Result<bool, JournalError> {
        let at = durable.map(|d| d.now().position);
        let limit = match at {
            Some(at) if at.id() == self.id => at.offset,
            Some(at) if at.id() < self.id => 0,
            // A segment that is left, or read by somebody who has nobody to ask.
            _ => self.file.metadata().map_err(JournalError::io("read", &self.path))?.len(),
        };
        let raised = limit > self.limit;
        self.limit = limit;
        Ok(raised)
    }

    /// What is at `at` is not an entry: goes to the next one there is; `false` when there is none.
    fn skip(&mut self, report: &mut Report) -> Result<bool, JournalError> {
        // The buffer may hold zeros that have been overwritten in the file since.
        self.have = 0..0;
        self.torn_to = None;
        let Some(last) = self.last_not_zero()? else { return Ok(false) };
        // Rare, and at most one segment: simplest in memory.
        let mut rest = vec![0; (last + 1 - self.at) as usize];
        self.file.read_exact_at(&mut rest, self.at).map_err(JournalError::io("read", &self.path))?;
        if format::take_entry(&rest).is_some() {
            return Ok(true); // Written since it was looked at.
        }
        // The last entry may end in zeros: allow for them.
        rest.resize(rest.len() + ENTRY_BYTES_MAX.min((self.limit - last - 1) as usize), 0);
        match (1..rest.len()).find(|&from| format::take_entry(&rest[from..]).is_some()) {
            Some(bytes) => {
                let (bytes, to) = (bytes as u64, self.at + bytes as u64);
                let place = format!("{} from {} to {to}", self.path.display(), self.at);
                report.damage(bytes, format!("journal: {place} is damaged; {bytes} bytes skipped"));
                self.at = to;
                Ok(true)
            }
            None => {
                self.torn_to = Some(last + 1);
                Ok(false)
            }
        }
    }

    /// Offset of the last byte from `at` to the limit that is not zero.
    fn last_not_zero(&mut self) -> Result<Option<u64>, JournalError> {
        let (mut offset, mut last) = (self.at, None);
        while offset < self.limit {
            let room = (self.limit - offset).min(self.buffer.len() as u64) as usize;
            let into = &mut self.buffer[..room];
            let read = self.file.read_at(into, offset).map_err(JournalError::io("read", &self.path))?;
            if read == 0 {
                break;
            }
            if into[..read] != ZEROS[..read] {
                last = into[..read].iter().rposition(|b| *b != 0).map(|found| offset + found as u64);
            }
            offset += read as u64;
        }
        Ok(last)
    }

    fn report_torn(&self, report: &mut Report) {
        if let Some(to) = self.torn_to {
            let bytes = to - self.at;
            report.torn_bytes += bytes;
            report.note(format!("journal: {} is torn at {}; {bytes} bytes cut", self.path.display(), self.at));
        }
    }

    fn report_damaged_end(&self, report: &mut Report) {
        if let Some(to) = self.torn_to {
            let bytes = to - self.at;
            let place = format!("{} from {} to its end", self.path.display(), self.at);
            report.damage(bytes, format!("journal: {place} is damaged; {bytes} bytes skipped"));
        }
    }
}

/// A segment's header, or `None` when it is damaged, and its length.
pub(super) fn read_header(file: &File, path: &Path) -> Result<(Option<SegmentHeader>, u64), JournalError> {
    let mut bytes = vec![0; HEADER_FIXED_BYTES];
    if let Err(error) = file.read_exact_at(&mut bytes, 0) {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof {
            Ok((None, 0))
        } else {
            Err(JournalError::io("read", path)(error))
        };
    }
    // What a damaged header announces need not be there.
    let there = file.metadata().map_err(JournalError::io("look at", path))?.len();
    let length = SegmentHeader::length_of(&bytes).filter(|length| *length as u64 <= there);
    let Some(length) = length else { return Ok((None, 0)) };
    bytes.resize(length, 0);
    if file.read_exact_at(&mut bytes, 0).is_err() {
        return Ok((None, 0));
    }
    let Some(found) = SegmentHeader::sound_version(&bytes) else { return Ok((None, 0)) };
    if found > format::VERSION {
        return Err(JournalError::Version { path: path.into(), found });
    }
    Ok((SegmentHeader::from_bytes(&bytes), length as u64))
}
