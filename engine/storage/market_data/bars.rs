//! Bars: pages, newest first, and spans, oldest first.

use clickhouse::Row;
use serde::Deserialize;
use tickwire_schemas::words::{BarState, Basis, Origin};
use tickwire_schemas::{NO_PRICE, NO_SIZE, record};

use super::statistics::Extent;
use super::{MarketData, PAUSE_NS, Range, Series, of_series, rows, width_ns};
use crate::market::{Price, Size};
use crate::storage::client::DatabaseError;
use crate::storage::rows::Audience;

/// Open, high, low and close.
pub type Ohlc = [Price; 4];

/// The best that is known of one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Start of the interval, seconds UTC.
    pub open_ts_s: i64,
    /// Bid.
    pub bid: Option<Ohlc>,
    /// Ask.
    pub ask: Option<Ohlc>,
    /// Mid.
    pub mid: Option<Ohlc>,
    /// Trades.
    pub last: Option<Ohlc>,
    /// Ticks counted.
    pub ticks: u64,
    /// Volume, where there is one.
    pub volume: Option<Size>,
    /// 0 for the first final bar, greater for each revision.
    pub revision: u32,
    /// Where it comes from: a word of [`Origin`].
    pub origin: String,
    /// A word of [`BarState`].
    pub state: String,
    /// Epoch and `seq` of its newest row.
    pub row: (u32, u64),
}

impl From<&record::Bar> for Bar {
    fn from(bar: &record::Bar) -> Bar {
        let prices = |ohlc: record::Ohlc| {
            let [open, high, low, close] = [ohlc.open_e9, ohlc.high_e9, ohlc.low_e9, ohlc.close_e9];
            Some([Price::from_e9(open)?, Price::from_e9(high)?, Price::from_e9(low)?, Price::from_e9(close)?])
        };
        let (mid, last) = sides(Basis::from_code(bar.basis).map_or("", Basis::word), prices(bar.mid));
        Bar {
            open_ts_s: bar.open_ts_ns.div_euclid(1_000_000_000),
            bid: prices(bar.bid),
            ask: prices(bar.ask),
            mid,
            last,
            ticks: bar.ticks,
            volume: Size::from_e8(bar.volume_e8),
            revision: u32::from(bar.revision),
            origin: Origin::from_code(bar.origin).map_or("", Origin::word).into(),
            state: BarState::from_code(bar.state).map_or("", BarState::word).into(),
            row: (bar.head.epoch, bar.head.seq),
        }
    }
}

/// Bars of trades stand where the mid stands: the mid, and the last price.
fn sides(basis: &str, prices: Option<Ohlc>) -> (Option<Ohlc>, Option<Ohlc>) {
    if basis == Basis::Last.word() { (None, prices) } else { (prices, None) }
}

type Four = (Option<i64>, Option<i64>, Option<i64>, Option<i64>);

#[derive(Debug, Row, Deserialize)]
struct Found {
    open_ns: i64,
    basis: String,
    origin: String,
    state: String,
    bid: Four,
    ask: Four,
    mid: Four,
    ticks: u64,
    volume: Option<i128>,
    revision: u32,
    epoch: u32,
    seq: u64,
}

fn prices((open, high, low, close): Four) -> Option<Ohlc> {
    // The wire's mark of an absent price is not stored.
    debug_assert!(open != Some(NO_PRICE));
    Some([Price::from_e9(open?)?, Price::from_e9(high?)?, Price::from_e9(low?)?, Price::from_e9(close?)?])
}

impl From<Found> for Bar {
    fn from(found: Found) -> Bar {
        let (mid, last) = sides(&found.basis, prices(found.mid));
        Bar {
            open_ts_s: found.open_ns.div_euclid(1_000_000_000),
            bid: prices(found.bid),
            ask: prices(found.ask),
            mid,
            last,
            ticks: found.ticks,
            volume: found.volume.and_then(|e8| Size::from_e8(u64::try_from(e8).unwrap_or(NO_SIZE))),
            revision: found.revision,
            origin: found.origin,
            state: found.state,
            row: (found.epoch, found.seq),
        }
    }
}

/// Puts the rows of one interval, which may have one for each price, together: the first is the one that counts.
fn joined(found: Vec<Found>) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::with_capacity(found.len());
    for bar in found.into_iter().map(Bar::from) {
        match bars.last_mut() {
            Some(first) if first.open_ts_s == bar.open_ts_s => {
                first.bid = first.bid.or(bar.bid);
                first.ask = first.ask.or(bar.ask);
                first.mid = first.mid.or(bar.mid);
                first.last = first.last.or(bar.last);
                first.volume = first.volume.or(bar.volume);
                first.row = first.row.max(bar.row);
            }
            _ => bars.push(bar),
        }
    }
    bars
}

