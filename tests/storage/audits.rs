//! The audit finds what is wrong, and nothing else.

use crate::harness::{Bench, GRACE};

/// A database with 2,000 mixed records of two epochs, and nothing at work.
fn stored() -> Bench {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(1_000);
    bench.journal.next_segment(true);
    bench.journal.mixed(1_000);
    bench.drained(&writer);
    writer.stop(GRACE);
    bench.assert_clean();
    bench
}

fn differences(bench: &Bench) -> Vec<String> {
    bench.audit().differences
}

#[test]
fn a_missing_row_is_named() {
    let bench = stored();
    bench.sql("ALTER TABLE ticks DELETE WHERE seq IN (57, 60, 61) SETTINGS mutations_sync = 1");
    let found = differences(&bench);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("ticks:20260101 epoch 1: ") && found[0].contains("missing: seq 57, 60 to 61 (3 rows)"),
        "{found:?}"
    );
}

#[test]
fn starts_of_the_engine_are_told_and_are_no_fault() {
    let notes = stored().audit().notes;
    assert!(notes.iter().any(|n| n.starts_with("epoch 2 follows epoch 1, whose journal ends at seq ")), "{notes:?}");
    assert!(notes.iter().any(|n| n.starts_with("epoch 2: nothing was received before it for up to ")), "{notes:?}");
}

#[test]
fn a_double_row_is_named() {
    let bench = stored();
    bench.sql("INSERT INTO ticks SELECT * FROM ticks WHERE seq = 57");
    assert_eq!(differences(&bench), ["ticks:20260101 epoch 1: more than once: seq 57 (1 rows)"]);
}

#[test]
fn a_double_that_hides_a_missing_row_is_found() {
    let bench = stored();
    bench.sql("INSERT INTO ticks SELECT * FROM ticks WHERE seq = 57");
    bench.sql("ALTER TABLE ticks DELETE WHERE seq = 60 SETTINGS mutations_sync = 1");
    let found = differences(&bench);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].contains("missing: seq 60 (1 rows)"), "{found:?}");
}

#[test]
fn a_row_that_nobody_sent_is_named() {
    let bench = stored();
    bench.sql("INSERT INTO ticks SELECT * REPLACE (900000 AS seq) FROM ticks WHERE chain = 57");
    bench.sql("INSERT INTO md_private.quotes SELECT * REPLACE (7 AS epoch) FROM md.quotes LIMIT 2");
    let found = differences(&bench);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "ticks:20260101 epoch 1: in the database and never written down as sent: seq 900000 (1 rows)");
    assert!(found[1].starts_with("quotes (private):"), "{found:?}");
}

#[test]
fn without_the_journal_the_manifests_tell() {
    let bench = stored();
    std::fs::remove_dir_all(bench.path().join("journal")).unwrap();
    std::fs::create_dir(bench.path().join("journal")).unwrap();
    bench.assert_clean();
    bench.sql("ALTER TABLE ticks DELETE WHERE seq = 57 SETTINGS mutations_sync = 1");
    let found = differences(&bench);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("the journal no longer has all of them"), "{found:?}");
}

#[test]
fn rows_that_wait_in_the_journal_are_told() {
    let mut bench = stored();
    bench.journal.mixed(10);
    let found = differences(&bench);
    assert_eq!(found, ["11 journaled rows are not in the database yet: the engine sends them when it runs"]);
}

#[test]
fn what_retention_deleted_is_no_fault() {
    let bench = stored();
    bench.sql("ALTER TABLE md.ticks DROP PARTITION 20260101");
    assert_eq!(differences(&bench).len(), 1);
    let line = "{\"audience\":\"global\",\"table\":\"ticks\",\"partition\":20260101}\n";
    std::fs::write(bench.path().join("manifests/retention.log"), line).unwrap();
    bench.assert_clean();
}
