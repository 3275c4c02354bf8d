//! `tickwire replay`: what it reads, what it refuses, and that it does the same every time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;
mod journal_support;
mod replay_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use engine_support::{Engine, QUIET, free_port, oanda};
use journal_support::{Feed, PATIENCE, config};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use replay_support::{Bench, all_tables, line_of, source, stderr, stdout, tables};
use tickwire::config::Config;
use tickwire::journal::{self, Catalogue, Reader, Setup};
use tickwire::replay::{Manifest, Outputs, Paths, Recording};
use tickwire::runtime::{Pipeline, Settings};
use tickwire::stages::{Emit, Market, Recorder};
use tickwire_schemas::record::{Bar, Quote, Record, Tick, Trade};
use tickwire_schemas::words::Kind;

const LEAN: &str = "lean-quote";

/// Twelve families of indicators.
const INDICATORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/indicators.toml");

/// A lean file: `rows` ticks from `from_ms` on, some crossed, some twice, with a jump in the middle.
fn lean(rows: u64, from_ms: u64, seed: u64) -> String {
    let mut random = seed;
    let mut text = String::new();
    let (mut ms, mut bid) = (from_ms, 138_700_i64);
    for row in 0..rows {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ms += (random >> 40) % 400;
        bid += ((random >> 33) % 7) as i64 - 3 + if row == rows / 2 { 5_000 } else { 0 };
        let ask = bid + ((random >> 50) % 12) as i64 - 1;
        let line = format!("{ms},{}.{:05},{}.{:05}\n", bid / 100_000, bid % 100_000, ask / 100_000, ask % 100_000);
        text += &line;
        if random.is_multiple_of(50) {
            text += &line;
        }
    }
    text
}

/// Two brokers on one morning.
fn two_brokers(bench: &Bench) -> String {
    bench.write("a/20140501_eurusd.csv", lean(6_000, 3_600_000, 1));
    bench.write("b/20140501_eurusd.csv", lean(5_000, 3_900_000, 2));
    source("one", LEAN, Path::new("a/2014*_eurusd.csv"), "EURUSD", "")
        + &source(
            "two",
            LEAN,
            Path::new("b/20140501_eurusd.csv"),
            "EURUSD",
            "utc_offset = \"-05:00\"\nto = \"2014-05-01T06:30:00Z\"",
        )
        + &source("three", LEAN, Path::new("b/20140501_eurusd.csv"), "EURUSD", "")
}

#[test]
fn the_same_recording_gives_the_same_bytes_in_every_layout_and_after_being_killed() {
    let bench = Bench::new();
    let manifest = two_brokers(&bench);
    let families = ["--config", INDICATORS];
    let once = tables(&bench, &manifest, "once", &families);
    for (table, rows) in once.iter().zip([8_000, 100, 500, 200]) {
        assert!(table.lines().count() > rows, "{}", table.lines().count());
    }
    assert!(tables(&bench, &manifest, "twice", &families) == once);
    for groups in [
        r#"[["dedupe"], ["validate", "aggregate", "bars", "indicators", "gaps"]]"#,
        r#"[["dedupe"], ["validate"], ["aggregate", "bars", "indicators", "gaps"]]"#,
    ] {
        bench.write("layout.toml", format!("[pipeline]\ngroups = {groups}\n"));
        assert!(
            tables(&bench, &manifest, "layout", &["--config", INDICATORS, "--config", "layout.toml"]) == once,
            "{groups}"
        );
    }

    // Killed behind its first checkpoint: at this speed it would go on for minutes.
    std::fs::create_dir(bench.path("killed")).unwrap();
    let files = all_tables("killed");
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let kept = ["--config", INDICATORS, "--checkpoint", "state", "--checkpoint-every", "3000"];
    let mut child = bench.command(&manifest, &[&files[..], &kept, &["--speed", "2000"]].concat()).spawn().unwrap();
    while !bench.path("state").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended without a checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bench.path("state").exists(), "it was killed in the middle");
    // What it wrote behind the checkpoint is cut off again.
    let mut quotes = std::fs::OpenOptions::new().append(true).open(bench.path("killed/quotes.csv")).unwrap();
    std::io::Write::write_all(&mut quotes, b"torn row,").unwrap();
    assert!(tables(&bench, &manifest, "killed", &kept) == once, "resumed");
    assert!(!bench.path("state").exists(), "a replay that is done leaves no checkpoint");
}

