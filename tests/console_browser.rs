//! The console in a real browser, over an engine with its database and a simulated broker: needs libchdb
//! (`scripts/get-chdb`), Chromium (`scripts/get-chromium`) and the pages' packages (`scripts/get-web target/web`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::path::Path;
use std::process::Command;

use console_support::Console;
use engine_support::free_port;

/// The folder of the pages, where their packages are found.
const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/engine/console/web");

/// A simulated mtapi.io whose symbols trade on all days, and a first backfill of two days, which is soon over.
fn config(port: u16) -> String {
    format!(
        "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n\
         [storage]\nmode = \"embedded\"\nlisten = \"127.0.0.1:0\"\n[jobs]\nbackfill_days = 2\n\
         [simulators.mt]\nbroker = \"mtapi\"\nlisten = \"127.0.0.1:{port}\"\nuser = \"7\"\npassword = \"demo\"\n\
         symbols = [\"BTCUSDT\", \"ETHUSDT\"]\n"
    )
}

#[test]
fn an_administrator_and_a_user_walk_through_the_console() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    assert!(Path::new(&chromium).exists(), "there is no {chromium}: run scripts/get-chromium");
    let port = free_port();
    let console = Console::start_in(tempfile::tempdir().unwrap(), &config(port));
    let log = console.log();
    let (_, token) = log.split_once("/first-run#").expect("a link is printed");
    let link = format!("http://{}/first-run#{}", console.address, token.lines().next().unwrap());
    // It ends by itself, within a minute and a half, and its browser with it.
    let walk = Command::new("node")
        .arg("e2e/walk.mjs")
        .current_dir(WEB)
        .env("CHROMIUM", &chromium)
        .env("TICKWIRE_FIRST_RUN", link)
        .env("TICKWIRE_BROKER", format!("http://127.0.0.1:{port}"))
        .env("TICKWIRE_PICTURES", Path::new(env!("CARGO_TARGET_TMPDIR")).join("console_browser"))
        .output()
        .expect("node: install Node.js, then run scripts/get-web target/web");
    let said = String::from_utf8_lossy(&walk.stdout);
    println!("{said}");
    assert!(walk.status.success(), "{}\n{said}\n{}", walk.status, String::from_utf8_lossy(&walk.stderr));
    let (ended, _dir) = console.engine.stop();
    assert!(ended, "the engine did not end well");
}
