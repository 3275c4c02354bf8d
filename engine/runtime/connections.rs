//! The connections of the control database as sources, beside those of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::config::{self, Config};
use crate::control::connections::{ConnectionError, Connections, DataConnection, open_reference};
use crate::feeds::SourceSpec;
use crate::feeds::config::one_source;

/// A wanted connection that cannot be a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Its name.
    pub name: String,
    /// Why, in a sentence.
    pub problem: String,
}

/// Adds a section `[sources.NAME]` for every wanted connection of the state directory. One that makes no sense is left out
/// and told: the others are not to suffer from it.
///
/// # Errors
/// When the control database cannot be read.
pub fn add_connections(config: &mut Config, state_dir: &Path) -> Result<Vec<Unfit>, ConnectionError> {
    config::open_vault_with(open_reference);
    // A state directory that nobody has used has none; looking must not make it.
    if !state_dir.join("control.db").exists() {
        return Ok(Vec::new());
    }
    let mut unfit = Vec::new();
    let state_dir = &absolute(state_dir);
    for connection in Connections::open(state_dir)?.list()?.into_iter().filter(|c| c.is_active) {
        let name = connection.name.clone();
        if let Err(problem) = add(config, &connection, state_dir) {
            unfit.push(Unfit { name, problem });
        }
    }
    Ok(unfit)
}

fn add(config: &mut Config, connection: &DataConnection, state_dir: &Path) -> Result<(), String> {
    let name = &connection.name;
    fits(config, connection, state_dir)?;
    let section = Table::from_iter([(name.clone(), Value::Table(connection.section(state_dir)))]);
    let sources = Table::from_iter([("sources".to_string(), Value::Table(section))]);
    config.overlay(&sources.to_string(), &format!("data connection {name}")).map_err(|e| e.to_string())
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
    let instruments: Table = config.section("instruments").map_err(|e| e.to_string())?;
    let spec = source_of(connection, state_dir)?;
    if let Some(symbol) = spec.symbols.iter().find(|symbol| !instruments.contains_key(&symbol.canonical)) {
        let symbol = &symbol.canonical;
        return Err(format!("symbols: {symbol} is no instrument, expected a section [instruments.{symbol}]"));
    }
    Ok(())
}

/// What a connection of `state_dir` is as a source.
///
/// # Errors
/// One sentence naming the key that makes no sense.
pub fn source_of(connection: &DataConnection, state_dir: &Path) -> Result<SourceSpec, String> {
    one_source(&connection.name, connection.section(&absolute(state_dir)))
}

/// It becomes part of references, which must not depend on where the process is.
fn absolute(state_dir: &Path) -> PathBuf {
    std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_path_buf())
}
