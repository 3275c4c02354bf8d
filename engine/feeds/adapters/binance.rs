//! Binance spot: the combined stream of `bookTicker` and `trade`. The futures' messages are read here too.
//!
//! A `bookTicker` has no time: the receive time is all there is, and `u` orders it. `m: true` in a trade means that the
//! buyer's order was resting, so the aggressor sold.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::{Aggressor, Cause};

use super::candles::Candles;
use super::listing::Listing;
use super::{Adapter, Decoder, History, MANY_CONNECTIONS, SettingsError, Stream, SymbolList};
use crate::feeds::event::{Event, Found, Reject, Symbols, price, size};
use crate::feeds::json::{Cursor, Malformed, whole};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::market::time_text::unix_by_magnitude;
use crate::market::{Price, Size, TickInput, TradeInput};

pub(super) mod candles;
pub(super) mod symbols;

/// The venue closes connections at 24 h; ours ends sooner, at a time of our choosing.
pub(super) const AGE_MAX: Duration = Duration::from_secs(23 * 3_600 + 50 * 60);

/// Connection attempts of one address that the venue allows in a window.
pub(super) const CONNECTIONS_MAX: u32 = 300;
pub(super) const CONNECTIONS_WINDOW: Duration = Duration::from_secs(300);

/// Streams on one connection; two are used per symbol.
pub(super) const STREAMS_MAX: usize = 1_024;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// WebSocket base, such as `wss://stream.binance.com:9443`.
    pub base_url: String,
    /// HTTP base for past bars and the list of symbols, such as `https://api.binance.com`; without it there are neither.
    pub rest_url: Option<String>,
}

/// One connection to Binance.
#[derive(Debug)]
pub struct Broker {
    base: String,
    history: Option<Candles<candles::Klines>>,
    listing: Option<Listing>,
}

impl Adapter for Broker {
    const NAME: &'static str = "binance";
    const EXAMPLE: (&'static str, &'static str) = (
        "BTCUSDT",
        r#"{"stream":"btcusdt@bookTicker","data":{"u":400900217,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let base = net::base_url(&settings.base_url, &["ws", "wss"]).map_err(|e| SettingsError::new("base_url", e))?;
        let history = Candles::new(settings.rest_url.as_ref(), candles::Klines("/api/v3/klines"))?;
        let listing = Listing::new(
            settings.rest_url.as_ref(),
            symbols::form("/api/v3/exchangeInfo", vec![("showPermissionSets", "false")]),
        )?;
        Ok(Broker { base, history, listing })
    }

    fn connections_max() -> usize {
        MANY_CONNECTIONS
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_lowercase()
    }

    fn wire_symbol(venue: &str) -> String {
        venue.to_uppercase()
    }

    fn symbols_max() -> usize {
        STREAMS_MAX / 2
    }

    fn history(&self) -> Option<&dyn History> {
        self.history.as_ref().map(|history| history as &dyn History)
    }

    fn symbol_list(&self) -> Option<&dyn SymbolList> {
        self.listing.as_ref().map(|listing| listing as &dyn SymbolList)
    }
}

impl Stream for Broker {
    type Decoder = BinanceDecoder;

    fn decoder(&self, _: &Symbols) -> BinanceDecoder {
        BinanceDecoder
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let streams: Vec<_> = symbols
            .names()
            .map(str::to_lowercase)
            .flat_map(|s| [format!("{s}@bookTicker"), format!("{s}@trade")])
            .collect();
        net::websocket(&format!("{}/stream?streams={}", self.base, streams.join("/"))).await
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// 300 attempts in five minutes of one address, by the venue's documents.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.base), Rate::within(CONNECTIONS_MAX, CONNECTIONS_WINDOW)))
    }

    fn age_max(&self) -> Option<Duration> {
        Some(AGE_MAX)
    }
}

/// Decodes one message of the stream at a time; has no state.
#[derive(Debug, Clone, Copy)]
pub struct BinanceDecoder;

impl Decoder for BinanceDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        if let Some(book) = Book::template(frame) {
            return sink(book.event(ts_recv_ns, symbols));
        }
        let read = template(frame).map_or_else(|| general(frame), Ok);
        sink(read.and_then(|m| m.event(ts_recv_ns, symbols)).unwrap_or_else(Event::Reject));
    }
}

/// A message before it is known what its symbol stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A price.
    Book { symbol: Name<'a>, best: Best },
    /// A trade.
    Trade { id: Option<u64>, symbol: Name<'a>, price: &'a [u8], size: &'a [u8], time: u64, buyer_rests: bool },
    /// `{"result":null,"id":1}`.
    Acknowledged,
    /// A fill of the insurance fund or of an auto-deleveraging, at no price of the market (futures).
    OffMarket,
    /// The server is about to go away.
    Shutdown,
    /// `{"error":{…}}` or `{"code":-1121,"msg":"…"}`.
    Refused(Cause),
}

type Name<'a> = std::borrow::Cow<'a, [u8]>;

/// The best prices and their sizes; their update number and time, where they have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Best {
    pub(crate) update: Option<u64>,
    pub(crate) bid: Price,
    pub(crate) bid_size: Size,
    pub(crate) ask: Price,
    pub(crate) ask_size: Size,
    pub(crate) time: Option<u64>,
}

