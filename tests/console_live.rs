//! Live prices over the console, from a real engine with simulated Binances: needs libchdb (`scripts/get-chdb`) for the test
//! of bars.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use engine_support::{Engine, command, free_port};
use serde_json::Value;

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(150);

/// An engine with the global source `common` and alice's own, `mine`, and the tokens of alice and bob.
struct Rig {
    engine: Engine,
    console: SocketAddr,
    tokens: BTreeMap<&'static str, String>,
}

fn config(storage: &str) -> String {
    let (common, mine) = (free_port(), free_port());
    let source = |name: &str, port: u16, more: &str| {
        format!(
            "[simulators.{name}]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\nrate = 20.0\n\
             [sources.{name}]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\n\
             rest_url = \"http://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n{more}\n"
        )
    };
    format!(
        "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n[storage]\nmode = \"{storage}\"\nlisten = \"127.0.0.1:0\"\n\
         [instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n{}{}",
        source("common", common, ""),
        source("mine", mine, "scope = \"private\"\nowner = \"alice\""),
    )
}

fn users(dir: &std::path::Path, arguments: &[&str], input: &str) -> String {
    let arguments = [&["users"], arguments].concat();
    let mut child =
        command(dir, &dir.join("test.toml"), &arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{arguments:?}");
    String::from_utf8(out.stdout).unwrap().trim().to_string()
}

impl Rig {
    fn start(storage: &str) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let text = config(storage);
        std::fs::write(dir.path().join("test.toml"), &text).unwrap();
        let mut tokens = BTreeMap::new();
        for name in ["alice", "bob"] {
            users(dir.path(), &["add", name], "a password that is long enough\n");
            tokens.insert(name, users(dir.path(), &["token", name, "--label", "test"], ""));
        }
        let engine = Engine::start_in(dir, &text);
        Rig { console: engine.console(), engine, tokens }
    }

    fn open(&self, user: &str, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.console).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // As of this version an answer comes without chunks.
        let token = &self.tokens[user];
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        BufReader::new(stream)
    }

    /// Status and JSON of an answer.
    fn get(&self, user: &str, path: &str) -> (u16, Value) {
        let mut text = String::new();
        self.open(user, path).read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn stream(&self, user: &str, path: &str) -> Events {
        let mut lines = self.open(user, path);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.contains(" 200 ") && head.contains("text/event-stream"), "{head}");
        Events { lines }
    }

    /// Asks until the answer is as it should be.
    fn until(&self, user: &str, path: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, body) = self.get(user, path);
            if status == 200 && wanted(&body) {
                return body;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {status} {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next event: its name, its data, and whether it told how soon to come again.
    fn next(&mut self) -> Option<(String, Value, bool)> {
        let (mut name, mut data, mut retry) = (String::new(), Value::Null, false);
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(':') {
                Some(("event", value)) => name = value.trim().into(),
                Some(("data", value)) => data = serde_json::from_str(value).unwrap(),
                Some(("retry", value)) => retry = value.trim() == "2000",
                Some(("", _)) => {}
                None if line.trim().is_empty() && !name.is_empty() => return Some((name, data, retry)),
                None if line.trim().is_empty() => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The first event for which `wanted` has an answer, among the next thousand.
    fn until<T>(&mut self, mut wanted: impl FnMut(&str, &Value) -> Option<T>) -> T {
        for _ in 0..1_000 {
            let (name, data, _) = self.next().expect("the stream ended");
            if let Some(found) = wanted(&name, &data) {
                return found;
            }
        }
        panic!("a thousand events, and not the one that was waited for");
    }
}

fn depth_of<'a>(name: &str, data: &'a Value, source: &str) -> Option<&'a Value> {
    data.as_array().filter(|_| name == "depth")?.iter().find(|entry| entry["source"] == source)
}

#[test]
fn quotes_begin_with_a_snapshot_and_move() {
    let rig = Rig::start("off");
    let mut first = rig.stream("bob", "/api/live/quotes");
    let (name, _, retry) = first.next().unwrap();
    assert_eq!((name.as_str(), retry), ("quotes", true));
    let mut bids = Vec::new();
    while bids.len() < 3 {
        let quote = first.until(|name, data| (name == "quotes").then(|| data[0].clone()));
        assert_eq!((&quote["symbol"], &quote["bid_source"]), (&"BTCUSDT".into(), &"common".into()), "{quote}");
        assert!(["single", "locked", "crossed"].contains(&quote["state"].as_str().unwrap()), "{quote}");
        let pips = (number(&quote["ask"]) - number(&quote["bid"])) / 0.01;
        assert!((pips - quote["spread_pips"].as_f64().unwrap()).abs() < 0.01, "{quote}");
        bids.push(quote["bid"].as_str().unwrap().to_string());
    }
    bids.dedup();
    assert!(bids.len() > 1, "the price stands still: {bids:?}");
    // Whoever comes later begins with all there is.
    let (_, snapshot, _) = rig.stream("alice", "/api/live/quotes").next().unwrap();
    assert_eq!(snapshot[0]["symbol"], "BTCUSDT");
    let lines = rig.until("bob", "/api/live/sparklines", |lines| !lines["BTCUSDT"].is_null());
    assert!(number(&lines["BTCUSDT"][0]) > 0.0);
    let (_, instruments) = rig.get("bob", "/api/instruments");
    let instrument = &instruments["instruments"][0];
    assert_eq!((&instrument["symbol"], &instrument["pip"]), (&"BTCUSDT".into(), &"0.01".into()));
    assert_eq!(instrument["sources"], serde_json::json!(["common"]));
    for path in ["/api/bars?symbol=BTCUSDT&timeframe=M1", "/api/market-data/statistics"] {
        let (status, body) = rig.get("bob", path);
        assert_eq!((status, &body["error"]["code"]), (503, &"unavailable".into()), "nothing is stored");
    }
}

fn number(text: &Value) -> f64 {
    text.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_private_source_reaches_its_owner_alone() {
    let rig = Rig::start("off");
    let mut own = rig.stream("alice", "/api/live/symbols/BTCUSDT?source=mine&timeframe=M1");
    let price = own.until(|name, data| depth_of(name, data, "mine").cloned());
    assert!(number(&price["bid"]) > 0.0 && price["state"] == "fresh", "{price}");
    own.until(|name, data| depth_of(name, data, "common").cloned());
    let bar = own.until(|name, data| (name == "bar").then(|| data.clone()));
    assert_eq!((&bar["source"], &bar["bar"]["state"]), (&"mine".into(), &"provisional".into()), "{bar}");
    let seen =
        rig.until("alice", "/api/instruments", |all| all["instruments"][0]["sources"].as_array().unwrap().len() == 2);
    assert_eq!(seen["instruments"][0]["sources"], serde_json::json!(["common", "mine"]));
    // The other has the same board under their eyes, and sees what is common.
    let mut other = rig.stream("bob", "/api/live/symbols/BTCUSDT");
    for _ in 0..10 {
        let (name, data, _) = other.next().unwrap();
        assert!(!data.to_string().contains("mine"), "{data}");
        assert!(name != "depth" || data.as_array().unwrap().iter().all(|entry| entry["source"] == "common"), "{data}");
    }
    let (_, instruments) = rig.get("bob", "/api/instruments");
    assert!(!instruments.to_string().contains("mine"), "{instruments}");
    // What is another's is as what is not there.
    let refused = |source: &str| {
        let paths = [
            format!("/api/live/symbols/BTCUSDT?source={source}"),
            format!("/api/bars?source={source}&symbol=BTCUSDT&timeframe=M1"),
            format!("/api/bars.csv?source={source}&symbol=BTCUSDT&timeframe=M1"),
            format!("/api/ticks?source={source}&symbol=BTCUSDT"),
            format!("/api/indicators?source={source}&symbol=BTCUSDT&timeframe=M1"),
            format!("/api/market-data/exists?source={source}&symbol=BTCUSDT&timeframe=M1"),
        ];
        paths
            .map(|path| rig.get("bob", &path))
            .map(|(status, body)| (status, body.to_string().replace(source, "SOURCE")))
    };
    let (mine, _nothing) = (refused("mine"), refused("nonsense"));
    assert!(mine.iter().all(|(status, _)| *status == 404), "{mine:?}");
    assert_eq!(rig.get("bob", "/api/live/symbols/NOTHING").0, 404);
    assert_eq!(rig.get("bob", "/api/live/symbols/BTCUSDT?timeframe=M2").0, 422);
}

#[test]
fn readers_that_stop_reading_cost_nobody_else_anything() {
    let rig = Rig::start("off");
    let mut reader = rig.stream("bob", "/api/live/quotes");
    // Each is open, and reads no more after its first event.
    let mut stopped: Vec<Events> = Vec::new();
    for _ in 0..12 {
        let mut events = rig.stream("alice", "/api/live/quotes");
        events.next().unwrap();
        stopped.push(events);
    }
    let (status, body) = rig.get("alice", "/api/live/quotes");
    assert_eq!((status, &body["error"]["code"]), (429, &"too_many_attempts".into()), "{body}");
    for _ in 0..20 {
        let (name, data, _) = reader.next().unwrap();
        assert!(name == "quotes" && data.as_array().unwrap().len() <= 1, "one place for each symbol: {data}");
    }
    // Room again when one has gone.
    drop(stopped.pop());
    let begun = Instant::now();
    while rig.open("alice", "/api/live/quotes").fill_buf().unwrap().starts_with(b"HTTP/1.0 429") {
        assert!(begun.elapsed() < PATIENCE, "a stream that was closed counts for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(rig.engine.health().0 == 200);
}

#[test]
fn live_bars_are_those_that_are_stored() {
    let rig = Rig::start("embedded");
    let mut live = rig.stream("bob", "/api/live/symbols/BTCUSDT?source=common&timeframe=M1");
    let mut wanted =
        live.until(|name, data| (name == "bar" && data["bar"]["state"] == "final").then(|| data["bar"].clone()));
    let t = wanted["t"].clone();
    let path = "/api/bars?source=common&symbol=BTCUSDT&timeframe=M1";
    let bar_of = |page: &Value| page["bars"].as_array().unwrap().iter().find(|bar| bar["t"] == t).cloned();
    let page = rig.until("bob", path, |page| bar_of(page).is_some());
    let mut stored = bar_of(&page).unwrap();
    // Late trades may have revised its volume since.
    for bar in [&mut wanted, &mut stored] {
        for key in ["volume", "revision", "state"] {
            bar.as_object_mut().unwrap().remove(key).unwrap();
        }
    }
    assert_eq!(stored, wanted);
    // And the text is the database's own.
    let sql = format!(
        "SELECT bid_o, bid_h, bid_l, bid_c FROM bars_final WHERE source = 'common' AND timeframe = 'M1' AND open_ts = {t}"
    );
    let out = rig.engine.run(&["sql", "--format", "TSV", &sql]);
    let told: Vec<String> = String::from_utf8(out.stdout).unwrap().trim().split('\t').map(String::from).collect();
    assert_eq!(serde_json::json!(told), wanted["bid"]);
    let mut csv = String::new();
    rig.open("bob", &path.replace("/api/bars?", "/api/bars.csv?")).read_to_string(&mut csv).unwrap();
    let row = csv.lines().find(|line| line.contains(&told.join(","))).unwrap_or_else(|| panic!("{csv}"));
    assert!(row.contains(",own,") && csv.contains("\r\n\r\ntime,bid_open,"), "{csv}");
    let ticks = rig.until("bob", "/api/ticks?source=common&symbol=BTCUSDT&limit=2", |page| !page["next"].is_null());
    assert_eq!(ticks["ticks"].as_array().unwrap().len(), 2);
    assert_eq!(ticks["ticks"][0]["verdict"].as_str().map(str::is_empty), Some(false));
    let exists = rig.until("bob", "/api/market-data/exists?source=common&symbol=BTCUSDT&timeframe=M1", |found| {
        found["exists"] == true
    });
    assert!(exists["rows"].as_u64().unwrap() >= 1 && exists["first"].is_string(), "{exists}");
    // Of what is stored of alice's, bob is told nothing; she is.
    let mine = |all: &Value| all["series"].as_array().unwrap().iter().any(|of| of["source"] == "mine");
    rig.until("alice", "/api/market-data/statistics", mine);
    let (status, statistics) = rig.get("bob", "/api/market-data/statistics");
    assert!(status == 200 && !mine(&statistics), "{statistics}");
    rig.until("alice", "/api/bars?source=mine&symbol=BTCUSDT&timeframe=M1", |page| page["bars"][0]["bid"].is_array());
}
