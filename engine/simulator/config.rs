//! `[simulators.NAME]`: one simulated broker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::stamp::{self, ServerTime, day_number, offset_seconds};
use crate::config::{ConfigError, Secret};

/// Which broker's protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broker {
    /// OANDA v20: REST and the pricing stream.
    Oanda,
    /// mtapi.io: the vendor's MT5 API with `/OnQuote`.
    Mtapi,
    /// The accounts API of mtapi's kind: everything is asked for.
    #[serde(rename = "mtapi-accounts")]
    MtapiAccounts,
    /// Binance spot: combined and raw market streams.
    Binance,
    /// Binance USD-M futures: the same by their paths.
    #[serde(rename = "binance_usdm")]
    BinanceUsdm,
    /// Kraken, WebSocket v2.
    Kraken,
    /// Coinbase Advanced Trade.
    Coinbase,
    /// Bybit v5, public streams.
    Bybit,
    /// cTrader: the quote session of FIX 4.4.
    Ctrader,
    /// MTsocketAPI: an expert adviser's two ports of JSON lines.
    Mtsocketapi,
    /// DWX: an expert adviser's three ZeroMQ ports.
    Dwx,
    /// MQL5-JSON-API: another's.
    #[serde(rename = "mql5-json-api")]
    Mql5JsonApi,
    /// FXCM: REST and its socket.io stream.
    Fxcm,
}

impl Broker {
    /// The word in the configuration and in `/__sim/stats`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Broker::Oanda => "oanda",
            Broker::Mtapi => "mtapi",
            Broker::MtapiAccounts => "mtapi-accounts",
            Broker::Binance => "binance",
            Broker::BinanceUsdm => "binance_usdm",
            Broker::Kraken => "kraken",
            Broker::Coinbase => "coinbase",
            Broker::Bybit => "bybit",
            Broker::Ctrader => "ctrader",
            Broker::Mtsocketapi => "mtsocketapi",
            Broker::Dwx => "dwx",
            Broker::Mql5JsonApi => "mql5-json-api",
            Broker::Fxcm => "fxcm",
        }
    }
}

