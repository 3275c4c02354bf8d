//! The manifest: which files hold which source's prices of which instrument, in which format. TOML.
//!
//! ```toml
//! timer_ms = 1000                # the clock that the stages see; the default
//!
//! [[source]]
//! name = "fxcm"                  # several entries may name one source
//! format = "lean-quote"          # lean-quote | bi5 | mqltick | binance-capture | csv | journal
//! files = ["tick/*_eurusd.csv"]  # relative to the manifest; the last part may be a pattern
//! symbol = "EURUSD"
//! date = "2014-05-01"            # of rows with a time of day alone; lean-quote: default the YYYYMMDD the name begins with
//! utc_offset = "-05:00"          # the clock of the rows: an offset, "utc" (default) or "new-york-close"
//! digits = 5                     # bi5: the scale of its whole numbers; default the instrument's
//! only = "best"                  # csv: rows with this in their column `source` alone
//! from = "2014-05-01T05:00:00Z"  # rows at or after
//! to = "2014-05-02T00:00:00Z"    # rows before
//! ```
//!
//! A journal brings its own names, clock and connections: `name` and `symbol` choose from it, and no clock is made.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ReplayError;
use crate::market::time_text::date_time;
use crate::market::{BrokerTime, InstrumentSpec};

/// A manifest whose values make sense and whose files are there.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it says, to know it again.
    pub text: String,
    /// Interval of the clock that the stages see, in nanoseconds.
    pub timer_ns: i64,
    /// The entries in their order.
    pub entries: Vec<Entry>,
}

/// A format that recordings are read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// LEAN's `ms_since_midnight,bid,ask`.
    #[serde(rename = "lean-quote")]
    LeanQuote,
    /// Dukascopy's hours.
    #[serde(rename = "bi5")]
    Bi5,
    /// MetaTrader 5: a dump of `MqlTick`, or an export of ticks.
    #[serde(rename = "mqltick")]
    MqlTick,
    /// `<receive ns> <message>` of Binance's combined stream.
    #[serde(rename = "binance-capture")]
    BinanceCapture,
    /// Columns by name, such as this engine writes.
    #[serde(rename = "csv")]
    Csv,
    /// What this engine recorded.
    #[serde(rename = "journal")]
    Journal,
}

/// One `[[source]]`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place among the entries, from 1, as errors name it.
    pub number: usize,
    /// The source; empty for all of a journal.
    pub name: String,
    /// What the files are.
    pub format: Format,
    /// The files in the order in which they are read.
    pub files: Vec<PathBuf>,
    /// The instrument; empty for all of a journal.
    pub symbol: String,
    /// Midnight of the day of rows without one, on the clock of the rows.
    pub date_ns: Option<i64>,
    /// The clock of the rows.
    pub clock: BrokerTime,
    /// Scale of whole numbers, where it is not the instrument's.
    pub digits: Option<u8>,
    /// What rows must have in their column `source`.
    pub only: Option<String>,
    /// Rows before this are left out.
    pub from_ns: i64,
    /// Rows at or after this are left out.
    pub to_ns: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default = "one_second")]
    timer_ms: u32,
    #[serde(default)]
    source: Vec<toml::Table>,
}

