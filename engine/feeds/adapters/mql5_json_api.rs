//! MQL5-JSON-API: an expert adviser in a MetaTrader 5 terminal, JSON over ZeroMQ.
//!
//! Three of its sockets are used: a request goes to the system port, which only says `OK`; what was asked comes from the data
//! port, prices from the live port. Data and live port give each message to one of those who listen: the data port is opened
//! for a question and closed with its answer, of one source never two ask at once, and the balance is asked for ahead of each
//! question; of two programs on the live port each would get half of the prices.
//!
//! A subscription is added to those before it, and one that is made twice says each price twice. So they are all cleared
//! (`RESET`) before they are made; a key says otherwise.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;
use tokio::sync::Mutex;

use super::bridge::{self, ANSWER_BYTES_MAX, ANSWER_MAX, FIRST_MAX, FIRST_TIMES, Place};
use super::{Account, Adapter, Decoder, History, SettingsError, Stream, TickHistory};
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::json::{Cursor, Malformed, Step, whole};
use crate::feeds::net::{Connection, FRAME_BYTES_MAX, Failure, excerpt};
use crate::feeds::zmq::Kind;
use crate::feeds::zmq::link::Link;
use crate::market::{BrokerClock, TickInput};

mod account;
mod history;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The machine that the terminal runs on.
    pub host: String,
    /// Port of requests.
    #[serde(default = "system_port")]
    pub system_port: u16,
    /// Port of what was asked for.
    #[serde(default = "data_port")]
    pub data_port: u16,
    /// Port of prices.
    #[serde(default = "live_port")]
    pub live_port: u16,
    /// How the broker's clock relates to UTC.
    pub broker_time: String,
    /// Whether all subscriptions are cleared before ours are made.
    #[serde(default = "reset")]
    pub reset: bool,
    /// `lastError`s that refuse the account.
    #[serde(default = "error_login")]
    pub error_login: Vec<u64>,
    /// `lastError`s that ask to slow down.
    #[serde(default = "error_slow")]
    pub error_slow: Vec<u64>,
    /// Most bars of one request for past bars.
    #[serde(default = "bridge::history_bars")]
    pub history_bars: u32,
    /// Most requests for the past in a second.
    #[serde(default = "bridge::history_per_second")]
    pub history_per_second: u32,
}

fn system_port() -> u16 {
    15_555
}

fn data_port() -> u16 {
    15_556
}

fn live_port() -> u16 {
    15_557
}

fn reset() -> bool {
    true
}

/// MetaTrader's: account disabled, invalid account.
fn error_login() -> Vec<u64> {
    vec![64, 65]
}

/// MetaTrader's: too frequent requests, too many requests (4 and 5).
fn error_slow() -> Vec<u64> {
    vec![8, 141, 10_024]
}

/// One terminal.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    place: Place,
    /// Held while a question is asked and answered.
    asking: Mutex<()>,
}

impl Adapter for Broker {
    const NAME: &'static str = "mql5-json-api";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"TICK","data":[1715940930123,1.08515,1.08521]}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let ports = [
            ("system_port", settings.system_port),
            ("data_port", settings.data_port),
            ("live_port", settings.live_port),
        ];
        let place = Place::new(&settings.host, &ports, &settings.broker_time)?;
        bridge::check_history(settings.history_bars, settings.history_per_second)?;
        Ok(Broker { settings, place, asking: Mutex::new(()) })
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
}

impl Stream for Broker {
    type Decoder = Mql5Decoder;

    fn decoder(&self, _: &Symbols) -> Mql5Decoder {
        Mql5Decoder { clock: BrokerClock::new(self.place.broker_time), causes: self.causes() }
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let _one = self.asking.lock().await;
        let mut desk = self.desk().await?;
        let Settings { host, live_port, .. } = &self.settings;
        // The prices first: what comes right after the request is not to be lost.
        let live = Link::connect(host, *live_port, Kind::Pull, FRAME_BYTES_MAX).await?;
        desk.first().await?;
        if self.settings.reset {
            desk.ask(&serde_json::json!({ "action": "RESET" }), "RESET", ANSWER_MAX, done).await?;
        }
        for name in symbols.names() {
            let request = serde_json::json!({ "action": "CONFIG", "symbol": name, "chartTF": "TICK" });
            desk.ask(&request, &format!("CONFIG {name}"), ANSWER_MAX, done).await?;
        }
        Ok(Connection::zmq(live))
    }
}

