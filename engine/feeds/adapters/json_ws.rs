//! Any API that sends JSON over a WebSocket, by configuration: where to connect, what to send, and where in its messages
//! the prices are ([`Fields`]).
//!
//! Symbols are written as the configuration writes them. A message that the filter does not let through is life and no
//! price, so a stream of them is mute like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Adapter, MANY_CONNECTIONS, SettingsError, Stream};
use crate::feeds::event::Symbols;
use crate::feeds::fields::{Fields, JsonDecoder, Layout};
use crate::feeds::net::{self, Connection, Failure, blotted_excerpt};
use crate::feeds::rate::Rate;
use crate::feeds::template::{self, Filler, Place, Secrets, SymbolList};

/// What it may take to connect with another token.
pub(super) const RENEWING: Duration = Duration::from_secs(10);

/// The adapter's own keys.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The whole URL, with places for all symbols and for secrets.
    pub url: String,
    /// Headers of the connection, with places for secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Secrets by their names.
    #[serde(default)]
    pub secrets: Secrets,
    /// Messages that subscribe, in their order.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// How all symbols are written at once.
    #[serde(default)]
    pub symbol_list: SymbolList,
    /// Path that is there in the answer to each subscription.
    #[serde(default)]
    pub confirm: Option<String>,
    /// A message that pings; without it WebSocket's own ping.
    #[serde(default)]
    pub ping: Option<String>,
    /// How often to ping, in milliseconds; 0: never.
    #[serde(default)]
    pub ping_ms: u32,
    /// How long the token lives that the connection is opened with, in seconds; 0: for ever. Another connection is made
    /// before, with the secrets as they are then.
    #[serde(default)]
    pub token_lifetime_s: u32,
    /// Age at which to connect anew, in seconds; 0: none.
    #[serde(default)]
    pub age_max_s: u32,
    /// Where in a message what is.
    pub fields: Fields,
}

/// One connection to an API.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    layout: Arc<Layout>,
}

impl Adapter for Broker {
    const NAME: &'static str = "json-ws";
    const EXAMPLE: (&'static str, &'static str) = (
        "EURUSD",
        r#"{"type":"quote","ts":1715940930123,"data":{"s":"EURUSD","b":1.0851,"B":"1000000","a":"1.08523","A":2e6,"n":42}}"#,
    );
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, SettingsError> {
        template::check_url("url", &settings.url, &["ws", "wss"], &settings.secrets)?;
        if template::is_per_symbol(&settings.url) {
            let problem = "names a single symbol, expected {symbols}: one connection carries all of them";
            return Err(SettingsError::new("url", problem));
        }
        let texts = settings.headers.iter().map(|(name, text)| (format!("headers.{name}"), text));
        let texts =
            texts.chain(settings.subscribe.iter().enumerate().map(|(at, text)| (format!("subscribe[{at}]"), text)));
        for (key, text) in texts.chain(settings.ping.iter().map(|text| ("ping".to_string(), text))) {
            template::check(&key, text, &settings.secrets)?;
        }
        if settings.confirm.is_some() && settings.subscribe.is_empty() {
            return Err(SettingsError::new("confirm", "there is nothing to confirm, expected messages in subscribe"));
        }
        if settings.ping.is_some() && settings.ping_ms == 0 {
            return Err(SettingsError::new(
                "ping_ms",
                "is missing, expected how often to send the ping, such as 20000",
            ));
        }
        let layout = Layout::new(&settings.fields, settings.confirm.as_deref(), true)?;
        Ok(Broker { settings, layout: Arc::new(layout) })
    }

    fn check(&self) -> Result<(), SettingsError> {
        check_secrets(&self.settings.secrets)
    }

    fn connections_max() -> usize {
        MANY_CONNECTIONS
    }

    fn venue_symbol(canonical: &str) -> String {
        canonical.to_string()
    }
}

/// That every secret is there.
pub(super) fn check_secrets(secrets: &Secrets) -> Result<(), SettingsError> {
    let missing = |(name, secret): (&String, &crate::config::Secret)| {
        secret.resolve().err().map(|problem| SettingsError::new(format!("secrets.{name}"), problem))
    };
    secrets.iter().find_map(missing).map_or(Ok(()), Err)
}

impl Stream for Broker {
    type Decoder = JsonDecoder;

    fn decoder(&self, _: &Symbols) -> JsonDecoder {
        JsonDecoder::new(Arc::clone(&self.layout))
    }

    async fn open(&self, symbols: &Symbols) -> Result<Connection, Failure> {
        let filler = Filler::new(&self.settings.secrets, &self.settings.symbol_list)?;
        let opened = self.connect(&filler, symbols).await;
        let connection = opened.map_err(|failure| failure.without(&filler.secrets()))?;
        let connection = connection.with_token_of(self.settings.token_lifetime_s, RENEWING);
        Ok(filler.secrets().into_iter().fold(connection, Connection::with_secret))
    }

    fn overlaps(&self) -> bool {
        true
    }

    /// What an unknown API allows is not known; one a second harms nobody, and `Retry-After` holds its host for all.
    fn connect_rate(&self) -> Option<(&str, Rate)> {
        Some((net::host_of(&self.settings.url), Rate::within(60, Duration::from_secs(60))))
    }

    fn ping_every(&self) -> Option<Duration> {
        Some(self.settings.ping_ms).filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into()))
    }

    fn age_max(&self) -> Option<Duration> {
        Some(self.settings.age_max_s).filter(|s| *s > 0).map(|s| Duration::from_secs(s.into()))
    }
}

impl Broker {
    async fn connect(&self, filler: &Filler, symbols: &Symbols) -> Result<Connection, Failure> {
        let settings = &self.settings;
        let names: Vec<_> = symbols.names().collect();
        let fill = |text: &String, place| filler.fill(text, place, None, &names);
        let headers = settings.headers.iter().map(|(name, text)| (name, fill(text, Place::Header)));
        let headers = net::headers(headers)
            .map_err(|e| Failure::new(tickwire_schemas::words::Cause::ConnectFailed, format!("headers: {e}")))?;
        let mut connection = net::websocket_with(&fill(&settings.url, Place::Url), headers).await?;
        let requests: Vec<_> =
            settings.subscribe.iter().flat_map(|text| filler.each(text, Place::Message, &names)).collect();
        // An answer does not say to which message. The messages may hold secrets, so they go by their numbers.
        let awaited = if settings.confirm.is_some() { requests.len() } else { 0 };
        let pending = (1..=awaited).map(|number| format!("answer {number} of {awaited}")).collect();
        let secrets = filler.secrets();
        let confirm = |frame: &[u8], pending: &mut BTreeSet<String>| match self.layout.confirms(frame) {
            Err(cause) => Err(Failure::new(cause, blotted_excerpt(frame, &secrets))),
            Ok(confirms) => {
                if confirms {
                    pending.pop_first();
                }
                Ok(())
            }
        };
        connection.subscribe(&requests, pending, confirm).await?;
        Ok(match &settings.ping {
            Some(text) => connection.with_ping(fill(text, Place::Message)),
            None => connection,
        })
    }
}
