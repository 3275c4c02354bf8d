//! mtapi.io: a hosted MetaTrader terminal behind HTTP and a WebSocket.
//!
//! `/ConnectEx` logs in and answers a token as plain text, `/SubscribeMany` names the symbols, `/OnQuote` is the socket,
//! `/CheckConnect` says whether the session still stands, `/Disconnect` gives the token back. Where the socket is refused,
//! `/GetQuote` is asked again and again. Errors come as HTTP 201 with a JSON body. Prices are JSON numbers; their time is
//! the broker's server clock without an offset, unless the newer `timestampUTC` is there.
//!
//! Each source has tokens of its own, however many accounts a user has: one for its prices (`session`), under which the
//! account and the past are asked for too, and another (`aside`) where prices are not connected.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Account, Adapter, Decoder, History, SettingsError, Stream, SymbolList, TickHistory};
use crate::clock;
use crate::config::{Secret, text_or_number};
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::fields::Polled;
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure, Http};
use crate::feeds::rate::Rate;
use crate::feeds::rest::Rest;
use crate::market::{BrokerClock, BrokerTime, TickInput, time_text};

mod account;
mod history;
mod session;
mod ticks;

/// Public clients of this API ping at this interval; what the server requires is not documented.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long the server may take to log in at the broker.
const BROKER_CONNECT_S: u32 = 60;

/// Longest session token.
const TOKEN_BYTES_MAX: usize = 128;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// HTTP base, such as `https://mt5.mtapi.io`.
    pub base_url: String,
    /// WebSocket base; by default the same host.
    pub stream_url: Option<String>,
    /// Login number of the trading account.
    #[serde(deserialize_with = "text_or_number")]
    pub user: String,
    /// Its password (the investor password suffices).
    pub password: Secret,
    /// The broker's server name, such as `Broker-Demo`.
    pub server: String,
    /// How the broker's clock relates to UTC.
    pub broker_time: String,
    /// The token to ask for first; by default the server makes one up.
    pub session: Option<Secret>,
    /// How long the server lets a session's token live, in seconds; 0: for ever. The vendor documents no end.
    #[serde(default)]
    pub token_lifetime_s: u32,
    /// Time between two looks whether the session still stands, in milliseconds; 0: none.
    #[serde(default = "check_ms")]
    pub check_ms: u32,
    /// Where the socket is refused: time from one round of requests to the next, in milliseconds.
    #[serde(default = "poll_ms")]
    pub poll_ms: u32,
    /// and after how long to try the socket again, in milliseconds.
    #[serde(default = "socket_retry_ms")]
    pub socket_retry_ms: u32,
    /// The endpoint of past bars.
    #[serde(default)]
    pub history_by: history::By,
    /// Most bars of one request for past bars; the vendor documents no limit.
    #[serde(default = "history::page")]
    pub history_bars: u32,
    /// Most requests for past bars in a second; the vendor documents no limit.
    #[serde(default = "history::per_second")]
    pub history_per_second: u32,
    /// How long the first past ticks of a day may take, in milliseconds.
    #[serde(default = "ticks::wait_ms")]
    pub ticks_wait_ms: u32,
    /// Silence after which a day's past ticks are complete, in milliseconds.
    #[serde(default = "ticks::quiet_ms")]
    pub ticks_quiet_ms: u32,
}

fn check_ms() -> u32 {
    30_000
}

fn poll_ms() -> u32 {
    1_000
}

fn socket_retry_ms() -> u32 {
    600_000
}

/// One MetaTrader account.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    stream_base: String,
    broker_time: BrokerTime,
    http: Http,
    rest: Rest,
    tokens: session::Tokens,
    last_day: ticks::LastDay,
}

