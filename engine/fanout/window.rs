//! The newest records, encoded once for all terminals: a ring of them in order, and the newest of each chain.
//!
//! A record is copied out of the outbound ring once, straight behind its frame header, into the open block. What is in it
//! is shown to all terminals at once, as one piece of memory that they share: so whoever takes several neighbouring
//! records takes one slice, however they came. Nothing here knows a terminal, and nothing grows with their number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tickwire_schemas::WIRE_VERSION;
use tickwire_schemas::frame::{FLAG_SNAPSHOT, HEADER_BYTES, Header};
use tickwire_schemas::record::{self, RECORD_BYTES_MAX};
use tickwire_schemas::words::Kind;

use crate::metrics::{FANOUT_COPIES, FANOUT_ENCODES};

use super::catalogue::Catalogue;

/// Length of a block. The open one is copied each time that something new is shown, and one record of a silent chain keeps
/// a copy alive, so it is small: 1,000 silent chains hold at most 4 MiB.
const BLOCK_BYTES: usize = 4096;

/// Offsets of the fields that tell the chains of bars and indicators apart.
const BAR_TIMEFRAME_AT: usize = 166;
const INDICATOR_ID_AT: usize = 76;
const INDICATOR_TIMEFRAME_AT: usize = 80;

/// What a chain counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ChainKey {
    kind: Kind,
    timeframe: u8,
    source: u32,
    instrument: u32,
    indicator: u32,
}

/// A frame with one record, in a block shared with its neighbours and with every terminal.
#[derive(Clone, Debug)]
pub struct Chunk {
    block: Bytes,
    start: u32,
    end: u32,
}

impl Chunk {
    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        self.block.slice(self.start as usize..self.end as usize)
    }

    /// The record without its frame header.
    #[must_use]
    pub fn record(&self) -> Bytes {
        self.block.slice(self.start as usize + HEADER_BYTES..self.end as usize)
    }
}

/// Neighbouring frames of one block.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    block: u64,
    start: u32,
    end: u32,
}

impl Run {
    /// Adds the frame that lies right behind.
    pub fn extend(&mut self, next: &Entry) -> bool {
        let adjacent = self.block == next.run.block && self.end == next.run.start;
        if adjacent {
            self.end = next.run.end;
        }
        adjacent
    }
}

/// One record in order.
#[derive(Debug)]
pub struct Entry {
    /// Index of its chain.
    pub chain: u32,
    /// Its number in the chain.
    pub number: u64,
    /// Its position in the engine's output.
    pub seq: u64,
    /// When the engine published it.
    pub published_ns: i64,
    /// Where its frame is: [`Window::bytes`].
    pub run: Run,
}

/// The newest record of a chain.
#[derive(Debug)]
pub struct Chain {
    /// Kind of its records.
    pub kind: Kind,
    /// Dense index of its source.
    pub source: u32,
    /// Dense index of its instrument.
    pub instrument: u32,
    /// Number of the first record seen here.
    pub first: u64,
    /// Number of the newest record.
    pub number: u64,
    /// The newest record.
    pub newest: Chunk,
    /// When the engine published it.
    pub published_ns: i64,
}

impl Chain {
    /// Whether the newest record is the state of something. Trades and gaps are events, of which there is no snapshot.
    #[must_use]
    pub fn is_state(&self) -> bool {
        !matches!(self.kind, Kind::Trade | Kind::Gap)
    }
}

/// A record of the open block that is not shown yet.
struct Pending {
    key: ChainKey,
    seq: u64,
    number: u64,
    published_ns: i64,
    start: u32,
    end: u32,
}

/// The newest records.
pub struct Window {
    entries: VecDeque<Entry>,
    capacity: usize,
    /// Position of the first entry.
    start: u64,
    /// `seq` of the newest record that is not in the window any more, or never was.
    gone_seq: Option<u64>,
    last_seq: u64,
    chains: Vec<Chain>,
    by_key: HashMap<ChainKey, u32>,
    /// What is shown of the blocks that entries are in, from the number `first_block` on; the last one is open.
    blocks: VecDeque<Bytes>,
    first_block: u64,
    /// The open block with what is not shown yet.
    open: Vec<u8>,
    pending: Vec<Pending>,
    catalogue: Arc<Catalogue>,
}

impl Window {
    /// An empty window that holds `capacity` records.
    #[must_use]
    pub fn new(capacity: usize, catalogue: Arc<Catalogue>) -> Self {
        Window {
            catalogue,
            entries: VecDeque::with_capacity(capacity),
            capacity: capacity.max(1),
            start: 0,
            gone_seq: None,
            last_seq: 0,
            chains: Vec::new(),
            by_key: HashMap::new(),
            blocks: VecDeque::from([Bytes::new()]),
            first_block: 0,
            open: Vec::with_capacity(BLOCK_BYTES),
            pending: Vec::new(),
        }
    }

    /// Knows more instruments and sources from now on, with the same indices for those that there were.
    pub fn grow(&mut self, catalogue: Arc<Catalogue>) {
        self.catalogue = catalogue;
    }

