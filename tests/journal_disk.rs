//! The journal on a disk that is full, fails, or fills up: nothing is lost, nothing is deleted too early.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod journal_support;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use journal_support::*;
use tickwire::journal::disk::{Disk, DiskFile, SystemDisk};
use tickwire::journal::{
    self, JournalConfig, JournalError, JournalHandle, Position, Reader, Report, Snapshot, recover,
};
use tickwire::metrics;

/// A disk that can be full, and whose syncs can fail and forget what was written since the last one.
#[derive(Clone, Default)]
struct BadDisk {
    full: Arc<AtomicBool>,
    forgets: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl BadDisk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl Disk for BadDisk {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        self.check()?;
        let file = SystemDisk.create(path, bytes)?;
        Ok(Box::new(BadFile { file, disk: self.clone(), unsynced: vec![] }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
    fn stamp(&self, path: &Path, now_ns: i64) -> io::Result<()> {
        SystemDisk.stamp(path, now_ns)
    }
}

struct BadFile {
    file: Box<dyn DiskFile>,
    disk: BadDisk,
    unsynced: Vec<(Vec<u8>, u64)>,
}

impl DiskFile for BadFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check()?;
        self.unsynced.push((bytes.to_vec(), offset));
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        if self.disk.forgets.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            self.unsynced.clear();
            return Err(io::Error::from_raw_os_error(5));
        }
        for (bytes, offset) in self.unsynced.drain(..) {
            self.file.write_at(&bytes, offset)?;
        }
        self.file.sync()
    }
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.cut(bytes)
    }
}

fn start_on(disk: &BadDisk, dir: &Path) -> (Feed, JournalHandle) {
    let feed = Feed::default();
    let outlet = Box::new(feed.clone());
    let handle = journal::start_on(Box::new(disk.clone()), &config(), dir, setup(1), outlet).unwrap();
    (feed, handle)
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_the_ring_waits() {
    let dir = tempfile::tempdir().unwrap();
    let disk = BadDisk::default();
    let (feed, handle) = start_on(&disk, dir.path());
    feed.push(lines(1, 1..=100));
    durable_to(&handle, 100);
    disk.full.store(true, Ordering::SeqCst);
    let (errors, waits) = (metrics::JOURNAL_ERRORS.get(), metrics::JOURNAL_QUEUE_FULL.get());
    feed.push(lines(1, 101..=20_000)); // Some 2 MB; the queue holds a quarter of one.
    until(|| metrics::JOURNAL_QUEUE_FULL.get() > waits && disk.refused.load(Ordering::SeqCst) >= 3);
    assert!(metrics::JOURNAL_ERRORS.get() >= errors + 3);
    assert!(metrics::JOURNAL_WAITING.get() > 0, "who asks is told that the pipeline waits");
    assert!(feed.0.lock().unwrap().waiting.len() > 10_000, "what does not fit stays in the ring");
    assert_eq!(handle.durable().now().seq, 100);
    disk.full.store(false, Ordering::SeqCst);
    durable_to(&handle, 20_000);
    feed.close();
    handle.stop(PATIENCE).unwrap();
    assert_eq!(read(dir.path()), (lines(1, 1..=20_000), Report::default()));
}

#[test]
fn a_failed_sync_is_made_good_by_writing_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = BadDisk::default();
    let (feed, handle) = start_on(&disk, dir.path());
    for round in 0..10 {
        disk.forgets.store(2, Ordering::SeqCst);
        feed.push(lines(1, round * 300 + 1..=round * 300 + 300));
        durable_to(&handle, round * 300 + 300);
        assert_eq!(disk.forgets.load(Ordering::SeqCst), 0);
    }
    feed.close();
    handle.stop(PATIENCE).unwrap();
    assert_eq!(read(dir.path()), (lines(1, 1..=3000), Report::default()));
}

#[test]
fn a_snapshot_waits_until_its_record_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    handle.snapshots().send(Snapshot { epoch: 1, seq: 100, stages: vec![] }).unwrap();
    let path = dir.path().join("snapshots/0000000001-00000000000000000100.tws");
    for seq in 1..100 {
        feed.push(lines(1, seq..=seq));
        durable_to(&handle, seq);
        assert!(!path.exists(), "at {seq}");
    }
    feed.push(lines(1, 100..=100));
    until(|| path.exists());
    assert!(handle.durable().now().seq >= 100);
    feed.close();
    handle.stop(PATIENCE).unwrap();
}

