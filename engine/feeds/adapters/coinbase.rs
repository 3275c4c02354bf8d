//! Coinbase Advanced Trade: the channels `ticker`, `market_trades` and `heartbeats` of the market-data socket.
//!
//! Every message of a connection is numbered by `sequence_num`, whatever its channel; a jump means that messages are
//! missing, and the session begins anew. The numbers start again with each connection, so they order nothing beyond it:
//! prices are ordered by the `timestamp` of their message, trades by their ids. Trades of one message come newest first
//! and are told oldest first. `side` is the maker's: in recordings of the socket all trades at the ask are `SELL`. The
//! trades of a `snapshot` happened before the subscription and are left out.
//!
//! A ticker is sent at matches and at some, not all, changes of the best price: between tickers the book can be ahead of
//! it. With `quotes = "level2"` the prices come from the whole book, which starts with some megabytes for each product.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tickwire_schemas::words::Cause;

use super::candles::Candles;
use super::{Adapter, Decoder, History, SettingsError, Stream, pair};
use crate::feeds::event::{Event, Reject, Symbols, price, size, utc_time};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::market::{TickInput, TradeInput};

mod book;
mod candles;
mod trade;

use book::Book;
use trade::Trade;

/// Longest message with the whole book of a product; those of large ones have 5 MB.
const BOOK_BYTES_MAX: usize = 32 << 20;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// WebSocket base, such as `wss://advanced-trade-ws.coinbase.com`.
    pub base_url: String,
    /// Where best prices come from.
    #[serde(default)]
    pub quotes: Quotes,
    /// HTTP base for past bars, such as `https://api.coinbase.com`; without it there are none.
    pub rest_url: Option<String>,
}

/// A channel that has the best prices.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Quotes {
    /// What the venue says beside its trades.
    #[default]
    Ticker,
    /// The whole book.
    Level2,
}

impl Quotes {
    fn channel(self) -> &'static str {
        match self {
            Quotes::Ticker => "ticker",
            Quotes::Level2 => "level2",
        }
    }
}

/// One connection to Coinbase.
#[derive(Debug)]
pub struct Broker {
    base: String,
    quotes: Quotes,
    history: Option<Candles<candles::Public>>,
}

impl Adapter for Broker {
    const NAME: &'static str = "coinbase";
    const EXAMPLE: (&'static str, &'static str) = (
        "BTCUSD",
        r#"{"channel":"ticker","timestamp":"2026-08-09T21:05:48.84777437Z","sequence_num":3,"events":[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"65083.67","volume_24_h":"2867.54532609","low_24_h":"64675.22","high_24_h":"65252.99","low_52_w":"57717.55","high_52_w":"126296","price_percent_chg_24_h":"0.09215094484708","best_bid":"65083.66","best_ask":"65083.67","best_bid_quantity":"0.20371215","best_ask_quantity":"0.27848203"}]}]}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let base = net::base_url(&settings.base_url, &["ws", "wss"]).map_err(|e| SettingsError::new("base_url", e))?;
        let history = Candles::new(settings.rest_url.as_ref(), candles::Public)?;
        Ok(Broker { base, quotes: settings.quotes, history })
    }

    fn venue_symbol(canonical: &str) -> String {
        pair(canonical, '-')
    }

    fn history(&self) -> Option<&dyn History> {
        self.history.as_ref().map(|history| history as &dyn History)
    }
}

impl Stream for Broker {
    type Decoder = CoinbaseDecoder;

    fn decoder(&self, symbols: &Symbols) -> CoinbaseDecoder {
        CoinbaseDecoder::new(symbols.len())
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// Eight messages a second of one address, by the venue's documents, and an opening sends three.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.base), Rate::within(2, Duration::from_secs(1))))
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let bytes_max = if self.quotes == Quotes::Level2 { BOOK_BYTES_MAX } else { net::FRAME_BYTES_MAX };
        let mut connection = net::websocket_of(&format!("{}/", self.base), bytes_max).await?;
        let names: Vec<_> = symbols.names().collect();
        let request = |channel| json!({ "type": "subscribe", "product_ids": names, "channel": channel }).to_string();
        let of = |channel| names.iter().map(move |name| awaited(channel, name));
        // Heartbeats are confirmed as a channel, without products.
        let prices = self.quotes.channel();
        let pending = [prices, "market_trades"].into_iter().flat_map(of).chain(["heartbeats".to_string()]).collect();
        // Prices, trades, and what keeps quiet channels open. One channel per request, all at once: the venue wants the
        // first within five seconds.
        connection.subscribe(&[prices, "market_trades", "heartbeats"].map(request), pending, confirm).await?;
        Ok(connection)
    }
}

