#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use tickwire_schemas::record::{Drop as DropRecord, Record, SourceState, Timer};
use tickwire_schemas::words::{Cause, Kind, SourceStatus};

use super::*;
use crate::market::{InstrumentId, Price, SourceId, TickInput};

fn tick(source: u32, at: i64) -> Input {
    TickInput {
        source: SourceId(source),
        instrument: InstrumentId(1),
        ts_event_ns: Some(at),
        ts_recv_ns: at,
        bid: Price::from_e9(1),
        ask: Price::from_e9(2),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    }
    .into()
}

fn inbound(slots: usize, threads: usize, groups: usize) -> Inbound {
    // Sources 3 and 5 have the dense indices 0 and 1.
    build_inbound(slots, threads, groups, Arc::from([3, 5]), Arc::from([u16::MAX, u16::MAX, u16::MAX, 0, u16::MAX, 1]))
}

fn take(group: &mut (GroupInput, Arc<Doorbell>), limit: usize) -> Vec<Input> {
    let mut found = vec![];
    group.0.poll_some(limit, &mut |slot: &InSlot| found.push(*slot.input()));
    found
}

/// Four slots hold four ticks; the next three are lost, and confessed ahead of the first that fits again.
#[test]
fn what_does_not_fit_becomes_a_counted_hole_and_a_lost_state_is_offered_again() {
    let mut ring = inbound(4, 1, 1);
    let inlet = ring.inlets.remove(0)();
    for at in 1..=4 {
        inlet.offer(&tick(3, at));
    }
    inlet.offer(&tick(3, 5));
    inlet.offer(&tick(3, 6));
    inlet.offer(&tick(5, 6));
    let mut state = SourceState { ts_recv_ns: 7, status: SourceStatus::Mute.code(), ..SourceState::default() };
    state.head.source_id = 3;
    inlet.offer(&Input::SourceState(state));
    assert_eq!(take(&mut ring.groups[0], 9).len(), 4, "capacity is exact");
    inlet.offer(&tick(3, 9));
    let found = take(&mut ring.groups[0], 9);
    let hole = |source, from_ns, count| {
        let mut drop = DropRecord { from_ns, to_ns: 9, count, cause: Cause::RingFull.code(), ..DropRecord::default() };
        drop.head.source_id = source;
        Input::Drop(drop)
    };
    assert_eq!(found, [hole(3, 4, 2), Input::SourceState(state), hole(5, 6, 1), tick(3, 9)]);
}

#[test]
fn how_full_it_is_goes_from_nothing_to_every_slot() {
    // The ring of several threads has no fewer.
    const SLOTS: usize = 64;
    for threads in [1, 2] {
        let mut ring = inbound(SLOTS, threads, 1);
        let fill = ring.fill.clone();
        let inlets: Vec<_> = ring.inlets.drain(..).map(|make| make()).collect();
        assert_eq!(fill.now(), (0, SLOTS as u64));
        inlets[0].offer(&tick(3, 1));
        assert!(inlets[threads - 1].try_offer(&tick(3, 2)));
        assert_eq!(fill.now(), (2, SLOTS as u64));
        (3..80).for_each(|at| inlets[0].offer(&tick(3, at)));
        assert_eq!(fill.now(), (SLOTS as u64, SLOTS as u64), "what did not fit is not in it");
        fill.set_taken(take(&mut ring.groups[0], 3).len() as u64);
        assert_eq!(fill.now(), (SLOTS as u64 - 3, SLOTS as u64));
    }
}

#[test]
fn lost_states_of_two_instruments_are_one_of_the_whole_source() {
    for (statuses, kept) in [
        ([SourceStatus::Down, SourceStatus::Mute], SourceStatus::Mute),
        ([SourceStatus::Down, SourceStatus::Live], SourceStatus::Down),
        ([SourceStatus::Live, SourceStatus::Stopped], SourceStatus::Down),
    ] {
        let mut ring = inbound(4, 1, 1);
        let inlet = ring.inlets.remove(0)();
        for at in 1..=4 {
            inlet.offer(&tick(3, at));
        }
        let mut state = SourceState { ts_recv_ns: 7, ..SourceState::default() };
        state.head.source_id = 3;
        for (instrument_id, status) in (1..).zip(statuses) {
            (state.head.instrument_id, state.status) = (instrument_id, status.code());
            inlet.offer(&Input::SourceState(state));
        }
        assert_eq!(take(&mut ring.groups[0], 9).len(), 4);
        inlet.offer(&tick(3, 9));
        (state.head.instrument_id, state.status) = (tickwire_schemas::INSTRUMENT_ALL, kept.code());
        assert_eq!(take(&mut ring.groups[0], 9)[0], Input::SourceState(state));
    }
}

