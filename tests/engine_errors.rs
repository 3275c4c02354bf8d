//! Wrong things: each gets one clear sentence and a non-zero exit, or is said where users look, and the rest goes on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Output;

use engine_support::{Engine, QUIET, command, free_port, oanda};

/// Runs a subcommand that is expected to fail; its exit code and the one sentence it says.
fn failing(config: &str, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, config).unwrap();
    let Output { status, stderr, .. } =
        command(dir.path(), &path, arguments).envs(env.iter().copied()).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    let sentences: Vec<_> = said.lines().filter(|line| line.starts_with("tickwire: ")).collect();
    assert_eq!(sentences.len(), 1, "one sentence: {said}");
    (status.code().unwrap(), sentences[0].to_string())
}

#[track_caller]
fn says(found: (i32, String), code: i32, parts: &[&str]) {
    assert_eq!(found.0, code, "{}", found.1);
    for part in parts {
        assert!(found.1.contains(part), "`{part}` is not in: {}", found.1);
    }
}

#[test]
fn a_wrong_configuration_names_key_and_file() {
    let with = |text: &str| format!("{QUIET}{text}");
    let check = |text: &str| failing(&with(text), &["check-config"], &[]);
    says(check("[journal]\nsink_ms = 5"), 2, &["test.toml", "journal.sink_ms", "unknown field"]);
    says(check("[journal]\nsync_ms = \"often\""), 2, &["test.toml", "journal.sync_ms", "expected u64"]);
    says(check("[jurnal]\nsync_ms = 5"), 2, &["test.toml", "jurnal", "unknown section"]);
    says(check("[validate.fx]\nmax_spread = \"5 pints\""), 2, &["test.toml", "validate.fx.max_spread", "pints"]);
    says(check("[pipeline]\ngroups = [[\"dedup\"]]"), 2, &["test.toml", "pipeline.groups", "`dedup` is not a stage"]);
    says(check("[pipeline]\ninbound_slots = 100"), 2, &["pipeline.inbound_slots", "power of two"]);
    says(check("[sources.x]\nadapter = \"reuters\"\nsymbols = []"), 2, &["sources.x.adapter", "reuters", "oanda"]);
    let unknown = oanda("x", 1, "", "token = \"t\"").replace("EURUSD", "EURGBP");
    says(check(&unknown), 2, &["sources.x.symbols", "EURGBP is no instrument", "[instruments.EURGBP]"]);
    let open = QUIET.replacen("127.0.0.1:0", "0.0.0.0:0", 1);
    says(failing(&open, &["check-config"], &[]), 2, &["console.listen", "not loopback"]);
    let env = failing(QUIET, &["check-config"], &[("TICKWIRE__JOURNAL__SYNC_MS", "often")]);
    says(env, 2, &["environment variable TICKWIRE__JOURNAL__SYNC_MS", "journal.sync_ms"]);
    let embedded = "mode = \"embedded\"\n";
    let store = |text: &str| {
        failing(&QUIET.replace("mode = \"off\"\n", &format!("{embedded}{text}\n")), &["check-config"], &[])
    };
    says(store("listen = \"0.0.0.0:8123\""), 2, &["storage.listen", "not loopback"]);
    says(store("database = \"prices\""), 2, &["storage.database", "prices"]);
    says(check("[validate.instruments.EURUSDT]\nmax_spread = \"1 pip\""), 2, &["validate", "EURUSDT is no instrument"]);
    says(failing("[journal", &["check-config"], &[]), 2, &["test.toml"]);
}

#[test]
fn check_config_shows_what_is_in_effect_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, format!("{QUIET}{}", oanda("x", 1, "", "token = \"canary-7\""))).unwrap();
    let done =
        command(dir.path(), &path, &["check-config"]).env("TICKWIRE__AGGREGATE__MAX_AGE_MS", "4321").output().unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && shown.contains("max_age_ms = 4321"), "{shown}");
    assert!(!shown.contains("canary-7") && shown.contains("********"), "{shown}");
}

