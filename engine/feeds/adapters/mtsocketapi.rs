//! MTsocketAPI: an expert adviser in a MetaTrader 5 terminal, JSON lines over TCP. Commands go to one port, prices come
//! from another.
//!
//! Known: the two ports, the command `TRACK_PRICES`, and the form of a quote. Not confirmed, and therefore keys or read
//! leniently: the numbers of errors (those of MetaTrader are assumed), the word in `MSG` of a quote, and how `TIME` is
//! written: with dots or hyphens in the date, on the broker's clock.

use std::str::FromStr;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::{Adapter, Decoder, SettingsError, Stream};
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::json::{Cursor, Malformed};
use crate::feeds::net::{Connection, Failure, excerpt};
use crate::feeds::poll::TcpLines;
use crate::market::{BrokerClock, BrokerTime, TickInput, time_text};

/// Longest time in a message.
const TIME_BYTES_MAX: usize = 40;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The machine that the terminal runs on.
    pub host: String,
    /// Port of the commands.
    #[serde(default = "command_port")]
    pub command_port: u16,
    /// Port of the prices.
    #[serde(default = "data_port")]
    pub data_port: u16,
    /// How the broker's clock relates to UTC.
    pub broker_time: String,
    /// `MSG` of a price.
    #[serde(default = "quote")]
    pub quote: String,
    /// `ERROR_ID`s that refuse the account.
    #[serde(default = "error_login")]
    pub error_login: Vec<i64>,
    /// `ERROR_ID`s that ask to slow down.
    #[serde(default = "error_slow")]
    pub error_slow: Vec<i64>,
}

fn command_port() -> u16 {
    77
}

fn data_port() -> u16 {
    78
}

fn quote() -> String {
    "QUOTE".into()
}

/// MetaTrader's: account disabled, invalid account.
fn error_login() -> Vec<i64> {
    vec![64, 65]
}

/// MetaTrader's: too frequent requests, too many requests (4 and 5).
fn error_slow() -> Vec<i64> {
    vec![8, 141, 10_024]
}

/// One terminal.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    broker_time: BrokerTime,
}

impl Adapter for Broker {
    const NAME: &'static str = "mtsocketapi";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"MSG":"QUOTE","SYMBOL":"EURUSD","ASK":1.08521,"BID":1.08515,"FLAGS":6,"TIME":"2024.05.17 10:15:30.123","VOLUME":0}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        if settings.host.is_empty() || settings.host.contains(['/', ' ']) {
            let problem = format!("\"{}\" is not a host, expected a name or address such as 127.0.0.1", settings.host);
            return Err(SettingsError::new("host", problem));
        }
        for (key, port) in [("command_port", settings.command_port), ("data_port", settings.data_port)] {
            if port == 0 {
                return Err(SettingsError::new(key, "0 is not a port, expected 1 to 65535"));
            }
        }
        let broker_time =
            BrokerTime::from_str(&settings.broker_time).map_err(|e| SettingsError::new("broker_time", e))?;
        Ok(Broker { settings, broker_time })
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }
}

impl Stream for Broker {
    type Decoder = MtSocketDecoder;

    fn decoder(&self, _: &Symbols) -> MtSocketDecoder {
        MtSocketDecoder {
            clock: BrokerClock::new(self.broker_time),
            quote: self.settings.quote.clone(),
            causes: self.causes(),
        }
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let Settings { host, command_port, data_port, .. } = &self.settings;
        // The prices first: what comes right after the command is not to be lost.
        let data = TcpLines::connect(host, *data_port).await?;
        let mut commands = TcpLines::connect(host, *command_port).await?;
        let names: Vec<_> = symbols.names().collect();
        commands.say(&serde_json::json!({"MSG": "TRACK_PRICES", "SYMBOLS": names}).to_string()).await?;
        loop {
            let mut answer = None;
            let mut each = |line: &[u8], _| answer = answer.take().or_else(|| self.answer(line));
            let read = commands.read(&mut each).await;
            if let Some(answer) = answer {
                answer?;
                return Ok(Connection::tcp_lines(data.beside(commands)));
            }
            // Closed or broken before it answered.
            read.map_err(|failure| match failure.cause {
                Cause::ProtocolError => failure,
                _ => Failure { cause: Cause::ConnectFailed, ..failure },
            })?;
        }
    }
}

impl Broker {
    fn causes(&self) -> Causes {
        Causes { login: self.settings.error_login.clone(), slow: self.settings.error_slow.clone() }
    }

    /// The answer to the subscription; `None` for what is none.
    fn answer(&self, line: &[u8]) -> Option<Result<(), Failure>> {
        let fields = Fields::read(line).ok()?;
        match fields.error {
            Some(number) if number != 0 => {
                let said = fields.description.map(|said| excerpt(&said)).unwrap_or_default();
                let text = format!("TRACK_PRICES: {said} ({number})");
                Some(Err(Failure::new(self.causes().of(number), text)))
            }
            _ => (fields.kind.as_deref() == Some(b"TRACK_PRICES")).then_some(Ok(())),
        }
    }
}

/// Which numbers of errors mean what.
#[derive(Debug, Clone)]
struct Causes {
    login: Vec<i64>,
    slow: Vec<i64>,
}

impl Causes {
    fn of(&self, number: i64) -> Cause {
        if self.login.contains(&number) {
            Cause::LoginRefused
        } else if self.slow.contains(&number) {
            Cause::RateLimited
        } else {
            Cause::ProtocolError
        }
    }
}

/// Decodes one line at a time; remembers the broker clock's offset of the hour.
#[derive(Debug)]
pub struct MtSocketDecoder {
    clock: BrokerClock,
    quote: String,
    causes: Causes,
}

