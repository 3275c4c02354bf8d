//! A second opinion on every message: the prices and trades in it as a general parser finds them (`serde_json` for the
//! tree, a list of tags for FIX) and plain arithmetic reads them, against what the decoder told.
//!
//! A new adapter gets one with an entry in [`READERS`].
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)] // Each test binary uses its part.

#[path = "oracle/bridges.rs"]
mod bridges;
#[path = "oracle/fix.rs"]
mod fix;
#[path = "oracle/venues.rs"]
mod venues;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tickwire::feeds::event::Event;
use tickwire::market::{Price, Size};
use tickwire_schemas::words::Cause;

use super::any::Any;

/// A price or a trade, in the units of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// Whether it is a trade.
    pub trade: bool,
    /// Bid, or the price of the trade.
    pub bid_e9: Option<i64>,
    pub ask_e9: Option<i64>,
    /// Size of the bid, or of the trade.
    pub bid_size_e8: Option<u64>,
    pub ask_size_e8: Option<u64>,
    pub ts_event_ns: Option<i64>,
    /// Number of the update or of the trade.
    pub number: Option<u64>,
    pub snapshot: bool,
    /// Whether the aggressor bought.
    pub bought: bool,
    /// No price: the one from before stands.
    pub confirmed: bool,
    /// No price: the venue refuses.
    pub refused: Option<Cause>,
}

/// What a reader makes of a message: what it says, or why it does not say.
pub type Opinion = Result<Vec<Said>, Silence>;

/// Why there is no opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Only the decoder knows what this one says, for instance out of a book.
    Message,
    /// Nor what the following ones say.
    Connection,
}

/// What a message that is followed says; `None`: nothing.
pub type Spoken = Option<Vec<Said>>;

/// A side of the book: its price and its size.
type Level = (Option<i64>, Option<u64>);

/// A whole price.
fn tick(bid: Level, ask: Level) -> Said {
    Said { bid_e9: bid.0, bid_size_e8: bid.1, ask_e9: ask.0, ask_size_e8: ask.1, ..Said::default() }
}

/// Not a price.
fn refusal(cause: Cause) -> Said {
    Said { refused: Some(cause), ..Said::default() }
}

/// What a reader remembers of a connection.
#[derive(Default)]
pub struct Memory {
    /// A price was told before.
    pub seen: bool,
    /// Number of the last message.
    pub last: Option<u64>,
    /// The last price, where repeats are told apart.
    pub told: Option<Said>,
}

/// Reads a message for the one symbol that is subscribed.
type Reader = fn(&[u8], &str, &mut Memory) -> Opinion;

const READERS: &[(&str, Reader)] = &[
    ("oanda", |frame, symbol, memory| json(frame, |root| venues::oanda(root, symbol, memory))),
    ("mtapi", |frame, symbol, _| json(frame, |root| venues::mtapi(root, symbol))),
    ("binance", |frame, symbol, _| json(frame, |root| venues::binance(root, symbol))),
    ("binance_usdm", |frame, symbol, _| json(frame, |root| venues::binance(root, symbol))),
    ("kraken", |frame, symbol, _| json(frame, |root| venues::kraken(root, symbol))),
    ("coinbase", venues::coinbase),
    ("bybit", |frame, symbol, _| json(frame, |root| venues::bybit(root, symbol))),
    ("mtsocketapi", |frame, symbol, _| json(frame, |root| venues::mtsocketapi(root, symbol))),
    ("json-ws", |frame, symbol, _| json(frame, |root| venues::json_ws(root, symbol))),
    ("json-poll", |frame, symbol, memory| json(frame, |root| bridges::json_poll(root, symbol, memory))),
    ("mtapi-accounts", bridges::mtapi_accounts),
    ("fxcm", |frame, symbol, _| bridges::fxcm(frame, symbol)),
    ("dwx", |frame, symbol, _| bridges::dwx(frame, symbol)),
    ("mql5-json-api", |frame, symbol, _| json(frame, |root| bridges::mql5_json_api(root, symbol))),
    ("ctrader", fix::ctrader),
];

/// Adapters whose readers say refusals too.
const REFUSALS: &[&str] = &["mtapi-accounts", "fxcm", "dwx", "mql5-json-api"];

/// The second opinion on one connection's messages.
pub struct Oracle {
    refusals: bool,
    reader: Option<Reader>,
    symbol: String,
    memory: Memory,
    /// What follows is not known.
    lost: bool,
}

impl Oracle {
    pub fn new(any: &Any) -> Oracle {
        let reader = READERS.iter().find(|(name, _)| *name == any.entry.name).map(|(_, reader)| *reader);
        Oracle {
            refusals: REFUSALS.contains(&any.entry.name),
            reader,
            symbol: any.symbols.names().next().unwrap().to_string(),
            memory: Memory::default(),
            lost: false,
        }
    }

    /// Whether there is a reader for the adapter.
    pub fn has_opinion(&self) -> bool {
        self.reader.is_some()
    }

    /// Holds what the decoder told of a message against what the message says. Whether there was something to hold.
    pub fn check(&mut self, frame: &[u8], events: &[Event]) -> bool {
        let Some(reader) = self.reader else { return false };
        if self.lost {
            return false;
        }
        let expected = match reader(frame, &self.symbol, &mut self.memory) {
            Ok(expected) => expected,
            Err(silence) => {
                self.lost = silence == Silence::Connection;
                return false;
            }
        };
        let told: Vec<Said> =
            events.iter().filter_map(said).filter(|said| self.refusals || said.refused.is_none()).collect();
        assert_eq!(told, expected, "left: the decoder, right: the general parser, of {}", frame.escape_ascii());
        !expected.is_empty()
    }
}

