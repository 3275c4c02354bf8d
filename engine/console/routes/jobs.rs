//! Jobs: what is done beside the prices.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Services;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock;
use crate::console::api::{ApiError, ErrorBody, Shared, blocking, time};
use crate::console::extract::{ApiJson, ApiPath, ApiQuery};
use crate::console::viewer::Viewer;
use crate::control::connections::{ConnectionError, Connections};
use crate::control::jobs::{self, Filter, JobsError, Kind, Parameters, Request, State};
use crate::control::users::{Permission, Role};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(schedules))
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Job {
    id: i64,
    kind: Kind,
    #[schema(required)]
    connection: Option<String>,
    /// What was asked: `symbol`, `timeframe`, `from`, `to`, `epoch`, `id`, where they apply.
    parameters: BTreeMap<&'static str, String>,
    state: State,
    /// Attempts that were begun.
    attempts: u32,
    attempts_max: u32,
    #[schema(required)]
    progress: Option<Progress>,
    /// What came of it, or what it waits for, in words.
    #[schema(required)]
    message: Option<String>,
    /// Rows stored or deleted.
    #[schema(required)]
    rows: Option<u64>,
    /// Name of a user, `schedule`, `activation` or `command line`.
    requested_by: String,
    queued_at: String,
    #[schema(required)]
    started_at: Option<String>,
    #[schema(required)]
    finished_at: Option<String>,
    #[schema(required)]
    next_attempt_at: Option<String>,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Progress {
    done: u64,
    total: u64,
    #[schema(required)]
    eta_seconds: Option<u64>,
}

impl Job {
    /// Its number.
    pub(super) fn id(&self) -> i64 {
        self.id
    }
}

impl From<jobs::Job> for Job {
    fn from(job: jobs::Job) -> Job {
        let eta_seconds = job.eta_s(clock::machine_ns());
        let Parameters { symbol, timeframe, from_ns, to_ns, gap } = job.request.parameters;
        let (epoch, id) = gap.map(|(epoch, id)| (epoch.to_string(), id.to_string())).unzip();
        let parameters = [
            ("symbol", symbol),
            ("timeframe", timeframe),
            ("from", from_ns.map(time)),
            ("to", to_ns.map(time)),
            ("epoch", epoch),
            ("id", id),
        ];
        Job {
            id: job.id,
            kind: job.request.kind,
            connection: job.request.connection,
            parameters: parameters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
            state: job.state,
            attempts: job.attempts,
            attempts_max: job.attempts_max,
            progress: job.progress.map(|p| Progress { done: p.done, total: p.total, eta_seconds }),
            message: job.message,
            rows: job.rows,
            requested_by: job.request.requested_by,
            queued_at: time(job.queued_ns),
            started_at: job.started_ns.map(time),
            finished_at: job.finished_ns.map(time),
            next_attempt_at: (job.state == State::Queued).then(|| time(job.next_ns)),
        }
    }
}

impl From<JobsError> for ApiError {
    fn from(error: JobsError) -> ApiError {
        match error {
            JobsError::Unknown(id) => ApiError::not_found(format_args!("job {id}")),
            JobsError::Full(_) => ApiError::new(StatusCode::CONFLICT, "too_many_jobs", error),
            error => ApiError::internal(error),
        }
    }
}

/// Whether the viewer may see a job: it is of a connection that they see; those of no connection are for who manages jobs.
pub(super) fn sees(viewer: &Viewer, request: &Request) -> bool {
    match &request.connection {
        _ if viewer.has(Permission::ManageJobs) => true,
        Some(name) => viewer.sees_connection(&request.owner, name),
        None => false,
    }
}

/// Whether the viewer may have a job done, or stop it: who manages jobs, and the owner of its connection.
fn manages(viewer: &Viewer, request: &Request) -> bool {
    let own = request.connection.is_some() && !request.owner.is_empty() && request.owner == viewer.name;
    viewer.role != Role::Demo && (own || viewer.has(Permission::ManageJobs))
}

/// The same as an answer: what they cannot even see is not there.
pub(super) fn needs_to_manage(viewer: &Viewer, request: &Request, what: &str) -> Result<(), ApiError> {
    if manages(viewer, request) {
        return Ok(());
    }
    if sees(viewer, request) {
        return Err(ApiError::forbidden("this needs the permission manage-jobs, or the connection to be yours"));
    }
    Err(ApiError::not_found(what))
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of one kind.
    #[param(inline)]
    kind: Option<Kind>,
    /// In one state.
    #[param(inline)]
    state: Option<State>,
    /// Of one connection.
    connection: Option<String>,
    /// Entries, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
struct JobPage {
    jobs: Vec<Job>,
    #[schema(required)]
    next: Option<String>,
}

/// The jobs that the viewer may see, newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(ListQuery), responses(
    (status = 200, description = "Jobs, newest first", body = JobPage),
    (status = 400, description = "The query is malformed", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 422, description = "A parameter has a wrong value", body = ErrorBody),
))]
async fn list(
    viewer: Viewer,
    Services(services): Services<Shared>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<JobPage>, ApiError> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(ApiError::field("limit", format!("limit: {limit}, expected 1 to 1000")));
    }
    let wrong = |_| ApiError::field("before", "before: is no `next` of a page");
    let before = query.before.map(|text| text.parse::<i64>().map_err(wrong)).transpose()?;
    let page = blocking(move || {
        let mut filter =
            Filter { kind: query.kind, state: query.state, connection: query.connection, before, seen_by: None };
        if !viewer.has(Permission::ManageJobs) && !viewer.has(Permission::ManageDataConnections) {
            filter.seen_by = Some(viewer.name.clone());
        }
        let (mut jobs, mut next) = (Vec::new(), None);
        // What may not be seen is left out, so a page is filled from as many as it takes.
        loop {
            let found = services.jobs.list(&filter, limit)?;
            let is_last = found.len() < limit as usize;
            for job in found {
                filter.before = Some(job.id);
                if sees(&viewer, &job.request) {
                    next = Some(job.id.to_string());
                    jobs.push(Job::from(job));
                }
                if jobs.len() == limit as usize {
                    return Ok(JobPage { jobs, next });
                }
            }
            if is_last {
                return Ok(JobPage { jobs, next: None });
            }
        }
    });
    page.await.map(Json)
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = i64, Path, description = "Its number")), responses(
    (status = 200, description = "The job", body = Job),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 404, description = "There is none, or it is another's", body = ErrorBody),
))]
async fn show(
    viewer: Viewer,
    Services(services): Services<Shared>,
    ApiPath(id): ApiPath<i64>,
) -> Result<Json<Job>, ApiError> {
    blocking(move || {
        let job = services.jobs.get(id)?;
        if !sees(&viewer, &job.request) {
            return Err(JobsError::Unknown(id).into());
        }
        Ok(Json(job.into()))
    })
    .await
}

