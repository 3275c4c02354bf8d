//! The pipeline: groups of stages on threads of their own, or all in one place for a replay.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use tickwire_schemas::record::read_head;
use tickwire_schemas::words::{Check, Kind};
use tickwire_schemas::{INSTRUMENT_ALL, NO_TIME};

use super::Settings;
use super::growth::{Growing, Grows, Growth};
use super::latency::{self, Stopwatch};
use crate::clock;
use crate::console::LastSeen;
use crate::journal::Snapshot;
use crate::market::Input;
use crate::metrics::{self, LatencyCell};
use crate::ring::{Doorbell, Drained, GroupInput, Idle, InSlot, InboundFill, Mark, Outbound, Pace, Poll};
use crate::stages::{BuildError, Emit, Group, Identity, Market, StateError};
use crate::storage::telemetry::Seconds;

/// Inputs handled before the consumers are woken and slots given back: some 20 µs of work.
const BATCH: usize = 64;

/// The name under which the chain counters stand in a snapshot, beside the stages.
const CHAINS: &str = "chains";

thread_local! {
    /// The input that this thread works on, for the crash file.
    static IN_FLIGHT: Cell<Option<Input>> = const { Cell::new(None) };
}

/// The input that the calling thread worked on when it failed.
#[must_use]
pub fn in_flight() -> Option<Input> {
    IN_FLIGHT.get()
}

/// All groups in one place: what starts up, and what replays.
pub struct Pipeline {
    groups: Vec<Group>,
    identity: Identity,
    market: Market,
    seconds: Option<Seconds>,
    fill: Option<InboundFill>,
}

impl Pipeline {
    /// Of the groups in their order; the last one publishes.
    #[must_use]
    pub fn new(groups: Vec<Group>, market: Market) -> Pipeline {
        Pipeline { groups, identity: Identity::new(0, &market), market, seconds: None, fill: None }
    }

    /// Where to hand what the stages take, second by second, once the pipeline runs on threads.
    #[must_use]
    pub fn reporting_to(self, seconds: Option<Seconds>) -> Pipeline {
        Pipeline { seconds, ..self }
    }

    /// Where to tell how much was taken of the inbound ring, once the pipeline runs on threads.
    #[must_use]
    pub fn taking_from(self, fill: &InboundFill) -> Pipeline {
        Pipeline { fill: Some(fill.clone()), ..self }
    }

    /// With the stages that the settings name, empty.
    ///
    /// # Errors
    /// [`BuildError`] when a stage's section is wrong.
    pub fn build(settings: &Settings, market: &Market) -> Result<Pipeline, BuildError> {
        Ok(Pipeline::new(settings.layout.build(&settings.config, market)?, market.clone()))
    }

    /// Goes on over a market that has grown, with groups that were built for it without state.
    ///
    /// # Errors
    /// When a group cannot take up the state of the one before; the pipeline is of no use then.
    pub fn grow(&mut self, groups: Vec<Group>, market: &Market) -> Result<(), StateError> {
        for (group, larger) in self.groups.iter_mut().zip(groups) {
            group.grow(larger)?;
        }
        self.identity.grow(market);
        self.market = market.clone();
        Ok(())
    }

    /// Takes up the state of a snapshot.
    ///
    /// # Errors
    /// When it is damaged or of another version; some stages may have taken up theirs, so such a pipeline is of no use.
    pub fn load(&mut self, snapshot: &Snapshot) -> Result<(), StateError> {
        for group in &mut self.groups {
            group.load(&snapshot.stages)?;
        }
        match snapshot.stage(CHAINS) {
            Some(bytes) => self.identity.chains().load(bytes),
            None => Err(StateError),
        }
    }

    /// The state behind the last record, which [`Pipeline::load`] takes up.
    #[must_use]
    pub fn save(&mut self) -> Snapshot {
        let mut stages = Vec::new();
        self.groups.iter().for_each(|group| group.save(&mut stages));
        stages.push(saved_chains(&mut self.identity));
        Snapshot { epoch: self.identity.epoch(), seq: self.identity.seq(), stages }
    }

    /// Goes on behind the record `seq` of `epoch`; a new epoch begins behind 0.
    pub fn resume_after(&mut self, epoch: u32, seq: u64) {
        self.identity.resume_after(epoch, seq);
    }

