//! What a user sees of the whole engine: simulated brokers in, a terminal and the console out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::net::SocketAddr;

use engine_support::{Engine, QUIET, free_port, http, oanda};
use serde_json::Value;
use tickwire_terminal::{Event, Terminal};

fn ask_simulator(port: u16, mood: &str) {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(http(address, "POST", &format!("/__sim/{mood}")).0, 200);
}

fn word<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or("")
}

/// The ledger of holes in `/health`, once it is as wanted.
fn holes(engine: &Engine, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let (_, mut health) = engine.health();
        let holes = health["gaps"].take();
        if wanted(&holes) {
            return holes;
        }
        assert!(begun.elapsed().as_secs() < 60, "the ledger was never so: {holes}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The socket stays open and heartbeats go on, but no price comes.
#[test]
fn a_mute_source_leaves_the_best_price_and_its_hole_is_told() {
    let (good, mute) = (free_port(), free_port());
    let quick = "token = \"demo\"\nliveness_ms = 700\nmute_reconnect_ms = 60000";
    let config = [
        // What trades on weekends too: else silence would be no fault on those.
        QUIET.replace("\"fx\"", "\"crypto\""),
        "[aggregate]\nmax_age_ms = 1500\n".into(),
        oanda("good", good, "rate = 5.0", quick),
        oanda("quiet", mute, "rate = 5.0", quick),
    ];
    let engine = Engine::start(&config.concat());
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "quote,gap,source_state"]);
    terminal.until(|r| word(r, "kind") == "quote" && r["sources"] == 2);

    ask_simulator(mute, "mute");
    let state = terminal.until(|r| word(r, "kind") == "source_state" && word(r, "source") == "quiet");
    assert_eq!((word(&state, "state"), word(&state, "cause")), ("mute", "mute"), "{state}");
    let (mut left, mut open) = (None, None);
    while left.is_none() || open.is_none() {
        let record = terminal.next().unwrap();
        match word(&record, "kind") {
            "quote" if record["sources"] == 1 => left = Some(record),
            "gap" if word(&record, "source") == "quiet" => open = Some(record),
            _ => {}
        }
    }
    let (left, open) = (left.unwrap(), open.unwrap());
    assert_eq!((word(&left, "bid_source"), word(&left, "ask_source")), ("good", "good"));
    assert_eq!((word(&open, "cause"), word(&open, "state"), word(&open, "symbol")), ("mute", "open", "EURUSD"));
    let (status, health) = engine.health();
    assert_eq!((status, &health["status"]), (200, &Value::from("degraded")));
    assert_eq!(health["broker_connections"]["quiet"]["status"], "mute");
    assert_eq!(health["broker_connections"]["good"]["status"], "live");
    let holes = holes(&engine, |holes| holes["open_count"] == 1);
    let shown = &holes["open"][0];
    assert_eq!((word(shown, "source"), word(shown, "symbol"), word(shown, "cause")), ("quiet", "EURUSD", "mute"));
    assert_eq!((&shown["gap_id"], &shown["to"]), (&open["gap_id"], &Value::Null), "{shown}");

    ask_simulator(mute, "unmute");
    let closed = terminal.until(|r| word(r, "kind") == "gap" && word(r, "state") == "closed");
    assert_eq!((word(&closed, "cause"), word(&closed, "source")), ("mute", "quiet"));
    assert!(closed["to_ns"].as_i64() > closed["from_ns"].as_i64(), "{closed}");
    assert_eq!((&closed["from_ns"], &closed["gap_id"]), (&open["from_ns"], &open["gap_id"]));
    let holes = self::holes(&engine, |holes| holes["open_count"] == 0);
    assert_eq!(holes["newest"][0]["gap_id"], open["gap_id"]);
    assert_eq!(holes["counts"]["quiet"]["mute"]["closed"], 1, "{holes}");
    assert!(engine.metric("gaps_total") >= 2.0, "one opened, one closed");
    terminal.until(|r| word(r, "kind") == "quote" && r["sources"] == 2);
}

