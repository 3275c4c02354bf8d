//! Who asks, and what they may.
//!
//! Each request to the API is looked up once, before any route sees it; a route that takes a [`Viewer`] is closed to
//! whoever was not recognized. Answers that go on for long end when whoever asked is not let in any more.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use globset::{Glob, GlobSet};
use subtle::ConstantTimeEq;

use super::api::{ApiError, Shared, blocking};
use super::headers::Reach;
use crate::clock;
use crate::control::users::{self, Actor, Permission, Role, SignedIn, Ticket};
use crate::market::{Scope, Source};

/// Whoever a request is from. A route that takes one is closed to everybody else.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// Name of the user.
    pub(super) name: String,
    /// What kind of user.
    pub(super) role: Role,
    /// What a member of staff may.
    pub(super) permissions: Vec<Permission>,
    /// Global sources they may read; `None` means all.
    pub(super) sources: Option<GlobSet>,
    /// How they showed who they are.
    pub(super) signed_in: SignedIn,
    /// Where from.
    pub(super) address: Option<IpAddr>,
}

impl Viewer {
    fn new(signed_in: SignedIn, address: Option<IpAddr>) -> Result<Viewer, ApiError> {
        let user = &signed_in.user;
        let sources = user.sources.as_deref().map(globs).transpose().map_err(ApiError::internal)?;
        let (name, role, permissions) = (user.name.clone(), user.role, user.permissions.clone());
        Ok(Viewer { name, role, permissions, sources, signed_in, address })
    }

    /// Somebody for tests, who has signed in and reads all.
    #[cfg(test)]
    pub(super) fn sample(name: &str, role: Role, permissions: &[Permission]) -> Viewer {
        let user = users::User {
            id: 1,
            name: name.into(),
            role,
            permissions: permissions.to_vec(),
            disabled: false,
            totp: false,
            sources: None,
            created_ns: 0,
            changed_ns: 0,
            last_signed_in_ns: None,
        };
        let ticket = Ticket::Session([0; 32]);
        let signed_in = SignedIn { user, ticket, csrf: None, scopes: None, expires_ns: None };
        Viewer { name: name.into(), role, permissions: permissions.to_vec(), sources: None, signed_in, address: None }
    }

    /// As the audit names them.
    pub(super) fn actor(&self) -> Actor {
        let (name, permissions) = (self.name.clone(), self.permissions.clone());
        Actor::User { name, role: self.role, permissions, address: self.address }
    }

    /// Lets only those through who signed in themselves: a token does not change what it hangs on.
    pub(super) fn needs_session(&self) -> Result<(), ApiError> {
        match self.signed_in.ticket {
            Ticket::Session(_) => Ok(()),
            Ticket::Token(_) => {
                let problem = "this is for people who have signed in, not for tokens";
                Err(ApiError::new(StatusCode::FORBIDDEN, "session_needed", problem))
            }
        }
    }

    /// Whether they have the permission.
    pub(super) fn has(&self, permission: Permission) -> bool {
        match self.role {
            Role::Administrator => true,
            Role::Staff => self.permissions.contains(&permission),
            Role::User | Role::Demo => false,
        }
    }

    /// Lets only those through who have the permission.
    pub(super) fn needs(&self, permission: Permission) -> Result<(), ApiError> {
        if self.has(permission) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("this needs the permission {}", permission.word())))
    }

    /// Whether they may read what a source says.
    pub(super) fn reads(&self, source: &Source) -> bool {
        self.reads_of(source.scope, &source.owner, &source.name)
    }

    /// The same of a source by its parts. Nobody else's private source is ever read, not even by administrators: they
    /// manage the connection, its prices are the owner's.
    pub(super) fn reads_of(&self, scope: Scope, owner: &str, name: &str) -> bool {
        match scope {
            Scope::Private => owner == self.name,
            Scope::Global => self.sources.as_ref().is_none_or(|sources| sources.is_match(name)),
        }
    }

    /// Whether they may see that a connection is there and how it is: their own, the global ones they may read, and all
    /// for those who manage connections.
    pub(super) fn sees_connection(&self, owner: &str, name: &str) -> bool {
        let scope = if owner.is_empty() { Scope::Global } else { Scope::Private };
        self.has(Permission::ManageDataConnections) || self.reads_of(scope, owner, name)
    }

    /// Whether they may change it.
    pub(super) fn manages_connection(&self, owner: &str) -> bool {
        let own = !owner.is_empty() && owner == self.name;
        self.role != Role::Demo && (own || self.has(Permission::ManageDataConnections))
    }
}

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Viewer, ApiError> {
        let Identity(who) = parts.extensions.get().ok_or_else(ApiError::not_signed_in)?;
        Result::clone(who)
    }
}

