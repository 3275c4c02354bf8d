//! What fanning out costs: terminals times quotes a second, beside a plaintext NATS server with the same payload.
//!
//! `cargo bench --bench fanout [FILTER] [--quick] [--rounds N] [--seconds S] [--side WORDS]`. FILTER is part of the name of a
//! part (`raw`, `cells`, `pauses`, `socket`, `saturation`, `envelope`) or a cell (`1000x1000`). Server and publisher have core 0, the load
//! generator core 1, each a process of its own; sides take turns in each of five rounds. Without `--side` those are our loop
//! and NATS; `--side tokio` has stock quinn. With `TICKWIRE_BENCH_OUT=DIR` each part writes a file there. `benches/README.md`
//! says how to read it.
#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod hop;
mod nats;
mod parts;
mod pauses;
mod process;
mod quotes;
mod raw;
mod results;
mod serve;
mod sides;

use std::process::ExitCode;

use sides::{Cell, LOAD_CORE};

/// As in the engine.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the arguments say.
#[derive(Clone, Debug)]
pub struct Options {
    filter: Option<String>,
    quick: bool,
    rounds: usize,
    seconds: Option<u64>,
    side: Option<String>,
}

impl Options {
    /// Whether the filter, if there is one, wants this.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| name.contains(filter))
    }

    /// The same cell as long as it is to be measured here.
    pub fn sized(&self, cell: Cell) -> Cell {
        let quick = if self.quick { Cell { seconds: 3, warmup: 1, ..cell } } else { cell };
        Cell { seconds: self.seconds.unwrap_or(quick.seconds), ..quick }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((word, rest)) = arguments.split_first()
        && word == "--child"
    {
        return child(rest);
    }
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("fanout: {problem}");
            return ExitCode::from(2);
        }
    };
    if std::thread::available_parallelism().map_or(1, usize::from) <= LOAD_CORE {
        eprintln!("fanout: this needs two cores, one for the server and one for the load");
        return ExitCode::FAILURE;
    }
    parts::run(&options);
    ExitCode::SUCCESS
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options { filter: None, quick: false, rounds: 5, seconds: None, side: None };
    let mut rounds = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: &String| {
            text.parse::<u64>().ok().filter(|n| *n > 0).ok_or(format!("{word} {text}: expected a number above 0"))
        };
        match word.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--quick" => options.quick = true,
            "--rounds" => rounds = Some(number(value()?)? as usize),
            "--seconds" => options.seconds = Some(number(value()?)?),
            "--side" => options.side = Some(value()?.clone()),
            word if word.starts_with('-') => return Err(format!("there is no argument {word}")),
            _ if options.filter.is_none() => options.filter = Some(word.clone()),
            _ => return Err(format!("{word}: one filter is enough")),
        }
    }
    options.rounds = rounds.unwrap_or(if options.quick { 1 } else { 5 });
    Ok(options)
}

/// A process that this program started of itself.
fn child(arguments: &[String]) -> ExitCode {
    match arguments.split_first() {
        Some((word, keys)) if word == "serve" => serve::child(keys),
        Some((word, rest)) if word == "nats" => {
            let [server, terminals, seconds, warmup, core] = rest else { return ExitCode::from(2) };
            let number = |text: &String| text.parse::<u64>().expect("a number");
            let plan = nats::Plan {
                server: server.parse().expect("an address"),
                terminals: number(terminals) as usize,
                seconds: number(seconds),
                warmup: number(warmup),
                publisher_core: number(core) as usize,
            };
            match nats::child(&plan) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("the NATS load: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Some((word, rest)) if word == "quinn-server" => {
            hop::server(rest.iter().any(|gaps| gaps == "even"));
            ExitCode::SUCCESS
        }
        Some((word, rest)) if word == "quinn-client" => {
            let [address, fingerprint, seconds, warmup] = rest else { return ExitCode::from(2) };
            let number = |text: &String| text.parse::<u64>().expect("a number");
            hop::client(address.parse().expect("an address"), fingerprint, number(seconds), number(warmup));
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}
