//! Measurements: `stage_latency`, a row for each stage and second, and `source_quality` ([`super::quality`]).
//!
//! They are no records and are not journaled, so that they cannot disturb a replay. Best effort: what finds no room, or
//! what the database does not take, is lost and counted. Each batch has a token, so none is stored twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clickhouse::Client;
use tokio::sync::{mpsc, watch};

use super::client::{self, DatabaseError, Endpoint, database_of};
use super::column::{Column, Second, Text, U32, U64};
use super::names::Names;
use super::rows::{Audience, header_of, row};
use super::writer::Setup;
use crate::metrics::{self, Counter};

/// Rows that may wait: ten minutes of a dozen stages, or of 800 sources' symbols.
const ROWS_MAX: usize = 8_192;
/// Rows of one insert.
const BATCH_ROWS: usize = 1_024;
/// How often rows are sent.
const PERIOD: Duration = Duration::from_secs(5);
/// How often it looks whether the tables are there, when it is time to stop.
const READY_NAP: Duration = Duration::from_millis(50);
const DAY_SECONDS: i64 = 86_400;

/// A row of a table of measurements.
pub trait Measurement: Sized + Send + 'static {
    /// The table.
    const TABLE: &'static str;
    /// Name and type of the columns in the order in which they are encoded.
    const COLUMNS: &'static [(&'static str, &'static str)];
    /// Rows between the measuring side and the writer.
    const QUEUE_ROWS: usize;
    /// Counts the rows that are not stored.
    const LOST: &'static Counter;

    /// Who may see it.
    fn audience(&self) -> Audience;
    /// A number for its partition: an insert touches one alone.
    fn partition(&self) -> i64;
    /// Appends the row, with its place in this run before it.
    fn encode(row: &Numbered<Self>, out: &mut Vec<u8>);
}

/// What a stage took over the inputs of a second that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSecond {
    /// Seconds since 1970.
    pub second: i64,
    /// Name of the stage.
    pub stage: &'static str,
    /// Inputs measured.
    pub count: u64,
    /// Half of them took no longer, nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1,000.
    pub p999_ns: u64,
}

/// Takes rows; never waits.
#[derive(Debug)]
pub struct Offer<R>(mpsc::Sender<R>);

/// Takes what the stages took.
pub type Seconds = Offer<StageSecond>;

impl<R> Clone for Offer<R> {
    fn clone(&self) -> Self {
        Offer(self.0.clone())
    }
}

impl<R: Measurement> Offer<R> {
    /// Hands a row over; without room it is lost, and counted.
    pub fn offer(&self, row: R) {
        if self.0.try_send(row).is_err() {
            R::LOST.inc();
        }
    }
}

/// Where the rows come out.
#[derive(Debug)]
pub struct Rows<R = StageSecond>(mpsc::Receiver<R>);

impl<R> Rows<R> {
    /// The next row that is there already.
    pub fn try_next(&mut self) -> Option<R> {
        self.0.try_recv().ok()
    }
}

/// A way from the measuring side to the writer.
#[must_use]
pub fn channel<R: Measurement>() -> (Offer<R>, Rows<R>) {
    let (sender, receiver) = mpsc::channel(R::QUEUE_ROWS);
    (Offer(sender), Rows(receiver))
}

/// A row with its place among those of its table in this run.
#[derive(Debug)]
pub struct Numbered<R> {
    /// Start of the engine.
    pub epoch: u32,
    /// Counts from 1.
    pub seq: u64,
    /// What was measured.
    pub row: R,
}

impl Measurement for StageSecond {
    const TABLE: &'static str = "stage_latency";
    const COLUMNS: &'static [(&'static str, &'static str)] = latency::COLUMNS;
    /// Ten seconds of them, many times over.
    const QUEUE_ROWS: usize = 1_024;
    const LOST: &'static Counter = &metrics::STAGE_LATENCY_LOST;

    fn audience(&self) -> Audience {
        Audience::Global
    }

    fn partition(&self) -> i64 {
        self.second.div_euclid(DAY_SECONDS)
    }

    fn encode(row: &Numbered<Self>, out: &mut Vec<u8>) {
        latency::encode(row, &Names::default(), out);
    }
}

row! { latency: |r: &Numbered<StageSecond>, _names|
    epoch U32 = r.epoch,
    seq U64 = r.seq,
    stage Text = r.row.stage,
    second Second = r.row.second,
    count U64 = r.row.count,
    p50_ns U64 = r.row.p50_ns,
    p99_ns U64 = r.row.p99_ns,
    p999_ns U64 = r.row.p999_ns,
}

/// Rows under one token; they stay together until the database has them or refuses.
struct Batch {
    audience: Audience,
    token: String,
    rows: u64,
    body: Vec<u8>,
}

/// Brings measurements into the database.
pub(super) struct Telemetry<R> {
    rows: Rows<R>,
    epoch: u32,
    database: String,
    endpoint: watch::Receiver<Option<Endpoint>>,
    /// Whether the tables are there.
    ready: Arc<AtomicBool>,
    stopped: Stopped,
}

type Stopped = watch::Receiver<Option<Duration>>;

impl<R: Measurement> Telemetry<R> {
    pub(super) fn new(
        (epoch, rows): (u32, Rows<R>),
        setup: &Setup,
        ready: &Arc<AtomicBool>,
        stopped: &Stopped,
    ) -> Self {
        let (database, endpoint) = (setup.database.clone(), setup.endpoint.clone());
        Telemetry { rows, epoch, database, endpoint, ready: Arc::clone(ready), stopped: stopped.clone() }
    }