/// A job that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewJob {
    /// What is to be done; holes are repaired by `POST /api/gaps/{epoch}/{id}/repair`.
    kind: Kind,
    /// Needed for all but `retention`, which then deletes its rows alone.
    connection: Option<String>,
    /// Needed for `backfill`; `fetch_bars` takes all symbols without it.
    symbol: Option<String>,
    /// Needed for `backfill` and `fetch_bars`.
    #[schema(pattern = "^(M1|M5|M15|M30|H1|H4|D1|W1|MN)$")]
    timeframe: Option<String>,
    /// `backfill`: first opening, a date or RFC 3339.
    from: Option<String>,
    /// `backfill`: before which bars open; now where it is missing.
    to: Option<String>,
}

/// Has a job done: for those who manage jobs, and owners of the connection.
#[utoipa::path(post, path = "/api/jobs", tag = "jobs", request_body = NewJob, responses(
    (status = 202, description = "It is queued; the same as one that already waits or runs is that one", body = Job),
    (status = 400, description = "The body is malformed", body = ErrorBody),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
    (status = 404, description = "There is no such connection, or it is another's", body = ErrorBody),
    (status = 409, description = "Too many jobs wait", body = ErrorBody),
    (status = 413, description = "The body is too long", body = ErrorBody),
    (status = 422, description = "A field has a wrong value", body = ErrorBody),
))]
async fn start(
    viewer: Viewer,
    Services(services): Services<Shared>,
    ApiJson(new): ApiJson<NewJob>,
) -> Result<(StatusCode, Json<Job>), ApiError> {
    let parameters = parameters(&new)?;
    blocking(move || queue(&services, &viewer, new.kind, new.connection, parameters)).await
}

