//! The threads that read from brokers, decode and offer to the stages.
//!
//! Each is an OS thread with a name and a single-threaded runtime; it hosts some sources, which may come and go, and the
//! first also makes the clock that the stages see. Nothing moves between threads on the way from a socket to the ring.

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::Timer;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

use super::config::{IngestConfig, SourceSpec};
use super::control::{ARRIVALS_MAX, Arrival, FeedsControl};
use super::late::{LateInputs, let_in};
use super::net;
use super::rate::SharedHosts;
use super::source::{self, Context};
use super::status::{FeedStatus, Statuses};
use super::turns::of_process;
use crate::clock;
use crate::market::{Input, InstrumentId, SourceId};
use crate::metrics::SOURCES_MAX;
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
    /// The symbols as its venue writes them in messages.
    pub(super) fn wire_symbols(&self) -> Vec<(String, InstrumentId)> {
        let names = self.spec.symbols.iter().map(|symbol| self.spec.venue.wire_symbol(&symbol.venue));
        names.zip(self.instruments.iter().copied()).collect()
    }

    pub(super) fn check(&self) -> Result<(), FeedsError> {
        let source_name = self.spec.name.clone();
        let (symbols, instruments) = (self.spec.symbols.len(), self.instruments.len());
        if symbols != instruments {
            return Err(FeedsError::Instruments { source_name, symbols, instruments });
        }
        if self.index >= SOURCES_MAX {
            return Err(FeedsError::Index { source_name, index: self.index });
        }
        self.spec.venue.check().map_err(|e| FeedsError::Secret { source_name, key: e.key, problem: e.problem })
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
    /// The metrics hold no more sources.
    #[error("source {source_name}: index {index}; expected below {SOURCES_MAX}, more sources one engine does not hold")]
    Index {
        /// The source.
        source_name: String,
        /// Its dense index.
        index: usize,
    },
    /// Another source has its number, its name or its index, or has not yet given them up.
    #[error(
        "source {source_name}: its number, name or index is another source's; expected ones that are free, or its own"
    )]
    Taken {
        /// The source.
        source_name: String,
    },
    /// No source has this number, or it is being removed.
    #[error("no source {source_id} runs; expected one that was added and not removed")]
    Unknown {
        /// The number.
        source_id: u32,
    },
    /// Orders to this source wait already.
    #[error("source {source_name}: too many orders wait already; expected at most a few at a time")]
    Busy {
        /// The source.
        source_name: String,
    },
    /// Sources stand in for each other in a circle.
    #[error("sources that stand in for each other in a circle: {names}; expected a first one that stands in for none")]
    Circle {
        /// The circle.
        names: String,
    },
    /// The feeds have stopped, or do so now.
    #[error("the feeds are stopping; nothing can be added, changed or removed any more")]
    Stopping,
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
    control: FeedsControl,
    late: LateInputs,
    hosts: SharedHosts,
    threads: Vec<JoinHandle<()>>,
}

impl FeedsHandle {
    /// The state of every source, in the order in which they came.
    #[must_use]
    pub fn statuses(&self) -> Vec<Arc<FeedStatus>> {
        self.control.statuses().all()
    }

    /// Adds, changes and removes sources.
    #[must_use]
    pub fn control(&self) -> FeedsControl {
        self.control.clone()
    }

    /// The request buckets by host that the sessions take from: for others who ask the same hosts.
    #[must_use]
    pub fn hosts(&self) -> SharedHosts {
        self.hosts.clone()
    }

