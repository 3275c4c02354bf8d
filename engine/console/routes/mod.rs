//! The API: a file for each subject.

mod bars;
mod indicators;
mod instruments;
mod live;
mod openapi;
mod series;
mod statistics;
mod ticks;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::api::Shared;

/// The document's head; paths and shapes come from the routes.
#[derive(OpenApi)]
#[openapi(info(title = "Tickwire", description = "The console's API."))]
struct Document;

/// All routes, and the document that describes them.
pub(super) fn all() -> (axum::Router<Shared>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::with_openapi(Document::openapi()).merge(openapi::routes());
    let routes = routes.merge(instruments::routes()).merge(bars::routes()).merge(ticks::routes());
    let routes = routes.merge(indicators::routes()).merge(statistics::routes()).merge(live::routes());
    routes.split_for_parts()
}
