//! What every adapter must do, over real sockets: a scripted venue on loopback says a price, rubbish, half a message,
//! far too much, nothing, or goodbye, and the session answers as documented.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "feeds/venue.rs"]
mod venue;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tickwire::config::Config;
use tickwire::feeds::adapters::{AdapterEntry, adapters};
use tickwire::feeds::event::{Event, Symbols};
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire_schemas::record::{SourceState, Tick};
use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;
use venue::{Act, Server};

/// Long enough for a slow machine; nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(20);

/// Each engine of this process has a source of its own in the metrics.
static NEXT: AtomicUsize = AtomicUsize::new(1);

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        // The receiver is gone when the test has seen enough.
        let _ = self.0.send(*input);
    }
}

/// One source of one adapter, running against a scripted venue.
struct Rig {
    server: Server,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    handle: FeedsHandle,
    index: usize,
}

impl Rig {
    fn new(adapter: &AdapterEntry, scripts: Vec<Vec<Act>>) -> Rig {
        Rig::with_keys(adapter, scripts, "liveness_ms = 60000")
    }

    fn with_keys(adapter: &AdapterEntry, scripts: Vec<Vec<Act>>, keys: &str) -> Rig {
        let server = Server::start(adapter.name, adapter.example.1, scripts);
        let (symbol, own) = (adapter.example.0, server.keys());
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let text = format!(
            "[sources.one]\nadapter = \"{}\"\nsymbols = [\"{symbol}\"]\n{own}\n{keys}\nbackoff_min_ms = 1\nbackoff_max_ms = 5\n",
            adapter.name
        );
        config.overlay(&text, "test").unwrap();
        let spec = feeds::config::sources(&config).unwrap().remove(0);
        let index = NEXT.fetch_add(1, Relaxed);
        let feed = Feed { spec, source: SourceId(9), index, instruments: vec![InstrumentId(4)] };
        let (sender, inputs) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
        let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
        let handle = feeds::start(vec![feed], &ingest, vec![inlet], stopped).unwrap();
        Rig { server, inputs, stop, handle, index }
    }

    /// The next input that is not a timer.
    fn next(&self) -> Input {
        let deadline = Instant::now() + HANG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inputs.recv_timeout(left).expect("the session says something") {
                Input::Timer(_) => {}
                input => return input,
            }
        }
    }

    fn expect_state(&self, status: SourceStatus, cause: Cause) -> SourceState {
        match self.next() {
            Input::SourceState(state) if (state.status, state.cause) == (status.code(), cause.code()) => state,
            other => panic!("expected {status}/{cause}, got {other:?}"),
        }
    }

    fn expect_tick(&self) -> Tick {
        match self.next() {
            Input::Tick(tick) => tick,
            other => panic!("expected a tick, got {other:?}"),
        }
    }

    fn expect_live_with_a_tick(&self) -> Tick {
        self.expect_state(SourceStatus::Live, Cause::None);
        self.expect_tick()
    }

    fn decode_errors(&self) -> u64 {
        metrics::DECODE_ERRORS.at(self.index, 0).get()
    }

    fn stop(self) {
        self.stop.send(true).unwrap();
        self.handle.join();
        self.server.stop();
    }
}

fn each(test: impl Fn(&AdapterEntry)) {
    for adapter in adapters() {
        println!("adapter {}", adapter.name);
        test(&adapter);
    }
}

#[test]
fn the_example_of_every_adapter_decodes_to_a_price_of_its_symbol() {
    each(|adapter| {
        let (canonical, message) = adapter.example;
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let keys = Server::keys_for(adapter.name, "127.0.0.1:1");
        let text = format!("[sources.one]\nadapter = \"{}\"\nsymbols = [\"{canonical}\"]\n{keys}", adapter.name);
        config.overlay(&text, "test").unwrap();
        let spec = feeds::config::sources(&config).unwrap().remove(0);
        let wire = spec.venue.wire_symbol(&spec.symbols[0].venue);
        let symbols = Symbols::new(SourceId(1), [(wire, InstrumentId(2))]);
        let mut decode = spec.venue.any_decoder(&symbols);
        let mut events = Vec::new();
        for heard in adapter.prelude {
            decode(heard.as_bytes(), 5, &symbols, &mut |event| assert_eq!(event, Event::Alive));
        }
        decode(message.as_bytes(), 5, &symbols, &mut |event| events.push(event));
        let [Event::Tick(tick)] = events[..] else { panic!("{events:?}") };
        assert_eq!((tick.source, tick.instrument, tick.ts_recv_ns), (SourceId(1), InstrumentId(2), 5));
        assert!(tick.bid < tick.ask && spec.venue.capabilities().stream && spec.venue.name() == adapter.name);
    });
}

