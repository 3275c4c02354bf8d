//! OANDA v20: the pricing stream, one JSON object per line over chunked HTTP.
//!
//! A side of the book may be empty; several levels come best first, and the first is the one that counts. Heartbeats
//! arrive every five seconds whether or not there are prices, so they say nothing about prices. The first price of each
//! instrument is the state at the subscription (`snapshot=true`). Past candles, the account and the list of instruments
//! come from the REST host.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Account, Adapter, Decoder, History, SettingsError, Stream, SymbolList};
use crate::config::Secret;
use crate::feeds::event::{Event, Reject, Symbols, price, size};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure, Http};
use crate::feeds::rate::Rate;
use crate::feeds::rest::Rest;
use crate::market::{Price, Size, TickInput, time_text};

mod account;
mod history;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Stream base, such as `https://stream-fxpractice.oanda.com`.
    pub base_url: String,
    /// REST base, such as `https://api-fxpractice.oanda.com`; by default the one that belongs to the stream's.
    pub rest_url: Option<String>,
    /// Account id, such as `101-004-1234567-001`.
    pub account: String,
    /// Bearer token.
    pub token: Secret,
}

/// One pricing stream of one account.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    http: Http,
    rest: Rest,
}

impl Adapter for Broker {
    const NAME: &'static str = "oanda";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"type":"PRICE","time":"2020-10-23T21:02:02.692522548Z","bids":[{"price":"1.18571","liquidity":10000000}],"asks":[{"price":"1.18671","liquidity":10000000}],"closeoutBid":"1.18571","closeoutAsk":"1.18671","status":"non-tradeable","tradeable":false,"instrument":"EUR_USD"}"#,
    );
    type Settings = Settings;

    fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.base_url =
            net::base_url(&settings.base_url, &["http", "https"]).map_err(|e| SettingsError::new("base_url", e))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if settings.account.is_empty() || !settings.account.chars().all(plain) {
            let problem =
                format!("\"{}\" is not an account id, expected one such as 101-004-1234567-001", settings.account);
            return Err(SettingsError::new("account", problem));
        }
        let rest = match &settings.rest_url {
            Some(url) => net::base_url(url, &["http", "https"]).map_err(|e| SettingsError::new("rest_url", e))?,
            // stream-fxpractice.oanda.com -> api-fxpractice.oanda.com
            None => settings.base_url.replacen("://stream-", "://api-", 1),
        };
        let http = Http::new(&settings.base_url);
        Ok(Broker { settings, http, rest: Rest::new(rest) })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.http.warm();
        self.settings.token.resolve().map(|_| ()).map_err(|e| SettingsError::new("token", e))
    }

    /// 20 streams of one address, by the venue's documents.
    fn connections_max() -> usize {
        20
    }

    /// `EURUSD` is `EUR_USD`: all of the venue's currency pairs and metals are three and three letters.
    fn venue_symbol(canonical: &str) -> String {
        match canonical.split_at_checked(3) {
            Some((base, quote)) if quote.len() == 3 => format!("{base}_{quote}"),
            _ => canonical.to_string(),
        }
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn account(&self) -> Option<&dyn Account> {
        Some(self)
    }

    fn symbol_list(&self) -> Option<&dyn SymbolList> {
        Some(self)
    }
}

impl Broker {
    /// The body of the REST host's answer. All that is asked of it goes through here: its limit counts every request.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let token = self.token()?;
        let headers = [("authorization", format!("Bearer {token}")), ("accept-datetime-format", "UNIX".into())];
        let answer = self.rest.get(path, query, &headers, error_message).await;
        answer.map_err(|failure| failure.without(&[&token]))
    }

    fn token(&self) -> Result<String, Failure> {
        self.settings.token.resolve().map_err(|e| Failure::new(Cause::LoginRefused, format!("token: {e}")))
    }
}

impl Stream for Broker {
    type Decoder = OandaDecoder;

    fn decoder(&self, symbols: &Symbols) -> OandaDecoder {
        OandaDecoder::new(symbols.len())
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// Two new connections a second of one address, by the venue's documents.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.settings.base_url), Rate::within(2, Duration::from_secs(1))))
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let token = self.token()?;
        let url = format!("{}/v3/accounts/{}/pricing/stream", self.settings.base_url, self.settings.account);
        let instruments = symbols.names().collect::<Vec<_>>().join(",");
        let query = [("instruments", instruments.as_str()), ("snapshot", "true")];
        let headers = [("authorization", format!("Bearer {token}")), ("accept-datetime-format", "RFC3339".into())];
        let response = self.http.get(&url, &query, &headers).await?;
        if response.status().is_success() {
            return Ok(Connection::lines(response));
        }
        let failure = net::refused(response, error_message).await;
        Err(failure.without(&[&token]))
    }
}

/// The words of `{"errorMessage":"…"}`.
fn error_message(body: &[u8]) -> Option<String> {
    let mut words = None;
    let read = Cursor::new(body).object(|key, c| match key {
        b"errorMessage" => {
            words = Some(String::from_utf8_lossy(&c.text()?).into_owned());
            Ok(())
        }
        _ => c.skip(),
    });
    read.ok().and(words)
}

/// Decodes one line at a time; knows which instruments it has seen on this connection.
#[derive(Debug, Clone)]
pub struct OandaDecoder {
    seen: Box<[bool]>,
}

impl OandaDecoder {
    /// A decoder for a new connection of a source with this many symbols.
    #[must_use]
    pub fn new(symbols: usize) -> Self {
        OandaDecoder { seen: vec![false; symbols].into_boxed_slice() }
    }

