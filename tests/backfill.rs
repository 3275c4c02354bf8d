//! Past bars into the database, over simulated brokers with their limits on: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;
mod simulator_support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use engine_support::{Engine, QUIET, command, free_port, oanda};
use tempfile::TempDir;
use tickwire::simulator::SimulatorsHandle;

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Four brokers in this process and an engine's state directory, in which no engine runs.
struct Bench {
    simulators: SimulatorsHandle,
    dir: TempDir,
}

impl Bench {
    /// `limits` goes into each of the simulators.
    fn new(limits: &str) -> Bench {
        let simulators = simulator_support::start(&format!(
            "[simulators.oanda]\nbroker = \"oanda\"\ntoken = \"demo\"\nsymbols = [\"EURUSD\"]\n{limits}\n\
             [simulators.mtapi]\nbroker = \"mtapi\"\nuser = \"7\"\npassword = \"demo\"\nsymbols = [\"EURUSD\"]\n{limits}\n\
             [simulators.accounts]\nbroker = \"mtapi-accounts\"\ntoken = \"demo\"\nsymbols = [\"EURUSD\"]\n{limits}\n\
             [simulators.binance]\nbroker = \"binance\"\nsymbols = [\"BTCUSDT\"]\n{limits}\n"
        ));
        let at = |name: &str| simulators.address(name).unwrap();
        let config = format!(
            "[console]\nlisten = \"127.0.0.1:0\"\n[storage]\nlisten = \"127.0.0.1:0\"\n\
             [instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n\
             [instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n\
             [sources.oanda]\nadapter = \"oanda\"\nbase_url = \"http://{}\"\naccount = \"101-1\"\ntoken = \"demo\"\nsymbols = [\"EURUSD\"]\n\
             [sources.mtapi]\nadapter = \"mtapi\"\nbase_url = \"http://{}\"\nuser = \"7\"\npassword = \"demo\"\nserver = \"Demo-Server\"\n\
             broker_time = \"new-york-close\"\nsymbols = [\"EURUSD\"]\nscope = \"private\"\nowner = \"ann\"\nticks_quiet_ms = 100\n\
             [sources.accounts]\nadapter = \"mtapi-accounts\"\nbase_url = \"http://{}\"\naccount = \"7\"\nkey = \"demo\"\nsymbols = [\"EURUSD\"]\n\
             [sources.binance]\nadapter = \"binance\"\nbase_url = \"ws://{}\"\nrest_url = \"http://{}\"\nsymbols = [\"BTCUSDT\"]\n\
             [sources.futures]\nadapter = \"binance\"\nbase_url = \"wss://fstream.binance.com\"\nsymbols = [\"BTCUSDT\"]\n",
            at("oanda"),
            at("mtapi"),
            at("accounts"),
            at("binance"),
            at("binance"),
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test.toml"), config).unwrap();
        Bench { simulators, dir }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let out = command(self.dir.path(), &self.dir.path().join("test.toml"), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    }

    /// What it printed; it must have gone well.
    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    fn sql(&self, query: &str) -> String {
        self.done(&["sql", "--write", "--format", "TSV", query]).trim().to_string()
    }

    fn requests(&self, name: &str) -> u64 {
        self.simulators.stats(name).unwrap().requests
    }
}

fn backfill<'a>(source: &'a str, symbol: &'a str, timeframe: &'a str, from: &'a str, to: &'a str) -> Vec<&'a str> {
    vec!["backfill", "--connection", source, "--symbol", symbol, "--timeframe", timeframe, "--from", from, "--to", to]
}

fn ticks<'a>(source: &'a str, from: &'a str, to: &'a str) -> Vec<&'a str> {
    vec!["backfill", "--connection", source, "--symbol", "EURUSD", "--ticks", "--from", from, "--to", to]
}

/// The number behind a word at the start of a line.
fn number(text: &str, word: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {text}"));
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    line.split([' ', ',']).find(digits).unwrap().parse().unwrap()
}

