//! Kraken, WebSocket v2: `ticker` with its triggers, `trade`, heartbeats, pings, and an answer for every symbol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::event::{Event, Quote, Trade};
use super::exchange::{self, Dialect, Said};
use super::http::{Body, text_reply, upgrade};
use super::hub::Hub;
use super::stamp::rfc3339_micros;
use super::symbols::{Symbol, fixed, pad};
use crate::clock;

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/v2" {
        return text_reply(StatusCode::NOT_FOUND, "Not found");
    }
    let hub = server.hub.clone();
    upgrade(request, move |socket| exchange::serve(hub, Kraken::default(), socket))
}

/// When a ticker is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// At every change of the best price.
    Bbo,
    /// At every trade, which is what a client gets that does not ask.
    Trades,
}

/// What a connection has subscribed to.
#[derive(Debug, Default)]
struct Kraken {
    tickers: BTreeMap<usize, Trigger>,
    trades: BTreeSet<usize>,
}

impl Dialect for Kraken {
    const BEAT_S: u64 = 1;

    fn greeting(&mut self) -> Said {
        Said::one(
            json!({ "channel": "status", "type": "update", "data": [{ "version": "2.0.10", "system": "online",
                "api_version": "v2", "connection_id": 12_393_906_104_898_154_338_u64 }] })
            .to_string(),
        )
    }

    fn command(&mut self, hub: &Hub, text: &str) -> Said {
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return refused(&json!({ "error": "Malformed request" }), &Value::Null);
        };
        match request["method"].as_str() {
            Some("ping") => Said::one(answer(&json!({ "method": "pong" }), &request["req_id"])),
            Some(method @ ("subscribe" | "unsubscribe")) => {
                let mut said = Said::default();
                for symbol in request["params"]["symbol"].as_array().into_iter().flatten() {
                    let one = self.turn(hub, method, &request, symbol);
                    said.texts.extend(one.texts);
                    said.shown.extend(one.shown);
                }
                said
            }
            _ => refused(&json!({ "error": "Unsupported method", "method": request["method"] }), &request["req_id"]),
        }
    }

    fn has(&self, symbol: usize) -> bool {
        self.tickers.contains_key(&symbol) || self.trades.contains(&symbol)
    }

    fn wants(&self, event: &Event) -> bool {
        let trigger = self.tickers.get(&event.symbol());
        match event {
            Event::Quote(_) => trigger == Some(&Trigger::Bbo),
            Event::Trade(_) => trigger == Some(&Trigger::Trades) || self.trades.contains(&event.symbol()),
            Event::Message(_) => false,
        }
    }

    fn words(&mut self, hub: &Hub, event: &Event) -> Vec<String> {
        let symbol = &hub.symbols[event.symbol()];
        match event {
            Event::Quote(quote) => vec![ticker(quote, symbol, "update")],
            Event::Trade(made) => {
                let quote = self.tickers.get(&made.symbol).filter(|trigger| **trigger == Trigger::Trades);
                let shown = quote.and_then(|_| hub.last(made.symbol)).map(|quote| ticker(&quote, symbol, "update"));
                let told = self.trades.contains(&made.symbol).then(|| trade(made, symbol));
                shown.into_iter().chain(told).collect()
            }
            Event::Message(_) => Vec::new(),
        }
    }

    fn beat(&mut self, _: &Hub) -> Said {
        if self.tickers.is_empty() && self.trades.is_empty() {
            return Said::default();
        }
        Said::one(r#"{"channel":"heartbeat"}"#.to_string())
    }
}

