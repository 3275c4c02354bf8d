//! The two kinds of mtapi against their simulated servers: accounts, symbols and the past; sessions that end, sockets that
//! are refused, and accounts that do not disturb each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod simulator_support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use simulator_support::{get, start};
use tickwire::config::Config;
use tickwire::feeds::adapters::PastTick;
use tickwire::feeds::{self, Feed, FeedsHandle, IngestConfig, InletMaker, SourceSpec};
use tickwire::market::{Decimal9, Input, InstrumentId, SourceId};
use tickwire::ring::Inlet;
use tickwire::simulator::SimulatorsHandle;
use tickwire_schemas::words::{Cause, SourceStatus, Timeframe};
use tokio::sync::watch;

/// Nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(30);

const MINUTE_NS: i64 = 60_000_000_000;

/// Each engine of this process has sources of its own in the metrics.
static NEXT: AtomicUsize = AtomicUsize::new(1);

const MTAPI: &str = "broker = \"mtapi\"\nuser = \"77, 78\"\npassword = \"hunter2\"\nserver = \"Demo\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\n\
                     rate = 20.0\nhistory_holes = [\"2024-03-05T10:00:00/2024-03-05T12:00:00\"]\n";
const ACCOUNTS: &str = "broker = \"mtapi-accounts\"\ntoken = \"hunter2\"\naccount = \"77\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\nrate = 20.0\n";

fn brokers() -> SimulatorsHandle {
    start(&format!("[simulators.mtapi]\n{MTAPI}[simulators.accounts]\n{ACCOUNTS}"))
}

/// The keys of a source of "mtapi" for a user.
fn mtapi(brokers: &SimulatorsHandle, user: u32, more: &str) -> String {
    let at = brokers.address("mtapi").unwrap();
    format!(
        "adapter = \"mtapi\"\nbase_url = \"http://{at}\"\nuser = \"{user}\"\npassword = \"hunter2\"\nserver = \"Demo\"\n\
         broker_time = \"new-york-close\"\nsymbols = [\"EURUSD\", \"XAUUSD\"]\nbackoff_min_ms = 1\nbackoff_max_ms = 5\n\
         ticks_quiet_ms = 200\n{more}\n"
    )
}

fn accounts(brokers: &SimulatorsHandle, more: &str) -> String {
    let at = brokers.address("accounts").unwrap();
    format!(
        "adapter = \"mtapi-accounts\"\nbase_url = \"http://{at}\"\naccount = \"77\"\nkey = \"hunter2\"\n\
         symbols = [\"EURUSD\", \"XAUUSD\"]\ninterval_ms = 5\n{more}\n"
    )
}

fn specs(sources: &[(&str, String)]) -> Vec<SourceSpec> {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    for (name, keys) in sources {
        config.overlay(&format!("[sources.{name}]\n{keys}"), "test").unwrap();
    }
    feeds::config::sources(&config).unwrap()
}

fn one(keys: String) -> SourceSpec {
    specs(&[("one", keys)]).remove(0)
}

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        // The receiver is gone when the test has seen enough.
        let _ = self.0.send(*input);
    }
}

/// Sources that run; the n-th has the id n, and the instruments from 1 on.
struct Rig {
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    handle: FeedsHandle,
}

impl Rig {
    fn new(sources: &[(&str, String)]) -> Rig {
        let feed = |(id, spec): (u32, SourceSpec)| Feed {
            source: SourceId(id),
            index: NEXT.fetch_add(1, Relaxed),
            instruments: (1..).map(InstrumentId).take(spec.symbols.len()).collect(),
            spec,
        };
        let feeds = (1..).zip(specs(sources)).map(feed).collect();
        let (sender, inputs) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
        let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
        Rig { inputs, stop, handle: feeds::start(feeds, &ingest, vec![inlet], stopped).unwrap() }
    }