    /// Runs one input through all groups.
    pub fn run(&mut self, input: &Input, sink: &mut impl Emit, publish_ns: i64) {
        let mut mark = Mark::NEW;
        if let Some((last, earlier)) = self.groups.split_last_mut() {
            earlier.iter_mut().for_each(|group| group.judge(input, &mut mark, None));
            last.run(input, mark, &mut self.identity, sink, publish_ns);
        }
    }

    /// Publishes what is still forming: the end of a recording.
    pub fn finish(&mut self, sink: &mut impl Emit, publish_ns: i64) {
        if let Some(last) = self.groups.last_mut() {
            last.finish(&mut self.identity, sink, publish_ns);
        }
    }

    /// Runs the input of a journaled record under that record's own identity. False when it is not an input.
    pub fn replay(&mut self, kind: Kind, bytes: &[u8], sink: &mut impl Emit) -> bool {
        let (Some(input), Ok(head)) = (Input::from_record(kind, bytes), read_head(kind, bytes)) else { return false };
        self.identity.resume_after(head.epoch, head.seq.saturating_sub(1));
        self.run(&input, sink, head.ts_publish_ns);
        true
    }

    /// Numbers what comes as if it had published this record: when the state before it is not known any more.
    pub fn follow(&mut self, kind: Kind, record: &[u8]) {
        self.identity.chains().follow(kind, record);
    }

    /// Begins a new epoch and moves to threads: one for each group of `inputs`. With them comes what lets them grow.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn spawn(
        mut self,
        epoch: u32,
        inputs: Vec<(GroupInput, Arc<Doorbell>)>,
        outbound: Outbound,
        plan: &ThreadPlan,
        snapshots: Sender<Snapshot>,
        last_seen: LastSeen,
    ) -> std::io::Result<(Vec<JoinHandle<()>>, Growing)> {
        self.identity.resume_after(epoch, 0);
        let stages: Vec<Vec<_>> = self.groups.iter().map(|group| group.names().collect()).collect();
        let (watches, collector) = latency::start(&stages, self.seconds.take())?;
        let mut threads = vec![collector];
        let count = self.groups.len();
        let bells: Vec<_> = inputs.iter().map(|(_, bell)| Arc::clone(bell)).collect();
        let (states, saved) = bounded(4 * count);
        let mut last = Some((self.identity, outbound));
        let (growing, grows) = Growing::new(count);
        let parts = self.groups.into_iter().zip(watches).zip(inputs).zip(grows);
        for (at, (((group, watch), (input, bell)), grows)) in parts.enumerate() {
            // The last group's place is what frees a slot.
            let fill = self.fill.take_if(|_| at + 1 == count);
            let seat = Seat { idle: plan.idle, core: plan.cores.get(at).copied(), bell, grows, fill };
            let name = format!("tw-pipeline-{at}");
            let builder = std::thread::Builder::new().name(name);
            if at + 1 < count {
                let (next, states) = (Arc::clone(&bells[at + 1]), states.clone());
                let mut worker = Earlier { group, watch, next, states };
                threads.push(builder.spawn(move || {
                    poll_until_shutdown(input, &seat, &mut worker);
                    worker.next.close();
                })?);
            } else if let Some((identity, outbound)) = last.take() {
                let mut worker = Last {
                    group,
                    watch,
                    identity,
                    outbound,
                    market: self.market.clone(),
                    saved: saved.clone(),
                    snapshots: snapshots.clone(),
                    earlier: count - 1,
                    latency: Latency::new(),
                    last_seen: Arc::clone(&last_seen),
                    recorded: clock::is_recorded(),
                };
                threads.push(builder.spawn(move || poll_until_shutdown(input, &seat, &mut worker))?);
            }
        }
        Ok((threads, growing))
    }
}

/// How the pipeline's threads run.
#[derive(Debug, Clone)]
pub struct ThreadPlan {
    /// What to do without work.
    pub idle: Idle,
    /// The core of each group's thread; groups beyond the list are not pinned.
    pub cores: Vec<usize>,
}

struct Seat {
    idle: Idle,
    core: Option<usize>,
    bell: Arc<Doorbell>,
    grows: Grows,
    /// Where it tells how much it took.
    fill: Option<InboundFill>,
}

