//! A store, a journal and the writer between them, in a folder of their own.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tickwire::journal::Position;
use tickwire::storage::audit::{Report, Subject, audit};
use tickwire::storage::batch::Limits;
use tickwire::storage::quality::SourceMinute;
use tickwire::storage::store::{READER, StoreConfig, StoreHandle, Supervisor, WRITER, find_library};
use tickwire::storage::telemetry::Rows;
use tickwire::storage::{Endpoint, Mode, Setup, StorageStatus, Writer, client};
use tokio::sync::watch;

use crate::journal::{EXECUTION, Journal, expected};

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Bench {
    pub store: Option<StoreHandle>,
    pub journal: Journal,
    pub endpoint: watch::Sender<Option<Endpoint>>,
    pub stored: Arc<Mutex<Option<Position>>>,
    pub limits: Limits,
    pub state: tempfile::TempDir,
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until `done` says so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Bench {
    /// Without a store yet.
    pub fn new() -> Bench {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::create(state.path());
        let limits = Limits { rows: 500, bytes: 1 << 20, age_ns: 20_000_000 };
        let endpoint = watch::channel(None).0;
        Bench { store: None, journal, endpoint, stored: Arc::default(), limits, state }
    }

    /// With a store and a writer.
    pub fn running() -> (Bench, Writer) {
        let mut bench = Bench::new();
        bench.start_store();
        let writer = bench.writer();
        (bench, writer)
    }

    pub fn path(&self) -> &Path {
        self.state.path()
    }

    pub fn start_store(&mut self) {
        let config = StoreConfig {
            program: Some(env!("CARGO_BIN_EXE_tickwire").into()),
            library: Some(find_library(None).unwrap_or_else(|error| panic!("{error}"))),
            ..StoreConfig::new(self.path(), "127.0.0.1:0".parse().unwrap())
        };
        let store = Supervisor::start(config).unwrap();
        self.endpoint.send_replace(Some(as_user(&store, WRITER)));
        self.store = Some(store);
    }

    pub fn writer(&self) -> Writer {
        self.writer_with(None)
    }

    /// A writer that stores measurements too.
    pub fn writer_with(&self, telemetry: Option<(u32, Rows)>) -> Writer {
        self.writer_of(telemetry, None)
    }

    /// The same with the quality of sources.
    pub fn writer_of(&self, telemetry: Option<(u32, Rows)>, quality: Option<(u32, Rows<SourceMinute>)>) -> Writer {
        let stored = self.stored.clone();
        Writer::start(Setup {
            journal_dir: self.path().join("journal"),
            durable: self.journal.durable.clone(),
            manifests_dir: self.path().join("manifests"),
            on_stored: Box::new(move |position| *stored.lock().unwrap() = Some(position)),
            endpoint: self.endpoint.subscribe(),
            database: "md".into(),
            limits: self.limits,
            mode: Mode::Embedded,
            telemetry,
            quality,
        })
        .unwrap()
    }

    /// A statement as the engine's user.
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap()
    }

    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let endpoint = self.endpoint.borrow().clone().unwrap();
        block_on(client::query(&endpoint.client().with_database("md"), sql, "TabSeparated")).map_err(|e| e.to_string())
    }

    /// A statement as the read-only user.
    pub fn read_only(&self, sql: &str) -> Result<String, String> {
        let endpoint = as_user(self.store.as_ref().unwrap(), READER);
        block_on(client::query(&endpoint.client().with_database("md"), sql, "TabSeparated")).map_err(|e| e.to_string())
    }

    pub fn kill_store(&self) {
        let lock = std::fs::read_to_string(self.path().join("store.lock")).unwrap();
        let pid = serde_json::from_str::<serde_json::Value>(&lock).unwrap()["pid"].as_i64().unwrap();
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits until the database has acknowledged everything that is journaled.
    pub fn drained(&self, writer: &Writer) -> StorageStatus {
        let end = self.journal.durable.now().position;
        let begun = std::time::Instant::now();
        while *self.stored.lock().unwrap() != Some(end) {
            let stored = *self.stored.lock().unwrap();
            assert!(begun.elapsed() < PATIENCE, "stored {stored:?} of {end:?}, {:?}", writer.status());
            std::thread::sleep(Duration::from_millis(10));
        }
        writer.status()
    }

    /// Every journaled row is in the database once.
    pub fn assert_exact(&self) {
        let mut wanted = expected(self.path());
        let mut found = Vec::new();
        for database in ["md", "md_private"] {
            for (kind, table) in [
                ("tick", "ticks"),
                ("tick", "rejects"),
                ("trade", "trades"),
                ("quote", "quotes"),
                ("bar", "bars"),
                ("indicator", "indicators"),
                ("gap", "gaps"),
                ("source_state", "source_state"),
                (EXECUTION, "pipeline_executions"),
            ] {
                for line in self.sql(&format!("SELECT epoch, seq FROM {database}.{table}")).lines() {
                    let (epoch, seq) = line.split_once('\t').unwrap();
                    found.push((kind, epoch.parse().unwrap(), seq.parse().unwrap()));
                }
            }
        }
        wanted.sort();
        found.sort();
        assert_eq!(wanted.len(), found.len(), "rows journaled and rows stored");
        assert!(wanted == found, "the rows differ");
    }

    pub fn audit(&self) -> Report {
        let subject = Subject {
            journal_dir: self.path().join("journal"),
            manifests_dir: self.path().join("manifests"),
            endpoint: self.endpoint.borrow().clone().unwrap(),
            database: "md".into(),
        };
        block_on(audit(&subject)).unwrap()
    }

    pub fn assert_clean(&self) {
        let report = self.audit();
        assert!(report.is_clean(), "{}", report.print());
    }
}

pub fn as_user(store: &StoreHandle, user: &str) -> Endpoint {
    let password = if user == WRITER { store.writer_password() } else { store.reader_password() };
    Endpoint { url: store.url(), user: user.into(), password: password.into() }
}

/// Long enough to send everything.
pub const GRACE: Duration = Duration::from_secs(60);