/// One simulated broker; every key is documented in `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The protocol.
    pub broker: Broker,
    /// Loopback address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// mtsocketapi, dwx, mql5-json-api: the same for the port of its prices.
    pub data_listen: SocketAddr,
    /// dwx, mql5-json-api: the same for the port of its answers.
    pub answer_listen: SocketAddr,
    /// OANDA, mtapi-accounts, FXCM: the token that is expected.
    pub token: Secret,
    /// OANDA, mtapi-accounts: the account in paths; cTrader: the SenderCompID; empty accepts any.
    pub account: String,
    /// mtapi, cTrader: the login that is expected; of mtapi it may be several, with commas between.
    pub user: String,
    /// mtapi, cTrader: the password that is expected.
    pub password: Secret,
    /// mtapi: the broker server that is expected.
    pub server: String,
    /// mtapi, mtapi-accounts, mtsocketapi, dwx, mql5-json-api: the clock on the broker's wall, `new-york-close`, `utc` or
    /// `+02:00`.
    pub server_time: String,
    /// Canonical symbols that are offered; those of the recordings are added.
    pub symbols: Vec<String>,
    /// The market's seed; all simulators of a process share one market and so one seed.
    pub seed: u64,
    /// Multiplies the market's moves; shared like the seed.
    pub volatility: f64,
    /// Multiplies this broker's rate of quotes.
    pub rate: f64,
    /// Multiplies this broker's spreads.
    pub spread: f64,
    /// OANDA: at most one price per instrument in so many milliseconds, the last one kept; 0 sends all.
    pub window_ms: u32,
    /// From quote to socket, in milliseconds.
    pub delay_ms: u32,
    /// Random addition to the delay, up to so many milliseconds.
    pub jitter_ms: u32,
    /// How far this broker's clock is ahead (negative: behind), in milliseconds.
    pub skew_ms: i32,
    /// Fraction of quotes that are sent twice.
    pub duplicates: f64,
    /// Fraction of quotes that are sent after their successor.
    pub out_of_order: f64,
    /// Fraction of quotes whose bid is above the ask.
    pub crossed: f64,
    /// Fraction of quotes that are off by 3 to 10 %.
    pub fat_finger: f64,
    /// Milliseconds between keep-alives: heartbeats, or Binance's ping frames. 0 is the broker's own, and of cTrader what the
    /// client's logon asks for.
    pub heartbeat_ms: u32,
    /// Prices stop so many seconds after the first subscriber, while keep-alives go on; 0 = never.
    pub mute_after_s: u32,
    /// and return after so many seconds; 0 = never.
    pub mute_for_s: u32,
    /// Each price connection is closed after so many seconds; 0 = never (Binance: 24 hours).
    pub drop_after_s: u32,
    /// mtapi: a session's token is forgotten so many seconds after its login, and its sockets are closed; 0 = never.
    pub token_lifetime_s: u32,
    /// Requests for past bars (OANDA: of any kind but streams) that are answered in a second; 0 = the broker's own limit.
    pub requests_per_s: u32,
    /// Stretches without past bars, UTC: `2024-01-03T10:00:00/2024-01-03T10:30:00`.
    pub history_holes: Vec<String>,
    /// Recordings that are played instead of the market.
    pub playback: Vec<Playback>,
    /// Recordings are played so many times faster than they happened.
    pub pace: f64,
    /// All recordings of a process start together when each simulator has its subscriber, or so long after the first.
    pub start_delay_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            broker: Broker::Oanda,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            answer_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: Secret::new("demo"),
            account: String::new(),
            user: "demo".into(),
            password: Secret::new("demo"),
            server: "Demo-Server".into(),
            server_time: "new-york-close".into(),
            symbols: Vec::new(),
            seed: 1,
            volatility: 1.0,
            rate: 1.0,
            spread: 1.0,
            window_ms: 250,
            delay_ms: 20,
            jitter_ms: 5,
            skew_ms: 0,
            duplicates: 0.0,
            out_of_order: 0.0,
            crossed: 0.0,
            fat_finger: 0.0,
            heartbeat_ms: 0,
            mute_after_s: 0,
            mute_for_s: 0,
            drop_after_s: 0,
            token_lifetime_s: 0,
            requests_per_s: 0,
            history_holes: Vec::new(),
            playback: Vec::new(),
            pace: 1.0,
            start_delay_ms: 10_000,
        }
    }
}

/// How a recording is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `ms_since_midnight,bid,ask` of one symbol and one day.
    Lean,
    /// `<receive ns> <combined stream message as received>`.
    Binance,
}

/// One recorded file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playback {
    /// The file; `.zst` is unpacked.
    pub file: PathBuf,
    /// How it is written.
    pub format: Format,
    /// `lean`: the canonical symbol.
    #[serde(default)]
    pub symbol: String,
    /// `lean`: the day of the file, `2014-05-02`.
    #[serde(default)]
    pub date: String,
    /// `lean`: the zone of its milliseconds, such as `-05:00`; UTC by default.
    #[serde(default)]
    pub utc_offset: String,
    /// Plays from this time of day, UTC, `12:00:00`; from the file's first row by default.
    #[serde(default)]
    pub from: String,
    /// Plays until before this time of day, UTC; to the end by default.
    #[serde(default)]
    pub to: String,
}

impl Playback {
    /// Midnight of the file's day in its own zone, in nanoseconds UTC.
    ///
    /// # Errors
    /// What is wrong with `date` or `utc_offset`.
    pub fn midnight_ns(&self) -> Result<i64, String> {
        let offset = match self.utc_offset.as_str() {
            "" => 0,
            text => {
                offset_seconds(text).ok_or_else(|| format!("utc_offset: \"{text}\": expected such as \"-05:00\""))?
            }
        };
        let parts: Vec<i64> = self.date.split('-').filter_map(|part| part.parse().ok()).collect();
        match parts.as_slice() {
            [year, month @ 1..=12, day @ 1..=31] => {
                Ok((day_number(*year, *month, *day) * 86_400 - offset) * 1_000_000_000)
            }
            _ => Err(format!("date: \"{}\": expected the day of the file, such as \"2014-05-02\"", self.date)),
        }
    }

