//! Jobs: work that is done beside the prices. They are kept in the control database, so that a process that is killed
//! leaves a job that is shown as interrupted and goes on.
//!
//! A job is queued by anybody ([`Jobs::queue`]) and claimed by one process at a time: whoever runs jobs holds a locked file
//! of its own ([`Runner`]), and what it had claimed is free again as soon as the file is not locked any more, however the
//! process ended. [`schedule`] says what is due, [`scheduler`] has it done.

mod config;
mod kind;
mod runner;
pub mod schedule;
pub mod scheduler;
mod store;

pub use config::JobsConfig;
pub use kind::{JobError, JobKind, Outcome, Stop, Watch};
pub use runner::Runner;
pub use store::{Choice, Filter, Jobs, Prune};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ControlError;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[schema(as = JobKind)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Asks for the latest bars of a timeframe.
    FetchBars,
    /// Asks for the venue's list of symbols.
    RefreshSymbols,
    /// Asks for the state of the trading account.
    RefreshAccount,
    /// Asks for past bars.
    Backfill,
    /// Has a hole mended.
    Repair,
    /// Deletes rows that are due.
    Retention,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] =
        [Kind::FetchBars, Kind::RefreshSymbols, Kind::RefreshAccount, Kind::Backfill, Kind::Repair, Kind::Retention];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::FetchBars => "fetch_bars",
            Kind::RefreshSymbols => "refresh_symbols",
            Kind::RefreshAccount => "refresh_account",
            Kind::Backfill => "backfill",
            Kind::Repair => "repair",
            Kind::Retention => "retention",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether it may take hours: one worker is kept free of those.
    #[must_use]
    pub fn is_long(self) -> bool {
        self == Kind::Backfill
    }

    /// Whether it must name a connection.
    #[must_use]
    pub fn needs_connection(self) -> bool {
        !matches!(self, Kind::Retention | Kind::Repair)
    }
}

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobState)]
pub enum State {
    /// Waits, for a worker or for its next attempt.
    Queued,
    /// Is at it.
    Running,
    /// Came to its end.
    Succeeded,
    /// Was tried as often as it may be, or cannot come off at all.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, State::Queued | State::Running)
    }
}

/// What is asked of a job. Absent is what its kind does not know, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Canonical symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Word of the timeframe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeframe: Option<String>,
    /// From when, nanoseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ns: Option<i64>,
    /// Before when, nanoseconds UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ns: Option<i64>,
    /// Epoch and id of a hole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<(u32, u64)>,
}

/// A job that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it does.
    pub kind: Kind,
    /// Of which connection.
    pub connection: Option<String>,
    /// Whose private connection that is; empty for a global one, or none.
    pub owner: String,
    /// What exactly.
    pub parameters: Parameters,
    /// Who wants it: name of a user, or `schedule`, `activation`, `command line`.
    pub requested_by: String,
}

/// By whom jobs are wanted that nobody asked for by hand.
pub const SCHEDULE: &str = "schedule";

/// By whom the first backfill of a connection is wanted.
pub const ACTIVATION: &str = "activation";

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Given once and never reused.
    pub id: i64,
    /// What was wanted.
    pub request: Request,
    /// Where it is on its way.
    pub state: State,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Of which the last one's failure is final.
    pub attempts_max: u32,
    /// How far it is, in a unit of its own, and when it will be over.
    pub progress: Option<Progress>,
    /// What came of it, or what it waits for, in words.
    pub message: Option<String>,
    /// Rows that it stored, or deleted.
    pub rows: Option<u64>,
    /// When it was queued, nanoseconds UTC.
    pub queued_ns: i64,
    /// When its last attempt began.
    pub started_ns: Option<i64>,
    /// When it ended.
    pub finished_ns: Option<i64>,
    /// While it waits: not before.
    pub next_ns: i64,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Of `total` so much is done.
    pub done: u64,
    /// All there is to do.
    pub total: u64,
    /// What was done when this attempt began.
    pub begun: u64,
}

impl Job {
    /// Seconds after which it will be over if it goes on as in this attempt; `None` before there is anything to go by.
    #[must_use]
    pub fn eta_s(&self, now_ns: i64) -> Option<u64> {
        let (Progress { done, total, begun }, started_ns) = (self.progress?, self.started_ns?);
        let passed_s = u64::try_from(now_ns.saturating_sub(started_ns)).ok()? / 1_000_000_000;
        let did = done.checked_sub(begun).filter(|did| *did > 0 && self.state == State::Running)?;
        u64::try_from(u128::from(total.saturating_sub(done)) * u128::from(passed_s) / u128::from(did)).ok()
    }
}

/// Why something about a job was not done.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(i64),
    /// More would wait than there is room for.
    #[error("{0} jobs wait already: cancel some, or wait until they are done")]
    Full(u32),
    /// The folder of the files that say who runs jobs.
    #[error("{0}")]
    Runner(String),
}
