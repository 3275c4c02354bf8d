//! Connections to venues: one HTTP request at a time, a stream of lines, a WebSocket, a FIX session, or a ZeroMQ socket. The
//! clock is read once per socket read, below TLS and framing, and never inside a decoder.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::{SinkExt, StreamExt};
use reqwest::Response;
use tickwire_schemas::words::Cause;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::fix::link::Link;
use super::lines::LineSplitter;
use super::poll::{Poller, TcpLines};
use super::zmq;
use crate::clock;

mod check;
mod confirm;
mod http;
mod reply;
mod stamped;

pub use check::{Asking, Check};
pub use http::{Http, headers, install_crypto, query};
pub use reply::{Reply, refused};
use reply::{cause_of_status, retry_after};
pub use stamped::Stamped;

/// Longest message or line from a venue; real ones have some hundred bytes. Beyond it the connection is given up.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Longest text of a venue that is passed on in logs and `last_error`.
const WORDS_MAX: usize = 300;

/// Read buffer of a WebSocket. The library clears as much before every read, so more is not better.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// How long a goodbye may take before the socket is simply dropped.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Why a connection was not made or is no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The word for it.
    pub cause: Cause,
    /// One sentence, in the venue's words where it said something. Holds no secret.
    pub text: String,
    /// How long the venue asks to wait.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a wait.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Failure { cause, text: text.into(), retry_after: None }
    }

    /// The same with every one of `secrets` blotted out: venues repeat what they were sent.
    #[must_use]
    pub fn without<T: AsRef<str>>(mut self, secrets: &[T]) -> Self {
        self.text = blot(self.text, secrets);
        self
    }
}