fn one_second() -> u32 {
    1000
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    #[serde(default)]
    name: String,
    format: Format,
    files: Vec<String>,
    #[serde(default)]
    symbol: String,
    date: Option<String>,
    utc_offset: Option<String>,
    digits: Option<u8>,
    only: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Manifest {
    /// Reads a manifest and finds its files.
    ///
    /// # Errors
    /// [`ReplayError::Manifest`] naming the entry, the key, its value and what was expected, or the file that is missing.
    pub fn read(path: &Path) -> Result<Manifest, ReplayError> {
        let wrong = |problem: String| ReplayError::Manifest(format!("manifest {}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let raw: Raw =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().replace('\n', "; ")))?;
        if !(1..=60_000).contains(&raw.timer_ms) {
            return Err(wrong(format!("timer_ms is {}, expected 1 to 60000", raw.timer_ms)));
        }
        if raw.source.is_empty() {
            return Err(wrong("no [[source]], expected at least one".into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entry = |(at, table)| {
            entry(at + 1, table, folder).map_err(|problem| wrong(format!("[[source]] number {}: {problem}", at + 1)))
        };
        let entries = raw.source.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        Ok(Manifest { path: path.into(), text, timer_ns: i64::from(raw.timer_ms) * 1_000_000, entries })
    }

    /// An error about an entry.
    pub(super) fn wrong(&self, entry: &Entry, problem: &str) -> ReplayError {
        let (path, number) = (self.path.display(), entry.number);
        ReplayError::Manifest(format!("manifest {path}: [[source]] number {number}: {problem}"))
    }
}

fn entry(number: usize, table: toml::Table, folder: &Path) -> Result<Entry, String> {
    let shown = table.clone();
    let raw: RawEntry = serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        let value = shown.get(&key).map_or(String::new(), |value| format!(" is {value}"));
        let key = if key == "." { String::new() } else { format!("{key}{value}: ") };
        format!("{key}{}", error.into_inner().message())
    })?;
    let journal = raw.format == Format::Journal;
    for (key, value, example) in [("name", &raw.name, "fxcm"), ("symbol", &raw.symbol, "EURUSD")] {
        if value.is_empty() && !journal {
            return Err(format!("{key} is not set, expected a word such as \"{example}\""));
        }
    }
    if raw.name == "best" {
        return Err("name is \"best\", which is the name of the common price; expected another".into());
    }
    let symbol_is_sound = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    if !raw.symbol.chars().all(symbol_is_sound) {
        return Err(format!("symbol is \"{}\", expected capital letters and digits such as EURUSD", raw.symbol));
    }
    if raw.name.contains([',', '"', '\n', '\r']) {
        return Err(format!("name is \"{}\", expected a word without commas and quotes", raw.name));
    }
    let only_for = |key: &str, set: bool, formats: &[Format]| {
        let wrong = set && !formats.contains(&raw.format);
        if wrong { Err(format!("{key} has no meaning for this format; expected no such key")) } else { Ok(()) }
    };
    only_for("digits", raw.digits.is_some(), &[Format::Bi5])?;
    only_for("only", raw.only.is_some(), &[Format::Csv])?;
    let clocked = [Format::LeanQuote, Format::Bi5, Format::MqlTick, Format::Csv];
    only_for("utc_offset", raw.utc_offset.is_some(), &clocked)?;
    if raw.digits.is_some_and(|digits| digits > 9) {
        return Err(format!("digits is {}, expected 0 to 9", raw.digits.unwrap_or_default()));
    }
    let from_ns = raw.from.as_deref().map_or(Ok(i64::MIN), |text| moment("from", text))?;
    let to_ns = raw.to.as_deref().map_or(Ok(i64::MAX), |text| moment("to", text))?;
    if from_ns >= to_ns {
        let (from, to) = (raw.from.unwrap_or_default(), raw.to.unwrap_or_default());
        return Err(format!("from is \"{from}\" and to is \"{to}\", expected a later one"));
    }
    let files = find_files(&raw.files, folder, raw.format)?;
    if raw.format == Format::Bi5 && raw.date.is_none() {
        return Err("date is not set, expected the day of the files such as \"2019-02-04\"".into());
    }
    if raw.format == Format::LeanQuote && raw.date.is_some() && files.len() > 1 {
        let count = files.len();
        return Err(format!(
            "date is one day and files are {count}; expected one file, or names that begin with YYYYMMDD and no date"
        ));
    }
    let clock = raw.utc_offset.as_deref().unwrap_or("utc").parse().map_err(|e| format!("utc_offset: {e}"))?;
    Ok(Entry {
        number,
        files,
        name: raw.name,
        format: raw.format,
        symbol: raw.symbol,
        date_ns: raw.date.as_deref().map(|date| midnight("date", date)).transpose()?,
        clock,
        digits: raw.digits,
        only: raw.only,
        from_ns,
        to_ns,
    })
}

fn midnight(key: &str, date: &str) -> Result<i64, String> {
    let at = date_time(format!("{date}T00:00:00").as_bytes()).filter(|_| date.len() == 10);
    at.map(|at| at.local_ns).ok_or_else(|| format!("{key} is \"{date}\", expected a date such as \"2014-05-01\""))
}

fn moment(key: &str, text: &str) -> Result<i64, String> {
    let at = date_time(text.as_bytes()).and_then(|at| Some(at.local_ns - at.offset_ns?));
    at.ok_or_else(|| format!("{key} is \"{text}\", expected a time such as \"2014-05-01T05:00:00Z\""))
}

/// Midnight of the day that a file's name begins with, `YYYYMMDD`.
pub(super) fn date_of_name(file: &Path) -> Option<i64> {
    let name = file.file_name()?.to_str()?;
    let digits = name.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let text = format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]);
    midnight("", &text).ok()
}

/// The files that `patterns` name, each pattern's in the order of their names.
fn find_files(patterns: &[String], folder: &Path, format: Format) -> Result<Vec<PathBuf>, String> {
    if patterns.is_empty() {
        return Err("files is empty, expected at least one".into());
    }
    let mut files = Vec::new();
    for pattern in patterns {
        let path = folder.join(pattern);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let found = if name.contains(['*', '?', '[', '{']) {
            matching(path.parent().unwrap_or(folder), name)
        } else if format == Format::Journal && path.is_dir() {
            matching(&path, "*.twj")
        } else if path.is_file() {
            Ok(vec![path.clone()])
        } else if path.is_dir() {
            Err("that is a folder; expected a file, or a pattern such as \"*.csv\"".into())
        } else {
            Err("there is no such file".into())
        };
        let found = found.map_err(|problem| format!("files: {}: {problem}", path.display()))?;
        if found.is_empty() {
            return Err(format!("files: {}: no file matches, expected at least one", path.display()));
        }
        files.extend(found);
    }
    Ok(files)
}

fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let pattern = globset::Glob::new(pattern).map_err(|error| error.to_string())?.compile_matcher();
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let file = file.map_err(|error| error.to_string())?;
        if pattern.is_match(file.file_name()) && file.path().is_file() {
            found.push(file.path());
        }
    }
    found.sort();
    Ok(found)
}

/// What is known of an instrument: as configured, else by convention.
///
/// # Errors
/// A sentence that says which section to add.
pub(super) fn spec_of(
    symbol: &str,
    configured: &std::collections::BTreeMap<String, InstrumentSpec>,
) -> Result<InstrumentSpec, String> {
    let spec = configured.get(symbol).cloned().or_else(|| InstrumentSpec::by_convention(symbol));
    spec.ok_or_else(|| {
        format!("symbol is \"{symbol}\", which no convention knows; expected a section [instruments.{symbol}] in a --config file")
    })
}
