//! Sessions: tokens, what is asked under them, and the connection that prices come from.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::{RequestBuilder, Url};
use tickwire_schemas::words::Cause;

use super::{BROKER_CONNECT_S, Broker, VendorError, token};
use crate::feeds::event::Symbols;
use crate::feeds::net::{self, Check, Connection, Failure, Reply};
use crate::feeds::poll::{Poller, Question};

/// Symbols in one request: they travel in the URL, and servers take some 8 KB of it.
const SYMBOLS_PER_CALL: usize = 200;

/// How long an answer to a poll, or to the question whether the session stands, may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Questions in a row without any answer after which the session is given up: the socket may be well all the same.
const UNANSWERED_MAX: u32 = 3;

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Live prices.
    Prices,
    /// The rest, where prices are not connected.
    Aside,
}

/// The tokens of one source.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Of the session that prices come from; it may be over.
    prices: Mutex<Option<String>>,
    /// Of the other. Locked for as long as somebody logs in, so that only one does.
    aside: tokio::sync::Mutex<Option<String>>,
}

impl Tokens {
    fn prices(&self) -> Option<String> {
        self.prices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the token of the prices, where it is `old`.
    fn set_prices(&self, token: Option<&str>, old: Option<&str>) {
        let mut prices = self.prices.lock().unwrap_or_else(PoisonError::into_inner);
        if old.is_none() || prices.as_deref() == old {
            *prices = token.map(String::from);
        }
    }

    async fn forget(&self, token: &str) {
        self.set_prices(None, Some(token));
        self.aside.lock().await.take_if(|aside| aside == token);
    }
}

impl Broker {
    /// A new session's token.
    pub(super) async fn log_in(&self, of: Use) -> Result<String, Failure> {
        let refused = |key, e| Failure::new(Cause::LoginRefused, format!("{key}: {e}"));
        let password = self.settings.password.resolve().map_err(|e| refused("password", e))?;
        let wanted = self.settings.session.as_ref().map(|session| session.resolve()).transpose();
        let wanted = wanted.map_err(|e| refused("session", e))?;
        let wanted = wanted.map(|wanted| if of == Use::Aside { wanted + "-aside" } else { wanted });
        let seconds = BROKER_CONNECT_S.to_string();
        let mut query = vec![
            ("user", self.settings.user.as_str()),
            ("password", password.as_str()),
            ("server", self.settings.server.as_str()),
            ("connectTimeoutSeconds", seconds.as_str()),
        ];
        query.extend(wanted.as_deref().map(|wanted| ("id", wanted)));
        let blot = |failure: Failure| failure.without(&[password.as_str(), wanted.as_deref().unwrap_or_default()]);
        let reply = self.call("ConnectEx", &query).await.map_err(blot)?;
        token(&reply.body).ok_or_else(|| {
            let text = format!("ConnectEx answered \"{}\", expected a session token", reply.excerpt());
            blot(Failure::new(Cause::ProtocolError, text))
        })
    }

    /// Subscribes, and connects to where prices come from.
    pub(super) async fn subscribe(&self, token: &str, symbols: &Symbols) -> Result<Connection, Failure> {
        let names: Vec<_> = symbols.names().collect();
        for some in names.chunks(SYMBOLS_PER_CALL) {
            let mut query = vec![("id", token), ("interval", "0")];
            query.extend(some.iter().map(|name| ("symbols", *name)));
            self.call("SubscribeMany", &query).await?;
        }
        let socket = format!("{}/OnQuote?id={token}", self.stream_base);
        let connection = match net::websocket(&socket).await {
            Ok(connection) => connection.with_check(self.check(token)),
            Err(failure) if failure.cause == Cause::RateLimited => return Err(failure),
            Err(failure) => {
                let why = failure.without(&[token]);
                let (user, poll_ms) = (&self.settings.user, self.settings.poll_ms);
                tracing::warn!(user, poll_ms, "mtapi: the socket is refused ({why}): polling GetQuote instead");
                let retry = Duration::from_millis(self.settings.socket_retry_ms.into());
                self.polls(token, &names).await?.with_check(Some(Check::new(retry, move || look_for(socket.clone()))))
            }
        };
        // The server keeps its terminal logged in for every token that is not given back.
        let farewell = self.later("Disconnect", token);
        self.tokens.set_prices(Some(token), None);
        // Every message repeats the token.
        Ok(connection.with_secret(token.to_string()).with_farewell(farewell))
    }

