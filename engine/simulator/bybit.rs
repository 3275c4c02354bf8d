//! Bybit v5, public streams: topics by the ten, pings as messages, and the best level again after three quiet seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::event::{Event, Quote, Trade};
use super::exchange::{self, Dialect, Said};
use super::http::{Body, text_reply, upgrade};
use super::hub::Hub;
use super::symbols::{Symbol, fixed};
use crate::clock;

/// A client that says nothing for so long is sent away.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A book that has not changed for so long is sent again.
const REPEAT_AFTER_NS: i64 = 3_000_000_000;

/// Topics of one request, on the spot market.
const ARGUMENTS_MAX: usize = 10;

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    let category = request.uri().path().strip_prefix("/v5/public/").unwrap_or_default();
    let arguments_max = match category {
        "spot" => ARGUMENTS_MAX,
        "linear" | "inverse" => usize::MAX,
        _ => return text_reply(StatusCode::NOT_FOUND, "404 page not found"),
    };
    let hub = server.hub.clone();
    let dialect = Bybit { arguments_max, books: BTreeMap::new(), trades: BTreeSet::new() };
    upgrade(request, move |socket| exchange::serve(hub, dialect, socket))
}

/// What a connection has subscribed to.
#[derive(Debug)]
struct Bybit {
    arguments_max: usize,
    /// With the time at which each was last sent.
    books: BTreeMap<usize, i64>,
    trades: BTreeSet<usize>,
}

impl Dialect for Bybit {
    const BEAT_S: u64 = 1;

    fn command(&mut self, hub: &Hub, text: &str) -> Said {
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return Said::one(answer(&Value::Null, false, "error:request invalid", ""));
        };
        match request["op"].as_str() {
            Some("ping") => Said::one(answer(&request["req_id"], true, "pong", "ping")),
            Some(op @ ("subscribe" | "unsubscribe")) => self.turn(hub, op, &request),
            _ => Said::one(answer(&request["req_id"], false, "error:op not supported", "")),
        }
    }

    fn has(&self, symbol: usize) -> bool {
        self.books.contains_key(&symbol) || self.trades.contains(&symbol)
    }

    fn wants(&self, event: &Event) -> bool {
        match event {
            Event::Quote(quote) => self.books.contains_key(&quote.symbol),
            Event::Trade(trade) => self.trades.contains(&trade.symbol),
            Event::Message(_) => false,
        }
    }

    fn words(&mut self, hub: &Hub, event: &Event) -> Vec<String> {
        let symbol = &hub.symbols[event.symbol()];
        match event {
            Event::Quote(quote) => {
                self.books.insert(quote.symbol, clock::now_ns());
                vec![book(quote, symbol, quote.event_ns)]
            }
            Event::Trade(made) => vec![trade(made, symbol)],
            Event::Message(_) => Vec::new(),
        }
    }

    fn beat(&mut self, hub: &Hub) -> Said {
        let (mut said, now_ns) = (Said::default(), clock::now_ns());
        // A muted broker shows no prices, repeats among them.
        for (at, sent_ns) in self.books.iter_mut().filter(|_| !hub.is_muted()) {
            let Some(quote) = hub.last(*at).filter(|_| now_ns - *sent_ns >= REPEAT_AFTER_NS) else { continue };
            *sent_ns = now_ns;
            said.texts.push(book(&quote, &hub.symbols[*at], now_ns));
            said.shown.push(Event::Quote(quote));
        }
        said
    }

    fn patience(&self) -> Option<Duration> {
        Some(IDLE_MAX)
    }
}

impl Bybit {
    /// Subscribes all topics of a request, or none.
    fn turn(&mut self, hub: &Hub, op: &str, request: &Value) -> Said {
        let id = &request["req_id"];
        let topics: Vec<&str> = request["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if topics.len() > self.arguments_max {
            return Said::one(answer(id, false, "args size >10", op));
        }
        let mut found = Vec::new();
        for topic in &topics {
            let parts = [("orderbook.1.", false), ("publicTrade.", true)];
            let named = parts.iter().find_map(|(part, is_trade)| Some((topic.strip_prefix(part)?, *is_trade)));
            let known = named.and_then(|(name, is_trade)| Some((hub.find(|symbol| symbol.name == name)?, is_trade)));
            match known {
                Some(known) => found.push(known),
                None => return Said::one(answer(id, false, &format!("error:handler not found,topic:{topic}"), op)),
            }
        }
        let mut said = Said::one(answer(id, true, "", op));
        let now_ns = clock::now_ns();
        for (at, is_trade) in found {
            match (is_trade, op == "subscribe") {
                (true, true) => {
                    self.trades.insert(at);
                }
                (true, false) => {
                    self.trades.remove(&at);
                }
                (false, false) => {
                    self.books.remove(&at);
                }
                (false, true) => {
                    self.books.insert(at, now_ns);
                    if let Some(quote) = hub.last(at).filter(|_| !hub.is_muted()) {
                        said.texts.push(book(&quote, &hub.symbols[at], now_ns));
                        said.shown.push(Event::Quote(quote));
                    }
                }
            }
        }
        said
    }
}

fn answer(id: &Value, success: bool, words: &str, op: &str) -> String {
    let mut answer = json!({ "success": success, "ret_msg": words, "op": op,
        "conn_id": "cf71cb32-e914-4a8e-8ea5-8b1c6c1d5ba8" });
    if !id.is_null() {
        answer["req_id"] = id.clone();
    }
    answer.to_string()
}

/// The best level as the exchange prints it, made at `at_ns`.
fn book(quote: &Quote, symbol: &Symbol, at_ns: i64) -> String {
    let millis = |ns: i64| ns.div_euclid(1_000_000);
    format!(
        "{{\"topic\":\"orderbook.1.{0}\",\"ts\":{1},\"type\":\"snapshot\",\"data\":{{\"s\":\"{0}\",\"b\":[[\"{2}\",\"{3}\"]],\
         \"a\":[[\"{4}\",\"{5}\"]],\"u\":{6},\"seq\":{6}}},\"cts\":{7}}}",
        symbol.name,
        millis(at_ns),
        fixed(quote.bid, symbol.digits),
        quote.bid_size,
        fixed(quote.ask, symbol.digits),
        quote.ask_size,
        quote.update_id,
        millis(quote.event_ns),
    )
}

/// A trade as the exchange prints it, with an id that is no number.
fn trade(trade: &Trade, symbol: &Symbol) -> String {
    let millis = trade.event_ns.div_euclid(1_000_000);
    format!(
        "{{\"topic\":\"publicTrade.{0}\",\"type\":\"snapshot\",\"ts\":{millis},\"data\":[{{\"T\":{millis},\"s\":\"{0}\",\
         \"S\":\"{1}\",\"v\":\"{2}\",\"p\":\"{3}\",\"L\":\"PlusTick\",\"i\":\"20f43950-d8dd-5b31-9112-{4:012x}\",\"BT\":false,\
         \"seq\":{4}}}]}}",
        symbol.name,
        if trade.buyer_is_maker { "Sell" } else { "Buy" },
        trade.size,
        fixed(trade.price, symbol.digits),
        trade.id,
    )
}
