//! Alerts of a whole engine: a source falls silent, somebody is told once, and told again when it is over.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use engine_support::{Engine, QUIET, free_port, http};
use serde_json::{Value, json};
use tickwire::control::alerts::{Alert, AlertRule, Alerts, Page, webhook};
use tickwire::control::connections::{Connections, Draft, RETENTION_DAYS};
use tickwire::control::credentials::Credentials;

const SECRET: &str = "a secret of the webhook";

/// One message as it came.
struct Message {
    signature: String,
    raw: Vec<u8>,
    body: Value,
}

/// Takes messages on loopback and answers with these statuses, then with 200.
struct Receiving {
    url: String,
    messages: Receiver<Message>,
}

impl Receiving {
    fn start(statuses: &[u16]) -> Receiving {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (tell, messages) = channel();
        let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut length, mut signature) = (0, String::new());
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    let Some((name, value)) = line.trim_end().split_once(": ") else {
                        if line.trim_end().is_empty() {
                            break;
                        }
                        continue;
                    };
                    match name.to_ascii_lowercase().as_str() {
                        "content-length" => length = value.parse().unwrap(),
                        "tickwire-signature" => signature = value.to_string(),
                        _ => {}
                    }
                }
                let mut raw = vec![0; length];
                stream.read_exact(&mut raw).unwrap();
                let status = statuses.pop_front().unwrap_or(200);
                write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let body = serde_json::from_slice(&raw).unwrap();
                if tell.send(Message { signature, raw, body }).is_err() {
                    return;
                }
            }
        });
        Receiving { url, messages }
    }

    fn next(&self) -> Message {
        self.messages.recv_timeout(Duration::from_secs(60)).expect("a message")
    }
}

fn market(port: u16) -> String {
    let quiet = QUIET.replace("EURUSD", "BTCUSDT").replace("\"fx\"", "\"crypto\"").replace("digits = 5", "digits = 2");
    format!(
        "{quiet}[simulators.binance]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\nrate = 20.0\n\
         [sources.binance]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\nliveness_ms = 700\n\
         mute_reconnect_ms = 600000\n"
    )
}

fn ask_simulator(port: u16, mood: &str) {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(http(address, "POST", &format!("/__sim/{mood}")).0, 200);
}

/// Rules of which only one is on, and a webhook for it.
fn configure(state: &Path, url: &str, on: AlertRule) {
    std::fs::create_dir_all(state).unwrap();
    let mut rules = serde_json::Map::new();
    for rule in AlertRule::ALL {
        let enabled = rule == on;
        rules.insert(rule.word().into(), json!({"enabled": enabled, "threshold": null, "for_seconds": 0}));
    }
    let draft = json!({"rules": rules, "webhooks": [{"url": url, "secret": SECRET, "rules": [on.word()]}]});
    Alerts::open(state).unwrap().set(&serde_json::from_value(draft).unwrap()).unwrap();
}

fn kept(state: &Path) -> Vec<Alert> {
    Alerts::open(state).unwrap().list(Page { raised: None, before: None, limit: 100 }).unwrap()
}

