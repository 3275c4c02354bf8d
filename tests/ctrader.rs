//! cTrader end to end: the engine's adapter and the simulated broker against each other, over TLS, and each against
//! `simplefix`, which is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tickwire::config::Config;
use tickwire::feeds::fix::Draft;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::record::Tick;
use tickwire_schemas::words::{Cause, SourceStatus};
use tickwire_schemas::{NO_PRICE, NO_SIZE};
use tokio::sync::watch;

/// Nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(60);

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        let _ = self.0.send(*input);
    }
}

/// One source, whose name in the metrics is `index`.
struct Source {
    feeds: FeedsHandle,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    index: usize,
}

impl Source {
    fn new(index: usize, base_url: &str, symbols: &str, more: &str) -> Source {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let text = format!(
            "[sources.one]\nadapter = \"ctrader\"\nbase_url = \"{base_url}\"\nsender_comp_id = \"demo.broker.77\"\n\
             username = \"77\"\npassword = \"hunter2\"\nsymbols = {symbols}\nbackoff_min_ms = 1\nbackoff_max_ms = 5\n\
             liveness_ms = 60000\n{more}\n"
        );
        config.overlay(&text, "test").unwrap();
        let spec = feeds::config::sources(&config).unwrap().remove(0);
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

fn broker(more: &str) -> SimulatorsHandle {
    let text = format!(
        "[simulators.one]\nbroker = \"ctrader\"\nuser = \"77\"\npassword = \"hunter2\"\naccount = \"demo.broker.77\"\n\
         symbols = [\"EURUSD\", \"USDJPY\"]\nrate = 20.0\n{more}"
    );
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(&text, "test").unwrap();
    simulator::start(simulator::parse(&config).unwrap()).unwrap()
}

fn address(broker: &SimulatorsHandle) -> String {
    format!("tcp://{}", broker.address("one").unwrap())
}

#[test]
fn a_book_gives_best_prices_with_sizes_and_spot_gives_none() {
    let broker = broker("");
    let (spot, depth) = (
        Source::new(1, &address(&broker), "[\"EURUSD\"]", ""),
        Source::new(2, &address(&broker), "[\"EURUSD\"]", "depth = true"),
    );
    let sizeless = spot.tick();
    assert_eq!((sizeless.bid_size_e8, sizeless.ask_size_e8), (NO_SIZE, NO_SIZE));
    // What the book says is what spot says: a quote of one is found in the other.
    let quotes: Vec<_> = (0..200).map(|_| spot.tick()).map(|t| (t.ts_event_ns, t.bid_e9, t.ask_e9)).collect();
    let (mut common, last) = (0, quotes[quotes.len() - 1].0);
    loop {
        let tick = depth.tick();
        assert!(tick.bid_size_e8 != NO_SIZE && tick.ask_size_e8 != NO_SIZE && tick.bid_e9 < tick.ask_e9, "{tick:?}");
        // Two quotes of one millisecond have one stamp.
        let same: Vec<_> = quotes.iter().filter(|quote| quote.0 == tick.ts_event_ns).collect();
        if !same.is_empty() {
            assert!(same.iter().any(|q| (q.1, q.2) == (tick.bid_e9, tick.ask_e9)), "{tick:?} {same:?}");
            common += 1;
        }
        if tick.ts_event_ns > last {
            break;
        }
    }
    assert!(common > 50, "{common}");
    assert!(quotes.iter().all(|quote| quote.1 != NO_PRICE));
    spot.stop();
    depth.stop();
    broker.stop();
}

#[test]
fn what_was_sent_is_told_on_the_same_port() {
    let broker = broker("");
    let source = Source::new(10, &address(&broker), "[\"EURUSD\"]", "");
    source.tick();
    let mut socket = std::net::TcpStream::connect(broker.address("one").unwrap()).unwrap();
    std::io::Write::write_all(&mut socket, b"GET /__sim/stats HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut socket, &mut told).unwrap();
    let stats: serde_json::Value = serde_json::from_str(told.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&stats["broker"], &stats["subscribers"]), (&"ctrader".into(), &1.into()));
    assert!(
        stats["symbols"]["EURUSD"]["ticks"].as_u64() > Some(0) && stats["symbols"]["USDJPY"]["ticks"] == 0,
        "{stats}"
    );
    source.stop();
    broker.stop();
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_said_and_numbers_need_no_list() {
    let broker = broker("");
    let source = Source::new(3, &address(&broker), "[\"EURUSD\"]", "target_comp_id = \"nobody\"");
    assert_eq!(source.down(), Cause::LoginRefused);
    assert_eq!(source.error(), "logout: InternalError: RET_INVALID_DATA");
    source.stop();
    let source = Source::new(4, &address(&broker), "[\"EURUSD\", \"NOTONE\"]", "");
    assert_eq!(source.down(), Cause::ProtocolError);
    assert!(source.error().starts_with("NOTONE: the broker's list has no symbol of this name"), "{}", source.error());
    source.stop();
    // The server's clock is its own: a target of another case is the same.
    let source = Source::new(5, &address(&broker), "{ USDJPY = \"2\" }", "target_comp_id = \"CSERVER\"");
    assert!(source.tick().bid_e9 > 50_000_000_000);
    source.stop();
    broker.stop();
}

#[test]
fn a_server_that_is_silent_is_questioned_and_left() {
    // Nothing but the kernel answers here: the connection is made, and nobody ever says a word after the logon.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let source = Source::new(6, &url, "{ EURUSD = \"1\" }", "heartbeat_s = 1");
    let (mut socket, _) = listener.accept().unwrap();
    let logon = Draft::new("A").with(34, "1").with(98, "0").with(108, "1").with(141, "Y").finish();
    std::io::Write::write_all(&mut socket, &logon).unwrap();
    assert_eq!(source.down(), Cause::ReadError);
    assert_eq!(source.error(), "no heartbeat, and no answer to a test request");
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut socket, &mut said).unwrap();
    let said = String::from_utf8(said).unwrap().replace('\x01', "|");
    for kind in ["|35=A|", "|35=V|", "|35=0|", "|35=1|", "|35=5|"] {
        assert!(said.contains(kind), "{kind} in {said}");
    }
    source.stop();
}

/// A TLS server in front of a simulated broker; its certificate is in `ca`.
fn tls_front(to: std::net::SocketAddr, ca: &std::path::Path) -> std::net::SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
    std::fs::write(ca, made.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    feeds::net::install_crypto();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                // A client that does not trust the certificate leaves.
                let Ok(mut secure) = acceptor.accept(socket).await else { continue };
                let mut plain = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
            }
        });
    });
    address
}