    /// The window as nanoseconds after midnight UTC, open where nothing is said.
    ///
    /// # Errors
    /// What is wrong with `from` or `to`.
    pub fn window_ns(&self) -> Result<(Option<i64>, Option<i64>), String> {
        let read = |key: &str, text: &str| match text {
            "" => Ok(None),
            _ => time_of_day_ns(text)
                .map(Some)
                .ok_or_else(|| format!("{key}: \"{text}\": expected such as \"12:30:00\"")),
        };
        Ok((read("from", &self.from)?, read("to", &self.to)?))
    }
}

/// `HH:MM:SS` in nanoseconds; up to 24:00:00.
fn time_of_day_ns(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    match parts.as_slice() {
        [hours @ 0..=24, minutes @ 0..60, seconds @ 0..60] => {
            Some((hours * 3_600 + minutes * 60 + seconds) * 1_000_000_000)
        }
        _ => None,
    }
}

/// The section `simulators`, checked.
///
/// # Errors
/// [`ConfigError`] naming the key that is wrong.
pub fn parse(config: &crate::config::Config) -> Result<BTreeMap<String, Config>, ConfigError> {
    let simulators: BTreeMap<String, Config> = config.section("simulators")?;
    for (name, simulator) in &simulators {
        simulator.check().map_err(|(key, problem)| config.bad_key(&format!("simulators.{name}.{key}"), problem))?;
    }
    if let Some((key, problem)) = disagreement(&simulators) {
        return Err(config.bad_key(&key, problem));
    }
    Ok(simulators)
}

/// One market feeds all simulators, so what belongs to the market must be said alike.
fn disagreement(simulators: &BTreeMap<String, Config>) -> Option<(String, String)> {
    let (first_name, first) = simulators.first_key_value()?;
    let (name, other) = simulators.iter().find(|(_, c)| c.seed != first.seed || c.volatility != first.volatility)?;
    let key = if other.seed == first.seed { "volatility" } else { "seed" };
    let problem = format!("expected the same as simulators.{first_name}.{key}: one market feeds all simulators");
    Some((format!("simulators.{name}.{key}"), problem))
}

/// A stretch as nanoseconds.
fn hole(text: &str) -> Option<(i64, i64)> {
    let (from, to) = text.split_once('/')?;
    Some((stamp::parse(from)?, stamp::parse(to)?)).filter(|(from, to)| from < to)
}

impl Config {
    /// The stretches without past bars, checked before.
    pub(super) fn holes(&self) -> Vec<(i64, i64)> {
        self.history_holes.iter().filter_map(|text| hole(text)).collect()
    }

