//! Sources that come, change and go while the others run; sources of several connections, and those that stand in for
//! others: over real sockets, against a venue on loopback that says prices all the time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tickwire::config::Config;
use tickwire::feeds::{self, Feed, FeedsControl, FeedsHandle, IngestConfig, InletMaker};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::ring::Inlet;
use tickwire_schemas::INSTRUMENT_ALL;
use tickwire_schemas::record::SourceState;
use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, accept_hdr};

/// Long enough for a slow machine; nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(20);

/// The venue's pace, not a wait for anything.
const PACE: Duration = Duration::from_millis(2);

const SYMBOLS: [&str; 6] = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "NZDUSD", "USDCAD"];

/// What happened at a venue, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Opened(usize, Vec<String>),
    Closed(usize),
}

/// How a venue behaves.
#[derive(Default)]
struct Mood {
    /// Nobody is let in, and whoever is there is put out.
    away: AtomicBool,
    /// Connections with a smaller number say one price of each symbol and no more.
    quiet_below: AtomicUsize,
    /// The connection of this number, counted from 1, is put out.
    put_out: AtomicUsize,
}

/// A venue that says prices of what its clients ask for, without end.
struct Venue {
    addr: SocketAddr,
    mood: Arc<Mood>,
    stop: Arc<AtomicBool>,
    seen: mpsc::Receiver<Seen>,
    thread: JoinHandle<()>,
}

impl Venue {
    fn start() -> Venue {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (mood, stop): (Arc<Mood>, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        let (tell, seen) = mpsc::channel();
        let (to, until) = (Arc::clone(&mood), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut players, began) = (Vec::new(), Instant::now());
            for socket in listener.incoming() {
                if until.load(SeqCst) {
                    break;
                }
                if to.away.load(SeqCst) {
                    continue;
                }
                let number = players.len() + 1;
                let (mood, stop, tell) = (to.clone(), until.clone(), tell.clone());
                let socket = socket.unwrap();
                players.push(std::thread::spawn(move || serve(socket, number, &mood, &stop, &tell, began)));
            }
            players.into_iter().for_each(|player| player.join().unwrap());
        });
        Venue { addr, mood, stop, seen, thread }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(HANG).expect("the client comes or goes")
    }

    fn opened(&self, number: usize, symbols: &[&str]) {
        assert_eq!(self.next(), Seen::Opened(number, symbols.iter().map(ToString::to_string).collect()));
    }

    /// A connection is closed and the next one opened. The client does it in this order; the venue may notice late.
    fn changed(&self, number: usize, symbols: &[&str]) {
        let opened = Seen::Opened(number + 1, symbols.iter().map(ToString::to_string).collect());
        let mut seen = [self.next(), self.next()];
        seen.sort_by_key(|seen| matches!(seen, Seen::Opened(..)));
        assert_eq!(seen, [Seen::Closed(number), opened]);
    }

    fn stop(self) {
        self.stop.store(true, SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.addr);
        self.thread.join().unwrap();
    }
}

fn serve(socket: TcpStream, number: usize, mood: &Mood, stop: &AtomicBool, tell: &mpsc::Sender<Seen>, began: Instant) {
    let mut symbols = Vec::new();
    #[allow(clippy::result_large_err)]
    let read = |request: &Request, response: Response| {
        let asked = request.uri().query().unwrap_or_default().trim_start_matches("of=");
        symbols = asked.split(',').map(String::from).collect();
        Ok(response)
    };
    let Ok(mut client) = accept_hdr(socket, read) else { return };
    let _ = tell.send(Seen::Opened(number, symbols.clone()));
    client.get_ref().set_nonblocking(true).unwrap();
    // Every price has its number, the same on every connection.
    let number_now = || began.elapsed().as_micros() / PACE.as_micros();
    let (mut said, mut next) = (0, number_now());
    loop {
        // A close of the client shows up when it is read, or when it cannot be written any more.
        let gone = match client.read() {
            Err(tokio_tungstenite::tungstenite::Error::Io(e)) => e.kind() != std::io::ErrorKind::WouldBlock,
            Err(_) => true,
            Ok(_) => false,
        };
        let put_out = mood.away.load(SeqCst) || mood.put_out.load(SeqCst) == number;
        if gone || put_out || stop.load(SeqCst) {
            break;
        }
        if number >= mood.quiet_below.load(SeqCst) || said == 0 {
            while next <= number_now() {
                for symbol in &symbols {
                    let text = format!(r#"{{"type":"quote","data":{{"s":"{symbol}","b":1.1,"a":1.2,"n":{next}}}}}"#);
                    let _ = client.send(Message::text(text));
                }
                (said, next) = (said + 1, next + 1);
            }
        }
        std::thread::sleep(PACE);
    }
    let _ = client.get_mut().flush();
    let _ = client.get_ref().shutdown(std::net::Shutdown::Both);
    let _ = tell.send(Seen::Closed(number));
}

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        // The receiver is gone when the test has seen enough.
        let _ = self.0.send(*input);
    }
}

