//! Binance market streams, of spot and of USD-M futures: combined and raw connections, live (un)subscription, server pings, their limits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::config::Broker;
use super::event::{Event, Quote, Trade};
use super::http::{Body, WebSocket, query, text_reply, upgrade, value};
use super::hub::Hub;
use super::symbols::{Symbol, pad};
use super::{Server, binance_usdm};
use crate::clock;

/// Ping frames come this often (as of spot; the futures' are rarer),
const PING_S: u64 = 20;
/// and must be answered within this.
const PONG_WITHIN: Duration = Duration::from_secs(60);
/// A connection lives no longer.
const LIFE_S: u64 = 24 * 60 * 60;
/// Frames that a client may send in a second.
const FRAMES_PER_SECOND: usize = 5;
/// Streams of one connection.
const STREAMS_MAX: usize = 1_024;

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let futures = server.hub.config.broker == Broker::BinanceUsdm;
    let (path, kinds): (_, &[&str]) = if futures { binance_usdm::part(path) } else { (path, &["bookTicker", "trade"]) };
    let (combined, names) = match path.strip_prefix("/ws") {
        _ if path == "/stream" => (true, value(&query(&request), "streams").unwrap_or_default().to_string()),
        Some("") => (false, String::new()),
        Some(rest) if rest.starts_with('/') => (false, rest[1..].to_string()),
        _ => return text_reply(StatusCode::NOT_FOUND, "<html><body><h2>404 Not found</h2></body></html>"),
    };
    let mut streams = Streams { combined, futures, kinds, names: Vec::new() };
    for name in names.split('/').filter(|name| !name.is_empty()) {
        if let Err(problem) = streams.add(&server.hub, name) {
            return text_reply(StatusCode::BAD_REQUEST, problem);
        }
    }
    let hub = server.hub.clone();
    upgrade(request, move |socket| serve(hub, streams, socket))
}

/// What a connection has subscribed to.
#[derive(Debug)]
struct Streams {
    combined: bool,
    /// In the futures' words.
    futures: bool,
    /// Streams of this part of the service.
    kinds: &'static [&'static str],
    /// Names in the order of subscription, as `LIST_SUBSCRIPTIONS` gives them.
    names: Vec<String>,
}

impl Streams {
    fn add(&mut self, hub: &Hub, name: &str) -> Result<(), String> {
        let known = name.split_once('@').is_some_and(|(symbol, kind)| {
            self.kinds.contains(&kind) && hub.find(|s| s.name.to_lowercase() == symbol).is_some()
        });
        if !known {
            return Err(format!("Invalid request: unknown stream {name}"));
        }
        if self.names.len() >= STREAMS_MAX {
            return Err("Invalid request: too many streams".into());
        }
        if !self.names.iter().any(|n| n == name) {
            self.names.push(name.to_string());
        }
        Ok(())
    }

    fn wants(&self, hub: &Hub, event: &Event) -> bool {
        match event {
            Event::Message(message) => self.names.iter().any(|name| **name == *message.stream),
            Event::Quote(_) | Event::Trade(_) => self.has(&hub.symbols[event.symbol()], event.is_trade()),
        }
    }

    fn has(&self, symbol: &Symbol, is_trade: bool) -> bool {
        let kind = if is_trade { self.trade_kind() } else { "bookTicker" };
        let fits = |(name, k): (&str, &str)| k == kind && name.eq_ignore_ascii_case(&symbol.name);
        self.names.iter().any(|name| name.split_once('@').is_some_and(fits))
    }