fn parameters(new: &NewJob) -> Result<Parameters, ApiError> {
    let NewJob { kind, connection, symbol, timeframe, from, to } = new;
    let missing = |field: &str| ApiError::field(field, format!("{field}: missing, a job {} needs it", kind.word()));
    if kind.needs_connection() && connection.is_none() {
        return Err(missing("connection"));
    }
    let mut parameters = Parameters::default();
    match kind {
        Kind::Backfill => {
            let symbol = symbol.clone().ok_or_else(|| missing("symbol"))?;
            let timeframe = timeframe.as_deref().ok_or_else(|| missing("timeframe"))?;
            let from = from.as_deref().ok_or_else(|| missing("from"))?;
            return backfill_parameters(symbol, timeframe, from, to.as_deref());
        }
        Kind::FetchBars => {
            parameters.symbol = symbol.clone();
            parameters.timeframe = Some(timeframe_of(timeframe.as_deref().ok_or_else(|| missing("timeframe"))?)?);
        }
        Kind::Repair => {
            return Err(ApiError::field("kind", "kind: a hole is repaired by POST /api/gaps/{epoch}/{id}/repair"));
        }
        Kind::RefreshSymbols | Kind::RefreshAccount | Kind::Retention => {}
    }
    Ok(parameters)
}

/// Those of a backfill; without an end up to now.
pub(super) fn backfill_parameters(
    symbol: String,
    timeframe: &str,
    from: &str,
    to: Option<&str>,
) -> Result<Parameters, ApiError> {
    let (timeframe, now_ns) = (timeframe_of(timeframe)?, clock::now_ns());
    let from_ns = time_of("from", from)?;
    let to_ns = to.map_or(Ok(now_ns), |to| time_of("to", to))?;
    if from_ns >= to_ns || from_ns >= now_ns {
        return Err(ApiError::field("from", "from: is not before `to` and now, expected an earlier time"));
    }
    let (symbol, timeframe) = (Some(symbol), Some(timeframe));
    Ok(Parameters { symbol, timeframe, from_ns: Some(from_ns), to_ns: Some(to_ns), gap: None })
}

fn timeframe_of(word: &str) -> Result<String, ApiError> {
    let known = tickwire_schemas::words::Timeframe::from_word(word).map(|timeframe| timeframe.word().to_string());
    known.ok_or_else(|| ApiError::field("timeframe", "timeframe: expected one of M1 M5 M15 M30 H1 H4 D1 W1 MN"))
}

/// A date or a time, nanoseconds UTC.
fn time_of(field: &str, text: &str) -> Result<i64, ApiError> {
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let stamp = text.parse::<Timestamp>().ok().or_else(|| midnight(text.parse().ok()?));
    let ns = stamp.and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok()).filter(|ns| *ns >= 0);
    let wrong = || ApiError::field(field, format!("{field}: expected a time, 2023-01-01 or 2023-01-01T12:00:00Z"));
    ns.ok_or_else(wrong)
}

/// Queues it in the viewer's name, if they may. For other routes too; blocks.
pub(super) fn queue(
    services: &Shared,
    viewer: &Viewer,
    kind: Kind,
    connection: Option<String>,
    parameters: Parameters,
) -> Result<(StatusCode, Json<Job>), ApiError> {
    let owner = match &connection {
        Some(name) => owner_of(services, name)?,
        None => String::new(),
    };
    let what = connection.as_deref().map_or_else(|| kind.word().to_string(), |name| format!("connection {name}"));
    let request = Request { kind, connection, owner, parameters, requested_by: viewer.name.clone() };
    needs_to_manage(viewer, &request, &what)?;
    let job = services.jobs.queue(&request, services.desk.attempts, clock::machine_ns())?;
    Ok((StatusCode::ACCEPTED, Json(job.into())))
}

/// Whose private connection it is; empty for a global one.
fn owner_of(services: &Shared, name: &str) -> Result<String, ApiError> {
    if let Some((_, owner)) = (services.desk.sources)().into_iter().find(|(source, _)| source == name) {
        return Ok(owner);
    }
    let mut all = Connections::open(&services.state_dir).map_err(ApiError::internal)?;
    all.get(name).map(|connection| connection.owner).map_err(|error| match error {
        ConnectionError::Unknown(_) => ApiError::not_found(format_args!("connection {name}")),
        error => ApiError::internal(error),
    })
}