fn awaited(channel: &str, symbol: &str) -> String {
    format!("{channel} of {symbol}")
}

/// Takes out of `pending` what a frame confirms: all that is subscribed so far, by channel.
fn confirm(frame: &[u8], pending: &mut BTreeSet<String>) -> Result<(), Failure> {
    // What is not JSON is the decoder's to complain of.
    let Ok(answer) = serde_json::from_slice::<Value>(frame) else { return Ok(()) };
    if answer["type"] == "error" {
        let words: Vec<&str> = ["message", "reason"].iter().filter_map(|key| answer[*key].as_str()).collect();
        let text = format!("the subscription was refused: {}", words.join(": "));
        return Err(Failure::new(cause(text.as_bytes()), text));
    }
    if answer["channel"] != "subscriptions" {
        return Ok(());
    }
    for event in answer["events"].as_array().into_iter().flatten() {
        for (channel, products) in event["subscriptions"].as_object().into_iter().flatten() {
            pending.remove(channel);
            for product in products.as_array().into_iter().flatten().filter_map(Value::as_str) {
                pending.remove(&awaited(channel, product));
            }
        }
    }
    Ok(())
}

fn cause(error: &[u8]) -> Cause {
    let has = |words: &[u8]| memchr::memmem::find(error, words).is_some();
    if has(b"rate limit") || has(b"Too many") || has(b"too many") { Cause::RateLimited } else { Cause::ProtocolError }
}

/// Decodes one message at a time; remembers the last sequence number and the books, and has room for the trades of one
/// message.
#[derive(Debug, Clone, Default)]
pub struct CoinbaseDecoder {
    last: Option<u64>,
    trades: Vec<TradeInput>,
    books: Vec<Book>,
}

impl CoinbaseDecoder {
    /// A decoder of a connection for so many products.
    #[must_use]
    pub fn new(products: usize) -> Self {
        CoinbaseDecoder { books: vec![Book::default(); products], ..CoinbaseDecoder::default() }
    }
}

impl Decoder for CoinbaseDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        let told = match template(frame) {
            Some((sequence, ticker)) => match self.missing(sequence) {
                0 => ticker.event(ts_recv_ns, symbols).map(&mut *sink),
                count => {
                    sink(Event::Lost(count));
                    Ok(())
                }
            },
            None => self.general(frame, ts_recv_ns, symbols, sink),
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
    bid_size: Option<&'a [u8]>,
    ask: Option<&'a [u8]>,
    ask_size: Option<&'a [u8]>,
    time: Option<Text<'a>>,
    snapshot: bool,
}

impl<'a> Ticker<'a> {
    fn read(&mut self, c: &mut Cursor<'a>) -> Result<(), Malformed> {
        c.object(|key, c| {
            let number = match key {
                b"best_bid" => &mut self.bid,
                b"best_bid_quantity" => &mut self.bid_size,
                b"best_ask" => &mut self.ask,
                b"best_ask_quantity" => &mut self.ask_size,
                b"product_id" => return c.text().map(|text| self.symbol = Some(text)),
                _ => return c.skip(),
            };
            // An empty side is an empty text.
            *number = if c.null() { None } else { Some(c.number()?).filter(|text| !text.is_empty()) };
            Ok(())
        })
    }

    fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let symbol = self.symbol.as_deref().ok_or(Reject::Expected("a product_id"))?;
        if self.bid.is_none() && self.ask.is_none() {
            return Err(Reject::Expected("a best_bid or a best_ask"));
        }
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: self.time.as_deref().map(utc_time).transpose()?,
            ts_recv_ns,
            bid: self.bid.map(|text| price("best_bid", text)).transpose()?,
            ask: self.ask.map(|text| price("best_ask", text)).transpose()?,
            bid_size: self.bid_size.map(|text| size("best_bid_quantity", text)).transpose()?,
            ask_size: self.ask_size.map(|text| size("best_ask_quantity", text)).transpose()?,
            source_seq: None,
            snapshot: self.snapshot,
        }))
    }
}

