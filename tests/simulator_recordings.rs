//! Recordings go out completely, once, in order and re-stamped; and what the brokers invent looks like what was recorded.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "simulator_support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{OandaStream, get, next_json, next_text, socket, start};
use tickwire::simulator::{SimulatorsHandle, Stats};

/// Three small recordings of one market, and the configuration that plays them.
fn three(folder: &Path, more: &str) -> String {
    let oanda: String =
        (0..500).map(|n| format!("{},1.{:05},1.{:05}\n", n * 40, 38_600 + n % 7, 38_610 + n % 7)).collect();
    // The same day at UTC-5.
    let fxcm: String = (0..700).map(|n| format!("{},1.386,1.3861{}\n", n * 30, n % 10)).collect();
    let binance: String = (0..300i64)
        .map(|n| {
            let (at, millis) = (1_723_161_254_000_000_000 + n * 50_000_000, 1_723_161_254_000 + n * 50);
            let (stream, data) = match n % 3 {
                0 => ("trade", format!(r#"{{"e":"trade","E":{millis},"s":"BTCUSDT","t":{n},"p":"1.0","q":"1.0","T":{millis},"m":true,"M":true}}"#)),
                1 => ("bookTicker", format!(r#"{{"u":{n},"s":"BTCUSDT","b":"1.0","B":"1.0","a":"1.1","A":"1.0"}}"#)),
                _ => ("depth@100ms", r#"{"e":"depthUpdate"}"#.to_string()),
            };
            format!("{at} {{\"stream\":\"btcusdt@{stream}\",\"data\":{data}}}\n")
        })
        .collect();
    std::fs::write(folder.join("oanda.csv"), oanda).unwrap();
    std::fs::write(folder.join("fxcm.csv.zst"), zstd::encode_all(fxcm.as_bytes(), 1).unwrap()).unwrap();
    std::fs::write(folder.join("binance.jsonl"), binance).unwrap();
    let at = folder.display();
    format!(
        "[simulators.oanda]\nbroker = \"oanda\"\npace = 20\nheartbeat_ms = 50\nplayback = [{{ file = \"{at}/oanda.csv\", \
         format = \"lean\", symbol = \"EURUSD\", date = \"2014-05-02\" }}]\n{more}\n\
         [simulators.fxcm]\nbroker = \"mtapi\"\npace = 20\nplayback = [{{ file = \"{at}/fxcm.csv.zst\", format = \"lean\", \
         symbol = \"EURUSD\", date = \"2014-05-02\", utc_offset = \"-05:00\" }}]\n{more}\n\
         [simulators.binance]\nbroker = \"binance\"\npace = 20\nplayback = [{{ file = \"{at}/binance.jsonl\", \
         format = \"binance\" }}]\n{more}\n"
    )
}

/// The ledger at the end of the playback. A row is entered after it was written, so a reader may be ahead of it.
async fn finished(simulators: &SimulatorsHandle, name: &str) -> Stats {
    loop {
        let stats = simulators.stats(name).unwrap();
        if stats.playback_finished {
            return stats;
        }
        tokio::task::yield_now().await;
    }
}

async fn oanda(simulators: &SimulatorsHandle) -> OandaStream {
    let path = "/v3/accounts/any/pricing/stream?instruments=EUR_USD";
    OandaStream::open(simulators.address("oanda").unwrap(), path, "demo").await
}

async fn price(stream: &mut OandaStream) -> Value {
    loop {
        let line = stream.line().await;
        if line["type"] == "PRICE" {
            return line;
        }
    }
}

#[tokio::test]
async fn every_row_goes_out_once_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let simulators = start(&three(folder.path(), ""));
    let mut oanda_stream = oanda(&simulators).await;
    let mtapi_at = simulators.address("fxcm").unwrap();
    let id = get(mtapi_at, "/ConnectEx?user=demo&password=demo&server=Demo-Server", &[]).await.body;
    let mut quotes = socket(mtapi_at, &format!("/OnQuote?id={id}")).await;
    // The socket first and the subscription afterwards is as good as the other way round.
    assert_eq!(get(mtapi_at, &format!("/SubscribeMany?id={id}&symbols=EURUSD"), &[]).await.body, "OK");
    let streams = "/stream?streams=btcusdt@bookTicker/btcusdt@trade";
    assert_eq!(simulators.stats("oanda").unwrap().playback_played, 0, "nothing is played before all have come");
    let mut messages = socket(simulators.address("binance").unwrap(), streams).await;
    let from_oanda = async {
        let mut times = Vec::new();
        for n in 0..500 {
            let line = price(&mut oanda_stream).await;
            assert_eq!(line["bids"][0]["price"], format!("1.{:05}", 38_600 + n % 7));
            times.push(line["time"].as_str().unwrap().to_string());
        }
        assert!(times.is_sorted());
        // Keep-alives go on when everything has been played.
        assert_eq!(oanda_stream.line().await["type"], "HEARTBEAT");
    };
    let from_fxcm = async {
        for n in 0..700 {
            let quote = next_text(&mut quotes).await;
            let ask = format!("1.3861{}", n % 10);
            assert!(quote.contains(&format!("\"ask\":{},", ask.trim_end_matches('0'))), "row {n}: {quote}");
        }
    };
    let from_binance = async {
        for n in (0..300).filter(|n| n % 3 != 2) {
            let message = next_json(&mut messages).await;
            let number = if n % 3 == 0 { &message["data"]["t"] } else { &message["data"]["u"] };
            assert_eq!(number, n, "{message}");
        }
    };
    tokio::join!(from_oanda, from_fxcm, from_binance);
    for (name, ticks, trades) in [("oanda", 500, 0), ("fxcm", 700, 0), ("binance", 100, 100)] {
        finished(&simulators, name).await;
        let stats = get(simulators.address(name).unwrap(), "/__sim/stats", &[]).await.json();
        let of = &stats["symbols"][0];
        assert_eq!((of["ticks"].as_u64(), of["trades"].as_u64()), (Some(ticks), Some(trades)), "{name}: {stats}");
        assert_eq!(stats["playback_rows"], ticks + trades, "{stats}");
        assert_eq!(stats["playback_finished"], true, "{name}: {stats}");
    }
}

#[tokio::test]
async fn a_subscriber_that_comes_back_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    // Only one simulator is subscribed to: the recordings start without the others after a while.
    let simulators = start(&three(folder.path(), "start_delay_ms = 1"));
    let mut stream = oanda(&simulators).await;
    for _ in 0..100 {
        price(&mut stream).await;
    }
    drop(stream);
    let mut stream = oanda(&simulators).await;
    while !simulators.stats("oanda").unwrap().playback_finished {
        stream.raw_line().await.unwrap();
    }
    let stats = simulators.stats("oanda").unwrap();
    // On coming back the newest price is repeated, which is what a snapshot is; rows that were under way may be lost
    // with the connection, but none is sent twice.
    assert_eq!((stats.sessions, stats.symbols[0].ticks), (2, 501), "{stats:?}");
}

#[test]
fn a_missing_recording_is_one_clear_sentence() {
    let text = "[simulators.a]\nbroker = \"oanda\"\nplayback = [{ file = \"/nowhere/x.csv\", format = \"lean\", \
                symbol = \"EURUSD\", date = \"2014-05-02\" }]";
    let error = support::try_start(text).unwrap_err();
    assert!(error.starts_with("simulators.a.playback: /nowhere/x.csv: No such file"), "{error}");
}

fn recordings() -> PathBuf {
    std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings").into()
}

/// Bids and asks of a `lean` file between two moments of its milliseconds, as text.
fn lean_rows(file: &Path, from_ms: u32, to_ms: u32) -> Vec<(String, String)> {
    let text = String::from_utf8(zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap()).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        (fields[0].parse::<u32>().unwrap(), (fields[1].to_string(), fields[2].to_string()))
    };
    text.lines().map(row).filter(|(ms, _)| (from_ms..to_ms).contains(ms)).map(|(_, row)| row).collect()
}

#[tokio::test]
#[ignore = "needs recordings: set TICKWIRE_DATA and run with --include-ignored"]
async fn the_payrolls_hours_go_out_whole_to_a_slow_reader() {
    const HOUR: u32 = 3_600_000;
    let folder = recordings().join("lean/tick/oanda");
    let file = |pair: &str| folder.join(format!("{pair}/20140502_{pair}_tick_quote.csv.zst"));
    let playback = |pair: &str| {
        let (file, symbol) = (file(pair), pair.to_uppercase());
        format!(
            "{{ file = \"{}\", format = \"lean\", symbol = \"{symbol}\", date = \"2014-05-02\", \
             from = \"11:30:00\", to = \"13:30:00\" }}",
            file.display()
        )
    };
    // A pace at which the network and the reader, not the clock, decide.
    let simulators = start(&format!(
        "[simulators.oanda]\nbroker = \"oanda\"\npace = 20000\nplayback = [{}, {}]\n",
        playback("eurusd"),
        playback("nzdusd")
    ));
    let path = "/v3/accounts/any/pricing/stream?instruments=EUR_USD,NZD_USD";
    let mut stream = OandaStream::open(simulators.address("oanda").unwrap(), path, "demo").await;
    for pair in ["EUR_USD", "NZD_USD"] {
        assert!(simulators.stats("oanda").unwrap().symbols.iter().any(|s| s.symbol == pair.replace('_', "")));
    }
    let expected = [("EUR_USD", "eurusd"), ("NZD_USD", "nzdusd")]
        .map(|(name, pair)| (name, lean_rows(&file(pair), 11 * HOUR + HOUR / 2, 13 * HOUR + HOUR / 2)));
    let total: usize = expected.iter().map(|(_, rows)| rows.len()).sum();
    let mut next = [0; 2];
    for _ in 0..total {
        let line = price(&mut stream).await;
        let which = usize::from(line["instrument"] == "NZD_USD");
        let (bid, ask) = &expected[which].1[next[which]];
        let same =
            |ours: &Value, theirs: &str| ours.as_str().unwrap().trim_end_matches('0') == theirs.trim_end_matches('0');
        assert!(same(&line["bids"][0]["price"], bid) && same(&line["asks"][0]["price"], ask), "{bid} {ask}: {line}");
        next[which] += 1;
    }
    let stats = finished(&simulators, "oanda").await;
    assert_eq!(stats.symbols.iter().map(|s| s.ticks).collect::<Vec<_>>(), next.map(|n| n as u64));
    assert!(stats.playback_finished && total > 25_000, "{total} rows: {stats:?}");
}

/// Every key with the form of its value: digits become 0, so that places and zeros after the point are compared too.
fn form(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| form(value, &format!("{at}.{key}"), into)),
        Value::Array(items) => items.iter().for_each(|value| form(value, &format!("{at}[]"), into)),
        Value::String(text) => {
            let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            // How many digits stand before the point is the price's affair.
            let tail = if digits.starts_with('0') {
                digits.split_once('.').map_or(digits.as_str(), |(_, t)| t)
            } else {
                &digits
            };
            into.insert(format!("{at}={tail}"));
        }
        Value::Number(_) => _ = into.insert(format!("{at}=number")),
        other => _ = into.insert(format!("{at}={}", if other.is_boolean() { "bool" } else { "null" })),
    }
}

