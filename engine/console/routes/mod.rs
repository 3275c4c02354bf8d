//! The API: a file for each subject.

mod gaps;
mod openapi;
mod pipeline;
mod sources;
mod status;
mod terminals;

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
        .split_for_parts()
}
