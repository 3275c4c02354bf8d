//! cTrader FIX 4.4, the quote session: IC Markets, Pepperstone and others.
//!
//! Symbols are numbers of the broker's own; the SecurityList names them. A spot subscription sends a whole W for every
//! change, without sizes; a depth subscription sends one W and then X with the entries that come and go, known by
//! MDEntryID alone. Prices have no time of their own, so that of the message (52) is taken.
//! Source: cTrader FIX API, Rules of Engagement.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use tickwire_schemas::words::Cause;
use tokio_rustls::rustls::ClientConfig;

use super::{Adapter, Decoder, SettingsError, Stream, SymbolList};
use crate::config::Secret;
use crate::feeds::event::{Event, Found, Reject, Symbols};
use crate::feeds::fix::link::{self, Link, Logon};
use crate::feeds::fix::session::Identity;
use crate::feeds::fix::{self, Draft, Message};
use crate::feeds::net::{self, Connection, Failure};
use crate::market::TickInput;
use book::{Book, Entry};

mod book;
mod symbols;

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `tls://HOST:PORT`, or `tcp://HOST:PORT` without encryption.
    pub base_url: String,
    /// SenderCompID: `ENVIRONMENT.BROKER.LOGIN`.
    pub sender_comp_id: String,
    /// TargetCompID.
    #[serde(default = "server")]
    pub target_comp_id: String,
    /// SenderSubID.
    #[serde(default = "quote")]
    pub sender_sub_id: String,
    /// TargetSubID.
    #[serde(default = "quote")]
    pub target_sub_id: String,
    /// The login number of the account.
    pub username: String,
    /// The account's FIX password.
    pub password: Secret,
    /// HeartBtInt in seconds; 0: no heartbeats.
    #[serde(default = "half_a_minute")]
    pub heartbeat_s: u32,
    /// The whole book instead of the best prices.
    #[serde(default)]
    pub depth: bool,
    /// PEM file of the certificates to trust instead of the public authorities.
    pub ca_file: Option<String>,
}

fn server() -> String {
    "cServer".into()
}

fn quote() -> String {
    "QUOTE".into()
}

fn half_a_minute() -> u32 {
    30
}

/// One quote session of one account.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    host: String,
    port: u16,
    secure: bool,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Adapter for Broker {
    const NAME: &'static str = "ctrader";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        "8=FIX.4.4\x019=142\x0135=W\x0134=2\x0149=cServer\x0150=QUOTE\x0152=20260916-14:57:52.978\x0156=demo.broker.1234567\x0157=QUOTE\x0155=1\x01262=md-1\x01268=2\x01269=0\x01270=1.0851\x01269=1\x01270=1.08523\x0110=197\x01",
    );
    const PRELUDE: &'static [&'static str] = &[
        "8=FIX.4.4\x019=168\x0135=y\x0134=2\x0149=cServer\x0150=QUOTE\x0152=20260916-14:57:52.300\x0156=demo.broker.1234567\x0157=QUOTE\x01320=1\x01322=responce:1\x01560=0\x01146=2\x0155=1\x011007=EURUSD\x011008=5\x0155=2\x011007=GBPUSD\x011008=5\x0110=026\x01",
    ];
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        let wrong = |key: &str, problem: String| Err(SettingsError::new(key, problem));
        let base = net::base_url(&settings.base_url, &["tls", "tcp"]).map_err(|e| SettingsError::new("base_url", e))?;
        let (scheme, address) = base.split_once("://").unwrap_or_default();
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = parts else {
            return wrong("base_url", format!("\"{base}\" has no port, expected such as tls://HOST:5211"));
        };
        for (key, value, needed) in [
            ("sender_comp_id", &settings.sender_comp_id, true),
            ("target_comp_id", &settings.target_comp_id, true),
            ("username", &settings.username, true),
            ("sender_sub_id", &settings.sender_sub_id, false),
            ("target_sub_id", &settings.target_sub_id, false),
        ] {
            if (needed && value.is_empty()) || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                return wrong(key, format!("{value:?}, expected some printable ASCII"));
            }
        }
        if settings.heartbeat_s > 3_600 {
            return wrong("heartbeat_s", format!("{} s, expected 0 to 3600", settings.heartbeat_s));
        }
        let (host, secure) = (host.trim_matches(['[', ']']).to_string(), scheme == "tls");
        Ok(Broker { settings, host, port, secure, tls: OnceLock::new() })
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.tls().map_err(|e| SettingsError::new("ca_file", e))?;
        self.settings.password.resolve().map(|_| ()).map_err(|e| SettingsError::new("password", e))
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }

    fn symbol_list(&self) -> Option<&dyn SymbolList> {
        Some(self)
    }
}

