//! ClickHouse's HTTP interface on a loopback listener.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::HeaderName;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::chdb::Progress;
use super::frames;
use super::pool::{Answer, Pool};
use super::reply::{self, Code, Failure};
use super::request::Head;
use super::secrets::Secrets;
use super::session::Job;

/// Connections served at once. The engine holds one per table (about ten); the rest is for people and their tools.
pub(super) const CONNECTIONS: usize = 64;
/// Connections over the limit that are told so; further ones are closed without a word.
const TURNED_AWAY: usize = 16;
/// Largest body, in bytes: a batch of 100,000 ticks has about 15 MB.
const BODY_MAX: usize = 256 << 20;
/// Largest body after unpacking, in bytes.
const UNPACKED_MAX: usize = 512 << 20;
/// Bytes of all bodies held at once.
const BODIES_MAX: usize = 512 << 20;
/// Bodies are counted in pieces of this size, since a semaphore counts to 2^61 but takes `u32` at once.
const BODY_UNIT: usize = 1 << 10;
/// Silence allowed in the middle of a body: the engine's own inserts are open for as long as a batch gathers.
const BODY_SILENCE: Duration = Duration::from_secs(300);
/// Time to send the head of a request; also how long a kept connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(300);

/// What was refused since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) connections_refused: AtomicU64,
    pub(super) overloaded: AtomicU64,
    pub(super) logins_refused: AtomicU64,
}

/// What every connection shares.
pub(super) struct Front {
    pub(super) pool: Pool,
    pub(super) secrets: Secrets,
    pub(super) version: String,
    pub(super) counters: Counters,
    pub(super) bodies: Arc<Semaphore>,
}

impl Front {
    pub(super) fn new(pool: Pool, secrets: Secrets, version: String) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES_MAX / BODY_UNIT));
        Self { pool, secrets, version, counters: Counters::default(), bodies }
    }
}

type Reply = Response<BoxBody<Bytes, std::io::Error>>;

/// Accepts until `stop` says so, then lets running requests end for at most `drain`.
pub(super) async fn serve(listener: TcpListener, front: Arc<Front>, mut stop: watch::Receiver<bool>, drain: Duration) {
    let (served, turned_away) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(TURNED_AWAY)));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors: the connections in hand will free some.
                    tracing::warn!(%error, "the store cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (permit, full) = match served.clone().try_acquire_owned() {
            Ok(permit) => (permit, false),
            Err(_) => {
                front.counters.connections_refused.fetch_add(1, Relaxed);
                match turned_away.clone().try_acquire_owned() {
                    Ok(permit) => (permit, true),
                    Err(_) => continue,
                }
            }
        };
        tokio::spawn(connection(stream, permit, full, front.clone(), stop.clone()));
    }
    drop(listener);
    if tokio::time::timeout(drain, served.acquire_many(CONNECTIONS as u32)).await.is_err() {
        tracing::warn!("the store stops with requests still running");
    }
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    full: bool,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) {
    let _permit = permit;
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(if full { overflow(&front) } else { answer(&front, request).await }) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(if full { Duration::from_secs(2) } else { HEAD_WITHIN });
    server.keep_alive(!full).max_buf_size(1 << 20);
    let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

fn overflow(front: &Front) -> Reply {
    let what = format!("{CONNECTIONS} connections are open already");
    failed(front, &Failure::new(Code::TooManySimultaneousQueries, what), "")
}

async fn answer(front: &Front, request: Request<Incoming>) -> Reply {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/ping" | "/replicas_status") => plain(200, "Ok.\n"),
        (&Method::GET | &Method::POST, "/" | "/stats") => {
            let id = query_id(&request);
            front.counters.requests.fetch_add(1, Relaxed);
            match query(front, request, &id).await {
                Ok(reply) => reply,
                Err(failure) => failed(front, &failure, &id),
            }
        }
        (_, path) => plain(404, format!("There is no handle {path}; queries go to /, a sign of life is at /ping.\n")),
    }
}

fn query_id(request: &Request<Incoming>) -> String {
    let wanted = request.uri().query().unwrap_or_default().split('&').find_map(|p| p.strip_prefix("query_id="));
    let usable = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    wanted.filter(usable).map_or_else(
        || {
            let (a, b) = (fastrand::u64(..), fastrand::u64(..));
            format!(
                "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                a >> 32,
                a >> 16 & 0xffff,
                a & 0xfff,
                b >> 52,
                b >> 4 & 0xffff_ffff_ffff
            )
        },
        str::to_owned,
    )
}

