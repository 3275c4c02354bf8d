//! A connection with what belongs to it, and the one that is made beside it to take its place.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::adapters::{Decoder, Stream};
use super::event::Symbols;
use super::net::{Connection, Failure};
use super::rate::SharedHosts;
use super::session::{Heard, Session};
use crate::{clock, metrics};

/// How long a ping may take to leave.
const PING_MAX: Duration = Duration::from_secs(5);

/// A connection that is read.
pub(super) struct Line<D> {
    connection: Connection,
    decoder: D,
    pub(super) secrets: Vec<String>,
    pub(super) symbols: Arc<Symbols>,
    _held: HeldSocket,
}

impl<D: Decoder> Line<D> {
    pub(super) fn new<S: Stream<Decoder = D>>(stream: &S, mut connection: Connection, symbols: Arc<Symbols>) -> Self {
        let (secrets, decoder) = (connection.take_secrets(), stream.decoder(&symbols));
        Line { connection, decoder, secrets, symbols, _held: HeldSocket::new() }
    }

    /// How long it is good for, where it said so.
    pub(super) fn life(&self) -> Option<Duration> {
        self.connection.life()
    }

    /// Waits for bytes, and lets the session hear what they say. Dropping the future before it is ready loses nothing.
    pub(super) async fn read(
        &mut self,
        session: &RefCell<&mut Session>,
        heard: &RefCell<Heard>,
    ) -> Result<(), Failure> {
        let Line { connection, decoder, secrets, symbols, .. } = self;
        let before_ns = session.borrow().last_data_ns();
        let mut each = |frame: &[u8], at_ns| {
            session.borrow_mut().frame(decoder, symbols, frame, at_ns, secrets, &mut heard.borrow_mut());
        };
        let read = connection.read(&mut each).await;
        let missed = connection.take_missed();
        if missed > 0 {
            session.borrow_mut().missed(missed, before_ns);
        }
        if let Err(Failure { cause: Cause::ProtocolError, .. }) = read {
            session.borrow().unreadable();
        }
        read
    }

    pub(super) async fn ping(&mut self) -> Result<(), Failure> {
        match timeout(PING_MAX, self.connection.ping()).await {
            Ok(pinged) => pinged,
            Err(_) => Err(Failure::new(Cause::ReadError, "a ping could not be sent")),
        }
    }

    pub(super) async fn close(self) {
        self.connection.close().await;
    }
}

/// A connection that is being made.
type Opening<'a> = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + 'a>>;

/// The connection beside the one that is read: it is to take its place, or had it.
pub(super) enum Next<'a, D> {
    Opening(Opening<'a>, Arc<Symbols>),
    Open(Line<D>),
    /// What was on its way is still read, until then.
    Old(Line<D>, Instant),
}

/// How far it came.
pub(super) enum Progress {
    Opened(Result<Connection, Failure>),
    Read(Result<(), Failure>),
    /// An old one may go.
    Over,
}

impl<D: Decoder> Next<'_, D> {
    /// Waits until it is made, says something, or is over. For none, for ever.
    pub(super) async fn advance(
        next: &mut Option<Self>,
        session: &RefCell<&mut Session>,
        heard: &RefCell<Heard>,
    ) -> Progress {
        match next {
            None => std::future::pending().await,
            Some(Next::Opening(opening, _)) => Progress::Opened(opening.await),
            Some(Next::Open(line)) => Progress::Read(line.read(session, heard).await),
            Some(Next::Old(line, until)) => tokio::select! {
                read = line.read(session, heard) => Progress::Read(read),
                () = sleep_until(*until) => Progress::Over,
            },
        }
    }
}

/// Connects when the host may be asked. A host that asks to wait is left alone by all sources of this process.
pub(super) async fn open<S: Stream>(
    stream: &S,
    symbols: &Symbols,
    hosts: &SharedHosts,
    connect_timeout: Duration,
) -> Result<Connection, Failure> {
    let limit = stream.connect_rate();
    while let Some((host, rate)) = limit {
        let wait_ns = hosts.take(host, rate, clock::monotonic_ns());
        if wait_ns == 0 {
            break;
        }
        sleep(Duration::from_nanos(wait_ns.unsigned_abs())).await;
    }
    let open_max = stream.open_max().unwrap_or_default().max(connect_timeout);
    let late = || Failure::new(Cause::ConnectFailed, format!("no connection within {} ms", open_max.as_millis()));
    let opened = timeout(open_max, stream.open(symbols)).await.unwrap_or_else(|_| Err(late()));
    if let (Err(Failure { retry_after: Some(after), .. }), Some((host, _))) = (&opened, limit) {
        let after_ns = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
        hosts.hold(host, clock::monotonic_ns().saturating_add(after_ns));
    }
    opened
}

/// Counts a socket to a broker for as long as it lives.
struct HeldSocket;

impl HeldSocket {
    fn new() -> Self {
        metrics::BROKER_SOCKETS.add(1);
        HeldSocket
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        metrics::BROKER_SOCKETS.add(-1);
    }
}