impl Stream for Broker {
    type Decoder = CtraderDecoder;

    fn decoder(&self, symbols: &Symbols) -> CtraderDecoder {
        CtraderDecoder::new(symbols.len())
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let password = self.password()?;
        let link = self.subscribe(&password, symbols).await.map_err(|f| f.without(&[&password]))?;
        Ok(Connection::fix(link).with_secret(password))
    }
}

impl Broker {
    /// What TLS trusts, where it is used.
    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        if !self.secure {
            return Ok(None);
        }
        self.tls.get_or_init(|| link::tls(self.settings.ca_file.as_deref())).clone().map(Some)
    }

    /// A session that is logged on.
    async fn log_on(&self, password: &str) -> Result<Link, Failure> {
        let tls = self.tls().map_err(|e| Failure::new(Cause::ConnectFailed, e))?;
        let Settings { sender_comp_id, target_comp_id, sender_sub_id, target_sub_id, .. } = &self.settings;
        let identity = Identity {
            sender: sender_comp_id.clone(),
            target: target_comp_id.clone(),
            sender_sub: sender_sub_id.clone(),
            target_sub: target_sub_id.clone(),
        };
        let (username, heartbeat_s) = (self.settings.username.as_str(), self.settings.heartbeat_s);
        Link::open(&self.host, self.port, tls, Logon { identity, heartbeat_s, username, password }).await
    }

    fn password(&self) -> Result<String, Failure> {
        let password = self.settings.password.resolve();
        password.map_err(|e| Failure::new(Cause::LoginRefused, format!("password: {e}")))
    }

    async fn subscribe(&self, password: &str, symbols: &Symbols) -> Result<Link, Failure> {
        let mut link = self.log_on(password).await?;
        // Who names all symbols by their numbers needs no list.
        let ids = if symbols.names().all(|name| fix::number(name.as_bytes()).is_some()) {
            symbols.names().map(|name| (name.to_string(), name.to_string())).collect()
        } else {
            symbols::numbers(&mut link, symbols).await?
        };
        for (name, id) in &ids {
            link.request("V", self.request("1", name, id));
        }
        if self.settings.depth {
            // A book with a hole is wrong until it is sent anew; best prices come whole every time.
            let anew = |(name, id): &(String, String)| ["2", "1"].map(|kind| ("V", self.request(kind, name, id)));
            link.set_after_gap(ids.iter().flat_map(anew).collect());
        }
        Ok(link)
    }

    /// A MarketDataRequest; `kind` 1 subscribes and 2 ends it. It is called by the symbol's name, which a refusal repeats.
    fn request(&self, kind: &str, name: &str, id: &str) -> Draft {
        let depth = if self.settings.depth { "0" } else { "1" };
        let what = Draft::default().with(262, name).with(263, kind).with(264, depth).with(265, "1");
        what.with(267, "2").with(269, "0").with(269, "1").with(146, "1").with(55, id)
    }
}

/// Decodes one message at a time; knows the broker's numbers, and the books where they are subscribed.
#[derive(Debug, Clone)]
pub struct CtraderDecoder {
    // Sorted by number.
    numbers: Vec<(u64, Found)>,
    books: Vec<Book>,
    // MsgSeqNum of the next message; 0: none has come.
    next: u64,
    // Kept for its room.
    entries: Vec<Entry>,
}

