//! How much is stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clickhouse::Row;
use serde::Deserialize;

use super::{MarketData, rows};
use crate::clock;
use crate::storage::client::{DatabaseError, database_of};
use crate::storage::rows::Audience;

/// How many rows there are, and the first and last of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Row, Deserialize)]
pub struct Extent {
    /// Rows, or intervals.
    pub rows: u64,
    /// The oldest, nanoseconds UTC; means nothing without rows.
    pub first_ns: i64,
    /// The newest, likewise.
    pub last_ns: i64,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatistics {
    /// Which database.
    pub audience: Audience,
    /// Name of the table.
    pub table: &'static str,
    /// Rows as they are stored; earlier revisions of bars count until they are merged away.
    pub extent: Extent,
    /// On the disk, compressed, indices included.
    pub bytes: u64,
}

/// The bars of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesStatistics {
    /// Which database.
    pub audience: Audience,
    /// Name of the source, or `best`.
    pub source: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Length of a bar, as a word.
    pub timeframe: String,
    /// Rows as they are stored.
    pub extent: Extent,
}

/// How much is stored of everything, at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// By database, then as they are listed.
    pub tables: Vec<TableStatistics>,
    /// By database, source, symbol and timeframe.
    pub series: Vec<SeriesStatistics>,
    /// When it was asked, nanoseconds UTC.
    pub at_ns: i64,
}

/// Each table and its time.
const TABLES: [(&str, &str); 10] = [
    ("ticks", "ts_recv"),
    ("rejects", "ts_recv"),
    ("trades", "ts_recv"),
    ("quotes", "ts_recv"),
    ("bars", "open_ts"),
    ("indicators", "bar_ts"),
    ("gaps", "ts_recv"),
    ("source_state", "ts_recv"),
    ("source_quality", "toDateTime64(minute, 9, 'UTC')"),
    ("pipeline_executions", "finished_ts"),
];

/// At least so long an answer is good, and for so many times of what it cost: asking takes a twentieth of the time.
const HOLDS: Duration = Duration::from_secs(5);
const HOLDS_TIMES: u32 = 20;

/// So long an answer is shown while another is under way.
const SHOWN: Duration = Duration::from_secs(60);

/// The newest answer, and whose turn it is to ask for the next.
#[derive(Default)]
pub(super) struct Kept {
    held: Mutex<Option<Held>>,
    counting: tokio::sync::Mutex<Counted>,
}

/// The series of each partition of bars, and the parts it was of then: months that are over are counted once.
#[derive(Default)]
struct Counted(HashMap<(Audience, String), (u64, Vec<FoundSeries>)>);

/// An answer.
#[derive(Clone)]
struct Held {
    statistics: Arc<Statistics>,
    /// Good until then, and shown until then.
    good: Instant,
    shown: Instant,
}

impl Kept {
    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug, Row, Deserialize)]
struct FoundTable {
    name: String,
    rows: u64,
    first_ns: i64,
    last_ns: i64,
}

#[derive(Debug, Row, Deserialize)]
struct FoundBytes {
    name: String,
    bytes: u64,
}

#[derive(Debug, Row, Deserialize)]
struct FoundPartition {
    partition: String,
    parts: u64,
}

#[derive(Debug, Clone, Row, Deserialize)]
struct FoundSeries {
    source: String,
    symbol: String,
    timeframe: String,
    rows: u64,
    first_ns: i64,
    last_ns: i64,
}

const SERIES: &str = "SELECT toString(source) AS source, toString(symbol) AS symbol, toString(timeframe) AS timeframe, \
    count() AS rows, toUnixTimestamp64Nano(min(open_ts)) AS first_ns, toUnixTimestamp64Nano(max(open_ts)) AS last_ns \
    FROM bars WHERE _partition_id = {partition:String} GROUP BY symbol, source, timeframe \
    SETTINGS optimize_aggregation_in_order = 1";

/// The parts of a partition as one number: another one as soon as there are others. No part is ever changed.
const PARTITIONS: &str = "SELECT partition_id AS partition, groupBitXor(cityHash64(name)) AS parts FROM system.parts \
    WHERE active AND database = {database:String} AND table = 'bars' GROUP BY partition_id";

const BYTES: &str = "SELECT table AS name, sum(bytes_on_disk) AS bytes FROM system.parts \
    WHERE active AND database = {database:String} GROUP BY table";

