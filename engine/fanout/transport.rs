//! The sockets: one thread with a current-thread runtime that drains the outbound ring and runs every session over
//! `quinn`. Sessions wait for news and pull; nothing waits for a session.

mod presence;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, CloseCode};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::clock::now_ns;
use crate::metrics::{FANOUT_BYTES, FANOUT_DELIVERIES, OUTBOUND_TAKEN, TERMINALS_CLOSED, TERMINALS_REFUSED};
use crate::ring::{Drained, Outlet};

use super::board::{Subscribed, Tally, TerminalShown};
use super::delivery::Batch;
use super::session::{Action, SUBSCRIPTIONS_MAX, Session};
use super::window::SnapshotHeaders;
use super::{Core, FanoutStats, Growth};
use presence::{Admitted, Count};

/// Records taken from the ring at a time, and how often before sessions get their turn: 32,768 records, some 5 ms.
const DRAIN_RECORDS: usize = 2048;
const DRAINS_PER_TURN: usize = 16;

/// A terminal has this long to open the control stream and say Hello.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// A terminal that does not take an answer on its control stream for so long is closed.
const CONTROL_WRITE_WITHIN: Duration = Duration::from_secs(10);

/// How long a closing session waits for its last words to arrive.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// How long a stopping endpoint waits for its sessions, which wait for [`LAST_WORDS_WITHIN`], and then for its socket.
const STOP_WITHIN: Duration = Duration::from_millis(1000);
const CLOSE_WITHIN: Duration = Duration::from_millis(300);

/// A silent peer is given up after this; keep-alives at a third of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes in flight to one terminal, sent or not: what a terminal that stops acknowledging can cost, beside its cursor.
const SEND_WINDOW_BYTES: u64 = 512 * 1024;

/// Connections being refused at one time with a reason; more are refused without one.
const REFUSALS_MAX: usize = 64;

/// One millisecond of floor for each so many terminals, up to [`FLUSH_FLOOR_MAX_MS`]: a wake-up for every record and
/// terminal costs more than the records. Measured: at 1,000 terminals and 1,000 records a second, 10 ms holds.
const TERMINALS_PER_FLUSH_MS: u64 = 100;
const FLUSH_FLOOR_MAX_MS: u64 = 10;

/// What the thread is given.
pub(super) struct Setup {
    pub(super) socket: UdpSocket,
    pub(super) tls: rustls::ServerConfig,
    pub(super) core: Core,
    pub(super) max_terminals: usize,
    pub(super) flush_ms: u32,
    pub(super) stats: Arc<FanoutStats>,
    /// Catalogues that have grown.
    pub(super) growths: mpsc::Receiver<Growth>,
    pub(super) stopped: watch::Receiver<bool>,
}

struct Hub {
    core: RefCell<Core>,
    headers: SnapshotHeaders,
    news: Notify,
    /// Publication to connection since the last full second, nanoseconds.
    latency: RefCell<Histogram<u64>>,
    stats: Arc<FanoutStats>,
    /// Changes when the catalogue has grown.
    grown: watch::Sender<u32>,
    /// True when sessions are to say goodbye.
    closing: watch::Sender<bool>,
    connections: Cell<usize>,
    refusals: Cell<usize>,
    /// Admitted terminals, by their number.
    admitted: RefCell<BTreeMap<u64, (Rc<Tally>, Connection)>>,
    /// Terminals admitted so far.
    admissions: Cell<u64>,
    max_terminals: usize,
    flush_ms: u64,
}

