//! Starts the store process, waits until it serves, starts it again when it dies, stops it.

use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Sender, bounded};
use rustix::event::Timespec;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::StoreError;
use super::lock::{self, Held};
use super::secrets::Secrets;
use super::serve::{FAILED, READY, lock_beside, secrets_beside};
use crate::metrics;

/// Pause before the first restart; doubles up to [`PAUSE_MAX`] while starts fail or are short-lived.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A store that lived this long restarts at once again.
const LIVED: Duration = Duration::from_secs(30);
/// Time from closing its standard input to killing it.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Variables the store gets from our environment; brokers' secrets stay here.
const ENVIRONMENT: [&str; 5] = ["LD_LIBRARY_PATH", "PATH", "RUST_BACKTRACE", "TICKWIRE_CHDB", "TICKWIRE_LOG"];

/// What the supervisor needs to know.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Program whose `store` subcommand is the store; `None`: this one.
    pub program: Option<PathBuf>,
    /// Folder of the engine's data, `<state>/store`. Beside it lie `store.lock` and `secrets/`.
    pub path: PathBuf,
    /// Loopback address to serve on; port 0 takes a free one, and keeps it over restarts.
    pub listen: SocketAddr,
    /// The library; `None`: [`super::find_library`] decides.
    pub library: Option<PathBuf>,
    /// Cores the store may run on; empty: all that the calling thread may. Keep the hot path's out.
    pub cores: Vec<usize>,
    /// Memory limit of its engine, MiB; 0: by the machine.
    pub memory_mib: u64,
    /// How long a start may take, waiting for an earlier store's end included.
    pub ready_within: Duration,
}

impl StoreConfig {
    /// The store of a state directory on `listen`, with everything else as usual.
    pub fn new(state: &Path, listen: SocketAddr) -> Self {
        Self {
            program: None,
            path: state.join("store"),
            listen,
            library: None,
            cores: Vec::new(),
            memory_mib: 0,
            ready_within: Duration::from_secs(60),
        }
    }
}

/// How to talk to a store.
#[derive(Clone)]
pub struct StoreAccess {
    address: SocketAddr,
    secrets: Secrets,
}

impl StoreAccess {
    /// Base URL, such as `http://127.0.0.1:8123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Password of user `tickwire`, who may do everything.
    pub fn writer_password(&self) -> &str {
        &self.secrets.writer
    }

    /// Password of user `reader`, who may read `md`.
    pub fn reader_password(&self) -> &str {
        &self.secrets.reader
    }
}

/// What the supervising thread tells.
#[derive(Default)]
struct Shared {
    restarts: AtomicU64,
    up: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Shared {
    fn note(&self, error: Option<String>) {
        if let Ok(mut last) = self.last_error.lock() {
            *last = error;
        }
    }
}

/// Starts stores; see [`Supervisor::start`].
pub struct Supervisor;

impl Supervisor {
    /// Starts the store and returns once it serves. From then on it is started again whenever it dies.
    ///
    /// # Errors
    /// The first start fails: the store's own reason, or that it was not ready in time.
    pub fn start(config: StoreConfig) -> Result<StoreHandle, StoreError> {
        StoreHandle::start(config)
    }
}

/// A supervised store. Dropping it stops it.
pub struct StoreHandle {
    access: StoreAccess,
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl StoreHandle {
    fn start(config: StoreConfig) -> Result<Self, StoreError> {
        let path = config.path.clone();
        let io = |doing: &'static str| {
            let path = path.clone();
            move |source: std::io::Error| StoreError::Io { doing, path, source }
        };
        std::fs::create_dir_all(&config.path).map_err(io("make the data folder"))?;
        let absolute = std::path::absolute(&config.path).map_err(io("find the data folder"))?;
        let secrets = secrets_beside(&absolute);
        let secrets = Secrets::load_or_create(&secrets).map_err(|source| StoreError::Io {
            doing: "read or make the passwords in",
            path: secrets,
            source,
        })?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| io("watch")(e.into()))?;
        let (stop, shared) = (Arc::new(stop), Arc::new(Shared::default()));
        let (first, started) = bounded(1);
        let keeper = Keeper { config, shared: shared.clone(), stop: stop.clone() };
        let thread = std::thread::Builder::new()
            .name("store-keeper".into())
            .spawn(move || keeper.run(&first))
            .map_err(io("start a thread for"))?;
        match started.recv().unwrap_or_else(|_| Err(StoreError::Child("the store's keeper ended".into()))) {
            Ok(address) => Ok(Self { access: StoreAccess { address, secrets }, shared, stop, thread: Some(thread) }),
            Err(error) => {
                // The thread ends by itself after a failed first start.
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// How to talk to it. Stays the same over restarts.
    pub fn access(&self) -> &StoreAccess {
        &self.access
    }

    /// Base URL, such as `http://127.0.0.1:8123`.
    pub fn url(&self) -> String {
        self.access.url()
    }

    /// Password of user `tickwire`.
    pub fn writer_password(&self) -> &str {
        self.access.writer_password()
    }

    /// Password of user `reader`.
    pub fn reader_password(&self) -> &str {
        self.access.reader_password()
    }

    /// Times it was started again.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Relaxed)
    }

    /// Whether it serves right now, as far as its keeper knows.
    pub fn is_up(&self) -> bool {
        self.shared.up.load(Relaxed)
    }

    /// Why it last died or did not start; `None` while it serves.
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.lock().ok().and_then(|last| last.clone())
    }

