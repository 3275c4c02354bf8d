//! What a kind of job is: something that can be done, watched and stopped.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Job, Jobs, Kind};
use crate::clock;

/// How often at most progress is written down.
const TELL_EVERY_NS: i64 = 300_000_000;

/// Does the jobs of one kind. Implementations block: they run on a thread of their own.
pub trait JobKind: Send + Sync {
    /// Which.
    fn kind(&self) -> Kind;

    /// Does one. Begun again after it was interrupted it goes on, or does again what leaves the same.
    ///
    /// # Errors
    /// [`JobError`].
    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError>;
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Rows stored or deleted, where that is what it does.
    pub rows: Option<u64>,
    /// In words.
    pub message: String,
}

/// Why a job did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// It may go better the next time.
    Failed(String),
    /// It will not: what was asked for makes no sense.
    Hopeless(String),
    /// It was told to stop.
    Stopped,
}

/// Whether a job is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is not.
    No,
    /// Nobody wants it any more.
    Cancelled,
    /// The process ends; it goes on another time.
    Ending,
}

/// What a running job tells of itself, and is told.
#[derive(Debug)]
pub struct Watch {
    jobs: Arc<Jobs>,
    id: i64,
    stop: watch::Receiver<Stop>,
    told_ns: Cell<i64>,
}

impl Watch {
    pub(super) fn new(jobs: Arc<Jobs>, id: i64, stop: watch::Receiver<Stop>) -> Watch {
        Watch { jobs, id, stop, told_ns: Cell::new(i64::MIN) }
    }

    /// Tells how far it is. Not every call is written down; the end is told by what comes of the job.
    pub fn progress(&self, done: u64, total: u64, rows: Option<u64>) {
        let now_ns = clock::monotonic_ns();
        if now_ns.saturating_sub(self.told_ns.get()) < TELL_EVERY_NS {
            return;
        }
        self.told_ns.set(now_ns);
        if let Err(error) = self.jobs.progress(self.id, done, total, rows) {
            tracing::warn!(job = self.id, "job: {error}");
        }
    }

    /// Tells what it waits for.
    pub fn note(&self, message: &str) {
        if let Err(error) = self.jobs.note(self.id, message) {
            tracing::warn!(job = self.id, "job: {error}");
        }
    }

    /// Whether it is to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Returns when it is to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        async move {
            // Without anybody who could say so it is to stop too.
            let _ = stop.wait_for(|stop| *stop != Stop::No).await;
        }
    }
}
