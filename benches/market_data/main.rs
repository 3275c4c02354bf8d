//! How long questions about stored market data take at ten million bars, in the embedded store on this machine's disk, as
//! the console asks them: over HTTP, from the question to typed rows in hand.
//!
//! `cargo bench --bench market_data [SIZE]`: SIZE 1 (some ten million bars, the default) makes them anew in a folder of its
//! own, which takes a minute, asks each question of a series taken by turns, and prints a table. Needs `scripts/get-chdb`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod fill;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fill::{GONE, SOURCES, SYMBOLS};
use serde_json::json;
use support::results::{self, Results};
use tickwire::clock;
use tickwire::storage::Endpoint;
use tickwire::storage::client::query;
use tickwire::storage::market_data::{MarketData, Range, Series};
use tickwire::storage::migrate::migrate;
use tickwire::storage::rows::Audience;
use tickwire::storage::store::{StoreConfig, Supervisor, WRITER, find_library};
use tickwire_schemas::words::Timeframe;
use tokio::sync::watch;

/// Times each question is asked.
const TIMES: u64 = 200;

const QUESTION: &str = "How long do questions about stored market data take, from the question to typed rows in hand?";

const DAY_NS: i64 = 86_400_000_000_000;

/// Asks questions and keeps what they took.
struct Questions {
    results: Results,
    /// Whether the parts of the tables were merged.
    parts: &'static str,
}

impl Questions {
    /// Asks one again and again; the time of each, and rows of an answer.
    async fn measure(&mut self, name: &str, mut ask: impl AsyncFnMut(u64) -> usize) {
        let mut times = Vec::with_capacity(TIMES as usize);
        for turn in 0..TIMES {
            let begun = Instant::now();
            let rows = ask(turn).await;
            times.push((begun.elapsed(), rows));
        }
        self.keep(name, times);
    }

    fn keep(&mut self, name: &str, mut times: Vec<(Duration, usize)>) {
        let (first, rows) = times[0];
        times.sort_unstable();
        let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize].0);
        let [p50, p99, max, first] = [at(0.5), at(0.99), at(1.0), ms(first)];
        println!("| {name} | {rows} | {p50:.1} | {p99:.1} | {max:.1} | {first:.1} |");
        let case = [("question", json!(name)), ("parts", json!(self.parts))];
        let values = [("rows", rows as f64), ("p50_ms", p50), ("p99_ms", p99), ("max_ms", max), ("first_ms", first)];
        self.results.row(&case, &values);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn series(source: &str, turn: u64, timeframe: Timeframe) -> Series {
    Series { audience: Audience::Global, source: source.into(), symbol: format!("SYMBOL{}", turn % SYMBOLS), timeframe }
}

fn by_turns(turn: u64, timeframe: Timeframe) -> Series {
    series(SOURCES[(turn / SYMBOLS) as usize % SOURCES.len()], turn, timeframe)
}

