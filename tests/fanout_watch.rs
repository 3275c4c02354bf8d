//! `tickwire watch`, the program, against a fan-out of this test.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use std::process::Stdio;

use fanout_common::*;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

fn watch(engine: &Engine, arguments: &[&str]) -> Child {
    let (quic, fingerprint) = (engine.handle.local_addr().to_string(), engine.handle.fingerprint());
    let file = json!({ "pid": std::process::id(), "quic": quic, "fingerprint": fingerprint, "console": "127.0.0.1:1" });
    std::fs::write(engine.state.path().join("engine.json"), file.to_string()).unwrap();
    Command::new(env!("CARGO_BIN_EXE_tickwire"))
        .args(["watch", "--state-dir"])
        .arg(engine.state.path())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn json_lines_up_to_the_limit(over: Over) {
    let mut engine = engine(&config(over));
    engine.feed.quote(EURUSD, 1);
    engine.feed.quote(BTCUSDT, 2);
    engine.settle().await;
    let mut child = watch(&engine, &["--json", "--symbols", "EUR*,GBPUSD", "--delivery", "all", "--limit", "3"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in [1, 7, 8] {
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!((&line["symbol"], &line["bid"]), (&json!("EURUSD"), &json!(format!("1.00000000{n}"))));
        assert_eq!((&line["skipped"], line.as_object().unwrap().len()), (&json!(0), 15));
        engine.feed.quote(EURUSD, if n == 1 { 7 } else { n + 1 });
    }
    assert_eq!(lines.next_line().await.unwrap(), None);
    assert!(child.wait().await.unwrap().success());
}

async fn a_reader_that_has_enough_is_no_failure(over: Over) {
    let mut engine = engine(&config(over));
    let mut child = watch(&engine, &["--plain", "--kinds", "quote,tick"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    engine.feed.tick(1, EURUSD);
    let line = lines.next_line().await.unwrap().unwrap();
    assert!(line.starts_with("tick") && line.contains("EURUSD") && line.contains("oanda"), "{line}");
    drop(lines);
    let status = loop {
        engine.feed.quote(EURUSD, 1);
        if let Ok(status) = tokio::time::timeout(std::time::Duration::from_millis(5), child.wait()).await {
            break status.unwrap();
        }
    };
    assert!(status.success(), "{status}");
}

async fn what_is_wrong_is_one_sentence_and_a_failure(over: Over) {
    let engine = engine(&config(over));
    for (arguments, expected) in [
        (&["--token", "wrong"][..], "the token is not known"),
        (&["--symbols", "CHEESE"], "there is no instrument CHEESE"),
        (&["--fingerprint", "abc"], "not a SHA-256"),
        (&["--token", "env:TICKWIRE_NOT_SET"], "TICKWIRE_NOT_SET is not set"),
    ] {
        let out = watch(&engine, &[arguments, &["--json"]].concat()).wait_with_output().await.unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(expected) && said.trim().lines().count() == 1, "{said}");
    }
}

over_each![
    json_lines_up_to_the_limit,
    a_reader_that_has_enough_is_no_failure,
    what_is_wrong_is_one_sentence_and_a_failure,
];
