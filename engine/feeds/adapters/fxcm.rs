//! FXCM's REST API with its socket.io stream. Written from the vendor's guide and sample clients; untried against the
//! vendor, whose service may be gone.
//!
//! The stream is socket.io over one WebSocket: packets of a digit or two and JSON. `0{…}` names the socket, `40` greets,
//! `2` and `3` are ping and pong, `42["EUR/USD","{…}"]` is a price whose JSON stands in a string. Everything else is an
//! HTTP request whose bearer is the socket's id and the token, so that it needs an open socket; a refusal may come as HTTP
//! 200 with `"executed":false`. `Rates` are bid, ask, high and low; `Updated` is in seconds or milliseconds, told apart by
//! magnitude. Prices are JSON numbers and read as written: one with more than nine places is refused, not rounded.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Account, Adapter, Decoder, History, SettingsError, Stream, SymbolList};
use crate::config::Secret;
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure, Http};
use crate::feeds::rate::Rate;
use crate::market::time_text::unix_by_magnitude;
use crate::market::{Price, TickInput};

mod history;
mod link;
mod tables;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Base of requests and of the stream, such as `https://api-demo.fxcm.com`.
    pub base_url: String,
    /// The persistent token.
    pub token: Secret,
    /// Id or name of the account to look at; by default the first one.
    #[serde(default)]
    pub account: String,
    /// The account's currency, which the venue's tables do not say.
    #[serde(default)]
    pub currency: String,
    /// Version of the protocol below socket.io, 3 or 4.
    #[serde(default = "engine_io")]
    pub engine_io: u8,
    /// How often to ping, in milliseconds.
    #[serde(default = "ping_ms")]
    pub ping_ms: u32,
    /// Most requests for past bars in a second; the vendor documents no limit.
    #[serde(default = "history::per_second")]
    pub history_per_second: u32,
}

fn engine_io() -> u8 {
    3
}

/// The vendor's sample answer asks for a ping every 25 s.
fn ping_ms() -> u32 {
    20_000
}

/// One token.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    stream_base: String,
    http: Http,
    past: history::Past,
}

impl Adapter for Broker {
    const NAME: &'static str = "fxcm";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"42["EUR/USD","{\"Updated\":1503314642123,\"Rates\":[1.17614,1.17637,1.1771,1.17298],\"Symbol\":\"EUR/USD\"}"]"#,
    );
    type Settings = Settings;

    fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.base_url =
            net::base_url(&settings.base_url, &["http", "https"]).map_err(|e| SettingsError::new("base_url", e))?;
        if !matches!(settings.engine_io, 3 | 4) {
            return Err(SettingsError::new("engine_io", format!("{}, expected 3 or 4", settings.engine_io)));
        }
        for (key, value) in [("ping_ms", settings.ping_ms), ("history_per_second", settings.history_per_second)] {
            if value == 0 {
                return Err(SettingsError::new(key, "0, expected at least 1"));
            }
        }
        // http -> ws, https -> wss
        let stream_base = settings.base_url.replacen("http", "ws", 1);
        let http = Http::kept(&settings.base_url);
        Ok(Broker { settings, stream_base, http, past: history::Past::default() })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.http.warm();
        self.settings.token.resolve().map(|_| ()).map_err(|e| SettingsError::new("token", e))
    }

    /// `EURUSD` is `EUR/USD`; what is not three and three letters is named as it is.
    fn venue_symbol(canonical: &str) -> String {
        match canonical.split_at_checked(3) {
            Some((base, quote)) if quote.len() == 3 => format!("{base}/{quote}"),
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

impl Stream for Broker {
    type Decoder = FxcmDecoder;

    fn decoder(&self, _: &Symbols) -> FxcmDecoder {
        FxcmDecoder::default()
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let link = self.link().await?;
        self.subscribe(&link.access, symbols).await?;
        Ok(link.connection)
    }

    /// All that is asked of the host counts.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((History::host(self), History::rate(self)))
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.settings.ping_ms.into()))
    }
}

/// Decodes one packet at a time; keeps room for the JSON that comes in a string.
#[derive(Debug, Clone, Default)]
pub struct FxcmDecoder {
    text: Vec<u8>,
}

