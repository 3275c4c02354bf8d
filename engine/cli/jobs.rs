//! `tickwire jobs`: what was done beside the prices, what is, and what is to be.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::backfill::{bar, time};
use super::sql::Database;
use super::{Common, Failure, log_to_stderr, say};
use crate::clock;
use crate::control::connections::Connections;
use crate::control::jobs::{Filter, Job, Jobs, JobsError, Kind, Parameters, Request, Runner, State};
use crate::feeds::SharedHosts;
use crate::runtime::{Ground, Settings, start_only};
use crate::storage::Mode;

/// How often a job that runs here is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// The newest, newest first
    List {
        /// Of one kind
        #[arg(long, value_parser = kind)]
        kind: Option<Kind>,
        /// In one state: queued running succeeded failed cancelled
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// Of one connection
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON array instead of a table
        #[arg(long)]
        json: bool,
    },
    /// All that is known of one, as JSON
    Show {
        /// Its number
        id: i64,
    },
    /// Has one done: by the engine if it runs, else here and now
    Run(Wanted),
    /// Stops one, or lets it not begin
    Cancel {
        /// Its number
        id: i64,
    },
}

/// A job that is wanted.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// fetch_bars refresh_symbols refresh_account backfill repair retention
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Name of the connection; of retention: its rows alone
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Canonical symbol; of fetch_bars: all without it
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<String>,
    /// Length of the bars: M1 M5 M15 M30 H1 H4 D1 W1 MN
    #[arg(long, value_name = "TIMEFRAME")]
    timeframe: Option<String>,
    /// backfill: first opening of a bar, UTC: 2023-01-01 or 2023-01-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// backfill: before which bars open; now without it
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// repair: the hole, as it is listed
    #[arg(long, value_name = "EPOCH:ID", value_parser = gap)]
    gap: Option<(u32, u64)>,
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = || format!("expected one of {}", Kind::ALL.map(Kind::word).join(", "));
    Kind::from_word(text).ok_or_else(known)
}

fn state(text: &str) -> Result<State, String> {
    State::from_word(text).ok_or_else(|| format!("expected one of {}", State::ALL.map(State::word).join(", ")))
}

fn gap(text: &str) -> Result<(u32, u64), String> {
    let parsed = text.split_once(':').and_then(|(epoch, id)| Some((epoch.parse().ok()?, id.parse().ok()?)));
    parsed.ok_or_else(|| "expected EPOCH:ID, two numbers".into())
}

impl From<JobsError> for Failure {
    fn from(error: JobsError) -> Failure {
        match error {
            JobsError::Unknown(_) => Failure::usage(error),
            error => Failure::failed(error),
        }
    }
}

/// Does it.
pub(super) fn run(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    log_to_stderr("warn");
    std::fs::create_dir_all(&common.state_dir)
        .map_err(|e| Failure::failed(format!("state directory {}: {e}", common.state_dir.display())))?;
    let jobs = Arc::new(Jobs::open(&common.state_dir)?);
    // What a killed process left is shown as what it is.
    jobs.take_back(None, clock::machine_ns())?;
    match action {
        Action::List { kind, state, connection, limit, json } => {
            let filter = Filter { kind, state, connection, ..Filter::default() };
            let found = jobs.list(&filter, limit)?;
            say(if json { format!("{}\n", found.iter().map(shown).collect::<Value>()) } else { table(&found) })?;
        }
        Action::Show { id } => {
            say(format_args!("{}\n", serde_json::to_string_pretty(&shown(&jobs.get(id)?)).unwrap_or_default()))?;
        }
        Action::Cancel { id } => {
            let job = jobs.cancel(id, clock::machine_ns())?;
            let text = match job.state {
                State::Cancelled => format!("job {id} is cancelled\n"),
                State::Running => format!("job {id} is told to stop\n"),
                state => format!("job {id} is over: {}\n", state.word()),
            };
            say(text)?;
        }
        Action::Run(wanted) => return have_done(common, &jobs, wanted),
    }
    Ok(ExitCode::SUCCESS)
}