    /// Lets it finish its requests and end; kills it after 4 s.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // An eventfd takes 8 bytes; it cannot be full after one write.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread that starts the store. The kernel tells the store of its parent's death when this *thread* dies, so it is
/// a thread of its own that ends with the store and never before. Its core mask is what the store inherits.
struct Keeper {
    config: StoreConfig,
    shared: Arc<Shared>,
    stop: Arc<OwnedFd>,
}

/// A running child.
struct Running {
    child: Child,
    pidfd: OwnedFd,
}

impl Keeper {
    fn run(mut self, first: &Sender<Result<SocketAddr, StoreError>>) {
        self.pin();
        let mut pause = PAUSE_MIN;
        let mut running = match self.start() {
            Ok((running, address)) => {
                self.config.listen = address;
                self.shared.up.store(true, Relaxed);
                let _ = first.send(Ok(address));
                Some(running)
            }
            Err(error) => {
                let _ = first.send(Err(error));
                return;
            }
        };
        loop {
            let began = Instant::now();
            if let Some(mut up) = running.take() {
                self.shared.note(None);
                self.shared.up.store(true, Relaxed);
                let stopped = wait(&[&up.pidfd, &self.stop], None) & 2 != 0;
                self.shared.up.store(false, Relaxed);
                if stopped {
                    up.stop();
                    return;
                }
                let status = up.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                tracing::error!(%status, "the store died and is started again");
                self.shared.note(Some(format!("the store died: {status}")));
            }
            if began.elapsed() > LIVED {
                pause = PAUSE_MIN;
            }
            if wait(&[&self.stop], Some(pause)) != 0 {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
            self.shared.restarts.fetch_add(1, Relaxed);
            metrics::STORE_RESTARTS.inc();
            match self.start() {
                Ok((again, _)) => running = Some(again),
                Err(error) => {
                    tracing::error!(%error, "the store does not start");
                    self.shared.note(Some(error.to_string()));
                }
            }
        }
    }

    fn pin(&self) {
        let mut set = rustix::thread::CpuSet::new();
        for core in self.config.cores.iter().filter(|c| **c < rustix::thread::CpuSet::MAX_CPU) {
            set.set(*core);
        }
        if set.count() > 0
            && let Err(error) = rustix::thread::sched_setaffinity(None, &set)
        {
            tracing::warn!(%error, cores = ?self.config.cores, "the store cannot be pinned and may disturb the hot path");
        }
    }

    fn start(&self) -> Result<(Running, SocketAddr), StoreError> {
        let program = match &self.config.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|source| StoreError::Io {
                doing: "find",
                path: "this program".into(),
                source,
            })?,
        };
        let io = |doing: &'static str| {
            let path = program.clone();
            move |source: std::io::Error| StoreError::Io { doing, path, source }
        };
        let mut command = Command::new(&program);
        command.arg("store").arg("--path").arg(&self.config.path);
        command.arg("--listen").arg(self.config.listen.to_string());
        if let Some(library) = &self.config.library {
            command.arg("--library").arg(library);
        }
        command.arg("--memory-mib").arg(self.config.memory_mib.to_string());
        command.env_clear().envs(ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        // The engine looks for settings in the home folder: it shall find none there.
        command.env("HOME", &self.config.path).env("TZ", "UTC");
        // A group of its own: Ctrl-C on the terminal is for the engine, which drains into the store first.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(io("start"))?;
        let pidfd = Pid::from_raw(child.id().cast_signed())
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .map_err(|e| io("watch")(e.into()));
        let stdout = child.stdout.take();
        let mut running = match pidfd {
            Ok(pidfd) => Running { child, pidfd },
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        match self.first_words(stdout, &running) {
            Ok(address) => Ok((running, address)),
            Err(error) => {
                running.kill();
                Err(error)
            }
        }
    }

    /// Waits for the line that says that the store serves, or why not.
    fn first_words(&self, stdout: Option<ChildStdout>, running: &Running) -> Result<SocketAddr, StoreError> {
        let deadline = Instant::now() + self.config.ready_within;
        let Some(mut stdout) = stdout else { return Err(StoreError::Child("the store has no output".into())) };
        let mut said = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let text = String::from_utf8_lossy(&said);
            for line in text.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
                if let Some(reason) = line.trim().strip_prefix(FAILED) {
                    return Err(StoreError::Child(reason.to_owned()));
                }
                if let Some(address) = line.trim().strip_prefix(READY).and_then(|a| a.parse().ok()) {
                    return Ok(address);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || said.len() > 64 * 1024 {
                return Err(StoreError::NotReady { seconds: self.config.ready_within.as_secs() });
            }
            let ready = wait(&[&stdout, &running.pidfd, &self.stop], Some(left));
            if ready & 4 != 0 {
                return Err(StoreError::Child("the store was stopped before it was ready".into()));
            }
            match ready & 1 {
                0 if ready == 0 => {}
                0 => return Err(StoreError::Child("the store ended before it was ready; see its log".into())),
                _ => match stdout.read(&mut buffer) {
                    Ok(n) if n > 0 => said.extend_from_slice(&buffer[..n]),
                    _ => return Err(StoreError::Child("the store ended before it was ready; see its log".into())),
                },
            }
        }
    }
}

impl Running {
    /// Ends its input, waits, kills.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        if wait(&[&self.pidfd], Some(STOP_WITHIN)) == 0 {
            tracing::warn!("the store did not end within {} s and is killed", STOP_WITHIN.as_secs());
        }
        self.kill();
    }

