//! Binance spot: the combined stream of `bookTicker` and `trade`. The futures' messages are read here too.
//!
//! A `bookTicker` has no time: the receive time is all there is, and `u` orders it. `m: true` in a trade means that the
//! buyer's order was resting, so the aggressor sold.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::{Aggressor, Cause};

use super::candles::Candles;
use super::{Adapter, Decoder, History, SettingsError, Stream};
use crate::feeds::event::{Event, Reject, Symbols, price, size};
use crate::feeds::json::{Cursor, Malformed, whole};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::market::time_text::unix_by_magnitude;
use crate::market::{TickInput, TradeInput};

pub(super) mod candles;

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
    /// HTTP base for past bars, such as `https://api.binance.com`; without it there are none.
    pub rest_url: Option<String>,
}

/// One connection to Binance.
#[derive(Debug)]
pub struct Broker {
    base: String,
    history: Option<Candles<candles::Klines>>,
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
        Ok(Broker { base, history })
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
        let read = match template(frame) {
            Some(read) => Ok(read),
            None => general(frame),
        };
        sink(read.and_then(|m| m.event(ts_recv_ns, symbols)).unwrap_or_else(Event::Reject));
    }
}

/// A message as text, before its numbers are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A price: update number, symbol, and bid, bid size, ask, ask size.
    Book { update: Option<u64>, symbol: Name<'a>, sides: [&'a [u8]; 4], time: Option<u64> },
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

impl Message<'_> {
    pub(super) fn event(&self, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        match self {
            Message::Book { update, symbol, sides: [bid, bid_size, ask, ask_size], time } => {
                Ok(Event::Tick(TickInput {
                    source: symbols.source(),
                    instrument: symbols.find(symbol)?.instrument,
                    ts_event_ns: time.and_then(unix_by_magnitude),
                    ts_recv_ns,
                    bid: Some(price("b", bid)?),
                    ask: Some(price("a", ask)?),
                    bid_size: Some(size("B", bid_size)?),
                    ask_size: Some(size("A", ask_size)?),
                    source_seq: *update,
                    snapshot: false,
                }))
            }
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

/// The two messages that are nearly all of the stream, exactly as the venue writes them today.
pub(crate) fn template(frame: &[u8]) -> Option<Message<'_>> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"stream\":\"")?;
    c.until_quote()?;
    c.literal(b",\"data\":{\"")?;
    if c.literal(b"u\":").is_some() {
        let update = Some(c.digits()?);
        c.literal(b",\"s\":\"")?;
        let symbol = Name::Borrowed(c.until_quote()?);
        let mut sides: [&[u8]; 4] = [b""; 4];
        for (name, side) in [b",\"b\":\"", b",\"B\":\"", b",\"a\":\"", b",\"A\":\""].into_iter().zip(&mut sides) {
            c.literal(name)?;
            *side = c.until_quote()?;
        }
        c.literal(b"}}")?;
        c.end().ok()?;
        return Some(Message::Book { update, symbol, sides, time: None });
    }
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
                [Some(b), Some(bs), Some(a), Some(az)] => Ok(Message::Book {
                    update: self.update,
                    symbol: self.symbol.ok_or(Reject::Expected("a symbol in s"))?,
                    sides: [b, bs, a, az],
                    time: self.time,
                }),
                _ => Err(Reject::Expected("prices and sizes in b, B, a and A")),
            },
            Some(_) => Err(Reject::Expected("a bookTicker or a trade")),
        }
    }
}

#[cfg(test)]
mod tests;
