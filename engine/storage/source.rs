//! The journal as the database sees it: rows with their place, and the names that belong to them.

use std::path::Path;

use tickwire_schemas::record::{Head, read_head};

use super::names::Names;
use super::rows::Stored;
use crate::journal::{Durable, JournalError, Position, Reader, Report, SegmentId};
use crate::metrics;

/// One journaled record.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its identity.
    pub head: Head,
    /// Where it begins.
    pub at: Position,
    /// The row, if it has a table.
    pub row: Option<Stored>,
}

/// Reads the journal from a place on.
#[derive(Debug)]
pub struct Source {
    reader: Reader,
    names: Names,
    names_of: Option<SegmentId>,
}

impl Source {
    /// From `from` or the beginning: to where the journal is durable, or without a [`Durable`] to its end.
    ///
    /// # Errors
    /// [`JournalError`] when the folder or a segment cannot be read.
    pub fn open(dir: &Path, from: Option<Position>, durable: Option<Durable>) -> Result<Source, JournalError> {
        let reader = match durable {
            Some(durable) => Reader::follow(dir, from, durable)?,
            None => Reader::open(dir, from)?,
        };
        Ok(Source { reader, names: Names::default(), names_of: None })
    }

    /// The next record, `None` at the end.
    ///
    /// # Errors
    /// [`JournalError`] when a file cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Found>, JournalError> {
        loop {
            let before = self.reader.position();
            let Some(entry) = self.reader.next()? else { return Ok(None) };
            let after = entry.position_after;
            let head = read_head(entry.kind, entry.bytes);
            let row = head.and_then(|head| Ok((head, Stored::read(entry.kind, entry.bytes)?)));
            if self.names_of != Some(after.id()) {
                self.names = Names::new(self.reader.catalogue());
                self.names_of = Some(after.id());
            }
            // A reader that has just changed to a new segment still stood at the end of the old one.
            let at = if before.id() == after.id() { before } else { after.id().start() };
            match row {
                Ok((head, row)) => return Ok(Some(Found { head, at, row })),
                Err(error) => {
                    metrics::STORAGE_UNREADABLE.inc();
                    tracing::error!("storage: the journaled record at {at} cannot be read: {error}");
                }
            }
        }
    }

    /// The names that belong to the last record.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Behind the last record.
    #[must_use]
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// What was wrong with the journal so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.reader.report()
    }
}
