//! The simulated brokers answer as the documents say: logins, errors, subscriptions, keep-alives.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "simulator_support/mod.rs"]
mod support;

use serde_json::Value;
use support::{Get, OandaStream, get, next_json, next_text, socket, start};
use tickwire::simulator::config::Config;
use tokio_tungstenite::tungstenite::Message;

const OANDA: &str = "[simulators.oanda]\nbroker = \"oanda\"\ntoken = \"secret\"\naccount = \"101-004-1234567-001\"\n\
                     symbols = [\"EURUSD\", \"USDJPY\"]\n";
const MTAPI: &str = "[simulators.mtapi]\nbroker = \"mtapi\"\nuser = \"7\"\npassword = \"secret\"\nserver = \"Broker-Demo\"\n\
                     symbols = [\"EURUSD\", \"XAUUSD\"]\n";
const ACCOUNTS: &str = "[simulators.accounts]\nbroker = \"mtapi-accounts\"\ntoken = \"secret\"\naccount = \"7\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n\
                        requests_per_s = 2\n";
const BINANCE: &str = "[simulators.binance]\nbroker = \"binance\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n";
const ACCOUNT: &str = "/v3/accounts/101-004-1234567-001";

#[tokio::test]
async fn oanda_refuses_in_the_documented_words() {
    let simulators = start(OANDA);
    let at = simulators.address("oanda").unwrap();
    let bearer = [("Authorization", "Bearer secret")];
    for (path, headers, status, message) in [
        ("/v3/accounts/101-004-1234567-001/summary", &[][..], 401, "Insufficient authorization to perform request."),
        (
            "/v3/accounts/101-004-1234567-001/summary",
            &[("Authorization", "Bearer wrong")],
            401,
            "Insufficient authorization to perform request.",
        ),
        ("/v3/accounts/101-004-9999999-001/summary", &bearer, 400, "Invalid value specified for 'accountID'"),
        (
            "/v3/accounts/101-004-1234567-001/pricing/stream?instruments=EUR_USD,NOT_ONE",
            &bearer,
            400,
            "Invalid value specified for 'instruments'",
        ),
        ("/v3/accounts/101-004-1234567-001/pricing/stream", &bearer, 400, "Invalid value specified for 'instruments'"),
        ("/v3/accounts/101-004-1234567-001/nothing", &bearer, 404, "The requested resource does not exist"),
    ] {
        let reply: Get = get(at, path, headers).await;
        assert_eq!((reply.status, reply.json()["errorMessage"].as_str()), (status, Some(message)), "{path}");
        assert!(reply.header("requestid").is_some(), "every reply carries a RequestID");
    }
}

#[tokio::test]
async fn oanda_streams_the_wanted_instruments_and_heartbeats() {
    let simulators = start(&format!("{OANDA}heartbeat_ms = 40\n"));
    let at = simulators.address("oanda").unwrap();
    let mut stream = OandaStream::open(at, &format!("{ACCOUNT}/pricing/stream?instruments=EUR_USD"), "secret").await;
    let (mut prices, mut heartbeats) = (0, Vec::new());
    while prices < 4 || heartbeats.len() < 3 {
        let line = stream.line().await;
        match line["type"].as_str() {
            Some("PRICE") => {
                assert_eq!(line["instrument"], "EUR_USD");
                assert!(line["bids"][0]["price"].as_str().is_some_and(|p| p.len() == "1.08500".len()), "{line}");
                prices += 1;
            }
            Some("HEARTBEAT") => heartbeats.push(line["time"].as_str().unwrap().to_string()),
            _ => panic!("neither a price nor a heartbeat: {line}"),
        }
    }
    assert!(heartbeats.is_sorted(), "{heartbeats:?}");
    assert_eq!(Config::default().heartbeat_ms, 0, "by default heartbeats come as often as the broker's own");
}

#[tokio::test]
async fn a_muted_broker_still_sends_heartbeats() {
    let simulators = start(&format!("{OANDA}heartbeat_ms = 20\n"));
    let at = simulators.address("oanda").unwrap();
    let path = format!("{ACCOUNT}/pricing/stream?instruments=EUR_USD&snapshot=false");
    let mut stream = OandaStream::open(at, &path, "secret").await;
    while stream.line().await["type"] != "PRICE" {}
    simulators.set_muted("oanda", true);
    // What was under way before may still arrive; then nothing but heartbeats.
    let mut quiet = 0;
    while quiet < 30 {
        quiet = if stream.line().await["type"] == "HEARTBEAT" { quiet + 1 } else { 0 };
    }
    simulators.set_muted("oanda", false);
    while stream.line().await["type"] != "PRICE" {}
    simulators.drop_connections("oanda");
    assert!(stream.ends().await, "a dropped connection ends");
}

