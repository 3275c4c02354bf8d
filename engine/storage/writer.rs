//! The thread that brings the journal into the database.
//!
//! It reads what is durable, gathers rows in [`Lanes`], writes each batch down in [`Manifests`] and delivers it, one at
//! a time for each table. It never drops a row: what the database does not take stays in the journal, and memory is
//! bounded by reading no further.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::batch::{Batch, Lanes, Limits, Rebuild};
use super::client::{DatabaseError, Endpoint};
use super::config::Mode;
use super::deliver::{Outcome, Parcel, Target, backoff, deliver};
use super::manifest::{Manifest, Manifests};
use super::migrate::migrate;
use super::quality::SourceMinute;
use super::rows::{Audience, Lane, Table};
use super::source::{Found, Source};
use super::status::{StatusHandle, StorageStatus};
use super::telemetry::{self, Rows, Telemetry};
use crate::clock;
use crate::journal::{Durable, JournalError, Position};
use crate::metrics;

/// Encoded bytes held in memory before reading stops: eight full batches, beside the one under way for each table.
const QUEUE_BYTES: usize = 64 << 20;
/// Records read in one turn, so that answers of the database do not wait: some 5 ms.
const TURN_RECORDS: usize = 8_192;
/// Longest sleep of the writer: how old the lag in `/health` can be.
const TURN: Duration = Duration::from_millis(500);
/// How often a batch is offered again that the database refused.
const REFUSED_RETRY_NS: i64 = 5_000_000_000;

type TableId = (Audience, Table);

/// What the writer needs to begin.
pub struct Setup {
    /// Where the journal's segments are.
    pub journal_dir: PathBuf,
    /// How far the journal is durable.
    pub durable: Durable,
    /// Where manifests are kept.
    pub manifests_dir: PathBuf,
    /// Told the place in the journal before which the database has everything, whenever it moves.
    pub on_stored: Box<dyn FnMut(Position) + Send>,
    /// The database's address; `None` while the embedded store is not up.
    pub endpoint: watch::Receiver<Option<Endpoint>>,
    /// Name of the database for global rows.
    pub database: String,
    /// When batches are cut.
    pub limits: Limits,
    /// For the status.
    pub mode: Mode,
    /// Measurements of this run's epoch: stored as far as it can be done.
    pub telemetry: Option<(u32, Rows)>,
    /// The quality of sources in this run's epoch, likewise.
    pub quality: Option<(u32, Rows<SourceMinute>)>,
}

/// The running thread.
#[derive(Debug)]
pub struct Writer {
    thread: Option<JoinHandle<()>>,
    stop: watch::Sender<Option<Duration>>,
    status: StatusHandle,
}

