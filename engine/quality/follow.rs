//! The thread that follows the journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::{Gap, Record};
use tickwire_schemas::words::Kind;

use super::ledger::Ledger;
use super::summary::{Board, Recent};
use super::tracker::Tracker;
use crate::journal::{Durable, JournalError, Reader};
use crate::stages::Market;
use crate::storage::quality::SourceMinute;
use crate::storage::telemetry::Offer;

/// How often it looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a running thread is told.
#[derive(Debug)]
enum Order {
    /// There are more sources and instruments, and these pairs are wanted; who says so is told when they are known.
    Grow(Market, Vec<(usize, usize)>, SyncSender<()>),
    Stop,
}

/// Lets a running thread know more sources and instruments.
#[derive(Clone, Debug)]
pub struct FollowerGrowth(Sender<Order>);

impl FollowerGrowth {
    /// As [`Tracker::grow`], before it reads on; false when the thread has stopped.
    #[must_use]
    pub fn grow(&self, market: &Market, wanted: Vec<(usize, usize)>) -> bool {
        let (tell, done) = sync_channel(1);
        self.0.send(Order::Grow(market.clone(), wanted, tell)).is_ok() && done.recv().is_ok()
    }
}

/// A running thread.
#[derive(Debug)]
pub struct Follower {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// What lets it know more sources and instruments.
    #[must_use]
    pub fn growth(&self) -> FollowerGrowth {
        FollowerGrowth(self.orders.clone())
    }

    /// Reads what is journaled to its end and hands over the last minute, as far as it went. To be called when the journal
    /// has closed and while rows are still taken.
    pub fn stop(self) {
        let _ = self.orders.send(Order::Stop);
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
    // Only who reconfigures the engine speaks, and waits for the answer.
    let (orders, ordered) = channel();
    let ledger = Ledger::new(tracker.market());
    let follow = Follow { tracker, ledger, recent: Recent::default(), reader, rows, board };
    let thread = std::thread::Builder::new().name("tw-quality".into()).spawn(move || follow.run(&ordered));
    Ok(Follower { orders, thread: thread.map_err(|e| format!("a thread for the quality of sources: {e}"))? })
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
    fn run(mut self, ordered: &Receiver<Order>) {
        let mut failed = false;
        loop {
            let stopping = match ordered.recv_timeout(LOOK_EVERY) {
                Ok(Order::Grow(market, wanted, done)) => {
                    self.tracker.grow(&market, &wanted);
                    self.ledger.grow(&market);
                    let _ = done.send(());
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => true,
            };
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
            self.board.show_symbols(self.tracker.symbols());
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
