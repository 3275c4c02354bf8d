//! Deletes rows that are due.

use std::sync::Arc;

use serde_json::json;

use super::{Ground, wait_for};
use crate::clock;
use crate::control::jobs::{Job, JobError, JobKind, Kind, Outcome, Watch};
use crate::storage::client::DatabaseError;
use crate::storage::retention::{Retention, RetentionError};

pub(super) struct RetentionJob(pub(super) Arc<Ground>);

impl JobKind for RetentionJob {
    fn kind(&self) -> Kind {
        Kind::Retention
    }

    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let ground = &self.0;
        let days = ground.retention_days().map_err(JobError::Failed)?;
        let retention = Retention {
            endpoint: ground.database(watch)?,
            database: ground.storage.database.clone(),
            manifests_dir: ground.state_dir.join("manifests"),
            rules: ground.retention.rules(days),
            only: job.request.connection.clone(),
        };
        let begun_ns = clock::monotonic_ns();
        let work = async {
            let mut tell = |done, total, rows| watch.progress(done, total, Some(rows));
            retention.run(clock::now_ns(), &mut tell).await.map_err(error_of)
        };
        let deleted = wait_for(work, watch)?;
        let seconds = (clock::monotonic_ns() - begun_ns) as f64 / 1e9;
        let message = format!("{} in {seconds:.1} s", deleted.print());
        if let Some(name) = &job.request.connection {
            ground.log(name, "retention", Ok(&message), json!({ "rows": deleted.rows(), "job": job.id }));
        }
        Ok(Outcome { rows: Some(deleted.rows()), message })
    }
}

fn error_of(error: RetentionError) -> JobError {
    match error {
        RetentionError::Database(DatabaseError::Refused(text)) => JobError::Hopeless(format!("database: {text}")),
        error => JobError::Failed(error.to_string()),
    }
}
