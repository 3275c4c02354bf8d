//! The program replaying manifests in a folder of its own, and what it wrote.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)] // Each test binary uses its part.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub struct Bench {
    pub dir: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// `tickwire replay m.toml` in the folder.
    pub fn command(&self, manifest: &str, arguments: &[&str]) -> Command {
        self.write("m.toml", manifest);
        let mut command = Command::new(env!("CARGO_BIN_EXE_tickwire"));
        command.current_dir(self.dir.path()).args(["replay", "m.toml"]).args(arguments).stdin(Stdio::null());
        // What the machine's own variables say is of no account here.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TICKWIRE__")) {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, manifest: &str, arguments: &[&str]) -> Output {
        self.command(manifest, arguments).output().unwrap()
    }

    /// The same, which must succeed; the summary.
    pub fn replay(&self, manifest: &str, arguments: &[&str]) -> String {
        let out = self.run(manifest, arguments);
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out)
    }

    /// The rows of a table without its header.
    pub fn rows(&self, name: &str) -> Vec<Vec<String>> {
        self.read(name).lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect()
    }
}

pub fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The line of a summary that begins with `name`, without it.
pub fn line_of(summary: &str, name: &str) -> String {
    let line = summary.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name} in {summary}")).trim_start_matches(name).trim().to_string()
}

/// One entry of a manifest.
pub fn source(name: &str, format: &str, file: &Path, symbol: &str, more: &str) -> String {
    let file = file.display();
    format!(
        "[[source]]\nname = \"{name}\"\nformat = \"{format}\"\nfiles = [\"{file}\"]\nsymbol = \"{symbol}\"\n{more}\n"
    )
}

/// The four tables.
pub const TABLES: [&str; 4] = ["quotes.csv", "bars.csv", "rejects.csv", "indicators.csv"];

/// Arguments that write all four into `folder`.
pub fn all_tables(folder: &str) -> Vec<String> {
    let pairs =
        TABLES.iter().map(|table| [format!("--{}", table.trim_end_matches(".csv")), format!("{folder}/{table}")]);
    pairs.flatten().collect()
}

/// Replays into a folder of its own; the four tables as text.
pub fn tables(bench: &Bench, manifest: &str, folder: &str, arguments: &[&str]) -> [String; 4] {
    std::fs::create_dir_all(bench.path(folder)).unwrap();
    let files = all_tables(folder);
    let arguments: Vec<&str> = files.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    bench.replay(manifest, &arguments);
    TABLES.map(|table| bench.read(&format!("{folder}/{table}")))
}

/// The format of [`lean`].
pub const LEAN: &str = "lean-quote";

/// A lean file: `rows` ticks from `from_ms` on, some crossed, some twice, with a jump in the middle.
pub fn lean(rows: u64, from_ms: u64, seed: u64) -> String {
    let mut random = seed;
    let mut text = String::new();
    let (mut ms, mut bid) = (from_ms, 138_700_i64);
    for row in 0..rows {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ms += (random >> 40) % 400;
        bid += ((random >> 33) % 7) as i64 - 3 + if row == rows / 2 { 5_000 } else { 0 };
        let ask = bid + ((random >> 50) % 12) as i64 - 1;
        let line = format!("{ms},{}.{:05},{}.{:05}\n", bid / 100_000, bid % 100_000, ask / 100_000, ask % 100_000);
        text += &line;
        if random.is_multiple_of(50) {
            text += &line;
        }
    }
    text
}
