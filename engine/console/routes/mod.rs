//! The API: a file for each subject.

mod alerts;
mod bars;
mod gaps;
mod indicators;
mod instruments;
mod live;
mod openapi;
mod pipeline;
mod series;
mod sources;
mod statistics;
mod status;
mod terminals;
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
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(openapi::routes())
        .merge(status::routes())
        .merge(sources::routes())
        .merge(gaps::routes())
        .merge(pipeline::routes())
        .merge(terminals::routes())
        .merge(alerts::routes())
        .merge(instruments::routes())
        .merge(bars::routes())
        .merge(ticks::routes())
        .merge(indicators::routes())
        .merge(statistics::routes())
        .merge(live::routes())
        .split_for_parts()
}
