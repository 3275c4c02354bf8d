//! Fetches a venue's past bars or ticks into the database: chunk by chunk, as fast as the venue allows, and on from where
//! it was killed.
//!
//! After each chunk its rows are inserted and then the progress file is written. Killed in between, the chunk is fetched
//! again; its rows are the same, and go under the same token, so the database drops them. Rows of ticks are compared with
//! what is there as well, since nothing replaces them as one bar replaces another. The rows do not pass through the
//! journal: they carry epoch 0, and the audit says how many there are.

mod missing;
mod plan;
mod poll;
mod progress;
mod work;

use std::path::Path;
use std::time::Duration;

use tickwire_schemas::words::Cause;

use crate::clock;
use crate::control::Catalogue;
use crate::feeds::net::Failure;
use crate::feeds::{SharedHosts, SourceSpec};
use crate::journal;
use crate::market::{Calendar, Instrument, InstrumentId, Source, SourceId, VolumeOf};
use crate::storage::Endpoint;
use crate::storage::client::DatabaseError;
use crate::storage::migrate::migrate;
use crate::storage::names::Names;
use crate::storage::past::{Counted, Target};
use crate::storage::rows::Stored;

pub use missing::{Hole, Missing};
pub(super) use plan::Known;
pub(super) use poll::Polled;
pub use progress::Progress;
use work::{Chunk, Fetched, Work};

/// Tries of a chunk of which the last one's failure ends it all. Waits that the venue asked for do not count.
const TRIES: u32 = 8;
/// Tries of an insert.
const INSERT_TRIES: u32 = 4;
/// First wait after a failure; it doubles up to the longest.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Bars or ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Bars, by the word of their timeframe.
    Bars(String),
    /// Ticks.
    Ticks,
}

/// What to fetch.
#[derive(Debug, Clone)]
pub struct BackfillRequest {
    /// Name of the source.
    pub connection: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Bars or ticks.
    pub wanted: Wanted,
    /// First opening or tick, nanoseconds UTC.
    pub from_ns: i64,
    /// Before which bars open, and ticks are.
    pub to_ns: i64,
}

/// Why it did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// The request does not fit the configuration.
    #[error("{0}")]
    Request(String),
    /// The venue, the disk or what the database says failed. What was fetched is stored, and the same again goes on.
    #[error("{0}")]
    Failed(String),
    /// It was told to stop. What was fetched is stored, and the same again goes on.
    #[error("stopped")]
    Stopped,
    /// The database does not answer any more: it may be found again. What was fetched before is stored.
    #[error("database: {0}")]
    Database(String),
}

impl From<String> for BackfillError {
    fn from(text: String) -> BackfillError {
        BackfillError::Failed(text)
    }
}

impl From<DatabaseError> for BackfillError {
    fn from(error: DatabaseError) -> BackfillError {
        match error {
            DatabaseError::Again(text) => BackfillError::Database(text),
            DatabaseError::Refused(text) => BackfillError::Failed(format!("database: {text}")),
        }
    }
}

/// What is told on the way.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// So far, and the end of it all, which may lie before what was asked for: what still forms is not fetched.
    Progress(&'a Progress, i64),
    /// Something that keeps it waiting.
    Note(&'a str),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct BackfillReport {
    /// All runs of the same request together.
    pub progress: Progress,
    /// Up to here it was over: bars had ended, and ticks are those of full hours.
    pub until_ns: i64,
    /// Requests of this run.
    pub requests: u64,
    /// Of those, how many the venue refused because they were too many.
    pub throttled: u64,
}

/// A request that fits the configuration.
#[derive(Debug)]
pub struct Backfill<'a> {
    request: BackfillRequest,
    source: &'a SourceSpec,
    work: Work<'a>,
    instrument: Instrument,
    calendar: Calendar,
    database: &'a str,
    until_ns: i64,
}

