//! The pages and what they are made of, embedded: `build.rs` makes the table from `web/`.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::api::{ApiError, Shared};

/// A file as it was built.
struct File {
    /// Its media type.
    kind: &'static str,
    /// Quoted, a hash of the bytes.
    etag: &'static str,
    bytes: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Addresses of pages. The page that comes is always the same; which one is shown is the front end's doing.
const PAGES: &[&str] = &[
    "/",
    "/sign-in",
    "/first-run",
    "/connections",
    "/connections/new",
    "/connections/{name}",
    "/live",
    "/symbols/{symbol}",
    "/sources",
    "/market-data",
    "/gaps",
    "/jobs",
    "/storage",
    "/pipeline",
    "/terminals",
    "/users",
    "/alerts",
    "/settings",
    "/account",
    "/docs",
    "/docs/{topic}",
];

/// The name of an asset holds a hash of what is in it, so it never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The page names the assets: it is asked for each time, and mostly found unchanged.
const EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

/// Pages, assets, and the answer to every other address.
pub(super) fn routes() -> Router<Shared> {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/assets/{name}", get(asset)).fallback(nothing)
}

async fn page(headers: HeaderMap) -> Response {
    serve("index.html", &headers, StatusCode::OK, EACH_TIME)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&format!("assets/{name}"), &headers, StatusCode::OK, FOR_EVER)
}

/// To people a page that says so, to programs the API's own words.
async fn nothing(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let reads = method == Method::GET || method == Method::HEAD;
    let is_page = !["/api", "/assets"]
        .iter()
        .any(|prefix| uri.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    let wants_page = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if reads && is_page && wants_page {
        return serve("index.html", &headers, StatusCode::NOT_FOUND, EACH_TIME);
    }
    ApiError::not_found(uri.path()).into_response()
}

fn serve(name: &str, headers: &HeaderMap, status: StatusCode, caching: HeaderValue) -> Response {
    let Some(file) = file(name) else { return ApiError::not_found(name).into_response() };
    let fixed = [
        (header::CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (header::ETAG, HeaderValue::from_static(file.etag)),
        (header::CACHE_CONTROL, caching),
        (header::VARY, HeaderValue::from_static("Accept-Encoding")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if status == StatusCode::OK && known.is_some_and(|tags| is_among(tags, file.etag)) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let taken = headers.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    let (encoding, bytes) = match (file.brotli, file.gzip) {
        (Some(packed), _) if accepts(taken, "br") => (Some("br"), packed),
        (_, Some(packed)) if accepts(taken, "gzip") => (Some("gzip"), packed),
        _ => (None, file.bytes),
    };
    let mut response = (status, fixed, Body::from(bytes)).into_response();
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether a list of entity tags holds this one. A weak one is as good: the bytes behind it are the same.
fn is_among(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether `Accept-Encoding` takes the encoding: named, and not with a weight of zero.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asset_name(ending: &str) -> String {
        let page = String::from_utf8(file("index.html").unwrap().bytes.to_vec()).unwrap();
        let path = page.split('"').find(|part| part.starts_with("/assets/") && part.ends_with(ending)).unwrap();
        path.trim_start_matches('/').to_string()
    }

    #[test]
    fn the_page_names_assets_that_are_served_packed_as_asked() {
        let script = asset_name(".js");
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        let response = serve(&script, &headers, StatusCode::OK, FOR_EVER);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "br");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("br;q=0, identity"));
        assert!(!serve(&script, &headers, StatusCode::OK, FOR_EVER).headers().contains_key(header::CONTENT_ENCODING));
        let tag = file(&script).unwrap().etag;
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&format!("\"other\", W/{tag}")).unwrap());
        assert_eq!(serve(&script, &headers, StatusCode::OK, FOR_EVER).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn the_page_runs_under_a_policy_without_inline_scripts_and_styles() {
        let page = std::str::from_utf8(file("index.html").unwrap().bytes).unwrap();
        for script in page.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains("src=\"/assets/"), "inline: {script}");
        }
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("http"));
    }

    #[test]
    fn nothing_but_what_was_built_is_served() {
        for name in ["assets/../index.html", "assets/..%2findex.html", "assets/", "/etc/passwd", "files.tsv"] {
            assert!(file(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_page_of_the_front_end_has_its_address_here() {
        let routes = include_str!("web/routes.ts");
        let paths = routes.split("path: \"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut seen = 0;
        for path in paths {
            let address: Vec<String> = path
                .split('/')
                .map(|part| part.strip_prefix(':').map_or(part.into(), |name| format!("{{{name}}}")))
                .collect();
            assert!(PAGES.contains(&address.join("/").as_str()), "the engine does not serve {path}");
            seen += 1;
        }
        assert!(seen > 5);
    }
}
