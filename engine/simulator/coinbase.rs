//! Coinbase Advanced Trade: numbered messages, one channel per subscription, heartbeats, and little patience.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Server;
use super::event::{Event, Quote, Trade};
use super::exchange::{self, Dialect, Said};
use super::http::{Body, text_reply, upgrade};
use super::hub::Hub;
use super::stamp::{rfc3339, rfc3339_micros};
use super::symbols::{Symbol, fixed};
use crate::clock;
use crate::market::Price;

/// A client that has not subscribed by then is sent away.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(5);

/// Messages that a client may send in a second.
const MESSAGES_PER_SECOND: usize = 8;

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() != "/" {
        return text_reply(StatusCode::NOT_FOUND, "Not found");
    }
    let hub = server.hub.clone();
    upgrade(request, move |socket| exchange::serve(hub, Coinbase::default(), socket))
}

/// What a connection has subscribed to, and how many messages it has been sent.
#[derive(Debug, Default)]
struct Coinbase {
    tickers: BTreeSet<usize>,
    /// With what was last shown of each: one level of each side is all there is.
    books: BTreeMap<usize, Option<Quote>>,
    trades: BTreeSet<usize>,
    heartbeats: bool,
    beats: u64,
    sent: u64,
    received: VecDeque<Instant>,
}

impl Dialect for Coinbase {
    const BEAT_S: u64 = 1;

    fn command(&mut self, hub: &Hub, text: &str) -> Said {
        let now = Instant::now();
        self.received.retain(|at| now - *at < Duration::from_secs(1));
        self.received.push_back(now);
        if self.received.len() > MESSAGES_PER_SECOND {
            return error("rate limit exceeded");
        }
        let Ok(request) = serde_json::from_str::<Value>(text) else { return error("malformed message") };
        let subscribes = match request["type"].as_str() {
            Some("subscribe") => true,
            Some("unsubscribe") => false,
            _ => return error("type must be subscribe or unsubscribe"),
        };
        let mut products = BTreeSet::new();
        for product in request["product_ids"].as_array().into_iter().flatten() {
            let name = product.as_str().unwrap_or_default();
            match hub.find(|symbol| symbol.pair_name('-') == name) {
                Some(at) => products.insert(at),
                None => return error(&format!("{name} is not a valid product")),
            };
        }
        let channel = request["channel"].as_str().unwrap_or_default();
        let set = match channel {
            "heartbeats" => {
                self.heartbeats = subscribes;
                return Said::one(self.subscriptions(hub));
            }
            "ticker" => &mut self.tickers,
            "market_trades" => &mut self.trades,
            "level2" if subscribes => {
                self.books.extend(products.iter().map(|at| (*at, None)));
                let mut said = self.states(hub, channel, &products);
                said.texts.push(self.subscriptions(hub));
                return said;
            }
            _ => return error(&format!("{channel} is not a valid channel")),
        };
        if subscribes {
            set.extend(&products);
        } else {
            // Without products the whole channel goes.
            set.retain(|at| !products.is_empty() && !products.contains(at));
            products.clear();
        }
        // First what holds now, then the confirmation.
        let mut said = self.states(hub, channel, &products);
        said.texts.push(self.subscriptions(hub));
        said
    }

    fn has(&self, symbol: usize) -> bool {
        self.tickers.contains(&symbol) || self.trades.contains(&symbol) || self.books.contains_key(&symbol)
    }

    fn wants(&self, event: &Event) -> bool {
        match event {
            Event::Quote(quote) => self.tickers.contains(&quote.symbol) || self.books.contains_key(&quote.symbol),
            Event::Trade(trade) => self.trades.contains(&trade.symbol),
            Event::Message(_) => false,
        }
    }

    fn words(&mut self, hub: &Hub, event: &Event) -> Vec<String> {
        let symbol = &hub.symbols[event.symbol()];
        match event {
            Event::Quote(quote) => {
                let mut said = Vec::new();
                if self.tickers.contains(&quote.symbol) {
                    said.push(self.message("ticker", quote.event_ns, &ticker(quote, symbol, "update")));
                }
                if let Some(shown) = self.books.get_mut(&quote.symbol) {
                    let event = levels(shown.replace(*quote).as_ref(), quote, symbol);
                    said.push(self.message("l2_data", quote.event_ns, &event));
                }
                said
            }
            Event::Trade(made) => {
                vec![self.message("market_trades", made.event_ns, &trades("update", &trade(made, symbol)))]
            }
            Event::Message(_) => Vec::new(),
        }
    }

    fn beat(&mut self, _: &Hub) -> Said {
        if !self.heartbeats {
            return Said::default();
        }
        self.beats += 1;
        let now_ns = clock::now_ns();
        let event = json!({ "current_time": rfc3339(now_ns), "heartbeat_counter": self.beats });
        Said::one(self.message("heartbeats", now_ns, &event.to_string()))
    }

    fn patience(&self) -> Option<Duration> {
        let idle = self.tickers.is_empty() && self.trades.is_empty() && !self.heartbeats;
        idle.then_some(SUBSCRIBE_WITHIN)
    }
}

