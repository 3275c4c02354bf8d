//! What the document says of all routes alike: how they are guarded, and what they answer when something is wrong.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr};

use crate::console::viewer::COOKIE;

/// Completes the document.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let key = |name: &str, text: &str| ApiKeyValue::with_description(name, text);
    let session = ApiKey::Cookie(key(COOKIE, "Set by signing in"));
    let csrf = ApiKey::Header(key("X-CSRF-Token", "csrf_token of the session"));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token")).build();
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    components.add_security_scheme("csrf", SecurityScheme::ApiKey(csrf));
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    document.paths.paths.values_mut().for_each(complete_path);
}

fn complete_path(item: &mut PathItem) {
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
