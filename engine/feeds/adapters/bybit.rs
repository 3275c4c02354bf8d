//! Bybit v5, public streams of one category: the topics `orderbook.1` and `publicTrade`.
//!
//! `orderbook.1` sends whole states of the best level, again after three seconds without a change. Its `ts` is the stamp
//! here: it grows from message to message, repeats included, so that a repeat says that the price still holds. `u` is no
//! sequence for that: it stays the same in a repeat, skips what was never sent, and begins anew at 1 when the service
//! restarts; so the venue gives no way to notice that a message is missing. Trades of contracts have ids that are no
//! numbers, and `T` counts whole milliseconds: trades of one message and millisecond are told apart by a nanosecond each,
//! in their order, or equal fills would be taken for repeats. Block trades (`BT`) happen off the book and are left out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tickwire_schemas::words::{Aggressor, Cause};

use super::candles::Candles;
use super::{Adapter, Decoder, History, SettingsError, Stream};
use crate::feeds::event::{Event, Reject, Symbols, price, size};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::market::time_text::unix_by_magnitude;
use crate::market::{TickInput, TradeInput};

mod candles;

/// The venue recommends this interval, and hangs up after ten minutes.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Its pings are messages.
const PING: &str = r#"{"req_id":"ping","op":"ping"}"#;

/// Symbols in one request: two topics of each, and spot takes ten topics.
const SYMBOLS_PER_REQUEST: usize = 5;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// WebSocket base, such as `wss://stream.bybit.com`.
    pub base_url: String,
    /// Which market the symbols belong to.
    #[serde(default)]
    pub category: Category,
    /// HTTP base for past bars, such as `https://api.bybit.com`; without it there are none.
    pub rest_url: Option<String>,
}

/// A market of the venue; each has a socket of its own.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Spot.
    #[default]
    Spot,
    /// Perpetuals and futures settled in stable coins.
    Linear,
    /// Perpetuals and futures settled in the coin.
    Inverse,
}

impl Category {
    fn word(self) -> &'static str {
        match self {
            Category::Spot => "spot",
            Category::Linear => "linear",
            Category::Inverse => "inverse",
        }
    }
}

/// One connection to Bybit.
#[derive(Debug)]
pub struct Broker {
    base: String,
    category: Category,
    history: Option<Candles<candles::Klines>>,
}

impl Adapter for Broker {
    const NAME: &'static str = "bybit";
    const EXAMPLE: (&'static str, &'static str) = (
        "BTCUSDT",
        r#"{"topic":"orderbook.1.BTCUSDT","ts":1672304484978,"type":"snapshot","data":{"s":"BTCUSDT","b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304484976}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let base = net::base_url(&settings.base_url, &["ws", "wss"]).map_err(|e| SettingsError::new("base_url", e))?;
        let history = Candles::new(settings.rest_url.as_ref(), candles::Klines(settings.category))?;
        Ok(Broker { base, category: settings.category, history })
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }

    fn history(&self) -> Option<&dyn History> {
        self.history.as_ref().map(|history| history as &dyn History)
    }
}

impl Stream for Broker {
    type Decoder = BybitDecoder;

    fn decoder(&self, _: &Symbols) -> BybitDecoder {
        BybitDecoder
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let mut connection = net::websocket(&format!("{}/v5/public/{}", self.base, self.category.word())).await?;
        let names: Vec<_> = symbols.names().collect();
        let topics: Vec<Vec<String>> = names.chunks(SYMBOLS_PER_REQUEST).map(topics).collect();
        let request =
            |(id, args)| json!({ "req_id": usize::to_string(&id), "op": "subscribe", "args": args }).to_string();
        let requests: Vec<_> = topics.iter().enumerate().map(request).collect();
        let pending = topics.iter().flatten().cloned().collect();
        connection.subscribe(&requests, pending, |frame, pending| confirm(frame, &topics, pending)).await?;
        Ok(connection.with_ping(PING))
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// 500 connections in five minutes of one address, by the venue's documents.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.base), Rate::within(500, Duration::from_secs(300))))
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(PING_EVERY)
    }
}

fn topics(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| [format!("orderbook.1.{name}"), format!("publicTrade.{name}")]).collect()
}