    /// Until an input of a source is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&Input) -> bool) {
        let deadline = Instant::now() + HANG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let input = self.inputs.recv_timeout(left).unwrap_or_else(|_| panic!("{what}: {:?}", self.errors()));
            if wanted(&input) {
                return;
            }
        }
    }

    /// Until both symbols of a source have a price.
    fn until_prices(&self, source: u32) {
        for instrument in [1, 2] {
            self.until("a price", |input| {
                matches!(input, Input::Tick(t) if (t.head.source_id, t.head.instrument_id) == (source, instrument))
            });
        }
    }

    fn until_state(&self, source: u32, status: SourceStatus, cause: Cause) {
        self.until(&format!("{status}/{cause}"), |input| {
            matches!(input, Input::SourceState(s)
                if (s.head.source_id, s.status, s.cause) == (source, status.code(), cause.code()))
        });
    }

    fn errors(&self) -> Vec<String> {
        self.handle.statuses().iter().map(|status| status.last_error()).collect()
    }

    fn stop(self) {
        self.stop.send(true).unwrap();
        self.handle.join();
    }
}

fn e9(value: Option<Decimal9>) -> i64 {
    value.unwrap().e9()
}

#[tokio::test]
async fn accounts_positions_and_symbols_are_told() {
    let brokers = brokers();
    for spec in [one(mtapi(&brokers, 77, "")), one(accounts(&brokers, ""))] {
        let venue = &spec.venue;
        let can = venue.capabilities();
        assert!(can.stream && can.history && can.account && can.symbols, "{can:?}");
        assert_eq!(can.ticks, venue.name() == "mtapi");
        let account = venue.any_account().unwrap();
        let summary = account.summary().await.unwrap();
        assert_eq!((summary.currency.as_str(), summary.balance.e9()), ("USD", 10_000_000_000_000));
        let (equity, margin) = (e9(summary.equity), e9(summary.margin));
        assert_eq!((equity, margin, e9(summary.free_margin)), (10_012_500_000_000, 50_000_000_000, 9_962_500_000_000));
        assert_eq!(e9(summary.leverage), 100_000_000_000);
        let positions = account.positions().await.unwrap();
        let sides: Vec<_> = positions.iter().map(|p| (p.venue_symbol.as_str(), p.size.e9().signum())).collect();
        let wanted: &[_] = match venue.name() {
            // What waits for its price is no position.
            "mtapi" => &[("EURUSD", 1), ("XAUUSD", 1), ("EURUSD", -1)],
            _ => &[("EURUSD", 1), ("EURUSD", -1)],
        };
        assert_eq!(sides, wanted);
        assert!(positions.iter().all(|p| p.id.is_some() && p.open_price.is_some() && p.profit.is_some()));
        let symbols = venue.any_symbol_list().unwrap().symbols().await.unwrap();
        let digits: Vec<_> = symbols.iter().map(|s| (s.name.as_str(), s.digits)).collect();
        let (euro, gold) = if venue.name() == "mtapi" { (Some(5), Some(2)) } else { (None, None) };
        assert_eq!(digits, [("EURUSD", euro), ("XAUUSD", gold)]);
    }
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_venues_words_without_secrets() {
    let brokers = brokers();
    let wrong = mtapi(&brokers, 79, "");
    let failure = one(wrong).venue.any_account().unwrap().summary().await.unwrap_err();
    assert_eq!(
        (failure.cause, failure.text.as_str()),
        (Cause::LoginRefused, "ConnectEx: Invalid account (INVALID_ACCOUNT)")
    );
    let wrong = accounts(&brokers, "").replace("\"hunter2\"", "\"hunter3\"");
    let failure = one(wrong).venue.any_account().unwrap().summary().await.unwrap_err();
    let words = "HTTP 401 Unauthorized: The key is missing or wrong (UNAUTHORIZED)";
    assert_eq!((failure.cause, failure.text.as_str()), (Cause::LoginRefused, words));
    let wrong = accounts(&brokers, "").replace("account = \"77\"", "account = \"78\"");
    let failure = one(wrong).venue.any_symbol_list().unwrap().symbols().await.unwrap_err();
    assert_eq!(failure.text, "HTTP 404 Not Found: Account 78 not found (NOT_FOUND)");
    let spec = one(mtapi(&brokers, 77, ""));
    let ticks = spec.venue.any_tick_history().unwrap();
    let failure = ticks.ticks("NOTONE", 0, 1).await.unwrap_err();
    assert_eq!(failure.text, "TickHistoryRequest: Symbol NOTONE not found (SYMBOL_NOT_FOUND)");
    let bars = one(accounts(&brokers, ""));
    let failure = bars.venue.any_history().unwrap().bars("NOTONE", Timeframe::M1, 0, 1).await.unwrap_err();
    assert_eq!(failure.text, "HTTP 404 Not Found: Symbol NOTONE not found (NOT_FOUND)");
}

/// A session that the server has forgotten is replaced, once, without a word to whoever asked.
#[tokio::test]
async fn a_forgotten_token_is_replaced() {
    let brokers = brokers();
    let spec = one(mtapi(&brokers, 77, "session = \"mine\""));
    let account = spec.venue.any_account().unwrap();
    account.summary().await.unwrap();
    let at = brokers.address("mtapi").unwrap();
    assert_eq!(get(at, "/Disconnect?id=mine-aside", &[]).await.body, "OK");
    account.summary().await.unwrap();
    let ticks = spec.venue.any_tick_history().unwrap();
    assert_eq!(get(at, "/Disconnect?id=mine-aside", &[]).await.body, "OK");
    assert!(!ticks.ticks("EURUSD", 1_709_596_800_000_000_000, 1_709_600_400_000_000_000).await.unwrap().is_empty());
    ticks.close().await.unwrap();
    assert_eq!(get(at, "/CheckConnect?id=mine-aside", &[]).await.json()["code"], "INVALID_TOKEN", "given back");
}

fn at(text: &str) -> i64 {
    i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
}

/// Open, high, low and close of the bids by minute.
fn minutes(ticks: &[PastTick]) -> BTreeMap<i64, (i64, i64, i64, i64)> {
    let mut bars: BTreeMap<i64, (i64, i64, i64, i64)> = BTreeMap::new();
    for tick in ticks {
        let bid = tick.bid.unwrap().e9();
        let bar = bars.entry(tick.ts_event_ns - tick.ts_event_ns % MINUTE_NS).or_insert((bid, bid, bid, bid));
        *bar = (bar.0, bar.1.max(bid), bar.2.min(bid), bid);
    }
    bars
}

#[tokio::test]
async fn a_days_ticks_make_the_days_bars_however_they_are_asked_for() {
    let brokers = brokers();
    let spec = one(mtapi(&brokers, 77, ""));
    let (past, history) = (spec.venue.any_tick_history().unwrap(), spec.venue.any_history().unwrap());
    let (from_ns, to_ns) = (at("2024-03-05T00:00:00Z"), at("2024-03-06T00:00:00Z"));
    assert_eq!(past.span_ns(), to_ns - from_ns);
    let ticks = past.ticks("EURUSD", from_ns, to_ns).await.unwrap();
    assert!(ticks.is_sorted_by_key(|tick| tick.ts_event_ns) && ticks.iter().all(|tick| tick.bid < tick.ask));
    let bars = history.bars("EURUSD", Timeframe::M1, from_ns, to_ns).await.unwrap();
    assert_eq!(bars.len(), 22 * 60, "with a hole of two hours");
    let of = |bar: &tickwire_schemas::record::Bar| (bar.bid.open_e9, bar.bid.high_e9, bar.bid.low_e9, bar.bid.close_e9);
    assert!(minutes(&ticks) == bars.iter().map(|bar| (bar.open_ts_ns, of(bar))).collect());
    // By their number instead of by time; and from the middle of one day of the broker into the next.
    let by_count = one(mtapi(&brokers, 77, "history_by = \"count\"\nhistory_bars = 1440"));
    let counted = by_count.venue.any_history().unwrap().bars("EURUSD", Timeframe::M1, from_ns, to_ns).await.unwrap();
    assert!(counted == bars, "{} bars by number", counted.len());
    let (middle_ns, later_ns) = (at("2024-03-05T21:30:00Z"), at("2024-03-06T00:00:00Z"));
    let some = past.ticks("EURUSD", middle_ns, later_ns).await.unwrap();
    let wanted: Vec<_> = ticks.iter().filter(|tick| tick.ts_event_ns >= middle_ns).copied().collect();
    assert!(some == wanted, "{} of {}", some.len(), wanted.len());
    // A Saturday has none, and that is known without waiting for one.
    let saturday = (at("2024-03-09T00:00:00Z"), at("2024-03-09T20:00:00Z"));
    assert_eq!(past.ticks("EURUSD", saturday.0, saturday.1).await.unwrap(), []);
    past.close().await.unwrap();
}

#[tokio::test]
async fn both_kinds_tell_the_same_bars() {
    let brokers = brokers();
    let hour_ns = 60 * MINUTE_NS;
    let (from_ns, to_ns) = (at("2024-04-05T00:00:00Z"), at("2024-04-09T00:00:00Z"));
    let mut told = Vec::new();
    for keys in [mtapi(&brokers, 77, ""), accounts(&brokers, ""), accounts(&brokers, "history_from = \"ms\"")] {
        let spec = one(keys);
        told.push(spec.venue.any_history().unwrap().bars("EURUSD", Timeframe::H1, from_ns, to_ns).await.unwrap());
    }
    assert!(told[0].len() > 40 && told[0].iter().all(|bar| bar.open_ts_ns % hour_ns == 0));
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
    let iso = one(accounts(&brokers, "history_from = \"iso\"\nhistory_bars = 7"));
    let history = iso.venue.any_history().unwrap();
    assert_eq!(history.page(), 7);
    assert_eq!(history.bars("EURUSD", Timeframe::H1, from_ns, to_ns).await.unwrap(), told[0][..7]);
}

#[tokio::test]
async fn two_accounts_have_two_tokens_and_the_end_of_one_session_is_noticed_and_is_not_the_others() {
    let brokers = brokers();
    let first = mtapi(&brokers, 77, "session = \"first\"\ncheck_ms = 30");
    let second = mtapi(&brokers, 78, "session = \"second\"\ncheck_ms = 30");
    let rig = Rig::new(&[("a", first), ("b", second)]);
    rig.until_prices(1);
    rig.until_prices(2);
    let broker = brokers.address("mtapi").unwrap();
    // The server forgets one session, but neither closes its socket nor stops its prices.
    assert_eq!(get(broker, "/Disconnect?id=first", &[]).await.body, "OK");
    rig.until_state(1, SourceStatus::Down, Cause::ConnectFailed);
    let said = rig.errors().remove(0);
    assert_eq!(said, "CheckConnect: Client with id = ******** not found (INVALID_TOKEN)");
    rig.until_state(1, SourceStatus::Live, Cause::None);
    rig.until_prices(1);
    rig.until_prices(2);
    let statuses = rig.handle.statuses();
    assert_eq!((statuses[0].reconnects(), statuses[1].reconnects()), (1, 0));
    assert_eq!(statuses[1].last_error(), "");
    for id in ["first-1", "second"] {
        assert_eq!(get(broker, &format!("/CheckConnect?id={id}"), &[]).await.body, "OK");
    }
    rig.stop();
    for id in ["first-1", "second"] {
        let left = get(broker, &format!("/CheckConnect?id={id}"), &[]).await;
        assert_eq!(left.json()["code"], "INVALID_TOKEN", "{id} was not given back");
    }
}

/// A way to a server that takes no WebSockets for as long as `shut`.
fn door(to: SocketAddr, shut: &Arc<AtomicBool>) -> SocketAddr {
    let (listener, shut) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(shut));
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for inner in listener.incoming() {
            let mut inner = inner.unwrap();
            if shut.load(Relaxed) {
                // The client may be gone.
                let _ = inner.read(&mut [0; 4_096]);
                let _ = inner.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                continue;
            }
            let outer = TcpStream::connect(to).unwrap();
            for (mut from, mut to) in [(inner.try_clone().unwrap(), outer.try_clone().unwrap()), (outer, inner)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    at
}

#[test]
fn where_the_socket_is_refused_prices_are_asked_for_until_it_is_there() {
    let (brokers, shut) = (brokers(), Arc::new(AtomicBool::new(true)));
    let door = door(brokers.address("mtapi").unwrap(), &shut);
    let keys = format!("stream_url = \"ws://{door}\"\npoll_ms = 5\nsocket_retry_ms = 50");
    let rig = Rig::new(&[("a", mtapi(&brokers, 77, &keys))]);
    rig.until_state(1, SourceStatus::Live, Cause::None);
    rig.until_prices(1);
    let sessions = || brokers.stats("mtapi").unwrap().sessions;
    assert_eq!(sessions(), 0, "nobody has a socket");
    shut.store(false, Relaxed);
    let still = |input: &Input| match input {
        Input::SourceState(state) => panic!("prices do not stop for it: {state:?}"),
        _ => sessions() > 0,
    };
    rig.until("a socket", still);
    rig.until_prices(1);
    assert_eq!((rig.errors(), brokers.stats("mtapi").unwrap().subscribers), (vec![String::new()], 1));
    rig.stop();
}

#[tokio::test]
async fn accounts_are_polled_by_symbol_or_all_at_once() {
    let brokers = brokers();
    let rig = Rig::new(&[
        ("a", accounts(&brokers, "prices = \"symbol\"")),
        ("b", accounts(&brokers, "prices = \"all\"")),
        // One symbol of all that are told.
        ("c", accounts(&brokers, "prices = \"all\"").replace("[\"EURUSD\", \"XAUUSD\"]", "[\"XAUUSD\"]")),
    ]);
    rig.until_prices(1);
    rig.until_prices(2);
    rig.until("gold", |input| matches!(input, Input::Tick(t) if (t.head.source_id, t.head.instrument_id) == (3, 1)));
    let dated =
        |input: &Input| matches!(input, Input::Tick(t) if (t.ts_recv_ns - t.ts_event_ns).abs() < 10_000_000_000);
    rig.until("a stamp", dated);
    assert_eq!(rig.errors(), ["", "", ""]);
    rig.stop();
}

/// Two accounts with tokens of different lives see the same market, each renewing its session three times at least: what one
/// of them missed the other would have.
#[test]
fn tokens_that_end_are_renewed_before_and_no_tick_is_lost() {
    let brokers = start(&format!("[simulators.mtapi]\n{MTAPI}token_lifetime_s = 4\n"));
    let rig = Rig::new(&[
        ("a", mtapi(&brokers, 77, "token_lifetime_s = 4")),
        ("b", mtapi(&brokers, 78, "token_lifetime_s = 3\n")),
    ]);
    let mut heard: [Vec<(u32, i64, i64, i64)>; 2] = Default::default();
    let deadline = Instant::now() + HANG;
    let (mut live, mut begun) = ([false; 2], None);
    // Three lives of the longer tokens.
    while begun.is_none_or(|begun: Instant| begun.elapsed() < Duration::from_secs(12)) {
        match rig.inputs.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap() {
            Input::Tick(tick) => {
                let at = tick.head.source_id as usize - 1;
                heard[at].push((tick.head.instrument_id, tick.ts_event_ns, tick.bid_e9, tick.ask_e9));
                if begun.is_none() && heard.iter().all(|heard| heard.len() > 4) {
                    begun = Some(Instant::now());
                }
            }
            Input::SourceState(state) if state.head.instrument_id == 0 => {
                let at = state.head.source_id as usize - 1;
                live[at] |= state.status == SourceStatus::Live.code();
                assert!(!live[at] || state.status == SourceStatus::Live.code(), "{state:?} {:?}", rig.errors());
            }
            Input::Drop(drop) => panic!("{drop:?}"),
            _ => {}
        }
    }
    let sessions = brokers.stats("mtapi").unwrap().sessions;
    assert!(sessions >= 8, "{sessions} sessions");
    // From where both had begun to where both had come.
    let sets = heard.map(|heard| heard.into_iter().collect::<std::collections::BTreeSet<_>>());
    let times = sets.each_ref().map(|set| set.iter().map(|tick| tick.1).collect::<std::collections::BTreeSet<_>>());
    let from = times.each_ref().map(|times| *times.iter().nth(4).unwrap()).into_iter().max().unwrap();
    let to = times.each_ref().map(|times| *times.iter().nth_back(4).unwrap()).into_iter().min().unwrap();
    let cut = sets.map(|set| set.into_iter().filter(|tick| (from..to).contains(&tick.1)).collect::<Vec<_>>());
    assert!(cut[0].len() > 50, "{}", cut[0].len());
    assert_eq!(cut[0], cut[1]);
    rig.stop();
    brokers.stop();
}