/// The columns, and what comes first within an interval: both prices together, and the last word of the origin that knows
/// best, as in the view `bars_final`. Nothing needs `FINAL` then.
macro_rules! bars_of {
    ($with:literal, $where:expr, $direction:literal) => {
        concat!(
            $with,
            "SELECT toUnixTimestamp64Nano(open_ts) AS open_ns, toString(basis) AS basis, toString(origin) AS origin, ",
            "toString(state) AS state, (bid_o, bid_h, bid_l, bid_c) AS bid, (ask_o, ask_h, ask_l, ask_c) AS ask, ",
            "(mid_o, mid_h, mid_l, mid_c) AS mid, ticks, volume, revision, epoch, seq FROM bars WHERE ",
            $where,
            " ORDER BY open_ts ",
            $direction,
            ", indexOf(['quote', 'bid', 'ask', 'mid', 'last'], basis), ",
            "indexOf(['polled', 'backfill', 'own', 'repair'], origin) DESC, revision DESC, epoch DESC, seq DESC ",
            "LIMIT 1 BY open_ts, basis"
        )
    };
}

const PAGE: &str = bars_of!(
    "WITH (SELECT min(at) FROM (SELECT DISTINCT open_ts AS at FROM bars WHERE symbol = {symbol:String} AND \
     source = {source:String} AND timeframe = {timeframe:String} AND \
     open_ts >= fromUnixTimestamp64Nano({from:Int64}, 'UTC') AND open_ts < fromUnixTimestamp64Nano({to:Int64}, 'UTC') \
     ORDER BY at DESC LIMIT {limit:UInt32})) AS oldest ",
    concat!(of_series!("open_ts"), " AND open_ts >= oldest"),
    "DESC"
);

/// The newest of a span that holds not many more than are wanted.
const NEWEST: &str = concat!(bars_of!("", of_series!("open_ts"), "DESC"), " LIMIT {rows:UInt32}");

const SPAN: &str = bars_of!("", of_series!("open_ts"), "ASC");

/// The newest opening of a span, looked for in the last month that has the series: to find that reads no column of times.
const NEWEST_OPENING: &str = concat!(
    "SELECT count() AS rows, toInt64(0) AS first_ns, toUnixTimestamp64Nano(max(open_ts)) AS last_ns FROM bars WHERE ",
    of_series!("open_ts"),
    " AND _partition_id = (SELECT max(_partition_id) FROM bars WHERE symbol = {symbol:String} AND source = {source:String} \
     AND timeframe = {timeframe:String} AND \
     _partition_id <= toString(toYYYYMM(fromUnixTimestamp64Nano({to:Int64} - 1, 'UTC'))))"
);

const EXTENT: &str = concat!(
    "SELECT count() AS rows, toUnixTimestamp64Nano(min(open_ts)) AS first_ns, \
     toUnixTimestamp64Nano(max(open_ts)) AS last_ns FROM bars WHERE ",
    of_series!("open_ts")
);

