//! The threads that read from brokers, decode and offer to the stages.
//!
//! Each is an OS thread with a name and a single-threaded runtime; it hosts some sources, and the first also makes the
//! clock that the stages see. Nothing moves between threads on the way from a socket to the ring.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::Timer;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use super::config::{IngestConfig, SourceSpec};
use super::event::Symbols;
use super::late::{LateInputs, let_in};
use super::net;
use super::rate::SharedHosts;
use super::session::{Task, until_stopped};
use super::status::FeedStatus;
use crate::clock;
use crate::market::{Input, InstrumentId, SourceId};
use crate::ring::Inlet;

/// Makes the inlet of a thread, on that thread: it need not be able to move.
pub type InletMaker = Box<dyn FnOnce() -> Box<dyn Inlet> + Send>;

/// A source with the numbers that the catalogue gave it.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The source as configured.
    pub spec: SourceSpec,
    /// Its persistent number.
    pub source: SourceId,
    /// Its dense index, as in the metrics.
    pub index: usize,
    /// The instruments of `spec.symbols`, in their order.
    pub instruments: Vec<InstrumentId>,
}

impl Feed {
    fn symbols(&self) -> Symbols {
        let names = self.spec.symbols.iter().map(|symbol| self.spec.venue.wire_symbol(&symbol.venue));
        Symbols::new(self.source, names.zip(self.instruments.iter().copied()))
    }
}

/// Why the feeds could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FeedsError {
    /// Each thread takes one inlet.
    #[error("{found} inlets for {expected} ingestion threads; expected one each")]
    Inlets {
        /// Threads.
        expected: usize,
        /// Inlets given.
        found: usize,
    },
    /// A symbol of a source has no instrument, or the other way round.
    #[error("source {source_name}: {instruments} instruments for {symbols} symbols; expected one each")]
    Instruments {
        /// The source.
        source_name: String,
        /// Its symbols.
        symbols: usize,
        /// Instruments given.
        instruments: usize,
    },
    /// A secret that the configuration refers to is not there.
    #[error("sources.{source_name}.{key}: {problem}")]
    Secret {
        /// The source.
        source_name: String,
        /// The key that refers to it.
        key: String,
        /// What is missing.
        problem: String,
    },
    /// The system refused a thread or its runtime.
    #[error("ingestion thread {thread}: {error}")]
    Thread {
        /// Its name.
        thread: String,
        /// Why.
        error: std::io::Error,
    },
}

/// The running feeds.
#[derive(Debug)]
pub struct FeedsHandle {
    statuses: Arc<Vec<FeedStatus>>,
    late: LateInputs,
    hosts: SharedHosts,
    threads: Vec<JoinHandle<()>>,
}

impl FeedsHandle {
    /// The state of every source, in the order in which they were given.
    #[must_use]
    pub fn statuses(&self) -> Arc<Vec<FeedStatus>> {
        Arc::clone(&self.statuses)
    }

    /// Lets in what does not come from a socket.
    #[must_use]
    pub fn late(&self) -> LateInputs {
        self.late.clone()
    }

    /// The request buckets by host: for others who ask the same hosts.
    #[must_use]
    pub fn hosts(&self) -> SharedHosts {
        self.hosts.clone()
    }

    /// Waits until every session has published that it stopped and every thread has ended. They do so when the `stop`
    /// channel says `true`, or its sender is gone.
    pub fn join(self) {
        for thread in self.threads {
            // A panic aborts the process; there is no other way to fail.
            let _ = thread.join();
        }
    }
}

