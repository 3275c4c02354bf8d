//! The ticks of a hole, where the venue has them: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use engine_support::{Engine, QUIET, free_port};
use tickwire::clock;

const MINUTE_NS: i64 = 60_000_000_000;

fn sql(engine: &Engine, query: &str) -> String {
    let out = engine.run(&["sql", "--format", "TSV", query]);
    String::from_utf8_lossy(&out.stdout).trim().to_string()
}

/// Polls until the database says something else than before; the store may still be starting.
fn until(engine: &Engine, query: &str, wanted: impl Fn(&str) -> bool) -> String {
    let begun = std::time::Instant::now();
    loop {
        let found = sql(engine, query);
        if wanted(&found) {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 150, "{query}: {found}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// When the simulated venue has ticks in its past: four a minute.
fn stamps(from_ns: i64, to_ns: i64) -> Vec<i64> {
    let minutes = from_ns.div_euclid(MINUTE_NS)..=to_ns.div_euclid(MINUTE_NS);
    let all = minutes.flat_map(|minute| (0..4).map(move |nth| minute * MINUTE_NS + nth * 15_250_000_000));
    all.filter(|ns| (from_ns..to_ns).contains(ns)).collect()
}

/// The engine is killed, and killed again right after it has stored what it missed. Every tick that the venue has of the
/// holes is there once, and says what it is. Takes up to two minutes: ticks are asked for when their minute is over.
#[test]
fn the_ticks_of_a_hole_are_stored_once_before_it_counts_as_repaired() {
    let port = free_port();
    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    let config = [
        QUIET.replace("mode = \"off\"", store),
        "[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n".into(),
        "[repair]\ndelay_ms = 500\n[bars]\ntimeframes = [\"M1\"]\nprovisional_ms = 0\n".into(),
        format!(
            "[simulators.mt]\nbroker = \"mtapi\"\nlisten = \"127.0.0.1:{port}\"\nuser = \"7\"\npassword = \"demo\"\nsymbols = [\"BTCUSDT\"]\n\
             [sources.mt]\nadapter = \"mtapi\"\nbase_url = \"http://127.0.0.1:{port}\"\nuser = \"7\"\npassword = \"demo\"\n\
             server = \"Demo-Server\"\nbroker_time = \"new-york-close\"\nsymbols = [\"BTCUSDT\"]\nticks_quiet_ms = 100\n"
        ),
    ]
    .concat();
    let engine = Engine::start(&config);
    // What the database has, the journal has: before it, nobody knows after a kill that the pair was ever there.
    until(&engine, "SELECT count() FROM ticks", |n| n.parse().is_ok_and(|n: u64| n > 0));
    let dir = engine.kill();
    let killed_ns = clock::now_ns();
    // Until the venue has had a tick.
    while stamps(killed_ns, clock::now_ns()).is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let engine = Engine::start_in(dir, &config);
    until(&engine, "SELECT count() FROM ticks WHERE has(flags, 'repaired')", |n| n.parse().is_ok_and(|n: u64| n > 0));
    let engine = Engine::start_in(engine.kill(), &config);
    let holes = "SELECT epoch_opened, toUnixTimestamp64Nano(from_ts), toUnixTimestamp64Nano(assumeNotNull(to_ts)) FROM last_gaps \
                 WHERE state = 'repaired' AND cause = 'restart' ORDER BY epoch_opened";
    let told = until(&engine, holes, |told| told.lines().count() == 2);
    let mut expected = Vec::new();
    for line in told.lines() {
        let cells: Vec<i64> = line.split('\t').map(|cell| cell.parse().unwrap()).collect();
        expected.extend(stamps(cells[1] - 1_000_000_000, cells[2]));
    }
    expected.sort_unstable();
    expected.dedup();
    assert!(!expected.is_empty());
    let rows = "SELECT toUnixTimestamp64Nano(assumeNotNull(ts_event)) FROM ticks WHERE epoch = 0 ORDER BY 1";
    let found: Vec<i64> = sql(&engine, rows).lines().map(|ns| ns.parse().unwrap()).collect();
    assert_eq!(found, expected, "{told}");
    assert_eq!(sql(&engine, "SELECT DISTINCT flags, source FROM ticks WHERE epoch = 0"), "['fetched','repaired']\tmt");
    let (ended, dir) = engine.stop();
    assert!(ended);
    for check in ["audit", "replay-check"] {
        let out = engine_support::command(dir.path(), &dir.path().join("test.toml"), &[check]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{check}: {text}");
    }
}
