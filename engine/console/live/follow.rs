//! The thread that writes the board.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::{Bar, Gap, Quote, Record, SourceState, Tick, read_head};
use tickwire_schemas::words::{BarState, Kind, Timeframe};

use super::board::{SharedBoard, State};
use crate::journal::{Durable, JournalError, Reader, SegmentId};
use crate::storage::MarketData;
use crate::storage::market_data::Series;
use crate::storage::names::Names;
use crate::storage::rows::Audience;

/// How often it looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Records read before those who look get their turn: some 2 ms.
const TURN_RECORDS: usize = 4_096;

/// A running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Following {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic aborts the process, so there is nothing to learn from the result.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Starts the thread `tw-board` at the end of the journal as it is now, which is the beginning of this run. It tells
/// `market_data` of every bar that will be stored.
///
/// # Errors
/// One sentence when the journal cannot be read or the thread cannot be made.
pub fn follow(
    board: SharedBoard,
    market_data: Option<Arc<MarketData>>,
    journal_dir: &Path,
    durable: Durable,
) -> Result<Following, String> {
    let from = durable.now().position;
    let reader = Reader::follow(journal_dir, Some(from), durable).map_err(|e| e.to_string())?;
    let (stop, stopped) = channel();
    let (segment, names) = (SegmentId::default(), Names::default());
    let follow = Follow { board, market_data, reader, segment, names, records: Vec::new(), bytes: Vec::new() };
    let thread = std::thread::Builder::new().name("tw-board".into()).spawn(move || follow.run(&stopped));
    let thread = thread.map_err(|e| format!("a thread for the board of live prices: {e}"))?;
    Ok(Following { stop: Some(stop), thread: Some(thread) })
}

struct Follow {
    board: SharedBoard,
    market_data: Option<Arc<MarketData>>,
    reader: Reader,
    /// Whose catalogue the names are of.
    segment: SegmentId,
    names: Names,
    /// What was read in a turn: kinds, and where in `bytes` each ends.
    records: Vec<(Kind, usize)>,
    bytes: Vec<u8>,
}

impl Follow {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut failed = false;
        while matches!(stopped.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
            loop {
                match self.turn() {
                    Ok(more) => {
                        failed = false;
                        self.board.tell();
                        if !more {
                            break;
                        }
                    }
                    Err(error) => {
                        // Told once; the next look tries again.
                        if !failed {
                            tracing::warn!("live prices: {error}");
                        }
                        failed = true;
                        break;
                    }
                }
            }
        }
    }

    /// Reads on; whether there is more. The board is held for as long as it takes to write on it, and not to read.
    fn turn(&mut self) -> Result<bool, JournalError> {
        self.records.clear();
        self.bytes.clear();
        let mut named = None;
        let read = loop {
            if self.records.len() == TURN_RECORDS {
                break Ok(true);
            }
            match self.reader.next() {
                Ok(Some(entry)) => {
                    self.bytes.extend_from_slice(entry.bytes);
                    self.records.push((entry.kind, self.bytes.len()));
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
            let header = self.reader.header();
            if header.id != self.segment {
                self.segment = header.id;
                self.names = Names::new(&header.catalogue);
                named = Some(header.catalogue.clone());
            }
        };
        let mut heard = Vec::new();
        let mut state = self.board.state();
        // Names are only added: those of a later record are right for an earlier one.
        named.iter().for_each(|catalogue| state.name(catalogue));
        let mut from = 0;
        for (kind, to) in &self.records {
            // A record that is too short is shown nowhere; the database's writer tells and counts it.
            heard.extend(take(&mut state, *kind, &self.bytes[from..*to]));
            from = *to;
        }
        drop(state);
        if let Some(market_data) = &self.market_data {
            heard.iter().filter_map(|bar| self.series(bar)).for_each(|(series, row)| market_data.heard(&series, row));
        }
        read
    }

    fn series(&self, bar: &Bar) -> Option<(Series, (u32, u64))> {
        let Bar { head, .. } = bar;
        let is_private = self.names.is_private(head.source_id);
        let series = Series {
            audience: if is_private { Audience::Private } else { Audience::Global },
            source: self.names.source(head.source_id).into_owned(),
            symbol: self.names.symbol(head.instrument_id).into_owned(),
            timeframe: Timeframe::from_code(bar.timeframe)?,
        };
        Some((series, (head.epoch, head.seq)))
    }
}

/// Puts a record on the board; a bar that will be stored is handed back.
fn take(state: &mut State, kind: Kind, bytes: &[u8]) -> Option<Bar> {
    if let Ok(head) = read_head(kind, bytes) {
        state.at(&head);
    }
    match kind {
        Kind::Tick => state.tick(Tick::read(bytes).ok()?),
        Kind::Quote => state.quote(Quote::read(bytes).ok()?),
        Kind::Bar => {
            let bar = Bar::read(bytes).ok()?;
            state.bar(bar);
            return (bar.state != BarState::Provisional.code()).then_some(bar);
        }
        Kind::Gap => state.gap(Gap::read(bytes).ok()?),
        Kind::SourceState => state.source_state(&SourceState::read(bytes).ok()?),
        _ => {}
    }
    None
}
