//! What an adapter is, and the list of them. A new venue is one file here and one word in the list.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tickwire_schemas::record::Bar;
use tickwire_schemas::words::Timeframe;

use super::event::{Event, Symbols};
use super::net::{Connection, Failure};
use super::probe::{self, Probe};
use super::rate::Rate;
use super::session::{self, Task};
use crate::market::{Decimal9, Price};

pub mod forms;

/// What is wrong with an adapter's keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}{}{problem}", if key.is_empty() { "" } else { ": " })]
pub struct SettingsError {
    /// The key, without the source's name.
    pub key: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl SettingsError {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        SettingsError { key: key.into(), problem: problem.into() }
    }
}

/// A venue: its name, its keys, its symbols, and which of the other traits it has.
pub trait Adapter: Debug + Send + Sync + Sized + 'static {
    /// The word in `adapter = "…"`.
    const NAME: &'static str;

    /// A symbol and a price message for it, as the venue sends it: what the contract test feeds to the decoder.
    const EXAMPLE: (&'static str, &'static str);

    /// Messages that a decoder has heard on its connection before [`Adapter::EXAMPLE`], where it must have.
    const PRELUDE: &'static [&'static str] = &[];

    /// The adapter's own keys in `[sources.NAME]`; it refuses unknown ones.
    type Settings: DeserializeOwned;

    /// An adapter from its keys. Reads no secret and touches no network.
    ///
    /// # Errors
    /// [`SettingsError`] naming the key.
    fn new(settings: Self::Settings) -> Result<Self, SettingsError>;

    /// Whether the secrets that the keys refer to are there. Called once before the threads start: the place for what
    /// reads from disk.
    ///
    /// # Errors
    /// [`SettingsError`] naming the key; never the secret.
    fn check(&self) -> Result<(), SettingsError> {
        Ok(())
    }

    /// The venue's usual name of a canonical symbol, where the configuration does not give one.
    fn venue_symbol(canonical: &str) -> String;

    /// How a venue symbol is written in messages, where that differs from how it is subscribed.
    fn wire_symbol(venue: &str) -> String {
        venue.to_string()
    }

    /// Most symbols that one connection carries. The default is what fits into a URL of 8 KB.
    #[must_use]
    fn symbols_max() -> usize {
        500
    }

    /// Most connections of one source, where it has more symbols than one carries. One, where a login is one session.
    #[must_use]
    fn connections_max() -> usize {
        1
    }

    /// Past bars, where the venue has them.
    fn history(&self) -> Option<&dyn History> {
        None
    }

    /// Past ticks, where the venue has them.
    fn tick_history(&self) -> Option<&dyn TickHistory> {
        None
    }

    /// The trading account, where there is one.
    fn account(&self) -> Option<&dyn Account> {
        None
    }

    /// The venue's list of symbols, where it has one.
    fn symbol_list(&self) -> Option<&dyn SymbolList> {
        None
    }
}

/// Most connections of a source at a venue without accounts: beyond them it is a mistake, or wants to be asked otherwise.
const MANY_CONNECTIONS: usize = 64;

/// Live prices over one connection.
pub trait Stream: Adapter {
    /// Decodes what one connection says.
    type Decoder: Decoder;

    /// The decoder of a new connection.
    fn decoder(&self, symbols: &Symbols) -> Self::Decoder;

    /// Connects, logs in and subscribes `symbols`, every time anew; where the venue confirms subscriptions it is done when
    /// all are confirmed, and it fails when one is refused. Elsewhere the first price is the confirmation.
    fn open(&self, symbols: &Symbols) -> impl Future<Output = Result<Connection, Failure>>;

    /// How often to send a ping, where the venue wants pings.
    fn ping_every(&self) -> Option<Duration> {
        None
    }

    /// After how long to connect anew, where the venue closes connections of some age.
    fn age_max(&self) -> Option<Duration> {
        None
    }

    /// Whether the venue bears a second connection beside the first for a moment: then the new one takes over when it
    /// delivers, and nothing is missed. Not where the login is one session.
    fn overlaps(&self) -> bool {
        false
    }

    /// Whose limit of new connections it is (host and port), and what it is, where the venue has one. One opening takes
    /// one, however many requests it makes. `Retry-After` holds the host for all sources of the process.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        None
    }

    /// How long [`Stream::open`] may take, where that is longer than the source's `connect_timeout_ms`.
    fn open_max(&self) -> Option<Duration> {
        None
    }
}

/// Bytes to events. Pure: no clock, no I/O; nothing is allocated for a well-formed message without string escapes.
pub trait Decoder: 'static {
    /// Decodes one frame (a WebSocket message, a line) that was read from the socket at `ts_recv_ns`. Every frame leads
    /// to at least one event; what cannot be decoded is an [`Event::Reject`].
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event));
}

