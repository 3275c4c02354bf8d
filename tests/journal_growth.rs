//! A journal that is told of more sources while it is written.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod journal_support;

use std::time::Duration;

use journal_support::{PATIENCE, config, lines, read, run, setup, start};
use tickwire::journal::{Catalogue, JournalError, Reader, SegmentId, recover};
use tickwire::market::SourceId;

fn grown(sources: u32) -> Catalogue {
    let mut catalogue = setup(1).catalogue;
    let first = catalogue.sources[0].clone();
    catalogue.sources.extend((2..=sources).map(|id| {
        let mut source = first.clone();
        (source.id, source.name) = (SourceId(id), format!("source{id}"));
        source
    }));
    catalogue
}

/// Every record, with the sources that the segment names in which it stands.
fn named(dir: &std::path::Path) -> Vec<(u64, usize)> {
    let mut reader = Reader::open(dir, None).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        found.push((tickwire::journal::format::seq_of(entry.bytes), 0));
        let sources = reader.catalogue().sources.len();
        found.last_mut().unwrap().1 = sources;
    }
    found
}

#[test]
fn what_is_published_after_a_growth_stands_in_a_segment_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    let growth = handle.growth();
    // Before there is any record, between records, and twice in a row.
    growth.grow(grown(2), PATIENCE).unwrap();
    feed.push(lines(1, 1..=50));
    growth.grow(grown(3), PATIENCE).unwrap();
    feed.push(lines(1, 51..=3_000));
    growth.grow(grown(4), PATIENCE).unwrap();
    growth.grow(grown(5), PATIENCE).unwrap();
    feed.push(lines(1, 3_001..=3_050));
    feed.close();
    handle.stop(PATIENCE).unwrap();

    let (found, report) = read(dir.path());
    assert_eq!(found, lines(1, 1..=3_050));
    assert_eq!(report, Default::default());
    for (seq, sources) in named(dir.path()) {
        let least = match seq {
            1..=50 => 2,
            51..=3_000 => 3,
            _ => 5,
        };
        assert!(sources >= least, "{seq} stands where {sources} sources are named");
    }
    // A segment of its own for each: the one of before names what it named.
    let first = Reader::file(&SegmentId { epoch: 1, number: 1 }.path(dir.path())).unwrap();
    assert_eq!(first.catalogue().sources.len(), 1);
    let found = recover(dir.path()).unwrap();
    assert_eq!((found.last_seq, found.report.is_sound()), (3_050, true));
    // And a next run goes on.
    run(dir.path(), 2, lines(2, 1..=10));
    assert_eq!(read(dir.path()).0.len(), 3_060);
}

#[test]
fn a_catalogue_that_fits_no_segment_is_refused_and_nothing_stops() {
    let dir = tempfile::tempdir().unwrap();
    let (feed, handle) = start(dir.path(), 1);
    let growth = handle.growth();
    let refused = growth.grow(grown(2_000), PATIENCE);
    assert!(
        matches!(refused, Err(JournalError::SegmentTooSmall { segment_bytes, .. }) if segment_bytes == config().segment_bytes)
    );
    feed.push(lines(1, 1..=3_000));
    feed.close();
    handle.stop(PATIENCE).unwrap();
    assert_eq!(read(dir.path()).0, lines(1, 1..=3_000));
    let stopped = growth.grow(grown(2), Duration::from_secs(1));
    assert!(matches!(stopped, Err(JournalError::Stopping | JournalError::Slow)), "{stopped:?}");
}
