//! Starting the parts in the order in which they need each other, and stopping them in the order of the data.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, bounded};
use serde_json::json;

use super::alerts::{self, AlertsHandle};
use super::connections::Here;
use super::database::{Database, start_storage};
use super::facts::{self, queues, storage_status};
use super::feed_watch::FeedWatch;
use super::inputs::{Inputs, Origin, announce_restart};
use super::jobs::{self, Ground};
use super::pipeline::Pipeline;
use super::reconfigure::{Control, InEffect, Running};
use super::serve::{Ended, Playback};
use super::{Settings, StateDir, recover, repairs};
use crate::console::{self, ConsoleHandle, Facts, Following, Shown, View};
use crate::control::jobs::scheduler::SchedulerHandle;
use crate::control::jobs::{Jobs, JobsError};
use crate::control::service::Service;
use crate::control::users::Users;
use crate::control::{Catalogue, ControlError};
use crate::fanout::{self, FanoutHandle};
use crate::feeds;
use crate::journal::{self, JournalError, JournalHandle};
use crate::repair::{Key, Repairer, Store};
use crate::replay::ReplayError;
use crate::ring::{build_inbound, build_outbound};
use crate::simulator::{self, SimulatorsHandle};
use crate::stages::{BuildError, Market};
use crate::storage;
use crate::storage::store::StoreHandle;
use crate::{clock, metrics, quality};

/// How long stopping may wait for the disk.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(1500);

/// How long stopping may wait for the database; what is left is sent at the next start.
const STORAGE_PATIENCE: Duration = Duration::from_millis(1500);

/// How long finishing may wait for either: long enough for any backlog, and not for ever.
const FINISH_PATIENCE: Duration = Duration::from_secs(600);

