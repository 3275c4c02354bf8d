//! Binance USD-M futures: the combined stream of `bookTicker` and trades, in spot's messages with a few more fields.
//!
//! A `bookTicker` has a time here. The venue serves its streams under three paths: `/public` has `bookTicker`, and
//! `trade`, which is recorded and widely used but not documented; the documented `aggTrade` (fills of one taker at one
//! price added up) is under `/market`, which has no `bookTicker`. So a connection with `aggTrade` has trades alone where
//! the venue keeps the paths apart. A fill of the insurance fund or of an auto-deleveraging (`X` other than `MARKET`) is
//! not a trade of the market and is left out.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::binance::candles::Klines;
use super::binance::{AGE_MAX, CONNECTIONS_MAX, CONNECTIONS_WINDOW, Message, STREAMS_MAX, general};
use super::candles::Candles;
use super::{Adapter, Decoder, History, SettingsError, Stream};
use crate::feeds::event::{Event, Symbols};
use crate::feeds::json::Cursor;
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// WebSocket base with its path, such as `wss://fstream.binance.com/public`.
    pub base_url: String,
    /// Which stream of trades to subscribe beside `bookTicker`.
    #[serde(default)]
    pub trades: Trades,
    /// HTTP base for past bars, such as `https://fapi.binance.com`; without it there are none.
    pub rest_url: Option<String>,
}

/// A stream of trades.
#[derive(Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trades {
    /// Every fill.
    #[default]
    #[serde(rename = "trade")]
    Each,
    /// Fills of one taker at one price, added up.
    #[serde(rename = "aggTrade")]
    Aggregated,
    /// None.
    #[serde(rename = "none")]
    Off,
}

/// One connection to Binance's USD-M futures.
#[derive(Debug)]
pub struct Broker {
    base: String,
    trades: Trades,
    history: Option<Candles<Klines>>,
}

impl Adapter for Broker {
    const NAME: &'static str = "binance_usdm";
    const EXAMPLE: (&'static str, &'static str) = (
        "BTCUSDT",
        r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let base = net::base_url(&settings.base_url, &["ws", "wss"]).map_err(|e| SettingsError::new("base_url", e))?;
        let history = Candles::new(settings.rest_url.as_ref(), Klines("/fapi/v1/klines"))?;
        Ok(Broker { base, trades: settings.trades, history })
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
    type Decoder = UsdmDecoder;

    fn decoder(&self, _: &Symbols) -> UsdmDecoder {
        UsdmDecoder
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let kinds: &[&str] = match self.trades {
            Trades::Each => &["bookTicker", "trade"],
            Trades::Aggregated => &["bookTicker", "aggTrade"],
            Trades::Off => &["bookTicker"],
        };
        let of = |name: &str| kinds.iter().map(|kind| format!("{}@{kind}", name.to_lowercase())).collect::<Vec<_>>();
        let streams: Vec<_> = symbols.names().flat_map(of).collect();
        net::websocket(&format!("{}/stream?streams={}", self.base, streams.join("/"))).await
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// As on the spot market.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.base), Rate::within(CONNECTIONS_MAX, CONNECTIONS_WINDOW)))
    }

    fn age_max(&self) -> Option<Duration> {
        Some(AGE_MAX)
    }
}

/// Decodes one message of the stream at a time; has no state.
#[derive(Debug, Clone, Copy)]
pub struct UsdmDecoder;

impl Decoder for UsdmDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        let read = match template(frame) {
            Some(read) => Ok(read),
            None => general(frame),
        };
        sink(read.and_then(|m| m.event(ts_recv_ns, symbols)).unwrap_or_else(Event::Reject));
    }
}

/// The two messages that are nearly all of the stream, exactly as the venue writes them today.
pub(crate) fn template(frame: &[u8]) -> Option<Message<'_>> {
    let mut c = Cursor::new(frame);
    c.literal(b"{\"stream\":\"")?;
    c.until_quote()?;
    c.literal(b",\"data\":{\"e\":\"")?;
    let message = if c.literal(b"bookTicker\",\"u\":").is_some() { book(&mut c)? } else { trade(&mut c)? };
    c.literal(b"}}")?;
    c.end().ok()?;
    Some(message)
}

fn book<'a>(c: &mut Cursor<'a>) -> Option<Message<'a>> {
    let update = Some(c.digits()?);
    c.literal(b",\"s\":\"")?;
    let symbol = Cow::Borrowed(c.until_quote()?);
    let mut sides: [&[u8]; 4] = [b""; 4];
    for (name, side) in [b",\"b\":\"", b",\"B\":\"", b",\"a\":\"", b",\"A\":\""].into_iter().zip(&mut sides) {
        c.literal(name)?;
        *side = c.until_quote()?;
    }
    c.literal(b",\"T\":")?;
    let time = Some(c.digits()?);
    c.literal(b",\"E\":")?;
    c.digits()?;
    Some(Message::Book { update, symbol, sides, time })
}

fn trade<'a>(c: &mut Cursor<'a>) -> Option<Message<'a>> {
    c.literal(b"trade\",\"E\":")?;
    c.digits()?;
    c.literal(b",\"T\":")?;
    let time = c.digits()?;
    c.literal(b",\"s\":\"")?;
    let symbol = Cow::Borrowed(c.until_quote()?);
    c.literal(b",\"t\":")?;
    let id = Some(c.digits()?);
    c.literal(b",\"p\":\"")?;
    let price = c.until_quote()?;
    c.literal(b",\"q\":\"")?;
    let size = c.until_quote()?;
    c.literal(b",\"X\":\"MARKET\",\"m\":")?;
    let buyer_rests = c.boolean().ok()?;
    Some(Message::Trade { id, symbol, price, size, time, buyer_rests })
}

#[cfg(test)]
mod tests;