impl Backfill<'_> {
    /// Fetches what is not there yet.
    ///
    /// # Errors
    /// [`BackfillError::Failed`] or [`BackfillError::Database`].
    pub fn run(
        &self,
        state: &Path,
        endpoint: &Endpoint,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<BackfillReport, BackfillError> {
        self.run_until(state, endpoint, SharedHosts::default(), std::future::pending(), tell)
    }

    /// The same beside others who ask the same hosts, and no longer than until `stopped` returns: then it is
    /// [`BackfillError::Stopped`], and the same again goes on.
    pub(super) fn run_until(
        &self,
        state: &Path,
        endpoint: &Endpoint,
        hosts: SharedHosts,
        stopped: impl Future<Output = ()>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<BackfillReport, BackfillError> {
        let failed = BackfillError::Failed;
        std::fs::create_dir_all(state).map_err(|e| failed(format!("state directory {}: {e}", state.display())))?;
        let file = progress::File::lock(state, &self.request, self.work.word()).map_err(failed)?;
        self.with(state, endpoint, hosts, async |run| {
            tokio::select! {
                outcome = run.all(&file, tell) => outcome,
                () = stopped => Err(BackfillError::Stopped),
            }
        })
    }

    /// Makes what asks and stores, and says goodbye to the venue when it has.
    fn with<T>(
        &self,
        state: &Path,
        endpoint: &Endpoint,
        hosts: SharedHosts,
        work: impl AsyncFnOnce(&mut Run<'_>) -> Result<T, BackfillError>,
    ) -> Result<T, BackfillError> {
        let failed = BackfillError::Failed;
        let (source_id, instrument_id) = self.ids(state).map_err(|e| failed(e.to_string()))?;
        let source = Source {
            id: SourceId(source_id),
            name: self.source.name.clone(),
            scope: self.source.scope,
            owner: self.source.owner.clone(),
            priority: self.source.priority,
            volume: VolumeOf::default(),
            stores_ticks: true,
        };
        let instruments = vec![Instrument { id: InstrumentId(instrument_id), ..self.instrument.clone() }];
        let names = Names::new(&journal::Catalogue { sources: vec![source], instruments, ..Default::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failed(format!("the runtime cannot be made: {e}")))?;
        let mut run = Run {
            plan: self,
            source_id,
            instrument_id,
            calendar: self.calendar.clone(),
            names,
            endpoint,
            hosts,
            requests: 0,
            throttled: 0,
        };
        runtime.block_on(async {
            let outcome = work(&mut run).await;
            // Whatever comes of it, what was asked for is stored.
            let _ = tokio::time::timeout(CLOSE_MAX, self.work.close()).await;
            outcome
        })
    }

    fn ids(&self, state: &Path) -> Result<(u32, u32), crate::control::ControlError> {
        let mut catalogue = Catalogue::open(state)?;
        Ok((catalogue.source_id(&self.source.name)?, catalogue.instrument_id(&self.instrument.symbol)?))
    }
}

struct Run<'a> {
    plan: &'a Backfill<'a>,
    source_id: u32,
    instrument_id: u32,
    calendar: Calendar,
    names: Names,
    endpoint: &'a Endpoint,
    hosts: SharedHosts,
    requests: u64,
    throttled: u64,
}

impl Run<'_> {
    async fn all(
        &mut self,
        file: &progress::File,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<BackfillReport, BackfillError> {
        migrate(self.endpoint, self.plan.database).await?;
        let begin = Progress::new(self.plan.request.from_ns);
        let mut progress = file.read()?.unwrap_or_else(|| begin.clone());
        if self.lost_rows(&progress).await? {
            tell(Told::Note("the database no longer has all that was fetched before: beginning anew"));
            progress = begin;
        }
        let (work, until_ns) = (&self.plan.work, self.plan.until_ns);
        let left_ns = progress.not_before_ns.saturating_sub(clock::now_ns());
        if left_ns > 0 {
            self.hosts.hold(work.host(), clock::monotonic_ns().saturating_add(left_ns));
            tell(Told::Note(&format!("the venue asked to wait; going on in {} s", left_ns / 1_000_000_000 + 1)));
        }
        tell(Told::Progress(&progress, until_ns));
        while progress.done_ns < until_ns {
            let chunk = (progress.done_ns, work.chunk_end(progress.done_ns).min(until_ns));
            if !work.is_idle(&mut self.calendar, chunk) {
                let fetched = self.fetch(chunk, &mut progress, Some(file), TRIES, tell).await?;
                let there = self.there(chunk).await?;
                let head = self.target().head();
                let rows = work.rows(fetched, chunk, head, &mut self.calendar, &mut progress, there);
                self.store("backfill", &rows, chunk).await?;
            }
            progress.done_ns = chunk.1;
            file.write(&progress)?;
            tell(Told::Progress(&progress, until_ns));
        }
        Ok(BackfillReport { progress, until_ns, requests: self.requests, throttled: self.throttled })
    }

    /// One chunk, as soon as the venue allows and as often as it takes.
    async fn fetch(
        &mut self,
        chunk: Chunk,
        progress: &mut Progress,
        file: Option<&progress::File>,
        tries: u32,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Fetched, String> {
        let work = &self.plan.work;
        let mut failures = 0;
        loop {
            loop {
                match self.hosts.take(work.host(), work.rate(), clock::monotonic_ns()) {
                    0 => break,
                    wait_ns => tokio::time::sleep(Duration::from_nanos(wait_ns.unsigned_abs())).await,
                }
            }
            self.requests += 1;
            progress.requests += 1;
            let failure = match work.fetch(chunk).await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => failure,
            };
            if failure.cause == Cause::RateLimited {
                self.throttled += 1;
                progress.throttled += 1;
            }
            failures += u32::from(failure.retry_after.is_none());
            if !passes(&failure) || failures >= tries {
                return Err(format!("{}: {failure}", self.plan.source.name));
            }
            let wait = failure.retry_after.unwrap_or_else(|| backoff(failures));
            let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
            self.hosts.hold(work.host(), clock::monotonic_ns().saturating_add(wait_ns));
            if failure.retry_after.is_some() {
                progress.not_before_ns = clock::now_ns().saturating_add(wait_ns);
                file.map_or(Ok(()), |file| file.write(progress))?;
            }
            tell(Told::Note(&format!("{}: {failure}; again in {} s", self.plan.source.name, wait.as_secs())));
        }
    }

    /// Inserts a chunk, under tokens that begin with `name`.
    async fn store(&self, name: &str, rows: &[Stored], chunk: Chunk) -> Result<(), BackfillError> {
        let (table, word) = (self.plan.work.table(), self.plan.work.word());
        let of = format!("{name}:{}:{}:{word}:{}-{}", self.source_id, self.instrument_id, chunk.0, chunk.1);
        let mut failures = 0;
        loop {
            // Batches that are there already are dropped by their tokens.
            match self.target().insert(table, rows, &of).await {
                Ok(()) => return Ok(()),
                Err(DatabaseError::Again(_)) if failures + 1 < INSERT_TRIES => {
                    failures += 1;
                    tokio::time::sleep(backoff(failures)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            endpoint: self.endpoint,
            database: self.plan.database,
            names: &self.names,
            source_id: self.source_id,
            instrument_id: self.instrument_id,
        }
    }

    /// Whether the database has fewer rows than were written down as fetched: it is another one, or was emptied.
    async fn lost_rows(&self, progress: &Progress) -> Result<bool, BackfillError> {
        if progress.rows == 0 {
            return Ok(false);
        }
        let text = self.select("count()", (self.plan.request.from_ns, progress.done_ns)).await?;
        let found: u64 = text.trim().parse().map_err(|_| format!("database: expected a count, found {text:?}"))?;
        Ok(found < progress.rows)
    }

    /// The ticks that were fetched of a chunk before: by a request that overlaps, or by this one before it was killed.
    async fn there(&self, chunk: Chunk) -> Result<Counted, BackfillError> {
        match self.plan.work {
            Work::Bars(_) => Ok(Counted::new()),
            Work::Ticks(_) => Ok(self.target().ticks_there(chunk, false).await?),
        }
    }

    /// Asks for something of the rows that were fetched of `[from, to)`.
    async fn select(&self, what: &str, (from_ns, to_ns): Chunk) -> Result<String, BackfillError> {
        let (table, time, are) = self.plan.work.rows_are();
        let of = format!(
            "{are} AND {time} >= fromUnixTimestamp64Nano({from_ns}, 'UTC') AND {time} < fromUnixTimestamp64Nano({to_ns}, 'UTC')"
        );
        Ok(self.target().select(what, table, &of).await?)
    }
}

/// Whether it may go better the next time.
fn passes(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::RateLimited | Cause::ConnectFailed | Cause::ReadError | Cause::ClosedByPeer)
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}
