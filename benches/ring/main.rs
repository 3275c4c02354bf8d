//! How long an input is on its way from one thread to another: through the bare disruptor, through the engine's wiring
//! around it (door, bell, pace), and through the channels that one would take otherwise.
//!
//! `cargo bench --bench ring`. One thread sends an input every so often with the time in it, the other, on the next core,
//! takes the difference when it has it: one reading of the clock is in every figure. `spin`: the receiver looks again and
//! again, an input every 2 us; `park`: it sleeps as the side at hand does it, an input every 200 us; `flood`: as many as
//! go. Sides take turns, fifteen rounds; each figure is the median of the rounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod hops;
mod sides;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use hops::{Load, Round};
use serde_json::json;
use support::results::{self, Results};

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTION: &str = "How long is an input on its way from one thread to another, through the bare disruptor, through \
                        the engine's wiring around it, and through channels?";

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let filter: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (rounds, share) = if results::is_quick() { (3, 4) } else { (15, 1) };
    let mut found: BTreeMap<(Load, usize), Vec<Round>> = BTreeMap::new();
    for _ in 0..rounds {
        for (at, (name, side)) in sides::ALL.iter().enumerate() {
            for load in [Load::Spin, Load::Park, Load::Flood] {
                if filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str())) {
                    found.entry((load, at)).or_default().push(side(load, load.inputs() / share));
                }
            }
        }
    }
    let mut results = Results::new("ring", QUESTION);
    println!(
        "{:<8} {:<12} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
        "load", "side", "p50 ns", "p90", "p99", "p99.9", "max", "M/s"
    );
    for ((load, at), rounds) in &found {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let quantiles: [fn(&Round) -> f64; 5] =
            [|r| r.at(0.5), |r| r.at(0.9), |r| r.at(0.99), |r| r.at(0.999), |r| r.at(1.0)];
        let [p50, p90, p99, p999, max] = quantiles.map(of);
        let rate = of(|r| r.million_per_s);
        let (load, side) = (load.word(), sides::ALL[*at].0);
        println!("{load:<8} {side:<12} {p50:>9.0} {p90:>9.0} {p99:>9.0} {p999:>9.0} {max:>10.0} {rate:>10.2}");
        let latency = [("p50_ns", p50), ("p90_ns", p90), ("p99_ns", p99), ("p99.9_ns", p999), ("max_ns", max)];
        let rate = [("million_per_s", rate)];
        // How long one is on its way in a flood says how long the queue is, and nothing else.
        let values: &[_] = if load == Load::Flood.word() { &rate } else { &latency };
        results.row(&[("load", json!(load)), ("side", json!(side))], values);
    }
    results.write();
}
