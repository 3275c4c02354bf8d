//! The sockets: one thread with a current-thread runtime that drains the outbound ring and runs every session over
//! `quinn`. Sessions wait for news and pull; nothing waits for a session.

mod stream;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, CloseCode};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::clock::now_ns;
use crate::metrics::TERMINALS_CLOSED;
use crate::ring::Outlet;

use super::Growth;
use super::board::{Subscribed, Tally, TerminalShown};
use super::hub::{
    self, Admitted, Arrival, CLOSE_WITHIN, CONTROL_WRITE_WITHIN, Count, HELLO_WITHIN, Hub, LAST_WORDS_WITHIN,
    NO_CONTROL_STREAM, NO_HELLO, NOT_READ, STOP_WITHIN, STOPPING, Setup,
};
use super::session::{Action, SUBSCRIPTIONS_MAX, Session};

/// One millisecond of floor for each so many terminals, up to [`FLUSH_FLOOR_MAX_MS`]: a wake-up for every record and
/// terminal costs more than the records. Measured: at 1,000 terminals and 1,000 records a second, 10 ms holds.
const TERMINALS_PER_FLUSH_MS: u64 = 100;
const FLUSH_FLOOR_MAX_MS: u64 = 10;

/// What the tasks of the thread share.
struct Tasks {
    hub: Rc<Hub>,
    news: Notify,
    /// Changes when the catalogue has grown.
    grown: watch::Sender<u32>,
    /// True when sessions are to say goodbye.
    closing: watch::Sender<bool>,
    /// Admitted terminals, by their number.
    admitted: RefCell<BTreeMap<u64, (Rc<Tally>, Connection)>>,
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
    server.transport_config(Arc::new(hub::transport_config(setup.datagram_bytes_max)));
    let endpoint_config = quinn::EndpointConfig::default();
    let endpoint = Endpoint::new(endpoint_config, Some(server), setup.socket, Arc::new(quinn::TokioRuntime))
        .map_err(|e| e.to_string())?;
    let tasks = Rc::new(Tasks {
        hub: Rc::new(Hub::new(setup.core, (setup.thread.0, setup.stats), setup.doors)?),
        news: Notify::new(),
        grown: watch::Sender::new(0),
        closing: watch::Sender::new(false),
        admitted: RefCell::default(),
        flush_ms: u64::from(setup.flush_ms),
    });
    drop(ready.send(Ok(())));
    let accepting = spawn_local(accept(tasks.clone(), endpoint.clone()));
    let measuring = spawn_local(publish_stats(tasks.clone()));
    let growing = spawn_local(grow(tasks.clone(), setup.growths));
    let mut stopped = setup.stopped;
    tokio::select! {
        () = pump(&tasks, outlet.as_mut()) => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    accepting.abort();
    measuring.abort();
    growing.abort();
    tasks.closing.send_replace(true);
    let all_gone = async {
        while tasks.hub.connections() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(STOP_WITHIN, all_gone).await;
    endpoint.close(VarInt::from_u32(CloseCode::Shutdown.code()), STOPPING.as_bytes());
    let _ = timeout(CLOSE_WITHIN, endpoint.wait_idle()).await;
    Ok(())
}

/// Moves records from the ring into the window and wakes the sessions, until the pipeline ends.
async fn pump(tasks: &Tasks, outlet: &mut dyn Outlet) {
    let mut unseen = false;
    let mut next_flush = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = poll_fn(|cx| outlet.poll_ready(cx)) => {}
            () = sleep_until(next_flush), if unseen => {}
        }
        let (got, end) = tasks.hub.drain(outlet);
        unseen |= got;
        if unseen && Instant::now() >= next_flush {
            tasks.news.notify_waiters();
            unseen = false;
            next_flush = Instant::now() + tasks.flush_floor();
        }
        if end {
            tasks.news.notify_waiters();
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Takes catalogues that have grown into use and tells the sessions.
async fn grow(tasks: Rc<Tasks>, mut growths: mpsc::Receiver<Growth>) {
    while let Some((catalogue, done)) = growths.recv().await {
        let grown = {
            let mut core = tasks.hub.core.borrow_mut();
            core.grow(catalogue);
            core.grown
        };
        tasks.grown.send_replace(grown);
        tasks.news.notify_waiters();
        // Nobody need wait for it.
        let _ = done.send(());
    }
}

async fn publish_stats(tasks: Rc<Tasks>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let admitted = tasks.admitted.borrow();
        let shown = admitted.values().map(|(tally, peer)| tally.shown(peer.remote_address(), peer.rtt()));
        tasks.hub.publish(shown.collect::<Vec<TerminalShown>>());
    }
}

async fn accept(tasks: Rc<Tasks>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let (full, count) = match tasks.hub.knock() {
            Arrival::Welcome(count) => (false, count),
            Arrival::Full(count) => (true, count),
            Arrival::Refuse => {
                incoming.refuse();
                continue;
            }
        };
        spawn_local(connect(tasks.clone(), incoming, full, count));
    }
}

async fn connect(tasks: Rc<Tasks>, incoming: Incoming, full: bool, _count: Count) {
    let Ok(Ok(connection)) = timeout(HELLO_WITHIN, async { incoming.accept()?.await }).await else { return };
    if full {
        return close(&connection, CloseCode::TooMany, &tasks.hub.too_many());
    }
    match timeout(HELLO_WITHIN, connection.accept_bi()).await {
        Ok(Ok((send, recv))) => {
            let mut talk = Talk::new(tasks, connection, send);
            talk.run(recv).await;
        }
        Ok(Err(_)) => {}
        Err(_) => {
            TERMINALS_CLOSED.inc();
            close(&connection, CloseCode::Timeout, NO_CONTROL_STREAM);
        }
    }
}

fn close(connection: &Connection, code: CloseCode, text: &str) {
    connection.close(VarInt::from_u32(code.code()), text.as_bytes());
}

/// One terminal's control stream and the tasks of its subscriptions.
struct Talk {
    all: Rc<Tasks>,
    connection: Connection,
    send: SendStream,
    session: Session,
    tasks: HashMap<u32, AbortHandle>,
    admitted: Option<Listed>,
    /// Subscriptions that fell out of the window. One is enough: the connection is closed.
    behind: (mpsc::Sender<u32>, mpsc::Receiver<u32>),
}

impl Talk {
    fn new(all: Rc<Tasks>, connection: Connection, send: SendStream) -> Self {
        // Control answers go before records.
        let _ = send.set_priority(1);
        let session = Session::new(connection.remote_address().ip().to_canonical().is_loopback());
        let behind = mpsc::channel(SUBSCRIPTIONS_MAX);
        Talk { all, connection, send, session, tasks: HashMap::new(), admitted: None, behind }
    }

