//! Main of the store process.

use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::chdb::Chdb;
use super::http::{self, Front};
use super::lock::{Lock, Owner};
use super::pool::Pool;
use super::sandbox::{self, Sandbox};
use super::secrets::Secrets;
use super::session::{Engine, Memory};
use super::{StoreError, find_library};

/// How long an earlier store may take to be gone, and how long running requests may take when this one stops.
const PATIENCE: Duration = Duration::from_secs(30);
/// See [`PATIENCE`]; below the time the engine gives the store to stop.
const DRAIN: Duration = Duration::from_secs(3);

/// First words of the line that says that the store serves, followed by its address; read by the supervisor.
pub(super) const READY: &str = "store ready on ";
/// First words of the line that says why it does not.
pub(super) const FAILED: &str = "store failed: ";

/// What `tickwire store` is told.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the engine's data. Beside it lie `store.lock` and `secrets/`.
    pub path: PathBuf,
    /// Loopback address to serve HTTP on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The library; else `find_library` looks for one.
    pub library: Option<PathBuf>,
    /// Memory limit of the engine, MiB; 0: a quarter of the machine's, at most 2 GiB.
    pub memory_mib: u64,
}

/// Where the passwords lie, beside a data folder.
pub(super) fn secrets_beside(data: &Path) -> PathBuf {
    data.with_file_name("secrets")
}

/// Where the lock file lies, beside a data folder.
pub(super) fn lock_beside(data: &Path) -> PathBuf {
    data.with_file_name("store.lock")
}

/// Serves until standard input ends or SIGTERM comes; SIGINT is left to the parent, which closes standard input.
///
/// Must be called from the main thread before any other thread is started: the sandbox covers the calling thread and
/// its descendants. The process should exit soon after it returns; the engine cannot be started a second time.
///
/// # Errors
/// Anything of [`StoreError`] but `Child` and `NotReady`. When standard output is not a terminal, the reason is also
/// written there for the supervisor.
pub fn serve(options: ServeOptions) -> Result<(), StoreError> {
    // The store of an engine that was killed must not stay. (The signal comes when the thread that started us dies,
    // which is why the supervisor has a thread that lives as long as it does.)
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let outcome = run(&options);
    if let Err(error) = &outcome {
        tell(FAILED, error);
    }
    outcome
}

/// A line for the supervisor. A closed standard output is no reason to stop.
fn tell(what: &str, detail: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    if !out.is_terminal() {
        let _ = writeln!(out, "{what}{detail}");
        let _ = out.flush();
    }
}

fn run(options: &ServeOptions) -> Result<(), StoreError> {
    if !options.listen.ip().is_loopback() {
        return Err(StoreError::NotLoopback(options.listen));
    }
    let data = std::path::absolute(&options.path)
        .and_then(|data| std::fs::create_dir_all(&data).map(|()| data))
        .map_err(|source| StoreError::Io { doing: "make the data folder", path: options.path.clone(), source })?;
    let secrets = secrets_beside(&data);
    let secrets = Secrets::load_or_create(&secrets).map_err(|source| StoreError::Io {
        doing: "read or make the passwords in",
        path: secrets,
        source,
    })?;
    let library = find_library(options.library.as_deref())?;
    let lock = Lock::take(&lock_beside(&data), PATIENCE)?;
    let port = |source| StoreError::Port { listen: options.listen, source };
    let listener = TcpListener::bind(options.listen).map_err(port)?;
    listener.set_nonblocking(true).map_err(port)?;
    let address = listener.local_addr().map_err(port)?;
    let chdb = Chdb::load(&library)?;
    let memory = Memory::of_engine(memory_limit(options.memory_mib));
    let sandbox = sandbox::lock_in(&data, &library).map_err(|e| StoreError::Sandbox(e.to_string()))?;
    let (engine, resident) = Engine::start(chdb, data, memory)?;
    let version = resident
        .query("SELECT version()", "TabSeparatedRaw", &[])
        .map(|v| String::from_utf8_lossy(v.bytes()).trim().to_owned())
        .unwrap_or_default();
    match sandbox {
        Sandbox::Full => tracing::info!(%address, %version, "store ready; locked in by Landlock"),
        Sandbox::Partial => {
            tracing::warn!(%address, %version, "store ready; this kernel's Landlock covers files but not all of the rest");
        }
        Sandbox::None => tracing::warn!(%address, %version, "store ready; this kernel has no Landlock: not locked in"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("store-http")
        .enable_all()
        .build()
        .map_err(port)?;
    let pool = Pool::start(Arc::new(engine), runtime.handle()).map_err(port)?;
    let front = Arc::new(Front::new(pool, secrets, version));
    lock.announce(&Owner { pid: std::process::id(), address, version: env!("CARGO_PKG_VERSION").into() })?;
    runtime.block_on(until_stopped(listener, front, address)).map_err(port)?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    // Closing the last connection shuts the engine down in order. Killing it loses nothing that was acknowledged.
    drop(resident);
    drop(lock);
    Ok(())
}

async fn until_stopped(listener: TcpListener, front: Arc<Front>, address: SocketAddr) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let stop = Arc::new(stop);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let on_signal = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                // Ctrl-C reaches the whole terminal; the engine drains into us first and then ends our input.
                _ = interrupt.recv() => {}
            }
        }
        on_signal.send_replace(true);
    });
    std::thread::Builder::new().name("store-stdin".into()).spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
        stop.send_replace(true);
    })?;
    tell(READY, address);
    http::serve(listener, front, stopped, DRAIN).await;
    Ok(())
}

/// Bytes of memory that `memory_mib` of the configuration allows the engine; 0 goes by the machine.
#[must_use]
pub fn memory_limit(memory_mib: u64) -> u64 {
    match memory_mib {
        0 => Memory::for_machine(memory_of_machine()).engine,
        mib => mib.saturating_mul(1 << 20),
    }
}

/// Memory of the machine in bytes; 4 GiB where the kernel does not say.
fn memory_of_machine() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        info.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(4 << 30, |kib| kib << 10)
}
