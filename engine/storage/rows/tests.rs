#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use super::*;
use crate::journal::Catalogue;
use crate::market::{Scope, Source, SourceId, VolumeOf};
use crate::storage::migrate::{MIGRATIONS, statements};
use proptest::prelude::*;
use tickwire_schemas::record::RECORD_BYTES_MAX;

fn names() -> Names {
    let source = |id, name: &str, scope| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: String::new(),
        priority: 0,
        volume: VolumeOf::default(),
    };
    let sources = vec![source(1, "oanda", Scope::Global), source(2, "mine", Scope::Private)];
    Names::new(&Catalogue { sources, ..Catalogue::default() })
}

/// Column names and types of a `CREATE TABLE`, codecs and comments left away.
fn declared(sql: &str) -> Vec<(String, String)> {
    let body = &sql[sql.find("\n(").unwrap() + 2..sql.rfind("\n)").unwrap()];
    let (mut columns, mut depth, mut quoted, mut column) = (Vec::new(), 0, false, String::new());
    for c in body.chars().chain([',']) {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 && !quoted {
            columns.push(std::mem::take(&mut column));
        } else {
            column.push(c);
        }
    }
    let parse = |column: String| {
        let (name, rest) = column.trim().split_once(char::is_whitespace).unwrap();
        let end = [" CODEC", " COMMENT"].iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
        (name.to_string(), rest[..end].trim().to_string())
    };
    columns.into_iter().filter(|c| !c.trim().is_empty()).map(parse).collect()
}

#[test]
fn the_encoded_columns_are_those_of_the_database() {
    let ddl: BTreeMap<String, Vec<(String, String)>> = MIGRATIONS
        .iter()
        .flat_map(|migration| statements(migration.sql))
        .filter_map(|sql| Some((sql.split("CREATE TABLE IF NOT EXISTS ").nth(1)?.split_whitespace().next()?, sql)))
        .map(|(table, sql)| (table.to_string(), declared(sql)))
        .collect();
    for table in Table::ALL {
        let encoded: Vec<_> = table.columns().map(|(name, of)| (name.to_string(), of.to_string())).collect();
        assert_eq!(ddl[table.name()], encoded, "table {}", table.name());
    }
}

#[test]
fn verdicts_and_owners_decide_where_a_tick_goes() {
    let lane = |source_id, verdict: Verdict| {
        let head = Head { source_id, ..Head::default() };
        Stored::Tick(Tick { head, verdict: verdict.code(), ts_recv_ns: 86_400_000_000_000, ..Tick::default() })
            .lane(&names())
    };
    let expected = |audience, table| Lane { audience, table, partition: 19_700_102 };
    assert_eq!(lane(1, Verdict::Accepted), expected(Audience::Global, Table::Ticks));
    assert_eq!(lane(1, Verdict::Duplicate), expected(Audience::Global, Table::Rejects));
    assert_eq!(lane(2, Verdict::Accepted), expected(Audience::Private, Table::Ticks));
    assert_eq!(lane(2, Verdict::Refused), expected(Audience::Private, Table::Rejects));
    assert_eq!(lane(99, Verdict::Accepted), expected(Audience::Private, Table::Ticks), "nobody said it is public");
}

#[test]
fn the_common_price_is_public_and_a_private_quote_is_not() {
    let quote = |source_id| {
        let head = Head { source_id, ..Head::default() };
        Stored::Quote(Quote { head, bid_source_id: 2, ..Quote::default() }).lane(&names()).audience
    };
    assert_eq!(quote(tickwire_schemas::SOURCE_BEST), Audience::Global);
    assert_eq!(quote(2), Audience::Private);
}

#[test]
fn timers_drops_and_forming_bars_are_not_stored() {
    let mut bytes = [0; RECORD_BYTES_MAX];
    for (state, stored) in [(0, false), (1, true), (2, true)] {
        let length = Bar { state, ..Bar::default() }.write(&mut bytes);
        assert_eq!(Stored::read(Kind::Bar, &bytes[..length]).unwrap().is_some(), stored);
    }
    assert!(Stored::read(Kind::Timer, &bytes).unwrap().is_none());
    assert!(Stored::read(Kind::Drop, &bytes).unwrap().is_none());
    assert!(Stored::read(Kind::Tick, &bytes[..50]).is_err());
}

#[test]
fn words_of_unnamed_codes_and_ids_do_not_lose_the_row() {
    let tick =
        Tick { verdict: 200, head: Head { source_id: 7, instrument_id: 8, ..Head::default() }, ..Tick::default() };
    let mut out = Vec::new();
    Stored::Tick(tick).encode(&names(), &mut out);
    let text = String::from_utf8_lossy(&out);
    assert!(text.contains("#7") && text.contains("#8"), "{text}");
}

proptest! {
    #[test]
    fn days_are_those_of_the_calendar(ns in -2_208_988_800_000_000_000i64..i64::MAX) {
        let date = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
        prop_assert_eq!(day(ns), date.year() as u32 * 10_000 + date.month() as u32 * 100 + date.day() as u32);
    }
}
