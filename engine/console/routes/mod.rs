//! The API: a file for each subject.

mod series;

use axum::routing::any;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::api::{ApiError, ErrorBody, Shared};
use super::viewer::COOKIE;

/// The document's head; paths and shapes come from the routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "Tickwire", description = "The console's API. Sign in for a cookie, or show an API token."),
    components(schemas(ErrorBody)),
    modifiers(&Schemes)
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
            document.paths.paths.values_mut().for_each(complete);
            (router.route("/api/{*path}", any(nothing)), document)
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
async fn nothing() -> ApiError {
    ApiError::not_found("a route of this path")
}

/// The ways to show who one is.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let key = |name: &str, text: &str| ApiKeyValue::with_description(name, text);
        let session = ApiKey::Cookie(key(COOKIE, "Set by signing in"));
        let csrf = ApiKey::Header(key("X-CSRF-Token", "csrf_token of the session"));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token")).build();
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
        components.add_security_scheme("csrf", SecurityScheme::ApiKey(csrf));
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// Says of each operation what holds for all: how it is guarded, and what it answers when something is wrong.
fn complete(item: &mut PathItem) {
    for operation in [&mut item.get, &mut item.head].into_iter().flatten() {
        guard(operation, SecurityRequirement::new("session", NO_SCOPES));
    }
    for operation in [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten() {
        guard(operation, SecurityRequirement::new("session", NO_SCOPES).add("csrf", NO_SCOPES));
    }
}

const NO_SCOPES: [&str; 0] = [];

fn guard(operation: &mut Operation, by_session: SecurityRequirement) {
    let mut all = vec![("503", "It took too long, or something that it needs is away")];
    // A route that is open to everybody says so itself.
    if operation.security.is_none() {
        operation.security = Some(vec![by_session, SecurityRequirement::new("token", NO_SCOPES)]);
        all.extend([("401", "Not signed in"), ("403", "Not allowed")]);
    }
    if operation.request_body.is_some() {
        all.extend([("413", "The body is too long"), ("422", "A field is wrong")]);
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        all.extend([("404", "It is not there, or not the viewer's"), ("422", "A parameter is wrong")]);
    }
    all.extend([("400", "The request makes no sense"), ("421", "The header Host is another's")]);
    for (status, text) in all {
        operation.responses.responses.entry(status.into()).or_insert_with(|| RefOr::T(problem(text)));
    }
}

fn problem(text: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    ResponseBuilder::new().description(text).content("application/json", content).build()
}
