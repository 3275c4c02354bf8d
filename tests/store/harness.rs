//! A supervised store in a folder of its own, and `curl` to talk to it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tickwire::storage::store::{READER, StoreConfig, StoreHandle, Supervisor, WRITER};

/// The tests run against the real engine or not at all.
pub fn library() -> PathBuf {
    match tickwire::storage::store::find_library(None) {
        Ok(path) => path,
        Err(error) => panic!("{error}"),
    }
}

pub fn config(state: &Path) -> StoreConfig {
    StoreConfig {
        program: Some(env!("CARGO_BIN_EXE_tickwire").into()),
        library: Some(library()),
        ..StoreConfig::new(state, "127.0.0.1:0".parse().unwrap())
    }
}

pub struct Store {
    pub state: tempfile::TempDir,
    pub handle: StoreHandle,
}

/// What a client got back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn ok(self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.text()
    }

    pub fn code(&self) -> Option<u32> {
        let line = self.head.lines().find(|l| l.to_ascii_lowercase().starts_with("x-clickhouse-exception-code:"))?;
        line.split_once(':')?.1.trim().parse().ok()
    }
}

impl Store {
    pub fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let handle = Supervisor::start(config(state.path())).unwrap();
        Self { state, handle }
    }

    pub fn client(&self) -> clickhouse::Client {
        clickhouse::Client::default()
            .with_url(self.handle.url())
            .with_database("md")
            .with_user(WRITER)
            .with_password(self.handle.writer_password())
    }

    /// One request by curl; `target` is what follows the address.
    pub fn curl(&self, user: &str, target: &str, body: Option<&[u8]>, more: &[&str]) -> Answer {
        let password = if user == READER { self.handle.reader_password() } else { self.handle.writer_password() };
        let mut command = Command::new("curl");
        command
            .args(["-sS", "-i", "--max-time", "60", "-H", "Expect:", "-u", &format!("{user}:{password}")])
            .args(more);
        if body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        command.arg(format!("{}/{target}", self.handle.url()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl is installed");
        child.stdin.take().unwrap().write_all(body.unwrap_or_default()).unwrap();
        let out = child.wait_with_output().unwrap().stdout;
        let cut = out.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer to {target}"));
        let head = String::from_utf8_lossy(&out[..cut]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap();
        Answer { status, head, body: out[cut + 4..].to_vec() }
    }

    /// A statement as the writer.
    pub fn write(&self, sql: &str) -> String {
        self.curl(WRITER, "?database=md", Some(sql.as_bytes()), &[]).ok()
    }

    /// A statement as the reader.
    pub fn read(&self, sql: &str) -> Answer {
        self.curl(READER, "?database=md", Some(sql.as_bytes()), &[])
    }

    /// The process that serves now.
    pub fn pid(&self) -> u32 {
        let lock = std::fs::read_to_string(self.state.path().join("store.lock")).unwrap();
        serde_json::from_str::<serde_json::Value>(&lock).unwrap()["pid"].as_u64().unwrap() as u32
    }
}
