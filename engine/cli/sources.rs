//! `tickwire sources`: how good each source is, and the best of each symbol.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sql;
use crate::storage::{Mode, StorageConfig};

/// What the subcommand takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Longest wait for the running engine.
const PATIENCE: Duration = Duration::from_secs(5);

/// A source of a symbol over the last minutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Quality {
    score: f64,
    uptime_percent: f64,
    completeness_percent: f64,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    avg_spread: Option<String>,
    ticks_per_second: f64,
    rejects: u64,
    best_share_percent: Option<f64>,
}

/// Who said so, and everything: by symbol, then source.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    /// `engine` or `database`.
    #[serde(default)]
    from: String,
    source_quality: BTreeMap<String, BTreeMap<String, Quality>>,
    recommended: BTreeMap<String, String>,
}

/// Asks the running engine, without one the database, and prints.
///
/// # Errors
/// One sentence when neither can be asked.
pub(super) fn run(state: &Path, config: &StorageConfig, options: &Options, out: &mut impl Write) -> Result<(), String> {
    let report = match from_engine(state)? {
        Some(report) => report,
        None if config.mode == Mode::Off => {
            return Err(format!(
                "no engine runs in {} and storage.mode is \"off\": there is nobody to ask",
                state.display()
            ));
        }
        None => from_database(state, config)?,
    };
    let text = if options.json { format!("{}\n", serde_json::json!(report)) } else { table(&report) };
    out.write_all(text.as_bytes()).map_err(|e| format!("cannot write the answer: {e}"))
}

/// The running engine's `/health`; `None` when none runs.
fn from_engine(state: &Path) -> Result<Option<Report>, String> {
    let note = state.join("engine.json");
    let Ok(text) = std::fs::read_to_string(&note) else { return Ok(None) };
    let bad = |problem: &str| format!("{}: {problem}", note.display());
    let note: Value = serde_json::from_str(&text).map_err(|e| bad(&e.to_string()))?;
    let address = note["console"].as_str().and_then(|text| text.parse().ok());
    let address = address.ok_or_else(|| bad("`console` is no address, expected HOST:PORT"))?;
    match get(address, "/health") {
        Ok(body) => {
            let report = serde_json::from_str(&body).map_err(|e| format!("/health of the engine at {address}: {e}"))?;
            Ok(Some(Report { from: "engine".into(), ..report }))
        }
        // Nobody listens: the note was left behind by an engine that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(format!("the engine at {address}: {error}")),
    }
}

/// The body of a page of the console, which says how long it is.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string());
    body.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "expected an HTTP answer"))
}

/// What the stored rows say, the best first. What stands under a NULL is no number, and no decimal is made of it.
const QUERY: &str = "SELECT symbol, source, round(score, 3) AS score, round(uptime_percent, 3) AS uptime_percent, \
    round(completeness_percent, 3) AS completeness_percent, round(latency_p50_ms, 3) AS latency_p50_ms, \
    round(latency_p99_ms, 3) AS latency_p99_ms, \
    if(isNull(avg_spread), NULL, toString(toDecimal64(ifNull(avg_spread, 0), 9))) AS avg_spread, \
    round(ticks_per_second, 3) AS ticks_per_second, rejects, round(best_share_percent, 3) AS best_share_percent \
    FROM source_scores SETTINGS output_format_json_quote_64bit_integers = 0";

/// The last minutes that the database has.
fn from_database(state: &Path, config: &StorageConfig) -> Result<Report, String> {
    #[derive(Deserialize)]
    struct Row {
        symbol: String,
        source: String,
        #[serde(flatten)]
        quality: Quality,
    }
    let mut answer = Vec::new();
    sql::run(state, config, QUERY, "JSONEachRow", false, &mut answer)?;
    let mut report = Report { from: "database".into(), source_quality: BTreeMap::new(), recommended: BTreeMap::new() };
    for row in serde_json::Deserializer::from_slice(&answer).into_iter::<Row>() {
        let row = row.map_err(|e| format!("the database's answer: {e}"))?;
        report.recommended.entry(row.symbol.clone()).or_insert_with(|| row.source.clone());
        report.source_quality.entry(row.symbol).or_default().insert(row.source, row.quality);
    }
    Ok(report)
}

