//! Deletes rows that are older than they are to be kept: counts them, writes down what it is about to delete, deletes, and
//! looks whether they are gone.
//!
//! Nothing else deletes: tables have no TTL, since a row that is due would then vanish at its insert without a word. What
//! is written down ([`ledger`]) lets the audit tell rows that were deleted from rows that were lost. Killed in between, the
//! next run finds what was begun and goes on with it.

pub mod config;
pub mod ledger;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clickhouse::Client;

pub use config::RetentionConfig;
use ledger::{Deletion, Rows, Writer};

use super::client::{self, DatabaseError, Endpoint, database_of};
use super::rows::{Audience, FETCHED_EPOCH, Lane, Table};

const DAY_NS: i64 = 86_400_000_000_000;

/// Longest wait for a deletion, and between two looks whether it is through.
const GONE_WITHIN: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A table that rows are deleted from.
#[derive(Debug, Clone, Copy)]
pub struct Aged {
    /// Its name.
    pub table: &'static str,
    /// The column with the time that counts: its partitions are cut by it.
    pub time: &'static str,
    /// The column with the name of the connection, where there is one.
    pub connection: Option<&'static str>,
    /// Whether a partition is a month, else a day.
    pub monthly: bool,
    /// What the audit knows it as.
    journaled: Option<Table>,
}

const fn aged(table: &'static str, time: &'static str, monthly: bool, journaled: Option<Table>) -> Aged {
    Aged { table, time, connection: Some("source"), monthly, journaled }
}

/// All of them.
pub const TABLES: [Aged; 12] = [
    aged("ticks", "ts_recv", false, Some(Table::Ticks)),
    aged("rejects", "ts_recv", false, Some(Table::Rejects)),
    aged("trades", "ts_recv", false, Some(Table::Trades)),
    aged("quotes", "ts_recv", false, Some(Table::Quotes)),
    aged("bars", "open_ts", true, Some(Table::Bars)),
    aged("indicators", "bar_ts", true, Some(Table::Indicators)),
    aged("gaps", "ts_recv", true, Some(Table::Gaps)),
    aged("source_state", "ts_recv", true, Some(Table::SourceState)),
    Aged {
        connection: Some("connection"),
        ..aged("pipeline_executions", "finished_ts", true, Some(Table::PipelineExecutions))
    },
    aged("source_quality", "minute", true, None),
    Aged { connection: None, ..aged("stage_latency", "second", false, None) },
    aged("connection_log", "ts", true, None),
];

/// How many days rows are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where nothing else is said.
    pub days: u32,
    /// By table. Where both a table and a connection say it, the smaller number counts.
    pub tables: BTreeMap<String, u32>,
    /// By connection.
    pub connections: BTreeMap<String, u32>,
}

impl Rules {
    /// Days for rows of a table that are of no connection with days of its own.
    #[must_use]
    pub fn days_of(&self, table: &str) -> u32 {
        self.tables.get(table).copied().unwrap_or(self.days)
    }

    /// Days for a connection's rows in a table.
    #[must_use]
    pub fn days_for(&self, table: &str, connection: &str) -> u32 {
        let of_table = self.tables.get(table).copied();
        match self.connections.get(connection).copied() {
            Some(days) => of_table.map_or(days, |of_table| of_table.min(days)),
            None => self.days_of(table),
        }
    }

    /// Which rows of a table are due, as a condition; rows are kept for whole days, so the last one ends at midnight UTC.
    fn due(&self, aged: &Aged, now_ns: i64) -> String {
        let before = |days: u32| {
            let seconds = cutoff_ns(now_ns, days) / 1_000_000_000;
            format!("{} < toDateTime64({seconds}, 9, 'UTC')", aged.time)
        };
        let days = self.days_of(aged.table);
        let Some(column) = aged.connection else { return before(days) };
        let own = self.connections.keys().map(|name| (name, self.days_for(aged.table, name)));
        let own: Vec<_> = own.filter(|(_, own_days)| *own_days != days).collect();
        if own.is_empty() {
            return before(days);
        }
        let names: Vec<_> = own.iter().map(|(name, _)| quoted(name)).collect();
        let mut text = format!("(({column} NOT IN ({}) AND {})", names.join(", "), before(days));
        for (name, days) in &own {
            let _ = write!(text, " OR ({column} = {} AND {})", quoted(name), before(*days));
        }
        text + ")"
    }

    /// Before when everything of a table is due, whosever it is.
    fn all_due_ns(&self, aged: &Aged, now_ns: i64) -> i64 {
        let own = self.connections.keys().filter(|_| aged.connection.is_some());
        let days = own.map(|name| self.days_for(aged.table, name)).chain([self.days_of(aged.table)]).max();
        cutoff_ns(now_ns, days.unwrap_or(self.days))
    }
}

