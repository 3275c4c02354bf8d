//! Built-in defaults, files and environment, laid over each other into one raw table; each module parses its own
//! section with [`Config::section`]. A wrong key or type is reported with the key's full name and where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The built-in configuration: every key with its effect, unit, default and hazard.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path}: {error}")]
    Malformed {
        /// The file.
        path: String,
        /// Where and why.
        error: String,
    },
    /// A key is unknown, has the wrong type, or a value out of range.
    #[error("{origin}: {key}: {problem}")]
    Key {
        /// The file or environment variable it came from.
        origin: String,
        /// The key's full name.
        key: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}

/// The effective configuration and where each key came from.
#[derive(Debug, Clone)]
pub struct Config {
    table: Table,
    origins: BTreeMap<String, String>,
}

impl Config {
    /// The defaults, then `files` in order (later wins), then the environment's `TICKWIRE__SECTION__KEY`.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML.
    pub fn load(files: &[PathBuf], env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        Config::load_over("", files, env)
    }

    /// The same with defaults that a subcommand has of its own, as TOML.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML.
    pub fn load_over(
        own_defaults: &str,
        files: &[PathBuf],
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config { table: Table::new(), origins: BTreeMap::new() };
        config.overlay(DEFAULTS, "built-in defaults")?;
        config.overlay(own_defaults, "built-in defaults of this subcommand")?;
        for path in files {
            let name = path.display().to_string();
            let text =
                std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: name.clone(), error })?;
            config.overlay(&text, &name)?;
        }
        for (name, value) in env {
            if let Some(keys) = name.strip_prefix("TICKWIRE__") {
                let keys: Vec<_> = keys.split("__").map(str::to_lowercase).collect();
                config.set(&keys, &value, &format!("environment variable {name}"))?;
            }
        }
        Ok(config)
    }

    /// Lays a TOML text over what is there: tables merge, everything else is replaced.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn overlay(&mut self, text: &str, origin: &str) -> Result<(), ConfigError> {
        let table: Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::Malformed { path: origin.into(), error: e.to_string() })?;
        merge(&mut self.table, table, "", origin, &mut self.origins);
        Ok(())
    }

    /// Sets one key from text: a TOML value if it is one (`5`, `true`, `["a"]`), else a string.
    fn set(&mut self, keys: &[String], value: &str, origin: &str) -> Result<(), ConfigError> {
        // A secret is text, also one of digits alone.
        let secret = keys.last().is_some_and(|key| is_secret(key));
        let parsed = format!("x = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("x")).filter(|_| !secret);
        let mut value = parsed.unwrap_or_else(|| Value::String(value.into()));
        for key in keys.iter().rev() {
            // A table written in capitals in the file (a symbol) is meant by the same word in the environment.
            value = Value::Table(Table::from_iter([(key.clone(), value)]));
        }
        let Value::Table(table) = value else {
            let problem = "names no key; expected TICKWIRE__SECTION__KEY".into();
            return Err(ConfigError::Key { origin: origin.into(), key: keys.join("."), problem });
        };
        merge(&mut self.table, table, "", origin, &mut self.origins);
        Ok(())
    }

    /// Parses the section `name` (empty when absent) into `T`, which refuses unknown keys.
    ///
    /// # Errors
    /// [`ConfigError::Key`] naming the key and where it came from.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let value = self.table.get(name).cloned().unwrap_or_else(|| Value::Table(Table::new()));
        serde_path_to_error::deserialize(value).map_err(|e| {
            let at = e.path().to_string();
            let problem = e.into_inner().message().to_string();
            let key = if at.is_empty() || at == "." { name.to_string() } else { format!("{name}.{at}") };
            self.bad_key(&key, problem)
        })
    }

    /// An error about `key`, with where its value came from.
    #[must_use]
    pub fn bad_key(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Key { origin: self.origin(key), key: key.into(), problem: problem.into() }
    }

    /// Refuses sections that nobody parses.
    ///
    /// # Errors
    /// [`ConfigError::Key`] for the first section not in `known`.
    pub fn only_sections(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.table.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => {
                let origin = self.origins.range(key.clone()..).next().map_or(String::new(), |(_, o)| o.clone());
                let problem = format!("unknown section, expected one of {}", known.join(", "));
                Err(ConfigError::Key { origin, key: key.clone(), problem })
            }
            None => Ok(()),
        }
    }

    /// Where the value of `key`, or the nearest thing below or above it, came from.
    fn origin(&self, key: &str) -> String {
        let mut prefix = key;
        loop {
            let below = self.origins.range(prefix.to_string()..).next().filter(|(k, _)| k.starts_with(prefix));
            if let Some((_, origin)) = below {
                return origin.clone();
            }
            match prefix.rsplit_once(['.', '[']) {
                Some((shorter, _)) => prefix = shorter,
                None => return "configuration".into(),
            }
        }
    }

    /// Full names of the keys whose values differ, in order: also of those that only one side has. A list is one value.
    #[must_use]
    pub fn differences(&self, other: &Config) -> Vec<String> {
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        leaves(&self.table, "", &mut here);
        leaves(&other.table, "", &mut there);
        let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        names.into_iter().filter(|name| here.get(*name) != there.get(*name)).cloned().collect()
    }

    /// Takes the value or table with this full name from `other`, or has it no more when `other` has not.
    pub fn take_from(&mut self, other: &Config, name: &str) {
        let value = name.split('.').try_fold(None, |found: Option<&Value>, key| {
            let table = found.map_or(Some(&other.table), Value::as_table)?;
            table.get(key).map(Some)
        });
        let (path, key) = name.rsplit_once('.').unwrap_or(("", name));
        let mut table = &mut self.table;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            if value.flatten().is_none() && !table.contains_key(step) {
                return;
            }
            let inner = table.entry(step).or_insert_with(|| Value::Table(Table::new()));
            let Some(inner) = inner.as_table_mut() else { return };
            table = inner;
        }
        match value.flatten() {
            Some(value) => drop(table.insert(key.into(), value.clone())),
            None => drop(table.remove(key)),
        }
        let below = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.origins.retain(|known, _| !below(known));
        let origins = other.origins.iter().filter(|(known, _)| below(known));
        self.origins.extend(origins.map(|(known, origin)| (known.clone(), origin.clone())));
    }

    /// The effective configuration as TOML, literal secrets masked.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut table = self.table.clone();
        mask(&mut table);
        toml::to_string_pretty(&table).unwrap_or_default()
    }
}

