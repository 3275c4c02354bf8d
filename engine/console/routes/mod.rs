//! The API: a file for each subject.

mod document;
mod series;

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

/// Names every subject once.
macro_rules! subjects {
    ($($subject:ident)*) => {
        $(mod $subject;)*

        /// All routes, and the document that describes them.
        pub(super) fn all() -> (axum::Router<Shared>, utoipa::openapi::OpenApi) {
            let routes = OpenApiRouter::with_openapi(Document::openapi())$(.merge($subject::routes()))*;
            let (router, mut document) = routes.split_for_parts();
            document::complete(&mut document);
            (router, document)
        }
    };
}

subjects! {
    openapi
    session users tokens settings
    status sources gaps pipeline terminals alerts
    adapters connections
    jobs backfill storage
    instruments bars ticks indicators statistics live
}