/// Rows from before are due: the midnight, UTC, so many days ago.
fn cutoff_ns(now_ns: i64, days: u32) -> i64 {
    now_ns - now_ns.rem_euclid(DAY_NS) - i64::from(days) * DAY_NS
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What is deleted, and where that is written down.
#[derive(Debug, Clone)]
pub struct Retention {
    /// The database.
    pub endpoint: Endpoint,
    /// Name of the database for global rows.
    pub database: String,
    /// Where manifests are kept.
    pub manifests_dir: PathBuf,
    /// How long rows are kept.
    pub rules: Rules,
    /// Rows of this connection alone; `None`: all that is due.
    pub only: Option<String>,
}

/// Why rows were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database.
    #[error("database: {0}")]
    Database(#[from] DatabaseError),
    /// What is written down.
    #[error("{}: {error}", path.display())]
    Ledger {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process is at it.
    #[error("rows are being deleted already, by another process")]
    Busy,
    /// They are still there.
    #[error("{table}: {rows} rows are still there after {} s", GONE_WITHIN.as_secs())]
    Still {
        /// Of which table.
        table: &'static str,
        /// How many.
        rows: u64,
    },
}

/// What was deleted: rows by database and table, those without any left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted(pub BTreeMap<(Audience, &'static str), u64>);

impl Deleted {
    /// All of them.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// One line of text.
    #[must_use]
    pub fn print(&self) -> String {
        if self.0.is_empty() {
            return "nothing was due".into();
        }
        let of = |((audience, table), rows): (&(Audience, &str), &u64)| {
            let private = if *audience == Audience::Private { " (private)" } else { "" };
            format!("{table}{private} {rows}")
        };
        format!("{} rows deleted: {}", self.rows(), self.0.iter().map(of).collect::<Vec<_>>().join(", "))
    }
}

/// Which rows of a table go.
struct Due {
    /// As a condition.
    due: String,
    /// Before then all of them, so that partitions can go as a whole; nanoseconds UTC.
    all_due_ns: i64,
}

/// A partition in which rows are due.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    partition: u32,
    rows: u64,
    epochs: Vec<(u32, Rows)>,
}

impl Retention {
    /// Deletes what is due at `now_ns`. `tell` is told how many tables of how many are done, and how many rows so far.
    /// Dropped in the middle it leaves what it had begun to the next run.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn run(&self, now_ns: i64, tell: &mut dyn FnMut(u64, u64, u64)) -> Result<Deleted, RetentionError> {
        let of = |aged: &Aged| {
            let all_due_ns = if self.only.is_some() { i64::MIN } else { self.rules.all_due_ns(aged, now_ns) };
            self.due(aged, now_ns).map(|due| Due { due, all_due_ns })
        };
        self.all(&of, tell).await
    }

    /// Deletes every row of a connection, however new. What had been broken off before goes too.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn erase(&self, connection: &str) -> Result<Deleted, RetentionError> {
        let of = |aged: &Aged| {
            let due = format!("{} = {}", aged.connection?, quoted(connection));
            Some(Due { due, all_due_ns: i64::MIN })
        };
        self.all(&of, &mut |_, _, _| {}).await
    }

    async fn all(
        &self,
        of: &dyn Fn(&Aged) -> Option<Due>,
        tell: &mut dyn FnMut(u64, u64, u64),
    ) -> Result<Deleted, RetentionError> {
        let _lock = self.lock()?;
        let path = ledger::path(&self.manifests_dir);
        let failed = |error: io::Error| RetentionError::Ledger { path: path.clone(), error };
        let mut ledger = Writer::open(&self.manifests_dir).map_err(failed)?;
        let (mut deleted, mut done) = (Deleted::default(), 0);
        let mut begun: BTreeMap<(Audience, Table, String), Vec<Deletion>> = BTreeMap::new();
        for deletion in ledger.begun() {
            let of = (deletion.lane.audience, deletion.lane.table, deletion.due.clone());
            begun.entry(of).or_default().push(deletion);
        }
        for ((audience, table, due), deletions) in begun {
            let Some(aged) = TABLES.iter().find(|aged| aged.journaled == Some(table)) else { continue };
            let (client, partitions) = (self.client(audience), partitions_of(&deletions));
            let rows = count(&client, aged, &partitions, &due).await?;
            self.delete(&client, aged, &partitions, &due).await?;
            add(&mut deleted, audience, aged, rows);
            deletions.iter().try_for_each(|deletion| ledger.done(deletion)).map_err(failed)?;
        }
        let total = 2 * TABLES.len() as u64;
        for audience in [Audience::Global, Audience::Private] {
            for aged in &TABLES {
                if let Some(due) = of(aged) {
                    self.table(audience, aged, &due, &mut ledger, &mut deleted).await?;
                }
                done += 1;
                tell(done, total, deleted.rows());
            }
        }
        Ok(deleted)
    }

    /// Which rows of a table are due; `None` when none can be.
    fn due(&self, aged: &Aged, now_ns: i64) -> Option<String> {
        let due = self.rules.due(aged, now_ns);
        match (&self.only, aged.connection) {
            (None, _) => Some(due),
            (Some(name), Some(column)) => Some(format!("({column} = {} AND {due})", quoted(name))),
            (Some(_), None) => None,
        }
    }

    async fn table(
        &self,
        audience: Audience,
        aged: &Aged,
        Due { due, all_due_ns }: &Due,
        ledger: &mut Writer,
        deleted: &mut Deleted,
    ) -> Result<(), RetentionError> {
        let client = self.client(audience);
        let failed = |error: io::Error| RetentionError::Ledger { path: ledger::path(&self.manifests_dir), error };
        // Parts of partitions go together: what that takes depends on the parts of the whole table, not on those touched.
        let (mut together, mut written) = (Vec::new(), Vec::new());
        for Part { partition, rows, epochs } in parts(&client, aged, due).await? {
            let whole = ends_ns(partition, aged.monthly).is_some_and(|ends_ns| ends_ns <= *all_due_ns);
            // Epochs of what was fetched are not audited.
            let epochs: Vec<_> = epochs.into_iter().filter(|(epoch, _)| *epoch != FETCHED_EPOCH).collect();
            let deletion = aged.journaled.filter(|_| !epochs.is_empty()).map(|table| {
                let lane = Lane { audience, table, partition };
                Deletion { lane, due: due.clone(), epochs }
            });
            deletion.iter().try_for_each(|deletion| ledger.begin(deletion)).map_err(failed)?;
            if whole {
                self.drop_partition(&client, aged, partition, due).await?;
                deletion.iter().try_for_each(|deletion| ledger.done(deletion)).map_err(failed)?;
            } else {
                together.push(partition);
                written.extend(deletion);
            }
            add(deleted, audience, aged, rows);
        }
        if !together.is_empty() {
            self.delete(&client, aged, &together, due).await?;
        }
        written.iter().try_for_each(|deletion| ledger.done(deletion)).map_err(failed)
    }

    /// Deletes everything of a partition, and returns when it is gone.
    async fn drop_partition(
        &self,
        client: &Client,
        aged: &Aged,
        partition: u32,
        due: &str,
    ) -> Result<(), RetentionError> {
        let sql = format!("ALTER TABLE {} DROP PARTITION ID '{partition}'", aged.table);
        client::query_within(client, &sql, "TabSeparated", GONE_WITHIN).await?;
        gone(client, aged, &[partition], due).await
    }

    /// Deletes what is due, of which these partitions have some, and returns when it is gone.
    async fn delete(&self, client: &Client, aged: &Aged, partitions: &[u32], due: &str) -> Result<(), RetentionError> {
        // What comes into others meanwhile is not written down.
        let of = if aged.monthly { "toYYYYMM" } else { "toYYYYMMDD" };
        let ids: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        let sql = format!("DELETE FROM {} WHERE {of}({}) IN ({}) AND {due}", aged.table, aged.time, ids.join(", "));
        client::query_within(client, &sql, "TabSeparated", GONE_WITHIN).await?;
        gone(client, aged, partitions, due).await
    }

    fn client(&self, audience: Audience) -> Client {
        self.endpoint.client().with_database(database_of(&self.database, audience))
    }

    /// One process deletes at a time: what two write down would be counted twice.
    fn lock(&self) -> Result<File, RetentionError> {
        let path = self.manifests_dir.join("retention.lock");
        let open = || {
            std::fs::create_dir_all(&self.manifests_dir)?;
            File::options().create(true).truncate(false).write(true).open(&path)
        };
        let lock = open().map_err(|error| RetentionError::Ledger { path: path.clone(), error })?;
        lock.try_lock().map_err(|_| RetentionError::Busy)?;
        Ok(lock)
    }
}

