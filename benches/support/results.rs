//! What a benchmark found, in the form that `scripts/bench` gathers.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// The rows of one benchmark.
pub(crate) struct Results {
    name: &'static str,
    question: &'static str,
    rows: Vec<Value>,
}

impl Results {
    pub(crate) fn new(name: &'static str, question: &'static str) -> Results {
        Results { name, question, rows: Vec::new() }
    }

    /// What was set, and what was measured, with the unit in its name.
    pub(crate) fn row(&mut self, case: &[(&str, Value)], values: &[(&str, f64)]) {
        let case: Map<String, Value> = case.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
        let values: Map<String, Value> = values.iter().map(|(key, value)| ((*key).into(), json!(value))).collect();
        self.rows.push(json!({"case": case, "values": values}));
    }

    /// Writes them into the folder that TICKWIRE_BENCH_OUT names, if it names one.
    pub(crate) fn write(&self) {
        let Some(folder) = std::env::var_os("TICKWIRE_BENCH_OUT") else { return };
        let path = PathBuf::from(folder).join(format!("{}.json", self.name));
        let all = json!({"name": self.name, "question": self.question, "rows": self.rows});
        std::fs::write(&path, format!("{all:#}\n")).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Whether less time is to be taken: `scripts/bench --quick`.
pub(crate) fn is_quick() -> bool {
    std::env::var_os("TICKWIRE_BENCH_QUICK").is_some()
}
