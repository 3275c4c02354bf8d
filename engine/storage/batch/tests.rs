#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use tickwire_schemas::record::{Bar, Head, SourceState, Tick, Trade};
use tickwire_schemas::words::{BarState, Cause, SourceStatus};

use super::*;

const LIMITS: Limits = Limits { rows: 4, bytes: 1 << 20, age_ns: 100 };
const DAY_NS: i64 = 86_400_000_000_000;

fn at(offset: u64) -> Position {
    Position { epoch: 1, segment: 1, offset }
}

fn tick(epoch: u32, seq: u64, day: i64) -> Stored {
    let head = Head { epoch, seq, ts_publish_ns: seq as i64, ..Head::default() };
    Stored::Tick(Tick { head, ts_recv_ns: day * DAY_NS, ..Tick::default() })
}

fn push(lanes: &mut Lanes, row: Stored, now_ns: i64) {
    let names = Names::default();
    for lane in row.lanes(&names) {
        lanes.push(lane, &row, &names, at(row.head().seq), now_ns);
    }
}

fn shape(batch: &Batch) -> (u32, u32, u64, u64, u64) {
    (batch.lane.partition, batch.epoch, batch.first_seq, batch.last_seq, batch.rows)
}

#[test]
fn a_batch_is_cut_by_rows_and_by_age_and_by_epoch() {
    let mut lanes = Lanes::new(LIMITS);
    (1..=5).for_each(|seq| push(&mut lanes, tick(1, seq, 0), 0));
    let any = |_, _| true;
    assert_eq!(shape(&lanes.next(0, false, any).unwrap()), (19_700_101, 1, 1, 4, 4));
    assert!(lanes.next(99, false, any).is_none(), "one row waits for company");
    assert_eq!(lanes.next_due_ns(), Some(100));
    assert_eq!(shape(&lanes.next(100, false, any).unwrap()), (19_700_101, 1, 5, 5, 1));
    push(&mut lanes, tick(1, 6, 0), 200);
    push(&mut lanes, tick(2, 7, 0), 200);
    assert_eq!(shape(&lanes.next(200, false, any).unwrap()), (19_700_101, 1, 6, 6, 1), "a new epoch cuts the old");
    assert!(lanes.next(200, false, any).is_none());
    assert_eq!(shape(&lanes.next(200, true, any).unwrap()), (19_700_101, 2, 7, 7, 1), "all are wanted");
    assert_eq!((lanes.rows(), lanes.bytes(), lanes.first_position()), (0, 0, None));
}

#[test]
fn batches_grow_while_the_database_is_behind() {
    let mut lanes = Lanes::new(LIMITS);
    (1..=30).for_each(|seq| push(&mut lanes, tick(1, seq, 0), 0));
    let any = |_, _| true;
    let sizes: Vec<u64> = std::iter::from_fn(|| lanes.next(0, true, any)).map(|batch| batch.rows).collect();
    assert_eq!(sizes, [4, 20, 6]);
}

#[test]
fn a_clock_set_back_does_not_hold_rows_for_ever() {
    let mut lanes = Lanes::new(LIMITS);
    push(&mut lanes, tick(1, 1, 0), 1_000_000);
    assert!(lanes.next(10, false, |_, _| true).is_some());
}

#[test]
fn a_batch_has_one_partition() {
    let mut lanes = Lanes::new(LIMITS);
    for seq in 1..=6 {
        push(&mut lanes, tick(1, seq, (seq % 2) as i64), 0);
    }
    let first = lanes.next(100, false, |_, _| true).unwrap();
    let second = lanes.next(100, false, |_, _| true).unwrap();
    assert_eq!(shape(&first), (19_700_102, 1, 1, 5, 3));
    assert_eq!(shape(&second), (19_700_101, 1, 2, 6, 3));
}

#[test]
fn a_busy_table_gathers_and_does_not_hold_up_others() {
    let mut lanes = Lanes::new(LIMITS);
    push(&mut lanes, tick(1, 1, 0), 0);
    let head = Head { epoch: 1, seq: 2, ..Head::default() };
    push(&mut lanes, Stored::Trade(Trade { head, ..Trade::default() }), 0);
    let batch = lanes.next(500, false, |_, table| table != Table::Ticks).unwrap();
    assert_eq!(batch.lane.table, Table::Trades);
    assert!(lanes.next(500, false, |_, table| table != Table::Ticks).is_none());
    assert_eq!(lanes.first_position(), Some(at(1)));
}

#[test]
fn what_is_forgotten_is_named_by_its_first_place() {
    let mut lanes = Lanes::new(LIMITS);
    (3..=9).for_each(|seq| push(&mut lanes, tick(1, seq, 0), 0));
    assert_eq!(lanes.forget(|lane| lane.table == Table::Trades), None);
    assert_eq!(lanes.forget(|lane| lane.table == Table::Ticks), Some(at(3)));
    assert_eq!((lanes.rows(), lanes.bytes()), (0, 0));
}