impl Seat {
    /// Pins the calling thread, last of all: children would inherit it.
    fn take(&self) -> Pace {
        if let Some(core) = self.core
            && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
        {
            tracing::warn!("the pipeline cannot be pinned to core {core}; it runs unpinned");
        }
        Pace::new(self.idle)
    }
}

type SavedStates = (i64, Vec<(String, Vec<u8>)>);

/// What a thread of the pipeline does.
trait Worker {
    fn step(&mut self, slot: &InSlot);
    fn end_of_batch(&mut self);
    /// Between two inputs: goes on over a market that has grown. Gives back what it was.
    fn grow(&mut self, growth: Growth) -> Result<Group, StateError>;
}

fn poll_until_shutdown(mut input: GroupInput, seat: &Seat, worker: &mut impl Worker) {
    let mut pace = seat.take();
    let mut taken = 0;
    loop {
        match input.poll_some(BATCH, &mut |slot: &InSlot| worker.step(slot)) {
            Drained::Records(count) => {
                worker.end_of_batch();
                pace.busy();
                taken += count as u64;
                if let Some(fill) = &seat.fill {
                    fill.set_taken(taken);
                }
            }
            Drained::Empty => pace.idle(&seat.bell, || input.has_events()),
            Drained::Shutdown => return,
        }
        seat.grows.between_inputs(|growth| worker.grow(growth));
    }
}

/// A group before the last one: it only judges.
struct Earlier {
    group: Group,
    watch: Stopwatch,
    next: Arc<Doorbell>,
    states: Sender<SavedStates>,
}

impl Worker for Earlier {
    fn step(&mut self, slot: &InSlot) {
        IN_FLIGHT.set(Some(*slot.input()));
        let mut mark = slot.mark();
        self.group.judge(slot.input(), &mut mark, self.watch.next_input());
        self.watch.input_done();
        slot.set_mark(mark);
        if let Input::Timer(timer) = slot.input()
            && timer.snapshot != 0
        {
            let mut saved = Vec::new();
            self.group.save(&mut saved);
            // Full when the last group hangs: then there is no snapshot, and the next one is tried.
            let _ = self.states.try_send((timer.now_ns, saved));
        }
    }

    fn end_of_batch(&mut self) {
        self.next.ring();
    }

    fn grow(&mut self, growth: Growth) -> Result<Group, StateError> {
        self.group.grow(growth.group)
    }
}

/// The last group: it alone publishes.
struct Last {
    group: Group,
    watch: Stopwatch,
    identity: Identity,
    outbound: Outbound,
    market: Market,
    /// States of the earlier groups, by the time of the timer that asked for them.
    saved: Receiver<SavedStates>,
    earlier: usize,
    snapshots: Sender<Snapshot>,
    latency: Latency,
    last_seen: LastSeen,
    /// The inputs are a recording's.
    recorded: bool,
}

impl Worker for Last {
    fn step(&mut self, slot: &InSlot) {
        let input = slot.input();
        IN_FLIGHT.set(Some(*input));
        // What a replay publishes is stamped as if it had taken no time, so that it is the same every time.
        let now_ns = if self.recorded { input.now_ns() } else { clock::now_ns() };
        self.latency.step(now_ns, input);
        let seq = self.identity.next_seq();
        let laps = self.watch.next_input();
        let mark = self.group.run_measured(input, slot.mark(), &mut self.identity, &mut self.outbound, now_ns, laps);
        self.watch.input_done();
        metrics::RECORDS.add(self.identity.seq() + 1 - seq);
        count(&self.market, &self.last_seen, input, &mark);
        if let Input::Timer(timer) = input
            && timer.snapshot != 0
        {
            self.snapshot(seq, timer.now_ns);
        }
    }

    fn end_of_batch(&mut self) {
        self.outbound.ring();
        self.latency.end_of_batch(clock::now_ns());
    }

    fn grow(&mut self, Growth { group, market, last_seen, .. }: Growth) -> Result<Group, StateError> {
        let before = self.group.grow(group)?;
        self.identity.grow(&market);
        let (was, is) = (self.market.instruments().len(), market.instruments().len());
        for (at, seen) in self.last_seen.iter().enumerate() {
            last_seen[at / was * is + at % was].store(seen.load(Relaxed), Relaxed);
        }
        (self.market, self.last_seen) = (market, last_seen);
        Ok(before)
    }
}