fn add(deleted: &mut Deleted, audience: Audience, aged: &Aged, rows: u64) {
    if rows > 0 {
        *deleted.0.entry((audience, aged.table)).or_default() += rows;
    }
}

/// Partitions with rows that are due, and what these are by epoch.
async fn parts(client: &Client, aged: &Aged, due: &str) -> Result<Vec<Part>, DatabaseError> {
    let sql = format!(
        "SELECT toUInt32(_partition_id) AS partition, epoch, count(), sum(seq), groupBitXor(seq) FROM {} WHERE {due} \
         GROUP BY partition, epoch ORDER BY partition, epoch",
        aged.table
    );
    let text = match client::query_within(client, &sql, "TabSeparated", GONE_WITHIN).await {
        // Never migrated: there is nothing in it.
        Err(DatabaseError::Refused(reason)) if reason.contains("Code: 60.") || reason.contains("Code: 81.") => {
            return Ok(Vec::new());
        }
        text => text?,
    };
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines() {
        let numbers: Vec<u64> = line.split('\t').filter_map(|field| field.parse().ok()).collect();
        let [partition, epoch, rows, seq_sum, seq_xor] = numbers[..] else {
            return Err(DatabaseError::Again(format!("expected five numbers, found {line:?}")));
        };
        let (partition, epoch) = (partition as u32, epoch as u32);
        if parts.last().is_none_or(|part| part.partition != partition) {
            parts.push(Part { partition, rows: 0, epochs: Vec::new() });
        }
        if let Some(part) = parts.last_mut() {
            part.rows += rows;
            part.epochs.push((epoch, Rows { rows, seq_sum, seq_xor }));
        }
    }
    Ok(parts)
}

