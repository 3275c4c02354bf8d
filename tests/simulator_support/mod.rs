//! Small clients for talking to the simulated brokers. Every wait has a deadline, so that a fault fails and not hangs.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tickwire::simulator::{self, SimulatorsHandle};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Far beyond what a loaded machine needs.
async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("an answer")
}

pub(crate) fn try_start(text: &str) -> Result<SimulatorsHandle, String> {
    let mut config = tickwire::config::Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(text, "test.toml").unwrap();
    let configs = simulator::parse(&config).map_err(|e| e.to_string())?;
    simulator::start(configs).map_err(|e| e.to_string())
}

pub(crate) fn start(text: &str) -> SimulatorsHandle {
    try_start(text).unwrap()
}

#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Get {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

pub(crate) async fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Get {
    request("GET", at, path, headers).await
}

pub(crate) async fn request(method: &str, at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Get {
    patiently(async {
        let mut stream = BufReader::new(TcpStream::connect(at).await.unwrap());
        let (status, headers) = head(&mut stream, method, path, headers, "Connection: close\r\n").await;
        let mut body = String::new();
        stream.read_to_string(&mut body).await.unwrap();
        Get { status, headers, body }
    })
    .await
}

async fn head(
    stream: &mut BufReader<TcpStream>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    more: &str,
) -> (u16, BTreeMap<String, String>) {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: simulator\r\n{more}");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {line:?}")).parse().unwrap();
    let mut found = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => found.insert(name.to_lowercase(), value.to_string()),
            None => return (status, found),
        };
    }
}

/// An open pricing stream: lines out of chunks.
pub(crate) struct OandaStream {
    stream: BufReader<TcpStream>,
    pending: Vec<u8>,
}

impl OandaStream {
    pub(crate) async fn open(at: SocketAddr, path: &str, token: &str) -> OandaStream {
        let mut stream = BufReader::new(TcpStream::connect(at).await.unwrap());
        let bearer = format!("Bearer {token}");
        let (status, headers) = patiently(head(&mut stream, "GET", path, &[("Authorization", &bearer)], "")).await;
        assert_eq!((status, headers.get("transfer-encoding").map(String::as_str)), (200, Some("chunked")));
        OandaStream { stream, pending: Vec::new() }
    }

    pub(crate) async fn raw_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_string());
            }
            let mut size = String::new();
            if patiently(self.stream.read_line(&mut size)).await.unwrap_or(0) == 0 {
                return None;
            }
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            patiently(self.stream.read_exact(&mut chunk)).await.ok()?;
            if size == 0 {
                return None;
            }
            self.pending.extend_from_slice(&chunk[..size]);
        }
    }

    pub(crate) async fn line(&mut self) -> Value {
        let line = self.raw_line().await.expect("a line and not the end of the stream");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    pub(crate) async fn ends(&mut self) -> bool {
        while self.raw_line().await.is_some() {}
        true
    }
}

pub(crate) async fn socket(at: SocketAddr, path: &str) -> Socket {
    patiently(tokio_tungstenite::connect_async(format!("ws://{at}{path}"))).await.unwrap().0
}

pub(crate) async fn send(socket: &mut Socket, message: Message) {
    patiently(socket.send(message)).await.unwrap();
}

pub(crate) async fn next_text(socket: &mut Socket) -> String {
    loop {
        if let Message::Text(text) = patiently(socket.next()).await.expect("not the end").unwrap() {
            return text.to_string();
        }
    }
}

pub(crate) async fn next_json(socket: &mut Socket) -> Value {
    serde_json::from_str(&next_text(socket).await).unwrap()
}

pub(crate) async fn next_ping(socket: &mut Socket) -> Bytes {
    loop {
        if let Message::Ping(payload) = patiently(socket.next()).await.expect("not the end").unwrap() {
            return payload;
        }
    }
}

/// The code with which the server closes.
pub(crate) async fn closed(socket: &mut Socket) -> Option<u16> {
    loop {
        match patiently(socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame.map(|f| f.code.into()),
            Some(Ok(_)) => {}
            _ => return None,
        }
    }
}
