//! What a tick costs as symbols and sources become more.

use std::time::Instant;

use serde_json::json;
use tickwire::runtime::Settings;

use super::support::generated;
use super::support::nowhere::Nowhere;
use super::support::pipeline::Stages;
use super::support::results::{self, Results};

const SYMBOLS: [u32; 4] = [10, 100, 1_000, 10_000];
const SOURCES: [u32; 4] = [2, 5, 20, 50];

/// Ticks that every pair gets before the measurement, at least, and ticks measured.
const TICKS_BEFORE: u64 = 4;
const TICKS: u64 = 500_000;

const ROUNDS: usize = 5;

const STAGES: [(&str, &[&str]); 2] = [
    ("dedupe+validate+aggregate", &["dedupe", "validate", "aggregate"]),
    ("all", &["dedupe", "validate", "aggregate", "bars", "indicators", "gaps"]),
];

/// Measures and writes what it found.
pub(crate) fn measure(settings: &Settings) {
    println!("\n{:<26} {:>8} {:>8} {:>12} {:>10}", "stages", "sources", "symbols", "ns a tick", "build ms");
    let mut by_symbols =
        Results::new("growth_symbols", "What does a tick cost as symbols become more, of two sources?");
    for symbols in SYMBOLS {
        for stages in STAGES {
            let values = cost(settings, stages, 2, symbols);
            by_symbols.row(&[("stages", json!(stages.0)), ("symbols", json!(symbols))], &values);
        }
    }
    by_symbols.write();
    let mut by_sources =
        Results::new("growth_sources", "What does a tick cost as sources become more, of 100 symbols?");
    for sources in SOURCES {
        for stages in STAGES {
            let values = cost(settings, stages, sources, 100);
            by_sources.row(&[("stages", json!(stages.0)), ("sources", json!(sources))], &values);
        }
    }
    by_sources.write();
}

fn cost(settings: &Settings, (name, names): (&str, &[&str]), sources: u32, symbols: u32) -> [(&'static str, f64); 2] {
    let before = (u64::from(sources) * u64::from(symbols) * TICKS_BEFORE).max(100_000);
    let ticks = if results::is_quick() { TICKS / 10 } else { TICKS };
    let market = generated::wide_market(sources, symbols);
    let inputs = generated::wide_inputs(sources, symbols, before + ticks);
    let timers = inputs.len() as u64 - before - ticks;
    let (warming, measured) = inputs.split_at((before + timers * before / (before + ticks)) as usize);
    let mut found: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let mut stages = Stages::new(settings, &market, names);
            let build_ms = began.elapsed().as_secs_f64() * 1e3;
            let mut sink = Nowhere::default();
            stages.time(warming, &mut sink);
            (stages.time(measured, &mut sink).as_secs_f64() * 1e9 / ticks as f64, build_ms)
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ns_per_tick, build_ms) = found[ROUNDS / 2];
    println!("{name:<26} {sources:>8} {symbols:>8} {ns_per_tick:>12.1} {build_ms:>10.1}");
    [("ns_per_tick", ns_per_tick), ("build_ms", build_ms)]
}
