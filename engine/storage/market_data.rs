//! What people ask of stored market data: bars, ticks, indicators, whether there is anything, and how much.
//!
//! Every value of a question goes to the database as a query parameter (`{name:Type}`), never as text of the statement.
//! Rows of global sources stand in the database of the name that is configured, those of private ones beside it; who may
//! read which is for the caller to decide.
//!
//! # How a question is found
//! `bars` is ordered by (symbol, source, timeframe, origin, basis, open_ts) and cut by month. A page of the newest bars
//! does not know how far back it reaches, and origin and basis stand before the time, so that reading "from the end" would
//! read the whole series. So it asks within a window of the newest time first, half as long again as such a page is
//! without holes; when that was too little (a weekend, a source that has stopped) within one at the end of the series; and
//! at last without one. In the wide ones the earliest opening of the page is found over one column, and only then the rows
//! behind it are read. `ticks`, `rejects` and `quotes` are ordered by (symbol, source, ts_recv) and cut by day: a page is
//! read backwards, in windows of an hour, of four days, and at last of all days, since every day that is open costs a read.

mod bars;
mod gaps;
mod indicators;
mod latest;
mod statistics;
mod ticks;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clickhouse::query::Query;
use clickhouse::{Client, Row};
use serde::de::DeserializeOwned;
use tickwire_schemas::words::Timeframe;
use tokio::sync::watch;

use super::client::{DatabaseError, Endpoint, database_of};
use super::rows::Audience;
use crate::clock;

pub use bars::{Bar, Ohlc};
pub use gaps::{GapQuestion, StoredGap};
pub use indicators::{IndicatorSeries, Point};
pub use latest::LATEST_MAX;
pub use statistics::{Extent, SeriesStatistics, Statistics, TableStatistics};
pub use ticks::{Cursor, Tick};

/// Longest wait for an answer that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bars of one source (or `best`), symbol and length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Series {
    /// Which database: that of global or of private rows.
    pub audience: Audience,
    /// Name of the source, or `best`.
    pub source: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Length of a bar.
    pub timeframe: Timeframe,
}

/// A span of time, nanoseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Inclusive.
    pub from_ns: i64,
    /// Exclusive.
    pub to_ns: i64,
}

impl Range {
    /// All there is.
    pub const ALL: Range = Range { from_ns: 0, to_ns: i64::MAX };

    /// Without what is still to come; clocks of sources may be ahead.
    fn until_now(self) -> Range {
        Range { to_ns: self.to_ns.min(clock::now_ns().saturating_add(HOUR_NS)), ..self }
    }

    /// The last of it.
    fn last(self, length_ns: i64) -> Range {
        Range { from_ns: self.from_ns.max(self.to_ns.saturating_sub(length_ns)), ..self }
    }

    /// In windows that grow backwards from its end: the last is the whole.
    fn windows(self, lengths_ns: &[i64]) -> Vec<Range> {
        let near = self.until_now();
        let windows = lengths_ns.iter().map(|length| near.last(*length)).filter(|window| window.from_ns > self.from_ns);
        windows.chain([self]).collect()
    }
}

const HOUR_NS: i64 = 3_600_000_000_000;
const DAY_NS: i64 = 24 * HOUR_NS;

/// Asks the database. Must be used inside one tokio runtime, to which its connections belong.
pub struct MarketData {
    endpoint: watch::Receiver<Option<Endpoint>>,
    database: String,
    connected: Mutex<Option<(Endpoint, Client)>>,
    latest: latest::Latest,
    statistics: statistics::Kept,
}

impl MarketData {
    /// Of a database whose address is known now or later.
    #[must_use]
    pub fn new(endpoint: watch::Receiver<Option<Endpoint>>, database: &str) -> MarketData {
        MarketData {
            endpoint,
            database: database.into(),
            connected: Mutex::default(),
            latest: latest::Latest::default(),
            statistics: statistics::Kept::default(),
        }
    }

