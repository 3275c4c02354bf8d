//! Brokers that speak the real protocols on loopback: for the demo, the tests and the acceptance.
//!
//! One seeded market (`model.rs`, `venue.rs`; pure) or recorded files (`playback.rs`) feed any number of simulated
//! brokers (`oanda.rs`, `mtapi.rs`, `mtapi_accounts.rs`, `ctrader.rs`, `mtsocketapi.rs`, `dwx.rs` and `mql5_json_api.rs` over
//! `zmq.rs`, `binance.rs` with `binance_usdm.rs`; `kraken.rs`, `coinbase.rs`, `bybit.rs` and `fxcm.rs`, which share
//! `exchange.rs`; the exchanges' past in `candles.rs` and their symbols in `listing.rs`, the past of the others in
//! `past.rs`). They live on threads of their own, `tw-simulator` and, for the market, `tw-sim-market` (`drive.rs`), so that they
//! do not disturb ingestion. What a broker has written to its subscribers is counted exactly: [`SimulatorsHandle::stats`], or
//! `GET /__sim/stats` on the broker's own port.

mod binance;
mod binance_usdm;
mod bybit;
mod candles;
mod coinbase;
pub mod config;
mod ctrader;
mod drive;
mod dwx;
pub mod event;
mod exchange;
mod fxcm;
mod http;
mod hub;
mod kraken;
mod listing;
pub mod model;
mod mql5_json_api;
mod mtapi;
mod mtapi_accounts;
mod mtsocketapi;
mod oanda;
mod past;
mod playback;
pub mod stamp;
pub mod symbols;
pub mod venue;
mod zmq;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};
use tokio::sync::{Notify, Semaphore, oneshot};

pub use config::{Broker, Config, Format, Playback, parse};
pub use hub::{Stats, SymbolStats};

use drive::drive;
use hub::Hub;
use playback::Stage;

/// Connections of one simulated broker at a time; further ones wait.
const CONNECTIONS_MAX: usize = 1_024;

/// Why the simulated brokers cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address cannot be listened on.
    #[error("simulators.{name}.{key}: {address}: {error}")]
    Listen {
        /// The simulator.
        name: String,
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A secret cannot be resolved, or a recording cannot be read.
    #[error("simulators.{name}.{key}: {problem}")]
    Key {
        /// The simulator.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The thread or its runtime could not be made.
    #[error("the simulators' thread: {0}")]
    Thread(std::io::Error),
}

/// One simulated broker.
#[derive(Debug)]
struct Server {
    hub: Arc<Hub>,
    /// The token or password that is expected.
    secret: String,
    /// mtapi's sessions.
    logins: mtapi::Logins,
    /// Requests for candles.
    gate: candles::Gate,
    /// Some subscription of mtapi's has changed.
    news: Notify,
    /// What MTsocketAPI tells prices of, and where.
    tracks: mtsocketapi::Tracks,
    /// What the expert advisers over ZeroMQ have to say, and of which symbols.
    desk: zmq::Desk,
    /// FXCM's sockets.
    sockets: fxcm::Sockets,
    data_address: Option<SocketAddr>,
    answer_address: Option<SocketAddr>,
}

/// What a listener of a simulated broker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The broker's own, with `/__sim/`.
    Main,
    /// Prices alone.
    Prices,
    /// Answers alone.
    Answers,
}

/// Running simulated brokers; they stop when this is dropped.
#[derive(Debug)]
pub struct SimulatorsHandle {
    servers: BTreeMap<String, (SocketAddr, Arc<Server>)>,
    /// Dropped, they end the threads.
    stop: Option<(oneshot::Sender<()>, Sender<Infallible>)>,
    threads: Vec<JoinHandle<()>>,
}

impl SimulatorsHandle {
    /// Where the simulator `name` listens.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        self.servers.get(name).map(|(address, _)| *address)
    }

    /// Where the simulator `name` tells its prices, where that is another port.
    #[must_use]
    pub fn data_address(&self, name: &str) -> Option<SocketAddr> {
        self.servers.get(name).and_then(|(_, server)| server.data_address)
    }

    /// Where the simulator `name` gives its answers, where that is another port.
    #[must_use]
    pub fn answer_address(&self, name: &str) -> Option<SocketAddr> {
        self.servers.get(name).and_then(|(_, server)| server.answer_address)
    }

    /// Every simulator and where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.servers.iter().map(|(name, (address, _))| (name.as_str(), *address))
    }

    /// What the simulator `name` has sent so far.
    #[must_use]
    pub fn stats(&self, name: &str) -> Option<Stats> {
        self.servers.get(name).map(|(_, server)| server.hub.stats())
    }

    /// Stops (or resumes) the prices of `name` while its keep-alives go on.
    pub fn set_muted(&self, name: &str, muted: bool) {
        if let Some((_, server)) = self.servers.get(name) {
            server.hub.set_muted(muted);
        }
    }

    /// Breaks every connection of `name` without a word.
    pub fn drop_connections(&self, name: &str) {
        if let Some((_, server)) = self.servers.get(name) {
            server.hub.cut();
        }
    }

    /// Closes all connections and waits for the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SimulatorError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run).map_err(SimulatorError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn end(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A panic there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for SimulatorsHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the simulated brokers of a configuration ([`parse`]) on threads of their own. All of them listen when this