    fn kill(&mut self) {
        // Does nothing to a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until one of `watched` is readable or hung up; a bit for each that is, 0 when the time is over.
fn wait(watched: &[&dyn AsFd], time: Option<Duration>) -> u32 {
    let deadline = time.map(|t| Instant::now() + t);
    loop {
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|w| PollFd::from_borrowed_fd(w.as_fd(), PollFlags::IN)).collect();
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|l| Timespec::try_from(l).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return 0,
            Ok(_) => {
                let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
                return ready.fold(0, |bits, (n, _)| bits | 1 << n);
            }
            // A signal: wait for the rest of the time.
            Err(_) => {}
        }
    }
}

/// A store to talk to: one that runs already, or one that was started for this and stops with it.
pub enum Connected {
    /// Belongs to somebody else, most likely the running engine.
    Running(StoreAccess),
    /// Ours; stops when dropped.
    Started(StoreHandle),
}

impl Connected {
    /// How to talk to it.
    pub fn access(&self) -> &StoreAccess {
        match self {
            Self::Running(access) => access,
            Self::Started(handle) => handle.access(),
        }
    }
}

/// For commands that need the store for a moment: uses the one that holds the data folder, else starts one.
///
/// # Errors
/// As [`Supervisor::start`]; or a store that holds the folder does not get ready.
pub fn connect_or_start(config: StoreConfig) -> Result<Connected, StoreError> {
    let absolute = std::path::absolute(&config.path).map_err(|source| StoreError::Io {
        doing: "find",
        path: config.path.clone(),
        source,
    })?;
    let path = lock_beside(&absolute);
    let deadline = Instant::now() + config.ready_within;
    loop {
        match lock::look(&path)? {
            Held::By(owner) => {
                let secrets = secrets_beside(&absolute);
                let secrets = Secrets::load_or_create(&secrets).map_err(|source| StoreError::Io {
                    doing: "read the passwords in",
                    path: secrets,
                    source,
                })?;
                return Ok(Connected::Running(StoreAccess { address: owner.address, secrets }));
            }
            Held::No => match StoreHandle::start(config.clone()) {
                Ok(started) => return Ok(Connected::Started(started)),
                // Another took the folder after we had looked: its store is the one to talk to.
                Err(_) if Instant::now() < deadline && lock::look(&path)? != Held::No => {}
                Err(error) => return Err(error),
            },
            Held::Starting if Instant::now() > deadline => {
                return Err(StoreError::NotReady { seconds: config.ready_within.as_secs() });
            }
            Held::Starting => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
