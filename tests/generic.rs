//! The adapters for any API against servers not ours: what they send, when they go on, and that they read the simulated
//! Binance as its own adapter does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tickwire::config::Config;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::ring::Inlet;
use tickwire::simulator;
use tickwire_schemas::record::Tick;
use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

/// Nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(30);

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        let _ = self.0.send(*input);
    }
}

struct Rig {
    feeds: FeedsHandle,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
}

fn rig(sources: &str, first_index: usize) -> Rig {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(sources, "sources").unwrap();
    let specs = feeds::config::sources(&config).unwrap();
    let feed = |(at, spec): (usize, feeds::SourceSpec)| {
        let instruments = (1..=u32::try_from(spec.symbols.len()).unwrap()).map(InstrumentId).collect();
        Feed { spec, source: SourceId(u32::try_from(at).unwrap() + 1), index: first_index + at, instruments }
    };
    let (sender, inputs) = mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
    let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 100, snapshot_every_ms: 0 };
    let feeds = feeds::start(specs.into_iter().enumerate().map(feed).collect(), &ingest, vec![inlet], stopped).unwrap();
    Rig { feeds, inputs, stop }
}

impl Rig {
    fn next(&self) -> Input {
        loop {
            match self.inputs.recv_timeout(HANG).expect("it comes") {
                Input::Timer(_) => {}
                input => return input,
            }
        }
    }

    fn expect_state(&self, status: SourceStatus, cause: Cause) {
        match self.next() {
            Input::SourceState(s) => assert_eq!((s.status, s.cause), (status.code(), cause.code()), "{s:?}"),
            other => panic!("expected {status}/{cause}, got {other:?}"),
        }
    }

    fn expect_tick(&self) -> Tick {
        match self.next() {
            Input::Tick(tick) => tick,
            other => panic!("expected a tick, got {other:?}"),
        }
    }

    fn stop(self) {
        self.stop.send(true).unwrap();
        self.feeds.join();
    }
}

/// A server by an independent library: `serve` is told each WebSocket with its number.
fn websocket_server<F: Future<Output = ()> + 'static>(
    serve: impl Fn(usize, tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            for number in 0.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                if let Ok(socket) = tokio_tungstenite::accept_async(socket).await {
                    serve(number, socket).await;
                }
            }
        });
    });
    addr
}

const PACE: &str = "liveness_ms = 60000\nbackoff_min_ms = 1\nbackoff_max_ms = 5";

