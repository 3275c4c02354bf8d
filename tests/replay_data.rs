//! Replays of recorded market data against what their vendors, and independent programs, made of the same ticks. See
//! `tests/README.md` for the figures.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod replay_support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use replay_support::{Bench, line_of, source, tables};
use tickwire::market::{Price, Size};

fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings");
    std::fs::canonicalize(Path::new(&root).join(path)).unwrap()
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    zstd::Decoder::new(std::fs::File::open(path).unwrap()).unwrap().read_to_string(&mut text).unwrap();
    text
}

const HOUR_NS: i64 = 3_600_000_000_000;

/// Twelve families of indicators.
const INDICATORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/indicators.toml");

const BROKERS: [&str; 2] = ["oanda", "fxcm"];
const PAIRS: [&str; 2] = ["eurusd", "nzdusd"];
const DAYS: [&str; 3] = ["20140501", "20140502", "20140504"];

fn lean_file(broker: &str, pair: &str, day: &str) -> PathBuf {
    data(&format!("lean/tick/{broker}/{pair}/{day}_{pair}_tick_quote.csv.zst"))
}

fn lean(broker: &str, pair: &str, day: &str, more: &str) -> String {
    let offset = if broker == "fxcm" { "-05:00" } else { "+00:00" };
    let more = format!("utc_offset = \"{offset}\"\n{more}");
    source(broker, "lean-quote", &lean_file(broker, pair, day), &pair.to_uppercase(), &more)
}

/// Both brokers, both pairs, on some days.
fn brokers(days: &[&str]) -> String {
    let mut manifest = String::new();
    for broker in BROKERS {
        for pair in PAIRS {
            days.iter().for_each(|day| manifest += &lean(broker, pair, day, ""));
        }
    }
    manifest
}

fn e9(text: &str) -> i64 {
    text.parse::<Price>().unwrap_or_else(|e| panic!("{text}: {e}")).e9()
}

fn date_ns(day: &str) -> i64 {
    let text = format!("{}-{}-{}T00:00:00Z", &day[..4], &day[4..6], &day[6..]);
    tickwire::market::time_text::date_time(text.as_bytes()).unwrap().local_ns
}