/// Each source of this process has a place of its own in the metrics.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Running feeds, and their places in the metrics by the number of the source.
struct Rig {
    handle: FeedsHandle,
    control: FeedsControl,
    inputs: mpsc::Receiver<Input>,
    stop: watch::Sender<bool>,
    places: Mutex<BTreeMap<u32, usize>>,
}

impl Rig {
    fn new(threads: usize) -> Rig {
        let (sender, inputs) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let inlet = |sender: mpsc::Sender<Input>| -> InletMaker { Box::new(move || Box::new(Tap(sender))) };
        let inlets = (0..threads).map(|_| inlet(sender.clone())).collect();
        let ingest = IngestConfig { threads, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
        let handle = feeds::start(Vec::new(), &ingest, inlets, stopped).unwrap();
        let control = handle.control();
        Rig { handle, control, inputs, stop, places: Mutex::default() }
    }

    /// The source of this number at `venue`. Its name is a letter.
    fn feed(&self, number: u32, venue: &Venue, symbols: &[&str], keys: &str) -> Feed {
        let name = char::from(b'a' + u8::try_from(number).unwrap() - 1);
        let list = format!("{symbols:?}");
        let liveness = if keys.contains("liveness_ms") { "" } else { "liveness_ms = 60000\n" };
        let text = format!(
            "[sources.{name}]\nadapter = \"json-ws\"\nsymbols = {list}\nurl = \"ws://{}/prices?of={{symbols}}\"\n\
             fields = {{ symbol = \"data.s\", bid = \"data.b\", ask = \"data.a\", sequence = \"data.n\", filter = {{ type = \"quote\" }} }}\n\
             backoff_min_ms = 1\nbackoff_max_ms = 5\n{liveness}{keys}",
            venue.addr
        );
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        // Whom it stands in for must be there when a whole configuration is read; a single one is given by hand.
        config.overlay(&text, "test").unwrap();
        let first = keys.split("standby_for = \"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(first) = first {
            let other = text.replace(&format!("[sources.{name}]"), &format!("[sources.{first}]"));
            config.overlay(&other.replace("standby_for", "# standby_for"), "test").unwrap();
        }
        let specs = feeds::config::sources(&config).unwrap();
        let spec = specs.into_iter().find(|spec| spec.name == name.to_string()).unwrap();
        let id = |symbol: &str| InstrumentId(SYMBOLS.iter().position(|s| *s == symbol).unwrap() as u32 + 1);
        let instruments = spec.symbols.iter().map(|symbol| id(&symbol.canonical)).collect();
        let index = *self.places.lock().unwrap().entry(number).or_insert_with(|| NEXT.fetch_add(1, SeqCst));
        Feed { spec, source: SourceId(number), index, instruments }
    }

    fn add(&self, number: u32, venue: &Venue, symbols: &[&str], keys: &str) {
        self.control.add(self.feed(number, venue, symbols, keys)).unwrap().wait().unwrap();
    }

    /// The inputs up to the first that is looked for, this one included.
    fn until(&self, mut found: impl FnMut(&Input) -> bool) -> Vec<Input> {
        let (deadline, mut seen) = (Instant::now() + HANG, Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let input = self.inputs.recv_timeout(left).unwrap_or_else(|_| panic!("not among {:?}", states(&seen)));
            let is_it = found(&input);
            seen.push(input);
            if is_it {
                return seen;
            }
        }
    }

    fn until_state(&self, source: u32, instrument: u32, status: SourceStatus) -> Vec<Input> {
        self.until(|input| state(input).is_some_and(|s| said(&s) == (source, instrument, status)))
    }

    fn until_tick(&self, source: u32, symbol: &str) -> Vec<Input> {
        let instrument = SYMBOLS.iter().position(|s| *s == symbol).unwrap() as u32 + 1;
        self.until(|input| is_tick(input, source, instrument))
    }

    fn stop(self) {
        self.stop.send(true).unwrap();
        self.handle.join();
    }
}

fn state(input: &Input) -> Option<SourceState> {
    match input {
        Input::SourceState(state) => Some(*state),
        _ => None,
    }
}

fn said(state: &SourceState) -> (u32, u32, SourceStatus) {
    (state.head.source_id, state.head.instrument_id, SourceStatus::from_code(state.status).unwrap())
}

/// Source, instrument and status of every state.
fn states(inputs: &[Input]) -> Vec<(u32, u32, SourceStatus)> {
    inputs.iter().filter_map(state).map(|s| said(&s)).collect()
}

fn is_tick(input: &Input, source: u32, instrument: u32) -> bool {
    matches!(input, Input::Tick(tick) if (tick.head.source_id, tick.head.instrument_id) == (source, instrument))
}

#[test]
fn a_source_comes_and_goes_and_the_others_keep_their_sockets() {
    for threads in [1, 2] {
        let (rig, one, two) = (Rig::new(threads), Venue::start(), Venue::start());
        rig.add(1, &one, &["EURUSD"], "");
        rig.until_tick(1, "EURUSD");
        rig.add(2, &two, &["EURUSD", "GBPUSD"], "");
        rig.until_tick(2, "GBPUSD");
        assert_eq!(rig.handle.statuses().iter().map(|s| s.name.clone()).collect::<Vec<_>>(), ["a", "b"]);

        let done = rig.control.remove(SourceId(2)).unwrap();
        let left = rig.until_state(2, INSTRUMENT_ALL, SourceStatus::Stopped);
        done.wait().unwrap();
        let end = [(2, 1, SourceStatus::Stopped), (2, 2, SourceStatus::Stopped), (2, 0, SourceStatus::Stopped)];
        assert_eq!(states(&left), end, "what it delivered is at its end, then the source itself");
        two.opened(1, &["EURUSD", "GBPUSD"]);
        assert_eq!(two.next(), Seen::Closed(1));
        assert_eq!(rig.handle.statuses().len(), 1);

        // The first one went on all the time, over its one socket; and the second may come back.
        let went_on = rig.until_tick(1, "EURUSD");
        assert_eq!((states(&went_on), went_on.iter().any(|i| is_tick(i, 2, 1))), (vec![], false));
        one.opened(1, &["EURUSD"]);
        assert!(one.seen.try_recv().is_err());
        rig.add(2, &two, &["GBPUSD"], "");
        rig.until_tick(2, "GBPUSD");
        rig.stop();
        one.stop();
        two.stop();
    }
}

#[test]
fn orders_that_make_no_sense_are_refused_in_words_and_change_nothing() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    rig.add(1, &venue, &["EURUSD"], "");
    let no = |done: Result<feeds::Done, feeds::FeedsError>| done.unwrap_err().to_string();
    let taken = "source a: its number, name or index is another source's; expected ones that are free, or its own";
    assert_eq!(no(rig.control.add(rig.feed(1, &venue, &["EURUSD"], ""))), taken);
    let unknown = "no source 7 runs; expected one that was added and not removed";
    assert_eq!(no(rig.control.remove(SourceId(7))), unknown);
    assert_eq!(no(rig.control.replace(rig.feed(7, &venue, &["EURUSD"], ""))), unknown);
    let far = Feed { index: 256, ..rig.feed(2, &venue, &["EURUSD"], "") };
    assert!(no(rig.control.add(far)).contains("source b: index 256; expected below 256"));
    let odd = Feed { instruments: vec![], ..rig.feed(2, &venue, &["EURUSD"], "") };
    assert!(no(rig.control.add(odd)).contains("source b: 0 instruments for 1 symbols"));
    rig.add(2, &venue, &["EURUSD"], "standby_for = \"a\"");
    let circle = rig.feed(1, &venue, &["EURUSD"], "standby_for = \"b\"");
    assert!(no(rig.control.replace(circle)).contains("in a circle: a for b for a"));
    rig.until_tick(1, "EURUSD");
    let Rig { handle, control, stop, .. } = rig;
    let leaving = control.clone();
    stop.send(true).unwrap();
    handle.join();
    let late = leaving.remove(SourceId(1)).and_then(feeds::Done::wait).unwrap_err();
    assert!(late.to_string().contains("the feeds are stopping"), "{late}");
    venue.stop();
}

