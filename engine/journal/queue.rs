//! The bounded memory between the ring's consumer and the disk: blocks that go round between two threads.
//!
//! The consumer frames records into the block it holds and hands it over when it is full, or when the disk thread asks
//! because a sync is due. The disk thread gives a block back when its bytes are synced, so a failed write or sync can
//! always be repeated. All blocks exist from the start: nothing here allocates, locks, logs or calls the system, except
//! to park and to wake the other thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use tickwire_schemas::words::Kind;

use super::format::{ENTRY_BYTES_MAX, ENTRY_HEAD_BYTES, put_entry, seq_of};
use crate::{clock, metrics};

/// Length of a block: one write to the disk. 64 KiB are some 550 records.
pub(super) const BLOCK_BYTES: usize = 64 << 10;
const _: () = assert!(ENTRY_HEAD_BYTES + ENTRY_BYTES_MAX <= BLOCK_BYTES);

/// Longest time that a thread here sleeps through a lost wake-up.
pub(super) const PARK_MAX: Duration = Duration::from_millis(1);

/// Framed records.
pub(super) struct Block {
    bytes: Box<[u8]>,
    used: usize,
    /// `seq` of the first record.
    pub(super) first_seq: u64,
    /// `seq` of the last record.
    pub(super) last_seq: u64,
    /// How many.
    pub(super) records: u64,
}

impl Block {
    fn new() -> Box<Block> {
        let bytes = vec![0; BLOCK_BYTES].into_boxed_slice();
        Box::new(Block { bytes, used: 0, first_seq: 0, last_seq: 0, records: 0 })
    }

    /// Appends a record; `false` when it does not fit.
    fn put(&mut self, kind: Kind, record: &[u8]) -> bool {
        let length = put_entry(&mut self.bytes[self.used..], kind, record);
        if length > 0 {
            self.used += length;
            self.last_seq = seq_of(record);
            self.records += 1;
            if self.records == 1 {
                self.first_seq = self.last_seq;
            }
        }
        length > 0
    }

    /// The framed records.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({} records, {} to {})", self.records, self.first_seq, self.last_seq)
    }
}

/// What both threads share.
#[derive(Debug)]
pub(super) struct Queue {
    /// Blocks to fill.
    free: ArrayQueue<Box<Block>>,
    /// Blocks to write, in order.
    full: ArrayQueue<Box<Block>>,
    /// Blocks in all.
    blocks: usize,
    /// The consumer's block has records. Set and cleared by the consumer, a hint for the disk thread.
    partial: AtomicBool,
    /// The disk thread wants the consumer's block however little is in it; cleared by the consumer when handed over.
    wanted: AtomicBool,
    /// The consumer has handed over its last block.
    ended: AtomicBool,
    /// Records that will never be written.
    lost: AtomicU64,
    /// When both threads stop waiting for a disk that does not answer, nanoseconds UTC; the end of time while running.
    give_up_at_ns: AtomicI64,
    /// When both threads end, whatever there is to do.
    leave_at_ns: AtomicI64,
    consumer: OnceLock<Thread>,
    disk: OnceLock<Thread>,
}

impl Queue {
    /// A queue of as many whole blocks as `bytes` hold, and not fewer than four.
    pub(super) fn new(bytes: u64) -> Queue {
        let blocks = usize::try_from(bytes / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        let blocks = blocks.max(super::config::BLOCKS_MIN as usize);
        let free = ArrayQueue::new(blocks);
        for _ in 0..blocks {
            // Cannot fail: the queue is as long as there are blocks.
            let _ = free.push(Block::new());
        }
        Queue {
            free,
            full: ArrayQueue::new(blocks),
            blocks,
            partial: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            give_up_at_ns: AtomicI64::new(i64::MAX),
            leave_at_ns: AtomicI64::new(i64::MAX),
            consumer: OnceLock::new(),
            disk: OnceLock::new(),
        }
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Blocks that are not free, and how many there are.
    pub(super) fn fill(&self) -> (usize, usize) {
        (self.blocks.saturating_sub(self.free.len()), self.blocks)
    }

    /// Lets both threads stop waiting at `at_ns`, or at the earlier time that was said before.
    pub(super) fn give_up_at(&self, at_ns: i64) {
        self.give_up_at_ns.fetch_min(at_ns, Ordering::Relaxed);
        self.wake_consumer();
        self.wake_disk();
    }

    /// Lets both threads end at `at_ns`.
    pub(super) fn leave_at(&self, at_ns: i64) {
        self.leave_at_ns.store(at_ns, Ordering::Relaxed);
    }

    /// The time to stop waiting has come.
    pub(super) fn gave_up(&self) -> bool {
        is_past(&self.give_up_at_ns)
    }

    /// The time to end has come.
    pub(super) fn leaving(&self) -> bool {
        is_past(&self.leave_at_ns)
    }

    /// Counts records that will never be written.
    pub(super) fn lose(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// Records that were never written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn wake_consumer(&self) {
        if let Some(thread) = self.consumer.get() {
            thread.unpark();
        }
    }

    /// Lets the disk thread look what there is to do.
    pub(super) fn wake_disk(&self) {
        if let Some(thread) = self.disk.get() {
            thread.unpark();
        }
    }

    // The disk thread's side.

    /// Names the calling thread as the one to wake when a block is handed over.
    pub(super) fn i_write(&self) {
        let _ = self.disk.set(std::thread::current());
    }

    /// The next block to write.
    pub(super) fn pop(&self) -> Option<Box<Block>> {
        self.full.pop()
    }

    /// Asks for the block that the consumer holds, if that has records; `true` while the answer is outstanding.
    pub(super) fn ask(&self) -> bool {
        if self.wanted.load(Ordering::Acquire) {
            return !self.ended();
        }
        let ask = self.partial.load(Ordering::Acquire) && !self.ended();
        if ask {
            self.wanted.store(true, Ordering::Release);
            self.wake_consumer();
        }
        ask
    }

    /// No more blocks will be handed over than can be popped now.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Gives a block back whose bytes are synced.
    pub(super) fn recycle(&self, mut block: Box<Block>) {
        (block.used, block.records) = (0, 0);
        // Cannot fail: the queue is as long as there are blocks.
        let _ = self.free.push(block);
    }

    /// Blocks have been given back.
    pub(super) fn recycled(&self) {
        self.wake_consumer();
    }
}

fn is_past(at_ns: &AtomicI64) -> bool {
    let at_ns = at_ns.load(Ordering::Relaxed);
    at_ns != i64::MAX && clock::monotonic_ns() >= at_ns
}

/// The consumer's side.
pub(super) struct Filler<'a> {
    queue: &'a Queue,
    block: Option<Box<Block>>,
}

impl<'a> Filler<'a> {
    /// Names the calling thread as the one to wake.
    pub(super) fn new(queue: &'a Queue) -> Self {
        let _ = queue.consumer.set(std::thread::current());
        Filler { queue, block: None }
    }

