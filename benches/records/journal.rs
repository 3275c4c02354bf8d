//! What does a record cost in the journal's format, with and without waiting for the disk?

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tickwire::journal::{Catalogue, Recording};
use tickwire_schemas::words::Kind;

use super::made;
use super::support::generated;
use super::support::results::{self, Results};

/// Records written before what they took is kept.
const BATCHES: [usize; 6] = [1, 8, 64, 512, 4_096, 32_768];

/// So much in one file at most.
const FILE_BYTES_MAX: u64 = 256 << 20;

pub(crate) fn measure() {
    let mut results = Results::new(
        "journal",
        "How many records a second does a journal take, by how many are appended between two syncs?",
    );
    let time = Duration::from_millis(if results::is_quick() { 200 } else { 1_000 });
    println!("\n{:<8} {:>8} {:>14} {:>14}", "fsync", "batch", "records/s", "us/batch");
    for sync in [false, true] {
        for batch in BATCHES {
            let (records_per_s, us_per_batch) = append(batch, sync, time);
            let fsync = if sync { "yes" } else { "no" };
            println!("{fsync:<8} {batch:>8} {records_per_s:>14.0} {us_per_batch:>14.1}");
            let case = [("fsync", json!(fsync)), ("batch", json!(batch))];
            results.row(&case, &[("records_per_s", records_per_s), ("us_per_batch", us_per_batch)]);
        }
    }
    results.write();
}

fn fresh(path: &Path) -> Recording {
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    let (sources, instruments) = (generated::sources(), generated::instruments());
    Recording::create(path, Catalogue { sources, instruments, ..Catalogue::default() }).unwrap()
}

/// Records a second, and microseconds a batch.
fn append(batch: usize, sync: bool, time: Duration) -> (f64, f64) {
    // Beside what was built, and not in memory as /tmp may be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("bench.twj");
    let records: Vec<(Kind, Vec<u8>)> = made::written(made::ticks(batch.max(1_024) as u64));
    let mut records = records.iter().cycle();
    let mut recording = fresh(&path);
    let (mut batches, mut spent) = (0_u64, Duration::ZERO);
    while spent < time {
        let began = Instant::now();
        for (kind, record) in records.by_ref().take(batch) {
            recording.append(*kind, record).unwrap();
        }
        if sync {
            recording.sync().unwrap();
        }
        spent += began.elapsed();
        batches += 1;
        if recording.bytes() > FILE_BYTES_MAX {
            recording = fresh(&path);
        }
    }
    let seconds = spent.as_secs_f64();
    ((batches * batch as u64) as f64 / seconds, seconds * 1e6 / batches as f64)
}
