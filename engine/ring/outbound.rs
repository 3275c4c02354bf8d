//! From the stages to the journal and the fan-out: slots in wire layout.

use std::sync::Arc;
use std::task::{Context, Poll as TaskPoll};
use std::time::Duration;

use disruptor::{
    BusySpin, EventPoller, MultiConsumerBarrier, Producer, SingleProducer, SingleProducerBarrier, build_single_producer,
};
use tickwire_schemas::record::{RECORD_BYTES_MAX, Record};
use tickwire_schemas::words::Kind;

use super::{Doorbell, Drained, Outlet, Poll};
use crate::metrics;

/// A slot of the outbound ring: a record as it stands on the wire. It is reused and never leaves the ring; a consumer
/// that keeps the record copies it. In cache lines of its own: who writes one slot does not disturb who reads the one before.
#[derive(Debug)]
#[repr(align(64))]
pub struct OutSlot {
    kind: Kind,
    length: u16,
    bytes: [u8; RECORD_BYTES_MAX],
}

impl OutSlot {
    fn empty() -> OutSlot {
        OutSlot { kind: Kind::Timer, length: 0, bytes: [0; RECORD_BYTES_MAX] }
    }

    fn record(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The producing end: the last group's.
pub struct Outbound {
    producer: Option<SingleProducer<OutSlot, MultiConsumerBarrier>>,
    bells: Vec<Arc<Doorbell>>,
}

impl Outbound {
    /// Publishes a record, waiting for room if there is none: nothing that was accepted is lost. The wait is counted.
    /// Consumers are woken by [`Outbound::ring`], once a batch.
    pub fn publish<R: Record>(&mut self, record: &R) {
        let Some(producer) = &mut self.producer else { return };
        let mut waited = false;
        loop {
            let published = producer.try_publish(|slot| {
                slot.kind = R::KIND;
                slot.length = record.write(&mut slot.bytes) as u16;
            });
            if published.is_ok() {
                // Here and not in the stages, which make the same records again in a replay.
                if R::KIND == Kind::Quote {
                    metrics::QUOTES.inc();
                }
                return;
            }
            if !waited {
                waited = true;
                metrics::PIPELINE_WAITS.inc();
            }
            self.bells.iter().for_each(|bell| bell.ring());
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Wakes the consumers that sleep.
    pub fn ring(&self) {
        self.bells.iter().for_each(|bell| bell.ring());
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        // The ring first says that it has ended, then the sleepers are told to look.
        drop(self.producer.take());
        self.bells.iter().for_each(|bell| bell.close());
    }
}

struct RingOutlet {
    poller: EventPoller<OutSlot, SingleProducerBarrier>,
    bell: Arc<Doorbell>,
}

impl Outlet for RingOutlet {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        self.poller.poll_some(limit, &mut |slot: &OutSlot| each(slot.kind, slot.record()))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> TaskPoll<()> {
        if self.poller.has_events() || self.bell.is_closed() {
            return TaskPoll::Ready(());
        }
        self.bell.waker().register(cx.waker());
        if self.bell.may_sleep(|| self.poller.has_events()) { TaskPoll::Pending } else { TaskPoll::Ready(()) }
    }

    fn awake(&mut self) {
        self.bell.unrung();
    }
}

/// Builds the outbound ring of `slots` (a power of two) with its consumers: the journal, and the threads of the fan-out, at
/// least one. Those are woken first: terminals wait for them, and to wake a thread takes the waker microseconds.
#[must_use]
pub fn build_outbound(slots: usize, fanouts: usize) -> (Outbound, Box<dyn Outlet>, Vec<Box<dyn Outlet>>) {
    let mut bells = Vec::with_capacity(fanouts + 1);
    let mut outlet = |poller| {
        let bell = Arc::new(Doorbell::default());
        bells.push(Arc::clone(&bell));
        Box::new(RingOutlet { poller, bell }) as Box<dyn Outlet>
    };
    let builder = build_single_producer(slots, OutSlot::empty, BusySpin);
    let (poller, builder) = builder.new_event_poller();
    let (first, mut builder) = builder.new_event_poller();
    let (journal, mut to_fanout) = (outlet(poller), vec![outlet(first)]);
    for _ in 1..fanouts {
        let (poller, next) = builder.new_event_poller();
        builder = next;
        to_fanout.push(outlet(poller));
    }
    bells.rotate_left(1);
    (Outbound { producer: Some(builder.build()), bells }, journal, to_fanout)
}