#[test]
fn a_checkpoint_of_another_replay_is_refused() {
    let bench = Bench::new();
    bench.write("20140501.csv", lean(2_000, 0, 3));
    let manifest = source("one", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    let kept = ["--bars", "bars.csv", "--checkpoint", "state", "--checkpoint-every", "100"];
    let mut child = bench.command(&manifest, &[&kept[..], &["--speed", "100"]].concat()).spawn().unwrap();
    while !bench.path("state").exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let other = bench.run(&manifest, &[&kept[..], &["--stages", "bars"]].concat());
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    assert!(stderr(&other).contains("state: it is of another replay"), "{}", stderr(&other));
    let parquet = bench.run(&manifest, &["--bars", "bars.parquet", "--checkpoint", "other"]);
    assert_eq!(parquet.status.code(), Some(2));
    assert!(stderr(&parquet).contains("bars.parquet: a Parquet file cannot be continued"), "{}", stderr(&parquet));
}

#[test]
fn sources_merge_by_time_and_ties_in_the_order_of_the_manifest() {
    let bench = Bench::new();
    bench.write("20140501_a.csv", "1000,1.1,1.2\n2000,1.3,1.4\n");
    bench.write("20140501_b.csv", "1000,1.5,1.6\n1500,1.7,1.8\n1400,1.71,1.81\n2000,1.9,2\n");
    let entry = |name: &str| source(name, LEAN, Path::new(&format!("20140501_{name}.csv")), "EURUSD", "");
    let manifest = |first: &str, second: &str| entry(first) + &entry(second);
    let order = |manifest: &str| -> Vec<String> {
        bench.write("m.toml", manifest);
        let read = Manifest::read(&bench.path("m.toml")).unwrap();
        let mut recording = Recording::open(&read, &BTreeMap::new()).unwrap();
        let names: Vec<String> = recording.market().sources().iter().map(|s| s.name.clone()).collect();
        let mut said = Vec::new();
        while let Some(input) = recording.next().unwrap() {
            let second = input.now_ns() % 60_000_000_000 / 1_000_000;
            said.push(match input {
                tickwire::market::Input::Tick(tick) => format!("{}{second}", names[tick.head.source_id as usize - 1]),
                _ => format!("timer{second}"),
            });
        }
        said
    };
    // The clock comes first; a row whose time runs backwards keeps its place in the file.
    assert_eq!(
        order(&manifest("a", "b")),
        ["timer1000", "a1000", "b1000", "b1500", "b1400", "timer2000", "a2000", "b2000"]
    );
    assert_eq!(
        order(&manifest("b", "a")),
        ["timer1000", "b1000", "a1000", "b1500", "b1400", "timer2000", "b2000", "a2000"]
    );
}

#[test]
fn bars_close_by_the_clock_and_what_still_forms_is_provisional() {
    let bench = Bench::new();
    bench.write("20140501.csv", "30000,1.1,1.2\n59999,1.15,1.25\n60000,1.3,1.4\n7200000,1.5,1.6\n");
    let manifest = source("one", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    bench.replay(&manifest, &["--stages", "bars", "--bars", "bars.csv"]);
    let text = bench.read("bars.csv");
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "source,symbol,timeframe,open_ts_ns,bid_o,bid_h,bid_l,bid_c,ask_o,ask_h,ask_l,ask_c,ticks,volume,revision,state"
    );
    assert_eq!(
        lines.next().unwrap(),
        "one,EURUSD,M1,1398902400000000000,1.1,1.15,1.1,1.15,1.2,1.25,1.2,1.25,2,,0,final"
    );
    assert_eq!(lines.next().unwrap(), "one,EURUSD,M1,1398902460000000000,1.3,1.3,1.3,1.3,1.4,1.4,1.4,1.4,1,,0,final");
    assert!(text.contains("one,EURUSD,M1,1398909600000000000,1.5,1.5,1.5,1.5,1.6,1.6,1.6,1.6,1,,0,final"), "{text}");
    assert!(text.contains("one,EURUSD,H1,1398902400000000000,1.1,1.3,1.1,1.3,1.2,1.4,1.2,1.4,3,,0,final"), "{text}");
    assert!(
        text.contains("one,EURUSD,H1,1398909600000000000,1.5,1.5,1.5,1.5,1.6,1.6,1.6,1.6,1,,0,provisional"),
        "{text}"
    );
}

#[test]
fn malformed_rows_are_told_with_file_and_line_and_left_out_unless_strict() {
    let bench = Bench::new();
    let csv = bench.write(
        "ticks.csv",
        "bid,ask,ts_ms,bid_size\n1.1,1.2,1000,5\n1.1,x,2000,5\n1.1,1.2,3000\n\n1.3,,4000,\n1.3,1.4,9223372036854,\n",
    );
    let mql = bench.write("mql.tsv", "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n2025.06.23\t25:55:33\t1\t2\t\t\t6\n2025.06.23\t13:55:33.390\t\t2.5\t2.4\t3\t44\n");
    let lean = bench.write("20140501.csv", "86400000,1.1,1.2\n5,1.1\n6,1.1,1.2");
    let capture = bench.write("capture", "5 {\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\"}}\nx\n7 {\"lastUpdateId\":5,\"bids\":[[\"1\",\"2\"]]}\n");
    let manifest = source("a", "csv", &csv, "EURUSD", "")
        + &source("b", "mqltick", &mql, "XAUUSD", "utc_offset = \"+03:00\"")
        + &source("c", LEAN, &lean, "EURUSD", "")
        + &source("d", "binance-capture", &capture, "BTCUSDT", "");
    let out = bench.run(&manifest, &["--stages", "aggregate", "--quotes-every-tick", "--quotes", "q.csv"]);
    assert!(out.status.success(), "{}", stderr(&out));
    for expected in [
        "ticks.csv: line 3: ask: not a decimal number; expected a decimal, found \"1.1,x,2000,5\"",
        "ticks.csv: line 4: 3 columns, expected 4 as in the header",
        "ticks.csv: line 7: its time is outside 1970 to 2261",
        "mql.tsv: line 2: time: expected milliseconds, or a date and a time",
        "20140501.csv: line 1: ms_since_midnight: expected 0 to 86399999, found \"86400000,1.1,1.2\"",
        "20140501.csv: line 2: expected ms_since_midnight,bid,ask",
        "capture: line 1: expected a symbol in s",
        "capture: line 2: expected receive nanoseconds, a space and a message, found \"x\"",
    ] {
        assert!(stderr(&out).contains(expected), "{expected}\n{}", stderr(&out));
    }
    let summary = stdout(&out);
    assert_eq!(
        (line_of(&summary, "malformed"), line_of(&summary, "ticks"), line_of(&summary, "trades")),
        ("8".into(), "4".into(), "1".into())
    );
    let quotes = bench.read("q.csv");
    // Sizes where there are some, an absent side empty, a server's time less its lead.
    assert!(quotes.contains("\n1000000000,best,EURUSD,1.1,1.2,5,,a,a,1,single,0\n"), "{quotes}");
    assert!(quotes.contains("\n1750676133390000000,best,XAUUSD,,2.5,,,,b,1,single,0\n"), "{quotes}");

    let strict = bench.run(&manifest, &["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(stderr(&strict).contains("ticks.csv: line 3"), "{}", stderr(&strict));
}

#[test]
fn a_wrong_manifest_is_told_by_entry_key_value_and_what_was_expected() {
    let bench = Bench::new();
    bench.write("20140501.csv", "6,1.1,1.2\n");
    let good = source("a", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    for (manifest, expected) in [
        (String::new(), "no [[source]]"),
        (
            "[[source]]\nfiles = [\"x\"]\nformat = \"lean\"".into(),
            "number 1: format is \"lean\": unknown variant `lean`, expected one of `lean-quote`",
        ),
        (good.clone() + "sybmol = \"EURUSD\"", "number 1: sybmol is \"EURUSD\": unknown field `sybmol`"),
        (good.clone() + &source("b", LEAN, Path::new("none.csv"), "EURUSD", ""), "number 2: files: "),
        (good.clone() + &source("b", LEAN, Path::new("*.txt"), "EURUSD", ""), "no file matches"),
        (good.clone() + "utc_offset = \"5\"", "utc_offset: \"5\" is not a broker time, expected"),
        (good.clone() + "date = \"2014-13-01\"", "date is \"2014-13-01\", expected a date such as"),
        (good.clone() + "from = \"2014-05-01\"", "from is \"2014-05-01\", expected a time such as"),
        (good.clone() + "digits = 5", "digits has no meaning for this format"),
        (good.replace("lean-quote", "bi5"), "date is not set, expected the day of the files"),
        (
            good.clone() + "from = \"2014-05-02T00:00:00Z\"\nto = \"2014-05-01T00:00:00Z\"",
            "from is \"2014-05-02T00:00:00Z\" and to is \"2014-05-01T00:00:00Z\", expected a later one",
        ),
        (good.replace("\"a\"", "\"best\""), "name is \"best\", which is the name of the common price"),
        (good.replace("EURUSD", "GER40"), "expected a section [instruments.GER40]"),
        ("timer_ms = 0\n".to_string() + &good, "timer_ms is 0, expected 1 to 60000"),
    ] {
        let out = bench.run(&manifest, &[]);
        assert_eq!(out.status.code(), Some(2), "{manifest}");
        assert!(stderr(&out).contains(expected) && stderr(&out).contains("m.toml"), "{expected}\n{}", stderr(&out));
    }
    for (arguments, expected) in [
        (["--stages", "bars,dedupe"], "`dedupe` is out of order"),
        (["--stages", "nothing"], "`nothing` is not a stage"),
        (["--strict", "--speed=-1"], "--speed is -1, expected a number from zero"),
    ] {
        let out = bench.run(&good, &arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&out).contains(expected), "{expected}\n{}", stderr(&out));
    }
}

#[test]
fn instruments_of_a_configuration_come_before_the_conventions() {
    let bench = Bench::new();
    bench.write("20140501.csv", "6,15000.5,15001.5\n");
    bench.write("c.toml", "[instruments.GER40]\nclass = \"index\"\ndigits = 1\npip = \"1\"\n");
    let manifest = source("a", LEAN, Path::new("20140501.csv"), "GER40", "");
    let summary = bench.replay(&manifest, &["--config", "c.toml"]);
    assert_eq!(line_of(&summary, "ticks"), "1");
}

#[test]
fn quotes_that_were_written_can_be_read_again() {
    let bench = Bench::new();
    bench.write("20140501.csv", lean(500, 0, 9));
    let first = source("one", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    let quotes = ["--stages", "aggregate", "--quotes-every-tick", "--quotes"];
    bench.replay(&first, &[&quotes[..], &["q.csv"]].concat());
    // Those of the composite alone, of which there are no others here.
    let again = source("one", "csv", Path::new("q.csv"), "EURUSD", "only = \"best\"");
    bench.replay(&again, &[&quotes[..], &["q2.csv"]].concat());
    assert!(bench.read("q.csv") == bench.read("q2.csv"));
    assert!(bench.rows("q.csv").len() >= 500);
    let none = source("one", "csv", Path::new("q.csv"), "EURUSD", "only = \"other\"");
    let out = bench.run(&none, &[]);
    assert_eq!((out.status.code(), line_of(&stdout(&out), "ticks")), (Some(1), "0".into()));
}

#[test]
fn parquet_holds_what_csv_holds() {
    let bench = Bench::new();
    let manifest = two_brokers(&bench);
    bench.replay(&manifest, &["--quotes", "t.csv", "--bars", "b.csv"]);
    bench.replay(&manifest, &["--quotes", "t.parquet", "--bars", "b.parquet"]);
    for table in ["t", "b"] {
        let csv = bench.read(&format!("{table}.csv"));
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        let file = std::fs::File::open(bench.path(&format!("{table}.parquet"))).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let rows = reader.get_row_iter(None).unwrap().map(|row| {
            let row = row.unwrap();
            let fields = row.get_column_iter().zip(&header).map(|((name, field), expected)| {
                assert_eq!(name, expected);
                match field {
                    Field::Null => String::new(),
                    Field::Str(text) => text.clone(),
                    Field::Long(number) => number.to_string(),
                    Field::Decimal(decimal) => {
                        let unscaled = i64::from_be_bytes(decimal.data().try_into().unwrap());
                        let e9 = unscaled * if decimal.scale() == 8 { 10 } else { 1 };
                        tickwire::market::Price::from_e9(e9).unwrap().to_string()
                    }
                    other => panic!("{other:?}"),
                }
            });
            fields.collect::<Vec<_>>().join(",")
        });
        let rows: Vec<String> = rows.collect();
        assert_eq!(rows, csv.lines().skip(1).collect::<Vec<_>>(), "{table}");
    }
}

/// The recording through the stages into a journal: what a running engine leaves behind.
fn journal_of(bench: &Bench, manifest: &str) {
    bench.write("m.toml", manifest);
    let manifest = Manifest::read(&bench.path("m.toml")).unwrap();
    let mut recording = Recording::open(&manifest, &BTreeMap::new()).unwrap();
    recording.close_after(500_000_000);
    let mut config_of = Config::load(&[], std::iter::empty()).unwrap();
    config_of.overlay("bars.provisional_ms = 0", "test").unwrap();
    let settings = Settings::new(config_of).unwrap();
    let market = recording.market().clone();
    let mut pipeline = Pipeline::new(settings.layout.build(&settings.config, &market).unwrap(), market.clone());
    pipeline.resume_after(4, 0);
    let mut made = Recorder::default();
    while let Some(input) = recording.next().unwrap() {
        pipeline.run(&input, &mut made, input.now_ns() + 77);
    }
    std::fs::create_dir_all(bench.path("journal")).unwrap();
    let (sources, instruments) = (market.sources().to_vec(), market.instruments().to_vec());
    let catalogue = Catalogue { engine_id: "tw-test".into(), sources, instruments, ..Catalogue::default() };
    let feed = Feed::default();
    let setup = Setup { epoch: 4, first_seq: 1, catalogue };
    let handle = journal::start(&config(), &bench.path("journal"), setup, Box::new(feed.clone())).unwrap();
    feed.push(made.records);
    feed.close();
    handle.stop(PATIENCE).unwrap();
}

#[test]
fn a_journal_gives_the_records_of_the_engine_that_wrote_it() {
    let bench = Bench::new();
    let recorded = two_brokers(&bench);
    let once = tables(&bench, &recorded, "once", &[]);
    journal_of(&bench, &recorded);
    let journal = "[[source]]\nformat = \"journal\"\nfiles = [\"journal\"]\n";
    assert!(tables(&bench, journal, "journaled", &[]) == once);

    // A choice from it.
    let chosen = "[[source]]\nformat = \"journal\"\nfiles = [\"journal/*.twj\"]\nname = \"two\"\n";
    let summary = bench.replay(chosen, &[]);
    assert!(summary.contains("two: ") && !summary.contains("one: "), "{summary}");

    // Damage in the middle costs a part of one segment, and is told.
    let mut segments: Vec<_> = std::fs::read_dir(bench.path("journal")).unwrap().map(|f| f.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "twj"));
    segments.sort();
    assert!(segments.len() > 3);
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[20_000..20_010].fill(0xFF);
    std::fs::write(&segments[1], bytes).unwrap();
    let out = bench.run(journal, &[]);
    assert!(out.status.success() && stderr(&out).contains("are no entry, expected a sound one"), "{}", stderr(&out));
    assert_eq!(line_of(&stdout(&out), "malformed"), "1");
}

#[test]
fn the_columns_are_those_of_the_list_of_names() {
    use tickwire::replay::output::{BARS, INDICATORS, QUOTES, REJECTS};
    let names = include_str!("../schemas/names.md");
    for (table, columns) in [("quotes", QUOTES), ("bars", BARS), ("rejects", REJECTS), ("indicators", INDICATORS)] {
        let columns = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",");
        assert!(names.contains(&format!("\n| {table} | `{columns}`")), "{columns}");
    }
}

#[test]
fn the_journal_of_a_live_engine_gives_what_it_published() {
    let (first, second) = (free_port(), free_port());
    let moods = "rate = 20.0\nduplicates = 0.05\ncrossed = 0.05\nfat_finger = 0.02\n";
    let sources = oanda("one", first, moods, "token = \"demo\"")
        + &oanda("two", second, "rate = 20.0\nskew_ms = 3\n", "token = \"demo\"\npriority = 1\n");
    let engine = Engine::start(&format!("{QUIET}[bars]\nprovisional_ms = 200\n{sources}"));
    let mut watch = engine.watch(&["--kinds", "bar"]);
    // Forming bars say that all stages are at work.
    (0..40).for_each(|_| drop(watch.next().unwrap()));
    let config = engine.config.clone();
    drop(watch);
    let (ended, dir) = engine.stop();
    assert!(ended);

    let mut reader = Reader::open(&dir.path().join("state/journal"), None).unwrap();
    let mut records = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        records.push((entry.kind, entry.bytes.to_vec()));
    }
    let named = reader.catalogue().clone();
    let market = Market::new(named.sources, named.instruments);
    let bench = Bench::new();
    let table = |name: &str| Some(bench.path(&format!("live/{name}.csv")));
    std::fs::create_dir(bench.path("live")).unwrap();
    let paths = Paths { quotes: table("quotes"), bars: table("bars"), rejects: table("rejects"), indicators: None };
    let mut live = Outputs::create(paths, &market).unwrap();
    for (kind, bytes) in &records {
        match kind {
            Kind::Tick => live.tick(&Tick::read(bytes).unwrap()),
            Kind::Trade => live.trade(&Trade::read(bytes).unwrap()),
            Kind::Quote => live.quote(&Quote::read(bytes).unwrap()),
            Kind::Bar => live.bar(&Bar::read(bytes).unwrap()),
            _ => {}
        }
    }
    live.finish().unwrap();

    let journal =
        format!("[[source]]\nformat = \"journal\"\nfiles = [\"{}\"]\n", dir.path().join("state/journal").display());
    let [quotes, bars, rejects, _] = tables(&bench, &journal, "replayed", &["--config", config.to_str().unwrap()]);
    assert!(quotes.lines().count() > 20 && rejects.lines().count() > 2, "{quotes}{rejects}");
    assert!(quotes == bench.read("live/quotes.csv") && rejects == bench.read("live/rejects.csv"));
    // Behind the last input a replay publishes what still forms.
    let published = bench.read("live/bars.csv");
    assert!(published.lines().count() > 40 && bars.starts_with(&published));
    assert!(bars[published.len()..].lines().all(|row| row.ends_with(",provisional")));
}

/// What is read is never written over, by whatever name it is called.
#[test]
fn an_output_that_is_an_input_is_refused_and_nothing_is_lost() {
    let bench = Bench::new();
    let ticks = bench.write("20140501.csv", lean(50, 0, 1));
    let manifest = source("a", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    let absolute = ticks.display().to_string();
    for (arguments, expected) in [
        (vec!["--quotes", "20140501.csv"], "is read by this replay"),
        (vec!["--bars", absolute.as_str()], "is read by this replay"),
        (vec!["--bars", "./m.toml"], "is read by this replay"),
        (vec!["--quotes", "a.csv", "--bars", "./a.csv"], "is named for another table"),
        (vec!["--quotes", "a.csv", "--checkpoint", "a.csv"], "is named as the checkpoint"),
    ] {
        let out = bench.run(&manifest, &arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&out).contains(expected), "{expected}\n{}", stderr(&out));
        assert_eq!((bench.read("20140501.csv"), bench.read("m.toml")), (lean(50, 0, 1), manifest.clone()));
    }
}

/// What would give a wrong day, an old price after a new one, or nothing at all is said.
#[test]
fn days_orders_and_packings_that_cannot_be_meant_are_said() {
    let bench = Bench::new();
    for day in ["20140501", "20140502"] {
        bench.write(&format!("{day}.csv"), lean(50, 0, 1));
    }
    let entry = |files: &str, more: &str| {
        format!("[[source]]\nname = \"a\"\nformat = \"lean-quote\"\nfiles = {files}\nsymbol = \"EURUSD\"\n{more}\n")
    };
    let both = "[\"20140501.csv\", \"20140502.csv\"]";
    let out = bench.run(&entry(both, "date = \"2014-05-01\""), &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("date is one day and files are 2; expected one file"), "{}", stderr(&out));

    let out = bench.run(&entry("[\"20140502.csv\", \"20140501.csv\"]", ""), &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("20140501.csv: it begins before the end of the file before it"), "{}", stderr(&out));

    bench.write("20140503.csv.gz", [0x1F, 0x8B, 8, 0, 0, 0]);
    let out = bench.run(&entry("[\"20140503.csv.gz\"]", ""), &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("packed with gzip"), "{}", stderr(&out));

    bench.write("20140504.csv", zstd::encode_all(lean(50, 0, 1).as_bytes(), 1).unwrap());
    assert!(
        bench.replay(&entry("[\"20140504.csv\"]", ""), &[]).contains("malformed    0\n"),
        "packed, whatever its name"
    );

    let later = entry("[\"20140501.csv\"]", "from = \"2015-01-01T00:00:00Z\"");
    let out = bench.run(&(later.clone() + &entry(both, "")), &[]);
    assert_eq!(out.status.code(), Some(0));
    assert!(stderr(&out).contains("[[source]] number 1 gave no input"), "{}", stderr(&out));
    let out = bench.run(&later, &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("nothing was replayed"), "{}", stderr(&out));
}

/// A reader that has read enough ends nothing in a panic.
#[test]
fn a_closed_output_is_no_fault() {
    let bench = Bench::new();
    bench.write("20140501.csv", lean(50, 0, 1));
    let manifest = source("a", LEAN, Path::new("20140501.csv"), "EURUSD", "");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let out = bench.command(&manifest, &[]).stdout(writer).output().unwrap();
    assert_eq!((out.status.code(), stderr(&out)), (Some(0), String::new()));
}
