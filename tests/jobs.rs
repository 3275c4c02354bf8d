//! Jobs over simulated brokers and the real store: needs libchdb (`scripts/get-chdb`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;
mod simulator_support;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use engine_support::{Engine, command};
use serde_json::Value;
use tempfile::TempDir;
use tickwire::simulator::SimulatorsHandle;

/// Far longer than anything here takes; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(90);

/// 2023 has so many hours.
const YEAR: u64 = 365 * 24;

const FOR_A_YEAR: [&str; 11] = [
    "run",
    "backfill",
    "--connection",
    "binance",
    "--symbol",
    "BTCUSDT",
    "--timeframe",
    "H1",
    "--from",
    "2023-01-01",
    "--to=2024-01-01",
];

/// Brokers in this process and a state directory.
struct Bench {
    simulators: SimulatorsHandle,
    dir: TempDir,
}

impl Bench {
    /// `limits` goes into each of the simulators, `more` into the configuration.
    fn new(limits: &str, more: &str) -> Bench {
        let simulators = simulator_support::start(&format!(
            "[simulators.oanda]\nbroker = \"oanda\"\ntoken = \"demo\"\nsymbols = [\"EURUSD\"]\n{limits}\n\
             [simulators.mtapi]\nbroker = \"mtapi\"\nuser = \"7\"\npassword = \"demo\"\nsymbols = [\"EURUSD\"]\n{limits}\n\
             [simulators.binance]\nbroker = \"binance\"\nsymbols = [\"BTCUSDT\"]\n{limits}\n"
        ));
        let at = |name: &str| simulators.address(name).unwrap();
        let config = format!(
            "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n[storage]\nlisten = \"127.0.0.1:0\"\n\
             [jobs]\nbackoff_ms = 20\nbackfill_days = 3\n\
             [instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n\
             [instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n\
             [sources.wrong]\nadapter = \"oanda\"\nbase_url = \"http://{0}\"\naccount = \"101-1\"\ntoken = \"other\"\nsymbols = [\"EURUSD\"]\n\
             [sources.mtapi]\nadapter = \"mtapi\"\nbase_url = \"http://{1}\"\nuser = \"7\"\npassword = \"demo\"\nserver = \"Demo-Server\"\n\
             broker_time = \"new-york-close\"\nsymbols = [\"EURUSD\"]\nscope = \"private\"\nowner = \"ann\"\n\
             [sources.binance]\nadapter = \"binance\"\nbase_url = \"ws://{2}\"\nrest_url = \"http://{2}\"\nsymbols = [\"BTCUSDT\"]\n{more}\n",
            at("oanda"),
            at("mtapi"),
            at("binance"),
        );
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test.toml"), config).unwrap();
        Bench { simulators, dir }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let out = command(self.dir.path(), &self.dir.path().join("test.toml"), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    }

    /// What it printed; it must have gone well.
    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    fn jobs(&self, arguments: &[&str]) -> String {
        self.done(&[&["jobs"], arguments].concat())
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let arguments = [&["jobs"], arguments].concat();
        let mut command = command(self.dir.path(), &self.dir.path().join("test.toml"), &arguments);
        command.stdout(Stdio::null()).spawn().unwrap()
    }

    fn sql(&self, query: &str) -> String {
        self.done(&["sql", "--write", "--format", "TSV", query]).trim().to_string()
    }

    /// All jobs, newest first.
    fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.jobs(&["list", "--json"])).unwrap()
    }

    /// The job, as soon as it is as it should be.
    fn until(&self, id: i64, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            // Not before it is queued.
            let (_, text) = self.run(&["jobs", "show", &id.to_string()]);
            let job: Value = serde_json::from_str(&text).unwrap_or_default();
            if is_so(&job) {
                return job;
            }
            assert!(begun.elapsed() < PATIENCE, "job {id} not {what} within {} s: {job}", PATIENCE.as_secs());
        }
    }

    fn requests(&self, name: &str) -> u64 {
        self.simulators.stats(name).unwrap().requests
    }

    /// Rows of the year, and how many differ.
    fn year(&self) -> String {
        self.sql("SELECT count(), uniqExact(open_ts), any(origin) FROM bars")
    }

    fn engine(self) -> (Engine, SimulatorsHandle) {
        let config = fs::read_to_string(self.dir.path().join("test.toml")).unwrap();
        (Engine::start_in(self.dir, &config), self.simulators)
    }
}

