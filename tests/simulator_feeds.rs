//! The engine's own adapters against the simulated brokers: both were written from the documents, apart from each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tickwire::config::Config;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, Price, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::words::SourceStatus;
use tokio::sync::watch;

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        // The receiver is gone when the test has seen enough.
        let _ = self.0.send(*input);
    }
}

/// Simulated brokers and the engine's feeds connected to them. Sources are numbered by their place in `names`, symbols
/// by their place in `symbols`.
struct Rig {
    simulators: SimulatorsHandle,
    feeds: FeedsHandle,
    stop: watch::Sender<bool>,
    inputs: mpsc::Receiver<Input>,
    names: Vec<String>,
    symbols: Vec<String>,
    first_index: usize,
}

impl Rig {
    /// Starts what `config` says, its simulators on ports that the system chooses.
    fn new(mut config: Config, first_index: usize) -> Rig {
        let mut brokers = simulator::parse(&config).unwrap();
        brokers.values_mut().for_each(|broker| broker.listen.set_port(0));
        let simulators = simulator::start(brokers).unwrap();
        for (name, address) in simulators.addresses() {
            let scheme = if name == "binance" { "ws" } else { "http" };
            config.overlay(&format!("[sources.{name}]\nbase_url = \"{scheme}://{address}\""), "test").unwrap();
        }
        let specs = feeds::config::sources(&config).unwrap();
        let mut symbols: Vec<String> = Vec::new();
        let mut names = Vec::new();
        let mut connect = Vec::new();
        for (at, spec) in specs.into_iter().enumerate() {
            names.push(spec.name.clone());
            let mut id = |name: &String| {
                let at = symbols.iter().position(|s| s == name).unwrap_or_else(|| {
                    symbols.push(name.clone());
                    symbols.len() - 1
                });
                InstrumentId(at as u32)
            };
            let instruments = spec.symbols.iter().map(|s| id(&s.canonical)).collect();
            connect.push(Feed { spec, source: SourceId(at as u32), index: first_index + at, instruments });
        }
        let (sender, inputs) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
        let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
        let feeds = feeds::start(connect, &ingest, vec![inlet], stopped).unwrap();
        Rig { simulators, feeds, stop, inputs, names, symbols, first_index }
    }

    fn next(&self) -> Input {
        self.inputs.recv_timeout(Duration::from_secs(60)).expect("the feeds say something")
    }

    fn stop(self) {
        for (at, name) in self.names.iter().enumerate() {
            assert_eq!(
                metrics::DECODE_ERRORS.at(self.first_index + at, 0).get(),
                0,
                "{name} said what cannot be decoded"
            );
        }
        self.stop.send(true).unwrap();
        self.feeds.join();
        self.simulators.stop();
    }
}

#[test]
fn the_demonstration_shows_all_its_symbols_from_all_its_sources() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.toml");
    let rig = Rig::new(Config::load(&[demo], std::iter::empty()).unwrap(), 1);
    let mut seen: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut trades = 0;
    let started = Instant::now();
    while seen.len() < 10 || seen.values().any(|count| *count < 5) || trades < 5 {
        assert!(started.elapsed() < Duration::from_secs(60), "{seen:?}");
        match rig.next() {
            Input::Tick(tick) => {
                let source = &rig.names[tick.head.source_id as usize];
                let symbol = &rig.symbols[tick.head.instrument_id as usize];
                *seen.entry((source.clone(), symbol.clone())).or_default() += 1;
                // Binance's best price has no stamp; a wrong rule of the brokers' clocks would be hours off.
                if source != "binance" {
                    let age_ns = tick.ts_recv_ns - tick.ts_event_ns;
                    assert!((0..10_000_000_000).contains(&age_ns), "{source} {symbol}: {age_ns} ns old");
                }
            }
            Input::Trade(trade) => trades += u32::from(trade.size_e8 > 0),
            _ => {}
        }
    }
    rig.stop();
}

#[test]
fn a_symbol_leaves_a_running_source_and_nobody_is_disconnected() {
    let demo = || Config::load(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.toml")], std::iter::empty());
    let rig = Rig::new(demo().unwrap(), 11);
    let place = |names: &[String], name: &str| names.iter().position(|n| n == name).unwrap() as u32;
    let source = place(&rig.names, "binance");
    let [bitcoin, ether] = ["BTCUSDT", "ETHUSDT"].map(|symbol| place(&rig.symbols, symbol));
    let mut live = 0;
    while live < rig.names.len() {
        live +=
            usize::from(matches!(rig.next(), Input::SourceState(state) if state.status == SourceStatus::Live.code()));
    }
    let address = rig.simulators.addresses().find(|(name, _)| *name == "binance").unwrap().1;
    let mut config = demo().unwrap();
    let less = format!("[sources.binance]\nbase_url = \"ws://{address}\"\nsymbols = [\"ETHUSDT\"]");
    config.overlay(&less, "test").unwrap();
    let spec = feeds::config::sources(&config).unwrap().into_iter().find(|spec| spec.name == "binance").unwrap();
    let index = rig.first_index + source as usize;
    let feed = Feed { spec, source: SourceId(source), index, instruments: vec![InstrumentId(ether)] };
    rig.feeds.control().replace(feed).unwrap().wait().unwrap();
    let (mut left, mut ethers) = (false, 0);
    while ethers < 10 {
        match rig.next() {
            Input::SourceState(state) => {
                let end = (source, bitcoin, SourceStatus::Stopped.code());
                assert_eq!((state.head.source_id, state.head.instrument_id, state.status), end, "and no other state");
                left = true;
            }
            Input::Tick(tick) if tick.head.source_id == source && left => {
                assert_eq!(tick.head.instrument_id, ether);
                ethers += 1;
            }
            _ => {}
        }
    }
    assert_eq!(rig.feeds.statuses()[source as usize].reconnects(), 1);
    rig.stop();
}

/// Count and sum of the bids and asks of a `lean` file in a window of its milliseconds.
fn lean(file: &Path, from_ms: u32, to_ms: u32) -> (u64, i128) {
    let text = String::from_utf8(zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap()).unwrap();
    let mut total = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        if (from_ms..to_ms).contains(&fields[0].parse().unwrap()) {
            let price = |at: usize| i128::from(Price::parse(fields[at].as_bytes()).unwrap().e9());
            total = (total.0 + 1, total.1 + price(1) + price(2));
        }
    }
    total
}

