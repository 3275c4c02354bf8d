//! What stands in the tables, and who sees it.

use tickwire::storage::migrate::MIGRATIONS;
use tickwire::storage::{Mode, StorageConfig};
use tickwire::{cli, config::Config};
use tickwire_schemas::words::{GapState, Verdict};

use crate::harness::{Bench, GRACE, as_user, until};
use crate::journal::{MINE, OANDA};

#[test]
fn values_are_exact_and_absent_ones_null() {
    let (mut bench, writer) = Bench::running();
    bench.journal.tick(OANDA, Verdict::Accepted); // seq 1
    (2..=4).for_each(|_| bench.journal.quote(0));
    bench.journal.tick(OANDA, Verdict::Refused); // seq 5
    bench.journal.trade();
    bench.journal.tick(OANDA, Verdict::Accepted); // seq 7
    bench.journal.others(); // a timer, a source's state, a gap
    bench.journal.sync();
    bench.drained(&writer);
    let tick = "SELECT seq, source, symbol, ts_event, ts_recv, ts_publish, bid, ask, bid_size, ask_size, source_seq, \
                flags, confidence FROM ticks ORDER BY seq";
    assert_eq!(
        bench.sql(tick),
        "1\toanda\tEURUSD\t2026-01-01 23:59:58.995999999\t2026-01-01 23:59:59.001000000\t2026-01-01 23:59:59.001001000\
         \t1.085100001\t1.085200001\t31.21\t\\N\t\\N\t['interval','snapshot']\t100\n\
         7\toanda\tEURUSD\t2026-01-01 23:59:59.001999999\t2026-01-01 23:59:59.007000000\t2026-01-01 23:59:59.007001000\
         \t1.085100007\t\\N\t31.21\t\\N\t\\N\t['interval','snapshot']\t100\n"
    );
    let reject = "SELECT seq, ts_event, verdict, reasons, confidence FROM rejects";
    assert_eq!(bench.sql(reject), "5\t\\N\trefused\t['spread','jump']\t60\n");
    let trade = "SELECT source, symbol, price, size, trade_id, aggressor, verdict FROM trades";
    assert_eq!(bench.sql(trade), "binance\tBTCUSDT\t105944.2\t0.00000001\t77\tsell\taccepted\n");
    let quote = "SELECT source, bid, ask, ask_size, bid_source, ask_source, sources, state FROM quotes LIMIT 1";
    assert_eq!(bench.sql(quote), "best\t0.000000001\t\\N\t0.00000005\toanda\t\t1\tsingle\n");
    let gap = "SELECT source, symbol, gap_id, from_ts = ts_recv, cause, state, lost FROM gaps";
    assert_eq!(bench.sql(gap), "\t\t10\t1\trestart\tclosed\t\\N\n");
    assert_eq!(bench.sql("SELECT source, symbol, state, attempt FROM source_state"), "oanda\t\tlive\t2\n");
    assert_eq!(
        bench.sql("SELECT seq, verdict, reasons FROM all_ticks ORDER BY seq"),
        "1\taccepted\t[]\n5\trefused\t['spread','jump']\n7\taccepted\t[]\n"
    );
    assert_eq!(bench.sql("SELECT seq FROM last_quotes"), "4\n");
    assert_eq!(bench.sql("SELECT symbol, ticks, max_spread FROM spread_by_hour"), "EURUSD\t1\t0.0001\n");
    assert_eq!(bench.sql("SELECT symbol, open, close, ticks FROM ohlc_m1"), "EURUSD\t1.085150001\t1.085150001\t1\n");
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn bars_keep_their_last_revision_and_indicators_their_holes() {
    let (mut bench, writer) = Bench::running();
    bench.journal.bar(0, 0);
    bench.journal.bar(1, 0);
    bench.journal.indicator();
    bench.journal.sync();
    bench.drained(&writer);
    bench.journal.bar(2, 1);
    bench.journal.sync();
    bench.drained(&writer);
    bench.sql("OPTIMIZE TABLE bars FINAL");
    let bar = "SELECT seq, source, timeframe, origin, basis, open_ts, bid_o, bid_h, bid_l, bid_c, ask_c, mid_o, ticks, volume, \
               revision, state FROM bars";
    assert_eq!(
        bench.sql(bar),
        "4\tbest\tM1\town\tquote\t2026-01-01 23:59:00.000000000\t0.00000001\t0.000000012\t0.000000009\t0.000000011\t\
         0.000000021\t\\N\t7\t\\N\t1\trevised\n"
    );
    let indicator = "SELECT source, timeframe, indicator, values, state FROM indicators";
    assert_eq!(bench.sql(indicator), "oanda\tH1\tMACD(12,26,9)\t[1.5,NULL,-1e-9]\tready\n");
    writer.stop(GRACE);
    bench.assert_clean();
    bench.sql("ALTER TABLE bars DELETE WHERE 1 SETTINGS mutations_sync = 1");
    let differences = bench.audit().differences;
    assert_eq!(differences, ["bars:202601 epoch 1: missing: seq 4 (1 rows)"]);
}

#[test]
fn a_hole_stands_once_as_it_ended_and_the_bars_of_its_repair_before_our_own() {
    let (mut bench, writer) = Bench::running();
    bench.journal.hole(GapState::Repaired); // open 1, closed 2, our bar 3, input 4, bar 5, input 6, repaired 7
    bench.journal.hole(GapState::Lost); // open 8, closed 9, input 10, lost 11
    bench.journal.sync();
    bench.drained(&writer);
    let holes = "SELECT gap_id, seq, source, symbol, cause, state, isNull(to_ts) FROM last_gaps ORDER BY gap_id";
    assert_eq!(
        bench.sql(holes),
        "1\t7\toanda\tEURUSD\tread_error\trepaired\t0\n8\t11\toanda\tEURUSD\tread_error\tlost\t0\n"
    );
    assert_eq!(
        bench.sql("SELECT state, count() FROM gaps GROUP BY state ORDER BY state"),
        "closed\t2\nlost\t1\nopen\t2\nrepaired\t1\n"
    );
    let bars = "SELECT seq, origin, revision, state, bid_o, ask_c FROM bars_final";
    assert_eq!(bench.sql(bars), "5\trepair\t1\trevised\t0.00000003\t0.000000041\n");
    let executions = "SELECT seq, stage, status, error FROM pipeline_executions ORDER BY seq";
    assert_eq!(bench.sql(executions), "3\tbars\tcompleted\t\n5\trepair\tcompleted\t\n");
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn private_rows_are_not_among_the_common_ones() {
    let (mut bench, writer) = Bench::running();
    bench.journal.tick(OANDA, Verdict::Accepted);
    bench.journal.tick(MINE, Verdict::Accepted);
    bench.journal.tick(MINE, Verdict::Refused);
    bench.journal.quote(MINE);
    bench.journal.quote(0);
    bench.journal.sync();
    bench.drained(&writer);
    for table in ["ticks", "rejects", "quotes"] {
        assert_eq!(bench.sql(&format!("SELECT count() FROM md.{table} WHERE source = 'mine'")), "0\n");
        assert_eq!(bench.sql(&format!("SELECT count(), any(source) FROM md_private.{table}")), "1\tmine\n");
    }
    assert_eq!(bench.read_only("SELECT count() FROM ticks").unwrap(), "1\n");
    assert!(bench.read_only("SELECT count() FROM md_private.ticks").is_err());
    writer.stop(GRACE);
}

#[test]
fn a_batch_is_one_part() {
    let mut bench = Bench::new();
    bench.limits.rows = 30_000;
    bench.limits.age_ns = 5_000_000_000;
    bench.start_store();
    for _ in 0..60_000 {
        bench.journal.tick(OANDA, Verdict::Accepted);
    }
    bench.journal.sync();
    let writer = bench.writer();
    bench.drained(&writer);
    // 999 rows before midnight, and of those after it two full batches' worth.
    let parts = bench.sql(
        "SELECT partition, sum(rows), count() <= 3 FROM system.parts WHERE table = 'ticks' AND active \
                           AND database = 'md' GROUP BY partition ORDER BY partition",
    );
    assert_eq!(parts, "20260101\t999\t1\n20260102\t59001\t1\n");
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn a_table_that_refuses_is_told_and_does_not_hold_up_the_others() {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(1_000);
    bench.drained(&writer);
    bench.sql("ALTER TABLE trades DROP COLUMN aggressor");
    bench.journal.mixed(2_000);
    until("the refusal is told", || writer.status().last_error.is_some());
    let error = writer.status().last_error.unwrap();
    assert!(error.starts_with("trades: ") && error.contains("aggressor"), "{error}");
    bench.journal.mixed(2_000);
    until("the other tables go on", || bench.sql("SELECT count() FROM quotes").trim() == "500");
    // What is refused is not stored, however long nothing else waits.
    let refused: u64 = 4_000 / 10;
    until("only trades wait", || writer.status().lag_rows == refused);
    bench.sql("ALTER TABLE trades ADD COLUMN aggressor LowCardinality(String) AFTER trade_id");
    assert_eq!(bench.drained(&writer).last_error, None);
    bench.assert_exact();
    writer.stop(GRACE);
    bench.assert_clean();
}

#[test]
fn a_changed_schema_file_is_named() {
    let (bench, writer) = Bench::running();
    until("the tables are there", || {
        bench.try_sql("SELECT version FROM schema_migrations").is_ok_and(|t| t.lines().count() == MIGRATIONS.len())
    });
    writer.stop(GRACE);
    bench.sql("ALTER TABLE schema_migrations UPDATE checksum = 'other' WHERE version = 2 SETTINGS mutations_sync = 1");
    let writer = bench.writer();
    until("the error is told", || writer.status().last_error.is_some_and(|e| e.contains("0002_health.sql")));
    let error = writer.status().last_error.unwrap();
    assert!(error.contains("a released file must not change"), "{error}");
    writer.stop(std::time::Duration::ZERO);
}

#[test]
fn the_same_code_uses_any_server() {
    let mut bench = Bench::new();
    bench.start_store();
    bench.journal.mixed(100);
    let writer = bench.writer();
    bench.drained(&writer);
    let endpoint = as_user(bench.store.as_ref().unwrap(), "tickwire");
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let section = format!(
        "[storage]\nmode = \"server\"\nurl = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\n",
        endpoint.url, endpoint.user, endpoint.password
    );
    config.overlay(&section, "test").unwrap();
    let storage = StorageConfig::parse(&config).unwrap();
    assert_eq!(storage.mode, Mode::Server);
    let query = |sql: &str, write| {
        let mut out = Vec::new();
        cli::sql::run(bench.path(), &storage, sql, "CSV", write, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(query("SELECT source, count() FROM ticks GROUP BY source", false).unwrap(), "\"oanda\",49\n");
    assert!(query("CREATE TABLE x (a UInt8) ENGINE = Memory", false).unwrap_err().contains("READONLY"));
    let error = query("SELECT what?", false).unwrap_err();
    assert!(error.contains("Code: "), "{error}");
    writer.stop(GRACE);
    assert!(cli::audit::run(bench.path(), &storage).unwrap().is_clean());
}

#[test]
fn sql_uses_the_store_that_runs() {
    let (mut bench, writer) = Bench::running();
    bench.journal.mixed(100);
    bench.drained(&writer);
    let config = Config::load(&[], std::iter::empty()).unwrap();
    let storage = StorageConfig::parse(&config).unwrap();
    let query = |sql: &str, write| {
        let mut out = Vec::new();
        cli::sql::run(bench.path(), &storage, sql, "TSV", write, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(query("SELECT count() FROM ticks", false).unwrap(), "49\n");
    assert!(query("SELECT count() FROM md_private.ticks", false).is_err());
    assert_eq!(query("SELECT count() FROM md_private.ticks", true).unwrap(), "10\n");
    assert!(query("DROP TABLE ticks", false).is_err());
    writer.stop(GRACE);
}
