//! What routes take of a request: refused in the API's own shape, and without repeating what was sent, which may be a
//! secret.

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::api::ApiError;

/// A JSON body. 400 when it is no JSON, 413 when it is too long, 422 with the field when one is missing or wrong.
pub(super) struct ApiJson<T>(pub(super) T);

/// The query string. 400 when it does not fit.
pub(super) struct ApiQuery<T>(pub(super) T);

/// The parts of the path that vary. 404 when they cannot be what they stand for: there is no such thing.
pub(super) struct ApiPath<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !says_json(request.headers()) {
            return Err(ApiError::malformed("Content-Type: expected application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is too long, expected at most 1 MiB",
            ),
            _ => ApiError::malformed("the body did not come whole"),
        })?;
        parse(&bytes).map(ApiJson)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(ApiQuery(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let (_, problem) = text.split_once(": ").unwrap_or(("", &text));
                Err(ApiError::malformed(format!("the query: {problem}")))
            }
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(ApiPath(value)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Err(ApiError::not_found(parts.uri.path())),
            Err(other) => Err(ApiError::internal(other)),
        }
    }
}

/// No form of another site can send this type without being asked first.
fn says_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // A list would be taken as the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::malformed("the body: expected an object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(&path, &error.into_inner())
    })?;
    json.end().map_err(|error| ApiError::malformed(format!("the body is no JSON: {error}")))?;
    Ok(value)
}

/// What is wrong with a body.
fn refused(path: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
    if !error.is_data() {
        return ApiError::malformed(format!("the body is no JSON: {error}"));
    }
    // These say what was found, which is what was sent.
    let repeats = ["invalid type", "invalid value", "invalid length", "unknown variant"];
    let problem = match text.rsplit_once(", expected ") {
        Some((_, expected)) if repeats.iter().any(|start| text.starts_with(start)) => format!("expected {expected}"),
        _ => text.to_string(),
    };
    // The path leads to what should have held it.
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let parent = if path == "." || path == "?" { "" } else { path };
    match (parent, missing) {
        ("", None) => ApiError::malformed(format!("the body: {problem}")),
        ("", Some(field)) => ApiError::field(field, format!("{field}: is missing")),
        (parent, Some(field)) => ApiError::field(format!("{parent}.{field}"), format!("{parent}.{field}: is missing")),
        (parent, None) => ApiError::field(parent, format!("{parent}: {problem}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        count: u32,
    }

    #[test]
    fn a_wrong_body_is_told_by_its_field_and_never_repeated() {
        let told = |body: &str| format!("{:?}", parse::<Body>(body.as_bytes()).unwrap_err());
        for (body, status, field) in [
            ("", "400", "None"),
            ("{\"name\": ", "400", "None"),
            ("[]", "400", "None"),
            (" [\"a\", null]", "400", "None"),
            ("{} {}", "422", "Some(\"name\")"),
            ("{\"name\":\"a\"} x", "400", "None"),
            ("{\"name\":{\"canary\":1}}", "422", "Some(\"name\")"),
            ("{\"name\":\"a\",\"inner\":{\"count\":\"canary\"}}", "422", "Some(\"inner.count\")"),
            ("{\"name\":\"a\",\"inner\":{}}", "422", "Some(\"inner.count\")"),
        ] {
            let error = told(body);
            assert!(error.contains(status) && error.contains(field), "{body}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let body: Body = parse(b"{\"name\":\"a\",\"inner\":{\"count\":1}}").unwrap();
        assert_eq!((body.name.as_str(), body.inner.unwrap().count), ("a", 1));
    }
}