#[test]
fn symbols_change_without_a_hole_where_the_venue_bears_two_connections() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    rig.add(1, &venue, &["EURUSD", "GBPUSD"], "");
    rig.until_tick(1, "GBPUSD");
    rig.control.replace(rig.feed(1, &venue, &["EURUSD", "USDJPY"], "")).unwrap().wait().unwrap();
    let before = rig.until_state(1, 2, SourceStatus::Stopped);
    assert_eq!(states(&before), [(1, 2, SourceStatus::Stopped)], "the source itself is live all the time");
    let after = rig.until_tick(1, "USDJPY");
    let more = rig.until_tick(1, "EURUSD");
    assert!(!after.iter().chain(&more).any(|input| is_tick(input, 1, 2)), "what is gone is not delivered any more");
    venue.opened(1, &["EURUSD", "GBPUSD"]);
    venue.opened(2, &["EURUSD", "USDJPY"]);
    assert_eq!(venue.next(), Seen::Closed(1));
    let status = &rig.handle.statuses()[0];
    assert_eq!((status.symbols(), status.reconnects(), status.status()), (2, 1, SourceStatus::Live));
    rig.stop();
    venue.stop();
}

#[test]
fn other_settings_connect_this_one_source_anew() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    rig.add(1, &venue, &["EURUSD", "GBPUSD"], "");
    rig.until_tick(1, "GBPUSD");
    rig.control.replace(rig.feed(1, &venue, &["EURUSD"], "priority = 7")).unwrap().wait().unwrap();
    let seen = rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Live);
    use SourceStatus::{Connecting, Down, Live, Stopped};
    let all = INSTRUMENT_ALL;
    assert_eq!(states(&seen), [(1, 2, Stopped), (1, all, Down), (1, all, Connecting), (1, all, Live)]);
    venue.opened(1, &["EURUSD", "GBPUSD"]);
    venue.changed(1, &["EURUSD"]);
    rig.stop();
    venue.stop();
}

