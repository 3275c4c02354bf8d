//! The connections of the control database as sources, beside those of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::connections::{ConnectionError, Connections, DataConnection, open_reference};
use crate::config::{self, Config};
use crate::feeds::SourceSpec;
use crate::feeds::adapters::SettingsError;
use crate::feeds::config::{one_source, sources};
use crate::metrics::SOURCES_MAX;

/// A wanted connection that cannot be a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Its name.
    pub name: String,
    /// Why, in a sentence.
    pub problem: String,
}

/// Adds a section `[sources.NAME]` for every wanted connection of the state directory, and a section `[instruments.SYMBOL]`
/// for every instrument that it keeps and no file has. A connection that makes no sense is left out and told: the others
/// are not to suffer from it.
///
/// # Errors
/// When the control database cannot be read.
pub fn add_connections(config: &mut Config, state_dir: &Path) -> Result<Vec<Unfit>, ConnectionError> {
    config::open_vault_with(open_reference);
    // A state directory that nobody has used has none; looking must not make it.
    if !state_dir.join("control.db").exists() {
        return Ok(Vec::new());
    }
    let state_dir = &absolute(state_dir);
    let mut connections = Connections::open(state_dir)?;
    *config = with_instruments(config.clone(), &mut connections)?;
    let wanted = connections.list()?.into_iter().filter(|connection| connection.is_active);
    let (mut standbys, firsts): (Vec<_>, Vec<_>) = wanted.partition(|c| c.draft.config.contains_key("standby_for"));
    let mut unfit = Vec::new();
    for connection in firsts {
        unfit.extend(add(config, &connection, state_dir).err().map(|problem| Unfit::new(&connection, problem)));
    }
    // Who stands in for another comes behind it, whatever their names.
    loop {
        let (before, mut left) = (standbys.len(), Vec::new());
        for connection in standbys {
            match add(config, &connection, state_dir) {
                Ok(()) => {}
                Err(problem) => left.push((connection, problem)),
            }
        }
        if left.len() == before {
            unfit.extend(left.into_iter().map(|(connection, problem)| Unfit::new(&connection, problem)));
            return Ok(unfit);
        }
        standbys = left.into_iter().map(|(connection, _)| connection).collect();
    }
}

impl Unfit {
    fn new(connection: &DataConnection, problem: String) -> Unfit {
        Unfit { name: connection.name.clone(), problem }
    }
}

/// A configuration with the instruments of the control database that it has not itself.
///
/// # Errors
/// When the control database cannot be read.
pub fn with_instruments(mut config: Config, connections: &mut Connections) -> Result<Config, ConnectionError> {
    let there: Table = config.section("instruments").unwrap_or_default();
    for (symbol, spec) in connections.instruments()?.iter().filter(|(symbol, _)| !there.contains_key(*symbol)) {
        let (class, digits, pip) = (spec.class.word(), spec.digits, spec.pip);
        let text = format!("[instruments.{symbol}]\nclass = \"{class}\"\ndigits = {digits}\npip = \"{pip}\"\n");
        // Symbols are of letters and digits: it is TOML.
        let _ = config.overlay(&text, "control database");
    }
    Ok(config)
}

fn add(config: &mut Config, connection: &DataConnection, state_dir: &Path) -> Result<(), String> {
    let name = &connection.name;
    fits(config, connection, state_dir)?;
    let section = Table::from_iter([(name.clone(), Value::Table(connection.section(state_dir)))]);
    let tables = Table::from_iter([("sources".to_string(), Value::Table(section))]);
    let mut with = config.clone();
    with.overlay(&tables.to_string(), &format!("data connection {name}")).map_err(|e| e.to_string())?;
    // What only all of them together say: who stands in for whom.
    if connection.draft.config.contains_key("standby_for") {
        sources(&with).map_err(|e| e.to_string())?;
    }
    *config = with;
    Ok(())
}

/// Whether a connection can be a source beside those of the configuration.
///
/// # Errors
/// One sentence saying why not.
pub fn fits(config: &Config, connection: &DataConnection, state_dir: &Path) -> Result<(), String> {
    let name = &connection.name;
    let there: BTreeMap<String, Table> = config.section("sources").map_err(|e| e.to_string())?;
    if there.contains_key(name) {
        return Err(format!("the configuration has a section [sources.{name}] too, expected another name"));
    }
    if there.len() >= SOURCES_MAX {
        return Err(format!("there are {} sources, and room for no more", there.len()));
    }
    let instruments: Table = config.section("instruments").map_err(|e| e.to_string())?;
    let spec = source_of(connection, state_dir).map_err(|wrong| wrong.to_string())?;
    if let Some(symbol) = spec.symbols.iter().find(|symbol| !instruments.contains_key(&symbol.canonical)) {
        let symbol = &symbol.canonical;
        return Err(format!("symbols: {symbol} is no instrument, expected a section [instruments.{symbol}]"));
    }
    Ok(())
}

/// What a connection of `state_dir` is as a source.
///
/// # Errors
/// [`SettingsError`] naming the key that makes no sense, without a key where it is the whole.
pub fn source_of(connection: &DataConnection, state_dir: &Path) -> Result<SourceSpec, SettingsError> {
    one_source(&connection.name, connection.section(&absolute(state_dir)))
}

/// It becomes part of references, which must not depend on where the process is.
fn absolute(state_dir: &Path) -> PathBuf {
    std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_path_buf())
}