    /// Lets in what does not come from a socket.
    #[must_use]
    pub fn late(&self) -> LateInputs {
        self.late.clone()
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

/// Starts the ingestion threads. `inlets` holds one maker per thread of `config`. Each source is hosted by a thread with
/// fewest, in the order of `feeds`.
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
    if inlets.len() != count {
        return Err(FeedsError::Inlets { expected: count, found: inlets.len() });
    }
    net::install_crypto();
    let (statuses, hosts) = (Statuses::new(), of_process().clone());
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(ARRIVALS_MAX)).unzip();
    let control = FeedsControl::new(senders, statuses.clone());
    for feed in feeds {
        // They wait in the channels until their threads run. Nobody waits for the answers: statuses tell how it goes.
        drop(control.add(feed)?);
    }
    let (late, waiting) = LateInputs::channel();
    let mut waiting = Some(waiting);
    // All runtimes before the first thread, so that a failure leaves nothing running.
    let mut plans = Vec::with_capacity(count);
    for (number, (arrivals, inlet)) in inboxes.into_iter().zip(inlets).enumerate() {
        let name = format!("tw-ingest-{number}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("{name}-dns"))
            .build()
            .map_err(|error| FeedsError::Thread { thread: name.clone(), error })?;
        let timer = (number == 0).then_some((config.timer_ms, config.snapshot_every_ms));
        let core = config.cores.get(number).copied();
        let (control, hosts) = (control.clone(), hosts.clone());
        let (stop, late) = (stop.clone(), waiting.take());
        plans.push(Plan { name, runtime, arrivals, inlet, control, hosts, stop, timer, late, core });
    }
    let mut threads = Vec::with_capacity(count);
    for plan in plans {
        let thread = plan.name.clone();
        let builder = std::thread::Builder::new().name(thread.clone());
        threads.push(builder.spawn(|| plan.run()).map_err(|error| FeedsError::Thread { thread, error })?);
    }
    Ok(FeedsHandle { control, late, hosts, threads })
}

/// What one thread is to do.
struct Plan {
    name: String,
    runtime: tokio::runtime::Runtime,
    arrivals: mpsc::Receiver<Arrival>,
    inlet: InletMaker,
    control: FeedsControl,
    hosts: SharedHosts,
    stop: watch::Receiver<bool>,
    timer: Option<(u64, u64)>,
    late: Option<mpsc::Receiver<Input>>,
    core: Option<usize>,
}

impl Plan {
    fn run(self) {
        let Plan { name, runtime, arrivals, inlet, control, hosts, stop, timer, late, core } = self;
        let inlet: Rc<dyn Inlet> = inlet().into();
        // Last of all: threads that are started by a pinned thread are pinned with it.
        if let Some(id) = core
            && !core_affinity::set_for_current(core_affinity::CoreId { id })
        {
            tracing::warn!(thread = name, core = id, "cannot be pinned to this core; it runs where the system lets it");
        }
        let sessions = LocalSet::new();
        let context =
            Context { inlet: Rc::clone(&inlet), statuses: control.statuses().clone(), hosts, stop: stop.clone() };
        sessions.spawn_local(host(arrivals, context, control));
        if let Some(late) = late {
            sessions.spawn_local(let_in(Rc::clone(&inlet), late, stop.clone()));
        }
        if let Some((every_ms, snapshot_ms)) = timer {
            sessions.spawn_local(keep_time(inlet, every_ms, snapshot_ms, stop));
        }
        // Ends when the last session, those who wait for others, and the timer have ended.
        runtime.block_on(sessions);
        // A name that is still being looked up must not hold up the shut-down.
        runtime.shutdown_background();
    }
}

/// Hosts the sources that come to this thread until it is time to stop.
async fn host(mut arrivals: mpsc::Receiver<Arrival>, context: Context, control: FeedsControl) {
    let mut stop = context.stop.clone();
    loop {
        let arrival = tokio::select! {
            biased;
            () = until_stopped(&mut stop) => return,
            arrival = arrivals.recv() => arrival,
        };
        let Some(Arrival { feed, status, orders, answer }) = arrival else { return };
        let (context, control, source) = (context.clone(), control.clone(), feed.source);
        spawn_local(async move {
            if let Some(answer) = source::run(*feed, status, context, orders).await {
                control.forget(source);
                let _ = answer.send(());
            }
        });
        let _ = answer.send(());
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
        inlet.offer(&Input::Timer(Timer { now_ns: clock::now_ns(), snapshot, ..Timer::default() }));
    }
}

/// Ready when it is time to stop.
pub(super) async fn until_stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say it.
    let _ = stop.wait_for(|stop| *stop).await;
}
