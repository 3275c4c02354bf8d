//! From the feeds to the stages: tagged slots, a door that never blocks, and the marks that groups of stages leave.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::utils::CachePadded;
use disruptor::{
    BusySpin, EventPoller, MultiProducerBarrier, Producer, SingleConsumerBarrier, SingleProducerBarrier,
    build_multi_producer, build_single_producer,
};
use tickwire_schemas::INSTRUMENT_ALL;
use tickwire_schemas::record::{Drop as DropRecord, Head, SourceState, Tick};
use tickwire_schemas::words::{Cause, SourceStatus, Verdict};

use super::{Doorbell, Drained, Inlet, Poll};
use crate::market::Input;
use crate::metrics;

/// What the stages say about an input: the part of its record that they fill in. One register wide, in which it goes from
/// stage to stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The judgement; once it is not `Accepted`, later stages leave it.
    pub verdict: Verdict,
    /// Checks that refused it, of which there are at most 16.
    pub reasons: u16,
    /// Checks and remarks that did not.
    pub flags: u32,
}

impl Mark {
    /// The mark of an input that no stage has looked at.
    pub const NEW: Mark = Mark { verdict: Verdict::Accepted, reasons: 0, flags: 0 };

    /// As one number: the flags, above them the checks, and the verdict.
    fn pack(self) -> u64 {
        u64::from(self.verdict.code()) << 48 | u64::from(self.reasons) << 32 | u64::from(self.flags)
    }

    fn unpack(packed: u64) -> Mark {
        Mark {
            verdict: Verdict::from_code((packed >> 48) as u8).unwrap_or(Verdict::Refused),
            reasons: (packed >> 32) as u16,
            flags: packed as u32,
        }
    }

    /// Percent: 100 less 20 for each refusing check that failed, not below zero.
    #[must_use]
    #[inline]
    pub fn confidence(&self) -> u8 {
        if self.reasons == 0 {
            return 100;
        }
        100u8.saturating_sub(20u8.saturating_mul(self.reasons.count_ones() as u8))
    }
}

const _: () = assert!(size_of::<Mark>() == size_of::<u64>());

/// A slot of the inbound ring. An earlier group leaves its mark in the atomic; the ring's own cursor, which a later
/// group waits for, publishes it, so relaxed is enough.
///
/// In cache lines of its own: who writes one slot does not disturb who reads the one before. The input comes first, so that
/// a tick is the first two lines; and only what there is of an input is written, since each line that is written has to be
/// taken from the core of the reader.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct InSlot {
    input: Input,
    mark: AtomicU64,
}

const _: () = assert!(size_of::<u64>() + size_of::<Tick>() <= 2 * 64);

impl InSlot {
    /// The input.
    #[must_use]
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// What earlier groups said.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark::unpack(self.mark.load(Relaxed))
    }

    /// Leaves a mark for the next group.
    pub fn set_mark(&self, mark: Mark) {
        self.mark.store(mark.pack(), Relaxed);
    }

    #[inline]
    fn fill(&mut self, input: &Input) {
        match input {
            // With a head made anew, of which an input has only the names: a plain copy of the tick would become one of
            // the whole input, to the end of the longest.
            Input::Tick(tick) => {
                let Head { source_id, instrument_id, .. } = tick.head;
                let head = Head { source_id, instrument_id, ..Head::default() };
                self.input = Input::Tick(Tick { head, ..*tick });
            }
            _ => self.input = *input,
        }
        // Where no group left a mark the line is left alone.
        if self.mark.load(Relaxed) != Mark::NEW.pack() {
            self.set_mark(Mark::NEW);
        }
    }
}

/// Which dense index a source has: persistent ids are small, so a table does.
pub type DenseSources = Arc<[u16]>;

/// Inputs that did not fit, per source, until the next one that does.
#[derive(Clone, Copy, Default)]
struct Missed {
    count: u64,
    first_ns: i64,
    last_ok_ns: i64,
    cause: u8,
    state: Option<SourceState>,
}