    /// The stream of trades that this part of the service has: each has one.
    fn trade_kind(&self) -> &'static str {
        if self.kinds.contains(&"aggTrade") { "aggTrade" } else { "trade" }
    }

    fn book_ticker(&self, quote: &Quote, symbol: &Symbol) -> String {
        if self.futures { binance_usdm::book_ticker(quote, symbol) } else { book_ticker(quote, symbol) }
    }

    fn trade_json(&self, trade: &Trade, symbol: &Symbol) -> String {
        let added_up = self.trade_kind() == "aggTrade";
        if self.futures { binance_usdm::trade_json(trade, symbol, added_up) } else { trade_json(trade, symbol) }
    }

    /// The event in the words of this connection.
    fn words(&self, hub: &Hub, event: &Event) -> Bytes {
        let (payload, kind) = match event {
            Event::Message(message) if self.combined => return message.text.clone(),
            Event::Message(message) => return message.text.slice(message.payload.clone()),
            Event::Quote(quote) => (self.book_ticker(quote, &hub.symbols[quote.symbol]), "bookTicker"),
            Event::Trade(trade) => (self.trade_json(trade, &hub.symbols[trade.symbol]), self.trade_kind()),
        };
        if !self.combined {
            return payload.into();
        }
        let name = hub.symbols[event.symbol()].name.to_lowercase();
        format!("{{\"stream\":\"{name}@{kind}\",\"data\":{payload}}}").into()
    }
}

/// A best bid and ask as the exchange prints it: no time, no event name.
pub(super) fn book_ticker(quote: &Quote, symbol: &Symbol) -> String {
    let eight = |text: String| pad(text, 8);
    format!(
        "{{\"u\":{},\"s\":\"{}\",\"b\":\"{}\",\"B\":\"{}\",\"a\":\"{}\",\"A\":\"{}\"}}",
        quote.update_id,
        symbol.name,
        eight(quote.bid.to_string()),
        eight(quote.bid_size.to_string()),
        eight(quote.ask.to_string()),
        eight(quote.ask_size.to_string()),
    )
}

/// A trade as the exchange prints it.
pub(super) fn trade_json(trade: &Trade, symbol: &Symbol) -> String {
    let millis = trade.event_ns.div_euclid(1_000_000);
    format!(
        "{{\"e\":\"trade\",\"E\":{millis},\"s\":\"{}\",\"t\":{},\"p\":\"{}\",\"q\":\"{}\",\"T\":{millis},\"m\":{},\"M\":true}}",
        symbol.name,
        trade.id,
        pad(trade.price.to_string(), 8),
        pad(trade.size.to_string(), 8),
        trade.buyer_is_maker,
    )
}

async fn serve(hub: Arc<Hub>, streams: Streams, mut socket: WebSocket) {
    let farewell = tokio::select! {
        farewell = session(&hub, streams, &mut socket) => farewell,
        () = hub.until_old(LIFE_S) => Some((CloseCode::Normal, "connection too old")),
        () = hub.until_cut() => None,
    };
    if let Some((code, reason)) = farewell {
        // A client that does not listen any more need not hear it.
        let _ = socket.close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })).await;
    }
}

