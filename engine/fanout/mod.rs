//! Subscriptions, conflation and resume; QUIC sessions.
//!
//! [`access`], [`catalogue`], [`subscription`], [`window`], [`delivery`] and [`session`] are pure: bytes and a time in,
//! bytes and actions out. Two transports know sockets, `transport` and `io_loop`; `hub` is what they share. Each record is copied out of the
//! outbound ring once and framed once, into a block that every terminal shares; terminals pull from there when their
//! connection has room. There is no queue per terminal, so none of them can hold up another or the engine.

pub mod access;
pub mod board;
pub mod catalogue;
pub mod config;
pub mod delivery;
mod doors;
mod hub;
mod io_loop;
pub mod session;
mod steering;
pub mod subscription;
pub mod tls;
mod transport;
pub mod udp;
pub mod window;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::metrics::FANOUT_THREADS;
use crate::ring::Outlet;

pub use access::{Access, ConfiguredTokens, Grant};
pub use board::{Subscribed, TerminalShown};
pub use catalogue::Catalogue;
pub use config::{FanoutConfig, TokenConfig, Transport};

use access::Either;
use doors::Doors;
use window::Window;

/// What all sessions share.
pub struct Core {
    /// Names of instruments and sources.
    pub catalogue: Arc<Catalogue>,
    /// Who may come.
    pub access: Arc<dyn Access>,
    /// How often the catalogue has grown.
    pub grown: u32,
    /// The newest records.
    pub window: Window,
    /// Name of this engine.
    pub engine_id: String,
    /// Which start of it.
    pub epoch: u32,
}

impl Core {
    /// Has more instruments and sources from now on; the indices of those that there were stay.
    pub fn grow(&mut self, catalogue: Arc<Catalogue>) {
        self.catalogue = catalogue;
        self.window.grow(Arc::clone(&self.catalogue));
        self.grown += 1;
    }
}

/// Asks for a catalogue that has grown; who asks is told when it is in use.
type Growth = (Arc<Catalogue>, oneshot::Sender<()>);

/// Lets a running fan-out have more instruments and sources.
#[derive(Clone)]
pub struct FanoutGrowth(Vec<(mpsc::Sender<Growth>, Waker)>);

impl FanoutGrowth {
    /// Gives it a catalogue that begins with the one it has. When this returns true, no terminal gets a record of what is
    /// new without the names before it, and every subscription brings what its globs stand for now; false when the fan-out
    /// has stopped. Not to be called from asynchronous code.
    #[must_use]
    pub fn grow(&self, catalogue: Catalogue) -> bool {
        let catalogue = Arc::new(catalogue);
        let told = self.0.iter().map(|(sender, thread)| {
            let (tell, done) = oneshot::channel();
            sender.blocking_send((Arc::clone(&catalogue), tell)).ok()?;
            thread.wake_by_ref();
            Some(done)
        });
        // All are told before any is waited for.
        let told: Vec<_> = told.collect();
        told.into_iter().all(|done| done.is_some_and(|done| done.blocking_recv().is_ok()))
    }
}

/// Why the fan-out did not start.
#[derive(Debug, thiserror::Error)]
pub enum FanoutError {
    /// A token cannot be used.
    #[error("{0}")]
    Token(String),
    /// The certificate or key cannot be used.
    #[error("{0}")]
    Certificate(String),
    /// Somebody else listens there.
    #[error("fanout.listen: the UDP address {0} is in use by another program; stop it or choose another")]
    Occupied(SocketAddr),
    /// The address cannot be listened on.
    #[error("fanout.listen: cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The thread or its endpoint could not be made.
    #[error("the thread tw-fanout could not start: {0}")]
    Thread(String),
}

/// Numbers of a running fan-out, for `/health`.
#[derive(Debug)]
pub struct FanoutStats(Vec<ThreadStats>);