fn form_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    form(value, "", &mut found);
    found
}

#[tokio::test]
#[ignore = "needs recordings: set TICKWIRE_DATA and run with --include-ignored"]
async fn what_oanda_says_has_the_form_of_its_recordings() {
    let text = std::fs::read_to_string(recordings().join("oanda_stream/v20_stream_examples.jsonl")).unwrap();
    let recorded: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let one = |is: &dyn Fn(&Value) -> bool| form_of(recorded.iter().find(|v| is(v)).unwrap());
    let recorded_price = one(&|v| v["instrument"] == "EUR_USD" && v["tradeable"] == true);
    let recorded_heartbeat = one(&|v| v["type"] == "HEARTBEAT");
    let simulators = start("[simulators.oanda]\nbroker = \"oanda\"\nsymbols = [\"EURUSD\"]\nheartbeat_ms = 30");
    let mut stream = oanda(&simulators).await;
    assert_eq!(form_of(&price(&mut stream).await), recorded_price);
    let heartbeat = loop {
        let line = stream.line().await;
        if line["type"] == "HEARTBEAT" {
            break line;
        }
    };
    assert_eq!(form_of(&heartbeat), recorded_heartbeat);
}

#[tokio::test]
#[ignore = "needs recordings: set TICKWIRE_DATA and run with --include-ignored"]
async fn what_binance_says_has_the_form_of_its_recordings() {
    let file = std::fs::File::open(recordings().join("hftbacktest/spot/btcusdt_20240808.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
    let simulators = start("[simulators.binance]\nbroker = \"binance\"\nsymbols = [\"BTCUSDT\"]");
    let path = "/stream?streams=btcusdt@bookTicker/btcusdt@trade";
    let mut messages = socket(simulators.address("binance").unwrap(), path).await;
    for stream in ["btcusdt@bookTicker", "btcusdt@trade"] {
        let line = text.lines().find(|line| line.contains(stream)).unwrap().split_once(' ').unwrap().1;
        let ours = loop {
            let message = next_text(&mut messages).await;
            if message.contains(stream) {
                break message;
            }
        };
        assert_eq!(form_of(&serde_json::from_str(&ours).unwrap()), form_of(&serde_json::from_str(line).unwrap()));
        // Not only the keys but their order, since clients read by template.
        let keys = |text: &str| {
            text.split('"').enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, w)| w.to_string()).collect::<Vec<_>>()
        };
        let named =
            |words: Vec<String>| words.into_iter().filter(|w| w.len() <= 6 && !w.contains('.')).collect::<Vec<_>>();
        assert_eq!(named(keys(&ours)), named(keys(line)));
    }
}