#[test]
fn subscriptions_are_sent_for_each_symbol_confirmed_and_sent_again() {
    let (said, heard) = mpsc::channel();
    let addr = websocket_server(move |number, mut socket| {
        let said = said.clone();
        async move {
            for _ in 0..3 {
                let Some(Ok(Message::Text(text))) = socket.next().await else { return };
                said.send((number, text.to_string())).unwrap();
            }
            // A price before the last confirmation is not lost.
            socket.send(Message::text(r#"{"ack":1}"#)).await.unwrap();
            socket.send(Message::text(r#"{"s":"EURUSD","b":1.1,"a":1.2}"#)).await.unwrap();
            for _ in 0..2 {
                socket.send(Message::text(r#"{"ack":1}"#)).await.unwrap();
            }
            // Until the application's ping.
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message {
                    said.send((number, text.to_string())).unwrap();
                    break;
                }
            }
            if number == 1 {
                while socket.next().await.is_some() {}
            }
        }
    });
    let rig = rig(
        &format!(
            "[sources.one]\nadapter = \"json-ws\"\nsymbols = [\"EURUSD\", \"USDJPY\"]\nurl = \"ws://{addr}\"\nconfirm = \"ack\"\nping = '{{\"op\":\"ping\"}}'\nping_ms = 20\n\
             subscribe = ['{{\"op\":\"auth\",\"key\":\"{{secret:k}}\"}}', '{{\"op\":\"sub\",\"s\":\"{{symbol:lower}}\"}}']\nsecrets = {{ k = \"hunter2\" }}\n\
             fields = {{ symbol = \"s\", bid = \"b\", ask = \"a\" }}\n{PACE}"
        ),
        100,
    );
    rig.expect_state(SourceStatus::Connecting, Cause::Start);
    rig.expect_state(SourceStatus::Live, Cause::None);
    assert_eq!(rig.expect_tick().bid_e9, 1_100_000_000);
    rig.expect_state(SourceStatus::Down, Cause::ClosedByPeer);
    rig.expect_state(SourceStatus::Connecting, Cause::ClosedByPeer);
    rig.expect_state(SourceStatus::Live, Cause::None);
    let expected = [
        r#"{"op":"auth","key":"hunter2"}"#,
        r#"{"op":"sub","s":"eurusd"}"#,
        r#"{"op":"sub","s":"usdjpy"}"#,
        r#"{"op":"ping"}"#,
    ];
    for number in 0..2 {
        for text in expected {
            assert_eq!(heard.recv_timeout(HANG).unwrap(), (number, text.to_string()));
        }
    }
    rig.stop();
}

#[test]
fn a_subscription_that_is_refused_or_not_answered_is_no_connection() {
    let addr = websocket_server(|number, mut socket| async move {
        let _ = socket.next().await;
        if number == 0 {
            let refusal = r#"{"error":"bad key hunter2"}"#;
            socket.send(Message::text(refusal)).await.unwrap();
        }
        // Prices, but never a confirmation.
        socket.send(Message::text(r#"{"s":"EURUSD","b":1.1,"a":1.2}"#)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    let rig = rig(
        &format!(
            "[sources.one]\nadapter = \"json-ws\"\nsymbols = [\"EURUSD\"]\nurl = \"ws://{addr}\"\nconfirm = \"ack\"\nsubscribe = ['{{secret:k}}']\nsecrets = {{ k = \"hunter2\" }}\n\
             fields = {{ symbol = \"s\", bid = \"b\", ask = \"a\", error = \"error\" }}\nconnect_timeout_ms = 1500\n{PACE}"
        ),
        110,
    );
    rig.expect_state(SourceStatus::Connecting, Cause::Start);
    rig.expect_state(SourceStatus::Down, Cause::ProtocolError);
    assert!(rig.feeds.statuses()[0].last_error().contains("bad key ********"));
    rig.expect_state(SourceStatus::Connecting, Cause::ProtocolError);
    rig.expect_state(SourceStatus::Down, Cause::ConnectFailed);
    assert!(rig.feeds.statuses()[0].last_error().contains("no connection within 1500 ms"));
    rig.stop();
}

/// Answers `answer(path, count)` to each request, for ever; the sender hears each path.
fn poll_server(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> (SocketAddr, mpsc::Receiver<String>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut count = 0;
        for socket in listener.incoming() {
            let mut out = socket.unwrap();
            let mut lines = BufReader::new(out.try_clone().unwrap()).lines();
            while let Some(Ok(request)) = lines.next() {
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let path = request.split(' ').nth(1).unwrap().to_string();
                let text = answer(&path, count);
                count += 1;
                let _ = said.send(path);
                if out.write_all(text.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (addr, heard)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn an_unchanged_answer_is_no_tick_and_keeps_the_source_live() {
    // Unchanged for a hundred answers, some twenty times the liveness; then another price.
    let (addr, heard) = poll_server(|path, count| {
        let bid = if count < 200 { "1.10" } else { "1.15" };
        let body = if path.ends_with("EURUSD") {
            format!("{{\"b\":{bid},\"a\":1.2}}")
        } else {
            "{\"b\":150,\"a\":151}".into()
        };
        ok(&body)
    });
    let rig = rig(
        &format!(
            "[sources.one]\nadapter = \"json-poll\"\nsymbols = [\"EURUSD\", \"USDJPY\"]\nurl = \"http://{addr}/p/{{symbol}}\"\ninterval_ms = 5\n\
             fields = {{ bid = \"b\", ask = \"a\" }}\nliveness_ms = 150\nmute_reconnect_ms = 60000"
        ),
        120,
    );
    rig.expect_state(SourceStatus::Connecting, Cause::Start);
    rig.expect_state(SourceStatus::Live, Cause::None);
    let (a, b, c) = (rig.expect_tick(), rig.expect_tick(), rig.expect_tick());
    assert_eq!((a.head.instrument_id, b.head.instrument_id, c.head.instrument_id), (1, 2, 1));
    assert_eq!((a.bid_e9, b.bid_e9, c.bid_e9), (1_100_000_000, 150_000_000_000, 1_150_000_000));
    let asked: Vec<_> = heard.try_iter().take(4).collect();
    assert_eq!(asked, ["/p/EURUSD", "/p/USDJPY", "/p/EURUSD", "/p/USDJPY"]);
    rig.stop();
}

#[test]
fn a_poll_that_is_refused_later_waits_as_long_as_the_venue_asks() {
    let (addr, _heard) = poll_server(|_, count| match count {
        0 => ok("{\"b\":1,\"a\":2}"),
        1 => "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 6\r\n\r\nslower".into(),
        _ => ok("{\"b\":3,\"a\":4}"),
    });
    let rig = rig(
        &format!(
            "[sources.one]\nadapter = \"json-poll\"\nsymbols = [\"EURUSD\"]\nurl = \"http://{addr}/{{symbol}}\"\ninterval_ms = 5\nfields = {{ bid = \"b\", ask = \"a\" }}\n{PACE}"
        ),
        130,
    );
    rig.expect_state(SourceStatus::Connecting, Cause::Start);
    rig.expect_state(SourceStatus::Live, Cause::None);
    let first = rig.expect_tick();
    rig.expect_state(SourceStatus::Down, Cause::RateLimited);
    rig.expect_state(SourceStatus::Connecting, Cause::RateLimited);
    rig.expect_state(SourceStatus::Live, Cause::None);
    let second = rig.expect_tick();
    assert!(second.ts_recv_ns - first.ts_recv_ns >= 1_000_000_000, "Retry-After is a floor");
    rig.stop();
}

/// By instrument and update number: bid, ask and their sizes.
type Said = BTreeMap<(u32, u64), (i64, i64, u64, u64)>;

#[test]
fn the_simulated_binance_read_by_paths_is_what_its_own_adapter_reads() {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let market = "[simulators.b]\nbroker = \"binance\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\nrate = 5.0";
    config.overlay(market, "brokers").unwrap();
    let brokers = simulator::start(simulator::parse(&config).unwrap()).unwrap();
    let addr = brokers.address("b").unwrap();
    let rig = rig(
        &format!(
            "[sources.a]\nadapter = \"binance\"\nbase_url = \"ws://{addr}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n\
             [sources.b]\nadapter = \"json-ws\"\nurl = \"ws://{addr}/stream\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n\
             subscribe = ['{{\"method\":\"SUBSCRIBE\",\"params\":[{{symbols}}],\"id\":1}}']\nsymbol_list = {{ each = '\"{{symbol:lower}}@bookTicker\"' }}\nconfirm = \"id\"\n\
             fields = {{ symbol = \"data.s\", bid = \"data.b\", bid_size = \"data.B\", ask = \"data.a\", ask_size = \"data.A\", sequence = \"data.u\", error = \"error.code\" }}"
        ),
        140,
    );
    // Those that both have heard must be equal.
    let mut seen: [Said; 2] = Default::default();
    let mut both = 0;
    while both < 500 {
        let Input::Tick(tick) = rig.next() else { continue };
        let at = usize::try_from(tick.head.source_id).unwrap() - 1;
        let key = (tick.head.instrument_id, tick.source_seq);
        let said = (tick.bid_e9, tick.ask_e9, tick.bid_size_e8, tick.ask_size_e8);
        seen[at].insert(key, said);
        if let Some(other) = seen[1 - at].get(&key) {
            assert_eq!(*other, said, "{key:?}");
            both += 1;
        }
    }
    rig.stop();
    // Between the first and the last that each heard, both heard the same.
    let from = seen.iter().filter_map(|s| s.keys().find(|k| k.0 == 1)).max().copied().unwrap();
    let to = seen.iter().filter_map(|s| s.keys().rfind(|k| k.0 == 1)).min().copied().unwrap();
    let [a, b] = seen.each_ref().map(|s| s.range(from..=to).collect::<Vec<_>>());
    assert!(a.len() > 50 && a == b);
    brokers.stop();
}
