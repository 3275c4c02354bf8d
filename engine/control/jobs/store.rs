//! Where jobs are kept.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::Value as Json;

use super::runner::is_alive;
use super::schedule::{Schedule, Subject};
use super::{Job, JobError, JobsError, Kind, Outcome, Progress, Request, State};
use crate::control::ControlError;
use crate::control::database::Database;

/// Jobs that may wait or run at a time.
const OPEN_MAX: u32 = 10_000;

/// The jobs of a state directory; shared by whoever queues, runs and shows them.
pub struct Jobs {
    state_dir: PathBuf,
    database: Mutex<Database>,
    schedules: Mutex<Vec<(Schedule, Option<i64>)>>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jobs({})", self.state_dir.display())
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one kind.
    pub kind: Option<Kind>,
    /// In one state.
    pub state: Option<State>,
    /// Of one connection.
    pub connection: Option<String>,
    /// Those with a smaller id.
    pub before: Option<i64>,
    /// Of connections of this owner, and of global ones; `None`: all.
    pub seen_by: Option<String>,
}

/// What is forgotten of jobs that are over.
#[derive(Debug, Clone, Copy)]
pub struct Prune {
    /// What ended before, nanoseconds UTC.
    pub before_ns: i64,
    /// Of `fetch_bars`, which come every minute, so many are kept of each connection.
    pub polls: u32,
}

