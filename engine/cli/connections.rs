//! `tickwire connections`: those that the state directory keeps, beside those of configuration files.

use std::io::BufRead;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use toml::{Table, Value};

use super::{Common, Failure, log_to_stderr, say};
use crate::clock;
use crate::config::is_secret;
use crate::control::connections::{Connections, DataConnection, Draft, LogEntry, RETENTION_DAYS, Status};
use crate::control::credentials::part_secrets;
use crate::feeds::event::Symbols;
use crate::feeds::net;
use crate::feeds::probe::Probe;
use crate::market::{InstrumentId, SourceId};
use crate::runtime::{fits, source_of};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Makes one; it is not connected before it is activated
    Add(New),
    /// Changes the keys that are given and leaves the others
    Edit(Change),
    /// All of them, those of configuration files too, which are read-only here
    List {
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// One of them with its keys, secrets left out
    Show {
        /// Its name
        name: String,
    },
    /// Connects once: says how long that took, whether prices come, and the account's balance
    Test {
        /// Its name
        name: String,
    },
    /// From the next start or reload on it is connected
    Activate {
        /// Its name
        name: String,
    },
    /// From the next start or reload on it is not
    Deactivate {
        /// Its name
        name: String,
    },
    /// Forgets it and its secrets; its log and what it stored stay
    Remove {
        /// Its name
        name: String,
    },
    /// What was done with it, newest first
    Logs {
        /// Its name
        name: String,
        /// Entries to show
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Newer entries to leave out
        #[arg(long, default_value_t = 0)]
        skip: u32,
    },
}

/// Keys of a connection.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Who stands behind it, in words
    #[arg(long, value_name = "TEXT")]
    provider: Option<String>,
    /// What to subscribe: canonical symbols, or CANONICAL=VENUE'S
    #[arg(long, value_name = "SYMBOL,…", value_delimiter = ',')]
    symbols: Vec<String>,
    /// A key of `[sources.NAME]` and its value; repeatable. Secrets go by --secret
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A key that is a secret: read from standard input, a line for each in their order; repeatable
    #[arg(long = "secret", value_name = "KEY")]
    secrets: Vec<String>,
    /// Whether each tick is stored
    #[arg(long, value_name = "true|false")]
    ticks: Option<bool>,
    /// Days to keep what it stores
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    retention: Option<u32>,
}

/// A new connection.
#[derive(Debug, Args)]
pub(super) struct New {
    /// Name of its source: a-z, 0-9, _ and -
    name: String,
    /// The adapter, as in `adapter = "…"`
    #[arg(long)]
    adapter: String,
    /// The user whose private one it is; without it is global
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    #[command(flatten)]
    keys: Keys,
}

/// A changed connection.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// Its name
    name: String,
    #[command(flatten)]
    keys: Keys,
}

/// Does it.
pub(super) fn run(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    crate::config::open_vault_with(crate::control::connections::open_reference);
    std::fs::create_dir_all(&common.state_dir)
        .map_err(|e| Failure::failed(format!("state directory {}: {e}", common.state_dir.display())))?;
    let all = Connections::open(&common.state_dir).map_err(Failure::failed)?;
    let mut desk = Desk { common, all };
    match action {
        Action::Add(new) => desk.add(new),
        Action::Edit(change) => desk.edit(change),
        Action::List { json } => desk.list(json),
        Action::Show { name } => desk.show(&name),
        Action::Test { name } => desk.test(&name),
        Action::Activate { name } => desk.activate(&name, true),
        Action::Deactivate { name } => desk.activate(&name, false),
        Action::Remove { name } => desk.remove(&name),
        Action::Logs { name, limit, skip } => desk.logs(&name, skip, limit),
    }
}

struct Desk<'a> {
    common: &'a Common,
    all: Connections,
}

type Done = Result<ExitCode, Failure>;

