//! What the console's system pages are made of: status, sources, gaps, pipeline, terminals, alerts, and who sees what of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use console_support::{ADMIN, Console, PASSWORD, Person, binance, config, users};
use engine_support::{free_port, http};
use serde_json::{Value, json};

/// Asks until the answer is as wanted.
fn until(person: &Person, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = person.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let json = answer.json();
        if wanted(&json) {
            return json;
        }
        assert!(begun.elapsed().as_secs() < 60, "{path} was never so: {json:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ask_simulator(port: u16, mood: &str) {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(http(address, "POST", &format!("/__sim/{mood}")).0, 200);
}

/// The simulated Binance is at the returned port; `hers` is a private source of alice.
fn start(more: &str) -> (Console, u16) {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let quick = "liveness_ms = 700\nmute_reconnect_ms = 600000\n";
    let hers = binance("hers", port, &format!("scope = \"private\"\nowner = \"alice\"\n{quick}"));
    let text = format!("{}{quick}{hers}{more}", config(port));
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    (Console::start_in(dir, &text), port)
}

fn subjects(alerts: &Value) -> Vec<&str> {
    alerts["alerts"].as_array().unwrap().iter().map(|alert| alert["subject"].as_str().unwrap()).collect()
}

#[test]
fn status_and_quality_are_of_what_the_viewer_sees() {
    let (console, port) = start("");
    let (admin, alice, bob) =
        (console.sign_in(ADMIN), console.user("alice", "user", &[]), console.user("bob", "user", &[]));
    let blind = console.user("blind", "user", &[]);
    admin.patch("/api/users/blind", &json!({ "sources": ["nothing-*"] }));
    let whole = until(&admin, "/api/status", |status| status["connections"]["active"] == 2);
    assert_eq!(
        (&whole["status"], &whole["service"], &whole["connections"]["total"]),
        (&json!("ok"), &json!("tickwire"), &json!(2))
    );
    let active = |person: &Person| person.get("/api/status").json()["connections"]["active"].clone();
    assert_eq!((active(&alice), active(&bob), active(&blind)), (json!(2), json!(1), json!(0)));
    assert_eq!(whole["problems"], json!([]), "{whole:#}");

    let names = |found: &Value| -> Vec<String> {
        let rows = found["summaries"].as_array().unwrap();
        rows.iter().map(|row| row["source"].as_str().unwrap().to_string()).collect()
    };
    let hers = until(&alice, "/api/sources", |found| names(found).len() == 2);
    assert_eq!(hers["recommended"]["BTCUSDT"], "binance", "a private source is never recommended");
    for row in hers["summaries"].as_array().unwrap() {
        let parts: f64 = row["parts"].as_object().unwrap().values().map(|part| part.as_f64().unwrap()).sum();
        assert!((parts - row["score"].as_f64().unwrap()).abs() < 0.1, "the score is the sum of its parts: {row}");
    }
    assert_eq!(names(&bob.get("/api/sources").json()), ["binance"]);
    // Not even administrators read another's prices; those who manage connections see how they are.
    assert_eq!(names(&admin.get("/api/sources").json()), ["binance"]);
    assert_eq!(blind.get("/api/sources").json(), json!({ "summaries": [], "recommended": {} }));

    ask_simulator(port, "mute");
    let mute = |person: &Person| until(person, "/api/status", |status| status["connections"]["stale"] != 0);
    let problems = |status: &Value| status["problems"].as_array().unwrap().len();
    let seen = until(&alice, "/api/status", |status| problems(status) == 3);
    assert_eq!(seen["problems"][0], "no shared connection delivers prices", "{seen:#}");
    assert!(seen["problems"].to_string().contains("hers: mute (mute)"), "{seen:#}");
    assert!(!mute(&bob)["problems"].to_string().contains("hers"));
    assert_eq!(seen["status"], "unavailable", "no global source is live");
}

#[test]
fn holes_are_paged_and_another_user_s_are_not_there() {
    let (console, port) = start("");
    let (alice, bob) = (console.user("alice", "user", &[]), console.user("bob", "user", &[]));
    until(&alice, "/api/status", |status| status["connections"]["active"] == 2);
    ask_simulator(port, "mute");
    let open = until(&alice, "/api/gaps?state=open", |found| found["gaps"].as_array().unwrap().len() == 2);
    let hers = open["gaps"].as_array().unwrap().iter().find(|gap| gap["source"] == "hers").unwrap();
    assert_eq!((&hers["cause"], &hers["to"], &hers["symbol"]), (&json!("mute"), &Value::Null, &json!("BTCUSDT")));
    let his = bob.get("/api/gaps?limit=1000").json();
    assert!(his["gaps"].as_array().unwrap().iter().all(|gap| gap["source"] != "hers"), "{his:#}");
    assert_eq!(bob.get("/api/gaps?source=hers").json()["gaps"], json!([]));
    // By two pages and by one: the same.
    let all = alice.get("/api/gaps").json();
    let (mut pages, mut next) = (Vec::new(), String::new());
    loop {
        let page = alice.get(&format!("/api/gaps?limit=1{next}")).json();
        pages.extend(page["gaps"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(at) => next = format!("&before={at}"),
            None => break,
        }
    }
    assert_eq!(json!(pages), all["gaps"]);
    for (path, field) in [("state=closing", "state"), ("limit=0", "limit"), ("before=x", "before")] {
        let wrong = alice.get(&format!("/api/gaps?{path}"));
        assert_eq!((wrong.status, &wrong.json()["error"]["field"]), (422, &json!(field)), "{path}");
    }
    let repair = format!("/api/gaps/{}/{}/repair", hers["epoch"], hers["id"]);
    assert_eq!(bob.post(&repair, &json!({})).status, 404, "it is as if it were not there");
    assert_eq!(alice.post(&repair, &json!({})).code(), "conflict", "it is open, not lost");
    assert_eq!(alice.post("/api/gaps/9/9/repair", &json!({})).status, 404);
}

#[test]
fn the_pipeline_and_the_terminals_are_for_those_with_the_permission() {
    let (console, _) = start("");
    let viewer = console.user("sam", "staff", &["view-system"]);
    let bob = console.user("bob", "user", &[]);
    for path in ["/api/pipeline", "/api/terminals"] {
        assert_eq!(bob.get(path).code(), "forbidden");
        assert_eq!(console.anonymous().get(path).code(), "not_signed_in");
    }
    let pipeline = until(&viewer, "/api/pipeline", |found| {
        let stages = found["stages"].as_array().unwrap();
        stages.len() > 2 && !found["publish"].is_null() && found["rates"][0]["per_second"].as_f64() > Some(0.0)
    });
    let all = pipeline["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "all").unwrap();
    assert!(all["count"].as_u64() > Some(0) && all["p50_ns"].as_u64() <= all["max_ns"].as_u64(), "{all}");
    let queues: Vec<&str> =
        pipeline["queues"].as_array().unwrap().iter().map(|queue| queue["queue"].as_str().unwrap()).collect();
    assert_eq!(queues, ["inbound", "outbound", "journal", "fanout", "storage", "repairs"]);
    for queue in pipeline["queues"].as_array().unwrap() {
        let capacity = queue["capacity"].as_u64();
        assert!(capacity.is_none_or(|capacity| queue["used"].as_u64() <= Some(capacity)), "{queue}");
    }
    assert!(pipeline["rates"][0]["accepted"].as_u64() > Some(0), "{pipeline:#}");

    let mut terminal = console.engine.watch(&["--symbols", "BTC*", "--kinds", "quote,tick", "--delivery", "latest"]);
    terminal.next().unwrap();
    let found = until(&viewer, "/api/terminals", |found| found["terminals"][0]["delivered"].as_u64() > Some(0));
    let shown = &found["terminals"][0];
    let asked = json!([{ "symbols": ["BTC*"], "kinds": ["quote", "tick"], "sources": null, "delivery": "latest" }]);
    assert_eq!((&shown["subscriptions"], &shown["token"], &shown["user"]), (&asked, &json!("anonymous"), &json!("")));
    assert!(
        shown["address"].as_str().unwrap().starts_with("127.0.0.1:") && shown["bytes"].as_u64() > Some(0),
        "{shown}"
    );
    assert_eq!(found["totals"]["terminals"], 1);
    drop(terminal);
    until(&viewer, "/api/terminals", |found| found["terminals"] == json!([]));
}

#[test]
fn alerts_of_a_private_source_are_its_owner_s() {
    let (console, port) = start("");
    let admin = console.sign_in(ADMIN);
    let rule = json!({ "enabled": true, "threshold": null, "for_seconds": 0 });
    let set = admin.put("/api/alerts/settings", &json!({ "rules": { "source_mute": rule } }));
    assert_eq!((set.status, &set.json()["rules"]["source_mute"]), (200, &rule), "{}", set.body);
    let (alice, bob) = (console.user("alice", "user", &[]), console.user("bob", "user", &[]));
    let manager = console.user("sam", "staff", &["manage-data-connections"]);
    until(&alice, "/api/status", |status| status["connections"]["active"] == 2);
    ask_simulator(port, "mute");
    let seen = until(&alice, "/api/alerts?state=raised", |found| subjects(found).len() == 2);
    assert_eq!((&seen["alerts"][0]["rule"], &seen["alerts"][0]["cleared_at"]), (&json!("source_mute"), &Value::Null));
    assert_eq!(subjects(&manager.get("/api/alerts").json()).len(), 2);
    assert_eq!(subjects(&bob.get("/api/alerts").json()), ["binance"]);
    assert_eq!(bob.get("/api/status").json()["alerts"].as_array().unwrap().len(), 1);
    // A page ends where it is said to end.
    let first = alice.get("/api/alerts?limit=1").json();
    let second = alice.get(&format!("/api/alerts?limit=1&before={}", first["next"].as_str().unwrap())).json();
    assert_eq!([subjects(&first), subjects(&second)].concat(), subjects(&seen));
    ask_simulator(port, "unmute");
    let over = until(&alice, "/api/alerts?state=cleared", |found| subjects(found).len() == 2);
    assert!(over["alerts"][0]["cleared_message"].as_str().unwrap().contains("prices come again"), "{over:#}");
}

#[test]
fn alert_settings_are_kept_checked_and_show_no_secret() {
    let (console, _) = start("");
    let (admin, bob) = (console.sign_in(ADMIN), console.user("bob", "user", &[]));
    assert_eq!(bob.get("/api/alerts/settings").code(), "forbidden");
    assert_eq!(bob.put("/api/alerts/settings", &json!({})).code(), "forbidden");
    let before = admin.get("/api/alerts/settings").json();
    assert_eq!((before["rules"].as_object().unwrap().len(), &before["webhooks"]), (7, &json!([])));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let secret = "canary-canary-canary";
    let set = admin.put("/api/alerts/settings", &json!({ "webhooks": [{ "url": url, "secret": secret }] }));
    assert_eq!(set.status, 200, "{}", set.body);
    let webhook = &set.json()["webhooks"][0];
    assert_eq!(
        (&webhook["has_secret"], &webhook["enabled"], &webhook["rules"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    let wrong = json!({ "webhooks": [{ "url": "ftp://h/", "secret": secret }] });
    let refused = admin.put("/api/alerts/settings", &wrong);
    assert_eq!((refused.status, &refused.json()["error"]["field"]), (422, &json!("webhooks[0].url")));
    assert!(!format!("{}{}{}", set.body, refused.body, console.log()).contains("canary"));

    // A redirect is not followed, and no more than the status is read.
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut bytes = [0; 4096];
        while !request.windows(6).any(|w| w == b"\"test\"") {
            let count = stream.read(&mut bytes).unwrap();
            assert_ne!(count, 0);
            request.extend_from_slice(&bytes[..count]);
        }
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let tried = admin.post(&format!("/api/alerts/webhooks/{}/test", webhook["id"]), &json!({}));
    assert_eq!((tried.status, &tried.json()["succeeded"], &tried.json()["status"]), (200, &json!(false), &json!(302)));
    let request = served.join().unwrap();
    assert!(request.to_lowercase().contains("tickwire-signature: t="), "{request}");
    let last = admin.get("/api/alerts/settings").json()["webhooks"][0]["last_delivery"].clone();
    assert_eq!(last["status"], 302, "{last}");
    assert_eq!(admin.post("/api/alerts/webhooks/99/test", &json!({})).status, 404);
    assert_eq!(admin.put("/api/alerts/settings", &json!({ "webhooks": [] })).json()["webhooks"], json!([]));
}
