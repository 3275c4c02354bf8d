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
    for (path, item) in &mut document.paths.paths {
        complete_path(path, item);
    }
}

fn complete_path(path: &str, item: &mut PathItem) {
    let by_session = || SecurityRequirement::new("session", NO_SCOPES);
    for (method, operation) in [("get", &mut item.get), ("head", &mut item.head)] {
        complete_operation(operation.as_mut(), method, path, by_session());
    }
    let changing =
        [("post", &mut item.post), ("put", &mut item.put), ("patch", &mut item.patch), ("delete", &mut item.delete)];
    for (method, operation) in changing {
        complete_operation(operation.as_mut(), method, path, by_session().add("csrf", NO_SCOPES));
    }
}

/// Its id is made of method and path: functions in different files have the same names.
fn complete_operation(operation: Option<&mut Operation>, method: &str, path: &str, by_session: SecurityRequirement) {
    let Some(operation) = operation else { return };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !["", "api"].contains(word));
    operation.operation_id = Some([method].into_iter().chain(words).collect::<Vec<_>>().join("_"));
    guard(operation, by_session);
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
        // A word that is a route of its own may stand where a name does.
        all.push(("405", "Not done by this method"));
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