    async fn run(&mut self, mut recv: RecvStream) {
        let (mut closing, mut grown) = (self.all.closing.subscribe(), self.all.grown.subscribe());
        let deadline = sleep(HELLO_WITHIN);
        tokio::pin!(deadline);
        let mut actions = Vec::new();
        loop {
            tokio::select! {
                chunk = recv.read_chunk(CONTROL_BYTES_MAX as usize, true) => match chunk {
                    Ok(Some(chunk)) => {
                        self.session.on_bytes(&chunk.bytes, &self.all.hub.core.borrow(), now_ns(), &mut actions);
                    }
                    Ok(None) => self.session.on_end(&mut actions),
                    Err(_) => return,
                },
                () = &mut deadline, if !self.session.is_open() => {
                    self.session.end(CloseCode::Timeout, NO_HELLO, &mut actions);
                }
                Some(id) = self.behind.1.recv() => {
                    self.session.end(CloseCode::TooFarBehind, &hub::too_far_behind(id), &mut actions);
                }
                Ok(()) = grown.changed() => self.session.on_growth(&self.all.hub.core.borrow(), &mut actions),
                _ = closing.wait_for(|closing| *closing) => {
                    self.session.end(CloseCode::Shutdown, STOPPING, &mut actions);
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
                let admitted = Admitted::new(&self.all.hub, self.connection.remote_address(), &grant);
                self.admitted = Some(Listed::new(&self.all, admitted, &self.connection));
            }
            Action::Open(subscription, subscribed) => {
                self.send(subscribed.clone()).await?;
                // Only who was admitted subscribes.
                let tally = Rc::clone(&self.admitted.as_ref()?.admitted.tally);
                let id = subscription.id();
                if let Some(request) = subscription.request() {
                    tally.opened(id, Subscribed::of(request));
                }
                let (all, connection, behind) = (self.all.clone(), self.connection.clone(), self.behind.0.clone());
                let task = spawn_local(stream::deliver((all, tally), connection, *subscription, subscribed, behind));
                self.tasks.insert(id, task.abort_handle());
            }
            Action::End(id) => {
                if let Some(admitted) = &self.admitted {
                    admitted.admitted.tally.ended(id);
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
                close(&self.connection, CloseCode::Timeout, NOT_READ);
                None
            }
        }
    }

    async fn close(&mut self, code: CloseCode, text: &str) {
        hub::ended(self.connection.remote_address(), code, text);
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

impl Tasks {
    /// Least time between two wake-ups of the sessions.
    fn flush_floor(&self) -> Duration {
        let scaled = (self.hub.connections() as u64 / TERMINALS_PER_FLUSH_MS).min(FLUSH_FLOOR_MAX_MS);
        Duration::from_millis(scaled.max(self.flush_ms))
    }
}

/// An admitted terminal in the list of all, as long as it is connected.
struct Listed {
    all: Rc<Tasks>,
    admitted: Admitted,
}

impl Listed {
    fn new(all: &Rc<Tasks>, admitted: Admitted, connection: &Connection) -> Self {
        let entry = (Rc::clone(&admitted.tally), connection.clone());
        all.admitted.borrow_mut().insert(admitted.id, entry);
        Listed { all: Rc::clone(all), admitted }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.all.admitted.borrow_mut().remove(&self.admitted.id);
    }
}