fn globs(texts: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSet::builder();
    for text in texts {
        set.add(Glob::new(text)?);
    }
    set.build()
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Peer, ApiError> {
        Ok(parts.extensions.get().copied().unwrap_or(Peer(None)))
    }
}

/// Whom a request is from, or why it is from nobody.
#[derive(Clone)]
struct Identity(Arc<Result<Viewer, ApiError>>);

/// Finds out whom a request is from, for what routes it needs to know that.
pub(super) async fn identify(State(services): State<Shared>, mut request: Request, next: Next) -> Response {
    let guarded = services.reach.guards_figures && matches!(request.uri().path(), "/health" | "/metrics");
    if !guarded && !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let peer = peer(&services.reach, &request);
    let who = who(&services, request.method(), request.uri(), request.headers(), peer).await;
    if guarded && let Err(error) = who {
        return error.into_response();
    }
    let shown = who.as_ref().ok().map(|viewer| viewer.signed_in.clone());
    request.extensions_mut().insert(Peer(peer));
    request.extensions_mut().insert(Identity(Arc::new(who)));
    let response = next.run(request).await;
    match shown {
        Some(shown) if is_event_stream(&response) => while_let_in(response, services, shown),
        _ => response,
    }
}

/// The peer's address; behind a proxy that which the proxy has added itself, the last one.
fn peer(reach: &Reach, request: &Request) -> Option<IpAddr> {
    let told = request.headers().get_all("x-forwarded-for").iter().next_back();
    let told = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    let direct = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    told.filter(|_| reach.behind_proxy).or(direct)
}

async fn who(
    services: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<Viewer, ApiError> {
    let users = Arc::clone(&services.users);
    let now_ns = clock::machine_ns();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let viewer = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let token = value.to_str().ok().and_then(bearer).ok_or_else(ApiError::not_signed_in)?.to_string();
            let found = blocking(move || Ok(users.by_token(&token, now_ns)?)).await?;
            let signed_in = found.ok_or_else(ApiError::not_signed_in)?;
            let (scope, word) = if reads { (users::Scope::Read, "read") } else { (users::Scope::Write, "write") };
            if !signed_in.scopes.as_ref().is_some_and(|scopes| scopes.contains(&scope)) {
                let problem = format!("this token lacks the scope {word}");
                return Err(ApiError::new(StatusCode::FORBIDDEN, "scope", problem));
            }
            Viewer::new(signed_in, peer)?
        }
        None => {
            let id = cookie(headers).ok_or_else(ApiError::not_signed_in)?.to_string();
            let found = blocking(move || Ok(users.by_session(&id, now_ns)?)).await?;
            let signed_in = found.ok_or_else(ApiError::not_signed_in)?;
            if !reads && !has_csrf(headers, signed_in.csrf.as_deref()) {
                let problem = "the header X-CSRF-Token does not hold the csrf_token of this session";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "csrf", problem));
            }
            Viewer::new(signed_in, peer)?
        }
    };
    let signs_out = method == Method::DELETE && uri.path() == "/api/session";
    if viewer.role == Role::Demo && !reads && !signs_out {
        return Err(ApiError::forbidden("this account looks on and changes nothing"));
    }
    Ok(viewer)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Name of the cookie that holds the session's id.
pub(super) const COOKIE: &str = "tickwire_session";

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn has_csrf(headers: &HeaderMap, expected: Option<&str>) -> bool {
    let given = headers.get("x-csrf-token").map(|value| value.as_bytes());
    given.zip(expected).is_some_and(|(given, expected)| given.ct_eq(expected.as_bytes()).into())
}

/// How often it is looked whether a long answer may go on.
const LOOK_EVERY: Duration = Duration::from_secs(2);

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

/// Ends an answer when who asked has signed out, was disabled or may something else than then.
fn while_let_in(response: Response, services: Shared, shown: SignedIn) -> Response {
    let ended = async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (users, ticket) = (Arc::clone(&services.users), shown.ticket.clone());
            let changed_ns = shown.user.changed_ns;
            let still = blocking(move || Ok(users.still(&ticket, changed_ns, clock::machine_ns())?)).await;
            if !still.unwrap_or(false) {
                break;
            }
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(ended))))
}
