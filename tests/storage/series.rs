//! Bars with their revisions and origins, what the pipeline did, and what it took.

use tickwire::config::Config;
use tickwire::market::Input;
use tickwire::ring::Mark;
use tickwire::stages::{Identity, Layout, Market, Recorder};
use tickwire::storage::migrate::{MIGRATIONS, statements};
use tickwire::storage::quality::SourceMinute;
use tickwire::storage::rows::Audience;
use tickwire::storage::telemetry::{self, StageSecond};
use tickwire_schemas::record::{Bar, Head, Tick, Timer};
use tickwire_schemas::words::{Kind, Origin, Verdict};
use tickwire_schemas::{NO_NUMBER, NO_PRICE, NO_SIZE};

use crate::harness::{Bench, GRACE, until};
use crate::journal::{BEGIN_NS, MINE, OANDA, catalogue};

const FINAL: &str = "SELECT revision, state FROM bars FINAL";
const BEST: &str = "SELECT origin, revision, epoch, seq FROM bars_final";

#[test]
fn a_revised_bar_wins_before_and_after_merges_in_any_epoch() {
    let (mut bench, writer) = Bench::running();
    bench.journal.bar(1, 0);
    bench.journal.next_segment(true); // The final bar was the newest row of its epoch.
    bench.drained(&writer);
    bench.journal.bar(2, 1);
    bench.journal.bar(2, 2);
    bench.journal.sync();
    bench.drained(&writer);
    assert_eq!(bench.read_only(FINAL).unwrap(), "2\trevised\n");
    assert_eq!(bench.read_only(BEST).unwrap(), "own\t2\t2\t3\n");
    bench.assert_clean();
    bench.sql("OPTIMIZE TABLE bars FINAL");
    assert_eq!(bench.sql("SELECT revision, epoch, seq FROM bars"), "2\t2\t3\n");
    assert_eq!(bench.read_only(FINAL).unwrap(), "2\trevised\n");
    assert_eq!(bench.sql("SELECT count() FROM pipeline_executions"), "3\n", "every revision was work");
    writer.stop(GRACE);
    bench.assert_clean();
    // Neither does the audit miss what merges took away when the journal is gone.
    std::fs::remove_dir_all(bench.path().join("journal")).unwrap();
    std::fs::create_dir(bench.path().join("journal")).unwrap();
    bench.assert_clean();
    bench.sql("ALTER TABLE bars DELETE WHERE 1 SETTINGS mutations_sync = 1");
    let differences = bench.audit().differences;
    assert_eq!(differences, ["bars:202601 epoch 2: 2 rows to seq 3 were stored, 0 to seq 0 are there"]);
}

#[test]
fn a_bar_that_no_merge_took_away_is_missed() {
    let (mut bench, writer) = Bench::running();
    (0..3).for_each(|_| bench.journal.bars_and_failures(OANDA));
    bench.journal.bar(1, 0);
    bench.journal.bar(2, 1);
    bench.journal.sync();
    bench.drained(&writer);
    writer.stop(GRACE);
    bench.sql("OPTIMIZE TABLE bars FINAL");
    bench.assert_clean();
    bench.sql("ALTER TABLE bars DELETE WHERE seq = 5 SETTINGS mutations_sync = 1");
    assert_eq!(bench.audit().differences, ["bars:202601 epoch 1: missing: seq 5 (1 rows)"]);
    bench.sql("INSERT INTO bars SELECT * REPLACE (77 AS seq, 9 AS revision) FROM bars WHERE chain = 9");
    let differences = bench.audit().differences;
    assert!(differences.contains(&"bars:202601 epoch 1: never journaled: seq 77 (1 rows)".into()), "{differences:?}");
}

#[test]
fn of_several_origins_the_one_that_knows_best_is_shown() {
    let (mut bench, writer) = Bench::running();
    for (origin, best) in
        [(Origin::Polled, "polled"), (Origin::Backfill, "backfill"), (Origin::Own, "own"), (Origin::Repair, "repair")]
    {
        for revision in [3, 1] {
            let revision = if origin == Origin::Repair { 0 } else { revision };
            let head = bench.journal.head(0, 1);
            let (origin, state) = (origin.code(), 1);
            bench.journal.append(&Bar {
                head,
                open_ts_ns: BEGIN_NS,
                revision,
                timeframe: 1,
                origin,
                state,
                ..Bar::default()
            });
        }
        bench.journal.sync();
        bench.drained(&writer);
        let shown = bench.read_only("SELECT origin, revision FROM bars_final").unwrap();
        assert_eq!(shown, format!("{best}\t{}\n", if best == "repair" { 0 } else { 3 }));
    }
    assert_eq!(bench.sql("SELECT count() FROM bars FINAL"), "4\n", "and none is lost");
    writer.stop(GRACE);
}

