//! The recorded payrolls day, or made-up ticks where it is not.

use std::fmt::Write;
use std::path::Path;

use tickwire::market::Input;
use tickwire::replay::{Manifest, Recording};
use tickwire::runtime::Settings;
use tickwire::stages::Market;

use super::generated;

/// Made-up ticks in the place of the recorded 260,851.
const GENERATED: u64 = 250_000;

/// Inputs of the stages.
pub(crate) struct Day {
    /// Where they are from.
    pub(crate) name: &'static str,
    pub(crate) market: Market,
    pub(crate) inputs: Vec<Input>,
    pub(crate) ticks: u64,
}

/// 2 May 2014, when the US payrolls came out: two brokers, two pairs, and a timer each second.
pub(crate) fn payrolls(settings: &Settings) -> Day {
    let (name, market, inputs) = match std::env::var_os("TICKWIRE_DATA") {
        Some(root) => {
            let (market, inputs) = read(Path::new(&root), settings);
            ("payrolls day", market, inputs)
        }
        None => {
            eprintln!("TICKWIRE_DATA is not set, so not the recorded payrolls day is run but ticks that are made up");
            ("made-up ticks", generated::market(), generated::inputs(GENERATED))
        }
    };
    let ticks = inputs.iter().filter(|input| matches!(input, Input::Tick(_))).count() as u64;
    Day { name, market, inputs, ticks }
}

fn read(root: &Path, settings: &Settings) -> (Market, Vec<Input>) {
    let root = std::fs::canonicalize(root).unwrap_or_else(|e| panic!("TICKWIRE_DATA is {}: {e}", root.display()));
    let mut text = String::new();
    for (broker, offset) in [("oanda", "+00:00"), ("fxcm", "-05:00")] {
        for pair in ["eurusd", "nzdusd"] {
            let file = root.join(format!("lean/tick/{broker}/{pair}/20140502_{pair}_tick_quote.csv.zst"));
            let (file, symbol) = (file.display(), pair.to_uppercase());
            writeln!(
                text,
                "[[source]]\nname = \"{broker}\"\nformat = \"lean-quote\"\nfiles = [\"{file}\"]\nsymbol = \"{symbol}\"\n\
                 utc_offset = \"{offset}\""
            )
            .unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payrolls.toml");
    std::fs::write(&path, text).unwrap();
    let manifest = Manifest::read(&path).unwrap_or_else(|e| panic!("{e}"));
    let mut recording = Recording::open(&manifest, &settings.instruments).unwrap_or_else(|e| panic!("{e}"));
    recording.close_after(500_000_000);
    let mut inputs = Vec::new();
    while let Some(input) = recording.next().unwrap_or_else(|e| panic!("{e}")) {
        inputs.push(input);
    }
    (recording.market().clone(), inputs)
}
