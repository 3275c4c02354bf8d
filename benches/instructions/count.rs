//! Runs this program under callgrind.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::cases::Case;

/// Instructions of one operation, by the name of its case.
pub(crate) type Counted = BTreeMap<String, f64>;

/// Counts each case, as many at a time as there are cores.
pub(crate) fn all(cases: &[&Case]) -> Result<Counted, String> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Ok(Counted::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let counted = one(case);
                    let mut found = found.lock().unwrap();
                    match counted {
                        Err(error) => *found = Err(error),
                        Ok(count) => {
                            if let Ok(all) = found.as_mut() {
                                all.insert(case.name.into(), count);
                            }
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn one(case: &Case) -> Result<f64, String> {
    let once = under_callgrind(case.name, case.operations)?;
    let twice = under_callgrind(case.name, 2 * case.operations)?;
    Ok((twice as f64 - once as f64) / case.operations as f64)
}

/// Instructions from the start of the program to its end.
fn under_callgrind(name: &str, operations: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut command = Command::new("valgrind");
    // Of the report only the total is wanted, which is said on standard error too.
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["run", name, &operations.to_string()]);
    // The engine's own variables would change what is measured.
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TICKWIRE")) {
        command.env_remove(variable);
    }
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("valgrind cannot be run: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let total = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match total {
        Some(total) if output.status.success() => Ok(total),
        _ => Err(format!("case {name} did not run under valgrind ({}):\n{told}", output.status)),
    }
}
