//! A source whose ticks are not stored: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::time::{Duration, Instant};

use engine_support::{Engine, QUIET, command, free_port};

fn config(port: u16, store_ticks: bool) -> String {
    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    format!(
        "{}[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n[repair]\nenabled = false\n\
         [simulators.a]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
         [sources.a]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
         store_ticks = {store_ticks}\n",
        QUIET.replace("mode = \"off\"", store)
    )
}

/// One number of the database, 0 while it does not answer.
fn number(engine: &Engine, what: &str) -> u64 {
    let out = engine.run(&["sql", "--format", "TSV", &format!("SELECT {what}")]);
    String::from_utf8_lossy(&out.stdout).trim().parse().unwrap_or(0)
}

/// Polls until the number is more than `than`, and returns it.
fn until_more(engine: &Engine, what: &str, than: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let found = number(engine, what);
        if found > than {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(100), "{what}: {found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn change(engine: &Engine, text: &str) {
    std::fs::write(&engine.config, text).unwrap();
    let out = engine.run(&["reload"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn ticks_are_stored_while_the_source_wants_it_and_what_is_made_of_them_always() {
    let port = free_port();
    let (with, without) = (config(port, true), config(port, false));
    let engine = Engine::start(&without);
    // One of the journal's batches holds both kinds: where there are quotes, ticks would be.
    let none_before = until_more(&engine, "max(seq) FROM quotes", 0);
    assert_eq!(number(&engine, "(SELECT count() FROM ticks) + (SELECT count() FROM rejects)"), 0);

    change(&engine, &with);
    let first = until_more(&engine, "min(seq) FROM ticks", 0);
    assert!(first > none_before, "{first} {none_before}");

    change(&engine, &without);
    // Quotes go on, ticks do not: stored both, they would be less than a second apart.
    until_more(&engine, "toInt64((SELECT max(seq) FROM quotes)) - toInt64((SELECT max(seq) FROM ticks))", 500);
    // Between the two changes none is missing, and the connection has been one and the same all the time.
    let missing = "count() FROM (SELECT chain - lagInFrame(chain, 1, chain - 1) OVER (ORDER BY chain ROWS BETWEEN 1 PRECEDING \
                   AND CURRENT ROW) AS step FROM all_ticks) WHERE step != 1";
    assert_eq!(number(&engine, missing), 0);
    assert_eq!(number(&engine, "count() FROM source_state WHERE state = 'live'"), 1);

    let (ended, dir) = engine.stop();
    assert!(ended);
    for check in ["audit", "replay-check"] {
        let out = command(dir.path(), &dir.path().join("test.toml"), &[check]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{check}: {text}");
    }
}