impl Coinbase {
    /// One event in its envelope, with the next number.
    fn message(&mut self, channel: &str, at_ns: i64, event: &str) -> String {
        let (number, time) = (self.sent, rfc3339(at_ns));
        self.sent += 1;
        format!("{{\"channel\":\"{channel}\",\"timestamp\":\"{time}\",\"sequence_num\":{number},\"events\":[{event}]}}")
    }

    /// What a new subscription is told first. Of past trades there are none.
    fn states(&mut self, hub: &Hub, channel: &str, products: &BTreeSet<usize>) -> Said {
        let mut said = Said::default();
        for at in products {
            let quote = hub.last(*at).filter(|_| channel != "market_trades");
            if let Some(quote) = quote {
                let symbol = &hub.symbols[*at];
                let text = if channel == "ticker" {
                    self.message("ticker", clock::now_ns(), &ticker(&quote, symbol, "snapshot"))
                } else {
                    self.books.insert(*at, Some(quote));
                    self.message("l2_data", clock::now_ns(), &levels(None, &quote, symbol))
                };
                said.texts.push(text);
                said.shown.push(Event::Quote(quote));
            } else if channel == "market_trades" {
                said.texts.push(self.message(channel, clock::now_ns(), &trades("snapshot", "")));
            }
        }
        said
    }

    /// All that is subscribed, by channel.
    fn subscriptions(&mut self, hub: &Hub) -> String {
        let names =
            |set: &BTreeSet<usize>| -> Vec<String> { set.iter().map(|at| hub.symbols[*at].pair_name('-')).collect() };
        let mut all = BTreeMap::new();
        let books = self.books.keys().copied().collect();
        for (channel, names) in
            [("market_trades", names(&self.trades)), ("ticker", names(&self.tickers)), ("level2", names(&books))]
        {
            if !names.is_empty() {
                all.insert(channel, names);
            }
        }
        if self.heartbeats {
            all.insert("heartbeats", vec!["heartbeats".to_string()]);
        }
        let event = json!({ "subscriptions": all }).to_string();
        self.message("subscriptions", clock::now_ns(), &event)
    }
}

/// Errors are not numbered.
fn error(message: &str) -> Said {
    Said::one(json!({ "type": "error", "message": message }).to_string())
}

/// A ticker as the exchange prints it: sizes without zeros at their end. Of the day's figures it knows none.
fn ticker(quote: &Quote, symbol: &Symbol, kind: &str) -> String {
    let (bid, ask) = (fixed(quote.bid, symbol.digits), fixed(quote.ask, symbol.digits));
    format!(
        "{{\"type\":\"{kind}\",\"tickers\":[{{\"type\":\"ticker\",\"product_id\":\"{}\",\"price\":\"{bid}\",\
         \"volume_24_h\":\"0\",\"low_24_h\":\"{bid}\",\"high_24_h\":\"{ask}\",\"low_52_w\":\"{bid}\",\"high_52_w\":\"{ask}\",\
         \"price_percent_chg_24_h\":\"0\",\"best_bid\":\"{bid}\",\"best_ask\":\"{ask}\",\"best_bid_quantity\":\"{}\",\
         \"best_ask_quantity\":\"{}\"}}]}}",
        symbol.pair_name('-'),
        quote.bid_size,
        quote.ask_size,
    )
}

/// What has changed in a book of one level a side, as the exchange prints it; all of it when nothing was shown yet.
fn levels(shown: Option<&Quote>, quote: &Quote, symbol: &Symbol) -> String {
    let time = rfc3339_micros(quote.event_ns);
    let level = |side: &str, at: Price, quantity: String| {
        let at = fixed(at, symbol.digits);
        format!(
            "{{\"side\":\"{side}\",\"event_time\":\"{time}\",\"price_level\":\"{at}\",\"new_quantity\":\"{quantity}\"}}"
        )
    };
    let mut updates = Vec::new();
    if let Some(old) = shown {
        updates.extend((old.bid != quote.bid).then(|| level("bid", old.bid, "0".into())));
        updates.extend((old.ask != quote.ask).then(|| level("offer", old.ask, "0".into())));
    }
    updates.push(level("bid", quote.bid, quote.bid_size.to_string()));
    updates.push(level("offer", quote.ask, quote.ask_size.to_string()));
    format!(
        "{{\"type\":\"{}\",\"product_id\":\"{}\",\"updates\":[{}]}}",
        if shown.is_some() { "update" } else { "snapshot" },
        symbol.pair_name('-'),
        updates.join(",")
    )
}

fn trades(kind: &str, trades: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"trades\":[{trades}]}}")
}

/// A trade as the exchange prints it; the side is the maker's.
fn trade(trade: &Trade, symbol: &Symbol) -> String {
    format!(
        "{{\"product_id\":\"{}\",\"trade_id\":\"{}\",\"price\":\"{}\",\"size\":\"{}\",\"time\":\"{}\",\"side\":\"{}\"}}",
        symbol.pair_name('-'),
        trade.id,
        fixed(trade.price, symbol.digits),
        trade.size,
        rfc3339_micros(trade.event_ns),
        if trade.buyer_is_maker { "BUY" } else { "SELL" },
    )
}
