//! `schemas/names.md` lists what people and programs meet: held to the code where that is cheap.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

const NAMES: &str = include_str!("../schemas/names.md");

/// The part of the list under a heading that begins with `title`.
fn part(title: &str) -> &'static str {
    let start = NAMES.find(&format!("\n## {title}")).unwrap_or_else(|| panic!("no part {title}"));
    let rest = &NAMES[start + 1..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Everything in backticks, up to the first space or dot.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).filter_map(|name| name.split([' ', '.']).next()).collect()
}

fn help(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_tickwire")).args(arguments).arg("--help").output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

fn subcommands() -> Vec<String> {
    actions(&help(&[]))
}

/// The commands that a help text lists, if it does.
fn actions(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap();
    list.lines().filter_map(|line| line.split_whitespace().next().map(String::from)).collect()
}

#[test]
fn every_metric_is_listed_and_every_listed_one_exists() {
    let page = tickwire::metrics::render();
    let shown: BTreeSet<&str> =
        page.lines().filter_map(|l| l.strip_prefix("# TYPE tickwire_")?.split(' ').next()).collect();
    assert!(shown.len() > 30, "{shown:?}");
    let cells = part("Metrics").lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let listed: BTreeSet<&str> = cells.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|n| !n.is_empty()).collect();
    assert_eq!(listed, shown);
}

/// The Grafana dashboard asks for nothing that is not there, by name and by label.
#[test]
fn every_metric_of_the_dashboard_is_listed() {
    let board = include_str!("../config/grafana/tickwire.json");
    serde_json::from_str::<serde_json::Value>(board).unwrap();
    let rows = part("Metrics").lines().filter_map(|line| line.strip_prefix("| `"));
    // Names, and all words of the second column: labels and their values.
    let listed: Vec<(Vec<&str>, BTreeSet<&str>)> = rows
        .map(|row| {
            let mut cells = row.split(" |");
            let names = cells.next().unwrap().split(['`', ',', ' ']).filter(|name| !name.is_empty()).collect();
            let word = |c: char| !c.is_alphanumeric() && c != '_' && c != '.';
            (names, cells.next().unwrap_or_default().split(word).collect())
        })
        .collect();
    let mut asked = BTreeSet::new();
    for text in board.split("tickwire_").skip(1) {
        let name = text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        let (_, labels) = listed.iter().find(|(names, _)| names.contains(&name)).unwrap_or_else(|| panic!("{name}"));
        asked.insert(name);
        let selector = text[name.len()..].strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
        for label in selector.split(',').filter_map(|matched| matched.split(['=', '!']).next()) {
            assert!(label.is_empty() || label == "instance" || labels.contains(label), "{name} has no {label}");
        }
    }
    assert!(asked.len() > 25 && asked.contains("stage_latency_ns"), "{asked:?}");
}

#[test]
fn every_section_is_listed() {
    let defaults: toml::Table = tickwire::config::DEFAULTS.parse().unwrap();
    let listed = quoted(part("Configuration"));
    let missing: Vec<_> = defaults.keys().filter(|section| !listed.contains(section.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_subcommand_and_flag_is_listed() {
    let (subcommands, listed) = (subcommands(), part("Subcommands"));
    assert!(subcommands.len() > 5, "{subcommands:?}");
    for subcommand in &subcommands {
        let row = format!("\n| `{subcommand}");
        let row = listed.split_once(&row).unwrap_or_else(|| panic!("`{subcommand}` is not listed")).1;
        let row = row.lines().next().unwrap();
        let mut help = help(&[subcommand.as_str()]);
        for action in actions(&help).iter().filter(|action| *action != "help") {
            assert!(row.contains(action.as_str()), "`{subcommand} {action}` is not listed");
            help += &self::help(&[subcommand.as_str(), action.as_str()]);
        }
        let common = ["--config", "--state-dir", "--help"];
        let words = help.split_whitespace().filter(|word| word.starts_with("--"));
        let flags = words.filter(|flag| !common.contains(flag));
        for flag in flags {
            assert!(row.contains(&format!("`{flag}")), "{flag} of `{subcommand}` is not listed");
        }
        // And none that is not there.
        for flag in row.split('`').filter(|word| word.starts_with("--")) {
            let name = flag.split(' ').next().unwrap();
            assert!(help.contains(name), "`{subcommand}` has no {name}");
        }
    }
}
