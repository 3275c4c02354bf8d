//! The expert advisers over ZeroMQ end to end: the engine's adapters and the simulated terminals against each other, and
//! each against libzmq, which is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tickwire::config::Config;
use tickwire::feeds::adapters::Answer;
use tickwire::feeds::net::Failure;
use tickwire::feeds::zmq::Kind;
use tickwire::feeds::zmq::link::Link;
use tickwire::feeds::zmq::peer::Peer;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker, SourceSpec};
use tickwire::market::{Decimal9, Input, InstrumentId, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::NO_TIME;
use tickwire_schemas::record::Tick;
use tickwire_schemas::words::{Cause, SourceStatus, Timeframe};
use tokio::sync::watch;

/// Nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(60);

const BRIDGES: [&str; 2] = ["dwx", "mql5-json-api"];

/// Tuesday 2024-03-05 08:00 UTC, which is 10:00 on the broker's clock.
const MORNING_NS: i64 = 1_709_625_600_000_000_000;
const MINUTE_NS: i64 = 60_000_000_000;

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        let _ = self.0.send(*input);
    }
}

/// Ports of commands, answers and prices.
type Ports = [u16; 3];

fn spec(bridge: &str, [commands, answers, prices]: Ports, more: &str) -> SourceSpec {
    let keys = if bridge == "dwx" {
        format!("push_port = {commands}\npull_port = {answers}\npub_port = {prices}")
    } else {
        format!("system_port = {commands}\ndata_port = {answers}\nlive_port = {prices}")
    };
    let symbols = if more.contains("symbols") { "" } else { "symbols = [\"EURUSD\", \"XAUUSD\"]" };
    let text = format!(
        "[sources.one]\nadapter = \"{bridge}\"\nhost = \"127.0.0.1\"\n{keys}\nbroker_time = \"+02:00\"\n{symbols}\n\
         backoff_min_ms = 1\nbackoff_max_ms = 5\nliveness_ms = 60000\n{more}\n"
    );
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(&text, "test").unwrap();
    feeds::config::sources(&config).unwrap().remove(0)
}

/// One source, whose name in the metrics is `index`.
struct Source {
    feeds: FeedsHandle,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    index: usize,
}

impl Source {
    fn new(index: usize, spec: SourceSpec) -> Source {
        let instruments = (0..spec.symbols.len()).map(|at| InstrumentId(u32::try_from(at).unwrap())).collect();
        let feed = Feed { spec, source: SourceId(1), index, instruments };
        let (sender, inputs) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
        let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
        let feeds = feeds::start(vec![feed], &ingest, vec![inlet], stopped).unwrap();
        Source { feeds, inputs, stop, index }
    }

    fn tick(&self) -> Tick {
        loop {
            match self.inputs.recv_timeout(HANG).expect("a tick comes") {
                Input::Tick(tick) => return tick,
                Input::SourceState(s) => assert_ne!(s.status, SourceStatus::Down.code(), "{}", self.error()),
                _ => {}
            }
        }
    }

    fn down(&self) -> Cause {
        loop {
            match self.inputs.recv_timeout(HANG).expect("it goes down") {
                Input::SourceState(s) if s.status == SourceStatus::Down.code() => {
                    return Cause::from_code(s.cause).unwrap();
                }
                _ => {}
            }
        }
    }

    fn error(&self) -> String {
        self.feeds.statuses()[0].last_error()
    }

    fn stop(self) {
        self.stop.send(true).unwrap();
        self.feeds.join();
        assert_eq!(metrics::DECODE_ERRORS.at(self.index, 0).get(), 0);
    }
}

fn terminal(bridge: &str, more: &str) -> (SimulatorsHandle, Ports) {
    let text = format!(
        "[simulators.one]\nbroker = \"{bridge}\"\nserver_time = \"+02:00\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\nrate = 20.0\n{more}"
    );
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(&text, "test").unwrap();
    let broker = simulator::start(simulator::parse(&config).unwrap()).unwrap();
    let addresses = [broker.address("one"), broker.answer_address("one"), broker.data_address("one")];
    (broker, addresses.map(|address| address.unwrap().port()))
}

