//! The mtapi.io vendor API: every endpoint a GET, a session token in `id`, errors as HTTP 201, quotes on `/OnQuote`, past
//! ticks on `/OnTickHistory`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::Server;
use super::event::{Event, Quote};
use super::http::{Body, WebSocket, json_reply, query, reply, text_reply, upgrade, value};
use super::hub::Hub;
use super::stamp::{self, ServerTime};
use super::symbols::Symbol;
use crate::clock;

mod account;
mod history;
mod ticks;

/// Logins that are remembered; the oldest is forgotten first.
const LOGINS_MAX: usize = 1_000;

/// Sessions by token.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<Vec<Arc<Login>>>);

/// One session: what it has subscribed to.
#[derive(Debug)]
struct Login {
    id: String,
    /// When its token is forgotten.
    ends: Option<Instant>,
    /// By symbol: the least time between two events, where it is subscribed.
    intervals: Mutex<Vec<Option<Duration>>>,
    /// Days of past ticks that were asked for.
    days: broadcast::Sender<ticks::Day>,
}

impl Logins {
    fn find(&self, id: &str) -> Option<Arc<Login>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|login| login.id == id && !login.is_over())
            .cloned()
    }

    fn add(&self, id: String, symbols: usize, life: Option<Duration>) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|login| login.id != id);
        if logins.len() == LOGINS_MAX {
            logins.remove(0);
        }
        let days = broadcast::Sender::new(ticks::DAYS_MAX);
        logins.push(Arc::new(Login {
            id,
            ends: life.map(|life| Instant::now() + life),
            intervals: Mutex::new(vec![None; symbols]),
            days,
        }));
    }

    fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|login| login.id != id);
    }
}

impl Login {
    fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Returns when its token is forgotten.
    async fn until_over(&self) {
        match self.ends {
            Some(ends) => tokio::time::sleep_until(ends).await,
            None => std::future::pending().await,
        }
    }

    fn interval(&self, symbol: usize) -> Option<Duration> {
        self.intervals.lock().unwrap_or_else(PoisonError::into_inner)[symbol]
    }
}

/// A documented code and what to say.
type Refusal = (&'static str, String);

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return text_reply(StatusCode::METHOD_NOT_ALLOWED, "");
    }
    let query = query(&request);
    let answer = match request.uri().path() {
        "/Connect" | "/ConnectEx" => connect(server, &query),
        "/OnQuote" => match login(server, &query) {
            Ok(login) => {
                let server = server.clone();
                Ok(upgrade(request, move |socket| quotes(server, login, socket)))
            }
            Err(refusal) => Err(refusal),
        },
        "/OnTickHistory" => match login(server, &query) {
            Ok(login) => {
                let server = server.clone();
                Ok(upgrade(request, move |socket| ticks::tell(server, login, socket)))
            }
            Err(refusal) => Err(refusal),
        },
        path => match endpoint(path) {
            Some(endpoint) => login(server, &query).and_then(|login| endpoint(server, &login, &query)),
            None => return text_reply(StatusCode::NOT_FOUND, ""),
        },
    };
    answer.unwrap_or_else(|(code, message)| {
        let status = value(&query, "errorReplyStatusCode").and_then(|s| s.parse().ok()).unwrap_or(201);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::CREATED);
        // Key order as the vendor prints it.
        let (message, code) = (json!(message), json!(code));
        reply(status, "application/json", format!("{{\"message\":{message},\"code\":{code},\"stackTrace\":\"\"}}"))
    })
}

type Endpoint = fn(&Server, &Login, &[(String, String)]) -> Result<Response<Body>, Refusal>;

