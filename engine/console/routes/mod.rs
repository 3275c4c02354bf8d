//! The API: a file for each subject.

mod series;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::api::Shared;

/// The document's head; paths and shapes come from the routes.
#[derive(OpenApi)]
#[openapi(info(title = "Tickwire", description = "The console's API."))]
struct Document;

/// Names every subject once.
macro_rules! subjects {
    ($($subject:ident)*) => {
        $(mod $subject;)*

        /// All routes, and the document that describes them.
        pub(super) fn all() -> (axum::Router<Shared>, utoipa::openapi::OpenApi) {
            OpenApiRouter::with_openapi(Document::openapi())$(.merge($subject::routes()))*.split_for_parts()
        }
    };
}

subjects! {
    openapi
    status sources gaps pipeline terminals alerts
    adapters connections
    jobs backfill storage
    instruments bars ticks indicators statistics live
}
