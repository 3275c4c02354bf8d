//! Has jobs done: the thread `tw-jobs`, which queues what is due and starts a thread for each job that it claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::watch;

use super::schedule::{Planner, Schedule};
use super::{
    ACTIVATION, Choice, Job, JobError, JobKind, Jobs, JobsConfig, JobsError, Outcome, Parameters, Prune, Request,
    Runner, SCHEDULE, State, Stop, Watch,
};
use crate::clock;

/// How often it looks for jobs, and for some that are to stop.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Every so many looks it plans, and looks for processes that ended.
const PLAN_EVERY: u32 = 4;

/// Every so many looks it forgets.
const PRUNE_EVERY: u32 = 4 * 60 * 10;

/// Of jobs that come every minute so many are kept of each connection and timeframe.
const POLLS_KEPT: u32 = 100;

/// A pair and a timeframe whose past is wanted once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstBackfill {
    /// The connection.
    pub connection: String,
    /// Whose private one it is.
    pub owner: String,
    /// Canonical symbol.
    pub symbol: String,
    /// Word of the timeframe.
    pub timeframe: String,
}

/// What is wanted without anybody asking.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Again and again.
    pub schedules: Vec<Schedule>,
    /// Once.
    pub first: Vec<FirstBackfill>,
}

/// Says what is wanted now.
pub type StandingNow = Box<dyn Fn() -> Standing + Send>;

/// What it takes.
pub struct Setup {
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// Who does them.
    pub kinds: Vec<Box<dyn JobKind>>,
    /// The section `[jobs]`.
    pub config: JobsConfig,
    /// In whose name.
    pub runner: Runner,
    /// What is wanted without anybody asking; `None`: nothing.
    pub standing: Option<StandingNow>,
    /// This job alone.
    pub only: Option<i64>,
}

