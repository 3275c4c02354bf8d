//! Fetches a venue's past bars into the database: page by page, as fast as the venue allows, and on from where it was
//! killed.
//!
//! After each page its rows are inserted and then the progress file is written. Killed in between, the page is fetched
//! again; its rows are the same, and go under the same token, so the database drops them. The rows do not pass through the
//! journal: they carry epoch 0, and the audit says how many there are.

mod missing;
mod progress;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tickwire_schemas::record::Bar;
use tickwire_schemas::words::{Cause, Timeframe};

use super::Settings;
use crate::clock;
use crate::control::Catalogue;
use crate::feeds::SourceSpec;
use crate::feeds::adapters::History;
use crate::feeds::net::Failure;
use crate::feeds::rate::Hosts;
use crate::journal;
use crate::market::{Calendar, Instrument, InstrumentId, Source, SourceId, VolumeOf};
use crate::storage::Endpoint;
use crate::storage::client::{self, DatabaseError, database_of};
use crate::storage::migrate::migrate;
use crate::storage::names::Names;
use crate::storage::rows::{FETCHED_EPOCH, Lane, Stored, Table};

pub use missing::{Hole, Missing};
pub use progress::Progress;

/// Tries of a page of which the last one's failure ends it all. Waits that the venue asked for do not count.
const TRIES: u32 = 8;
/// Tries of an insert.
const INSERT_TRIES: u32 = 4;
/// First wait after a failure; it doubles up to the longest.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What to fetch.
#[derive(Debug, Clone)]
pub struct BackfillRequest {
    /// Name of the source.
    pub connection: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Word of a timeframe.
    pub timeframe: String,
    /// First opening, nanoseconds UTC.
    pub from_ns: i64,
    /// Before which bars open.
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
    /// So far, and the end of it all, which may lie before what was asked for: bars that still form are not fetched.
    Progress(&'a Progress, i64),
    /// Something that keeps it waiting.
    Note(&'a str),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct BackfillReport {
    /// All runs of the same request together.
    pub progress: Progress,
    /// Up to here bars had ended.
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
    history: &'a dyn History,
    venue_symbol: &'a str,
    instrument: Instrument,
    timeframe: Timeframe,
    calendar: Calendar,
    database: &'a str,
    until_ns: i64,
}

impl<'a> Backfill<'a> {
    /// Checks a request; touches neither network nor database.
    ///
    /// # Errors
    /// [`BackfillError::Request`].
    pub fn new(settings: &'a Settings, request: BackfillRequest) -> Result<Backfill<'a>, BackfillError> {
        let wrong = |text: String| Err(BackfillError::Request(text));
        let known = |names: Vec<&str>| {
            if names.is_empty() { "there is none".into() } else { format!("expected one of {}", names.join(", ")) }
        };
        let BackfillRequest { connection, symbol, timeframe, from_ns, to_ns } = &request;
        let Some(source) = settings.sources.iter().find(|source| source.name == *connection) else {
            let names = known(settings.sources.iter().map(|source| source.name.as_str()).collect());
            return wrong(format!("--connection: no source is named \"{connection}\", {names}"));
        };
        let Some(venue_symbol) = source.symbols.iter().find(|spec| spec.canonical == *symbol) else {
            let names = known(source.symbols.iter().map(|spec| spec.canonical.as_str()).collect());
            return wrong(format!("--symbol: sources.{connection} has no \"{symbol}\", {names}"));
        };
        let Some(history) = source.venue.any_history() else {
            return wrong(format!("--connection: {connection} has no past bars (adapter {})", source.venue.name()));
        };
        let has = |timeframe: &Timeframe| history.has(*timeframe);
        let Some(timeframe) = Timeframe::from_word(timeframe).filter(has) else {
            let names = known(Timeframe::ALL.iter().filter(|t| has(t)).map(|t| t.word()).collect());
            return wrong(format!("--timeframe: {connection} has no bars of \"{timeframe}\", {names}"));
        };
        if from_ns >= to_ns {
            return wrong("--from: is not before --to, expected an earlier time".into());
        }
        source.venue.check().map_err(|e| BackfillError::Request(format!("sources.{connection}.{e}")))?;
        let Some(spec) = settings.instruments.get(symbol) else {
            return wrong(format!("--symbol: {symbol} is no instrument, expected a section [instruments.{symbol}]"));
        };
        let mut calendar = Calendar::new(spec.class, &settings.holidays).map_err(BackfillError::Request)?;
        let now_ns = clock::now_ns();
        let forming = calendar.interval(timeframe, now_ns).map_or(now_ns, |span| span.from_ns);
        if *from_ns >= forming {
            return wrong("--from: no bar from then on has ended yet, expected an earlier time".into());
        }
        let instrument = Instrument {
            id: InstrumentId(0),
            symbol: symbol.clone(),
            class: spec.class,
            digits: spec.digits,
            pip: spec.pip,
        };
        let (until_ns, venue_symbol, database) =
            ((*to_ns).min(forming), venue_symbol.venue.as_str(), settings.storage.database.as_str());
        Ok(Backfill { source, history, venue_symbol, instrument, timeframe, calendar, database, until_ns, request })
    }

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
        let failed = |text: String| BackfillError::Failed(text);
        std::fs::create_dir_all(state).map_err(|e| failed(format!("state directory {}: {e}", state.display())))?;
        let (source_id, instrument_id) = self.ids(state).map_err(|e| failed(e.to_string()))?;
        let file = progress::File::lock(state, &self.request).map_err(failed)?;
        let source = Source {
            id: SourceId(source_id),
            name: self.source.name.clone(),
            scope: self.source.scope,
            owner: self.source.owner.clone(),
            priority: self.source.priority,
            volume: VolumeOf::default(),
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
            hosts: Hosts::default(),
            requests: 0,
            throttled: 0,
        };
        runtime.block_on(async {
            let outcome = run.all(&file, tell).await;
            // Whatever comes of it, what was asked for is stored.
            let _ = tokio::time::timeout(CLOSE_MAX, self.history.close()).await;
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
    hosts: Hosts,
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
        let until_ns = self.plan.until_ns;
        let page_ns = length_ns(self.plan.timeframe).saturating_mul(self.plan.history.page() as i64);
        tell(Told::Progress(&progress, until_ns));
        while progress.done_ns < until_ns {
            let (from_ns, to_ns) = (progress.done_ns, progress.done_ns.saturating_add(page_ns).min(until_ns));
            let mut bars = self.page(from_ns, to_ns, &mut progress, tell).await?;
            progress.odd_cuts += self.complete(&mut bars);
            self.store(&bars, (from_ns, to_ns)).await?;
            progress.missing.page(&mut self.calendar, self.plan.timeframe, (from_ns, to_ns), &bars);
            progress.rows += bars.len() as u64;
            progress.done_ns = to_ns;
            file.write(&progress)?;
            tell(Told::Progress(&progress, until_ns));
        }
        Ok(BackfillReport { progress, until_ns, requests: self.requests, throttled: self.throttled })
    }

    /// One page, as soon as the venue allows and as often as it takes.
    async fn page(
        &mut self,
        from_ns: i64,
        to_ns: i64,
        progress: &mut Progress,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<Vec<Bar>, String> {
        let Backfill { history, venue_symbol, timeframe, .. } = *self.plan;
        let mut failures = 0;
        loop {
            loop {
                match self.hosts.take(history.host(), history.rate(), clock::monotonic_ns()) {
                    0 => break,
                    wait_ns => tokio::time::sleep(Duration::from_nanos(wait_ns.unsigned_abs())).await,
                }
            }
            self.requests += 1;
            progress.requests += 1;
            let failure = match history.bars(venue_symbol, timeframe, from_ns, to_ns).await {
                Ok(bars) => return Ok(bars),
                Err(failure) => failure,
            };
            if failure.cause == Cause::RateLimited {
                self.throttled += 1;
                progress.throttled += 1;
            }
            failures += u32::from(failure.retry_after.is_none());
            if !passes(&failure) || failures == TRIES {
                return Err(format!("{}: {failure}", self.plan.source.name));
            }
            let wait = failure.retry_after.unwrap_or_else(|| backoff(failures));
            let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
            self.hosts.hold(history.host(), clock::monotonic_ns().saturating_add(wait_ns));
            tell(Told::Note(&format!("{}: {failure}; again in {} s", self.plan.source.name, wait.as_secs())));
        }
    }

    /// Fills in what the adapter does not know; returns how many bars begin where our calendar begins none.
    fn complete(&mut self, bars: &mut [Bar]) -> u64 {
        let mut odd = 0;
        for bar in bars {
            bar.head.epoch = FETCHED_EPOCH;
            bar.head.source_id = self.source_id;
            bar.head.instrument_id = self.instrument_id;
            let span = self.calendar.interval(self.plan.timeframe, bar.open_ts_ns);
            let length_ns = span.map_or(length_ns(self.plan.timeframe), |span| span.to_ns - span.from_ns);
            odd += u64::from(span.is_some_and(|span| span.from_ns != bar.open_ts_ns));
            bar.close_ts_ns = bar.open_ts_ns.saturating_add(length_ns);
        }
        odd
    }

    /// Inserts a page, a partition at a time.
    async fn store(&self, bars: &[Bar], page: (i64, i64)) -> Result<(), BackfillError> {
        let mut lanes: BTreeMap<Lane, Vec<u8>> = BTreeMap::new();
        for row in bars.iter().map(|bar| Stored::Bar(*bar)) {
            let Some(lane) = row.lanes(&self.names).find(|lane| lane.table == Table::Bars) else { continue };
            row.encode(Table::Bars, &self.names, lanes.entry(lane).or_insert_with(|| Table::Bars.header()));
        }
        let of = format!("{}:{}:{}", self.source_id, self.instrument_id, self.plan.timeframe);
        for (lane, body) in lanes {
            // What a venue says of the same page another time is another batch only where it differs.
            let token = format!("backfill:{of}:{}-{}:{}:{:08x}", page.0, page.1, lane.partition, crc32c::crc32c(&body));
            self.insert(lane, &token, body).await?;
        }
        Ok(())
    }

    async fn insert(&self, lane: Lane, token: &str, body: Vec<u8>) -> Result<(), BackfillError> {
        let client = self.endpoint.client().with_database(database_of(self.plan.database, lane.audience));
        let mut failures = 0;
        loop {
            match client::insert(&client, lane.table, token, body.clone().into()).await {
                Ok(()) => return Ok(()),
                Err(DatabaseError::Again(_)) if failures + 1 < INSERT_TRIES => {
                    failures += 1;
                    tokio::time::sleep(backoff(failures)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the database has fewer rows than were written down as fetched: it is another one, or was emptied.
    async fn lost_rows(&self, progress: &Progress) -> Result<bool, BackfillError> {
        if progress.rows == 0 {
            return Ok(false);
        }
        let private = self.names.is_private(self.source_id);
        let audience =
            if private { crate::storage::rows::Audience::Private } else { crate::storage::rows::Audience::Global };
        let client = self.endpoint.client().with_database(database_of(self.plan.database, audience));
        // Names of sources and symbols hold nothing that would have to be quoted.
        let sql = format!(
            "SELECT count() FROM bars FINAL WHERE symbol = '{}' AND source = '{}' AND timeframe = '{}' AND origin = 'backfill' \
             AND open_ts >= fromUnixTimestamp64Nano({}, 'UTC') AND open_ts < fromUnixTimestamp64Nano({}, 'UTC')",
            self.plan.instrument.symbol,
            self.plan.source.name,
            self.plan.timeframe,
            self.plan.request.from_ns,
            progress.done_ns
        );
        let text = client::query(&client, &sql, "TabSeparated").await?;
        let found: u64 = text.trim().parse().map_err(|_| format!("database: expected a count, found {text:?}"))?;
        Ok(found < progress.rows)
    }
}

/// Whether it may go better the next time.
fn passes(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::RateLimited | Cause::ConnectFailed | Cause::ReadError | Cause::ClosedByPeer)
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

/// The shortest length of a bar of a timeframe, so that no page holds more bars than the venue returns.
fn length_ns(timeframe: Timeframe) -> i64 {
    const MINUTE_NS: i64 = 60_000_000_000;
    MINUTE_NS
        * match timeframe {
            Timeframe::M1 => 1,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H4 => 240,
            // A day may lose an hour to daylight saving time.
            Timeframe::D1 => 23 * 60,
            Timeframe::W1 => (7 * 24 - 1) * 60,
            Timeframe::MN => (28 * 24 - 1) * 60,
        }
}