/// Rows in the journal's order: over two days and two epochs; bars and failures have rows in two tables.
fn rows() -> impl Strategy<Value = Vec<Stored>> {
    proptest::collection::vec((0..5u8, 0..2i64, 0..20u32), 1..200).prop_map(|choices| {
        let mut epoch = 1;
        let row = |(seq, (table, day, new_epoch)): (usize, (u8, i64, u32))| {
            epoch += u32::from(new_epoch == 0);
            let head = Head { epoch, seq: seq as u64 + 1, ts_publish_ns: seq as i64, ..Head::default() };
            let ts_recv_ns = day * DAY_NS;
            match table {
                0 => Stored::Trade(Trade { head, ts_recv_ns, ..Trade::default() }),
                3 => {
                    Stored::Bar(Bar { head, close_ts_ns: ts_recv_ns, state: BarState::Final.code(), ..Bar::default() })
                }
                4 => {
                    let (status, cause) = (SourceStatus::Down.code(), Cause::ReadError.code());
                    Stored::SourceState(SourceState { head, ts_recv_ns, status, cause, ..SourceState::default() })
                }
                verdict => Stored::Tick(Tick { head, ts_recv_ns, verdict: verdict - 1, ..Tick::default() }),
            }
        };
        choices.into_iter().enumerate().map(row).collect()
    })
}

/// Every batch that `rows` make when tables are now and then busy.
fn batches(rows: &[Stored], limit: u64, busy: &[bool]) -> Vec<Batch> {
    let mut lanes = Lanes::new(Limits { rows: limit, ..LIMITS });
    let mut out = Vec::new();
    for (turn, row) in rows.iter().enumerate() {
        push(&mut lanes, *row, turn as i64 * 10);
        let busy = busy[turn % busy.len()];
        out.extend(lanes.next(turn as i64 * 10, false, |_, table| table != Table::Ticks || !busy));
    }
    while let Some(batch) = lanes.next(0, true, |_, _| true) {
        out.push(batch);
    }
    out
}

proptest! {
    #[test]
    fn every_row_is_in_one_batch_and_lanes_keep_their_order(
        rows in rows(), limit in 1..8u64, busy in proptest::collection::vec(any::<bool>(), 1..10),
    ) {
        let names = Names::default();
        let mut expected: BTreeMap<(Lane, u32), Vec<u64>> = BTreeMap::new();
        for row in &rows {
            for lane in row.lanes(&names) {
                expected.entry((lane, row.head().epoch)).or_default().push(row.head().seq);
            }
        }
        let mut last: BTreeMap<Lane, u64> = BTreeMap::new();
        for batch in batches(&rows, limit, &busy) {
            prop_assert!(batch.rows <= limit * WHEN_BEHIND && batch.rows > 0);
            prop_assert!(last.insert(batch.lane, batch.last_seq).is_none_or(|last| last < batch.first_seq));
            let seqs = expected.get_mut(&(batch.lane, batch.epoch)).unwrap();
            let taken: Vec<u64> = seqs.drain(..batch.rows as usize).collect();
            prop_assert_eq!((taken[0], taken[taken.len() - 1]), (batch.first_seq, batch.last_seq));
            prop_assert_eq!(taken.iter().sum::<u64>(), batch.seq_sum);
        }
        prop_assert!(expected.values().all(Vec::is_empty));
    }

    #[test]
    fn every_batch_can_be_made_again_from_the_journal(
        rows in rows(), limit in 1..8u64, busy in proptest::collection::vec(any::<bool>(), 1..10),
    ) {
        let names = Names::default();
        for batch in batches(&rows, limit, &busy) {
            let mut rebuild = Rebuild::new(batch.manifest());
            for row in rows.iter().filter(|row| at(row.head().seq) >= batch.from) {
                if !rebuild.push(row, &names, at(row.head().seq)) {
                    break;
                }
            }
            prop_assert_eq!(rebuild.finish().unwrap().bytes, batch.bytes);
        }
    }
}

#[test]
fn a_batch_whose_rows_are_gone_or_changed_is_not_sent() {
    let names = Names::default();
    let mut lanes = Lanes::new(LIMITS);
    (1..=3).for_each(|seq| push(&mut lanes, tick(1, seq, 0), 0));
    let batch = lanes.next(0, true, |_, _| true).unwrap();
    let again = |rows: &[Stored]| {
        let mut rebuild = Rebuild::new(batch.manifest());
        rows.iter().all(|row| rebuild.push(row, &names, at(row.head().seq)));
        rebuild.finish()
    };
    assert_eq!(again(&[tick(1, 1, 0), tick(1, 2, 0), tick(1, 3, 0)]).unwrap().bytes, batch.bytes);
    let error = again(&[tick(1, 1, 0), tick(1, 3, 0)]).unwrap_err().to_string();
    assert!(error.starts_with("batch ticks:19700101:1:1-3: the manifest says 3 rows, seq 1 to 3, crc "), "{error}");
    let Stored::Tick(mut changed) = tick(1, 2, 0) else { return };
    changed.bid_e9 = 5;
    assert!(again(&[tick(1, 1, 0), Stored::Tick(changed), tick(1, 3, 0)]).is_err());
}