/// A `bookTicker` exactly as the venue writes it today.
// All of it is inlined: half of the time of a message that is taken to pieces so fast goes into moving the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Book<'a> {
    pub(crate) symbol: &'a [u8],
    pub(crate) best: Best,
}

impl<'a> Book<'a> {
    /// Spot's, which has no time.
    #[inline(always)]
    fn template(frame: &'a [u8]) -> Option<Book<'a>> {
        let mut c = Cursor::new(frame);
        c.literal(b"{\"stream\":\"")?;
        c.until_quote()?;
        c.literal(b",\"data\":{\"u\":")?;
        let book = Book::best(&mut c)?;
        c.literal(b"}}")?;
        c.end().ok()?;
        Some(book)
    }

    /// From the update number up to the quote behind the last size.
    #[inline(always)]
    pub(super) fn best(c: &mut Cursor<'a>) -> Option<Book<'a>> {
        let update = Some(c.digits()?);
        c.literal(b",\"s\":\"")?;
        let symbol = c.until_quote()?;
        c.literal(b",\"b\":\"")?;
        let bid = c.price_until_quote()?;
        c.literal(b",\"B\":\"")?;
        let bid_size = c.size_until_quote()?;
        c.literal(b",\"a\":\"")?;
        let ask = c.price_until_quote()?;
        c.literal(b",\"A\":\"")?;
        let ask_size = c.size_until_quote()?;
        Some(Book { symbol, best: Best { update, bid, bid_size, ask, ask_size, time: None } })
    }

    #[inline(always)]
    pub(super) fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Event {
        match symbols.find(self.symbol) {
            Ok(found) => self.best.event(found, ts_recv_ns, symbols),
            Err(reject) => Event::Reject(reject),
        }
    }
}

impl Best {
    #[inline(always)]
    fn event(&self, found: Found, ts_recv_ns: i64, symbols: &Symbols) -> Event {
        Event::Tick(TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: self.time.and_then(unix_by_magnitude),
            ts_recv_ns,
            bid: Some(self.bid),
            ask: Some(self.ask),
            bid_size: Some(self.bid_size),
            ask_size: Some(self.ask_size),
            source_seq: self.update,
            snapshot: false,
        })
    }
}

impl Message<'_> {
    #[inline]
    pub(super) fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        match self {
            Message::Book { symbol, best } => Ok(best.event(symbols.find(symbol)?, ts_recv_ns, symbols)),
            Message::Trade { id, symbol, price: paid, size: traded, time, buyer_rests } => {
                Ok(Event::Trade(TradeInput {
                    source: symbols.source(),
                    instrument: symbols.find(symbol)?.instrument,
                    ts_event_ns: unix_by_magnitude(*time),
                    ts_recv_ns,
                    price: price("p", paid)?,
                    size: Some(size("q", traded)?),
                    trade_id: *id,
                    aggressor: if *buyer_rests { Aggressor::Sell } else { Aggressor::Buy },
                }))
            }
            Message::Acknowledged | Message::OffMarket => Ok(Event::Alive),
            Message::Shutdown => Ok(Event::Leaving),
            Message::Refused(cause) => Ok(Event::Refused(*cause)),
        }
    }
}

/// A trade, exactly as the venue writes it today.
fn template(frame: &[u8]) -> Option<Message<'_>> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"stream\":\"")?;
    c.until_quote()?;
    c.literal(b",\"data\":{\"")?;
    c.literal(b"e\":\"trade\",\"E\":")?;
    c.digits()?;
    c.literal(b",\"s\":\"")?;
    let symbol = Name::Borrowed(c.until_quote()?);
    c.literal(b",\"t\":")?;
    let id = Some(c.digits()?);
    c.literal(b",\"p\":\"")?;
    let price = c.until_quote()?;
    c.literal(b",\"q\":\"")?;
    let size = c.until_quote()?;
    c.literal(b",\"T\":")?;
    let time = c.digits()?;
    c.literal(b",\"m\":")?;
    let buyer_rests = c.boolean().ok()?;
    c.literal(b",\"M\":")?;
    c.boolean().ok()?;
    c.literal(b"}}")?;
    c.end().ok()?;
    Some(Message::Trade { id, symbol, price, size, time, buyer_rests })
}