#[test]
fn a_month_of_minutes_comes_once_and_its_holes_are_told() {
    let bench = Bench::new(
        "history_holes = [\"2024-03-05T10:00:00/2024-03-05T10:30:00\", \"2024-03-08T21:50:00/2024-03-10T21:05:00\"]",
    );
    let month = backfill("oanda", "EURUSD", "M1", "2024-03-01", "2024-04-01");
    let told = bench.done(&month);
    // Friday the 1st to 22:00, four weeks, and three hours of Sunday the 31st.
    let expected = (22 + 4 * 120 + 3) * 60;
    assert_eq!(number(&told, "rows"), expected - 45, "{told}");
    assert!(told.contains("gaps         2, 45 bars missing while the market was open"), "{told}");
    assert!(told.contains("2024-03-05T10:00:00Z to 2024-03-05T10:30:00Z, 30 bars"), "{told}");
    assert!(told.contains("2024-03-08T21:50:00Z to 2024-03-10T21:05:00Z, 15 bars"), "{told}");
    let requests = bench.requests("oanda");
    assert_eq!(number(&told, "requests"), requests);
    assert_eq!(requests, (31 * 24 * 60_u64).div_ceil(5_000));
    // Again: no request, and no row more.
    let again = bench.done(&month);
    assert!(again.contains("nothing: it was complete") && number(&again, "rows") == expected - 45, "{again}");
    assert_eq!(bench.requests("oanda"), requests);
    let counted = "SELECT count(), uniqExact(open_ts), min(toUnixTimestamp(close_ts) - toUnixTimestamp(open_ts)), sum(isNull(mid_o)), \
                   countIf(ask_o > bid_o), any(basis), any(origin), any(epoch) FROM bars";
    let rows = expected - 45;
    assert_eq!(bench.sql(counted), format!("{rows}\t{rows}\t60\t{rows}\t{rows}\tquote\tbackfill\t0"));
    let audit = bench.done(&["audit"]);
    assert!(
        audit.contains(&format!("{rows} rows were fetched from venues")) && audit.contains("audit: clean"),
        "{audit}"
    );
    // A database that was emptied is found out.
    bench.sql("TRUNCATE TABLE bars");
    let anew = bench.done(&month);
    assert!(anew.contains("beginning anew"), "{anew}");
    assert_eq!(bench.sql("SELECT count() FROM bars"), rows.to_string());
}

/// The venue's own limits: 120 requests in a second, 5,000 candles in each.
#[test]
fn a_year_of_minutes_comes_without_one_request_too_many() {
    let bench = Bench::new("");
    let told = bench.done(&backfill("oanda", "EURUSD", "M1", "2023-01-01", "2024-01-01"));
    // 52 weeks of 120 hours; New Year's Day 2023 is a Sunday, and Christmas takes 24 hours.
    let rows = (52 * 120 - 24) * 60;
    assert_eq!(number(&told, "rows"), rows, "{told}");
    let stats = bench.simulators.stats("oanda").unwrap();
    assert_eq!((stats.requests, stats.throttled, stats.bars), ((365 * 24 * 60_u64).div_ceil(5_000), 0, rows));
    assert!(told.contains("gaps         0, 0 bars missing"), "{told}");
    let counted = bench.sql("SELECT count(), uniqExact(open_ts) FROM bars");
    assert_eq!(counted, format!("{rows}\t{rows}"));
}

#[tokio::test]
async fn the_simulators_refuse_what_the_venues_refuse() {
    let bench = Bench::new("requests_per_s = 20");
    let at = |name: &str| bench.simulators.address(name).unwrap();
    let bearer = [("Authorization", "Bearer demo"), ("Accept-Datetime-Format", "UNIX")];
    let candles = "/v3/instruments/EUR_USD/candles?granularity";
    for (query, words) in [
        ("=M1&count=5001", "Maximum value for 'count' exceeded"),
        ("=M1&from=1704672000&to=1705000000", "Maximum value for 'count' exceeded"),
        ("=M1&from=1704672000&to=1704672600&count=2", "'count' cannot be specified"),
        ("=M7&count=2", "Invalid value specified for 'granularity'"),
        ("=M1&price=X", "Invalid value specified for 'price'"),
        ("=M1&from=1704672000&to=8000000000", "Time is in the future"),
    ] {
        let reply = simulator_support::get(at("oanda"), &format!("{candles}{query}"), &bearer).await;
        assert!(reply.status == 400 && reply.body.contains(words), "{query}: {} {}", reply.status, reply.body);
    }
    // The next page begins behind the last candle; what forms is not complete.
    let times = |body: serde_json::Value| -> Vec<(String, bool)> {
        let candles = body["candles"].as_array().unwrap().iter();
        candles.map(|c| (c["time"].as_str().unwrap().into(), c["complete"].as_bool().unwrap())).collect()
    };
    let page = format!("{candles}=H1&from=1704672000&count=2&includeFirst=false");
    let page = times(simulator_support::get(at("oanda"), &page, &bearer).await.json());
    assert_eq!(page, [("1704675600.000000000".into(), true)]);
    let klines = "/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1704672000000";
    let reply = simulator_support::get(at("binance"), &format!("{klines}&limit=5000"), &[]).await;
    assert_eq!(reply.json().as_array().map(Vec::len), Some(1_000));
    let unknown = simulator_support::get(at("binance"), "/api/v3/klines?symbol=X&interval=1m", &[]).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (400, &serde_json::json!(-1121)));
    // Too many, and then who goes on is banned.
    let mut refused = Vec::new();
    while refused.len() < 2 {
        let reply = simulator_support::get(at("binance"), &format!("{klines}&limit=1"), &[]).await;
        if reply.status != 200 {
            refused.push((reply.status, reply.header("retry-after").map(String::from)));
        }
    }
    assert_eq!(refused, [(429, Some("1".into())), (418, Some("120".into()))]);
}