impl Adapter for Broker {
    const NAME: &'static str = "mtapi";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"type":"Quote","id":"7c0f1b3a","data":{"symbol":"EURUSD","bid":1.0851,"ask":1.08523,"time":"2024-05-17T10:15:30.123","last":0,"volume":0}}"#,
    );
    type Settings = Settings;

    fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        let base =
            net::base_url(&settings.base_url, &["http", "https"]).map_err(|e| SettingsError::new("base_url", e))?;
        let stream_base = match &settings.stream_url {
            Some(url) => net::base_url(url, &["ws", "wss"]).map_err(|e| SettingsError::new("stream_url", e))?,
            // http -> ws, https -> wss
            None => base.replacen("http", "ws", 1),
        };
        settings.base_url = base;
        let broker_time =
            BrokerTime::from_str(&settings.broker_time).map_err(|e| SettingsError::new("broker_time", e))?;
        let http = Http::new(&settings.base_url);
        for (key, value) in [
            ("history_bars", settings.history_bars),
            ("history_per_second", settings.history_per_second),
            ("poll_ms", settings.poll_ms),
            ("socket_retry_ms", settings.socket_retry_ms),
            ("ticks_wait_ms", settings.ticks_wait_ms),
            ("ticks_quiet_ms", settings.ticks_quiet_ms),
        ] {
            if value == 0 {
                return Err(SettingsError::new(key, "0, expected at least 1"));
            }
        }
        let rest = Rest::new(settings.base_url.clone());
        let (tokens, last_day) = (session::Tokens::default(), ticks::LastDay::default());
        Ok(Broker { settings, stream_base, broker_time, http, rest, tokens, last_day })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.http.warm();
        self.settings.password.resolve().map_err(|e| SettingsError::new("password", e))?;
        let Some(session) = &self.settings.session else { return Ok(()) };
        let wanted = session.resolve().map_err(|e| SettingsError::new("session", e))?;
        let problem = format!("not a token, expected at most {TOKEN_BYTES_MAX} of A-Z, a-z, 0-9, -, _ and .");
        token(wanted.as_bytes())
            .filter(|same| *same == wanted)
            .map(|_| ())
            .ok_or(SettingsError::new("session", problem))
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }

    fn tick_history(&self) -> Option<&dyn TickHistory> {
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
    type Decoder = MtapiDecoder;

    fn decoder(&self, symbols: &Symbols) -> MtapiDecoder {
        MtapiDecoder { polled: Some(Polled::new(symbols.len(), 0)), ..MtapiDecoder::new(self.broker_time) }
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let token = self.log_in(session::Use::Prices).await?;
        let made_ns = clock::monotonic_ns();
        let connection = self.subscribe(&token, symbols).await.map_err(|failure| failure.without(&[&token]))?;
        // It has lived since.
        let made = Duration::from_nanos((clock::monotonic_ns() - made_ns).unsigned_abs());
        let opening = Duration::from_secs(BROKER_CONNECT_S.into()) + made;
        Ok(connection.with_token_of(self.settings.token_lifetime_s, opening))
    }

    /// All that is asked of the host counts.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((History::host(self), History::rate(self)))
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(PING_EVERY)
    }

    /// Each connection has a session of its own.
    fn overlaps(&self) -> bool {
        true
    }

    /// The login at the broker goes through the vendor's terminal, which may take a minute.
    fn open_max(&self) -> Option<Duration> {
        Some(Duration::from_secs(u64::from(BROKER_CONNECT_S) + 5))
    }
}

/// The token in a reply to `ConnectEx`, with or without quotes.
fn token(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?.trim().trim_matches('"');
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_string())
}

/// `{"message":"…","code":"…"}`.
#[derive(Debug, PartialEq, Eq)]
struct VendorError {
    message: String,
    code: String,
}

impl VendorError {
    fn read(body: &[u8]) -> Option<Self> {
        let (mut message, mut code) = (String::new(), String::new());
        let read = Cursor::new(body).object(|key, c| {
            match key {
                b"message" => message = String::from_utf8_lossy(&c.text()?).into_owned(),
                b"code" => code = String::from_utf8_lossy(&c.text()?).into_owned(),
                _ => c.skip()?,
            }
            Ok(())
        });
        (read.is_ok() && !code.is_empty()).then_some(VendorError { message, code })
    }

    fn words(&self) -> String {
        format!("{} ({})", self.message, self.code)
    }

    fn words_in(body: &[u8]) -> Option<String> {
        VendorError::read(body).map(|error| error.words())
    }

    /// The failure of the endpoint that answered it.
    fn of(&self, endpoint: &str) -> Failure {
        Failure::new(self.cause(), format!("{endpoint}: {}", self.words()))
    }

    fn cause(&self) -> Cause {
        cause(self.code.as_bytes())
    }
}

fn cause(code: &[u8]) -> Cause {
    match code {
        b"INVALID_ACCOUNT" => Cause::LoginRefused,
        b"TOO_FREQUENT_REQUEST" => Cause::RateLimited,
        // The session token is the server's own and short-lived: a new login gets another.
        b"INVALID_TOKEN" | b"CONNECT_ERROR" | b"OPERATION_TIMEOUT" | b"NO_CONNECTION" => Cause::ConnectFailed,
        _ => Cause::ProtocolError,
    }
}