impl Jobs {
    /// Opens them.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn open(state_dir: &Path) -> Result<Jobs, JobsError> {
        let database = Mutex::new(Database::open(state_dir)?);
        Ok(Jobs { state_dir: state_dir.into(), database, schedules: Mutex::default() })
    }

    /// Where they are.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something in one transaction, which no other process's comes between.
    fn all_or_nothing<T>(&self, f: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, ControlError> {
        self.database().run(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = f(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// Queues a job. Where the very same already waits or runs, that one.
    ///
    /// # Errors
    /// [`JobsError::Full`] or [`JobsError::Control`].
    pub fn queue(&self, request: &Request, attempts_max: u32, now_ns: i64) -> Result<Job, JobsError> {
        let parameters = serde_json::to_string(&request.parameters).unwrap_or_default();
        let connection = request.connection.as_deref().unwrap_or_default();
        let (symbol, timeframe) = (request.parameters.symbol.as_deref(), request.parameters.timeframe.as_deref());
        let queued = self.all_or_nothing(|db| {
            let same = format!("{SELECT} WHERE state IN ('queued', 'running') AND kind = ?1 AND connection = ?2 AND parameters = ?3");
            let found = db.query_row(&same, params![request.kind.word(), connection, parameters], read).optional()?;
            if found.is_some() {
                return Ok(found);
            }
            let open = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')";
            if db.query_row(open, [], |row| row.get::<_, u32>(0))? >= OPEN_MAX {
                return Ok(None);
            }
            db.execute(
                "INSERT INTO jobs (kind, connection, owner, symbol, timeframe, parameters, state, attempts, attempts_max, \
                 requested_by, queued_ns, next_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', 0, ?7, ?8, ?9, ?9)",
                params![
                    request.kind.word(),
                    connection,
                    request.owner,
                    symbol.unwrap_or_default(),
                    timeframe.unwrap_or_default(),
                    parameters,
                    attempts_max,
                    request.requested_by,
                    now_ns
                ],
            )?;
            one(db, db.last_insert_rowid())
        })?;
        queued.ok_or(JobsError::Full(OPEN_MAX))
    }

    /// One of them.
    ///
    /// # Errors
    /// [`JobsError::Unknown`] or [`JobsError::Control`].
    pub fn get(&self, id: i64) -> Result<Job, JobsError> {
        self.database().run(|db| one(db, id))?.ok_or(JobsError::Unknown(id))
    }

    /// Newest first, at most `limit`.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn list(&self, filter: &Filter, limit: u32) -> Result<Vec<Job>, JobsError> {
        let Filter { kind, state, connection, before, seen_by } = filter;
        let sql = format!(
            "{SELECT} WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR connection = ?3) \
             AND (?4 IS NULL OR id < ?4) AND (?5 IS NULL OR owner = ?5 OR owner = '') ORDER BY id DESC LIMIT ?6"
        );
        Ok(self.database().run(|db| {
            let mut statement = db.prepare(&sql)?;
            let given = params![kind.map(Kind::word), state.map(State::word), connection, before, seen_by, limit];
            statement.query_map(given, read)?.collect()
        })?)
    }

    /// Whether the same subject waits or runs.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn is_open(&self, subject: &Subject) -> Result<bool, JobsError> {
        let sql = "SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND kind = ?1 AND connection = ?2 AND timeframe = ?3";
        let found = self.database().run(|db| db.query_row(sql, key(subject), |_| Ok(())).optional())?;
        Ok(found.is_some())
    }

    /// When the schedule last queued something of a subject, and what came of it.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn last_of(&self, subject: &Subject) -> Result<Option<(i64, State)>, JobsError> {
        let sql = "SELECT queued_ns, state FROM jobs WHERE kind = ?1 AND connection = ?2 AND timeframe = ?3 \
                   AND requested_by = 'schedule' ORDER BY id DESC LIMIT 1";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let found = self.database().run(|db| db.query_row(sql, key(subject), read).optional())?;
        Ok(found.and_then(|(at_ns, state)| Some((at_ns, State::from_word(&state)?))))
    }

    /// The last retention job that came to its end.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn last_succeeded(&self, kind: Kind) -> Result<Option<Job>, JobsError> {
        let sql = format!("{SELECT} WHERE kind = ?1 AND state = 'succeeded' ORDER BY id DESC LIMIT 1");
        Ok(self.database().run(|db| db.query_row(&sql, params![kind.word()], read).optional())?)
    }

    /// What a job that waits is stopped by at once, and one that runs soon. One that is over stays as it is.
    ///
    /// # Errors
    /// [`JobsError::Unknown`] or [`JobsError::Control`].
    pub fn cancel(&self, id: i64, now_ns: i64) -> Result<Job, JobsError> {
        let job = self.all_or_nothing(|db| {
            let waits = "UPDATE jobs SET state = 'cancelled', finished_ns = ?2, message = 'cancelled before it began' \
                         WHERE id = ?1 AND state = 'queued'";
            if db.execute(waits, params![id, now_ns])? == 0 {
                db.execute("UPDATE jobs SET is_cancelled = 1 WHERE id = ?1 AND state = 'running'", params![id])?;
            }
            one(db, id)
        })?;
        job.ok_or(JobsError::Unknown(id))
    }

    /// Takes the oldest job that is due and of which no other like it runs, for `runner`.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn claim(&self, runner: &str, now_ns: i64, choice: Choice) -> Result<Option<Job>, JobsError> {
        let due = "SELECT id FROM jobs AS j WHERE state = 'queued' AND next_ns <= ?1 AND (?2 IS NULL OR id = ?2) \
                   AND (?3 OR kind != 'backfill') AND NOT EXISTS (SELECT 1 FROM jobs AS r WHERE r.state = 'running' \
                   AND r.kind = j.kind AND r.connection = j.connection AND r.symbol = j.symbol AND r.timeframe = j.timeframe) \
                   ORDER BY next_ns, id LIMIT 1";
        Ok(self.all_or_nothing(|db| {
            let given = params![now_ns, choice.only, choice.long];
            let Some(id) = db.query_row(due, given, |row| row.get::<_, i64>(0)).optional()? else { return Ok(None) };
            db.execute(
                "UPDATE jobs SET state = 'running', runner = ?2, attempts = attempts + 1, started_ns = ?3, begun = done \
                 WHERE id = ?1",
                params![id, runner, now_ns],
            )?;
            one(db, id)
        })?)
    }

    /// Those that a runner is to stop.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn cancelled(&self, runner: &str) -> Result<Vec<i64>, JobsError> {
        let sql = "SELECT id FROM jobs WHERE state = 'running' AND is_cancelled = 1 AND runner = ?1";
        Ok(self.database().run(|db| {
            let mut statement = db.prepare(sql)?;
            statement.query_map(params![runner], |row| row.get(0))?.collect()
        })?)
    }

    pub(super) fn progress(&self, id: i64, done: u64, total: u64, rows: Option<u64>) -> Result<(), JobsError> {
        let sql = "UPDATE jobs SET done = ?2, total = ?3, rows = ifnull(?4, rows), begun = ifnull(begun, ?2), \
                   message = NULL WHERE id = ?1 AND state = 'running'";
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let given = params![id, number(done), number(total), rows.map(number)];
        self.database().run(|db| db.execute(sql, given))?;
        Ok(())
    }

    pub(super) fn note(&self, id: i64, message: &str) -> Result<(), JobsError> {
        let sql = "UPDATE jobs SET message = ?2 WHERE id = ?1 AND state = 'running'";
        self.database().run(|db| db.execute(sql, params![id, message]))?;
        Ok(())
    }

    /// Writes down what came of an attempt. `again_ns` is when it would be tried again.
    ///
    /// # Errors
    /// [`JobsError::Unknown`] or [`JobsError::Control`].
    pub fn finish(
        &self,
        job: &Job,
        came: &Result<Outcome, JobError>,
        now_ns: i64,
        again_ns: i64,
    ) -> Result<Job, JobsError> {
        let is_last = job.attempts >= job.attempts_max;
        let id = job.id;
        let finished = self.all_or_nothing(|db| {
            let end = "UPDATE jobs SET state = ?2, message = ?3, rows = ifnull(?4, rows), finished_ns = ?5, runner = NULL, \
                       done = CASE WHEN ?2 = 'succeeded' THEN total ELSE done END WHERE id = ?1";
            let wait = "UPDATE jobs SET state = 'queued', message = ?2, next_ns = ?3, attempts = attempts - ?4, runner = NULL \
                        WHERE id = ?1";
            let none: Option<i64> = None;
            match came {
                Ok(Outcome { rows, message }) => {
                    let rows = rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
                    db.execute(end, params![id, "succeeded", message, rows, now_ns])?
                }
                Err(JobError::Stopped) => {
                    let sql = "SELECT is_cancelled FROM jobs WHERE id = ?1";
                    match db.query_row(sql, params![id], |row| row.get(0))? {
                        true => db.execute(end, params![id, "cancelled", "cancelled while it ran", none, now_ns])?,
                        // The attempt does not count: nothing was wrong with it.
                        false => db.execute(wait, params![id, "the engine stopped; goes on when it runs", now_ns, 1])?,
                    }
                }
                Err(JobError::Failed(text)) if !is_last => db.execute(wait, params![id, text, again_ns, 0])?,
                Err(JobError::Failed(text) | JobError::Hopeless(text)) => {
                    db.execute(end, params![id, "failed", text, none, now_ns])?
                }
            };
            one(db, id)
        })?;
        finished.ok_or(JobsError::Unknown(id))
    }

    /// Takes back what processes had claimed that are not there any more: it waits again, or has failed where that happened
    /// too often. Returns those jobs.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn take_back(&self, mine: Option<&str>, now_ns: i64) -> Result<Vec<Job>, JobsError> {
        let running: Vec<(i64, String)> = self.database().run(|db| {
            let mut statement = db.prepare("SELECT id, ifnull(runner, '') FROM jobs WHERE state = 'running'")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        let mut taken = Vec::new();
        for (id, runner) in running {
            if mine == Some(&runner) || is_alive(&self.state_dir, &runner) {
                continue;
            }
            let job = self.all_or_nothing(|db| {
                let wait = "UPDATE jobs SET state = 'queued', message = 'interrupted: the process that ran it ended; goes on', \
                            next_ns = ?3, runner = NULL WHERE id = ?1 AND runner = ?2 AND state = 'running' \
                            AND is_cancelled = 0 AND attempts < attempts_max";
                let end = "UPDATE jobs SET state = CASE is_cancelled WHEN 1 THEN 'cancelled' ELSE 'failed' END, \
                           message = 'interrupted: the process that ran it ended, after ' || attempts || ' attempts', \
                           finished_ns = ?3, runner = NULL WHERE id = ?1 AND runner = ?2 AND state = 'running'";
                // Another process may have been quicker.
                let given = params![id, runner, now_ns];
                if db.execute(wait, given)? + db.execute(end, given)? == 0 { Ok(None) } else { one(db, id) }
            })?;
            taken.extend(job);
        }
        Ok(taken)
    }

    /// Takes back what this very process had claimed and did not finish: it has only just begun to run jobs.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn take_back_all_of(&self, runner: &str, now_ns: i64) -> Result<Vec<Job>, JobsError> {
        // The same name as before, and the file is ours now: whoever had it is gone.
        let sql = "UPDATE jobs SET runner = 'gone' WHERE state = 'running' AND runner = ?1";
        self.database().run(|db| db.execute(sql, params![runner]))?;
        self.take_back(Some(runner), now_ns)
    }

    /// Forgets jobs that are over; how many. The newest of each subject stays.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn prune(&self, prune: Prune) -> Result<usize, JobsError> {
        let old = "DELETE FROM jobs WHERE finished_ns < ?1 AND state IN ('succeeded', 'failed', 'cancelled') \
                   AND id NOT IN (SELECT max(id) FROM jobs GROUP BY kind, connection, timeframe)";
        let polls = "DELETE FROM jobs WHERE id IN (SELECT id FROM (SELECT id, kind, state, row_number() OVER \
                     (PARTITION BY connection, timeframe ORDER BY id DESC) AS nth FROM jobs WHERE kind = 'fetch_bars') \
                     WHERE nth > ?1 AND state IN ('succeeded', 'failed', 'cancelled'))";
        Ok(self.all_or_nothing(|db| {
            Ok(db.execute(old, params![prune.before_ns])? + db.execute(polls, params![prune.polls])?)
        })?)
    }

    /// Keeps what a venue said of its `symbols` or the `account`.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn keep_answer(&self, connection: &str, subject: &str, answer: &Json, now_ns: i64) -> Result<(), JobsError> {
        let sql = "INSERT INTO venue_answers (connection, subject, at_ns, answer) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET at_ns = excluded.at_ns, answer = excluded.answer";
        self.database().run(|db| db.execute(sql, params![connection, subject, now_ns, answer.to_string()]))?;
        Ok(())
    }

    /// What a venue last said of its `symbols` or the `account`, and when, nanoseconds UTC.
    ///
    /// # Errors
    /// [`JobsError::Control`].
    pub fn last_answer(&self, connection: &str, subject: &str) -> Result<Option<(i64, Json)>, JobsError> {
        let sql = "SELECT at_ns, answer FROM venue_answers WHERE connection = ?1 AND subject = ?2";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let found = self.database().run(|db| db.query_row(sql, params![connection, subject], read).optional())?;
        Ok(found.and_then(|(at_ns, text)| Some((at_ns, serde_json::from_str(&text).ok()?))))
    }

    /// Queues the first backfill of a pair and a timeframe, if it was not yet.
    ///
    /// # Errors
    /// [`JobsError::Full`] or [`JobsError::Control`].
    pub fn queue_first(&self, request: &Request, attempts_max: u32, now_ns: i64) -> Result<Option<Job>, JobsError> {
        let of = [&request.connection, &request.parameters.symbol, &request.parameters.timeframe];
        let of = of.map(|word| word.as_deref().unwrap_or_default());
        let known = "SELECT 1 FROM first_backfills WHERE connection = ?1 AND symbol = ?2 AND timeframe = ?3";
        if self.database().run(|db| db.query_row(known, of, |_| Ok(())).optional())?.is_some() {
            return Ok(None);
        }
        // Killed in between it is queued again: as one that is already there, or as one that finds everything done.
        let job = self.queue(request, attempts_max, now_ns)?;
        let sql = "INSERT OR IGNORE INTO first_backfills (connection, symbol, timeframe, job) VALUES (?1, ?2, ?3, ?4)";
        self.database().run(|db| db.execute(sql, params![of[0], of[1], of[2], job.id]))?;
        Ok(Some(job))
    }

    /// Shows what is done again and again, and when next.
    pub fn show_schedules(&self, schedules: Vec<(Schedule, Option<i64>)>) {
        *self.schedules.lock().unwrap_or_else(PoisonError::into_inner) = schedules;
    }

    /// What is done again and again, and when next, nanoseconds UTC; nothing in a process that does not run the scheduler.
    #[must_use]
    pub fn schedules(&self) -> Vec<(Schedule, Option<i64>)> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Which jobs may be claimed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice {
    /// This one.
    pub only: Option<i64>,
    /// Those too that may take hours.
    pub long: bool,
}