/// Those of one of its threads.
#[derive(Debug, Default)]
struct ThreadStats {
    terminals: AtomicU64,
    p50_ns: AtomicU64,
    p99_ns: AtomicU64,
    window_used: AtomicU64,
    window_capacity: AtomicU64,
    board: board::Board,
}

impl FanoutStats {
    fn new(threads: usize) -> FanoutStats {
        FanoutStats((0..threads).map(|_| ThreadStats::default()).collect())
    }

    fn of_thread(&self, thread: usize) -> &ThreadStats {
        &self.0[thread]
    }

    fn most(&self, of: impl Fn(&ThreadStats) -> u64) -> u64 {
        self.0.iter().map(of).max().unwrap_or(0)
    }

    /// Who is connected, in the order in which they came, with figures that are a second old at most.
    #[must_use]
    pub fn connected(&self) -> Arc<[TerminalShown]> {
        if let [one] = self.0.as_slice() {
            return one.board.now();
        }
        let mut all: Vec<_> = self.0.iter().flat_map(|thread| thread.board.now().to_vec()).collect();
        all.sort_unstable_by_key(|terminal| terminal.id);
        all.into()
    }

    /// Records that are kept for terminals, and how many there is room for: of each thread, which all keep the same.
    #[must_use]
    pub fn window(&self) -> (u64, u64) {
        (self.most(|thread| thread.window_used.load(Relaxed)), self.most(|thread| thread.window_capacity.load(Relaxed)))
    }

    /// Terminals admitted now.
    #[must_use]
    pub fn terminals(&self) -> u64 {
        self.terminals_by_thread().sum()
    }

    /// The same for each thread.
    pub fn terminals_by_thread(&self) -> impl ExactSizeIterator<Item = u64> {
        self.0.iter().map(|thread| thread.terminals.load(Relaxed))
    }

    /// Publication to connection, 50th percentile of the last second with deliveries, nanoseconds, of the thread where it is
    /// longest; 0 before the first.
    #[must_use]
    pub fn latency_p50_ns(&self) -> u64 {
        self.most(|thread| thread.p50_ns.load(Relaxed))
    }

    /// As [`FanoutStats::latency_p50_ns`], 99th percentile.
    #[must_use]
    pub fn latency_p99_ns(&self) -> u64 {
        self.most(|thread| thread.p99_ns.load(Relaxed))
    }
}

/// A running fan-out. It stops when this is dropped.
pub struct FanoutHandle {
    local_addr: SocketAddr,
    fingerprint: String,
    stats: Arc<FanoutStats>,
    growth: FanoutGrowth,
    stop: watch::Sender<bool>,
    /// Each with what makes it look at what it was told.
    threads: Vec<(JoinHandle<()>, Waker)>,
    /// Closed when all threads have ended: with one socket less the kernel would count the others anew.
    _sockets: Vec<UdpSocket>,
}

impl FanoutHandle {
    /// Where terminals connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// SHA-256 of the certificate in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Its numbers.
    #[must_use]
    pub fn stats(&self) -> Arc<FanoutStats> {
        self.stats.clone()
    }

    /// What lets it have more instruments and sources.
    #[must_use]
    pub fn growth(&self) -> FanoutGrowth {
        self.growth.clone()
    }

    /// Says goodbye to all terminals and waits for the threads: at most some two seconds.
    pub fn stop(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        self.stop.send_replace(true);
        self.threads.iter().for_each(|(_, waker)| waker.wake_by_ref());
        for (thread, _) in self.threads.drain(..) {
            // A panic aborts the process; there is nothing in the result.
            let _ = thread.join();
        }
    }
}