#[tokio::test]
async fn oanda_answers_the_account_endpoints() {
    let simulators = start(OANDA);
    let at = simulators.address("oanda").unwrap();
    let headers = [("Authorization", "Bearer secret"), ("Accept-Datetime-Format", "UNIX")];
    let summary = get(at, &format!("{ACCOUNT}/summary"), &headers).await.json();
    assert_eq!(summary["account"]["id"], "101-004-1234567-001");
    let instruments = get(at, &format!("{ACCOUNT}/instruments"), &headers).await.json();
    assert_eq!(instruments["instruments"][1]["name"], "USD_JPY");
    assert_eq!(instruments["instruments"][1]["pipLocation"], -2);
    // A stream is open first, so that there are prices to show.
    let path = format!("{ACCOUNT}/pricing/stream?instruments=EUR_USD,USD_JPY");
    OandaStream::open(at, &path, "secret").await.line().await;
    let pricing = get(at, &format!("{ACCOUNT}/pricing?instruments=USD_JPY"), &headers).await.json();
    let time = pricing["prices"][0]["time"].as_str().unwrap();
    assert_eq!(time.split_once('.').map(|(s, ns)| (s.len(), ns.len())), Some((10, 9)), "UNIX times: {time}");
}

#[tokio::test]
async fn oanda_says_what_is_open_and_what_it_is_worth() {
    let simulators = start(OANDA);
    let at = simulators.address("oanda").unwrap();
    let headers = [("Authorization", "Bearer secret")];
    let open = get(at, &format!("{ACCOUNT}/openPositions"), &headers).await.json();
    let [position] = open["positions"].as_array().unwrap().as_slice() else { panic!("{open}") };
    assert_eq!((&position["instrument"], &position["long"]["units"]), (&"EUR_USD".into(), &"1000".into()));
    assert!(position["short"]["averagePrice"].is_null(), "an empty side has no price: {position}");
    let summary = &get(at, &format!("{ACCOUNT}/summary"), &headers).await.json()["account"];
    let amount = |key: &str| summary[key].as_str().unwrap().parse::<f64>().unwrap();
    assert!((amount("NAV") - amount("balance") - amount("unrealizedPL")).abs() < 1e-6, "{summary}");
    assert!((amount("NAV") - amount("marginUsed") - amount("marginAvailable")).abs() < 1e-3, "{summary}");
}

#[tokio::test]
async fn oanda_gives_an_instrument_four_prices_a_second() {
    let simulators = start(&format!("{OANDA}rate = 100.0\n"));
    let at = simulators.address("oanda").unwrap();
    let path = format!("{ACCOUNT}/pricing/stream?instruments=EUR_USD,USD_JPY&snapshot=false");
    let mut stream = OandaStream::open(at, &path, "secret").await;
    let mut times = std::collections::BTreeMap::<String, Vec<f64>>::new();
    while times.len() < 2 || times.values().any(|times| times.len() < 6) {
        let line = stream.line().await;
        let (instrument, time) = (line["instrument"].as_str(), line["time"].as_str());
        if let (Some(instrument), Some(time)) = (instrument, time) {
            // Seconds of the minute: enough, with what passes from one to the next taken out.
            let seconds: f64 = time[17..time.len() - 1].parse().unwrap();
            times.entry(instrument.to_string()).or_default().push(seconds);
        }
    }
    for (instrument, times) in times {
        // The last of each window is told: n prices are from n windows, of which the first and the last may be cut.
        let passed: f64 = times.windows(2).map(|two| (two[1] - two[0]).rem_euclid(60.0)).sum();
        let windows = times.len() - 2;
        assert!(passed > 0.25 * windows as f64, "{instrument}: {} prices in {passed} s", times.len());
    }
}