/// Decodes one message at a time; remembers the broker clock's offset of the hour, and the last answers to polls.
#[derive(Debug, Clone)]
pub struct MtapiDecoder {
    clock: BrokerClock,
    /// `None`: answers with the price from before are ticks too.
    polled: Option<Polled>,
}

impl MtapiDecoder {
    /// A decoder for a broker whose clock follows `broker_time`.
    #[must_use]
    pub fn new(broker_time: BrokerTime) -> Self {
        MtapiDecoder { clock: BrokerClock::new(broker_time), polled: None }
    }

    fn event(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let message = Message::read(frame)?;
        match message.code.as_deref() {
            None => {}
            // Of one symbol, and no reason to leave the others.
            Some(b"MARKET_CLOSED") => return Ok(Event::Alive),
            Some(code) => return Ok(Event::Refused(cause(code))),
        }
        // What was asked for comes without an envelope.
        let (fields, asked) = match (message.kind.as_deref(), &message.bare.symbol) {
            (Some(b"Quote"), _) => (&message.data, false),
            (None, Some(_)) => (&message.bare, true),
            _ => return Err(Reject::Expected("type Quote")),
        };
        let found = symbols.find(fields.symbol.as_deref().ok_or(Reject::Expected("a symbol"))?)?;
        let tick = TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: self.time(fields)?,
            ts_recv_ns,
            bid: Some(price("bid", fields.bid.ok_or(Reject::Expected("a bid"))?)?),
            ask: Some(price("ask", fields.ask.ok_or(Reject::Expected("an ask"))?)?),
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        };
        Ok(match &mut self.polled {
            Some(polled) if asked => polled.event(found.index, tick),
            _ => Event::Tick(tick),
        })
    }

    fn time(&mut self, fields: &Fields<'_>) -> Result<Option<i64>, Reject> {
        if let Some(utc) = fields.utc.and_then(time_text::unix_by_magnitude) {
            return Ok(Some(utc));
        }
        let Some(text) = &fields.time else { return Ok(None) };
        let utc_ns = utc_ns(&mut self.clock, text).ok_or(Reject::Expected("a time such as 2024-05-17T10:15:30.123"))?;
        Ok(Some(utc_ns))
    }
}

/// Nanoseconds UTC of a time on the broker's clock, or of one with an offset.
fn utc_ns(clock: &mut BrokerClock, text: &[u8]) -> Option<i64> {
    let time = time_text::date_time(text)?;
    Some(match time.offset_ns {
        Some(offset_ns) => time.local_ns - offset_ns,
        None => clock.utc_ns(time.local_ns),
    })
}

impl Decoder for MtapiDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(self.event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

type Text<'a> = std::borrow::Cow<'a, [u8]>;

#[derive(Default)]
struct Message<'a> {
    kind: Option<Text<'a>>,
    code: Option<Text<'a>>,
    /// A quote in an envelope.
    data: Fields<'a>,
    /// A quote without one.
    bare: Fields<'a>,
}

impl<'a> Message<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Message::default();
        let mut cursor = Cursor::new(frame);
        cursor.object(|key, c| {
            match key {
                b"type" => message.kind = Some(c.text()?),
                b"code" => message.code = Some(c.text()?),
                b"data" => c.object(|key, c| message.data.quote(key, c))?,
                // The envelope's own members are not the quote's, whatever they are called.
                _ if message.kind.is_some() => c.skip()?,
                _ => message.bare.quote(key, c)?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(message)
    }
}

#[derive(Default)]
struct Fields<'a> {
    symbol: Option<Text<'a>>,
    bid: Option<&'a [u8]>,
    ask: Option<&'a [u8]>,
    time: Option<Text<'a>>,
    utc: Option<u64>,
}

impl<'a> Fields<'a> {
    fn quote(&mut self, key: &[u8], c: &mut Cursor<'a>) -> Result<(), Malformed> {
        match key {
            b"symbol" => self.symbol = Some(c.text()?),
            b"bid" => self.bid = Some(c.number()?),
            b"ask" => self.ask = Some(c.number()?),
            b"time" if !c.null() => self.time = Some(c.text()?),
            b"timestampUTC" if !c.null() => self.utc = Some(c.whole()?),
            b"time" | b"timestampUTC" => {}
            _ => c.skip()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