/// What the header of a message of prices says.
#[derive(Debug, Clone, Copy, Default)]
struct Header<'a> {
    seq: Option<u64>,
    again: bool,
    sent: Option<&'a [u8]>,
    first_sent: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    fn read(&mut self, tag: u32, value: &'a [u8]) {
        match tag {
            34 => self.seq = fix::number(value),
            43 => self.again = value == b"Y",
            52 => self.sent = Some(value),
            122 => self.first_sent = Some(value),
            _ => {}
        }
    }

    /// When the prices were sent: for the first time, when they come again.
    fn time(&self) -> Result<i64, Reject> {
        let text = self.first_sent.or(self.sent);
        text.and_then(fix::time).ok_or(Reject::Expected("a SendingTime (52) such as 20260916-14:57:52.978"))
    }
}

impl CtraderDecoder {
    /// A decoder for a connection with so many symbols.
    #[must_use]
    pub fn new(symbols: usize) -> Self {
        CtraderDecoder {
            numbers: Vec::new(),
            books: vec![Book::default(); symbols],
            next: 0,
            entries: Vec::with_capacity(64),
        }
    }

    fn read(
        &mut self,
        frame: &[u8],
        ts_recv_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let message = Message::parse(frame)?;
        match message.kind {
            b"W" => self.snapshot(&message, ts_recv_ns, symbols, sink),
            b"X" => self.changes(&message, ts_recv_ns, symbols, sink),
            kind => {
                self.count(message.find(34).and_then(fix::number), message.find(43) == Some(b"Y"));
                self.other(kind, &message, symbols)?;
                sink(Event::Alive);
                Ok(())
            }
        }
    }

    /// A message without prices.
    fn other(&mut self, kind: &[u8], message: &Message<'_>, symbols: &Symbols) -> Result<(), Reject> {
        match kind {
            b"y" => {
                self.learn(message, symbols);
                Ok(())
            }
            // Numbers that will not come.
            b"4" => {
                self.next = self.next.max(message.find(36).and_then(fix::number).unwrap_or(0));
                Ok(())
            }
            b"0" | b"1" | b"2" | b"5" | b"A" => Ok(()),
            b"Y" => Err(Reject::Refused("the subscription of the symbol that 262 names")),
            b"3" | b"j" => Err(Reject::Refused("a message")),
            _ => Err(Reject::Expected("a message of prices (35=W or X), a list (y) or one of the session")),
        }
    }

    /// Counts a message. Behind a hole no book is what it was, until it comes anew.
    #[inline]
    fn count(&mut self, seq: Option<u64>, again: bool) {
        let Some(seq) = seq.filter(|_| !again) else { return };
        if seq > self.next && self.next > 0 {
            self.books.iter_mut().for_each(|book| book.whole = false);
        }
        self.next = self.next.max(seq + 1);
    }

    /// Remembers which numbers stand for the subscribed symbols.
    fn learn(&mut self, message: &Message<'_>, symbols: &Symbols) {
        symbols::securities(message, |security| {
            let found = symbols.find(security.name).or_else(|_| symbols.find(security.id));
            if let (Some(number), Ok(found)) = (fix::number(security.id), found)
                && let Err(at) = self.numbers.binary_search_by_key(&number, |(number, _)| *number)
            {
                self.numbers.insert(at, (number, found));
            }
        });
    }

    #[inline]
    fn find(&self, text: &[u8], symbols: &Symbols) -> Result<Found, Reject> {
        let known =
            fix::number(text).and_then(|number| self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok());
        known.map_or_else(|| symbols.find(text), |at| Ok(self.numbers[at].1))
    }

    /// W: all that there is of one symbol.
    fn snapshot(
        &mut self,
        message: &Message<'_>,
        ts_recv_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let (mut header, mut symbol, mut count) = (Header::default(), None, None);
        self.entries.clear();
        for field in message.fields() {
            let (tag, value) = field?;
            match tag {
                55 => symbol = Some(value),
                268 => count = fix::number(value),
                269 => book::push(&mut self.entries, Entry::of(value))?,
                270 | 271 | 278 => self.entries.last_mut().ok_or(book::NO_TYPE)?.read(tag, value)?,
                _ => header.read(tag, value),
            }
        }
        if count != u64::try_from(self.entries.len()).ok() {
            return Err(Reject::Expected("as many entries (269) as NoMDEntries (268) says"));
        }
        self.count(header.seq, header.again);
        let found = self.find(symbol.ok_or(Reject::Expected("a Symbol (55)"))?, symbols)?;
        let book = self.books.get_mut(found.index).ok_or(Reject::UnknownSymbol)?;
        let ts_event_ns = header.time()?;
        let known = book::check(&mut self.entries)?;
        if header.again && known {
            // A book that was true once.
            sink(Event::Alive);
            return Ok(());
        }
        let snapshot = !std::mem::replace(&mut book.seen, true);
        let best = book::best(&self.entries);
        if known {
            book.entries.clear();
            book.entries.extend_from_slice(&self.entries);
            book.whole = true;
        }
        sink(tick(symbols, found, best, ts_event_ns, ts_recv_ns, snapshot));
        Ok(())
    }