impl Drop for FanoutHandle {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Starts a thread `tw-fanout` for each of `outlets`, which drains it and serves its share of the terminals until the handle
/// stops it or the outlet reports the end of the pipeline. `others` admits whom no token of the configuration does.
///
/// # Errors
/// [`FanoutError`]: an unusable token or certificate, or an address that cannot be listened on.
pub fn start(
    config: &FanoutConfig,
    catalogue: Catalogue,
    engine_id: String,
    epoch: u32,
    state_dir: &Path,
    others: Option<Box<dyn Access>>,
    outlets: Vec<Box<dyn Outlet>>,
) -> Result<FanoutHandle, FanoutError> {
    let access: Arc<dyn Access> = Arc::new(Either(ConfiguredTokens::new(config).map_err(FanoutError::Token)?, others));
    let tls = tls::load(config, state_dir).map_err(FanoutError::Certificate)?;
    let threads = outlets.len();
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => FanoutError::Occupied(config.listen),
        _ => FanoutError::Listen(config.listen, error),
    };
    let sockets = steering::bind_for(threads, config.listen).map_err(cannot)?;
    let local_addr = sockets.first().map_or(Ok(config.listen), UdpSocket::local_addr).map_err(cannot)?;
    let catalogue = Arc::new(catalogue);
    let stats = Arc::new(FanoutStats::new(threads));
    FANOUT_THREADS.set(threads as i64);
    let doors = Arc::new(Doors::new(config.max_terminals as usize));
    let (stop, stopped) = watch::channel(false);
    let growth = FanoutGrowth(Vec::new());
    let fingerprint = tls.fingerprint;
    let mut handle = FanoutHandle {
        local_addr,
        fingerprint,
        stats: Arc::clone(&stats),
        growth,
        stop,
        threads: Vec::new(),
        _sockets: sockets.iter().map(UdpSocket::try_clone).collect::<Result<_, _>>().map_err(cannot)?,
    };
    for (thread, (socket, outlet)) in sockets.into_iter().zip(outlets).enumerate() {
        // One at a time.
        let (growth, growths) = mpsc::channel(1);
        let window = Window::new(config.window_records as usize, catalogue.clone());
        let (catalogue, access, engine_id) = (Arc::clone(&catalogue), Arc::clone(&access), engine_id.clone());
        let setup = hub::Setup {
            thread: (thread, threads),
            socket,
            tls: tls.config.clone(),
            core: Core { catalogue, grown: 0, access, window, engine_id, epoch },
            doors: Arc::clone(&doors),
            flush_ms: config.flush_ms,
            datagram_bytes_max: config.datagram_bytes_max,
            stats: Arc::clone(&stats),
            growths,
            stopped: stopped.clone(),
        };
        // Those that run are stopped when the handle is dropped.
        let (running, waker) = start_thread(config, setup, outlet)?;
        handle.growth.0.push((growth, waker.clone()));
        handle.threads.push((running, waker));
    }
    Ok(handle)
}

fn start_thread(
    config: &FanoutConfig,
    setup: hub::Setup,
    outlet: Box<dyn Outlet>,
) -> Result<(JoinHandle<()>, Waker), FanoutError> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let (number, _) = setup.thread;
    let name = if number == 0 { "tw-fanout".into() } else { format!("tw-fanout-{number}") };
    let thread = std::thread::Builder::new().name(name);
    let (thread, waker) = match config.transport {
        Transport::Tokio => (thread.spawn(move || transport::run(setup, outlet, &ready)), Waker::noop().clone()),
        Transport::Loop => {
            let bell = io_loop::Bell::new().map_err(|e| FanoutError::Thread(e.to_string()))?;
            let (waker, core) = (Waker::from(Arc::clone(&bell)), config.cores.get(number).copied());
            let pace = io_loop::Pace { idle: config.idle, core, bell };
            (thread.spawn(move || io_loop::run(setup, outlet, pace, &ready)), waker)
        }
    };
    let thread = thread.map_err(|e| FanoutError::Thread(e.to_string()))?;
    match is_ready.recv() {
        Ok(Ok(())) => Ok((thread, waker)),
        Ok(Err(error)) => Err(FanoutError::Thread(error)),
        Err(_) => Err(FanoutError::Thread("it ended at once".into())),
    }
}
