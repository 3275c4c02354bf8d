//! A source leaves the configuration and comes back: every run is replayed with the sources that it had.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::path::Path;

use engine_support::{Engine, QUIET, command, free_port, http};

const REST: &str = "[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n\
    [journal]\nsnapshot_every_s = 1\n[bars]\nprovisional_ms = 0\n[repair]\nenabled = false\n";

fn simulator(name: &str, port: u16) -> String {
    format!("[simulators.{name}]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n")
}

fn source(name: &str, port: u16) -> String {
    format!(
        "[sources.{name}]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
         backoff_min_ms = 20\nbackoff_max_ms = 100\n"
    )
}

/// Compares the journal with its replay; what it says.
fn replay_check(dir: &Path) -> String {
    let done = command(dir, &dir.join("test.toml"), &["replay-check"]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{text}");
    assert!(text.contains(" 0 different") && text.contains(", 0 before the first snapshot"), "{text}");
    text
}

/// Runs until each of the sources has told a price, lost its connection and told another one, and `timers` seconds more
/// by the engine's own clock have gone into the journal.
fn run(engine: &Engine, sources: &[(&str, u16)]) {
    let mut terminal = engine.watch(&["--delivery", "all", "--sources", "*", "--kinds", "tick,gap"]);
    for (name, port) in sources {
        terminal.until(|r| r["kind"] == "tick" && r["source"] == **name);
        assert_eq!(http(format!("127.0.0.1:{port}").parse().unwrap(), "POST", "/__sim/drop").0, 200);
        terminal.until(|r| r["kind"] == "gap" && r["state"] == "closed" && r["source"] == **name);
    }
    // A snapshot a second: there is one of this run.
    let first = terminal.until(|r| r["kind"] == "tick")["ts_recv_ns"].as_i64().unwrap();
    terminal.until(|r| r["ts_recv_ns"].as_i64().is_some_and(|ns| ns > first + 1_500_000_000));
}

#[test]
fn runs_with_and_without_a_source_are_each_replayed_as_they_were() {
    let (a, b) = (free_port(), free_port());
    let simulators = [QUIET, REST, &simulator("a", a), &simulator("b", b)].concat();
    let both = [simulators.as_str(), &source("a", a), &source("b", b)].concat();
    let alone = [simulators.as_str(), &source("a", a)].concat();

    let engine = Engine::start(&both);
    run(&engine, &[("a", a), ("b", b)]);
    let (ended, dir) = engine.stop();
    assert!(ended);
    let engine = Engine::start_in(dir, &alone);
    run(&engine, &[("a", a)]);
    let dir = engine.kill();
    replay_check(dir.path());

    let engine = Engine::start_in(dir, &both);
    run(&engine, &[("b", b), ("a", a)]);
    let dir = engine.kill();
    // By the configuration of a run without it, too: what counts is who was there then.
    std::fs::write(dir.path().join("test.toml"), &alone).unwrap();
    replay_check(dir.path());
    let engine = Engine::start_in(dir, &alone);
    run(&engine, &[("a", a)]);
    let (ended, dir) = engine.stop();
    assert!(ended);
    replay_check(dir.path());

    // What is restored from the snapshots of the runs is what is restored without them.
    std::fs::remove_dir_all(dir.path().join("state/journal/snapshots")).unwrap();
    let engine = Engine::start_in(dir, &both);
    run(&engine, &[("a", a), ("b", b)]);
    let (ended, dir) = engine.stop();
    assert!(ended);
    replay_check(dir.path());
}
