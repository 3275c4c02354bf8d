//! What a venue is asked for people: tests, symbols, the account. At most a few at a time: each waits for a stranger.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bodies::{DraftConnection, Refusals, limits, refusal};
use super::{looks_into, managed, seen, with};
use crate::console::api::{ApiError, Shared};
use crate::console::extract::{ApiJson, ApiPath, ApiQuery};
use crate::console::viewer::Viewer;
use crate::control::service::{AccountNow, PositionNow, Service, TestResult, VenueSymbolNow};
use crate::control::users::Role;

/// Venues that are asked at once, by everybody together.
const ASKED_MAX: usize = 16;
static ASKED: Semaphore = Semaphore::const_new(ASKED_MAX);

/// Symbols of a list when no number is given, and at most.
const SYMBOLS: u32 = 100;
const SYMBOLS_MAX: u32 = 1000;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(test_draft))
        .routes(routes!(symbols_of_draft))
        .routes(routes!(test))
        .routes(routes!(symbols))
        .routes(routes!(account))
        .routes(routes!(positions))
}

async fn ask<T: Send + 'static>(
    services: &Shared,
    f: impl FnOnce(&Service) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let Ok(_asked) = ASKED.try_acquire() else {
        return Err(ApiError::too_many(
            format!("{ASKED_MAX} venues are being asked already, try again in a moment"),
            2,
        ));
    };
    with(services, f).await
}

/// Connects once as the connection is kept. A venue that refuses is a result and no error.
#[utoipa::path(post, path = "/api/data-connections/{name}/test", tag = "connections", params(("name" = String, Path)),
    responses((status = 200, description = "What came of it", body = TestResult), Refusals,
))]
async fn test(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<TestResult>, ApiError> {
    let result = ask(&services, move |service| {
        let connection = managed(service, &viewer, &name)?;
        let limits = limits(service, &viewer, connection.owner.as_deref().unwrap_or_default())?;
        service.test(&name, &limits).map_err(refusal)
    });
    Ok(Json(result.await?))
}

/// Connects once by keys that are not kept. A venue that refuses is a result and no error.
#[utoipa::path(post, path = "/api/data-connections/test", tag = "connections", request_body = DraftConnection,
    responses((status = 200, description = "What came of it", body = TestResult), Refusals,
))]
async fn test_draft(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiJson(mut body): ApiJson<DraftConnection>,
) -> Result<Json<TestResult>, ApiError> {
    let result = ask(&services, move |service| {
        let (name, limits) = of_draft(service, &viewer, &body)?;
        let wanted = body.wanted();
        service.test_draft(name.as_deref(), &body.adapter, &wanted, &limits).map_err(refusal)
    });
    Ok(Json(result.await?))
}

/// Whose secrets a draft may use, and what it may.
fn of_draft(
    service: &Service,
    viewer: &Viewer,
    body: &DraftConnection,
) -> Result<(Option<String>, crate::control::service::Limits), ApiError> {
    if viewer.role == Role::Demo {
        return Err(ApiError::forbidden("demo users look on"));
    }
    // A form for a new one says the name that it is to have: then there is nothing to stand in.
    let named = match body.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => match seen(service, viewer, name) {
            Ok(_) => Some(managed(service, viewer, name)?),
            Err(_) => None,
        },
        None => None,
    };
    let owner = named.as_ref().map_or(viewer.name.clone(), |named| named.owner.clone().unwrap_or_default());
    Ok((named.map(|named| named.name), limits(service, viewer, &owner)?))
}

/// Which symbols.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SymbolQuery {
    /// Part of a symbol or of its description.
    search: Option<String>,
    /// Most symbols, 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Symbols of a venue.
#[derive(Serialize, ToSchema)]
struct VenueSymbols {
    symbols: Vec<VenueSymbolNow>,
}

fn most(limit: Option<u32>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(SYMBOLS);
    if !(1..=SYMBOLS_MAX).contains(&limit) {
        return Err(ApiError::field("limit", format!("limit: {limit}, expected 1 to {SYMBOLS_MAX}")));
    }
    Ok(limit as usize)
}

/// Symbols of the venue's list.
#[utoipa::path(get, path = "/api/data-connections/{name}/symbols", tag = "connections",
    params(("name" = String, Path), SymbolQuery),
    responses((status = 200, description = "Those that fit", body = VenueSymbols), Refusals,
))]
async fn symbols(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<SymbolQuery>,
) -> Result<Json<VenueSymbols>, ApiError> {
    let limit = most(query.limit)?;
    let symbols = ask(&services, move |service| {
        let connection = managed(service, &viewer, &name)?;
        let limits = limits(service, &viewer, connection.owner.as_deref().unwrap_or_default())?;
        service.symbols(&name, query.search.as_deref().unwrap_or_default(), limit, &limits).map_err(refusal)
    });
    Ok(Json(VenueSymbols { symbols: symbols.await? }))
}

/// Symbols of the venue's list, by keys that are not kept; its own symbols need not be said.
#[utoipa::path(post, path = "/api/data-connections/symbols", tag = "connections", request_body = DraftConnection,
    responses((status = 200, description = "Those that fit", body = VenueSymbols), Refusals,
))]
async fn symbols_of_draft(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiJson(mut body): ApiJson<DraftConnection>,
) -> Result<Json<VenueSymbols>, ApiError> {
    let limit = most(body.limit)?;
    let symbols = ask(&services, move |service| {
        let (name, limits) = of_draft(service, &viewer, &body)?;
        let mut wanted = body.wanted();
        let search = (body.search.as_deref().unwrap_or_default(), limit);
        service.symbols_of_draft(name.as_deref(), &body.adapter, &mut wanted, &limits, search).map_err(refusal)
    });
    Ok(Json(VenueSymbols { symbols: symbols.await? }))
}

/// Refuses those who may not look into an account.
fn may_look(service: &Service, viewer: &Viewer, name: &str) -> Result<(), ApiError> {
    let connection = seen(service, viewer, name)?;
    match looks_into(viewer, &connection) {
        true => Ok(()),
        false => Err(ApiError::forbidden(format!("the account of {name} is for those who manage it"))),
    }
}

/// The state of the connection's trading account.
#[utoipa::path(get, path = "/api/data-connections/{name}/account", tag = "connections", params(("name" = String, Path)),
    responses((status = 200, description = "The account", body = AccountNow), Refusals,
))]
async fn account(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<AccountNow>, ApiError> {
    let account = ask(&services, move |service| {
        may_look(service, &viewer, &name)?;
        service.account(&name).map_err(refusal)
    });
    Ok(Json(account.await?))
}

/// Open positions.
#[derive(Serialize, ToSchema)]
struct Positions {
    positions: Vec<PositionNow>,
}

/// What is open in the connection's trading account.
#[utoipa::path(get, path = "/api/data-connections/{name}/positions", tag = "connections", params(("name" = String, Path)),
    responses((status = 200, description = "What is open", body = Positions), Refusals,
))]
async fn positions(
    viewer: Viewer,
    State(services): State<Shared>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Positions>, ApiError> {
    let positions = ask(&services, move |service| {
        may_look(service, &viewer, &name)?;
        service.positions(&name).map_err(refusal)
    });
    Ok(Json(Positions { positions: positions.await? }))
}
