//! The quants' guide, `schemas/clickhouse/README.md`: every example in it runs and answers, and it tells of every table.

use std::collections::BTreeSet;

use tickwire::storage::migrate::statements;
use tickwire::storage::rows::Audience;
use tickwire::storage::telemetry::{self, StageSecond};
use tickwire_schemas::record::{Bar, Ohlc, Quote};
use tickwire_schemas::words::{GapState, Origin, QuoteState, Timeframe, quote_flag};
use tickwire_schemas::{NO_SIZE, NO_TIME};

use crate::harness::{Bench, GRACE};
use crate::journal::{BEGIN_NS, BINANCE, Journal, OANDA};
use crate::series::source_minute;

const GUIDE: &str = include_str!("../../schemas/clickhouse/README.md");
const MINUTE_NS: i64 = 60_000_000_000;

/// What stands between fences, with the language of each. A fence that is not closed fails.
fn blocks() -> Vec<(String, String)> {
    let (mut blocks, mut open): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in GUIDE.lines() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => blocks.push((language.trim().to_ascii_lowercase(), String::new())),
            (Some(_), true) => {}
            (None, true) => blocks.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            (None, false) => continue,
        }
        open = line.trim_start().strip_prefix("```").is_none() == open;
    }
    assert!(!open, "a block is not closed");
    blocks
}

/// All examples in SQL, one statement each.
fn examples() -> Vec<String> {
    let blocks = blocks();
    for (language, text) in &blocks {
        assert!(["sql", "sh", "python"].contains(&language.as_str()), "a block of `{language}`: {text}");
    }
    assert_eq!(blocks.iter().filter(|(language, _)| language == "sql").count(), GUIDE.matches("```sql\n").count());
    let sql = blocks.iter().filter(|(language, _)| language == "sql");
    let found: Vec<String> = sql.flat_map(|(_, text)| statements(text).map(String::from)).collect();
    assert!(found.len() > 20, "{} examples", found.len());
    found
}

fn quote(journal: &mut Journal, instrument_id: u32, bid_e9: i64, state: QuoteState) {
    let head = journal.head(0, instrument_id);
    let crossed = state == QuoteState::Crossed;
    journal.append(&Quote {
        head,
        ts_event_ns: NO_TIME,
        ts_recv_ns: BEGIN_NS + head.seq as i64 * 1_000_000,
        bid_e9,
        ask_e9: if crossed { bid_e9 - 10_000 } else { bid_e9 + 100_000 },
        bid_size_e8: NO_SIZE,
        ask_size_e8: NO_SIZE,
        bid_source_id: OANDA,
        ask_source_id: BINANCE,
        sources: 2,
        state: state.code(),
        flags: if crossed { quote_flag::CROSS_SOURCE } else { 0 },
    });
}

fn bar(journal: &mut Journal, timeframe: Timeframe, origin: Origin, revision: u16, close_e9: i64) {
    let head = journal.head(0, 1);
    let ohlc = Ohlc { open_e9: close_e9, high_e9: close_e9, low_e9: close_e9, close_e9 };
    journal.append(&Bar {
        head,
        open_ts_ns: BEGIN_NS.div_euclid(MINUTE_NS) * MINUTE_NS,
        close_ts_ns: BEGIN_NS.div_euclid(MINUTE_NS) * MINUTE_NS + MINUTE_NS,
        bid: ohlc,
        ask: ohlc,
        mid: ohlc,
        ticks: 3,
        volume_e8: NO_SIZE,
        revision,
        timeframe: timeframe.code(),
        origin: origin.code(),
        basis: 0,
        state: if revision == 0 { 1 } else { 2 },
    });
}

/// A database with something in every table that is filled.
fn filled() -> Bench {
    let mut bench = Bench::new();
    bench.start_store();
    let journal = &mut bench.journal;
    journal.mixed(300);
    journal.hole(GapState::Repaired);
    journal.hole(GapState::Lost);
    quote(journal, 3, 1_250_000_000, QuoteState::Ok);
    for step in 0..10 {
        quote(journal, 1, 1_085_000_000 + step, QuoteState::Ok);
    }
    quote(journal, 1, 1_086_000_000, QuoteState::Crossed);
    bar(journal, Timeframe::M1, Origin::Own, 0, 1_000_000_000);
    bar(journal, Timeframe::M1, Origin::Own, 1, 1_100_000_000);
    bar(journal, Timeframe::M1, Origin::Backfill, 0, 1_200_000_000);
    bar(journal, Timeframe::D1, Origin::Own, 0, 1_100_000_000);
    journal.sync();
    let (seconds, rows) = telemetry::channel();
    for stage in ["dedupe", "bars"] {
        let second = BEGIN_NS / 1_000_000_000;
        seconds.offer(StageSecond { second, stage, count: 9, p50_ns: 100, p99_ns: 300, p999_ns: 900 });
    }
    let (minutes, rows_of_minutes) = telemetry::channel();
    for source in ["oanda", "binance"] {
        minutes.offer(source_minute(source, Audience::Global));
    }
    let writer = bench.writer_of(Some((1, rows)), Some((1, rows_of_minutes)));
    bench.drained(&writer);
    writer.stop(GRACE);
    bench
}

#[test]
fn every_example_runs_and_answers() {
    let bench = filled();
    let mut broken = Vec::new();
    for query in examples() {
        match bench.read_only(&query) {
            Err(error) => broken.push(format!("{query}\n{error}")),
            Ok(answer) if answer.trim().is_empty() => broken.push(format!("{query}\nhas no answer")),
            Ok(_) => {}
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn it_tells_of_every_table_and_has_an_example_of_every_view() {
    let bench = filled();
    let examples = examples().join("\n");
    let listed: BTreeSet<&str> = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |").map(|(cell, _)| cell))
        .flat_map(|cell| cell.split('`').step_by(2))
        .filter_map(|name| name.split('(').next())
        .collect();
    let there = bench.sql("SELECT name, engine, total_rows FROM system.tables WHERE database = 'md'");
    for line in there.lines() {
        let [name, engine, rows] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(listed.contains(name), "{name} is not listed: {listed:?}");
        if engine == "View" {
            let called =
                [format!("FROM {name}\n"), format!("FROM {name} "), format!("FROM {name}("), format!("FROM {name})")];
            assert!(called.iter().any(|call| examples.contains(call)), "no example of {name}");
        } else {
            let unfilled = name == "connection_log";
            assert_eq!(rows == "0", unfilled, "{name} has {rows} rows: the examples would prove nothing");
        }
    }
    assert!(there.lines().count() >= 18, "{there}");
}