/// Checks a base URL from a configuration, and takes a slash from its end.
///
/// # Errors
/// One sentence saying what was expected.
pub fn base_url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let wrong = || {
        // A password may stand in front of an @ or behind a question mark.
        let shown = if text.contains(['@', '?', '#']) { "********" } else { text };
        format!("\"{shown}\" is not a base URL, expected {}://HOST[:PORT]", schemes.join(":// or "))
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let rest = rest.trim_end_matches('/');
    let uri: Result<axum::http::Uri, _> = format!("{scheme}://{rest}/").parse();
    let host = uri.ok().and_then(|uri| uri.host().map(|h| !h.is_empty())).unwrap_or(false);
    if !host || !schemes.contains(&scheme) || rest.contains(['?', '#', '@']) {
        return Err(wrong());
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Host and port of a checked base URL.
#[must_use]
pub fn host_of(base: &str) -> &str {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn blot<T: AsRef<str>>(text: String, secrets: &[T]) -> String {
    let secrets = secrets.iter().map(AsRef::as_ref).filter(|s| !s.is_empty());
    secrets.fold(text, |text, secret| text.replace(secret, "********"))
}

/// A frame of a venue, cut and made one line, without secrets. They are looked for beyond the cut, so that none is
/// left in part.
#[must_use]
pub fn blotted_excerpt(frame: &[u8], secrets: &[String]) -> String {
    let text = String::from_utf8_lossy(&frame[..frame.len().min(4 * WORDS_MAX)]).into_owned();
    excerpt(blot(text, secrets).as_bytes())
}

/// A text of a venue, cut and made one line.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_MAX)]);
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if bytes.len() > WORDS_MAX {
        text.push('…');
    }
    text
}

/// An error with what caused it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// A connection that prices come from.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    secrets: Vec<String>,
    farewell: Option<reqwest::RequestBuilder>,
    check: Option<Check>,
    /// A message that pings, where the venue does not take WebSocket's own.
    ping: Option<Cow<'static, str>>,
    frame_bytes_max: usize,
    /// How long it is good for from when it was made.
    life: Option<Duration>,
    /// Frames that came while something else was waited for.
    early: Vec<(Vec<u8>, i64)>,
}

#[derive(Debug)]
enum Transport {
    Lines(Box<LineStream>),
    Tcp(Box<TcpLines>),
    Poll(Box<Poller>),
    Socket(Box<WebSocketStream<MaybeTlsStream<Stamped>>>),
    Fix(Box<Link>),
    Zmq(Box<zmq::link::Link>),
}

/// The body of a response that does not end, in lines.
#[derive(Debug)]
struct LineStream {
    response: Response,
    splitter: LineSplitter,
}

impl Connection {
    /// The lines of a response's body.
    #[must_use]
    pub fn lines(response: Response) -> Self {
        let stream = LineStream { response, splitter: LineSplitter::new(FRAME_BYTES_MAX) };
        Connection::over(Transport::Lines(Box::new(stream)))
    }

    /// A FIX session that is logged on.
    #[must_use]
    pub fn fix(link: Link) -> Self {
        Connection::over(Transport::Fix(Box::new(link)))
    }

    /// The messages of a ZeroMQ socket.
    #[must_use]
    pub fn zmq(link: zmq::link::Link) -> Self {
        Connection::over(Transport::Zmq(Box::new(link)))
    }

    fn over(transport: Transport) -> Self {
        Connection {
            transport,
            secrets: Vec::new(),
            farewell: None,
            check: None,
            ping: None,
            frame_bytes_max: FRAME_BYTES_MAX,
            life: None,
            early: Vec::new(),
        }
    }

    /// Lines over a socket.
    #[must_use]
    pub fn tcp_lines(lines: TcpLines) -> Self {
        Connection::over(Transport::Tcp(Box::new(lines)))
    }

    /// Answers to polls.
    #[must_use]
    pub fn polls(poller: Poller) -> Self {
        Connection::over(Transport::Poll(Box::new(poller)))
    }

    /// The same, with a word that frames may hold and logs must not.
    #[must_use]
    pub fn with_secret(mut self, secret: String) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The same, with a request to send when the connection is closed.
    #[must_use]
    pub fn with_farewell(mut self, request: Option<reqwest::RequestBuilder>) -> Self {
        self.farewell = request;
        self
    }

    /// The same, with a question to ask now and then; an answer that is a failure ends the connection.
    #[must_use]
    pub fn with_check(mut self, check: Option<Check>) -> Self {
        self.check = check;
        self
    }

    /// The same, with a message to send where the venue's pings are messages of its own.
    #[must_use]
    pub fn with_ping(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.ping = Some(message.into());
        self
    }

    /// The same, good for this long and no longer, such as its token is: the session makes another one before. Whoever
    /// knows the time says less than it, by what making one takes.
    #[must_use]
    pub fn expiring(mut self, life: Duration) -> Self {
        self.life = Some(self.life.map_or(life, |shorter| shorter.min(life)));
        self
    }

    /// The same, with a token that the venue made just now and lets live for so many seconds (0: for ever), where getting
    /// another one and connecting with it takes up to `opening`. Half of its life is used in any case.
    #[must_use]
    pub fn with_token_of(self, lifetime_s: u32, opening: Duration) -> Self {
        let lifetime = Duration::from_secs(lifetime_s.into());
        if lifetime.is_zero() { self } else { self.expiring(lifetime.saturating_sub(opening).max(lifetime / 2)) }
    }

    pub(super) fn life(&self) -> Option<Duration> {
        self.life
    }

    /// How many messages the other side's count says were never read, since this was last asked.
    pub(super) fn take_missed(&mut self) -> u64 {
        match &mut self.transport {
            Transport::Fix(link) => link.take_missed(),
            _ => 0,
        }
    }

    pub(super) fn take_secrets(&mut self) -> Vec<String> {
        std::mem::take(&mut self.secrets)
    }

    /// Waits for bytes and hands each whole frame to `each`, with the time at which it was read. May hand on none.
    /// Dropping the future before it is ready loses nothing.
    ///
    /// # Errors
    /// When the connection is at its end.
    pub async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        if !self.early.is_empty() {
            std::mem::take(&mut self.early).iter().for_each(|(frame, at_ns)| each(frame, *at_ns));
            return Ok(());
        }
        match &mut self.check {
            None => self.transport.read(each).await,
            Some(check) => tokio::select! {
                read = self.transport.read(each) => read,
                failure = check.fails() => Err(failure),
            },
        }
    }

    /// Sends a ping, where the connection has such a thing.
    ///
    /// # Errors
    /// When the connection is at its end.
    pub async fn ping(&mut self) -> Result<(), Failure> {
        match (&mut self.transport, &self.ping) {
            // FIX has heartbeats, which its session sends by itself.
            (
                Transport::Lines(_) | Transport::Tcp(_) | Transport::Poll(_) | Transport::Fix(_) | Transport::Zmq(_),
                _,
            ) => Ok(()),
            (Transport::Socket(socket), None) => socket.send(Message::Ping(Bytes::new())).await.map_err(ws_failure),
            (Transport::Socket(socket), Some(text)) => {
                socket.send(Message::text(text.as_ref())).await.map_err(ws_failure)
            }
        }
    }

    /// Says goodbye, if the other side listens.
    pub async fn close(self) {
        let Connection { transport, farewell, .. } = self;
        let goodbye = async {
            // Whatever comes of it, the socket is closed when it is dropped.
            match transport {
                Transport::Lines(_) | Transport::Tcp(_) | Transport::Poll(_) => {}
                Transport::Socket(mut socket) => {
                    let _ = WebSocketStream::close(&mut *socket, None).await;
                }
                Transport::Fix(link) => link.close().await,
                Transport::Zmq(link) => link.close().await,
            }
            if let Some(request) = farewell {
                let _ = request.send().await;
            }
        };
        let _ = timeout(CLOSE_MAX, goodbye).await;
    }
}