/// Starts the ingestion threads. `inlets` holds one maker per thread of `config`; thread `i` hosts the feeds `i`,
/// `i + threads` and so on.
///
/// # Errors
/// [`FeedsError`]; nothing runs then.
pub fn start(
    feeds: Vec<Feed>,
    config: &IngestConfig,
    inlets: Vec<InletMaker>,
    stop: watch::Receiver<bool>,
) -> Result<FeedsHandle, FeedsError> {
    let count = config.thread_count();
    check(&feeds, count, inlets.len())?;
    net::install_crypto();
    let status =
        |feed: &Feed| FeedStatus::new(feed.spec.name.clone(), feed.source, feed.index, feed.spec.symbols.len());
    let statuses = Arc::new(feeds.iter().map(status).collect::<Vec<_>>());
    let mut shares: Vec<Vec<(usize, Feed)>> = (0..count).map(|_| Vec::new()).collect();
    for (at, feed) in feeds.into_iter().enumerate() {
        shares[at % count].push((at, feed));
    }
    let (late, waiting) = LateInputs::channel();
    let mut waiting = Some(waiting);
    // All runtimes before the first thread, so that a failure leaves nothing running.
    let mut plans = Vec::with_capacity(count);
    for (number, (feeds, inlet)) in shares.into_iter().zip(inlets).enumerate() {
        let name = format!("tw-ingest-{number}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("{name}-dns"))
            .build()
            .map_err(|error| FeedsError::Thread { thread: name.clone(), error })?;
        let timer = (number == 0).then_some((config.timer_ms, config.snapshot_every_ms));
        let core = config.cores.get(number).copied();
        let statuses = Arc::clone(&statuses);
        let late = waiting.take();
        plans.push(Plan { name, runtime, feeds, inlet, statuses, stop: stop.clone(), timer, late, core });
    }
    let mut threads = Vec::with_capacity(count);
    for plan in plans {
        let thread = plan.name.clone();
        let builder = std::thread::Builder::new().name(thread.clone());
        threads.push(builder.spawn(|| plan.run()).map_err(|error| FeedsError::Thread { thread, error })?);
    }
    Ok(FeedsHandle { statuses, late, hosts: SharedHosts::default(), threads })
}

fn check(feeds: &[Feed], threads: usize, inlets: usize) -> Result<(), FeedsError> {
    if inlets != threads {
        return Err(FeedsError::Inlets { expected: threads, found: inlets });
    }
    for feed in feeds {
        let source_name = feed.spec.name.clone();
        let (symbols, instruments) = (feed.spec.symbols.len(), feed.instruments.len());
        if symbols != instruments {
            return Err(FeedsError::Instruments { source_name, symbols, instruments });
        }
        feed.spec.venue.check().map_err(|e| FeedsError::Secret { source_name, key: e.key, problem: e.problem })?;
    }
    Ok(())
}

/// What one thread is to do.
struct Plan {
    name: String,
    runtime: tokio::runtime::Runtime,
    feeds: Vec<(usize, Feed)>,
    inlet: InletMaker,
    statuses: Arc<Vec<FeedStatus>>,
    stop: watch::Receiver<bool>,
    timer: Option<(u64, u64)>,
    late: Option<mpsc::Receiver<Input>>,
    core: Option<usize>,
}

impl Plan {
    fn run(self) {
        let Plan { name, runtime, feeds, inlet, statuses, stop, timer, late, core } = self;
        let inlet: Rc<dyn Inlet> = inlet().into();
        // Last of all: threads that are started by a pinned thread are pinned with it.
        if let Some(id) = core
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            tracing::warn!(thread = name, core = id, "cannot be pinned to this core; it runs where the system lets it");
        }
        let sessions = LocalSet::new();
        for (index, feed) in feeds {
            let task = Task {
                symbols: feed.symbols(),
                pace: feed.spec.pace,
                calendars: feed.spec.calendars.clone(),
                connect_timeout: feed.spec.connect_timeout,
                inlet: Rc::clone(&inlet),
                statuses: Arc::clone(&statuses),
                index,
                stop: stop.clone(),
            };
            sessions.spawn_local(feed.spec.venue.run(task));
        }
        if let Some(late) = late {
            sessions.spawn_local(let_in(Rc::clone(&inlet), late, stop.clone()));
        }
        if let Some((every_ms, snapshot_ms)) = timer {
            sessions.spawn_local(keep_time(inlet, every_ms, snapshot_ms, stop));
        }
        // Ends when the last session and the timer have ended.
        runtime.block_on(sessions);
        // A name that is still being looked up must not hold up the shut-down.
        runtime.shutdown_background();
    }
}

/// Offers the clock until it is time to stop. Every so many times it asks for a snapshot.
async fn keep_time(inlet: Rc<dyn Inlet>, every_ms: u64, snapshot_ms: u64, mut stop: watch::Receiver<bool>) {
    let every_ms = every_ms.max(1);
    let per_snapshot = if snapshot_ms == 0 { u64::MAX } else { (snapshot_ms / every_ms).max(1) };
    let mut beat = interval(Duration::from_millis(every_ms));
    // After a pause the stages want to know the time now, not all the times that were missed.
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for count in 1_u64.. {
        tokio::select! {
            biased;
            () = until_stopped(&mut stop) => return,
            _ = beat.tick() => {}
        }
        let snapshot = u8::from(count.is_multiple_of(per_snapshot));
        inlet.offer(Input::Timer(Timer { now_ns: clock::now_ns(), snapshot, ..Timer::default() }));
    }
}