#[tokio::test]
async fn oanda_holds_twenty_streams_and_answers_so_many_requests() {
    let simulators = start(&format!("{OANDA}requests_per_s = 3\n"));
    let at = simulators.address("oanda").unwrap();
    let path = format!("{ACCOUNT}/pricing/stream?instruments=EUR_USD");
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(OandaStream::open(at, &path, "secret").await);
    }
    let headers = [("Authorization", "Bearer secret")];
    let refused = get(at, &path, &headers).await;
    assert_eq!(refused.status, 429, "the twenty-first: {}", refused.body);
    drop(streams.pop());
    while simulators.stats("oanda").unwrap().subscribers == 20 {
        tokio::task::yield_now().await;
    }
    OandaStream::open(at, &path, "secret").await.line().await;

    // Streams are not among the requests of a second, whatever else is asked is.
    assert_eq!(simulators.stats("oanda").unwrap().requests, 0);
    let mut asked = 0;
    let refused = loop {
        let reply = get(at, &format!("{ACCOUNT}/summary"), &headers).await;
        asked += 1;
        if reply.status != 200 {
            break reply;
        }
    };
    assert_eq!((refused.status, &refused.json()["errorMessage"]), (429, &"Rate limit exceeded".into()));
    let stats = simulators.stats("oanda").unwrap();
    assert!(asked > 3 && stats.requests == asked && stats.throttled == 1, "{asked}: {stats:?}");
}

#[tokio::test]
async fn mtapi_reports_errors_as_http_201() {
    let simulators = start(MTAPI);
    let at = simulators.address("mtapi").unwrap();
    let login = "/ConnectEx?user=7&password=secret&server=Broker-Demo";
    let id = get(at, login, &[]).await.body;
    for (path, code) in [
        ("/ConnectEx?user=7&password=wrong&server=Broker-Demo", "INVALID_ACCOUNT"),
        ("/ConnectEx?user=7&password=secret&server=Other", "CONNECT_ERROR"),
        ("/CheckConnect?id=nobody", "INVALID_TOKEN"),
        ("/OnQuote?id=nobody", "INVALID_TOKEN"),
        ("/OnTickHistory?id=nobody", "INVALID_TOKEN"),
        ("/AccountSummary?id=nobody", "INVALID_TOKEN"),
        ("/OpenedOrders?id=nobody", "INVALID_TOKEN"),
        ("/Symbols?id=nobody", "INVALID_TOKEN"),
        ("/GetQuote?id=nobody&symbol=EURUSD", "INVALID_TOKEN"),
        ("/PriceHistory?id=nobody", "INVALID_TOKEN"),
        ("/TickHistoryRequest?id=nobody", "INVALID_TOKEN"),
        (&format!("/GetQuote?id={id}&symbol=NOTONE"), "SYMBOL_NOT_FOUND"),
        (&format!("/TickHistoryRequest?id={id}&symbol=NOTONE"), "SYMBOL_NOT_FOUND"),
        (
            &format!("/TickHistoryRequest?id={id}&symbol=EURUSD&startYear=2024&startMonth=13&startDay=1"),
            "INVALID_PARAMETER",
        ),
        (&format!("/Subscribe?id={id}&symbol=NOTONE"), "SYMBOL_NOT_FOUND"),
        (&format!("/SubscribeMany?id={id}&symbols=EURUSD&symbols=NOTONE"), "SYMBOL_NOT_FOUND"),
    ] {
        let reply = get(at, path, &[]).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (201, Some(code)), "{path}: {}", reply.body);
        assert!(reply.json()["message"].is_string() && reply.json()["stackTrace"].is_string());
    }
    assert_eq!(get(at, "/CheckConnect?id=nobody&errorReplyStatusCode=400", &[]).await.status, 400);
}