fn answer<T>(asked: Answer<'_, T>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asked)
}

fn d(text: &str) -> Decimal9 {
    text.parse().unwrap()
}

#[test]
fn both_advisers_tell_the_same_past() {
    let mut told = Vec::new();
    for bridge in BRIDGES {
        let (broker, ports) = terminal(bridge, "history_holes = [\"2024-03-05T08:10:00/2024-03-05T08:20:00\"]");
        let spec = spec(bridge, ports, "");
        let history = spec.venue.any_history().unwrap();
        let bars = |frame, to_ns| answer(history.bars("EURUSD", frame, MORNING_NS, to_ns)).unwrap();
        let minutes = bars(Timeframe::M1, MORNING_NS + 60 * MINUTE_NS);
        // Each once, in order, and none at the end, which is not asked for, nor in the hole.
        let opens: Vec<i64> = minutes.iter().map(|bar| (bar.open_ts_ns - MORNING_NS) / MINUTE_NS).collect();
        assert_eq!(opens, (0..10).chain(20..60).collect::<Vec<_>>(), "{bridge}");
        assert!(minutes.iter().all(|bar| bar.bid.low_e9 <= bar.bid.open_e9 && bar.ticks > 0));
        // Days of the broker's clock begin at 22:00 UTC.
        let days = bars(Timeframe::D1, MORNING_NS + 3 * 1_440 * MINUTE_NS);
        let opens: Vec<i64> = days.iter().map(|bar| (bar.open_ts_ns - MORNING_NS) / MINUTE_NS).collect();
        assert_eq!(opens, [840, 2_280, 3_720]);
        assert_eq!(
            answer(history.bars("NOTONE", Timeframe::M1, MORNING_NS, MORNING_NS + MINUTE_NS)).ok(),
            (bridge == "dwx").then(Vec::new)
        );
        told.push((minutes, days));
        broker.stop();
    }
    assert_eq!(told[0], told[1]);
}

#[test]
fn past_ticks_come_in_milliseconds() {
    let (broker, ports) = terminal("mql5-json-api", "");
    let spec = spec("mql5-json-api", ports, "");
    let history = spec.venue.any_tick_history().unwrap();
    let ticks = answer(history.ticks("EURUSD", MORNING_NS, MORNING_NS + 2 * MINUTE_NS)).unwrap();
    let stamps: Vec<i64> = ticks.iter().map(|tick| (tick.ts_event_ns - MORNING_NS) / 1_000_000_000).collect();
    assert_eq!(stamps, (0..8).map(|at| 15 * at).collect::<Vec<_>>());
    assert!(ticks.iter().all(|tick| tick.bid < tick.ask));
    broker.stop();
}

#[test]
fn accounts_are_looked_at_while_prices_come() {
    for (bridge, currency, index) in [("dwx", "", 1), ("mql5-json-api", "USD", 2)] {
        let (broker, ports) = terminal(bridge, "");
        let source = Source::new(index, spec(bridge, ports, ""));
        source.tick();
        let spec = spec(bridge, ports, "");
        let account = spec.venue.any_account().unwrap();
        let summary = answer(account.summary()).unwrap();
        assert_eq!((summary.currency.as_str(), summary.balance), (currency, d("10000")));
        assert_eq!(answer(account.positions()).unwrap(), []);
        source.tick();
        source.stop();
        broker.stop();
    }
}

