//! The sections `[ingest]` and `[sources.NAME]`, into typed specifications.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::words::Timeframe;
use toml::{Table, Value};

use super::adapters::{AdapterEntry, SettingsError, Venue, adapters};
use super::machine::Pace;
use super::standby::{StandbySpec, circle};
use crate::config::{Config, ConfigError};
use crate::market::{Calendar, Scope};
use crate::metrics::SOURCES_MAX;

/// Cores that the system's masks can name.
const CORES_MAX: usize = 1_024;

/// The threads that read from brokers.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// How many; 0 is one, which also makes the inbound ring a single-producer ring.
    pub threads: usize,
    /// Cores to pin them to, in their order; threads without one are left to the scheduler.
    pub cores: Vec<usize>,
    /// Interval of the Timer input in milliseconds.
    pub timer_ms: u64,
    /// How often a Timer asks the stages to save their state, in milliseconds; 0 is never. Not a key of this section:
    /// the journal decides it, and the runtime fills it in.
    #[serde(skip)]
    pub snapshot_every_ms: u64,
}

impl IngestConfig {
    /// How many threads, and so how many inlets, there are.
    #[must_use]
    pub fn thread_count(&self) -> usize {
        self.threads.max(1)
    }
}

/// One symbol of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolSpec {
    /// Canonical symbol.
    pub canonical: String,
    /// The venue's name of it.
    pub venue: String,
}

/// One source, as configured.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Its name.
    pub name: String,
    /// The adapter with its settings.
    pub venue: Arc<dyn Venue>,
    /// Who may see it.
    pub scope: Scope,
    /// Whose it is; empty for a global source.
    pub owner: String,
    /// Rank among equal prices: the smaller wins.
    pub priority: u16,
    /// What it subscribes.
    pub symbols: Vec<SymbolSpec>,
    /// Lengths of the bars that are asked of its venue again and again.
    pub timeframes: Vec<Timeframe>,
    /// Whether its ticks go into the database.
    pub stores_ticks: bool,
    /// Intervals of its session.
    pub pace: Pace,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// Most symbols over one of its connections.
    pub connection_symbols: usize,
    /// How often its connections are looked after.
    pub health_check: Duration,
    /// For which source it stands in.
    pub standby: Option<StandbySpec>,
    /// The same for two specifications of which only the symbols differ; means nothing beyond this process.
    pub settings: u64,
    /// When its instruments trade, a calendar for each of their classes; none is always. Not a key: the runtime, which
    /// knows the instruments, fills it in.
    pub calendars: Vec<Calendar>,
    /// Which of the calendars each symbol has, in their order; likewise filled in. Where it is not, all of them.
    pub symbol_calendars: Vec<usize>,
}

/// The keys that every source has, beside `adapter` and `symbols`.
#[derive(Deserialize, Debug)]
#[serde(default, deny_unknown_fields)]
struct Common {
    scope: Scope,
    owner: String,
    priority: u16,
    liveness_ms: u32,
    mute_reconnect_ms: u32,
    backoff_min_ms: u32,
    backoff_max_ms: u32,
    login_backoff_ms: u32,
    connect_timeout_ms: u32,
    connection_symbols: usize,
    health_check_ms: u32,
    standby_for: String,
    failover_after_ms: u32,
    return_after_ms: u32,
    timeframes: Vec<Timeframe>,
    store_ticks: bool,
}

impl Default for Common {
    fn default() -> Self {
        Common {
            scope: Scope::Global,
            owner: String::new(),
            priority: 100,
            liveness_ms: 10_000,
            mute_reconnect_ms: 30_000,
            backoff_min_ms: 500,
            backoff_max_ms: 30_000,
            login_backoff_ms: 300_000,
            connect_timeout_ms: 10_000,
            connection_symbols: 0,
            health_check_ms: 30_000,
            standby_for: String::new(),
            failover_after_ms: 5_000,
            return_after_ms: 60_000,
            timeframes: Vec::new(),
            store_ticks: true,
        }
    }
}

/// Their names, which are taken out before an adapter sees the rest.
const COMMON_KEYS: &[&str] = &[
    "scope",
    "owner",
    "priority",
    "liveness_ms",
    "mute_reconnect_ms",
    "backoff_min_ms",
    "backoff_max_ms",
    "login_backoff_ms",
    "connect_timeout_ms",
    "connection_symbols",
    "health_check_ms",
    "standby_for",
    "failover_after_ms",
    "return_after_ms",
    "timeframes",
    "store_ticks",
];

/// Reads the section `[ingest]`.
///
/// # Errors
/// [`ConfigError`] naming the key.
pub fn ingest(config: &Config) -> Result<IngestConfig, ConfigError> {
    let ingest: IngestConfig = config.section("ingest")?;
    if ingest.threads > 64 {
        return Err(config.bad_key("ingest.threads", format!("{} is too many, expected 0 to 64", ingest.threads)));
    }
    if !(1..=1_000).contains(&ingest.timer_ms) {
        return Err(config.bad_key("ingest.timer_ms", format!("{} ms, expected 1 to 1000", ingest.timer_ms)));
    }
    if let Some(core) = ingest.cores.iter().find(|core| **core >= CORES_MAX) {
        return Err(config.bad_key("ingest.cores", format!("no core {core}, expected numbers below {CORES_MAX}")));
    }
    Ok(ingest)
}