impl Broker {
    /// The two sockets that a question needs.
    async fn desk(&self) -> Result<Desk, Failure> {
        let Settings { host, system_port, data_port, .. } = &self.settings;
        let system = Link::connect(host, *system_port, Kind::Req, FRAME_BYTES_MAX).await?;
        let data = Link::connect(host, *data_port, Kind::Pull, ANSWER_BYTES_MAX).await?;
        Ok(Desk { system, data, causes: self.causes() })
    }

    /// Asks one question; `what` names it. `found` reads an answer, and says `None` to those that answer another question.
    async fn ask<T>(
        &self,
        request: &serde_json::Value,
        what: &str,
        at_most: Duration,
        found: impl FnMut(&[u8]) -> Step<Option<T>>,
    ) -> Result<T, Failure> {
        let _one = self.asking.lock().await;
        let mut desk = self.desk().await?;
        desk.first().await?;
        desk.ask(request, what, at_most, found).await
    }

    fn causes(&self) -> Causes {
        Causes { login: self.settings.error_login.clone(), slow: self.settings.error_slow.clone() }
    }
}

/// Where questions are asked.
struct Desk {
    system: Link,
    data: Link,
    causes: Causes,
}

impl Desk {
    async fn ask<T>(
        &mut self,
        request: &serde_json::Value,
        what: &str,
        at_most: Duration,
        mut found: impl FnMut(&[u8]) -> Step<Option<T>>,
    ) -> Result<T, Failure> {
        self.say(request, what).await?;
        let Desk { data, causes, .. } = self;
        let found = |message: &[u8]| {
            if let Ok(Refusal { is_error: Some(true), number, said }) = Refusal::read(message) {
                let text = format!("{what}: {said} ({number})");
                return Some(Err(Failure::new(causes.of(number), text)));
            }
            let wrong = |e| Failure::new(Cause::ProtocolError, format!("{what}: {e}, found {}", excerpt(message)));
            found(message).map_err(wrong).transpose()
        };
        data.answer(at_most, found).await?.ok_or_else(|| bridge::unanswered(what, at_most))
    }

    /// Asks for the balance until it is told; see [`FIRST_MAX`].
    async fn first(&mut self) -> Result<(), Failure> {
        for _ in 0..FIRST_TIMES {
            self.say(&serde_json::json!({ "action": "BALANCE" }), "BALANCE").await?;
            let heard = |message: &[u8]| is_balance(message).then_some(Ok(()));
            if self.data.answer(FIRST_MAX, heard).await?.is_some() {
                return Ok(());
            }
        }
        Err(bridge::unanswered("BALANCE", FIRST_MAX * FIRST_TIMES))
    }

    /// Sends a request, whose receipt is confirmed.
    async fn say(&mut self, request: &serde_json::Value, what: &str) -> Result<(), Failure> {
        self.system.say(request.to_string());
        let heard = self.system.answer(ANSWER_MAX, |message| {
            let text = || format!("{what}: the system port answered \"{}\", expected OK", excerpt(message));
            Some(if message == b"OK" { Ok(()) } else { Err(Failure::new(Cause::ProtocolError, text())) })
        });
        heard.await?.ok_or_else(|| bridge::unanswered(what, ANSWER_MAX))
    }
}

/// Whether a message answers `BALANCE`; `ACCOUNT` says more.
fn is_balance(message: &[u8]) -> bool {
    let (mut balance, mut more) = (false, false);
    let read = Cursor::new(message).object(|key, c| {
        balance |= key == b"balance";
        more |= key == b"currency";
        c.skip()
    });
    read.is_ok() && balance && !more
}

/// Which numbers of errors mean what.
#[derive(Debug, Clone)]
struct Causes {
    login: Vec<u64>,
    slow: Vec<u64>,
}

impl Causes {
    fn of(&self, number: u64) -> Cause {
        if self.login.contains(&number) {
            Cause::LoginRefused
        } else if self.slow.contains(&number) {
            Cause::RateLimited
        } else {
            Cause::ProtocolError
        }
    }
}

