//! Waiting for the order to stop, or to read the configuration again.

use crossbeam::channel::{Receiver, bounded};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that was told twice: 128 and the number of SIGINT, as shells count.
const IMPATIENT: i32 = 130;

/// Says something when the process is told to stop: SIGINT (Ctrl-C) or SIGTERM. When it is told a second time, the
/// process ends at once with exit code 130.
///
/// # Errors
/// When the system refuses to tell us of signals.
pub fn on_signal() -> std::io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let (tell, told) = bounded(1);
    let wait = move || {
        runtime.block_on(next(&mut signals));
        // Nobody listens any more when the process is ending by itself.
        let _ = tell.send(());
        runtime.block_on(next(&mut signals));
        std::process::exit(IMPATIENT);
    };
    std::thread::Builder::new().name("tw-signals".into()).spawn(wait)?;
    Ok(told)
}

/// Says something whenever the process is told to read its configuration again: SIGHUP. Several that come while nobody
/// listens are one.
///
/// # Errors
/// When the system refuses to tell us of signals.
pub fn on_hangup() -> std::io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let (tell, told) = bounded(1);
    let wait = move || {
        runtime.block_on(async {
            while hangups.recv().await.is_some() {
                // Full: somebody is about to look anyway.
                if tell.try_send(()).is_err_and(|e| e.is_disconnected()) {
                    return;
                }
            }
        });
    };
    std::thread::Builder::new().name("tw-hangups".into()).spawn(wait)?;
    Ok(told)
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Returns when the process is told to stop; see [`on_signal`].
///
/// # Errors
/// When the system refuses to tell us of signals.
pub fn wait_for_signal() -> std::io::Result<()> {
    // The other end is only dropped when the process ends.
    let _ = on_signal()?.recv();
    Ok(())
}
