//! Questions about stored market data, asked of the embedded store: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use tickwire::clock;
use tickwire::storage::Endpoint;
use tickwire::storage::client::{DatabaseError, query};
use tickwire::storage::market_data::{Bar, MarketData, Ohlc, Range, Series};
use tickwire::storage::migrate::migrate;
use tickwire::storage::rows::Audience;
use tickwire::storage::store::{StoreConfig, StoreHandle, Supervisor, WRITER, find_library};
use tickwire_schemas::words::Timeframe;
use tokio::sync::watch;

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 86_400;

struct Stored {
    _store: StoreHandle,
    _folder: tempfile::TempDir,
    endpoint: Endpoint,
    data: Arc<MarketData>,
    /// The beginning of a minute not long ago, seconds.
    now_s: i64,
}

impl Stored {
    async fn start() -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            program: Some(env!("CARGO_BIN_EXE_tickwire").into()),
            library: Some(find_library(None).unwrap_or_else(|error| panic!("{error}"))),
            ..StoreConfig::new(folder.path(), "127.0.0.1:0".parse().unwrap())
        };
        let store = tokio::task::spawn_blocking(|| Supervisor::start(config).unwrap()).await.unwrap();
        let endpoint = Endpoint { url: store.url(), user: WRITER.into(), password: store.writer_password().into() };
        migrate(&endpoint, "md").await.unwrap();
        let data = Arc::new(MarketData::new(watch::channel(Some(endpoint.clone())).1, "md"));
        let now_s = clock::now_ns() / 1_000_000_000 / MINUTE_S * MINUTE_S;
        Stored { _store: store, _folder: folder, endpoint, data, now_s }
    }

    async fn sql(&self, database: &str, sql: &str) -> String {
        let client = self.endpoint.client().with_database(database);
        query(&client, sql, "TabSeparated").await.unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// A bar whose bid, or whatever its basis is, opens at `price`; the other prices follow.
    async fn bar(&self, row: Row<'_>) {
        let Row { database, seq, source, open_s, origin, basis, revision, price } = row;
        let prices = |of: &[&str]| match of.contains(&basis) {
            true => {
                let d = |text: &str| format!("toDecimal64('{text}', 9)");
                format!("{price}, {price} + {}, {price} - {}, {price} + {}", d("0.5"), d("0.5"), d("0.000000001"))
            }
            false => "NULL, NULL, NULL, NULL".into(),
        };
        let [bid, ask, mid] = [&["quote", "bid"][..], &["quote", "ask"], &["quote", "mid", "last"]].map(prices);
        let sql = format!(
            "INSERT INTO bars SELECT 1, {seq}, 1, '{source}', 1, 'BTCUSDT', 1, 'M1', '{origin}', '{basis}', {open_s}, \
             {open_s} + 60, {bid}, {ask}, {mid}, 7, {}, {revision}, '{}'",
            if basis == "last" { "1.5" } else { "NULL" },
            if revision > 0 { "revised" } else { "final" },
        );
        self.sql(database, &sql).await;
    }
}

#[derive(Clone, Copy)]
struct Row<'a> {
    database: &'a str,
    seq: u64,
    source: &'a str,
    open_s: i64,
    origin: &'a str,
    basis: &'a str,
    revision: u32,
    /// An expression of type Decimal.
    price: &'a str,
}

const OWN: Row<'static> = Row {
    database: "md",
    seq: 1,
    source: "best",
    open_s: 0,
    origin: "own",
    basis: "quote",
    revision: 0,
    price: "toDecimal64('64000.12', 9)",
};

fn series(audience: Audience, source: &str) -> Series {
    Series { audience, source: source.into(), symbol: "BTCUSDT".into(), timeframe: Timeframe::M1 }
}

fn best() -> Series {
    series(Audience::Global, "best")
}

fn texts(ohlc: Option<Ohlc>) -> String {
    ohlc.map_or("none".into(), |prices| prices.map(|price| price.to_string()).join(" "))
}

fn opens(bars: &[Bar]) -> Vec<i64> {
    bars.iter().map(|bar| bar.open_ts_s).collect()
}