impl Decoder for FxcmDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(self.event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

impl FxcmDecoder {
    fn event(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        match frame {
            [b'4', b'2', update @ ..] => self.tick(update, ts_recv_ns, symbols).map(Event::Tick),
            [b'4', b'4', words @ ..] => Ok(Event::Refused(cause(words))),
            b"1" | [b'4', b'1', ..] => Ok(Event::Leaving),
            b"6" | [b'0', b'{', ..] | [b'2' | b'3', ..] | [b'4', b'0', ..] => Ok(Event::Alive),
            _ => Err(Reject::Expected("a packet of socket.io")),
        }
    }

    /// A price from `["EUR/USD","{…}"]`; the update may also be an object that stands for itself.
    fn tick(&mut self, update: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<TickInput, Reject> {
        let (mut name, mut told, mut place) = (None, None, 0);
        let mut cursor = Cursor::new(update);
        cursor.array(|c| {
            place += 1;
            match place {
                1 => name = Some(c.text()?),
                2 => told = Some(c.raw()?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        let (name, told) = name.zip(told).ok_or(Reject::Expected("a name and an update"))?;
        let json = match told.first() {
            Some(b'"') => {
                unescape(told, &mut self.text)?;
                self.text.as_slice()
            }
            _ => told,
        };
        let fields = Fields::read(json)?;
        let [bid, ask] = fields.rates.ok_or(Reject::Expected("Rates"))?;
        let symbol = fields.symbol.as_deref().unwrap_or(&name);
        let time = fields.updated.map(|at| unix_by_magnitude(at).ok_or(Reject::Expected("a UNIX time in Updated")));
        Ok(TickInput {
            source: symbols.source(),
            instrument: symbols.find(symbol)?.instrument,
            ts_event_ns: time.transpose()?,
            ts_recv_ns,
            bid: rate(bid)?,
            ask: rate(ask)?,
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        })
    }
}

fn rate(text: Option<&[u8]>) -> Result<Option<Price>, Reject> {
    text.map(|text| price("Rates", text)).transpose()
}

/// The text of a JSON string, given with its quotes. The venue's JSON needs no escapes but these.
fn unescape(quoted: &[u8], into: &mut Vec<u8>) -> Result<(), Malformed> {
    into.clear();
    let mut bytes = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().iter();
    while let Some(byte) = bytes.next() {
        into.push(match byte {
            b'\\' => match bytes.next() {
                Some(escaped @ (b'"' | b'\\' | b'/')) => *escaped,
                _ => return Err(Malformed("no escapes but those of quotes and slashes")),
            },
            plain => *plain,
        });
    }
    Ok(())
}

/// What refuses: too many requests, or anything else.
fn cause(words: &[u8]) -> Cause {
    let has = |part: &[u8]| memchr::memmem::find(words, part).is_some();
    // The database's own error is what the vendor documents for its limits.
    if has(b"Too many") || has(b"too many") || has(b"ORA-20301") { Cause::RateLimited } else { Cause::ProtocolError }
}

#[derive(Default)]
struct Fields<'a> {
    symbol: Option<std::borrow::Cow<'a, [u8]>>,
    updated: Option<u64>,
    /// Bid and ask; null is an empty side.
    rates: Option<[Option<&'a [u8]>; 2]>,
}

impl<'a> Fields<'a> {
    fn read(json: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(json);
        cursor.object(|key, c| {
            match key {
                b"Symbol" => fields.symbol = Some(c.text()?),
                b"Updated" => fields.updated = Some(c.whole()?),
                b"Rates" => fields.rates = Some(rates(c)?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(fields)
    }
}

/// The first two numbers of `[bid, ask, high, low]`.
fn rates<'a>(c: &mut Cursor<'a>) -> Result<[Option<&'a [u8]>; 2], Malformed> {
    let (mut sides, mut place) = ([None; 2], 0);
    c.array(|c| {
        match sides.get_mut(place) {
            Some(side) => *side = if c.null() { None } else { Some(c.number()?) },
            None => c.skip()?,
        }
        place += 1;
        Ok(())
    })?;
    if place < 2 { Err(Malformed("bid and ask in Rates")) } else { Ok(sides) }
}

#[cfg(test)]
mod tests;