impl Writer {
    /// Starts the thread `tw-storage`. The database need not be there yet.
    ///
    /// # Errors
    /// When the manifests cannot be read, another engine uses them, or the thread cannot be made.
    pub fn start(mut setup: Setup) -> io::Result<Writer> {
        let manifests = Manifests::open(&setup.manifests_dir)?;
        let status = StatusHandle::new(setup.mode);
        let (stop, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ready = Arc::new(AtomicBool::new(false));
        let telemetry = setup.telemetry.take().map(|of| Telemetry::new(of, &setup, &ready, &stopped));
        let quality = setup.quality.take().map(|of| Telemetry::new(of, &setup, &ready, &stopped));
        let work = Work::new(setup, manifests, status.clone(), (stopped, ready))?;
        let both = async {
            tokio::join!(work.run(), telemetry::run(telemetry), telemetry::run(quality));
        };
        let thread = std::thread::Builder::new().name("tw-storage".into()).spawn(move || runtime.block_on(both))?;
        Ok(Writer { thread: Some(thread), stop, status })
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> StorageStatus {
        self.status.now()
    }

    /// The same for somebody who outlives this handle.
    #[must_use]
    pub fn status_handle(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Brings what is durable into the database for at most `grace`, and ends the thread. What is left is sent at the
    /// next start.
    pub fn stop(mut self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        if let Some(thread) = self.thread.take() {
            // A panic aborts the process, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

/// A batch on its way.
struct UnderWay {
    rows: u64,
    oldest_ns: i64,
}

/// A table whose batch the database refuses.
struct Refused {
    parcel: Parcel,
    retry_ns: i64,
}

struct Work {
    setup: Setup,
    manifests: Manifests,
    source: Source,
    lanes: Lanes,
    target: Target,
    /// Begun before the last crash and not acknowledged: to be made again from the journal.
    recovered: VecDeque<Manifest>,
    under_way: BTreeMap<TableId, UnderWay>,
    refused: BTreeMap<TableId, Refused>,
    /// Where rows stand that were passed over because their table was refused, and how many.
    missed: Option<Position>,
    missed_rows: u64,
    /// Rows up to here may have been begun already: each is looked up.
    known_to: Option<Position>,
    /// Epoch and `seq` of the last record read, and its publication time.
    last_read: ((u32, u64), i64),
    deliveries: JoinSet<(Parcel, Outcome)>,
    /// Acknowledged, and still to be written down.
    done: VecDeque<String>,
    stopped: watch::Receiver<Option<Duration>>,
    /// Whether the tables are there.
    ready: Arc<AtomicBool>,
}

impl Work {
    fn new(
        setup: Setup,
        manifests: Manifests,
        status: StatusHandle,
        (stopped, ready): (watch::Receiver<Option<Duration>>, Arc<AtomicBool>),
    ) -> io::Result<Work> {
        let ledger = manifests.ledger();
        let target = Target { endpoint: setup.endpoint.clone(), database: setup.database.clone(), status };
        let source = open(&setup, ledger.stored()).map_err(io::Error::other)?;
        // How far behind we are is asked before the database is there and reading begins.
        let first =
            open(&setup, ledger.stored()).and_then(|mut source| source.next_record()).map_err(io::Error::other)?;
        let oldest_ns = first.map_or(0, |found| found.head.ts_publish_ns);
        Ok(Work {
            lanes: Lanes::new(setup.limits),
            recovered: ledger.begun().into(),
            known_to: ledger.last_begun(),
            under_way: BTreeMap::new(),
            refused: BTreeMap::new(),
            missed: None,
            missed_rows: 0,
            last_read: (ledger.newest(), oldest_ns),
            deliveries: JoinSet::new(),
            done: VecDeque::new(),
            setup,
            manifests,
            source,
            target,
            stopped,
            ready,
        })
    }

    async fn run(mut self) {
        let mut stopped = self.stopped.clone();
        let work = async {
            self.prepare_database().await;
            while self.turn().await {}
        };
        let deadline = async {
            let grace = stopped.wait_for(Option::is_some).await.ok().and_then(|grace| *grace);
            tokio::time::sleep(grace.unwrap_or_default()).await;
        };
        tokio::select! {
            () = work => {}
            () = deadline => tracing::warn!("storage: stopped before the database had everything; the rest is sent at the next start"),
        }
        self.report_lag();
    }

    /// Waits for the database and brings its tables up to date.
    async fn prepare_database(&mut self) {
        let mut attempt = 0;
        loop {
            if self.target.endpoint.borrow().is_none() {
                self.target.status.failed_generally("the database is not up yet");
            }
            let endpoint = tokio::select! {
                // An error: whoever could tell an address is gone. Only the stop ends this then.
                Ok(endpoint) = self.target.endpoint.wait_for(Option::is_some) => endpoint.clone(),
                () = tokio::time::sleep(TURN) => None,
            };
            if let Some(endpoint) = endpoint {
                match migrate(&endpoint, &self.setup.database).await {
                    Ok(()) => {
                        self.ready.store(true, Relaxed);
                        break self.target.status.recovered_generally();
                    }
                    Err(DatabaseError::Refused(reason)) => {
                        tracing::error!("storage: {reason}");
                        self.target.status.failed_generally(&reason);
                        attempt = 16; // Somebody has to change something: no hurry.
                    }
                    Err(DatabaseError::Again(reason)) => self.target.status.failed_generally(&reason),
                }
                self.report_lag();
                tokio::time::sleep(backoff(attempt)).await;
                attempt += 1;
            }
            self.report_lag();
        }
    }

    /// Reads, sends, and waits for something to happen; `false` when it is time to end.
    async fn turn(&mut self) -> bool {
        let stopping = self.stopped.borrow().is_some();
        let more = match self.read() {
            Ok(more) => more,
            Err(error) => {
                self.target.status.failed_generally(&error.to_string());
                tokio::time::sleep(TURN).await;
                return !stopping;
            }
        };
        self.offer_refused_again();
        if let Err(error) = self.send(stopping && !more) {
            self.target.status.failed_generally(&format!("{}: {error}", self.setup.manifests_dir.display()));
            self.rewind();
            tokio::time::sleep(TURN).await;
            return !stopping;
        }
        self.report_lag();
        if more {
            tokio::task::yield_now().await;
            self.collect();
            return true;
        }
        if stopping && self.deliveries.is_empty() && self.lanes.rows() == 0 && self.recovered.is_empty() {
            return false;
        }
        self.wait(stopping).await;
        self.collect();
        true
    }

    async fn wait(&mut self, stopping: bool) {
        let now_ns = clock::monotonic_ns();
        let due_ns = self.lanes.next_due_ns().map_or(i64::MAX, |due| (due - now_ns).max(1_000_000));
        let sleep = TURN.min(Duration::from_nanos(due_ns as u64));
        let full = self.lanes.bytes() >= QUEUE_BYTES;
        let finished = tokio::select! {
            finished = self.deliveries.join_next(), if !self.deliveries.is_empty() => finished,
            open = self.setup.durable.changed(), if !full && !stopping => {
                if !open {
                    // The journal has closed: nothing comes any more, and this would be ready for ever.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                None
            }
            _ = self.stopped.changed(), if !stopping => None,
            () = tokio::time::sleep(sleep) => None,
        };
        if let Some(finished) = finished {
            self.finished(finished);
        }
    }

    fn collect(&mut self) {
        while let Some(finished) = self.deliveries.try_join_next() {
            self.finished(finished);
        }
    }

    /// Reads what is durable into the lanes; `true` when there is more to read at once.
    fn read(&mut self) -> Result<bool, JournalError> {
        let now_ns = clock::monotonic_ns();
        for _ in 0..TURN_RECORDS {
            if self.lanes.bytes() >= QUEUE_BYTES {
                return Ok(false);
            }
            let Some(found) = self.source.next_record()? else { return Ok(false) };
            self.last_read = ((found.head.epoch, found.head.seq), found.head.ts_publish_ns);
            self.take(&found, now_ns);
        }
        Ok(true)
    }

    fn take(&mut self, found: &Found, now_ns: i64) {
        let Found { head, at, row: Some(row) } = found else { return };
        for lane in row.lanes(self.source.names()) {
            let may_be_known = self.known_to.is_some_and(|known| *at <= known);
            if may_be_known && self.manifests.ledger().has(lane, head.epoch, head.seq) {
                continue;
            }
            if self.refused.contains_key(&table_of(lane)) {
                self.miss(Some(*at), 1);
                continue;
            }
            self.lanes.push(lane, row, self.source.names(), *at, now_ns);
        }
    }

    /// Remembers that so many rows from `at` on have to be read again.
    fn miss(&mut self, at: Option<Position>, rows: u64) {
        self.missed = [self.missed, at].into_iter().flatten().min();
        self.missed_rows += rows;
    }

    /// Forgets rows that wait here: they are read again from the journal.
    fn forget(&mut self, which: impl Fn(&Lane) -> bool) {
        let before = self.lanes.rows();
        let at = self.lanes.forget(which);
        self.miss(at, before - self.lanes.rows());
    }

    /// Gives every idle table its next batch.
    fn send(&mut self, all: bool) -> io::Result<()> {
        for _ in 0..self.recovered.len() {
            let Some(manifest) = self.recovered.pop_front() else { break };
            if self.is_idle(table_of(manifest.lane)) {
                self.send_again(manifest);
            } else {
                self.recovered.push_back(manifest);
            }
        }
        loop {
            let waiting: Vec<TableId> = self.recovered.iter().map(|m| table_of(m.lane)).collect();
            let (under_way, refused) = (&self.under_way, &self.refused);
            let idle = |audience, table| {
                let id = (audience, table);
                !under_way.contains_key(&id) && !refused.contains_key(&id) && !waiting.contains(&id)
            };
            let Some(batch) = self.lanes.next(clock::monotonic_ns(), all, idle) else { return Ok(()) };
            if let Err(error) = self.manifests.begin(batch.manifest()) {
                self.miss(Some(batch.from), batch.rows);
                return Err(error);
            }
            self.start(batch.into(), false);
        }
    }

    fn is_idle(&self, table: TableId) -> bool {
        !self.under_way.contains_key(&table) && !self.refused.contains_key(&table)
    }

    fn start(&mut self, parcel: Parcel, uncertain: bool) {
        let under_way = UnderWay { rows: parcel.manifest.rows, oldest_ns: parcel.oldest_ns };
        self.under_way.insert(table_of(parcel.manifest.lane), under_way);
        let target = self.target.clone();
        self.deliveries.spawn(async move {
            let outcome = deliver(target, parcel.clone(), uncertain).await;
            (parcel, outcome)
        });
    }

    /// Sends a batch that was begun before the last crash: the same rows under the same token.
    fn send_again(&mut self, manifest: Manifest) {
        let parcel = match self.rebuild(manifest) {
            Ok(batch) => batch.into(),
            Err(reason) => {
                tracing::error!("storage: {reason}; only looking whether it arrived");
                Parcel { manifest, body: None, oldest_ns: clock::now_ns() }
            }
        };
        self.start(parcel, true);
    }

    fn rebuild(&self, manifest: Manifest) -> Result<Batch, String> {
        let mut source = open(&self.setup, Some(manifest.from)).map_err(|e| e.to_string())?;
        let mut rebuild = Rebuild::new(manifest);
        while let Some(found) = source.next_record().map_err(|e| e.to_string())? {
            if let Some(row) = &found.row
                && !rebuild.push(row, source.names(), found.at)
            {
                break;
            }
        }
        rebuild.finish().map_err(|e| e.to_string())
    }

    fn finished(&mut self, delivery: Result<(Parcel, Outcome), tokio::task::JoinError>) {
        let Ok((parcel, outcome)) = delivery else { return };
        let manifest = parcel.manifest;
        let table = table_of(manifest.lane);
        self.under_way.remove(&table);
        match outcome {
            Outcome::Stored => {
                metrics::STORAGE_ROWS.add(manifest.rows);
                metrics::STORAGE_BATCHES.inc();
                self.done.push_back(manifest.token());
                if self.refused.remove(&table).is_some() {
                    self.rewind();
                }
            }
            Outcome::Refused(reason) => {
                metrics::STORAGE_REFUSED.inc();
                tracing::error!("storage: {} is not written any more: {reason}", table_name(table));
                self.target.status.failed(manifest.lane, &reason);
                // The table's other rows wait in the journal, not here, so that they do not keep the others waiting.
                self.forget(|lane| table_of(*lane) == table);
                self.refused.insert(table, Refused { parcel, retry_ns: clock::monotonic_ns() + REFUSED_RETRY_NS });
            }
        }
        self.write_done();
    }

    /// Offers refused batches once more: somebody may have mended the table.
    fn offer_refused_again(&mut self) {
        let now_ns = clock::monotonic_ns();
        let due = |(table, refused): (&TableId, &mut Refused)| {
            let due = now_ns >= refused.retry_ns && !self.under_way.contains_key(table);
            refused.retry_ns = if due { i64::MAX } else { refused.retry_ns };
            due.then(|| refused.parcel.clone())
        };
        let parcels: Vec<_> = self.refused.iter_mut().filter_map(due).collect();
        for parcel in parcels {
            self.start(parcel, true);
        }
    }

    /// Reads again from the first row that is neither written down nor held.
    fn rewind(&mut self) {
        self.forget(|_| true);
        let Some(missed) = self.missed else { return };
        match open(&self.setup, Some(missed)) {
            Ok(source) => {
                self.source = source;
                (self.missed, self.missed_rows) = (None, 0);
                self.known_to = self.manifests.ledger().last_begun();
            }
            Err(error) => self.target.status.failed_generally(&error.to_string()),
        }
    }

    /// Writes down what was acknowledged and how far the journal is no longer needed.
    fn write_done(&mut self) {
        while let Some(token) = self.done.front() {
            if let Err(error) = self.manifests.done(token) {
                return self.target.status.failed_generally(&error.to_string());
            }
            self.done.pop_front();
        }
        let stored = self.stored();
        match self.manifests.stored(stored) {
            Ok(()) => (self.setup.on_stored)(stored),
            Err(error) => self.target.status.failed_generally(&error.to_string()),
        }
    }

    /// Everything before this place is acknowledged.
    fn stored(&self) -> Position {
        let begun = self.manifests.ledger().begun().iter().map(|m| m.from).min();
        let needed = [begun, self.lanes.first_position(), self.missed].into_iter().flatten().min();
        needed.unwrap_or_else(|| self.source.position())
    }

    fn report_lag(&self) {
        let (durable, (epoch, seq)) = (self.setup.durable.now(), self.last_read.0);
        // `seq` begins anew in each epoch: of an older one nobody knows how much is left, and it is soon read.
        let unread = if durable.position.epoch == epoch { durable.seq.saturating_sub(seq) } else { durable.seq };
        let under_way: u64 = self.under_way.values().map(|u| u.rows).sum();
        // Offered again at the moment it is under way.
        let refused =
            || self.refused.iter().filter(|(table, _)| !self.under_way.contains_key(table)).map(|(_, r)| &r.parcel);
        let refused_rows: u64 = refused().map(|parcel| parcel.manifest.rows).sum();
        let rows = self.lanes.rows() + under_way + refused_rows + self.missed_rows + unread;
        let unread_since = (unread > 0 && self.last_read.1 > 0).then_some(self.last_read.1);
        let oldest = self.under_way.values().map(|u| u.oldest_ns).chain(refused().map(|parcel| parcel.oldest_ns));
        let oldest = oldest.chain(self.lanes.oldest_ns()).chain(unread_since).min();
        let age_ns = oldest.map_or(0, |oldest| clock::now_ns().saturating_sub(oldest).max(0));
        self.target.status.lag(rows, age_ns / 1_000_000);
    }
}

fn table_name((audience, table): TableId) -> String {
    format!("table {}{}", table.name(), if audience == Audience::Private { " (private)" } else { "" })
}

fn table_of(lane: Lane) -> TableId {
    (lane.audience, lane.table)
}

fn open(setup: &Setup, from: Option<Position>) -> Result<Source, JournalError> {
    Source::open(&setup.journal_dir, from, Some(setup.durable.clone()))
}