/// Of two equal brokers one falls silent again and again; the engine, and the database after it, recommend the other.
#[test]
fn the_source_that_is_mute_half_the_time_is_not_recommended() {
    let (good, mute) = (free_port(), free_port());
    let quick = "token = \"demo\"\nliveness_ms = 300\nmute_reconnect_ms = 60000";
    let config = [
        QUIET.replace("\"fx\"", "\"crypto\""),
        // Among equals the one that will be mute would win.
        oanda("quiet", mute, "rate = 20.0", &format!("{quick}\npriority = 1")),
        oanda("good", good, "rate = 20.0", &format!("{quick}\npriority = 2")),
    ];
    let engine = Engine::start(&config.concat());
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "source_state,tick"]);
    terminal.until(|r| word(r, "source") == "quiet" && word(r, "kind") == "tick");
    for _ in 0..2 {
        for (mood, state) in [("mute", "mute"), ("unmute", "live")] {
            ask_simulator(mute, mood);
            terminal.until(|r| word(r, "source") == "quiet" && word(r, "state") == state);
        }
    }
    ask_simulator(mute, "mute");
    terminal.until(|r| word(r, "source") == "quiet" && word(r, "state") == "mute");
    // Shown twice a second: the first may be of a moment in which neither was live yet.
    let begun = std::time::Instant::now();
    loop {
        let (_, health) = engine.health();
        let quality = &health["source_quality"];
        let of = |source: &str, field: &str| quality["EURUSD"][source][field].as_f64();
        let better = |field: &&str| of("good", field) > of("quiet", field);
        let fields = ["score", "uptime_percent", "completeness_percent", "ticks_per_second"];
        if health["recommended"]["EURUSD"] == "good"
            && fields.iter().all(better)
            && of("quiet", "uptime_percent").is_some_and(|up| up < 90.0)
            && of("good", "best_share_percent") > Some(0.0)
        {
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "the mute source is as good: {quality}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let table = String::from_utf8(engine.run(&["sources"]).stdout).unwrap();
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("EURUSD  good *")), "{table}");
    let json = engine.run(&["sources", "--json"]).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&json["from"], &json["recommended"]["EURUSD"]), (&Value::from("engine"), &Value::from("good")));
}

/// Silence of a source whose market is closed is no fault: it is neither told nor mended.
#[test]
fn a_source_is_not_mute_while_its_market_is_closed() {
    let (closed, open) = (free_port(), free_port());
    let quick = "token = \"demo\"\nliveness_ms = 300\nmute_reconnect_ms = 700";
    let config = [
        QUIET.to_string(),
        "[instruments.BTCUSD]\nclass = \"crypto\"\ndigits = 2\npip = \"1\"\n".into(),
        "[calendar]\nfx = [\"2000-01-01T00:00/2200-01-01T00:00\"]\n".into(),
        oanda("closed", closed, "rate = 5.0", quick),
        oanda("open", open, "rate = 5.0", quick).replace("EURUSD", "BTCUSD"),
    ];
    let engine = Engine::start(&config.concat());
    let mut terminal = engine.watch(&["--delivery", "all", "--sources", "*", "--kinds", "tick,source_state"]);
    for source in ["closed", "open"] {
        terminal.until(|r| word(r, "kind") == "tick" && word(r, "source") == source);
    }
    ask_simulator(closed, "mute");
    ask_simulator(open, "mute");
    let mut told = Vec::new();
    // When the open one has been given up, the other has been silent for as long.
    while !told.iter().any(|(source, state): &(String, String)| source == "open" && state == "down") {
        let record = terminal.next().unwrap();
        if word(&record, "kind") == "source_state" {
            told.push((word(&record, "source").to_string(), word(&record, "state").to_string()));
        }
    }
    assert!(told.contains(&("open".into(), "mute".into())), "{told:?}");
    assert!(told.iter().all(|(source, state)| source == "open" || state == "live"), "{told:?}");

    // A lost connection is told all the same.
    ask_simulator(closed, "drop");
    terminal
        .until(|r| word(r, "kind") == "source_state" && word(r, "source") == "closed" && word(r, "state") == "down");
}

