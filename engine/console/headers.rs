//! What holds for every answer: whom it may be for, how long it may take, and what a browser may do with it.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, trace_span};

use super::ConsoleConfig;
use super::api::{ApiError, Shared};

/// How the console is reached.
pub(super) struct Reach {
    /// Names it is called by; empty: any.
    names: Vec<String>,
    /// Whether what comes has gone through a proxy that ends TLS.
    pub(super) behind_proxy: bool,
    /// Whether `/health` and `/metrics` need a sign-in too.
    pub(super) guards_figures: bool,
}

impl Reach {
    pub(super) fn new(config: &ConsoleConfig) -> Reach {
        let mut names: Vec<String> = config.hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        if config.listen.ip().is_loopback() {
            names.push("localhost".into());
        }
        Reach { names, behind_proxy: config.behind_tls_proxy, guards_figures: config.behind_tls_proxy }
    }

    /// Whether a request is for us. A page of another site can have its own name lead to this machine, and would then
    /// be answered as if it were ours; the name stays its own.
    fn is_called(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.names.is_empty()
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
            || address.is_ok_and(|address| address.is_loopback() && self.names.iter().any(|n| n == "localhost"))
    }
}

/// Longest body.
pub(super) const BODY_MAX: usize = 1024 * 1024;

/// Longest time until an answer begins; a stream may go on for longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Nothing from elsewhere, nothing written into the page itself, and in nobody's frame.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Stands around all routes.
pub(super) async fn guard(State(services): State<Shared>, request: Request, next: Next) -> Response {
    let is_page = !["/api/", "/health", "/metrics"].iter().any(|start| request.uri().path().starts_with(start));
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut response = if services.reach.is_called(host) {
        let late = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_slow", "this took too long and was given up");
        let span = trace_span!(target: "spans", "request", method = %request.method(), path = request.uri().path());
        let answered = tokio::time::timeout(ANSWER_WITHIN, next.run(request).instrument(span)).await;
        answered.unwrap_or_else(|_| late().into_response())
    } else {
        let problem = "the header Host does not name this console; `console.hosts` lists the names it is called by";
        ApiError::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", problem).into_response()
    };
    dress(response.headers_mut(), is_page, services.reach.behind_proxy);
    response
}

fn dress(headers: &mut HeaderMap, is_page: bool, is_tls: bool) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !is_page {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listen: &str, hosts: &[&str]) -> Reach {
        let (listen, hosts) =
            (listen.parse().unwrap_or_else(|_| unreachable!()), hosts.iter().map(|h| (*h).into()).collect());
        Reach::new(&ConsoleConfig {
            listen,
            hosts,
            behind_tls_proxy: false,
            session_idle_minutes: 1,
            session_hours: 1,
            allow_private_hosts: false,
        })
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_and_configured_ones_are_answered() {
        let local = reach("127.0.0.1:8080", &["desk.example"]);
        for host in
            ["localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "desk.example:443"]
        {
            assert!(local.is_called(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "10.0.0.1:8080",
            "127.0.0.1.evil.example",
        ] {
            assert!(!local.is_called(host), "{host}");
        }
        assert!(reach("0.0.0.0:8080", &[]).is_called("anything"));
        assert!(!reach("0.0.0.0:8080", &["desk.example"]).is_called("127.0.0.1"));
    }
}