#[test]
fn bars_and_failures_are_executions_and_private_ones_stay_private() {
    let (mut bench, writer) = Bench::running();
    bench.journal.bars_and_failures(OANDA); // seq 1 to 4
    bench.journal.bars_and_failures(MINE);
    bench.journal.sync();
    bench.drained(&writer);
    let rows = |database: &str| {
        bench.sql(&format!(
            "SELECT seq, connection, connection_id, symbol, timeframe, stage, status, started_ts, finished_ts, duration_ns, \
             error FROM {database}.pipeline_executions ORDER BY seq"
        ))
    };
    assert_eq!(
        rows("md"),
        "1\toanda\t1\tEURUSD\tM1\tbars\tcompleted\t2026-01-02 00:01:59.000000000\t2026-01-01 23:59:59.001001000\t\
         -119998999000\t\n\
         3\toanda\t1\t\t\tfeed\tfailed\t2026-01-01 23:59:59.003000000\t2026-01-01 23:59:59.003000000\t0\tread_error\n\
         4\toanda\t1\t\t\tingest\tfailed\t2026-01-01 23:59:57.504000000\t2026-01-01 23:59:59.004000000\t1500000000\tring_full\n"
    );
    assert_eq!(
        bench.sql("SELECT seq, connection FROM md_private.pipeline_executions ORDER BY seq"),
        "5\tmine\n7\tmine\n8\tmine\n"
    );
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
    bench.sql("ALTER TABLE pipeline_executions DELETE WHERE seq = 3 SETTINGS mutations_sync = 1");
    let differences = bench.audit().differences;
    assert!(
        differences[0].contains("pipeline_executions:202601 epoch 1: ") && differences[0].contains("missing: seq 3")
    );
    assert_eq!(differences.len(), 1, "{differences:?}");
}

