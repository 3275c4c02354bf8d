//! A running engine gets other sources and instruments, and nothing else notices.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::time::{Duration, Instant};

use engine_support::{Engine, QUIET, command, free_port, http, oanda};
use serde_json::Value;
use tickwire_terminal::{Event, Terminal};

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

const BTCUSD: &str = "[instruments.BTCUSD]\nclass = \"crypto\"\ndigits = 2\npip = \"1\"\n";

fn word<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or("")
}

/// Asks until the answer is there.
fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ask() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Simulators with these ports, each with both symbols, that need no restart when a source comes.
fn simulators(ports: &[u16]) -> String {
    let of = |port: &u16| {
        let both =
            oanda(&format!("s{port}"), *port, "rate = 20.0", "").replace("[\"EURUSD\"]", "[\"EURUSD\", \"BTCUSD\"]");
        both.split("[sources.").next().unwrap().to_string()
    };
    ports.iter().map(of).collect()
}

fn source(name: &str, port: u16, symbols: &str, keys: &str) -> String {
    format!(
        "[sources.{name}]\nadapter = \"oanda\"\nbase_url = \"http://127.0.0.1:{port}\"\naccount = \"101-004-1234567-001\"\n\
         token = \"demo\"\nsymbols = {symbols}\n{keys}\n"
    )
}

/// Writes the file anew and says `reload`: whether it was taken, and what was said.
fn reload(engine: &Engine, config: &str) -> (bool, String) {
    std::fs::write(&engine.config, config).unwrap();
    let said = engine.run(&["reload"]);
    let text = [said.stdout, said.stderr].concat();
    (said.status.success(), String::from_utf8(text).unwrap())
}

/// Connections that a simulator has had.
fn connections(port: u16) -> Value {
    let stats = http(format!("127.0.0.1:{port}").parse().unwrap(), "GET", "/__sim/stats").1;
    serde_json::from_str::<Value>(&stats).unwrap()["sessions"].clone()
}