impl Desk<'_> {
    fn add(&mut self, new: New) -> Done {
        let New { name, adapter, owner, keys } = new;
        let draft = Draft {
            adapter,
            provider: String::new(),
            config: Table::new(),
            stores_ticks: true,
            retention_days: RETENTION_DAYS,
        };
        let (draft, secrets) = keys.over(draft)?;
        let now_ns = clock::now_ns();
        let owner = owner.unwrap_or_default();
        self.check(&name, &owner, &draft)?;
        if self.configured()?.contains_key(&name) {
            let text = format!("{name}: the configuration has a section [sources.{name}], expected another name");
            return Err(Failure::usage(text));
        }
        self.all.add(&name, &owner, &draft, &secrets, now_ns).map_err(Failure::failed)?;
        let text = format!("{name} is kept, not yet active; try `tickwire connections test {name}`");
        self.note(&name, "create", Ok(&text), json!({}))
    }

    fn edit(&mut self, change: Change) -> Done {
        let before = self.get(&change.name)?;
        let (draft, secrets) = change.keys.over(before.draft)?;
        self.check(&change.name, &before.owner, &draft)?;
        self.all.edit(&change.name, &draft, &secrets, clock::now_ns()).map_err(Failure::failed)?;
        self.note(&change.name, "edit", Ok(&format!("{} is changed", change.name)), json!({}))
    }

    /// Whether it could be a source; its secrets are not looked at.
    fn check(&self, name: &str, owner: &str, draft: &Draft) -> Result<(), Failure> {
        let connection = DataConnection {
            id: 0,
            name: name.into(),
            owner: owner.into(),
            draft: draft.clone(),
            is_active: false,
            status: Status::Inactive,
            last_connected_ns: None,
            last_error: None,
            created_ns: 0,
            changed_ns: 0,
            has_credentials: false,
        };
        let spec = source_of(&connection, &self.common.state_dir);
        spec.map(|_| ()).map_err(|problem| Failure::usage(format!("connection {name}: {problem}")))
    }

    fn list(&mut self, as_json: bool) -> Done {
        let mut rows: Vec<Json> = self.all.list().map_err(Failure::failed)?.iter().map(shown).collect();
        for (name, section) in self.configured()? {
            let word = |key: &str| section.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_string();
            rows.push(
                json!({ "name": name, "adapter": word("adapter"), "owner": word("owner"), "origin": "configuration" }),
            );
        }
        if as_json {
            say(format_args!("{}\n", json!(rows)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text =
            format!("{:<24} {:<16} {:<14} {:<7} {:<9} {}\n", "name", "adapter", "owner", "wanted", "status", "kept in");
        for row in &rows {
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_string();
            let owner = Some(word("owner")).filter(|owner| !owner.is_empty()).unwrap_or_else(|| "(global)".into());
            let (name, adapter, status, origin) = (word("name"), word("adapter"), word("status"), word("origin"));
            let wanted = if row["is_active"] == false { "no" } else { "yes" };
            text += &format!("{name:<24} {adapter:<16} {owner:<14} {wanted:<7} {status:<9} {origin}\n");
        }
        say(text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn show(&mut self, name: &str) -> Done {
        let connection = self.get(name)?;
        let text = serde_json::to_string_pretty(&shown(&connection)).unwrap_or_default();
        say(format_args!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn test(&mut self, name: &str) -> Done {
        let connection = self.get(name)?;
        let before = connection.status;
        let _ = self.all.set_status(name, Status::Testing, None, None);
        let tried = try_it(&connection, self.common);
        let error = tried.as_ref().err().map(String::as_str);
        let status = if error.is_some() && connection.is_active { Status::Error } else { before };
        self.all.set_status(name, status, None, error).map_err(Failure::failed)?;
        match tried {
            Ok(probe) => self.note(name, "test", Ok(&words(&probe)), figures(&probe)),
            Err(problem) => self.note(name, "test", Err(&problem), json!({})),
        }
    }

    fn activate(&mut self, name: &str, is_active: bool) -> Done {
        if is_active {
            let connection = self.get(name)?;
            fits(&self.common.config()?, &connection, &self.common.state_dir)
                .map_err(|problem| Failure::usage(format!("connection {name}: {problem}")))?;
        }
        self.all.set_active(name, is_active, clock::now_ns()).map_err(Failure::failed)?;
        let (action, text) = match is_active {
            true => ("activate", format!("{name} is wanted: connected from the next start or reload on")),
            false => ("deactivate", format!("{name} is not wanted: let go at the next start or reload")),
        };
        self.note(name, action, Ok(&text), json!({}))
    }

    fn remove(&mut self, name: &str) -> Done {
        let connection = self.get(name)?;
        self.all.remove(name).map_err(Failure::failed)?;
        let text = format!("{name} is forgotten with its secrets; its log and what it stored stay");
        self.note_of(&connection, "remove", Ok(&text), json!({}))
    }

    fn logs(&mut self, name: &str, skip: u32, most: u32) -> Done {
        let entries = self.all.logs(name, skip, most).map_err(Failure::failed)?;
        let line = |entry: LogEntry| {
            let outcome = if entry.succeeded { "ok" } else { "failed" };
            let metadata = entry.metadata.as_object().filter(|m| !m.is_empty()).map(|m| json!(m).to_string());
            let metadata = metadata.unwrap_or_default();
            format!("{}  {:<10} {outcome:<6} {}  {metadata}", time(entry.at_ns), entry.action, entry.message)
        };
        let text: Vec<String> = entries.into_iter().map(|entry| line(entry).trim_end().to_string() + "\n").collect();
        say(text.concat())?;
        Ok(ExitCode::SUCCESS)
    }

    fn get(&mut self, name: &str) -> Result<DataConnection, Failure> {
        self.all.get(name).map_err(Failure::usage)
    }

    fn configured(&self) -> Result<std::collections::BTreeMap<String, Table>, Failure> {
        Ok(self.common.config()?.section("sources")?)
    }

    fn note(&mut self, name: &str, action: &str, outcome: Result<&str, &str>, metadata: Json) -> Done {
        let connection = self.get(name)?;
        self.note_of(&connection, action, outcome, metadata)
    }

    /// Keeps what was done in the log, and says it.
    fn note_of(&mut self, c: &DataConnection, action: &str, outcome: Result<&str, &str>, metadata: Json) -> Done {
        let (succeeded, message) = (outcome.is_ok(), outcome.unwrap_or_else(|problem| problem).to_string());
        let entry = LogEntry { at_ns: clock::now_ns(), action: action.into(), succeeded, message, metadata };
        self.all.log(c, &entry).map_err(Failure::failed)?;
        if !succeeded {
            return Err(Failure::failed(entry.message));
        }
        say(format_args!("{}\n", entry.message))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Keys {
    /// A draft with these keys over its own, and their secrets.
    fn over(self, mut draft: Draft) -> Result<(Draft, crate::control::credentials::Credentials), Failure> {
        let mut given = Table::new();
        for set in &self.sets {
            let (key, value) =
                set.split_once('=').ok_or_else(|| Failure::usage(format!("--set {set}: expected KEY=VALUE")))?;
            if is_secret(key.rsplit('.').next().unwrap_or(key)) || key.starts_with("secrets.") {
                // The value is on the command line, where others can read it: not to be repeated.
                return Err(Failure::usage(format!("--set {key}: is a secret, expected --secret {key}")));
            }
            let parsed = format!("x = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
            put(&mut given, key, parsed.unwrap_or_else(|| Value::String(value.into())));
        }
        let mut lines = std::io::stdin().lock().lines();
        for key in &self.secrets {
            let line = lines.next().transpose().map_err(|e| Failure::failed(format!("standard input: {e}")))?;
            let missing = || Failure::usage(format!("--secret {key}: expected a line of standard input with it"));
            put(&mut given, key, Value::String(line.filter(|line| !line.is_empty()).ok_or_else(missing)?));
        }
        if !self.symbols.is_empty() {
            given.insert("symbols".into(), symbols(&self.symbols));
        }
        let secrets = part_secrets(&mut given).map_err(Failure::usage)?;
        merge(&mut draft.config, given);
        draft.provider = self.provider.unwrap_or(draft.provider);
        draft.stores_ticks = self.ticks.unwrap_or(draft.stores_ticks);
        draft.retention_days = self.retention.unwrap_or(draft.retention_days);
        Ok((draft, secrets))
    }
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
        None => {
            table.insert(path.into(), value);
        }
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            // Symbols are said as a whole.
            (Some(Value::Table(old)), Value::Table(new)) if key != "symbols" => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// A list, or a table where the venue's names are given.
fn symbols(given: &[String]) -> Value {
    if given.iter().any(|symbol| symbol.contains('=')) {
        let pairs = given.iter().map(|symbol| symbol.split_once('=').unwrap_or((symbol, symbol)));
        return Value::Table(pairs.map(|(ours, theirs)| (ours.to_string(), Value::from(theirs))).collect());
    }
    Value::Array(given.iter().map(|symbol| Value::from(symbol.as_str())).collect())
}

fn shown(connection: &DataConnection) -> Json {
    let DataConnection { name, owner, draft, status, is_active, .. } = connection;
    json!({
        "name": name,
        "owner": owner,
        "adapter": draft.adapter,
        "provider": draft.provider,
        "config": draft.config,
        "has_credentials": connection.has_credentials,
        "stores_ticks": draft.stores_ticks,
        "retention_days": draft.retention_days,
        "is_active": is_active,
        "status": status,
        "last_connected": connection.last_connected_ns.map(time),
        "last_error": connection.last_error,
        "created": time(connection.created_ns),
        "changed": time(connection.changed_ns),
        "origin": "state directory",
    })
}

fn time(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map(|at| format!("{at:.3}")).unwrap_or_default()
}

fn try_it(connection: &DataConnection, common: &Common) -> Result<Probe, String> {
    let spec = source_of(connection, &common.state_dir)?;
    spec.venue.check().map_err(|e| e.to_string())?;
    net::install_crypto();
    let names = spec.symbols.iter().zip(1..).map(|(s, id)| (spec.venue.wire_symbol(&s.venue), InstrumentId(id)));
    let symbols = Symbols::new(SourceId(1), names);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime
        .block_on(spec.venue.probe(&symbols, spec.connect_timeout))
        .map_err(|failure| format!("{} ({})", failure.text, failure.cause))
}

fn words(probe: &Probe) -> String {
    let ms = |ns: i64| format!("{:.1} ms", ns as f64 / 1e6);
    let mut text = format!("connected and subscribed after {}", ms(probe.opened_ns));
    text += &match probe.first_price_ns {
        Some(ns) => format!(", first price after another {}", ms(ns)),
        None => ", no price in 5 s (is the market closed?)".into(),
    };
    if let Some(account) = &probe.account {
        text += &format!(", balance {} {}", account.balance, account.currency);
    }
    text
}

fn figures(probe: &Probe) -> Json {
    let ms = |ns: i64| ns as f64 / 1e6;
    json!({
        "latency_ms": ms(probe.opened_ns),
        "first_price_ms": probe.first_price_ns.map(ms),
        "balance": probe.account.as_ref().map(|a| a.balance.to_string()),
        "currency": probe.account.as_ref().map(|a| &a.currency),
    })
}
