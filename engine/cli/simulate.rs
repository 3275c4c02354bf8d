//! `tickwire simulate`

use std::process::ExitCode;

use super::{Common, Failure, log_to_stderr};
use crate::runtime::wait_for_signal;
use crate::simulator;

/// Runs the configured simulators until told to stop.
pub(super) fn run(common: &Common) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let settings = common.settings()?;
    if settings.simulators.is_empty() {
        return Err(Failure::usage("no simulators are configured, expected sections [simulators.NAME]"));
    }
    let mut waited = Ok(());
    simulator::run_blocking(settings.simulators, |handle| {
        for (name, address) in handle.addresses() {
            println!("{name}  {address}");
        }
        waited = wait_for_signal();
    })
    .map_err(Failure::failed)?;
    waited.map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
