//! Whose rows anybody sees: every viewer over every way to them. Needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::time::{Duration, Instant};

use console_support::{ADMIN, Console, PASSWORD, Person, binance, config, token, users};
use engine_support::free_port;
use tickwire_terminal::Terminal;

/// One that all may read, and one of each of two users.
const SOURCES: [&str; 3] = ["binance", "annsfeed", "bobsfeed"];

fn start() -> Console {
    let port = free_port();
    let private = |name, owner| binance(name, port, &format!("scope = \"private\"\nowner = \"{owner}\""));
    let text = config(port).replace("mode = \"off\"", "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"")
        + &private("annsfeed", "ann")
        + &private("bobsfeed", "bob")
        + "[repair]\nenabled = false\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    Console::start_in(dir, &text)
}

fn sql(console: &Console, arguments: &[&str]) -> (bool, String) {
    let out = console.engine.run(&[&["sql", "--format", "TSV"], arguments].concat());
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

/// Every page and every reading route of the API's document, with `source` wherever one is named.
fn addresses(console: &Console, source: &str) -> Vec<String> {
    let document = console.anonymous().get("/api/openapi.json").json();
    let reads = document["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("get").is_some());
    let query = format!("source={source}&symbol=BTCUSDT&timeframe=M1");
    let routes = reads.flat_map(|(path, _)| {
        let path = path.replace("{name}", source).replace("{symbol}", "BTCUSDT").replace("{id}", "1");
        [format!("{path}?{query}"), path]
    });
    let pages = ["/", "/connections", "/live", "/sources", "/market-data", "/gaps", "/jobs"].map(String::from);
    let of_it = [format!("/connections/{source}"), format!("/market-data?{query}")];
    routes.chain(pages).chain(of_it).collect()
}

/// Where a viewer is told of a source that is not theirs.
fn leaks(console: &Console, who: &str, person: &Person, hidden: &[&str]) -> Vec<String> {
    let mut leaks = Vec::new();
    for asked in hidden {
        for address in addresses(console, asked) {
            let answer = person.get(&address);
            // What is another's is as what is not there.
            let absent = |text: &str| text.replace(asked, "nosuchfeed");
            let is_absent = || absent(&answer.body) == person.get(&absent(&address)).body;
            let names_it = hidden.iter().any(|name| answer.body.contains(name));
            if names_it && !(answer.status == 404 && is_absent()) || answer.status >= 500 && answer.status != 503 {
                leaks.push(format!("{who}: {address}: {} {}", answer.status, answer.body));
            }
        }
        let path = format!("/api/data-connections/{asked}");
        if person.get(&path).status != 404 {
            leaks.push(format!("{who}: {path} is there"));
        }
    }
    for stream in ["/api/live/quotes", "/api/live/symbols/BTCUSDT"] {
        let mut events = person.events(stream);
        for _ in 0..10 {
            let (event, data) = events.next().expect("prices go on");
            if hidden.iter().any(|name| data.to_string().contains(name)) {
                leaks.push(format!("{who}: {stream}: {event} {data}"));
            }
        }
    }
    leaks
}

#[test]
fn nobody_sees_anothers_rows_over_pages_api_quic_or_sql() {
    let console = start();
    let viewers = [
        ("ann", console.user("ann", "user", &[]), vec!["annsfeed", "binance"]),
        ("bob", console.user("bob", "user", &[]), vec!["binance", "bobsfeed"]),
        ("sam", console.user("sam", "staff", &[]), vec!["binance"]),
        ("demo", console.user("demo", "demo", &[]), vec!["binance"]),
    ];
    // All three have rows to be seen.
    let begun = Instant::now();
    let stored = |database: &str| {
        let query = format!("SELECT DISTINCT source FROM {database}.ticks ORDER BY source");
        sql(&console, &["--write", &query]).1.lines().map(String::from).collect::<Vec<_>>()
    };
    while stored("md") != ["binance"] || stored("md_private") != ["annsfeed", "bobsfeed"] {
        assert!(begun.elapsed() < Duration::from_secs(100), "{:?} {:?}", stored("md"), stored("md_private"));
        std::thread::sleep(Duration::from_millis(100));
    }

    let mut wrong = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, person, sees) in &viewers {
        let hidden: Vec<&str> = SOURCES.into_iter().filter(|source| !sees.contains(source)).collect();
        wrong.extend(leaks(&console, name, person, &hidden));
        let ticks = |source: &str| person.get(&format!("/api/ticks?source={source}&symbol=BTCUSDT"));
        for source in sees {
            let rows = ticks(source);
            if rows.status != 200 || rows.json()["ticks"].as_array().is_none_or(Vec::is_empty) {
                wrong.push(format!("{name}: their own {source}: {} {}", rows.status, rows.body));
            }
        }
        // Who only looks on has no tokens for terminals.
        if *name == "demo" {
            continue;
        }
        let token = token(person, &["stream"]);
        let trust = console.engine.trust();
        let terminal = runtime.block_on(Terminal::connect(console.engine.quic(), &trust, &token)).unwrap();
        let mut told: Vec<String> = terminal.catalogue().sources.iter().map(|source| source.name.clone()).collect();
        told.sort_unstable();
        if told != *sees {
            wrong.push(format!("{name}: QUIC: {told:?}"));
        }
    }

    // Whoever has the password of the read-only user of the database.
    for query in [
        "SELECT count() FROM md_private.ticks",
        "SELECT * FROM merge('md_private', '.*') LIMIT 1",
        "SELECT * FROM clusterAllReplicas(default, md_private.ticks) LIMIT 1",
        "SHOW TABLES FROM md_private",
        "USE md_private",
    ] {
        let (worked, said) = sql(&console, &[query]);
        if worked && !said.trim().is_empty() {
            wrong.push(format!("SQL: {query}: {said}"));
        }
    }
    // The view `ohlc` wants parameters, and is made of `ticks`.
    let tables = "SELECT name FROM system.tables WHERE database = 'md' AND name != 'ohlc'";
    let (worked, tables) = sql(&console, &[tables]);
    assert!(worked && tables.lines().count() > 10, "{tables}");
    for table in tables.lines() {
        let (worked, said) = sql(&console, &[&format!("SELECT * FROM md.{table} FORMAT JSONEachRow")]);
        if !worked || said.contains("annsfeed") || said.contains("bobsfeed") {
            wrong.push(format!("SQL: {table}: {}", &said[..said.len().min(300)]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
