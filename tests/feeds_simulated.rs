//! The feeds against the simulated brokers: two sides of each protocol, written apart from each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tickwire::config::Config;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::words::SourceStatus;
use tokio::sync::watch;

/// Nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(30);

const BROKERS: &str = r#"
[simulators.oanda]
broker = "oanda"
token = "t"
symbols = ["EURUSD", "USDJPY"]
rate = 20.0
window_ms = 0

[simulators.mtapi]
broker = "mtapi"
user = "77"
password = "p"
server = "Demo"
server_time = "new-york-close"
symbols = ["EURUSD", "XAUUSD"]
rate = 20.0

[simulators.ctrader]
broker = "ctrader"
user = "77"
password = "p"
symbols = ["XAUUSD", "GBPUSD"]
rate = 20.0

[simulators.fxcm]
broker = "fxcm"
token = "t"
symbols = ["EURUSD", "XAUUSD"]
rate = 20.0

[simulators.mtsocketapi]
broker = "mtsocketapi"
server_time = "+02:00"
symbols = ["EURUSD", "XAUUSD"]
rate = 20.0

[simulators.dwx]
broker = "dwx"
symbols = ["EURUSD", "XAUUSD"]
rate = 20.0

[simulators.mql5]
broker = "mql5-json-api"
server_time = "+02:00"
symbols = ["EURUSD", "XAUUSD"]
rate = 20.0

[simulators.binance]
broker = "binance"
symbols = ["BTCUSDT", "ETHUSDT"]
heartbeat_ms = 300
rate = 20.0

[simulators.binance_usdm]
broker = "binance_usdm"
symbols = ["BTCUSDT", "ETHUSDT"]
heartbeat_ms = 300
rate = 20.0

[simulators.bybit]
broker = "bybit"
symbols = ["BTCUSDT", "ETHUSDT"]
heartbeat_ms = 50
rate = 20.0

[simulators.coinbase]
broker = "coinbase"
symbols = ["BTCUSDT", "ETHUSDT"]
heartbeat_ms = 50
rate = 20.0

[simulators.kraken]
broker = "kraken"
symbols = ["BTCUSDT", "ETHUSDT"]
heartbeat_ms = 50
rate = 20.0
"#;

/// Those that say trades too.
const EXCHANGES: [&str; 5] = ["binance", "binance_usdm", "bybit", "coinbase", "kraken"];

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        let _ = self.0.send(*input);
    }
}

struct Rig {
    brokers: SimulatorsHandle,
    feeds: FeedsHandle,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    names: Vec<String>,
}

fn rig() -> Rig {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(BROKERS, "brokers").unwrap();
    let brokers = simulator::start(simulator::parse(&config).unwrap()).unwrap();
    let at = |name: &str| brokers.address(name).unwrap();
    let pace = "liveness_ms = 300\nmute_reconnect_ms = 60000\nbackoff_min_ms = 1\nbackoff_max_ms = 5";
    let mut sources = format!(
        "[sources.oanda]\nadapter = \"oanda\"\nbase_url = \"http://{}\"\naccount = \"101-1\"\ntoken = \"t\"\nsymbols = [\"EURUSD\", \"USDJPY\"]\n{pace}
         [sources.mtapi]\nadapter = \"mtapi\"\nbase_url = \"http://{}\"\nuser = \"77\"\npassword = \"p\"\nserver = \"Demo\"\nbroker_time = \"new-york-close\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}
         [sources.ctrader]\nadapter = \"ctrader\"\nbase_url = \"tcp://{}\"\nsender_comp_id = \"demo.b.77\"\nusername = \"77\"\npassword = \"p\"\nsymbols = [\"GBPUSD\", \"XAUUSD\"]\n{pace}
         [sources.fxcm]\nadapter = \"fxcm\"\nbase_url = \"http://{}\"\ntoken = \"t\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}
         [sources.mtsocketapi]\nadapter = \"mtsocketapi\"\nhost = \"127.0.0.1\"\ncommand_port = {}\ndata_port = {}\nbroker_time = \"+02:00\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}\n",
        at("oanda"),
        at("mtapi"),
        at("ctrader"),
        at("fxcm"),
        at("mtsocketapi").port(),
        brokers.data_address("mtsocketapi").unwrap().port(),
    );
    let ports = |name: &str| {
        let [answers, prices] = [brokers.answer_address(name), brokers.data_address(name)].map(|at| at.unwrap().port());
        (at(name).port(), answers, prices)
    };
    let ((push, pull, publish), (system, data, live)) = (ports("dwx"), ports("mql5"));
    sources += &format!(
        "[sources.dwx]\nadapter = \"dwx\"\nhost = \"127.0.0.1\"\npush_port = {push}\npull_port = {pull}\npub_port = {publish}\nbroker_time = \"utc\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}
         [sources.mql5]\nadapter = \"mql5-json-api\"\nhost = \"127.0.0.1\"\nsystem_port = {system}\ndata_port = {data}\nlive_port = {live}\nbroker_time = \"+02:00\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}\n"
    );
    for name in EXCHANGES {
        sources += &format!(
            "[sources.{name}]\nadapter = \"{name}\"\nbase_url = \"ws://{}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n{pace}\n",
            at(name)
        );
    }
    // The same broker in the newer version of its protocol, with pings of its server.
    sources += &format!(
        "[sources.fxcm_four]\nadapter = \"fxcm\"\nengine_io = 4\nping_ms = 10\nbase_url = \"http://{}\"\ntoken = \"t\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n{pace}\n",
        at("fxcm")
    );
    // The same exchange by its books instead of its tickers.
    sources += &format!(
        "[sources.coinbase_books]\nadapter = \"coinbase\"\nquotes = \"level2\"\nbase_url = \"ws://{}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n{pace}\n",
        at("coinbase")
    );
    config.overlay(&sources, "sources").unwrap();
    let specs = feeds::config::sources(&config).unwrap();
    let names = specs.iter().map(|spec| spec.name.clone()).collect();
    let feed = |(index, spec): (usize, feeds::SourceSpec)| {
        let id = u32::try_from(index).unwrap();
        let instruments =
            (0..u32::try_from(spec.symbols.len()).unwrap()).map(|n| InstrumentId(10 * (id + 1) + n)).collect();
        Feed { spec, source: SourceId(id + 1), index, instruments }
    };
    let (sender, inputs) = mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
    let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 100, snapshot_every_ms: 0 };
    let feeds = feeds::start(specs.into_iter().enumerate().map(feed).collect(), &ingest, vec![inlet], stopped).unwrap();
    Rig { brokers, feeds, inputs, stop, names }
}

