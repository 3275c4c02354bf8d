use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, VarInt};
use tickwire_schemas::control::{
    self, Catalogue, CloseCode, Control, ControlKind, ENGINE_CONTROL_BYTES_MAX, Goodbye, Hello, Ping, Pong, Subscribe,
    Subscribed, Unsubscribe, Welcome,
};
use tickwire_schemas::frame::{Frame, HEADER_BYTES};
use tickwire_schemas::{DATAGRAM_BYTES_MAX, WIRE_VERSION};
use tokio::sync::oneshot;

use crate::{Subscription, TerminalError, Trust};

/// How long an engine may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Unread bytes of one subscription: some 1,200 quotes. What a slow reader of `latest` has before the newest.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Streams the engine may open, one for each subscription.
const STREAMS_MAX: u32 = 64;

/// The engine's clock against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// How far the engine's clock is ahead of ours, nanoseconds.
    pub offset_ns: i64,
    /// Time on the way, both directions, nanoseconds.
    pub rtt_ns: i64,
}

/// A connection to an engine.
pub struct Terminal {
    connection: Connection,
    endpoint: Endpoint,
    send: tokio::sync::Mutex<SendStream>,
    welcome: Welcome,
    shared: Arc<Shared>,
    next_id: AtomicU32,
}

/// The stream of a subscription and what was read of it so far.
pub(crate) struct Opened {
    pub(crate) recv: RecvStream,
    pub(crate) buffer: BytesMut,
    pub(crate) subscribed: Subscribed,
}

#[derive(Default)]
struct Waiting {
    streams: HashMap<u32, oneshot::Sender<Result<Opened, TerminalError>>>,
    pongs: HashMap<u32, oneshot::Sender<(Pong, i64)>>,
    /// Why it ended, once it has.
    ended: Option<TerminalError>,
    /// The newest catalogue, if it has grown since the welcome.
    catalogue: Option<Arc<Catalogue>>,
}

#[derive(Default)]
pub(crate) struct Shared(Mutex<Waiting>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while holding it; if something did, the maps are still maps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's own words on why it ended, or else what the connection says.
    pub(crate) fn why(&self, error: TerminalError) -> TerminalError {
        self.lock().ended.clone().unwrap_or(error)
    }

    fn end(&self, error: TerminalError) {
        let mut waiting = self.lock();
        waiting.ended.get_or_insert(error);
        // Whoever waits for an answer sees its sender gone.
        waiting.streams.clear();
        waiting.pongs.clear();
    }
}

impl Terminal {
    /// Connects and says Hello. An empty token asks for anonymous access, which an engine may allow on its own machine.
    ///
    /// # Errors
    /// [`TerminalError`]: nobody there, another certificate, token or version refused.
    pub async fn connect(address: SocketAddr, trust: &Trust, token: &str) -> Result<Terminal, TerminalError> {
        match tokio::time::timeout(ANSWER_WITHIN, Terminal::greet(address, trust, token)).await {
            Ok(result) => result,
            Err(_) => Err(TerminalError::Connect { address, reason: "no answer in time".into() }),
        }
    }

    async fn greet(address: SocketAddr, trust: &Trust, token: &str) -> Result<Terminal, TerminalError> {
        if refuses(address) {
            return Err(TerminalError::Connect { address, reason: "connection refused: nobody listens there".into() });
        }
        let (endpoint, config) = client(address, trust)?;
        let failed = |e: &dyn std::fmt::Display| TerminalError::Connect { address, reason: e.to_string() };
        let connecting = endpoint.connect_with(config, address, trust.server_name()).map_err(|e| failed(&e))?;
        let connection = connecting.await.map_err(|e| match TerminalError::from(e) {
            TerminalError::Lost(reason) => TerminalError::Connect { address, reason },
            closed => closed,
        })?;
        let (mut send, mut recv) = connection.open_bi().await?;
        let hello = Hello {
            version: WIRE_VERSION,
            token: token.into(),
            client: concat!("tickwire-terminal/", env!("CARGO_PKG_VERSION")).into(),
            capabilities: Vec::new(),
        };
        send.write_all(&hello.to_frame()).await?;
        let mut buffer = BytesMut::new();
        let welcome = loop {
            let Some((kind, body)) = next_frame(&mut recv, &mut buffer).await? else {
                return Err(connection.closed().await.into());
            };
            match ControlKind::from_code(kind) {
                Some(ControlKind::Welcome) => break Welcome::from_body(&body)?,
                Some(ControlKind::Error) => return Err(TerminalError::Refused(control::Error::from_body(&body)?)),
                Some(ControlKind::Goodbye) => return Err(closed(&Goodbye::from_body(&body)?)),
                _ => {}
            }
        };
        if welcome.version > WIRE_VERSION {
            let text = format!("wire version {} where at most {WIRE_VERSION} was offered", welcome.version);
            return Err(TerminalError::Protocol(text));
        }
        let shared = Arc::new(Shared::default());
        tokio::spawn(read_control(recv, buffer, connection.clone(), shared.clone()));
        tokio::spawn(accept_streams(connection.clone(), shared.clone()));
        let send = tokio::sync::Mutex::new(send);
        Ok(Terminal { connection, endpoint, send, welcome, shared, next_id: AtomicU32::new(1) })
    }

