//! The thread `tw-repair`: reads the ledger from the journal, asks venues, hands over what they answer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_schemas::record::{Bar, Gap, Record, Repair};
use tickwire_schemas::words::{Cause, Kind, RepairStep};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{Instrument, trace_span};

use super::RepairConfig;
use super::plan::{Job, Key, Plan, TickJob, Told, Venue};
use super::state::{File, StateFile};
use super::ticks::{self, Store, Whose};
use crate::feeds::LateInputs;
use crate::feeds::adapters::{self, History};
use crate::feeds::net::Failure;
use crate::feeds::rate::SharedHosts;
use crate::feeds::turns::in_turn;
use crate::journal::{Durable, JournalError, Reader};
use crate::market::{Calendar, Input};
use crate::storage::names::Names;
use crate::{clock, metrics};

/// How often it looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often its state is written, when something was read.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// Longest wait for an answer, all pages of it.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Longest goodbye to a venue, and to all of them at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);
const LAST_CLOSE_MAX: Duration = Duration::from_millis(500);

/// Entries of the journal after which it looks whether it is to stop, or an answer has come.
const ENTRIES_AT_ONCE: usize = 10_000;

/// Orders that wait; more are refused.
const ORDERS_MAX: usize = 64;

/// A source: what the planner knows of it, and who is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// For the log.
    pub name: String,
    /// For the planner.
    pub venue: Venue,
    /// Who is asked.
    pub adapter: Arc<dyn adapters::Venue>,
    /// The words for it and its symbols in the database.
    pub names: Arc<Names>,
}

/// What the thread works with.
#[derive(Debug)]
pub struct Setup {
    /// The section `[repair]`.
    pub config: RepairConfig,
    /// The sources, by their dense indices.
    pub sources: Vec<Asked>,
    /// Of each class, by its number.
    pub calendars: Vec<Calendar>,
    /// The journal, and how far it is on the disk.
    pub journal_dir: PathBuf,
    /// How far it is on the disk.
    pub durable: Durable,
    /// This run's.
    pub epoch: u32,
    /// Where its state is kept.
    pub state_file: PathBuf,
    /// The request buckets of the process.
    pub hosts: SharedHosts,
    /// The way to the stages.
    pub late: LateInputs,
    /// Where past ticks are stored, if they are.
    pub store: Option<Store>,
}

/// What others ask of the thread.
#[derive(Debug)]
enum Order {
    Retry(Key),
    Source(Asked),
}

/// Lets a running thread know sources, and holes to try again.
#[derive(Debug, Clone)]
pub struct RepairSources(mpsc::Sender<Order>);

impl RepairSources {
    /// Tells of one that came or changed; false when the thread has no time for it now.
    #[must_use]
    pub fn tell(&self, asked: Asked) -> bool {
        self.0.try_send(Order::Source(asked)).is_ok()
    }

    /// As [`Repairer::retry`].
    #[must_use]
    pub fn retry(&self, key: Key) -> bool {
        self.0.try_send(Order::Retry(key)).is_ok()
    }
}

/// A running thread.
#[derive(Debug)]
pub struct Repairer {
    stop: watch::Sender<bool>,
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

impl Repairer {
    /// Makes a hole that was lost in this run wait again; false when the thread has no time for it now. A hole that it does
    /// not remember stays lost.
    #[must_use]
    pub fn retry(&self, key: Key) -> bool {
        self.orders.try_send(Order::Retry(key)).is_ok()
    }

    /// What lets it know sources that come or change while the engine runs.
    #[must_use]
    pub fn sources(&self) -> RepairSources {
        RepairSources(self.orders.clone())
    }