/// Why the engine did not start, or did not stop well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The control database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Jobs.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stages.
    #[error(transparent)]
    Stages(#[from] BuildError),
    /// The fan-out.
    #[error(transparent)]
    Fanout(#[from] fanout::FanoutError),
    /// The feeds.
    #[error(transparent)]
    Feeds(#[from] feeds::FeedsError),
    /// The simulated brokers.
    #[error(transparent)]
    Simulator(#[from] simulator::SimulatorError),
    /// The recording that is served.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Anything else, in a sentence.
    #[error("{0}")]
    Other(String),
}

/// The running engine.
pub struct Engine {
    inputs: Inputs,
    repairer: Option<Repairer>,
    pipeline: Vec<JoinHandle<()>>,
    journal: JournalHandle,
    fanout: FanoutHandle,
    quality: quality::Follower,
    storage: Option<storage::Writer>,
    store: Arc<Mutex<Option<StoreHandle>>>,
    store_starter: Option<JoinHandle<()>>,
    store_error: Arc<Mutex<Option<String>>>,
    console: ConsoleHandle,
    alerts: Option<AlertsHandle>,
    following: Following,
    control: Control,
    scheduler: Option<SchedulerHandle>,
    feed_watch: Option<FeedWatch>,
    note: PathBuf,
    _state: StateDir,
}

impl Engine {
    /// Starts everything. When this returns, feeds are connecting and terminals are served; the embedded store may
    /// still be starting.
    ///
    /// # Errors
    /// [`RunError`]: one sentence that says what is wrong.
    pub fn start(settings: Settings, state_dir: &Path) -> Result<Engine, RunError> {
        Self::assemble(settings, state_dir, Origin::Feeds)
    }

    /// Starts everything with a recording in the place of the feeds: from here on its clock is that of the process. The
    /// receiver is told when its last input is on its way, or that it could not be read on.
    ///
    /// # Errors
    /// [`RunError`]: one sentence that says what is wrong.
    pub fn serve(
        settings: Settings,
        state_dir: &Path,
        playback: Playback,
    ) -> Result<(Engine, Receiver<Ended>), RunError> {
        let (tell, ended) = bounded(1);
        clock::set_recorded(playback.begins_ns());
        Ok((Self::assemble(settings, state_dir, Origin::Recording(Box::new(playback), tell))?, ended))
    }

    fn assemble(mut settings: Settings, state_dir: &Path, origin: Origin) -> Result<Engine, RunError> {
        let started_ns = clock::now_ns();
        let state = StateDir::lock(state_dir).map_err(RunError::Other)?;
        let mut catalogue = Catalogue::open(state_dir)?;
        let market = origin.market(&settings, &mut catalogue)?;
        metrics::name_sources(market.sources().iter().map(|s| s.name.clone()).collect());

        let journal_dir = state_dir.join("journal");
        let mut recovery = journal::recover(&journal_dir)?;
        origin.check_follows(recovery.last_recv_ns, state_dir)?;
        let (engine_id, epoch) = catalogue.begin_epoch(recovery.epoch_next)?;
        let make = |market: &Market| Pipeline::build(&settings, market);
        let (pipeline, replayed) = recover::restore(make, &market, &mut recovery)?;
        recovery.report.notes.iter().for_each(|note| tracing::warn!("{note}"));
        tracing::info!(epoch, replayed, "journal recovered");

        let (outbound, to_journal, to_fanout) =
            build_outbound(settings.outbound_slots, settings.fanout.threads as usize);
        let catalogue_of_segments = journal::Catalogue {
            engine_id: engine_id.to_string(),
            sources: market.sources().to_vec(),
            instruments: market.instruments().to_vec(),
            indicators: market.indicators().to_vec(),
            clock: Some(journal::Clock { started_ns, timer_ms: origin.timer_ms(&settings) }),
        };
        let setup = journal::Setup { epoch, first_seq: 1, catalogue: catalogue_of_segments.clone() };
        let journal = journal::start(&settings.journal, &journal_dir, setup, to_journal)?;
        let names = fanout::Catalogue::new(market.instruments().to_vec(), market.sources().to_vec())
            .with_indicators(market.indicators().to_vec());
        let users = Users::open(state_dir, settings.console.lifetimes()).map_err(|e| RunError::Other(e.to_string()))?;
        let users = Arc::new(users);
        let streams = Some(Box::new(users.streams()) as Box<dyn fanout::Access>);
        let engine_name = engine_id.to_string();
        let fanout = fanout::start(&settings.fanout, names, engine_name, epoch, state_dir, streams, to_fanout)?;
        let mut database = start_storage(&settings, state_dir, &journal, epoch)?;
        let aggregate: toml::Table =
            settings.config.section("aggregate").map_err(|e| RunError::Other(e.to_string()))?;
        let max_age_ms = aggregate.get("max_age_ms").and_then(toml::Value::as_integer).unwrap_or(0);
        let live = Arc::new(console::Board::new(&catalogue_of_segments, max_age_ms));
        let market_data = database.market_data.clone();
        let following = console::follow(Arc::clone(&live), market_data.clone(), journal.dir(), journal.durable())
            .map_err(RunError::Other)?;

        let wanted = origin.wanted(&settings, &market);
        let board = Arc::new(quality::Board::default());
        let tracker = quality::Tracker::new(&market, &wanted).map_err(RunError::Other)?;
        let minutes = database.minutes.take();
        let quality = quality::start(tracker, journal.dir(), journal.durable(), minutes, Arc::clone(&board))
            .map_err(RunError::Other)?;

        let inbound = build_inbound(
            settings.inbound_slots,
            origin.threads(&settings),
            settings.layout.groups(),
            market.sources().iter().map(|s| s.id.0).collect(),
            market.source_table(),
        );
        let view = View::new(&market);
        let last_seen = Arc::clone(&view.last_seen);
        let shown = Shown::new(view);
        let (pipeline, growing) = pipeline
            .reporting_to(database.seconds.take())
            .taking_from(&inbound.fill)
            .spawn(epoch, inbound.groups, outbound, &settings.threads, journal.snapshots(), last_seen)
            .map_err(|e| RunError::Other(format!("the pipeline's threads: {e}")))?;

        let inlets = announce_restart(inbound.inlets, recovery.last_recv_ns, started_ns);
        let inputs = origin.start(&mut settings, &market, inlets)?;
        let known = database.endpoint.clone();
        let store = known.map(|endpoint| Store { endpoint, database: settings.storage.database.clone() });
        let (repairer, repairs) =
            repairs::start(&settings, &market, &inputs, &journal, state_dir, epoch, store)?.unzip();
        let jobs = Arc::new(Jobs::open(state_dir)?);
        let queues = queues(&settings, &inbound.fill, &journal, &fanout);
        let desk = facts::desk(&jobs, &settings, &database, &journal, shown.clone());
        let ground = inputs.hosts().map(|hosts| {
            let retry = repairer.as_ref().map(|repairer| facts::retry_gap(Some(repairer)));
            Ground::new(&settings, state_dir, facts::endpoint(&database), hosts).with_repairs(retry)
        });
        let base = settings.base;
        let running = Running {
            state_dir: state_dir.into(),
            layout: settings.layout,
            effect: InEffect {
                config: settings.config,
                sources: settings.sources,
                instruments: settings.instruments,
                market,
            },
            journaled: catalogue_of_segments,
            journal: journal.growth(),
            doors: inbound.sources,
            fanout: fanout.growth(),
            quality: quality.growth(),
            pipeline: growing,
            shown: shown.clone(),
            repairs,
            feeds: inputs.control(),
        };
        let control = Control::new(running, base);
        let here = Here {
            state_dir: state_dir.into(),
            control: control.clone(),
            storage: settings.storage,
            endpoint: facts::endpoint(&database),
        };
        let connections = Arc::new(Service::new(state_dir, Arc::new(here)));
        let facts = Arc::new(Facts {
            shown,
            feed: inputs.feed(),
            fanout: fanout.stats(),
            quality: board,
            storage: storage_status(&database),
            queues,
            retry_gap: facts::retry_gap(repairer.as_ref()),
            desk,
            live,
            market_data,
            connections,
            started_ns,
        });
        let alerts = match &inputs {
            Inputs::Feeds { .. } => Some(alerts::start(state_dir, Arc::clone(&facts))?),
            // What was wrong then is no news.
            Inputs::Recording(_) => None,
        };
        let console = console::start(&settings.console, state_dir, users, facts).map_err(RunError::Other)?;
        let note = write_note(state_dir, &fanout, &console)?;
        let watch = inputs.control().map(|feeds| FeedWatch::start(state_dir, control.clone(), feeds)).transpose();
        let feed_watch = watch.map_err(|e| RunError::Other(format!("a thread to watch the feeds: {e}")))?;
        // A recording asks no venue for anything, and nothing of it is due.
        let scheduler = ground.map(|ground| {
            let control = control.clone();
            jobs::start(jobs, ground.with_in_effect(Box::new(move || control.in_effect())))
        });
        let scheduler = scheduler.transpose()?;
        let Database { writer: storage, store, starter: store_starter, error: store_error, .. } = database;
        Ok(Engine {
            inputs,
            repairer,
            pipeline,
            journal,
            fanout,
            quality,
            storage,
            store,
            store_starter,
            store_error,
            console,
            alerts,
            following,
            control,
            scheduler,
            feed_watch,
            note,
            _state: state,
        })
    }

    /// What changes its sources and instruments while it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where terminals connect.
    #[must_use]
    pub fn quic(&self) -> std::net::SocketAddr {
        self.fanout.local_addr()
    }

    /// SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.fanout.fingerprint()
    }

    /// Where the console listens.
    #[must_use]
    pub fn console(&self) -> std::net::SocketAddr {
        self.console.local_addr()
    }

    /// The link that makes the first administrator of the console, once; none when there is one.
    #[must_use]
    pub fn first_run(&self) -> Option<String> {
        self.console.first_run()
    }

    /// The simulated brokers, if any run.
    #[must_use]
    pub fn simulators(&self) -> Option<&SimulatorsHandle> {
        self.inputs.simulators()
    }

    /// Makes a hole that was lost in this run wait again to be mended; false when holes are not mended here, or there is no
    /// time for it now.
    #[must_use]
    pub fn retry_gap(&self, gap_epoch: u32, gap_id: u64) -> bool {
        let key = Key { epoch: gap_epoch, id: gap_id };
        self.repairer.as_ref().is_some_and(|repairer| repairer.retry(key))
    }

    /// Adds, changes and removes sources while the others run; none when a recording is served.
    #[must_use]
    pub fn feeds(&self) -> Option<feeds::FeedsControl> {
        self.inputs.control()
    }

    /// The buckets of requests by host that the sessions take from, for others who ask the same hosts.
    #[must_use]
    pub fn hosts(&self) -> Option<feeds::SharedHosts> {
        self.inputs.hosts()
    }

    /// Stops in the order of the data: feeds, stages, journal, terminals, database. Everything that a feed offered is
    /// in the journal when this returns, and in the database as far as it answers in time.
    ///
    /// # Errors
    /// When records could not be journaled.
    pub fn stop(self) -> Result<(), RunError> {
        self.halt(JOURNAL_PATIENCE, STORAGE_PATIENCE)
    }

    /// The same with as much time as it takes to have everything in the database too.
    ///
    /// # Errors
    /// When records could not be journaled or stored; what is journaled is stored at the next start.
    pub fn finish(mut self) -> Result<(), RunError> {
        if let Some(starter) = self.store_starter.take() {
            let _ = starter.join();
        }
        let stores = self.storage.is_some();
        let store_error = self.store_error.lock().ok().and_then(|mut error| error.take());
        let patience = if store_error.is_some() { STORAGE_PATIENCE } else { FINISH_PATIENCE };
        self.halt(FINISH_PATIENCE, patience)?;
        let left = metrics::STORAGE_LAG_ROWS.get();
        if stores && (left > 0 || store_error.is_some()) {
            let why = store_error.unwrap_or_else(|| "it did not take them in time".into());
            return Err(RunError::Other(format!(
                "{left} records are journaled and not in the database, which the next start sends: {why}"
            )));
        }
        Ok(())
    }

    fn halt(self, journal_patience: Duration, storage_patience: Duration) -> Result<(), RunError> {
        // First of all: what stops now is no trouble.
        if let Some(alerts) = self.alerts {
            alerts.stop();
        }
        if let Some(scheduler) = self.scheduler {
            scheduler.stop();
        }
        if let Some(repairer) = self.repairer {
            repairer.stop();
        }
        if let Some(watch) = self.feed_watch {
            watch.stop();
        }
        let simulators = self.inputs.stop();
        // With a full disk the stages wait for room in the ring: that wait has an end too.
        self.journal.hurry(journal_patience);
        for thread in self.pipeline {
            // A panic aborts the process, so there is nothing to learn from the result.
            let _ = thread.join();
        }
        let journaled = self.journal.stop(journal_patience);
        self.fanout.stop();
        self.quality.stop();
        if let Some(storage) = self.storage {
            storage.stop(storage_patience);
        }
        // A store that is still starting is not waited for: it ends with us, as its standard input does.
        if let Some(starter) = self.store_starter.filter(JoinHandle::is_finished) {
            let _ = starter.join();
        }
        if let Some(store) = self.store.lock().ok().and_then(|mut store| store.take()) {
            store.stop();
        }
        if let Some(simulators) = simulators {
            simulators.stop();
        }
        self.console.stop();
        drop(self.following);
        let _ = std::fs::remove_file(&self.note);
        journaled?;
        Ok(())
    }
}

/// Tells other programs of this machine where the engine is.
fn write_note(state_dir: &Path, fanout: &FanoutHandle, console: &ConsoleHandle) -> Result<PathBuf, RunError> {
    let note = state_dir.join("engine.json");
    let body = json!({
        "pid": std::process::id(),
        "quic": fanout.local_addr().to_string(),
        "fingerprint": fanout.fingerprint(),
        "console": console.local_addr().to_string(),
    });
    std::fs::write(&note, body.to_string()).map_err(|e| RunError::Other(format!("{}: {e}", note.display())))?;
    Ok(note)
}