#[test]
fn too_many_requests_are_known_as_such() {
    for bridge in BRIDGES {
        let (broker, ports) = terminal(bridge, "requests_per_s = 1");
        let spec = spec(bridge, ports, "");
        let ask = || {
            let history = spec.venue.any_history().unwrap();
            answer(history.bars("EURUSD", Timeframe::M1, MORNING_NS, MORNING_NS + MINUTE_NS))
        };
        let failures: Vec<Failure> = (0..5).filter_map(|_| ask().err()).collect();
        assert!(!failures.is_empty() && failures.iter().all(|f| f.cause == Cause::RateLimited), "{failures:?}");
        broker.stop();
    }
}

#[test]
fn an_unknown_symbol_and_a_wrong_port_are_said() {
    for (bridge, unknown, index) in
        [("dwx", "the terminal has no symbol NOTONE", 3), ("mql5-json-api", "CONFIG NOTONE: Unknown symbol (4301)", 4)]
    {
        let (broker, [commands, answers, prices]) = terminal(bridge, "");
        let wrong = spec(bridge, [commands, answers, prices], "symbols = [\"EURUSD\", \"NOTONE\"]");
        let source = Source::new(index, wrong);
        assert_eq!(source.down(), Cause::ProtocolError);
        assert!(source.error().contains(unknown), "{}", source.error());
        source.stop();
        let source = Source::new(index, spec(bridge, [answers, commands, prices], ""));
        assert_eq!(source.down(), Cause::ProtocolError);
        assert!(source.error().contains(&format!(":{answers}: the other side is a PUSH socket")), "{}", source.error());
        source.stop();
        broker.stop();
    }
}

/// Whether a price is told twice, after the subscription was made a second time.
fn told_twice(index: usize, reset: bool) -> bool {
    let (broker, ports) = terminal("mql5-json-api", "");
    let source = Source::new(index, spec("mql5-json-api", ports, &format!("reset = {reset}")));
    source.tick();
    broker.drop_connections("one");
    source.down();
    let ticks: Vec<Tick> = (0..40).map(|_| source.tick()).collect();
    source.stop();
    broker.stop();
    let of = |tick: &Tick| (tick.head.instrument_id, tick.ts_event_ns, tick.bid_e9, tick.ask_e9);
    let twice = ticks.windows(2).filter(|pair| of(&pair[0]) == of(&pair[1])).count();
    assert!(twice == 0 || twice >= 15, "{twice}");
    twice > 0
}

#[test]
fn a_second_subscription_is_not_a_second_price() {
    assert!(!told_twice(5, true) && told_twice(6, false));
}

#[test]
fn what_was_sent_is_told_on_the_port_of_commands() {
    for (bridge, index) in [("dwx", 7), ("mql5-json-api", 8)] {
        let (broker, ports) = terminal(bridge, "");
        let source = Source::new(index, spec(bridge, ports, "symbols = [\"EURUSD\"]"));
        let tick = source.tick();
        assert_eq!(tick.ts_event_ns == NO_TIME, bridge == "dwx");
        let mut socket = std::net::TcpStream::connect(broker.address("one").unwrap()).unwrap();
        socket.write_all(b"GET /__sim/stats HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut told = String::new();
        socket.read_to_string(&mut told).unwrap();
        let stats: serde_json::Value = serde_json::from_str(told.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&stats["broker"], &stats["subscribers"]), (&bridge.into(), &1.into()));
        let ticks = |symbol: &str| stats["symbols"][symbol]["ticks"].as_u64();
        assert!(ticks("EURUSD") > Some(0) && ticks("XAUUSD") == Some(0), "{stats}");
        source.stop();
        broker.stop();
    }
}