    fn event(&mut self, line: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let fields = match Fields::template(line) {
            Some(fields) => fields,
            None => Fields::read(line)?,
        };
        match fields.kind.as_deref() {
            Some(b"HEARTBEAT") => return Ok(Event::Alive),
            Some(b"PRICE") => {}
            // What ends a stream comes as an error object in place of a price.
            _ if fields.error => return Ok(Event::Refused(Cause::ProtocolError)),
            _ => return Err(Reject::Expected("type PRICE or HEARTBEAT")),
        }
        let found = symbols.find(&fields.instrument.ok_or(Reject::Expected("an instrument"))?)?;
        let (bid, bid_size) = fields.bid.unzip()?;
        let (ask, ask_size) = fields.ask.unzip()?;
        let snapshot = self.seen.get_mut(found.index).is_some_and(|seen| !std::mem::replace(seen, true));
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: Some(time(&fields.time.ok_or(Reject::Expected("a time"))?)?),
            ts_recv_ns,
            bid,
            ask,
            bid_size,
            ask_size,
            source_seq: None,
            snapshot,
        }))
    }
}

impl Decoder for OandaDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(self.event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

/// RFC 3339 in UTC, or seconds since 1970 with nine digits.
fn time(text: &[u8]) -> Result<i64, Reject> {
    let rfc = time_text::date_time(text).and_then(|t| t.offset_ns.map(|offset| t.local_ns - offset));
    rfc.or_else(|| time_text::unix_seconds(text)).ok_or(Reject::Expected("a time in RFC 3339 or UNIX form"))
}

/// One side of the book: the best level as text, where the side is not empty.
#[derive(Default)]
struct Side<'a> {
    best: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Side<'a> {
    /// The levels behind the opening bracket, and the closing one.
    fn template(c: &mut Cursor<'a>) -> Option<Self> {
        let mut best = None;
        if c.literal(b"]").is_some() {
            return Some(Side { best });
        }
        loop {
            let level = level(c)?;
            best = best.or(Some(level));
            if c.literal(b",").is_none() {
                c.literal(b"]")?;
                return Some(Side { best });
            }
        }
    }

    fn read(c: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut ahead = c.clone();
        if ahead.literal(b"[").is_some()
            && let Some(side) = Side::template(&mut ahead)
        {
            *c = ahead;
            return Ok(side);
        }
        let mut best = None;
        c.array(|c| {
            let mut ahead = c.clone();
            if let Some(level) = level(&mut ahead) {
                *c = ahead;
                best = best.or(Some(level));
                return Ok(());
            }
            if best.is_some() {
                return c.skip();
            }
            let (mut price, mut liquidity) = (None, None);
            c.object(|key, c| {
                match key {
                    b"price" => price = Some(c.number()?),
                    b"liquidity" => liquidity = Some(c.number()?),
                    _ => c.skip()?,
                }
                Ok(())
            })?;
            best = Some((
                price.ok_or(Malformed("a price in a level"))?,
                liquidity.ok_or(Malformed("liquidity in a level"))?,
            ));
            Ok(())
        })?;
        Ok(Side { best })
    }

    fn unzip(&self) -> Result<(Option<Price>, Option<Size>), Reject> {
        let Some((text, liquidity)) = self.best else { return Ok((None, None)) };
        Ok((Some(price("price", text)?), Some(size("liquidity", liquidity)?)))
    }
}

/// A level as it is nearly always written: its price and its liquidity, in either order.
#[inline]
fn level<'a>(c: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    if c.literal(b"{\"price\":\"").is_some() {
        let price = c.until_quote()?;
        c.literal(b",\"liquidity\":")?;
        let liquidity = c.number().ok()?;
        c.literal(b"}")?;
        return Some((price, liquidity));
    }
    c.literal(b"{\"liquidity\":")?;
    let liquidity = c.number().ok()?;
    c.literal(b",\"price\":\"")?;
    let price = c.until_quote()?;
    c.literal(b"}")?;
    Some((price, liquidity))
}

type Text<'a> = std::borrow::Cow<'a, [u8]>;

#[derive(Default)]
struct Fields<'a> {
    kind: Option<Text<'a>>,
    instrument: Option<Text<'a>>,
    time: Option<Text<'a>>,
    bid: Side<'a>,
    ask: Side<'a>,
    error: bool,
}

impl<'a> Fields<'a> {
    /// A price, exactly as the venue writes it today.
    fn template(line: &'a [u8]) -> Option<Self> {
        let mut c = Cursor::new(line);
        c.literal(b"{\"type\":\"PRICE\",\"time\":\"")?;
        let time = Some(Text::Borrowed(c.until_quote()?));
        c.literal(b",\"bids\":[")?;
        let bid = Side::template(&mut c)?;
        c.literal(b",\"asks\":[")?;
        let ask = Side::template(&mut c)?;
        c.literal(b",\"closeoutBid\":\"")?;
        c.until_quote()?;
        c.literal(b",\"closeoutAsk\":\"")?;
        c.until_quote()?;
        c.literal(b",\"status\":\"")?;
        c.until_quote()?;
        c.literal(b",\"tradeable\":")?;
        c.boolean().ok()?;
        c.literal(b",\"instrument\":\"")?;
        let instrument = Some(Text::Borrowed(c.until_quote()?));
        c.literal(b"}")?;
        c.end().ok()?;
        Some(Fields { kind: Some(Text::Borrowed(b"PRICE")), instrument, time, bid, ask, error: false })
    }

    fn read(line: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(line);
        cursor.object(|key, c| {
            match key {
                b"type" => fields.kind = Some(c.text()?),
                b"instrument" => fields.instrument = Some(c.text()?),
                b"time" => fields.time = Some(c.text()?),
                b"bids" => fields.bid = Side::read(c)?,
                b"asks" => fields.ask = Side::read(c)?,
                b"errorMessage" => {
                    fields.error = true;
                    c.skip()?;
                }
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
