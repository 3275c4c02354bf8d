//! What every transport shares: how long it waits for whom, who is counted, and what is reported. No sockets.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;
use quinn_proto::{MtuDiscoveryConfig, TransportConfig, VarInt};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, CloseCode};
use tokio::sync::{mpsc, watch};

use crate::clock::now_ns;
use crate::metrics::{
    FANOUT_BYTES, FANOUT_DELIVERIES, OUTBOUND_TAKEN, TERMINALS, TERMINALS_CLOSED, TERMINALS_REFUSED, THREAD_TERMINALS,
};
use crate::ring::{Drained, Outlet};

use super::access::Grant;
use super::board::{Tally, TerminalShown};
use super::delivery::Batch;
use super::doors::Doors;
use super::window::SnapshotHeaders;
use super::{Core, FanoutStats, Growth};

/// A terminal has this long for the handshake, then to open the control stream, then to say Hello.
pub(super) const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// A terminal that does not take an answer on its control stream for so long is closed.
pub(super) const CONTROL_WRITE_WITHIN: Duration = Duration::from_secs(10);

/// How long a closing session waits for its last words to arrive.
pub(super) const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// How long a stopping endpoint waits for its sessions, which wait for [`LAST_WORDS_WITHIN`], and then for its socket.
pub(super) const STOP_WITHIN: Duration = Duration::from_millis(1000);
pub(super) const CLOSE_WITHIN: Duration = Duration::from_millis(300);

pub(super) const NO_CONTROL_STREAM: &str = "no control stream was opened in time";
pub(super) const NO_HELLO: &str = "no Hello came in time";
pub(super) const NOT_READ: &str = "the control stream is not read";
pub(super) const STOPPING: &str = "the engine is stopping";

/// Records taken from the ring at a time, and how often before sessions get their turn: 32,768 records, some 5 ms.
const DRAIN_RECORDS: usize = 2048;
const DRAINS_PER_TURN: usize = 16;

/// A silent peer is given up after this; keep-alives at a third of it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes in flight to one terminal, sent or not: what a terminal that stops acknowledging can cost, beside its cursor.
const SEND_WINDOW_BYTES: u64 = 512 * 1024;

