//! Any API that answers a GET with JSON, by configuration: what to ask, how often, and where in the answers the prices
//! are ([`Fields`]).
//!
//! An answer with the price that was there before is no tick, but it is not silence either: the venue was asked, and says
//! that the price stands. So it keeps the source live ([`crate::feeds::event::Event::Confirmed`]), unless
//! `unchanged_max_ms` ends its credit: a server that hands out its cache for ever answers too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Cause;

use super::json_ws::{RENEWING, check_secrets};
use super::{Adapter, SettingsError, Stream};
use crate::feeds::event::Symbols;
use crate::feeds::fields::{Fields, JsonDecoder, Layout};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::poll::{Poller, Question};
use crate::feeds::template::{self, Filler, Place, Secrets, SymbolList};

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The whole URL, with places for one symbol or all of them, and for secrets.
    pub url: String,
    /// Time from one round of requests to the next, in milliseconds.
    pub interval_ms: u32,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// How long unchanged answers keep the source live, in milliseconds; 0: for ever.
    #[serde(default)]
    pub unchanged_max_ms: u32,
    /// How long the token lives that is asked with, in seconds; 0: for ever. Requests go on with the secrets as they are
    /// then, before.
    #[serde(default)]
    pub token_lifetime_s: u32,
    /// Headers of the requests, with places for secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Secrets by their names.
    #[serde(default)]
    pub secrets: Secrets,
    /// How all symbols are written at once.
    #[serde(default)]
    pub symbol_list: SymbolList,
    /// Where in an answer what is.
    pub fields: Fields,
}

fn timeout_ms() -> u32 {
    5_000
}

/// One API that is polled.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    layout: Arc<Layout>,
    /// Answers do not say their symbol: it is the one that was asked for.
    prefixed: bool,
}

impl Adapter for Broker {
    const NAME: &'static str = "json-poll";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"prices":[{"symbol":"EURUSD","bid":1.0851,"ask":"1.08523","time":"2024-05-17T10:15:30.123Z"}]}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        template::check_url("url", &settings.url, &["http", "https"], &settings.secrets)?;
        for (name, text) in &settings.headers {
            template::check(&format!("headers.{name}"), text, &settings.secrets)?;
        }
        for (key, ms) in [("interval_ms", settings.interval_ms), ("timeout_ms", settings.timeout_ms)] {
            if !(1..=3_600_000).contains(&ms) {
                return Err(SettingsError::new(key, format!("{ms} ms, expected 1 to 3600000")));
            }
        }
        let per_symbol = template::is_per_symbol(&settings.url);
        let layout = Layout::new(&settings.fields, None, !per_symbol)?;
        let prefixed = per_symbol && settings.fields.symbol.is_none();
        Ok(Broker { settings, layout: Arc::new(layout), prefixed })
    }

    fn check(&self) -> Result<(), SettingsError> {
        check_secrets(&self.settings.secrets)
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }
}

impl Stream for Broker {
    type Decoder = JsonDecoder;

    fn decoder(&self, symbols: &Symbols) -> JsonDecoder {
        let unchanged_max_ns = i64::from(self.settings.unchanged_max_ms) * 1_000_000;
        JsonDecoder::polled(Arc::clone(&self.layout), symbols.len(), unchanged_max_ns, self.prefixed)
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let settings = &self.settings;
        let filler = Filler::new(&settings.secrets, &settings.symbol_list)?;
        let names: Vec<_> = symbols.names().collect();
        let asked =
            if template::is_per_symbol(&settings.url) { names.iter().map(|n| Some(*n)).collect() } else { vec![None] };
        let question = |symbol: Option<&str>| Question {
            symbol: symbol.filter(|_| self.prefixed).map(String::from),
            url: filler.fill(&settings.url, Place::Url, symbol, &names),
        };
        let headers =
            settings.headers.iter().map(|(name, text)| (name, filler.fill(text, Place::Header, None, &names)));
        let headers = net::headers(headers).map_err(|e| Failure::new(Cause::ConnectFailed, format!("headers: {e}")))?;
        let (interval, timeout) = (settings.interval_ms, settings.timeout_ms);
        let poller = Poller::open(
            asked.into_iter().map(question).collect(),
            headers,
            Duration::from_millis(interval.into()),
            Duration::from_millis(timeout.into()),
        );
        let poller = poller.await.map_err(|failure| failure.without(&filler.secrets()))?;
        let connection = Connection::polls(poller).with_token_of(settings.token_lifetime_s, RENEWING);
        Ok(filler.secrets().into_iter().fold(connection, Connection::with_secret))
    }

    /// Two that ask at once do no harm where a token has to be renewed.
    fn overlaps(&self) -> bool {
        self.settings.token_lifetime_s > 0
    }
}
