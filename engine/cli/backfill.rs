//! `tickwire backfill`: a venue's past bars or ticks into the database.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sql::Database;
use super::{Common, Failure, log_to_stderr};
use crate::runtime::{Backfill, BackfillError, BackfillReport, BackfillRequest, Told, Wanted};
use crate::storage::Mode;

/// How often a database that does not answer is looked for, and how long after.
const DATABASE_TRIES: u32 = 5;
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Name of the source to ask
    #[arg(long, value_name = "NAME")]
    connection: String,
    /// Canonical symbol, one of the source's
    #[arg(long, value_name = "SYMBOL")]
    symbol: String,
    /// Length of the bars: M1 M5 M15 M30 H1 H4 D1 W1 MN
    #[arg(long, value_name = "TIMEFRAME")]
    timeframe: Option<String>,
    /// Ticks instead of bars, where the venue has them
    #[arg(long)]
    ticks: bool,
    /// First tick or opening of a bar, UTC: 2023-01-01 or 2023-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Before which ticks are and bars open
    #[arg(long, value_name = "TIME")]
    to: String,
}

impl From<BackfillError> for Failure {
    fn from(error: BackfillError) -> Failure {
        match error {
            BackfillError::Request(_) => Failure::usage(error),
            BackfillError::Failed(_) | BackfillError::Database(_) | BackfillError::Stopped => Failure::failed(error),
        }
    }
}

/// Fetches, and prints what came of it.
pub(super) fn run(common: &Common, options: Options) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    let settings = common.settings()?;
    let wanted = match (options.timeframe, options.ticks) {
        (Some(timeframe), false) => Wanted::Bars(timeframe),
        (None, true) => Wanted::Ticks,
        (Some(_), true) => return Err(Failure::usage("--ticks: ticks have no --timeframe, expected one of the two")),
        (None, false) => return Err(Failure::usage("--timeframe: missing, expected M1 to MN for bars, or --ticks")),
    };
    let request = BackfillRequest {
        from_ns: time("--from", &options.from)?,
        to_ns: time("--to", &options.to)?,
        connection: options.connection,
        symbol: options.symbol,
        wanted,
    };
    let backfill = Backfill::new(&settings, request.clone())?;
    if settings.storage.mode == Mode::Off {
        return Err(Failure::usage("storage.mode is \"off\": there is no database to put them into"));
    }
    let bar = bar();
    let mut begun = None;
    let mut tell = |told: Told<'_>| match told {
        Told::Note(note) => bar.suspend(|| eprintln!("tickwire: {note}")),
        Told::Progress(progress, until_ns) => {
            // Seconds of the past; what an earlier run did is no part of the speed.
            let begun = *begun.get_or_insert(progress.done_ns);
            let seconds = |from: i64, to: i64| u64::try_from((to - from) / 1_000_000_000).unwrap_or(0);
            bar.set_length(seconds(begun, until_ns));
            bar.set_position(seconds(begun, progress.done_ns));
            bar.set_message(format!("{} rows", progress.rows));
        }
    };
    let mut tries = 0;
    let outcome = loop {
        let database = Database::open(&common.state_dir, &settings.storage).map_err(Failure::failed)?;
        tries += 1;
        match backfill.run(&common.state_dir, database.writer(), &mut tell) {
            // An embedded store ends with whoever started it, maybe while we use it: then another is found or started.
            Err(BackfillError::Database(_)) if tries < DATABASE_TRIES => {}
            outcome => break outcome,
        }
        std::thread::sleep(DATABASE_WAIT);
    };
    bar.finish_and_clear();
    print(&request, &outcome?);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent} % {msg} {elapsed} eta {eta}");
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// A day or a time in nanoseconds.
pub(super) fn time(flag: &str, text: &str) -> Result<i64, Failure> {
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let stamp = text.parse::<Timestamp>().ok().or_else(|| midnight(text.parse().ok()?));
    let ns = stamp.and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok());
    let wrong =
        || Failure::usage(format!("{flag}: \"{text}\" is no time, expected 2023-01-01 or 2023-01-01T12:00:00Z"));
    ns.filter(|ns| *ns >= 0).ok_or_else(wrong)
}

fn utc(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |stamp| stamp.to_string())
}

fn print(request: &BackfillRequest, report: &BackfillReport) {
    let BackfillReport { progress, until_ns, requests, throttled } = report;
    let BackfillRequest { connection, symbol, wanted, from_ns, to_ns } = request;
    let (of, unit, unfinished) = match wanted {
        Wanted::Bars(timeframe) => (
            timeframe.as_str(),
            "bars missing",
            "bars from T on have not ended; the same again fetches them when they have",
        ),
        Wanted::Ticks => {
            ("ticks", "hours without a tick", "ticks from T on; the same again fetches them when the hour is over")
        }
    };
    println!("{:<12} {connection} {symbol} {of}, {} to {}", "backfill", utc(*from_ns), utc(*until_ns));
    if until_ns < to_ns {
        println!("{:<12} {}", "left out", unfinished.replace('T', &utc(*until_ns)));
    }
    if *requests == 0 {
        println!("{:<12} nothing: it was complete", "this run");
    }
    println!("{:<12} {}", "rows", progress.rows);
    let earlier = if progress.requests > *requests {
        format!(", and {} of earlier runs", progress.requests - requests)
    } else {
        String::new()
    };
    println!("{:<12} {requests}, of which {throttled} were refused as too many{earlier}", "requests");
    if progress.odd_cuts > 0 {
        println!("{:<12} {} bars begin where our calendar begins none", "cut", progress.odd_cuts);
    }
    let missing = &progress.missing;
    println!("{:<12} {}, {} {unit} while the market was open", "gaps", missing.holes, missing.bars);
    let unit = unit.split(' ').next().unwrap_or_default();
    for hole in &missing.named {
        println!("{:<12} {} to {}, {} {unit}", "", utc(hole.from_ns), utc(hole.to_ns), hole.bars);
    }
    if missing.holes > missing.named.len() as u64 {
        println!("{:<12} and {} more", "", missing.holes - missing.named.len() as u64);
    }
}