#[test]
fn a_message_right_behind_the_handshake_is_not_lost() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut peer, mut greeting) = (Peer::new(Kind::Push, 1_000), [0; 64]);
        socket.read_exact(&mut greeting).unwrap();
        peer.push(&greeting, |_| {}).unwrap();
        peer.say(b"first");
        // The greeting, READY and the message in one.
        socket.write_all(peer.out()).unwrap();
        // Until the client goes.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let mut link = Link::connect("127.0.0.1", port, Kind::Pull, 1_000).await.unwrap();
        let mut heard = Vec::new();
        while heard.is_empty() {
            link.read(&mut |message, at_ns| heard.push((message.to_vec(), at_ns > 0))).await.unwrap();
        }
        heard
    });
    assert_eq!(heard, [(b"first".to_vec(), true)]);
    server.join().unwrap();
    // Nobody is there any more.
    let failure = runtime.block_on(Link::connect("127.0.0.1", port, Kind::Pull, 1_000)).unwrap_err();
    assert_eq!(failure.cause, Cause::ConnectFailed);
    assert_eq!(failure.text.matches("127.0.0.1").count(), 1, "{failure}");
}

fn python(script: &str, arguments: &[&str]) -> Child {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/python").join(script)).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn libzmq_is_content_with_the_simulated_advisers() {
    for bridge in BRIDGES {
        let (broker, ports) = terminal(bridge, "");
        let ports = ports.map(|port| port.to_string());
        let client = python("zmq_client.py", &[bridge, &ports[0], &ports[1], &ports[2]]);
        let output = client.wait_with_output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.trim() == "ok", "{bridge}: {said}{complained}");
        broker.stop();
    }
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim().to_string()
}

#[test]
fn the_adapters_are_fed_by_libzmq() {
    for (bridge, index) in [("dwx", 9), ("mql5-json-api", 10)] {
        let mut venue = python("zmq_venue.py", &[bridge]);
        let mut lines = BufReader::new(venue.stdout.take().unwrap());
        let ports: Vec<u16> = line(&mut lines).split(' ').map(|port| port.parse().unwrap()).collect();
        let ports = Ports::try_from(ports).unwrap();
        let source = Source::new(index, spec(bridge, ports, ""));
        // Of each symbol what was sent, in its order, and nothing of the other topics.
        let ticks: Vec<Tick> = (0..200).map(|_| source.tick()).collect();
        assert_eq!(line(&mut lines), "ok", "{bridge}");
        for (instrument, whole) in [(0, 1), (1, 2_345)] {
            let of: Vec<&Tick> = ticks.iter().filter(|tick| tick.head.instrument_id == instrument).collect();
            assert!(of.len() > 50, "{bridge}: {}", of.len());
            assert!(of.windows(2).all(|two| two[0].bid_e9 < two[1].bid_e9));
            assert!(of.iter().all(|tick| tick.ask_e9 == whole * 1_000_000_000 + 999_999_000));
        }
        let spec = spec(bridge, ports, "");
        let history = spec.venue.any_history().unwrap();
        let bars = answer(history.bars("EURUSD", Timeframe::M1, MORNING_NS, MORNING_NS + 2 * MINUTE_NS)).unwrap();
        let told: Vec<_> = bars.iter().map(|bar| (bar.open_ts_ns - MORNING_NS, bar.bid.open_e9, bar.ticks)).collect();
        assert_eq!(told, [(0, 1_085_100_000, 7), (MINUTE_NS, 1_085_200_000, 7)]);
        let summary = answer(spec.venue.any_account().unwrap().summary()).unwrap();
        assert_eq!(
            (summary.balance, summary.equity, summary.free_margin),
            (d("1000.5"), Some(d("999")), Some(d("900")))
        );
        source.stop();
        let [commands, answers, prices] = ports;
        let source = Source::new(index, self::spec(bridge, [answers, commands, prices], ""));
        assert!([Cause::ProtocolError, Cause::ConnectFailed].contains(&source.down()));
        assert!(
            source.error().contains(&format!("127.0.0.1:{answers}: ")) && source.error().contains(" socket"),
            "{}",
            source.error()
        );
        source.stop();
        drop(venue.stdin.take());
        let mut complained = String::new();
        venue.stderr.take().unwrap().read_to_string(&mut complained).unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert!(venue.wait().unwrap().success() && rest.is_empty(), "{bridge}: {rest}{complained}");
    }
}
