//! How many rows a second reach the database, with everything on: stages, journal, manifests and tokens, audit.
//!
//! `cargo bench --bench storage [TICKS/S…] [--seconds S] [--batch-rows N]`: publishes made-up ticks at each rate through the
//! fused stages into the outbound ring, as the engine does, while the journal writes them down and the writer brings them
//! into an embedded store of its own; then waits until all is stored and audits it. Engine and store share the machine.
//! Needs `scripts/get-chdb`, and 8 GB of disk for a minute at 300,000 ticks/s.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use support::generated;
use support::nowhere::JournalAlone;
use support::pipeline::{Stages, settings};
use support::results::{self, Results};
use tickwire::journal::{self, Catalogue, JournalConfig};
use tickwire::market::Input;
use tickwire::metrics::{STORAGE_BATCHES, STORAGE_ROWS};
use tickwire::ring::{Outbound, build_outbound};
use tickwire::runtime::Settings;
use tickwire::storage::audit::{Subject, audit};
use tickwire::storage::store::{StoreConfig, StoreHandle, Supervisor, WRITER, find_library};
use tickwire::storage::{self, Endpoint, Mode, Writer};
use tokio::sync::watch;

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTION: &str = "How many rows a second reach the database with stages, journal, manifests, tokens and audit?";

/// Slots of the ring, as the engine has by default.
const SLOTS: usize = 65_536;

/// Ticks that are made once; they come again and again, each time later.
const TICKS: u64 = 100_000;

const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Ticks with their timers, which go on for ever.
struct Endless {
    inputs: Vec<Input>,
    at: usize,
    /// What is added to the times, and length of a round.
    later_ns: i64,
    round_ns: i64,
}

impl Endless {
    fn new() -> Endless {
        let inputs = generated::inputs(TICKS);
        let round_ns = TICKS as i64 * 10_000_000;
        Endless { inputs, at: 0, later_ns: 0, round_ns }
    }

    fn next(&mut self) -> Input {
        if self.at == self.inputs.len() {
            self.at = 0;
            self.later_ns += self.round_ns;
        }
        let mut input = self.inputs[self.at];
        self.at += 1;
        match &mut input {
            Input::Tick(tick) => {
                tick.ts_event_ns += self.later_ns;
                tick.ts_recv_ns += self.later_ns;
            }
            Input::Timer(timer) => timer.now_ns += self.later_ns,
            _ => {}
        }
        input
    }
}

/// What other threads see of the publishing one.
#[derive(Default)]
struct Published {
    ticks: AtomicU64,
    stop: AtomicBool,
}