#[tokio::test]
async fn bars_are_exact_and_the_last_word_of_who_knows_best_counts() {
    let stored = Stored::start().await;
    let at = stored.now_s - 10 * MINUTE_S;
    for (seq, minute, origin, revision, price) in [
        (1, 0, "own", 0, "toDecimal64('64000.123456789', 9)"),
        (2, 1, "polled", 0, "toDecimal64('1', 9)"),
        (3, 1, "own", 0, "toDecimal64('2', 9)"),
        (4, 1, "own", 1, "toDecimal64('3', 9)"),
        (5, 2, "own", 5, "toDecimal64('4', 9)"),
        (6, 2, "repair", 1, "toDecimal64('5', 9)"),
    ] {
        stored.bar(Row { seq, open_s: at + minute * MINUTE_S, origin, revision, price, ..OWN }).await;
    }
    // What a venue gives: each price in a row of its own.
    for (seq, basis, price) in [(7, "last", "toDecimal64('9', 9)"), (8, "bid", "toDecimal64('8', 9)")] {
        stored.bar(Row { seq, open_s: at + 3 * MINUTE_S, origin: "backfill", basis, price, ..OWN }).await;
    }
    let bars = stored.data.bars(&best(), Range::ALL, 100).await.unwrap();
    assert_eq!(opens(&bars), [3, 2, 1, 0].map(|minute| at + minute * MINUTE_S));
    let of = |bar: &Bar| (bar.origin.clone(), bar.revision, bar.state.clone());
    assert_eq!(of(&bars[1]), ("repair".into(), 1, "revised".into()));
    assert_eq!(of(&bars[2]), ("own".into(), 1, "revised".into()));
    assert_eq!(of(&bars[3]), ("own".into(), 0, "final".into()));
    assert_eq!(texts(bars[0].bid), "8 8.5 7.5 8.000000001");
    assert_eq!((texts(bars[0].ask), texts(bars[0].mid)), ("none".into(), "none".into()));
    assert_eq!(texts(bars[0].last), "9 9.5 8.5 9.000000001");
    assert_eq!((bars[0].ticks, bars[0].volume.unwrap().to_string()), (7, "1.5".into()));
    // The very text that the database itself would show.
    let shown = "SELECT bid_o, bid_h, bid_l, bid_c FROM bars WHERE seq = 1";
    assert_eq!(texts(bars[3].bid), stored.sql("md", shown).await.trim().replace('\t', " "));
    assert_eq!(texts(bars[3].bid), "64000.123456789 64000.623456789 63999.623456789 64000.12345679");
    // The view says the same, where the row has both sides.
    let view = "SELECT toUnixTimestamp(open_ts), bid_o FROM bars_final WHERE basis = 'quote' ORDER BY open_ts DESC";
    let ours: String = bars[1..].iter().map(|bar| format!("{}\t{}\n", bar.open_ts_s, bar.bid.unwrap()[0])).collect();
    assert_eq!(ours, stored.sql("md", view).await);
    // Oldest first, the same bars.
    let mut between = stored.data.bars_between(&best(), Range::ALL).await.unwrap();
    between.reverse();
    assert_eq!(between, bars);
}

#[tokio::test]
async fn pages_follow_each_other_without_a_hole_however_far_back_they_lie() {
    let stored = Stored::start().await;
    let old = stored.now_s - 400 * DAY_S;
    // Three of now, four hundred of long ago, one of longer ago.
    let insert = |from: String, count: u32| {
        format!(
            "INSERT INTO bars SELECT 1, number, 1, 'best', 0, 'BTCUSDT', 1, 'M1', 'own', 'quote', {from} - 60 * number, {from}, \
             1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, NULL, 0, 'final' FROM numbers({count})"
        )
    };
    for (from, count) in [(stored.now_s - MINUTE_S, 3), (old, 400), (old - 900 * DAY_S, 1)] {
        stored.sql("md", &insert(from.to_string(), count)).await;
    }
    let mut wanted: Vec<i64> = (0..3).map(|at| stored.now_s - MINUTE_S - 60 * at).collect();
    wanted.extend((0..400).map(|at| old - 60 * at));
    wanted.push(old - 900 * DAY_S);
    for limit in [2, 100, 403, 1_000] {
        let (mut found, mut to_ns) = (Vec::new(), i64::MAX);
        loop {
            let page = stored.data.bars(&best(), Range { from_ns: 0, to_ns }, limit).await.unwrap();
            found.extend(opens(&page));
            let Some(last) = page.last().filter(|_| page.len() == limit as usize) else { break };
            to_ns = last.open_ts_s * 1_000_000_000;
        }
        assert_eq!(found, wanted, "in pages of {limit}");
    }
    let range = Range { from_ns: (old - 120) * 1_000_000_000, to_ns: old * 1_000_000_000 };
    assert_eq!(
        opens(&stored.data.bars(&best(), range, 10).await.unwrap()),
        [old - 60, old - 120],
        "the end is not in it"
    );
    let extent = stored.data.extent(&best(), range).await.unwrap();
    assert_eq!((extent.rows, extent.first_ns, extent.last_ns), (2, range.from_ns, (old - 60) * 1_000_000_000));
    assert_eq!(stored.data.extent(&series(Audience::Global, "nobody"), Range::ALL).await.unwrap().rows, 0);
}

