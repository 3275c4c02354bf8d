//! Brokers that speak the real protocols on loopback: for the demo, the tests and the acceptance.
//!
//! One seeded market (`model.rs`, `venue.rs`; pure) or recorded files (`playback.rs`) feed any number of simulated
//! brokers (`oanda.rs`, `mtapi.rs`, `mtapi_accounts.rs`, `ctrader.rs`, `mtsocketapi.rs`, `binance.rs` with `binance_usdm.rs`;
//! `kraken.rs`, `coinbase.rs`, `bybit.rs` and `fxcm.rs`, which share `exchange.rs`; the exchanges' past in `candles.rs`, that of the others in
//! `past.rs`). They live on a thread of their own, `tw-simulator`, so that they do not disturb ingestion. What a broker
//! has written to its subscribers is counted exactly: [`SimulatorsHandle::stats`], or `GET /__sim/stats` on the broker's
//! own port.

mod binance;
mod binance_usdm;
mod bybit;
mod candles;
mod coinbase;
pub mod config;
mod ctrader;
pub mod event;
mod exchange;
mod fxcm;
mod http;
mod hub;
mod kraken;
pub mod model;
mod mtapi;
mod mtapi_accounts;
mod mtsocketapi;
mod oanda;
mod past;
mod playback;
pub mod stamp;
pub mod symbols;
pub mod venue;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};

pub use config::{Broker, Config, Format, Playback, parse};
pub use hub::{Stats, SymbolStats};

use crate::clock;
use hub::Hub;
use model::Market;
use playback::Stage;
use venue::{Faults, VenueSpec};

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
    /// FXCM's sockets.
    sockets: fxcm::Sockets,
    data_address: Option<SocketAddr>,
}

/// Running simulated brokers; they stop when this is dropped.
#[derive(Debug)]
pub struct SimulatorsHandle {
    servers: BTreeMap<String, (SocketAddr, Arc<Server>)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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

    /// Closes all connections and waits for the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
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

/// Starts the simulated brokers of a configuration ([`parse`]) on a thread of their own. All of them listen when this
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
        let data = match config.broker {
            Broker::Mtsocketapi => Some(listen(&name, "data_listen", config.data_listen)?),
            _ => None,
        };
        let mut server = server(&name, config, &stage)?;
        server.data_address = data.as_ref().map(|(_, address)| *address);
        let server = Arc::new(server);
        listeners.push((listener, server.clone(), false));
        listeners.extend(data.map(|(listener, _)| (listener, server.clone(), true)));
        servers.insert(name, (address, server));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SimulatorError::Thread)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("tw-simulator".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(listeners) => {}
                    _ = stopped => {}
                }
            });
            // Dropping the runtime drops every connection.
            drop(runtime);
        })
        .map_err(SimulatorError::Thread)?;
    Ok(SimulatorsHandle { servers, stop: Some(stop), thread: Some(thread) })
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
        | Broker::Mtsocketapi => String::new(),
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
        sockets: fxcm::Sockets::default(),
        data_address: None,
    })
}

/// Listeners with their brokers, and whether each is one for prices alone.
async fn run(listeners: Vec<(TcpListener, Arc<Server>, bool)>) {
    let hubs: Vec<Arc<Hub>> =
        listeners.iter().filter(|(.., data)| !data).map(|(_, server, _)| server.hub.clone()).collect();
    for (listener, server, data) in listeners {
        tokio::spawn(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, server, data).await,
                Err(error) => tracing::error!(simulator = server.hub.name, %error, "cannot listen"),
            }
        });
    }
    drive(&hubs.into_iter().filter(|hub| hub.is_live()).collect::<Vec<_>>()).await;
}

async fn accept(listener: tokio::net::TcpListener, server: Arc<Server>, data: bool) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    if data {
                        mtsocketapi::prices(server, stream).await;
                    } else {
                        http::serve(server, stream).await;
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

/// Runs the market and hands each broker what is due.
async fn drive(hubs: &[Arc<Hub>]) {
    let Some(first) = hubs.first() else { return std::future::pending().await };
    let volatility = permille(first.config.volatility);
    let mut market = Market::new(first.config.seed, volatility, hubs.iter().map(|hub| venue_of(hub)).collect());
    let mut due = Vec::new();
    loop {
        market.advance(clock::now_ns(), &mut due);
        let mut batches: Vec<Vec<event::Event>> = vec![Vec::new(); hubs.len()];
        due.drain(..).for_each(|delivery| batches[delivery.venue].push(delivery.event));
        for (hub, batch) in hubs.iter().zip(batches).filter(|(_, batch)| !batch.is_empty()) {
            hub.publish(batch);
        }
        let wait_ns = (market.wakes_at_ns() - clock::now_ns()).max(0);
        // The runtime's timer counts whole milliseconds; at high rates this makes batches of a millisecond.
        tokio::time::sleep(Duration::from_nanos(wait_ns.unsigned_abs()).max(Duration::from_millis(1))).await;
    }
}

/// A broker of the market from its configuration.
fn venue_of(hub: &Hub) -> VenueSpec {
    let config = &hub.config;
    // Quotes and trades per instrument in a calm second of the busiest hour.
    let (quotes, trades, windowed) = match config.broker {
        Broker::Oanda => (10.0, 0.0, true),
        Broker::Mtapi | Broker::MtapiAccounts | Broker::Mtsocketapi => (15.0, 0.0, false),
        Broker::Binance | Broker::BinanceUsdm => (40.0, 8.0, false),
        Broker::Kraken | Broker::Coinbase => (20.0, 4.0, false),
        Broker::Bybit => (30.0, 6.0, false),
        Broker::Ctrader | Broker::Fxcm => (12.0, 0.0, false),
    };
    let millis = |ms: u32| i64::from(ms) * 1_000_000;
    let million = |fraction: f64| (fraction * 1e6) as u32;
    VenueSpec {
        name: hub.name.clone(),
        symbols: hub.symbols.iter().map(|symbol| symbol.name.clone()).collect(),
        quotes_per_1000s: (quotes * config.rate * 1e3) as u64,
        trades_per_1000s: (trades * config.rate * 1e3) as u64,
        spread_permille: permille(config.spread),
        window_ns: if windowed { millis(config.window_ms) } else { 0 },
        delay_ns: millis(config.delay_ms),
        jitter_ns: millis(config.jitter_ms),
        skew_ns: i64::from(config.skew_ms) * 1_000_000,
        faults: Faults {
            duplicates: million(config.duplicates),
            out_of_order: million(config.out_of_order),
            crossed: million(config.crossed),
            fat_finger: million(config.fat_finger),
        },
    }
}

fn permille(factor: f64) -> i64 {
    (factor * 1e3) as i64
}