fn key(subject: &Subject) -> [&str; 3] {
    [
        subject.kind.word(),
        subject.connection.as_deref().unwrap_or_default(),
        subject.timeframe.as_deref().unwrap_or_default(),
    ]
}

const SELECT: &str = "SELECT id, kind, connection, owner, parameters, requested_by, state, attempts, attempts_max, begun, done, \
                      total, message, rows, queued_ns, started_ns, finished_ns, next_ns FROM jobs";

fn one(db: &rusqlite::Connection, id: i64) -> rusqlite::Result<Option<Job>> {
    db.query_row(&format!("{SELECT} WHERE id = ?1"), params![id], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    let unreadable = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (kind, state) = (row.get::<_, String>(1)?, row.get::<_, String>(6)?);
    let parameters = serde_json::from_str(&row.get::<_, String>(4)?).map_err(|e| unreadable(4, e.into()))?;
    let count = |column| row.get::<_, Option<i64>>(column).map(|n| n.and_then(|n| u64::try_from(n).ok()));
    let progress = match (count(9)?, count(10)?, count(11)?) {
        (begun, Some(done), Some(total)) => Some(Progress { done, total, begun: begun.unwrap_or(0) }),
        _ => None,
    };
    Ok(Job {
        id: row.get(0)?,
        request: Request {
            kind: Kind::from_word(&kind).ok_or_else(|| unreadable(1, "no such kind".into()))?,
            connection: Some(row.get::<_, String>(2)?).filter(|name| !name.is_empty()),
            owner: row.get(3)?,
            parameters,
            requested_by: row.get(5)?,
        },
        state: State::from_word(&state).ok_or_else(|| unreadable(6, "no such state".into()))?,
        attempts: row.get(7)?,
        attempts_max: row.get(8)?,
        progress,
        message: row.get(12)?,
        rows: count(13)?,
        queued_ns: row.get(14)?,
        started_ns: row.get(15)?,
        finished_ns: row.get(16)?,
        next_ns: row.get(17)?,
    })
}

#[cfg(test)]
mod tests;