/// Runs until stopped; `ready` gets the outcome of the start.
pub(super) fn run(setup: Setup, outlet: Box<dyn Outlet>, ready: &SyncSender<Result<(), String>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.to_string()))),
    };
    LocalSet::new().block_on(&runtime, async {
        match serve(setup, outlet, ready).await {
            Ok(()) => {}
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    // Connections that did not end in time are dropped with the runtime.
    runtime.shutdown_background();
}

async fn serve(
    setup: Setup,
    mut outlet: Box<dyn Outlet>,
    ready: &SyncSender<Result<(), String>>,
) -> Result<(), String> {
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(setup.tls).map_err(|e| e.to_string())?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(transport_config()));
    let endpoint_config = quinn::EndpointConfig::default();
    let endpoint = Endpoint::new(endpoint_config, Some(server), setup.socket, Arc::new(quinn::TokioRuntime))
        .map_err(|e| e.to_string())?;
    let hub = Rc::new(Hub {
        core: RefCell::new(setup.core),
        headers: SnapshotHeaders::new(),
        news: Notify::new(),
        latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000_000, 2).map_err(|e| e.to_string())?),
        stats: setup.stats,
        grown: watch::Sender::new(0),
        closing: watch::Sender::new(false),
        connections: Cell::new(0),
        refusals: Cell::new(0),
        admitted: RefCell::default(),
        admissions: Cell::new(0),
        max_terminals: setup.max_terminals,
        flush_ms: u64::from(setup.flush_ms),
    });
    drop(ready.send(Ok(())));
    let accepting = spawn_local(accept(hub.clone(), endpoint.clone()));
    let measuring = spawn_local(publish_stats(hub.clone()));
    let growing = spawn_local(grow(hub.clone(), setup.growths));
    let mut stopped = setup.stopped;
    tokio::select! {
        () = pump(&hub, outlet.as_mut()) => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    accepting.abort();
    measuring.abort();
    growing.abort();
    hub.closing.send_replace(true);
    let all_gone = async {
        while hub.connections.get() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(STOP_WITHIN, all_gone).await;
    endpoint.close(VarInt::from_u32(CloseCode::Shutdown.code()), b"the engine is stopping");
    let _ = timeout(CLOSE_WITHIN, endpoint.wait_idle()).await;
    Ok(())
}

fn transport_config() -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    config
        .max_concurrent_bidi_streams(1u8.into())
        .max_concurrent_uni_streams(0u8.into())
        // Two of the longest control frames: one read, one on its way.
        .stream_receive_window(VarInt::from_u32(2 * CONTROL_BYTES_MAX))
        .receive_window(VarInt::from_u32(2 * CONTROL_BYTES_MAX))
        .send_window(SEND_WINDOW_BYTES)
        .max_idle_timeout(IDLE_TIMEOUT.try_into().ok())
        .keep_alive_interval(Some(IDLE_TIMEOUT / 3))
        .datagram_receive_buffer_size(None);
    config
}

/// Moves records from the ring into the window and wakes the sessions, until the pipeline ends.
async fn pump(hub: &Hub, outlet: &mut dyn Outlet) {
    let mut unseen = false;
    let mut next_flush = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = poll_fn(|cx| outlet.poll_ready(cx)) => {}
            () = sleep_until(next_flush), if unseen => {}
        }
        let (got, end) = drain(hub, outlet);
        unseen |= got;
        if unseen && Instant::now() >= next_flush {
            hub.news.notify_waiters();
            unseen = false;
            next_flush = Instant::now() + hub.flush_floor();
        }
        if end {
            hub.news.notify_waiters();
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Whether there was anything, and whether the pipeline has ended.
fn drain(hub: &Hub, outlet: &mut dyn Outlet) -> (bool, bool) {
    let mut core = hub.core.borrow_mut();
    let (mut got, mut end) = (false, false);
    for _ in 0..DRAINS_PER_TURN {
        match outlet.drain(DRAIN_RECORDS, &mut |kind, record| core.window.push(kind, record)) {
            Drained::Records(count) => {
                OUTBOUND_TAKEN[1].add(count as u64);
                got = true;
            }
            Drained::Empty => break,
            Drained::Shutdown => {
                end = true;
                break;
            }
        }
    }
    core.window.seal();
    (got, end)
}

/// Takes catalogues that have grown into use and tells the sessions.
async fn grow(hub: Rc<Hub>, mut growths: mpsc::Receiver<Growth>) {
    while let Some((catalogue, done)) = growths.recv().await {
        let grown = {
            let mut core = hub.core.borrow_mut();
            core.grow(catalogue);
            core.grown
        };
        hub.grown.send_replace(grown);
        hub.news.notify_waiters();
        // Nobody need wait for it.
        let _ = done.send(());
    }
}

async fn publish_stats(hub: Rc<Hub>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let mut latency = hub.latency.borrow_mut();
        if !latency.is_empty() {
            hub.stats.p50_ns.store(latency.value_at_quantile(0.5), Relaxed);
            hub.stats.p99_ns.store(latency.value_at_quantile(0.99), Relaxed);
            latency.reset();
        }
        let core = hub.core.borrow();
        hub.stats.window_used.store(core.window.head() - core.window.start(), Relaxed);
        hub.stats.window_capacity.store(core.window.capacity() as u64, Relaxed);
        let admitted = hub.admitted.borrow();
        let shown: Vec<TerminalShown> =
            admitted.values().map(|(tally, peer)| tally.shown(peer.remote_address(), peer.rtt())).collect();
        hub.stats.board.show(shown);
    }
}

