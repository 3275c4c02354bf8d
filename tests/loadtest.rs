//! `tickwire loadtest`, the program, against whole engines and against fan-outs of this test.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod engine_support;
mod fanout_common;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use engine_support::{BINARY, Engine, QUIET, command, free_port, http};
use fanout_common::{BTCUSDT, EURUSD, Over};
use serde_json::Value;

const TERMINALS: u64 = 50;

fn market(port: u16) -> String {
    let quiet = QUIET.replace("EURUSD", "BTCUSDT").replace("\"fx\"", "\"crypto\"").replace("digits = 5", "digits = 2");
    format!(
        "{quiet}[simulators.binance]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\nrate = 50.0\n\
         [sources.binance]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
         mute_reconnect_ms = 600000\n"
    )
}

/// The broker falls silent while the terminals are still there: after that both sides' counts are final.
#[test]
fn fifty_terminals_get_all_that_a_real_engine_says_it_delivered() {
    let port = free_port();
    let engine = Engine::start(&market(port));
    let arguments = ["loadtest", "--json", "--delivery", "all", "--terminals", "50", "--seconds", "6", "--warmup", "0"];
    let mut child = command(engine.dir.path(), &engine.config, &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.next().unwrap().contains("connected 50 of 50"));
    assert_eq!(said.next().unwrap(), "loadtest: measuring");
    assert_eq!(engine.metric("terminals"), TERMINALS as f64);
    let enough = (TERMINALS * 40) as f64;
    while engine.metric("fanout_deliveries_total") < enough {}
    assert_eq!(http(([127, 0, 0, 1], port).into(), "POST", "/__sim/mute").0, 200);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{:?}", said.collect::<Vec<_>>());

    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"));
    assert_eq!((number("terminals"), number("connected"), number("failed")), (TERMINALS, TERMINALS, 0));
    assert_eq!(number("records_total") as f64, engine.metric("fanout_deliveries_total"));
    assert_eq!((number("skipped"), number("early")), (0, 0));
    // Every terminal got the same.
    assert_eq!(number("records") % TERMINALS, 0, "{report}");
    assert!(number("records") > 0 && number("packets_received") > 0);
    let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    assert!(engine.stop().0);
}

fn loadtest(engine: &fanout_common::Engine, arguments: &[&str]) -> Output {
    let address = engine.handle.local_addr().to_string();
    let mut command = Command::new(BINARY);
    command.args(["loadtest", "--connect", &address, "--terminals", "3", "--seconds", "1", "--warmup", "0"]);
    if !arguments.contains(&"--fingerprint") {
        command.args(["--fingerprint", engine.handle.fingerprint()]);
    }
    command.args(arguments).output().unwrap()
}

over_each!(the_snapshot_counts_as_delivered_and_not_as_measured);

async fn the_snapshot_counts_as_delivered_and_not_as_measured(over: Over) {
    let mut engine = fanout_common::engine(&fanout_common::config(over));
    engine.feed.quote(EURUSD, 1);
    engine.feed.quote(BTCUSDT, 2);
    engine.settle().await;
    let out = loadtest(&engine, &["--json", "--symbols", "EUR*,BTC*"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["records_total"], &report["records"]), (&6.into(), &0.into()), "{report}");
}

#[test]
fn what_is_wrong_is_one_sentence_and_a_failure() {
    let engine = fanout_common::engine(&fanout_common::config(Over::Loop));
    for (arguments, code, expected) in [
        (&["--token", "wrong"][..], 1, "the token is not known"),
        (&["--symbols", "CHEESE"], 1, "there is no instrument CHEESE"),
        (&["--symbols", "X*"], 1, "no symbol of this engine matches --symbols"),
        (&["--kinds", "cheese"], 2, "--kinds: there is no kind cheese"),
        (&["--fingerprint", "abc"], 2, "not a SHA-256"),
        (&["--fingerprint", &"0f".repeat(32)], 1, "fingerprint"),
    ] {
        let out = loadtest(&engine, arguments);
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected) && said.trim().lines().count() == 1, "{arguments:?}: {said}");
    }
    let (address, fingerprint) = (engine.handle.local_addr().to_string(), engine.handle.fingerprint().to_string());
    drop(engine);
    for (terminals, code, expected) in
        [("3", 1, "nobody listens there"), ("0", 2, "1..=10000"), ("10001", 2, "1..=10000")]
    {
        let arguments = ["loadtest", "--connect", &address, "--fingerprint", &fingerprint, "--terminals", terminals];
        let out = Command::new(BINARY).args(arguments).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(code) && said.contains(expected), "{terminals}: {said}");
    }
}