async fn query(front: &Front, request: Request<Incoming>, id: &str) -> Result<Reply, Failure> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let head = Head::read(parts.uri.query().unwrap_or_default(), header)?;
    let Some(user) = front.secrets.user(&head.user, &head.password) else {
        front.counters.logins_refused.fetch_add(1, Relaxed);
        let what = format!("{}: Authentication failed: password is incorrect, or there is no such user", head.user);
        return Err(Failure::new(Code::AuthenticationFailed, what));
    };
    if parts.uri.path() == "/stats" {
        return Ok(plain(200, stats(front)));
    }
    let (body, held) = read_body(front, body).await?;
    if parts.method == Method::GET && head.query.is_none() && body.is_empty() {
        return Ok(plain(200, "Ok.\n"));
    }
    let compress = head.compress;
    let job = Job { user, head, body, method_reads: parts.method == Method::GET, unpacked_max: UNPACKED_MAX };
    let answer = front.pool.run(job).await;
    drop(held);
    Ok(reply_of(answer?, compress, id, began))
}

/// Reads a body within the limits; the permit stands for its bytes.
async fn read_body(front: &Front, mut body: Incoming) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
    let too_large =
        || Failure::new(Code::MemoryLimitExceeded, format!("the body is larger than the limit of {BODY_MAX} bytes"));
    let reserve = |bytes: usize| {
        front.bodies.clone().try_acquire_many_owned(bytes.div_ceil(BODY_UNIT) as u32).map_err(|_| {
            Failure::new(Code::MemoryLimitExceeded, format!("bodies of {BODIES_MAX} bytes are held already, try again"))
        })
    };
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > BODY_MAX as u64 {
        return Err(too_large());
    }
    let mut held = reserve(announced as usize)?;
    let mut all = BytesMut::with_capacity(announced as usize);
    loop {
        let frame = tokio::time::timeout(BODY_SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| Failure::new(Code::Timeout, "the body stopped in the middle"))?;
        let Some(frame) = frame else { return Ok((all.freeze(), held)) };
        let frame = frame.map_err(|e| Failure::new(Code::BadArguments, format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > BODY_MAX {
            return Err(too_large());
        }
        if (all.len() + data.len()).div_ceil(BODY_UNIT) > held.num_permits() {
            held.merge(reserve(data.len())?);
        }
        all.extend_from_slice(&data);
    }
}

fn reply_of(answer: Answer, compress: bool, id: &str, began: Instant) -> Reply {
    let pack = move |bytes: Bytes| if compress { Bytes::from(frames::pack_frames(&bytes)) } else { bytes };
    let Answer { format, done, first, rest } = answer;
    let progress = done.unwrap_or(Progress::default());
    let body = if done.is_some() {
        Full::new(pack(first)).map_err(|never| match never {}).boxed()
    } else {
        let pieces = futures_util::stream::unfold((Some(first), rest), move |(first, mut rest)| async move {
            let piece = match first {
                Some(first) => Ok(first),
                None => rest.recv().await?,
            };
            // The text of a late error ends the body, as in ClickHouse, and the broken connection says that it is one.
            let piece = piece.map(|bytes| Frame::data(pack(bytes))).map_err(|f| std::io::Error::other(f.text));
            Some((piece, (None, rest)))
        });
        BodyExt::boxed(StreamBody::new(pieces))
    };
    let mut reply = Response::new(body);
    set(&mut reply, "content-type", if format.is_empty() { "text/plain" } else { reply::content_type(&format) });
    if !format.is_empty() {
        set(&mut reply, "x-clickhouse-format", &format);
    }
    set(&mut reply, "x-clickhouse-summary", &reply::summary(&progress, began.elapsed().as_nanos()));
    common(&mut reply, id);
    reply
}

fn failed(front: &Front, failure: &Failure, id: &str) -> Reply {
    front.counters.failed.fetch_add(1, Relaxed);
    if failure.code == 202 {
        front.counters.overloaded.fetch_add(1, Relaxed);
    }
    let mut text = failure.text.clone();
    if !text.contains("(version ") {
        text.push_str(&format!(" (version {})", front.version));
    }
    text.push('\n');
    let mut reply = plain(failure.status(), text);
    set(&mut reply, "x-clickhouse-exception-code", &failure.code.to_string());
    common(&mut reply, id);
    reply
}

fn stats(front: &Front) -> String {
    let c = &front.counters;
    let counts = [
        ("requests", &c.requests),
        ("failed", &c.failed),
        ("connections_refused", &c.connections_refused),
        ("overloaded", &c.overloaded),
        ("logins_refused", &c.logins_refused),
    ];
    let fields: Vec<String> = counts.iter().map(|(name, n)| format!("\"{name}\":{}", n.load(Relaxed))).collect();
    format!("{{{}}}\n", fields.join(","))
}

fn common(reply: &mut Reply, id: &str) {
    set(reply, "x-clickhouse-query-id", id);
    set(reply, "x-clickhouse-timezone", "UTC");
    set(reply, "x-clickhouse-server-display-name", "tickwire");
}

fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = value.parse() {
        reply.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

fn plain(status: u16, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed());
    *reply.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut reply, "content-type", "text/plain; charset=UTF-8");
    reply
}
