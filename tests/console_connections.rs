//! Data connections over the console's API: made, tried, run, watched and removed; by whom, and without a secret told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::path::Path;

use console_support::{ADMIN, Console, Person};
use engine_support::free_port;
use serde_json::{Value, json};

const CANARY: &str = "canary-4be911";

/// A simulated mtapi.io with one account; crypto trades on all days.
fn mtapi(port: u16) -> String {
    format!(
        "[simulators.mt]\nbroker = \"mtapi\"\nlisten = \"127.0.0.1:{port}\"\nuser = \"7\"\npassword = \"{CANARY}\"\n\
         symbols = [\"BTCUSD\", \"ETHUSD\"]\n"
    )
}

fn draft(port: u16, password: &str) -> Value {
    json!({
        "name": "demo",
        "adapter": "mtapi",
        "provider": "Demo Broker",
        "private": false,
        "config": {
            "base_url": format!("http://127.0.0.1:{port}"), "user": "7", "server": "Demo-Server",
            "broker_time": "new-york-close",
        },
        "secrets": { "password": password },
        "symbols": { "BTCUSD": "BTCUSD" },
        "timeframes": ["H1", "M1"],
    })
}

/// Asks until the answer is as it is to become.
fn until(asker: &Person, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_500 {
        let found = asker.get(path).json();
        if wanted(&found) {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{path} did not become as it was to: {}", asker.get(path).body);
}

fn connection<'a>(health: &'a Value, name: &str) -> &'a Value {
    let all = health["connections"].as_array().unwrap();
    all.iter().find(|connection| connection["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn a_connection_is_made_tried_run_let_go_and_removed() {
    let port = free_port();
    let console = Console::start_with(&mtapi(port));
    let admin = console.sign_in(ADMIN);
    let adapters = admin.get("/api/adapters").json();
    let of =
        |name: &str| adapters["adapters"].as_array().unwrap().iter().find(|a| a["adapter"] == name).unwrap().clone();
    let mt = of("mtapi");
    assert!(mt["has_account"] == true && mt["has_symbols"] == true && mt["timeframes"][0] == "M1", "{mt}");
    let password = mt["fields"].as_array().unwrap().iter().find(|field| field["key"] == "password").unwrap();
    assert_eq!((&password["kind"], &password["required"]), (&"secret".into(), &true.into()));

    // A wrong key, said in the venue's words with a cure.
    let tried = admin.post("/api/data-connections/test", &draft(port, "wrong")).json();
    assert_eq!((&tried["succeeded"], &tried["error_code"]), (&false.into(), &"wrong_key".into()), "{tried}");
    assert!(tried["message"].as_str().unwrap().contains("Invalid account") && tried["cure"].is_string(), "{tried}");
    let codes = admin.get("/api/error-codes").json();
    assert!(codes["error_codes"].as_array().unwrap().iter().any(|code| code["code"] == tried["error_code"]));
    let made = admin.post("/api/data-connections", &draft(port, "wrong"));
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    assert_eq!((&made["is_active"], &made["status"], &made["live"]), (&false.into(), &"inactive".into(), &Value::Null));
    assert_eq!((&made["secrets"], &made["timeframes"]), (&json!(["password"]), &json!(["M1", "H1"])));
    assert_eq!(admin.post("/api/data-connections", &draft(port, "x")).code(), "taken");
    let path = "/api/data-connections/demo";
    let nothing = json!({});
    assert_eq!(admin.post(&format!("{path}/test"), &nothing).json()["error_code"], "wrong_key");
    let shown = admin.get(path).json();
    assert!(shown["last_error"].as_str().unwrap().contains("Invalid account"), "{shown}");

    // Set right: latency, balance and a price.
    let changed = admin.patch(path, &json!({ "secrets": { "password": CANARY } }));
    assert_eq!(changed.status, 200, "{}", changed.body);
    // The draft of a form whose secret was not typed again.
    let mut untyped = draft(port, "");
    untyped["secrets"] = json!({});
    let tried = admin.post("/api/data-connections/test", &untyped).json();
    assert_eq!(tried["succeeded"], true, "{tried}");
    let tried = admin.post(&format!("{path}/test"), &nothing).json();
    assert!(
        tried["latency_ms"].is_number() && tried["balance"].is_string() && tried["currency"].is_string(),
        "{tried}"
    );
    assert!(tried["symbols"]["BTCUSD"]["bid"].is_string(), "{tried}");
    let found = admin.get(&format!("{path}/symbols?search=eth")).json();
    assert_eq!(found["symbols"][0]["canonical"], "ETHUSD", "{found}");
    let mut anything = draft(port, "");
    anything["search"] = "btc".into();
    let found = admin.post("/api/data-connections/symbols", &anything).json();
    assert_eq!(found["symbols"][0]["venue"], "BTCUSD", "{found}");
    assert!(admin.get(&format!("{path}/account")).json()["balance"].is_string());
    assert!(admin.get(&format!("{path}/positions")).json()["positions"].is_array());
    assert_eq!(admin.get("/api/data-connections/binance/account").code(), "not_offered");

    // Prices flow without a restart, in an instrument that nobody configured.
    let changed = admin.post(&format!("{path}/activate"), &nothing);
    assert_eq!(changed.status, 200, "{}", changed.body);
    let changes = changed.json()["changes"].to_string();
    assert!(changes.contains("sources.demo: added") && changes.contains("instruments.BTCUSD: added"), "{changes}");
    let health = until(&admin, "/api/data-connections/health", |health| {
        let demo = connection(health, "demo");
        demo["status"] == "active" && demo["ticks_per_second"].as_f64().unwrap_or(0.0) > 0.0
    });
    assert_eq!(
        (&connection(&health, "demo")["state"], &health["summary"]["active"]),
        (&"live".into(), &2.into()),
        "{health}"
    );
    assert!(connection(&health, "demo")["last_tick_at"].is_string());
    let live = admin.get(path).json();
    assert_eq!(
        (&live["live"]["connections"]["live"], &live["live"]["active_symbols"]),
        (&1.into(), &1.into()),
        "{live}"
    );
    until(&admin, &format!("{path}/logs?action=connect"), |log| log["entries"][0]["succeeded"] == true);

    // Let go, and it stops.
    let changed = admin.post(&format!("{path}/deactivate"), &nothing).json();
    assert!(changed["changes"].to_string().contains("sources.demo: removed"), "{changed}");
    assert_eq!((&changed["connection"]["status"], &changed["connection"]["live"]), (&"inactive".into(), &Value::Null));

    let log = admin.get(&format!("{path}/logs")).json();
    let actions: Vec<&str> =
        log["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    // What the engine and its jobs noted stands between.
    let ours = ["create", "edit", "test", "activate", "deactivate"];
    let done: Vec<&str> = actions.into_iter().filter(|action| ours.contains(action)).collect();
    assert_eq!(done, ["deactivate", "activate", "test", "edit", "test", "create"], "{log}");
    let failed = admin.get(&format!("{path}/logs?action=test&succeeded=false")).json();
    assert_eq!((failed["entries"].as_array().unwrap().len(), &failed["next"]), (1, &Value::Null), "{failed}");
    let first = admin.get(&format!("{path}/logs?limit=2")).json();
    let next = admin.get(&format!("{path}/logs?limit=2&before={}", first["next"].as_str().unwrap())).json();
    assert_eq!(
        [&first["entries"][0], &first["entries"][1], &next["entries"][0]],
        [0, 1, 2].map(|at| &log["entries"][at])
    );

    assert_eq!(admin.delete(path).status, 422);
    let removed = admin.delete(&format!("{path}?data=keep"));
    assert_eq!((removed.status, &removed.json()["rows_deleted"]), (200, &0.into()));
    assert_eq!(admin.get(path).status, 404);
    assert_eq!(admin.get(&format!("{path}/logs?limit=1")).json()["entries"][0]["action"], "remove");
    // The global source of the file was never touched, and is not to be changed here.
    assert_eq!(admin.get("/api/data-connections/binance").json()["live"]["reconnects"], 0);
    assert_eq!(admin.post("/api/data-connections/binance/deactivate", &nothing).code(), "read_only");
}

#[test]
fn users_have_their_own_and_never_see_or_reach_beyond() {
    let console = Console::start();
    let admin = console.sign_in(ADMIN);
    let (ann, bob) = (console.user("ann", "user", &[]), console.user("bob", "user", &[]));
    let (demo, staff) = (console.user("dora", "demo", &[]), console.user("sam", "staff", &[]));
    let public = |name: &str| {
        json!({ "name": name, "adapter": "binance", "config": { "base_url": "wss://93.184.216.34" },
                "symbols": { "BTCUSDT": "" }, "secrets": {} })
    };
    let made = ann.post("/api/data-connections", &public("anns"));
    assert_eq!((made.status, &made.json()["owner"]), (201, &"ann".into()), "{}", made.body);
    let path = "/api/data-connections/anns";
    for other in [&bob, &demo, &staff] {
        for answer in [
            other.get(path),
            other.patch(path, &json!({})),
            other.delete(&format!("{path}?data=keep")),
            other.post(&format!("{path}/test"), &json!({})),
            other.post(&format!("{path}/activate"), &json!({})),
            other.get(&format!("{path}/logs")),
            other.get(&format!("{path}/symbols")),
            other.get(&format!("{path}/account")),
        ] {
            // Those who look on are stopped by what they are before anything else.
            assert!(answer.status == 404 || answer.status == 403, "{answer:?}");
            assert!(!answer.body.contains("ann\""), "{answer:?}");
        }
        assert_eq!(other.get(path).status, 404);
        assert_eq!(connection(&other.get("/api/data-connections").json(), "anns"), &Value::Null);
        assert_eq!(connection(&other.get("/api/data-connections/health").json(), "anns"), &Value::Null);
    }
    assert_eq!(connection(&admin.get("/api/data-connections").json(), "anns")["owner"], "ann");
    // A taken name says no more.
    let taken = bob.post("/api/data-connections", &public("anns"));
    assert_eq!((taken.status, taken.code().as_str()), (409, "taken"));
    assert!(!taken.body.contains("ann\""));
    // It stays the first owner's after it is removed: what is stored under it is theirs.
    assert_eq!(ann.delete(&format!("{path}?data=keep")).status, 200);
    assert_eq!(bob.post("/api/data-connections", &public("anns")).code(), "taken");
    assert_eq!(ann.post("/api/data-connections", &public("anns")).status, 201);

    let field = |answer: console_support::Answer| {
        assert_eq!(answer.status, 422, "{}", answer.body);
        answer.json()["error"]["field"].as_str().unwrap_or_default().to_string()
    };
    let with = |key: &str, value: &str| {
        let mut draft = public("other");
        draft["config"][key] = value.into();
        draft
    };
    assert_eq!(field(bob.post("/api/data-connections", &with("base_url", "ws://127.0.0.1:1"))), "base_url");
    assert_eq!(field(bob.post("/api/data-connections/test", &with("base_url", "ws://localhost:1"))), "base_url");
    assert_eq!(field(bob.post("/api/data-connections", &with("standby_for", "binance"))), "standby_for");
    let mut global = public("other");
    global["private"] = false.into();
    assert_eq!(bob.post("/api/data-connections", &global).status, 403);
    assert_eq!(demo.post("/api/data-connections", &public("other")).status, 403);
    // Those who may read a global source see how it is, not how it is made.
    let seen = bob.get("/api/data-connections/binance").json();
    assert_eq!((&seen["config"], &seen["symbols"]), (&json!({}), &json!({ "BTCUSDT": "btcusdt" })), "{seen}");
    assert_eq!(bob.post("/api/data-connections/binance/test", &json!({})).status, 403);

    let approved = admin.put("/api/settings", &json!({ "approved_providers": ["kraken"] }));
    assert_eq!(approved.status, 200, "{}", approved.body);
    assert_eq!(field(bob.post("/api/data-connections", &public("other"))), "adapter");
    let adapters = bob.get("/api/adapters").json();
    let may: Vec<_> = adapters["adapters"].as_array().unwrap().iter().filter(|a| a["approved"] == true).collect();
    assert_eq!((may.len(), &may[0]["adapter"]), (1, &"kraken".into()));
    assert_eq!(admin.post("/api/data-connections", &public("other")).status, 201, "managers may all");
}

/// Every file below a directory, as far as it holds a text.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is = |path: &Path| std::fs::read(path).unwrap_or_default().windows(text.len()).any(|w| w == text.as_bytes());
    entries
        .flat_map(|path| match path.is_dir() {
            true => holding(&path, text),
            false if is(&path) => vec![path.display().to_string()],
            false => Vec::new(),
        })
        .collect()
}

#[test]
fn a_secret_is_told_nowhere() {
    let port = free_port();
    let console = Console::start_with(&mtapi(port));
    let admin = console.sign_in(ADMIN);
    let path = "/api/data-connections/demo";
    let mut told = Vec::new();
    let wrong = format!("{CANARY}-wrong");
    let mut bad_url = draft(port, CANARY);
    bad_url["config"]["base_url"] = format!("http://me:{CANARY}@127.0.0.1:{port}").into();
    let mut bad_query = draft(port, CANARY);
    bad_query["config"]["stream_url"] = format!("ws://127.0.0.1:{port}/?token={CANARY}").into();
    let mut bad_path = draft(port, CANARY);
    bad_path["config"]["base_url"] = format!("http://127.0.0.1:{port}/?{CANARY}").into();
    let mut misplaced = draft(port, CANARY);
    misplaced["config"]["password"] = CANARY.into();
    let mut unknown = draft(port, CANARY);
    unknown["config"]["api_key"] = CANARY.into();
    let shapes =
        [json!({ "secrets": { "password": { "is": CANARY } } }), json!({ "secrets": CANARY }), json!([CANARY])];
    for body in [&bad_url, &bad_query, &bad_path, &unknown, &draft(port, &wrong)] {
        told.push(admin.post("/api/data-connections/test", body).body);
        told.push(admin.post("/api/data-connections/symbols", body).body);
    }
    for body in [&bad_url, &bad_query, &bad_path, &unknown].into_iter().chain(&shapes) {
        told.push(admin.post("/api/data-connections", body).body);
    }
    told.push(admin.post("/api/data-connections", &misplaced).body);
    told.push(
        admin.patch(path, &json!({ "secrets": { "password": wrong, "session": format!("{CANARY}-session") } })).body,
    );
    told.push(admin.post(&format!("{path}/test"), &json!({})).body);
    told.push(admin.post(&format!("{path}/activate"), &json!({})).body);
    // Refused by the venue, which repeats what it was sent; in the log of the connection too.
    until(&admin, path, |shown| shown["status"] == "error");
    told.push(admin.patch(path, &json!({ "secrets": { "password": CANARY } })).body);
    until(&admin, path, |shown| shown["status"] == "active");
    for path in ["", "/health", "/demo", "/demo/logs", "/demo/account", "/demo/positions", "/demo/symbols"] {
        told.push(admin.get(&format!("/api/data-connections{path}")).body);
    }
    for path in ["/metrics", "/health", "/api/status", "/api/openapi.json"] {
        told.push(admin.get(path).body);
    }
    told.push(admin.post(&format!("{path}/deactivate"), &json!({})).body);
    told.push(console.log());
    for text in &told {
        assert!(!text.contains(CANARY), "{text}");
    }
    let state = console.engine.state();
    let (ended, dir) = console.engine.stop();
    assert!(ended);
    assert_eq!(holding(&dir.path().join(state.file_name().unwrap()), CANARY), Vec::<String>::new());
    assert!(!std::fs::read_to_string(dir.path().join("engine.log")).unwrap().contains(CANARY));
}
