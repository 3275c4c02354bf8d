//! Kraken, WebSocket v2: the channels `ticker` (at every change of the best bid and ask) and `trade`.
//!
//! Prices are JSON numbers and are read as the text they are written in. There are no sequence numbers; a ticker's
//! `timestamp` is a newer field and may be absent. `side` is the taker's. Every symbol of every channel is confirmed or
//! refused on its own.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tickwire_schemas::words::{Aggressor, Cause};

use super::candles::Candles;
use super::{Adapter, Decoder, History, SettingsError, Stream, pair};
use crate::feeds::event::{Event, Reject, Symbols, price, size, utc_time};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::market::{TickInput, TradeInput};

mod candles;

/// What is subscribed of every symbol, with the parameters beside `channel` and `symbol`. Trades from before the
/// subscription are not asked for.
const CHANNELS: [(&str, &[(&str, Parameter)]); 2] = [
    ("ticker", &[("event_trigger", Parameter::Word("bbo")), ("snapshot", Parameter::Flag(true))]),
    ("trade", &[("snapshot", Parameter::Flag(false))]),
];

#[derive(Clone, Copy)]
enum Parameter {
    Word(&'static str),
    Flag(bool),
}

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// WebSocket base, such as `wss://ws.kraken.com`.
    pub base_url: String,
    /// HTTP base for past bars, such as `https://api.kraken.com`; without it there are none.
    pub rest_url: Option<String>,
}

/// One connection to Kraken.
#[derive(Debug)]
pub struct Broker {
    base: String,
    history: Option<Candles<candles::Recent>>,
}

impl Adapter for Broker {
    const NAME: &'static str = "kraken";
    const EXAMPLE: (&'static str, &'static str) = (
        "BTCUSD",
        r#"{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,"ask_qty":3.2,"last":105899.40,"volume":163.28908096,"vwap":105904.39,"low":104711.00,"high":106613.10,"change":250.00,"change_pct":0.24,"timestamp":"2025-06-01T09:30:59.123456Z"}]}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let base = net::base_url(&settings.base_url, &["ws", "wss"]).map_err(|e| SettingsError::new("base_url", e))?;
        let history = Candles::new(settings.rest_url.as_ref(), candles::Recent)?;
        Ok(Broker { base, history })
    }

    fn venue_symbol(canonical: &str) -> String {
        pair(canonical, '/')
    }

    fn history(&self) -> Option<&dyn History> {
        self.history.as_ref().map(|history| history as &dyn History)
    }
}

impl Stream for Broker {
    type Decoder = KrakenDecoder;

    fn decoder(&self, _: &Symbols) -> KrakenDecoder {
        KrakenDecoder
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// About 150 connections in ten minutes of one address; told by users, not confirmed by the venue.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.base), Rate::within(150, Duration::from_secs(600))))
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let mut connection = net::websocket(&format!("{}/v2", self.base)).await?;
        let requests: Vec<_> = (1..).zip(CHANNELS).map(|(id, channel)| request(id, channel, symbols)).collect();
        let of = |channel| symbols.names().map(move |name| awaited(channel, name));
        let pending = CHANNELS.into_iter().flat_map(|(channel, _)| of(channel)).collect();
        connection.subscribe(&requests, pending, confirm).await?;
        Ok(connection)
    }
}

fn request(id: u32, (channel, parameters): (&str, &[(&str, Parameter)]), symbols: &Symbols) -> String {
    let mut params = json!({ "channel": channel, "symbol": symbols.names().collect::<Vec<_>>() });
    for (name, parameter) in parameters {
        params[name] = match parameter {
            Parameter::Word(word) => json!(word),
            Parameter::Flag(flag) => json!(flag),
        };
    }
    json!({ "method": "subscribe", "params": params, "req_id": id }).to_string()
}

fn awaited(channel: &str, symbol: &str) -> String {
    format!("{channel} of {symbol}")
}

