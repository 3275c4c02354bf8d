//! Whatever dies, and whenever: every row is there once.

use std::time::Duration;

use bytes::Bytes;
use tickwire::storage::batch::Lanes;
use tickwire::storage::client::{self, Endpoint};
use tickwire::storage::deliver::Parcel;
use tickwire::storage::manifest::Manifests;
use tickwire::storage::source::Source;
use tickwire_schemas::words::Verdict;

use crate::harness::{Bench, GRACE, block_on, until};
use crate::journal::OANDA;

#[test]
fn the_store_is_killed_again_and_again_under_load() {
    let (mut bench, writer) = Bench::running();
    for round in 0..8 {
        bench.journal.mixed(4_000);
        // At another moment of the batches each time.
        std::thread::sleep(Duration::from_millis(37 * round));
        bench.kill_store();
        let killed = bench.store.as_ref().unwrap();
        until("the store is back", || killed.restarts() > round && killed.is_up());
    }
    assert_eq!(bench.drained(&writer).last_error, None);
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn the_engine_is_stopped_short_again_and_again_under_load() {
    let (mut bench, mut writer) = Bench::running();
    for round in 0..12 {
        bench.journal.mixed(3_000);
        if round % 3 == 2 {
            bench.journal.next_segment(round % 2 == 0);
        }
        std::thread::sleep(Duration::from_millis(23 * round));
        // No time to wait for answers: what is under way is left to chance.
        writer.stop(Duration::ZERO);
        writer = bench.writer();
    }
    bench.drained(&writer);
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn the_database_is_unreachable_at_the_start() {
    let mut bench = Bench::new();
    bench.journal.mixed(5_000);
    let writer = bench.writer();
    until("it is told", || writer.status().last_error.as_deref() == Some("the database is not up yet"));
    until("the lag is told", || writer.status().lag_rows == bench.journal.seq && writer.status().lag_seconds > 1.0);
    // Somebody else's port: nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wrong = Endpoint { url: format!("http://{free}"), user: "x".into(), password: "x".into() };
    bench.endpoint.send_replace(Some(wrong));
    until("it is told", || writer.status().last_error.is_some_and(|e| e.contains("refused")));
    bench.journal.mixed(5_000);
    bench.start_store();
    let status = bench.drained(&writer);
    assert_eq!((status.last_error, status.lag_rows), (None, 0));
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

/// The first batch of the journal, as the writer would cut it.
fn first_batch(bench: &Bench) -> Parcel {
    let mut lanes = Lanes::new(bench.limits);
    let mut source = Source::open(&bench.path().join("journal"), None, None).unwrap();
    while let Some(found) = source.next_record().unwrap() {
        let Some(row) = found.row else { continue };
        for lane in row.lanes(source.names()) {
            lanes.push(lane, &row, source.names(), found.at, 0);
        }
    }
    lanes.next(0, true, |_, _| true).unwrap().into()
}

/// What the engine does with a batch until it is killed: written down, and sent if `sent`.
fn begin_and_die(bench: &Bench, sent: bool) -> Parcel {
    let parcel = first_batch(bench);
    let mut manifests = Manifests::open(&bench.path().join("manifests")).unwrap();
    manifests.begin(parcel.manifest).unwrap();
    if sent {
        send(bench, &parcel);
    }
    parcel
}

fn send(bench: &Bench, parcel: &Parcel) {
    let endpoint = bench.endpoint.borrow().clone().unwrap();
    let token = format!("md.{}", parcel.manifest.token());
    let body: Bytes = parcel.body.clone().unwrap();
    let table = parcel.manifest.lane.table;
    block_on(client::insert(&endpoint.client().with_database("md"), table, &token, body)).unwrap();
}

fn with_tables() -> Bench {
    let (bench, writer) = Bench::running();
    until("the tables are there", || bench.try_sql("SELECT count() FROM md_private.all_ticks").is_ok());
    writer.stop(GRACE);
    bench
}

#[test]
fn a_batch_that_was_sent_and_not_acknowledged_is_there_once() {
    for sent in [true, false] {
        let mut bench = with_tables();
        (0..700).for_each(|_| bench.journal.tick(OANDA, Verdict::Accepted));
        bench.journal.sync();
        let parcel = begin_and_die(&bench, sent);
        assert_eq!(parcel.manifest.rows, 500);
        let report = bench.audit();
        let found = if sent { 500 } else { 0 };
        let expected = format!("was sent and not acknowledged; the database has {found} of its 500 rows");
        assert!(report.differences.iter().any(|d| d.contains(&expected)), "{}", report.print());
        let writer = bench.writer();
        bench.drained(&writer);
        bench.assert_exact();
        writer.stop(GRACE);
        bench.assert_clean();
    }
}

#[test]
fn the_same_token_twice_is_one_batch() {
    let mut bench = with_tables();
    (0..10).for_each(|_| bench.journal.tick(OANDA, Verdict::Accepted));
    bench.journal.sync();
    let parcel = begin_and_die(&bench, true);
    send(&bench, &parcel);
    assert_eq!(bench.sql("SELECT count() FROM ticks"), "10\n");
}

#[test]
fn a_database_that_knows_the_token_and_lost_the_rows_gets_them_again() {
    let mut bench = with_tables();
    (0..10).for_each(|_| bench.journal.tick(OANDA, Verdict::Accepted));
    bench.journal.sync();
    let parcel = begin_and_die(&bench, true);
    // The rows vanish and the token stays: what a kill between noting the one and keeping the other leaves behind.
    bench.sql("ALTER TABLE ticks DELETE WHERE 1 SETTINGS mutations_sync = 1");
    send(&bench, &parcel);
    assert_eq!(bench.sql("SELECT count() FROM ticks"), "0\n", "the token alone does not help");
    let writer = bench.writer();
    bench.drained(&writer);
    bench.assert_exact();
    writer.stop(GRACE);
}

#[test]
fn an_audit_in_the_midst_of_the_load_is_clean() {
    let (mut bench, writer) = Bench::running();
    for _ in 0..10 {
        bench.journal.mixed(3_000);
        let report = bench.audit();
        assert!(report.is_clean(), "{}", report.print());
    }
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn a_lost_journal_does_not_hide_a_batch_that_arrived() {
    for sent in [true, false] {
        let mut bench = with_tables();
        (0..10).for_each(|_| bench.journal.tick(OANDA, Verdict::Accepted));
        bench.journal.sync();
        begin_and_die(&bench, sent);
        std::fs::remove_file(bench.path().join("journal/0000000001-0000000001.twj")).unwrap();
        bench.journal.next_segment(false);
        let writer = bench.writer();
        if sent {
            bench.drained(&writer);
            assert_eq!(bench.sql("SELECT count() FROM ticks"), "10\n");
        } else {
            until("the loss is told", || {
                writer.status().last_error.is_some_and(|e| e.contains("has 0 of its 10 rows"))
            });
        }
        writer.stop(Duration::from_millis(100));
    }
}

#[test]
fn stopping_sends_what_is_durable() {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(20_000);
    writer.stop(GRACE);
    bench.assert_exact();
    bench.assert_clean();
}