/// The sources that doors know: persistent ids by dense index, and the reverse.
#[derive(Clone)]
struct Known {
    ids: Arc<[u32]>,
    dense: DenseSources,
}

/// What all doors of a ring know, which may grow while they are open.
#[derive(Clone)]
pub struct DoorSources(Arc<Mutex<Known>>);

impl DoorSources {
    fn new(ids: Arc<[u32]>, dense: DenseSources) -> DoorSources {
        DoorSources(Arc::new(Mutex::new(Known { ids, dense })))
    }

    /// Lets the doors know more sources, with `ids` and `dense` as in [`build_inbound`]. To be called before the first
    /// input of a new one: a door looks here when it is offered an input of a source that it does not know.
    pub fn grow(&self, ids: Arc<[u32]>, dense: DenseSources) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known { ids, dense };
    }

    fn now(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How full the inbound ring is, for those who ask. Each door tells what it published last and the last group what it took,
/// by a plain store into a cell that nobody else writes, in a cache line that nobody else writes to; the difference is taken
/// when somebody asks.
#[derive(Clone, Debug)]
pub struct InboundFill {
    slots: usize,
    published: Arc<[CachePadded<AtomicU64>]>,
    taken: Arc<CachePadded<AtomicU64>>,
}

impl InboundFill {
    fn new(slots: usize, threads: usize) -> InboundFill {
        let published = (0..threads.max(1)).map(|_| CachePadded::default()).collect();
        InboundFill { slots, published, taken: Arc::default() }
    }

    /// Slots in use, and how many there are.
    #[must_use]
    pub fn now(&self) -> (u64, u64) {
        let taken = self.taken.load(Relaxed);
        let published = self.published.iter().map(|cell| cell.load(Relaxed)).max().unwrap_or(0);
        (published.saturating_sub(taken).min(self.slots as u64), self.slots as u64)
    }

    /// The last group has taken so many inputs since the start.
    pub fn set_taken(&self, inputs: u64) {
        self.taken.store(inputs, Relaxed);
    }

    fn set_published(&self, door: usize, sequence: i64) {
        // Sequences count from 0.
        self.published[door].store(sequence.unsigned_abs() + 1, Relaxed);
    }
}

struct Door<P> {
    producer: P,
    known: Known,
    missed: Vec<Missed>,
    any_missed: bool,
}

impl<P> Door<P> {
    /// The dense index of an input's source; `None` for inputs of none. New sources are looked up in `sources`.
    fn index(&mut self, input: &Input, sources: &DoorSources) -> Option<usize> {
        let id = match input {
            Input::Tick(tick) => tick.head.source_id,
            Input::Trade(trade) => trade.head.source_id,
            Input::SourceState(state) => state.head.source_id,
            Input::Timer(_) | Input::Drop(_) | Input::Repair(_) => return None,
        };
        self.find(id).or_else(|| {
            self.known = sources.now();
            self.missed.resize(self.known.ids.len(), Missed::default());
            self.find(id)
        })
    }

    fn find(&self, id: u32) -> Option<usize> {
        let index = self.known.dense.get(id as usize)?;
        Some(usize::from(*index)).filter(|index| *index < self.missed.len())
    }
}

/// The producing end that one ingestion thread holds.
struct RingInlet<P> {
    door: RefCell<Door<P>>,
    sources: DoorSources,
    bell: Arc<Doorbell>,
    fill: InboundFill,
    number: usize,
}

impl<P: Producer<InSlot>> Inlet for RingInlet<P> {
    #[inline]
    fn offer(&self, input: &Input) {
        let mut door = self.door.borrow_mut();
        if door.any_missed && !self.confess(&mut door, input.now_ns()) {
            self.miss(&mut door, input);
            return;
        }
        match door.producer.try_publish(|slot| slot.fill(input)) {
            Ok(sequence) => {
                self.fill.set_published(self.number, sequence);
                if let Some(index) = door.index(input, &self.sources) {
                    door.missed[index].last_ok_ns = input.now_ns();
                }
                self.bell.ring();
            }
            Err(_) => self.miss(&mut door, input),
        }
    }

    fn try_offer(&self, input: &Input) -> bool {
        let sequence = self.door.borrow_mut().producer.try_publish(|slot| slot.fill(input)).ok();
        sequence.inspect(|sequence| self.fill.set_published(self.number, *sequence));
        // Those who are to make room, too, must know that there is something to do.
        self.bell.ring();
        sequence.is_some()
    }
}

impl<P: Producer<InSlot>> RingInlet<P> {
    /// Counts an input that did not fit. A change of state is kept instead: the newest one is offered again.
    fn miss(&self, door: &mut Door<P>, input: &Input) {
        let Some(index) = door.index(input, &self.sources) else { return };
        door.any_missed = true;
        let missed = &mut door.missed[index];
        if let Input::SourceState(state) = input {
            missed.state = Some(newest(missed.state, *state));
            return;
        }
        if missed.count == 0 {
            missed.first_ns = input.now_ns();
            missed.cause = dropping_cause().code();
        }
        missed.count += 1;
        metrics::INPUTS_DROPPED.at(index, 0).inc();
    }

    /// Publishes what was missed, ahead of the next input. False when there is still no room.
    fn confess(&self, door: &mut Door<P>, now_ns: i64) -> bool {
        for index in 0..door.missed.len() {
            let missed = door.missed[index];
            if missed.count > 0 {
                let mut record = DropRecord {
                    // Where nothing came before, the hole begins with the first input that was lost.
                    from_ns: if missed.last_ok_ns == 0 { missed.first_ns } else { missed.last_ok_ns },
                    to_ns: now_ns,
                    count: missed.count,
                    cause: missed.cause,
                    ..DropRecord::default()
                };
                record.head.source_id = door.known.ids[index];
                if door.producer.try_publish(|slot| slot.fill(&Input::Drop(record))).is_err() {
                    return false;
                }
                door.missed[index].count = 0;
            }
            if let Some(state) = missed.state {
                if door.producer.try_publish(|slot| slot.fill(&Input::SourceState(state))).is_err() {
                    return false;
                }
                door.missed[index].state = None;
            }
        }
        door.any_missed = false;
        true
    }
}

/// The state to offer again in the place of two. Of two instruments that were away, the whole source is: too many holes
/// are better than one that nobody is told of.
fn newest(before: Option<SourceState>, now: SourceState) -> SourceState {
    let Some(before) = before.filter(|before| before.head.instrument_id != now.head.instrument_id) else { return now };
    let live = SourceStatus::Live.code();
    let mut kept = if now.status == live { before } else { now };
    if kept.status != live {
        kept.status = if kept.status == SourceStatus::Stopped.code() { SourceStatus::Down.code() } else { kept.status };
        kept.head.instrument_id = INSTRUMENT_ALL;
    }
    SourceState { ts_recv_ns: now.ts_recv_ns, ..kept }
}

/// A full inbound ring means that the stages wait: for the journal when its queue was full, else for their own core.
fn dropping_cause() -> Cause {
    if metrics::JOURNAL_WAITING.get() > 0 { Cause::JournalFull } else { Cause::RingFull }
}

/// Makes the inlet of one ingestion thread, on that thread.
pub type InletMaker = Box<dyn FnOnce() -> Box<dyn Inlet> + Send>;

/// The consuming end for one group of stages, whatever it depends on.
pub enum GroupInput {
    /// Follows a single producer.
    Single(EventPoller<InSlot, SingleProducerBarrier>),
    /// Follows several producers.
    Multi(EventPoller<InSlot, MultiProducerBarrier>),
    /// Follows another group.
    After(EventPoller<InSlot, SingleConsumerBarrier>),
}

impl Poll<InSlot> for GroupInput {
    fn poll_some(&mut self, limit: usize, each: &mut impl FnMut(&InSlot)) -> Drained {
        match self {
            GroupInput::Single(poller) => poller.poll_some(limit, each),
            GroupInput::Multi(poller) => poller.poll_some(limit, each),
            GroupInput::After(poller) => poller.poll_some(limit, each),
        }
    }

    fn has_events(&self) -> bool {
        match self {
            GroupInput::Single(poller) => poller.has_events(),
            GroupInput::Multi(poller) => poller.has_events(),
            GroupInput::After(poller) => poller.has_events(),
        }
    }
}

/// The inbound ring, taken apart: a maker for each ingestion thread, an input and a bell for each group.
pub struct Inbound {
    /// One for each ingestion thread.
    pub inlets: Vec<InletMaker>,
    /// One for each group, in order; a group's bell is rung by whom it follows.
    pub groups: Vec<(GroupInput, Arc<Doorbell>)>,
    /// The sources that the inlets know.
    pub sources: DoorSources,
    /// How full it is.
    pub fill: InboundFill,
}

/// Builds the inbound ring: `slots` (a power of two) between `threads` producers and `groups` chained consumers.
/// `ids` are the persistent source ids by dense index, `dense` the reverse.
#[must_use]
pub fn build_inbound(slots: usize, threads: usize, groups: usize, ids: Arc<[u32]>, dense: DenseSources) -> Inbound {
    let bells: Vec<_> = (0..groups.max(1)).map(|_| Arc::new(Doorbell::default())).collect();
    let first_bell = Arc::clone(&bells[0]);
    let sources = DoorSources::new(ids, dense);
    let fill = InboundFill::new(slots, threads);

    // The builder's type changes with every step, and differs between one producer and several.
    macro_rules! chain {
        ($builder:expr, $first:path) => {{
            let (poller, builder) = $builder.new_event_poller();
            let mut inputs = vec![$first(poller)];
            if groups > 1 {
                let (poller, mut chained) = builder.and_then().new_event_poller();
                inputs.push(GroupInput::After(poller));
                for _ in 2..groups {
                    let (poller, next) = chained.and_then().new_event_poller();
                    inputs.push(GroupInput::After(poller));
                    chained = next;
                }
                (inputs, Built::Chained(chained.build()))
            } else {
                (inputs, Built::Plain(builder.build()))
            }
        }};
    }
    enum Built<A, B> {
        Plain(A),
        Chained(B),
    }
    let (inputs, inlets) = if threads <= 1 {
        let (inputs, built) = chain!(build_single_producer(slots, InSlot::default, BusySpin), GroupInput::Single);
        let inlet = match built {
            Built::Plain(producer) => make_inlet(producer, &sources, &first_bell, (&fill, 0)),
            Built::Chained(producer) => make_inlet(producer, &sources, &first_bell, (&fill, 0)),
        };
        (inputs, vec![inlet])
    } else {
        let (inputs, built) = chain!(build_multi_producer(slots, InSlot::default, BusySpin), GroupInput::Multi);
        let make = |producer, number| make_inlet(producer, &sources, &first_bell, (&fill, number));
        // Every maker holds a clone; the original goes, so that the ring ends with the last of them.
        let inlets = match built {
            Built::Plain(producer) => (0..threads).map(|number| make(producer.clone(), number)).collect(),
            Built::Chained(producer) => (0..threads).map(|number| make(producer.clone(), number)).collect(),
        };
        (inputs, inlets)
    };
    Inbound { inlets, groups: inputs.into_iter().zip(bells).collect(), sources, fill }
}

fn make_inlet<P: Producer<InSlot> + Send + 'static>(
    producer: P,
    sources: &DoorSources,
    bell: &Arc<Doorbell>,
    (fill, number): (&InboundFill, usize),
) -> InletMaker {
    let (sources, bell, fill) = (sources.clone(), Arc::clone(bell), fill.clone());
    Box::new(move || {
        let known = sources.now();
        let missed = vec![Missed::default(); known.ids.len()];
        let door = RefCell::new(Door { producer, known, missed, any_missed: false });
        Box::new(RingInlet { door, sources, bell, fill, number })
    })
}