impl Transport {
    async fn read(&mut self, each: &mut impl FnMut(&[u8], i64)) -> Result<(), Failure> {
        match self {
            Transport::Tcp(lines) => lines.read(each).await,
            Transport::Poll(poller) => poller.read(each).await,
            Transport::Lines(stream) => {
                let chunk = stream.response.chunk().await;
                let chunk = chunk.map_err(|e| Failure::new(Cause::ReadError, causes(&e.without_url())))?;
                let Some(chunk) = chunk else { return Err(closed("the stream ended")) };
                let now_ns = clock::now_ns();
                let split = stream.splitter.push(&chunk, |line| each(line, now_ns));
                split.map_err(|e| Failure::new(Cause::ProtocolError, e.to_string()))
            }
            Transport::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    each(text.as_bytes(), socket.get_ref().get_ref().read_ns());
                    Ok(())
                }
                Some(Ok(Message::Binary(bytes))) => {
                    each(&bytes, socket.get_ref().get_ref().read_ns());
                    Ok(())
                }
                // The library answers pings, with their payload, when it is next polled.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
                Some(Ok(Message::Close(None))) | None => Err(closed("the connection was closed")),
                Some(Ok(Message::Close(Some(frame)))) => {
                    let reason = excerpt(frame.reason.as_bytes());
                    Err(closed(&format!("the connection was closed with code {} {reason}", frame.code)))
                }
                Some(Err(error)) => Err(ws_failure(error)),
            },
            Transport::Fix(link) => link.read(each).await,
            Transport::Zmq(link) => link.read(each).await,
        }
    }
}

fn closed(text: &str) -> Failure {
    Failure::new(Cause::ClosedByPeer, text.trim_end())
}

/// Connects a socket that small messages leave at once.
///
/// # Errors
/// [`Cause::ConnectFailed`] naming the host.
pub async fn tcp(host: &str, port: u16) -> Result<Stamped, Failure> {
    let failed = |e: std::io::Error| Failure::new(Cause::ConnectFailed, format!("{host}:{port}: {e}"));
    let socket = TcpStream::connect((host, port)).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    Ok(Stamped::from(socket))
}

/// Opens a WebSocket, over TLS for `wss`.
///
/// # Errors
/// When it cannot be connected, or the server answers with something else than a WebSocket.
pub async fn websocket(url: &str) -> Result<Connection, Failure> {
    connect(url, HeaderMap::new(), FRAME_BYTES_MAX).await
}

/// The same, with headers of one's own.
///
/// # Errors
/// See [`websocket`].
pub async fn websocket_with(url: &str, headers: HeaderMap) -> Result<Connection, Failure> {
    connect(url, headers, FRAME_BYTES_MAX).await
}

/// The same for messages of at most `frame_bytes_max`.
///
/// # Errors
/// See [`websocket`].
pub async fn websocket_of(url: &str, frame_bytes_max: usize) -> Result<Connection, Failure> {
    connect(url, HeaderMap::new(), frame_bytes_max).await
}

async fn connect(url: &str, headers: HeaderMap, frame_bytes_max: usize) -> Result<Connection, Failure> {
    install_crypto();
    let failed = |e: &dyn std::fmt::Display| Failure::new(Cause::ConnectFailed, e.to_string());
    let mut request = url.into_client_request().map_err(|e| failed(&e))?;
    request.headers_mut().extend(headers);
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_string();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    let stamped = tcp(&host, port).await?;
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER_BYTES;
    config.write_buffer_size = 0;
    config.max_message_size = Some(frame_bytes_max);
    config.max_frame_size = Some(frame_bytes_max);
    match client_async_tls_with_config(request, stamped, Some(config), None).await {
        Ok((socket, _)) => Ok(Connection { frame_bytes_max, ..Connection::over(Transport::Socket(Box::new(socket))) }),
        Err(WsError::Http(response)) => {
            let said = response.body().as_deref().map(excerpt).unwrap_or_default();
            let text = format!("HTTP {}: {said}", response.status());
            Err(Failure {
                cause: cause_of_status(response.status().as_u16()),
                text: text.trim_end_matches([':', ' ']).to_string(),
                retry_after: retry_after(response.headers().get("retry-after").map(|v| v.as_bytes())),
            })
        }
        Err(error) => Err(failed(&error)),
    }
}

fn ws_failure(error: WsError) -> Failure {
    match error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => closed("the connection was closed"),
        WsError::Io(error) => Failure::new(Cause::ReadError, error.to_string()),
        other => Failure::new(Cause::ProtocolError, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base_urls() {
        let http = &["http", "https"];
        assert_eq!(base_url("https://a.example.com/", http).unwrap(), "https://a.example.com");
        assert_eq!(base_url("http://127.0.0.1:80/prefix", http).unwrap(), "http://127.0.0.1:80/prefix");
        for text in ["", "a.example.com", "ws://a", "http://", "http://a?b=c", "http://user@a", "http://a b"] {
            let error = base_url(text, http).unwrap_err();
            assert!(error.contains("expected http:// or https://HOST"), "{text}: {error}");
        }
    }

    #[test]
    fn failures_hold_no_secret_and_no_control_characters() {
        let failure = Failure::new(Cause::LoginRefused, "bad password hunter2").without(&["hunter2", ""]);
        assert_eq!(failure.text, "bad password ********");
        assert_eq!(excerpt(b"a\r\n\x1b[31mb"), "a   [31mb");
        assert!(excerpt(&[b'x'; 10_000]).len() < 400);
    }
}
