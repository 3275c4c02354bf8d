//! `tickwire record` over the simulated brokers: every input is in the file, also in one that was cut short.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine_support::{QUIET, command, free_port};
use tempfile::TempDir;
use tickwire::journal::{Reader, is_input};
use tickwire::market::Input;
use tickwire_schemas::record::read_head;
use tickwire_schemas::words::{Kind, SourceStatus, Verdict};

const ROWS: usize = 400;

/// Two brokers that play a small recording each, once, some 20 s of it in a second, and the sources that take it.
fn config(dir: &Path) -> String {
    let mut text = QUIET.to_string();
    for (name, from) in [("a", 38_600), ("b", 38_700)] {
        let rows: String = (0..ROWS).map(|n| format!("{},1.{:05},1.{:05}\n", n * 50, from + n, from + n + 1)).collect();
        let file = dir.join(format!("{name}.csv"));
        std::fs::write(&file, rows).unwrap();
        let playback = format!(
            "{{ file = \"{}\", format = \"lean\", symbol = \"EURUSD\", date = \"2014-05-02\" }}",
            file.display()
        );
        let port = free_port();
        text += &format!(
            "[simulators.{name}]\nbroker = \"oanda\"\nlisten = \"127.0.0.1:{port}\"\naccount = \"1\"\ntoken = \"demo\"\n\
             pace = 20\nheartbeat_ms = 200\nwindow_ms = 0\nplayback = [{playback}]\n\
             [sources.{name}]\nadapter = \"oanda\"\nbase_url = \"http://127.0.0.1:{port}\"\naccount = \"1\"\n\
             token = \"demo\"\nsymbols = [\"EURUSD\"]\n"
        );
    }
    text
}

struct Recorder {
    dir: TempDir,
    child: Child,
}

impl Recorder {
    fn start() -> Recorder {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.toml");
        std::fs::write(&path, config(dir.path())).unwrap();
        let mut command = record(dir.path(), &[]);
        Recorder { dir, child: command.stdout(Stdio::piped()).spawn().unwrap() }
    }

    /// Returns when that many ticks are in the file.
    fn until(&mut self, ticks: usize) {
        let path = self.dir.path().join("r.twj");
        let mut reader = loop {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before anything was recorded");
            if let Ok(reader) = Reader::file(&path) {
                break reader;
            }
            std::thread::yield_now();
        };
        let mut found = 0;
        while found < ticks {
            match reader.next().unwrap() {
                Some(entry) => found += usize::from(entry.kind == Kind::Tick),
                None => {
                    assert!(self.child.try_wait().unwrap().is_none(), "it ended with {found} ticks");
                    std::thread::yield_now();
                }
            }
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record(dir: &Path, more: &[&str]) -> Command {
    let output = dir.join("r.twj");
    let arguments = [&["record", "--output", output.to_str().unwrap()], more].concat();
    command(dir, &dir.join("test.toml"), &arguments)
}

/// The inputs of a recording, each checked to be as the stages would find it.
fn inputs(path: &Path) -> (Vec<Input>, Reader) {
    let mut reader = Reader::file(path).unwrap();
    let (mut inputs, mut chains) = (Vec::new(), BTreeMap::new());
    while let Some(entry) = reader.next().unwrap() {
        assert!(is_input(entry.kind), "{}", entry.kind);
        let head = read_head(entry.kind, entry.bytes).unwrap();
        assert_eq!((head.epoch, head.seq), (1, inputs.len() as u64 + 1));
        let chain: &mut u64 = chains.entry((entry.kind, head.source_id, head.instrument_id)).or_default();
        *chain += 1;
        assert_eq!(head.chain, *chain);
        if entry.kind == Kind::Tick {
            let tick: tickwire_schemas::record::Tick = tickwire_schemas::record::Record::read(entry.bytes).unwrap();
            assert_eq!((tick.verdict, tick.reasons), (Verdict::Accepted.code(), 0));
        }
        inputs.push(Input::from_record(entry.kind, entry.bytes).unwrap());
    }
    (inputs, reader)
}

#[test]
fn every_input_is_in_the_file_and_nothing_is_written_over() {
    let mut recorder = Recorder::start();
    recorder.until(2 * ROWS);
    recorder.signal("-INT");
    let mut said = String::new();
    std::io::Read::read_to_string(recorder.child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert!(recorder.child.wait().unwrap().success());

    let path = recorder.dir.path().join("r.twj");
    let (inputs, reader) = inputs(&path);
    assert_eq!(reader.report().torn_bytes, 0);
    let catalogue = reader.catalogue();
    assert_eq!(catalogue.sources.iter().map(|s| (s.id.0, s.name.as_str())).collect::<Vec<_>>(), [(1, "a"), (2, "b")]);
    assert_eq!(catalogue.instruments[0].symbol, "EURUSD");
    let clock = catalogue.clock.unwrap();
    assert!(clock.started_ns <= inputs[0].now_ns() && clock.timer_ms == 50, "{clock:?}");
    for source in [1, 2] {
        let from = if source == 1 { 38_600 } else { 38_700 };
        let bids: Vec<i64> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Tick(tick) if tick.head.source_id == source => Some(tick.bid_e9),
                _ => None,
            })
            .collect();
        assert_eq!(bids, (0..ROWS as i64).map(|n| 1_000_000_000 + (from + n) * 10_000).collect::<Vec<_>>());
        let states: BTreeSet<u8> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::SourceState(state) if state.head.source_id == source => Some(state.status),
                _ => None,
            })
            .collect();
        let expected = [SourceStatus::Connecting, SourceStatus::Live, SourceStatus::Stopped].map(|s| s.code());
        assert_eq!(states, BTreeSet::from(expected));
    }
    assert!(inputs.iter().any(|input| matches!(input, Input::Timer(timer) if timer.snapshot == 0)));
    assert!(said.contains(&format!("{} inputs, {} bytes", inputs.len(), path.metadata().unwrap().len())), "{said}");
    assert!(said.contains(" 0 dropped at the door"), "{said}");
    assert!(!recorder.dir.path().join("state").exists(), "a recording needs no state directory");

    let before = std::fs::read(&path).unwrap();
    let again = record(recorder.dir.path(), &["--duration", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("r.twj exists; a recording is not written over it"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_killed_recording_is_readable_and_a_limited_one_ends_by_itself() {
    let mut recorder = Recorder::start();
    recorder.until(50);
    recorder.signal("-KILL");
    recorder.child.wait().unwrap();
    let path = recorder.dir.path().join("r.twj");
    let (found, reader) = inputs(&path);
    assert!(found.iter().filter(|input| matches!(input, Input::Tick(_))).count() >= 50);
    assert!(reader.report().is_sound());

    // Torn in the middle of the last entry.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(reader.position().offset - 3).unwrap();
    assert_eq!(inputs(&path).0, found[..found.len() - 1]);

    std::fs::remove_file(&path).unwrap();
    let done = record(recorder.dir.path(), &["--duration", "1"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!inputs(&path).0.is_empty());
}
