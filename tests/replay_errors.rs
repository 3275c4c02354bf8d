//! What `tickwire replay` says of manifests, files and arguments that make no sense.
#![allow(clippy::unwrap_used, missing_docs)]

mod replay_support;

use std::path::Path;

use replay_support::{Bench, LEAN, lean, line_of, source, stderr, stdout};

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