/// Queues a job, and does it here where no engine would.
fn have_done(common: &Common, jobs: &Arc<Jobs>, wanted: Wanted) -> Result<ExitCode, Failure> {
    let settings = common.settings()?;
    let request = request(common, &settings, wanted)?;
    let job = jobs.queue(&request, settings.jobs.attempts, clock::machine_ns())?;
    if Runner::is_scheduler_there(&common.state_dir) {
        say(format_args!("job {} is queued: the engine does it (tickwire jobs show {})\n", job.id, job.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    let stores = matches!(job.request.kind, Kind::FetchBars | Kind::Backfill | Kind::Retention);
    let database = match settings.storage.mode {
        Mode::Off => None,
        _ if stores => Some(Database::open(&common.state_dir, &settings.storage).map_err(Failure::failed)?),
        _ => None,
    };
    let endpoint = database.as_ref().map(|database| database.writer().clone());
    let hosts = SharedHosts::default();
    let ground = Ground::new(&settings, &common.state_dir, Box::new(move || endpoint.clone()), hosts);
    let scheduler = start_only(Arc::clone(jobs), ground, job.id)?;
    let ended = watch(jobs, job.id);
    scheduler.stop();
    let job = ended?;
    let message = job.message.as_deref().unwrap_or_default();
    match job.state {
        State::Succeeded => say(format_args!("job {}: {message}\n", job.id)).map(|()| ExitCode::SUCCESS),
        state => Err(Failure::failed(format!("job {} {}: {message}", job.id, state.word()))),
    }
}

/// Returns when it is over.
fn watch(jobs: &Jobs, id: i64) -> Result<Job, Failure> {
    let bar: ProgressBar = bar();
    let mut said = None;
    loop {
        let job = jobs.get(id)?;
        if job.state.is_final() {
            bar.finish_and_clear();
            return Ok(job);
        }
        if let Some(progress) = job.progress {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.set_message(format!("{} rows", job.rows.unwrap_or(0)));
        }
        if job.message != said {
            job.message.iter().for_each(|text| bar.suspend(|| eprintln!("tickwire: {text}")));
            said = job.message;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn request(common: &Common, settings: &Settings, wanted: Wanted) -> Result<Request, Failure> {
    let Wanted { kind, connection, symbol, timeframe, from, to, gap } = wanted;
    let missing = |flag: &str| Failure::usage(format!("{flag}: missing, a job {} needs it", kind.word()));
    if kind.needs_connection() && connection.is_none() {
        return Err(missing("--connection"));
    }
    let now_ns = clock::machine_ns();
    let (mut from_ns, mut to_ns) = (None, None);
    match kind {
        Kind::Backfill => {
            symbol.as_ref().ok_or_else(|| missing("--symbol"))?;
            timeframe.as_ref().ok_or_else(|| missing("--timeframe"))?;
            from_ns = Some(time("--from", from.as_deref().ok_or_else(|| missing("--from"))?)?);
            to_ns = Some(to.as_deref().map_or(Ok(now_ns), |to| time("--to", to))?);
        }
        Kind::FetchBars => drop(timeframe.as_ref().ok_or_else(|| missing("--timeframe"))?),
        Kind::Repair => drop(gap.as_ref().ok_or_else(|| missing("--gap"))?),
        Kind::RefreshSymbols | Kind::RefreshAccount | Kind::Retention => {}
    }
    let owner = match &connection {
        Some(name) => owner_of(common, settings, name)?,
        None => String::new(),
    };
    let parameters = Parameters { symbol, timeframe, from_ns, to_ns, gap };
    Ok(Request { kind, connection, owner, parameters, requested_by: "command line".into() })
}

/// Whose private connection it is; empty for a global one.
fn owner_of(common: &Common, settings: &Settings, name: &str) -> Result<String, Failure> {
    if let Some(spec) = settings.sources.iter().find(|spec| spec.name == name) {
        return Ok(spec.owner.clone());
    }
    let mut all = Connections::open(&common.state_dir).map_err(Failure::failed)?;
    all.get(name).map(|connection| connection.owner).map_err(|e| Failure::usage(format!("--connection: {e}")))
}

fn utc(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns)).map(|at| format!("{at:.0}")).unwrap_or_default()
}

fn table(jobs: &[Job]) -> String {
    let mut text = format!(
        "{:>6} {:<16} {:<20} {:<10} {:>8} {:>8} {:>10} {:<21} {}\n",
        "id", "kind", "connection", "state", "attempts", "done", "rows", "queued", "message"
    );
    for job in jobs {
        let connection = job.request.connection.as_deref().unwrap_or("-");
        let attempts = format!("{}/{}", job.attempts, job.attempts_max);
        let percent = |done: u64, total: u64| format!("{} %", 100 * done / total.max(1));
        let done = job.progress.map_or_else(|| "-".into(), |p| percent(p.done, p.total));
        let rows = job.rows.map_or_else(|| "-".into(), |rows| rows.to_string());
        let (kind, state) = (job.request.kind.word(), job.state.word());
        let message = job.message.as_deref().unwrap_or_default();
        text += format!(
            "{:>6} {kind:<16} {connection:<20} {state:<10} {attempts:>8} {done:>8} {rows:>10} {:<21} {message}",
            job.id,
            utc(job.queued_ns)
        )
        .trim_end();
        text.push('\n');
    }
    text
}

fn shown(job: &Job) -> Value {
    let Request { kind, connection, parameters, requested_by, .. } = &job.request;
    let Parameters { symbol, timeframe, from_ns, to_ns, gap } = parameters;
    json!({
        "id": job.id,
        "kind": kind,
        "connection": connection,
        "symbol": symbol,
        "timeframe": timeframe,
        "from": from_ns.map(utc),
        "to": to_ns.map(utc),
        "gap": gap.map(|(epoch, id)| format!("{epoch}:{id}")),
        "state": job.state,
        "attempts": job.attempts,
        "attempts_max": job.attempts_max,
        "done": job.progress.map(|p| p.done),
        "total": job.progress.map(|p| p.total),
        "eta_seconds": job.eta_s(clock::machine_ns()),
        "rows": job.rows,
        "message": job.message,
        "requested_by": requested_by,
        "queued": utc(job.queued_ns),
        "started": job.started_ns.map(utc),
        "finished": job.finished_ns.map(utc),
        "next_attempt": (job.state == State::Queued).then(|| utc(job.next_ns)),
    })
}