/// Stops a job, or lets it not begin. One that is over stays as it is.
#[utoipa::path(post, path = "/api/jobs/{id}/cancel", tag = "jobs", params(("id" = i64, Path, description = "Its number")), responses(
    (status = 200, description = "The job: cancelled, or told to stop, which takes a moment", body = Job),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 403, description = "Not allowed", body = ErrorBody),
    (status = 404, description = "There is none, or it is another's", body = ErrorBody),
))]
async fn cancel(
    viewer: Viewer,
    Services(services): Services<Shared>,
    ApiPath(id): ApiPath<i64>,
) -> Result<Json<Job>, ApiError> {
    blocking(move || {
        needs_to_manage(&viewer, &services.jobs.get(id)?.request, &format!("job {id}"))?;
        Ok(Json(services.jobs.cancel(id, clock::machine_ns())?.into()))
    })
    .await
}

/// What is done again and again.
#[derive(Debug, Serialize, ToSchema)]
struct JobSchedule {
    kind: Kind,
    #[schema(required)]
    connection: Option<String>,
    /// In words.
    every: String,
    #[schema(required)]
    next_at: Option<String>,
    #[schema(required)]
    last_state: Option<State>,
    #[schema(required)]
    last_at: Option<String>,
}

/// All of it.
#[derive(Debug, Serialize, ToSchema)]
struct JobSchedules {
    schedules: Vec<JobSchedule>,
}

/// What is done again and again, as far as the viewer may see it.
#[utoipa::path(get, path = "/api/job-schedules", tag = "jobs", responses(
    (status = 200, description = "Schedules", body = JobSchedules),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn schedules(viewer: Viewer, Services(services): Services<Shared>) -> Result<Json<JobSchedules>, ApiError> {
    blocking(move || {
        let mut schedules = Vec::new();
        for (schedule, next_ns) in services.jobs.schedules() {
            let request = Request {
                kind: schedule.subject.kind,
                connection: schedule.subject.connection.clone(),
                owner: schedule.owner.clone(),
                parameters: Parameters::default(),
                requested_by: String::new(),
            };
            if !sees(&viewer, &request) {
                continue;
            }
            let last = services.jobs.last_of(&schedule.subject)?;
            schedules.push(JobSchedule {
                kind: request.kind,
                connection: request.connection,
                every: schedule.every,
                next_at: next_ns.map(time),
                last_state: last.map(|(_, state)| state),
                last_at: last.map(|(at_ns, _)| time(at_ns)),
            });
        }
        Ok(Json(JobSchedules { schedules }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(name: &str, role: Role, permissions: &[Permission]) -> Viewer {
        Viewer::sample(name, role, permissions)
    }

    fn job(connection: Option<&str>, owner: &str) -> Request {
        Request {
            kind: Kind::Backfill,
            connection: connection.map(Into::into),
            owner: owner.into(),
            parameters: Parameters::default(),
            requested_by: "schedule".into(),
        }
    }

    #[test]
    fn an_owner_manages_jobs_of_their_connections_and_sees_no_other_s() {
        let ann = viewer("ann", Role::User, &[]);
        let (own, other, global, none) =
            (job(Some("a"), "ann"), job(Some("b"), "bob"), job(Some("g"), ""), job(None, ""));
        assert_eq!([&own, &other, &global, &none].map(|of| sees(&ann, of)), [true, false, true, false]);
        assert_eq!([&own, &other, &global, &none].map(|of| manages(&ann, of)), [true, false, false, false]);
        assert!(!manages(&viewer("ann", Role::Demo, &[]), &own));
        let staff = viewer("eve", Role::Staff, &[Permission::ManageJobs]);
        assert!([&own, &other, &global, &none].iter().all(|of| sees(&staff, of) && manages(&staff, of)));
        let other_staff = viewer("eve", Role::Staff, &[Permission::ViewSystem]);
        assert!([&own, &other, &global, &none].iter().all(|of| !manages(&other_staff, of)));
    }
}
