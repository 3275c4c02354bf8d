//! The journal's consumer of the outbound ring does not allocate: not when copying, not when handing over, not when
//! the queue is full, not when there is nothing to do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tickwire::journal::{self, Catalogue, JournalConfig, Setup};
use tickwire::metrics;
use tickwire::ring::{Drained, Outlet};
use tickwire_schemas::words::Kind;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that is ending has no flag any more, and is not counted.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECORDS: u64 = 300_000;

/// Says records, now and then that there is none, and counts the allocations of the thread that asks.
struct Source {
    said: u64,
    calls: u64,
    record: [u8; 102],
}

impl Outlet for Source {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        COUNTED.set(self.said < RECORDS);
        self.calls += 1;
        if self.said >= RECORDS {
            return Drained::Shutdown;
        }
        if self.calls.is_multiple_of(50) {
            return Drained::Empty;
        }
        let count = (limit as u64).min(RECORDS - self.said);
        for _ in 0..count {
            self.said += 1;
            self.record[4..12].copy_from_slice(&self.said.to_le_bytes());
            each(Kind::Tick, &self.record);
        }
        Drained::Records(count as usize)
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn the_consumer_does_not_allocate() {
    let dir = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        segment_bytes: 4 << 20,
        sync_ms: 1,
        queue_bytes: 256 << 10,
        keep_hours: 1,
        max_bytes: 1 << 40,
        snapshot_every_s: 60,
    };
    let setup = Setup { epoch: 1, first_seq: 1, catalogue: Catalogue::default() };
    let source = Source { said: 0, calls: 0, record: [0; 102] };
    let handle = journal::start(&config, dir.path(), setup, Box::new(source)).unwrap();
    let end = handle.stop(Duration::from_secs(600)).unwrap();
    assert_eq!(end.seq, RECORDS);
    assert!(metrics::JOURNAL_QUEUE_FULL.get() > 0, "the wait for a full queue was not exercised");
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0);

    // The allocator does count.
    COUNTED.set(true);
    drop(std::hint::black_box(Box::new(7)));
    COUNTED.set(false);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 2);
}
