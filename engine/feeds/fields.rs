//! Where the JSON of any API says what: the table `fields` of the generic adapters, and the decoder that follows it.
//!
//! Numbers are read from their text, as everywhere. What is configured must be in every message that the filter lets
//! through, but may be `null`: a side that is empty, a size or time that the venue does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::adapters::{Decoder, SettingsError};
use super::event::{Event, Reject, Symbols, price, size};
use super::json::{Cursor, Malformed};
use super::paths::{Path, Plan, plain};
use crate::market::{BrokerClock, BrokerTime, TickInput};

mod time;

pub use time::TimeUnit;
use time::time;

/// Most conditions of a filter.
const FILTER_MAX: usize = 8;

/// Answers of a walk: the fields of a price, what concerns the whole message, and the filter.
const ANSWERS: usize = 16 + FILTER_MAX;

const SYMBOL: usize = 0;
const BID: usize = 1;
const ASK: usize = 2;
const BID_SIZE: usize = 3;
const ASK_SIZE: usize = 4;
const TIME: usize = 5;
const SEQUENCE: usize = 6;
const FIELDS: usize = 7;
const ITEMS: usize = 7;
const ERROR: usize = 8;
const CONFIRM: usize = 9;
const FILTER: usize = 16;

/// A value of the configuration that is compared with the text of one in a message.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub enum Wanted {
    /// A text, or the text of a number.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// `true` or `false`.
    Truth(bool),
}

impl Wanted {
    fn text(&self) -> String {
        match self {
            Wanted::Text(text) => text.clone(),
            Wanted::Whole(number) => number.to_string(),
            Wanted::Truth(truth) => truth.to_string(),
        }
    }
}

/// The table `fields`; every key is documented in `config/default.toml`.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// Path of a list (or object) of prices in one message.
    pub items: Option<String>,
    /// Path of the symbol, or `@key` where `items` is an object with the symbols as its names.
    pub symbol: Option<String>,
    /// Path of the bid.
    pub bid: Option<String>,
    /// Path of the ask.
    pub ask: Option<String>,
    /// Path of the size at the bid.
    pub bid_size: Option<String>,
    /// Path of the size at the ask.
    pub ask_size: Option<String>,
    /// Path of the time.
    pub time: Option<String>,
    /// How it is written.
    pub time_unit: TimeUnit,
    /// The clock of an `iso` time without an offset.
    pub time_zone: Option<String>,
    /// Path of the sequence number.
    pub sequence: Option<String>,
    /// Paths and the values that make a message one of prices; others are passed over.
    pub filter: BTreeMap<String, Wanted>,
    /// Path of an error's number or word.
    pub error: Option<String>,
    /// Values there that are no error.
    pub error_ok: Vec<Wanted>,
    /// Values there that refuse the login.
    pub error_login: Vec<Wanted>,
    /// Values there that ask to slow down.
    pub error_slow: Vec<Wanted>,
    /// Pass over symbols that are not subscribed instead of counting them as errors.
    pub ignore_other_symbols: bool,
}

/// One field of a price: the words that name it when it is missing or wrong.
#[derive(Debug, Clone, Copy)]
struct Named {
    path: &'static str,
    missing: &'static str,
}

/// Where everything is, checked.
#[derive(Debug)]
pub struct Layout {
    frame: Plan,
    item: Plan,
    /// By field: its name, where it is configured.
    named: [Option<Named>; FIELDS],
    items: Option<Named>,
    by_key: bool,
    filter: Vec<String>,
    confirms: bool,
    time_unit: TimeUnit,
    time_zone: BrokerTime,
    error_ok: Vec<String>,
    error_login: Vec<String>,
    error_slow: Vec<String>,
    ignore_other_symbols: bool,
}

/// Words that live as long as the process, each once: what is refused is told by reference.
fn lasting(text: String) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(word) = words.get(text.as_str()) {
        return word;
    }
    let word: &'static str = Box::leak(text.into_boxed_str());
    words.insert(word);
    word
}

fn path(key: &str, text: &str) -> Result<Path, SettingsError> {
    Path::parse(text).map_err(|problem| SettingsError::new(format!("fields.{key}"), problem))
}

