//! Connections survive what kills the program in the middle of a write: whatever was being written is there whole, or not
//! at all, and secrets open.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use tickwire::control::connections::{ConnectionError, Connections, Draft, LogFilter, RETENTION_DAYS};
use tickwire::control::credentials::{Credentials, marks};

/// Where the child process writes; set in it alone.
const CHILD: &str = "TICKWIRE_TEST_KILL_DIR";
const ROUNDS: u32 = 40;

fn draft(round: u64) -> Draft {
    Draft {
        adapter: "mtapi".into(),
        provider: format!("round {round}"),
        config: format!("base_url = \"https://{round}.example\"\nsymbols = [\"EURUSD\"]\npassword = \"vault:\"")
            .parse()
            .unwrap(),
        stores_ticks: true,
        retention_days: RETENTION_DAYS,
        timeframes: Vec::new(),
    }
}

fn secret(round: u64) -> Credentials {
    let mut credentials = Credentials::default();
    credentials.set("password", format!("secret of round {round}"));
    credentials
}

/// Writes all kinds of writes until it is killed, by turns, so that over the rounds each is hit.
#[test]
#[ignore = "the child of the other test, which is killed"]
fn writes_for_ever() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let mut all = Connections::open(dir).unwrap();
    println!("writing");
    for round in 0_u64.. {
        let name = format!("c{}", round % 7);
        match all.add(&name, "", &draft(round), &secret(round), 1) {
            Ok(_) | Err(ConnectionError::NameTaken(_)) => {}
            Err(other) => panic!("{other}"),
        }
        all.edit(&name, &draft(round), &secret(round), 2).unwrap();
        all.set_active(&name, round.is_multiple_of(2), 3).unwrap();
        if round.is_multiple_of(3) {
            all.rotate().unwrap();
        }
        if round.is_multiple_of(5) {
            all.remove(&name).unwrap();
        }
    }
}

/// What a person finds at the next start.
fn look(dir: &Path) -> usize {
    let mut all = Connections::open(dir).unwrap();
    let kept = all.list().unwrap();
    for connection in &kept {
        let credentials = all.credentials(&connection.name).unwrap();
        let round = connection.draft.provider.strip_prefix("round ").unwrap();
        assert_eq!(connection.draft.config["base_url"].as_str().unwrap(), format!("https://{round}.example"));
        // The secret is that of the same write, and every mark has one.
        assert_eq!(credentials.get("password").unwrap(), format!("secret of round {round}"));
        assert_eq!(marks(&connection.draft.config), ["password"]);
        all.logs(&connection.name, &LogFilter { limit: 10, ..LogFilter::default() }).unwrap();
    }
    drop(all);
    let database = Connection::open(dir.join("control.db")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let word: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
    kept.len()
}

#[test]
fn killed_at_any_moment_every_connection_is_whole_and_its_secret_opens() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("TICKWIRE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut most = 0;
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_for_ever", "--ignored", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("writing")), "the child did not begin: seed {seed}");
        // A moment of its own each time: that is what is tried here.
        std::thread::sleep(std::time::Duration::from_micros(random.u64(0..60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        most = most.max(look(dir.path()));
        assert!(!dir.path().join("vault.key.next").exists(), "a rotation that was broken off is finished");
    }
    assert!(most > 2, "the child wrote something between the kills");
}

#[test]
fn processes_that_read_while_the_key_changes_find_every_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    for round in 0..4 {
        all.add(&format!("c{round}"), "", &draft(round), &secret(round), 1).unwrap();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    look(dir.path());
                }
            });
        }
        let rotating: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut all = Connections::open(dir.path()).unwrap();
                    for _ in 0..25 {
                        all.rotate().unwrap();
                    }
                })
            })
            .collect();
        rotating.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(look(dir.path()), 4);
}