fn is_at_it(job: &Value) -> bool {
    job["state"] == "running" && job["done"].as_u64() > Some(0) && job["done"].as_u64() < job["total"].as_u64()
}

#[test]
fn without_an_engine_a_year_is_fetched_here_and_its_progress_is_seen() {
    let bench = Bench::new("requests_per_s = 2", "");
    let mut child = bench.spawn(&FOR_A_YEAR);
    let first = bench.until(1, "at it", is_at_it);
    assert_eq!((&first["kind"], &first["requested_by"]), (&"backfill".into(), &"command line".into()));
    // Somebody else who wants the very same waits for it.
    let told = bench.jobs(&FOR_A_YEAR);
    assert!(told.contains("job 1: 8760 bars"), "{told}");
    assert!(child.wait().unwrap().success());
    let over = bench.until(1, "over", |job| job["state"] == "succeeded");
    assert_eq!((&over["rows"], &over["done"], &over["attempts"]), (&YEAR.into(), &over["total"], &1.into()));
    assert_eq!(bench.year(), format!("{YEAR}\t{YEAR}\tbackfill"));
    assert_eq!(bench.list().len(), 1);
    let answered = bench.requests("binance") - bench.simulators.stats("binance").unwrap().throttled;
    assert_eq!(answered, YEAR.div_ceil(1_000), "the second process asked for nothing");
}

#[test]
fn killed_in_the_middle_it_is_shown_as_interrupted_and_goes_on() {
    let bench = Bench::new("requests_per_s = 2", "");
    let mut child = bench.spawn(&FOR_A_YEAR);
    let killed = bench.until(1, "at it", is_at_it);
    child.kill().unwrap();
    child.wait().unwrap();
    let job = bench.until(1, "interrupted", |job| job["state"] == "queued");
    assert!(job["message"].as_str().unwrap().starts_with("interrupted"), "{job}");
    assert!(job["done"].as_u64() >= killed["done"].as_u64(), "{job}");
    // An engine takes it up, and is killed too; the next one finishes it.
    let dir = bench.dir.path().to_path_buf();
    let (engine, simulators) = bench.engine();
    let bench = Bench { simulators, dir: tempfile::tempdir().unwrap() };
    let show =
        |engine: &Engine| -> Value { serde_json::from_slice(&engine.run(&["jobs", "show", "1"]).stdout).unwrap() };
    let until = |engine: &Engine, is_so: &dyn Fn(&Value) -> bool| {
        let begun = Instant::now();
        while !is_so(&show(engine)) {
            assert!(begun.elapsed() < PATIENCE, "{}", show(engine));
        }
    };
    until(&engine, &|job| is_at_it(job) && job["done"].as_u64() > killed["done"].as_u64());
    let kept = engine.kill();
    assert_eq!(kept.path(), dir);
    let bench = Bench { dir: kept, ..bench };
    let (engine, simulators) = bench.engine();
    until(&engine, &|job| job["state"] == "succeeded");
    assert_eq!(show(&engine)["rows"], YEAR);
    let (ended, dir) = engine.stop();
    assert!(ended);
    let bench = Bench { simulators, dir };
    assert_eq!(
        bench.sql("SELECT count(), uniqExact(open_ts) FROM bars WHERE origin = 'backfill'"),
        format!("{YEAR}\t{YEAR}")
    );
    assert!(bench.done(&["audit"]).contains("audit: clean"));
}

