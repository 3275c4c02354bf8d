//! mtapi.io: a hosted MetaTrader terminal behind HTTP and a WebSocket.
//!
//! `/ConnectEx` logs in and answers a token as plain text, `/SubscribeMany` names the symbols, `/OnQuote` is the
//! socket, `/Disconnect` gives the token back. Errors come as HTTP 201 with a JSON body. Prices are JSON numbers; their time is the broker's server clock
//! without an offset, unless the newer `timestampUTC` is there.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Adapter, Decoder, History, SettingsError, Stream};
use crate::config::Secret;
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{self, Connection, Failure, Http, Reply};
use crate::feeds::rest::Rest;
use crate::market::{BrokerClock, BrokerTime, TickInput, time_text};

mod history;

/// Public clients of this API ping at this interval; what the server requires is not documented.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long the server may take to log in at the broker.
const BROKER_CONNECT_S: u32 = 60;

/// Symbols in one request: they travel in the URL, and servers take some 8 KB of it.
const SYMBOLS_PER_CALL: usize = 200;

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
    pub user: String,
    /// Its password (the investor password suffices).
    pub password: Secret,
    /// The broker's server name, such as `Broker-Demo`.
    pub server: String,
    /// How the broker's clock relates to UTC.
    pub broker_time: String,
    /// Most bars of one request for past bars; the vendor documents no limit.
    #[serde(default = "history::page")]
    pub history_bars: u32,
    /// Most requests for past bars in a second; the vendor documents no limit.
    #[serde(default = "history::per_second")]
    pub history_per_second: u32,
}

/// One MetaTrader account.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    stream_base: String,
    broker_time: BrokerTime,
    http: Http,
    past: history::Past,
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
        for (key, value) in
            [("history_bars", settings.history_bars), ("history_per_second", settings.history_per_second)]
        {
            if value == 0 {
                return Err(SettingsError::new(key, "0, expected at least 1"));
            }
        }
        let past = history::Past::new(Rest::new(settings.base_url.clone()));
        Ok(Broker { settings, stream_base, broker_time, http, past })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.http.warm();
        self.settings.password.resolve().map(|_| ()).map_err(|e| SettingsError::new("password", e))
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }

    fn history(&self) -> Option<&dyn History> {
        Some(self)
    }
}

impl Stream for Broker {
    type Decoder = MtapiDecoder;

    fn decoder(&self, _: &Symbols) -> MtapiDecoder {
        MtapiDecoder::new(self.broker_time)
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let (token, password) = self.log_in().await?;
        let opened = self.subscribe(&token, symbols).await;
        opened.map_err(|f| f.without(&[&password, &token]))
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(PING_EVERY)
    }

    /// The login at the broker goes through the vendor's terminal, which may take a minute.
    fn open_max(&self) -> Option<Duration> {
        Some(Duration::from_secs(u64::from(BROKER_CONNECT_S) + 5))
    }
}

impl Broker {
    /// A new session's token, and the password, for blotting out.
    async fn log_in(&self) -> Result<(String, String), Failure> {
        let refused = |e| Failure::new(Cause::LoginRefused, format!("password: {e}"));
        let password = self.settings.password.resolve().map_err(refused)?;
        let token = self.login(&password).await.map_err(|f| f.without(&[&password]))?;
        Ok((token, password))
    }

    async fn login(&self, password: &str) -> Result<String, Failure> {
        let seconds = BROKER_CONNECT_S.to_string();
        let query = [
            ("user", self.settings.user.as_str()),
            ("password", password),
            ("server", self.settings.server.as_str()),
            ("connectTimeoutSeconds", seconds.as_str()),
        ];
        let reply = self.call("ConnectEx", &query).await?;
        token(&reply.body).ok_or_else(|| {
            Failure::new(
                Cause::ProtocolError,
                format!("ConnectEx answered \"{}\", expected a session token", reply.excerpt()),
            )
        })
    }

    async fn subscribe(&self, token: &str, symbols: &Symbols) -> Result<Connection, Failure> {
        let names: Vec<_> = symbols.names().collect();
        for some in names.chunks(SYMBOLS_PER_CALL) {
            let mut query = vec![("id", token), ("interval", "0")];
            query.extend(some.iter().map(|name| ("symbols", *name)));
            self.call("SubscribeMany", &query).await?;
        }
        let connection = net::websocket(&format!("{}/OnQuote?id={token}", self.stream_base)).await?;
        // The server keeps its terminal logged in for every token that is not given back.
        let farewell = self.http.later(&format!("{}/Disconnect", self.settings.base_url), &[("id", token)]).ok();
        // Every message repeats the token.
        Ok(connection.with_secret(token.to_string()).with_farewell(farewell))
    }

    async fn call(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        let url = format!("{}/{endpoint}", self.settings.base_url);
        let response = self.http.get(&url, query, &[]).await?;
        if !response.status().is_success() {
            return Err(net::refused(response, |body| VendorError::read(body).map(|e| e.words())).await);
        }
        let reply = Reply::read(response).await?;
        match VendorError::read(&reply.body) {
            Some(error) => Err(Failure::new(error.cause(), format!("{endpoint}: {}", error.words()))),
            None => Ok(reply),
        }
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

/// Decodes one message at a time; remembers the broker clock's offset of the hour.
#[derive(Debug, Clone)]
pub struct MtapiDecoder {
    clock: BrokerClock,
}

impl MtapiDecoder {
    /// A decoder for a broker whose clock follows `broker_time`.
    #[must_use]
    pub fn new(broker_time: BrokerTime) -> Self {
        MtapiDecoder { clock: BrokerClock::new(broker_time) }
    }

    fn event(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let fields = Fields::read(frame)?;
        if let Some(code) = &fields.code {
            return Ok(Event::Refused(cause(code)));
        }
        if fields.kind.as_deref() != Some(b"Quote") {
            return Err(Reject::Expected("type Quote"));
        }
        let found = symbols.find(fields.symbol.as_deref().ok_or(Reject::Expected("a symbol"))?)?;
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: self.time(&fields)?,
            ts_recv_ns,
            bid: Some(price("bid", fields.bid.ok_or(Reject::Expected("a bid"))?)?),
            ask: Some(price("ask", fields.ask.ok_or(Reject::Expected("an ask"))?)?),
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        }))
    }

    fn time(&mut self, fields: &Fields<'_>) -> Result<Option<i64>, Reject> {
        if let Some(utc) = fields.utc.and_then(time_text::unix_by_magnitude) {
            return Ok(Some(utc));
        }
        let Some(text) = &fields.time else { return Ok(None) };
        let time = time_text::date_time(text).ok_or(Reject::Expected("a time such as 2024-05-17T10:15:30.123"))?;
        Ok(Some(match time.offset_ns {
            Some(offset) => time.local_ns - offset,
            None => self.clock.utc_ns(time.local_ns),
        }))
    }
}

impl Decoder for MtapiDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(self.event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

type Text<'a> = std::borrow::Cow<'a, [u8]>;

#[derive(Default)]
struct Fields<'a> {
    kind: Option<Text<'a>>,
    symbol: Option<Text<'a>>,
    bid: Option<&'a [u8]>,
    ask: Option<&'a [u8]>,
    time: Option<Text<'a>>,
    utc: Option<u64>,
    code: Option<Text<'a>>,
}

impl<'a> Fields<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(frame);
        cursor.object(|key, c| {
            match key {
                b"type" => fields.kind = Some(c.text()?),
                b"code" => fields.code = Some(c.text()?),
                b"data" => c.object(|key, c| fields.quote(key, c))?,
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(fields)
    }

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