/// Opening and the eight prices of the M1 bars of `source` in a table, each of which must be final.
fn minutes(bench: &Bench, table: &str, source: &str) -> BTreeMap<i64, Vec<i64>> {
    let rows = bench.rows(table).into_iter().filter(|row| row[0] == source && row[2] == "M1");
    let bar = |row: Vec<String>| {
        assert_eq!((row[14].as_str(), row[15].as_str()), ("0", "final"), "{row:?}");
        (row[3].parse().unwrap(), row[4..12].iter().map(|price| e9(price)).collect())
    };
    rows.map(bar).collect()
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn bars_of_every_tick_file_equal_the_shipped_minutes() {
    let bench = Bench::new();
    let mut bars = 0;
    for broker in BROKERS {
        for pair in PAIRS {
            for day in DAYS {
                bench.replay(&lean(broker, pair, day, ""), &["--stages", "bars", "--bars", "bars.csv"]);
                let offset_ns = if broker == "fxcm" { 5 * HOUR_NS } else { 0 };
                let file = data(&format!("lean/minute/{broker}/{pair}/{day}_{pair}_minute_quote.csv.zst"));
                let mut expected = BTreeMap::new();
                for line in unpacked(&file).lines() {
                    let fields: Vec<&str> = line.split(',').collect();
                    let open_ns = date_ns(day) + fields[0].parse::<i64>().unwrap() * 1_000_000 + offset_ns;
                    let prices = fields[1..5].iter().chain(&fields[6..10]).map(|price| e9(price)).collect();
                    assert!(expected.insert(open_ns, prices).is_none());
                }
                let made = minutes(&bench, "bars.csv", broker);
                assert!(expected.len() > 50);
                assert_eq!(made, expected, "{broker} {pair} {day}");
                bars += made.len();
            }
        }
    }
    println!("{bars} minutes of 12 files, all equal in eight prices");
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn bars_of_a_bi5_day_equal_the_vendors_in_prices_and_volume() {
    let bench = Bench::new();
    let folder = data("dukascopy/bi5/EURUSD-2019-02-04");
    let manifest = source("dukascopy", "bi5", &folder.join("*h_ticks.bi5"), "EURUSD", "date = \"2019-02-04\"");
    let summary = bench.replay(&manifest, &["--stages", "bars", "--bars", "bars.csv"]);
    assert_eq!(line_of(&summary, "ticks"), "136741");
    let mut candles = Vec::new();
    let packed = std::fs::read(folder.join("BID_candles_min_1.bi5")).unwrap();
    lzma_rs::lzma_decompress(&mut packed.as_slice(), &mut candles).unwrap();
    let mut expected = BTreeMap::new();
    for candle in candles.chunks(24) {
        let word = |at: usize| <[u8; 4]>::try_from(&candle[at..at + 4]).unwrap();
        let [second, open, close, low, high] = [0, 4, 8, 12, 16].map(|at| i64::from(u32::from_be_bytes(word(at))));
        // The shortest text that reads back as the same float: exactly the sum of such texts.
        let volume: Size = f32::from_be_bytes(word(20)).to_string().parse().unwrap();
        let prices = [open, high, low, close].map(|price| price * 10_000);
        expected.insert(date_ns("20190204") + second * 1_000_000_000, (prices, volume));
    }
    let rows = bench.rows("bars.csv").into_iter().filter(|row| row[2] == "M1");
    let made: BTreeMap<i64, _> = rows
        .map(|row| {
            let prices = [4, 5, 6, 7].map(|at| e9(&row[at]));
            (row[3].parse().unwrap(), (prices, row[13].parse::<Size>().unwrap()))
        })
        .collect();
    assert_eq!(expected.len(), 1440);
    assert_eq!(made, expected);
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_best_of_two_brokers_counts_as_the_independent_merge_did() {
    let bench = Bench::new();
    for (pair, day, events, crossed, crosses) in [
        ("eurusd", "20140501", 67_740, 5_542, 27),
        ("eurusd", "20140502", 143_045, 17_889, 193),
        ("nzdusd", "20140501", 75_580, 1_721, 5),
        ("nzdusd", "20140502", 108_382, 3_470, 66),
    ] {
        // The day is UTC's; the reference begins where the files of both brokers overlap.
        let date = format!("{}-{}-", &day[..4], &day[4..6]);
        let of_day: u32 = day[6..].parse().unwrap();
        let cut = format!("from = \"{date}{of_day:02}T05:00:00Z\"\nto = \"{date}{:02}T00:00:00Z\"", of_day + 1);
        let manifest: String = BROKERS.iter().map(|broker| lean(broker, pair, day, &cut)).collect();
        let mut command =
            bench.command(&manifest, &["--stages", "aggregate", "--quotes-every-tick", "--quotes", "q.csv"]);
        let out = command.env("TICKWIRE__AGGREGATE__MAX_AGE_MS", "0").output().unwrap();
        assert!(out.status.success(), "{}", replay_support::stderr(&out));
        // Events before the other broker's first are none of the merge.
        let rows: Vec<_> = bench.rows("q.csv").into_iter().filter(|row| row[9] == "2").collect();
        let count = |at: usize, word: &str| rows.iter().filter(|row| row[at] == word).count();
        let found = (rows.len(), count(10, "crossed"), count(11, "1"));
        assert_eq!(found, (events, crossed, crosses), "{pair} {day}");
        let summary = replay_support::stdout(&out);
        assert!(
            line_of(&summary, "quotes").ends_with(&format!("crossed {crossed}, cross-source {crosses}")),
            "{summary}"
        );
    }
}

/// The rows of a tick file that were not accepted: their numbers with the verdict or reasons.
fn refused(bench: &Bench, table: &str, broker: &str, pair: &str, day: &str) -> BTreeMap<usize, String> {
    let offset_ns = if broker == "fxcm" { 5 * HOUR_NS } else { 0 };
    let symbol = pair.to_uppercase();
    let mut rejects = bench.rows(table).into_iter().filter(|row| row[1] == broker && row[2] == symbol).peekable();
    let mut found = BTreeMap::new();
    for (number, line) in unpacked(&lean_file(broker, pair, day)).lines().enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let at_ns = date_ns(day) + fields[0].parse::<i64>().unwrap() * 1_000_000 + offset_ns;
        let is_same = |row: &Vec<String>| {
            row[0].parse() == Ok(at_ns) && e9(&row[3]) == e9(fields[1]) && e9(&row[4]) == e9(fields[2])
        };
        if let Some(row) = rejects.next_if(is_same) {
            found.insert(number, if row[8].is_empty() { row[7].clone() } else { row[8].clone() });
        }
    }
    assert_eq!(rejects.next(), None, "every reject is a row of the file");
    found
}

/// The longest run of consecutive rows whose reasons satisfy `counts`.
fn longest_run(refused: &BTreeMap<usize, String>, counts: impl Fn(&str) -> bool) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for (number, _) in refused.iter().filter(|(_, reasons)| counts(reasons)) {
        run = if last.is_some_and(|last| last + 1 == *number) { run + 1 } else { 1 };
        (last, longest) = (Some(*number), longest.max(run));
    }
    longest
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_payrolls_day_is_not_blocked_by_validation() {
    let bench = Bench::new();
    let summary = bench.replay(&brokers(&["20140502"]), &["--rejects", "rejects.csv"]);
    println!("{summary}");
    let mut longest = BTreeMap::new();
    for (broker, pair) in BROKERS.iter().flat_map(|broker| PAIRS.map(|pair| (*broker, pair))) {
        let refused = refused(&bench, "rejects.csv", broker, pair, "20140502");
        let run = |check: &str| longest_run(&refused, |reasons| reasons.split('|').any(|reason| reason == check));
        let runs = ["jump", "spread", "crossed"].map(run);
        println!("{broker} {pair}: {} refused; longest run by jump, spread, crossed: {runs:?}", refused.len());
        assert_eq!(runs[0], 0, "a move of a release is no jump");
        longest.insert((broker, pair), runs);
    }
    let most = |at: usize| longest.values().map(|runs| runs[at]).max().unwrap();
    // OANDA quoted NZDUSD 20 to 40 pips wide for 46 seconds around the release: believed with the fifth tick.
    assert_eq!((most(1), longest[&("oanda", "nzdusd")][1]), (4, 4));
    assert_eq!(most(2), 33, "FXCM's bid was above its ask");
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_sunday_open_begins_one_day_at_17_00_new_york() {
    let bench = Bench::new();
    bench.replay(&brokers(&["20140502", "20140504"]), &["--bars", "bars.csv"]);
    for source in ["oanda", "fxcm", "best"] {
        let rows =
            bench.rows("bars.csv").into_iter().filter(|row| row[0] == source && row[1] == "EURUSD" && row[2] == "D1");
        let days: Vec<_> = rows.map(|row| (row[3].parse::<i64>().unwrap(), row[15].clone())).collect();
        let sunday: Vec<_> = days.iter().filter(|(open_ns, _)| *open_ns > date_ns("20140503")).collect();
        // FXCM prints from 19:00 UTC, two hours before the market opens: that belongs to the day before.
        let early = (date_ns("20140503") + 21 * HOUR_NS, "final".to_string());
        let open = (date_ns("20140504") + 21 * HOUR_NS, "provisional".to_string());
        assert_eq!(sunday, if source == "oanda" { vec![&open] } else { vec![&early, &open] }, "{source}");
    }
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_same_recording_gives_the_same_bytes_in_every_layout() {
    let bench = Bench::new();
    let manifest = brokers(&["20140502"]);
    let once = tables(&bench, &manifest, "once", &["--config", INDICATORS]);
    for (table, rows) in once.iter().zip([100_000, 5_000, 1_000, 10_000]) {
        assert!(table.lines().count() > rows, "{}", table.lines().count());
    }
    for (at, groups) in [
        r#"[["dedupe", "validate", "aggregate", "bars", "indicators", "gaps"]]"#,
        r#"[["dedupe"], ["validate", "aggregate", "bars", "indicators", "gaps"]]"#,
        r#"[["dedupe", "validate"], ["aggregate", "bars", "indicators", "gaps"]]"#,
        r#"[["dedupe"], ["validate"], ["aggregate", "bars", "indicators", "gaps"]]"#,
    ]
    .iter()
    .enumerate()
    {
        bench.write("layout.toml", format!("[pipeline]\ngroups = {groups}\n"));
        let again =
            tables(&bench, &manifest, &format!("layout-{at}"), &["--config", INDICATORS, "--config", "layout.toml"]);
        assert!(again == once, "{groups}");
    }
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn every_format_is_read_to_its_last_row() {
    let bench = Bench::new();
    bench.write("c.toml", "[aggregate]\nmax_age_ms = 0\n");
    let quotes = ["--config", "c.toml", "--stages", "aggregate", "--quotes-every-tick", "--quotes", "q.csv"];

    // The server's clock is New York's and seven hours.
    let clock = "utc_offset = \"new-york-close\"";
    let dump = source("mt5", "mqltick", &data("mt5/XAUUSD_ticks_20250623_mqltick.tsv"), "XAUUSD", clock);
    let summary = bench.replay(&dump, &quotes);
    assert_eq!((line_of(&summary, "ticks"), line_of(&summary, "malformed")), ("1250".into(), "0".into()));
    let of_dump = bench.rows("q.csv");
    assert_eq!(of_dump.first().unwrap()[..5].join(","), "1750676133390000000,best,XAUUSD,3366.54,3366.85");
    let export = source("mt5", "mqltick", &data("mt5/XAUUSD_20250623_mt5export_derived.csv"), "XAUUSD", clock);
    bench.replay(&export, &quotes);
    assert_eq!(bench.rows("q.csv"), of_dump, "what has not changed is carried on");

    let bi5 = data("dukascopy/bi5/EURUSD-2019-02-04").join("*h_ticks.bi5");
    bench.replay(&source("d", "bi5", &bi5, "EURUSD", "date = \"2019-02-04\""), &quotes);
    let decoded = unpacked(&data("dukascopy/decoded_EURUSD_2019-02-04_ticks.csv.zst"));
    let expected: Vec<Vec<&str>> = decoded.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(bench.rows("q.csv").len(), expected.len());
    for (row, tick) in bench.rows("q.csv").iter().zip(&expected) {
        assert_eq!(row[0], format!("{}000000", tick[0]));
        assert_eq!((e9(&row[3]), e9(&row[4])), (e9(tick[1]), e9(tick[2])));
        let size = |text: &str| text.parse::<Size>().unwrap();
        assert_eq!((size(&row[5]), size(&row[6])), (size(tick[3]), size(tick[4])));
    }
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn captures_of_binance_give_the_same_ticks_and_trades_as_the_live_decoder() {
    let bench = Bench::new();
    for (file, symbol, ticks, trades) in [
        ("spot/btcusdt_20240808", "BTCUSDT", "28040", "9757"),
        ("spot/ethusdt_20240808", "ETHUSDT", "24077", "6106"),
        ("usdm/btcusdt_20240808", "BTCUSDT", "66089", "21313"),
    ] {
        let capture = source("binance", "binance-capture", &data(&format!("hftbacktest/{file}.jsonl.zst")), symbol, "");
        let summary = bench.replay(&capture, &["--bars", "bars.csv", "--rejects", "rejects.csv"]);
        assert_eq!((line_of(&summary, "ticks"), line_of(&summary, "trades")), (ticks.into(), trades.into()), "{file}");
        assert_eq!(line_of(&summary, "malformed"), "0");
        println!("{file}\n{summary}");
        // Trades have sizes: their bars have a volume.
        let minutes: Vec<_> =
            bench.rows("bars.csv").into_iter().filter(|row| row[0] == "binance" && row[15] == "final").collect();
        assert!(minutes.iter().all(|row| !row[13].is_empty()), "{minutes:?}");
    }
}
