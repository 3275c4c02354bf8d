//! A connection as it is shown: its keys without secrets, and how it is.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use tickwire_schemas::words::{Cause, SourceStatus};
use toml::{Table, Value};
use utoipa::ToSchema;

use crate::config::is_secret;
use crate::control::connections::{DataConnection, Status};
use crate::control::credentials::marks;
use crate::feeds::adapters::adapters;
use crate::feeds::adapters::forms::{Kind, form};

/// Where a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// In the control database: it can be changed here.
    Database,
    /// In a configuration file: it can be looked at.
    Configuration,
}

/// A connection.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Connection)]
pub struct Connection {
    /// Name of its source.
    pub name: String,
    /// Word of its adapter.
    pub adapter: String,
    /// Who stands behind it, in words.
    pub provider: String,
    /// The user whose private one it is; none for a global one.
    #[schema(required)]
    pub owner: Option<String>,
    /// Where it is kept.
    pub origin: Origin,
    /// Whether it is wanted.
    pub is_active: bool,
    /// How it is.
    pub status: Status,
    /// When it was last connected.
    #[schema(required)]
    pub last_connected_at: Option<String>,
    /// What last went wrong.
    #[schema(required)]
    pub last_error: Option<String>,
    /// Canonical symbols, and what the venue calls them.
    pub symbols: BTreeMap<String, String>,
    /// Lengths of the past bars that are fetched for it.
    pub timeframes: Vec<String>,
    /// Its other keys, without secrets.
    #[schema(value_type = Object)]
    pub config: Json,
    /// Keys that have a secret.
    pub secrets: Vec<String>,
    /// Whether each tick is stored.
    pub stores_ticks: bool,
    /// Days that its rows are kept for.
    pub retention_days: u32,
    /// When it was made.
    #[schema(required)]
    pub created_at: Option<String>,
    /// When its keys were last changed.
    #[schema(required)]
    pub changed_at: Option<String>,
    /// How its feed is; none while it does not run.
    #[schema(required)]
    pub live: Option<Live>,
}

/// How the feed of a connection is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ConnectionLive)]
pub struct Live {
    /// Word of its state.
    pub state: String,
    /// Word of why it is so.
    pub cause: String,
    /// Its connections.
    pub connections: Lines,
    /// Ticks and trades in a second.
    pub ticks_per_second: f64,
    /// From the venue's stamp to ours, milliseconds.
    pub latency_ms: f64,
    /// Since the last tick or trade, milliseconds.
    #[schema(required)]
    pub last_tick_age_ms: Option<i64>,
    /// Symbols with data in the last minute.
    pub active_symbols: usize,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Messages that were not understood.
    pub decode_errors: u64,
    /// Inputs that did not fit into the ring.
    pub dropped: u64,
    /// How it counts among all.
    #[serde(skip)]
    pub status: Status,
    /// What last went wrong.
    #[serde(skip)]
    pub last_error: Option<String>,
}

/// How many connections of a source are live.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = ConnectionLines)]
pub struct Lines {
    /// Those that deliver.
    pub live: usize,
    /// Those there are.
    pub total: usize,
}

/// How many connections are in which status.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = ConnectionSummary)]
pub struct Summary {
    /// Prices flow.
    pub active: usize,
    /// Not wanted, or not there yet.
    pub inactive: usize,
    /// Refused or failing.
    pub error: usize,
    /// Being tested.
    pub testing: usize,
    /// Connected and silent.
    pub stale: usize,
}

impl Summary {
    /// Counts them.
    #[must_use]
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Summary {
        let mut summary = Summary::default();
        for status in statuses {
            *match status {
                Status::Active => &mut summary.active,
                Status::Inactive => &mut summary.inactive,
                Status::Error => &mut summary.error,
                Status::Testing => &mut summary.testing,
                Status::Stale => &mut summary.stale,
            } += 1;
        }
        summary
    }
}

/// What the state of a feed says of its connection; `attempt` counts since it was last live.
#[must_use]
pub fn status_of(state: SourceStatus, cause: Cause, attempt: u32) -> Status {
    match state {
        SourceStatus::Live => Status::Active,
        SourceStatus::Mute => Status::Stale,
        SourceStatus::Stopped => Status::Inactive,
        // Held back, or its first attempt is on its way.
        SourceStatus::Connecting if attempt <= 1 || cause == Cause::Standby => Status::Inactive,
        // Let go on purpose, to be made anew.
        SourceStatus::Down if matches!(cause, Cause::Stopped | Cause::None | Cause::Standby) => Status::Inactive,
        SourceStatus::Connecting | SourceStatus::Down => Status::Error,
    }
}