#[test]
fn killed_in_the_middle_it_goes_on_and_has_the_same_rows_once() {
    // With the venue's own limits: one that is begun anew while it is asked to wait is rightly banned.
    let bench = Bench::new("");
    let whole = bench.done(&backfill("binance", "BTCUSDT", "M1", "2024-03-05", "2024-05-04"));
    let (rows, pages) = (60 * 24 * 60, (60 * 24 * 60_u64).div_ceil(1_000));
    assert_eq!(number(&whole, "rows"), rows);
    let answer = "SELECT groupBitXor(cityHash64(*)), count() FROM (SELECT * FROM bars ORDER BY open_ts)";
    let undisturbed = bench.sql(answer);
    bench.sql("TRUNCATE TABLE bars");
    fs::remove_dir_all(bench.dir.path().join("state/backfill")).unwrap();
    let arguments = backfill("binance", "BTCUSDT", "M1", "2024-03-05", "2024-05-04");
    let config = bench.dir.path().join("test.toml");
    // Kill it as soon as it has written down a page, three times.
    let file = bench.dir.path().join("state/backfill/binance.BTCUSDT.M1.1709596800.1714780800.json");
    let mut done = 0;
    for _ in 0..3 {
        let mut child =
            command(bench.dir.path(), &config, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while rows_done(&file) <= done && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "no page within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        done = rows_done(&file);
        assert!(done > 0 && done < rows, "killed when {done} of {rows} rows were there");
    }
    let before = bench.requests("binance");
    let rest = bench.done(&arguments);
    assert_eq!(number(&rest, "rows"), rows, "{rest}");
    assert!(bench.requests("binance") - before < 2 * pages, "it began anew: {rest}");
    assert_eq!(bench.sql(answer), undisturbed);
    assert_eq!(bench.sql("SELECT count() FROM bars FINAL"), rows.to_string());
    assert!(bench.done(&["audit"]).contains("audit: clean"));
}

fn rows_done(file: &Path) -> u64 {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|v| v["rows"].as_u64()).unwrap_or(0)
}

#[test]
fn a_venue_that_asks_to_wait_is_waited_for_and_never_bans() {
    // Far less than the adapters' own limits, so that they run into it however slow the machine is.
    let bench = Bench::new("requests_per_s = 1");
    for (source, symbol, timeframe, to, rows) in [
        ("binance", "BTCUSDT", "M5", "2024-03-20", 15 * 24 * 12),
        ("oanda", "EURUSD", "M1", "2024-03-25", 0),
        ("mtapi", "EURUSD", "M1", "2024-03-25", 0),
        ("accounts", "EURUSD", "M1", "2024-03-15", (3 * 24 + 22 + 3 + 4 * 24) * 60),
    ] {
        let told = bench.done(&backfill(source, symbol, timeframe, "2024-03-05", to));
        let stats = bench.simulators.stats(source).unwrap();
        assert!(stats.throttled > 0, "{source} never said no: {told}");
        assert_eq!(stats.banned, 0, "{source}: went on although it was told to wait");
        // An answer to "so many from then on" may reach beyond the page.
        assert!(number(&told, "rows") == stats.bars || source == "accounts" && rows < stats.bars, "{source}: {told}");
        assert!(rows == 0 || number(&told, "rows") == rows, "{source}: {told}");
        assert!(told.contains("gaps         0, 0 bars missing"), "{source}: {told}");
    }
    // The private source's rows are where its owner alone sees them.
    assert_eq!(bench.sql("SELECT DISTINCT source FROM md.bars ORDER BY source"), "accounts\nbinance\noanda");
    assert_eq!(bench.sql("SELECT DISTINCT source, basis FROM md_private.bars"), "mtapi\tbid");
    // Two brokers show one market: their bids differ by their spreads alone, minute for minute.
    let alike = "SELECT countIf(abs(a.bid_c - b.bid_c) < 0.0003), count() FROM md.bars a JOIN md_private.bars b ON a.open_ts = b.open_ts AND \
                 a.timeframe = b.timeframe WHERE a.source = 'oanda'";
    let alike = bench.sql(alike);
    let (near, all) = alike.split_once('\t').unwrap();
    assert!(near == all && all != "0", "{alike}");
}