#[test]
fn a_price_is_published_behind_the_live_state() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Hold]]);
        let state = rig.expect_state(SourceStatus::Connecting, Cause::Start);
        assert_eq!(state.head.source_id, 9);
        let tick = rig.expect_live_with_a_tick();
        assert_eq!((tick.head.source_id, tick.head.instrument_id), (9, 4));
        assert!(tick.ts_recv_ns > 1_700_000_000_000_000_000 && tick.bid_e9 < tick.ask_e9);
        assert_eq!(metrics::STATUS.at(rig.index).get(), i64::from(SourceStatus::Live.code()));
        rig.stop();
    });
}

#[test]
fn a_refused_login_says_the_venues_words_and_no_secret() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Refuse]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        let state = rig.expect_state(SourceStatus::Down, Cause::LoginRefused);
        assert_eq!(state.attempt, 1);
        let said = rig.handle.statuses()[0].last_error();
        assert!(said.contains("Nobody knows you") && !said.contains("hunter2"), "{said}");
        rig.stop();
    });
}

#[test]
fn rubbish_is_counted_and_the_session_goes_on_with_a_price_cut_in_two() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Rubbish, Act::Rubbish, Act::Halves, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        let first = rig.expect_live_with_a_tick();
        let second = rig.expect_tick();
        assert_eq!((first.bid_e9, first.ask_e9), (second.bid_e9, second.ask_e9));
        assert_eq!((rig.decode_errors(), rig.handle.statuses()[0].reconnects()), (2, 0));
        rig.stop();
    });
}

#[test]
fn far_too_long_a_message_ends_the_connection_and_not_the_source() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Huge, Act::Hold], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_state(SourceStatus::Down, Cause::ProtocolError);
        rig.expect_state(SourceStatus::Connecting, Cause::ProtocolError);
        rig.expect_live_with_a_tick();
        assert_eq!(rig.decode_errors(), 1);
        rig.stop();
    });
}

#[test]
fn a_closed_connection_is_made_again_with_the_same_subscription() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Close], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        match rig.next() {
            Input::SourceState(s) if s.status == SourceStatus::Down.code() => {
                assert!([Cause::ClosedByPeer.code(), Cause::ReadError.code()].contains(&s.cause), "{s:?}");
            }
            other => panic!("expected down, got {other:?}"),
        }
        assert!(matches!(rig.next(), Input::SourceState(s) if s.status == SourceStatus::Connecting.code()));
        rig.expect_live_with_a_tick();
        assert_eq!(rig.handle.statuses()[0].reconnects(), 1);
        assert_eq!(metrics::RECONNECTS.at(rig.index, 0).get(), 1);
        let asked = rig.server.requests();
        assert_eq!(
            asked[..asked.len() / 2],
            asked[asked.len() / 2..],
            "the second subscription is the first one again"
        );
        let symbol = (adapter.venue_symbol)(adapter.example.0);
        assert!(asked.iter().any(|request| request.contains(&symbol)), "{asked:?}");
        rig.stop();
    });
}

#[test]
fn heartbeats_without_prices_are_mute_and_then_a_new_connection() {
    each(|adapter| {
        let scripts = vec![vec![Act::Price, Act::Heartbeats], vec![Act::Price, Act::Heartbeats]];
        let rig = Rig::with_keys(adapter, scripts, "liveness_ms = 50\nmute_reconnect_ms = 50");
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        rig.expect_state(SourceStatus::Mute, Cause::Mute);
        rig.expect_state(SourceStatus::Down, Cause::Mute);
        rig.expect_state(SourceStatus::Connecting, Cause::Mute);
        rig.expect_live_with_a_tick();
        assert!(rig.handle.statuses()[0].last_error().contains("no price on any symbol"));
        rig.stop();
    });
}

