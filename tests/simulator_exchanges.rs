//! The simulated exchanges answer as the documents say: confirmations, refusals, numbers, pings, repeats.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "simulator_support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::{Socket, get, next_json, send, socket, start};
use tickwire::simulator::SimulatorsHandle;
use tokio_tungstenite::tungstenite::Message;

fn exchange(name: &str, more: &str) -> SimulatorsHandle {
    start(&format!("[simulators.x]\nbroker = \"{name}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n{more}\n"))
}

async fn say(socket: &mut Socket, message: Value) {
    send(socket, Message::text(message.to_string())).await;
}

/// The next message that is one.
async fn next_that(socket: &mut Socket, is_one: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = next_json(socket).await;
        if is_one(&message) {
            return message;
        }
    }
}

#[tokio::test]
async fn kraken_shows_quotes_only_to_those_who_ask_for_them() {
    let simulators = exchange("kraken", "rate = 20.0");
    let at = simulators.address("x").unwrap();
    assert_eq!(get(at, "/v1", &[]).await.status, 404);
    let mut asks = socket(at, "/v2").await;
    let ticker = |more: Value| {
        let mut params = json!({ "channel": "ticker", "symbol": ["BTC/USDT"] });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "method": "subscribe", "params": params, "req_id": 7 })
    };
    say(&mut asks, ticker(json!({ "event_trigger": "bbo" }))).await;
    let confirmed = next_that(&mut asks, |m| m["method"] == "subscribe").await;
    assert_eq!((confirmed["success"].as_bool(), &confirmed["req_id"]), (Some(true), &json!(7)));
    assert_eq!(confirmed["result"]["event_trigger"], "bbo");
    for _ in 0..20 {
        next_that(&mut asks, |m| m["channel"] == "ticker").await;
    }
    say(&mut asks, ticker(json!({ "event_trigger": "bbo" }))).await;
    assert_eq!(next_that(&mut asks, |m| m["method"] == "subscribe").await["error"], "Already subscribed");

    // Who does not ask gets the default: a ticker at each trade, and none between.
    let mut default = socket(at, "/v2").await;
    say(&mut default, ticker(json!({ "snapshot": false }))).await;
    let confirmed = next_that(&mut default, |m| m["method"] == "subscribe").await;
    assert_eq!(confirmed["result"]["event_trigger"], "trades");
    let trades = json!({ "channel": "trade", "symbol": ["BTC/USDT"] });
    say(&mut default, json!({ "method": "subscribe", "params": trades })).await;
    next_that(&mut default, |m| m["channel"] == "trade").await;
    for _ in 0..10 {
        let pair = [next_that(&mut default, |m| m["data"].is_array()).await, next_json(&mut default).await];
        assert_eq!([&pair[0]["channel"], &pair[1]["channel"]], ["ticker", "trade"]);
    }
}

#[tokio::test]
async fn kraken_answers_for_each_symbol_and_to_what_it_does_not_know() {
    let simulators = exchange("kraken", "");
    let mut socket = socket(simulators.address("x").unwrap(), "/v2").await;
    for (request, error) in [
        (
            json!({ "method": "subscribe", "params": { "channel": "ticker", "symbol": ["XBT/USD"] } }),
            "Currency pair not supported XBT/USD",
        ),
        (
            json!({ "method": "subscribe", "params": { "channel": "tickers", "symbol": ["BTC/USDT"] } }),
            "Channel not supported tickers",
        ),
        (
            json!({ "method": "unsubscribe", "params": { "channel": "trade", "symbol": ["BTC/USDT"] } }),
            "Subscription Not Found",
        ),
        (json!({ "method": "dance" }), "Unsupported method"),
    ] {
        say(&mut socket, request).await;
        let answer = next_that(&mut socket, |m| m["success"] == false).await;
        assert_eq!(answer["error"], error);
    }
    say(&mut socket, json!({ "method": "ping", "req_id": 42 })).await;
    assert_eq!(next_that(&mut socket, |m| m["method"] == "pong").await["req_id"], 42);
}

#[tokio::test]
async fn coinbase_numbers_every_message_and_keeps_its_limits() {
    let simulators = exchange("coinbase", "rate = 20.0\nheartbeat_ms = 20");
    let mut socket = socket(simulators.address("x").unwrap(), "/").await;
    let subscribe = |kind: &str, channel: &str, product: &str| json!({ "type": kind, "product_ids": [product], "channel": channel });
    for channel in ["ticker", "market_trades", "heartbeats"] {
        say(&mut socket, subscribe("subscribe", channel, "ETH-USDT")).await;
    }
    let mut channels = std::collections::BTreeSet::new();
    for number in 0.. {
        let message = next_json(&mut socket).await;
        assert_eq!(message["sequence_num"], number, "{message}");
        channels.insert(message["channel"].as_str().unwrap().to_string());
        if number > 100 && channels.len() == 4 {
            break;
        }
    }
    say(&mut socket, subscribe("unsubscribe", "ticker", "ETH-USDT")).await;
    let left = next_that(&mut socket, |m| m["channel"] == "subscriptions").await;
    assert!(left["events"][0]["subscriptions"].get("ticker").is_none(), "{left}");
    for (wrong, message) in [
        (subscribe("subscribe", "ticker", "BTC/USDT"), "BTC/USDT is not a valid product"),
        (subscribe("subscribe", "prices", "BTC-USDT"), "prices is not a valid channel"),
        (subscribe("dance", "ticker", "BTC-USDT"), "type must be subscribe or unsubscribe"),
    ] {
        say(&mut socket, wrong).await;
        assert_eq!(next_that(&mut socket, |m| m["type"] == "error").await["message"], message);
    }
    for _ in 0..9 {
        say(&mut socket, subscribe("subscribe", "ticker", "ETH-USDT")).await;
    }
    assert_eq!(next_that(&mut socket, |m| m["type"] == "error").await["message"], "rate limit exceeded");
}

