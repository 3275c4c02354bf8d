//! An engine with a simulated Binance and its console over HTTP, and people who have signed in to it.
//!
//! A test that uses this declares `mod engine_support;` as well.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine_support::{Engine, command, free_port};

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery";

/// An administrator who is there from the start.
pub const ADMIN: &str = "admin";

/// Free ports, no database, and a simulated Binance (its own is at `port`) as the global source `binance`.
pub fn config(port: u16) -> String {
    format!(
        "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n[storage]\nmode = \"off\"\n\
         [instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n\
         [simulators.binance]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n{}",
        binance("binance", port, "")
    )
}

/// A source that connects to the simulated Binance.
pub fn binance(name: &str, port: u16, more: &str) -> String {
    format!(
        "[sources.{name}]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\n\
         rest_url = \"http://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n{more}\n"
    )
}

/// A running engine with its console.
pub struct Console {
    pub engine: Engine,
    pub address: SocketAddr,
}

impl Console {
    /// With the administrator [`ADMIN`] and nobody else.
    pub fn start() -> Console {
        Console::start_with("")
    }

    /// The same with more configuration.
    pub fn start_with(more: &str) -> Console {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let text = config(port) + more;
        std::fs::write(dir.path().join("test.toml"), &text).unwrap();
        let added = users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
        assert!(added.contains("admin is made"), "{added}");
        Console::start_in(dir, &text)
    }

    /// In a folder that may hold users already. What the engine logs goes to `engine.log` there, with everything that it
    /// has to say.
    pub fn start_in(dir: TempDir, config: &str) -> Console {
        let engine = Engine::start_logging(dir, config, "debug");
        Console { address: engine.console(), engine }
    }

    /// What the engine has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.engine.dir.path().join("engine.log")).unwrap()
    }

    /// Somebody who has not signed in.
    pub fn anonymous(&self) -> Person {
        Person { address: self.address, headers: Vec::new() }
    }

    /// Somebody with an API token.
    pub fn bearer(&self, token: &str) -> Person {
        Person { address: self.address, headers: vec![format!("Authorization: Bearer {token}")] }
    }

    /// Somebody who has signed in with [`PASSWORD`].
    pub fn sign_in(&self, name: &str) -> Person {
        let answer = self.anonymous().post("/api/session", &json!({ "name": name, "password": PASSWORD }));
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.with(&answer)
    }

    /// Whoever an answer with a new session is for.
    pub fn with(&self, answer: &Answer) -> Person {
        let cookie = answer.header("set-cookie").expect("a cookie").split(';').next().unwrap().to_string();
        let csrf = answer.json()["csrf_token"].as_str().unwrap().to_string();
        let headers = vec![format!("Cookie: {cookie}"), format!("X-CSRF-Token: {csrf}")];
        Person { address: self.address, headers }
    }

    /// Makes a user and signs them in.
    pub fn user(&self, name: &str, role: &str, permissions: &[&str]) -> Person {
        let user = json!({ "name": name, "password": PASSWORD, "role": role, "permissions": permissions });
        let answer = self.sign_in(ADMIN).post("/api/users", &user);
        assert_eq!(answer.status, 201, "{}", answer.body);
        self.sign_in(name)
    }

    /// Makes a token of somebody's.
    pub fn token(&self, of: &Person, scopes: &[&str]) -> Person {
        self.bearer(&token(of, scopes))
    }
}

/// Makes a token of somebody's; the secret.
pub fn token(of: &Person, scopes: &[&str]) -> String {
    let answer = of.post("/api/tokens", &json!({ "name": "test", "scopes": scopes }));
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["token"].as_str().unwrap().to_string()
}

/// `tickwire users …` with a line of standard input; everything it says.
pub fn users(dir: &TempDir, arguments: &[&str], line: &str) -> String {
    let arguments = [&["users"], arguments].concat();
    let mut child = command(dir.path(), &dir.path().join("test.toml"), &arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Not every command reads it.
    let _ = writeln!(child.stdin.take().unwrap(), "{line}");
    let out = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Somebody who asks.
#[derive(Clone)]
pub struct Person {
    pub address: SocketAddr,
    pub headers: Vec<String>,
}

impl Person {
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, Some(body))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None)
    }

    /// The same person without one of their headers.
    pub fn without(&self, header: &str) -> Person {
        let kept = self.headers.iter().filter(|line| !line.starts_with(header));
        Person { address: self.address, headers: kept.cloned().collect() }
    }

    /// The same person with a header more.
    pub fn and(&self, header: &str) -> Person {
        let mut person = self.clone();
        person.headers.push(header.into());
        person
    }

    /// One request; an answer that does not end is cut off after its head.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        self.ask_raw(method, path, kind, body.as_bytes())
    }

    /// The same with any body and lines of the head.
    pub fn ask_raw(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut reader = self.open(method, path, head, body);
        let mut answer = Answer::head(&mut reader);
        if !answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            answer.body = String::from_utf8_lossy(&rest).into_owned();
        }
        answer
    }

    fn open(&self, method: &str, path: &str, head: &str, body: &[u8]) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let host = if self.headers.iter().any(|line| line.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
        let lines: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{lines}{head}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Who refuses a long body may close before all of it was sent.
        let _ = stream.write_all(body);
        BufReader::new(stream)
    }

    /// Opens a stream of events.
    pub fn events(&self, path: &str) -> Events {
        let mut reader = self.open("GET", path, "Accept: text/event-stream\r\n", b"");
        let answer = Answer::head(&mut reader);
        assert_eq!(answer.status, 200, "{path}");
        Events(reader)
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    fn head(reader: &mut impl BufRead) -> Answer {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_string()));
        }
        Answer { status, headers, body: String::new() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of an error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_string()
    }
}

/// Events as they come.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// The next event and its data; `None` when the stream has ended.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let mut event = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).expect("an event, a heartbeat or the end") == 0 {
                return None;
            }
            // Lines between are the lengths of chunks, comments and waits.
            if let Some(name) = line.strip_prefix("event:") {
                event = name.trim().to_string();
            } else if let Some(data) = line.strip_prefix("data:") {
                return Some((event, serde_json::from_str(data.trim()).unwrap()));
            } else if line == "0\r\n" {
                return None;
            }
        }
    }
}