/// Takes out of `pending` what a frame confirms.
fn confirm(frame: &[u8], pending: &mut BTreeSet<String>) -> Result<(), Failure> {
    // What is not JSON is the decoder's to complain of.
    let Ok(answer) = serde_json::from_slice::<Value>(frame) else { return Ok(()) };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    match (answer["method"].as_str(), answer["success"].as_bool()) {
        (Some("subscribe"), Some(true)) => {
            pending.remove(&awaited(&text(&answer["result"]["channel"]), &text(&answer["result"]["symbol"])));
            Ok(())
        }
        (Some("subscribe"), _) => {
            let (error, symbol) = (text(&answer["error"]), text(&answer["symbol"]));
            let named = if error.contains(&symbol) { error.clone() } else { format!("{error} ({symbol})") };
            Err(Failure::new(cause(error.as_bytes()), format!("the subscription was refused: {named}")))
        }
        _ => Ok(()),
    }
}

/// "Exceeded msg rate" and the like; all other errors say that we asked for something wrong.
fn cause(error: &[u8]) -> Cause {
    let has = |words: &[u8]| memchr::memmem::find(error, words).is_some();
    if has(b"rate") || has(b"Too many") { Cause::RateLimited } else { Cause::ProtocolError }
}

/// Decodes one message at a time; has no state.
#[derive(Debug, Clone, Copy)]
pub struct KrakenDecoder;

impl Decoder for KrakenDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        let told = match template(frame) {
            Some(ticker) => ticker.event(ts_recv_ns, symbols).map(&mut *sink),
            None => general(frame, ts_recv_ns, symbols, sink),
        };
        told.unwrap_or_else(|reject| sink(Event::Reject(reject)));
    }
}

type Text<'a> = Cow<'a, [u8]>;

/// A ticker as text, before its numbers are read. A side of the book may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ticker<'a> {
    symbol: Option<Text<'a>>,
    bid: Option<&'a [u8]>,
    bid_qty: Option<&'a [u8]>,
    ask: Option<&'a [u8]>,
    ask_qty: Option<&'a [u8]>,
    time: Option<Text<'a>>,
    snapshot: bool,
}

impl<'a> Ticker<'a> {
    fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            let number = match key {
                b"bid" => &mut self.bid,
                b"bid_qty" => &mut self.bid_qty,
                b"ask" => &mut self.ask,
                b"ask_qty" => &mut self.ask_qty,
                b"symbol" => return c.text().map(|text| self.symbol = Some(text)),
                b"timestamp" => return c.text().map(|text| self.time = Some(text)),
                _ => return c.skip(),
            };
            *number = if c.null() { None } else { Some(c.number()?) };
            Ok(())
        })
    }

    fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a symbol"))?;
        if self.bid.is_none() && self.ask.is_none() {
            return Err(Reject::Expected("a bid or an ask"));
        }
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.as_deref().map(utc_time).transpose()?,
            ts_recv_ns,
            bid: self.bid.map(|text| price("bid", text)).transpose()?,
            ask: self.ask.map(|text| price("ask", text)).transpose()?,
            bid_size: self.bid_qty.map(|text| size("bid_qty", text)).transpose()?,
            ask_size: self.ask_qty.map(|text| size("ask_qty", text)).transpose()?,
            source_seq: None,
            snapshot: self.snapshot,
        }))
    }
}

/// A trade as text.
#[derive(Default)]
struct Trade<'a> {
    symbol: Option<Text<'a>>,
    side: Option<Text<'a>>,
    price: Option<&'a [u8]>,
    qty: Option<&'a [u8]>,
    id: Option<u64>,
    time: Option<Text<'a>>,
}

impl<'a> Trade<'a> {
    fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            match key {
                b"symbol" => self.symbol = Some(c.text()?),
                b"side" => self.side = Some(c.text()?),
                b"price" => self.price = Some(c.number()?),
                b"qty" => self.qty = Some(c.number()?),
                b"trade_id" => self.id = Some(c.whole()?),
                b"timestamp" => self.time = Some(c.text()?),
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a symbol"))?;
        Ok(Event::Trade(TradeInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.as_deref().map(utc_time).transpose()?,
            ts_recv_ns,
            price: price("price", self.price.ok_or(Reject::Expected("a price"))?)?,
            size: Some(size("qty", self.qty.ok_or(Reject::Expected("a qty"))?)?),
            trade_id: self.id,
            aggressor: match self.side.as_deref() {
                Some(b"buy") => Aggressor::Buy,
                Some(b"sell") => Aggressor::Sell,
                _ => return Err(Reject::Expected("buy or sell in side")),
            },
        }))
    }
}

