//! Conventions of the house, as tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn engine() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(Path::new("engine"), &mut found);
    let text = |path: &PathBuf| {
        (path.strip_prefix("engine").unwrap().display().to_string(), fs::read_to_string(path).unwrap())
    };
    found.iter().filter(|path| !path.starts_with("engine/terminal")).map(text).collect()
}

/// The modules in the order in which `engine/lib.rs` lists them.
fn order() -> Vec<String> {
    let map = fs::read_to_string("engine/lib.rs").unwrap();
    map.lines().filter_map(|l| l.strip_prefix("pub mod ")?.split(';').next().map(String::from)).collect()
}

#[test]
fn a_module_imports_only_from_those_above_it() {
    let order = order();
    assert!(order.len() > 10 && order[0] == "market");
    let rank = |module: &str| order.iter().position(|m| m == module);
    let mut wrong = Vec::new();
    for (path, text) in engine() {
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_string();
        let Some(own) = rank(&module) else { continue };
        // `use crate::{a, b}` names several at once.
        for part in text.split("crate::").skip(1) {
            let names: Vec<&str> = match part.strip_prefix('{') {
                Some(group) => {
                    group.split('}').next().unwrap().split(',').map(|n| n.trim().split("::").next().unwrap()).collect()
                }
                None => vec![part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()],
            };
            wrong.extend(
                names.into_iter().filter(|n| rank(n).is_some_and(|r| r > own)).map(|n| format!("{path} uses {n}")),
            );
        }
    }
    assert!(wrong.is_empty(), "data walks down the list in engine/lib.rs and never back: {wrong:#?}");
}

/// A file that no `mod` or macro list names is silently not compiled.
#[test]
fn every_file_is_reachable() {
    let files = engine();
    let words: BTreeSet<&str> = files
        .iter()
        .flat_map(|(_, text)| {
            let lines = text.lines().filter(|line| line.contains("mod ") || line.contains("#[path"));
            // A list of a macro may go over several lines.
            let lists = text.split("![").skip(1).filter_map(|list| list.split(']').next());
            lines.chain(lists).chain(text.split("! {").skip(1).filter_map(|list| list.split('}').next()))
        })
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .collect();
    let lost: Vec<_> = files
        .iter()
        .map(|(path, _)| path)
        .filter(|path| !["lib.rs", "main.rs"].contains(&path.as_str()))
        .filter(|path| {
            let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
            let name = if stem == "mod" {
                Path::new(path).parent().unwrap().file_name().unwrap().to_str().unwrap()
            } else {
                stem
            };
            !words.contains(name)
        })
        .collect();
    assert!(lost.is_empty(), "not compiled: {lost:?}");
}

#[test]
fn only_the_clock_asks_the_time_of_day() {
    let asks: Vec<_> = engine()
        .into_iter()
        .filter(|(path, text)| {
            path != "clock.rs" && (text.contains("SystemTime::now") || text.contains("Timestamp::now"))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(asks.is_empty(), "these ask the time themselves: {asks:?}");
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let allowed = ["storage/store/chdb.rs"];
    let others: Vec<_> = engine()
        .into_iter()
        .filter(|(path, text)| {
            !allowed.contains(&path.as_str())
                && text
                    .lines()
                    .any(|l| !l.trim_start().starts_with("//") && (l.contains("unsafe {") || l.contains("unsafe impl")))
        })
        .map(|(path, _)| path)
        .collect();
    assert!(others.is_empty(), "unsafe outside the libchdb binding: {others:?}");
}
