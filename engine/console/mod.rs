//! HTTP: `/health`, `/metrics`, the API and the pages.

mod api;
mod assets;
mod desk;
mod extract;
mod headers;
mod health;
mod live;
mod routes;
mod viewer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use api::{ApiError, Services, Shared};
pub use desk::{Desk, EndpointNow};
use headers::Reach;
use health::Sampler;
pub use health::{Facts, LastSeen, QueueFill, Shown, View, never_seen};
pub use live::{Board, Following, follow};

use crate::config::{Config, ConfigError};
use crate::control::settings::Settings;
use crate::control::users::{Hidden, Lifetimes, Users};
use crate::{clock, metrics};

/// The section `[console]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names it is called by, beside those of this machine.
    pub hosts: Vec<String>,
    /// Whether a proxy that ends TLS stands in front of it.
    pub behind_tls_proxy: bool,
    /// A session that is not used for so long ends.
    pub session_idle_minutes: u32,
    /// A session ends after so long, used or not.
    pub session_hours: u32,
    /// Whether users may make connections to this machine and to private networks.
    #[serde(default)]
    pub allow_private_hosts: bool,
}

impl ConsoleConfig {
    /// Parses the section.
    ///
    /// # Errors
    /// [`ConfigError::Key`], also for an address that is not loopback without a proxy that ends TLS.
    pub fn parse(config: &Config) -> Result<ConsoleConfig, ConfigError> {
        let parsed: ConsoleConfig = config.section("console")?;
        if !parsed.listen.ip().is_loopback() && !parsed.behind_tls_proxy {
            let problem = format!(
                "{} is not loopback; passwords would cross the network in clear: put a proxy that ends TLS in front and \
                 set console.behind_tls_proxy",
                parsed.listen
            );
            return Err(config.bad_key("console.listen", problem));
        }
        let hours = u64::from(parsed.session_hours);
        if !(1..=24 * 90).contains(&hours) {
            return Err(config.bad_key("console.session_hours", format!("{hours}, expected 1 to {}", 24 * 90)));
        }
        let minutes = u64::from(parsed.session_idle_minutes);
        if !(5..=60 * hours).contains(&minutes) {
            let problem = format!("{minutes}, expected 5 to {} (console.session_hours)", 60 * hours);
            return Err(config.bad_key("console.session_idle_minutes", problem));
        }
        Ok(parsed)
    }

    /// How long sessions last.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        let minute_ns = 60_000_000_000;
        let idle_ns = i64::from(self.session_idle_minutes) * minute_ns;
        Lifetimes { idle_ns, most_ns: i64::from(self.session_hours) * 60 * minute_ns }
    }
}

/// A running console.
pub struct ConsoleHandle {
    address: SocketAddr,
    first_run: Option<Hidden>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl ConsoleHandle {
    /// Where it listens, with the port that was given for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The link that makes the first administrator, once; none when there is one. Whoever has it may everything.
    #[must_use]
    pub fn first_run(&self) -> Option<String> {
        let token = self.first_run.as_ref()?;
        Some(format!("http://{}/first-run#{}", self.address, token.show()))
    }

    /// Stops listening; requests under way are cut off.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// Passwords that are hashed at one time.
const HASHING_MAX: usize = 2;
/// How long stopping waits for what blocks.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// How often rates are sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Starts the console on a thread of its own.
///
/// # Errors
/// One sentence when the port is taken, the control database is not to be had or the thread cannot be started.
pub fn start(
    config: &ConsoleConfig,
    state_dir: &Path,
    users: Arc<Users>,
    facts: Arc<Facts>,
) -> Result<ConsoleHandle, String> {
    let occupied = |e| format!("console.listen: cannot listen on {}: {e}", config.listen);
    let listener = std::net::TcpListener::bind(config.listen).map_err(occupied)?;
    listener.set_nonblocking(true).map_err(occupied)?;
    let address = listener.local_addr().map_err(occupied)?;
    let (stop, mut stopped) = watch::channel(false);
    let (shown, live, market_data) = (facts.shown.clone(), Arc::clone(&facts.live), facts.market_data.clone());
    let desk = Arc::clone(&facts.desk);
    let sampler = Arc::new(Sampler::new(facts));
    let first_run = users.open_first_run().map_err(|e| e.to_string())?;
    let services = Arc::new(Services {
        sampler: Arc::clone(&sampler),
        shown,
        live,
        streams: Arc::default(),
        market_data,
        jobs: Arc::clone(&desk.jobs),
        desk,
        state_dir: state_dir.into(),
        settings: Arc::new(Settings::open(state_dir).map_err(|e| e.to_string())?),
        users,
        reach: Reach::new(config),
        hashing: Semaphore::new(HASHING_MAX),
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("console: {e}"))?;
    let serve = async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("console: {error}"),
        };
        if let Some(market_data) = services.market_data.clone() {
            tokio::spawn(async move { market_data.count_once_up().await });
        }
        let sampling = Arc::clone(&sampler);
        let users = Arc::clone(&services.users);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(SAMPLE_EVERY);
            loop {
                interval.tick().await;
                sampling.sample(clock::now_ns());
                let users = Arc::clone(&users);
                let refreshed = tokio::task::spawn_blocking(move || users.refresh_if_changed()).await;
                if let Ok(Err(error)) = refreshed {
                    tracing::warn!("console: tokens of terminals: {error}");
                }
            }
        });
        let app = Router::new().route("/health", get(health_page)).route("/metrics", get(metrics_page));
        let app = app.merge(routes::all().0).merge(assets::routes()).method_not_allowed_fallback(wrong_method);
        let app = app.layer(from_fn_with_state(Arc::clone(&services), viewer::identify));
        let app = app.layer(DefaultBodyLimit::max(headers::BODY_MAX));
        let app = app.layer(from_fn_with_state(Arc::clone(&services), headers::guard)).with_state(services);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::select! {
            served = async { axum::serve(listener, app).await } => if let Err(error) = served {
                tracing::error!("console: {error}");
            },
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    };
    let thread = std::thread::Builder::new()
        .name("tw-console".into())
        .spawn(move || {
            runtime.block_on(serve);
            // Whoever still waits for a venue is not waited for.
            runtime.shutdown_timeout(LEAVE_WITHIN);
        })
        .map_err(|e| format!("console: {e}"))?;
    Ok(ConsoleHandle { address, first_run, stop, thread })
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", "this is not done by this method")
}

async fn health_page(State(services): State<Shared>) -> Response {
    let (serves, body) = services.sampler.health(clock::now_ns());
    let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metrics_page() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render()).into_response()
}
