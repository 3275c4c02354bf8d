//! HTTP: `/health`, `/metrics`, the API and the pages.

mod api;
mod assets;
mod desk;
mod extract;
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
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::watch;

use api::{Services, Shared};
pub use desk::{Desk, EndpointNow};
use health::Sampler;
pub use health::{Facts, LastSeen, QueueFill, Shown, View, never_seen};
pub use live::{Board, Following, follow};

use crate::config::{Config, ConfigError};
use crate::{clock, metrics};

/// The section `[console]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether users may make connections to this machine and to private networks.
    #[serde(default)]
    pub allow_private_hosts: bool,
}

impl ConsoleConfig {
    /// Parses the section.
    ///
    /// # Errors
    /// [`ConfigError::Key`], also for an address that is not loopback: the console has no sign-in yet.
    pub fn parse(config: &Config) -> Result<ConsoleConfig, ConfigError> {
        let parsed: ConsoleConfig = config.section("console")?;
        if !parsed.listen.ip().is_loopback() {
            let problem = format!(
                "{} is not loopback; the console has no sign-in yet and serves this machine only",
                parsed.listen
            );
            return Err(config.bad_key("console.listen", problem));
        }
        Ok(parsed)
    }
}

/// A running console.
pub struct ConsoleHandle {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl ConsoleHandle {
    /// Where it listens, with the port that was given for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening; requests under way are cut off.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// How often rates are sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Starts the console on a thread of its own.
///
/// # Errors
/// One sentence when the port is taken or the thread cannot be started.
pub fn start(config: &ConsoleConfig, state_dir: &Path, facts: Arc<Facts>) -> Result<ConsoleHandle, String> {
    let occupied = |e| format!("console.listen: cannot listen on {}: {e}", config.listen);
    let listener = std::net::TcpListener::bind(config.listen).map_err(occupied)?;
    listener.set_nonblocking(true).map_err(occupied)?;
    let address = listener.local_addr().map_err(occupied)?;
    let (stop, mut stopped) = watch::channel(false);
    let (shown, live, market_data) = (facts.shown.clone(), Arc::clone(&facts.live), facts.market_data.clone());
    let desk = Arc::clone(&facts.desk);
    let sampler = Arc::new(Sampler::new(facts));
    let services = Services {
        sampler: Arc::clone(&sampler),
        shown,
        live,
        streams: Arc::default(),
        market_data,
        state_dir: state_dir.into(),
        jobs: Arc::clone(&desk.jobs),
        desk,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("console: {e}"))?;
    let serve = async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!("console: {error}"),
        };
        let sampling = Arc::clone(&sampler);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(SAMPLE_EVERY);
            loop {
                interval.tick().await;
                sampling.sample(clock::now_ns());
            }
        });
        let app = Router::new().route("/health", get(health_page)).route("/metrics", get(metrics_page));
        let app = app.merge(routes::all().0).merge(assets::routes()).with_state(Arc::new(services));
        tokio::select! {
            served = async { axum::serve(listener, app).await } => if let Err(error) = served {
                tracing::error!("console: {error}");
            },
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    };
    let thread = std::thread::Builder::new()
        .name("tw-console".into())
        .spawn(move || runtime.block_on(serve))
        .map_err(|e| format!("console: {e}"))?;
    Ok(ConsoleHandle { address, stop, thread })
}

async fn health_page(State(services): State<Shared>) -> Response {
    let (serves, body) = services.sampler.health(clock::now_ns());
    let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metrics_page() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render()).into_response()
}
