//! Has a hole mended that could not be, or waits: the thread that mends holes is asked once more, and what becomes of the
//! hole is read in the ledger.

use std::sync::Arc;
use std::time::Duration;

use super::{Ground, wait_for};
use crate::control::jobs::{Job, JobError, JobKind, Kind, Outcome, Watch};
use crate::storage::Mode;
use crate::storage::client::{self, DatabaseError, database_of};
use crate::storage::rows::Audience;

/// How long the ledger is watched for an end (a worker is busy with it so long), and how often it is looked at.
const WATCHED: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Repair(pub(super) Arc<Ground>);

impl JobKind for Repair {
    fn kind(&self) -> Kind {
        Kind::Repair
    }

    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let Some((epoch, id)) = job.request.parameters.gap else {
            return Err(JobError::Hopeless("a repair names the epoch and the id of a hole".into()));
        };
        let retry = self.0.retry_gap.as_ref().ok_or_else(|| {
            JobError::Hopeless("holes are mended by the running engine, with repair.enabled; here it is not".into())
        })?;
        let before =
            if self.0.storage.mode == Mode::Off { None } else { wait_for(self.last(epoch, id, watch), watch)? };
        if let Some((state, _)) = &before
            && state == "repaired"
        {
            return Ok(Outcome { rows: None, message: "it is repaired already".into() });
        }
        if !retry(epoch, id) {
            return Err(JobError::Failed("the thread that mends holes has no time for it now".into()));
        }
        let Some(before) = before else {
            return Ok(Outcome { rows: None, message: "asked for; the list of holes says what becomes of it".into() });
        };
        wait_for(self.end(epoch, id, before, watch), watch)
    }
}

/// State of a hole, and which row says so.
type Said = (String, String);

impl Repair {
    /// The newest row of the hole.
    async fn last(&self, epoch: u32, id: u64, watch: &Watch) -> Result<Option<Said>, JobError> {
        let endpoint = self.0.database(watch)?;
        let sql = format!(
            "SELECT state, concat(toString(epoch), ':', toString(seq)) FROM gaps WHERE epoch_opened = {epoch} AND gap_id = {id} \
             ORDER BY gaps.epoch DESC, seq DESC LIMIT 1"
        );
        for audience in [Audience::Global, Audience::Private] {
            let client = endpoint.client().with_database(database_of(&self.0.storage.database, audience));
            let text = client::query(&client, &sql, "TabSeparated").await.map_err(|error| match error {
                DatabaseError::Again(text) | DatabaseError::Refused(text) => {
                    JobError::Failed(format!("database: {text}"))
                }
            })?;
            if let Some((state, row)) = text.trim().split_once('\t') {
                return Ok(Some((state.into(), row.into())));
            }
        }
        Ok(None)
    }

    async fn end(&self, epoch: u32, id: u64, before: Said, watch: &Watch) -> Result<Outcome, JobError> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < WATCHED {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(now) = self.last(epoch, id, watch).await? else { continue };
            if now == before {
                continue;
            }
            match now.0.as_str() {
                "repaired" => return Ok(Outcome { rows: None, message: "repaired".into() }),
                "lost" => return Err(JobError::Hopeless("lost: the venue does not have it, or did not answer".into())),
                state => watch.note(state),
            }
        }
        let message = "asked for; nothing came of it yet; the list of holes says what becomes of it";
        Ok(Outcome { rows: None, message: message.into() })
    }
}
