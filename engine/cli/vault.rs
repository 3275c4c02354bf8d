//! `tickwire vault`: the key that seals the secrets of connections.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Common, Failure, say};
use crate::control::connections::Connections;

/// What to do with it.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Makes a new key and seals every secret anew with it
    Rotate,
}

/// Does it.
pub(super) fn run(common: &Common, action: &Action) -> Result<ExitCode, Failure> {
    let Action::Rotate = action;
    let sealed = Connections::open(&common.state_dir).and_then(|mut all| all.rotate()).map_err(Failure::failed)?;
    say(format_args!("a new key; the secrets of {sealed} connection(s) and second factor(s) are sealed with it\n"))?;
    Ok(ExitCode::SUCCESS)
}
