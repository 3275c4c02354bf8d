//! The sides: what carries an input.

use std::sync::Arc;
use std::sync::mpsc as standard;

use crossbeam::channel;
use disruptor::{BusySpin, Polling, Producer, build_single_producer};
use tickwire::market::Input;
use tickwire::ring::{Drained, Idle, InSlot, Inlet, Pace, Poll, build_inbound};
use tokio::sync::mpsc as asynchronous;

use super::hops::{Load, Round, Tally, measure};

/// Slots of a ring and room of a channel: eight milliseconds of inputs at the pace of `spin`, and small enough for the
/// caches, which the engine's default of 65,536 is not.
const SLOTS: usize = 4_096;

/// As the pipeline.
const BATCH: usize = 64;

/// A side by its name.
type Side = fn(Load, u64) -> Round;

pub(crate) const ALL: [(&str, Side); 5] = [
    ("disruptor", bare),
    ("tickwire", wired),
    ("crossbeam", crossbeam_channel),
    ("std", standard_channel),
    ("tokio", tokio_channel),
];

/// The disruptor as its documentation uses it. It has no way to sleep: `park` yields.
fn bare(load: Load, inputs: u64) -> Round {
    let (mut poller, builder) = build_single_producer(SLOTS, Input::default, BusySpin).new_event_poller();
    let mut producer = builder.build();
    let sender = move || move |input: Input| producer.try_publish(|slot| *slot = input).is_ok();
    measure(load, inputs, sender, move |tally: &mut Tally| {
        loop {
            match poller.poll() {
                Ok(mut inputs) => (&mut inputs).for_each(|input| tally.take(input)),
                Err(Polling::NoEvents) if load == Load::Park => std::thread::yield_now(),
                Err(Polling::NoEvents) => std::hint::spin_loop(),
                Err(Polling::Shutdown) => return,
            }
        }
    })
}

/// The same ring with the engine's door before it, its bell and its pace behind.
fn wired(load: Load, inputs: u64) -> Round {
    let mut ring = build_inbound(SLOTS, 1, 1, Arc::from([1]), Arc::from([u16::MAX, 0]));
    let make = ring.inlets.remove(0);
    let (mut group, bell) = ring.groups.remove(0);
    let sender = move || {
        let inlet: Box<dyn Inlet> = make();
        // As feeds do it; in a flood, where there is no room most of the time, as a replay does.
        move |input: Input| match load {
            Load::Flood => inlet.try_offer(&input),
            Load::Spin | Load::Park => {
                inlet.offer(&input);
                true
            }
        }
    };
    measure(load, inputs, sender, move |tally: &mut Tally| {
        let mut pace = Pace::new(if load == Load::Park { Idle::SpinThenPark } else { Idle::Spin });
        loop {
            match group.poll_some(BATCH, &mut |slot: &InSlot| tally.take(slot.input())) {
                Drained::Records(_) => pace.busy(),
                Drained::Empty => pace.idle(&bell, || group.has_events()),
                Drained::Shutdown => return,
            }
        }
    })
}

fn crossbeam_channel(load: Load, inputs: u64) -> Round {
    let (sender, receiver) = channel::bounded(SLOTS);
    measure(
        load,
        inputs,
        move || move |input: Input| sender.try_send(input).is_ok(),
        move |tally: &mut Tally| {
            if load == Load::Park {
                receiver.iter().for_each(|input| tally.take(&input));
                return;
            }
            loop {
                match receiver.try_recv() {
                    Ok(input) => tally.take(&input),
                    Err(channel::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(channel::TryRecvError::Disconnected) => return,
                }
            }
        },
    )
}

fn standard_channel(load: Load, inputs: u64) -> Round {
    let (sender, receiver) = standard::sync_channel(SLOTS);
    measure(
        load,
        inputs,
        move || move |input: Input| sender.try_send(input).is_ok(),
        move |tally: &mut Tally| {
            if load == Load::Park {
                receiver.iter().for_each(|input| tally.take(&input));
                return;
            }
            loop {
                match receiver.try_recv() {
                    Ok(input) => tally.take(&input),
                    Err(standard::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(standard::TryRecvError::Disconnected) => return,
                }
            }
        },
    )
}

fn tokio_channel(load: Load, inputs: u64) -> Round {
    let (sender, mut receiver) = asynchronous::channel(SLOTS);
    measure(
        load,
        inputs,
        move || move |input: Input| sender.try_send(input).is_ok(),
        move |tally: &mut Tally| {
            if load == Load::Park {
                while let Some(input) = receiver.blocking_recv() {
                    tally.take(&input);
                }
                return;
            }
            loop {
                match receiver.try_recv() {
                    Ok(input) => tally.take(&input),
                    Err(asynchronous::error::TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(asynchronous::error::TryRecvError::Disconnected) => return,
                }
            }
        },
    )
}