#[test]
fn symbols_beyond_the_limit_go_over_several_connections_and_only_those_of_a_broken_one_are_away() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    rig.add(1, &venue, &SYMBOLS[..5], "connection_symbols = 2");
    let begin = rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Live);
    let whole: Vec<_> = states(&begin).into_iter().filter(|(_, instrument, _)| *instrument == INSTRUMENT_ALL).collect();
    assert_eq!(whole, [(1, 0, SourceStatus::Connecting), (1, 0, SourceStatus::Live)]);
    let status = Arc::clone(&rig.handle.statuses()[0]);
    assert_eq!((status.status(), status.connections()), (SourceStatus::Live, (3, 3)));
    let mut carried = BTreeMap::new();
    while carried.len() < 3 {
        if let Seen::Opened(number, symbols) = venue.next() {
            carried.insert(number, symbols);
        }
    }
    assert_eq!(carried.values().map(Vec::len).sum::<usize>(), 5);
    assert!(carried.values().all(|symbols| symbols.len() <= 2), "{carried:?}");

    venue.mood.put_out.store(2, SeqCst);
    let mut away: Vec<u32> =
        carried[&2].iter().map(|symbol| SYMBOLS.iter().position(|s| s == symbol).unwrap() as u32 + 1).collect();
    away.sort_unstable();
    let broken = rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Live);
    let mut down: Vec<_> = states(&broken)
        .iter()
        .filter(|(_, _, status)| *status == SourceStatus::Down)
        .map(|(_, instrument, _)| *instrument)
        .collect();
    down.sort_unstable();
    assert_eq!(down, away, "{:?}", states(&broken));
    assert!(states(&broken).iter().all(|(_, i, _)| away.contains(i) || *i == INSTRUMENT_ALL));
    assert_eq!((status.connections(), status.reconnects()), ((3, 3), 1));
    assert!(status.last_error().starts_with("connection "), "{}", status.last_error());

    // One more symbol has room on the smallest; the others keep their sockets.
    rig.control.replace(rig.feed(1, &venue, &SYMBOLS, "connection_symbols = 2")).unwrap().wait().unwrap();
    rig.until_tick(1, SYMBOLS[5]);
    assert_eq!(status.connections(), (3, 3));
    let rest: Vec<_> = venue.seen.try_iter().collect();
    let opened = rest.iter().filter(|seen| matches!(seen, Seen::Opened(..))).count();
    assert_eq!(opened, 2, "one for the broken one, one for the other symbols: {rest:?}");
    rig.stop();
    venue.stop();
}