#[test]
fn a_venue_that_refuses_is_asked_three_times_and_its_words_are_kept() {
    let bench = Bench::new("", "");
    let arguments = [
        "jobs",
        "run",
        "backfill",
        "--connection",
        "wrong",
        "--symbol",
        "EURUSD",
        "--timeframe",
        "H1",
        "--from",
        "2024-01-01",
    ];
    let (code, text) = bench.run(&arguments);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("job 1 failed: wrong: ") && text.contains("Insufficient authorization"), "{text}");
    let job = &bench.list()[0];
    assert_eq!((&job["state"], &job["attempts"]), (&"failed".into(), &3.into()));
    assert!(job["message"].as_str().unwrap().contains("Insufficient authorization"), "{job}");
    // What makes no sense is not tried again.
    let arguments = [
        "jobs",
        "run",
        "backfill",
        "--connection",
        "binance",
        "--symbol",
        "ETHUSDT",
        "--timeframe",
        "H1",
        "--from",
        "2024-01-01",
    ];
    let (code, text) = bench.run(&arguments);
    assert!(code == Some(1) && text.contains("has no \"ETHUSDT\", expected one of BTCUSDT"), "{text}");
    assert_eq!(bench.list()[0]["attempts"], 1);
}

#[test]
fn the_engine_takes_a_job_up_and_lets_it_go_when_it_is_cancelled() {
    let bench = Bench::new("requests_per_s = 1", "");
    let config = bench.dir.path().join("test.toml");
    let (engine, _simulators) = bench.engine();
    let told = engine.run(&[&["jobs"][..], &FOR_A_YEAR].concat());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("job 1 is queued: the engine does it"), "{told} {}", config.display());
    let show = || -> Value { serde_json::from_slice(&engine.run(&["jobs", "show", "1"]).stdout).unwrap() };
    let begun = Instant::now();
    while !is_at_it(&show()) {
        assert!(begun.elapsed() < PATIENCE, "{}", show());
    }
    let told = engine.run(&["jobs", "cancel", "1"]);
    assert_eq!(String::from_utf8_lossy(&told.stdout), "job 1 is told to stop\n");
    while show()["state"] != "cancelled" {
        assert!(begun.elapsed() < PATIENCE, "{}", show());
    }
    assert!(engine.stop().0);
}

#[test]
fn the_latest_bars_are_polled_and_none_is_there_twice() {
    let bench = Bench::new("", "");
    let poll = ["run", "fetch_bars", "--connection", "binance", "--timeframe", "M1"];
    for _ in 0..2 {
        let told = bench.jobs(&poll);
        assert!(told.contains("new bars of 1 symbols"), "{told}");
    }
    // Of the minute in which it was asked there may be one more.
    let counted = bench.sql(
        "SELECT count() BETWEEN 99 AND 102, count() = uniqExact(open_ts), any(origin), any(epoch) FROM bars FINAL",
    );
    assert_eq!(counted, "1\t1\tpolled\t0");
    assert!(bench.done(&["audit"]).contains("audit: clean"));
}

#[test]
fn the_account_is_kept_and_not_told_in_the_message() {
    let bench = Bench::new("", "");
    let told = bench.jobs(&["run", "refresh_account", "--connection", "mtapi"]);
    assert!(told.contains("the account and"), "{told}");
    let jobs = tickwire::control::jobs::Jobs::open(&bench.dir.path().join("state")).unwrap();
    let (_, answer) = jobs.last_answer("mtapi", "account").unwrap().unwrap();
    assert!(answer["balance"].is_string() && !told.contains(answer["balance"].as_str().unwrap()), "{answer}");
    let (code, text) = bench.run(&["jobs", "run", "refresh_account", "--connection", "binance"]);
    assert!(code == Some(1) && text.contains("has no account"), "{text}");
}

