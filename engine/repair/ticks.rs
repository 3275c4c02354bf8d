//! The ticks of a hole: from the venue into the database, before the hole counts as mended.
//!
//! They pass through no stage, as those of a backfill: what was missed cannot be judged as if it had come then. What is
//! there already is left out, so that a kill between storing them and the word of it leaves nothing twice.

use std::time::Duration;

use tickwire_schemas::words::{Cause, flag};
use tokio::sync::watch;
use tokio::time::timeout;

use super::follow::ANSWER_MAX;
use super::plan::TickJob;
use crate::feeds::adapters::{PastTick, Venue};
use crate::feeds::net::Failure;
use crate::feeds::rate::SharedHosts;
use crate::feeds::turns::in_turn;
use crate::metrics;
use crate::storage::Endpoint;
use crate::storage::client::DatabaseError;
use crate::storage::names::Names;
use crate::storage::past::{Target, new_rows};
use crate::storage::rows::Table;

/// After which a database that did not take them is tried again.
const STORE_AGAIN: Duration = Duration::from_secs(30);

/// Where ticks are stored.
#[derive(Debug, Clone)]
pub struct Store {
    /// The database, once it is up.
    pub endpoint: watch::Receiver<Option<Endpoint>>,
    /// Its name.
    pub database: String,
}

/// Whose ticks they are.
#[derive(Debug, Clone)]
pub(super) struct Whose {
    pub(super) source_id: u32,
    pub(super) instrument_id: u32,
    pub(super) venue_symbol: String,
}

/// Fetches and stores; how many were new.
pub(super) async fn mend(
    store: &Store,
    names: &Names,
    whose: &Whose,
    adapter: &dyn Venue,
    hosts: &SharedHosts,
    job: &TickJob,
) -> Result<u64, Failure> {
    let history = adapter.any_tick_history();
    let history = history.ok_or_else(|| Failure::new(Cause::ProtocolError, "no past ticks any more"))?;
    // Nothing is asked of the venue that cannot be stored.
    let endpoint = store.endpoint.borrow().clone();
    let endpoint = endpoint.ok_or_else(|| database(DatabaseError::Again("it is not up yet".into())))?;
    let late = || Failure::new(Cause::ReadError, format!("no whole answer within {} s", ANSWER_MAX.as_secs()));
    let answer = async {
        let asked = history.ticks(&whose.venue_symbol, job.from_ns, job.to_ns);
        timeout(ANSWER_MAX, asked).await.map_err(|_| late()).flatten()
    };
    let mut ticks: Vec<PastTick> = in_turn(hosts, (history.host(), history.rate()), answer).await?;
    ticks.retain(|tick| (job.from_ns..job.to_ns).contains(&tick.ts_event_ns));
    let Whose { source_id, instrument_id, .. } = *whose;
    let target = Target { endpoint: &endpoint, database: &store.database, names, source_id, instrument_id };
    // Live ones are compared too: holes are cut by the time of receipt, ticks by the venue's stamp.
    let there = target.ticks_there((job.from_ns, job.to_ns), true).await.map_err(database)?;
    let rows: Vec<_> = new_rows(ticks, there, target.head(), flag::REPAIRED).collect();
    let of = format!("repair:{source_id}:{instrument_id}:{}-{}", job.from_ns, job.to_ns);
    target.insert(Table::Ticks, &rows, &of).await.map_err(database)?;
    metrics::REPAIR_TICKS.add(rows.len() as u64);
    Ok(rows.len() as u64)
}

/// A database that is away is no reason to give a hole up: it is waited for. One that refuses is.
fn database(error: DatabaseError) -> Failure {
    let failure = Failure::new(Cause::ProtocolError, format!("the database: {error}"));
    let wait = matches!(error, DatabaseError::Again(_)).then_some(STORE_AGAIN);
    Failure { retry_after: wait, ..failure }
}
