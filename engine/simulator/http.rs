//! The HTTP of the simulated brokers: replies, query strings, a streaming body, and the step up to a WebSocket.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::config::Broker;
use super::{
    Server, binance, bybit, candles, coinbase, ctrader, dwx, fxcm, kraken, listing, mql5_json_api, mtapi,
    mtapi_accounts, mtsocketapi, oanda,
};

/// A reply's body: whole or streamed.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// A WebSocket on a connection that began as HTTP.
pub(super) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// Nothing that a client says to these brokers is longer.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Serves one connection until it ends or all connections are cut.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream) {
    // Prices are small and urgent.
    let _ = stream.set_nodelay(true);
    match server.hub.config.broker {
        Broker::Ctrader if begins_with(&stream, b'8').await => return ctrader::serve(server, stream).await,
        Broker::Mtsocketapi if begins_with(&stream, b'{').await => return mtsocketapi::commands(server, stream).await,
        Broker::Dwx if begins_with(&stream, 0xff).await => return dwx::commands(server, stream).await,
        Broker::Mql5JsonApi if begins_with(&stream, 0xff).await => {
            return mql5_json_api::requests(server, stream).await;
        }
        _ => {}
    }
    let cut = server.clone();
    let service = hyper::service::service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(route(&server, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error is the client's: it went away or does not speak HTTP.
        _ = connection.with_upgrades() => {}
        () = cut.hub.until_cut() => {}
    }
}

/// Whether a client begins as those of the broker's own protocol do; others come for `/__sim/`.
async fn begins_with(stream: &TcpStream, byte: u8) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0] == byte
}

async fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    if let Some(command) = request.uri().path().strip_prefix("/__sim/") {
        return control(server, command, &request);
    }
    if let Some(reply) = candles::route(server, &request).or_else(|| listing::route(server, &request)) {
        return reply;
    }
    match server.hub.config.broker {
        Broker::Oanda => oanda::route(server, &request),
        Broker::Mtapi => mtapi::route(server, request),
        Broker::MtapiAccounts => mtapi_accounts::route(server, &request),
        Broker::Binance | Broker::BinanceUsdm => binance::route(server, request),
        Broker::Kraken => kraken::route(server, request),
        Broker::Coinbase => coinbase::route(server, request),
        Broker::Bybit => bybit::route(server, request),
        Broker::Fxcm => fxcm::route(server, request).await,
        Broker::Ctrader => text_reply(StatusCode::NOT_FOUND, "this broker speaks FIX"),
        Broker::Mtsocketapi => text_reply(StatusCode::NOT_FOUND, "this broker speaks JSON lines"),
        Broker::Dwx | Broker::Mql5JsonApi => text_reply(StatusCode::NOT_FOUND, "this broker speaks ZeroMQ"),
    }
}

/// Not part of any broker: what was sent, and moods on demand.
fn control(server: &Arc<Server>, command: &str, request: &Request<Incoming>) -> Response<Body> {
    let hub = &server.hub;
    match (request.method(), command) {
        (&Method::GET, "stats") => json_reply(StatusCode::OK, &json!(hub.stats())),
        (&Method::POST, "mute") => {
            hub.set_muted(true);
            json_reply(StatusCode::OK, &json!({"muted": true}))
        }
        (&Method::POST, "unmute") => {
            hub.set_muted(false);
            json_reply(StatusCode::OK, &json!({"muted": false}))
        }
        (&Method::POST, "drop") => {
            hub.cut();
            json_reply(StatusCode::OK, &json!({"dropped": true}))
        }
        _ => text_reply(StatusCode::NOT_FOUND, "expected GET stats, or POST mute, unmute or drop"),
    }
}

/// A whole body of some type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON body.
pub(super) fn json_reply(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    reply(status, "application/json", value.to_string())
}

/// A plain text body.
pub(super) fn text_reply(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    reply(status, "text/plain; charset=utf-8", text)
}

/// The query's pairs, decoded, in order.
pub(super) fn query<B>(request: &Request<B>) -> Vec<(String, String)> {
    // A query that cannot be decoded says nothing, and the endpoint complains of what is missing.
    axum::extract::Query::try_from_uri(request.uri()).map_or_else(|_| Vec::new(), |query| query.0)
}

/// The first value of a key.
pub(super) fn value<'a>(query: &'a [(String, String)], key: &str) -> Option<&'a str> {
    query.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// Where a streamed body is written.
#[derive(Debug)]
pub(super) struct Outlet(mpsc::Sender<Bytes>);

/// The reader went away.
#[derive(Debug)]
pub(super) struct Gone;

impl Outlet {
    /// Writes, and returns when the connection has taken it: a slow reader makes us wait.
    pub(super) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(bytes.into()).await.map_err(|_| Gone)?;
        // There is room for one: room again means that it was taken.
        self.0.reserve().await.map(|_| ()).map_err(|_| Gone)
    }

    /// Returns when the reader has gone away.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A chunked body and where to write it.
pub(super) fn streamed(content_type: &'static str) -> (Outlet, Response<Body>) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    (Outlet(sender), response)
}

/// Switches to WebSocket and runs `session` on it; a request that does not ask for that is refused.
pub(super) fn upgrade<F>(
    mut request: Request<Incoming>,
    session: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = ()> + Send,
{
    let headers = request.headers();
    let asks = headers.get(header::UPGRADE).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks) else {
        return text_reply(StatusCode::UPGRADE_REQUIRED, "expected a WebSocket upgrade");
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES));
            session(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await).await;
        }
    });
    let mut response = Response::new(Full::default().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
