#![allow(clippy::unwrap_used)]
use super::*;
use crate::storage::rows::{Audience, Table};

const LANE: Lane = Lane { audience: Audience::Global, table: Table::Ticks, partition: 20_260_101 };

fn manifest(epoch: u32, first_seq: u64, last_seq: u64) -> Manifest {
    let at = |offset| Position { epoch, segment: 1, offset };
    let rows = last_seq - first_seq + 1;
    let seqs = first_seq..=last_seq;
    Manifest {
        lane: LANE,
        epoch,
        first_seq,
        last_seq,
        rows,
        crc: 7,
        encoding: 1,
        from: at(first_seq * 100),
        to: at(last_seq * 100),
        seq_sum: seqs.clone().sum(),
        seq_xor: seqs.fold(0, |x, s| x ^ s),
    }
}

#[test]
fn what_was_begun_and_not_done_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let stored = Position { epoch: 1, segment: 1, offset: 1_000 };
    {
        let mut manifests = Manifests::open(dir.path()).unwrap();
        manifests.begin(manifest(1, 1, 10)).unwrap();
        manifests.done(&manifest(1, 1, 10).token()).unwrap();
        manifests.stored(stored).unwrap();
        manifests.begin(manifest(1, 11, 15)).unwrap();
        assert!(Manifests::in_use(dir.path()));
        assert!(Manifests::open(dir.path()).unwrap_err().to_string().contains("in use by another engine"));
    }
    assert!(!Manifests::in_use(dir.path()));
    let manifests = Manifests::open(dir.path()).unwrap();
    let ledger = manifests.ledger();
    assert_eq!(ledger.begun(), [manifest(1, 11, 15)]);
    assert_eq!(ledger.stored(), Some(stored));
    assert_eq!(ledger.last_begun(), Some(manifest(1, 11, 15).to));
    let totals: Vec<_> = ledger.totals().map(|t| (t.first_seq, t.last_seq, t.rows, t.seq_sum)).collect();
    assert_eq!(totals, [(1, 10, 10, 55)]);
    assert!(ledger.has(LANE, 1, 15) && !ledger.has(LANE, 1, 16) && !ledger.has(LANE, 2, 1));
    assert!(!ledger.has(Lane { table: Table::Trades, ..LANE }, 1, 1));
}

/// An engine that did not know a table stored records without the rows that it has of them.
#[test]
fn rows_of_a_later_table_begin_where_the_engine_that_knows_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let (stored, later) =
        (Position { epoch: 1, segment: 1, offset: 1_000 }, Position { epoch: 2, segment: 1, offset: 0 });
    let line = print_line(&Line::Stored { position: stored }).unwrap();
    std::fs::write(dir.path().join("00000001.log"), line).unwrap();
    assert_eq!(Ledger::read(dir.path()).unwrap().since(Table::PipelineExecutions), stored, "before it ever ran");
    {
        let mut manifests = Manifests::open(dir.path()).unwrap();
        manifests.stored(later).unwrap();
        manifests.lines_max = 1;
        manifests.begin(manifest(2, 1, 10)).unwrap();
    }
    let ledger = Ledger::read(dir.path()).unwrap();
    assert_eq!(ledger.since(Table::PipelineExecutions), stored);
    assert_eq!(ledger.since(Table::Bars), Position::default());
    let fresh = tempfile::tempdir().unwrap();
    Manifests::open(fresh.path()).unwrap().stored(later).unwrap();
    assert_eq!(Ledger::read(fresh.path()).unwrap().since(Table::PipelineExecutions), Position::default());
}

#[test]
fn a_torn_last_line_is_cut_and_a_damaged_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut manifests = Manifests::open(dir.path()).unwrap();
        manifests.begin(manifest(1, 1, 10)).unwrap();
        manifests.begin(manifest(1, 11, 15)).unwrap();
    }
    let path = dir.path().join("00000001.log");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    {
        let mut manifests = Manifests::open(dir.path()).unwrap();
        assert_eq!(manifests.ledger().begun(), [manifest(1, 1, 10)]);
        manifests.begin(manifest(1, 11, 15)).unwrap();
    }
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = Manifests::open(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("00000001.log: line 1 is damaged"), "{error}");
}

#[test]
fn a_long_file_is_written_anew_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifests = Manifests::open(dir.path()).unwrap();
    manifests.lines_max = 10;
    for seq in 1..=100 {
        manifests.begin(manifest(1, seq, seq)).unwrap();
        if seq != 50 {
            manifests.done(&manifest(1, seq, seq).token()).unwrap();
        }
    }
    let files = files(dir.path()).unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = std::fs::read_to_string(&files[0].1).unwrap();
    assert!(text.lines().count() <= 13, "bounded by lanes, not by batches:\n{text}");
    drop(manifests);
    let ledger = Ledger::read(dir.path()).unwrap();
    assert_eq!(ledger.begun(), [manifest(1, 50, 50)]);
    let total = *ledger.totals().next().unwrap();
    assert_eq!((total.rows, total.batches, total.first_seq, total.last_seq), (99, 99, 1, 100));
    assert_eq!((total.seq_sum, total.seq_xor), (5_050 - 50, (1..=100u64).fold(0, |x, s| x ^ s) ^ 50));
}

#[test]
fn a_line_that_could_not_be_written_whole_does_not_spoil_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut manifests = Manifests::open(dir.path()).unwrap();
    manifests.begin(manifest(1, 1, 10)).unwrap();
    // What a full disk leaves behind: half a line, and a file that takes no more.
    let path = dir.path().join("00000001.log");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"12345678 {\"line\":\"be").unwrap();
    manifests.file = File::open(&path).unwrap();
    assert!(manifests.begin(manifest(1, 11, 15)).is_err());
    assert!(!manifests.ledger().has(LANE, 1, 11), "it must be read again from the journal");
    manifests.begin(manifest(1, 11, 15)).unwrap();
    drop(manifests);
    assert_eq!(Manifests::open(dir.path()).unwrap().ledger().begun(), [manifest(1, 1, 10), manifest(1, 11, 15)]);
}

#[test]
fn reading_an_empty_folder_is_an_empty_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::read(&dir.path().join("none")).unwrap();
    assert!(ledger.begun().is_empty() && ledger.stored().is_none() && ledger.totals().next().is_none());
}
