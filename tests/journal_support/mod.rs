//! Records by number, a ring to put them into by hand, and the ways to journal and read them.
#![allow(dead_code, unreachable_pub, missing_docs)] // Each test binary uses its part.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tickwire::journal::{self, Catalogue, JournalConfig, JournalHandle, Reader, Report, SegmentId, Setup};
use tickwire::market::{Scope, Source, SourceId, VolumeOf};
use tickwire::ring::{Drained, Outlet};
use tickwire_schemas::record::{Quote, RECORD_BYTES_MAX, Record, Tick, Timer};
use tickwire_schemas::words::Kind;

pub const PATIENCE: Duration = Duration::from_secs(600);

pub type Line = (Kind, Vec<u8>);

fn bytes_of<R: Record>(mut record: R, epoch: u32, seq: u64) -> Line {
    (record.head_mut().epoch, record.head_mut().seq) = (epoch, seq);
    let mut out = [0; RECORD_BYTES_MAX];
    let length = record.write(&mut out);
    (R::KIND, out[..length].to_vec())
}

/// The record number `seq` of `epoch`: a tick received at second `seq`, a quote, or a timer.
pub fn line(epoch: u32, seq: u64) -> Line {
    let now_ns = seq as i64 * 1_000_000_000;
    match seq % 3 {
        0 => bytes_of(Tick { ts_recv_ns: now_ns, bid_e9: -(seq as i64), ..Tick::default() }, epoch, seq),
        1 => bytes_of(Quote { ts_recv_ns: now_ns, sources: 2, ..Quote::default() }, epoch, seq),
        _ => bytes_of(Timer { now_ns, snapshot: 1, ..Timer::default() }, epoch, seq),
    }
}

pub fn lines(epoch: u32, seqs: std::ops::RangeInclusive<u64>) -> Vec<Line> {
    seqs.map(|seq| line(epoch, seq)).collect()
}

/// A ring to put records into by hand.
#[derive(Clone, Default)]
pub struct Feed(pub Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    pub waiting: VecDeque<Line>,
    closed: bool,
    waker: Option<Waker>,
}

impl Feed {
    pub fn push(&self, lines: impl IntoIterator<Item = Line>) {
        let mut inner = self.0.lock().unwrap();
        inner.waiting.extend(lines);
        inner.waker.take().into_iter().for_each(Waker::wake);
    }

    pub fn close(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.closed = true;
        inner.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Outlet for Feed {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        let (taken, closed) = {
            let mut inner = self.0.lock().unwrap();
            let count = limit.min(inner.waiting.len());
            (inner.waiting.drain(..count).collect::<Vec<_>>(), inner.closed)
        };
        taken.iter().for_each(|(kind, bytes)| each(*kind, bytes));
        match taken.len() {
            0 if closed => Drained::Shutdown,
            0 => Drained::Empty,
            count => Drained::Records(count),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.closed || !inner.waiting.is_empty() {
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

pub fn config() -> JournalConfig {
    JournalConfig {
        segment_bytes: 80 << 10, // One block and a little: many segments.
        sync_ms: 1,
        queue_bytes: 256 << 10,
        keep_hours: 24,
        max_bytes: 1 << 40,
        snapshot_every_s: 60,
    }
}

pub fn setup(epoch: u32) -> Setup {
    let scope = Scope::Global;
    let source = Source {
        id: SourceId(1),
        name: "oanda".into(),
        scope,
        owner: String::new(),
        priority: 1,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let catalogue = Catalogue { engine_id: "tw-test".into(), sources: vec![source], ..Catalogue::default() };
    Setup { epoch, first_seq: 1, catalogue }
}

pub fn start(dir: &Path, epoch: u32) -> (Feed, JournalHandle) {
    let feed = Feed::default();
    let handle = journal::start(&config(), dir, setup(epoch), Box::new(feed.clone())).unwrap();
    (feed, handle)
}

/// A whole run of the journal.
pub fn run(dir: &Path, epoch: u32, what: Vec<Line>) {
    let (feed, handle) = start(dir, epoch);
    feed.push(what);
    feed.close();
    handle.stop(PATIENCE).unwrap();
}

pub fn read_on(reader: &mut Reader) -> Vec<Line> {
    let mut out = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        out.push((entry.kind, entry.bytes.to_vec()));
    }
    out
}

pub fn read(dir: &Path) -> (Vec<Line>, Report) {
    let mut reader = Reader::open(dir, None).unwrap();
    (read_on(&mut reader), reader.report())
}

pub fn segments(dir: &Path) -> Vec<SegmentId> {
    journal::format::list_segments(dir).unwrap()
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn durable_to(handle: &JournalHandle, seq: u64) {
    assert!(wait(handle.durable().reached(seq)));
}