#[test]
fn a_source_and_a_symbol_join_and_the_first_source_does_not_notice() {
    let (a, b) = (free_port(), free_port());
    let base = [
        QUIET
            .replace("mode = \"off\"", "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"")
            .replace("\"fx\"", "\"crypto\""),
        "[pipeline]\ngroups = [[\"dedupe\"], [\"validate\"], [\"aggregate\", \"bars\", \"indicators\", \"gaps\"]]\n"
            .into(),
        simulators(&[a, b]),
    ]
    .concat();
    let first = source("first", a, "[\"EURUSD\"]", "");
    let engine = Engine::start(&[base.as_str(), &first].concat());
    let mut all = engine.watch(&["--delivery", "all", "--sources", "*", "--kinds", "tick,quote,source_state"]);
    all.until(|r| word(r, "kind") == "tick" && word(r, "source") == "first");
    let before = connections(a);

    let both = [base.as_str(), BTCUSD, &first, &source("second", b, "[\"EURUSD\", \"BTCUSD\"]", "")].concat();
    let said = reload(&engine, &both);
    assert_eq!(said, (true, "instruments.BTCUSD: added\nsources.second: added\n".into()));
    // The terminal that was connected all the time gets the new symbol, by name.
    let tick = all.until(|r| word(r, "kind") == "tick" && word(r, "symbol") == "BTCUSD");
    assert_eq!(word(&tick, "source"), "second");
    all.until(|r| word(r, "kind") == "quote" && word(r, "symbol") == "BTCUSD" && word(r, "bid_source") == "second");
    all.until(|r| word(r, "kind") == "quote" && word(r, "symbol") == "EURUSD" && r["sources"] == 2);
    // So does one that comes now.
    engine.watch(&["--symbols", "BTCUSD", "--limit", "1"]).until(|r| word(r, "symbol") == "BTCUSD");
    assert_eq!(connections(a), before, "the first source connected anew");
    let (_, health) = engine.health();
    assert_eq!(health["broker_connections"]["second"]["status"], "live", "{health}");
    assert_eq!(health["broker_connections"]["first"]["reconnects"], 0);
    assert_eq!(health["aggregation_metrics"]["total_symbols_tracked"], 2);
    let page = http(engine.console(), "GET", "/metrics").1;
    assert!(page.contains("tickwire_source_up{source=\"second\"} 1"), "{page}");
    until("the quality of the new pair", || {
        engine.health().1["source_quality"]["BTCUSD"]["second"]["score"].as_f64().is_some()
    });
    let counted = "SELECT source, symbol, count() > 0 FROM ticks GROUP BY source, symbol ORDER BY source, symbol";
    until("ticks of all three in the database", || {
        let rows = engine.run(&["sql", "--format", "TSV", counted]).stdout;
        rows == b"first\tEURUSD\t1\nsecond\tBTCUSD\t1\nsecond\tEURUSD\t1\n"
    });

    // And it goes again.
    let said = reload(&engine, &[base.as_str(), BTCUSD, &first].concat());
    assert_eq!(said, (true, "sources.second: removed\n".into()));
    all.until(|r| word(r, "source") == "second" && word(r, "state") == "stopped");
    all.until(|r| word(r, "kind") == "tick" && word(r, "source") == "first");
    let (status, health) = engine.health();
    assert_eq!(health["broker_connections"]["second"]["status"], "stopped");
    assert_eq!((status, &health["status"]), (200, &Value::from("ok")), "{health}");

    // And comes again, as the source that it was.
    assert_eq!(reload(&engine, &both), (true, "sources.second: added\n".into()));
    all.until(|r| word(r, "kind") == "tick" && word(r, "symbol") == "BTCUSD");
    assert_eq!(connections(a), before);

    let (ended, dir) = engine.stop();
    assert!(ended);
    replays_alike(&dir);
}

/// Every record of the journal comes again from its inputs, with the market as it was at the end from the beginning.
fn replays_alike(dir: &tempfile::TempDir) {
    let done = command(dir.path(), &dir.path().join("test.toml"), &["replay-check"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains(" 0 different") && !said.starts_with("0 inputs"), "{said}");
}

#[test]
fn a_crash_after_a_growth_is_recovered() {
    let (a, b) = (free_port(), free_port());
    let base =
        [&QUIET.replace("\"fx\"", "\"crypto\""), "[journal]\nsnapshot_every_s = 1\n", &simulators(&[a, b])].concat();
    let first = source("zfirst", a, "[\"EURUSD\"]", "");
    let both = [base.as_str(), BTCUSD, &first, &source("asecond", b, "[\"EURUSD\", \"BTCUSD\"]", "")].concat();
    let ticks = |engine: &Engine, source: &str, symbol: &str| {
        let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "tick"]);
        for _ in 0..40 {
            terminal.until(|r| word(r, "source") == source && word(r, "symbol") == symbol);
        }
    };
    let engine = Engine::start(&[base.as_str(), &first].concat());
    ticks(&engine, "zfirst", "EURUSD");
    assert!(reload(&engine, &both).0);
    ticks(&engine, "asecond", "BTCUSD");
    let dir = engine.kill();
    let engine = Engine::start_in(dir, &both);
    ticks(&engine, "zfirst", "EURUSD");
    ticks(&engine, "asecond", "BTCUSD");
    let (ended, dir) = engine.stop();
    assert!(ended);
    replays_alike(&dir);
}

