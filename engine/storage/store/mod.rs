//! The embedded store: a ClickHouse engine (libchdb) in a process of its own, behind ClickHouse's HTTP interface on
//! loopback.
//!
//! `serve` is that process; [`Supervisor`] starts it and keeps it running. Both know each other only through the lock
//! file, the secrets, one line on standard output and the end of standard input. In the process a request walks
//! `http` (connections, limits, login) → `pool` (threads) → `session` (a connection of the engine for this request
//! alone) → `chdb` (the C interface); `request`, `statement` and `frames` take it apart, `access` judges what the
//! read-only user asks, `reply` gives errors the shape clients know.

mod access;
mod chdb;
mod frames;
mod http;
mod library;
mod lock;
mod pool;
mod reply;
mod request;
mod sandbox;
mod secrets;
mod serve;
mod session;
mod statement;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use chdb::ChdbError;
pub use library::find_library;
pub use lock::Owner;
pub use secrets::{READER, Secrets, WRITER};
pub use serve::{ServeOptions, memory_limit, serve};
pub use session::StartError;
pub use supervisor::{Connected, StoreAccess, StoreConfig, StoreHandle, Supervisor, connect_or_start};

/// Why the store does not run.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// libchdb is in none of the places.
    #[error(
        "libchdb, the embedded ClickHouse engine, is missing: run `scripts/get-chdb`, or name one with TICKWIRE_CHDB or \
         --library (searched: {})", searched.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoLibrary {
        /// Files that were looked for.
        searched: Vec<PathBuf>,
    },
    /// The library cannot be used.
    #[error(transparent)]
    Chdb(#[from] ChdbError),
    /// The engine does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port is taken by something that is not this store.
    #[error("the store cannot listen on {listen}: {source} (is another program on that port?)")]
    Port {
        /// Address asked for.
        listen: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The store answers without a password only to this machine, and not even that: it never listens elsewhere.
    #[error("the store listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// Another store has the data folder and does not let go.
    #[error("{} is held by another store{}", path.display(),
        owner.as_ref().map(|o| format!(": process {} on {}", o.pid, o.address)).unwrap_or_default())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if it says so.
        owner: Option<Owner>,
    },
    /// The kernel refuses the sandbox.
    #[error("the store cannot lock itself in: {0}")]
    Sandbox(String),
    /// A file or folder.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The child process said why it does not start.
    #[error("{0}")]
    Child(String),
    /// The child process does not get ready.
    #[error("the store was not ready within {seconds} s")]
    NotReady {
        /// How long was waited.
        seconds: u64,
    },
}