    /// Waits for the thread, which drops the requests under way. To be called while the feeds still run; what is not mended
    /// the next start goes on with.
    pub fn stop(self) {
        self.stop.send_replace(true);
        // A panic aborts the process, so there is nothing to learn from the result.
        let _ = self.thread.join();
    }
}

/// Starts the thread, where it stopped in the journal.
///
/// # Errors
/// One sentence when the journal cannot be read or the thread cannot be made.
pub fn start(setup: Setup) -> Result<Repairer, String> {
    let (file, saved) = (StateFile(setup.state_file), File::default());
    let saved = file.read(&setup.journal_dir).unwrap_or(saved);
    let from = saved.position;
    let reader = Reader::follow(&setup.journal_dir, from, setup.durable).map_err(|e| e.to_string())?;
    let (plans, sources): (Vec<_>, Vec<_>) =
        setup.sources.into_iter().map(|asked| (asked.venue, (asked.name, asked.adapter, asked.names))).unzip();
    let mut plan = Plan::new(setup.config.clone(), plans, setup.calendars, fastrand::u64(..));
    plan.load(&saved.waiting);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("the runtime of repairs: {e}"))?;
    let ((stop, stopped), (orders, ordered)) = (watch::channel(false), mpsc::channel(ORDERS_MAX));
    let (tell, heard) = mpsc::channel(setup.config.requests.max(1));
    let work = Work {
        sources: sources
            .into_iter()
            .map(|(name, adapter, names)| Source { name, adapter, names, busy: false, used: false })
            .collect(),
        requests_max: setup.config.requests,
        plan,
        reader,
        read_all: false,
        read_failed: false,
        epoch: setup.epoch,
        file,
        saved_at_ns: clock::monotonic_ns(),
        ahead: 0,
        waiting: VecDeque::new(),
        hosts: setup.hosts,
        late: setup.late,
        store: setup.store,
        stopped,
        tell,
        turn: 0,
    };
    let run = move || run(runtime, work, ordered, heard);
    let thread = std::thread::Builder::new().name("tw-repair".into()).spawn(run);
    Ok(Repairer { stop, orders, thread: thread.map_err(|e| format!("a thread for repairs: {e}"))? })
}

fn run(runtime: Runtime, mut work: Work, mut ordered: mpsc::Receiver<Order>, mut heard: mpsc::Receiver<Heard>) {
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let mut stopped = work.stopped.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => {}
            () = work.run(&mut ordered, &mut heard) => {}
        }
    }));
    // Requests under way end here.
    drop(tasks);
    work.save();
    runtime.block_on(async {
        let _ = timeout(LAST_CLOSE_MAX, work.close_all()).await;
    });
    runtime.shutdown_background();
}

/// A source that is asked.
struct Source {
    name: String,
    adapter: Arc<dyn adapters::Venue>,
    names: Arc<Names>,
    /// A request or a goodbye is under way.
    busy: bool,
    /// It was asked, and no goodbye said since.
    used: bool,
}

/// What tasks say.
enum Heard {
    Answer(Job, Result<Vec<Bar>, Failure>),
    Ticks(TickJob, Result<u64, Failure>),
    Closed(usize),
}

struct Work {
    plan: Plan,
    sources: Vec<Source>,
    requests_max: usize,
    reader: Reader,
    /// The journal of former runs has been read.
    read_all: bool,
    read_failed: bool,
    epoch: u32,
    file: StateFile,
    saved_at_ns: i64,
    /// Inputs handed over and not yet read in the journal.
    ahead: u64,
    /// Inputs that wait to be handed over.
    waiting: VecDeque<Told>,
    hosts: SharedHosts,
    late: LateInputs,
    store: Option<Store>,
    stopped: watch::Receiver<bool>,
    tell: mpsc::Sender<Heard>,
    /// The source that is asked first the next time.
    turn: usize,
}

