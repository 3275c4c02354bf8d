//! Medians of rounds, the table, and the file that `scripts/bench` reads.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::sides::Values;

/// What was found so far.
pub struct Results {
    name: &'static str,
    question: &'static str,
    rows: Vec<(Map<String, Value>, Values)>,
}

impl Results {
    pub fn new(name: &'static str, question: &'static str) -> Results {
        println!("\n## {question}\n");
        Results { name, question, rows: Vec::new() }
    }

    /// Adds a row of medians over rounds and writes the file, so that what was measured survives an interruption.
    pub fn add(&mut self, case: Value, rounds: &[Values]) {
        let Value::Object(case) = case else { unreachable!("a case is an object") };
        let mut values = medians(rounds);
        values.insert("rounds".into(), rounds.len() as f64);
        self.rows.push((case, values));
        self.write();
    }

    /// The value of a row whose case has all of `wanted`.
    pub fn get(&self, wanted: &Value, name: &str) -> Option<f64> {
        let wanted = wanted.as_object()?;
        let fits = |case: &Map<String, Value>| wanted.iter().all(|(key, value)| case.get(key) == Some(value));
        self.rows.iter().find(|(case, _)| fits(case)).and_then(|(_, values)| values.get(name).copied())
    }

    /// Prints a table of these values.
    pub fn print(&self, columns: &[&str]) {
        let Some((first, _)) = self.rows.first() else { return println!("nothing was measured") };
        let cases: Vec<&String> = first.keys().collect();
        let heads = cases.iter().map(|key| key.as_str()).chain(columns.iter().copied());
        println!("\n| {} |", heads.collect::<Vec<_>>().join(" | "));
        println!("|{}", "---|".repeat(cases.len() + columns.len()));
        for (case, values) in &self.rows {
            let text = |value: &Value| value.as_str().map_or(value.to_string(), String::from);
            let cells = cases.iter().map(|key| case.get(*key).map_or(String::new(), text));
            let numbers = columns.iter().map(|name| values.get(*name).map_or(String::new(), |value| short(*value)));
            println!("| {} |", cells.chain(numbers).collect::<Vec<_>>().join(" | "));
        }
    }

    fn write(&self) {
        let Some(folder) = std::env::var_os("TICKWIRE_BENCH_OUT") else { return };
        let rows: Vec<Value> = self.rows.iter().map(|(case, values)| json!({"case": case, "values": values})).collect();
        let document = json!({"name": self.name, "question": self.question, "rows": rows});
        let path = PathBuf::from(folder).join(format!("{}.json", self.name));
        if let Err(error) = std::fs::write(&path, format!("{document:#}\n")) {
            eprintln!("fanout: {}: {error}", path.display());
        }
    }
}

/// The median of each value over the rounds that have it; of an even number the lower of the middle two.
pub fn medians(rounds: &[Values]) -> Values {
    let names = rounds.iter().flat_map(|values| values.keys());
    let median = |name: &String| {
        let mut found: Vec<f64> = rounds.iter().filter_map(|values| values.get(name).copied()).collect();
        found.sort_by(f64::total_cmp);
        found[(found.len() - 1) / 2]
    };
    names.map(|name| (name.clone(), median(name))).collect()
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
