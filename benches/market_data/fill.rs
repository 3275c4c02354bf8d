//! Fills the embedded store with rows made of numbers, in the database itself.

use tickwire::storage::client::query;
use tickwire::storage::{Endpoint, client};

/// Symbols of each source.
pub(crate) const SYMBOLS: u64 = 8;

/// Two that go on until now.
pub(crate) const SOURCES: [&str; 2] = ["best", "oanda"];

/// One that stopped two hundred days ago.
pub(crate) const GONE: &str = "gone";

/// Length of a bar in seconds, its word, and rows of each series at full size: a year each, and five of days.
const BARS: [(u64, &str, u64); 4] =
    [(60, "M1", 525_600), (300, "M5", 105_120), (3_600, "H1", 8_760), (86_400, "D1", 1_825)];

const TICKS_PER_SERIES: u64 = 125_000;

/// What was made.
pub(crate) struct Filled {
    pub(crate) bars: u64,
    pub(crate) ticks: u64,
}

async fn run(client: &clickhouse::Client, sql: &str) {
    query(client, sql, "TabSeparated").await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Prices in hundred-thousandths that move as a market does: slowly, with noise of some points.
const PRICE: &str = "toDecimal64(108000 + toInt64(900 * sin(number / 4000)) + cityHash64(number) % 25, 9) / 100000";

fn bars(source: &str, timeframe: (u64, &str, u64), end_s: i64) -> String {
    let (step, word, rows) = timeframe;
    let point = |hash: u32, of: u64| format!("toDecimal64(cityHash64(number, {hash}) % {of}, 9) / 100000");
    let (up, down, drift, spread) = (point(1, 30), point(2, 30), point(3, 12), point(4, 8));
    let side = |name: &str, more: &str| {
        format!(
            "{PRICE} + {more} AS {name}_open, {name}_open + {drift} + {up} AS {name}_high, {name}_open - {down} AS {name}_low, \
             {name}_open + {drift} AS {name}_close"
        )
    };
    let mid = |part: &str| format!("(bid_{part} + ask_{part}) / 2");
    format!(
        "INSERT INTO bars SELECT 1, number, number, '{source}', 1, concat('SYMBOL', toString(intDiv(number, {rows}))), 1, \
         '{word}', 'own', 'quote', open_at, open_at + {step}, bid_open, bid_high, bid_low, bid_close, ask_open, ask_high, ask_low, \
         ask_close, {}, {}, {}, {}, 40 + cityHash64(number, 9) % 60, NULL, 0, 'final' FROM (SELECT number, \
         toDateTime64({end_s} - {step} * ({rows} - number % {rows}), 9, 'UTC') AS open_at, {}, {} FROM numbers({}))",
        mid("open"),
        mid("high"),
        mid("low"),
        mid("close"),
        side("bid", "0"),
        side("ask", &format!("toDecimal64(0.00006, 9) + {spread}")),
        rows * SYMBOLS
    )
}

fn ticks(source: &str, end_ns: i64) -> String {
    let n = TICKS_PER_SERIES;
    format!(
        "INSERT INTO ticks SELECT 1, number, number % {n}, '{source}', 1, concat('SYMBOL', toString(intDiv(number, {n}))), 1, \
         recv - toIntervalMicrosecond(2000 + cityHash64(number, 5) % 3000), recv, recv + toIntervalNanosecond(9000 + cityHash64(number, 6) % 4000), \
         bid, bid + toDecimal64(6 + cityHash64(number, 7) % 8, 9) / 100000, NULL, NULL, NULL, [], 100 FROM (SELECT number, {PRICE} AS bid, \
         fromUnixTimestamp64Nano(toInt64({end_ns} - ({n} - number % {n}) * 2000000000 - cityHash64(number, 8) % 1900000000), 'UTC') AS recv \
         FROM numbers({}))",
        n * SYMBOLS
    )
}

fn indicators(end_s: i64) -> String {
    format!(
        "INSERT INTO indicators SELECT 1, number, number, 'best', 0, concat('SYMBOL', toString(number % {SYMBOLS})), 1, 'M1', \
         arrayElement(['EMA(20)', 'RSI(14)', 'BB(20,2)', 'MACD(12,26,9)'], 1 + intDiv(number, {SYMBOLS}) % 4), \
         toDateTime64({end_s} - 60 * (1 + intDiv(number, {})), 9, 'UTC'), [sin(number), cos(number), 1.5], 'ready' \
         FROM numbers({})",
        SYMBOLS * 4,
        SYMBOLS * 4 * 60_000
    )
}

/// Fills the tables; `size` 1 means some ten million bars.
pub(crate) async fn fill(endpoint: &Endpoint, now_ns: i64, size: f64) -> Filled {
    let database = client_of(endpoint);
    let end_s = now_ns / 60_000_000_000 * 60;
    let scaled = |(step, word, rows): (u64, &'static str, u64)| (step, word, ((rows as f64 * size) as u64).max(200));
    for timeframe in BARS.map(scaled) {
        for source in SOURCES {
            run(&database, &bars(source, timeframe, end_s)).await;
        }
    }
    run(&database, &bars(GONE, (60, "M1", 10_000), end_s - 200 * 86_400)).await;
    for source in ["oanda", "binance"] {
        run(&database, &ticks(source, end_s * 1_000_000_000)).await;
    }
    run(&database, &indicators(end_s)).await;
    let count = async |table: &str| -> u64 {
        query(&database, &format!("SELECT count() FROM {table}"), "TabSeparated").await.unwrap().trim().parse().unwrap()
    };
    Filled { bars: count("bars").await, ticks: count("ticks").await }
}

/// Merges what the background would merge with time.
pub(crate) async fn settle(endpoint: &Endpoint) {
    for table in ["bars", "ticks", "indicators"] {
        run(&client_of(endpoint), &format!("OPTIMIZE TABLE {table} FINAL")).await;
    }
}

fn client_of(endpoint: &Endpoint) -> clickhouse::Client {
    endpoint.client().with_database(client::database_of("md", tickwire::storage::rows::Audience::Global))
}
