//! The table at the end, out of what criterion has written down.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

/// Prints the median cost of a message, and how many times ours it is, of the groups that were measured since `began`.
pub(crate) fn print(began: SystemTime) {
    // Where criterion writes: `scripts/bench` gives each run a folder of its own.
    let root = match std::env::var_os("CRITERION_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("criterion"),
    };
    let Ok(groups) = std::fs::read_dir(&root) else { return };
    let mut rows: Vec<(String, String, f64)> = Vec::new();
    for group in groups.flatten() {
        for bench in std::fs::read_dir(group.path()).into_iter().flatten().flatten() {
            let read = |file: &str| -> Option<Value> {
                serde_json::from_slice(&std::fs::read(bench.path().join("new").join(file)).ok()?).ok()
            };
            let written = bench.path().join("new/estimates.json").metadata().and_then(|file| file.modified());
            if written.map_or(true, |at| at < began) {
                continue;
            }
            let (Some(estimates), Some(what)) = (read("estimates.json"), read("benchmark.json")) else { continue };
            let messages = what["throughput"]["Elements"].as_f64().unwrap_or(1.0);
            let ns = estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN) / messages;
            let text = |key: &str| what[key].as_str().unwrap_or_default().to_string();
            rows.push((text("group_id"), text("function_id"), ns));
        }
    }
    rows.sort_by(|a, b| (&a.0, a.2).partial_cmp(&(&b.0, b.2)).unwrap_or(std::cmp::Ordering::Equal));
    println!("\n{:<34} {:<12} {:>12} {:>8}", "messages", "reader", "ns/message", "x ours");
    for (group, reader, ns) in &rows {
        let ours = rows.iter().find(|row| row.0 == *group && row.1 == "tickwire").map_or(f64::NAN, |row| row.2);
        println!("{group:<34} {reader:<12} {ns:>12.1} {:>8.2}", ns / ours);
    }
}
