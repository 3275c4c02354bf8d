//! FXCM's REST API with its socket.io stream, as the vendor's guide and sample clients describe it: sockets over WebSocket
//! alone (no long polling), in version 3 of the protocol below or 4, and requests that name an open socket in their bearer.
//! What refusals look like is not documented but for their form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::SinkExt;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;

use super::Server;
use super::event::{Event, Quote};
use super::exchange::{self, Dialect, Said};
use super::http::{Body, json_reply, query, text_reply, upgrade, value};
use super::hub::Hub;
use super::symbols::Symbol;
use crate::market::Price;

mod tables;

/// Between two pings, and how long after that a socket may say nothing.
const PING_INTERVAL_MS: u64 = 25_000;
const PING_TIMEOUT_MS: u64 = 60_000;

/// No form is longer.
const FORM_BYTES: usize = 64 * 1024;

/// What a socket has subscribed to.
type Wanted = Arc<Mutex<BTreeSet<usize>>>;

/// Open sockets by their ids.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<BTreeMap<String, Wanted>>);

impl Sockets {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Wanted>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the socket that a bearer names has subscribed to.
    fn of(&self, bearer: &[u8], token: &str) -> Option<Wanted> {
        let id = std::str::from_utf8(bearer).ok()?.strip_prefix("Bearer ")?.strip_suffix(token)?;
        self.with(|sockets| sockets.get(id).cloned())
    }
}

/// A request that was not executed, in words.
struct Refusal(String);

/// Answers one request.
pub(super) async fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().trim_matches('/').to_string();
    if path == "socket.io" {
        return socket(server, request);
    }
    let bearer = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some(wanted) = server.sockets.of(bearer, &server.secret) else {
        return text_reply(StatusCode::UNAUTHORIZED, "Unauthorized");
    };
    let (get, parts) = (request.method() == Method::GET, path.split('/').collect::<Vec<_>>());
    let answer = match parts[..] {
        ["subscribe"] if !get => subscribe(&server.hub, &wanted, &form(request).await),
        ["unsubscribe"] if !get => unsubscribe(&server.hub, &wanted, &form(request).await),
        ["trading", "get_instruments"] if get => Ok(tables::instruments(&server.hub)),
        ["trading", "get_model"] if get => tables::models(&server.hub, &query(&request)),
        ["candles", offer, period] if get => tables::candles(&server.hub, offer, period, &query(&request)),
        _ => return text_reply(StatusCode::NOT_FOUND, "Not Found"),
    };
    let answer = match answer {
        Ok(mut answer) => {
            answer["response"] = json!({ "executed": true, "error": "" });
            answer
        }
        Err(Refusal(words)) => json!({ "response": { "executed": false, "error": words } }),
    };
    json_reply(StatusCode::OK, &answer)
}

/// The pairs of a form.
async fn form(request: Request<Incoming>) -> Vec<(String, String)> {
    let body = Limited::new(request.into_body(), FORM_BYTES).collect().await;
    let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    // What cannot be read says nothing, and the endpoint complains of what is missing.
    let uri: Option<Uri> = format!("/?{text}").parse().ok();
    uri.and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok()).map_or_else(Vec::new, |query| query.0)
}

/// The symbols of a form.
fn pairs(hub: &Hub, form: &[(String, String)]) -> Result<Vec<usize>, Refusal> {
    let names: Vec<&str> = form.iter().filter(|(key, _)| key == "pairs").map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return Err(Refusal("Parameter pairs is required".into()));
    }
    let find = |name: &str| hub.find(|symbol| symbol.pair_name('/') == name);
    names.iter().map(|name| find(name).ok_or_else(|| Refusal(format!("Unknown symbol {name}")))).collect()
}

/// The answer shows the newest prices: one as a text, several as a list.
fn subscribe(hub: &Hub, wanted: &Wanted, form: &[(String, String)]) -> Result<Value, Refusal> {
    let found = pairs(hub, form)?;
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.extend(&found);
    // Not only when the socket looks: recordings begin when all have been subscribed.
    hub.subscribed(|symbol| wanted.contains(&symbol));
    let shown = |at: &usize| {
        let symbol = &hub.symbols[*at];
        hub.last(*at).map_or_else(|| json!({ "Symbol": symbol.pair_name('/') }).to_string(), |q| update(&q, symbol))
    };
    Ok(match &found[..] {
        [one] => json!({ "pairs": shown(one) }),
        several => {
            json!({ "pairs": several.iter().filter_map(|at| serde_json::from_str(&shown(at)).ok()).collect::<Vec<Value>>() })
        }
    })
}

