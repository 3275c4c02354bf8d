//! A client that is not ours: aioquic, by `schemas/wire.md` alone.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use std::path::Path;
use std::process::Stdio;

use fanout_common::*;
use serde_json::{Value, json};
use tickwire_schemas::record::Quote;
use tickwire_schemas::{NO_PRICE, NO_TIME};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn client(engine: &Engine, token: &str, symbols: &str, limit: usize) -> (Child, Lines<BufReader<ChildStdout>>) {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-python`", python.display());
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/quic_client.py"))
        .args(["--connect", &engine.handle.local_addr().to_string(), "--fingerprint", engine.handle.fingerprint()])
        .args(["--token", token, "--symbols", symbols, "--delivery", "all", "--limit", &limit.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn published(bid_e9: i64, ask_e9: i64) -> Quote {
    let (bid_source_id, ask_source_id) = (1, if ask_e9 == NO_PRICE { 0 } else { 2 });
    Quote {
        bid_e9,
        ask_e9,
        bid_source_id,
        ask_source_id,
        sources: 2,
        ts_event_ns: NO_TIME,
        ts_recv_ns: 5,
        ..Quote::default()
    }
}

async fn a_foreign_client_decodes_quotes_by_the_documentation(over: Over) {
    let mut engine = engine(&config(over));
    engine.feed.send(published(1_085_100_000, 1_085_230_000), 0, EURUSD);
    engine.feed.send(published(60_000_123_456_789, NO_PRICE), 0, BTCUSDT);
    engine.settle().await;
    let (mut child, mut lines) = client(&engine, "ann-secret", "EUR*,BTCUSDT", 500);
    let mut next = async || -> Value { serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap() };
    let mut eurusd = next().await;
    let publish = eurusd.as_object_mut().unwrap().remove("ts_publish_ns").unwrap();
    assert!(publish.as_i64().unwrap() > 1_600_000_000_000_000_000);
    let expected = json!({
        "kind": "quote", "symbol": "EURUSD", "bid": "1.0851", "ask": "1.08523", "bid_source": "oanda", "ask_source": "binance",
        "sources": 2, "state": "ok", "epoch": EPOCH, "seq": 1, "chain": 1, "skipped": 0, "snapshot": true,
        "ts_event_ns": null, "ts_recv_ns": 5,
    });
    assert_eq!(eurusd, expected);
    let btcusdt = next().await;
    let of = |value: &Value, field: &str| value[field].clone();
    assert_eq!(
        (of(&btcusdt, "bid"), of(&btcusdt, "ask"), of(&btcusdt, "ask_source")),
        (json!("60000.123456789"), Value::Null, Value::Null)
    );
    for n in 0..498 {
        engine.feed.quote(EURUSD, n);
    }
    for chain in 2..500 {
        let live = next().await;
        assert_eq!(
            (of(&live, "chain"), of(&live, "skipped"), of(&live, "snapshot")),
            (json!(chain), json!(0), json!(false))
        );
    }
    assert!(child.wait().await.unwrap().success());
}

async fn a_foreign_client_is_told_what_is_wrong(over: Over) {
    let engine = engine(&config(over));
    for (token, symbols, code) in [("wrong", "*", "unauthorized"), ("", "CHEESE", "unknown_symbol")] {
        let (mut child, _) = client(&engine, token, symbols, 1);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        assert!(!child.wait().await.unwrap().success());
        assert!(said.contains(code), "{said}");
    }
}

over_each![a_foreign_client_decodes_quotes_by_the_documentation, a_foreign_client_is_told_what_is_wrong,];
