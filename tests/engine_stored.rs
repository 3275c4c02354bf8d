//! What the running engine leaves in the database beside its records: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use engine_support::{Engine, QUIET, free_port, http, oanda};

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

fn sql(engine: &Engine, query: &str) -> String {
    let out = engine.run(&["sql", "--format", "TSV", query]);
    String::from_utf8(out.stdout).unwrap()
}

/// Asks until the answer is there.
fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ask() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn stages_are_measured_in_every_group_and_failures_are_told() {
    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    let groups =
        "[pipeline]\ngroups = [[\"dedupe\"], [\"validate\"], [\"aggregate\", \"bars\", \"indicators\", \"gaps\"]]\n";
    let nobody = format!(
        "[sources.nobody]\nadapter = \"oanda\"\nbase_url = \"http://127.0.0.1:{}\"\naccount = \"1\"\nsymbols = [\"EURUSD\"]\n\
         token = \"demo\"\n",
        free_port()
    );
    let config = [
        // What trades on weekends too: a closed market's sources are not judged.
        QUIET.replace("mode = \"off\"", store).replace("\"fx\"", "\"crypto\""),
        groups.into(),
        oanda("a", free_port(), "rate = 50.0", "token = \"demo\""),
        nobody,
    ];
    let engine = Engine::start(&config.concat());
    let stages = ["aggregate", "bars", "dedupe", "gaps", "indicators", "validate"];
    until("a row of every stage", || {
        let rows = sql(
            &engine,
            "SELECT DISTINCT stage FROM stage_latency WHERE count > 0 AND p50_ns <= p999_ns ORDER BY stage",
        );
        rows.lines().eq(stages)
    });
    let failed = "SELECT DISTINCT connection, stage, error FROM pipeline_executions WHERE status = 'failed'";
    until("the failed connection", || sql(&engine, failed) == "nobody\tfeed\tconnect_failed\n");
    until("every stage on the metrics page", || {
        let page = http(engine.console(), "GET", "/metrics").1;
        let shown =
            |stage: &&str| page.contains(&format!("tickwire_stage_latency_ns{{stage=\"{stage}\",quantile=\"0.99\"}}"));
        stages.iter().all(&shown) && shown(&"all")
    });
    let (ended, dir) = engine.stop();
    assert!(ended);
    let config = dir.path().join("test.toml");
    let ask = |arguments: &[&str]| {
        let out = engine_support::command(dir.path(), &config, arguments).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    // What was watched of the last minute is stored too, and the sources can be judged without the engine.
    let watched =
        "SELECT source, sum(ticks) > 0, max(uptime_percent) > 0 FROM source_quality GROUP BY source ORDER BY source";
    assert_eq!(ask(&["sql", "--format", "TSV", watched]), "a\t1\t1\nnobody\t0\t0\n");
    let sources = ask(&["sources", "--json"]);
    let sources: serde_json::Value = serde_json::from_str(&sources).unwrap();
    assert_eq!((&sources["from"], &sources["recommended"]["EURUSD"]), (&"database".into(), &"a".into()), "{sources}");
    let audit = engine_support::command(dir.path(), &config, &["audit"]).output().unwrap();
    let report = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.status.success() && report.contains("pipeline_executions"), "{report}");
}

#[test]
fn a_store_that_could_not_start_is_started_when_what_kept_it_is_gone() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("mode = \"embedded\"\nlisten = \"{}\"", taken.local_addr().unwrap());
    let config = QUIET.replace("mode = \"off\"", &store).replace("\"fx\"", "\"crypto\"");
    let engine = Engine::start(&[config, oanda("a", free_port(), "rate = 50.0", "token = \"demo\"")].concat());
    let error = || engine.health().1["storage"]["last_error"].as_str().unwrap_or_default().to_owned();
    until("the taken port in words", || error().contains("is another program on that port?"));
    drop(taken);
    until("a database without an error", || error().is_empty());
    let (ended, dir) = engine.stop();
    assert!(ended);
    let audit = engine_support::command(dir.path(), &dir.path().join("test.toml"), &["audit"]).output().unwrap();
    let report = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.status.success() && report.contains("audit: clean"), "{report}");
}

#[test]
fn spans_say_how_long_what_is_asynchronous_was_busy_and_waited() {
    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    let config = QUIET.replace("mode = \"off\"", store).replace("\"fx\"", "\"crypto\"");
    let config = [config, oanda("a", free_port(), "rate = 50.0", "token = \"demo\"")].concat();
    let engine = Engine::start_logging(tempfile::tempdir().unwrap(), &config, "info,spans=trace");
    until("rows in the database", || engine.metric("storage_rows_total") > 0.0);
    let (ended, dir) = engine.stop();
    assert!(ended);
    let log = std::fs::read_to_string(dir.path().join("engine.log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for (span, field, value) in
        [("session", "source", "a"), ("request", "path", "/metrics"), ("insert", "table", "ticks")]
    {
        let is_its_end = |line: &&serde_json::Value| {
            let of = &line["span"];
            of["name"] == span && of[field] == value && line["fields"]["message"] == "close"
        };
        let end = lines.iter().find(is_its_end).unwrap_or_else(|| panic!("no end of {span}: {log}"));
        assert!(end["fields"]["time.busy"].is_string() && end["fields"]["time.idle"].is_string(), "{end}");
    }
}
