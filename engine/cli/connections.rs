//! `tickwire connections`: those that the state directory keeps, beside those of configuration files.

mod arguments;

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

pub(super) use arguments::Action;
use arguments::{Change, New, Stored};

use super::venue::{Side, table};
use super::{Common, Failure, log_to_stderr, reload, say, sql};
use crate::config::Config;
use crate::control::connections::{LogEntry, LogFilter};
use crate::control::service::{Connection, Data, Engine, Limits, Origin, Service, ServiceError};
use crate::storage::{Mode, StorageConfig, erase};

type Done = Result<ExitCode, Failure>;

/// Does it.
pub(super) fn run(common: &Common, action: Action) -> Done {
    log_to_stderr("warn");
    crate::config::open_vault_with(crate::control::connections::open_reference);
    std::fs::create_dir_all(&common.state_dir)
        .map_err(|e| Failure::failed(format!("state directory {}: {e}", common.state_dir.display())))?;
    let desk = |tells| Desk(Service::new(&common.state_dir, Arc::new(Here { common: common.clone(), tells })));
    match action {
        Action::Add(new) => desk(false).add(new),
        Action::Edit { change, no_reload } => desk(!no_reload).edit(change),
        Action::List { json } => desk(false).list(json),
        Action::Show { name } => desk(false).show(&name),
        Action::Test { name } => desk(false).test(&name),
        Action::Activate { name, no_reload } => desk(!no_reload).activate(&name),
        Action::Deactivate { name, no_reload } => desk(!no_reload).deactivate(&name),
        Action::Remove { name, data, no_reload } => desk(!no_reload).remove(&name, data),
        Action::Logs { name, limit, skip, action, failed } => {
            let succeeded = failed.then_some(false);
            desk(false).logs(&name, &LogFilter { action, succeeded, before: None, skip, limit })
        }
        Action::Symbols { name, search, limit, json } => desk(false).symbols(&name, &search, limit, json),
        Action::Account { name, json } => desk(false).account(&name, json),
        Action::Positions { name, json } => desk(false).positions(&name, json),
    }
}

/// The engine of the state directory, from another process.
struct Here {
    common: Common,
    /// Whether it is told of changes.
    tells: bool,
}

impl Engine for Here {
    fn base(&self) -> Result<Config, String> {
        self.common.config().map_err(|e| e.to_string())
    }

    fn runs(&self) -> bool {
        reload::runs(&self.common.state_dir)
    }

    fn connections_changed(&self) -> Result<Vec<String>, String> {
        if self.tells { reload::take_up(&self.common.state_dir) } else { Ok(Vec::new()) }
    }

    fn erase(&self, source: &str) -> Result<u64, String> {
        let config = self.base()?;
        let storage = StorageConfig::parse(&config).map_err(|e| e.to_string())?;
        if storage.mode == Mode::Off {
            return Ok(0);
        }
        let database = sql::Database::open(&self.common.state_dir, &storage)?;
        erase::source(database.writer(), &storage.database, &self.common.state_dir.join("manifests"), source)
    }
}

struct Desk(Service);

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Failure {
        match error {
            ServiceError::Venue { .. } | ServiceError::Engine(_) | ServiceError::Control(_) => Failure::failed(error),
            _ => Failure::usage(error),
        }
    }
}