/// One ticker, exactly as the venue writes it today.
pub(crate) fn template(frame: &[u8]) -> Option<Ticker<'_>> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"channel\":\"ticker\",\"type\":\"")?;
    let snapshot = match c.until_quote()? {
        b"update" => false,
        b"snapshot" => true,
        _ => return None,
    };
    c.literal(b",\"data\":[{\"symbol\":\"")?;
    let mut ticker = Ticker { symbol: Some(Cow::Borrowed(c.until_quote()?)), snapshot, ..Ticker::default() };
    c.literal(b",\"bid\":")?;
    ticker.bid = Some(c.number().ok()?);
    c.literal(b",\"bid_qty\":")?;
    ticker.bid_qty = Some(c.number().ok()?);
    c.literal(b",\"ask\":")?;
    ticker.ask = Some(c.number().ok()?);
    c.literal(b",\"ask_qty\":")?;
    ticker.ask_qty = Some(c.number().ok()?);
    for name in [
        &b",\"last\":"[..],
        b",\"volume\":",
        b",\"vwap\":",
        b",\"low\":",
        b",\"high\":",
        b",\"change\":",
        b",\"change_pct\":",
    ] {
        c.literal(name)?;
        c.number().ok()?;
    }
    if c.literal(b",\"timestamp\":\"").is_some() {
        ticker.time = Some(Cow::Borrowed(c.until_quote()?));
    }
    c.literal(b"}]}")?;
    c.end().ok()?;
    Some(ticker)
}

/// The outside of any message.
#[derive(Default)]
struct Envelope<'a> {
    channel: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    method: bool,
    success: Option<bool>,
    error: Option<Text<'a>>,
    data: Option<Cursor<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (mut envelope, mut cursor) = (Envelope::default(), Cursor::new(frame));
        cursor.object(|key, c| {
            match key {
                b"channel" => envelope.channel = Some(c.text()?),
                b"type" => envelope.kind = Some(c.text()?),
                b"success" => envelope.success = Some(c.boolean()?),
                b"error" if !c.null() => envelope.error = Some(c.text()?),
                b"data" => {
                    envelope.data = Some(c.clone());
                    c.skip()?;
                }
                b"method" => {
                    envelope.method = true;
                    c.skip()?;
                }
                b"error" => {}
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(envelope)
    }
}

/// Any message, whatever the order of its keys and with whatever else it holds.
pub(crate) fn general(
    frame: &[u8],
    ts_recv_ns: i64,
    symbols: &Symbols,
    sink: &mut impl FnMut(Event),
) -> Result<(), Reject> {
    let envelope = Envelope::read(frame)?;
    if envelope.method || envelope.success.is_some() || envelope.error.is_some() {
        let refused = envelope.success == Some(false) || envelope.error.is_some();
        let cause = cause(envelope.error.as_deref().unwrap_or_default());
        sink(if refused { Event::Refused(cause) } else { Event::Alive });
        return Ok(());
    }
    let channel = envelope.channel.as_deref();
    let is_trade = match channel {
        Some(b"ticker") => false,
        Some(b"trade") => true,
        Some(b"heartbeat" | b"status") => {
            sink(Event::Alive);
            return Ok(());
        }
        _ => return Err(Reject::Expected("the channel ticker, trade, heartbeat or status")),
    };
    let snapshot = envelope.kind.as_deref() == Some(b"snapshot");
    let mut data = envelope.data.ok_or(Reject::Expected("data"))?;
    let mut count = 0;
    data.array(|c| {
        count += 1;
        // The cursor goes on behind the item, whatever is wrong inside it.
        let mut item = c.clone();
        let event = if is_trade {
            let mut trade = Trade::default();
            trade.read(&mut item).map_err(Reject::from).and_then(|()| trade.event(ts_recv_ns, symbols))
        } else {
            let mut ticker = Ticker { snapshot, ..Ticker::default() };
            ticker.read(&mut item).map_err(Reject::from).and_then(|()| ticker.event(ts_recv_ns, symbols))
        };
        sink(event.unwrap_or_else(Event::Reject));
        c.skip()
    })?;
    if count == 0 { Err(Reject::Expected("something in data")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
