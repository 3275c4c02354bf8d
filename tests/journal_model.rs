//! The journal against a list of records: what went in comes out, whatever happens to the process and its files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod journal_support;

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};

use journal_support::*;
use proptest::prelude::*;
use tickwire::journal::{self, Durable, JournalConfig, JournalError, Position, Reader, Report, Snapshot, recover};
use tickwire::metrics;
use tickwire::ring::{Drained, Outlet};
use tickwire_schemas::NO_TIME;
use tickwire_schemas::record::RECORD_BYTES_MAX;
use tickwire_schemas::words::Kind;

#[test]
fn what_went_in_comes_out_over_segments_and_from_any_position() {
    let dir = tempfile::tempdir().unwrap();
    let all = lines(1, 1..=3000);
    run(dir.path(), 1, all.clone());
    assert!(segments(dir.path()).len() > 2, "{:?}", segments(dir.path()));
    assert_eq!(read(dir.path()), (all.clone(), Report::default()));
    for id in segments(dir.path()) {
        assert!(fs::metadata(id.path(dir.path())).unwrap().len() <= config().segment_bytes);
    }

    let mut reader = Reader::open(dir.path(), None).unwrap();
    assert_eq!(reader.catalogue(), &setup(1).catalogue);
    assert_eq!(reader.header().first_seq, 1);
    for read in 1..=all.len() {
        let after = reader.next().unwrap().unwrap().position_after;
        if read % 500 == 0 {
            let from: Position = after.to_string().parse().unwrap();
            let mut rest = Reader::open(dir.path(), Some(from)).unwrap();
            assert_eq!(read_on(&mut rest), all[read..]);
            assert_eq!(rest.report(), Report::default());
        }
    }
    assert_eq!(reader.header().id, *segments(dir.path()).last().unwrap());
}

#[test]
fn a_follower_sees_everything_that_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 1, lines(1, 1..=10));
    let (feed, handle) = start(dir.path(), 2);
    let mut durable = handle.durable();
    let mut reader = Reader::follow(dir.path(), None, durable.clone()).unwrap();
    let mut seen = read_on(&mut reader);
    assert_eq!(seen, lines(1, 1..=10), "the epoch before");
    seen.clear();
    for round in 0..20 {
        feed.push(lines(2, round * 100 + 1..=round * 100 + 100));
        wait(async {
            while (seen.len() as u64) < (round + 1) * 100 {
                assert!(durable.changed().await);
                seen.extend(read_on(&mut reader));
                assert!(reader.position() <= durable.now().position);
            }
        });
    }
    assert!(segments(dir.path()).len() > 2);
    feed.push(lines(2, 2001..=2002));
    feed.close();
    handle.stop(PATIENCE).unwrap();
    wait(async { while durable.changed().await {} });
    seen.extend(read_on(&mut reader));
    assert_eq!(seen, lines(2, 1..=2002));
    assert_eq!(reader.report(), Report::default());
}

#[test]
fn a_follower_stops_at_the_durable_position_although_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 1, lines(1, 1..=10));
    let mut reader = Reader::open(dir.path(), None).unwrap();
    let positions: Vec<_> = std::iter::from_fn(|| reader.next().unwrap().map(|e| e.position_after)).collect();
    let at = |read: usize| journal::DurableAt { position: positions[read - 1], seq: read as u64 };
    let (setter, durable) = Durable::channel(at(4));
    let mut follower = Reader::follow(dir.path(), None, durable).unwrap();
    assert_eq!(read_on(&mut follower), lines(1, 1..=4));
    setter.set(at(9));
    assert_eq!(read_on(&mut follower), lines(1, 5..=9));
}