/// The fields of any message, before it is known which it is.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Name<'a>>,
    symbol: Option<Name<'a>>,
    sides: [Option<&'a [u8]>; 4],
    update: Option<u64>,
    id: Option<u64>,
    price: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    time: Option<u64>,
    buyer_rests: Option<bool>,
    off_market: bool,
    result: bool,
    refused: Option<Cause>,
    enveloped: bool,
}

/// Any message, whatever the order of its keys and with whatever else it holds, in the combined envelope or bare.
pub(crate) fn general(frame: &[u8]) -> Result<Message<'_>, Reject> {
    let mut fields = Fields::default();
    let mut cursor = Cursor::new(frame);
    cursor.object(|key, c| envelope(key, c, &mut fields))?;
    cursor.end()?;
    fields.message()
}

fn envelope<'a>(key: &[u8], c: &mut Cursor<'a>, fields: &mut Fields<'a>) -> Result<(), Malformed> {
    match key {
        b"stream" => c.skip(),
        b"data" => {
            fields.enveloped = true;
            c.object(|key, c| field(key, c, fields))
        }
        b"result" => {
            fields.result = true;
            c.skip()
        }
        b"error" => {
            fields.refused = Some(Cause::ProtocolError);
            c.object(|key, c| if key == b"code" { code(c, fields) } else { c.skip() })
        }
        b"code" => code(c, fields),
        b"id" | b"msg" => c.skip(),
        _ => field(key, c, fields),
    }
}

/// -1003 is "too many requests"; all other codes say that we asked for something wrong.
fn code(c: &mut Cursor<'_>, fields: &mut Fields<'_>) -> Result<(), Malformed> {
    fields.refused = Some(if c.number()? == b"-1003" { Cause::RateLimited } else { Cause::ProtocolError });
    Ok(())
}

fn field<'a>(key: &[u8], c: &mut Cursor<'a>, f: &mut Fields<'a>) -> Result<(), Malformed> {
    match key {
        b"e" => f.kind = Some(c.text()?),
        b"s" => f.symbol = Some(c.text()?),
        b"u" => f.update = Some(c.whole()?),
        b"t" => f.id = Some(c.whole()?),
        b"T" => f.time = Some(c.whole()?),
        b"p" => f.price = Some(c.number()?),
        b"q" => f.size = Some(c.number()?),
        b"m" => f.buyer_rests = Some(c.boolean()?),
        b"X" => f.off_market = *c.text()? != *b"MARKET",
        // Prices here, arrays of levels in messages that we do not subscribe.
        b"b" | b"B" | b"a" | b"A" => {
            let mut ahead = c.clone();
            match (ahead.number(), key) {
                (Ok(text), b"b") => f.sides[0] = Some(text),
                (Ok(text), b"B") => f.sides[1] = Some(text),
                (Ok(text), b"a") => f.sides[2] = Some(text),
                (Ok(text), _) => f.sides[3] = Some(text),
                (Err(_), _) => return c.skip(),
            }
            *c = ahead;
        }
        _ => c.skip()?,
    }
    Ok(())
}

impl<'a> Fields<'a> {
    fn message(self) -> Result<Message<'a>, Reject> {
        if let (Some(cause), false) = (self.refused, self.enveloped) {
            return Ok(Message::Refused(cause));
        }
        if self.result && !self.enveloped {
            return Ok(Message::Acknowledged);
        }
        match self.kind.as_deref() {
            Some(b"serverShutdown") => Ok(Message::Shutdown),
            Some(b"trade") if self.off_market => Ok(Message::OffMarket),
            // An aggregated trade has its number where a price has its ask.
            Some(kind @ (b"trade" | b"aggTrade")) => Ok(Message::Trade {
                id: if kind == b"trade" { self.id } else { self.sides[2].and_then(whole) },
                symbol: self.symbol.ok_or(Reject::Expected("a symbol in s"))?,
                price: self.price.ok_or(Reject::Expected("a price in p"))?,
                size: self.size.ok_or(Reject::Expected("a size in q"))?,
                time: self.time.ok_or(Reject::Expected("a time in T"))?,
                buyer_rests: self.buyer_rests.ok_or(Reject::Expected("true or false in m"))?,
            }),
            None | Some(b"bookTicker") => match self.sides {
                [Some(bid), Some(bid_size), Some(ask), Some(ask_size)] => Ok(Message::Book {
                    symbol: self.symbol.ok_or(Reject::Expected("a symbol in s"))?,
                    best: Best {
                        update: self.update,
                        bid: price("b", bid)?,
                        bid_size: size("B", bid_size)?,
                        ask: price("a", ask)?,
                        ask_size: size("A", ask_size)?,
                        time: self.time,
                    },
                }),
                _ => Err(Reject::Expected("prices and sizes in b, B, a and A")),
            },
            Some(_) => Err(Reject::Expected("a bookTicker or a trade")),
        }
    }
}

#[cfg(test)]
mod tests;