impl Desk {
    fn add(&self, new: New) -> Done {
        let New { name, adapter, owner, keys } = new;
        let wanted = keys.wanted(&mut std::io::stdin().lock())?;
        let owner = owner.unwrap_or_default();
        self.0.create(&name, &owner, &adapter, &wanted, &Limits::default()).map_err(|e| of(&name, e))?;
        say(format_args!("{name} is kept, not yet active; try `tickwire connections test {name}`\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn edit(&self, change: Change) -> Done {
        let wanted = change.keys.wanted(&mut std::io::stdin().lock())?;
        let name = &change.name;
        let changed = self.0.edit(name, &wanted, &Limits::default()).map_err(|e| of(name, e))?;
        tell(&format!("{name} is changed"), &changed.changes)
    }

    fn list(&self, as_json: bool) -> Done {
        let all = self.0.list()?;
        if as_json {
            say(format_args!("{}\n", json!(all)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |c: &Connection| {
            let owner = c.owner.clone().unwrap_or_else(|| "(global)".into());
            let wanted = if c.is_active { "yes" } else { "no" };
            let (status, kept) = match c.origin {
                Origin::Database => (c.status.word(), "database"),
                Origin::Configuration => ("", "configuration"),
            };
            [c.name.clone(), c.adapter.clone(), owner, wanted.into(), status.into(), kept.into()]
        };
        let columns = ["NAME", "ADAPTER", "OWNER", "WANTED", "STATUS", "KEPT IN"].map(|name| (name, Side::Left));
        say(table(columns, all.iter().map(row)))?;
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, name: &str) -> Done {
        let text = serde_json::to_string_pretty(&self.0.get(name)?).unwrap_or_default();
        say(format_args!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn test(&self, name: &str) -> Done {
        let result = self.0.test(name, &Limits::default()).map_err(|e| of(name, e))?;
        let cure = result.cure.map(|cure| format!("\n{}: {cure}", result.error_code.unwrap_or_default()));
        let text = result.message + cure.as_deref().unwrap_or_default();
        if !result.succeeded {
            return Err(Failure::failed(text));
        }
        say(format_args!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn activate(&self, name: &str) -> Done {
        let changed = self.0.activate(name, &Limits::default()).map_err(|e| of(name, e))?;
        let text = match changed.changes.is_empty() {
            true => format!("{name} is wanted: connected from the next start or reload on"),
            false => format!("{name} is wanted"),
        };
        tell(&text, &changed.changes)
    }

    fn deactivate(&self, name: &str) -> Done {
        let changed = self.0.deactivate(name)?;
        tell(&format!("{name} is not wanted"), &changed.changes)
    }

    fn remove(&self, name: &str, data: Option<Stored>) -> Done {
        self.0.get(name)?;
        let data = match data.map_or_else(|| ask(name), Ok)? {
            Stored::Keep => Data::Keep,
            Stored::Delete => Data::Delete,
        };
        let rows = self.0.remove(name, data)?;
        let stored = match data {
            Data::Keep => "its log and what it stored stay".into(),
            Data::Delete => format!("{rows} stored rows are deleted; its log stays"),
        };
        say(format_args!("{name} is forgotten with its secrets; {stored}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn logs(&self, name: &str, filter: &LogFilter) -> Done {
        let line = |entry: LogEntry| {
            let outcome = if entry.succeeded { "ok" } else { "failed" };
            let metadata = entry.metadata.as_object().filter(|m| !m.is_empty()).map(|m| json!(m).to_string());
            let at = jiff::Timestamp::from_nanosecond(i128::from(entry.at_ns));
            let at = at.map(|at| format!("{at:.3}")).unwrap_or_default();
            let text = format!("{at}  {:<10} {outcome:<6} {}", entry.action, entry.message);
            format!("{text}  {}", metadata.unwrap_or_default()).trim_end().to_string() + "\n"
        };
        let text: Vec<String> = self.0.logs(name, filter)?.into_iter().map(|(_, entry)| line(entry)).collect();
        say(text.concat())?;
        Ok(ExitCode::SUCCESS)
    }

    fn symbols(&self, name: &str, search: &str, limit: usize, as_json: bool) -> Done {
        let symbols = self.0.symbols(name, search, limit, &Limits::default())?;
        if as_json {
            say(format_args!("{}\n", json!(symbols)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = symbols.into_iter().map(|symbol| {
            [symbol.venue, symbol.canonical.unwrap_or_else(|| "-".into()), symbol.description.unwrap_or_default()]
        });
        say(table(["SYMBOL", "CANONICAL", "DESCRIPTION"].map(|name| (name, Side::Left)), rows))?;
        Ok(ExitCode::SUCCESS)
    }

    fn account(&self, name: &str, as_json: bool) -> Done {
        let account = self.0.account(name)?;
        if as_json {
            say(format_args!("{}\n", json!(account)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let currency = account.currency.unwrap_or_default();
        let mut text = String::new();
        for (what, value) in [
            ("balance", Some(account.balance)),
            ("equity", account.equity),
            ("margin used", account.margin_used),
            ("available", account.margin_available),
        ] {
            let value = value.map_or_else(|| "-".into(), |value| format!("{value} {currency}"));
            text += &format!("{what:<12} {}\n", value.trim_end());
        }
        say(text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn positions(&self, name: &str, as_json: bool) -> Done {
        let open = self.0.positions(name)?;
        if as_json {
            say(format_args!("{}\n", json!(open)))?;
            return Ok(ExitCode::SUCCESS);
        }
        let dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let rows = open
            .into_iter()
            .map(|p| [dash(p.id), p.symbol, p.side.to_string(), p.size, dash(p.open_price), dash(p.profit)]);
        let columns = [
            ("ID", Side::Left),
            ("SYMBOL", Side::Left),
            ("SIDE", Side::Left),
            ("SIZE", Side::Right),
            ("OPENED AT", Side::Right),
            ("PROFIT", Side::Right),
        ];
        say(table(columns, rows))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A fault of a connection's keys, with its name in front.
fn of(name: &str, error: ServiceError) -> Failure {
    match error {
        ServiceError::Wrong { .. } => Failure::usage(format!("connection {name}: {error}")),
        other => other.into(),
    }
}

fn tell(text: &str, changes: &[String]) -> Done {
    let lines = changes.iter().fold(format!("{text}\n"), |text, line| text + line + "\n");
    say(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Asks a person at a terminal; nobody else is there to be asked.
fn ask(name: &str) -> Result<Stored, Failure> {
    let unsaid = || Failure::usage("expected --data keep or --data delete: what becomes of the rows that it stored");
    if !std::io::stdin().is_terminal() {
        return Err(unsaid());
    }
    let _ = write!(std::io::stderr(), "Rows that {name} stored: keep or delete? ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|e| Failure::failed(format!("standard input: {e}")))?;
    match answer.trim() {
        "keep" => Ok(Stored::Keep),
        "delete" => Ok(Stored::Delete),
        _ => Err(unsaid()),
    }
}