async fn count(client: &Client, aged: &Aged, partitions: &[u32], due: &str) -> Result<u64, DatabaseError> {
    let ids: Vec<_> = partitions.iter().map(|partition| format!("'{partition}'")).collect();
    let sql = format!("SELECT count() FROM {} WHERE _partition_id IN ({}) AND {due}", aged.table, ids.join(", "));
    let text = client::query_within(client, &sql, "TabSeparated", GONE_WITHIN).await?;
    text.trim().parse().map_err(|_| DatabaseError::Again(format!("expected a count, found {text:?}")))
}

/// Returns when nothing of it is there any more.
async fn gone(client: &Client, aged: &Aged, partitions: &[u32], due: &str) -> Result<(), RetentionError> {
    let begun = tokio::time::Instant::now();
    loop {
        match count(client, aged, partitions, due).await? {
            0 => return Ok(()),
            rows if begun.elapsed() > GONE_WITHIN => return Err(RetentionError::Still { table: aged.table, rows }),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn partitions_of(deletions: &[Deletion]) -> Vec<u32> {
    deletions.iter().map(|deletion| deletion.lane.partition).collect()
}

/// When a partition `YYYYMMDD` or `YYYYMM` ends, nanoseconds UTC.
fn ends_ns(partition: u32, monthly: bool) -> Option<i64> {
    let (year, month, day) = match monthly {
        true => (partition / 100, partition % 100, 1),
        false => (partition / 10_000, partition / 100 % 100, partition % 100),
    };
    let first =
        jiff::civil::Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let span = if monthly { jiff::Span::new().months(1) } else { jiff::Span::new().days(1) };
    let end = first.checked_add(span).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    i64::try_from(end.timestamp().as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW_NS: i64 = 1_800_000_000_000_000_000; // 2027-01-15T08:00:00Z

    fn rules() -> Rules {
        let of = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, days)| (name.to_string(), *days)).collect();
        Rules { days: 365, tables: of(&[("ticks", 30)]), connections: of(&[("a", 10), ("b", 700), ("c", 365)]) }
    }

    #[test]
    fn the_smaller_of_table_and_connection_counts_and_a_connection_may_keep_more_than_usual() {
        let rules = rules();
        assert_eq!(
            [rules.days_for("bars", "a"), rules.days_for("bars", "b"), rules.days_for("bars", "x")],
            [10, 700, 365]
        );
        assert_eq!(
            [rules.days_for("ticks", "a"), rules.days_for("ticks", "b"), rules.days_for("ticks", "x")],
            [10, 30, 30]
        );
    }

    #[test]
    fn a_condition_names_those_connections_alone_that_differ() {
        let (rules, bars, stages) = (rules(), &TABLES[4], &TABLES[10]);
        // Midnights 365, 10 and 700 days before the 15th.
        assert_eq!(
            rules.due(bars, NOW_NS),
            "((source NOT IN ('a', 'b') AND open_ts < toDateTime64(1768435200, 9, 'UTC')) \
             OR (source = 'a' AND open_ts < toDateTime64(1799107200, 9, 'UTC')) \
             OR (source = 'b' AND open_ts < toDateTime64(1739491200, 9, 'UTC')))"
        );
        assert_eq!(rules.due(stages, NOW_NS), "second < toDateTime64(1768435200, 9, 'UTC')");
        assert_eq!(rules.all_due_ns(bars, NOW_NS), 1_739_491_200_000_000_000);
        assert_eq!(quoted("a'b\\"), "'a\\'b\\\\'");
    }

    #[test]
    fn partitions_end_where_the_next_begins() {
        assert_eq!(ends_ns(19700101, false), Some(DAY_NS));
        assert_eq!(ends_ns(197012, true), Some(365 * DAY_NS));
        assert_eq!(ends_ns(19701301, false), None);
    }
}