fn endpoint(path: &str) -> Option<Endpoint> {
    Some(match path {
        "/CheckConnect" => |_, _, _| Ok(ok()),
        "/Disconnect" => |server, login, _| {
            server.logins.remove(&login.id);
            Ok(ok())
        },
        "/ServerTimezone" => |server, _, _| {
            let hours = server_time(&server.hub).offset_ns(clock::now_ns()) as f64 / 3.6e12;
            Ok(text_reply(StatusCode::OK, hours.to_string()))
        },
        "/AccountSummary" => |_, _, _| Ok(account::summary()),
        "/OpenedOrders" => |server, _, _| Ok(account::orders(server)),
        "/Symbols" => |server, _, _| Ok(account::symbols(server)),
        "/SymbolList" => |server, _, _| {
            let names: Vec<&str> = server.hub.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
            Ok(json_reply(StatusCode::OK, &json!(names)))
        },
        "/PriceHistory" => |server, _, query| history::between(server, query),
        "/PriceHistoryEx" => |server, _, query| history::last(server, query),
        "/TickHistoryRequest" => ticks::ask,
        "/GetQuote" => get_quote,
        "/Subscribe" | "/SubscribeMany" => subscribe,
        "/UnSubscribe" | "/UnSubscribeMany" => unsubscribe,
        _ => return None,
    })
}

fn ok() -> Response<Body> {
    text_reply(StatusCode::OK, "OK")
}

fn connect(server: &Server, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let config = &server.hub.config;
    if let Some(name) = value(query, "server").filter(|name| *name != config.server) {
        return Err(("CONNECT_ERROR", format!("Server {name} not found")));
    }
    let known = config.user.split(',').any(|user| value(query, "user") == Some(user.trim()));
    if !known || value(query, "password") != Some(&server.secret) {
        return Err(("INVALID_ACCOUNT", "Invalid account".into()));
    }
    let id = value(query, "id").filter(|id| !id.is_empty()).map_or_else(new_id, str::to_string);
    let life = Some(config.token_lifetime_s).filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()));
    server.logins.add(id.clone(), server.hub.symbols.len(), life);
    Ok(text_reply(StatusCode::OK, id))
}

/// A token in the form of a UUID.
fn new_id() -> String {
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

fn login(server: &Server, query: &[(String, String)]) -> Result<Arc<Login>, Refusal> {
    let id = value(query, "id").unwrap_or_default();
    server.logins.find(id).ok_or_else(|| ("INVALID_TOKEN", format!("Client with id = {id} not found")))
}

/// Indices of the symbols that a request names under `symbol` or `symbols`; all must be known.
fn named(hub: &Hub, query: &[(String, String)]) -> Result<Vec<usize>, Refusal> {
    let unknown = |name: &str| ("SYMBOL_NOT_FOUND", format!("Symbol {name} not found"));
    let names: Vec<&str> =
        query.iter().filter(|(key, _)| key == "symbol" || key == "symbols").map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return Err(unknown(""));
    }
    names.iter().map(|name| hub.find(|symbol| symbol.name == *name).ok_or_else(|| unknown(name))).collect()
}

fn subscribe(server: &Server, login: &Login, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let symbols = named(&server.hub, query)?;
    let interval = value(query, "interval").and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let mut intervals = login.intervals.lock().unwrap_or_else(PoisonError::into_inner);
    symbols.iter().for_each(|symbol| intervals[*symbol] = Some(Duration::from_millis(interval)));
    drop(intervals);
    // On a socket that is already open this may be what the recordings wait for.
    server.news.notify_waiters();
    Ok(ok())
}

fn unsubscribe(server: &Server, login: &Login, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let symbols = named(&server.hub, query)?;
    let mut intervals = login.intervals.lock().unwrap_or_else(PoisonError::into_inner);
    symbols.iter().for_each(|symbol| intervals[*symbol] = None);
    Ok(ok())
}

fn get_quote(server: &Server, _: &Login, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let symbol = *named(&server.hub, query)?.first().unwrap_or(&0);
    let quote = server.hub.last(symbol).ok_or_else(|| ("MARKET_CLOSED", "No quote yet".to_string()))?;
    let text = quote_data(&quote, &server.hub.symbols[symbol], server_time(&server.hub));
    Ok(reply(StatusCode::OK, "application/json", text))
}