#[test]
fn who_can_wait_is_told_that_there_is_no_room_and_loses_nothing() {
    let mut ring = inbound(4, 1, 1);
    let inlet = ring.inlets.remove(0)();
    for at in 1..=4 {
        assert!(inlet.try_offer(&tick(3, at)));
    }
    assert!(!inlet.try_offer(&tick(3, 5)));
    assert_eq!(take(&mut ring.groups[0], 9), [1, 2, 3, 4].map(|at| tick(3, at)));
    assert!(inlet.try_offer(&tick(3, 5)));
    assert_eq!(take(&mut ring.groups[0], 9), [tick(3, 5)], "and no hole is told");
}

#[test]
fn a_later_group_sees_an_input_after_the_earlier_one_and_with_its_mark() {
    for threads in [1, 2] {
        let mut ring = inbound(64, threads, 3);
        let inlets: Vec<_> = ring.inlets.drain(..).map(|make| make()).collect();
        assert_eq!(inlets.len(), threads);
        inlets[threads - 1].offer(&tick(3, 1));
        assert_eq!(take(&mut ring.groups[1], 9), []);
        let mark = Mark { verdict: tickwire_schemas::words::Verdict::Refused, reasons: 5, flags: 9 };
        ring.groups[0].0.poll_some(9, &mut |slot: &InSlot| {
            assert_eq!(slot.mark(), Mark::NEW);
            slot.set_mark(mark);
        });
        ring.groups[1].0.poll_some(9, &mut |slot: &InSlot| assert_eq!(slot.mark(), mark));
        assert_eq!(mark.confidence(), 60);
        assert_eq!(take(&mut ring.groups[2], 9), [tick(3, 1)]);
        drop(inlets);
        assert_eq!(ring.groups[0].0.poll_some(9, &mut |_| ()), Drained::Shutdown);
    }
}

#[test]
fn a_mark_leaves_its_slot_with_its_input() {
    let mut ring = inbound(4, 1, 2);
    let inlet = ring.inlets.remove(0)();
    let mark = Mark { verdict: tickwire_schemas::words::Verdict::Duplicate, reasons: 0x8001, flags: u32::MAX };
    for lap in 0..12 {
        inlet.offer(&tick(3, lap));
        ring.groups[0].0.poll_some(9, &mut |slot: &InSlot| {
            assert_eq!(slot.mark(), Mark::NEW);
            slot.set_mark(mark);
        });
        ring.groups[1].0.poll_some(9, &mut |slot: &InSlot| assert_eq!(slot.mark(), mark));
    }
}

/// A million wake-ups are not needed to see a lost one: the reader sleeps before nearly every record here, and a lost
/// wake would be counted by the backstop (the interleavings themselves are tried by `tests/doorbell_loom.rs`).
#[test]
fn a_sleeping_consumer_gets_everything_in_order_and_then_the_end() {
    let (mut outbound, mut outlet, mut others) = build_outbound(8, 1);
    drop(std::thread::spawn({
        let mut other = others.remove(0);
        move || {
            while other.drain(8, &mut |_, _| ()) != Drained::Shutdown {
                std::thread::yield_now()
            }
        }
    }));
    let reader = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move {
            let mut seen = vec![];
            loop {
                std::future::poll_fn(|cx| outlet.poll_ready(cx)).await;
                let drained = outlet.drain(3, &mut |kind, bytes| {
                    assert_eq!(kind, Kind::Timer);
                    seen.push(Timer::read(bytes).unwrap().now_ns);
                });
                if drained == Drained::Shutdown {
                    return seen;
                }
            }
        })
    });
    for now_ns in 0..10_000 {
        outbound.publish(&Timer { now_ns, ..Timer::default() });
        outbound.ring();
    }
    drop(outbound);
    assert_eq!(reader.join().unwrap(), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_door_that_is_open_learns_of_a_source_before_its_first_input() {
    let mut ring = inbound(4, 1, 1);
    let inlet = ring.inlets.remove(0)();
    (1..=4).for_each(|at| inlet.offer(&tick(3, at)));
    ring.sources.grow(Arc::from([3, 5, 4]), Arc::from([u16::MAX, u16::MAX, u16::MAX, 0, 2, 1]));
    // The ring is full: that the new source lost something is told like that of any other.
    inlet.offer(&tick(4, 5));
    take(&mut ring.groups[0], 9);
    inlet.offer(&tick(4, 6));
    let mut hole =
        DropRecord { from_ns: 5, to_ns: 6, count: 1, cause: Cause::RingFull.code(), ..DropRecord::default() };
    hole.head.source_id = 4;
    assert_eq!(take(&mut ring.groups[0], 9), [Input::Drop(hole), tick(4, 6)]);
}
