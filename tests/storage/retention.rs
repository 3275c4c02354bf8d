//! Retention deletes what is due, nothing else, and the audit knows.

use std::collections::BTreeMap;

use tickwire::storage::retention::ledger::{Deletion, Rows, Writer};
use tickwire::storage::retention::{Deleted, Retention, RetentionError, Rules, TABLES};
use tickwire::storage::rows::{Audience, Lane, Table};
use tickwire::storage::{Endpoint, client, migrate};

use crate::harness::{Bench, GRACE, block_on};
use crate::journal::BEGIN_NS;

const DAY_NS: i64 = 86_400_000_000_000;

/// A second before the journal begins to leave its first day.
const FIRST_DAY_ENDS_NS: i64 = BEGIN_NS + 1_000_000_000;

/// A database with some thousands of mixed records of two epochs and two days, and nothing at work.
fn stored() -> Bench {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(1_500);
    bench.journal.next_segment(true);
    bench.journal.mixed(1_500);
    bench.drained(&writer);
    writer.stop(GRACE);
    bench.assert_clean();
    bench
}

fn endpoint(bench: &Bench) -> Endpoint {
    bench.endpoint.borrow().clone().unwrap()
}

fn retention(bench: &Bench, days: u32, connections: &[(&str, u32)], tables: &[(&str, u32)]) -> Retention {
    let of = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, days)| (name.to_string(), *days)).collect();
    Retention {
        endpoint: endpoint(bench),
        database: "md".into(),
        manifests_dir: bench.path().join("manifests"),
        rules: Rules { days, tables: of(tables), connections: of(connections) },
        only: None,
    }
}

fn run(retention: &Retention, now_ns: i64) -> Result<Deleted, RetentionError> {
    block_on(retention.run(now_ns, &mut |_, _, _| {}))
}

/// By database and table.
type Stored = BTreeMap<(&'static str, &'static str), Vec<(String, bool, String)>>;

/// What is in all tables: each row's source, whether it is of before `until_ns`, and what tells it from the others.
fn rows(bench: &Bench, until_ns: i64) -> Stored {
    let mut found = BTreeMap::new();
    for database in ["md", "md_private"] {
        for aged in &TABLES {
            let source = aged.connection.unwrap_or("''");
            let sql = format!(
                "SELECT {source}, toUnixTimestamp({}) < {}, concat(toString(epoch), ':', toString(seq)) FROM {database}.{} ORDER BY epoch, seq",
                aged.time,
                until_ns / 1_000_000_000,
                aged.table
            );
            let text = bench.sql(&sql);
            let row = |line: &str| {
                let cells: Vec<_> = line.split('\t').collect();
                (cells[0].to_string(), cells[1] == "1", cells[2].to_string())
            };
            found.insert((database, aged.table), text.lines().map(row).collect::<Vec<_>>());
        }
    }
    found
}

#[test]
fn what_is_due_goes_and_nothing_else_and_the_audit_is_clean() {
    let bench = stored();
    let before = rows(&bench, FIRST_DAY_ENDS_NS);
    // Two days later: of a connection with a day the first day is due, of others nothing; gaps of all go after a day.
    let rules = retention(&bench, 30, &[("oanda", 1), ("mine", 1)], &[("gaps", 1)]);
    let deleted = run(&rules, FIRST_DAY_ENDS_NS + DAY_NS + 7_200_000_000_000).unwrap();
    let is_due = |table: &str, source: &str, old: bool| old && (["oanda", "mine"].contains(&source) || table == "gaps");
    let (mut due, mut kept) = (0, 0);
    let after = rows(&bench, FIRST_DAY_ENDS_NS);
    for ((database, table), was) in before {
        let left: Vec<_> = was.iter().filter(|(source, old, _)| !is_due(table, source, *old)).cloned().collect();
        let audience = if database == "md" { Audience::Global } else { Audience::Private };
        let told = deleted.0.get(&(audience, table)).copied().unwrap_or(0);
        assert_eq!(told, (was.len() - left.len()) as u64, "{database}.{table}");
        (due, kept) = (due + told, kept + left.len());
        assert_eq!(after[&(database, table)], left, "{database}.{table}");
    }
    assert!(due > 500 && kept > 500 && deleted.rows() == due, "{due} went, {kept} stayed");
    assert!(deleted.0.keys().any(|(audience, _)| *audience == Audience::Private), "{deleted:?}");
    bench.assert_clean();
    let notes = bench.audit().notes;
    assert!(
        notes.iter().any(|note| note.starts_with("ticks:20260101 epoch 1: ") && note.contains("retention deleted")),
        "{notes:?}"
    );
    // The same again finds nothing.
    let again = run(&rules, FIRST_DAY_ENDS_NS + DAY_NS + 7_200_000_000_000).unwrap();
    assert_eq!((again.rows(), again.print().as_str()), (0, "nothing was due"));
    // What is lost beside it is still found.
    bench.sql("ALTER TABLE ticks DELETE WHERE seq = (SELECT max(seq) FROM ticks) SETTINGS mutations_sync = 2");
    assert_eq!(bench.audit().differences.len(), 1, "{:?}", bench.audit().differences);
}

