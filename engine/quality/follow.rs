//! The thread that follows the journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::{Gap, Record};
use tickwire_schemas::words::Kind;

use super::ledger::Ledger;
use super::summary::{Board, Recent};
use super::tracker::Tracker;
use crate::journal::{Durable, JournalError, Reader};
use crate::storage::quality::SourceMinute;
use crate::storage::telemetry::Offer;

/// How often it looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A running thread.
#[derive(Debug)]
pub struct Follower {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Reads what is journaled to its end and hands over the last minute, as far as it went. To be called when the journal
    /// has closed and while rows are still taken.
    pub fn stop(self) {
        drop(self.stop);
        // A panic aborts the process, so there is nothing to learn from the result.
        let _ = self.thread.join();
    }
}

/// Starts the thread `tw-quality` at the end of the journal as it is now, which is the beginning of this run.
///
/// # Errors
/// One sentence when the journal cannot be read or the thread cannot be made.
pub fn start(
    tracker: Tracker,
    journal_dir: &Path,
    durable: Durable,
    rows: Option<Offer<SourceMinute>>,
    board: Arc<Board>,
) -> Result<Follower, String> {
    let from = durable.now().position;
    let reader = Reader::follow(journal_dir, Some(from), durable).map_err(|e| e.to_string())?;
    let (stop, stopped) = channel();
    let ledger = Ledger::new(tracker.market());
    let follow = Follow { tracker, ledger, recent: Recent::default(), reader, rows, board };
    let thread = std::thread::Builder::new().name("tw-quality".into()).spawn(move || follow.run(&stopped));
    Ok(Follower { stop, thread: thread.map_err(|e| format!("a thread for the quality of sources: {e}"))? })
}

struct Follow {
    tracker: Tracker,
    ledger: Ledger,
    recent: Recent,
    reader: Reader,
    rows: Option<Offer<SourceMinute>>,
    board: Arc<Board>,
}

impl Follow {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut failed = false;
        loop {
            let stopping = stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout);
            match self.read() {
                Ok(()) => failed = false,
                // Told once; the next look tries again.
                Err(error) if !failed => {
                    failed = true;
                    tracing::warn!("quality of sources: {error}");
                }
                Err(_) => {}
            }
            if stopping {
                self.tracker.finish();
                return self.hand_over();
            }
            self.board.show(self.recent.summaries(&mut self.tracker));
            if let Some(holes) = self.ledger.take_changed() {
                self.board.show_holes(holes);
            }
        }
    }

    fn read(&mut self) -> Result<(), JournalError> {
        while let Some(entry) = self.reader.next()? {
            // A record that is too short counts nowhere; the database's writer tells and counts it.
            let _ = self.tracker.record(entry.kind, entry.bytes);
            if let (Kind::Gap, Ok(gap)) = (entry.kind, Gap::read(entry.bytes)) {
                self.ledger.gap(&gap);
            }
            if self.tracker.has_closed() {
                self.hand_over();
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        for (pair, minute) in self.tracker.take_closed() {
            if let Some(rows) = &self.rows {
                rows.offer(minute.clone());
            }
            self.recent.push(pair, minute);
        }
    }
}