impl Connection {
    /// One of the control database; `runs` is whether an engine runs that says how it is.
    pub(super) fn kept(connection: &DataConnection, runs: bool) -> Connection {
        let draft = &connection.draft;
        let mut config = draft.config.clone();
        let symbols = symbols(&draft.adapter, config.remove("symbols"));
        let secrets = marks(&config);
        let status = match connection.status {
            Status::Active | Status::Stale if !runs => Status::Inactive,
            status => status,
        };
        Connection {
            name: connection.name.clone(),
            adapter: draft.adapter.clone(),
            provider: draft.provider.clone(),
            owner: Some(connection.owner.clone()).filter(|owner| !owner.is_empty()),
            origin: Origin::Database,
            is_active: connection.is_active,
            status,
            last_connected_at: connection.last_connected_ns.map(time),
            last_error: connection.last_error.clone(),
            symbols,
            timeframes: draft.timeframes.iter().map(|timeframe| timeframe.word().to_string()).collect(),
            config: Json::Object(without_secrets(&draft.adapter, &config)),
            secrets,
            stores_ticks: draft.stores_ticks,
            retention_days: draft.retention_days,
            created_at: Some(time(connection.created_ns)),
            changed_at: Some(time(connection.changed_ns)),
            live: None,
        }
    }

    /// One of a configuration file.
    pub(super) fn configured(name: &str, table: &Table) -> Connection {
        let mut config = table.clone();
        let mut word = |key: &str| match config.remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (adapter, owner, _scope) = (word("adapter"), word("owner"), word("scope"));
        let symbols = symbols(&adapter, config.remove("symbols"));
        let timeframes = match config.remove("timeframes") {
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).map(String::from).collect(),
            _ => Vec::new(),
        };
        let stores_ticks = config.remove("store_ticks").and_then(|value| value.as_bool()).unwrap_or(true);
        let shown = without_secrets(&adapter, &config);
        let hidden = config.iter().filter(|(key, value)| is_hidden(&adapter, key, value));
        let secrets = hidden.map(|(key, _)| key.clone()).collect();
        Connection {
            name: name.into(),
            adapter,
            provider: String::new(),
            owner: Some(owner).filter(|owner| !owner.is_empty()),
            origin: Origin::Configuration,
            is_active: true,
            status: Status::Inactive,
            last_connected_at: None,
            last_error: None,
            symbols,
            timeframes,
            config: Json::Object(shown),
            secrets,
            stores_ticks,
            retention_days: crate::control::connections::RETENTION_DAYS,
            created_at: None,
            changed_at: None,
            live: None,
        }
    }

    /// With how its feed is, where it runs.
    #[must_use]
    pub fn with_live(mut self, live: Option<Live>) -> Connection {
        if let Some(live) = &live {
            if self.status != Status::Testing {
                self.status = live.status;
            }
            if self.origin == Origin::Configuration {
                self.last_error.clone_from(&live.last_error);
            }
        }
        self.live = live;
        self
    }

    /// Without its keys: for those who may read its prices and not change it.
    #[must_use]
    pub fn outline(mut self) -> Connection {
        self.config = Json::Object(Map::new());
        self.secrets.clear();
        self.last_error = None;
        self
    }
}

/// Keys as JSON, without those that are secrets by their names or by the adapter's form; the keys of a table by their
/// paths, as forms name them.
fn without_secrets(adapter: &str, config: &Table) -> Map<String, Json> {
    let mut shown = Map::new();
    for (key, value) in config.iter().filter(|(key, value)| !is_hidden(adapter, key, value)) {
        match value {
            Value::Table(table) => {
                let inner = table.iter().filter(|(_, value)| value.as_str() != Some("vault:"));
                shown.extend(inner.map(|(name, value)| (format!("{key}.{name}"), inner_json(key, name, value))));
            }
            // A form has one text, a line for each.
            Value::Array(lines) if key == "subscribe" => {
                let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
                shown.insert(key.clone(), lines.join("\n").into());
            }
            other => drop(shown.insert(key.clone(), serde_json::to_value(other).unwrap_or_default())),
        }
    }
    shown
}

fn is_hidden(adapter: &str, key: &str, value: &Value) -> bool {
    let by_form = || {
        let fields = form(adapter).map_or(&[][..], |form| form.fields);
        fields.iter().any(|field| field.kind == Kind::Secret && field.key == key)
    };
    is_secret(key) || key == "secrets" || value.as_str() == Some("vault:") || by_form()
}

/// What an administrator wrote into a file's headers is theirs: one with places for secrets is shown, one without may be
/// one.
fn inner_json(table: &str, name: &str, value: &Value) -> Json {
    let open = table == "headers" && super::wanted::is_secret_header(name);
    match value.as_str() {
        Some(text) if open && !text.contains("{secret:") => "********".into(),
        _ => serde_json::to_value(value).unwrap_or_default(),
    }
}

/// What a connection subscribes, from either way of saying it.
fn symbols(adapter: &str, value: Option<Value>) -> BTreeMap<String, String> {
    let entry = adapters().into_iter().find(|entry| entry.name == adapter);
    let venue = |symbol: &str| entry.as_ref().map_or_else(|| symbol.to_string(), |entry| (entry.venue_symbol)(symbol));
    match value {
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).map(|symbol| (symbol.to_string(), venue(symbol))).collect()
        }
        Some(Value::Table(table)) => {
            table.into_iter().filter_map(|(ours, theirs)| Some((ours, theirs.as_str()?.to_string()))).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// RFC 3339, UTC.
pub(super) fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map(|at| format!("{at:.3}")).unwrap_or_default()
}
