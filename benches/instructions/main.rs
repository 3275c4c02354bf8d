//! How many instructions the hot path takes, a message, a tick and a record each: counted under valgrind's callgrind, and
//! so the same however busy the machine is.
//!
//! `scripts/instructions [--update] [CASE…]` builds and runs it. Each case runs twice, for N and for 2 N operations; the
//! difference over N is what one costs, without start-up and warm-up. `baseline.json` has what it was; more than 3 % above
//! is a failure. `instructions run CASE N` is what runs under valgrind.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod baseline;
mod cases;
mod count;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use serde_json::json;
use support::results::Results;

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUESTION: &str = "How many instructions does the hot path take, and are they more than they were?";

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", name, operations] => {
            let case = cases::find(name).unwrap_or_else(|| panic!("there is no case {name}"));
            (case.run)(operations.parse().unwrap());
            ExitCode::SUCCESS
        }
        _ => compare(&arguments),
    }
}

fn compare(arguments: &[String]) -> ExitCode {
    let update = arguments.iter().any(|argument| argument == "--update");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| *argument != "--update").collect();
    if let Some(name) = wanted.iter().find(|name| cases::find(name).is_none()) {
        let names: Vec<_> = cases::ALL.iter().map(|case| case.name).collect();
        eprintln!("instructions: there is no case {name}, expected --update or some of {}", names.join(", "));
        return ExitCode::from(2);
    }
    let cases: Vec<_> =
        cases::ALL.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| *name == case.name)).collect();
    let counted = match count::all(&cases) {
        Ok(counted) => counted,
        Err(error) => {
            eprintln!("instructions: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut results = Results::new("instructions", QUESTION);
    for (name, instructions) in &counted {
        results.row(&[("case", json!(name))], &[("instructions", *instructions)]);
    }
    results.write();
    if update { baseline::update(&counted) } else { baseline::check(&counted) }
}