impl MarketData {
    /// The newest `limit` bars of a span, newest first: of each interval the last word of the origin that knows best.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn bars(&self, series: &Series, range: Range, limit: u32) -> Result<Vec<Bar>, DatabaseError> {
        let found = self.bars_anew(series, range, limit).await;
        // Whoever sees these must not be shown less afterwards.
        self.latest.forget(series);
        found
    }

    /// The newest `limit` bars there are, newest first, at most [`super::LATEST_MAX`]; perhaps those of a moment ago when
    /// nothing is known to have come since. Never older ones than any answer before.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn latest_bars(&self, series: &Series, limit: u32) -> Result<Vec<Bar>, DatabaseError> {
        let most = super::LATEST_MAX;
        let bars = self.latest.get(series, || self.bars_anew(series, Range::ALL, most)).await?;
        Ok(bars.iter().take(limit.min(most) as usize).cloned().collect())
    }

    async fn bars_anew(&self, series: &Series, range: Range, limit: u32) -> Result<Vec<Bar>, DatabaseError> {
        let is_enough = |bars: &[Bar], window: Range| bars.len() >= limit as usize || window.from_ns == range.from_ns;
        let (width_ns, range_to_now) = (width_ns(series.timeframe, limit), range.until_now());
        let near = range_to_now.last(width_ns);
        let bars = self.newest(series, near, limit).await?;
        if is_enough(&bars, near) {
            return Ok(bars);
        }
        // It has a pause now, or ended before: where does it end?
        let mut end = self.extent_of(NEWEST_OPENING, series, range_to_now).await?;
        if end.rows == 0 {
            // That month may have only what is newer.
            end = self.extent_of(EXTENT, series, range).await?;
        }
        if end.rows == 0 {
            return Ok(Vec::new());
        }
        let before_end = Range { to_ns: end.last_ns.saturating_add(1), ..range };
        let near = before_end.last(width_ns);
        let bars = self.newest(series, near, limit).await?;
        if is_enough(&bars, near) {
            return Ok(bars);
        }
        let wide = before_end.last((width_ns + PAUSE_NS).saturating_mul(4));
        let bars = self.page(series, wide, limit).await?;
        if is_enough(&bars, wide) {
            return Ok(bars);
        }
        self.page(series, range, limit).await
    }

    /// All columns of a short span.
    async fn newest(&self, series: &Series, range: Range, limit: u32) -> Result<Vec<Bar>, DatabaseError> {
        // An interval may have a row of each basis; one more shows that none is cut in two.
        let most = limit.saturating_mul(Basis::ALL.len() as u32).saturating_add(1);
        let query = series.ask(self.query(series.audience, NEWEST)?, range).param("rows", most);
        let mut bars = joined(rows(query).await?);
        bars.truncate(limit as usize);
        Ok(bars)
    }

    async fn page(&self, series: &Series, range: Range, limit: u32) -> Result<Vec<Bar>, DatabaseError> {
        Ok(joined(rows(series.ask(self.query(series.audience, PAGE)?, range).param("limit", limit)).await?))
    }

    /// All bars of a span, oldest first. The caller keeps spans short: the whole answer is in memory.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn bars_between(&self, series: &Series, range: Range) -> Result<Vec<Bar>, DatabaseError> {
        Ok(joined(rows(series.ask(self.query(series.audience, SPAN)?, range)).await?))
    }

    /// How many rows of bars a span has, earlier revisions and other origins of the same interval among them, and where the
    /// first and the last of them open.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn extent(&self, series: &Series, range: Range) -> Result<Extent, DatabaseError> {
        self.extent_of(EXTENT, series, range).await
    }

    async fn extent_of(&self, sql: &str, series: &Series, range: Range) -> Result<Extent, DatabaseError> {
        let found: Vec<Extent> = rows(series.ask(self.query(series.audience, sql)?, range)).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// To be told of every final and revised bar as it is journaled: what was kept of its series from before the database
    /// had it is asked anew.
    pub fn heard(&self, series: &Series, row: (u32, u64)) {
        self.latest.heard(series, row);
    }
}

/// The audience of a source's rows.
impl From<crate::market::Scope> for Audience {
    fn from(scope: crate::market::Scope) -> Audience {
        match scope {
            crate::market::Scope::Global => Audience::Global,
            crate::market::Scope::Private => Audience::Private,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(open_s: i64, basis: &str, e9: i64) -> Found {
        let four = |of: &[&str]| {
            let e9 = of.contains(&basis).then_some(e9);
            (e9, e9, e9, e9)
        };
        Found {
            open_ns: open_s * 1_000_000_000,
            basis: basis.into(),
            origin: "polled".into(),
            state: "final".into(),
            bid: four(&["quote", "bid"]),
            ask: four(&["quote", "ask"]),
            mid: four(&["quote", "mid", "last"]),
            ticks: 3,
            volume: (basis == "last").then_some(150_000_000),
            revision: 0,
            epoch: 2,
            seq: open_s as u64,
        }
    }

    #[test]
    fn the_prices_of_one_interval_are_one_bar() {
        let bars =
            joined(vec![found(120, "bid", 1_500_000_000), found(120, "last", 2_000_000_000), found(60, "last", 7)]);
        assert_eq!(bars.len(), 2);
        let texts = |ohlc: Option<Ohlc>| ohlc.map(|prices| prices.map(|price| price.to_string()).join(" "));
        assert_eq!(texts(bars[0].bid).unwrap(), "1.5 1.5 1.5 1.5");
        assert_eq!((texts(bars[0].ask), texts(bars[0].mid)), (None, None), "a trade is no mid");
        assert_eq!(texts(bars[0].last).unwrap(), "2 2 2 2");
        assert_eq!(bars[0].volume.unwrap().to_string(), "1.5");
        assert_eq!((bars[1].open_ts_s, bars[1].bid), (60, None));
    }
}