async fn accept(hub: Rc<Hub>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let full = hub.connections.get() >= hub.max_terminals;
        if full {
            TERMINALS_REFUSED.inc();
            if hub.refusals.get() >= REFUSALS_MAX {
                incoming.refuse();
                continue;
            }
        }
        let count = if full { Count::refusal(&hub) } else { Count::connection(&hub) };
        spawn_local(connect(hub.clone(), incoming, full, count));
    }
}

async fn connect(hub: Rc<Hub>, incoming: Incoming, full: bool, _count: Count) {
    let Ok(Ok(connection)) = timeout(HELLO_WITHIN, async { incoming.accept()?.await }).await else { return };
    if full {
        let text = format!("this engine serves at most {} terminals", hub.max_terminals);
        return close(&connection, CloseCode::TooMany, &text);
    }
    match timeout(HELLO_WITHIN, connection.accept_bi()).await {
        Ok(Ok((send, recv))) => {
            let mut talk = Talk::new(hub, connection, send);
            talk.run(recv).await;
        }
        Ok(Err(_)) => {}
        Err(_) => {
            TERMINALS_CLOSED.inc();
            close(&connection, CloseCode::Timeout, "no control stream was opened in time");
        }
    }
}

fn close(connection: &Connection, code: CloseCode, text: &str) {
    connection.close(VarInt::from_u32(code.code()), text.as_bytes());
}

/// One terminal's control stream and the tasks of its subscriptions.
struct Talk {
    hub: Rc<Hub>,
    connection: Connection,
    send: SendStream,
    session: Session,
    tasks: HashMap<u32, AbortHandle>,
    admitted: Option<Admitted>,
    /// Subscriptions that fell out of the window. One is enough: the connection is closed.
    behind: (mpsc::Sender<u32>, mpsc::Receiver<u32>),
}

impl Talk {
    fn new(hub: Rc<Hub>, connection: Connection, send: SendStream) -> Self {
        // Control answers go before records.
        let _ = send.set_priority(1);
        let session = Session::new(connection.remote_address().ip().to_canonical().is_loopback());
        let behind = mpsc::channel(SUBSCRIPTIONS_MAX);
        Talk { hub, connection, send, session, tasks: HashMap::new(), admitted: None, behind }
    }

