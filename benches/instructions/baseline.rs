//! What the counts were, and whether they are more now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use super::count::Counted;

/// How much more is a failure, in percent. Counts of one build differ by less than a thousandth from run to run; what is
/// left is for small changes that are worth it.
const TOLERANCE_PERCENT: f64 = 3.0;

#[derive(Serialize, Deserialize)]
struct Baseline {
    made_with: MadeWith,
    /// Instructions an operation.
    cases: BTreeMap<String, f64>,
}

/// What counts depend on beside the source.
#[derive(Serialize, Deserialize, PartialEq)]
struct MadeWith {
    rustc: String,
    valgrind: String,
    arch: String,
}

impl MadeWith {
    fn now() -> MadeWith {
        let version = |program: &str| {
            let output = Command::new(program).arg("--version").output();
            output.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        MadeWith { rustc: version("rustc"), valgrind: version("valgrind"), arch: std::env::consts::ARCH.into() }
    }
}

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.json"))
}

fn read() -> Result<Baseline, String> {
    let path = path();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Takes the counts for the new baseline; cases that were not counted keep theirs.
pub(crate) fn update(counted: &Counted) -> ExitCode {
    let mut cases = read().map(|known| known.cases).unwrap_or_default();
    cases.retain(|name, _| super::cases::find(name).is_some());
    for (name, now) in counted {
        let before = cases.insert(name.clone(), (now * 10.0).round() / 10.0);
        println!("{name:<40} {:>10} -> {now:>10.1}", before.map_or("new".into(), |before| format!("{before:.1}")));
    }
    let text = serde_json::to_string_pretty(&Baseline { made_with: MadeWith::now(), cases }).unwrap();
    match std::fs::write(path(), text + "\n") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {}: {error}", path().display());
            ExitCode::FAILURE
        }
    }
}

/// Prints every case beside what it was. Fails when one takes more than 3 % more, or is not in the baseline.
pub(crate) fn check(counted: &Counted) -> ExitCode {
    let known = match read() {
        Ok(known) => known,
        Err(error) => {
            eprintln!("instructions: {error}; expected what `scripts/instructions --update` writes");
            return ExitCode::FAILURE;
        }
    };
    let mut failures = Vec::new();
    println!("{:<40} {:>10} {:>10} {:>8}", "instructions of one operation", "before", "now", "change");
    for (name, now) in counted {
        let Some(before) = known.cases.get(name) else {
            println!("{name:<40} {:>10} {now:>10.1}", "-");
            failures.push(format!("{name}: not in the baseline, now {now:.1}"));
            continue;
        };
        let change = (now / before - 1.0) * 100.0;
        println!("{name:<40} {before:>10.1} {now:>10.1} {change:>+7.1}%");
        if change > TOLERANCE_PERCENT {
            failures.push(format!("{name}: before {before:.1}, now {now:.1} instructions ({change:+.1} %)"));
        } else if change < -TOLERANCE_PERCENT {
            println!("{:<40} less than before: `scripts/instructions --update` holds it there", "");
        }
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("instructions: more than {TOLERANCE_PERCENT} % above benches/instructions/baseline.json:");
    failures.iter().for_each(|failure| eprintln!("  {failure}"));
    let now = MadeWith::now();
    if known.made_with != now {
        let of = |made: &MadeWith| format!("{}, {}, {}", made.rustc, made.valgrind, made.arch);
        eprintln!("  the baseline is of {}; this is {}", of(&known.made_with), of(&now));
    }
    eprintln!("  where that is what it is worth: `scripts/instructions --update`, and say why in the commit");
    ExitCode::FAILURE
}
