#![allow(clippy::unwrap_used)]

use tickwire_schemas::record::Tick;
use tickwire_schemas::words::Kind;

use super::*;
use crate::market::{Input, InstrumentId, TickInput};
use crate::stages::tests::{Bench, MS, NOON, only, tick};

fn data(source: u32, instrument: u32, at_ms: i64) -> Input {
    let tick = TickInput { instrument: InstrumentId(instrument), ..tick(source, at_ms, 108_510, 108_520) };
    TickInput { ts_recv_ns: NOON + at_ms * MS, ..tick }.into()
}

fn state(source: u32, at_ms: i64, status: SourceStatus, cause: Cause) -> Input {
    let (status, cause) = (status.code(), cause.code());
    let mut state = SourceState { ts_recv_ns: NOON + at_ms * MS, status, cause, ..SourceState::default() };
    state.head.source_id = source;
    Input::SourceState(state)
}

fn drop_of(source: u32, from_ms: i64, to_ms: i64, cause: Cause) -> Input {
    let (from_ns, to_ns) = (NOON + from_ms * MS, NOON + to_ms * MS);
    let mut drop = DropRecord { from_ns, to_ns, count: 3, cause: cause.code(), ..DropRecord::default() };
    drop.head.source_id = source;
    Input::Drop(drop)
}

fn bench() -> Bench {
    Bench::of(&["gaps"], "")
}

fn gaps(bench: &mut Bench, input: Input) -> Vec<Gap> {
    only(&bench.run(input))
}

/// Instrument, from and to in ms after noon, cause, state.
type Seen = (u32, i64, Option<i64>, Cause, GapState);

fn seen(gaps: &[Gap]) -> Vec<Seen> {
    let ms = |ns: i64| (ns - NOON) / MS;
    let of = |gap: &Gap| {
        let to = (gap.to_ns != NO_TIME).then(|| ms(gap.to_ns));
        let (cause, state) = (Cause::from_code(gap.cause).unwrap(), GapState::from_code(gap.state).unwrap());
        (gap.head.instrument_id, ms(gap.from_ns), to, cause, state)
    };
    gaps.iter().map(of).collect()
}

/// Whatever takes a source away makes a hole in each of its instruments that had data, from the last data to the first
/// after, and none in another source's.
#[test]
fn every_cause_makes_a_hole_of_each_instrument_that_had_data() {
    use SourceStatus::{Connecting, Down, Mute, Stopped};
    let ways = [
        (Down, Cause::ClosedByPeer),
        (Down, Cause::ReadError),
        (Down, Cause::ProtocolError),
        (Down, Cause::SequenceJump),
        (Down, Cause::RateLimited),
        // Planned: the connection was old enough.
        (Down, Cause::None),
        (Mute, Cause::Mute),
        (Stopped, Cause::Stopped),
        (Connecting, Cause::None),
    ];
    for (status, cause) in ways {
        let mut b = bench();
        b.run(data(1, 1, 0));
        b.run(data(1, 2, 500));
        b.run(data(1, 2, 700));
        b.run(data(2, 1, 800));
        let open = gaps(&mut b, state(1, 5_000, status, cause));
        let expected = [(1, 0, None, cause, GapState::Open), (2, 700, None, cause, GapState::Open)];
        assert_eq!(seen(&open), expected, "{status} {cause}");
        assert!(open.iter().all(|gap| (gap.gap_epoch, gap.gap_id) == (gap.head.epoch, gap.head.seq)));
        assert_eq!(seen(&gaps(&mut b, state(1, 5_500, Down, Cause::ConnectFailed))), [], "the same hole");
        assert_eq!(seen(&gaps(&mut b, state(1, 9_000, SourceStatus::Live, Cause::None))), []);
        let closed = gaps(&mut b, data(1, 2, 9_001));
        assert_eq!(seen(&closed), [(2, 700, Some(9_001), cause, GapState::Closed)]);
        assert_eq!(closed[0].gap_id, open[1].gap_id);
        assert_eq!(seen(&gaps(&mut b, data(1, 1, 9_500))), [(1, 0, Some(9_500), cause, GapState::Closed)]);
    }
}