#[test]
fn a_refusing_table_does_not_lose_or_double_the_other_rows_of_a_record() {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(200);
    bench.drained(&writer);
    bench.sql("ALTER TABLE pipeline_executions DROP COLUMN error");
    (0..20).for_each(|_| bench.journal.bars_and_failures(OANDA));
    bench.journal.sync();
    until("the refusal is told", || writer.status().last_error.is_some_and(|e| e.contains("pipeline_executions")));
    until("the bars go on", || bench.sql("SELECT count() >= 20 FROM bars") == "1\n");
    bench.sql("ALTER TABLE pipeline_executions ADD COLUMN error LowCardinality(String) AFTER duration_ns");
    assert_eq!(bench.drained(&writer).last_error, None);
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn bars_of_any_length_come_out_of_ticks() {
    let (mut bench, writer) = Bench::running();
    // A millisecond apart from 23:59:59.001 on; every fifth without a stamp, every seventh without an ask.
    (0..1_500).for_each(|_| bench.journal.tick(OANDA, Verdict::Accepted));
    bench.journal.tick(MINE, Verdict::Accepted);
    bench.journal.sync();
    bench.drained(&writer);
    let call = |source: &str, seconds: u32| {
        bench.read_only(&format!(
            "SELECT open_ts, bid_o, bid_h, bid_l, bid_c, ask_o, ticks FROM ohlc(symbol = 'EURUSD', source = '{source}', \
             seconds = {seconds}, since = '2026-01-01', until = '2026-02-01')"
        ))
    };
    // Stamps are 5.000001 ms before receipt: seq 1 to 4 belong to the second before, 5 has none, so 6 is the first of the
    // next second; 1000 has none either and opens the third.
    assert_eq!(
        call("oanda", 1).unwrap(),
        "2026-01-01 23:59:58\t1.085100001\t1.085100004\t1.085100001\t1.085100004\t1.085200001\t4\n\
         2026-01-01 23:59:59\t1.085100006\t1.085101004\t1.085100005\t1.085101004\t1.085200006\t999\n\
         2026-01-02 00:00:00\t1.085101\t1.0851015\t1.085101\t1.0851015\t1.085201\t497\n"
    );
    assert_eq!(call("oanda", 86_400).unwrap().lines().count(), 2);
    assert_eq!(call("mine", 1).unwrap(), "", "a private source's ticks are not there");
    writer.stop(GRACE);
}

/// Four minutes of two ticks a second and the clock, through the stages; one tick comes 50 s late, and lowest of all.
fn records_of_the_stages() -> Vec<(Kind, Vec<u8>)> {
    let catalogue = catalogue();
    let market = Market::new(catalogue.sources, catalogue.instruments);
    let config = Config::load(&[], std::iter::empty()).unwrap();
    let layout = Layout::new(vec![["aggregate", "bars", "gaps"].map(String::from).to_vec()]).unwrap();
    let mut group = layout.build(&config, &market).unwrap().remove(0);
    let mut identity = Identity::new(1, &market);
    let mut made = Recorder::default();
    let mut run = |input: Input, now_ns| {
        group.run(&input, Mark::NEW, &mut identity, &mut made, now_ns);
    };
    for n in 0..480 {
        let ts_recv_ns = BEGIN_NS + n * 500_000_000;
        let (late_ns, lower_e9) = if n == 300 { (50_000_000_000, 20_000_000) } else { (20_000_000, 0) };
        let bid_e9 = 1_085_000_000 + (n * 7_919 % 1_000) * 20_000 - lower_e9;
        let head = Head { source_id: OANDA, instrument_id: 1, ..Head::default() };
        let (ts_event_ns, ask_e9) = (ts_recv_ns - late_ns, bid_e9 + 100_000);
        let (bid_size_e8, ask_size_e8, source_seq) = (NO_SIZE, NO_SIZE, NO_NUMBER);
        let sizes = Tick { bid_size_e8, ask_size_e8, source_seq, confidence: 100, ..Tick::default() };
        run(Input::Tick(Tick { head, ts_event_ns, ts_recv_ns, bid_e9, ask_e9, ..sizes }), ts_recv_ns + 1_000);
        if n % 2 == 1 {
            run(Input::Timer(Timer { now_ns: ts_recv_ns, ..Timer::default() }), ts_recv_ns + 2_000);
        }
    }
    let end_ns = BEGIN_NS + 300_000_000_000;
    run(Input::Timer(Timer { now_ns: end_ns, ..Timer::default() }), end_ns);
    made.records
}

#[test]
fn what_the_bars_stage_made_is_what_the_ticks_in_the_database_say() {
    let (mut bench, writer) = Bench::running();
    bench.journal.append_all(&records_of_the_stages());
    bench.journal.sync();
    bench.drained(&writer);
    let columns = "toString(toDateTime(open_ts, 'UTC')), bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c, mid_o, mid_h, \
                   mid_l, mid_c, ticks";
    for (timeframe, seconds) in [("M1", 60), ("M5", 300)] {
        let stored = format!(
            "SELECT {columns} FROM bars_final WHERE source = 'oanda' AND timeframe = '{timeframe}' ORDER BY open_ts"
        );
        let ticks = format!(
            "SELECT {columns} FROM ohlc(symbol = 'EURUSD', source = 'oanda', seconds = {seconds}, since = '2026-01-01', \
             until = '2026-01-03')"
        );
        let stored = bench.read_only(&stored).unwrap();
        assert_eq!(stored.lines().count(), if seconds == 60 { 5 } else { 1 }, "{stored}");
        let ticks = bench.read_only(&ticks).unwrap();
        // The second five minutes are not over yet.
        assert!(ticks.starts_with(&stored), "{timeframe}\n{stored}\n{ticks}");
    }
    let revised = "SELECT revision, state, bid_l < 1.08 FROM bars_final WHERE source = 'oanda' AND timeframe = 'M1' AND revision > 0";
    assert_eq!(bench.read_only(revised).unwrap(), "1\trevised\t1\n");
    let best = "SELECT count() FROM bars_final WHERE source = 'best' AND timeframe = 'M1'";
    assert_eq!(bench.read_only(best).unwrap(), "5\n");
    bench.sql("OPTIMIZE TABLE bars FINAL");
    assert_eq!(bench.read_only(revised).unwrap(), "1\trevised\t1\n");
    writer.stop(GRACE);
    bench.assert_clean();
}

fn second(second: i64, stage: &'static str) -> StageSecond {
    StageSecond { second, stage, count: 10, p50_ns: 100, p99_ns: 200, p999_ns: 5_000_000_000 }
}

#[test]
fn stage_latencies_are_stored_once_and_survive_an_absent_database() {
    let mut bench = Bench::new();
    let (seconds, rows) = telemetry::channel();
    let writer = bench.writer_with(Some((7, rows)));
    let begin = BEGIN_NS / 1_000_000_000;
    // Over midnight: two partitions.
    (0..3).for_each(|n| seconds.offer(second(begin + n, "dedupe")));
    until("it is told", || writer.status().last_error.as_deref() == Some("the database is not up yet"));
    bench.start_store();
    until("the rows are there", || bench.try_sql("SELECT count() FROM stage_latency").is_ok_and(|n| n == "3\n"));
    seconds.offer(second(begin + 3, "bars"));
    writer.stop(GRACE);
    assert_eq!(
        bench
            .read_only(
                "SELECT epoch, seq, stage, second, count, p50_ns, p99_ns, p999_ns FROM stage_latency ORDER BY seq"
            )
            .unwrap(),
        "7\t1\tdedupe\t2026-01-01 23:59:59\t10\t100\t200\t5000000000\n\
         7\t2\tdedupe\t2026-01-02 00:00:00\t10\t100\t200\t5000000000\n\
         7\t3\tdedupe\t2026-01-02 00:00:01\t10\t100\t200\t5000000000\n\
         7\t4\tbars\t2026-01-02 00:00:02\t10\t100\t200\t5000000000\n"
    );
    bench.assert_clean();
}

/// A minute of a source's EURUSD.
pub fn source_minute(source: &str, audience: Audience) -> SourceMinute {
    SourceMinute {
        audience,
        source: source.into(),
        symbol: "EURUSD".into(),
        minute: BEGIN_NS / 60_000_000_000 * 60,
        ticks: 30,
        rejects: 3,
        latency_p50_us: Some(-5),
        latency_p99_us: Some(70),
        avg_spread_e9: 120_001,
        uptime_percent: 100.0,
        completeness_percent: 87.5,
        best_bid_count: 4,
        best_ask_count: 6,
        score: 93.25,
        reject_reasons: vec![("spread", 2), ("duplicate", 1)],
        ticks_per_second: 0.5,
        best_quotes: 8,
        open_seconds: 60.0,
        priority: 1,
    }
}

#[test]
fn the_quality_of_sources_is_stored_exactly_and_private_ones_apart() {
    let mut bench = Bench::new();
    bench.start_store();
    let (minutes, rows) = telemetry::channel();
    let writer = bench.writer_of(None, Some((7, rows)));
    let base = source_minute("a", Audience::Global);
    // The newest minute of `a` is a month later: another partition. `b` says nothing that could be measured.
    minutes.offer(base.clone());
    minutes.offer(source_minute("mine", Audience::Private));
    minutes.offer(SourceMinute { minute: base.minute + 40 * 86_400, score: 50.0, priority: 2, ..base.clone() });
    minutes.offer(SourceMinute {
        source: "b".into(),
        minute: base.minute + 40 * 86_400,
        ticks: 0,
        latency_p50_us: None,
        latency_p99_us: None,
        avg_spread_e9: NO_PRICE,
        score: 50.0,
        reject_reasons: Vec::new(),
        best_quotes: 0,
        ..base
    });
    until("the rows are there", || bench.try_sql("SELECT count() FROM source_quality").is_ok_and(|n| n == "3\n"));
    writer.stop(GRACE);
    assert_eq!(
        bench.read_only("SELECT * FROM source_quality ORDER BY seq LIMIT 1").unwrap(),
        "7\t1\ta\tEURUSD\t2026-01-01 23:59:00\t30\t3\t-5\t70\t0.000120001\t100\t87.5\t4\t6\t93.25\t\
         {'spread':2,'duplicate':1}\t0.5\t8\t60\t1\n"
    );
    let mine = "SELECT seq, source, score FROM md_private.source_quality";
    assert_eq!((bench.sql(mine).as_str(), bench.read_only(mine).is_err()), ("2\tmine\t93.25\n", true));
    // Only the last minutes count; among equals the smaller priority comes first.
    assert_eq!(
        bench
            .read_only("SELECT source, score, latency_p50_ms, avg_spread, ticks_per_second, best_share_percent FROM source_scores")
            .unwrap(),
        "b\t50\t\\N\t\\N\t0\t\\N\na\t50\t-0.005\t0.000120001\t0.5\t62.5\n"
    );
    bench.assert_clean();
}

/// What an engine of before the fourth file left behind: tables, and quotes in them.
#[test]
fn older_databases_are_brought_up_to_date() {
    let mut bench = Bench::new();
    bench.start_store();
    for database in ["md", "md_private"] {
        bench.sql(&format!(
            "CREATE TABLE {database}.schema_migrations (version UInt32, name String, checksum String, applied_at \
             DateTime('UTC') DEFAULT now()) ENGINE = MergeTree ORDER BY version"
        ));
    }
    for migration in &MIGRATIONS[..3] {
        for statement in statements(migration.sql) {
            bench.sql(statement);
        }
        let (version, name, checksum) = (migration.version, migration.name, migration.checksum());
        bench.sql(&format!(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ({version}, '{name}', '{checksum}')"
        ));
    }
    let columns = "(epoch, seq, source, symbol, ts_recv, bid_source, ask_source, state)";
    bench.sql(&format!(
        "INSERT INTO quotes {columns} VALUES (0, 1, 'best', 'A', 1, 'x', 'y', 'crossed'), (0, 2, 'best', 'B', 1, 'x', 'x', \
         'crossed'), (0, 3, 'best', 'C', 1, 'x', 'y', 'ok')"
    ));
    bench.journal.mixed(100);
    let writer = bench.writer();
    bench.drained(&writer);
    let crossed = "SELECT symbol, cross_source FROM last_quotes WHERE epoch = 0 ORDER BY symbol";
    assert_eq!(bench.read_only(crossed).unwrap(), "A\ttrue\nB\tfalse\nC\tfalse\n");
    writer.stop(GRACE);
}
