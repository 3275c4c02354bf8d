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
}

/// Serves until standard input ends.
pub(super) fn run(options: Options) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let Options { path, listen, library } = options;
    serve(ServeOptions { path, listen, library }).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