const COLUMNS: [&str; 11] = [
    "SYMBOL",
    "SOURCE",
    "SCORE",
    "UPTIME %",
    "COMPLETE %",
    "P50 MS",
    "P99 MS",
    "SPREAD",
    "TICKS/S",
    "REJECTS",
    "BEST %",
];

/// For people: the best source of each symbol first, with an asterisk where it is the recommended one.
fn table(report: &Report) -> String {
    let mut rows = vec![COLUMNS.map(String::from)];
    for (symbol, sources) in &report.source_quality {
        let recommended = report.recommended.get(symbol);
        let mut sources: Vec<_> = sources.iter().collect();
        sources.sort_by(|(a, one), (b, other)| {
            let last = |name: &String| Some(name) != recommended;
            last(a).cmp(&last(b)).then(other.score.total_cmp(&one.score))
        });
        for (name, quality) in sources {
            let mark = if Some(name) == recommended { " *" } else { "" };
            let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.1}"));
            rows.push([
                symbol.clone(),
                format!("{name}{mark}"),
                number(Some(quality.score)),
                number(Some(quality.uptime_percent)),
                number(Some(quality.completeness_percent)),
                number(quality.latency_p50_ms),
                number(quality.latency_p99_ms),
                quality.avg_spread.clone().unwrap_or_else(|| "-".into()),
                number(Some(quality.ticks_per_second)),
                quality.rejects.to_string(),
                number(quality.best_share_percent),
            ]);
        }
    }
    if rows.len() == 1 {
        return format!("the {} knows of no source in the last 15 minutes of an open market\n", report.from);
    }
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; COLUMNS.len()]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    let lines: String = rows.iter().map(line).collect();
    format!("{lines}* recommended: the best score of the last 15 minutes, as the {} says\n", report.from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn report() -> Report {
        serde_json::from_str(
            r#"{"source_quality": {"EURUSD": {
                "a": {"score": 71.0, "uptime_percent": 50.0, "completeness_percent": 48.25, "latency_p50_ms": null,
                      "latency_p99_ms": null, "avg_spread": null, "ticks_per_second": 0.0, "rejects": 0,
                      "best_share_percent": null},
                "b": {"score": 98.04, "uptime_percent": 100.0, "completeness_percent": 100.0, "latency_p50_ms": 1.25,
                      "latency_p99_ms": 12.0, "avg_spread": "0.00012", "ticks_per_second": 4.96, "rejects": 7,
                      "best_share_percent": 62.5}}},
              "recommended": {"EURUSD": "b"}, "status": "ok"}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_best_source_comes_first_and_is_marked() {
        let shown = table(&Report { from: "engine".into(), ..report() });
        assert_eq!(
            shown,
            "SYMBOL  SOURCE  SCORE  UPTIME %  COMPLETE %  P50 MS  P99 MS   SPREAD  TICKS/S  REJECTS  BEST %\n\
             EURUSD  b *      98.0     100.0       100.0     1.2    12.0  0.00012      5.0        7    62.5\n\
             EURUSD  a        71.0      50.0        48.2       -       -        -      0.0        0       -\n\
             * recommended: the best score of the last 15 minutes, as the engine says\n"
        );
    }

    #[test]
    fn without_engine_and_database_it_says_so() {
        let state = tempfile::tempdir().unwrap();
        let config = crate::config::Config::load(&[], std::iter::empty()).unwrap();
        let off = StorageConfig { mode: Mode::Off, ..StorageConfig::parse(&config).unwrap() };
        let error = run(state.path(), &off, &Options { json: false }, &mut Vec::new()).unwrap_err();
        assert!(error.contains("no engine runs") && error.contains("storage.mode"), "{error}");
    }
}