fn server_time(hub: &Hub) -> ServerTime {
    // Checked when the configuration was read.
    ServerTime::parse(&hub.config.server_time).unwrap_or(ServerTime::Fixed(0))
}

/// A quote as the vendor prints it: numbers without trailing zeros, the broker's wall clock without an offset.
pub(super) fn quote_data(quote: &Quote, symbol: &Symbol, rule: ServerTime) -> String {
    let time = stamp::wall_clock(quote.event_ns, rule);
    let (name, bid, ask) = (&symbol.name, quote.bid, quote.ask);
    format!("{{\"symbol\":\"{name}\",\"bid\":{bid},\"ask\":{ask},\"time\":\"{time}\",\"last\":0,\"volume\":0}}")
}

async fn quotes(server: Arc<Server>, login: Arc<Login>, mut socket: WebSocket) {
    tokio::select! {
        _ = session(&server, &login, &mut socket) => {}
        () = server.hub.until_old(0) => {}
        () = login.until_over() => {}
        () = server.hub.until_cut() => {}
    }
}

/// Ends with the socket.
async fn session(server: &Server, login: &Login, socket: &mut WebSocket) -> Option<()> {
    let hub = &server.hub;
    let (mut source, rule) = (hub.source(), server_time(hub));
    let mut last_sent: Vec<Option<Instant>> = vec![None; hub.symbols.len()];
    loop {
        let news = server.news.notified();
        hub.subscribed(|symbol| login.interval(symbol).is_some());
        tokio::select! {
            () = news => {}
            // Pings are answered by the library when the next frame is read or written.
            frame = socket.next() => match frame?.ok()? {
                Frame::Close(_) => return None,
                _ => socket.flush().await.ok()?,
            },
            batch = source.next(|e| matches!(e, Event::Quote(_)) && login.interval(e.symbol()).is_some()) => {
                let mut batch = batch;
                if hub.is_live() {
                    batch.events.retain(|e| !too_soon(e.symbol(), login, &mut last_sent));
                }
                for event in &batch.events {
                    if let Event::Quote(quote) = event {
                        let data = quote_data(quote, &hub.symbols[quote.symbol], rule);
                        let text = format!("{{\"type\":\"Quote\",\"id\":\"{}\",\"data\":{data}}}", login.id);
                        socket.feed(Frame::text(text)).await.ok()?;
                    }
                }
                socket.flush().await.ok()?;
                source.sent(&batch);
            }
        }
    }
}

/// Whether less than the subscription's interval has passed since the last event of the symbol; if not, one is noted.
fn too_soon(symbol: usize, login: &Login, last_sent: &mut [Option<Instant>]) -> bool {
    let (now, interval) = (Instant::now(), login.interval(symbol).unwrap_or_default());
    if last_sent[symbol].is_some_and(|last| now < last + interval) {
        return true;
    }
    last_sent[symbol] = Some(now);
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::Size;

    #[test]
    fn quotes_are_written_as_documented() {
        let size = Size::from_e8(1).unwrap();
        let (bid, ask) = ("1.08510".parse().unwrap(), "1.08523".parse().unwrap());
        // 10:15:30.123 on the wall of a server three hours ahead of UTC.
        let event_ns = 1_715_930_130_123_000_000;
        let quote = Quote { symbol: 0, event_ns, bid, ask, bid_size: size, ask_size: size, update_id: 0 };
        assert_eq!(
            quote_data(&quote, &Symbol::named("EURUSD"), ServerTime::NewYorkClose),
            r#"{"symbol":"EURUSD","bid":1.0851,"ask":1.08523,"time":"2024-05-17T10:15:30.123","last":0,"volume":0}"#
        );
    }

    #[test]
    fn tokens_look_like_uuids_and_the_oldest_login_is_forgotten() {
        let id = new_id();
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        let logins = Logins::default();
        (0..=LOGINS_MAX).for_each(|n| logins.add(n.to_string(), 1, None));
        assert!(logins.find("0").is_none() && logins.find("1").is_some() && logins.find("1000").is_some());
    }
}