#[test]
fn a_private_source_is_its_owners_alone() {
    let (common, own) = (free_port(), free_port());
    let tokens = "[[fanout.tokens]]\nname = \"ann\"\ntoken = \"ann-secret\"\nuser = \"ann\"\n\
                  [[fanout.tokens]]\nname = \"bob\"\ntoken = \"bob-secret\"\nuser = \"bob\"\n";
    let config = [
        QUIET.to_string(),
        tokens.into(),
        oanda("common", common, "rate = 5.0", "token = \"demo\""),
        oanda("anns", own, "rate = 5.0\nspread = 0.01", "token = \"demo\"\nscope = \"private\"\nowner = \"ann\""),
    ];
    let engine = Engine::start(&config.concat());
    let mut ann =
        engine.watch(&["--token", "ann-secret", "--sources", "*", "--delivery", "all", "--kinds", "tick,quote"]);
    let mut bob = engine.watch(&[
        "--token",
        "bob-secret",
        "--sources",
        "*",
        "--delivery",
        "all",
        "--kinds",
        "tick,quote,gap,source_state",
    ]);
    ann.until(|r| word(r, "kind") == "tick" && word(r, "source") == "anns");
    ann.until(|r| word(r, "kind") == "quote" && word(r, "bid_source") == "anns");
    // Her spread is a hundredth of the common one: were it counted, it would own the common price.
    let mut quotes = 0;
    while quotes < 50 {
        let record = bob.next().unwrap();
        assert!(!record.to_string().contains("anns"), "{record}");
        quotes += i32::from(word(&record, "kind") == "quote");
    }
    let mut seen_own = 0;
    while seen_own < 20 {
        let record = ann.next().unwrap();
        let own = word(&record, "source") == "anns" || word(&record, "bid_source") == "anns";
        seen_own += i32::from(own);
        if word(&record, "kind") == "quote" && word(&record, "bid_source") != "anns" {
            assert!(!record.to_string().contains("anns"), "the common price: {record}");
        }
    }
}

#[test]
fn two_hundred_terminals_open_no_socket_to_a_broker() {
    let (a, b) = (free_port(), free_port());
    let config = [
        QUIET.replace("[fanout]\n", "[fanout]\nthreads = 2\n"),
        oanda("a", a, "", "token = \"demo\""),
        oanda("b", b, "", "token = \"demo\""),
    ];
    let engine = Engine::start(&config.concat());
    engine.watch(&[]).until(|r| r["sources"] == 2);
    assert_eq!(engine.metric("broker_sockets"), 2.0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut terminals = Vec::new();
        for _ in 0..200 {
            let terminal = Terminal::connect(engine.quic(), &engine.trust(), "").await.unwrap();
            let mut request = Terminal::request();
            request.symbols = vec!["*".into()];
            let mut quotes = terminal.subscribe(request).await.unwrap();
            assert!(matches!(quotes.next().await, Ok(Some(Event::Record { .. }))));
            terminals.push((terminal, quotes));
        }
        assert!(engine.metric("terminals") >= 200.0);
        let of_thread = |thread: u8| engine.metric(&format!("thread_terminals{{thread=\"{thread}\"}}"));
        assert!(of_thread(0) > 0.0 && of_thread(1) > 0.0 && of_thread(0) + of_thread(1) >= 200.0);
        assert_eq!(engine.metric("broker_sockets"), 2.0);
    });
}

#[test]
fn a_run_replays_to_the_same_bytes_also_over_a_restart_and_in_other_groups() {
    let (a, b) = (free_port(), free_port());
    let faults = "rate = 20.0\nduplicates = 0.05\nout_of_order = 0.05\ncrossed = 0.05\nfat_finger = 0.05";
    let config =
        [QUIET.to_string(), oanda("a", a, faults, "token = \"demo\""), oanda("b", b, faults, "token = \"demo\"")]
            .concat();
    let mut dir = None;
    for _ in 0..2 {
        let engine = dir.map_or_else(|| Engine::start(&config), |dir| Engine::start_in(dir, &config));
        let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "tick"]);
        (0..600).for_each(|_| drop(terminal.next().unwrap()));
        drop(terminal);
        let (ended_well, folder) = engine.stop();
        assert!(ended_well);
        dir = Some(folder);
    }
    let dir = dir.unwrap();
    let groups = "[pipeline]\ngroups = [[\"dedupe\"], [\"validate\"], [\"aggregate\", \"bars\", \"gaps\"]]\n";
    for (name, text) in [("one.toml", config.clone()), ("three.toml", format!("{groups}{config}"))] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let done = engine_support::command(dir.path(), &path, &["replay-check"]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains(" 0 different"), "{said}");
        assert!(!said.starts_with("0 inputs"), "{said}");
    }
}