/// Waits until the alerts that are kept are as wanted.
fn until(state: &Path, wanted: impl Fn(&[Alert]) -> bool) -> Vec<Alert> {
    let begun = std::time::Instant::now();
    loop {
        let alerts = kept(state);
        if wanted(&alerts) {
            return alerts;
        }
        assert!(begun.elapsed().as_secs() < 60, "the alerts were never so: {alerts:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_signed(message: &Message) -> bool {
    let at = message.signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).unwrap();
    message.signature == webhook::signature(SECRET.as_bytes(), at.parse().unwrap(), &message.raw)
}

#[test]
fn a_mute_source_is_told_once_and_again_when_prices_come() {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let receiving = Receiving::start(&[500, 500]);
    let state = dir.path().join("state");
    configure(&state, &receiving.url, AlertRule::SourceMute);
    let engine = Engine::start_in(dir, &market(port));
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "tick,source_state"]);
    terminal.until(|record| record["kind"] == "tick");

    ask_simulator(port, "mute");
    let refused = receiving.next();
    assert!(is_signed(&refused), "{}", refused.signature);
    assert_eq!(
        (&refused.body["event"], &refused.body["alert"]["rule"]),
        (&json!("alert.raised"), &json!("source_mute"))
    );
    assert_eq!(
        (&refused.body["alert"]["subject"], &refused.body["alert"]["severity"]),
        (&json!("binance"), &json!("warning"))
    );
    let text = refused.body["alert"]["message"].as_str().unwrap();
    assert!(text.starts_with("binance: is connected and has said no price for "), "{text}");
    // Not taken, so it comes again, the same, signed anew.
    for _ in 0..2 {
        let again = receiving.next();
        assert!(is_signed(&again));
        assert_eq!((&again.body["id"], &again.body["alert"]), (&refused.body["id"], &refused.body["alert"]));
    }
    let raised = until(&state, |alerts| alerts.len() == 1);
    assert_eq!((raised[0].rule, raised[0].cleared_ns), (AlertRule::SourceMute, None));
    assert_eq!(engine.metric("alerts{rule=\"source_mute\",state=\"raised\"}"), 1.0);

    ask_simulator(port, "unmute");
    let over = receiving.next();
    assert!(is_signed(&over));
    assert_eq!(
        (&over.body["event"], &over.body["alert"]["id"]),
        (&json!("alert.cleared"), &refused.body["alert"]["id"])
    );
    let text = over.body["alert"]["cleared_message"].as_str().unwrap();
    assert!(text.starts_with("binance: prices come again (raised for "), "{text}");
    let alerts = until(&state, |alerts| alerts.iter().all(|alert| alert.cleared_ns.is_some()));
    assert_eq!(alerts.len(), 1, "raised once: {alerts:#?}");
    assert!(engine.stop().0);
}

#[test]
fn a_restart_neither_raises_again_nor_forgets_to_clear() {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let receiving = Receiving::start(&[]);
    let state = dir.path().join("state");
    configure(&state, &receiving.url, AlertRule::SourceMute);
    let engine = Engine::start_in(dir, &market(port));
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "tick,source_state"]);
    terminal.until(|record| record["kind"] == "tick");
    ask_simulator(port, "mute");
    let told = receiving.next();
    assert_eq!(told.body["event"], "alert.raised");
    let first = until(&state, |alerts| alerts.len() == 1);

    // Its simulator starts with it, and speaks: but not before the alert was taken up again as one that is raised.
    let dir = engine.kill();
    let state = dir.path().join("state");
    assert_eq!(kept(&state), first, "it is raised still");
    let engine = Engine::start_in(dir, &market(port));
    let mut over = receiving.next();
    // Killed before it was noted that the message had been taken: it comes again, under the same id.
    while over.body["id"] == told.body["id"] {
        over = receiving.next();
    }
    assert_eq!(over.body["event"], "alert.cleared", "and not raised again: {}", over.body);
    assert_eq!(over.body["alert"]["id"], first[0].id);
    let alerts = until(&state, |alerts| alerts.iter().all(|alert| alert.cleared_ns.is_some()));
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert!(engine.stop().0);
}

#[test]
fn a_connection_that_is_wanted_and_cannot_run_is_told() {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let receiving = Receiving::start(&[]);
    let state = dir.path().join("state");
    configure(&state, &receiving.url, AlertRule::ConnectionError);
    // Of an instrument that this configuration does not have.
    let draft = Draft {
        adapter: "binance".into(),
        provider: String::new(),
        config: "base_url = \"ws://127.0.0.1:1\"\nsymbols = [\"ETHUSDT\"]".parse().unwrap(),
        stores_ticks: true,
        retention_days: RETENTION_DAYS,
        timeframes: Vec::new(),
    };
    let mut connections = Connections::open(&state).unwrap();
    connections.add("ether", "", &draft, &Credentials::default(), 1).unwrap();
    connections.set_active("ether", true, 2).unwrap();
    let engine = Engine::start_in(dir, &market(port));
    let told = receiving.next().body["alert"]["message"].as_str().unwrap().to_string();
    assert!(told.starts_with("ether: is wanted and cannot run: ") && told.contains("ETHUSDT"), "{told}");

    connections.set_active("ether", false, 3).unwrap();
    let over = receiving.next();
    assert_eq!((&over.body["event"], &over.body["alert"]["subject"]), (&json!("alert.cleared"), &json!("ether")));
    assert!(engine.stop().0);
}