/// Takes out of `pending` what a frame confirms: all topics of a request. `topics` are those of each request.
fn confirm(frame: &[u8], topics: &[Vec<String>], pending: &mut BTreeSet<String>) -> Result<(), Failure> {
    // What is not JSON is the decoder's to complain of.
    let Ok(answer) = serde_json::from_slice::<Value>(frame) else { return Ok(()) };
    if answer["op"] != "subscribe" {
        return Ok(());
    }
    let id = answer["req_id"].as_str().and_then(|id| id.parse::<usize>().ok());
    let asked = id.and_then(|id| topics.get(id)).map_or(&[][..], Vec::as_slice);
    if answer["success"] == true {
        asked.iter().for_each(|topic| {
            pending.remove(topic);
        });
        return Ok(());
    }
    let words = answer["ret_msg"].as_str().unwrap_or_default();
    let text = format!("the subscription was refused: {words} (of {})", asked.join(", "));
    Err(Failure::new(cause(words.as_bytes()), text))
}

fn cause(words: &[u8]) -> Cause {
    let has = |part: &[u8]| memchr::memmem::find(words, part).is_some();
    if has(b"Too many") || has(b"too frequent") { Cause::RateLimited } else { Cause::ProtocolError }
}

/// Decodes one message at a time; has no state.
#[derive(Debug, Clone, Copy)]
pub struct BybitDecoder;

impl Decoder for BybitDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        let told = match template(frame) {
            Some(book) => book.event(ts_recv_ns, symbols).map(&mut *sink),
            None => general(frame, ts_recv_ns, symbols, sink),
        };
        told.unwrap_or_else(|reject| sink(Event::Reject(reject)));
    }
}

type Text<'a> = Cow<'a, [u8]>;

/// Price and size of a level.
type Level<'a> = [&'a [u8]; 2];

/// The best level as text, before its numbers are read. A side of the book may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book<'a> {
    symbol: Option<Text<'a>>,
    bid: Option<Level<'a>>,
    ask: Option<Level<'a>>,
    update: Option<u64>,
    time: Option<u64>,
}

impl<'a> Book<'a> {
    fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            match key {
                b"s" => self.symbol = Some(c.text()?),
                b"b" => self.bid = best(c)?,
                b"a" => self.ask = best(c)?,
                b"u" => self.update = Some(c.whole()?),
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a symbol in s"))?;
        if self.bid.is_none() && self.ask.is_none() {
            return Err(Reject::Expected("a level in b or a"));
        }
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.and_then(unix_by_magnitude),
            ts_recv_ns,
            bid: self.bid.map(|[text, _]| price("b", text)).transpose()?,
            ask: self.ask.map(|[text, _]| price("a", text)).transpose()?,
            bid_size: self.bid.map(|[_, text]| size("b", text)).transpose()?,
            ask_size: self.ask.map(|[_, text]| size("a", text)).transpose()?,
            source_seq: None,
            // The first state after a restart of the service.
            snapshot: self.update == Some(1),
        }))
    }
}

/// The first of a list of levels, which is the best.
fn best<'a>(c: &mut Cursor<'a>) -> Result<Option<Level<'a>>, Malformed> {
    let mut first = None;
    c.array(|c| {
        if first.is_some() {
            return c.skip();
        }
        let (mut level, mut count): (Level<'a>, _) = ([b"", b""], 0);
        c.array(|c| {
            match level.get_mut(count) {
                Some(field) => *field = c.number()?,
                None => c.skip()?,
            }
            count += 1;
            Ok(())
        })?;
        first = Some(level);
        if count < 2 { Err(Malformed("a price and a size")) } else { Ok(()) }
    })?;
    Ok(first)
}

/// A book with both sides, exactly as the venue writes it today.
pub(crate) fn template(frame: &[u8]) -> Option<Book<'_>> {
    const KIND: &[u8] = b",\"type\":\"snapshot\"";
    let mut c = Cursor::new(frame);
    c.literal(b"{\"topic\":\"orderbook.1.")?;
    c.until_quote()?;
    // Both orders are documented.
    let kind_first = c.literal(KIND).is_some();
    c.literal(b",\"ts\":")?;
    let time = Some(c.digits()?);
    if !kind_first {
        c.literal(KIND)?;
    }
    c.literal(b",\"data\":{\"s\":\"")?;
    let symbol = Some(Cow::Borrowed(c.until_quote()?));
    c.literal(b",\"b\":[[\"")?;
    let bid = Some(level(&mut c)?);
    c.literal(b",\"a\":[[\"")?;
    let ask = Some(level(&mut c)?);
    c.literal(b",\"u\":")?;
    let update = Some(c.digits()?);
    c.literal(b",\"seq\":")?;
    c.digits()?;
    c.literal(b"}")?;
    if c.literal(b",\"cts\":").is_some() {
        c.digits()?;
    }
    c.literal(b"}")?;
    c.end().ok()?;
    Some(Book { symbol, bid, ask, update, time })
}

