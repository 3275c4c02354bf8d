//! Ticks, newest first: accepted ones and the others with their reasons; of `best` its quotes.

use std::fmt;
use std::str::FromStr;

use clickhouse::Row;
use serde::Deserialize;
use tickwire_schemas::NO_SIZE;

use super::{DAY_NS, HOUR_NS, MarketData, Range, rows};
use crate::market::{Price, Size};
use crate::storage::client::DatabaseError;
use crate::storage::rows::Audience;

/// A price of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// When it was read from the socket, nanoseconds UTC.
    pub recv_ns: i64,
    /// The source's stamp, where it gives one.
    pub event_ns: Option<i64>,
    /// Bid.
    pub bid: Option<Price>,
    /// Ask.
    pub ask: Option<Price>,
    /// Size at the bid.
    pub bid_size: Option<Size>,
    /// Size at the ask.
    pub ask_size: Option<Size>,
    /// A word of [`Verdict`](tickwire_schemas::words::Verdict).
    pub verdict: String,
    /// Every refusing check that failed.
    pub reasons: Vec<String>,
    /// Its place in the order.
    pub place: Cursor,
}

/// A place among the ticks of a source and symbol, which many may share their time with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    recv_ns: i64,
    epoch: u32,
    seq: u64,
}

impl Cursor {
    const END: Cursor = Cursor { recv_ns: i64::MAX, epoch: u32::MAX, seq: u64::MAX };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.recv_ns, self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
        let (recv_ns, epoch, seq) = (part().ok_or(())?, part().ok_or(())?, part().ok_or(())?);
        Ok(Cursor {
            recv_ns: recv_ns.parse().map_err(drop)?,
            epoch: epoch.parse().map_err(drop)?,
            seq: seq.parse().map_err(drop)?,
        })
    }
}

#[derive(Debug, Row, Deserialize)]
struct Found {
    recv_ns: i64,
    event_ns: Option<i64>,
    epoch: u32,
    seq: u64,
    bid: Option<i64>,
    ask: Option<i64>,
    bid_size: Option<i128>,
    ask_size: Option<i128>,
    verdict: String,
    reasons: Vec<String>,
}

impl From<Found> for Tick {
    fn from(found: Found) -> Tick {
        let size = |e8: Option<i128>| Size::from_e8(u64::try_from(e8?).unwrap_or(NO_SIZE));
        Tick {
            recv_ns: found.recv_ns,
            event_ns: found.event_ns,
            bid: found.bid.and_then(Price::from_e9),
            ask: found.ask.and_then(Price::from_e9),
            bid_size: size(found.bid_size),
            ask_size: size(found.ask_size),
            verdict: found.verdict,
            reasons: found.reasons,
            place: Cursor { recv_ns: found.recv_ns, epoch: found.epoch, seq: found.seq },
        }
    }
}

/// A page of one table, read backwards along its order.
macro_rules! page_of {
    ($table:literal, $verdict:literal, $reasons:literal) => {
        concat!(
            "SELECT toUnixTimestamp64Nano(ts_recv) AS recv_ns, toUnixTimestamp64Nano(ts_event) AS event_ns, epoch, seq, \
             bid, ask, bid_size, ask_size, ",
            $verdict,
            " AS verdict, CAST(",
            $reasons,
            ", 'Array(String)') AS reasons FROM ",
            $table,
            " WHERE symbol = {symbol:String} AND source = {source:String} \
             AND ts_recv >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') \
             AND ts_recv < fromUnixTimestamp64Nano({to:Int64}, 'UTC') AND (ts_recv, epoch, seq) < \
             (fromUnixTimestamp64Nano({recv:Int64}, 'UTC'), {epoch:UInt32}, {seq:UInt64}) \
             ORDER BY ts_recv DESC, epoch DESC, seq DESC LIMIT {limit:UInt32}"
        )
    };
}

const TICKS: &str = concat!(
    "SELECT * FROM (",
    page_of!("ticks", "'accepted'", "[]"),
    ") UNION ALL SELECT * FROM (",
    page_of!("rejects", "toString(verdict)", "reasons"),
    ")"
);

const QUOTES: &str = page_of!("quotes", "'accepted'", "[]");

impl MarketData {
    /// The newest `limit` ticks of a source and symbol within a span of receipt, newest first, that stand before a place.
    /// Of `best`, which has none, its quotes.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn ticks(
        &self,
        (audience, source, symbol): (Audience, &str, &str),
        range: Range,
        before: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Tick>, DatabaseError> {
        let sql = if source == "best" { QUOTES } else { TICKS };
        let before = before.unwrap_or(Cursor::END);
        let range = Range { to_ns: range.to_ns.min(before.recv_ns.saturating_add(1)), ..range };
        let mut ticks: Vec<Tick> = Vec::new();
        for window in range.windows(&[HOUR_NS, 4 * DAY_NS]) {
            let query = self.query(audience, sql)?.param("symbol", symbol).param("source", source);
            let query = query.param("from", window.from_ns).param("to", window.to_ns).param("limit", limit);
            let query = query.param("recv", before.recv_ns).param("epoch", before.epoch).param("seq", before.seq);
            ticks = rows::<Found>(query).await?.into_iter().map(Tick::from).collect();
            if ticks.len() >= limit as usize {
                break;
            }
        }
        ticks.sort_unstable_by_key(|tick| std::cmp::Reverse(tick.place));
        ticks.truncate(limit as usize);
        Ok(ticks)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_is_told_and_read_and_nothing_else_is_one() {
        let place = Cursor { recv_ns: 1_700_000_000_000_000_001, epoch: 3, seq: 9 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "1", "1-2", "-1-2-3", "1-2-3-4", "a-b-c", "1-99999999999-3", "1--3"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}