async fn questions(asked: &mut Questions, endpoint: &Endpoint, now_ns: i64) {
    let fresh = || Arc::new(MarketData::new(watch::channel(Some(endpoint.clone())).1, "md"));
    let data = fresh();
    println!("| question | rows | median ms | p99 | max | first |\n|---|---|---|---|---|---|");
    for timeframe in [Timeframe::M1, Timeframe::H1, Timeframe::D1] {
        let name = format!("latest 100 {timeframe}, asked of the database");
        asked
            .measure(&name, async |turn| data.bars(&by_turns(turn, timeframe), Range::ALL, 100).await.unwrap().len())
            .await;
    }
    asked
        .measure("latest 100 M1, through the cache", async |turn| {
            data.latest_bars(&by_turns(turn, Timeframe::M1), 100).await.unwrap().len()
        })
        .await;
    asked
        .measure("latest 100 M1 of a source that stopped 200 days ago", async |turn| {
            data.bars(&series(GONE, turn, Timeframe::M1), Range::ALL, 100).await.unwrap().len()
        })
        .await;
    asked
        .measure("100 M1 before some day of the year", async |turn| {
            let to_ns = now_ns - (turn as i64 % 360 + 1) * DAY_NS;
            data.bars(&by_turns(turn, Timeframe::M1), Range { from_ns: 0, to_ns }, 100).await.unwrap().len()
        })
        .await;
    asked
        .measure("1,000 M1 of some day", async |turn| {
            let from_ns = now_ns - (turn as i64 % 360 + 2) * DAY_NS;
            data.bars(&by_turns(turn, Timeframe::M1), Range { from_ns, to_ns: from_ns + DAY_NS }, 1_000)
                .await
                .unwrap()
                .len()
        })
        .await;
    asked
        .measure("whether and how many of a year of M1", async |turn| {
            data.extent(&by_turns(turn, Timeframe::M1), Range::ALL).await.unwrap().rows as usize
        })
        .await;
    asked
        .measure("newest 100 ticks", async |turn| {
            let symbol = format!("SYMBOL{}", turn % SYMBOLS);
            data.ticks((Audience::Global, "oanda", &symbol), Range::ALL, None, 100).await.unwrap().len()
        })
        .await;
    asked
        .measure("newest 500 of four indicators", async |turn| {
            data.indicators(&series("best", turn, Timeframe::M1), Range::ALL, 500).await.unwrap().len() * 500
        })
        .await;
    let all = "statistics, all counted, as once after a start";
    asked.measure(all, async |_| fresh().statistics().await.unwrap().series.len()).await;
    let client = endpoint.client().with_database("md");
    // A bar of this month comes before each count, as it does while the engine runs.
    let another = "INSERT INTO bars SELECT * REPLACE (seq + 1 AS seq, revision + 1 AS revision) FROM bars \
                   WHERE open_ts > now() - INTERVAL 1 HOUR ORDER BY seq DESC LIMIT 1";
    let mut times = Vec::new();
    for _ in 0..TIMES {
        query(&client, another, "TabSeparated").await.unwrap();
        let begun = Instant::now();
        let series = data.count_anew().await.unwrap().series.len();
        times.push((begun.elapsed(), series));
    }
    asked.keep("statistics, counted anew", times);
    asked.measure("statistics, kept", async |_| data.statistics().await.unwrap().series.len()).await;
    asked.measure("view bars_final, latest 100 M1 of three hours", async |turn| {
        let sql = format!(
            "SELECT open_ts, bid_o, bid_h, bid_l, bid_c FROM bars_final WHERE symbol = 'SYMBOL{}' AND source = 'best' \
             AND timeframe = 'M1' AND basis = 'quote' AND open_ts > now() - INTERVAL 3 HOUR ORDER BY open_ts DESC LIMIT 100",
            turn % SYMBOLS
        );
        query(&client, &sql, "TabSeparated").await.unwrap().lines().count()
    })
    .await;
    let begun = Instant::now();
    let month = Range { from_ns: now_ns - 30 * DAY_NS, to_ns: now_ns };
    let rows = data.bars_between(&by_turns(0, Timeframe::M1), month).await.unwrap().len();
    println!("\nA month of minutes for an export: {rows} rows in {:.0} ms.", ms(begun.elapsed()));
}

async fn sizes(endpoint: &Endpoint) {
    let data = Arc::new(MarketData::new(watch::channel(Some(endpoint.clone())).1, "md"));
    for table in &data.statistics().await.unwrap().tables {
        if table.audience == Audience::Global && table.extent.rows > 0 {
            let per_row = table.bytes as f64 / table.extent.rows as f64;
            println!("{}: {} rows, {} bytes, {per_row:.1} a row", table.table, table.extent.rows, table.bytes);
        }
    }
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |of| of.1);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "without optimisation of ours" } else { "release" };
    format!("{cores} cores of {model}, {}, {profile}", std::env::consts::OS)
}

fn main() {
    let usual = if results::is_quick() { 0.02 } else { 1.0 };
    let size = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usual);
    let folder = tempfile::tempdir().unwrap();
    let store = StoreConfig {
        program: Some(env!("CARGO_BIN_EXE_tickwire").into()),
        library: Some(find_library(None).unwrap_or_else(|error| panic!("{error}"))),
        ..StoreConfig::new(folder.path(), "127.0.0.1:0".parse().unwrap())
    };
    let store = Supervisor::start(store).unwrap();
    let endpoint = Endpoint { url: store.url(), user: WRITER.into(), password: store.writer_password().into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let now_ns = clock::now_ns();
        migrate(&endpoint, "md").await.unwrap();
        let begun = Instant::now();
        let filled = fill::fill(&endpoint, now_ns, size).await;
        println!(
            "{}: {} bars and {} ticks, made in {:.0} s",
            machine(),
            filled.bars,
            filled.ticks,
            begun.elapsed().as_secs_f64()
        );
        println!("\nAs they were inserted:\n");
        let mut asked = Questions { results: Results::new("market_data", QUESTION), parts: "as inserted" };
        questions(&mut asked, &endpoint, now_ns).await;
        fill::settle(&endpoint).await;
        println!("\nMerged:\n");
        asked.parts = "merged";
        questions(&mut asked, &endpoint, now_ns).await;
        asked.results.write();
        println!();
        sizes(&endpoint).await;
    });
    store.stop();
}