#[test]
fn every_timeframe_is_cut_where_the_engine_cuts_it() {
    let bench = Bench::new("");
    for (source, symbol) in [("oanda", "EURUSD"), ("mtapi", "EURUSD"), ("accounts", "EURUSD"), ("binance", "BTCUSDT")] {
        for timeframe in ["M15", "H4", "D1", "W1", "MN"] {
            // The simulated exchange has no months.
            if (source, timeframe) == ("binance", "MN") {
                continue;
            }
            let told = bench.done(&backfill(source, symbol, timeframe, "2024-01-20", "2024-04-20"));
            assert!(!told.contains("\ncut "), "{source} {timeframe}: {told}");
            assert!(told.contains("gaps         0, 0 bars missing"), "{source} {timeframe}: {told}");
            assert!(number(&told, "rows") >= 3, "{source} {timeframe}: {told}");
        }
    }
}

/// Thursday to Monday, with two hours missing, a weekend, and a change of New York's clock.
#[test]
fn days_of_ticks_come_once_whatever_is_asked_again() {
    let bench = Bench::new("history_holes = [\"2024-03-07T10:00:00/2024-03-07T12:00:00\"]");
    let days = ticks("mtapi", "2024-03-07", "2024-03-12");
    let told = bench.done(&days);
    // Four ticks a minute; Friday to 22:00, Sunday from 21:00, and nothing is asked of Saturday.
    let rows = (22 + 22 + 3 + 24) * 60 * 4;
    assert_eq!((number(&told, "rows"), number(&told, "requests")), (rows, 4), "{told}");
    assert!(told.contains("gaps         1, 2 hours without a tick while the market was open"), "{told}");
    assert!(told.contains("2024-03-07T10:00:00Z to 2024-03-07T12:00:00Z, 2 hours"), "{told}");
    let counted = "SELECT count(), uniqExact(ts_event), any(epoch), max(confidence), any(flags), countIf(ts_recv = ts_event AND bid < ask) \
                   FROM md_private.ticks";
    let wanted = format!("{rows}\t{rows}\t0\t0\t['fetched']\t{rows}");
    assert_eq!(bench.sql(counted), wanted);
    // The same again asks nothing; what overlaps, and the same without a note of it, stores nothing twice.
    let asked = bench.requests("mtapi");
    assert!(bench.done(&days).contains("nothing: it was complete"));
    assert_eq!(bench.requests("mtapi"), asked);
    let within = bench.done(&ticks("mtapi", "2024-03-08T12:34:56Z", "2024-03-11T01:00:00Z"));
    assert!(number(&within, "rows") > 10 * 60 * 4, "{within}");
    fs::remove_dir_all(bench.dir.path().join("state/backfill")).unwrap();
    assert_eq!(number(&bench.done(&days), "rows"), rows);
    assert_eq!(bench.sql(counted), wanted);
    // They make the venue's own bars, minute for minute.
    bench.done(&backfill("mtapi", "EURUSD", "M1", "2024-03-07", "2024-03-12"));
    let alike = "SELECT count(), countIf(b.bid_o = t.o AND b.bid_h = t.h AND b.bid_l = t.l AND b.bid_c = t.c) FROM md_private.bars AS b \
                 JOIN (SELECT toStartOfMinute(ts_recv) AS minute, argMin(bid, ts_recv) AS o, max(bid) AS h, min(bid) AS l, \
                 argMax(bid, ts_recv) AS c FROM md_private.ticks GROUP BY minute) AS t ON b.open_ts = t.minute";
    assert_eq!(bench.sql(alike), format!("{0}\t{0}", rows / 4));
    let audit = bench.done(&["audit"]);
    assert!(audit.contains(&format!("ticks: {rows} rows were fetched from venues")), "{audit}");
    assert!(audit.contains("audit: clean"), "{audit}");
    // A database that was emptied is found out.
    bench.sql("TRUNCATE TABLE md_private.ticks");
    assert!(bench.done(&days).contains("beginning anew"));
    assert_eq!(bench.sql(counted), wanted);
}

