//! Connections that are not streams of HTTP nor WebSockets: answers to requests that are made again and again, and lines
//! over a plain socket.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::Response;
use tickwire_schemas::words::Cause;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use super::lines::LineSplitter;
use super::net::{self, FRAME_BYTES_MAX, Failure, Http, Stamped};
use crate::clock;

/// What one read takes at most.
const READ_BYTES: usize = 16 << 10;

/// What to ask.
#[derive(Debug, Clone)]
pub struct Question {
    /// The symbol that it is about, to put in front of the answer with a line feed; `None` to put nothing.
    pub symbol: Option<String>,
    /// Where.
    pub url: String,
}

type Pending = Pin<Box<dyn Future<Output = Result<(Vec<u8>, i64), Failure>> + Send>>;

/// Asks its questions one after the other, and again when the interval is over.
pub struct Poller {
    http: Http,
    headers: HeaderMap,
    questions: Vec<Question>,
    interval: Duration,
    timeout: Duration,
    /// What is left to ask in this round.
    left: VecDeque<usize>,
    round: Instant,
    pending: Option<(usize, Pending)>,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the questions and headers, which may hold a password.
        f.debug_struct("Poller").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Poller {
    /// Asks the first question, and returns when the head of its answer is there and says success.
    ///
    /// # Errors
    /// When there is no connection, or the venue refuses.
    pub async fn open(
        questions: Vec<Question>,
        headers: HeaderMap,
        interval: Duration,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let base = questions.first().map_or_else(String::new, |question| question.url.clone());
        // On another thread, since that may read certificates from disk.
        let made = tokio::task::spawn_blocking(move || {
            let http = Http::kept(&base);
            http.warm();
            http
        });
        let http = made.await.map_err(|e| Failure::new(Cause::ConnectFailed, e.to_string()))?;
        let mut poller = Poller {
            http,
            headers,
            left: (1..questions.len()).collect(),
            questions,
            interval,
            timeout,
            round: Instant::now(),
            pending: None,
        };
        let response = poller.ask(0, Cause::ConnectFailed).await?;
        poller.pending = Some((0, Box::pin(body(response))));
        Ok(poller)
    }

    /// Sends a question; what goes wrong on the way has the cause `lost`.
    fn ask(&self, at: usize, lost: Cause) -> impl Future<Output = Result<Response, Failure>> + use<> {
        let nothing = || Failure::new(lost, "there is nothing to ask");
        let request = self.questions.get(at).ok_or_else(nothing);
        let request = request.and_then(|question| self.http.later(&question.url, &[]));
        let request = request.map(|request| request.headers(self.headers.clone()).timeout(self.timeout));
        async move {
            let request = request?;
            let failed = |e: reqwest::Error| Failure::new(lost, net::causes(&e.without_url()));
            let response = request.send().await.map_err(failed)?;
            if response.status().is_success() { Ok(response) } else { Err(net::refused(response, |_| None).await) }
        }
    }

    /// Waits for the next answer. Dropping the future before it is ready loses nothing: the request goes on.
    ///
    /// # Errors
    /// When a request fails or is refused.
    pub async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        if self.pending.is_none() {
            if self.left.is_empty() {
                // Late rounds are not made up for.
                let due = (self.round + self.interval).max(Instant::now());
                sleep_until(due).await;
                (self.round, self.left) = (due, (0..self.questions.len()).collect());
            }
            let Some(at) = self.left.pop_front() else { return Ok(()) };
            let asked = self.ask(at, Cause::ReadError);
            self.pending = Some((at, Box::pin(async move { body(asked.await?).await })));
        }
        let Some((at, pending)) = &mut self.pending else { return Ok(()) };
        let (at, answer) = (*at, pending.await);
        self.pending = None;
        let (mut answer, at_ns) = answer?;
        if let Some(symbol) = self.questions.get(at).and_then(|question| question.symbol.as_ref()) {
            answer.splice(0..0, symbol.bytes().chain([b'\n']));
        }
        each(&answer, at_ns);
        Ok(())
    }
}

/// The whole of an answer, and when its last part was read.
async fn body(mut response: Response) -> Result<(Vec<u8>, i64), Failure> {
    let too_long = || Failure::new(Cause::ProtocolError, format!("an answer of more than {FRAME_BYTES_MAX} bytes"));
    if response.content_length().is_some_and(|length| length > FRAME_BYTES_MAX as u64) {
        return Err(too_long());
    }
    let (mut body, mut at_ns) = (Vec::new(), clock::now_ns());
    let failed = |e: reqwest::Error| Failure::new(Cause::ReadError, net::causes(&e.without_url()));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        at_ns = clock::now_ns();
        if body.len() + chunk.len() > FRAME_BYTES_MAX {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, at_ns))
}

/// Lines over a plain socket.
#[derive(Debug)]
pub struct TcpLines {
    socket: Stamped,
    splitter: LineSplitter,
    buffer: Box<[u8]>,
    /// Held for as long as the lines are read.
    beside: Option<Box<TcpLines>>,
}

impl TcpLines {
    /// Connects.
    ///
    /// # Errors
    /// [`Cause::ConnectFailed`] naming the host.
    pub async fn connect(host: &str, port: u16) -> Result<Self, Failure> {
        let socket = net::tcp(host, port).await?;
        Ok(TcpLines {
            socket,
            splitter: LineSplitter::new(FRAME_BYTES_MAX),
            buffer: vec![0; READ_BYTES].into(),
            beside: None,
        })
    }

    /// The same, with another connection that lives as long as this one.
    #[must_use]
    pub fn beside(mut self, other: TcpLines) -> Self {
        self.beside = Some(Box::new(other));
        self
    }

    /// Sends a line.
    ///
    /// # Errors
    /// [`Cause::ReadError`] when it cannot be written.
    pub async fn say(&mut self, line: &str) -> Result<(), Failure> {
        let said = self.socket.write_all(format!("{line}\r\n").as_bytes()).await;
        said.map_err(|e| Failure::new(Cause::ReadError, format!("cannot be written to: {e}")))
    }

    /// Waits for bytes and hands on each whole line. Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// When the connection is at its end, or a line is far too long.
    pub async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        match self.socket.read(&mut self.buffer).await {
            Ok(0) => Err(Failure::new(Cause::ClosedByPeer, "the connection was closed")),
            Ok(count) => {
                let at_ns = self.socket.read_ns();
                let split = self.splitter.push(&self.buffer[..count], |line| each(line, at_ns));
                split.map_err(|e| Failure::new(Cause::ProtocolError, e.to_string()))
            }
            Err(error) => Err(Failure::new(Cause::ReadError, error.to_string())),
        }
    }
}