/// Why the server ends a connection; `None` when it is already gone.
type Farewell = Option<(CloseCode, &'static str)>;

async fn session(hub: &Arc<Hub>, mut streams: Streams, socket: &mut WebSocket) -> Farewell {
    let mut source = hub.source();
    let mut ping = hub.heartbeat(PING_S);
    let mut unanswered: VecDeque<(Bytes, Instant)> = VecDeque::new();
    let mut received: VecDeque<Instant> = VecDeque::new();
    loop {
        hub.subscribed(|symbol| [true, false].iter().any(|trade| streams.has(&hub.symbols[symbol], *trade)));
        tokio::select! {
            _ = ping.tick() => {
                if unanswered.front().is_some_and(|(_, at)| at.elapsed() > PONG_WITHIN) {
                    return Some((CloseCode::Policy, "Pong timeout"));
                }
                let payload = Bytes::from((clock::now_ns() / 1_000_000).to_string());
                unanswered.push_back((payload.clone(), Instant::now()));
                socket.send(Frame::Ping(payload)).await.ok()?;
            }
            frame = socket.next() => {
                let frame = frame?.ok()?;
                if too_many(&mut received) {
                    return Some((CloseCode::Policy, "Too many requests"));
                }
                match frame {
                    Frame::Text(text) => {
                        let reply = command(hub, &mut streams, &text);
                        socket.send(Frame::text(reply)).await.ok()?;
                    }
                    // A pong answers its ping and all before it; an unsolicited one answers nothing.
                    Frame::Pong(payload) => {
                        if let Some(at) = unanswered.iter().position(|(sent, _)| *sent == payload) {
                            unanswered.drain(..=at);
                        }
                    }
                    Frame::Close(_) => return None,
                    _ => socket.flush().await.ok()?,
                }
            }
            batch = source.next(|event| streams.wants(hub, event)) => {
                for event in &batch.events {
                    // Ours is text of ASCII, recordings were checked when they were read.
                    let text = Utf8Bytes::try_from(streams.words(hub, event)).ok()?;
                    socket.feed(Frame::Text(text)).await.ok()?;
                }
                socket.flush().await.ok()?;
                source.sent(&batch);
            }
        }
    }
}

/// Notes a frame, and says whether the limit of the second is broken.
fn too_many(received: &mut VecDeque<Instant>) -> bool {
    let now = Instant::now();
    received.retain(|at| now - *at < Duration::from_secs(1));
    received.push_back(now);
    received.len() > FRAMES_PER_SECOND
}

/// Obeys a request and gives the reply to it.
fn command(hub: &Hub, streams: &mut Streams, text: &str) -> String {
    let error =
        |code: u8, message: String, id: &Value| json!({"error": {"code": code, "msg": message}, "id": id}).to_string();
    let request: Value = match serde_json::from_str(text) {
        Ok(request) => request,
        Err(e) => return error(3, format!("Invalid JSON: {e}"), &Value::Null),
    };
    let id = &request["id"];
    if !(id.is_u64() || id.is_string() || id.is_null()) {
        return error(2, "Invalid request: request ID must be an unsigned integer".into(), &Value::Null);
    }
    let Some(method) = request["method"].as_str() else {
        return error(2, "Invalid request: missing field `method`".into(), id);
    };
    let names: Vec<&str> =
        request["params"].as_array().map_or_else(Vec::new, |p| p.iter().filter_map(Value::as_str).collect());
    match method {
        "SUBSCRIBE" => {
            for name in names {
                if let Err(problem) = streams.add(hub, name) {
                    return error(2, problem, id);
                }
            }
        }
        "UNSUBSCRIBE" => streams.names.retain(|name| !names.contains(&name.as_str())),
        "LIST_SUBSCRIPTIONS" => return format!("{{\"result\":{},\"id\":{id}}}", json!(streams.names)),
        other => {
            let known = "expected one of SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS";
            return error(2, format!("Invalid request: unknown variant {other}, {known}"), id);
        }
    }
    format!("{{\"result\":null,\"id\":{id}}}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::{Price, Size};

    #[test]
    fn messages_are_written_as_recorded() {
        let p = |text: &str| text.parse::<Price>().unwrap();
        let s = |text: &str| text.parse::<Size>().unwrap();
        let (bid, ask, bid_size, ask_size) = (p("61837.63"), p("61837.64"), s("3.78826"), s("1.54698"));
        let quote = Quote { symbol: 0, event_ns: 0, bid, ask, bid_size, ask_size, update_id: 50_093_239_212 };
        let symbol = Symbol::named("BTCUSDT");
        assert_eq!(
            book_ticker(&quote, &symbol),
            r#"{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}"#
        );
        let event_ns = 1_723_161_255_343_999_999;
        let trade = Trade { symbol: 0, event_ns, price: bid, size: s("0.02"), id: 3_735_683_259, buyer_is_maker: true };
        assert_eq!(
            trade_json(&trade, &symbol),
            r#"{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255343,"m":true,"M":true}"#
        );
    }
}