/// `{"error":true,"lastError":"4301","description":"Unknown symbol","function":"…"}`, and the same for what was done.
#[derive(Debug, Default)]
struct Refusal {
    is_error: Option<bool>,
    number: u64,
    said: String,
}

impl Refusal {
    fn read(message: &[u8]) -> Step<Self> {
        let mut refusal = Refusal::default();
        Cursor::new(message).object(|key, c| {
            match key {
                b"error" => refusal.is_error = Some(c.boolean()?),
                b"lastError" => refusal.number = whole(c.number()?).unwrap_or(0),
                b"description" => refusal.said = excerpt(&c.text()?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        Ok(refusal)
    }
}

/// Whether a request was obeyed; what says neither that nor the contrary answers something else.
fn done(message: &[u8]) -> Step<Option<()>> {
    Ok(Refusal::read(message)?.is_error.map(|_| ()))
}

/// Decodes one message at a time; remembers the broker clock's offset of the hour.
#[derive(Debug)]
pub struct Mql5Decoder {
    clock: BrokerClock,
    causes: Causes,
}

impl Mql5Decoder {
    fn event(&mut self, message: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let fields = Fields::read(message)?;
        if fields.is_error {
            return Ok(Event::Refused(self.causes.of(fields.number)));
        }
        match (fields.status.as_deref(), fields.timeframe.as_deref()) {
            (Some(b"CONNECTED"), Some(b"TICK")) => {}
            // Bars; and, with a type, how far a file is that somebody had written.
            (Some(b"CONNECTED"), _) => return Ok(Event::Alive),
            (Some(b"DISCONNECTED"), _) if fields.is_typed => return Ok(Event::Alive),
            // The terminal has lost its broker: nothing that it said holds any more.
            (Some(b"DISCONNECTED"), _) => return Ok(Event::Refused(Cause::ClosedByPeer)),
            _ => return Err(Reject::Expected("status CONNECTED or DISCONNECTED")),
        }
        let found = symbols.find(fields.symbol.as_deref().ok_or(Reject::Expected("a symbol"))?)?;
        let [Some(time), Some(bid), Some(ask)] = fields.data else {
            return Err(Reject::Expected("a time, a bid and an ask in data"));
        };
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns: Some(millis(&mut self.clock, time)?),
            ts_recv_ns,
            bid: Some(price("the bid", bid)?),
            ask: Some(price("the ask", ask)?),
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        }))
    }
}

/// UTC of milliseconds since 1970 on the broker's clock.
fn millis(clock: &mut BrokerClock, text: &[u8]) -> Step<i64> {
    let millis = whole(text).and_then(|millis| i64::try_from(millis).ok()?.checked_mul(1_000_000));
    Ok(clock.utc_ns(millis.ok_or(Malformed("milliseconds since 1970"))?))
}

impl Decoder for Mql5Decoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(self.event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

type Text<'a> = std::borrow::Cow<'a, [u8]>;

#[derive(Default)]
struct Fields<'a> {
    status: Option<Text<'a>>,
    symbol: Option<Text<'a>>,
    timeframe: Option<Text<'a>>,
    is_typed: bool,
    /// The first three numbers.
    data: [Option<&'a [u8]>; 3],
    is_error: bool,
    number: u64,
}

impl<'a> Fields<'a> {
    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(message);
        cursor.object(|key, c| {
            match key {
                b"status" => fields.status = Some(c.text()?),
                b"symbol" => fields.symbol = Some(c.text()?),
                b"timeframe" => fields.timeframe = Some(c.text()?),
                b"data" => {
                    // Of a member that comes twice the last counts, as a whole.
                    fields.data = [None; 3];
                    if c.peek() != b'[' {
                        return c.skip();
                    }
                    let mut at = 0;
                    c.array(|c| {
                        match fields.data.get_mut(at) {
                            Some(place) => *place = Some(c.number()?),
                            None => c.skip()?,
                        }
                        at += 1;
                        Ok(())
                    })?;
                }
                b"error" => fields.is_error = c.boolean()?,
                b"lastError" => fields.number = whole(c.number()?).unwrap_or(0),
                b"type" => {
                    c.skip()?;
                    fields.is_typed = true;
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