#[test]
fn ticks_that_were_killed_go_on_where_they_stopped_and_wait_where_they_are_told_to() {
    let bench = Bench::new("requests_per_s = 3");
    let arguments = ticks("mtapi", "2024-03-04", "2024-03-16");
    let config = bench.dir.path().join("test.toml");
    let file = bench.dir.path().join("state/backfill/mtapi.EURUSD.ticks.1709510400.1710547200.json");
    let mut done = 0;
    for _ in 0..3 {
        let mut child =
            command(bench.dir.path(), &config, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while rows_done(&file) <= done && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "no day within {} s", PATIENCE.as_secs());
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        done = rows_done(&file);
    }
    let told = bench.done(&arguments);
    // Two weeks without their Sunday mornings; the first of them begins on a Monday, the second with daylight saving.
    let rows = (4 * 24 + 22 + 3 + 4 * 24 + 21) * 60 * 4;
    assert!(done > 0 && done < rows, "killed when {done} of {rows} rows were there");
    assert_eq!(number(&told, "rows"), rows, "{told}");
    assert_eq!(bench.sql("SELECT count(), uniqExact(ts_event) FROM md_private.ticks"), format!("{rows}\t{rows}"));
    assert!(told.contains("gaps         0, 0 hours without a tick"), "{told}");
    assert_eq!(bench.simulators.stats("mtapi").unwrap().banned, 0, "went on although it was told to wait");
}

#[test]
fn beside_a_running_engine_it_goes_as_well() {
    let store = QUIET.replace("mode = \"off\"", "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"");
    let engine = Engine::start(&[store, oanda("a", free_port(), "", "token = \"demo\"")].concat());
    let arguments = backfill("a", "EURUSD", "H1", "2024-01-01", "2024-03-01");
    let out = engine.run(&arguments);
    let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && told.contains("gaps         0, 0 bars missing"), "{told}");
    let count = engine.run(&["sql", "--format", "TSV", "SELECT count() FROM bars_final WHERE origin = 'backfill'"]);
    assert_eq!(String::from_utf8_lossy(&count.stdout).trim(), number(&told, "rows").to_string());
    let (ended, dir) = engine.stop();
    assert!(ended);
    let audit = command(dir.path(), &dir.path().join("test.toml"), &["audit"]).output().unwrap();
    let audit = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.contains("audit: clean") && audit.contains("were fetched from venues"), "{audit}");
}

#[test]
fn what_does_not_fit_is_said_in_a_sentence() {
    let bench = Bench::new("");
    let (from, to) = ("2024-01-01", "2024-02-01");
    for (arguments, expected) in [
        (
            backfill("kraken", "EURUSD", "H1", from, to),
            "no source is named \"kraken\", expected one of accounts, binance, futures, mtapi, oanda",
        ),
        (backfill("oanda", "USDJPY", "H1", from, to), "sources.oanda has no \"USDJPY\", expected one of EURUSD"),
        (backfill("futures", "BTCUSDT", "H1", from, to), "futures has no past bars (adapter binance)"),
        (backfill("oanda", "EURUSD", "H2", from, to), "oanda has no bars of \"H2\", expected one of M1, M5"),
        (backfill("oanda", "EURUSD", "H1", to, from), "--from: is not before --to"),
        (backfill("oanda", "EURUSD", "H1", from, from), "--from: is not before --to"),
        (backfill("oanda", "EURUSD", "H1", "yesterday", to), "--from: \"yesterday\" is no time, expected 2023-01-01"),
        (backfill("oanda", "EURUSD", "H1", "2200-01-01", "2201-01-01"), "no bar from then on has ended yet"),
        (ticks("oanda", from, to), "--ticks: oanda has no past ticks (adapter oanda), expected --timeframe"),
        (ticks("mtapi", "2200-01-01", "2201-01-01"), "--from: it is not yet past, expected an earlier time"),
        (
            [ticks("mtapi", from, to), vec!["--timeframe", "M1"]].concat(),
            "--ticks: ticks have no --timeframe, expected one of the two",
        ),
        (
            ticks("mtapi", from, to).into_iter().filter(|word| *word != "--ticks").collect(),
            "--timeframe: missing, expected M1 to MN for bars, or --ticks",
        ),
    ] {
        let (code, text) = bench.run(&arguments);
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert_eq!(bench.requests("oanda"), 0);
}
