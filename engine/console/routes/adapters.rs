//! `GET /api/adapters`: what connections can be made of. `GET /api/error-codes`: what can be wrong with them.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::approved_adapters;
use crate::console::api::{ApiError, ErrorBody, Shared};
use crate::console::viewer::Viewer;
use crate::control::cures::{ERROR_CODES, ErrorCode};
use crate::feeds::adapters::adapters as all_adapters;
use crate::feeds::adapters::forms::{Field, form, offer};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(adapters)).routes(routes!(error_codes))
}

/// Adapters.
#[derive(Serialize, ToSchema)]
struct Adapters {
    adapters: Vec<Adapter>,
}

/// An adapter, and the fields of its form.
#[derive(Serialize, ToSchema)]
struct Adapter {
    /// Its word.
    adapter: &'static str,
    /// Its name for people.
    title: &'static str,
    /// Whether the viewer may make connections with it.
    approved: bool,
    /// Past bars.
    has_history: bool,
    /// Past ticks.
    has_tick_history: bool,
    /// A list of symbols to choose from.
    has_symbols: bool,
    /// A trading account to look at.
    has_account: bool,
    /// Lengths of past bars.
    timeframes: Vec<&'static str>,
    fields: Vec<Field>,
}

/// What connections can be made of.
#[utoipa::path(get, path = "/api/adapters", tag = "connections", responses(
    (status = 200, description = "The adapters", body = Adapters),
    (status = 401, description = "Not signed in", body = ErrorBody),
    (status = 503, description = "The control database is away", body = ErrorBody),
))]
async fn adapters(viewer: Viewer, State(services): State<Shared>) -> Result<Json<Adapters>, ApiError> {
    let approved = approved_adapters(&services, &viewer).await?;
    let one = |entry: crate::feeds::adapters::AdapterEntry| {
        let (form, offer) = (form(entry.name)?, offer(&entry)?);
        Some(Adapter {
            adapter: entry.name,
            title: form.title,
            approved: approved.as_ref().is_none_or(|approved| approved.iter().any(|word| word == entry.name)),
            has_history: !offer.timeframes.is_empty(),
            has_tick_history: offer.ticks,
            has_symbols: offer.symbols,
            has_account: offer.account,
            timeframes: offer.timeframes.iter().map(|timeframe| timeframe.word()).collect(),
            fields: form.fields.to_vec(),
        })
    };
    Ok(Json(Adapters { adapters: all_adapters().into_iter().filter_map(one).collect() }))
}

/// Error codes.
#[derive(Serialize, ToSchema)]
struct ErrorCodes {
    error_codes: &'static [ErrorCode],
}

/// What can be wrong with a connection, and what to do about it.
#[utoipa::path(get, path = "/api/error-codes", tag = "connections", responses(
    (status = 200, description = "The codes", body = ErrorCodes),
    (status = 401, description = "Not signed in", body = ErrorBody),
))]
async fn error_codes(_viewer: Viewer) -> Json<ErrorCodes> {
    Json(ErrorCodes { error_codes: ERROR_CODES })
}
