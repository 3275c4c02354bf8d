//! The API: a file for each subject.

mod document;
mod gaps;
mod openapi;
mod pipeline;
mod session;
mod settings;
mod sources;
mod status;
mod terminals;
mod tokens;
mod users;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::api::{ErrorBody, Shared};

/// The document's head; paths and shapes come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tickwire", description = "The console's API. Sign in for a cookie, or show an API token."),
    components(schemas(ErrorBody))
)]
struct Document;

/// All routes, and the document that describes them.
pub(super) fn all() -> (axum::Router<Shared>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(openapi::routes())
        .merge(session::routes())
        .merge(settings::routes())
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(status::routes())
        .merge(sources::routes())
        .merge(gaps::routes())
        .merge(pipeline::routes())
        .merge(terminals::routes())
        .split_for_parts();
    document::complete(&mut document);
    (router, document)
}