#[tokio::test]
async fn bybit_repeats_a_quiet_book_with_the_same_number_at_a_new_time() {
    let simulators = exchange("bybit", "rate = 0.01\nheartbeat_ms = 100");
    let at = simulators.address("x").unwrap();
    assert_eq!(get(at, "/v5/public/option", &[]).await.status, 404);
    let mut socket = socket(at, "/v5/public/linear").await;
    // More than ten: the limit is spot's.
    let topics = vec!["orderbook.1.BTCUSDT"; 11];
    say(&mut socket, json!({ "op": "subscribe", "req_id": "a", "args": topics })).await;
    let answer = next_that(&mut socket, |m| m["op"] == "subscribe").await;
    assert_eq!((&answer["success"], &answer["req_id"]), (&json!(true), &json!("a")));
    let is_book = |m: &Value| m["topic"] == "orderbook.1.BTCUSDT";
    let mut last = next_that(&mut socket, is_book).await;
    loop {
        let next = next_that(&mut socket, is_book).await;
        assert!(next["ts"].as_i64() > last["ts"].as_i64(), "times rise: {last} {next}");
        if next["data"]["u"] == last["data"]["u"] {
            assert_eq!((&next["data"]["b"], &next["data"]["a"]), (&last["data"]["b"], &last["data"]["a"]));
            break;
        }
        last = next;
    }
}

/// The keys of a message in their order, since clients read by template.
fn keys(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split('"').collect();
    parts.windows(2).skip(1).step_by(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0]).collect()
}

fn recording(path: &str) -> String {
    let root = std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings");
    let file = std::fs::File::open(std::path::Path::new(&root).join(path)).unwrap();
    String::from_utf8(zstd::decode_all(file).unwrap()).unwrap()
}

/// Until each of `wanted` was said, which are the ends of a subscription's messages as recorded.
async fn same_keys(socket: &mut Socket, wanted: &[&str]) {
    for recorded in wanted {
        let expected = keys(recorded);
        assert!(expected.len() > 4, "{recorded}");
        while keys(&support::next_text(socket).await) != expected {}
    }
}

#[tokio::test]
#[ignore = "needs recordings: set TICKWIRE_DATA and run with --include-ignored"]
async fn what_they_say_has_the_form_of_the_recordings() {
    let messages = |path: &str| -> Vec<String> {
        let lines = recording(path);
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["t"] == "recv").map(|line| line["data"].as_str().unwrap().to_string()).collect()
    };
    let one = |all: &[String], has: &[&str]| {
        let fits = |m: &&String| has.iter().all(|part| m.contains(part)) && m.matches("\"product_id\"").count() < 2;
        all.iter().find(fits).unwrap().clone()
    };
    let coinbase = messages("cryptofeed/COINBASE.jsonl.zst");
    let wanted = [["\"ticker\"", "update"], ["market_trades\",", "update"], ["heartbeats\",", "counter"]];
    let simulators = exchange("coinbase", "heartbeat_ms = 50");
    let mut open = socket(simulators.address("x").unwrap(), "/").await;
    for channel in ["ticker", "market_trades", "heartbeats"] {
        say(&mut open, json!({ "type": "subscribe", "product_ids": ["BTC-USDT"], "channel": channel })).await;
    }
    let wanted = wanted.map(|has| one(&coinbase, &has));
    same_keys(&mut open, &wanted.each_ref().map(String::as_str)).await;

    let simulators = exchange("binance_usdm", "");
    let at = simulators.address("x").unwrap();
    let newer: Vec<String> = recording("hftbacktest/usdm/btcusdt_20240808.jsonl.zst")
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_string())
        .collect();
    let wanted = ["@bookTicker", "@trade"].map(|stream| one(&newer, &[stream]));
    let mut public = socket(at, "/public/stream?streams=btcusdt@bookTicker/btcusdt@trade").await;
    same_keys(&mut public, &wanted.each_ref().map(String::as_str)).await;
    let older = messages("cryptofeed/BINANCE_FUTURES.jsonl.zst");
    let mut market = socket(at, "/market/stream?streams=btcusdt@aggTrade").await;
    same_keys(&mut market, &[&one(&older, &["@aggTrade"])]).await;
    // Each part of the service has its own.
    assert_eq!(get(at, "/market/stream?streams=btcusdt@bookTicker", &[]).await.status, 400);
}