/// returns.
///
/// # Errors
/// [`SimulatorError`] when an address is taken, a secret is missing or a recording cannot be read.
pub fn start(configs: BTreeMap<String, Config>) -> Result<SimulatorsHandle, SimulatorError> {
    let players = configs.iter().filter(|(_, config)| !config.playback.is_empty());
    let names = players.clone().map(|(name, _)| name.clone()).collect();
    let delay_ms = players.map(|(_, config)| config.start_delay_ms).max().unwrap_or(0);
    let stage = Arc::new(Stage::new(names, Duration::from_millis(delay_ms.into())));
    let mut servers = BTreeMap::new();
    let mut listeners = Vec::new();
    for (name, config) in configs {
        let (listener, address) = listen(&name, "listen", config.listen)?;
        let (has_prices, has_answers) = match config.broker {
            Broker::Mtsocketapi => (true, false),
            Broker::Dwx | Broker::Mql5JsonApi => (true, true),
            _ => (false, false),
        };
        let data = has_prices.then(|| listen(&name, "data_listen", config.data_listen)).transpose()?;
        let answers = has_answers.then(|| listen(&name, "answer_listen", config.answer_listen)).transpose()?;
        let mut server = server(&name, config, &stage)?;
        server.data_address = data.as_ref().map(|(_, address)| *address);
        server.answer_address = answers.as_ref().map(|(_, address)| *address);
        let server = Arc::new(server);
        listeners.push((listener, server.clone(), Port::Main));
        listeners.extend(data.map(|(listener, _)| (listener, server.clone(), Port::Prices)));
        listeners.extend(answers.map(|(listener, _)| (listener, server.clone(), Port::Answers)));
        servers.insert(name, (address, server));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SimulatorError::Thread)?;
    let hubs: Vec<Arc<Hub>> =
        servers.values().map(|(_, server)| server.hub.clone()).filter(|hub| hub.is_live()).collect();
    let (stop, stopped) = oneshot::channel::<()>();
    let (stop_market, market_stopped) = bounded(0);
    let mut handle = SimulatorsHandle { servers, stop: Some((stop, stop_market)), threads: Vec::new() };
    handle.spawn("tw-simulator", move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(listeners) => {}
                _ = stopped => {}
            }
        });
        // Dropping the runtime drops every connection.
        drop(runtime);
    })?;
    if !hubs.is_empty() {
        handle.spawn("tw-sim-market", move || drive(&hubs, &market_stopped))?;
    }
    Ok(handle)
}

/// Runs the simulated brokers until `wait` returns: the whole of `tickwire simulate`.
///
/// # Errors
/// See [`start`].
pub fn run_blocking(
    configs: BTreeMap<String, Config>,
    wait: impl FnOnce(&SimulatorsHandle),
) -> Result<(), SimulatorError> {
    let handle = start(configs)?;
    wait(&handle);
    handle.stop();
    Ok(())
}

fn listen(name: &str, key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimulatorError> {
    let failed = |error| SimulatorError::Listen { name: name.to_string(), key, address, error };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn server(name: &str, config: Config, stage: &Arc<Stage>) -> Result<Server, SimulatorError> {
    let bad = |key, problem| SimulatorError::Key { name: name.to_string(), key, problem };
    let secret = match config.broker {
        Broker::Oanda | Broker::MtapiAccounts | Broker::Fxcm => {
            config.token.resolve().map_err(|problem| bad("token", problem))?
        }
        Broker::Mtapi | Broker::Ctrader => config.password.resolve().map_err(|problem| bad("password", problem))?,
        // Market data of exchanges is for everybody, and so is a terminal on its own machine.
        Broker::Binance
        | Broker::BinanceUsdm
        | Broker::Kraken
        | Broker::Coinbase
        | Broker::Bybit
        | Broker::Mtsocketapi
        | Broker::Dwx
        | Broker::Mql5JsonApi => String::new(),
    };
    let mut symbols = config.symbols.clone();
    let rows = playback::load(&config.playback, &mut symbols).map_err(|problem| bad("playback", problem))?;
    let hub = Arc::new(Hub::new(name, config, &symbols, rows, stage.clone()));
    Ok(Server {
        hub,
        secret,
        logins: mtapi::Logins::default(),
        gate: candles::Gate::default(),
        news: Notify::new(),
        tracks: mtsocketapi::Tracks::default(),
        desk: zmq::Desk::default(),
        sockets: fxcm::Sockets::default(),
        data_address: None,
        answer_address: None,
    })
}

/// Listeners with their brokers, and what each is for.
async fn run(listeners: Vec<(TcpListener, Arc<Server>, Port)>) {
    for (listener, server, port) in listeners {
        tokio::spawn(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, server, port).await,
                Err(error) => tracing::error!(simulator = server.hub.name, %error, "cannot listen"),
            }
        });
    }
    std::future::pending().await
}

async fn accept(listener: tokio::net::TcpListener, server: Arc<Server>, port: Port) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    match (port, server.hub.config.broker) {
                        (Port::Main, _) => http::serve(server, stream).await,
                        (Port::Answers, _) => zmq::answers(server, stream).await,
                        (Port::Prices, Broker::Dwx) => dwx::prices(server, stream).await,
                        (Port::Prices, Broker::Mql5JsonApi) => mql5_json_api::prices(server, stream).await,
                        (Port::Prices, _) => mtsocketapi::prices(server, stream).await,
                    }
                    drop(permit);
                });
            }
            // Out of descriptors, or the client left early: either passes.
            Err(error) => {
                tracing::warn!(simulator = server.hub.name, %error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