    /// Appends a record; waits while all blocks are with the disk.
    pub(super) fn push(&mut self, kind: Kind, record: &[u8]) {
        loop {
            let Some(block) = &mut self.block else {
                self.block = self.next_block();
                if self.block.is_none() {
                    return self.queue.lose(1);
                }
                continue;
            };
            if block.put(kind, record) {
                if block.records == 1 {
                    self.queue.partial.store(true, Ordering::Release);
                }
                return;
            }
            self.hand_over();
        }
    }

    /// Hands the block over if the disk thread has asked.
    pub(super) fn answer(&mut self) {
        if self.queue.wanted.load(Ordering::Acquire) {
            self.hand_over();
            self.queue.wanted.store(false, Ordering::Release);
            self.queue.wake_disk();
        }
    }

    /// The disk thread is waiting for an answer.
    pub(super) fn is_asked(&self) -> bool {
        self.queue.wanted.load(Ordering::Acquire)
    }

    /// Hands the last block over.
    pub(super) fn end(mut self) {
        self.hand_over();
        self.queue.ended.store(true, Ordering::Release);
        self.queue.wake_disk();
    }

    fn hand_over(&mut self) {
        if let Some(block) = self.block.take_if(|block| block.records > 0) {
            self.queue.partial.store(false, Ordering::Release);
            // Cannot fail: the queue is as long as there are blocks.
            let _ = self.queue.full.push(block);
            self.queue.wake_disk();
        }
    }

    /// A free block, as soon as there is one; `None` when the time to give up has come.
    fn next_block(&mut self) -> Option<Box<Block>> {
        if let Some(block) = self.queue.free.pop() {
            return Some(block);
        }
        if !self.queue.gave_up() {
            metrics::JOURNAL_QUEUE_FULL.inc();
        }
        // Inputs that are dropped meanwhile are dropped because of us: their gap says so.
        metrics::JOURNAL_WAITING.add(1);
        let block = self.wait_for_block();
        metrics::JOURNAL_WAITING.add(-1);
        block
    }

    fn wait_for_block(&mut self) -> Option<Box<Block>> {
        loop {
            // The disk thread may be waiting for an answer before it syncs and gives blocks back.
            self.answer();
            if let Some(block) = self.queue.free.pop() {
                return Some(block);
            }
            if self.queue.gave_up() {
                return None;
            }
            std::thread::park_timeout(PARK_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_exactly_its_blocks_and_then_waits() {
        let queue = Queue::new(5 * BLOCK_BYTES as u64 + 1);
        assert_eq!(queue.blocks(), 5);
        let per_block = BLOCK_BYTES / (ENTRY_HEAD_BYTES + 1 + 100);
        let fits = 5 * per_block;
        let mut filler = Filler::new(&queue);
        let full_before = metrics::JOURNAL_QUEUE_FULL.get();
        for _ in 0..fits {
            filler.push(Kind::Tick, &[7; 100]);
        }
        assert_eq!(queue.lost(), 0);
        assert_eq!(metrics::JOURNAL_QUEUE_FULL.get(), full_before);
        // One more has to wait, until the time to give up: then it is lost, and counted.
        queue.give_up_at(clock::monotonic_ns() + 1_000_000);
        filler.push(Kind::Tick, &[7; 100]);
        assert_eq!(queue.lost(), 1);
        assert!(metrics::JOURNAL_QUEUE_FULL.get() > full_before);
        filler.end();
        let mut records = 0;
        while let Some(block) = queue.pop() {
            records += block.records;
            queue.recycle(block);
        }
        assert_eq!(records, fits as u64);
    }

    #[test]
    fn a_block_with_little_in_it_is_handed_over_when_asked() {
        let queue = Queue::new(0);
        assert_eq!(queue.blocks() as u64, super::super::config::BLOCKS_MIN);
        let mut filler = Filler::new(&queue);
        assert!(!queue.ask(), "nothing to ask for");
        filler.push(Kind::Timer, &[1; 45]);
        filler.answer();
        assert!(queue.pop().is_none(), "nobody asked");
        assert!(queue.ask());
        filler.answer();
        assert_eq!(queue.pop().map(|block| block.records), Some(1));
        assert!(!queue.ask());
    }
}
