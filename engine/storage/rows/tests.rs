#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use super::*;
use crate::journal::Catalogue;
use crate::market::{Scope, Source, SourceId, VolumeOf};
use crate::storage::migrate::{MIGRATIONS, statements};
use crate::storage::quality::SourceMinute;
use crate::storage::telemetry::{Measurement, StageSecond};
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
        stores_ticks: true,
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
        let end = [" CODEC", " COMMENT", " DEFAULT", "\n"]
            .iter()
            .filter_map(|word| rest.find(word))
            .min()
            .unwrap_or(rest.len());
        (name.to_string(), rest[..end].trim().to_string())
    };
    columns.into_iter().filter(|c| !c.trim().is_empty()).map(parse).collect()
}

/// `TABLE ADD COLUMN IF NOT EXISTS …` or `TABLE MODIFY COLUMN IF EXISTS …`.
fn alter(ddl: &mut BTreeMap<String, Vec<(String, String)>>, change: &str) {
    let (table, rest) = change.split_once(' ').unwrap();
    let column = rest.split_once("EXISTS ").unwrap().1;
    let (name, of) = declared(&format!("\n({column}\n)")).remove(0);
    let columns = ddl.get_mut(table).unwrap();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = of,
        None => columns.push((name, of)),
    }
}

#[test]
fn the_encoded_columns_are_those_of_the_database() {
    let mut ddl: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for sql in MIGRATIONS.iter().flat_map(|migration| statements(migration.sql)) {
        if let Some(rest) = sql.split("CREATE TABLE IF NOT EXISTS ").nth(1) {
            ddl.insert(rest.split_whitespace().next().unwrap().into(), declared(sql));
        }
        if let Some(rest) = sql.split("ALTER TABLE ").nth(1) {
            alter(&mut ddl, rest);
        }
    }
    for table in Table::ALL {
        let encoded: Vec<_> = table.columns().map(|(name, of)| (name.to_string(), of.to_string())).collect();
        assert_eq!(ddl[table.name()], encoded, "table {}", table.name());
    }
    for (table, columns) in [(StageSecond::TABLE, StageSecond::COLUMNS), (SourceMinute::TABLE, SourceMinute::COLUMNS)] {
        let measured = columns.iter().map(|(name, of)| (name.to_string(), of.to_string()));
        assert_eq!(ddl[table], measured.collect::<Vec<_>>(), "table {table}");
    }
}

/// Tables of which the audit knows nothing are those that do not come from the journal, and those that nobody fills.
#[test]
fn every_table_is_journaled_or_known_not_to_be() {
    let created = MIGRATIONS.iter().flat_map(|migration| statements(migration.sql));
    let created = created.filter_map(|sql| sql.split("CREATE TABLE IF NOT EXISTS ").nth(1)?.split_whitespace().next());
    let journaled = Table::ALL.iter().map(|table| table.name());
    let mut known: Vec<_> = journaled.chain(NOT_JOURNALED.iter().copied()).chain(["connection_log"]).collect();
    let mut created: Vec<_> = created.collect();
    known.sort_unstable();
    created.sort_unstable();
    assert_eq!(known, created);
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
    Stored::Tick(tick).encode(Table::Rejects, &names(), &mut out);
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

fn lanes(row: Stored) -> Vec<(Audience, Table, u32)> {
    row.lanes(&names()).map(|lane| (lane.audience, lane.table, lane.partition)).collect()
}

const JANUARY_NS: i64 = 1_767_225_600_000_000_000;
const FEBRUARY_NS: i64 = JANUARY_NS + 31 * 86_400_000_000_000;

#[test]
fn a_bar_is_an_execution_in_the_month_of_its_publication() {
    let bar = |source_id| {
        let head = Head { source_id, ts_publish_ns: FEBRUARY_NS + 1, ..Head::default() };
        Stored::Bar(Bar { head, open_ts_ns: JANUARY_NS, close_ts_ns: FEBRUARY_NS, state: 1, ..Bar::default() })
    };
    let (bars, executions) = (Table::Bars, Table::PipelineExecutions);
    let global = [(Audience::Global, bars, 202_601), (Audience::Global, executions, 202_602)];
    assert_eq!(lanes(bar(tickwire_schemas::SOURCE_BEST)), global);
    let private = [(Audience::Private, bars, 202_601), (Audience::Private, executions, 202_602)];
    assert_eq!(lanes(bar(2)), private);
}

#[test]
fn failures_are_executions_once() {
    let state = |status: SourceStatus, cause: Cause| {
        let head = Head { source_id: 1, ..Head::default() };
        let (status, cause) = (status.code(), cause.code());
        lanes(Stored::SourceState(SourceState {
            head,
            status,
            cause,
            ts_recv_ns: JANUARY_NS,
            ..SourceState::default()
        }))
        .len()
    };
    assert_eq!(state(SourceStatus::Down, Cause::LoginRefused), 2);
    assert_eq!(state(SourceStatus::Mute, Cause::Mute), 2);
    assert_eq!(state(SourceStatus::Connecting, Cause::LoginRefused), 1, "the attempt after it");
    assert_eq!(state(SourceStatus::Down, Cause::None), 1, "planned");
    assert_eq!(state(SourceStatus::Stopped, Cause::Stopped), 1);
    let gap = |cause: Cause| {
        let state = GapState::Closed.code();
        lanes(Stored::Gap(Gap {
            cause: cause.code(),
            state,
            ts_recv_ns: JANUARY_NS,
            from_ns: NO_TIME,
            ..Gap::default()
        }))
        .len()
    };
    assert_eq!((gap(Cause::RingFull), gap(Cause::JournalFull)), (2, 2));
    assert_eq!((gap(Cause::Mute), gap(Cause::Restart)), (1, 1), "told by the change of state, or no failure");
}
