//! The parts of the benchmark, each a question.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::Options;
use super::results::{Results, medians};
use super::sides::{Cell, Side, Values, is_wanted, sides, spinning};
use super::{hop, pauses, raw};

/// Terminals x quotes a second.
const CELLS: [Cell; 6] = [
    Cell::new(1, 1000),
    Cell::new(100, 1000),
    Cell::new(1000, 1000),
    Cell::new(1000, 3000),
    Cell::new(5000, 200),
    Cell::new(10_000, 20),
];

/// Rates tried with 1,000 terminals until one is too much.
const LADDER: [u64; 12] = [250, 500, 750, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 8000, 10_000];

const ENVELOPE_TERMINALS: [u64; 9] = [1, 10, 50, 100, 200, 500, 1000, 2000, 5000];
const ENVELOPE_RATES: [u64; 8] = [10, 50, 100, 200, 500, 1000, 2000, 4000];

/// Sustained: nearly all arrives, or is counted as conflated where that was asked for, and not too late.
const DELIVERED_MIN: f64 = 0.99;
const SUSTAINED_P99_US: f64 = 150_000.0;

/// Where the envelope ends.
const ENVELOPE_P99_US: f64 = 1_000.0;

const COLUMNS: [&str; 9] = [
    "delivered",
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "max_us",
    "server_cpu_us_per_delivery",
    "packets_per_s",
    "memory_busy_kb_per_terminal",
];

pub fn run(options: &Options) {
    // Ten thousand sockets of the rival, in its server and its load.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if options.wants("raw") || options.wants("cells") {
        raw_part(options);
    }
    let chosen = chosen(options);
    if !chosen.is_empty() {
        cells(options, &chosen);
    }
    if options.wants("pauses") || options.wants("socket") {
        pauses_part(options);
    }
    if options.wants("socket") {
        hop::run(options);
    }
    if options.wants("saturation") && (options.filter.is_some() || !options.quick) {
        saturation(options);
    }
    if options.wants("envelope") && (options.filter.is_some() || !options.quick) {
        envelope(options);
    }
}

/// The cell that the filter names, or all; a quick look leaves out what takes long to connect.
fn chosen(options: &Options) -> Vec<Cell> {
    let named = options.filter.as_deref().and_then(Cell::named);
    let all = CELLS.into_iter().filter(|cell| options.wants("cells") && !(options.quick && cell.terminals > 1000));
    let cells = named.map_or_else(|| all.collect(), |cell| vec![cell]);
    cells.into_iter().map(|cell| options.sized(cell)).collect()
}

fn case(cell: Cell, side: &Side) -> Value {
    json!({"terminals": cell.terminals, "rate": cell.rate, "side": side.name()})
}

/// Measures once; a failure is told and counts as nothing.
fn measure(side: &Side, cell: Cell) -> Option<Values> {
    match side.measure(cell) {
        Ok(values) => {
            let value = |name: &str| values.get(name).copied().unwrap_or_default();
            eprintln!(
                "{:>10} {:<24} delivered {:.4}, p50 {:.0} us, p99 {:.0} us",
                cell.name(),
                side.name(),
                value("delivered"),
                value("p50_us"),
                value("p99_us")
            );
            Some(values)
        }
        Err(problem) => {
            eprintln!("{:>10} {:<24} {problem}", cell.name(), side.name());
            None
        }
    }
}

fn raw_part(options: &Options) {
    let mut results = Results::new("fanout_raw", "How many datagrams a second does the kernel take from one core?");
    let length = Duration::from_secs(if options.quick { 1 } else { 3 });
    for destinations in [1, 7, 64] {
        let rounds: Vec<Values> = (0..options.rounds).map(|_| raw::sendmmsg(length, destinations)).collect();
        results.add(json!({"destinations": destinations, "bytes": 150}), &rounds);
    }
    results.print(&["packets_per_s", "received_per_s"]);
}

fn pauses_part(options: &Options) {
    let mut results = Results::new("fanout_pauses", "How long is a thread that only spins kept from its core?");
    let length = Duration::from_secs(if options.quick { 1 } else { 3 });
    let rounds: Vec<_> = (0..options.rounds).map(|_| pauses::on_both_cores(length)).collect();
    for at in 0..2 {
        let of_core: Vec<Values> = rounds.iter().map(|cores| cores[at].1.clone()).collect();
        results.add(json!({"core": rounds[0][at].0}), &of_core);
    }
    results.print(&["away_share", "over_50us_per_s", "longest_us"]);
}

fn cells(options: &Options, chosen: &[Cell]) {
    let mut results = Results::new("fanout", "How late is a quote at a terminal, and what does its delivery cost?");
    let always = sides(options.side.as_deref(), options.quick);
    // One terminal alone: the only cell for which a whole core may be burnt on waiting.
    let spinning = Some(spinning()).filter(|side| is_wanted(&side.name(), options.side.as_deref()));
    for &cell in chosen {
        let spins = spinning.iter().filter(|_| cell.terminals == 1);
        let sides: Vec<&Side> = always.iter().chain(spins).collect();
        let found = by_turns(options.rounds, sides.into_iter().map(|side| (side, cell)));
        for (side, cell, rounds) in found.into_iter().filter(|(.., rounds)| !rounds.is_empty()) {
            results.add(case(cell, side), &rounds);
        }
    }
    results.print(&COLUMNS);
    against_the_rival(&results, chosen, always.iter().chain(&spinning));
}