#[tokio::test]
async fn what_is_kept_is_never_older_than_what_was_shown() {
    let stored = Stored::start().await;
    let at = stored.now_s - 10 * MINUTE_S;
    stored.bar(Row { seq: 1, open_s: at, ..OWN }).await;
    assert_eq!(opens(&stored.data.latest_bars(&best(), 100).await.unwrap()), [at]);
    stored.bar(Row { seq: 2, open_s: at + MINUTE_S, ..OWN }).await;
    // Journaled, as the engine tells when it is: asked for anew.
    stored.data.heard(&best(), (1, 2));
    assert_eq!(opens(&stored.data.latest_bars(&best(), 100).await.unwrap()), [at + MINUTE_S, at]);
    // Fetched past the journal, and seen on another page first.
    stored.bar(Row { seq: 3, open_s: at - MINUTE_S, origin: "backfill", ..OWN }).await;
    assert_eq!(stored.data.bars(&best(), Range::ALL, 100).await.unwrap().len(), 3);
    assert_eq!(stored.data.latest_bars(&best(), 100).await.unwrap().len(), 3);
    assert_eq!(opens(&stored.data.latest_bars(&best(), 1).await.unwrap()), [at + MINUTE_S]);
}

#[tokio::test]
async fn rows_of_private_sources_are_those_of_their_own_database() {
    let stored = Stored::start().await;
    let at = stored.now_s - 10 * MINUTE_S;
    let price = "toDecimal64('7', 9)";
    stored.bar(Row { database: "md_private", source: "mine", open_s: at, price, ..OWN }).await;
    stored.bar(Row { source: "common", open_s: at, ..OWN }).await;
    let count =
        async |audience, source: &str| stored.data.bars(&series(audience, source), Range::ALL, 10).await.unwrap().len();
    assert_eq!(count(Audience::Private, "mine").await, 1);
    assert_eq!(count(Audience::Global, "mine").await, 0);
    assert_eq!(count(Audience::Private, "common").await, 0);
    let statistics = stored.data.statistics().await.unwrap();
    let found: Vec<_> = statistics.series.iter().map(|of| (of.audience, of.source.as_str(), of.extent.rows)).collect();
    assert_eq!(found, [(Audience::Global, "common", 1), (Audience::Private, "mine", 1)]);
    let bars = statistics.tables.iter().find(|of| of.table == "bars" && of.audience == Audience::Global).unwrap();
    assert_eq!((bars.extent.rows, bars.extent.first_ns), (1, at * 1_000_000_000));
    assert!(bars.bytes > 0);
    assert!(statistics.tables.iter().all(|of| of.table != "ticks" || (of.extent.rows, of.bytes) == (0, 0)));
}

#[tokio::test]
async fn ticks_come_in_order_with_their_verdicts_even_when_many_share_a_time() {
    let stored = Stored::start().await;
    let at = stored.now_s - MINUTE_S;
    // Ten ticks, three at each moment.
    let columns = |table: &str, remainder: u32, more: &str| {
        format!(
            "INSERT INTO {table} SELECT 1, number + 1, 1, 'binance', 1, 'BTCUSDT', 1, NULL, \
             toDateTime64({at} + intDiv(number, 3), 9, 'UTC'), {at}, toDecimal64('64000.1', 9) + number, NULL, 1.5, NULL, NULL, [], 100 {more} \
             FROM numbers(10) WHERE number % 2 = {remainder}"
        )
    };
    stored.sql("md", &columns("ticks", 0, "")).await;
    stored.sql("md", &columns("rejects", 1, ", 'refused', ['spread', 'jump']")).await;
    let of = (Audience::Global, "binance", "BTCUSDT");
    let all = stored.data.ticks(of, Range::ALL, None, 100).await.unwrap();
    let prices: Vec<String> = all.iter().map(|tick| tick.bid.unwrap().to_string()).collect();
    assert_eq!(prices, (0..10).rev().map(|n| format!("{}.1", 64_000 + n)).collect::<Vec<_>>());
    assert_eq!((all[0].verdict.as_str(), all[0].reasons.join(" ")), ("refused", "spread jump".into()));
    assert_eq!((all[1].verdict.as_str(), all[1].reasons.len(), all[1].ask), ("accepted", 0, None));
    assert_eq!((all[1].bid_size.unwrap().to_string(), all[1].ask_size, all[1].event_ns), ("1.5".into(), None, None));
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = stored.data.ticks(of, Range::ALL, before, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.place.to_string().parse().unwrap());
        found.extend(page);
    }
    assert_eq!(found, all, "page by page");
    let range = Range { from_ns: (at + 1) * 1_000_000_000, to_ns: (at + 2) * 1_000_000_000 };
    assert_eq!(stored.data.ticks(of, range, None, 100).await.unwrap(), all[4..7]);
    // The common price has no ticks: its quotes.
    let quote = format!(
        "INSERT INTO quotes (epoch, seq, source, symbol, ts_recv, bid, ask, state) VALUES (1, 1, 'best', 'BTCUSDT', {at}, 1.5, NULL, 'single')"
    );
    stored.sql("md", &quote).await;
    let quotes = stored.data.ticks((Audience::Global, "best", "BTCUSDT"), Range::ALL, None, 100).await.unwrap();
    assert_eq!((quotes.len(), quotes[0].bid.unwrap().to_string()), (1, "1.5".into()));
}