/// By source and symbol: how many rows, and the sum of their bids and asks.
type Totals = BTreeMap<(String, String), (u64, i128)>;

fn recorded_config(data: &Path) -> (String, Totals) {
    const HOUR: u32 = 3_600_000;
    let mut expected = BTreeMap::new();
    let mut text = String::new();
    let oanda = "account = \"101-004-1234567-001\"\ntoken = \"demo\"";
    let mtapi = "user = \"demo\"\npassword = \"demo\"\nserver = \"Demo-Server\"\nbroker_time = \"new-york-close\"";
    for (name, broker, login, zone_hours) in [("oanda", "oanda", oanda, 0), ("fxcm", "mtapi", mtapi, 5)] {
        let mut playback = String::new();
        for (symbol, pair) in [("EURUSD", "eurusd"), ("NZDUSD", "nzdusd")] {
            let file = data.join(format!("lean/tick/{name}/{pair}/20140502_{pair}_tick_quote.csv.zst"));
            let from_ms = 11 * HOUR + HOUR / 2 - zone_hours * HOUR;
            expected.insert((name.to_string(), symbol.to_string()), lean(&file, from_ms, from_ms + 2 * HOUR));
            playback += &format!(
                "{{ file = \"{}\", format = \"lean\", symbol = \"{symbol}\", date = \"2014-05-02\", \
                 utc_offset = \"-{zone_hours:02}:00\", from = \"11:30:00\", to = \"13:30:00\" }}, ",
                file.display()
            );
        }
        text += &format!("[simulators.{name}]\nbroker = \"{broker}\"\npace = 1000\nplayback = [{playback}]\n");
        text += &format!("[sources.{name}]\nadapter = \"{broker}\"\nsymbols = [\"EURUSD\", \"NZDUSD\"]\n{login}\n");
    }
    text += "[sources.binance]\nadapter = \"binance\"\nsymbols = [\"BTCUSDT\"]\n";
    let capture = data.join("hftbacktest/spot/btcusdt_20240808.jsonl.zst");
    text += &format!(
        "[simulators.binance]\nbroker = \"binance\"\npace = 1000\nplayback = [{{ file = \"{}\", format = \"binance\" }}]\n",
        capture.display()
    );
    (text, expected)
}

#[test]
#[ignore = "needs recordings: set TICKWIRE_DATA and run with --include-ignored"]
fn recorded_markets_arrive_whole_and_exact() {
    let data = PathBuf::from(std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings"));
    let (text, expected) = recorded_config(&data);
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(&text, "test").unwrap();
    let rig = Rig::new(config, 10);
    let mut ticks = Totals::new();
    let mut trades = 0;
    let sent = |name: &str| rig.simulators.stats(name).unwrap();
    loop {
        match rig.next() {
            Input::Tick(tick) => {
                let source = rig.names[tick.head.source_id as usize].clone();
                let symbol = rig.symbols[tick.head.instrument_id as usize].clone();
                let total = ticks.entry((source, symbol)).or_default();
                *total = (total.0 + 1, total.1 + i128::from(tick.bid_e9) + i128::from(tick.ask_e9));
            }
            Input::Trade(_) => trades += 1,
            _ => {}
        }
        let received = ticks.values().map(|total| total.0).sum::<u64>() + trades;
        let all: Vec<_> = rig.names.iter().map(|name| sent(name)).collect();
        if all.iter().all(|s| s.playback_finished) && received >= all.iter().map(|s| s.playback_rows).sum() {
            break;
        }
    }
    for ((name, symbol), total) in &expected {
        assert_eq!(
            ticks[&(name.to_string(), symbol.to_string())],
            *total,
            "{name} {symbol}: count, sum of bids and asks"
        );
    }
    let binance = sent("binance");
    // The counts of the capture: its bookTicker and trade lines.
    assert_eq!((binance.symbols["BTCUSDT"].ticks, binance.symbols["BTCUSDT"].trades), (28_040, 9_757));
    assert_eq!((ticks[&("binance".into(), "BTCUSDT".into())].0, trades), (28_040, 9_757));
    rig.stop();
}
