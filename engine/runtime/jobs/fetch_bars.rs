//! The latest bars of a timeframe, of every symbol of a connection.

use std::sync::Arc;

use serde_json::json;
use tickwire_schemas::words::Timeframe;

use super::standing::length_ns;
use super::{Ground, connection_of, error_of};
use crate::clock;
use crate::control::jobs::{Job, JobError, JobKind, Kind, Outcome, SCHEDULE, Watch};
use crate::runtime::backfill::{Backfill, BackfillRequest, Wanted};

/// Bars of one poll, where the venue gives as many at once.
const LATEST: usize = 100;

pub(super) struct FetchBars(pub(super) Arc<Ground>);

impl JobKind for FetchBars {
    fn kind(&self) -> Kind {
        Kind::FetchBars
    }

    fn run(&self, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let (name, begun_ns) = (connection_of(job)?, clock::monotonic_ns());
        let came = self.poll(name, job, watch);
        let latency_ms = (clock::monotonic_ns() - begun_ns) / 1_000_000;
        match &came {
            // Those that come off every minute would bury all else.
            Ok(Outcome { rows, message }) if job.request.requested_by != SCHEDULE => {
                self.0.log(name, "fetch_data", Ok(message), json!({ "rows": rows, "latency_ms": latency_ms }));
            }
            Err(JobError::Failed(text) | JobError::Hopeless(text)) => {
                self.0.log(name, "fetch_data", Err(text), json!({ "latency_ms": latency_ms }));
            }
            Ok(_) | Err(JobError::Stopped) => {}
        }
        came
    }
}

impl FetchBars {
    fn poll(&self, name: &str, job: &Job, watch: &Watch) -> Result<Outcome, JobError> {
        let ground = &self.0;
        let (now, spec) = ground.with_connection(name)?;
        let asked = &job.request.parameters;
        let word = asked.timeframe.as_deref().unwrap_or_default();
        let timeframe = Timeframe::from_word(word)
            .ok_or_else(|| JobError::Hopeless(format!("\"{word}\" is no timeframe, expected M1 to MN")))?;
        let latest = spec.venue.any_history().map_or(LATEST, |history| history.page().min(LATEST));
        let endpoint = ground.database(watch)?;
        let to_ns = clock::now_ns();
        let from_ns = to_ns - length_ns(timeframe).saturating_mul(latest as i64);
        let symbols = spec.symbols.iter().map(|symbol| &symbol.canonical);
        let symbols: Vec<_> =
            symbols.filter(|symbol| asked.symbol.as_ref().is_none_or(|only| only == *symbol)).collect();
        let (mut rows, mut failed) = (0, None);
        for (done, symbol) in symbols.iter().enumerate() {
            let request = BackfillRequest {
                connection: name.into(),
                symbol: (*symbol).clone(),
                wanted: Wanted::Bars(word.into()),
                from_ns,
                to_ns,
            };
            let backfill = Backfill::of(ground.known(&now), request).map_err(error_of)?;
            let hosts = ground.hosts.clone();
            match backfill.poll_until(&ground.state_dir, &endpoint, hosts, &ground.polled, watch.stopped()) {
                Ok(new) => rows += new,
                Err(error) => match error_of(error) {
                    JobError::Stopped => return Err(JobError::Stopped),
                    // The others may be had all the same.
                    JobError::Failed(text) | JobError::Hopeless(text) => failed = Some(format!("{symbol}: {text}")),
                },
            }
            watch.progress(done as u64 + 1, symbols.len() as u64, Some(rows));
        }
        match failed {
            Some(text) => Err(JobError::Failed(text)),
            None => Ok(Outcome { rows: Some(rows), message: format!("{rows} new bars of {} symbols", symbols.len()) }),
        }
    }
}