    /// Sends what comes until the writer stops, and then what is left.
    async fn run(mut self) {
        let mut outbox = Outbox::new(self.epoch);
        let mut clock = tokio::time::interval(PERIOD);
        let mut stopped = self.stopped.clone();
        while self.stopped.borrow().is_none() {
            tokio::select! {
                row = self.rows.0.recv() => match row {
                    Some(row) => {
                        outbox.push(row);
                        if outbox.waiting.len().is_multiple_of(BATCH_ROWS) {
                            clock.reset_immediately();
                        }
                    }
                    // The pipeline has ended; the stop follows.
                    None => drop(self.stopped.wait_for(Option::is_some).await),
                },
                _ = clock.tick() => tokio::select! {
                    () = self.send(&mut outbox) => {}
                    // Cut short, it is sent again below, under the same token.
                    _ = stopped.wait_for(Option::is_some) => {}
                },
                // An error: nobody is left to stop us.
                changed = self.stopped.changed() => if changed.is_err() { break },
            }
        }
        while let Some(row) = self.rows.try_next() {
            outbox.push(row);
        }
        let grace = self.stopped.borrow().unwrap_or_default();
        let last = async {
            // The tables of a store that has just started are still being made.
            while outbox.rows() > 0 && !self.ready.load(Relaxed) {
                tokio::time::sleep(READY_NAP).await;
            }
            self.send(&mut outbox).await;
        };
        let _ = tokio::time::timeout(grace, last).await;
        R::LOST.add(outbox.rows());
    }

    async fn send(&self, outbox: &mut Outbox<R>) {
        let Some(endpoint) = self.endpoint.borrow().clone().filter(|_| self.ready.load(Relaxed)) else { return };
        outbox.send(&endpoint.client(), &self.database).await;
    }
}

/// Runs it, if there is anything to measure.
pub(super) async fn run<R: Measurement>(telemetry: Option<Telemetry<R>>) {
    if let Some(telemetry) = telemetry {
        telemetry.run().await;
    }
}

/// What the database does not have yet.
struct Outbox<R> {
    epoch: u32,
    seq: u64,
    waiting: VecDeque<R>,
    batch: Option<Batch>,
}

impl<R: Measurement> Outbox<R> {
    fn new(epoch: u32) -> Self {
        Outbox { epoch, seq: 0, waiting: VecDeque::new(), batch: None }
    }

    fn push(&mut self, row: R) {
        if self.waiting.len() == ROWS_MAX {
            self.waiting.pop_front();
            R::LOST.inc();
        }
        self.waiting.push_back(row);
    }

    fn rows(&self) -> u64 {
        self.waiting.len() as u64 + self.batch.as_ref().map_or(0, |batch| batch.rows)
    }

    /// The next batch: rows of one partition of one database.
    fn next(&mut self, database: &str) -> Option<Batch> {
        let place = |row: &R| (row.audience(), row.partition());
        let of = place(self.waiting.front()?);
        let first = self.seq + 1;
        let mut body = header_of(R::COLUMNS.iter().copied());
        while self.seq + 1 - first < BATCH_ROWS as u64
            && let Some(row) = self.waiting.pop_front_if(|row| place(row) == of)
        {
            self.seq += 1;
            R::encode(&Numbered { epoch: self.epoch, seq: self.seq, row }, &mut body);
        }
        let (audience, name) = (of.0, database_of(database, of.0));
        let token = format!("{name}.{}:{}:{first}-{}", R::TABLE, self.epoch, self.seq);
        Some(Batch { audience, token, rows: self.seq + 1 - first, body })
    }

    /// Sends until all is sent or the database does not answer; then the same batch is tried again the next time.
    async fn send(&mut self, client: &Client, database: &str) {
        let columns = R::COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        loop {
            if self.batch.is_none() {
                self.batch = self.next(database);
            }
            let Some(batch) = &self.batch else { return };
            let client = client.clone().with_database(database_of(database, batch.audience));
            match client::insert_into(&client, R::TABLE, &columns, &batch.token, batch.body.clone().into()).await {
                Ok(()) => {}
                Err(DatabaseError::Again(_)) => return,
                Err(DatabaseError::Refused(reason)) => {
                    R::LOST.add(batch.rows);
                    tracing::warn!("storage: rows of {} were refused and are lost: {reason}", R::TABLE);
                }
            }
            self.batch = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(second: i64) -> StageSecond {
        StageSecond { second, stage: "bars", count: 1, p50_ns: 2, p99_ns: 3, p999_ns: 4 }
    }

    #[test]
    fn a_batch_holds_rows_of_one_day() {
        let mut outbox = Outbox::new(7);
        [DAY_SECONDS - 2, DAY_SECONDS - 1, DAY_SECONDS].into_iter().for_each(|second| outbox.push(row(second)));
        let mut next = || outbox.next("md").map(|batch| (batch.token, batch.rows));
        assert_eq!(next(), Some(("md.stage_latency:7:1-2".into(), 2)));
        assert_eq!(next(), Some(("md.stage_latency:7:3-3".into(), 1)));
        assert_eq!(next(), None);
    }

    #[test]
    fn without_room_the_oldest_is_lost_and_counted() {
        let mut outbox = Outbox::new(7);
        let lost = metrics::STAGE_LATENCY_LOST.get();
        (0..=ROWS_MAX as i64).for_each(|second| outbox.push(row(second)));
        assert_eq!((outbox.rows(), outbox.waiting[0].second), (ROWS_MAX as u64, 1));
        assert!(metrics::STAGE_LATENCY_LOST.get() > lost);
        let (seconds, _rows) = channel();
        let lost = metrics::STAGE_LATENCY_LOST.get();
        (0..=StageSecond::QUEUE_ROWS as i64).for_each(|second| seconds.offer(row(second)));
        assert!(metrics::STAGE_LATENCY_LOST.get() > lost);
    }
}
