//! The session over a venue made up for the purpose: lines over a socket of this machine.
#![allow(clippy::unwrap_used)]

use tickwire_schemas::words::SourceStatus;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::feeds::adapters::{Adapter, SettingsError};
use crate::feeds::event::Reject;
use crate::feeds::poll::TcpLines;
use crate::feeds::rate::Rate;
use crate::feeds::status::Statuses;
use crate::market::{Input, InstrumentId, SourceId, TickInput};
use crate::ring::Inlet;

/// Long enough for a slow machine; nothing waits for it when all is well.
const HANG: Duration = Duration::from_secs(20);

/// A venue that says "price" when it has one.
#[derive(Debug, Default)]
struct Fake {
    port: u16,
    /// How long the token of a connection is good for.
    life: Option<Duration>,
    rate: Option<Rate>,
    refuses: Option<Duration>,
    asked: std::sync::atomic::AtomicU32,
}

impl Adapter for Fake {
    const NAME: &'static str = "fake";
    const EXAMPLE: (&'static str, &'static str) = ("EURUSD", "price");
    type Settings = ();

    fn new((): ()) -> Result<Self, SettingsError> {
        Ok(Fake::default())
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }
}

impl Stream for Fake {
    type Decoder = Prices;

    fn decoder(&self, _: &Symbols) -> Prices {
        Prices
    }

    async fn open(&self, _: &Symbols) -> Result<Connection, Failure> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(after) = self.refuses {
            return Err(Failure { retry_after: Some(after), ..Failure::new(Cause::RateLimited, "slower") });
        }
        let connection = Connection::tcp_lines(TcpLines::connect("127.0.0.1", self.port).await?);
        Ok(self.life.into_iter().fold(connection, Connection::expiring))
    }

    fn overlaps(&self) -> bool {
        true
    }

    fn connect_rate(&self) -> Option<(&str, Rate)> {
        self.rate.map(|rate| ("venue.example:443", rate))
    }
}

struct Prices;

impl Decoder for Prices {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        let (source, instrument, price) = (symbols.source(), InstrumentId(1), "1.1".parse().ok());
        let (ts_event_ns, bid_size, ask_size, source_seq) = (None, None, None, None);
        let (bid, ask, snapshot) = (price, price, false);
        sink(match frame {
            b"price" => Event::Tick(TickInput {
                source,
                instrument,
                ts_event_ns,
                ts_recv_ns,
                bid,
                ask,
                bid_size,
                ask_size,
                source_seq,
                snapshot,
            }),
            _ => Event::Reject(Reject::Expected("a price")),
        });
    }
}

#[derive(Default)]
struct Heap(RefCell<Vec<Input>>);

impl Inlet for Heap {
    fn offer(&self, input: &Input) {
        self.0.borrow_mut().push(*input);
    }
}

fn symbols() -> Arc<Symbols> {
    Arc::new(Symbols::new(SourceId(1), [("EURUSD".to_string(), InstrumentId(1))]))
}

/// What a session needs; the sender stops it when it is dropped.
fn task(index: usize) -> (Task, watch::Sender<Told>, Rc<Heap>) {
    let heap = Rc::new(Heap::default());
    let status = Statuses::new().add("one".into(), SourceId(1), index);
    let report = Rc::new(Report::new(status, Rc::clone(&heap) as Rc<dyn Inlet>));
    report.want([InstrumentId(1)]);
    report.carry(0, Some(&symbols()));
    let (told, hears) = watch::channel(Told { symbols: symbols(), calendars: Arc::default(), anew: 0, stop: false });
    let pace = Pace {
        liveness_ns: i64::MAX,
        mute_reconnect_ns: i64::MAX,
        backoff_min_ns: 1,
        backoff_max_ns: 1,
        login_backoff_ns: 1,
        ping_every_ns: None,
        age_max_ns: None,
        overlaps: false,
    };
    let (hosts, prices) = (SharedHosts::default(), Rc::default());
    let task = Task { told: hears, pace, connect_timeout: HANG, hosts, report, number: 0, prices };
    (task, told, heap)
}

/// Says prices until the client goes.
async fn price(mut client: TcpStream) {
    while client.write_all(b"price\r\n").await.is_ok() {
        // The venue's pace.
        sleep(Duration::from_millis(2)).await;
    }
}

/// Runs what is local to one thread, as the sessions are.
fn locally(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(HANG, test).await.unwrap() });
}

#[test]
fn a_token_that_expires_is_renewed_by_a_new_connection_before_the_old_one_goes() {
    locally(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Fake { port, life: Some(Duration::from_millis(100)), ..Fake::default() };
        let (task, told, heap) = task(250);
        let session = spawn_local(async move { run(&fake, task).await });
        let (old, _) = listener.accept().await.unwrap();
        let old = spawn_local(price(old));
        let (next, _) = listener.accept().await.unwrap();
        assert!(!old.is_finished(), "the next one is made while this one delivers");
        let next = spawn_local(price(next));
        old.await.unwrap();
        assert!(!next.is_finished());
        drop(told);
        session.await.unwrap();
        let states = heap.0.borrow().iter().filter_map(status).collect::<Vec<_>>();
        assert_eq!(states, [SourceStatus::Connecting, SourceStatus::Live], "nobody need know");
    });
}

fn status(input: &Input) -> Option<SourceStatus> {
    match input {
        Input::SourceState(state) => SourceStatus::from_code(state.status),
        _ => None,
    }
}

#[test]
fn a_host_that_asks_to_wait_is_left_alone_by_all_who_share_the_bucket() {
    locally(async {
        let rate = Rate::within(100, Duration::from_secs(1));
        let hosts = SharedHosts::default();
        let refuses = Fake { rate: Some(rate), refuses: Some(Duration::from_secs(3_600)), ..Fake::default() };
        let refused = line::open(&refuses, &symbols(), &hosts, HANG).await.unwrap_err();
        assert_eq!(refused.cause, Cause::RateLimited);
        let other = Fake { rate: Some(rate), ..Fake::default() };
        assert!(timeout(Duration::ZERO, line::open(&other, &symbols(), &hosts, HANG)).await.is_err(), "it waits");
        assert_eq!(other.asked.into_inner(), 0, "and asks nothing meanwhile");
        let left_ns = hosts.take("venue.example:443", rate, clock::monotonic_ns());
        assert!(left_ns > 3_000_000_000_000, "{left_ns}");
    });
}

#[test]
fn new_connections_keep_to_the_hosts_rate() {
    locally(async {
        let rate = Some(Rate::within(1, Duration::from_secs(3_600)));
        let (fake, hosts) = (Fake { rate, ..Fake::default() }, SharedHosts::default());
        // Nobody listens there; asked it was.
        assert!(line::open(&fake, &symbols(), &hosts, HANG).await.is_err());
        assert!(timeout(Duration::ZERO, line::open(&fake, &symbols(), &hosts, HANG)).await.is_err());
        assert_eq!(fake.asked.into_inner(), 1);
    });
}