    /// X: entries that come and go.
    fn changes(
        &mut self,
        message: &Message<'_>,
        ts_recv_ns: i64,
        symbols: &Symbols,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Reject> {
        let (mut header, mut count, mut seen) = (Header::default(), None, 0);
        let mut change: Option<Change<'_>> = None;
        // The symbol whose entries are being told, and the one of the last entry.
        let (mut told, mut last) = (None, None);
        let mut fields = message.fields();
        loop {
            let field = fields.next().transpose()?;
            if matches!(field, None | Some((279, _)))
                && let Some(change) = change.take()
                && !header.again
            {
                last = change.symbol.or(last);
                let found = self.find(last.ok_or(Reject::Expected("a Symbol (55)"))?, symbols)?;
                if told.is_none() {
                    self.count(header.seq, false);
                }
                let book = self.books.get_mut(found.index).ok_or(Reject::UnknownSymbol)?;
                if book.whole {
                    book.apply(change.action, change.entry)?;
                }
                let ts_event_ns = header.time()?;
                if let Some(told) = told.replace(found).filter(|told| *told != found) {
                    self.tell(told, ts_event_ns, ts_recv_ns, symbols, sink);
                }
            }
            let Some((tag, value)) = field else { break };
            match tag {
                279 => {
                    seen += 1;
                    change = Some(Change { action: value, symbol: None, entry: Entry::default() });
                }
                268 => count = fix::number(value),
                55 => change.as_mut().ok_or(book::NO_ACTION)?.symbol = Some(value),
                269 | 270 | 271 | 278 => change.as_mut().ok_or(book::NO_ACTION)?.entry.read(tag, value)?,
                _ => header.read(tag, value),
            }
        }
        if count != Some(seen) {
            return Err(Reject::Expected("as many entries (279) as NoMDEntries (268) says"));
        }
        match told {
            Some(found) => self.tell(found, header.time()?, ts_recv_ns, symbols, sink),
            None => sink(Event::Alive),
        }
        Ok(())
    }

    /// The best prices of a book that changed.
    fn tell(&self, found: Found, event_ns: i64, recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        sink(match self.books.get(found.index).filter(|book| book.whole) {
            Some(book) => tick(symbols, found, book::best(&book.entries), event_ns, recv_ns, false),
            None => Event::Alive,
        });
    }
}

/// One entry of an X.
struct Change<'a> {
    action: &'a [u8],
    symbol: Option<&'a [u8]>,
    entry: Entry,
}

fn tick(symbols: &Symbols, found: Found, best: book::Best, event_ns: i64, ts_recv_ns: i64, snapshot: bool) -> Event {
    let [bid, ask] = best;
    Event::Tick(TickInput {
        source: symbols.source(),
        instrument: found.instrument,
        ts_event_ns: Some(event_ns),
        ts_recv_ns,
        bid: bid.map(|level| level.price),
        ask: ask.map(|level| level.price),
        bid_size: bid.and_then(|level| level.size),
        ask_size: ask.and_then(|level| level.size),
        // MsgSeqNum counts all messages and begins anew with every session: it orders nothing here.
        source_seq: None,
        snapshot,
    })
}

impl Decoder for CtraderDecoder {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        if let Err(reject) = self.read(frame, ts_recv_ns, symbols, sink) {
            sink(Event::Reject(reject));
        }
    }
}

#[cfg(test)]
mod tests;