/// Publishes so many ticks a second, through all stages, until told to stop.
fn publish(settings: &Settings, mut outbound: Outbound, rate: u64, published: &Published) {
    let stages = ["dedupe", "validate", "aggregate", "bars", "indicators", "gaps"];
    let mut stages = Stages::new(settings, &generated::market(), &stages);
    let (mut ticks, mut endless) = (0, Endless::new());
    let began = Instant::now();
    while !published.stop.load(Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while ticks < due {
            let input = endless.next();
            ticks += u64::from(matches!(input, Input::Tick(_)));
            stages.run(&input, &mut outbound);
        }
        outbound.ring();
        published.ticks.store(ticks, Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start_store(folder: &Path) -> (StoreHandle, Endpoint) {
    let store = StoreConfig {
        program: Some(env!("CARGO_BIN_EXE_tickwire").into()),
        library: Some(find_library(None).unwrap_or_else(|error| panic!("{error}"))),
        ..StoreConfig::new(folder, "127.0.0.1:0".parse().unwrap())
    };
    let store = Supervisor::start(store).unwrap();
    let endpoint = Endpoint { url: store.url(), user: WRITER.into(), password: store.writer_password().into() };
    (store, endpoint)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Processor time of this process.
fn cpu_seconds() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn measure(settings: &Settings, rate: u64, seconds: u64, batch_rows: Option<u64>) -> [(&'static str, f64); 9] {
    // Beside what was built, and not in memory as /tmp may be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (journal_dir, manifests_dir) = (folder.path().join("journal"), folder.path().join("manifests"));
    let (store, endpoint) = start_store(folder.path());
    let (outbound, journal, mut fanouts) = build_outbound(SLOTS, 1);
    let catalogue =
        Catalogue { sources: generated::sources(), instruments: generated::instruments(), ..Catalogue::default() };
    let setup = journal::Setup { epoch: 1, first_seq: 1, catalogue };
    let outlet = Box::new(JournalAlone { journal, fanout: fanouts.remove(0) });
    let config = JournalConfig::parse(&settings.config).unwrap();
    let journal = journal::start(&config, &journal_dir, setup, outlet).unwrap();
    let stored = journal.stored();
    let mut limits = settings.storage.limits();
    limits.rows = batch_rows.unwrap_or(limits.rows);
    let writer = Writer::start(storage::Setup {
        journal_dir: journal_dir.clone(),
        durable: journal.durable(),
        manifests_dir: manifests_dir.clone(),
        on_stored: Box::new(move |position| stored.set(position)),
        endpoint: watch::channel(Some(endpoint.clone())).1,
        database: "md".into(),
        limits,
        mode: Mode::Embedded,
        telemetry: None,
        quality: None,
    })
    .unwrap();

    let published = Arc::new(Published::default());
    let (rows_at_start, batches_at_start) = (STORAGE_ROWS.get(), STORAGE_BATCHES.get());
    let (rows_per_s, ticks_per_s, batches, cpu, lag_rows) = std::thread::scope(|scope| {
        scope.spawn(|| publish(settings, outbound, rate, &published));
        std::thread::sleep(STEADY_AFTER);
        let (rows, ticks, batches) = (STORAGE_ROWS.get(), published.ticks.load(Relaxed), STORAGE_BATCHES.get());
        let (cpu, began) = (cpu_seconds(), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let took = began.elapsed().as_secs_f64();
        let each = |now: u64, before: u64| (now - before) as f64 / took;
        let status = writer.status();
        let found = (
            each(STORAGE_ROWS.get(), rows),
            each(published.ticks.load(Relaxed), ticks),
            (STORAGE_BATCHES.get() - batches) as f64,
            (cpu_seconds() - cpu) / took,
            status.lag_rows as f64,
        );
        published.stop.store(true, Relaxed);
        found
    });
    let lost = journal.fill().lost();
    journal.stop(Duration::from_secs(60)).unwrap();
    let drained = Instant::now();
    writer.stop(Duration::from_secs(600));
    let drain_s = drained.elapsed().as_secs_f64();
    let rows = STORAGE_ROWS.get() - rows_at_start;
    let subject = Subject { journal_dir, manifests_dir, endpoint, database: "md".into() };
    let audited = Instant::now();
    let report = block_on(audit(&subject)).unwrap();
    assert!(report.is_clean(), "{}", report.print());
    let audit_s = audited.elapsed().as_secs_f64();
    store.stop();
    println!(
        "{rate:>9} ticks/s due: {ticks_per_s:.0} ticks/s, {rows_per_s:.0} rows/s stored for {seconds} s in {batches:.0} batches, \
         {lost} records lost before the journal, engine {cpu:.2} cores; {lag_rows:.0} rows waited then and took {drain_s:.1} s; \
         {rows} rows in {} batches audited in {audit_s:.1} s: clean",
        STORAGE_BATCHES.get() - batches_at_start
    );
    [
        ("ticks_per_s", ticks_per_s),
        ("rows_per_s", rows_per_s),
        ("rows_per_batch", rows_per_s * seconds as f64 / batches),
        ("engine_cores", cpu),
        ("lost", lost as f64),
        ("lag_rows", lag_rows),
        ("drain_s", drain_s),
        ("rows", rows as f64),
        ("audit_s", audit_s),
    ]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1)?.parse::<u64>().unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    let seconds = option("--seconds").unwrap_or(if results::is_quick() { 5 } else { 60 });
    let batch_rows = option("--batch-rows");
    let named = arguments.iter().take_while(|argument| !argument.starts_with("--"));
    let mut rates: Vec<u64> = named.map(|rate| rate.parse().unwrap_or_else(|e| panic!("{rate}: {e}"))).collect();
    if rates.is_empty() {
        rates = vec![100_000, 285_000];
    }
    let mut found = Results::new("storage", QUESTION);
    for rate in rates {
        let values = measure(&settings(), rate, seconds, batch_rows);
        found.row(&[("rate", json!(rate))], &values);
    }
    found.write();
}