impl MarketData {
    /// How much is stored: counted within the last minute, so that an answer of a moment ago is given while the next is
    /// under way. To count reads a column of every bar of the months that changed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn statistics(self: &Arc<Self>) -> Result<Arc<Statistics>, DatabaseError> {
        let held = self.statistics.held();
        match held.filter(|held| Instant::now() < held.shown) {
            Some(held) => {
                if Instant::now() >= held.good {
                    let this = Arc::clone(self);
                    tokio::spawn(async move { this.count_if_nobody_does().await });
                }
                Ok(held.statistics)
            }
            None => {
                let mut counted = self.statistics.counting.lock().await;
                match self.statistics.held().filter(|held| Instant::now() < held.good) {
                    Some(held) => Ok(held.statistics),
                    None => self.count(&mut counted).await,
                }
            }
        }
    }

    /// Counts as soon as there is a database: all of it the first time, half a second for ten million bars, which nobody
    /// should have to wait for.
    pub async fn count_once_up(&self) {
        let mut endpoint = self.endpoint.clone();
        // An error: whoever could tell an address is gone.
        if endpoint.wait_for(Option::is_some).await.is_ok() {
            self.count_if_nobody_does().await;
        }
    }

    /// Counts now, whatever is known of a moment ago.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn count_anew(&self) -> Result<Arc<Statistics>, DatabaseError> {
        self.count(&mut *self.statistics.counting.lock().await).await
    }

    async fn count_if_nobody_does(&self) {
        let Ok(mut counted) = self.statistics.counting.try_lock() else { return };
        if let Err(error) = self.count(&mut counted).await {
            tracing::debug!("statistics of market data: {error}");
        }
    }

    async fn count(&self, counted: &mut Counted) -> Result<Arc<Statistics>, DatabaseError> {
        let begun = Instant::now();
        let mut statistics = Statistics { tables: Vec::new(), series: Vec::new(), at_ns: clock::now_ns() };
        for audience in [Audience::Global, Audience::Private] {
            statistics.tables.extend(self.tables(audience).await?);
            statistics.series.extend(self.series(audience, counted).await?);
        }
        let statistics = Arc::new(statistics);
        let good = Instant::now() + HOLDS.max(begun.elapsed() * HOLDS_TIMES);
        let held = Held { statistics: Arc::clone(&statistics), good, shown: good.max(Instant::now() + SHOWN) };
        *self.statistics.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(statistics)
    }

    async fn tables(&self, audience: Audience) -> Result<Vec<TableStatistics>, DatabaseError> {
        let of = |(table, at): &(&str, &str)| {
            format!(
                "SELECT '{table}' AS name, count() AS rows, toUnixTimestamp64Nano(toDateTime64(min({at}), 9, 'UTC')) AS first_ns, \
                 toUnixTimestamp64Nano(toDateTime64(max({at}), 9, 'UTC')) AS last_ns FROM {table}"
            )
        };
        let sql = TABLES.iter().map(of).collect::<Vec<_>>().join(" UNION ALL ");
        let found: Vec<FoundTable> = rows(self.query(audience, &sql)?).await?;
        let query = self.query(audience, BYTES)?.param("database", database_of(&self.database, audience));
        let bytes: Vec<FoundBytes> = rows(query).await?;
        let of = |(table, _): &(&'static str, &str)| {
            let found = found.iter().find(|found| found.name == *table);
            TableStatistics {
                audience,
                table,
                extent: found.map_or(Extent::default(), |found| Extent {
                    rows: found.rows,
                    first_ns: found.first_ns,
                    last_ns: found.last_ns,
                }),
                bytes: bytes.iter().find(|found| found.name == *table).map_or(0, |found| found.bytes),
            }
        };
        Ok(TABLES.iter().map(of).collect())
    }

    async fn series(&self, audience: Audience, counted: &mut Counted) -> Result<Vec<SeriesStatistics>, DatabaseError> {
        let query = self.query(audience, PARTITIONS)?.param("database", database_of(&self.database, audience));
        let there: Vec<FoundPartition> = rows(query).await?;
        counted.0.retain(|(of, name), _| *of != audience || there.iter().any(|found| found.partition == *name));
        let mut all: BTreeMap<(String, String, String), Extent> = BTreeMap::new();
        for FoundPartition { partition, parts } in there {
            let key = (audience, partition);
            if counted.0.get(&key).is_none_or(|(known, _)| *known != parts) {
                let query = self.query(audience, SERIES)?.param("partition", &key.1);
                // Of parts that came in between the next count knows that it has not seen them.
                counted.0.insert(key.clone(), (parts, rows(query).await?));
            }
            for found in counted.0.get(&key).into_iter().flat_map(|(_, series)| series) {
                let name = (found.source.clone(), found.symbol.clone(), found.timeframe.clone());
                let extent = all.entry(name).or_insert(Extent { rows: 0, ..found.extent() });
                extent.rows += found.rows;
                extent.first_ns = extent.first_ns.min(found.first_ns);
                extent.last_ns = extent.last_ns.max(found.last_ns);
            }
        }
        let of =
            |((source, symbol, timeframe), extent)| SeriesStatistics { audience, source, symbol, timeframe, extent };
        Ok(all.into_iter().map(of).collect())
    }
}

impl FoundSeries {
    fn extent(&self) -> Extent {
        Extent { rows: self.rows, first_ns: self.first_ns, last_ns: self.last_ns }
    }
}