fn merge(into: &mut Table, from: Table, path: &str, origin: &str, origins: &mut BTreeMap<String, String>) {
    for (key, value) in from {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        // Symbols and source names may be written in capitals in a file and arrive in lower case from the environment.
        let key = into.keys().find(|k| k.eq_ignore_ascii_case(&key)).cloned().unwrap_or(key);
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new, &at, origin, origins),
            (_, Value::Table(new)) => {
                let mut table = Table::new();
                merge(&mut table, new, &at, origin, origins);
                into.insert(key, Value::Table(table));
            }
            (_, value) => {
                into.insert(key, value);
                origins.insert(at, origin.into());
            }
        }
    }
}

/// Every value that is no table, by its full name; an empty table is one too.
fn leaves<'a>(table: &'a Table, path: &str, found: &mut BTreeMap<String, &'a Value>) {
    for (key, value) in table {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) if !inner.is_empty() => leaves(inner, &at, found),
            value => drop(found.insert(at, value)),
        }
    }
}

/// Keys whose values are secrets: anything but a reference is masked.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    ["token", "password", "secret", "key", "credential"].iter().any(|word| key.to_lowercase().contains(word))
}

fn is_reference(text: &str) -> bool {
    ["env:", "file:", "vault:"].iter().any(|scheme| text.starts_with(scheme))
}

fn mask(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        mask_value(key, value);
    }
}

fn mask_value(key: &str, value: &mut Value) {
    match value {
        // A table of nothing but secrets, whatever their names.
        Value::Table(inner) if key == "secrets" => inner.iter_mut().for_each(|(_, item)| mask_value(key, item)),
        Value::Table(inner) => mask(inner),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(key, item)),
        Value::String(text) if is_secret(key) && !text.is_empty() && !is_reference(text) => *text = "********".into(),
        _ => {}
    }
}

/// Opens what a `vault:` reference names, given without that word.
type OpenVault = fn(&str) -> Result<String, String>;

/// Who keeps sealed secrets: a module below this one.
static VAULT: OnceLock<OpenVault> = OnceLock::new();

/// Says who opens `vault:` references, once for the process; the answer to one that does not open is one sentence, which
/// never holds a secret.
pub fn open_vault_with(open: OpenVault) {
    // Whoever said so before said the same.
    let _ = VAULT.set(open);
}

/// A secret by reference: `env:NAME`, `file:PATH`, `vault:` for one that the control database keeps, or the text itself
/// (demo and tests). Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl<'de> serde::Deserialize<'de> for Secret {
    /// From text; what is not text is refused without being shown.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Secret(text)),
            _ => Err(serde::de::Error::custom("not text, expected a secret in quotes")),
        }
    }
}

impl Secret {
    /// A secret reference from text, as it stands in a configuration.
    #[must_use]
    pub fn new(reference: impl Into<String>) -> Self {
        Secret(reference.into())
    }