/// The running scheduler.
pub struct SchedulerHandle {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl SchedulerHandle {
    /// Tells running jobs to stop, and waits for them. They go on another time.
    pub fn stop(self) {
        let _ = self.stop.try_send(());
        // A panic aborts the process, so there is nothing to learn from the result.
        let _ = self.thread.join();
    }
}

/// Starts it. What an earlier process left claimed waits again when this returns.
///
/// # Errors
/// [`JobsError`], also when the thread cannot be started.
pub fn start(setup: Setup) -> Result<SchedulerHandle, JobsError> {
    let taken = setup.jobs.take_back_all_of(setup.runner.name(), clock::machine_ns())?;
    taken.iter().for_each(told_interrupted);
    let (stop, stopped) = bounded(1);
    let (ended, ends) = bounded(setup.config.workers);
    let scheduler = Scheduler {
        kinds: setup.kinds.into_iter().map(|kind| (kind.kind(), Arc::from(kind))).collect(),
        jobs: setup.jobs,
        config: setup.config,
        runner: setup.runner,
        standing: setup.standing,
        only: setup.only,
        planner: Planner::default(),
        running: BTreeMap::new(),
        ended,
        ends,
    };
    let thread = std::thread::Builder::new().name("tw-jobs".into()).spawn(move || scheduler.run(&stopped));
    Ok(SchedulerHandle { stop, thread: thread.map_err(|e| JobsError::Runner(format!("a thread for jobs: {e}")))? })
}

/// A job under way.
struct Worker {
    stop: watch::Sender<Stop>,
    thread: JoinHandle<()>,
    is_long: bool,
}

struct Scheduler {
    jobs: Arc<Jobs>,
    kinds: BTreeMap<super::Kind, Arc<dyn JobKind>>,
    config: JobsConfig,
    runner: Runner,
    standing: Option<StandingNow>,
    only: Option<i64>,
    planner: Planner,
    running: BTreeMap<i64, Worker>,
    /// Workers tell here that they are done: as much room as there are workers.
    ended: Sender<i64>,
    ends: Receiver<i64>,
}

impl Scheduler {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut look = 0_u32;
        loop {
            crossbeam::select! {
                recv(stopped) -> _ => break,
                recv(self.ends) -> id => if let Ok(id) = id {
                    self.end(id);
                },
                default(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look(look) {
                tracing::warn!("jobs: {error}");
            }
            look = look.wrapping_add(1);
        }
        for worker in self.running.values() {
            worker.stop.send_replace(Stop::Ending);
        }
        for worker in std::mem::take(&mut self.running).into_values() {
            let _ = worker.thread.join();
        }
    }

    fn look(&mut self, look: u32) -> Result<(), JobsError> {
        let now_ns = clock::machine_ns();
        if look.is_multiple_of(PLAN_EVERY) {
            self.jobs.take_back(Some(self.runner.name()), now_ns)?.iter().for_each(told_interrupted);
            self.plan(now_ns)?;
        }
        if look.is_multiple_of(PRUNE_EVERY) && self.only.is_none() {
            let before_ns = now_ns - i64::from(self.config.history_days) * 86_400_000_000_000;
            self.jobs.prune(Prune { before_ns, polls: POLLS_KEPT })?;
        }
        if !self.running.is_empty() {
            for id in self.jobs.cancelled(self.runner.name())? {
                if let Some(worker) = self.running.get(&id) {
                    worker.stop.send_replace(Stop::Cancelled);
                }
            }
        }
        while self.running.len() < self.config.workers {
            // One worker is kept for what is soon done.
            let long = self.running.values().filter(|worker| worker.is_long).count() + 1 < self.config.workers;
            let choice = Choice { only: self.only, long };
            let Some(job) = self.jobs.claim(self.runner.name(), now_ns, choice)? else { break };
            self.begin(job);
        }
        Ok(())
    }

    /// Queues what is due, and what a new connection wants first of all.
    fn plan(&mut self, now_ns: i64) -> Result<(), JobsError> {
        let Some(standing) = &self.standing else { return Ok(()) };
        let Standing { schedules, first } = standing();
        self.planner.keep(&schedules);
        for schedule in &schedules {
            let subject = &schedule.subject;
            if !self.planner.knows(subject) {
                let last = self.jobs.last_of(subject)?;
                self.planner.meet(subject, last.map(|(at_ns, _)| at_ns), now_ns);
            }
            // One that is still at it when the next would begin is not joined by another.
            if !self.planner.take(schedule, now_ns) || self.jobs.is_open(subject)? {
                continue;
            }
            let request = Request {
                kind: subject.kind,
                connection: subject.connection.clone(),
                owner: schedule.owner.clone(),
                parameters: Parameters { timeframe: subject.timeframe.clone(), ..Parameters::default() },
                requested_by: SCHEDULE.into(),
            };
            self.jobs.queue(&request, self.config.attempts, now_ns)?;
        }
        for FirstBackfill { connection, owner, symbol, timeframe } in first {
            let days_ns = i64::from(self.config.backfill_days) * 86_400_000_000_000;
            let parameters = Parameters {
                symbol: Some(symbol),
                timeframe: Some(timeframe),
                from_ns: Some(now_ns - now_ns.rem_euclid(86_400_000_000_000) - days_ns),
                to_ns: Some(now_ns),
                gap: None,
            };
            let (connection, requested_by) = (Some(connection), ACTIVATION.into());
            let request = Request { kind: super::Kind::Backfill, connection, owner, parameters, requested_by };
            self.jobs.queue_first(&request, self.config.attempts, now_ns)?;
        }
        let next = |schedule: Schedule| {
            let next_ns = self.planner.next_ns(&schedule);
            (schedule, next_ns)
        };
        self.jobs.show_schedules(schedules.into_iter().map(next).collect());
        Ok(())
    }

    fn begin(&mut self, job: Job) {
        let (id, kind) = (job.id, job.request.kind);
        let (stop, told) = watch::channel(Stop::No);
        let (jobs, config, ended) = (Arc::clone(&self.jobs), self.config.clone(), self.ended.clone());
        let doer = self.kinds.get(&kind).cloned();
        let work = move || {
            attempt(&jobs, &config, doer.as_deref(), &job, told);
            // There is room for every worker.
            let _ = ended.try_send(id);
        };
        match std::thread::Builder::new().name(format!("tw-job-{id}")).spawn(work) {
            Ok(thread) => drop(self.running.insert(id, Worker { stop, thread, is_long: kind.is_long() })),
            // It stays claimed, and is taken back when this process ends.
            Err(error) => tracing::error!(job = id, "job: a thread cannot be started: {error}"),
        }
    }

    fn end(&mut self, id: i64) {
        if let Some(worker) = self.running.remove(&id) {
            let _ = worker.thread.join();
        }
    }
}

/// One attempt, and what came of it, in the database and in the log.
fn attempt(jobs: &Arc<Jobs>, config: &JobsConfig, doer: Option<&dyn JobKind>, job: &Job, told: watch::Receiver<Stop>) {
    let Request { kind, connection, .. } = &job.request;
    let (id, connection) = (job.id, connection.as_deref().unwrap_or_default());
    let begun_ns = clock::monotonic_ns();
    let came = match doer {
        Some(doer) => doer.run(job, &Watch::new(Arc::clone(jobs), id, told)),
        None => Err(JobError::Hopeless("nothing does this kind of job here".into())),
    };
    let now_ns = clock::machine_ns();
    let again_ns = now_ns.saturating_add(config.backoff_ns(job.attempts, fastrand::f64()));
    let ms = (clock::monotonic_ns() - begun_ns) / 1_000_000;
    let finished = match jobs.finish(job, &came, now_ns, again_ns) {
        Ok(finished) => finished,
        Err(error) => return tracing::error!(job = id, "job: what came of it cannot be written down: {error}"),
    };
    let (kind, message) = (kind.word(), finished.message.as_deref().unwrap_or_default());
    match &came {
        Ok(Outcome { rows, .. }) => tracing::info!(job = id, kind, connection, rows, ms, "job: {message}"),
        Err(_) if finished.state == State::Failed => {
            tracing::error!(job = id, kind, connection, ms, "job failed: {message}");
        }
        Err(_) => tracing::warn!(job = id, kind, connection, ms, state = finished.state.word(), "job: {message}"),
    }
}

fn told_interrupted(job: &Job) {
    let (kind, message) = (job.request.kind.word(), job.message.as_deref().unwrap_or_default());
    tracing::warn!(job = job.id, kind, state = job.state.word(), "job: {message}");
}