impl Kraken {
    /// Subscribes one symbol, or lets go of it.
    fn turn(&mut self, hub: &Hub, method: &str, request: &Value, symbol: &Value) -> Said {
        let (params, id) = (&request["params"], &request["req_id"]);
        let name = symbol.as_str().unwrap_or_default();
        let wrong = |error: String| refused(&json!({ "error": error, "method": method, "symbol": symbol }), id);
        let Some(at) = hub.find(|symbol| symbol.pair_name('/') == name) else {
            return wrong(format!("Currency pair not supported {name}"));
        };
        let channel = params["channel"].as_str().unwrap_or_default();
        let trigger = match params["event_trigger"].as_str() {
            Some("bbo") => Trigger::Bbo,
            None | Some("trades") => Trigger::Trades,
            Some(_) => return wrong("Event trigger not supported".into()),
        };
        let subscribes = method == "subscribe";
        let is_new = match (channel, subscribes) {
            ("ticker", true) => self.tickers.insert(at, trigger).is_none(),
            ("ticker", false) => self.tickers.remove(&at).is_some(),
            ("trade", true) => self.trades.insert(at),
            ("trade", false) => self.trades.remove(&at),
            _ => return wrong(format!("Channel not supported {channel}")),
        };
        if !is_new {
            return wrong(if subscribes { "Already subscribed" } else { "Subscription Not Found" }.into());
        }
        let mut result = json!({ "channel": channel, "symbol": symbol });
        if channel == "ticker" {
            result["event_trigger"] = json!(if trigger == Trigger::Bbo { "bbo" } else { "trades" });
        }
        let mut said = Said::one(answer(&json!({ "method": method, "result": result, "success": true }), id));
        let wants_state = subscribes && channel == "ticker" && params["snapshot"] != false;
        if let Some(quote) = hub.last(at).filter(|_| wants_state) {
            said.texts.push(ticker(&quote, &hub.symbols[at], "snapshot"));
            said.shown.push(Event::Quote(quote));
        }
        said
    }
}

fn refused(what: &Value, id: &Value) -> Said {
    let mut what = what.clone();
    what["success"] = json!(false);
    Said::one(answer(&what, id))
}

/// An answer with its times, and the number of the request where it had one.
fn answer(what: &Value, id: &Value) -> String {
    let (mut what, now) = (what.clone(), rfc3339_micros(clock::now_ns()));
    if !id.is_null() {
        what["req_id"] = id.clone();
    }
    (what["time_in"], what["time_out"]) = (json!(now), json!(now));
    what.to_string()
}

/// A ticker as the exchange prints it: numbers, in their full digits. Of the day's figures it knows none.
fn ticker(quote: &Quote, symbol: &Symbol, kind: &str) -> String {
    let (bid, ask) = (fixed(quote.bid, symbol.digits), fixed(quote.ask, symbol.digits));
    format!(
        "{{\"channel\":\"ticker\",\"type\":\"{kind}\",\"data\":[{{\"symbol\":\"{}\",\"bid\":{bid},\"bid_qty\":{},\
         \"ask\":{ask},\"ask_qty\":{},\"last\":{bid},\"volume\":0.00000000,\"vwap\":{bid},\"low\":{bid},\"high\":{ask},\
         \"change\":0.00,\"change_pct\":0.00,\"timestamp\":\"{}\"}}]}}",
        symbol.pair_name('/'),
        pad(quote.bid_size.to_string(), 8),
        pad(quote.ask_size.to_string(), 8),
        rfc3339_micros(quote.event_ns),
    )
}

/// A trade as the exchange prints it; the side is the taker's.
fn trade(trade: &Trade, symbol: &Symbol) -> String {
    format!(
        "{{\"channel\":\"trade\",\"type\":\"update\",\"data\":[{{\"symbol\":\"{}\",\"side\":\"{}\",\"price\":{},\"qty\":{},\
         \"ord_type\":\"market\",\"trade_id\":{},\"timestamp\":\"{}\"}}]}}",
        symbol.pair_name('/'),
        if trade.buyer_is_maker { "sell" } else { "buy" },
        fixed(trade.price, symbol.digits),
        pad(trade.size.to_string(), 8),
        trade.id,
        rfc3339_micros(trade.event_ns),
    )
}