    /// The secret itself.
    ///
    /// # Errors
    /// One sentence naming the variable or file that is missing; never the secret.
    pub fn resolve(&self) -> Result<String, String> {
        if let Some(name) = self.0.strip_prefix("env:") {
            return std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"));
        }
        if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(Path::new(path)).map_err(|e| format!("the file {path}: {e}"))?;
            return Ok(text.trim_end().to_string());
        }
        if let Some(name) = self.0.strip_prefix("vault:") {
            return VAULT.get().ok_or("there is no vault here, expected env:NAME or file:PATH")?(name);
        }
        Ok(self.0.clone())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(********)")
    }
}

/// Text, or a whole number that is meant as text: logins of accounts are numbers to their owners.
///
/// # Errors
/// When it is neither.
pub fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("found {}, expected text or a whole number", other.type_str()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        speed: u32,
        #[serde(default)]
        names: BTreeMap<String, Inner>,
    }

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        size: u32,
    }

    fn config(text: &str, env: &[(&str, &str)]) -> Config {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay("[thing]\nspeed = 1\n", "a.toml").unwrap();
        config.overlay(text, "b.toml").unwrap();
        for (name, value) in env {
            let keys: Vec<_> = name.strip_prefix("TICKWIRE__").unwrap().split("__").map(str::to_lowercase).collect();
            config.set(&keys, value, &format!("environment variable {name}")).unwrap();
        }
        config
    }

    #[test]
    fn later_wins_and_the_environment_last() {
        assert_eq!(config("", &[]).section::<Thing>("thing").unwrap().speed, 1);
        assert_eq!(config("[thing]\nspeed = 2", &[]).section::<Thing>("thing").unwrap().speed, 2);
        let env = [("TICKWIRE__THING__SPEED", "3"), ("TICKWIRE__THING__NAMES__A__SIZE", "9")];
        let thing = config("[thing]\nspeed = 2\nnames.A.size = 1", &env).section::<Thing>("thing").unwrap();
        assert_eq!((thing.speed, thing.names["A"].size), (3, 9));
    }

    #[test]
    fn errors_name_the_key_and_its_origin() {
        let error =
            |text: &str, env: &[(&str, &str)]| config(text, env).section::<Thing>("thing").unwrap_err().to_string();
        let unknown = error("[thing]\nsped = 2", &[]);
        assert!(unknown.starts_with("b.toml: thing.sped: unknown field `sped`"), "{unknown}");
        let wrong = error("[thing]\nspeed = \"fast\"", &[]);
        assert!(wrong.starts_with("b.toml: thing.speed: invalid type: string \"fast\", expected u32"), "{wrong}");
        let nested = error("[thing.names.A]\nsize = 1\ncolor = 2", &[]);
        assert!(nested.starts_with("b.toml: thing.names.A.color: unknown field"), "{nested}");
        let env = error("", &[("TICKWIRE__THING__SPEED", "often")]);
        assert!(env.starts_with("environment variable TICKWIRE__THING__SPEED: thing.speed"), "{env}");
        let with_section = config("[thingy]\nx = 1", &[]);
        let known: Vec<_> = with_section.table.keys().map(String::as_str).filter(|key| *key != "thingy").collect();
        let section = with_section.only_sections(&known).unwrap_err().to_string();
        assert!(section.contains("thingy: unknown section"), "{section}");
    }

    #[test]
    fn what_differs_is_named_and_can_be_taken_over() {
        let mut a = config("[s.x]\nn = 1\nl = [1, 2]\n[s.y]\nn = 1\n[t]\n", &[]);
        let b = config("[s.x]\nn = 2\nl = [1, 2]\n[s.z]\nn = 1\nm.k = 3\n", &[]);
        assert_eq!(a.differences(&b), ["s.x.n", "s.y.n", "s.z.m.k", "s.z.n", "t"]);
        assert_eq!(b.differences(&a), a.differences(&b));
        a.take_from(&b, "s.x.n");
        a.take_from(&b, "s.z");
        a.take_from(&b, "s.y");
        a.take_from(&b, "u.v.w");
        assert_eq!(a.differences(&b), ["t"]);
        assert!(a.bad_key("s.z.n", "x").to_string().starts_with("b.toml: s.z.n"));
    }

    #[test]
    fn literal_secrets_are_masked_and_references_shown() {
        let shown = config("[s]\ntoken = \"canary\"\npassword = \"env:PW\"\nname = \"n\"", &[]).masked();
        assert!(!shown.contains("canary") && shown.contains("env:PW") && shown.contains("\"n\""), "{shown}");
        assert!(!format!("{:?}", Secret::new("canary")).contains("canary"));
        #[derive(serde::Deserialize, Debug)]
        struct S {
            password: Secret,
        }
        let file = config("[s]\npassword = 12345678", &[]).section::<S>("s").unwrap_err().to_string();
        assert!(file.contains("s.password: not text") && !file.contains("12345678"), "{file}");
        let env = config("", &[("TICKWIRE__S__PASSWORD", "12345678")]).section::<S>("s").unwrap();
        assert_eq!(env.password.resolve().unwrap(), "12345678");
    }
}
