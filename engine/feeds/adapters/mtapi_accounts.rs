//! The accounts API of the "mtapi" kind: bearer key, everything below `/v1/accounts/{account}`, prices by asking.
//!
//! No vendor documents it; one public client shows most of it. What that leaves open is a key here, or taken in every form
//! that was seen: times in seconds, milliseconds or ISO text; `/prices` as a bare list or as the member `prices` or `data`.
//! Errors are an object with `error` and `message`. An answer with the price from before is no tick, but keeps the source
//! live, as with [`super::json_poll`].

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Account, Adapter, Decoder, History, SettingsError, Stream, SymbolList};
use crate::config::Secret;
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::fields::Polled;
use crate::feeds::json::Cursor;
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::poll::{Poller, Question};
use crate::feeds::rate::Rate;
use crate::feeds::rest::Rest;
use crate::market::{BrokerClock, BrokerTime, TickInput, time_text};

mod rest;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// HTTP base, in front of `/v1`. There is no default: nobody documents a host.
    pub base_url: String,
    /// The account in the paths.
    pub account: String,
    /// The bearer key.
    pub key: Secret,
    /// Which endpoint prices are asked of.
    #[serde(default)]
    pub prices: Prices,
    /// Time from one round of requests to the next, in milliseconds.
    #[serde(default = "interval_ms")]
    pub interval_ms: u32,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// How long unchanged answers keep the source live, in milliseconds; 0: for ever.
    #[serde(default)]
    pub unchanged_max_ms: u32,
    /// The clock of times that are text without an offset.
    #[serde(default = "broker_time")]
    pub broker_time: String,
    /// Most bars of one request.
    #[serde(default = "rest::bars_max")]
    pub history_bars: u32,
    /// Most requests for past bars in a second.
    #[serde(default = "history_per_second")]
    pub history_per_second: u32,
    /// How the parameter `from` of past bars is written.
    #[serde(default)]
    pub history_from: rest::From,
}

/// Which endpoint prices are asked of.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Prices {
    /// `/symbols/{symbol}/price`, one after the other.
    #[default]
    Symbol,
    /// `/prices`, all at once.
    All,
}

fn interval_ms() -> u32 {
    1_000
}

fn timeout_ms() -> u32 {
    5_000
}

fn history_per_second() -> u32 {
    5
}

fn broker_time() -> String {
    "utc".into()
}

/// One account.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    broker_time: BrokerTime,
    rest: Rest,
}

impl Adapter for Broker {
    const NAME: &'static str = "mtapi-accounts";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"symbol":"EURUSD","bid":1.0851,"ask":1.08523,"last":1.0851,"timestamp":"2024-05-17T10:15:30.123Z"}"#,
    );
    type Settings = Settings;

    fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.base_url =
            net::base_url(&settings.base_url, &["http", "https"]).map_err(|e| SettingsError::new("base_url", e))?;
        let broker_time =
            BrokerTime::from_str(&settings.broker_time).map_err(|e| SettingsError::new("broker_time", e))?;
        if settings.account.is_empty() {
            return Err(SettingsError::new("account", "is empty, expected the account's id in the paths"));
        }
        for (key, value, most) in [
            ("interval_ms", settings.interval_ms, 3_600_000),
            ("timeout_ms", settings.timeout_ms, 3_600_000),
            ("history_bars", settings.history_bars, rest::bars_max()),
            ("history_per_second", settings.history_per_second, 1_000_000),
        ] {
            if !(1..=most).contains(&value) {
                return Err(SettingsError::new(key, format!("{value}, expected 1 to {most}")));
            }
        }
        let rest = Rest::new(settings.base_url.clone());
        Ok(Broker { settings, broker_time, rest })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.settings.key.resolve().map(|_| ()).map_err(|e| SettingsError::new("key", e))
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
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
    type Decoder = AccountsDecoder;

    fn decoder(&self, symbols: &Symbols) -> AccountsDecoder {
        let unchanged_max_ns = i64::from(self.settings.unchanged_max_ms) * 1_000_000;
        let polled = Polled::new(symbols.len(), unchanged_max_ns);
        AccountsDecoder { clock: BrokerClock::new(self.broker_time), polled }
    }

    /// All that is asked of the host counts.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((History::host(self), History::rate(self)))
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let key = self.key()?;
        let headers = Self::headers(&key).map(|(name, value)| (name.to_string(), value));
        let headers = net::headers(headers.iter().map(|(name, value)| (name, value.clone())));
        let headers = headers.map_err(|e| Failure::new(Cause::LoginRefused, format!("key: {e}")))?;
        let url = |tail: &[&str]| format!("{}{}", self.settings.base_url, self.path(tail));
        let questions = match self.settings.prices {
            Prices::All => vec![Question { symbol: None, url: url(&["prices"]) }],
            Prices::Symbol => symbols
                .names()
                .map(|name| Question { symbol: Some(name.to_string()), url: url(&["symbols", name, "price"]) })
                .collect(),
        };
        let (interval, timeout) = (self.settings.interval_ms, self.settings.timeout_ms);
        let (interval, timeout) = (Duration::from_millis(interval.into()), Duration::from_millis(timeout.into()));
        let poller = Poller::open(questions, headers, interval, timeout).await;
        let poller = poller.map_err(|failure| failure.without(&[&key]))?;
        Ok(Connection::polls(poller).with_secret(key))
    }

    fn overlaps(&self) -> bool {
        true
    }
}