#[test]
fn pings_are_answered_with_their_payload() {
    each(|adapter| {
        if ["oanda", "json-poll", "mtapi-accounts", "mtsocketapi"].contains(&adapter.name) {
            return; // HTTP and lines have no pings
        }
        let rig = Rig::new(adapter, vec![vec![Act::PingPong, Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn a_server_that_says_it_goes_is_left_at_once() {
    each(|adapter| {
        if !adapter.name.starts_with("binance") {
            return; // the others do not announce it
        }
        let shutdown = Act::Say(r#"{"e":"serverShutdown","E":1770123456789}"#);
        let rig = Rig::new(adapter, vec![vec![Act::Price, shutdown, Act::Hold], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        rig.expect_state(SourceStatus::Down, Cause::ClosedByPeer);
        rig.expect_state(SourceStatus::Connecting, Cause::ClosedByPeer);
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn an_error_in_the_stream_ends_the_connection_in_the_venues_words() {
    each(|adapter| {
        let (words, cause) = match adapter.name {
            "oanda" => (r#"{"errorMessage":"Session ended"}"#, Cause::ProtocolError),
            "mtapi" => {
                (r#"{"message":"Client with id = 7c0f-1b3a not found","code":"INVALID_TOKEN"}"#, Cause::ConnectFailed)
            }
            "kraken" => {
                (r#"{"method":"subscribe","success":false,"error":"Too many requests","req_id":1}"#, Cause::RateLimited)
            }
            "coinbase" => (r#"{"type":"error","message":"Too many requests"}"#, Cause::RateLimited),
            "bybit" => (r#"{"success":false,"ret_msg":"Too many requests","op":"subscribe"}"#, Cause::RateLimited),
            "mtsocketapi" => {
                (r#"{"MSG":"ERROR","ERROR_ID":10024,"ERROR_DESCRIPTION":"Too many requests"}"#, Cause::RateLimited)
            }
            "mtapi-accounts" => (r#"{"error":"SLOW_DOWN","message":"Too many requests"}"#, Cause::ProtocolError),
            "ctrader" => ("35=5|58=Session ended", Cause::ClosedByPeer),
            "mql5-json-api" => (
                r#"{"error":true,"lastError":"10024","description":"Too many requests","function":"f"}"#,
                Cause::RateLimited,
            ),
            // Where its prices come from it says nothing else.
            "dwx" => return,
            "fxcm" => ("44\"ORA-20301: Too many requests\"", Cause::RateLimited),
            _ => (r#"{"code":-1003,"msg":"Too many requests"}"#, Cause::RateLimited),
        };
        let rig = Rig::new(adapter, vec![vec![Act::Say(words), Act::Hold], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_state(SourceStatus::Down, cause);
        let said = rig.handle.statuses()[0].last_error();
        assert!(["Session ended", "not found", "Too many requests"].iter().any(|w| said.contains(w)), "{said}");
        assert!(!said.contains("7c0f-1b3a"), "the session token is a secret: {said}");
        rig.expect_state(SourceStatus::Connecting, cause);
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn a_refused_symbol_is_named() {
    each(|adapter| {
        if !["kraken", "coinbase", "bybit", "fxcm", "dwx", "mql5-json-api"].contains(&adapter.name) {
            return; // the others do not confirm subscriptions, or refuse a login
        }
        let rig = Rig::new(adapter, vec![vec![Act::UnknownSymbol], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_state(SourceStatus::Down, Cause::ProtocolError);
        let said = rig.handle.statuses()[0].last_error();
        assert!(said.contains(&(adapter.venue_symbol)(adapter.example.0)), "{said}");
        rig.expect_state(SourceStatus::Connecting, Cause::ProtocolError);
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn a_jump_of_the_venues_numbers_is_a_hole_and_a_new_subscription() {
    each(|adapter| {
        if adapter.name != "coinbase" {
            return; // the others number nothing, or not without gaps
        }
        // Three heartbeats never came; the message behind them is not told, since it is not what came next.
        let late = r#"{"channel":"heartbeats","timestamp":"2026-08-09T21:05:49Z","sequence_num":7,"events":[{"heartbeat_counter":42}]}"#;
        let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Say(late), Act::Hold], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        rig.expect_state(SourceStatus::Down, Cause::SequenceJump);
        let said = rig.handle.statuses()[0].last_error();
        assert!(said.contains("3 message(s) never came"), "{said}");
        rig.expect_state(SourceStatus::Connecting, Cause::SequenceJump);
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn a_jump_of_a_fix_sessions_numbers_is_a_hole_and_the_session_goes_on() {
    let adapters = adapters();
    let adapter = adapters.iter().find(|adapter| adapter.name == "ctrader").unwrap();
    let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Say("SKIP"), Act::Price, Act::Hold]]);
    rig.expect_state(SourceStatus::Connecting, Cause::Start);
    let (before, after) = (rig.expect_live_with_a_tick(), rig.expect_tick());
    let Input::Drop(hole) = rig.next() else { panic!("expected a hole") };
    assert_eq!((hole.head.source_id, hole.count, hole.cause), (9, 3, Cause::SequenceJump.code()));
    assert_eq!(hole.from_ns, before.ts_recv_ns, "from the last price before");
    assert!(hole.to_ns >= after.ts_recv_ns, "to the first price after");
    assert_eq!(rig.handle.statuses()[0].reconnects(), 0);
    rig.stop();
}

#[test]
fn too_many_requests_is_rate_limited() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::SlowDown]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_state(SourceStatus::Down, Cause::RateLimited);
        rig.stop();
    });
}

#[test]
fn stopping_publishes_stopped_and_closes_the_socket() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        rig.expect_live_with_a_tick();
        let statuses = rig.handle.statuses();
        rig.stop.send(true).unwrap();
        rig.expect_state(SourceStatus::Stopped, Cause::Stopped);
        rig.handle.join();
        rig.server.wait_until_closed(HANG);
        if adapter.name == "mtapi" {
            rig.server.wait_until_asked("/Disconnect?id=7c0f-1b3a", HANG);
        }
        if adapter.name == "ctrader" {
            rig.server.wait_until_asked("|35=5|", HANG);
        }
        assert_eq!(statuses[0].status(), SourceStatus::Stopped);
        rig.server.stop();
    });
}

#[test]
fn nobody_listening_is_retried_until_somebody_does() {
    each(|adapter| {
        let rig = Rig::new(adapter, vec![vec![Act::Hangup], vec![Act::Hangup], vec![Act::Price, Act::Hold]]);
        rig.expect_state(SourceStatus::Connecting, Cause::Start);
        for attempt in 1..=2 {
            assert_eq!(rig.expect_state(SourceStatus::Down, Cause::ConnectFailed).attempt, attempt);
            rig.expect_state(SourceStatus::Connecting, Cause::ConnectFailed);
        }
        rig.expect_live_with_a_tick();
        rig.stop();
    });
}

#[test]
fn the_first_thread_makes_the_clock_and_asks_for_snapshots() {
    let (sender, inputs) = mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let makers: Vec<InletMaker> =
        vec![Box::new(move || Box::new(Tap(sender))), Box::new(|| Box::new(Tap(mpsc::channel().0)))];
    let ingest = IngestConfig { threads: 2, cores: Vec::new(), timer_ms: 1, snapshot_every_ms: 3 };
    let handle = feeds::start(Vec::new(), &ingest, makers, stopped).unwrap();
    let timers: Vec<_> = std::iter::from_fn(|| inputs.recv_timeout(HANG).ok())
        .map(|input| match input {
            Input::Timer(timer) => timer,
            other => panic!("{other:?}"),
        })
        .take(9)
        .collect();
    assert_eq!(timers.iter().map(|t| t.snapshot).collect::<Vec<_>>(), [0, 0, 1, 0, 0, 1, 0, 0, 1]);
    assert!(timers.windows(2).all(|pair| pair[0].now_ns <= pair[1].now_ns));
    stop.send(true).unwrap();
    handle.join();
    // Ends because the thread is gone, and its inlet with it.
    inputs.iter().for_each(drop);
}

#[test]
fn what_cannot_start_says_why() {
    let (_stop, stopped) = watch::channel(false);
    let ingest = IngestConfig { threads: 2, cores: Vec::new(), timer_ms: 10, snapshot_every_ms: 0 };
    let error = feeds::start(Vec::new(), &ingest, Vec::new(), stopped.clone()).unwrap_err();
    assert_eq!(error.to_string(), "0 inlets for 2 ingestion threads; expected one each");

    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let keys = Server::keys_for("oanda", "127.0.0.1:1").replace("hunter2", "env:TICKWIRE_TEST_NO_SUCH_TOKEN");
    config.overlay(&format!("[sources.one]\nadapter = \"oanda\"\nsymbols = [\"EURUSD\"]\n{keys}"), "test").unwrap();
    let spec = feeds::config::sources(&config).unwrap().remove(0);
    let feed = Feed { spec, source: SourceId(1), index: 0, instruments: vec![InstrumentId(1)] };
    let makers: Vec<InletMaker> =
        (0..2).map(|_| -> InletMaker { Box::new(|| Box::new(Tap(mpsc::channel().0))) }).collect();
    let error = feeds::start(vec![feed], &ingest, makers, stopped).unwrap_err();
    assert_eq!(error.to_string(), "sources.one.token: the environment variable TICKWIRE_TEST_NO_SUCH_TOKEN is not set");
}
