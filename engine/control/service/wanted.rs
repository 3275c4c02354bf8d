//! What is asked of a connection's keys, laid over those that it has.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tickwire_schemas::words::Timeframe;
use toml::{Table, Value};
use utoipa::ToSchema;
use zeroize::Zeroize;

use super::{Limits, ServiceError};
use crate::config::is_secret;
use crate::control::connections::Draft;
use crate::control::credentials::{Credentials, part_one, part_secrets, reference_in};
use crate::feeds::SourceSpec;
use crate::feeds::adapters::adapters;
use crate::feeds::adapters::forms::put;
use crate::market::{Class, InstrumentSpec, Price};

/// Days, keys and instruments that one connection can have at most: beyond them it is a mistake.
const RETENTION_DAYS_MAX: u32 = 36_500;
const INSTRUMENTS_MAX: usize = 4_096;
const SYMBOL_BYTES_MAX: usize = 32;

/// Keys of a connection. What is not given stays as it is.
#[derive(Default)]
pub struct Wanted {
    /// Who stands behind it, in words.
    pub provider: Option<String>,
    /// Keys of the adapter; `null` takes one away. A key may be a path with points.
    pub config: Map<String, Json>,
    /// Secrets by their keys; an empty one is not given.
    pub secrets: BTreeMap<String, String>,
    /// All of its symbols, and what the venue calls them; an empty name is the venue's usual one.
    pub symbols: Option<BTreeMap<String, String>>,
    /// Words of timeframes.
    pub timeframes: Option<Vec<String>>,
    /// Whether each tick is stored.
    pub stores_ticks: Option<bool>,
    /// Days that its rows are kept for.
    pub retention_days: Option<u32>,
    /// What is known of symbols that are not configured.
    pub instruments: BTreeMap<String, InstrumentWanted>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.secrets.values_mut().for_each(Zeroize::zeroize);
    }
}

/// An instrument that is not configured.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstrumentWanted {
    /// `fx`, `metal`, `index` or `crypto`.
    pub class: String,
    /// Digits after the point in which it is quoted, at most 9.
    #[schema(maximum = 9)]
    pub digits: u8,
    /// The pip, such as `0.0001`.
    pub pip: String,
}

impl Wanted {
    /// A draft with these keys over its own, and their secrets.
    pub(super) fn over(&self, mut draft: Draft, limits: &Limits) -> Result<(Draft, Credentials), ServiceError> {
        let mut given = Table::new();
        for (key, value) in &self.config {
            limits.key(key)?;
            if ["adapter", "scope", "owner", "symbols", "timeframes", "store_ticks"].contains(&key.as_str()) {
                return Err(ServiceError::wrong(key, "is no key of the adapter's"));
            }
            match toml_of(key, value)? {
                Some(value) => put(&mut given, key, value),
                None => drop(draft.config.remove(key)),
            }
        }
        check_texts(&given)?;
        let mut secrets = part_secrets(&mut given).map_err(|text| named(&text))?;
        merge(&mut draft.config, given);
        for (key, secret) in self.secrets.iter().filter(|(_, secret)| !secret.is_empty()) {
            part_one(&mut draft.config, key, secret, &mut secrets).map_err(|text| named(&text))?;
        }
        if let Some(key) = reference_in(&draft.config) {
            return Err(ServiceError::wrong(key, "refers to a secret elsewhere, expected the secret itself"));
        }
        if let Some(symbols) = &self.symbols {
            draft.config.insert("symbols".into(), Value::Table(symbols_of(&draft.adapter, symbols)));
        }
        if let Some(provider) = &self.provider {
            if provider.chars().count() > 200 || provider.chars().any(char::is_control) {
                return Err(ServiceError::wrong("provider", "expected at most 200 characters on one line"));
            }
            draft.provider.clone_from(provider);
        }
        if let Some(words) = &self.timeframes {
            draft.timeframes = timeframes(words)?;
        }
        if let Some(days) = self.retention_days {
            if !(1..=RETENTION_DAYS_MAX).contains(&days) {
                let message = format!("{days} days, expected 1 to {RETENTION_DAYS_MAX}");
                return Err(ServiceError::wrong("retention_days", message));
            }
            draft.retention_days = days;
        }
        draft.stores_ticks = self.stores_ticks.unwrap_or(draft.stores_ticks);
        Ok((draft, secrets))
    }
}

/// Of a sentence that begins with the key.
fn named(text: &str) -> ServiceError {
    let (field, message) = text.split_once(": ").unwrap_or(("", text));
    ServiceError::wrong(field, message)
}

fn symbols_of(adapter: &str, symbols: &BTreeMap<String, String>) -> Table {
    let entry = adapters().into_iter().find(|entry| entry.name == adapter);
    let usual = |ours: &str| entry.as_ref().map_or_else(|| ours.to_string(), |entry| (entry.venue_symbol)(ours));
    let name = |(ours, theirs): (&String, &String)| {
        let theirs = if theirs.is_empty() { usual(ours) } else { theirs.clone() };
        (ours.clone(), Value::String(theirs))
    };
    symbols.iter().map(name).collect()
}

fn timeframes(words: &[String]) -> Result<Vec<Timeframe>, ServiceError> {
    let parse = |word: &String| {
        Timeframe::from_word(word).ok_or_else(|| {
            let known = Timeframe::ALL.iter().map(|t| t.word()).collect::<Vec<_>>().join(", ");
            ServiceError::wrong("timeframes", format!("\"{word}\" is none, expected some of {known}"))
        })
    };
    let mut timeframes = words.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    timeframes.sort_unstable();
    timeframes.dedup();
    Ok(timeframes)
}

