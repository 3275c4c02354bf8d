//! One batch, from "written down" to "acknowledged": sends it until the database has it exactly once.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clickhouse::Client;
use tokio::sync::watch;

use super::batch::Batch;
use super::client::{self, DatabaseError, Endpoint, database_of};
use super::manifest::Manifest;
use super::rows::Table;
use super::status::StatusHandle;
use crate::metrics;

/// First wait after a failure; doubled each time up to the last.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(2);

/// Tokens tried for a batch that the database claims to know and does not have.
const TOKENS_MAX: u32 = 3;

/// The wait before try number `attempt` (from 0): exponential, with up to half of it taken away at random, so that
/// many tables do not knock at the same moment.
#[must_use]
pub fn backoff(attempt: u32) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << attempt.min(16)).min(BACKOFF_LAST);
    full.mul_f64(1.0 - fastrand::f64() / 2.0)
}

/// Where batches go; shared by all that are under way.
#[derive(Debug, Clone)]
pub struct Target {
    /// The database's address, `None` while there is none.
    pub endpoint: watch::Receiver<Option<Endpoint>>,
    /// Name of the database for global rows.
    pub database: String,
    /// Where failures are told.
    pub status: StatusHandle,
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The database has every row once.
    Stored,
    /// The database refuses the batch until somebody changes something.
    Refused(String),
}

/// A batch ready to be sent.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// What was written down about it.
    pub manifest: Manifest,
    /// The table's header and the rows; `None` when the journal has lost them and all that can be done is to look
    /// whether they arrived.
    pub body: Option<Bytes>,
    /// Publication time of the first row, as far as it is known.
    pub oldest_ns: i64,
}

impl From<Batch> for Parcel {
    fn from(batch: Batch) -> Parcel {
        let header = batch.lane.table.header();
        let mut body = BytesMut::with_capacity(header.len() + batch.bytes.len());
        body.extend_from_slice(&header);
        body.extend_from_slice(&batch.bytes);
        Parcel { manifest: batch.manifest(), body: Some(body.freeze()), oldest_ns: batch.oldest_ns }
    }
}

/// Delivers a parcel, trying for ever. `uncertain`: an earlier try may have arrived.
pub async fn deliver(mut target: Target, parcel: Parcel, mut uncertain: bool) -> Outcome {
    let lane = parcel.manifest.lane;
    let (mut attempt, mut retoken) = (0, 0);
    let mut connection: Option<(Endpoint, Client)> = None;
    loop {
        let Some(client) = connect(&mut target, &parcel.manifest, &mut connection).await else {
            return Outcome::Refused("the engine is stopping".into());
        };
        match try_once(&client, &target, &parcel, uncertain, retoken).await {
            Ok(Try::Stored) => {
                target.status.recovered(lane);
                return Outcome::Stored;
            }
            Ok(Try::Forgotten) if retoken < TOKENS_MAX => {
                retoken += 1;
                let batch = parcel.manifest.token();
                tracing::warn!(batch, "the database knows the batch's token and has none of its rows: sent anew");
                continue;
            }
            Ok(Try::Forgotten) => return Outcome::Refused(format!("{TOKENS_MAX} tokens taken and no row stored")),
            Ok(Try::Partial(found)) => {
                let (token, rows) = (parcel.manifest.token(), parcel.manifest.rows);
                return Outcome::Refused(format!("batch {token}: the database has {found} of its {rows} rows"));
            }
            Err(DatabaseError::Refused(reason)) => return Outcome::Refused(reason),
            Err(DatabaseError::Again(reason)) => target.status.failed(lane, &reason),
        }
        uncertain = true;
        metrics::STORAGE_RETRIES.inc();
        tokio::select! {
            () = tokio::time::sleep(backoff(attempt)) => attempt += 1,
            // A store that came back is worth a try at once.
            Ok(()) = target.endpoint.changed() => attempt = 0,
        }
    }
}

/// The client for the present endpoint; waits until there is one, `None` when there never will be.
async fn connect(
    target: &mut Target,
    manifest: &Manifest,
    connection: &mut Option<(Endpoint, Client)>,
) -> Option<Client> {
    let endpoint = target.endpoint.wait_for(Option::is_some).await.ok()?.clone()?;
    if let Some((known, client)) = connection
        && *known == endpoint
    {
        return Some(client.clone());
    }
    let client = endpoint.client().with_database(database_of(&target.database, manifest.lane.audience));
    *connection = Some((endpoint, client.clone()));
    Some(client)
}

enum Try {
    Stored,
    /// The token is known to the database and the rows are not there: it was killed between noting the one and
    /// keeping the other.
    Forgotten,
    /// Some rows are there.
    Partial(u64),
}

async fn try_once(
    client: &Client,
    target: &Target,
    parcel: &Parcel,
    uncertain: bool,
    retoken: u32,
) -> Result<Try, DatabaseError> {
    let Parcel { manifest, body, .. } = parcel;
    if let Some(body) = body {
        let (lane, database) = (manifest.lane, database_of(&target.database, manifest.lane.audience));
        let rows = format!("{}:{}-{}", manifest.epoch, manifest.first_seq, manifest.last_seq);
        let mut token = format!("{database}.{}:{}:{rows}", lane.table.name(), lane.partition);
        if retoken > 0 {
            token = format!("{token}+{retoken}");
        }
        client::insert(client, manifest.lane.table, &token, body.clone()).await?;
        if !uncertain {
            return Ok(Try::Stored);
        }
    }
    let found = client::count(client, manifest.lane, manifest.epoch, manifest.first_seq, manifest.last_seq).await?;
    Ok(match found {
        0 if body.is_some() => Try::Forgotten,
        // Merges keep the last revision of a bar alone; a batch is one block, so one row of it proves all.
        1.. if manifest.lane.table == Table::Bars => Try::Stored,
        _ if found == manifest.rows => Try::Stored,
        _ => Try::Partial(found),
    })
}
