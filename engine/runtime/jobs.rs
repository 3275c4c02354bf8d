//! The jobs that the engine does: one file for each kind, and what all of them stand on.

mod backfill;
mod fetch_bars;
mod refresh;
mod repair;
mod retention;
mod standing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Settings;
use super::backfill::{BackfillError, Known, Polled};
use crate::clock;
use crate::control::InstrumentSpec;
use crate::control::connections::{Connections, DataConnection, LogEntry};
use crate::control::jobs::scheduler::{self, SchedulerHandle, StandingNow};
use crate::control::jobs::{Job, JobError, JobKind, Jobs, JobsConfig, JobsError, Runner, Watch};
use crate::control::sections::source_of;
use crate::feeds::{SharedHosts, SourceSpec};
use crate::market::Holidays;
use crate::storage::retention::RetentionConfig;
use crate::storage::{Endpoint, Mode, StorageConfig};

/// How long a job waits for a database that is starting, and how often it looks.
const DATABASE_WITHIN_NS: i64 = 60_000_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Sources and instruments that are in effect.
#[derive(Debug, Clone)]
pub struct InEffectNow {
    /// The connections.
    pub sources: Vec<SourceSpec>,
    /// What is traded.
    pub instruments: BTreeMap<String, InstrumentSpec>,
}

/// Asks for a hole to be mended; false when nobody can now.
pub(super) type RetryGap = Box<dyn Fn(u32, u64) -> bool + Send + Sync>;

/// What jobs stand on.
pub struct Ground {
    state_dir: PathBuf,
    config: JobsConfig,
    retention: RetentionConfig,
    storage: StorageConfig,
    holidays: Holidays,
    in_effect: Box<dyn Fn() -> InEffectNow + Send + Sync>,
    /// The database as soon as it is up.
    endpoint: Box<dyn Fn() -> Option<Endpoint> + Send + Sync>,
    hosts: SharedHosts,
    /// `None` where no engine runs.
    retry_gap: Option<RetryGap>,
    polled: Polled,
    connections: Mutex<Option<Connections>>,
}

impl Ground {
    /// That of settings. `endpoint` says where the database is, as soon as it is up.
    #[must_use]
    pub fn new(
        settings: &Settings,
        state_dir: &Path,
        endpoint: Box<dyn Fn() -> Option<Endpoint> + Send + Sync>,
        hosts: SharedHosts,
    ) -> Ground {
        let now = InEffectNow { sources: settings.sources.clone(), instruments: settings.instruments.clone() };
        Ground {
            state_dir: state_dir.into(),
            config: settings.jobs.clone(),
            retention: settings.retention.clone(),
            storage: settings.storage.clone(),
            holidays: settings.holidays.clone(),
            in_effect: Box::new(move || now.clone()),
            endpoint,
            hosts,
            retry_gap: None,
            polled: Polled::default(),
            connections: Mutex::new(None),
        }
    }

    /// With what is in effect where that changes; without this it is what the settings say.
    #[must_use]
    pub(super) fn with_in_effect(self, in_effect: Box<dyn Fn() -> InEffectNow + Send + Sync>) -> Ground {
        Ground { in_effect, ..self }
    }

    /// With somebody who mends holes.
    #[must_use]
    pub(super) fn with_repairs(self, retry_gap: Option<RetryGap>) -> Ground {
        Ground { retry_gap, ..self }
    }

