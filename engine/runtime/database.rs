//! The database's side of the engine: the writer, and the embedded store beside it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::Settings;
use super::assemble::RunError;
use crate::journal::JournalHandle;
use crate::storage::quality::SourceMinute;
use crate::storage::store::{StoreConfig, StoreHandle, Supervisor};
use crate::storage::telemetry::{Offer, Seconds};
use crate::storage::{self, Endpoint, MarketData, Mode};

/// Pause before an embedded store that did not start is tried again.
const START_AGAIN: Duration = Duration::from_secs(2);

/// The database's side of the engine.
pub(super) struct Database {
    pub(super) mode: Mode,
    pub(super) writer: Option<storage::Writer>,
    pub(super) store: Arc<Mutex<Option<StoreHandle>>>,
    pub(super) starter: Option<JoinHandle<()>>,
    /// Why the embedded store is not up.
    pub(super) error: Arc<Mutex<Option<String>>>,
    /// What asks it.
    pub(super) market_data: Option<Arc<MarketData>>,
    /// Takes what the stages took.
    pub(super) seconds: Option<Seconds>,
    /// Takes the quality of sources.
    pub(super) minutes: Option<Offer<SourceMinute>>,
    /// Where it is, as soon as it is up; `None` when nothing is stored.
    pub(super) endpoint: Option<watch::Receiver<Option<Endpoint>>>,
}

/// Starts the writer, and in mode `embedded` the store beside it: feeds and terminals do not wait for it.
pub(super) fn start_storage(
    settings: &Settings,
    state_dir: &Path,
    journal: &JournalHandle,
    epoch: u32,
) -> Result<Database, RunError> {
    let config = &settings.storage;
    let (store, error) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
    if config.mode == Mode::Off {
        journal.stored().nobody_stores();
        let (mode, starter) = (config.mode, None);
        return Ok(Database {
            mode,
            writer: None,
            store,
            starter,
            error,
            market_data: None,
            seconds: None,
            minutes: None,
            endpoint: None,
        });
    }
    let (tell, endpoint) = watch::channel(None);
    let market_data = Some(Arc::new(MarketData::new(endpoint.clone(), &config.database)));
    let starter = if config.mode == Mode::Embedded {
        let found = storage::store::find_library(None).map_err(|e| RunError::Other(e.to_string()))?;
        let mut store_config = StoreConfig::new(state_dir, config.listen);
        store_config.library = Some(found);
        store_config.cores = store_cores(settings);
        store_config.memory_mib = config.memory_mib;
        let starter = Starter { config: store_config, tell, store: Arc::clone(&store), error: Arc::clone(&error) };
        let thread = std::thread::Builder::new().name("tw-store-start".into()).spawn(move || starter.run());
        Some(thread.map_err(|e| RunError::Other(format!("a thread for the store: {e}")))?)
    } else {
        tell.send_replace(Some(config.server().map_err(RunError::Other)?));
        None
    };
    let known = Some(endpoint.clone());
    let stored = journal.stored();
    let (seconds, rows) = storage::telemetry::channel();
    let (minutes, rows_of_minutes) = storage::telemetry::channel();
    let writer = storage::Writer::start(storage::Setup {
        journal_dir: journal.dir().to_path_buf(),
        durable: journal.durable(),
        manifests_dir: state_dir.join("manifests"),
        on_stored: Box::new(move |position| stored.set(position)),
        endpoint,
        database: config.database.clone(),
        limits: config.limits(),
        mode: config.mode,
        telemetry: Some((epoch, rows)),
        quality: Some((epoch, rows_of_minutes)),
    });
    let writer = writer.map_err(|e| RunError::Other(format!("the database writer: {e}")))?;
    let (mode, writer, seconds, minutes) = (config.mode, Some(writer), Some(seconds), Some(minutes));
    Ok(Database { mode, writer, store, starter, error, market_data, seconds, minutes, endpoint: known })
}

/// Brings the embedded store up.
struct Starter {
    config: StoreConfig,
    tell: watch::Sender<Option<Endpoint>>,
    store: Arc<Mutex<Option<StoreHandle>>>,
    error: Arc<Mutex<Option<String>>>,
}

impl Starter {
    /// Returns once the store is up or has failed to start. It is tried again beside the caller then: a command of
    /// this machine that has the data folder lets go of it, and so may the program on the port.
    fn run(self) {
        if self.starts() {
            return;
        }
        let again = move || {
            // Without receivers the engine is gone.
            while !self.tell.is_closed() {
                std::thread::sleep(START_AGAIN);
                if self.starts() {
                    return;
                }
            }
        };
        if let Err(problem) = std::thread::Builder::new().name("tw-store-again".into()).spawn(again) {
            tracing::error!("no thread to start the embedded store again: {problem}");
        }
    }

    fn starts(&self) -> bool {
        let started = Supervisor::start(self.config.clone());
        let problem = started.as_ref().err().map(ToString::to_string);
        if let Ok(mut error) = self.error.lock() {
            error.clone_from(&problem);
        }
        match started {
            Ok(handle) => {
                tracing::info!(url = handle.url(), "the embedded store is up");
                self.tell.send_replace(Some(Endpoint {
                    url: handle.url(),
                    user: storage::store::WRITER.into(),
                    password: handle.writer_password().into(),
                }));
                if let Ok(mut store) = self.store.lock() {
                    *store = Some(handle);
                }
            }
            Err(problem) => tracing::error!("the embedded store did not start and is tried again: {problem}"),
        }
        problem.is_none()
    }
}

/// The cores that the store may use: as configured, else all that our pinned threads leave free, if any.
fn store_cores(settings: &Settings) -> Vec<usize> {
    if !settings.storage.cores.is_empty() {
        return settings.storage.cores.clone();
    }
    let pinned: Vec<usize> =
        settings.threads.cores.iter().chain(&settings.ingest.cores).chain(&settings.fanout.cores).copied().collect();
    let all = core_affinity::get_core_ids().unwrap_or_default();
    all.iter().map(|core| core.id).filter(|core| !pinned.contains(core)).collect()
}