#[test]
fn a_restart_replays_over_epochs_from_the_last_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let found = recover(dir.path()).unwrap();
    assert_eq!((found.epoch_next, found.last_seq, found.last_recv_ns), (1, 0, NO_TIME));

    let (feed, handle) = start(dir.path(), 1);
    let snapshot = Snapshot { epoch: 1, seq: 1502, stages: vec![("dedupe".into(), b"state".to_vec())] };
    // It comes before its record is durable, and waits for it.
    handle.snapshots().try_send(snapshot.clone()).unwrap();
    feed.push(lines(1, 1..=3000));
    feed.close();
    handle.stop(PATIENCE).unwrap();
    run(dir.path(), 2, lines(2, 1..=1000)); // Died before its first snapshot.
    run(dir.path(), 3, vec![]); // Died before its first record.

    let mut found = recover(dir.path()).unwrap();
    assert_eq!(found.snapshot.as_ref(), Some(&snapshot));
    assert_eq!((found.epoch_next, found.last_epoch, found.last_seq), (4, 2, 1000));
    assert_eq!(found.last_recv_ns, 999_000_000_000, "the last input; the record 1000 is a quote");
    run(dir.path(), 4, lines(4, 1..=5));
    let replayed = read_on(&mut found.replay);
    assert_eq!(replayed, [lines(1, 1503..=3000), lines(2, 1..=1000)].concat(), "and not what this run writes");
    assert_eq!(found.replay.report(), Report::default());
    assert_eq!(found.report, Report::default());
}

#[test]
fn a_damaged_snapshot_is_reported_and_the_one_before_it_used() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    let snapshot = |seq| Snapshot { epoch: 1, seq, stages: vec![("validate".into(), vec![1; 50])] };
    for seq in [300, 600] {
        feed.push(lines(1, seq - 299..=seq));
        handle.snapshots().send(snapshot(seq)).unwrap();
    }
    feed.close();
    handle.stop(PATIENCE).unwrap();
    let path = dir.path().join("snapshots/0000000001-00000000000000000600.tws");
    File::options().write(true).open(&path).unwrap().write_all_at(b"x", 50).unwrap();
    let mut found = recover(dir.path()).unwrap();
    assert_eq!(found.snapshot, Some(snapshot(300)));
    assert_eq!(found.report.damaged_places, 1);
    assert!(found.report.notes[0].contains("is damaged"), "{:?}", found.report.notes);
    assert_eq!(read_on(&mut found.replay), lines(1, 301..=600));
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 1, lines(1, 1..=10));
    let path = segments(dir.path())[0].path(dir.path());
    let length = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[9; 30], length).unwrap();
    file.set_len(config().segment_bytes).unwrap();
    let mut found = recover(dir.path()).unwrap();
    assert_eq!((found.report.torn_bytes, found.last_seq), (30, 10));
    assert!(found.report.notes[0].contains(&format!("is torn at {length}; 30 bytes cut")), "{:?}", found.report.notes);
    assert_eq!(read_on(&mut found.replay), lines(1, 1..=10));
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    assert_eq!(recover(dir.path()).unwrap().report, Report::default(), "mended");
}

#[test]
fn damage_in_the_middle_is_skipped_counted_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 1, lines(1, 1..=2000));
    let ids = segments(dir.path());
    assert!(ids.len() > 2);
    let mut reader = Reader::open(dir.path(), None).unwrap();
    let ends: Vec<_> = std::iter::from_fn(|| reader.next().unwrap().map(|e| e.position_after)).collect();
    // The third record's length, the last two records of the first segment, and the last segment's header.
    let first = File::options().write(true).open(ids[0].path(dir.path())).unwrap();
    first.write_all_at(&[0; 4], ends[1].offset).unwrap();
    let last_of_first = ends.iter().rposition(|p| p.id() == ids[0]).unwrap();
    let from = ends[last_of_first - 2].offset;
    first.write_all_at(&vec![1; (ends[last_of_first].offset - from) as usize], from).unwrap();
    let last = File::options().write(true).open(ids.last().unwrap().path(dir.path())).unwrap();
    last.write_all_at(b"x", 40).unwrap();

    let before = metrics::JOURNAL_DAMAGE.get();
    let (found, report) = read(dir.path());
    let mut expected = lines(1, 1..=2000);
    expected.drain(last_of_first - 1..=last_of_first);
    expected.remove(2);
    assert_eq!(found, expected);
    // The damaged header is two places: itself, and the bytes before the first entry.
    assert_eq!((report.damaged_places, report.torn_bytes, report.missing_segments), (4, 0, 0), "{report:?}");
    assert!(metrics::JOURNAL_DAMAGE.get() >= before + 4);
    assert_eq!(report.notes.len(), 4);

    fs::remove_file(ids[1].path(dir.path())).unwrap();
    assert_eq!(read(dir.path()).1.missing_segments, 1);
}