#[tokio::test]
async fn mtapi_sends_what_a_session_subscribed_to() {
    let simulators = start(MTAPI);
    let at = simulators.address("mtapi").unwrap();
    let id = get(at, "/ConnectEx?user=7&password=secret&server=Broker-Demo&id=mine", &[]).await.body;
    assert_eq!(id, "mine", "a login may choose its token");
    for (path, expected) in [
        ("/CheckConnect?id=mine", "OK"),
        ("/SymbolList?id=mine", "[\"EURUSD\",\"XAUUSD\"]"),
        ("/SubscribeMany?id=mine&symbols=EURUSD&symbols=XAUUSD&interval=0", "OK"),
    ] {
        assert_eq!(get(at, path, &[]).await.body, expected, "{path}");
    }
    assert!(["2", "3"].contains(&get(at, "/ServerTimezone?id=mine", &[]).await.body.as_str()));
    assert_eq!(get(at, "/AccountSummary?id=mine", &[]).await.json()["currency"], "USD");
    let mut quotes = socket(at, "/OnQuote?id=mine").await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let text = next_text(&mut quotes).await;
        let quote: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((quote["type"].as_str(), quote["id"].as_str()), (Some("Quote"), Some("mine")), "{text}");
        assert!(quote["data"]["bid"].is_number() && quote["data"]["time"].as_str().unwrap().len() == 23, "{text}");
        seen.insert(quote["data"]["symbol"].as_str().unwrap().to_string());
    }
    assert_eq!(get(at, "/GetQuote?id=mine&symbol=EURUSD&msNotOlder=0", &[]).await.json()["symbol"], "EURUSD");
    assert_eq!(get(at, "/UnSubscribe?id=mine&symbol=EURUSD", &[]).await.body, "OK");
    let mut last = "EURUSD".to_string();
    while last == "EURUSD" {
        last = next_json(&mut quotes).await["data"]["symbol"].as_str().unwrap().to_string();
    }
    for _ in 0..10 {
        assert_eq!(next_json(&mut quotes).await["data"]["symbol"], "XAUUSD", "unsubscribed symbols are silent");
    }
    assert_eq!(get(at, "/Disconnect?id=mine", &[]).await.body, "OK");
    assert_eq!(get(at, "/CheckConnect?id=mine", &[]).await.json()["code"], "INVALID_TOKEN");
}

#[tokio::test]
async fn mtapi_tells_a_day_of_ticks_on_its_own_socket() {
    let simulators = start(MTAPI);
    let at = simulators.address("mtapi").unwrap();
    let id = get(at, "/ConnectEx?user=7&password=secret&server=Broker-Demo", &[]).await.body;
    let mut told = socket(at, &format!("/OnTickHistory?id={id}")).await;
    let ask =
        |day: &str| format!("/TickHistoryRequest?id={id}&symbol=XAUUSD&startYear=2024&startMonth=3&startDay={day}");
    assert_eq!(get(at, &ask("6"), &[]).await.body, "OK");
    let mut times = Vec::new();
    // Gold rests in the first hour of the broker's day.
    while times.len() < 23 * 60 * 4 {
        let message = next_json(&mut told).await;
        assert_eq!(message["symbol"], "XAUUSD");
        let bars = message["bars"].as_array().unwrap();
        assert!(!bars.is_empty() && bars.iter().all(|b| b["bid"].as_f64() < b["ask"].as_f64()), "{message}");
        times.extend(bars.iter().map(|bar| bar["time"].as_str().unwrap().to_string()));
    }
    assert!(times.is_sorted() && times[0] == "2024-03-06T01:00:00.000", "{}", times[0]);
    assert!(times[times.len() - 1].starts_with("2024-03-06T23:59:"));
    assert_eq!(get(at, &ask("9"), &[]).await.body, "OK");
    assert_eq!(next_text(&mut told).await, "{\"symbol\":\"XAUUSD\",\"bars\":[]}", "a Saturday");
    assert_eq!(simulators.stats("mtapi").unwrap().past_ticks, 23 * 60 * 4);
}

#[tokio::test]
async fn the_accounts_api_refuses_with_status_code_and_words() {
    let simulators = start(ACCOUNTS);
    let at = simulators.address("accounts").unwrap();
    let bearer = [("Authorization", "Bearer secret")];
    for (path, headers, status, code) in [
        ("/v1/accounts/7", &[][..], 401, "UNAUTHORIZED"),
        ("/v1/accounts/7/prices", &[("Authorization", "Bearer wrong")], 401, "UNAUTHORIZED"),
        ("/v1/accounts/8", &bearer, 404, "NOT_FOUND"),
        ("/v1/accounts/7/symbols/NOTONE/price", &bearer, 404, "NOT_FOUND"),
        ("/v1/accounts/7/nothing", &bearer, 404, "NOT_FOUND"),
        ("/v1/accounts/7/history?symbol=NOTONE&timeframe=1", &bearer, 404, "NOT_FOUND"),
        ("/v1/accounts/7/history?symbol=EURUSD&timeframe=2", &bearer, 400, "BAD_REQUEST"),
    ] {
        let reply = get(at, path, headers).await;
        assert_eq!((reply.status, reply.json()["error"].as_str()), (status, Some(code)), "{path}: {}", reply.body);
        assert!(reply.json()["message"].is_string());
    }
    let history = "/v1/accounts/7/history?symbol=EURUSD&timeframe=60&limit=5000&from=1715936400";
    let mut replies = Vec::new();
    while replies.last().is_none_or(|reply: &Get| reply.status == 200) {
        replies.push(get(at, history, &bearer).await);
    }
    let refused = replies.pop().unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{}", refused.body);
    let rows = replies[0].json()["data"].as_array().unwrap().clone();
    assert_eq!((rows.len(), rows[0]["time"].as_i64()), (1_000, Some(1_715_936_400)));
}

