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
use replay_support::{Bench, LEAN, all_tables, lean, line_of, source, stderr, stdout, tables};
use tickwire::config::Config;
use tickwire::journal::{self, Catalogue, Reader, Setup};
use tickwire::replay::{Manifest, Outputs, Paths, Recording};
use tickwire::runtime::{Pipeline, Settings};
use tickwire::stages::{Emit, Market, Recorder};
use tickwire_schemas::record::{Bar, Quote, Record, Tick, Trade};
use tickwire_schemas::words::Kind;

/// Twelve families of indicators.
const INDICATORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/indicators.toml");

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

/// Rows of the usual form are read several at a time, but not where the entry is cut to a stretch of time.
#[test]
fn rows_read_ahead_are_those_read_one_by_one() {
    let bench = Bench::new();
    let row = |row: i64| match row {
        17 => "\r\n".into(),
        30 => "nonsense\r\n".into(),
        45 => format!("{row},11e-1,1.2\n"),
        60 => format!("{row},1.1,1.2,1.3\n"),
        99 => format!("{row},1.1,1.2"),
        _ if row % 3 == 0 => format!("{row},1.1,1.2\r\n"),
        _ => format!("{row},1.1,1.2\n"),
    };
    bench.write("20140501.csv", (0..100).map(row).collect::<String>());
    let read = |more: &str| {
        bench.write("m.toml", source("a", LEAN, Path::new("20140501.csv"), "EURUSD", more));
        let manifest = Manifest::read(&bench.path("m.toml")).unwrap();
        let mut recording = Recording::open(&manifest, &BTreeMap::new()).unwrap();
        let (mut ticks, mut rows) = (Vec::new(), Vec::new());
        while let Some(input) = recording.next().unwrap() {
            if let tickwire::market::Input::Tick(tick) = input {
                ticks.push(tick);
                rows.push(recording.rows()[0]);
            }
        }
        let notes: Vec<String> = std::iter::from_fn(|| recording.take_note()).collect();
        (ticks, rows, notes, recording.rows())
    };
    let ahead = read("");
    assert_eq!(read("from = \"2014-05-01T00:00:00Z\"\nto = \"2014-05-02T00:00:00Z\""), ahead);
    let (ticks, rows, notes, all) = ahead;
    let times: Vec<i64> = ticks.iter().map(|tick| tick.ts_recv_ns % 86_400_000_000_000 / 1_000_000).collect();
    assert_eq!(times, (0..100).filter(|row| ![17, 30, 60].contains(row)).collect::<Vec<_>>());
    assert_eq!((rows[0], rows[20], &all), (1, 22, &vec![100]), "each is counted when its turn comes");
    assert!(notes.len() == 2 && notes[0].contains("line 31:") && notes[1].contains("line 61:"), "{notes:?}");
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
        "source,symbol,timeframe,open_ts_ns,bid_o,bid_h,bid_l,bid_c,ask_o,ask_h,ask_l,ask_c,ticks,volume,revision,state,origin"
    );
    assert_eq!(
        lines.next().unwrap(),
        "one,EURUSD,M1,1398902400000000000,1.1,1.15,1.1,1.15,1.2,1.25,1.2,1.25,2,,0,final,own"
    );
    assert_eq!(
        lines.next().unwrap(),
        "one,EURUSD,M1,1398902460000000000,1.3,1.3,1.3,1.3,1.4,1.4,1.4,1.4,1,,0,final,own"
    );
    assert!(
        text.contains("one,EURUSD,M1,1398909600000000000,1.5,1.5,1.5,1.5,1.6,1.6,1.6,1.6,1,,0,final,own"),
        "{text}"
    );
    assert!(
        text.contains("one,EURUSD,H1,1398902400000000000,1.1,1.3,1.1,1.3,1.2,1.4,1.2,1.4,3,,0,final,own"),
        "{text}"
    );
    assert!(
        text.contains("one,EURUSD,H1,1398909600000000000,1.5,1.5,1.5,1.5,1.6,1.6,1.6,1.6,1,,0,provisional"),
        "{text}"
    );
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
    assert!(bars[published.len()..].lines().all(|row| row.ends_with(",provisional,own")));
}