    /// Who the engine is, its epoch, its catalogue and its limits.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The names of all ids as the engine last said them: those of the welcome, until more were added.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        let newest = self.shared.lock().catalogue.clone();
        newest.unwrap_or_else(|| Arc::new(self.welcome.catalogue.clone()))
    }

    /// A request for the newest common price of nothing yet: fill in `symbols`, and what else is to be different.
    #[must_use]
    pub fn request() -> Subscribe {
        Subscribe { kinds: vec![tickwire_schemas::words::Kind::Quote], ..Subscribe::default() }
    }

    /// Subscribes. The number of the request is chosen here.
    ///
    /// # Errors
    /// [`TerminalError::Refused`] with the engine's reason, or the connection's end.
    pub async fn subscribe(&self, request: Subscribe) -> Result<Subscription, TerminalError> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, opened) = oneshot::channel();
        self.shared.lock().streams.insert(id, sender);
        self.send(&Subscribe { id, ..request }).await?;
        match tokio::time::timeout(ANSWER_WITHIN, opened).await {
            Ok(Ok(opened)) => Ok(Subscription::new(opened?, self.shared.clone(), self.welcome.epoch)),
            Ok(Err(_)) => Err(self.shared.why(TerminalError::Lost("it ended".into()))),
            Err(_) => Err(TerminalError::Lost("no answer in time".into())),
        }
    }

    /// Ends a subscription: its stream ends after what is on the way.
    ///
    /// # Errors
    /// The connection's end.
    pub async fn unsubscribe(&self, subscription: &Subscription) -> Result<(), TerminalError> {
        self.send(&Unsubscribe { id: subscription.id() }).await
    }

    /// Compares the clocks.
    ///
    /// # Errors
    /// The connection's end, or no answer in time.
    pub async fn ping(&self) -> Result<ClockSample, TerminalError> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        self.shared.lock().pongs.insert(id, sender);
        self.send(&Ping { id, t1_ns: now_ns() }).await?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok((pong, t4_ns))) => {
                let (out, back) = (pong.t2_ns - pong.t1_ns, pong.t3_ns - t4_ns);
                Ok(ClockSample { offset_ns: (out + back) / 2, rtt_ns: out - back })
            }
            Ok(Err(_)) => Err(self.shared.why(TerminalError::Lost("it ended".into()))),
            Err(_) => Err(TerminalError::Lost("no answer in time".into())),
        }
    }

    /// Says goodbye and closes.
    pub async fn close(self) {
        let goodbye = Goodbye { code: CloseCode::Done.code(), reason: "done".into() };
        if self.send(&goodbye).await.is_ok() {
            let _ = self.send.lock().await.finish();
        }
        self.connection.close(VarInt::from_u32(CloseCode::Done.code()), b"done");
        let _ = tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }

    async fn send(&self, message: &impl Control) -> Result<(), TerminalError> {
        let sent = self.send.lock().await.write_all(&message.to_frame()).await;
        sent.map_err(|e| self.shared.why(e.into()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The reading tasks hold the connection as well: without this it would outlive its owner.
        self.connection.close(VarInt::from_u32(CloseCode::Done.code()), b"done");
    }
}

/// Whether this machine says at once that nobody listens on one of its own ports. QUIC itself would wait for an answer
/// until its time runs out. One byte is no QUIC packet: an engine drops it.
#[must_use]
pub fn refuses(address: SocketAddr) -> bool {
    let probe = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        socket.connect(address)?;
        socket.send(&[0])?;
        socket.set_nonblocking(true)?;
        socket.recv(&mut [0; 1])
    };
    address.ip().is_loopback() && probe().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn client(address: SocketAddr, trust: &Trust) -> Result<(Endpoint, quinn::ClientConfig), TerminalError> {
    let setup = |e: &dyn std::fmt::Display| TerminalError::Setup(e.to_string());
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(trust.client_config()?).map_err(|e| setup(&e))?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(0u8.into())
        .max_concurrent_uni_streams(STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        // Room for every stream, so that one that is not read does not hold up the others.
        .receive_window((STREAM_WINDOW_BYTES * (STREAMS_MAX + 1)).into())
        .keep_alive_interval(Some(Duration::from_secs(10)));
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    let local: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let mut endpoint = EndpointConfig::default();
    endpoint.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(|e| setup(&e))?;
    let socket = UdpSocket::bind(local).map_err(|e| setup(&e))?;
    let endpoint = Endpoint::new(endpoint, None, socket, Arc::new(quinn::TokioRuntime)).map_err(|e| setup(&e))?;
    Ok((endpoint, config))
}

/// The next frame of a stream; `None` at its end. What was read stays in `buffer` if this is cancelled.
pub(crate) async fn next_frame(
    recv: &mut RecvStream,
    buffer: &mut BytesMut,
) -> Result<Option<(u8, Bytes)>, TerminalError> {
    loop {
        let whole =
            Frame::split(buffer, ENGINE_CONTROL_BYTES_MAX)?.map(|(frame, _)| (frame.header.kind, frame.body.len()));
        if let Some((kind, length)) = whole {
            let frame = buffer.split_to(HEADER_BYTES + length).freeze();
            return Ok(Some((kind, frame.slice(HEADER_BYTES..))));
        }
        match recv.read_chunk(STREAM_WINDOW_BYTES as usize, true).await? {
            Some(chunk) => buffer.extend_from_slice(&chunk.bytes),
            None => return Ok(None),
        }
    }
}

async fn read_control(mut recv: RecvStream, mut buffer: BytesMut, connection: Connection, shared: Arc<Shared>) {
    let error = loop {
        match next_frame(&mut recv, &mut buffer).await {
            Ok(Some((kind, body))) => {
                if let Err(error) = on_control(kind, &body, &shared) {
                    break error;
                }
            }
            Ok(None) => break connection.closed().await.into(),
            Err(error) => break error,
        }
    };
    shared.end(error);
}

fn on_control(kind: u8, body: &[u8], shared: &Shared) -> Result<(), TerminalError> {
    match ControlKind::from_code(kind) {
        Some(ControlKind::Pong) => {
            let pong = Pong::from_body(body)?;
            if let Some(sender) = shared.lock().pongs.remove(&pong.id) {
                // Nobody waits any more when the caller gave up.
                let _ = sender.send((pong, now_ns()));
            }
        }
        Some(ControlKind::Error) => {
            let error = control::Error::from_body(body)?;
            match error.id.and_then(|id| shared.lock().streams.remove(&id)) {
                Some(sender) => drop(sender.send(Err(TerminalError::Refused(error)))),
                None => return Err(TerminalError::Refused(error)),
            }
        }
        Some(ControlKind::Goodbye) => return Err(closed(&Goodbye::from_body(body)?)),
        Some(ControlKind::Catalogue) => shared.lock().catalogue = Some(Arc::new(Catalogue::from_body(body)?)),
        // Subscribed comes on the subscription's stream as well, which is where it is wanted.
        _ => {}
    }
    Ok(())
}

fn closed(goodbye: &Goodbye) -> TerminalError {
    TerminalError::Closed { code: goodbye.code, reason: goodbye.reason.clone() }
}

async fn accept_streams(connection: Connection, shared: Arc<Shared>) {
    while let Ok(mut recv) = connection.accept_uni().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut buffer = BytesMut::new();
            if let Ok(Some((kind, body))) = next_frame(&mut recv, &mut buffer).await
                && kind == ControlKind::Subscribed.code()
                && let Ok(subscribed) = Subscribed::from_body(&body)
                && let Some(sender) = shared.lock().streams.remove(&subscribed.id)
            {
                drop(sender.send(Ok(Opened { recv, buffer, subscribed })));
            }
        });
    }
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}