/// Reads all of `[sources.NAME]`, in the order of their names.
///
/// # Errors
/// [`ConfigError`] naming the key, where it came from and what was expected.
pub fn sources(config: &Config) -> Result<Vec<SourceSpec>, ConfigError> {
    let tables: BTreeMap<String, Table> = config.section("sources")?;
    if tables.len() > SOURCES_MAX {
        return Err(config.bad_key("sources", format!("{} sources, expected at most {SOURCES_MAX}", tables.len())));
    }
    let adapters = adapters();
    let parse = |(name, table)| {
        source(&adapters, name, table).map_err(|(name, key, problem): (String, String, String)| {
            let key = if key.is_empty() { format!("sources.{name}") } else { format!("sources.{name}.{key}") };
            config.bad_key(&key, problem)
        })
    };
    let specs: Vec<SourceSpec> = tables.into_iter().map(parse).collect::<Result<_, _>>()?;
    check_standbys(&specs)
        .map_err(|(name, problem)| config.bad_key(&format!("sources.{name}.standby_for"), problem))?;
    Ok(specs)
}

/// Who stands in for whom is there, and has an end.
fn check_standbys(specs: &[SourceSpec]) -> Result<(), (String, String)> {
    let of = |name: &str| specs.iter().find(|s| s.name == name)?.standby.as_ref().map(|standby| standby.of.as_str());
    for spec in specs {
        let Some(first) = of(&spec.name) else { continue };
        if !specs.iter().any(|other| other.name == first) {
            return Err((spec.name.clone(), format!("no source \"{first}\", expected the name of another source")));
        }
        if let Some(names) = circle(&spec.name, of) {
            let problem =
                format!("a circle ({}), expected a first source that stands in for none", names.join(" for "));
            return Err((spec.name.clone(), problem));
        }
    }
    Ok(())
}

/// Reads one section `[sources.NAME]` by itself.
///
/// # Errors
/// [`SettingsError`] naming the key; none where it is the whole.
pub fn one_source(name: &str, table: Table) -> Result<SourceSpec, SettingsError> {
    parse_source(&adapters(), name, table).map_err(|(key, problem)| SettingsError { key, problem })
}

type Wrong = (String, String);

fn wrong(key: &str, problem: impl Into<String>) -> Wrong {
    (key.to_string(), problem.into())
}

fn source(adapters: &[AdapterEntry], name: String, table: Table) -> Result<SourceSpec, (String, String, String)> {
    parse_source(adapters, &name, table).map_err(|(key, problem)| (name, key, problem))
}

fn parse_source(adapters: &[AdapterEntry], name: &str, mut table: Table) -> Result<SourceSpec, Wrong> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.is_empty() || name == "best" || name.len() > 64 || !name.chars().all(plain) {
        let problem =
            "the name of a source is at most 64 of a-z, 0-9, _ and -, and not \"best\", which is the common price";
        return Err(wrong("", problem));
    }
    let known = || adapters.iter().map(|a| a.name).collect::<Vec<_>>().join(", ");
    let adapter = match table.remove("adapter") {
        Some(Value::String(word)) => adapters
            .iter()
            .find(|a| a.name == word)
            .ok_or_else(|| wrong("adapter", format!("unknown adapter \"{word}\", expected one of {}", known())))?,
        Some(other) => {
            return Err(wrong("adapter", format!("expected one of {}, found {}", known(), other.type_str())));
        }
        None => return Err(wrong("adapter", format!("is missing, expected one of {}", known()))),
    };
    let symbols = symbols(adapter, table.remove("symbols"))?;
    let settings = fingerprint(adapter.name, &table);
    let own = table.iter().filter(|(key, _)| !COMMON_KEYS.contains(&key.as_str()));
    let own: Table = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    table.retain(|key, _| COMMON_KEYS.contains(&key));
    let common: Common = serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|e| (e.path().to_string(), e.into_inner().message().to_string()))?;
    let venue = (adapter.build)(own).map_err(|e| {
        let all = format!("; every source also knows adapter, symbols, {}", COMMON_KEYS.join(", "));
        let unknown = e.problem.contains("unknown field");
        (e.key, if unknown { e.problem + &all } else { e.problem })
    })?;
    common.check()?;
    let connection_symbols = common.connection_symbols(adapter, symbols.len())?;
    Ok(SourceSpec {
        name: name.to_string(),
        venue,
        symbols,
        pace: common.pace(),
        connect_timeout: Duration::from_millis(common.connect_timeout_ms.into()),
        connection_symbols,
        health_check: Duration::from_millis(common.health_check_ms.into()),
        standby: common.standby(),
        settings,
        calendars: Vec::new(),
        symbol_calendars: Vec::new(),
        scope: common.scope,
        owner: common.owner,
        priority: common.priority,
        timeframes: common.timeframes,
        stores_ticks: common.store_ticks,
    })
}