    fn client(&self, audience: Audience) -> Result<Client, DatabaseError> {
        let endpoint = self.endpoint.borrow().clone();
        let endpoint = endpoint.ok_or_else(|| DatabaseError::Again("the database is not up yet".into()))?;
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match &*connected {
            Some((known, client)) if *known == endpoint => client.clone(),
            _ => connected.insert((endpoint.clone(), endpoint.client())).1.clone(),
        };
        Ok(client.with_database(database_of(&self.database, audience)))
    }

    fn query(&self, audience: Audience, sql: &str) -> Result<Query, DatabaseError> {
        Ok(self.client(audience)?.query(sql).with_setting("max_execution_time", PATIENCE.as_secs().to_string()))
    }
}

/// All rows of an answer.
async fn rows<T>(query: Query) -> Result<Vec<T>, DatabaseError>
where
    T: DeserializeOwned + for<'a> Row<Value<'a> = T> + 'static,
{
    match tokio::time::timeout(PATIENCE, query.fetch_all::<T>()).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Again(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

impl Series {
    /// The query with what names the series as parameters.
    fn ask(&self, query: Query, range: Range) -> Query {
        query
            .param("symbol", &self.symbol)
            .param("source", &self.source)
            .param("timeframe", self.timeframe.word())
            .param("from", range.from_ns)
            .param("to", range.to_ns)
    }
}

/// What finds a series within a span, by the time `$at`.
macro_rules! of_series {
    ($at:literal) => {
        concat!(
            "symbol = {symbol:String} AND source = {source:String} AND timeframe = {timeframe:String} AND ",
            $at,
            " >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND ",
            $at,
            " < fromUnixTimestamp64Nano({to:Int64}, 'UTC')"
        )
    };
}
use of_series;

/// Nanoseconds of a bar, of the longest there is where they differ.
#[must_use]
pub const fn length_ns(timeframe: Timeframe) -> i64 {
    const MINUTE_NS: i64 = 60_000_000_000;
    match timeframe {
        Timeframe::M1 => MINUTE_NS,
        Timeframe::M5 => 5 * MINUTE_NS,
        Timeframe::M15 => 15 * MINUTE_NS,
        Timeframe::M30 => 30 * MINUTE_NS,
        Timeframe::H1 => HOUR_NS,
        Timeframe::H4 => 4 * HOUR_NS,
        Timeframe::D1 => DAY_NS,
        Timeframe::W1 => 7 * DAY_NS,
        Timeframe::MN => 31 * DAY_NS,
    }
}

/// How far back `limit` bars reach, with half as much again for weekends, and the time until the newest is stored.
fn width_ns(timeframe: Timeframe, limit: u32) -> i64 {
    length_ns(timeframe).saturating_mul(3 * i64::from(limit)).saturating_div(2).saturating_add(HOUR_NS)
}

/// A long weekend.
const PAUSE_NS: i64 = 4 * DAY_NS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_grow_and_end_with_what_was_asked() {
        let range = Range { from_ns: 10, to_ns: 100 };
        let from = |range: Range, lengths: &[i64]| -> Vec<i64> {
            range.windows(lengths).into_iter().map(|window| window.from_ns).collect()
        };
        assert_eq!(from(range, &[20, 50, 1_000]), [80, 50, 10]);
        assert_eq!(from(range, &[]), [10]);
        assert_eq!(from(Range { from_ns: 90, to_ns: 100 }, &[20, 50]), [90], "no window that is wider");
        assert!(range.windows(&[20]).iter().all(|window| window.to_ns == 100));
        assert_eq!(range.last(30), Range { from_ns: 70, to_ns: 100 });
        assert_eq!(range.last(i64::MAX), range);
        // Without an end the windows are those before now.
        let now_ns = clock::now_ns();
        assert!(Range::ALL.windows(&[DAY_NS])[0].from_ns.abs_diff(now_ns) <= 2 * DAY_NS as u64);
    }
}