    async fn run(&mut self, mut recv: RecvStream) {
        let (mut closing, mut grown) = (self.hub.closing.subscribe(), self.hub.grown.subscribe());
        let deadline = sleep(HELLO_WITHIN);
        tokio::pin!(deadline);
        let mut actions = Vec::new();
        loop {
            tokio::select! {
                chunk = recv.read_chunk(CONTROL_BYTES_MAX as usize, true) => match chunk {
                    Ok(Some(chunk)) => {
                        self.session.on_bytes(&chunk.bytes, &self.hub.core.borrow(), now_ns(), &mut actions);
                    }
                    Ok(None) => self.session.on_end(&mut actions),
                    Err(_) => return,
                },
                () = &mut deadline, if !self.session.is_open() => {
                    self.session.end(CloseCode::Timeout, "no Hello came in time", &mut actions);
                }
                Some(id) = self.behind.1.recv() => {
                    let text = format!("subscription {id} is further behind than the engine's window");
                    self.session.end(CloseCode::TooFarBehind, &text, &mut actions);
                }
                Ok(()) = grown.changed() => self.session.on_growth(&self.hub.core.borrow(), &mut actions),
                _ = closing.wait_for(|closing| *closing) => {
                    self.session.end(CloseCode::Shutdown, "the engine is stopping", &mut actions);
                }
            }
            for action in actions.drain(..) {
                if self.perform(action).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Does one thing; `None` when the connection is over.
    async fn perform(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Send(frame) => self.send(frame).await?,
            Action::Admitted(grant) => {
                let (terminal, token) = (self.connection.remote_address(), &grant.name);
                tracing::info!(%terminal, token, "terminal admitted");
                self.admitted = Some(Admitted::new(&self.hub, &self.connection, &grant));
            }
            Action::Open(subscription, subscribed) => {
                self.send(subscribed.clone()).await?;
                // Only who was admitted subscribes.
                let tally = Rc::clone(&self.admitted.as_ref()?.tally);
                let id = subscription.id();
                if let Some(request) = subscription.request() {
                    tally.opened(id, Subscribed::of(request));
                }
                let (hub, connection, behind) = (self.hub.clone(), self.connection.clone(), self.behind.0.clone());
                let task = spawn_local(stream::deliver((hub, tally), connection, *subscription, subscribed, behind));
                self.tasks.insert(id, task.abort_handle());
            }
            Action::End(id) => {
                if let Some(admitted) = &self.admitted {
                    admitted.tally.ended(id);
                }
                if let Some(task) = self.tasks.remove(&id) {
                    task.abort();
                }
            }
            Action::Close(code, text) => {
                self.close(code, &text).await;
                return None;
            }
        }
        Some(())
    }

    async fn send(&mut self, frame: Bytes) -> Option<()> {
        match timeout(CONTROL_WRITE_WITHIN, self.send.write_chunk(frame)).await {
            Ok(written) => written.ok(),
            Err(_) => {
                TERMINALS_CLOSED.inc();
                close(&self.connection, CloseCode::Timeout, "the control stream is not read");
                None
            }
        }
    }

    async fn close(&mut self, code: CloseCode, text: &str) {
        let address = self.connection.remote_address();
        match code {
            CloseCode::Done | CloseCode::Shutdown => {}
            CloseCode::Refused | CloseCode::TooMany => {
                TERMINALS_REFUSED.inc();
                tracing::warn!(terminal = %address, reason = text, "terminal refused");
            }
            CloseCode::Protocol | CloseCode::TooFarBehind | CloseCode::Timeout => {
                TERMINALS_CLOSED.inc();
                tracing::warn!(terminal = %address, reason = text, "terminal closed");
            }
        }
        let _ = self.send.finish();
        let _ = timeout(LAST_WORDS_WITHIN, self.send.stopped()).await;
        close(&self.connection, code, text);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl Hub {
    /// Least time between two wake-ups of the sessions.
    fn flush_floor(&self) -> Duration {
        let scaled = (self.connections.get() as u64 / TERMINALS_PER_FLUSH_MS).min(FLUSH_FLOOR_MAX_MS);
        Duration::from_millis(scaled.max(self.flush_ms))
    }

    fn delivered(&self, batch: &Batch, bytes: u64, tally: &Tally) {
        FANOUT_DELIVERIES.add(batch.records);
        FANOUT_BYTES.add(bytes);
        let now = now_ns();
        let mut latency = self.latency.borrow_mut();
        let mut waited_ns = 0_u64;
        for published in &batch.published_ns {
            let ns = u64::try_from(now - published).unwrap_or(0);
            latency.saturating_record(ns);
            waited_ns = waited_ns.saturating_add(ns);
        }
        tally.delivered(batch, bytes, waited_ns);
    }
}
