//! `GET /api/storage`: what is stored, how far behind it is, and how long it is kept.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::console::api::{ApiError, ErrorBody, Shared, blocking, time};
use crate::console::desk::Desk;
use crate::console::viewer::Viewer;
use crate::control::connections::Connections;
use crate::control::jobs::Kind;
use crate::control::users::Permission;
use crate::storage::retention::TABLES;
use crate::storage::usage::{self, TableUsage};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(storage))
}

/// The storage.
#[derive(Debug, Serialize, ToSchema)]
struct Storage {
    /// `embedded`, `server` or `off`.
    mode: String,
    /// Journaled rows that the database has not acknowledged.
    lag_rows: u64,
    lag_seconds: f64,
    #[schema(required)]
    last_error: Option<String>,
    disk: Disk,
    journal: Journal,
    /// Of global and private rows together; empty while the database is away.
    tables: Vec<TableSize>,
    retention: Retention,
}

/// The disk of the state directory.
#[derive(Debug, Serialize, ToSchema)]
struct Disk {
    total_bytes: u64,
    free_bytes: u64,
}

/// The journal.
#[derive(Debug, Serialize, ToSchema)]
struct Journal {
    bytes: u64,
    /// Last change of the oldest segment.
    #[schema(required)]
    oldest_at: Option<String>,
}

/// What a table takes.
#[derive(Debug, Serialize, ToSchema)]
struct TableSize {
    table: String,
    rows: u64,
    bytes: u64,
    bytes_per_row: f64,
    #[schema(required)]
    oldest: Option<String>,
    #[schema(required)]
    newest: Option<String>,
}

impl From<TableUsage> for TableSize {
    fn from(usage: TableUsage) -> TableSize {
        let TableUsage { table, rows, bytes, oldest_s, newest_s } = usage;
        let at = |s: i64| time(s.saturating_mul(1_000_000_000));
        let bytes_per_row = if rows == 0 { 0.0 } else { (bytes as f64 / rows as f64 * 100.0).round() / 100.0 };
        TableSize { table, rows, bytes, bytes_per_row, oldest: oldest_s.map(at), newest: newest_s.map(at) }
    }
}

/// How long rows are kept.
#[derive(Debug, Serialize, ToSchema)]
struct Retention {
    /// Time of day, UTC, at which rows are deleted; `null`: not of itself.
    #[schema(required)]
    time: Option<String>,
    days_default: u32,
    rules: Vec<Rule>,
    #[schema(required)]
    last: Option<LastRetention>,
}

/// A rule. Where both a connection and a table have one, the smaller number counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetentionRule)]
struct Rule {
    /// `null`: of all.
    #[schema(required)]
    connection: Option<String>,
    /// `*`: of all tables.
    table: String,
    days: u32,
}

/// What the last run did.
#[derive(Debug, Serialize, ToSchema)]
struct LastRetention {
    at: String,
    rows_deleted: u64,
    seconds: f64,
}

/// The storage, for those who may view the system.
#[utoipa::path(get, path = "/api/storage", tag = "system", responses(
    (status = 200, description = "The storage", body = Storage),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
))]
async fn storage(viewer: Viewer, State(services): State<Shared>) -> Result<Json<Storage>, ApiError> {
    viewer.needs(Permission::ViewSystem)?;
    let mut status = (services.sampler.facts().storage)();
    let mut tables = Vec::new();
    if let Some(endpoint) = (services.desk.endpoint)() {
        match usage::tables(&endpoint, &services.desk.database).await {
            Ok(found) => tables = found.into_iter().map(TableSize::from).collect(),
            Err(error) => status.last_error = status.last_error.or(Some(error.to_string())),
        }
    }
    blocking(move || {
        Ok(Json(Storage {
            mode: status.mode.into(),
            lag_rows: status.lag_rows,
            lag_seconds: status.lag_seconds,
            last_error: status.last_error,
            disk: disk(&services.state_dir)?,
            journal: journal(&services.desk.journal_dir),
            tables,
            retention: retention(&services, &services.desk)?,
        }))
    })
    .await
}

fn disk(state_dir: &Path) -> Result<Disk, ApiError> {
    let found = rustix::fs::statvfs(state_dir).map_err(ApiError::internal)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Disk { total_bytes: bytes(found.f_blocks), free_bytes: bytes(found.f_bavail) })
}

fn journal(dir: &Path) -> Journal {
    let mut found = Journal { bytes: 0, oldest_at: None };
    let mut oldest = None;
    // A segment may go while we look.
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_segment = entry.path().extension().is_some_and(|extension| extension == "twj");
        let Some(metadata) = entry.metadata().ok().filter(|_| is_segment) else { continue };
        found.bytes += metadata.len();
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        oldest = [oldest, changed].into_iter().flatten().min();
    }
    found.oldest_at = oldest.and_then(|at| i64::try_from(at.as_nanos()).ok()).map(time);
    found
}

fn retention(services: &Shared, desk: &Desk) -> Result<Retention, ApiError> {
    let config = &desk.retention;
    let mut all = Connections::open(&services.state_dir).map_err(ApiError::internal)?;
    let own = all.list().map_err(ApiError::internal)?;
    let own = own.into_iter().map(|connection| (connection.name, connection.draft.retention_days));
    let of_connections = config.rules(own).connections;
    let of_tables = TABLES.iter().filter_map(|aged| {
        let days = config.tables.get(aged.table).copied()?;
        Some(Rule { connection: None, table: aged.table.into(), days })
    });
    let every = "*".to_string();
    let of_connections =
        of_connections.into_iter().map(|(name, days)| Rule { connection: Some(name), table: every.clone(), days });
    let last = services.jobs.last_succeeded(Kind::Retention)?.and_then(|job| {
        let (started_ns, finished_ns) = (job.started_ns?, job.finished_ns?);
        Some(LastRetention {
            at: time(finished_ns),
            rows_deleted: job.rows.unwrap_or(0),
            seconds: (finished_ns - started_ns) as f64 / 1e9,
        })
    });
    Ok(Retention {
        time: config.enabled.then(|| config.at.clone()),
        days_default: config.days,
        rules: of_tables.chain(of_connections).collect(),
        last,
    })
}
