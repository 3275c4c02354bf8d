//! What all routes of the API share: their state, their errors, their pages.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::desk::Desk;
use super::headers::Reach;
use super::health::{Sampler, Shown};
use super::live::{Board, Streams};
use crate::control::ControlError;
use crate::control::jobs::Jobs;
use crate::control::settings::Settings;
use crate::control::users::{UserError, Users};
use crate::storage::MarketData;

/// What a route is given.
pub(super) type Shared = Arc<Services>;

/// What the console stands on.
pub(super) struct Services {
    /// The engine's state, sampled.
    pub(super) sampler: Arc<Sampler>,
    /// Sources and instruments.
    pub(super) shown: Shown,
    /// What is so now.
    pub(super) live: Arc<Board>,
    /// Open streams.
    pub(super) streams: Arc<Streams>,
    /// What is stored; none when nothing is.
    pub(super) market_data: Option<Arc<MarketData>>,
    /// Where the control database is.
    pub(super) state_dir: PathBuf,
    /// Who may come.
    pub(super) users: Arc<Users>,
    /// What is set while the engine runs.
    pub(super) settings: Arc<Settings>,
    /// How the console is reached.
    pub(super) reach: Reach,
    /// Passwords that are hashed at one time: each takes 19 MiB.
    pub(super) hashing: tokio::sync::Semaphore,
    /// Jobs.
    pub(super) jobs: Arc<Jobs>,
    /// What the pages about jobs and storage stand on.
    pub(super) desk: Arc<Desk>,
}

/// Why a request is not answered as asked.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Problem,
    retry_after_s: Option<u64>,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    /// For programs.
    code: &'static str,
    /// One sentence for people.
    message: String,
    /// The field that is wrong, where one is.
    #[schema(required)]
    field: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl ToString) -> ApiError {
        ApiError { status, body: Problem { code, message: message.to_string(), field: None }, retry_after_s: None }
    }

    /// A request that makes no sense: 400.
    pub(super) fn malformed(message: impl ToString) -> ApiError {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// Nobody is signed in: 401.
    pub(super) fn not_signed_in() -> ApiError {
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", "sign in first")
    }

    /// The viewer may not: 403.
    pub(super) fn forbidden(message: impl ToString) -> ApiError {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// It is not there, or another's: which of the two is not told. 404.
    pub(super) fn not_found(what: impl std::fmt::Display) -> ApiError {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what}: there is none"))
    }

    /// It is there already, or changed in between: 409.
    pub(super) fn conflict(message: impl ToString) -> ApiError {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// A field has a wrong value: 422.
    pub(super) fn field(field: impl Into<String>, message: impl ToString) -> ApiError {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong_value", message);
        error.body.field = Some(field.into());
        error
    }

    /// Too often: 429.
    pub(super) fn too_many(message: impl ToString, retry_after_s: u64) -> ApiError {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message);
        error.retry_after_s = Some(retry_after_s);
        error
    }

    /// The database is away: 503.
    pub(super) fn away(message: impl ToString) -> ApiError {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// A fault of ours: logged with its cause, told without it. 500.
    pub(super) fn internal(cause: impl std::fmt::Display) -> ApiError {
        tracing::error!("console: {cause}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the engine could not do this; its log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: self.body })).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> ApiError {
        let said = error.to_string();
        match error {
            UserError::Control(_) | UserError::Vault(_) | UserError::Machine(_) => ApiError::internal(said),
            UserError::Wrong { field, .. } => ApiError::field(field, said),
            UserError::Unknown(_) => ApiError::new(StatusCode::NOT_FOUND, "not_found", said),
            UserError::Conflict(_) => ApiError::conflict(said),
            UserError::NotAllowed(_) => ApiError::forbidden(said),
            UserError::WrongCredentials => ApiError::new(StatusCode::UNAUTHORIZED, "wrong_credentials", said),
            UserError::TotpRequired => ApiError::new(StatusCode::UNAUTHORIZED, "totp_required", said),
            UserError::Disabled => ApiError::new(StatusCode::FORBIDDEN, "disabled", said),
            UserError::TooMany(seconds) => ApiError::too_many(said, seconds),
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> ApiError {
        ApiError::internal(error)
    }
}

/// Entries of a page when none are asked for, and at most.
const PAGE: u32 = 100;
const PAGE_MAX: u32 = 1000;

/// Which part of a list, newest first.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// Entries, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    before: Option<String>,
}

impl Paging {
    /// Of a query that has other parts too.
    pub(super) fn of(limit: Option<u32>, before: Option<String>) -> Paging {
        Paging { limit, before }
    }

    /// Of the parameters of a route that has others too.
    pub(super) fn new(limit: Option<u32>, before: Option<String>) -> Paging {
        Paging { limit, before }
    }

    /// How many entries.
    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(ApiError::field("limit", format!("limit: {limit}, expected 1 to {PAGE_MAX}")));
        }
        Ok(limit)
    }

    /// Older than this id; `None` for the newest.
    pub(super) fn before(&self) -> Result<Option<i64>, ApiError> {
        let parse =
            |text: &String| text.parse().map_err(|_| ApiError::field("before", "before: is no `next` of a page"));
        self.before.as_ref().map(parse).transpose()
    }
}

/// RFC 3339, UTC.
pub(super) fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default().to_string()
}

/// Runs what blocks (SQLite, hashing, a venue) off the console's own thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)?
}