    /// Copies a record behind its header. It is seen after [`Window::seal`]. Kinds for the journal alone, and what is
    /// not a record, are passed over.
    pub fn push(&mut self, kind: Kind, record: &[u8]) {
        if !super::access::DELIVERED.contains(&kind) || record.len() > RECORD_BYTES_MAX {
            return;
        }
        let Ok(head) = record::read_head(kind, record) else { return };
        let Some((timeframe, indicator)) = discriminants(kind, record) else { return };
        if self.open.len() + HEADER_BYTES + RECORD_BYTES_MAX > BLOCK_BYTES {
            self.seal();
            self.open.clear();
            self.blocks.push_back(Bytes::new());
        }
        let start = self.open.len() as u32;
        self.open.extend_from_slice(&header(kind, record.len(), 0));
        self.open.extend_from_slice(record);
        let end = self.open.len() as u32;
        FANOUT_ENCODES.inc();
        FANOUT_COPIES.inc();
        let (source, instrument) = (head.source_id, head.instrument_id);
        let key = ChainKey { kind, timeframe, source, instrument, indicator };
        self.gone_seq.get_or_insert(head.seq.saturating_sub(1));
        let (seq, number, published_ns) = (head.seq, head.chain, head.ts_publish_ns);
        self.pending.push(Pending { key, seq, number, published_ns, start, end });
    }

    /// Makes what was pushed visible, and forgets the oldest records beyond the capacity.
    pub fn seal(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let block = Bytes::copy_from_slice(&self.open);
        let number_of_block = self.first_block + self.blocks.len() as u64 - 1;
        if let Some(open) = self.blocks.back_mut() {
            *open = block.clone();
        }
        for new in self.pending.drain(..) {
            let chunk = Chunk { block: block.clone(), start: new.start, end: new.end };
            let (chains, catalogue) = (&mut self.chains, &self.catalogue);
            let index = *self.by_key.entry(new.key).or_insert_with(|| {
                let (kind, number, newest) = (new.key.kind, new.number, chunk.clone());
                let source = catalogue.source_index(new.key.source);
                let instrument = catalogue.instrument_index(new.key.instrument);
                let published_ns = new.published_ns;
                chains.push(Chain { kind, source, instrument, first: number, number, newest, published_ns });
                chains.len() as u32 - 1
            });
            let chain = &mut self.chains[index as usize];
            (chain.number, chain.newest, chain.published_ns) = (new.number, chunk, new.published_ns);
            self.last_seq = new.seq;
            if self.entries.len() == self.capacity
                && let Some(oldest) = self.entries.pop_front()
            {
                self.start += 1;
                self.gone_seq = Some(oldest.seq);
            }
            let run = Run { block: number_of_block, start: new.start, end: new.end };
            let (number, seq, published_ns) = (new.number, new.seq, new.published_ns);
            self.entries.push_back(Entry { chain: index, number, seq, published_ns, run });
        }
        let needed = self.entries.front().map_or(number_of_block, |oldest| oldest.run.block);
        while self.first_block < needed {
            self.blocks.pop_front();
            self.first_block += 1;
        }
    }

    /// The bytes of neighbouring frames that are in the window.
    #[must_use]
    pub fn bytes(&self, run: Run) -> Bytes {
        let at = run.block.checked_sub(self.first_block).and_then(|at| usize::try_from(at).ok());
        let block = at.and_then(|at| self.blocks.get(at));
        block.map(|block| block.slice(run.start as usize..run.end as usize)).unwrap_or_default()
    }

    /// Most records that it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Position of the oldest record.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Position after the newest record.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    /// `seq` of the newest record, 0 before the first.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The earliest `seq` that one can resume after; `None` before the first record.
    #[must_use]
    pub fn oldest_resumable(&self) -> Option<u64> {
        self.gone_seq
    }

    /// The records from `from` up to `to`, both of which lie in the window.
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        let at = |position: u64| usize::try_from(position.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let (from, to) = (at(from).min(self.entries.len()), at(to).min(self.entries.len()));
        self.entries.range(from.min(to)..to)
    }

    /// Position of the first record after `seq`; `None` when one is missing between.
    #[must_use]
    pub fn after(&self, seq: u64) -> Option<u64> {
        let reachable = self.gone_seq.is_some_and(|gone| gone <= seq && seq <= self.last_seq);
        reachable.then(|| self.start + self.entries.partition_point(|e| e.seq <= seq) as u64)
    }

    /// Every chain, by index.
    #[must_use]
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }
}

/// Timeframe and indicator of a record, zero where its kind has none.
fn discriminants(kind: Kind, record: &[u8]) -> Option<(u8, u32)> {
    Some(match kind {
        Kind::Bar => (*record.get(BAR_TIMEFRAME_AT)?, 0),
        Kind::Indicator => {
            let id = record.get(INDICATOR_ID_AT..INDICATOR_ID_AT + 4)?.try_into().ok()?;
            (*record.get(INDICATOR_TIMEFRAME_AT)?, u32::from_le_bytes(id))
        }
        _ => (0, 0),
    })
}

fn header(kind: Kind, record_bytes: usize, flags: u16) -> [u8; HEADER_BYTES] {
    let length = record_bytes as u32;
    Header { length, version: WIRE_VERSION, kind: kind.code(), flags, count: 1 }.to_bytes()
}

/// Headers of snapshot frames, one for each kind, shared by all terminals: a snapshot is such a header before the
/// record's bytes in their block, so that it takes neither a copy nor an encoding.
pub struct SnapshotHeaders(Vec<(Kind, Bytes)>);

impl SnapshotHeaders {
    /// The headers of every kind that is delivered.
    #[must_use]
    pub fn new() -> Self {
        let of = |kind: &Kind| {
            let bytes = record::bytes_of(*kind).unwrap_or(0);
            (*kind, Bytes::copy_from_slice(&header(*kind, bytes, FLAG_SNAPSHOT)))
        };
        SnapshotHeaders(super::access::DELIVERED.iter().map(of).collect())
    }

    /// The header of `kind`.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Bytes {
        self.0.iter().find(|(k, _)| *k == kind).map(|(_, header)| header.clone()).unwrap_or_default()
    }
}

impl Default for SnapshotHeaders {
    fn default() -> Self {
        SnapshotHeaders::new()
    }
}
