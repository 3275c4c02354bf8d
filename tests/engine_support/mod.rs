//! A whole engine as a child process, with simulated brokers, on free ports and in a folder of its own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_tickwire");

/// A free port below those that the system hands out to clients, so that nobody takes it before the engine does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 1_000) as u16 * 20;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| first + NEXT.fetch_add(1, Relaxed)).take(1_000).find(free).expect("a free port")
}

/// Everything on free ports, no database.
pub const QUIET: &str = "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n[storage]\nmode = \"off\"\n\
    [instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n";

/// An OANDA simulator on `port` and the source `name` that connects to it.
pub fn oanda(name: &str, port: u16, simulator: &str, source: &str) -> String {
    format!(
        "[simulators.{name}]\nbroker = \"oanda\"\nlisten = \"127.0.0.1:{port}\"\naccount = \"101-004-1234567-001\"\ntoken = \"demo\"\n\
         symbols = [\"EURUSD\"]\nheartbeat_ms = 200\nwindow_ms = 0\n{simulator}\n\
         [sources.{name}]\nadapter = \"oanda\"\nbase_url = \"http://127.0.0.1:{port}\"\naccount = \"101-004-1234567-001\"\n\
         symbols = [\"EURUSD\"]\n{source}\n"
    )
}

/// One HTTP request; the status and the body.
pub fn http(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

pub struct Engine {
    pub dir: TempDir,
    pub config: PathBuf,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Engine {
    /// Starts one and returns when it has said that it runs.
    pub fn start(config: &str) -> Engine {
        Engine::start_in(tempfile::tempdir().unwrap(), config)
    }

    pub fn start_in(dir: TempDir, config: &str) -> Engine {
        Engine::start_as(dir, config, &["run"])
    }

    /// The same with what it has to say at this level in the file `engine.log` of its folder.
    pub fn start_logging(dir: TempDir, config: &str, level: &str) -> Engine {
        let path = dir.path().join("test.toml");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("engine.log")).unwrap();
        let mut command = command(dir.path(), &path, &["run"]);
        command.env("TICKWIRE_LOG", level).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut engine = Engine { dir, config: path, child, stdout };
        engine.until_said("Ctrl-C here");
        engine
    }

    /// The same by another subcommand that runs the engine.
    pub fn start_as(dir: TempDir, config: &str, arguments: &[&str]) -> Engine {
        let path = dir.path().join("test.toml");
        std::fs::write(&path, config).unwrap();
        let mut child = command(dir.path(), &path, arguments).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut engine = Engine { dir, config: path, child, stdout };
        engine.until_said("Ctrl-C here");
        engine
    }

    /// Returns when it says a line that begins so.
    pub fn until_said(&mut self, beginning: &str) {
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the engine ended before it said {beginning}");
        }
    }

    fn note(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.state().join("engine.json")).unwrap()).unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn console(&self) -> SocketAddr {
        self.note()["console"].as_str().unwrap().parse().unwrap()
    }

    pub fn quic(&self) -> SocketAddr {
        self.note()["quic"].as_str().unwrap().parse().unwrap()
    }

    pub fn trust(&self) -> tickwire_terminal::Trust {
        tickwire_terminal::Trust::Fingerprint(self.note()["fingerprint"].as_str().unwrap().into())
    }

    pub fn health(&self) -> (u16, Value) {
        let (status, body) = http(self.console(), "GET", "/health");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The sum of a metric over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, body) = http(self.console(), "GET", "/metrics");
        let full = format!("tickwire_{name}");
        let of = |line: &&str| line.strip_prefix(&full).is_some_and(|rest| rest.starts_with(['{', ' ']));
        body.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.dir.path(), &self.config, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    }

    pub fn watch(&self, arguments: &[&str]) -> Watch {
        let arguments = [&["watch", "--json"], arguments].concat();
        let mut child = command(self.dir.path(), &self.config, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Watch { child, lines }
    }

    /// Sends SIGINT again and again until it ends; its exit code. Two that come together may count as one.
    pub fn interrupt_until_it_ends(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
    }

    /// Kills it where it is; the folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Sends SIGINT and waits; whether it ended with 0, and the folder.
    pub fn stop(mut self) -> (bool, TempDir) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let ended = self.child.wait().unwrap().success();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (ended, dir)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in a test's folder.
pub fn command(dir: &Path, config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--config").arg(config);
    command.env("TICKWIRE_STATE_DIR", dir.join("state")).env("TICKWIRE_LOG", "warn").stdin(Stdio::null());
    command
}

/// A terminal; it is killed when dropped.
pub struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    /// The next record; `None` when the terminal ended.
    pub fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).unwrap() > 0).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The first record for which `wanted` holds, within a minute.
    pub fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let begun = std::time::Instant::now();
        while begun.elapsed().as_secs() < 60 {
            let record = self.next().expect("the terminal ended before the record came");
            if wanted(&record) {
                return record;
            }
        }
        panic!("records for a minute, and not the one that was waited for");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