#[test]
fn a_connection_that_brings_nothing_any_more_is_made_anew_by_the_health_check() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    venue.mood.quiet_below.store(2, SeqCst);
    // Its session would wait a minute.
    rig.add(1, &venue, &["EURUSD"], "health_check_ms = 20\nliveness_ms = 10\nmute_reconnect_ms = 60000");
    rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Mute);
    rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Down);
    rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Live);
    venue.opened(1, &["EURUSD"]);
    venue.changed(1, &["EURUSD"]);
    rig.stop();
    venue.stop();
}

#[test]
fn a_standby_connects_when_the_first_is_away_and_lets_go_when_it_is_back() {
    let (rig, one, two) = (Rig::new(2), Venue::start(), Venue::start());
    rig.add(1, &one, &["EURUSD"], "");
    rig.until_tick(1, "EURUSD");
    rig.add(2, &two, &["EURUSD"], "standby_for = \"a\"\nfailover_after_ms = 30\nreturn_after_ms = 30");
    let held = rig.until_state(2, INSTRUMENT_ALL, SourceStatus::Stopped);
    assert_eq!(held.iter().rev().find_map(state).unwrap().cause, Cause::Standby.code());
    rig.until_tick(1, "EURUSD");
    assert!(two.seen.try_recv().is_err(), "nothing of it is connected");

    one.mood.away.store(true, SeqCst);
    rig.until_tick(2, "EURUSD");
    assert_eq!(rig.handle.statuses()[1].connections(), (1, 1));
    one.mood.away.store(false, SeqCst);
    let back = rig.until_state(2, INSTRUMENT_ALL, SourceStatus::Stopped);
    let states = states(&back);
    assert!(states.contains(&(1, INSTRUMENT_ALL, SourceStatus::Live)), "{states:?}");
    two.opened(1, &["EURUSD"]);
    assert_eq!(two.next(), Seen::Closed(1));
    let status = &rig.handle.statuses()[1];
    assert_eq!(
        (status.status(), status.cause(), status.connections()),
        (SourceStatus::Stopped, Cause::Standby, (0, 0))
    );
    rig.stop();
    one.stop();
    two.stop();
}

#[test]
fn a_connection_that_gets_too_old_is_replaced_while_it_delivers() {
    let (rig, venue) = (Rig::new(1), Venue::start());
    rig.add(1, &venue, &["EURUSD"], "age_max_s = 1");
    rig.until_state(1, INSTRUMENT_ALL, SourceStatus::Live);
    venue.opened(1, &["EURUSD"]);
    venue.opened(2, &["EURUSD"]);
    assert_eq!(venue.next(), Seen::Closed(1));
    let mut numbers: Vec<u64> = rig
        .until_tick(1, "EURUSD")
        .iter()
        .filter_map(|input| match input {
            Input::Tick(tick) => Some(tick.source_seq),
            Input::Timer(_) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    rig.inputs.try_iter().for_each(|input| match input {
        Input::Tick(tick) => numbers.push(tick.source_seq),
        Input::Timer(_) => {}
        other => panic!("{other:?}"),
    });
    // Some come twice, and some of these late; the stages know what to do with them.
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() > 100, "{numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing is missing: {numbers:?}");
    assert_eq!(rig.handle.statuses()[0].reconnects(), 1);
    rig.stop();
    venue.stop();
}
