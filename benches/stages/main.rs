//! What the stages cost a tick: each alone, and fused in one group as the engine runs them, over the recorded payrolls day
//! (two brokers, two pairs, with the timers of a day between), each time from empty state.
//!
//! `cargo bench --bench stages [FILTER]`, with `TICKWIRE_DATA` naming the folder of recordings; without it the ticks are
//! made up. `growth` is what a tick costs as symbols and sources become more. Records are made in full, with their identity, and then let go; `none` is what that costs for the inputs
//! alone, and is in every other figure.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod growth;
#[path = "../support/mod.rs"]
mod support;

use criterion::{Criterion, SamplingMode, Throughput};
use support::nowhere::Nowhere;
use support::pipeline::{Stages, settings};
use support::recorded::{Day, payrolls};
use tickwire::runtime::Settings;

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ALONE: &[(&str, &[&str])] = &[
    ("none", &[]),
    ("dedupe", &["dedupe"]),
    ("validate", &["validate"]),
    ("aggregate", &["aggregate"]),
    ("bars", &["bars"]),
    ("bars+indicators", &["bars", "indicators"]),
    ("gaps", &["gaps"]),
];

const FUSED: &[(&str, &[&str])] = &[
    ("dedupe+validate+aggregate", &["dedupe", "validate", "aggregate"]),
    ("…+bars", &["dedupe", "validate", "aggregate", "bars"]),
    ("…+bars+indicators", &["dedupe", "validate", "aggregate", "bars", "indicators"]),
    ("…+bars+indicators+gaps", &["dedupe", "validate", "aggregate", "bars", "indicators", "gaps"]),
];

fn measure(c: &mut Criterion, settings: &Settings, day: &Day, group: &str, cases: &[(&str, &[&str])]) {
    let mut group = c.benchmark_group(format!("{group}, {}", day.name));
    group.throughput(Throughput::Elements(day.ticks));
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    for (name, names) in cases {
        group.bench_function(*name, |b| {
            let run = || Stages::new(settings, &day.market, names).time(&day.inputs, &mut Nowhere::default());
            b.iter_custom(|iterations| (0..iterations).map(|_| run()).sum());
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let settings = settings();
    let day = payrolls(&settings);
    measure(&mut criterion, &settings, &day, "stages alone", ALONE);
    measure(&mut criterion, &settings, &day, "stages fused", FUSED);
    criterion.final_summary();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    if filter.is_none_or(|filter| "growth".contains(&filter)) {
        growth::measure(&settings);
    }
}
