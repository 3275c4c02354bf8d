//! DWX, the ZeroMQ connector of Darwinex: an expert adviser in a MetaTrader 4 terminal (archived by its makers).
//!
//! Three sockets, named after what the client opens: commands go to its PUSH port, their answers come from its PULL port,
//! prices from its PUB port. A price is one frame, `EURUSD:|:1.085150;1.085210`: always six decimals, no time, and only when
//! bid or ask have changed. The adviser keeps one message for a slow reader and drops the others.
//!
//! The answers' port gives each answer to one of those who listen there. So it is opened for a question and closed with the
//! answer, of one source never two ask at once, and a heartbeat goes ahead of each question.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;
use tokio::sync::Mutex;

use super::bridge::{self, ANSWER_BYTES_MAX, ANSWER_MAX, FIRST_MAX, FIRST_TIMES, Place};
use super::{Account, Adapter, Decoder, History, SettingsError, Stream};
use crate::feeds::event::{Event, Reject, Symbols, price};
use crate::feeds::net::{Connection, FRAME_BYTES_MAX, Failure, excerpt};
use crate::feeds::zmq::Kind;
use crate::feeds::zmq::link::Link;
use crate::market::TickInput;

mod account;
mod answer;
mod history;

use answer::Answer;

/// What stands between a topic and what is said.
const DELIMITER: &[u8] = b":|:";

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The machine that the terminal runs on.
    pub host: String,
    /// Port of commands: the adviser's `PUSH_PORT`.
    #[serde(default = "push_port")]
    pub push_port: u16,
    /// Port of answers: its `PULL_PORT`.
    #[serde(default = "pull_port")]
    pub pull_port: u16,
    /// Port of prices: its `PUB_PORT`.
    #[serde(default = "pub_port")]
    pub pub_port: u16,
    /// How the broker's clock relates to UTC: past bars are on it.
    pub broker_time: String,
    /// Most bars of one request for past bars.
    #[serde(default = "bridge::history_bars")]
    pub history_bars: u32,
    /// Most requests for past bars in a second.
    #[serde(default = "bridge::history_per_second")]
    pub history_per_second: u32,
}

fn push_port() -> u16 {
    32_768
}

fn pull_port() -> u16 {
    32_769
}

fn pub_port() -> u16 {
    32_770
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
    const NAME: &'static str = "dwx";
    const EXAMPLE: (&'static str, &'static str) = ("EURUSD", "EURUSD:|:1.085150;1.085210");
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let ports =
            [("push_port", settings.push_port), ("pull_port", settings.pull_port), ("pub_port", settings.pub_port)];
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

    fn account(&self) -> Option<&dyn Account> {
        Some(self)
    }
}

impl Stream for Broker {
    type Decoder = DwxDecoder;

    fn decoder(&self, _: &Symbols) -> DwxDecoder {
        DwxDecoder
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let _one = self.asking.lock().await;
        let mut desk = self.desk().await?;
        let Settings { host, pub_port, .. } = &self.settings;
        // The prices first: what comes right after the command is not to be lost.
        let mut prices = Link::connect(host, *pub_port, Kind::Sub, FRAME_BYTES_MAX).await?;
        // With the delimiter: EURUSD alone would be EURUSD.m and the bars of EURUSD_M1 too.
        symbols.names().for_each(|name| prices.subscribe(&format!("{name}:|:")));
        prices.flush().await?;
        let command = symbols.names().fold("TRACK_PRICES".to_string(), |command, name| command + ";" + name);
        desk.ask(&command, "TRACK_PRICES", ANSWER_MAX, |answer| tracked(answer, symbols).map(Some)).await?;
        Ok(Connection::zmq(prices))
    }
}

impl Broker {
    /// The two sockets that a question needs.
    async fn desk(&self) -> Result<Desk, Failure> {
        let Settings { host, push_port, pull_port, .. } = &self.settings;
        let commands = Link::connect(host, *push_port, Kind::Push, FRAME_BYTES_MAX).await?;
        let answers = Link::connect(host, *pull_port, Kind::Pull, ANSWER_BYTES_MAX).await?;
        Ok(Desk { commands, answers })
    }

