//! How long after it was due is a published record on the disk, in the journal as the engine runs it?
//!
//! Records come at their times whatever the journal does (open loop), and each is timed from when it was due: what a journal
//! holds up that cannot follow counts in full.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;
use tickwire::journal::{self, Catalogue, JournalConfig, JournalHandle};
use tickwire::ring::{Outbound, build_outbound};
use tickwire::stages::Emit;
use tickwire_schemas::record::Tick;

use super::made;
use super::support::generated;
use super::support::nowhere::JournalAlone;
use super::support::pipeline::settings;
use super::support::results::{self, Results};

/// Records a second.
const RATES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// `journal.sync_ms`: 10 is the default.
const SYNC_MS: [u64; 3] = [1, 10, 100];

/// Slots of the ring, as the engine has by default.
const SLOTS: usize = 65_536;

/// Of all records so many a second are timed, evenly chosen.
const TIMED_PER_S: u64 = 1_000;

/// After so long without a word from the journal it is asked whether it lost what is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// What one run found.
struct Found {
    records_per_s: f64,
    /// From when a record was due until it was on the disk.
    late_us: Histogram<u64>,
    /// Records for which there was no room between ring and disk.
    lost: u64,
}

pub(crate) fn measure() {
    let mut results = Results::new(
        "journal_durable",
        "How long after it was due is a published record on the disk, by rate and by the time between two syncs?",
    );
    let time = Duration::from_millis(if results::is_quick() { 200 } else { 3_000 });
    println!(
        "\n{:<8} {:>10} {:>12} {:>10} {:>10} {:>10} {:>8}",
        "sync_ms", "records/s", "on disk/s", "p50 ms", "p99 ms", "max ms", "lost"
    );
    for sync_ms in SYNC_MS {
        for rate in RATES {
            let Found { records_per_s, late_us, lost } = run(rate, sync_ms, time);
            let ms = |us: u64| us as f64 / 1e3;
            let (p50, p99) = (ms(late_us.value_at_quantile(0.5)), ms(late_us.value_at_quantile(0.99)));
            let max = ms(late_us.max());
            println!("{sync_ms:<8} {rate:>10} {records_per_s:>12.0} {p50:>10.2} {p99:>10.2} {max:>10.2} {lost:>8}");
            let case = [("sync_ms", json!(sync_ms)), ("rate", json!(rate))];
            let late = [("p50_ms", p50), ("p99_ms", p99), ("max_ms", max)];
            let counts = [("records_per_s", records_per_s), ("lost", lost as f64)];
            results.row(&case, &[&counts[..], &late[..]].concat());
        }
    }
    results.write();
}

fn run(rate: u64, sync_ms: u64, time: Duration) -> Found {
    // Beside what was built, and not in memory as /tmp may be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (mut outbound, journal, mut fanouts) = build_outbound(SLOTS, 1);
    let (sources, instruments) = (generated::sources(), generated::instruments());
    let catalogue = Catalogue { sources, instruments, ..Catalogue::default() };
    let setup = journal::Setup { epoch: 1, first_seq: 1, catalogue };
    let config = JournalConfig { sync_ms, ..JournalConfig::parse(&settings().config).unwrap() };
    let outlet = Box::new(JournalAlone { journal, fanout: fanouts.remove(0) });
    let journal = journal::start(&config, folder.path(), setup, outlet).unwrap();
    let ticks = made::ticks(1_024);
    let count = rate * time.as_millis() as u64 / 1_000;
    let began = Instant::now();
    let found = std::thread::scope(|scope| {
        scope.spawn(|| publish(&mut outbound, &ticks, count, rate, began));
        follow(&journal, count, rate, began)
    });
    drop(outbound);
    journal.stop(Duration::from_secs(60)).unwrap();
    found
}

/// Publishes each record when it is due, or as soon after as the ring takes it.
fn publish(outbound: &mut Outbound, ticks: &[Tick], count: u64, rate: u64, began: Instant) {
    let mut seq = 0;
    while seq < count {
        let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).min(count);
        while seq < due {
            let mut tick = ticks[seq as usize % ticks.len()];
            seq += 1;
            tick.head.seq = seq;
            outbound.tick(&tick);
        }
        outbound.ring();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until all that was not lost is on the disk.
fn follow(journal: &JournalHandle, count: u64, rate: u64, began: Instant) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let every = (rate / TIMED_PER_S).max(1);
    let mut late_us = Histogram::new(3).unwrap();
    let (mut durable, fill, mut done) = (journal.durable(), journal.fill(), 0);
    while done + fill.lost() < count {
        let more = runtime.block_on(async { tokio::time::timeout(PATIENCE, durable.reached(done + 1)).await });
        assert_ne!(more, Ok(false), "the journal closed behind record {done}");
        let (at, now) = (durable.now().seq, began.elapsed());
        for seq in (done + 1..=at).filter(|seq| seq.is_multiple_of(every)) {
            let due = Duration::from_secs_f64(seq as f64 / rate as f64);
            late_us.record(now.saturating_sub(due).as_micros() as u64).unwrap();
        }
        done = at;
    }
    let lost = fill.lost();
    Found { records_per_s: (count - lost) as f64 / began.elapsed().as_secs_f64(), late_us, lost }
}