/// The answer to a request that is not on the hot path.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// The same, for whoever stays on one thread.
pub type LocalAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + 'a>>;

/// Past bars, over requests that the venue limits.
pub trait History: Debug + Send + Sync {
    /// Most bars that one request returns.
    fn page(&self) -> usize;

    /// Whose limit it is: host and port.
    fn host(&self) -> &str;

    /// How fast it may be asked.
    fn rate(&self) -> Rate;

    /// Whether the venue has bars of this length, cut where the engine cuts them.
    fn has(&self, _timeframe: Timeframe) -> bool {
        true
    }

    /// The final bars of a venue symbol that open in `[from_ns, to_ns)`, oldest first, each once; at most [`History::page`]
    /// fit in between, and the last of them has ended. Ids and the end of the interval are the caller's to fill in. The
    /// failure of a venue that asks to wait says how long.
    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>>;

    /// Gives back what asking took, such as a login.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Past prices, where the venue has them tick by tick.
pub trait TickHistory: Debug + Send + Sync {
    /// Whose limit it is: host and port.
    fn host(&self) -> &str;

    /// How fast it may be asked.
    fn rate(&self) -> Rate;

    /// Longest interval of one request, in nanoseconds: what its answer may hold is the venue's to limit.
    fn span_ns(&self) -> i64;

    /// The ticks of a venue symbol stamped in `[from_ns, to_ns)`, oldest first. Ids are the caller's to fill in. The
    /// failure of a venue that asks to wait says how long.
    fn ticks(&self, venue_symbol: &str, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<PastTick>>;

    /// Gives back what asking took, such as a login.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A price of the past, as a venue's history tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastTick {
    /// The venue's stamp, nanoseconds UTC.
    pub ts_event_ns: i64,
    /// Bid, where that side is not empty.
    pub bid: Option<Price>,
    /// Ask, where that side is not empty.
    pub ask: Option<Price>,
}

/// The state of a trading account, in its currency. Absent is what the venue does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// ISO code of the account's currency.
    pub currency: String,
    /// Cash.
    pub balance: Decimal9,
    /// Cash and open profit.
    pub equity: Option<Decimal9>,
    /// What open positions tie up.
    pub margin: Option<Decimal9>,
    /// What is left to open positions with.
    pub free_margin: Option<Decimal9>,
    /// As in 100 for 1:100.
    pub leverage: Option<Decimal9>,
}

/// An open position, or an open order of an account that counts each by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The venue's number for it, where it has one.
    pub id: Option<String>,
    /// As the venue writes it.
    pub venue_symbol: String,
    /// In the venue's unit (lots, units), negative when short.
    pub size: Decimal9,
    /// Price at which it was opened, where the venue says it.
    pub open_price: Option<Price>,
    /// Open profit in the account's currency, where the venue says it.
    pub profit: Option<Decimal9>,
}

/// The trading account behind a connection: to look at, never to trade with.
pub trait Account: Send + Sync {
    /// Its state now.
    fn summary(&self) -> Answer<'_, AccountSummary>;

    /// What is open now.
    fn positions(&self) -> Answer<'_, Vec<Position>>;
}

/// A symbol of a venue's list. Absent is what the venue does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueSymbol {
    /// As the venue writes it where it is subscribed.
    pub name: String,
    /// In words.
    pub description: Option<String>,
    /// Decimal places of its prices.
    pub digits: Option<u8>,
}

/// The venue's own list of symbols.
pub trait SymbolList: Send + Sync {
    /// Every symbol.
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>>;
}

/// What an adapter can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Live prices.
    pub stream: bool,
    /// Past bars.
    pub history: bool,
    /// Past ticks.
    pub ticks: bool,
    /// Account state.
    pub account: bool,
    /// A list of symbols.
    pub symbols: bool,
}

/// A decoder whose type is forgotten.
pub type AnyDecoder = Box<dyn FnMut(&[u8], i64, &Symbols, &mut dyn FnMut(Event))>;

/// An adapter with its settings, whose type is forgotten: the one indirect call is at the start of its session.
pub trait Venue: Debug + Send + Sync {
    /// The adapter's name.
    fn name(&self) -> &'static str;
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Whether its secrets are there.
    ///
    /// # Errors
    /// [`SettingsError`] naming the key.
    fn check(&self) -> Result<(), SettingsError>;
    /// How a venue symbol is written in messages.
    fn wire_symbol(&self, venue: &str) -> String;
    /// Past bars, where the venue has them and the configuration says where.
    fn any_history(&self) -> Option<&dyn History>;
    /// Past ticks, where the venue has them.
    fn any_tick_history(&self) -> Option<&dyn TickHistory>;
    /// The trading account, where there is one.
    fn any_account(&self) -> Option<&dyn Account>;
    /// The venue's list of symbols, where it has one.
    fn any_symbol_list(&self) -> Option<&dyn SymbolList>;
    /// A decoder of its own, for tests, tools and benchmarks; sessions use the typed one.
    fn any_decoder(&self, symbols: &Symbols) -> AnyDecoder;
    /// Tries a connection once: logs in, subscribes, waits for a price, asks for the account, and hangs up. `patience` is
    /// how long the login may take where the venue needs no longer.
    fn probe<'a>(&'a self, symbols: &'a Symbols, patience: Duration) -> LocalAnswer<'a, Probe>;
    /// Runs a session until it is stopped.
    fn run(self: Arc<Self>, task: Task) -> Pin<Box<dyn Future<Output = ()>>>;
}