    /// The database, or why there is none. One that is still starting is waited for: that is no failure of the job's.
    fn database(&self, watch: &Watch) -> Result<Endpoint, JobError> {
        if self.storage.mode == Mode::Off {
            return Err(JobError::Hopeless("storage.mode is \"off\": there is no database".into()));
        }
        let begun_ns = clock::monotonic_ns();
        loop {
            if let Some(endpoint) = (self.endpoint)() {
                return Ok(endpoint);
            }
            if watch.is_stopped() {
                return Err(JobError::Stopped);
            }
            if clock::monotonic_ns() - begun_ns > DATABASE_WITHIN_NS {
                return Err(JobError::Failed("the database is not up".into()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What is in effect, and the connection that a job names, also when that is not wanted now.
    fn with_connection(&self, name: &str) -> Result<(InEffectNow, SourceSpec), JobError> {
        let mut now = (self.in_effect)();
        if let Some(spec) = now.sources.iter().find(|spec| spec.name == name) {
            let spec = spec.clone();
            return Ok((now, spec));
        }
        let unknown = |problem: String| JobError::Hopeless(problem);
        let connection = self.connections(|all| all.get(name).map_err(|e| e.to_string())).map_err(unknown)?;
        let spec = source_of(&connection, &self.state_dir).map_err(|wrong| unknown(wrong.to_string()))?;
        now.sources.push(spec.clone());
        Ok((now, spec))
    }

    /// Something with the connections of the control database.
    fn connections<T>(&self, f: impl FnOnce(&mut Connections) -> Result<T, String>) -> Result<T, String> {
        let mut connections = self.connections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open = match connections.take() {
            Some(open) => open,
            None => Connections::open(&self.state_dir).map_err(|e| e.to_string())?,
        };
        f(connections.insert(open))
    }

    fn known<'a>(&'a self, now: &'a InEffectNow) -> Known<'a> {
        Known {
            sources: &now.sources,
            instruments: &now.instruments,
            holidays: &self.holidays,
            database: &self.storage.database,
        }
    }

    /// Days of the connections that say them themselves.
    fn retention_days(&self) -> Result<Vec<(String, u32)>, String> {
        let all: Vec<DataConnection> = self.connections(|all| all.list().map_err(|e| e.to_string()))?;
        Ok(all.into_iter().map(|connection| (connection.name, connection.draft.retention_days)).collect())
    }

    /// A line in the log of a connection that is kept in the control database.
    fn log(&self, name: &str, action: &str, outcome: Result<&str, &str>, metadata: serde_json::Value) {
        let (succeeded, message) = (outcome.is_ok(), outcome.unwrap_or_else(|problem| problem).to_string());
        let entry = LogEntry { at_ns: clock::machine_ns(), action: action.into(), succeeded, message, metadata };
        let logged = self.connections(|all| {
            // One of a configuration file has no log.
            let Ok(connection) = all.get(name) else { return Ok(()) };
            all.log(&connection, &entry).map_err(|e| e.to_string())
        });
        if let Err(error) = logged {
            tracing::warn!("job: the log of {name}: {error}");
        }
    }
}

/// Starts the scheduler of the engine: it does what is queued, and what is wanted without anybody asking.
pub(super) fn start(jobs: Arc<Jobs>, ground: Ground) -> Result<SchedulerHandle, JobsError> {
    let runner = Runner::scheduler(jobs.state_dir())?;
    let ground = Arc::new(ground);
    let standing: StandingNow = Box::new({
        let ground = Arc::clone(&ground);
        move || standing::of(&ground)
    });
    let (config, standing) = (ground.config.clone(), Some(standing));
    scheduler::start(scheduler::Setup { kinds: kinds(&ground, &jobs), jobs, config, runner, standing, only: None })
}

/// Has one job done in this process, where no engine runs.
///
/// # Errors
/// [`JobsError`].
pub fn start_only(jobs: Arc<Jobs>, ground: Ground, id: i64) -> Result<SchedulerHandle, JobsError> {
    let runner = Runner::new(jobs.state_dir())?;
    let ground = Arc::new(ground);
    let (config, only) = (ground.config.clone(), Some(id));
    scheduler::start(scheduler::Setup { kinds: kinds(&ground, &jobs), jobs, config, runner, standing: None, only })
}

fn kinds(ground: &Arc<Ground>, jobs: &Arc<Jobs>) -> Vec<Box<dyn JobKind>> {
    let of = || Arc::clone(ground);
    vec![
        Box::new(fetch_bars::FetchBars(of())),
        Box::new(refresh::Refresh::symbols(of(), Arc::clone(jobs))),
        Box::new(refresh::Refresh::account(of(), Arc::clone(jobs))),
        Box::new(backfill::BackfillJob(of())),
        Box::new(repair::Repair(of())),
        Box::new(retention::RetentionJob(of())),
    ]
}

/// The name of the job's connection.
fn connection_of(job: &Job) -> Result<&str, JobError> {
    let missing = || JobError::Hopeless(format!("a job {} names its connection", job.request.kind.word()));
    job.request.connection.as_deref().ok_or_else(missing)
}

fn error_of(error: BackfillError) -> JobError {
    match error {
        BackfillError::Request(text) => JobError::Hopeless(text),
        BackfillError::Stopped => JobError::Stopped,
        error @ (BackfillError::Failed(_) | BackfillError::Database(_)) => JobError::Failed(error.to_string()),
    }
}

/// Waits for what a venue or the database answers, no longer than the job may go on.
fn wait_for<T>(work: impl Future<Output = Result<T, JobError>>, watch: &Watch) -> Result<T, JobError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| JobError::Failed(format!("the runtime cannot be made: {e}")))?;
    runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            () = watch.stopped() => Err(JobError::Stopped),
        }
    })
}