impl Last {
    /// Saves the state of all groups after the timer with this `seq`. It allocates, seldom: once a snapshot.
    fn snapshot(&mut self, seq: u64, timer_ns: i64) {
        let mut stages = Vec::new();
        let mut parts = 0;
        while let Ok((at_ns, states)) = self.saved.try_recv() {
            // States of a timer whose snapshot was given up are older and are thrown away.
            if at_ns == timer_ns {
                stages.extend(states);
                parts += 1;
            }
        }
        if parts < self.earlier {
            return;
        }
        self.group.save(&mut stages);
        stages.push(saved_chains(&mut self.identity));
        // Full when the disk is slow: the state is still in the journal, the restart only takes longer.
        let _ = self.snapshots.try_send(Snapshot { epoch: self.identity.epoch(), seq, stages });
    }
}

fn saved_chains(identity: &mut Identity) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    identity.chains().save(&mut bytes);
    (CHAINS.into(), bytes)
}

/// Counts an input by its verdict and failed checks.
fn count(market: &Market, last_seen: &LastSeen, input: &Input, mark: &Mark) {
    let (head, event_ns, recv_ns) = match input {
        Input::Tick(tick) => (&tick.head, tick.ts_event_ns, tick.ts_recv_ns),
        Input::Trade(trade) => (&trade.head, trade.ts_event_ns, trade.ts_recv_ns),
        Input::SourceState(state) => {
            // Of one instrument it is not the source's.
            let whole = state.head.instrument_id == INSTRUMENT_ALL;
            if let Some(source) = market.source(state.head.source_id).filter(|_| whole) {
                metrics::STATUS.at(source).set(i64::from(state.status));
            }
            return;
        }
        Input::Repair(repair) => {
            if let Some(source) = market.source(repair.head.source_id) {
                metrics::REPAIRS.at(source, usize::from(repair.step)).inc();
            }
            return;
        }
        Input::Timer(_) | Input::Drop(_) => return,
    };
    let Some((source, instrument)) = market.pair(head) else { return };
    last_seen[source * market.instruments().len() + instrument].store(recv_ns, Relaxed);
    metrics::TICKS.at(source, usize::from(mark.verdict.code())).inc();
    metrics::LAST_DATA_NS.at(source).set(recv_ns);
    if event_ns != NO_TIME {
        metrics::LATENCY_US.at(source).set(recv_ns.saturating_sub(event_ns) / 1000);
    }
    let failed = (u32::from(mark.reasons) | mark.flags) & 0xFFFF;
    if failed != 0 {
        for check in Check::ALL.iter().filter(|check| failed & check.bit() != 0) {
            metrics::CHECKS.at(source, usize::from(check.code())).inc();
        }
    }
}

/// Time in the pipeline per input, and from the socket to publication, handed to the console every few seconds.
struct Latency {
    stage: Histogram<u64>,
    publish: Histogram<u64>,
    previous_ns: i64,
    handed_ns: i64,
}

/// How long measurements are collected before they replace the last ones, in nanoseconds.
const WINDOW_NS: i64 = 5_000_000_000;

impl Latency {
    fn new() -> Latency {
        Latency { stage: LatencyCell::histogram(), publish: LatencyCell::histogram(), previous_ns: 0, handed_ns: 0 }
    }

    /// One clock reading per input serves three purposes: the stamp of publication, the end of the previous input's
    /// time in the pipeline, and the way from the socket.
    fn step(&mut self, now_ns: i64, input: &Input) {
        if self.previous_ns != 0 {
            self.stage.saturating_record((now_ns - self.previous_ns).max(0) as u64);
        }
        self.previous_ns = now_ns;
        if let Input::Tick(tick) = input {
            self.publish.saturating_record((now_ns - tick.ts_recv_ns).max(0) as u64);
        }
    }

    fn end_of_batch(&mut self, now_ns: i64) {
        self.stage.saturating_record((now_ns - self.previous_ns).max(0) as u64);
        self.previous_ns = 0;
        if now_ns - self.handed_ns >= WINDOW_NS
            && metrics::STAGE_LATENCY.offer(&mut self.stage)
            && metrics::PUBLISH_LATENCY.offer(&mut self.publish)
        {
            self.handed_ns = now_ns;
        }
    }
}