#[test]
fn what_was_dropped_at_the_door_is_a_hole_of_each_instrument_that_may_miss_it() {
    let mut b = bench();
    let before = gaps(&mut b, drop_of(1, 0, 10, Cause::RingFull));
    assert_eq!(seen(&before), [(INSTRUMENT_ALL, 0, Some(10), Cause::RingFull, GapState::Closed)], "nobody knows more");
    b.run(data(1, 1, 20));
    b.run(data(1, 2, 30));
    b.run(data(2, 2, 30));
    let holes = gaps(&mut b, drop_of(1, 30, 90, Cause::JournalFull));
    let of = |instrument| (instrument, 30, Some(90), Cause::JournalFull, GapState::Closed);
    assert_eq!(seen(&holes), [of(1), of(2)]);
    assert_ne!(holes[0].gap_id, holes[1].gap_id);
    assert_eq!(
        holes.iter().map(|gap| (gap.lost, gap.gap_id)).collect::<Vec<_>>(),
        holes.iter().map(|gap| (3, gap.head.seq)).collect::<Vec<_>>()
    );
    // A hole that is open reaches over it.
    b.run(state(1, 100, SourceStatus::Down, Cause::ReadError));
    assert_eq!(seen(&gaps(&mut b, drop_of(1, 100, 110, Cause::RingFull))), []);
    assert_eq!(seen(&gaps(&mut b, data(1, 1, 120))), [(1, 20, Some(120), Cause::ReadError, GapState::Closed)]);
}

/// The hole of a restart is from the last data; a hole that was open then is the one that it was, and is told again.
#[test]
fn a_restart_opens_holes_and_tells_the_open_ones_again() {
    let mut b = bench();
    b.run(data(1, 1, 0));
    b.run(data(2, 1, 100));
    let open = gaps(&mut b, state(1, 200, SourceStatus::Stopped, Cause::Stopped));
    let mut saved = Vec::new();
    b.group.save(&mut saved);
    let mut next = bench();
    next.group.load(&saved).unwrap();
    next.identity.resume_after(2, 0);
    let told = gaps(&mut next, drop_of(0, 250, 9_000, Cause::Restart));
    let expected = [(1, 0, None, Cause::Stopped, GapState::Open), (1, 100, None, Cause::Restart, GapState::Open)];
    assert_eq!(seen(&told), expected);
    assert_eq!((told[0].gap_epoch, told[0].gap_id, told[0].head.epoch), (1, open[0].gap_id, 2));
    assert_eq!((told[1].gap_epoch, told[1].gap_id), (2, told[1].head.seq));
    let closed = gaps(&mut next, data(1, 1, 9_500));
    assert_eq!((closed[0].gap_epoch, closed[0].gap_id, closed[0].to_ns), (1, open[0].gap_id, NOON + 9_500 * MS));
}

#[test]
fn the_end_of_a_repair_is_told_under_the_hole_s_own_key() {
    for (step, expected) in [(RepairStep::Repaired, GapState::Repaired), (RepairStep::Lost, GapState::Lost)] {
        let mut b = bench();
        b.run(data(1, 1, 0));
        let mut repair = Repair {
            ts_recv_ns: NOON + 30_000 * MS,
            from_ns: NOON,
            to_ns: NOON + 9_000 * MS,
            gap_id: 77,
            gap_epoch: 3,
            lost: 5,
            cause: Cause::SequenceJump.code(),
            step: step.code(),
            ..Repair::default()
        };
        (repair.head.source_id, repair.head.instrument_id) = (1, 1);
        let records = b.run(Input::Repair(repair));
        assert_eq!(records.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::Repair, Kind::Gap]);
        let told: Vec<Gap> = only(&records);
        assert_eq!(seen(&told), [(1, 0, Some(9_000), Cause::SequenceJump, expected)]);
        assert_eq!((told[0].gap_epoch, told[0].gap_id, told[0].lost), (3, 77, 5));
        assert_eq!((told[0].ts_recv_ns, told[0].head.source_id), (repair.ts_recv_ns, 1));
        // Of a source that this run does not have nothing is said.
        repair.head.source_id = 55;
        assert_eq!(gaps(&mut b, Input::Repair(repair)), []);
        let bar = Repair { step: RepairStep::Bar.code(), ..repair };
        assert_eq!(gaps(&mut b, Input::Repair(bar)), []);
    }
}

/// What a source says is data whatever the stages think of it.
#[test]
fn refused_data_ends_a_hole() {
    let mut b = Bench::new("");
    b.run(data(1, 1, 0));
    b.run(state(1, 1_000, SourceStatus::Down, Cause::ReadError));
    let crossed = TickInput { ..tick(1, 2_000, 108_530, 108_520) };
    let records = b.run(crossed.into());
    assert_eq!(only::<Tick>(&records)[0].verdict, 3);
    assert_eq!(only::<Gap>(&records)[0].state, GapState::Closed.code());
}