/// Nanoseconds UTC of a time in seconds (with decimals or without), milliseconds, or text, on `clock` where the text has no
/// offset.
fn time_ns(clock: &mut BrokerClock, raw: &[u8]) -> Option<i64> {
    let text = match raw.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
        Some(text) => text,
        None => raw,
    };
    if let Some(time) = time_text::date_time(text) {
        return Some(match time.offset_ns {
            Some(offset_ns) => time.local_ns - offset_ns,
            None => clock.utc_ns(time.local_ns),
        });
    }
    match crate::feeds::json::whole(text) {
        Some(whole) => time_text::unix_by_magnitude(whole),
        None => time_text::unix_seconds(text).filter(|ns| time_text::unix_by_magnitude(ns.unsigned_abs()) == Some(*ns)),
    }
}

/// Decodes one answer at a time; remembers the last price of each symbol.
#[derive(Debug, Clone)]
pub struct AccountsDecoder {
    clock: BrokerClock,
    polled: Polled,
}

/// What an answer is.
#[derive(Default)]
struct Answered<'a> {
    refused: bool,
    list: Option<&'a [u8]>,
}

impl AccountsDecoder {
    /// `frame` may begin with the symbol that was asked for and a line feed.
    fn frame(
        &mut self,
        frame: &[u8],
        at_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let bare = matches!(frame.trim_ascii_start().first(), Some(b'{' | b'[') | None);
        let (asked, body) = match memchr::memchr(b'\n', frame).filter(|_| !bare) {
            Some(end) => (Some(&frame[..end]), &frame[end + 1..]),
            None => (None, frame),
        };
        let mut cursor = Cursor::new(body);
        let list = if cursor.peek() == b'[' {
            Some(cursor.raw()?)
        } else {
            let mut found = Answered::default();
            cursor.object(|key, c| {
                match key {
                    b"error" => found.refused |= !matches!(c.raw()?, b"null" | b"false"),
                    b"prices" | b"data" => found.list = Some(c.raw()?),
                    _ => c.skip()?,
                }
                Ok(())
            })?;
            if found.refused {
                cursor.end()?;
                // The status of the answer would have said more than this.
                sink(Event::Refused(Cause::ProtocolError));
                return Ok(());
            }
            found.list
        };
        cursor.end()?;
        let Some(list) = list.filter(|raw| raw[0] != b'{') else {
            // One price, by itself or as the member `data`.
            sink(self.price(list.unwrap_or(body), asked, at_ns, symbols).unwrap_or_else(Event::Reject));
            return Ok(());
        };
        let mut items = Cursor::new(list);
        if items.peek() != b'[' {
            return Err(Reject::Expected("a list of prices in prices or data"));
        }
        let mut any = false;
        items.array(|c| {
            any = true;
            let event = self.price(c.raw()?, asked, at_ns, symbols);
            sink(match event {
                // The venue tells all symbols of the account.
                Err(Reject::UnknownSymbol) => Event::Alive,
                event => event.unwrap_or_else(Event::Reject),
            });
            Ok(())
        })?;
        if !any {
            sink(Event::Alive);
        }
        Ok(())
    }

    fn price(&mut self, raw: &[u8], asked: Option<&[u8]>, ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let (mut symbol, mut bid, mut ask, mut time) = (None, None, None, None);
        Cursor::new(raw).object(|key, c| {
            match key {
                b"symbol" if !c.null() => symbol = Some(c.text()?),
                b"bid" => bid = Some(if c.null() { None } else { Some(c.number()?) }),
                b"ask" => ask = Some(if c.null() { None } else { Some(c.number()?) }),
                b"timestamp" | b"time" if !c.null() => time = Some(c.raw()?),
                b"symbol" | b"timestamp" | b"time" => {}
                _ => c.skip()?,
            }
            Ok(())
        })?;
        let name = match (&symbol, asked) {
            (Some(symbol), Some(asked)) if symbol.as_ref() != asked => {
                return Err(Reject::Expected("the symbol that was asked for"));
            }
            (Some(symbol), _) => symbol.as_ref(),
            (None, Some(asked)) => asked,
            (None, None) => return Err(Reject::Expected("a symbol")),
        };
        let found = symbols.find(name)?;
        let ts_event_ns = match time {
            Some(raw) => {
                let expected = Reject::Expected("a timestamp in seconds, milliseconds or as 2024-05-17T10:15:30.123Z");
                Some(time_ns(&mut self.clock, raw).ok_or(expected)?)
            }
            None => None,
        };
        let (bid, ask) = (bid.ok_or(Reject::Expected("a bid"))?, ask.ok_or(Reject::Expected("an ask"))?);
        if bid.is_none() && ask.is_none() {
            // The venue knows the symbol, and has no price of it yet.
            return Ok(Event::Alive);
        }
        let tick = TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns,
            ts_recv_ns,
            bid: bid.map(|text| price("bid", text)).transpose()?,
            ask: ask.map(|text| price("ask", text)).transpose()?,
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        };
        Ok(self.polled.event(found.index, tick))
    }
}

impl Decoder for AccountsDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        if let Err(reject) = self.frame(frame, ts_recv_ns, symbols, sink) {
            sink(Event::Reject(reject));
        }
    }
}

#[cfg(test)]
mod tests;