#[tokio::test]
async fn indicators_say_what_the_last_run_said_oldest_first() {
    let stored = Stored::start().await;
    let at = stored.now_s - 10 * MINUTE_S;
    let row = |epoch: u32, minute: i64, indicator: &str, values: &str, state: &str| {
        format!(
            "INSERT INTO indicators SELECT {epoch}, 1, 1, 'best', 0, 'BTCUSDT', 1, 'M1', '{indicator}', {at} + 60 * {minute}, {values}, '{state}'"
        )
    };
    for (epoch, minute, indicator, values, state) in [
        (1, 0, "EMA(20)", "[NULL]", "warming"),
        (1, 1, "EMA(20)", "[1.5]", "ready"),
        (1, 2, "EMA(20)", "[2.5]", "ready"),
        (2, 2, "EMA(20)", "[2.25]", "ready"),
        (1, 2, "MACD(12,26,9)", "[1, NULL, -1e-9]", "ready"),
        (1, 3, "EMA(20)", "[3.5]", "ready"),
    ] {
        stored.sql("md", &row(epoch, minute, indicator, values, state)).await;
    }
    let found = stored.data.indicators(&best(), Range::ALL, 2).await.unwrap();
    let names: Vec<_> = found.iter().map(|of| of.indicator.as_str()).collect();
    assert_eq!(names, ["EMA(20)", "MACD(12,26,9)"]);
    assert_eq!(found[0].points, [(at + 120, vec![Some(2.25)]), (at + 180, vec![Some(3.5)])]);
    assert_eq!(found[1].points, [(at + 120, vec![Some(1.0), None, Some(-1e-9)])]);
}

#[tokio::test]
async fn what_is_asked_for_is_never_part_of_the_statement() {
    let stored = Stored::start().await;
    let at = stored.now_s - 10 * MINUTE_S;
    stored.bar(Row { open_s: at, ..OWN }).await;
    for text in
        ["' OR 1 = 1 --", "best' OR '1'='1", "{from:Int64}", "\\' OR 1=1", "a\tb\nc", "?", "??", "\\N", "ümläut"]
    {
        let asked = Series { source: text.into(), ..best() };
        assert_eq!(stored.data.bars(&asked, Range::ALL, 10).await.unwrap(), [], "{text}");
        let asked = Series { symbol: text.into(), ..best() };
        assert_eq!(stored.data.latest_bars(&asked, 10).await.unwrap(), [], "{text}");
        assert_eq!(stored.data.ticks((Audience::Global, text, text), Range::ALL, None, 10).await.unwrap(), []);
        // And such a name is found where there is one.
        let named = format!(
            "INSERT INTO bars (source, symbol, timeframe, origin, basis, open_ts) SELECT unhex('{}'), 'BTCUSDT', 'M1', 'own', 'quote', {at}",
            text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>()
        );
        stored.sql("md", &named).await;
        let asked = Series { source: text.into(), ..best() };
        assert_eq!(stored.data.bars(&asked, Range::ALL, 10).await.unwrap().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_answer() {
    let data = MarketData::new(watch::channel(None).1, "md");
    let error = data.bars(&best(), Range::ALL, 1).await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Again(text) if text.contains("not up yet")), "{error}");
    let nobody = Endpoint { url: "http://127.0.0.1:1".into(), user: "x".into(), password: "y".into() };
    let data = Arc::new(MarketData::new(watch::channel(Some(nobody)).1, "md"));
    assert!(matches!(data.statistics().await, Err(DatabaseError::Again(_))));
}