fn level<'a>(c: &mut Cursor<'a>) -> Option<Level<'a>> {
    let price = c.until_quote()?;
    c.literal(b",\"")?;
    let size = c.until_quote()?;
    c.literal(b"]]").map(|()| [price, size])
}

/// A trade as text.
#[derive(Default)]
struct Trade<'a> {
    symbol: Option<Text<'a>>,
    side: Option<Text<'a>>,
    price: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    id: Option<u64>,
    time: Option<u64>,
    block: bool,
}

impl<'a> Trade<'a> {
    fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            match key {
                b"s" => self.symbol = Some(c.text()?),
                b"S" => self.side = Some(c.text()?),
                b"p" => self.price = Some(c.number()?),
                b"v" => self.size = Some(c.number()?),
                b"T" => self.time = Some(c.whole()?),
                b"BT" => self.block = c.boolean()?,
                b"i" => {
                    // A number of spot, a UUID of contracts.
                    self.id = c.clone().whole().ok();
                    c.skip()?;
                }
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn input(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<TradeInput, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a symbol in s"))?;
        Ok(TradeInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.and_then(unix_by_magnitude),
            ts_recv_ns,
            price: price("p", self.price.ok_or(Reject::Expected("a price in p"))?)?,
            size: Some(size("v", self.size.ok_or(Reject::Expected("a size in v"))?)?),
            trade_id: self.id,
            aggressor: match self.side.as_deref() {
                Some(b"Buy") => Aggressor::Buy,
                Some(b"Sell") => Aggressor::Sell,
                _ => return Err(Reject::Expected("Buy or Sell in S")),
            },
        })
    }
}

/// The outside of any message.
#[derive(Default)]
struct Envelope<'a> {
    topic: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    time: Option<u64>,
    data: Option<Cursor<'a>>,
    answer: bool,
    success: Option<bool>,
    words: Option<Text<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (mut envelope, mut cursor) = (Envelope::default(), Cursor::new(frame));
        cursor.object(|key, c| {
            match key {
                b"topic" => envelope.topic = Some(c.text()?),
                b"type" => envelope.kind = Some(c.text()?),
                b"ts" => envelope.time = Some(c.whole()?),
                b"success" => envelope.success = Some(c.boolean()?),
                b"ret_msg" => envelope.words = Some(c.text()?),
                b"data" => {
                    envelope.data = Some(c.clone());
                    c.skip()?;
                }
                b"op" => {
                    envelope.answer = true;
                    c.skip()?;
                }
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
    if envelope.answer || envelope.success.is_some() {
        let refused = envelope.success == Some(false);
        let cause = cause(envelope.words.as_deref().unwrap_or_default());
        sink(if refused { Event::Refused(cause) } else { Event::Alive });
        return Ok(());
    }
    let topic = envelope.topic.as_deref().unwrap_or_default();
    let data = envelope.data.ok_or(Reject::Expected("data"))?;
    if topic.starts_with(b"orderbook.1.") {
        if envelope.kind.as_deref() != Some(b"snapshot") {
            return Err(Reject::Expected("a snapshot: orderbook.1 has nothing else"));
        }
        let mut book = Book { time: envelope.time, ..Book::default() };
        book.read(&mut { data })?;
        sink(book.event(ts_recv_ns, symbols)?);
        return Ok(());
    }
    if topic.starts_with(b"publicTrade.") {
        return trades(data, ts_recv_ns, symbols, sink);
    }
    Err(Reject::Expected("the topic orderbook.1 or publicTrade"))
}

/// The trades of one message, oldest first.
fn trades(
    mut data: Cursor<'_>,
    ts_recv_ns: i64,
    symbols: &Symbols,
    sink: &mut impl FnMut(Event),
) -> Result<(), Reject> {
    let (mut told, mut last_ns, mut ordinal) = (0, None, 0);
    data.array(|c| {
        // The cursor goes on behind the item, whatever is wrong inside it.
        let mut trade = Trade::default();
        let read = trade.read(&mut c.clone()).map_err(Reject::from);
        let input = read.and_then(|()| trade.input(ts_recv_ns, symbols));
        if !trade.block || input.is_err() {
            told += 1;
            sink(input.map_or_else(Event::Reject, |mut input| {
                ordinal = if input.ts_event_ns == last_ns { ordinal + 1 } else { 0 };
                last_ns = input.ts_event_ns;
                input.ts_event_ns = last_ns.map(|ns| ns + ordinal);
                Event::Trade(input)
            }));
        }
        c.skip()
    })?;
    if told == 0 {
        sink(Event::Alive);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