impl<S: Stream> Venue for S {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stream: true,
            history: Adapter::history(self).is_some(),
            ticks: self.tick_history().is_some(),
            account: self.account().is_some(),
            symbols: self.symbol_list().is_some(),
        }
    }

    fn check(&self) -> Result<(), SettingsError> {
        Adapter::check(self)
    }

    fn wire_symbol(&self, venue: &str) -> String {
        <S as Adapter>::wire_symbol(venue)
    }

    fn any_history(&self) -> Option<&dyn History> {
        self.history()
    }

    fn any_tick_history(&self) -> Option<&dyn TickHistory> {
        self.tick_history()
    }

    fn any_account(&self) -> Option<&dyn Account> {
        self.account()
    }

    fn any_symbol_list(&self) -> Option<&dyn SymbolList> {
        self.symbol_list()
    }

    fn any_decoder(&self, symbols: &Symbols) -> AnyDecoder {
        let mut decoder = self.decoder(symbols);
        Box::new(move |frame, at, symbols, sink| decoder.decode(frame, at, symbols, &mut |event| sink(event)))
    }

    fn probe<'a>(&'a self, symbols: &'a Symbols, patience: Duration) -> LocalAnswer<'a, Probe> {
        Box::pin(probe::probe(self, symbols, patience))
    }

    fn run(self: Arc<Self>, task: Task) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { session::run(&*self, task).await })
    }
}

/// An entry of the list.
#[derive(Debug)]
pub struct AdapterEntry {
    /// The word in `adapter = "…"`.
    pub name: &'static str,
    /// A canonical symbol and a price message for it.
    pub example: (&'static str, &'static str),
    /// Messages that the decoder must have heard before it.
    pub prelude: &'static [&'static str],
    /// The venue's usual name of a canonical symbol.
    pub venue_symbol: fn(&str) -> String,
    /// Most symbols that one connection carries.
    pub symbols_max: usize,
    /// Most connections of one source.
    pub connections_max: usize,
    /// The adapter from its own keys of a `[sources.NAME]` table.
    pub build: fn(toml::Table) -> Result<Arc<dyn Venue>, SettingsError>,
}

impl AdapterEntry {
    fn of<S: Stream>() -> Self {
        AdapterEntry {
            name: S::NAME,
            example: S::EXAMPLE,
            prelude: S::PRELUDE,
            venue_symbol: S::venue_symbol,
            symbols_max: S::symbols_max(),
            connections_max: S::connections_max(),
            build: |keys| {
                let settings = serde_path_to_error::deserialize(toml::Value::Table(keys)).map_err(|e| {
                    let key = e.path().to_string();
                    SettingsError::new(if key == "." { String::new() } else { key }, e.into_inner().message())
                })?;
                Ok(Arc::new(S::new(settings)?))
            },
        }
    }
}

macro_rules! adapters {
    ($($module:ident),* $(,)?) => {
        $(pub mod $module;)*

        /// Every adapter.
        #[must_use]
        pub fn adapters() -> Vec<AdapterEntry> {
            vec![$(AdapterEntry::of::<$module::Broker>()),*]
        }
    };
}

mod bridge;
mod candles;
mod listing;

/// A canonical pair with a separator between base and quote, as in `BTC/USD`. Stable coins have four letters, all other
/// quotes three.
fn pair(canonical: &str, separator: char) -> String {
    let quote = if ["USDT", "USDC"].iter().any(|coin| canonical.ends_with(coin)) { 4 } else { 3 };
    match canonical.len().checked_sub(quote).and_then(|at| canonical.split_at_checked(at)) {
        Some((base, quote)) if !base.is_empty() => format!("{base}{separator}{quote}"),
        _ => canonical.to_string(),
    }
}

adapters![
    oanda,
    mtapi,
    mtapi_accounts,
    binance,
    binance_usdm,
    kraken,
    coinbase,
    bybit,
    ctrader,
    fxcm,
    mtsocketapi,
    dwx,
    mql5_json_api,
    json_ws,
    json_poll
];