#[test]
fn tls_is_spoken_with_those_whose_certificate_is_trusted() {
    let broker = broker("");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let url = format!("tls://{}", tls_front(broker.address("one").unwrap(), &ca));
    let source = Source::new(7, &url, "[\"EURUSD\"]", "");
    assert_eq!(source.down(), Cause::ConnectFailed);
    assert!(source.error().contains("certificate"), "{}", source.error());
    source.stop();
    let source = Source::new(8, &url, "[\"EURUSD\"]", &format!("ca_file = \"{}\"", ca.display()));
    assert!(source.tick().bid_e9 > 0);
    source.stop();
    broker.stop();
}

fn python(script: &str, arguments: &[&str]) -> Child {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/python").join(script)).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn content(child: Child) {
    let output = child.wait_with_output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim() == "ok", "{said}{complained}");
}

#[test]
fn a_client_that_we_did_not_write_is_content_with_the_simulated_broker() {
    let broker = broker("");
    content(python("fix_client.py", &[&broker.address("one").unwrap().to_string()]));
    broker.stop();
}

#[test]
fn a_venue_that_we_did_not_write_is_content_with_the_adapter() {
    let mut venue = python("fix_venue.py", &[]);
    let mut lines = BufReader::new(venue.stdout.take().unwrap());
    let mut port = String::new();
    lines.read_line(&mut port).unwrap();
    let source =
        Source::new(9, &format!("tcp://127.0.0.1:{}", port.trim()), "[\"EURUSD\"]", "depth = true\nheartbeat_s = 1");
    // The book before the gap, and the new one that is asked for behind it; the hole in between is never a price.
    let asks: Vec<i64> = (0..3).map(|_| source.tick().ask_e9).collect();
    assert_eq!(asks, [1_085_230_000, 1_085_250_000, 1_085_500_000]);
    let mut said = String::new();
    lines.read_line(&mut said).unwrap();
    let mut complained = String::new();
    std::io::Read::read_to_string(&mut venue.stderr.take().unwrap(), &mut complained).unwrap();
    assert_eq!((said.trim(), venue.wait().unwrap().success()), ("ok", true), "{complained}");
    assert_eq!(source.down(), Cause::ClosedByPeer);
    source.stop();
}

#[tokio::test]
async fn the_brokers_symbols_are_listed_by_the_names_that_are_subscribed() {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let broker = "[simulators.one]\nbroker = \"ctrader\"\nuser = \"77\"\npassword = \"hunter2\"\naccount = \"demo.broker.77\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n";
    config.overlay(broker, "test").unwrap();
    let brokers = simulator::start(simulator::parse(&config).unwrap()).unwrap();
    let source = |password: &str| {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let text = format!(
            "[sources.one]\nadapter = \"ctrader\"\nbase_url = \"tcp://{}\"\nsender_comp_id = \"demo.broker.77\"\n\
             username = \"77\"\npassword = \"{password}\"\nsymbols = [\"EURUSD\"]\n",
            brokers.address("one").unwrap()
        );
        config.overlay(&text, "test").unwrap();
        feeds::config::sources(&config).unwrap().remove(0)
    };
    let spec = source("hunter2");
    assert!(spec.venue.capabilities().symbols);
    let told = spec.venue.any_symbol_list().unwrap().symbols().await.unwrap();
    let names: Vec<_> = told.iter().map(|symbol| (symbol.name.as_str(), symbol.digits)).collect();
    assert_eq!(names, [("EURUSD", Some(5)), ("XAUUSD", Some(2))]);
    let refused = source("wrong-password").venue.any_symbol_list().unwrap().symbols().await.unwrap_err();
    assert_eq!(refused.cause, Cause::LoginRefused, "{refused}");
    assert!(!refused.text.contains("wrong-password"), "{refused}");
    brokers.stop();
}