#[test]
fn what_is_wrong_or_needs_a_restart_is_named_and_left_alone() {
    let (a, b) = (free_port(), free_port());
    let base = [QUIET.replace("\"fx\"", "\"crypto\""), simulators(&[a, b])].concat();
    let first = source("first", a, "[\"EURUSD\"]", "");
    let engine = Engine::start(&[base.as_str(), &first].concat());
    let mut terminal = engine.watch(&["--delivery", "all", "--kinds", "tick,source_state"]);
    terminal.until(|r| word(r, "kind") == "tick");
    let before = connections(a);

    let (taken, said) = reload(&engine, &[base.as_str(), &first, "[sources.x]\nadapter = \"odana\"\n"].concat());
    assert!(!taken && said.contains("sources.x.adapter: unknown adapter \"odana\""), "{said}");
    let unknown = source("second", b, "[\"GBPUSD\"]", "");
    let (taken, said) = reload(&engine, &[base.as_str(), &first, &unknown].concat());
    assert!(!taken && said.contains("GBPUSD is no instrument"), "{said}");
    let secret = source("second", b, "[\"EURUSD\"]", "").replace("\"demo\"", "\"env:TICKWIRE_TEST_NOT_SET\"");
    let (taken, said) = reload(&engine, &[base.as_str(), &first, &secret].concat());
    assert!(!taken && said.contains("sources.second") && said.contains("TICKWIRE_TEST_NOT_SET"), "{said}");

    let slower = [base.as_str(), "[journal]\nsync_ms = 20\n", &first].concat();
    for _ in 0..2 {
        // Named again as long as it is not in effect.
        assert_eq!(reload(&engine, &slower), (true, "journal.sync_ms: needs a restart\n".into()));
    }
    assert_eq!(reload(&engine, &[base.as_str(), &first].concat()), (true, "nothing changed\n".into()));
    // A changed source connects anew, and is the same source.
    let other = source("first", a, "[\"EURUSD\"]", "liveness_ms = 5000\npriority = 3");
    let said = reload(&engine, &[base.as_str(), &other].concat());
    assert_eq!(said, (true, "sources.first: changed\nsources.first.priority: needs a restart\n".into()));
    terminal.until(|r| word(r, "kind") == "source_state" && word(r, "state") == "live");
    terminal.until(|r| word(r, "kind") == "tick" && word(r, "source") == "first");
    assert_ne!(connections(a), before);
    // It gets a symbol that was not there before.
    let more = other.replace("[\"EURUSD\"]", "[\"EURUSD\", \"BTCUSD\"]").replace("priority = 3", "");
    let said = reload(&engine, &[base.as_str(), BTCUSD, &more].concat());
    assert_eq!(said, (true, "instruments.BTCUSD: added\nsources.first: changed\n".into()));
    terminal.until(|r| word(r, "kind") == "tick" && word(r, "symbol") == "BTCUSD");
    terminal.until(|r| word(r, "kind") == "tick" && word(r, "symbol") == "EURUSD");
    let (ended, dir) = engine.stop();
    assert!(ended);
    let nobody = command(dir.path(), &dir.path().join("test.toml"), &["reload"]).output().unwrap();
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(nobody.status.code() == Some(1) && said.contains("no engine runs in"), "{said}");
}

#[test]
fn a_terminal_learns_what_it_can_ask_for_and_gets_the_names_before_the_records() {
    let (a, b) = (free_port(), free_port());
    let base = [QUIET.replace("\"fx\"", "\"crypto\""), simulators(&[a, b])].concat();
    let first = source("first", a, "[\"EURUSD\"]", "");
    let engine = Engine::start(&[base.as_str(), &first].concat());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let terminal = Terminal::connect(engine.quic(), &engine.trust(), "").await.unwrap();
        let known = |symbol: &str| terminal.catalogue().instruments.iter().any(|i| i.symbol == symbol);
        let mut request = Terminal::request();
        request.symbols = vec!["BTC*".into()];
        let mut quotes = terminal.subscribe(request.clone()).await.unwrap();
        assert!(quotes.subscribed().instruments.is_empty() && !known("BTCUSD"));
        assert!(matches!(quotes.next().await, Ok(Some(Event::SnapshotEnd(_)))));
        let both = [base.as_str(), BTCUSD, &first, &source("second", b, "[\"BTCUSD\"]", "")].concat();
        assert!(reload(&engine, &both).0);
        let Ok(Some(Event::Catalogue(catalogue))) = quotes.next().await else { panic!("no names first") };
        let btcusd = catalogue.instruments.iter().find(|i| i.symbol == "BTCUSD").unwrap();
        assert!(catalogue.sources.iter().any(|s| s.name == "second"));
        let Ok(Some(Event::Record { data, .. })) = quotes.next().await else { panic!("no record") };
        assert_eq!(data.head().instrument_id, btcusd.id);
        // The control stream is another one: an answer on it comes behind the catalogue.
        terminal.ping().await.unwrap();
        assert!(known("BTCUSD") && !terminal.welcome().catalogue.instruments.iter().any(|i| i.id == btcusd.id));
        request.symbols = vec!["BTCUSD".into()];
        assert_eq!(terminal.subscribe(request).await.unwrap().subscribed().instruments, [btcusd.id]);
    });
}