/// JSON as TOML; `null` is nothing.
fn toml_of(key: &str, value: &Json) -> Result<Option<Value>, ServiceError> {
    let unfit = |what: &str| ServiceError::wrong(key, format!("{what} is no value of a key"));
    Ok(Some(match value {
        Json::Null => return Ok(None),
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) => Value::Float(float),
            _ => return Err(unfit("such a number")),
        },
        // A form has one text where the adapter takes several.
        Json::String(text) if key == "subscribe" => {
            text.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().into()
        }
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => {
            let items = items.iter().map(|item| toml_of("", item)?.ok_or_else(|| unfit("null in a list")));
            Value::Array(items.collect::<Result<_, ServiceError>>()?)
        }
        Json::Object(map) => {
            let mut table = Table::new();
            for (inner, value) in map {
                if let Some(value) = toml_of("", value)? {
                    table.insert(inner.clone(), value);
                }
            }
            Value::Table(table)
        }
    }))
}

/// Tables key by key, everything else as a whole.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Headers that carry a secret by custom.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_lowercase();
    is_secret(&name) || ["auth", "cookie", "session", "signature"].iter().any(|word| name.contains(word))
}

/// Secrets in texts that are kept in the clear: in a URL, in a header. They are not repeated.
fn check_texts(given: &Table) -> Result<(), ServiceError> {
    let elsewhere = "expected it under `secrets`, and {secret:NAME} in its place";
    for (key, value) in given {
        match value {
            Value::String(text) if text.contains("://") => {
                let rest = text.split_once("://").map_or("", |(_, rest)| rest);
                if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
                    return Err(ServiceError::wrong(key, "has a name or password in front of an @, expected none"));
                }
                let query = rest.split_once('?').map_or("", |(_, query)| query);
                let is_open = |pair: &&str| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    is_secret(name) && !value.is_empty() && !value.contains("{secret:")
                };
                if let Some(pair) = query.split('&').find(is_open) {
                    let name = pair.split('=').next().unwrap_or_default();
                    return Err(ServiceError::wrong(key, format!("has a secret in {name}, {elsewhere}")));
                }
            }
            Value::Table(headers) if key == "headers" => {
                let open = headers.iter().find(|(name, value)| {
                    is_secret_header(name) && value.as_str().is_some_and(|text| !text.contains("{secret:"))
                });
                if let Some((name, _)) = open {
                    return Err(ServiceError::wrong(format!("headers.{name}"), format!("is a secret, {elsewhere}")));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The instruments to keep for a connection's symbols: those that are described, and those that nobody knows yet, by what
/// their symbols say.
pub(super) fn instruments(
    spec: &SourceSpec,
    wanted: &Wanted,
    configured: &BTreeMap<String, InstrumentSpec>,
    known: &BTreeMap<String, InstrumentSpec>,
    limits: &Limits,
) -> Result<BTreeMap<String, InstrumentSpec>, ServiceError> {
    let mut made = BTreeMap::new();
    for symbol in spec.symbols.iter().map(|symbol| &symbol.canonical) {
        let before = configured.get(symbol).or_else(|| known.get(symbol));
        let described = wanted.instruments.get(symbol).map(|one| described(symbol, one)).transpose()?;
        match (before, described) {
            (Some(before), Some(described)) if *before != described => {
                // It is everybody's.
                if limits.plain_keys || configured.contains_key(symbol) {
                    let message = "is known otherwise, which is not changed here";
                    return Err(ServiceError::wrong(format!("instruments.{symbol}"), message));
                }
                made.insert(symbol.clone(), described);
            }
            (Some(_), _) => {}
            (None, described) => {
                check_symbol(symbol)?;
                let spec = described.or_else(|| InstrumentSpec::by_convention(symbol)).ok_or_else(|| {
                    let message =
                        format!("{symbol} is no instrument that is known; expected its class, digits and pip");
                    ServiceError::wrong(format!("instruments.{symbol}"), message)
                })?;
                made.insert(symbol.clone(), spec);
            }
        }
    }
    if known.len() + made.len() > INSTRUMENTS_MAX {
        return Err(ServiceError::wrong(
            "symbols",
            format!("more than {INSTRUMENTS_MAX} instruments, and room for no more"),
        ));
    }
    Ok(made)
}

fn check_symbol(symbol: &str) -> Result<(), ServiceError> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    if symbol.is_empty() || symbol.len() > SYMBOL_BYTES_MAX || !symbol.chars().all(plain) {
        let message =
            format!("\"{symbol}\" is not a symbol, expected at most {SYMBOL_BYTES_MAX} of A-Z and 0-9 such as EURUSD");
        return Err(ServiceError::wrong("symbols", message));
    }
    Ok(())
}

fn described(symbol: &str, wanted: &InstrumentWanted) -> Result<InstrumentSpec, ServiceError> {
    let wrong = |key: &str, message: String| ServiceError::wrong(format!("instruments.{symbol}.{key}"), message);
    let class = Class::ALL.into_iter().find(|class| class.word() == wanted.class);
    let class =
        class.ok_or_else(|| wrong("class", format!("\"{}\", expected fx, metal, index or crypto", wanted.class)))?;
    if wanted.digits > 9 {
        return Err(wrong("digits", format!("{} is more than the 9 a price holds", wanted.digits)));
    }
    let pip = wanted.pip.parse::<Price>().ok().filter(|pip| pip.e9() > 0);
    let pip = pip.ok_or_else(|| wrong("pip", format!("\"{}\" is not a pip, expected more than zero", wanted.pip)))?;
    Ok(InstrumentSpec { class, digits: wanted.digits, pip })
}