/// Of everything but the symbols, and what is no concern of its session.
fn fingerprint(adapter: &str, keys: &Table) -> u64 {
    let mut hasher = DefaultHasher::new();
    let is_of_session = |key: &str| !matches!(key, "timeframes" | "store_ticks");
    let keys: Table = keys.iter().filter(|(key, _)| is_of_session(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    (adapter, keys.to_string()).hash(&mut hasher);
    hasher.finish()
}

impl Common {
    /// Most symbols over one connection: as configured, else as many as the adapter can.
    fn connection_symbols(&self, adapter: &AdapterEntry, symbols: usize) -> Result<usize, Wrong> {
        let (most, connections) = (adapter.symbols_max, adapter.connections_max);
        let given = if self.connection_symbols == 0 { most } else { self.connection_symbols };
        if given > most {
            let problem = format!("{given} symbols, expected at most {most} for this adapter, or 0 for as many");
            return Err(wrong("connection_symbols", problem));
        }
        if symbols > given.saturating_mul(connections) {
            let problem =
                format!("{symbols} symbols, expected at most {given} over each of {connections} connection(s)");
            return Err(wrong("symbols", problem));
        }
        Ok(given)
    }

    fn standby(&self) -> Option<StandbySpec> {
        let ns = |ms: u32| i64::from(ms) * 1_000_000;
        let (failover_ns, return_ns) = (ns(self.failover_after_ms), ns(self.return_after_ms));
        let of = self.standby_for.clone();
        (!of.is_empty()).then_some(StandbySpec { of, failover_ns, return_ns })
    }

    fn check(&self) -> Result<(), Wrong> {
        let owned = !self.owner.is_empty();
        match self.scope {
            Scope::Private if !owned => {
                return Err(wrong("owner", "is missing, expected the user whose private source it is"));
            }
            Scope::Global if owned => {
                return Err(wrong("owner", "a global source has no owner; expected scope = \"private\" with it"));
            }
            _ => {}
        }
        for (key, value) in [
            ("liveness_ms", self.liveness_ms),
            ("mute_reconnect_ms", self.mute_reconnect_ms),
            ("backoff_min_ms", self.backoff_min_ms),
            ("login_backoff_ms", self.login_backoff_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("health_check_ms", self.health_check_ms),
        ] {
            if value == 0 {
                return Err(wrong(key, "0 ms, expected at least 1"));
            }
        }
        if self.backoff_max_ms < self.backoff_min_ms {
            let (max, min) = (self.backoff_max_ms, self.backoff_min_ms);
            return Err(wrong("backoff_max_ms", format!("{max} ms, expected at least backoff_min_ms, which is {min}")));
        }
        Ok(())
    }

    fn pace(&self) -> Pace {
        let ns = |ms: u32| i64::from(ms) * 1_000_000;
        Pace {
            liveness_ns: ns(self.liveness_ms),
            mute_reconnect_ns: ns(self.mute_reconnect_ms),
            backoff_min_ns: ns(self.backoff_min_ms),
            backoff_max_ns: ns(self.backoff_max_ms),
            login_backoff_ns: ns(self.login_backoff_ms),
            ping_every_ns: None,
            age_max_ns: None,
            overlaps: false,
        }
    }
}

/// A list of canonical symbols, or a table from them to the venue's names.
fn symbols(adapter: &AdapterEntry, value: Option<Value>) -> Result<Vec<SymbolSpec>, Wrong> {
    let expected = "expected a list such as [\"EURUSD\"], or a table such as { EURUSD = \"EURUSD.m\" }";
    let text = |value: Value| match value {
        Value::String(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text),
        other => Err(wrong("symbols", format!("{other} is not a symbol; {expected}"))),
    };
    let specs: Vec<_> = match value {
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| text(item).map(|canonical| SymbolSpec { venue: (adapter.venue_symbol)(&canonical), canonical }))
            .collect::<Result<_, _>>()?,
        Some(Value::Table(table)) => table
            .into_iter()
            .map(|(canonical, venue)| text(venue).map(|venue| SymbolSpec { canonical, venue }))
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong("symbols", format!("found {}; {expected}", other.type_str()))),
        None => return Err(wrong("symbols", format!("is missing; {expected}"))),
    };
    if specs.is_empty() {
        return Err(wrong("symbols", "0 symbols, expected at least one"));
    }
    let (mut canonical, mut venue) = (BTreeSet::new(), BTreeSet::new());
    match specs.iter().find(|s| !canonical.insert(&s.canonical) || !venue.insert(&s.venue)) {
        Some(twice) => {
            let SymbolSpec { canonical, venue } = twice;
            Err(wrong("symbols", format!("{canonical} ({venue}) is named twice, expected each symbol once")))
        }
        None => Ok(specs),
    }
}

#[cfg(test)]
mod tests;