    /// Answers to `GetQuote`, symbol by symbol.
    async fn polls(&self, token: &str, names: &[&str]) -> Result<Connection, Failure> {
        let base = format!("{}/GetQuote", self.settings.base_url);
        let question = |name: &&str| {
            let url = Url::parse_with_params(&base, &[("id", token), ("symbol", *name), ("msNotOlder", "0")]);
            let failed = |e| Failure::new(Cause::ConnectFailed, format!("GetQuote of {name}: {e}"));
            url.map(|url| Question { symbol: None, url: url.into() }).map_err(failed)
        };
        let questions = names.iter().map(question).collect::<Result<_, _>>()?;
        let interval = Duration::from_millis(self.settings.poll_ms.into());
        Poller::open(questions, HeaderMap::new(), interval, ANSWER_MAX).await.map(Connection::polls)
    }

    /// Looks whether the session stands, which no frame of the socket says.
    fn check(&self, token: &str) -> Option<Check> {
        let every = Duration::from_millis(self.settings.check_ms.into());
        let request = self.later("CheckConnect", token).filter(|_| !every.is_zero())?.timeout(ANSWER_MAX);
        let unanswered = Arc::new(AtomicU32::new(0));
        Some(Check::new(every, move || {
            let (request, unanswered) = (request.try_clone(), Arc::clone(&unanswered));
            Box::pin(async move {
                let Some(request) = request else { return Ok(()) };
                match stands(request).await {
                    Ok(verdict) => {
                        unanswered.store(0, Ordering::Relaxed);
                        verdict
                    }
                    Err(failure) if unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MAX => Err(failure),
                    Err(_) => Ok(()),
                }
            })
        }))
    }

    fn later(&self, endpoint: &str, token: &str) -> Option<RequestBuilder> {
        self.http.later(&format!("{}/{endpoint}", self.settings.base_url), &[("id", token)]).ok()
    }

    async fn call(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        let url = format!("{}/{endpoint}", self.settings.base_url);
        let response = self.http.get(&url, query, &[]).await?;
        if !response.status().is_success() {
            return Err(net::refused(response, VendorError::words_in).await);
        }
        let reply = Reply::read(response).await?;
        match VendorError::read(&reply.body) {
            Some(error) => Err(error.of(endpoint)),
            None => Ok(reply),
        }
    }

    /// What an endpoint answers under the prices' session, or under one of its own. A token that the server no longer
    /// knows is replaced once.
    pub(super) async fn ask(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            let mut query = query.to_vec();
            query.insert(0, ("id", &token));
            let asked = self.rest.get(&format!("/{endpoint}"), &query, &[], VendorError::words_in).await;
            let body = asked.map_err(|failure| failure.without(&[&token]))?;
            // Errors come as success.
            let Some(error) = VendorError::read(&body) else { return Ok(body) };
            if error.code == "INVALID_TOKEN" {
                self.tokens.forget(&token).await;
                if !std::mem::replace(&mut renewed, true) {
                    continue;
                }
            }
            return Err(error.of(endpoint).without(&[&token]));
        }
    }

    /// The token to ask with.
    pub(super) async fn token(&self) -> Result<String, Failure> {
        if let Some(token) = self.tokens.prices() {
            return Ok(token);
        }
        let mut aside = self.tokens.aside.lock().await;
        if let Some(token) = &*aside {
            return Ok(token.clone());
        }
        Ok(aside.insert(self.log_in(Use::Aside).await?).clone())
    }

    /// Gives the session back that was not for prices.
    pub(super) async fn log_out(&self) -> Result<(), Failure> {
        let Some(token) = self.tokens.aside.lock().await.take() else { return Ok(()) };
        let query = [("id", token.as_str())];
        let asked = self.rest.get("/Disconnect", &query, &[], |_| None).await;
        asked.map(|_| ()).map_err(|failure| failure.without(&[&token]))
    }
}

/// What `CheckConnect` says; an error when nobody says anything.
async fn stands(request: RequestBuilder) -> Result<Result<(), Failure>, Failure> {
    let silent = |e: reqwest::Error| Failure::new(Cause::ReadError, format!("CheckConnect: {}", e.without_url()));
    let response = request.send().await.map_err(silent)?;
    if !response.status().is_success() {
        return Ok(Err(net::refused(response, VendorError::words_in).await));
    }
    let reply = Reply::read(response).await?;
    if let Some(error) = VendorError::read(&reply.body) {
        return Ok(Err(error.of("CheckConnect")));
    }
    let said = reply.body.trim_ascii();
    let stands = said.eq_ignore_ascii_case(b"OK") || said.eq_ignore_ascii_case(b"\"OK\"");
    let odd =
        || Failure::new(Cause::ProtocolError, format!("CheckConnect answered \"{}\", expected OK", reply.excerpt()));
    Ok(if stands { Ok(()) } else { Err(odd()) })
}

/// Fails when the socket is there again: then the polls are over.
fn look_for(socket: String) -> net::Asking {
    Box::pin(async move {
        let Ok(connection) = net::websocket(&socket).await else { return Ok(()) };
        connection.close().await;
        Err(Failure::new(Cause::ClosedByPeer, "the socket is there again: no more polling"))
    })
}