/// What a transport's thread is given.
pub(super) struct Setup {
    /// Which of the threads it is, from 0, and how many there are.
    pub(super) thread: (usize, usize),
    pub(super) socket: UdpSocket,
    pub(super) tls: rustls::ServerConfig,
    pub(super) core: Core,
    pub(super) doors: Arc<Doors>,
    pub(super) flush_ms: u32,
    pub(super) datagram_bytes_max: u16,
    pub(super) stats: Arc<FanoutStats>,
    /// Catalogues that have grown.
    pub(super) growths: mpsc::Receiver<Growth>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// What the sessions of one thread share.
pub(super) struct Hub {
    pub(super) core: RefCell<Core>,
    pub(super) headers: SnapshotHeaders,
    /// Publication to connection since the last full second, nanoseconds.
    latency: RefCell<Histogram<u64>>,
    thread: usize,
    stats: Arc<FanoutStats>,
    doors: Arc<Doors>,
    /// Of this thread.
    connections: Cell<usize>,
}

/// What to do with somebody who knocks.
pub(super) enum Arrival {
    /// Let it in.
    Welcome(Count),
    /// Let it in to be told that there is no room.
    Full(Count),
    /// Turn it away without a word.
    Refuse,
}

impl Hub {
    pub(super) fn new(
        core: Core,
        (thread, stats): (usize, Arc<FanoutStats>),
        doors: Arc<Doors>,
    ) -> Result<Hub, String> {
        Ok(Hub {
            core: RefCell::new(core),
            headers: SnapshotHeaders::new(),
            latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000_000, 2).map_err(|e| e.to_string())?),
            thread,
            stats,
            doors,
            connections: Cell::new(0),
        })
    }

    /// Connections of this thread that were let in and are not over.
    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Decides about a newcomer and counts it.
    pub(super) fn knock(self: &Rc<Self>) -> Arrival {
        if self.doors.connections.take() {
            self.connections.set(self.connections.get() + 1);
            return Arrival::Welcome(Count { hub: Rc::clone(self), full: false });
        }
        TERMINALS_REFUSED.inc();
        if !self.doors.refusals.take() {
            return Arrival::Refuse;
        }
        Arrival::Full(Count { hub: Rc::clone(self), full: true })
    }

    /// What one is told who finds no room.
    pub(super) fn too_many(&self) -> String {
        format!("this engine serves at most {} terminals", self.doors.connections.most())
    }

    /// Moves records from the ring into the window: whether there was anything, and whether the pipeline has ended.
    pub(super) fn drain(&self, outlet: &mut dyn Outlet) -> (bool, bool) {
        let mut core = self.core.borrow_mut();
        let (mut got, mut end) = (false, false);
        for _ in 0..DRAINS_PER_TURN {
            match outlet.drain(DRAIN_RECORDS, &mut |kind, record| core.window.push(kind, record)) {
                Drained::Records(count) => {
                    OUTBOUND_TAKEN[1 + self.thread].add(count as u64);
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

    /// A batch is with a terminal's connection.
    pub(super) fn delivered(&self, batch: &Batch, bytes: u64, tally: &Tally) {
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

    /// Once a second: what other threads see.
    pub(super) fn publish(&self, terminals: Vec<TerminalShown>) {
        let mut latency = self.latency.borrow_mut();
        let stats = self.stats.of_thread(self.thread);
        if !latency.is_empty() {
            stats.p50_ns.store(latency.value_at_quantile(0.5), Relaxed);
            stats.p99_ns.store(latency.value_at_quantile(0.99), Relaxed);
            latency.reset();
        }
        let core = self.core.borrow();
        stats.window_used.store(core.window.head() - core.window.start(), Relaxed);
        stats.window_capacity.store(core.window.capacity() as u64, Relaxed);
        stats.board.show(terminals);
    }
}

/// Counts and logs the end of a conversation.
pub(super) fn ended(terminal: SocketAddr, code: CloseCode, reason: &str) {
    match code {
        CloseCode::Done | CloseCode::Shutdown => {}
        CloseCode::Refused | CloseCode::TooMany => {
            TERMINALS_REFUSED.inc();
            tracing::warn!(%terminal, reason, "terminal refused");
        }
        CloseCode::Protocol | CloseCode::TooFarBehind | CloseCode::Timeout => {
            TERMINALS_CLOSED.inc();
            tracing::warn!(%terminal, reason, "terminal closed");
        }
    }
}

/// What a terminal is told whose subscription fell out of the window.
pub(super) fn too_far_behind(subscription: u32) -> String {
    format!("subscription {subscription} is further behind than the engine's window")
}

/// The limits of every connection. Up to `datagram_bytes_max` it looks for the longest datagram that terminal and path take.
pub(super) fn transport_config(datagram_bytes_max: u16) -> TransportConfig {
    let (mut config, mut discovery) = (TransportConfig::default(), MtuDiscoveryConfig::default());
    discovery.upper_bound(datagram_bytes_max);
    config
        .mtu_discovery_config(Some(discovery))
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

/// One of the hub's connections or refusals, as long as it lives.
pub(super) struct Count {
    hub: Rc<Hub>,
    /// It is there to be refused.
    full: bool,
}

impl Drop for Count {
    fn drop(&mut self) {
        if self.full {
            return self.hub.doors.refusals.give_back();
        }
        self.hub.connections.set(self.hub.connections.get() - 1);
        self.hub.doors.connections.give_back();
    }
}

/// An admitted terminal, as long as it is connected.
pub(super) struct Admitted {
    hub: Rc<Hub>,
    /// Counts the terminals of this run, from 1.
    pub(super) id: u64,
    pub(super) tally: Rc<Tally>,
}

impl Admitted {
    pub(super) fn new(hub: &Rc<Hub>, terminal: SocketAddr, grant: &Grant) -> Self {
        tracing::info!(%terminal, token = grant.name, "terminal admitted");
        let id = hub.doors.next_terminal();
        let tally = Tally::new(id, grant.name.clone(), grant.user.clone(), now_ns());
        TERMINALS.add(1);
        THREAD_TERMINALS[hub.thread].add(1);
        hub.stats.of_thread(hub.thread).terminals.fetch_add(1, Relaxed);
        Admitted { hub: Rc::clone(hub), id, tally }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        TERMINALS.add(-1);
        THREAD_TERMINALS[self.hub.thread].add(-1);
        self.hub.stats.of_thread(self.hub.thread).terminals.fetch_sub(1, Relaxed);
    }
}