/// The same as shares of the rival's figures. A cell counts only where both sides deliver nearly all.
fn against_the_rival<'a>(results: &Results, cells: &[Cell], sides: impl Iterator<Item = &'a Side>) {
    println!(
        "\n| cell | side | p50 x nats | p99 x nats | CPU per delivery x nats | counts |\n|---|---|---|---|---|---|"
    );
    let ours: Vec<String> = sides.filter(|side| matches!(side, Side::Tickwire { .. })).map(Side::name).collect();
    for cell in cells {
        let of = |side: &str, name: &str| {
            let case = json!({"terminals": cell.terminals, "rate": cell.rate, "side": side});
            results.get(&case, name)
        };
        for side in &ours {
            let ratio = |name: &str| match (of(side, name), of("nats-server", name)) {
                (Some(ours), Some(theirs)) if theirs > 0.0 => format!("{:.3}", ours / theirs),
                _ => String::new(),
            };
            let whole = |side: &str| of(side, "delivered").is_some_and(|share| share >= DELIVERED_MIN);
            let counts = if whole(side) && whole("nats-server") { "yes" } else { "no" };
            let (p50, p99, cpu) = (ratio("p50_us"), ratio("p99_us"), ratio("server_cpu_us_per_delivery"));
            if !p50.is_empty() {
                println!("| {} | {side} | {p50} | {p99} | {cpu} | {counts} |", cell.name());
            }
        }
    }
}

fn saturation(options: &Options) {
    let question = "How many deliveries a second does 1,000 terminals' server sustain, and what happens at twice that?";
    let mut results = Results::new("fanout_saturation", question);
    let sides = sides(options.side.as_deref(), false);
    let at = |rate| options.sized(Cell { seconds: 5, warmup: 2, ..Cell::new(1000, rate) });
    // Each side with what it sustains so far.
    let mut climbing: Vec<(&Side, u64)> = sides.iter().map(|side| (side, 0)).collect();
    let mut ended = Vec::new();
    for rate in LADDER {
        let found = by_turns(options.rounds, climbing.iter().map(|(side, _)| (*side, at(rate))));
        for ((_, sustained), (side, cell, rounds)) in std::mem::take(&mut climbing).into_iter().zip(found) {
            let median = medians(&rounds);
            let value = |name: &str, or: f64| median.get(name).copied().unwrap_or(or);
            let accounted = value("delivered", 0.0) + value("conflated", 0.0);
            let holds = value("p99_us", f64::MAX) <= SUSTAINED_P99_US && accounted >= DELIVERED_MIN;
            if !rounds.is_empty() {
                results.add(load_case(cell, side, if holds { "sustained" } else { "too much" }), &rounds);
            }
            if holds { climbing.push((side, rate)) } else { ended.push((side, sustained)) }
        }
    }
    let twice = ended.into_iter().chain(climbing).filter(|(_, sustained)| *sustained > 0);
    let twice = by_turns(options.rounds, twice.map(|(side, sustained)| (side, at(2 * sustained))));
    for (side, cell, rounds) in twice.into_iter().filter(|(.., rounds)| !rounds.is_empty()) {
        results.add(load_case(cell, side, "twice"), &rounds);
    }
    results.print(&["deliveries_per_s", "delivered", "conflated", "p50_us", "p99_us", "server_cpu_share"]);
}

/// Measures each side at its cell, A B, A B: what disturbs the machine disturbs all sides.
fn by_turns<'a>(rounds: usize, cells: impl Iterator<Item = (&'a Side, Cell)>) -> Vec<(&'a Side, Cell, Vec<Values>)> {
    let mut found: Vec<_> = cells.map(|(side, cell)| (side, cell, Vec::new())).collect();
    for _ in 0..rounds {
        for (side, cell, values) in &mut found {
            values.extend(measure(side, *cell));
        }
    }
    found
}

fn load_case(cell: Cell, side: &Side, load: &str) -> Value {
    let mut case = case(cell, side);
    case["load"] = json!(load);
    case
}

fn envelope(options: &Options) {
    let question = "Up to how many terminals and quotes a second does p99 stay under 1 ms?";
    let mut results = Results::new("fanout_envelope", question);
    let side = options.side.as_deref().unwrap_or("tickwire");
    let ours = sides(Some(side), true).into_iter().filter(|side| matches!(side, Side::Tickwire { .. }));
    for side in ours {
        for terminals in ENVELOPE_TERMINALS {
            for rate in ENVELOPE_RATES {
                let cell = options.sized(Cell { seconds: 3, warmup: 1, ..Cell::new(terminals, rate) });
                let rounds: Vec<Values> = (0..options.rounds).filter_map(|_| measure(&side, cell)).collect();
                if rounds.is_empty() {
                    break;
                }
                results.add(case(cell, &side), &rounds);
                let p99 = medians(&rounds).get("p99_us").copied().unwrap_or(f64::MAX);
                if p99 > 4.0 * ENVELOPE_P99_US {
                    break;
                }
            }
        }
    }
    results.print(&["p50_us", "p99_us", "delivered", "server_cpu_share"]);
}
