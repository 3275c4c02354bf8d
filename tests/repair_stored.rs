//! What a mended hole leaves in the database: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::net::SocketAddr;

use engine_support::{Engine, QUIET, command, free_port, http};
use serde_json::Value;

const SYMBOL: &str = "[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n";

fn sql(engine: &Engine, query: &str) -> String {
    let out = engine.run(&["sql", "--format", "TSV", query]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The broker hangs up twice within a minute. When it is over the ledger says that both holes are repaired, and the bar of
/// the minute is the one that the broker tells to anybody who asks; nothing of it is lost on the way to the database, and a
/// replay of the journal mends the same.
#[test]
fn the_ledger_says_repaired_and_the_bars_are_the_venue_s() {
    let port = free_port();
    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    let config = [
        QUIET.replace("mode = \"off\"", store),
        SYMBOL.into(),
        "[repair]\ndelay_ms = 500\n[bars]\nprovisional_ms = 0\n".into(),
        // What trades on weekends too, at the venue as well.
        format!(
            "[simulators.worst]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
             [sources.worst]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\n\
             rest_url = \"http://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n"
        ),
    ];
    let config = config.concat();
    let engine = Engine::start(&config);
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "gap,bar"]);
    engine.watch(&["--kinds", "tick"]).until(|r| r["kind"] == "tick");
    let simulator: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let mut keys = Vec::new();
    for _ in 0..2 {
        assert_eq!(http(simulator, "POST", "/__sim/drop").0, 200);
        let closed = terminal.until(|r| r["kind"] == "gap" && r["state"] == "closed");
        keys.push(closed["gap_id"].as_u64().unwrap());
    }
    let (mut ended, mut bars) = (Vec::new(), Vec::new());
    while ended.len() < keys.len() {
        let record = terminal.until(|r| {
            (r["kind"] == "gap" && r["state"] == "repaired") || (r["kind"] == "bar" && r["origin"] == "repair")
        });
        if record["kind"] == "gap" {
            ended.push(record["gap_id"].as_u64().unwrap());
        } else {
            bars.push(record);
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, keys);
    // Told before the end of the hole that they belong to.
    let minutes: Vec<&Value> = bars.iter().filter(|bar| bar["timeframe"] == "M1").collect();
    assert!(!minutes.is_empty(), "{bars:?}");
    assert!(bars.iter().all(|bar| bar["state"] == "revised" && bar["revision"].as_u64() > Some(0)), "{bars:?}");
    assert!(engine.metric("repairs_total") >= 3.0);

    // What the venue says to anybody.
    let opens: Vec<i64> = minutes.iter().map(|bar| bar["open_ts_ns"].as_i64().unwrap() / 1_000_000_000).collect();
    let time = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let (from, to) = (time(*opens.iter().min().unwrap()), time(opens.iter().max().unwrap() + 60));
    let source = ["backfill", "--connection", "worst", "--symbol", "BTCUSDT", "--timeframe", "M1"];
    let out = engine.run(&[&source[..], &["--from", &from, "--to", &to]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let same = "SELECT count(), countIf(r.mid_o = b.mid_o AND r.mid_h = b.mid_h AND r.mid_l = b.mid_l AND r.mid_c = b.mid_c) \
                FROM (SELECT * FROM bars FINAL WHERE origin = 'repair' AND timeframe = 'M1') AS r \
                JOIN (SELECT * FROM bars FINAL WHERE origin = 'backfill') AS b USING (symbol, source, basis, open_ts)";
    let mut distinct = opens.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let begun = std::time::Instant::now();
    let expected = format!("{0}\t{0}\n", distinct.len());
    while sql(&engine, same) != expected {
        assert!(begun.elapsed().as_secs() < 60, "{} instead of {expected}", sql(&engine, same));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let shown = format!(
        "SELECT DISTINCT origin FROM bars_final WHERE source = 'worst' AND timeframe = 'M1' \
         AND basis = 'last' AND toUnixTimestamp(open_ts) IN ({})",
        distinct.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    );
    assert_eq!(sql(&engine, &shown), "repair\n");
    let holes = || sql(&engine, "SELECT symbol, cause, state, count() FROM last_gaps GROUP BY symbol, cause, state");
    let is_told = |holes: &str| {
        holes.starts_with("BTCUSDT\t") && holes.ends_with("\trepaired\t2\n") && holes.lines().count() == 1
    };
    // The tables do not come at one moment.
    while !is_told(&holes()) {
        assert!(begun.elapsed().as_secs() < 60, "{}", holes());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    let (ended, dir) = engine.stop();
    assert!(ended);
    let config = dir.path().join("test.toml");
    for check in ["audit", "replay-check"] {
        let out = command(dir.path(), &config, &[check]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{check}: {text}");
    }
}