impl Layout {
    /// The layout that `fields` describes. `confirm` is the path that confirms a subscription; `needs_symbol` is false
    /// where a message may be about the one symbol that was asked for.
    ///
    /// # Errors
    /// [`SettingsError`] naming the key.
    pub fn new(fields: &Fields, confirm: Option<&str>, needs_symbol: bool) -> Result<Self, SettingsError> {
        let by_key = fields.symbol.as_deref() == Some("@key");
        let time_zone = BrokerTime::from_str(fields.time_zone.as_deref().unwrap_or("utc"))
            .map_err(|e| SettingsError::new("fields.time_zone", e))?;
        let texts = |values: &[Wanted]| values.iter().map(Wanted::text).collect::<Vec<_>>();
        let mut layout = Layout {
            frame: Plan::default(),
            item: Plan::default(),
            named: [None; FIELDS],
            items: None,
            by_key,
            filter: fields.filter.values().map(Wanted::text).collect(),
            confirms: confirm.is_some(),
            time_unit: fields.time_unit,
            time_zone,
            error_ok: texts(&fields.error_ok),
            error_login: texts(&fields.error_login),
            error_slow: texts(&fields.error_slow),
            ignore_other_symbols: fields.ignore_other_symbols,
        };
        layout.place_fields(fields)?;
        let bad = |key: &str, problem: &str| Err(SettingsError::new(format!("fields.{key}"), problem));
        if by_key && fields.items.is_none() {
            return bad(
                "symbol",
                "\"@key\" needs fields.items, expected the path of an object that symbols are names in",
            );
        }
        if needs_symbol && !by_key && fields.symbol.is_none() {
            return bad("symbol", "is missing, expected the path of the symbol, such as data.s");
        }
        if fields.bid.is_none() && fields.ask.is_none() {
            return bad("bid", "is missing, and fields.ask too; expected the path of a price, such as data.b");
        }
        if fields.filter.len() > FILTER_MAX {
            return bad("filter", &format!("{} conditions, expected at most {FILTER_MAX}", fields.filter.len()));
        }
        for (at, text) in fields.filter.keys().enumerate() {
            layout.frame.add(&path("filter", text)?, FILTER + at);
        }
        if let Some(text) = &fields.error {
            layout.frame.add(&path("error", text)?, ERROR);
        }
        if let Some(text) = confirm {
            let path = Path::parse(text).map_err(|problem| SettingsError::new("confirm", problem))?;
            layout.frame.add(&path, CONFIRM);
        }
        Ok(layout)
    }

    fn place_fields(&mut self, fields: &Fields) -> Result<(), SettingsError> {
        if let Some(text) = &fields.items {
            self.frame.add(&path("items", text)?, ITEMS);
            let missing = lasting(format!("a list of prices at \"{text}\" (items)"));
            self.items = Some(Named { path: "items", missing });
        }
        let symbol = fields.symbol.as_ref().filter(|_| !self.by_key);
        for (slot, key, text) in [
            (SYMBOL, "symbol", symbol),
            (BID, "bid", fields.bid.as_ref()),
            (ASK, "ask", fields.ask.as_ref()),
            (BID_SIZE, "bid_size", fields.bid_size.as_ref()),
            (ASK_SIZE, "ask_size", fields.ask_size.as_ref()),
            (TIME, "time", fields.time.as_ref()),
            (SEQUENCE, "sequence", fields.sequence.as_ref()),
        ] {
            let Some(text) = text else { continue };
            let path = path(key, text)?;
            // Without a list the message is the price.
            let plan = if fields.items.is_none() || path.is_rooted() { &mut self.frame } else { &mut self.item };
            plan.add(&path, slot);
            let missing = lasting(format!("a value at \"{text}\" ({key})"));
            self.named[slot] = Some(Named { path: lasting(text.clone()), missing });
        }
        Ok(())
    }

    /// What a message is, before anybody looks for prices in it.
    fn classify<'a>(&self, frame: &'a [u8], found: &mut [Option<&'a [u8]>; ANSWERS]) -> Result<Kind, Malformed> {
        self.frame.walk(frame, found)?;
        if let Some(cause) = found[ERROR].and_then(|raw| self.cause(raw)) {
            return Ok(Kind::Refused(cause));
        }
        if self.confirms && found[CONFIRM].is_some() {
            return Ok(Kind::Confirms);
        }
        let fits = |(at, wanted): (usize, &String)| {
            found[FILTER + at].is_some_and(|raw| plain(raw).unwrap_or(b"null") == wanted.as_bytes())
        };
        Ok(if self.filter.iter().enumerate().all(fits) { Kind::Prices } else { Kind::Other })
    }

