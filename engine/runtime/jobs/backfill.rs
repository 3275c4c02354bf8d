//! A venue's past bars into the database, on from where an earlier attempt was.

use std::sync::Arc;

use serde_json::json;

use super::{Ground, connection_of, error_of};
use crate::control::jobs::{Job, JobError, JobKind, Kind, Outcome, Watch};
use crate::runtime::backfill::{Backfill, BackfillReport, BackfillRequest, Told, Wanted};

pub(super) struct BackfillJob(pub(super) Arc<Ground>);

impl JobKind for BackfillJob {
    fn kind(&self) -> Kind {
        Kind::Backfill
    }

    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let name = connection_of(job)?;
        let came = self.fetch(name, job, watch);
        match &came {
            Ok(Outcome { rows, message }) => {
                self.0.log(name, "backfill", Ok(message), json!({ "rows": rows, "job": job.id }))
            }
            Err(JobError::Failed(text) | JobError::Hopeless(text)) => {
                self.0.log(name, "backfill", Err(text), json!({ "job": job.id }));
            }
            Err(JobError::Stopped) => {}
        }
        came
    }
}

impl BackfillJob {
    fn fetch(&self, name: &str, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let ground = &self.0;
        let asked = &job.request.parameters;
        let missing = |what: &str| JobError::Hopeless(format!("a backfill names its {what}"));
        let (now, _) = ground.with_connection(name)?;
        let request = BackfillRequest {
            connection: name.into(),
            symbol: asked.symbol.clone().ok_or_else(|| missing("symbol"))?,
            wanted: Wanted::Bars(asked.timeframe.clone().ok_or_else(|| missing("timeframe"))?),
            from_ns: asked.from_ns.ok_or_else(|| missing("beginning"))?,
            to_ns: asked.to_ns.ok_or_else(|| missing("end"))?,
        };
        let from_ns = request.from_ns;
        let backfill = Backfill::of(ground.known(&now), request).map_err(error_of)?;
        let endpoint = ground.database(watch)?;
        let mut tell = |told: Told<'_>| match told {
            Told::Note(note) => watch.note(note),
            Told::Progress(progress, until_ns) => {
                // In seconds of the past.
                let seconds = |to_ns: i64| u64::try_from((to_ns - from_ns) / 1_000_000_000).unwrap_or(0);
                watch.progress(seconds(progress.done_ns), seconds(until_ns), Some(progress.rows));
            }
        };
        let done = backfill.run_until(&ground.state_dir, &endpoint, ground.hosts.clone(), watch.stopped(), &mut tell);
        let BackfillReport { progress, requests, .. } = done.map_err(error_of)?;
        let missing = &progress.missing;
        let holes = match missing.holes {
            0 => String::new(),
            holes => format!(
                ", while the market was open {} missing in {}",
                counted(missing.bars, "bar"),
                counted(holes, "gap")
            ),
        };
        let (bars, requests) = (counted(progress.rows, "bar"), counted(requests, "request"));
        let message = format!("{bars}, {requests}{holes}");
        Ok(Outcome { rows: Some(progress.rows), message })
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