#[test]
fn stopping_on_a_full_disk_says_how_much_was_lost_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let disk = BadDisk::default();
    let (feed, handle) = start_on(&disk, dir.path());
    feed.push(lines(1, 1..=10));
    durable_to(&handle, 10);
    disk.full.store(true, Ordering::SeqCst);
    let waits = metrics::JOURNAL_QUEUE_FULL.get();
    feed.push(lines(1, 11..=20_000));
    until(|| metrics::JOURNAL_QUEUE_FULL.get() > waits);
    // The pipeline can only stop when the ring is drained: nobody waits for the disk any more.
    handle.hurry(Duration::from_millis(5));
    until(|| feed.0.lock().unwrap().waiting.is_empty());
    feed.close();
    match handle.stop(PATIENCE) {
        Err(JournalError::Unwritten { records, reason }) => {
            assert_eq!(records, 19_990);
            assert!(reason.contains("cannot write") && reason.contains(".twj"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(recover(dir.path()).unwrap().last_seq, 10, "what was durable is");
    assert_eq!(read(dir.path()), (lines(1, 1..=10), Report::default()));
}

#[test]
fn stopping_does_not_wait_for_ever_for_a_pipeline_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    feed.push(lines(1, 1..=10));
    durable_to(&handle, 10);
    let end = handle.stop(Duration::from_millis(5)).unwrap();
    assert_eq!(end.seq, 10);
}

#[test]
fn a_full_disk_at_the_start_is_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let disk = BadDisk::default();
    disk.full.store(true, Ordering::SeqCst);
    let outlet = Box::new(Feed::default());
    let error = journal::start_on(Box::new(disk), &config(), dir.path(), setup(1), outlet).unwrap_err().to_string();
    assert!(error.starts_with("journal: cannot create ") && error.contains("0000000001-0000000001.twj: "), "{error}");
    assert_eq!(segments(dir.path()), []);
}

fn numbers(dir: &Path) -> Vec<u32> {
    segments(dir).iter().map(|id| id.number).collect()
}

#[test]
fn segments_go_when_stored_and_behind_the_snapshots_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let feed = Feed::default();
    // Two segments are too long a journal.
    let config = JournalConfig { max_bytes: 2 * config().segment_bytes, ..config() };
    let handle = journal::start(&config, dir, setup(1), Box::new(feed.clone())).unwrap();
    let push = |from: u64, to: u64| {
        feed.push(lines(1, from..=to));
        durable_to(&handle, to);
    };
    push(1, 5000);
    handle.snapshots().send(Snapshot { epoch: 1, seq: 4000, stages: vec![] }).unwrap();
    until(|| dir.join("snapshots/0000000001-00000000000000004000.tws").exists());
    push(5001, 6000); // More than a segment: old ones are looked at.
    assert!(numbers(dir).len() > 4);
    assert_eq!(numbers(dir)[0], 1, "too long and behind a snapshot, but not stored");

    handle.stored().set(Position { epoch: 1, segment: 3, offset: 99 });
    until(|| dir.join("stored").exists());
    push(6001, 7000);
    assert_eq!(numbers(dir)[0], 3, "what is stored may go");
    handle.stored().set(handle.durable().now().position);
    until(|| *std::fs::read_to_string(dir.join("stored")).unwrap() > *"0000000001-0000000004");
    push(7001, 9000);
    feed.close();
    handle.stop(PATIENCE).unwrap();
    let mut reader = Reader::open(dir, None).unwrap();
    let first_seq = reader.header().first_seq;
    assert!(first_seq <= 4001, "the snapshot at 4000 wants everything after it, found {first_seq}");
    assert!(first_seq > 3000, "but not much more, found {first_seq}");
    assert_eq!(read_on(&mut reader), lines(1, first_seq..=9000));
}

#[test]
fn a_segment_is_kept_for_its_hours_after_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (feed, handle) = start(dir, 1);
    feed.push(lines(1, 1..=5000));
    durable_to(&handle, 5000);
    handle.snapshots().send(Snapshot { epoch: 1, seq: 5000, stages: vec![] }).unwrap();
    // Written a day ago, stored now.
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    let age = |number: usize| {
        File::open(segments(dir)[number].path(dir)).unwrap().set_modified(long_ago).unwrap();
    };
    age(0);
    handle.stored().set(handle.durable().now().position);
    until(|| dir.join("stored").exists());
    feed.push(lines(1, 5001..=7000));
    feed.close();
    handle.stop(PATIENCE).unwrap();
    run(dir, 2, vec![]);
    assert_eq!(numbers(dir)[0], 1);
    // Stored a day ago.
    age(0);
    age(1);
    run(dir, 3, vec![]);
    assert_eq!(numbers(dir)[0], 3);
}