    /// Asks one question. `found` reads an answer, and says `None` to those that answer another question.
    async fn ask<T>(
        &self,
        command: &str,
        action: &str,
        at_most: Duration,
        found: impl FnMut(&Answer<'_>) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let _one = self.asking.lock().await;
        let mut desk = self.desk().await?;
        desk.ask(command, action, at_most, found).await
    }
}

/// Where questions are asked.
struct Desk {
    commands: Link,
    answers: Link,
}

impl Desk {
    /// Sends a command, and waits for the answer with this `_action`: another one is somebody else's.
    async fn ask<T>(
        &mut self,
        command: &str,
        action: &str,
        at_most: Duration,
        mut found: impl FnMut(&Answer<'_>) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        self.first().await?;
        self.commands.say(command);
        self.commands.flush().await?;
        let found = |message: &[u8]| {
            let json = answer::to_json(message);
            let answer = match Answer::read(&json) {
                Ok(answer) => answer,
                Err(e) => {
                    let text = format!("{action}: {e}, found {}", excerpt(message));
                    return Some(Err(Failure::new(Cause::ProtocolError, text)));
                }
            };
            if let Some(refusal) = answer.refusal() {
                return Some(Err(Failure { text: format!("{action}: {}", refusal.text), ..refusal }));
            }
            if answer.is(action) { found(&answer).transpose() } else { None }
        };
        let answer = self.answers.answer(at_most, found).await?;
        answer.ok_or_else(|| bridge::unanswered(action, at_most))
    }

    /// Asks for a heartbeat until there is one; see [`FIRST_MAX`].
    async fn first(&mut self) -> Result<(), Failure> {
        for _ in 0..FIRST_TIMES {
            self.commands.say("HEARTBEAT;");
            self.commands.flush().await?;
            let heard = |message: &[u8]| {
                let json = answer::to_json(message);
                Answer::read(&json).is_ok_and(|answer| answer.is("heartbeat")).then_some(Ok(()))
            };
            if self.answers.answer(FIRST_MAX, heard).await?.is_some() {
                return Ok(());
            }
        }
        Err(bridge::unanswered("HEARTBEAT", FIRST_MAX * FIRST_TIMES))
    }
}

/// Whether all symbols are tracked, by the answer to `TRACK_PRICES`.
fn tracked(answer: &Answer<'_>, symbols: &Symbols) -> Result<(), Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::new(Cause::ProtocolError, format!("TRACK_PRICES: {e}"));
    let list = answer::tracked(answer.data).map_err(|e| wrong(&e))?;
    let asked: BTreeSet<&str> = symbols.names().collect();
    // The adviser's list of fields may be longer than what was said; the rest of it is empty.
    let unknown: Vec<&str> = list.errors.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    if !unknown.is_empty() {
        return Err(wrong(&format!("the terminal has no symbol {}", unknown.join(", "))));
    }
    if list.count < asked.len() as u64 {
        return Err(wrong(&format!("{} of {} symbols are tracked", list.count, asked.len())));
    }
    Ok(())
}

/// Decodes one message at a time.
#[derive(Debug)]
pub struct DwxDecoder;

fn event(message: &[u8], ts_recv_ns: i64, symbols: &Symbols) -> Result<Event, Reject> {
    let expected = Reject::Expected("SYMBOL:|:BID;ASK");
    let at = memchr::memmem::find(message, DELIMITER).ok_or(expected)?;
    let (symbol, said) = (&message[..at], &message[at + DELIMITER.len()..]);
    let mut fields = said.split(|b| *b == b';');
    let (first, second, more) = (fields.next().unwrap_or_default(), fields.next(), fields.count());
    let ask = match (first, second, more) {
        (_, Some(ask), 0) => ask,
        // The terminal has no price of the symbol yet; or a bar: time, four prices, ticks, spread, volume.
        (b"", None, _) | (_, Some(_), 6) => return Ok(Event::Alive),
        _ => return Err(expected),
    };
    let found = symbols.find(symbol)?;
    Ok(Event::Tick(TickInput {
        source: symbols.source(),
        instrument: found.instrument,
        ts_event_ns: None,
        ts_recv_ns,
        bid: Some(price("the bid", first)?),
        ask: Some(price("the ask", ask)?),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    }))
}

impl Decoder for DwxDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(event(frame, ts_recv_ns, symbols).unwrap_or_else(Event::Reject));
    }
}

#[cfg(test)]
mod tests;