    /// The cause of an error's number or word; none where it says that there is no error.
    fn cause(&self, raw: &[u8]) -> Option<Cause> {
        let text = plain(raw)?;
        let among = |values: &[String]| values.iter().any(|value| value.as_bytes() == text);
        match text {
            b"" | b"0" | b"false" => None,
            _ if among(&self.error_ok) => None,
            _ if among(&self.error_login) => Some(Cause::LoginRefused),
            _ if among(&self.error_slow) => Some(Cause::RateLimited),
            _ => Some(Cause::ProtocolError),
        }
    }

    /// Whether a message confirms a subscription, or refuses it.
    ///
    /// # Errors
    /// The cause of a refusal.
    pub fn confirms(&self, frame: &[u8]) -> Result<bool, Cause> {
        match self.classify(frame, &mut [None; ANSWERS]) {
            Ok(Kind::Refused(cause)) => Err(cause),
            Ok(Kind::Confirms) => Ok(true),
            Ok(Kind::Prices | Kind::Other) | Err(_) => Ok(false),
        }
    }
}

enum Kind {
    Refused(Cause),
    Confirms,
    Prices,
    Other,
}

/// What a decoder of polled answers remembers: an answer that says nothing new is no price.
#[derive(Debug, Clone)]
pub(super) struct Polled {
    last: Box<[Option<TickInput>]>,
    /// How long unchanged answers count as news that the price still stands; 0: for ever.
    unchanged_max_ns: i64,
    changed_ns: i64,
}

/// Decodes the messages of an API that a [`Layout`] describes.
#[derive(Debug)]
pub struct JsonDecoder {
    layout: Arc<Layout>,
    clock: BrokerClock,
    polled: Option<Polled>,
    /// The frame begins with the symbol that was asked for, and a line feed.
    prefixed: bool,
}

impl JsonDecoder {
    /// A decoder of messages that come by themselves.
    #[must_use]
    pub fn new(layout: Arc<Layout>) -> Self {
        let clock = BrokerClock::new(layout.time_zone);
        JsonDecoder { layout, clock, polled: None, prefixed: false }
    }

    /// A decoder of answers to polls, of a source with this many symbols; `prefixed` when each begins with the symbol
    /// that was asked for and a line feed.
    #[must_use]
    pub fn polled(layout: Arc<Layout>, symbols: usize, unchanged_max_ns: i64, prefixed: bool) -> Self {
        let polled = Some(Polled::new(symbols, unchanged_max_ns));
        JsonDecoder { polled, prefixed, ..JsonDecoder::new(layout) }
    }

    fn frame(
        &mut self,
        mut frame: &[u8],
        at_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let mut asked = None;
        if self.prefixed {
            let end = memchr::memchr(b'\n', frame).ok_or(Reject::Expected("the symbol that was asked for"))?;
            (asked, frame) = (Some(&frame[..end]), &frame[end + 1..]);
        }
        let layout = Arc::clone(&self.layout);
        let mut found = [None; ANSWERS];
        match layout.classify(frame, &mut found)? {
            Kind::Refused(cause) => {
                sink(Event::Refused(cause));
                return Ok(());
            }
            Kind::Confirms | Kind::Other => {
                sink(Event::Alive);
                return Ok(());
            }
            Kind::Prices => {}
        }
        let Some(items) = layout.items else {
            sink(self.item(asked, &found, at_ns, symbols).unwrap_or_else(Event::Reject));
            return Ok(());
        };
        let items = found[ITEMS].filter(|raw| raw[0] != b'n').ok_or(Reject::Expected(items.missing))?;
        let mut any = false;
        let mut each = |key: Option<&[u8]>, raw| {
            any = true;
            // What is outside the list holds for each of it.
            let mut found = found;
            let event = match layout.item.walk(raw, &mut found) {
                Ok(()) => self.item(key.or(asked), &found, at_ns, symbols).unwrap_or_else(Event::Reject),
                Err(malformed) => Event::Reject(malformed.into()),
            };
            sink(event);
        };
        let mut cursor = Cursor::new(items);
        match (cursor.peek(), layout.by_key) {
            (b'{', true) => cursor.object(|key, c| {
                each(Some(key), c.raw()?);
                Ok(())
            })?,
            (b'[', false) => cursor.array(|c| {
                each(None, c.raw()?);
                Ok(())
            })?,
            // One price where otherwise there are several.
            (b'{', false) => each(None, items),
            _ => return Err(Reject::Expected(layout.items.map_or("items", |items| items.missing))),
        }
        if !any {
            sink(Event::Alive);
        }
        Ok(())
    }