/// One ticker, exactly as the venue writes it today, and its sequence number.
pub(crate) fn template(frame: &[u8]) -> Option<(u64, Ticker<'_>)> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"channel\":\"ticker\",\"timestamp\":\"")?;
    let time = Some(Cow::Borrowed(c.until_quote()?));
    c.literal(b",\"sequence_num\":")?;
    let sequence = c.digits()?;
    c.literal(b",\"events\":[{\"type\":\"update\",\"tickers\":[{\"type\":\"ticker\",\"product_id\":\"")?;
    let mut ticker = Ticker { symbol: Some(Cow::Borrowed(c.until_quote()?)), time, ..Ticker::default() };
    for name in [
        &b",\"price\":\""[..],
        b",\"volume_24_h\":\"",
        b",\"low_24_h\":\"",
        b",\"high_24_h\":\"",
        b",\"low_52_w\":\"",
        b",\"high_52_w\":\"",
        b",\"price_percent_chg_24_h\":\"",
    ] {
        c.literal(name)?;
        c.until_quote()?;
    }
    for (name, field) in [
        (&b",\"best_bid\":\""[..], &mut ticker.bid),
        (b",\"best_ask\":\"", &mut ticker.ask),
        (b",\"best_bid_quantity\":\"", &mut ticker.bid_size),
        (b",\"best_ask_quantity\":\"", &mut ticker.ask_size),
    ] {
        c.literal(name)?;
        *field = Some(c.until_quote()?).filter(|text| !text.is_empty());
    }
    c.literal(b"}]}]}")?;
    c.end().ok()?;
    Some((sequence, ticker))
}