#[test]
fn an_epoch_is_not_used_twice_and_a_later_version_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 2, lines(2, 1..=3));
    let again = journal::start(&config(), dir.path(), setup(2), Box::new(Feed::default()));
    assert!(again.unwrap_err().to_string().contains("0000000002-0000000001.twj exists"));
    let small = JournalConfig { segment_bytes: 64 << 10, ..config() };
    let small = journal::start(&small, dir.path(), setup(3), Box::new(Feed::default()));
    assert!(matches!(small, Err(JournalError::SegmentTooSmall { .. })));

    let path = segments(dir.path())[0].path(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let header = journal::SegmentHeader::length_of(&bytes).unwrap();
    let crc = crc32c::crc32c(&bytes[..header - 4]);
    bytes[header - 4..header].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = recover(dir.path()).unwrap_err().to_string();
    assert!(error.contains("has version 2, expected at most 1"), "{error}");
}

#[test]
fn two_engines_cannot_use_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    let again = journal::start(&config(), dir.path(), setup(2), Box::new(Feed::default()));
    assert!(again.unwrap_err().to_string().contains("lock is locked: another engine is using this folder"));
    assert!(matches!(recover(dir.path()), Err(JournalError::Locked { .. })), "or it would cut a segment in use");
    feed.close();
    handle.stop(PATIENCE).unwrap();
    assert_eq!(recover(dir.path()).unwrap().epoch_next, 2);
}

#[derive(Debug, Clone)]
enum Harm {
    /// The process died in the middle of a write: nothing behind this place, or the zeros that were there before.
    Cut { zeros: bool },
    /// One bit of the disk fell over.
    Flip(u8),
    /// A write of which only noise arrived.
    Noise(Vec<u8>),
}

fn harms() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<bool>().prop_map(|zeros| Harm::Cut { zeros }),
        (0u8..8).prop_map(Harm::Flip),
        proptest::collection::vec(any::<u8>(), 1..300).prop_map(Harm::Noise),
    ]
}

