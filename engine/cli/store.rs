//! `tickwire store`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, log_to_stderr};
use crate::storage::store::{ServeOptions, serve};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the data
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Loopback address to serve on
    #[arg(long, value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// libchdb; else TICKWIRE_CHDB, else .cache/
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Memory limit of the engine, MiB; 0: a quarter of the machine's, at most 2048
    #[arg(long, value_name = "N", default_value_t = 0)]
    memory_mib: u64,
}

/// Serves until standard input ends.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let Options { path, listen, library, memory_mib } = options;
    serve(ServeOptions { path, listen, library, memory_mib }).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