#[test]
fn a_new_connection_gets_its_past_without_being_asked() {
    let bench = Bench::new("", "timeframes = [\"H1\"]");
    let (engine, _simulators) = bench.engine();
    let list = || -> Vec<Value> { serde_json::from_slice(&engine.run(&["jobs", "list", "--json"]).stdout).unwrap() };
    let begun = Instant::now();
    let job = loop {
        assert!(begun.elapsed() < PATIENCE, "{:?}", list());
        if let Some(job) = list().into_iter().find(|job| job["kind"] == "backfill" && job["state"] == "succeeded") {
            break job;
        }
    };
    assert_eq!(
        (&job["requested_by"], &job["symbol"], &job["timeframe"]),
        (&"activation".into(), &"BTCUSDT".into(), &"H1".into())
    );
    // Three days and what is over of today.
    assert!((72..96).contains(&job["rows"].as_u64().unwrap()), "{job}");
    // Not a second time after a restart: what comes after the restart is there before anything is looked for.
    let (ended, dir) = engine.stop();
    assert!(ended);
    let config = fs::read_to_string(dir.path().join("test.toml")).unwrap();
    let engine = Engine::start_in(dir, &config);
    let marker = engine.run(&["jobs", "run", "refresh_symbols", "--connection", "binance"]);
    assert!(marker.status.success());
    let list = || -> Vec<Value> { serde_json::from_slice(&engine.run(&["jobs", "list", "--json"]).stdout).unwrap() };
    while !list().iter().any(|job| {
        job["kind"] == "refresh_symbols" && ["succeeded", "failed"].contains(&job["state"].as_str().unwrap())
    }) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", list());
    }
    assert_eq!(list().iter().filter(|job| job["kind"] == "backfill").count(), 1);
    assert!(engine.stop().0);
}

#[test]
fn retention_deletes_what_is_due_of_both_databases_and_says_how_many_rows() {
    let bench = Bench::new("", "[retention]\ndays = 400\n[retention.connections]\nmtapi = 100\n");
    let days_ago = |days: i64| {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        today.checked_sub(jiff::Span::new().days(days)).unwrap().to_string()
    };
    let (from, to) = (days_ago(500), days_ago(1));
    for (source, symbol) in [("binance", "BTCUSDT"), ("mtapi", "EURUSD")] {
        bench.done(&[
            "backfill",
            "--connection",
            source,
            "--symbol",
            symbol,
            "--timeframe",
            "H1",
            "--from",
            &from,
            "--to",
            &to,
        ]);
    }
    let count = |table: &str, of: &str| -> u64 {
        bench.sql(&format!("SELECT count() FROM {table} WHERE {of}")).parse().unwrap()
    };
    let (old, private_old) = (format!("open_ts < '{}'", days_ago(400)), format!("open_ts < '{}'", days_ago(100)));
    let due = [count("md.bars", &old), count("md_private.bars", &private_old)];
    let kept = [count("md.bars", "1") - due[0], count("md_private.bars", "1") - due[1]];
    assert_eq!(due[0], 100 * 24);
    assert!(due[1] > 4_000 && kept[1] > 1_000, "{due:?} {kept:?}");
    let told = bench.jobs(&["run", "retention"]);
    let expected = format!("{} rows deleted: bars {}, bars (private) {}", due[0] + due[1], due[0], due[1]);
    assert!(told.contains(&expected), "{told}");
    assert_eq!([count("md.bars", "1"), count("md_private.bars", "1")], kept);
    assert_eq!((count("md.bars", &old), count("md_private.bars", &private_old)), (0, 0));
    assert!(bench.done(&["audit"]).contains("audit: clean"));
    let job = &bench.list()[0];
    assert_eq!((&job["state"], &job["rows"]), (&"succeeded".into(), &(due[0] + due[1]).into()));
    assert!(bench.jobs(&["run", "retention"]).contains("nothing was due"));
}
