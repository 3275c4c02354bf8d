//! The HTTP client of a source, and the headers that it may be told to send.

use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Response;
use tickwire_schemas::words::Cause;

use super::{Failure, causes};

/// An HTTP client of one source. Made at its first request, since that may read certificates from disk.
#[derive(Debug)]
pub struct Http {
    secure: bool,
    idle_max: usize,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Http {
    /// A client for requests below `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Http { secure: base.starts_with("https"), idle_max: 0, client: OnceLock::new() }
    }

    /// The same, keeping its connection for the next request.
    #[must_use]
    pub fn kept(base: &str) -> Self {
        Http { idle_max: 1, ..Http::new(base) }
    }

    /// Makes the client now, where reading from disk holds up nobody. What is wrong with it is said by the first request.
    pub fn warm(&self) {
        let _ = self.client();
    }

    fn client(&self) -> Result<&reqwest::Client, Failure> {
        let made = self.client.get_or_init(|| client(self.secure, self.idle_max)).as_ref();
        made.map_err(|e| Failure::new(Cause::ConnectFailed, e.clone()))
    }

    /// A GET to send later.
    ///
    /// # Errors
    /// [`Cause::ConnectFailed`] when there is no client.
    pub fn later(&self, url: &str, query: &[(&str, &str)]) -> Result<reqwest::RequestBuilder, Failure> {
        Ok(self.client()?.get(url).query(query))
    }

    /// Sends a GET and returns when the head of the reply is there.
    ///
    /// # Errors
    /// [`Cause::ConnectFailed`], without the URL: it may hold a password.
    pub async fn get(
        &self,
        url: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, String)],
    ) -> Result<Response, Failure> {
        send(self.later(url, query)?, headers).await
    }

    /// Sends a POST of a form and returns when the head of the reply is there.
    ///
    /// # Errors
    /// As [`Http::get`].
    pub async fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        headers: &[(&'static str, String)],
    ) -> Result<Response, Failure> {
        let request = self.client()?.post(url).header("content-type", "application/x-www-form-urlencoded");
        send(request.body(query(form)), headers).await
    }
}

async fn send(request: reqwest::RequestBuilder, headers: &[(&'static str, String)]) -> Result<Response, Failure> {
    let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, value));
    request.send().await.map_err(|e| Failure::new(Cause::ConnectFailed, causes(&e.without_url())))
}

/// Pairs as in the query of a URL or in a form.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    // It is the query of a URL that does the escaping; this one can always be read.
    let url = reqwest::Url::parse_with_params("http://query", pairs).ok();
    url.and_then(|url| url.query().map(String::from)).unwrap_or_default()
}

fn client(secure: bool, idle_max: usize) -> Result<reqwest::Client, String> {
    install_crypto();
    let builder = reqwest::Client::builder()
        .http1_only()
        .tcp_nodelay(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(idle_max)
        .user_agent(concat!("tickwire/", env!("CARGO_PKG_VERSION")));
    // Plain HTTP needs no certificates, and a machine without any must not fail for their lack.
    let builder = if secure { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|e| format!("the HTTP client cannot be made: {}", causes(&e)))
}

/// Chooses the cryptography that all of the engine uses. Safe to repeat.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Headers from their names and values.
///
/// # Errors
/// One sentence naming the header; never its value.
pub fn headers<'a>(pairs: impl IntoIterator<Item = (&'a String, String)>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let key = HeaderName::try_from(name.as_str()).map_err(|_| format!("\"{name}\" is not a name of a header"))?;
        let mut value =
            HeaderValue::try_from(value).map_err(|_| format!("{name}: not a value that a header can hold"))?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}