#[test]
fn whole_days_go_as_a_whole_and_the_rest_of_a_month_stays() {
    let bench = stored();
    let before = rows(&bench, FIRST_DAY_ENDS_NS);
    let old = |rows: &[(String, bool, String)]| rows.iter().filter(|(_, old, _)| *old).count() as u64;
    let due: u64 = before.values().map(|rows| old(rows)).sum();
    let deleted = run(&retention(&bench, 1, &[], &[]), FIRST_DAY_ENDS_NS + DAY_NS).unwrap();
    assert_eq!(deleted.rows(), due);
    assert_eq!(bench.sql("SELECT count() FROM system.parts WHERE active AND partition_id = '20260101' AND rows > 0 AND database LIKE 'md%'").trim(), "0");
    assert!(rows(&bench, FIRST_DAY_ENDS_NS).values().all(|rows| old(rows) == 0));
    bench.assert_clean();
    // And with time all of it.
    let left: u64 = rows(&bench, i64::MAX / 2).values().map(|rows| rows.len() as u64).sum();
    assert_eq!(run(&retention(&bench, 1, &[], &[]), FIRST_DAY_ENDS_NS + 400 * DAY_NS).unwrap().rows(), left);
    assert!(rows(&bench, 0).values().all(Vec::is_empty));
    bench.assert_clean();
}

#[test]
fn one_connection_s_rows_can_go_alone() {
    let bench = stored();
    let count = |source: &str| bench.sql(&format!("SELECT count() FROM md.ticks WHERE source = '{source}'"));
    let others = count("binance");
    let only = Retention { only: Some("oanda".into()), ..retention(&bench, 1, &[], &[]) };
    assert!(run(&only, FIRST_DAY_ENDS_NS + 400 * DAY_NS).unwrap().rows() > 0);
    assert_eq!((count("oanda").trim(), count("binance")), ("0", others));
    bench.assert_clean();
}

/// Killed between writing down and deleting, and again between deleting and writing down that it is done.
#[test]
fn a_run_that_was_broken_off_is_gone_on_with() {
    let bench = stored();
    let lane = Lane { audience: Audience::Global, table: Table::Ticks, partition: 20260101 };
    let due = "source = 'oanda'".to_string();
    let sums = bench.sql(&format!(
        "SELECT epoch, count(), sum(seq), groupBitXor(seq) FROM ticks WHERE _partition_id = '20260101' AND {due} GROUP BY epoch ORDER BY epoch"
    ));
    let epoch = |line: &str| {
        let numbers: Vec<u64> = line.split('\t').map(|n| n.parse().unwrap()).collect();
        (numbers[0] as u32, Rows { rows: numbers[1], seq_sum: numbers[2], seq_xor: numbers[3] })
    };
    let deletion = Deletion { lane, due, epochs: sums.lines().map(epoch).collect() };
    let manifests = bench.path().join("manifests");
    let rows: u64 = deletion.epochs.iter().map(|(_, rows)| rows.rows).sum();
    assert!(rows > 0);
    Writer::open(&manifests).unwrap().begin(&deletion).unwrap();
    bench.assert_clean();
    // Nothing else is due; what was begun goes.
    assert_eq!(run(&retention(&bench, 30, &[], &[]), FIRST_DAY_ENDS_NS).unwrap().rows(), rows);
    bench.assert_clean();
    assert_eq!(
        bench.sql("SELECT count() FROM ticks WHERE _partition_id = '20260101' AND source = 'oanda'").trim(),
        "0"
    );
    let mut writer = Writer::open(&manifests).unwrap();
    assert_eq!(writer.begun(), []);
    let none = Deletion { epochs: vec![], ..deletion };
    writer.begin(&none).unwrap();
    drop(writer);
    assert_eq!(run(&retention(&bench, 30, &[], &[]), FIRST_DAY_ENDS_NS).unwrap().rows(), 0);
    bench.assert_clean();
}

#[test]
fn two_do_not_delete_at_once() {
    let bench = stored();
    let lock = std::fs::File::create(bench.path().join("manifests/retention.lock")).unwrap();
    lock.lock().unwrap();
    let busy = run(&retention(&bench, 1, &[], &[]), FIRST_DAY_ENDS_NS + 400 * DAY_NS).unwrap_err();
    assert!(busy.to_string().contains("by another process"), "{busy}");
}

/// How long a million rows take: whole days, and a part of each of them. See README.md.
#[test]
#[ignore = "measures: run by hand, optimised or not, and read what it prints"]
fn a_million_rows() {
    for (name, connections) in [("whole partitions", &[][..]), ("some rows of each partition", &[("b", 30)][..])] {
        let mut bench = Bench::new();
        bench.start_store();
        block_on(migrate::migrate(&endpoint(&bench), "md")).unwrap();
        for (table, time, more) in [
            ("ticks", "ts_recv", "bid, ask, confidence"),
            ("quotes", "ts_recv", "bid, ask, sources"),
            ("bars", "open_ts", "bid_c, ask_c, ticks"),
        ] {
            // Two million in all, over five days; half of them are of a connection that keeps them longer.
            let sql = format!(
                "INSERT INTO md.{table} (epoch, seq, source, symbol, {time}, {more}) SELECT 0, number, if(number % 2 = 0, 'a', 'b'), 'EURUSD', \
                 toDateTime64(1767225600, 9, 'UTC') + toIntervalMillisecond(number * 648), 1.1, 1.2, 5 FROM numbers(666667) SETTINGS max_partitions_per_insert_block = 0"
            );
            block_on(client::query_within(
                &endpoint(&bench).client(),
                &sql,
                "TabSeparated",
                std::time::Duration::from_secs(600),
            ))
            .unwrap();
        }
        let begun = std::time::Instant::now();
        let deleted = run(&retention(&bench, 1, connections, &[]), FIRST_DAY_ENDS_NS + 10 * DAY_NS).unwrap();
        println!("{name}: {} in {:.2} s", deleted.print(), begun.elapsed().as_secs_f64());
        assert!(deleted.rows() >= 1_000_000);
    }
}