fn unsubscribe(hub: &Hub, wanted: &Wanted, form: &[(String, String)]) -> Result<Value, Refusal> {
    let found = pairs(hub, form)?;
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    found.iter().for_each(|at| _ = wanted.remove(at));
    let names: Vec<String> = found.iter().map(|at| hub.symbols[*at].pair_name('/')).collect();
    Ok(if let [one] = &names[..] { json!({ "pairs": one }) } else { json!({ "pairs": names }) })
}

/// An update's JSON.
fn update(quote: &Quote, symbol: &Symbol) -> String {
    let far = 100 * symbol.point_e9();
    let moved = |price: Price, e9: i64| Price::from_e9(price.e9() + e9).unwrap_or(price);
    let mut text = String::with_capacity(128);
    let _ = write!(
        text,
        "{{\"Updated\":{},\"Rates\":[{},{},{},{}],\"Symbol\":\"{}\"}}",
        quote.event_ns.div_euclid(1_000_000),
        quote.bid,
        quote.ask,
        moved(quote.ask, far),
        moved(quote.bid, -far),
        symbol.pair_name('/'),
    );
    text
}

/// A new socket, or one that is told why it is none.
fn socket(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    let query = query(&request);
    let four = match value(&query, "EIO") {
        Some("3") => false,
        Some("4") => true,
        _ => return engine_error(5, "Unsupported protocol version"),
    };
    if value(&query, "transport") != Some("websocket") {
        return engine_error(0, "Transport unknown");
    }
    let known = value(&query, "access_token") == Some(&server.secret);
    let server = server.clone();
    upgrade(request, move |mut socket| async move {
        if known {
            let hub = server.hub.clone();
            return exchange::serve(hub, Socket::open(server, four), socket).await;
        }
        // The protocol opens before anybody asks who it is.
        let words = if four { r#"44{"message":"Authentication error"}"# } else { r#"44"Authentication error""# };
        for text in [hello("nobody"), words.to_string()] {
            let _ = socket.send(Frame::text(text)).await;
        }
        let _ = socket.close(None).await;
    })
}

fn engine_error(code: u32, message: &str) -> Response<Body> {
    json_reply(StatusCode::BAD_REQUEST, &json!({ "code": code, "message": message }))
}

fn hello(id: &str) -> String {
    let told = json!({ "sid": id, "upgrades": [], "pingInterval": PING_INTERVAL_MS, "pingTimeout": PING_TIMEOUT_MS });
    format!("0{told}")
}

/// One socket.
#[derive(Debug)]
struct Socket {
    server: Arc<Server>,
    /// Name of the connection, and in version 4 another one of the socket, which requests use.
    engine_id: String,
    id: String,
    four: bool,
    wanted: Wanted,
}

impl Socket {
    fn open(server: Arc<Server>, four: bool) -> Socket {
        let name = || std::iter::repeat_with(fastrand::alphanumeric).take(20).collect::<String>();
        let engine_id = name();
        let id = if four { name() } else { engine_id.clone() };
        let wanted = Wanted::default();
        server.sockets.with(|sockets| sockets.insert(id.clone(), wanted.clone()));
        Socket { server, engine_id, id, four, wanted }
    }

    fn wants(&self, symbol: usize) -> bool {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(&symbol)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.sockets.with(|sockets| sockets.remove(&self.id));
    }
}

impl Dialect for Socket {
    const BEAT_S: u64 = PING_INTERVAL_MS / 1_000;

    fn greeting(&mut self) -> Said {
        let hello = hello(&self.engine_id);
        let texts = if self.four { vec![hello] } else { vec![hello, "40".into()] };
        Said { texts, shown: Vec::new() }
    }

    fn command(&mut self, _: &Hub, text: &str) -> Said {
        match text.strip_prefix('2') {
            Some(said) if !self.four => Said::one(format!("3{said}")),
            None if self.four && text.starts_with("40") => Said::one(format!("40{}", json!({ "sid": self.id }))),
            // Pongs, and what this socket has no use for.
            _ => Said::default(),
        }
    }

    fn has(&self, symbol: usize) -> bool {
        self.wants(symbol)
    }

    fn wants(&self, event: &Event) -> bool {
        matches!(event, Event::Quote(_)) && self.wants(event.symbol())
    }

    fn words(&mut self, hub: &Hub, event: &Event) -> Vec<String> {
        let Event::Quote(quote) = event else { return Vec::new() };
        let symbol = &hub.symbols[quote.symbol];
        vec![format!("42[\"{}\",{}]", symbol.pair_name('/'), Value::String(update(quote, symbol)))]
    }

    /// Version 4 is pinged by the server.
    fn beat(&mut self, _: &Hub) -> Said {
        if self.four { Said::one("2".into()) } else { Said::default() }
    }

    fn patience(&self) -> Option<Duration> {
        Some(Duration::from_millis(PING_INTERVAL_MS + PING_TIMEOUT_MS))
    }
}