impl MtSocketDecoder {
    fn event(&mut self, line: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
        let fields = Fields::read(line)?;
        if let Some(number) = fields.error.filter(|number| *number != 0) {
            return Ok(Event::Refused(self.causes.of(number)));
        }
        match fields.kind.as_deref() {
            Some(kind) if kind == self.quote.as_bytes() => {}
            // Orders, accounts, bars: the terminal is there.
            Some(_) => return Ok(Event::Alive),
            None => return Err(Reject::Expected("a word in MSG")),
        }
        let found = symbols.find(fields.symbol.as_deref().ok_or(Reject::Expected("a symbol in SYMBOL"))?)?;
        let ts_event_ns = fields.time.map(|text| self.time(&text)).transpose()?;
        Ok(Event::Tick(TickInput {
            source: symbols.source(),
            instrument: found.instrument,
            ts_event_ns,
            ts_recv_ns,
            bid: Some(price("BID", fields.bid.ok_or(Reject::Expected("a price in BID"))?)?),
            ask: Some(price("ASK", fields.ask.ok_or(Reject::Expected("a price in ASK"))?)?),
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        }))
    }

    fn time(&mut self, text: &[u8]) -> Result<i64, Reject> {
        let wrong = Reject::Expected("a time in TIME such as 2024.05.17 10:15:30.123");
        let mut copy = [0; TIME_BYTES_MAX];
        let copy = copy.get_mut(..text.len()).ok_or(wrong)?;
        copy.copy_from_slice(text);
        copy.iter_mut().take(10).filter(|byte| **byte == b'.').for_each(|byte| *byte = b'-');
        let time = time_text::date_time(copy).ok_or(wrong)?;
        Ok(match time.offset_ns {
            Some(offset_ns) => time.local_ns - offset_ns,
            None => self.clock.utc_ns(time.local_ns),
        })
    }
}

impl Decoder for MtSocketDecoder {
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
    error: Option<i64>,
    description: Option<Text<'a>>,
}

impl<'a> Fields<'a> {
    fn read(line: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::default();
        let mut cursor = Cursor::new(line);
        cursor.object(|key, c| {
            match key {
                b"MSG" => fields.kind = Some(c.text()?),
                b"SYMBOL" => fields.symbol = Some(c.text()?),
                b"BID" => fields.bid = Some(c.number()?),
                b"ASK" => fields.ask = Some(c.number()?),
                b"TIME" if c.peek() == b'"' => fields.time = Some(c.text()?),
                b"ERROR_ID" => fields.error = Some(number(c.number()?).ok_or(Malformed("a number in ERROR_ID"))?),
                b"ERROR_DESCRIPTION" => fields.description = Some(c.text()?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(fields)
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::{InstrumentId, SourceId};
    use proptest::prelude::*;

    fn decode(line: &[u8]) -> Event {
        let settings = "host = \"h\"\nbroker_time = \"new-york-close\"";
        let broker = Broker::new(toml::from_str(settings).unwrap()).unwrap();
        let symbols = Symbols::new(SourceId(1), [("EURUSD".to_string(), InstrumentId(7))]);
        let mut decoder = broker.decoder(&symbols);
        let mut events = Vec::new();
        decoder.decode(line, 5, &symbols, &mut |event| events.push(event));
        assert_eq!(events.len(), 1);
        events[0]
    }

    #[test]
    fn a_quote_is_read_on_the_brokers_clock_however_its_date_is_written() {
        let Event::Tick(tick) = decode(Broker::EXAMPLE.1.as_bytes()) else { panic!() };
        // Three hours ahead of UTC in May.
        assert_eq!((tick.ts_event_ns, tick.instrument), (Some(1_715_930_130_123_000_000), InstrumentId(7)));
        assert_eq!((tick.bid, tick.ask), (Some("1.08515".parse().unwrap()), Some("1.08521".parse().unwrap())));
        let hyphens = Broker::EXAMPLE.1.replace("2024.05.17 ", "2024-05-17T");
        assert_eq!(decode(hyphens.as_bytes()), Event::Tick(tick));
        let utc = Broker::EXAMPLE.1.replace("2024.05.17 10:15:30.123", "2024-05-17T07:15:30.123Z");
        assert_eq!(decode(utc.as_bytes()), Event::Tick(tick));
    }

    #[test]
    fn what_is_no_quote_is_told_apart() {
        for (line, expected) in [
            (r#"{"MSG":"TRACK_PRICES","ERROR_ID":0,"ERROR_DESCRIPTION":"ok"}"#, Event::Alive),
            (r#"{"MSG":"ACCOUNT_STATUS","BALANCE":1.5}"#, Event::Alive),
            (r#"{"MSG":"X","ERROR_ID":10024}"#, Event::Refused(Cause::RateLimited)),
            (r#"{"MSG":"X","ERROR_ID":65}"#, Event::Refused(Cause::LoginRefused)),
            (r#"{"MSG":"X","ERROR_ID":-1}"#, Event::Refused(Cause::ProtocolError)),
            (r#"{"MSG":"QUOTE","SYMBOL":"GBPUSD"}"#, Event::Reject(Reject::UnknownSymbol)),
            (r#"{"MSG":"QUOTE","SYMBOL":"EURUSD","ASK":1}"#, Event::Reject(Reject::Expected("a price in BID"))),
            (r#"{"A":1}"#, Event::Reject(Reject::Expected("a word in MSG"))),
        ] {
            assert_eq!(decode(line.as_bytes()), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_mutation_panics(edits in proptest::collection::vec((0_usize..200, any::<u8>()), 0..6), cut in 0_usize..200) {
            let mut line = Broker::EXAMPLE.1.as_bytes().to_vec();
            for (at, byte) in edits {
                let at = at % line.len();
                line[at] = byte;
            }
            line.truncate(cut);
            decode(&line);
        }
    }
}