    /// The first value out of range: its key and what was expected.
    fn check(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, problem: String| Err((key.to_string(), problem));
        for (key, address) in
            [("listen", self.listen), ("data_listen", self.data_listen), ("answer_listen", self.answer_listen)]
        {
            if !address.ip().is_loopback() {
                return bad(key, format!("{address}: expected a loopback address"));
            }
        }
        if self.broker == Broker::MtapiAccounts && !self.playback.is_empty() {
            return bad("playback", "mtapi-accounts has no subscriber that a recording could be played to".into());
        }
        if self.symbols.is_empty() && self.playback.is_empty() {
            return bad("symbols", "expected at least one symbol or a recording".into());
        }
        if ServerTime::parse(&self.server_time).is_none() {
            let problem =
                format!("\"{}\": expected \"new-york-close\", \"utc\" or such as \"+02:00\"", self.server_time);
            return bad("server_time", problem);
        }
        for (key, value) in [
            ("duplicates", self.duplicates),
            ("out_of_order", self.out_of_order),
            ("crossed", self.crossed),
            ("fat_finger", self.fat_finger),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return bad(key, format!("{value}: expected a fraction from 0 to 1"));
            }
        }
        for (key, value, most) in [
            ("rate", self.rate, 1e6),
            ("spread", self.spread, 100.0),
            ("volatility", self.volatility, 100.0),
            ("pace", self.pace, 1e6),
        ] {
            if !(value > 0.0 && value <= most) {
                return bad(key, format!("{value}: expected more than 0 and at most {most}"));
            }
        }
        if let Some(text) = self.history_holes.iter().find(|text| hole(text).is_none()) {
            let problem = format!("\"{text}\": expected such as \"2024-01-03T10:00:00/2024-01-03T10:30:00\"");
            return bad("history_holes", problem);
        }
        for (at, playback) in self.playback.iter().enumerate() {
            playback.check(self.broker).map_err(|problem| (format!("playback[{at}]"), problem))?;
        }
        Ok(())
    }
}

impl Playback {
    fn check(&self, broker: Broker) -> Result<(), String> {
        if (self.format == Format::Binance) != matches!(broker, Broker::Binance | Broker::BinanceUsdm) {
            let problem =
                "format: expected \"binance\" for brokers binance and binance_usdm and \"lean\" for the others";
            return Err(problem.into());
        }
        if self.format == Format::Lean {
            if self.symbol.is_empty() {
                return Err("symbol: expected the canonical symbol of the file".into());
            }
            self.midnight_ns()?;
        }
        self.window_ns().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Config>, String> {
        let mut config = crate::config::Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(text, "sim.toml").unwrap();
        parse(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn wrong_values_name_their_key() {
        for (body, expected) in [
            ("symbols = [\"EURUSD\"]\nduplicates = 2.0", "sim.toml: simulators.a.duplicates: 2: expected a fraction"),
            ("symbols = [\"EURUSD\"]\nlisten = \"10.0.0.1:1\"", "simulators.a.listen: 10.0.0.1:1: expected a loopback"),
            ("symbols = [\"EURUSD\"]\nserver_time = \"EET\"", "simulators.a.server_time: \"EET\": expected"),
            (
                "symbols = [\"EURUSD\"]\nhistory_holes = [\"2024\"]",
                "simulators.a.history_holes: \"2024\": expected such as",
            ),
            ("rate = 1.0", "simulators.a.symbols: expected at least one symbol or a recording"),
            ("sybmols = []", "simulators.a.sybmols: unknown field"),
            ("playback = [{ file = \"x\", format = \"lean\", symbol = \"EURUSD\" }]", "date: \"\": expected the day"),
            ("playback = [{ file = \"x\", format = \"binance\" }]", "format: expected"),
        ] {
            let error = read(&format!("[simulators.a]\nbroker = \"oanda\"\n{body}")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let two = "[simulators.a]\nsymbols = [\"EURUSD\"]\n[simulators.b]\nsymbols = [\"EURUSD\"]\nseed = 2";
        assert!(read(two).unwrap_err().contains("simulators.b.seed: expected the same as simulators.a.seed"));
    }

    #[test]
    fn a_recording_in_its_own_zone_is_placed_in_utc() {
        let text = "[simulators.a]\nbroker = \"mtapi\"\nplayback = [{ file = \"x\", format = \"lean\", symbol = \"EURUSD\", \
                    date = \"2014-05-02\", utc_offset = \"-05:00\", from = \"12:00:00\", to = \"14:00:00\" }]";
        let playback = read(text).unwrap()["a"].playback[0].clone();
        assert_eq!(playback.midnight_ns(), Ok(1_399_006_800_000_000_000)); // 2014-05-02 05:00 UTC
        assert_eq!(playback.window_ns(), Ok((Some(43_200_000_000_000), Some(50_400_000_000_000))));
    }
}