#[test]
fn what_is_missing_or_taken_says_so() {
    let embedded = QUIET.replace("mode = \"off\"", "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"");
    says(
        failing(&embedded, &["run"], &[("TICKWIRE_CHDB", "/nowhere/libchdb.so")]),
        1,
        &["/nowhere/libchdb.so", "scripts/get-chdb"],
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let listener = TcpListener::bind(taken.unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let console = format!("{port}");
    let occupied = QUIET.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"127.0.0.1:{console}\""), 1);
    says(failing(&occupied, &["run"], &[]), 1, &["console.listen", &console, "in use"]);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let env = [("TICKWIRE__FANOUT__LISTEN", format!("127.0.0.1:{port}"))];
    says(failing(QUIET, &["run"], &[(env[0].0, &env[0].1)]), 1, &["fanout.listen", &port, "in use"]);

    let certificate =
        [("TICKWIRE__FANOUT__CERTIFICATE", "/nowhere/cert.pem"), ("TICKWIRE__FANOUT__KEY", "/nowhere/key.pem")];
    says(failing(QUIET, &["run"], &certificate), 1, &["/nowhere/cert.pem"]);

    says(failing(QUIET, &["watch"], &[]), 1, &["no engine runs here", "tickwire run"]);
    says(failing(QUIET, &["simulate"], &[]), 2, &["no simulators"]);
    let off = failing(QUIET, &["sql", "select 1"], &[]);
    says(off, 1, &["storage.mode is \"off\""]);
}

#[test]
fn a_second_engine_on_one_state_directory_is_refused() {
    let engine = Engine::start(QUIET);
    let done = engine.run(&["run"]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr).to_string();
    assert!(said.contains("another engine is using it"), "{said}");
}

#[test]
fn a_terminal_with_a_bad_token_or_symbol_is_told() {
    let tokens = "allow_anonymous_loopback = false\n[[fanout.tokens]]\nname = \"ann\"\ntoken = \"ann-secret\"\n";
    let config = QUIET.replace("[storage]", &format!("{tokens}[storage]"));
    let engine = Engine::start(&config);
    let said = |arguments: &[&str]| {
        let done = engine.run(&[&["watch", "--json", "--limit", "1"], arguments].concat());
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8_lossy(&done.stderr).to_string()
    };
    let refused = said(&["--token", "wrong-secret"]);
    assert!(refused.contains("token") && !refused.contains("wrong-secret"), "{refused}");
    assert!(said(&[]).contains("token"));
    let unknown = said(&["--token", "ann-secret", "--symbols", "NOPE"]);
    assert!(unknown.contains("NOPE"), "{unknown}");
    let kind = said(&["--token", "ann-secret", "--kinds", "quotes"]);
    assert!(kind.contains("there is no kind quotes"), "{kind}");
}

/// One broker refuses the login, another talks nonsense, and the third is served all the same.
#[test]
fn a_refused_login_and_garbage_are_said_and_the_others_go_on() {
    let (refusing, good) = (free_port(), free_port());
    let nonsense = TcpListener::bind("127.0.0.1:0").unwrap();
    let garbage = nonsense.local_addr().unwrap().port();
    // Answers as OANDA would, then sends lines that are no JSON; ends when the engine hangs up.
    std::thread::spawn(move || {
        for stream in nonsense.incoming().map_while(Result::ok) {
            let mut stream = stream;
            // The request first: an answer that comes before it is another error.
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(b"}{ this is not a price\n").is_ok() && stream.flush().is_ok() {
                std::thread::yield_now();
            }
        }
    });
    let source = |port: u16, token: &str| {
        format!(
            "base_url = \"http://127.0.0.1:{port}\"\naccount = \"101-004-1234567-001\"\ntoken = \"{token}\"\nsymbols = [\"EURUSD\"]\n"
        )
    };
    let config = [
        QUIET.to_string(),
        oanda("good", good, "rate = 5.0", "token = \"demo\""),
        oanda("refused", refusing, "", "token = \"canary-wrong\""),
        format!("[sources.garbage]\nadapter = \"oanda\"\n{}", source(garbage, "demo")),
    ];
    let engine = Engine::start(&config.concat());
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "quote,source_state"]);
    let refused =
        terminal.until(|r| r["kind"] == "source_state" && r["source"] == "refused" && r["cause"] == "login_refused");
    assert_eq!(refused["state"], "down");
    // Quotes go on while the garbage comes in.
    let mut quote = || drop(terminal.until(|r| r["kind"] == "quote" && r["bid_source"] == "good"));
    (0..20).for_each(|_| quote());
    assert!(std::iter::repeat_with(quote).take(1_000).any(|()| engine.metric("decode_errors_total") > 0.0));
    let (status, health) = engine.health();
    let connections = &health["broker_connections"];
    assert_eq!((status, health["status"].as_str()), (200, Some("degraded")));
    let words = connections["refused"]["last_error"].as_str().unwrap();
    assert!(words.contains("Insufficient authorization") && !words.contains("canary"), "{words}");
    assert!(connections["garbage"]["decode_errors"].as_u64() > Some(0), "{connections}");
    assert!(connections["good"]["last_error"].is_null(), "{connections}");
    assert_eq!(connections["good"]["connections"].to_string(), r#"{"live":1,"total":1}"#);
    assert_eq!(
        (&connections["refused"]["cause"], &connections["good"]["symbols"]),
        (&"login_refused".into(), &1.into())
    );
}

#[test]
fn without_a_live_source_health_is_503() {
    let engine = Engine::start(QUIET);
    let (status, health) = engine.health();
    assert_eq!((status, health["status"].as_str()), (503, Some("unavailable")));
    for field in [
        "service_name",
        "timestamp",
        "version",
        "uptime_seconds",
        "broker_connections",
        "aggregation_metrics",
        "quality_metrics",
        "storage",
    ] {
        assert!(!health[field].is_null(), "{field}");
    }
}

#[test]
fn replay_check_makes_nothing_where_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, QUIET).unwrap();
    let done = command(dir.path(), &path, &["replay-check"]).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("state/journal: no such folder, expected the journal of an engine"), "{said}");
    assert!(!dir.path().join("state").exists());
}
