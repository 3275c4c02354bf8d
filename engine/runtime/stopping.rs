//! Waiting for the order to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is told to stop: SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// When the system refuses to tell us of signals.
pub fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