/// The outside of any message.
#[derive(Default)]
struct Envelope<'a> {
    channel: Option<Text<'a>>,
    time: Option<Text<'a>>,
    sequence: Option<u64>,
    events: Option<Cursor<'a>>,
    error: bool,
    message: Option<Text<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (mut envelope, mut cursor) = (Envelope::default(), Cursor::new(frame));
        cursor.object(|key, c| {
            match key {
                b"channel" => envelope.channel = Some(c.text()?),
                b"timestamp" => envelope.time = Some(c.text()?),
                b"sequence_num" => envelope.sequence = Some(c.whole()?),
                b"type" => envelope.error = *c.text()? == *b"error",
                b"message" => envelope.message = Some(c.text()?),
                b"events" => {
                    envelope.events = Some(c.clone());
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

/// What the elements of `events` hold that matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Tickers,
    Trades,
    Books,
}

impl CoinbaseDecoder {
    /// How many messages never came before the one with this number; it is the last one from now on. A number that is
    /// not above the last one is late, and nothing is missing before it.
    fn missing(&mut self, sequence: u64) -> u64 {
        let expected = self.last.map_or(sequence, |last| last.saturating_add(1));
        self.last = Some(sequence.max(self.last.unwrap_or(0)));
        sequence.saturating_sub(expected)
    }

    /// Any message, whatever the order of its keys and with whatever else it holds.
    fn general(
        &mut self,
        frame: &[u8],
        ts_recv_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let envelope = Envelope::read(frame)?;
        if envelope.error {
            sink(Event::Refused(cause(envelope.message.as_deref().unwrap_or_default())));
            return Ok(());
        }
        let count = envelope.sequence.map_or(0, |sequence| self.missing(sequence));
        if count > 0 {
            sink(Event::Lost(count));
            return Ok(());
        }
        let channel = match envelope.channel.as_deref() {
            Some(b"ticker" | b"ticker_batch") => Channel::Tickers,
            Some(b"market_trades") => Channel::Trades,
            Some(b"l2_data") => Channel::Books,
            Some(b"heartbeats" | b"subscriptions" | b"status") => {
                sink(Event::Alive);
                return Ok(());
            }
            _ => {
                return Err(Reject::Expected(
                    "the channel ticker, l2_data, market_trades, heartbeats or subscriptions",
                ));
            }
        };
        let mut events = envelope.events.ok_or(Reject::Expected("events"))?;
        let mut told = 0_usize;
        events.array(|c| {
            self.event(&mut c.clone(), channel, envelope.time.as_ref(), ts_recv_ns, symbols, &mut |event| {
                told += 1;
                sink(event);
            })?;
            c.skip()
        })?;
        if told == 0 {
            // A snapshot of trades, or a book whose best levels are as they were.
            sink(Event::Alive);
        }
        Ok(())
    }

    /// Applies the updates of a book, and gives the best levels if they have changed.
    fn book(
        &mut self,
        product: Option<&[u8]>,
        snapshot: bool,
        updates: &mut Cursor<'_>,
        symbols: &Symbols,
    ) -> Result<Option<TickInput>, Reject> {
        let found = symbols.find(product.ok_or(Reject::Expected("a product_id"))?)?;
        let book = self.books.get_mut(found.index).ok_or(Reject::UnknownSymbol)?;
        let before = book.top();
        if snapshot {
            book.clear();
        }
        let mut wrong = None;
        updates.array(|c| {
            if let Err(reject) = book.update(&mut c.clone()) {
                wrong = Some(reject);
            }
            c.skip()
        })?;
        if let Some(reject) = wrong {
            return Err(reject);
        }
        let (bid, bid_size, ask, ask_size) = book.top();
        let is_news = snapshot || (bid, bid_size, ask, ask_size) != before;
        Ok((is_news && (bid.is_some() || ask.is_some())).then(|| TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: None,
            ts_recv_ns: 0,
            bid,
            ask,
            bid_size,
            ask_size,
            source_seq: None,
            snapshot,
        }))
    }

    /// One element of `events`.
    fn event<'a>(
        &mut self,
        c: &mut Cursor<'a>,
        channel: Channel,
        time: Option<&Text<'a>>,
        ts_recv_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Malformed> {
        let (mut snapshot, mut items, mut product) = (false, None, None);
        c.object(|key, c| {
            match (key, channel) {
                (b"type", _) => snapshot = *c.text()? == *b"snapshot",
                (b"product_id", _) => product = Some(c.text()?),
                (b"tickers", Channel::Tickers) | (b"trades", Channel::Trades) | (b"updates", Channel::Books) => {
                    items = Some(c.clone());
                    c.skip()?;
                }
                _ => c.skip()?,
            }
            Ok(())
        })?;
        let Some(mut items) = items.filter(|_| !(snapshot && channel == Channel::Trades)) else { return Ok(()) };
        if channel == Channel::Books {
            let read = self.book(product.as_deref(), snapshot, &mut items, symbols);
            let time = time.map(|text| utc_time(text)).transpose();
            match read.and_then(|tick| Ok((tick, time?))) {
                Ok((Some(tick), ts_event_ns)) => sink(Event::Tick(TickInput { ts_event_ns, ts_recv_ns, ..tick })),
                Ok((None, _)) => {}
                Err(reject) => {
                    sink(Event::Reject(reject));
                    // A book with a level that could not be read is wrong until it comes anew.
                    sink(Event::Lost(1));
                }
            }
            return Ok(());
        }
        self.trades.clear();
        items.array(|c| {
            // The cursor goes on behind the item, whatever is wrong inside it.
            let mut item = c.clone();
            if channel == Channel::Tickers {
                let mut ticker = Ticker { snapshot, time: time.cloned(), ..Ticker::default() };
                let read = ticker.read(&mut item).map_err(Reject::from);
                sink(read.and_then(|()| ticker.event(ts_recv_ns, symbols)).unwrap_or_else(Event::Reject));
            } else {
                let mut trade = Trade::default();
                let read = trade.read(&mut item).map_err(Reject::from);
                match read.and_then(|()| trade.input(ts_recv_ns, symbols)) {
                    Ok(input) => self.trades.push(input),
                    Err(reject) => sink(Event::Reject(reject)),
                }
            }
            c.skip()
        })?;
        self.trades.iter().rev().for_each(|trade| sink(Event::Trade(*trade)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
