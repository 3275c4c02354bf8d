//! `tickwire run`

use std::process::ExitCode;

use super::{Common, Failure, log_to_stderr, reload};
use crate::runtime::{Engine, catch_crashes, on_hangup, wait_for_signal};
use crate::storage::Mode;

/// Runs the engine until told to stop.
pub(super) fn run(common: &Common) -> Result<ExitCode, Failure> {
    log_to_stderr("info");
    let settings = common.settings()?;
    catch_crashes(common.state_dir.clone());
    let (mode, store) = (settings.storage.mode, settings.storage.listen);
    // Before the engine says where it is: who finds it may tell it to read its configuration again.
    let hangups = on_hangup().map_err(Failure::failed)?;
    let engine = Engine::start(settings, &common.state_dir).map_err(Failure::failed)?;
    reload::listen(hangups, engine.control(), common.clone()).map_err(Failure::failed)?;
    print_addresses(&engine, mode, store);
    let waited = wait_for_signal();
    println!("stopping: feeds, stages, journal, terminals, database");
    engine.stop().map_err(Failure::failed)?;
    waited.map_err(Failure::failed)?;
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_addresses(engine: &Engine, mode: Mode, store: std::net::SocketAddr) {
    println!("terminals    quic://{}", engine.quic());
    println!("fingerprint  {}", engine.fingerprint());
    println!("console      http://{}/  /health  /metrics", engine.console());
    if mode == Mode::Embedded {
        println!(
            "database     http://{store}  (starting; users tickwire and reader, passwords in the state directory)"
        );
    }
    for (name, address) in engine.simulators().iter().flat_map(|s| s.addresses()) {
        println!("simulator    {name} on {address}");
    }
    // Not to the log, which is kept and read by others.
    if let Some(link) = engine.first_run() {
        eprintln!(
            "The console has no administrator yet. Make one with this link, which works once and until the engine stops:"
        );
        eprintln!("  {link}");
    }
    println!();
    println!("Try next, in a second shell:");
    println!("  target/release/tickwire watch");
    println!("  target/release/tickwire watch --json --limit 20");
    println!("  target/release/tickwire sql \"select source, count() from ticks group by source\"");
    println!("  curl -s http://{}/health", engine.console());
    println!("Ctrl-C here stops the engine.");
}