    /// One price.
    fn item(
        &mut self,
        key: Option<&[u8]>,
        found: &[Option<&[u8]>; ANSWERS],
        ts_recv_ns: i64,
        symbols: &Symbols,
    ) -> Result<Event, Reject> {
        let layout = &self.layout;
        // `None`: not configured, or null.
        let value = |slot: usize| -> Result<Option<(&'static str, &[u8])>, Reject> {
            let Some(named) = layout.named[slot] else { return Ok(None) };
            let raw = found[slot].ok_or(Reject::Expected(named.missing))?;
            Ok(plain(raw).map(|text| (named.path, text)))
        };
        let sought = match (layout.named[SYMBOL], key) {
            (Some(named), _) => {
                let raw = found[SYMBOL].ok_or(Reject::Expected(named.missing))?;
                if raw.contains(&b'\\') {
                    symbols.find(&Cursor::new(raw).text()?)
                } else {
                    symbols.find(plain(raw).unwrap_or(raw))
                }
            }
            (None, Some(key)) => symbols.find(key),
            (None, None) => return Err(Reject::Expected("a symbol")),
        };
        let found_symbol = match sought {
            Err(Reject::UnknownSymbol) if layout.ignore_other_symbols => return Ok(Event::Alive),
            other => other?,
        };
        let ts_event_ns = match value(TIME)? {
            Some((_, text)) => {
                let missing = layout.named[TIME].map_or("a time", |named| named.missing);
                Some(time(layout.time_unit, &mut self.clock, text).ok_or(Reject::Expected(missing))?)
            }
            None => None,
        };
        let source_seq = match value(SEQUENCE)? {
            Some((_, text)) => {
                let missing = layout.named[SEQUENCE].map_or("a sequence number", |named| named.missing);
                let number = Cursor::new(text).whole().ok().filter(|_| text.iter().all(u8::is_ascii_digit));
                Some(number.ok_or(Reject::Expected(missing))?)
            }
            None => None,
        };
        let tick = TickInput {
            source: symbols.source(),
            instrument: found_symbol.instrument,
            ts_event_ns,
            ts_recv_ns,
            bid: value(BID)?.map(|(name, text)| price(name, text)).transpose()?,
            ask: value(ASK)?.map(|(name, text)| price(name, text)).transpose()?,
            bid_size: value(BID_SIZE)?.map(|(name, text)| size(name, text)).transpose()?,
            ask_size: value(ASK_SIZE)?.map(|(name, text)| size(name, text)).transpose()?,
            source_seq,
            snapshot: false,
        };
        Ok(match &mut self.polled {
            None => Event::Tick(tick),
            Some(polled) => polled.event(found_symbol.index, tick),
        })
    }
}

impl Polled {
    /// Nothing of so many symbols yet; for `unchanged_max_ns` see [`JsonDecoder::polled`].
    pub(super) fn new(symbols: usize, unchanged_max_ns: i64) -> Self {
        Polled { last: vec![None; symbols].into_boxed_slice(), unchanged_max_ns, changed_ns: i64::MIN }
    }

    /// A tick of the symbol with this index, or that it is the one from before.
    pub(super) fn event(&mut self, index: usize, tick: TickInput) -> Event {
        let now_ns = tick.ts_recv_ns;
        let Some(last) = self.last.get_mut(index) else { return Event::Tick(tick) };
        match last {
            Some(before) if (TickInput { ts_recv_ns: now_ns, ..*before }) == tick => {
                let fresh = now_ns.saturating_sub(self.changed_ns) <= self.unchanged_max_ns;
                if self.unchanged_max_ns == 0 || fresh { Event::Confirmed } else { Event::Alive }
            }
            _ => {
                let snapshot = last.is_none();
                (*last, self.changed_ns) = (Some(tick), now_ns);
                // The first answer is the state, not a change.
                Event::Tick(TickInput { snapshot, ..tick })
            }
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        if let Err(reject) = self.frame(frame, ts_recv_ns, symbols, sink) {
            sink(Event::Reject(reject));
        }
    }
}

#[cfg(test)]
mod tests;