impl Work {
    async fn run(&mut self, ordered: &mut mpsc::Receiver<Order>, heard: &mut mpsc::Receiver<Heard>) {
        let mut beat = interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                Some(said) = heard.recv() => self.on_heard(said),
                Some(order) = ordered.recv() => self.on_order(order),
                _ = beat.tick() => self.look().await,
            }
            self.hand_over().await;
            self.ask();
            metrics::REPAIRS_PENDING.set(i64::try_from(self.plan.pending()).unwrap_or(i64::MAX));
        }
    }

    async fn look(&mut self) {
        match self.read().await {
            Ok(()) => self.read_failed = false,
            // Told once; the next look tries again.
            Err(error) if !self.read_failed => {
                self.read_failed = true;
                tracing::warn!("repair: {error}");
            }
            Err(_) => {}
        }
        if self.read_all {
            let before = self.plan.overflowed();
            self.plan.look(clock::now_ns());
            metrics::REPAIRS_OVERFLOWED.add(self.plan.overflowed() - before);
        }
        let age_ns = clock::monotonic_ns() - self.saved_at_ns;
        if age_ns >= i64::try_from(SAVE_EVERY.as_nanos()).unwrap_or(i64::MAX) {
            self.save();
        }
    }

    /// Reads the journal to its end.
    async fn read(&mut self) -> Result<(), JournalError> {
        let mut entries = 0;
        while let Some(entry) = self.reader.next()? {
            match entry.kind {
                Kind::Gap => {
                    if let Ok(gap) = Gap::read(entry.bytes) {
                        self.plan.gap(&gap);
                    }
                }
                Kind::Repair => {
                    if let Ok(repair) = Repair::read(entry.bytes) {
                        self.ahead -= u64::from(repair.head.epoch == self.epoch).min(self.ahead);
                        self.plan.journaled(&repair);
                    }
                }
                _ => {}
            }
            entries += 1;
            if entries == ENTRIES_AT_ONCE {
                entries = 0;
                tokio::task::yield_now().await;
            }
        }
        self.read_all = true;
        Ok(())
    }

    fn on_heard(&mut self, said: Heard) {
        match said {
            Heard::Closed(source) => self.sources[source].busy = false,
            Heard::Answer(job, answer) => {
                self.answered(job.venue, job.symbol, job.timeframe.word(), answer.as_ref().err());
                self.plan.answered(&job, answer, clock::now_ns());
                self.close_if_done(job.venue);
            }
            Heard::Ticks(job, answer) => {
                self.answered(job.venue, job.symbol, "ticks", answer.as_ref().err());
                match answer {
                    Ok(_) => self.plan.stored(&job, clock::now_ns()),
                    Err(failure) => self.plan.not_stored(&job, &failure, clock::now_ns()),
                }
                self.close_if_done(job.venue);
            }
        }
    }

    fn answered(&mut self, at: usize, symbol: usize, what: &str, failure: Option<&Failure>) {
        let source = &mut self.sources[at];
        source.busy = false;
        if let Some(failure) = failure {
            metrics::REPAIR_FAILURES.inc();
            let (source, symbol) = (source.name.as_str(), self.plan.venue_symbol(at, symbol));
            tracing::info!(source, symbol, what, "repair: {failure}");
        }
    }

    fn close_if_done(&mut self, at: usize) {
        let now_ns = clock::now_ns();
        if self.plan.next(at, now_ns).is_none() && self.plan.next_ticks(at, now_ns).is_none() {
            self.close(at);
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Retry(key) => {
                let known = self.plan.retry(key);
                tracing::info!(epoch = key.epoch, gap_id = key.id, known, "repair: asked to try again");
            }
            Order::Source(Asked { name, venue, adapter, names }) => {
                let at = self.plan.set_venue(venue);
                match self.sources.get_mut(at) {
                    Some(source) => (source.name, source.adapter, source.names) = (name, adapter, names),
                    None => self.sources.push(Source { name, adapter, names, busy: false, used: false }),
                }
            }
        }
    }

    /// Hands what the planner says over to the stages, as fast as they have room.
    async fn hand_over(&mut self) {
        self.waiting.extend(std::iter::from_fn(|| self.plan.tell()));
        while let Some(told) = self.waiting.front() {
            // Told before, so that being stopped while it waits for room leaves it here.
            if !self.late.offer(Input::Repair(told.repair)).await {
                return;
            }
            self.ahead += 1;
            if told.repair.step == RepairStep::Lost.code() {
                let source = told.venue.map_or("", |venue| self.sources[venue].name.as_str());
                let Repair { gap_epoch, gap_id, from_ns, to_ns, .. } = told.repair;
                let why = told.why.as_deref().unwrap_or_default();
                tracing::warn!(source, gap_epoch, gap_id, from_ns, to_ns, "a hole cannot be mended: {why}");
            }
            self.waiting.pop_front();
        }
    }

    /// Starts the requests that are due, one of each source.
    fn ask(&mut self) {
        let now_ns = clock::now_ns();
        let count = self.sources.len();
        let under_way = self.sources.iter().filter(|source| source.busy).count();
        let mut room = self.requests_max.saturating_sub(under_way);
        for at in (self.turn..self.turn + count).map(|at| at % count) {
            if room == 0 || !self.read_all {
                return;
            }
            if self.sources[at].busy {
                continue;
            }
            if let Some(job) = self.plan.next(at, now_ns) {
                self.ask_bars(at, job);
            } else if let Some(job) = self.plan.next_ticks(at, now_ns) {
                self.ask_ticks(at, job);
            } else {
                continue;
            }
            (room, self.turn) = (room - 1, at + 1);
            (self.sources[at].busy, self.sources[at].used) = (true, true);
            metrics::REPAIR_REQUESTS.inc();
        }
    }

    fn ask_bars(&self, at: usize, job: Job) {
        let symbol = self.plan.venue_symbol(at, job.symbol).to_string();
        let (adapter, hosts, tell) = (Arc::clone(&self.sources[at].adapter), self.hosts.clone(), self.tell.clone());
        let span = trace_span!(target: "spans", "bars", symbol);
        let asked = async move {
            let answer = match adapter.any_history() {
                Some(history) => fetch(history, &hosts, &symbol, &job).await,
                None => Err(Failure::new(Cause::ProtocolError, "no past bars any more")),
            };
            let _ = tell.send(Heard::Answer(job, answer)).await;
        };
        spawn_local(asked.instrument(span));
    }

    fn ask_ticks(&self, at: usize, job: TickJob) {
        let (source_id, instrument_id) = self.plan.ids(at, job.symbol);
        let venue_symbol = self.plan.venue_symbol(at, job.symbol).to_string();
        let whose = Whose { source_id, instrument_id, venue_symbol };
        let (adapter, names) = (Arc::clone(&self.sources[at].adapter), Arc::clone(&self.sources[at].names));
        let (hosts, tell, store) = (self.hosts.clone(), self.tell.clone(), self.store.clone());
        let span = trace_span!(target: "spans", "ticks", symbol = whose.venue_symbol);
        let asked = async move {
            let answer = match store {
                Some(store) => ticks::mend(&store, &names, &whose, &*adapter, &hosts, &job).await,
                None => Ok(0),
            };
            let _ = tell.send(Heard::Ticks(job, answer)).await;
        };
        spawn_local(asked.instrument(span));
    }

    /// Gives back what asking a source took, until there is more to ask.
    fn close(&mut self, at: usize) {
        let source = &mut self.sources[at];
        (source.busy, source.used) = (true, false);
        let (adapter, tell) = (Arc::clone(&source.adapter), self.tell.clone());
        spawn_local(async move {
            if let Some(history) = adapter.any_history() {
                let _ = timeout(CLOSE_MAX, history.close()).await;
            }
            let _ = tell.send(Heard::Closed(at)).await;
        });
    }

    async fn close_all(&self) {
        let used = self.sources.iter().filter(|source| source.used).filter_map(|source| source.adapter.any_history());
        futures_util::future::join_all(used.map(History::close)).await;
    }

    /// Writes its state, when all that was handed over is journaled; if not, what was written before and the journal behind
    /// it say the same.
    fn save(&mut self) {
        if self.ahead > 0 || !self.waiting.is_empty() || !self.read_all {
            return;
        }
        self.saved_at_ns = clock::monotonic_ns();
        let file = File { position: Some(self.reader.position()), waiting: self.plan.save() };
        if let Err(error) = self.file.write(&file) {
            tracing::warn!("repair: {error}");
        }
    }
}

/// Asks for bars, as soon as the venue's limits allow.
async fn fetch(history: &dyn History, hosts: &SharedHosts, symbol: &str, job: &Job) -> Result<Vec<Bar>, Failure> {
    let late = || Failure::new(Cause::ReadError, format!("no whole answer within {} s", ANSWER_MAX.as_secs()));
    let answer = async {
        let asked = history.bars(symbol, job.timeframe, job.from_ns, job.to_ns);
        timeout(ANSWER_MAX, asked).await.map_err(|_| late()).flatten()
    };
    in_turn(hosts, (history.host(), history.rate()), answer).await
}