#[tokio::test]
async fn binance_wraps_on_combined_connections_only() {
    let simulators = start(BINANCE);
    let at = simulators.address("binance").unwrap();
    let mut combined = socket(at, "/stream?streams=btcusdt@bookTicker/btcusdt@trade").await;
    let mut raw = socket(at, "/ws/ethusdt@bookTicker").await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let message = next_json(&mut combined).await;
        assert_eq!(message["data"]["s"], "BTCUSDT");
        seen.insert(message["stream"].as_str().unwrap().to_string());
    }
    let (first, second) = (next_json(&mut raw).await, next_json(&mut raw).await);
    assert_eq!(first["s"], "ETHUSDT");
    assert!(first["u"].as_u64() < second["u"].as_u64(), "update numbers rise");
}

#[tokio::test]
async fn binance_obeys_and_refuses_requests() {
    let simulators = start(&format!("{BINANCE}heartbeat_ms = 10\n"));
    let at = simulators.address("binance").unwrap();
    let mut socket = socket(at, "/ws").await;
    for (request, expected) in [
        (r#"{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":1}"#, r#"{"result":null,"id":1}"#),
        (r#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#, r#"{"result":["btcusdt@bookTicker"],"id":2}"#),
        (r#"{"method":"SUBSCRIBE","params":["nothing@bookTicker"],"id":3}"#, "unknown stream nothing@bookTicker"),
    ] {
        support::send(&mut socket, Message::text(request)).await;
        let reply = loop {
            let text = next_text(&mut socket).await;
            if text.contains("\"id\":") {
                break text;
            }
        };
        assert!(reply.contains(expected), "{reply}");
    }
    // Server pings come with a payload, which our library answers; the connection stays.
    let ping = support::next_ping(&mut socket).await;
    assert!(ping.iter().all(u8::is_ascii_digit) && !ping.is_empty());
    next_json(&mut socket).await;
    assert_eq!(get(at, "/api/v3/nothing", &[]).await.status, 404);
    assert_eq!(get(at, "/stream?streams=nothing@trade", &[]).await.status, 400);
}

#[tokio::test]
async fn binance_closes_on_clients_that_talk_too_much() {
    let simulators = start(BINANCE);
    let mut socket = socket(simulators.address("binance").unwrap(), "/ws").await;
    for id in 0..6 {
        support::send(&mut socket, Message::text(format!(r#"{{"method":"LIST_SUBSCRIPTIONS","id":{id}}}"#))).await;
    }
    assert_eq!(support::closed(&mut socket).await, Some(1008));
}

#[test]
fn an_occupied_port_is_one_clear_sentence() {
    let first = start(OANDA);
    let address = first.address("oanda").unwrap();
    let error = support::try_start(&format!("{OANDA}listen = \"{address}\"\n")).unwrap_err();
    assert!(error.starts_with(&format!("simulators.oanda.listen: {address}: ")), "{error}");
}

#[tokio::test]
async fn clients_that_we_did_not_write_are_content() {
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let exchanges = ["binance_usdm", "kraken", "coinbase", "bybit"];
    let offer = |name| format!("[simulators.{name}]\nbroker = \"{name}\"\nsymbols = [\"BTCUSDT\"]\n");
    let more = exchanges.map(offer).concat();
    let simulators = start(&format!("{OANDA}heartbeat_ms = 100\n{MTAPI}{ACCOUNTS}{BINANCE}{more}"));
    let mut command = std::process::Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/simulator_clients.py"));
    for name in ["oanda", "mtapi", "accounts", "binance"].into_iter().chain(exchanges) {
        command.arg(simulators.address(name).unwrap().to_string());
    }
    let output = command.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim() == "ok", "{said}{complained}");
}