impl Rig {
    /// Takes inputs until `done` says so.
    fn until(&self, mut done: impl FnMut(&Input) -> bool) {
        let deadline = Instant::now() + HANG;
        let next = || self.inputs.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        while !done(&next().expect("it comes")) {}
    }

    fn until_all(&self, status: SourceStatus) {
        self.until_all_were(&[status]);
    }

    /// Until every source has been in these states in this order; some may be at the last before others are at the first.
    fn until_all_were(&self, statuses: &[SourceStatus]) {
        let mut reached = vec![0; self.names.len()];
        self.until(|input| {
            if let Input::SourceState(state) = input
                && let Some(reached) = reached.get_mut(state.head.source_id as usize - 1)
                && statuses.get(*reached).is_some_and(|status| status.code() == state.status)
            {
                *reached += 1;
            }
            reached.iter().all(|reached| *reached == statuses.len())
        });
    }
}

#[test]
fn every_broker_is_heard_goes_mute_comes_back_and_is_connected_anew() {
    let rig = rig();
    rig.until_all(SourceStatus::Live);
    // Every symbol of every source, with stamps of this second: the broker clock is converted to UTC.
    let all = 1..=u32::try_from(rig.names.len()).unwrap();
    let mut missing: BTreeSet<u32> = all.flat_map(|source| [10 * source, 10 * source + 1]).collect();
    let mut silent = BTreeSet::from(EXCHANGES);
    rig.until(|input| {
        match input {
            Input::Tick(tick) => {
                missing.remove(&tick.head.instrument_id);
                if tick.ts_event_ns != tickwire_schemas::NO_TIME {
                    let late_ms = (tick.ts_recv_ns - tick.ts_event_ns) / 1_000_000;
                    assert!(late_ms.abs() < 60_000, "{tick:?}");
                }
            }
            Input::Trade(trade) => {
                silent.remove(rig.names[trade.head.source_id as usize - 1].as_str());
                let late_ms = (trade.ts_recv_ns - trade.ts_event_ns) / 1_000_000;
                assert!(late_ms.abs() < 60_000, "{trade:?}");
            }
            _ => {}
        }
        missing.is_empty() && silent.is_empty()
    });

    rig.names.iter().for_each(|name| rig.brokers.set_muted(name, true));
    rig.until_all(SourceStatus::Mute);
    rig.names.iter().for_each(|name| rig.brokers.set_muted(name, false));
    rig.until_all(SourceStatus::Live);
    rig.names.iter().for_each(|name| rig.brokers.drop_connections(name));
    rig.until_all_were(&[SourceStatus::Down, SourceStatus::Live]);

    rig.stop.send(true).unwrap();
    rig.until_all(SourceStatus::Stopped);
    let statuses = rig.feeds.statuses();
    rig.feeds.join();
    for (index, status) in statuses.iter().enumerate() {
        assert_eq!(status.reconnects(), 1, "{}", status.name);
        assert_eq!(metrics::DECODE_ERRORS.at(index, 0).get(), 0, "{}", status.name);
    }
    assert_eq!(metrics::BROKER_SOCKETS.get(), 0);
    rig.brokers.stop();
}