/// A record of any kind and length, with a `seq`.
fn odd_line(seq: u64, kind: usize, size: usize) -> Line {
    let mut bytes: Vec<u8> = (0..size).map(|i| (seq as usize * 7 + i) as u8).collect();
    bytes[..4].copy_from_slice(&1u32.to_le_bytes());
    bytes[4..12].copy_from_slice(&seq.to_le_bytes());
    (Kind::ALL[kind % Kind::ALL.len()], bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to the last segment, everything sound before the place is there, exactly as it was written, and
    /// everything sound behind it too; nothing is invented, and what is missing is said.
    #[test]
    fn recovery_gives_exactly_what_was_sound(
        sizes in proptest::collection::vec((0usize..64, 12usize..=RECORD_BYTES_MAX), 1..1200),
        place in 0.0f64..1.0,
        harm in harms(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<Line> = (1..).zip(&sizes).map(|(seq, (kind, size))| odd_line(seq, *kind, *size)).collect();
        run(dir.path(), 1, all.clone());
        let mut reader = Reader::open(dir.path(), None).unwrap();
        let ends: Vec<_> = std::iter::from_fn(|| reader.next().unwrap().map(|e| e.position_after)).collect();
        let last = *segments(dir.path()).last().unwrap();
        let path = last.path(dir.path());
        let length = fs::metadata(&path).unwrap().len();
        let header = journal::SegmentHeader::length_of(&fs::read(&path).unwrap()).unwrap() as u64;
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let at = header + ((length - header) as f64 * place) as u64;
        // Records wholly before the place; one more is hit.
        let before = ends.iter().filter(|p| p.id() < last || p.offset <= at).count();
        let mut expected = all[..before].to_vec();
        match &harm {
            Harm::Cut { zeros } => {
                file.set_len(at).unwrap();
                if *zeros {
                    file.set_len(config().segment_bytes).unwrap();
                }
            }
            Harm::Flip(bit) => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
                file.set_len(config().segment_bytes).unwrap();
                expected.extend_from_slice(&all[before + 1..]);
            }
            Harm::Noise(noise) => {
                file.set_len(at).unwrap();
                file.write_all_at(noise, at).unwrap();
            }
        }
        let mut found = recover(dir.path()).unwrap();
        let replayed = read_on(&mut found.replay);
        prop_assert_eq!(&replayed, &expected);
        prop_assert_eq!(found.last_seq, expected.last().map_or(0, |l| journal::format::seq_of(&l.1)));
        if let Harm::Flip(_) = harm {
            let last_hit = before + 1 == all.len();
            prop_assert_eq!(found.report.damaged_places, u64::from(!last_hit));
            prop_assert_eq!(found.report.torn_bytes > 0, last_hit);
        }
        // The journal goes on behind it.
        run(dir.path(), found.epoch_next, lines(2, 1..=3));
        expected.extend(lines(2, 1..=3));
        prop_assert_eq!(read(dir.path()).0, expected);
    }
}

const CHILD: &str = "TICKWIRE_TEST_JOURNAL_CHILD";

/// Says the records of its epoch for ever.
struct Endless(u32, u64);

impl Outlet for Endless {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        for _ in 0..limit {
            self.1 += 1;
            let (kind, bytes) = line(self.0, self.1);
            each(kind, &bytes);
        }
        Drained::Records(limit)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Not a test of its own: the process that is killed.
#[test]
fn child_that_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let epoch = recover(dir).unwrap().epoch_next;
    let config = JournalConfig { segment_bytes: 1 << 20, ..config() };
    let handle = journal::start(&config, dir, setup(epoch), Box::new(Endless(epoch, 0))).unwrap();
    let mut durable = handle.durable();
    wait(async {
        while durable.changed().await {
            let mut out = io::stdout().lock();
            writeln!(out, "\ndurable {epoch} {}", durable.now().seq).unwrap();
            out.flush().unwrap();
        }
    });
}

#[test]
fn kill_9_loses_nothing_that_was_durable() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = io::BufReader::new(child.stdout.take().unwrap());
        let mut told = told.lines().map(Result::unwrap).filter(|l| l.starts_with("durable "));
        let mut last = told.nth(round * 3).unwrap();
        child.kill().unwrap(); // SIGKILL.
        child.wait().unwrap();
        // What it had said before it died counts, if the line is whole.
        last = told.filter(|l| l.split(' ').count() == 3).last().unwrap_or(last);
        let numbers: Vec<u64> = last.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
        assert_eq!(numbers[0], round as u64);
        let found = recover(dir.path()).unwrap();
        assert_eq!(u64::from(found.last_epoch), numbers[0]);
        assert!(found.last_seq >= numbers[1], "{} was durable, {} is there", numbers[1], found.last_seq);
        assert!(found.report.is_sound(), "{:?}", found.report);
    }
    let mut reader = Reader::open(dir.path(), None).unwrap();
    let mut at = (1, 0);
    while let Some(entry) = reader.next().unwrap() {
        let epoch = entry.position_after.epoch;
        at = if epoch == at.0 { (epoch, at.1 + 1) } else { (epoch, 1) };
        assert_eq!((entry.kind, entry.bytes.to_vec()), line(at.0, at.1), "{at:?}");
    }
    assert_eq!(at.0, 5);
    assert!(reader.report().is_sound());
}