fn said(event: &Event) -> Option<Said> {
    match event {
        Event::Tick(tick) => Some(Said {
            bid_e9: tick.bid.map(Price::e9),
            ask_e9: tick.ask.map(Price::e9),
            bid_size_e8: tick.bid_size.map(Size::e8),
            ask_size_e8: tick.ask_size.map(Size::e8),
            ts_event_ns: tick.ts_event_ns,
            number: tick.source_seq,
            snapshot: tick.snapshot,
            ..Said::default()
        }),
        Event::Trade(trade) => Some(Said {
            trade: true,
            bid_e9: Some(trade.price.e9()),
            bid_size_e8: trade.size.map(Size::e8),
            ts_event_ns: trade.ts_event_ns,
            number: trade.trade_id,
            bought: trade.aggressor.word() == "buy",
            ..Said::default()
        }),
        Event::Refused(cause) => Some(refusal(*cause)),
        Event::Confirmed => Some(Said { confirmed: true, ..Said::default() }),
        _ => None,
    }
}

/// A JSON value; numbers as their text. Of a key that comes twice the last counts.
pub enum Node<'a> {
    Object(Vec<(String, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// The text between the quotes, and what it means.
    Text(&'a str, String),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// Members in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Walk).map(Members)
    }
}

impl<'a> Node<'a> {
    /// Reads a text; `None` when it is not JSON, or holds half of a surrogate pair, which is no text.
    pub fn read(text: &'a str) -> Option<Node<'a>> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        Node::of(raw.get())
    }

    fn of(raw: &'a str) -> Option<Node<'a>> {
        Some(match raw.as_bytes()[0] {
            b'{' => {
                let members: Members<'a> = serde_json::from_str(raw).ok()?;
                let members = members.0.into_iter().map(|(key, raw)| Some((key, Node::of(raw.get())?)));
                Node::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(raw).ok()?;
                Node::Array(items.into_iter().map(|raw| Node::of(raw.get())).collect::<Option<_>>()?)
            }
            b'"' => Node::Text(&raw[1..raw.len() - 1], serde_json::from_str(raw).ok()?),
            b't' | b'f' => Node::Bool(raw == "true"),
            b'n' => Node::Null,
            _ => Node::Number(raw),
        })
    }

    pub fn members(&self) -> Option<&[(String, Node<'a>)]> {
        if let Node::Object(members) = self { Some(members) } else { None }
    }

    pub fn items(&self) -> Option<&[Node<'a>]> {
        if let Node::Array(items) = self { Some(items) } else { None }
    }

    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.members()?.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether every member of this name passes: a wrong one counts although a right one comes behind it.
    pub fn all(&self, keys: &[&str], fits: impl Fn(&Node<'a>) -> bool) -> bool {
        let mut members = self.members().unwrap_or_default().iter();
        members.all(|(name, node)| !keys.contains(&name.as_str()) || fits(node))
    }

    pub fn text(&self) -> Option<&str> {
        if let Node::Text(_, text) = self { Some(text) } else { None }
    }

    /// The text of a number, written as one or as a string.
    pub fn number(&self) -> Option<&'a str> {
        match self {
            Node::Number(text) | Node::Text(text, _) => Some(text),
            _ => None,
        }
    }

    pub fn whole(&self) -> Option<u64> {
        self.number().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }

    pub fn boolean(&self) -> Option<bool> {
        if let Node::Bool(value) = self { Some(*value) } else { None }
    }

    fn depth(&self) -> usize {
        match self {
            Node::Object(members) => 1 + members.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
            Node::Array(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Reads JSON with one of the venues' readers: what is not JSON says nothing, and what is nested deeper than any decoder
/// walks is nobody's business.
pub fn json(frame: &[u8], read: impl FnOnce(&Node<'_>) -> Option<Vec<Said>>) -> Opinion {
    let Ok(text) = std::str::from_utf8(frame) else { return Ok(Vec::new()) };
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Ok(Vec::new());
    }
    let root = Node::read(text).ok_or(Silence::Connection)?;
    if root.depth() > 30 {
        return Err(Silence::Connection);
    }
    Ok(read(&root).unwrap_or_default())
}

/// A decimal times ten to the power of `places`, by the rule for decimals as it is taught: digits, a point, an exponent.
/// `None` when it is none, or not a whole number then, or too large.
pub fn exact(text: &str, places: i32) -> Option<i128> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 64)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // Zeros at the end say nothing; all other digits are 64 bits at most, whatever the exponent.
    let fraction = fraction.trim_end_matches('0');
    let value: u64 = format!("0{whole}{fraction}").parse().ok()?;
    let power = exponent + places - fraction.len() as i32;
    let value = i128::from(value);
    let value = match (value, u32::try_from(power)) {
        (0, _) => 0,
        (_, Ok(power)) => 10_i128.checked_pow(power)?.checked_mul(value)?,
        (_, Err(_)) => {
            let unit = 10_i128.checked_pow(power.unsigned_abs())?;
            (value % unit == 0).then_some(value / unit)?
        }
    };
    Some(if negative { -value } else { value })
}

/// A price in billionths. The decoder's integers have 19 digits, leading zeros and dropped ones included.
pub fn price(text: &str) -> Option<i64> {
    i64::try_from(exact(text, 9)?).ok().filter(|value| *value != i64::MIN)
}

/// A size in hundred-millionths.
pub fn size(text: &str) -> Option<u64> {
    if text.starts_with('-') {
        return None;
    }
    u64::try_from(exact(text, 8)?).ok().filter(|value| *value != u64::MAX)
}
