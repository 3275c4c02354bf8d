//! What of a new configuration is put into effect and what is not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::open_market;

const EURUSD: &str = "[instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n";
const GBPUSD: &str = "[instruments.GBPUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n";

fn source(name: &str, keys: &str) -> String {
    format!(
        "[sources.{name}]\nadapter = \"oanda\"\nbase_url = \"http://127.0.0.1:1\"\naccount = \"1\"\ntoken = \"t\"\nsymbols = [\"EURUSD\"]\n{keys}\n"
    )
}

fn settings(text: &str) -> Settings {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(text, "test").unwrap();
    Settings::new(config).unwrap()
}

fn in_effect(text: &str) -> InEffect {
    let settings = settings(text);
    let market = open_market(&settings, &mut Catalogue::in_memory().unwrap()).unwrap();
    let Settings { config, sources, instruments, .. } = settings;
    InEffect { config, sources, instruments, market }
}

/// Added, changed, removed, instruments, needs a restart.
fn planned(now: &InEffect, new: &str) -> [Vec<String>; 5] {
    let settings = settings(new);
    let plan = now.plan(&settings);
    let names = |specs: &[&SourceSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    let instruments = plan.instruments.keys().map(|symbol| (*symbol).clone()).collect();
    [names(&plan.added), names(&plan.changed), plan.removed.clone(), instruments, plan.needs_restart.clone()]
}

fn words(lists: [&[&str]; 5]) -> [Vec<String>; 5] {
    lists.map(|list| list.iter().map(|word| (*word).to_string()).collect())
}

#[test]
fn what_is_the_same_is_left_alone() {
    let text = [EURUSD, &source("a", ""), &source("b", "")].concat();
    assert_eq!(planned(&in_effect(&text), &text), words([&[], &[], &[], &[], &[]]));
    // The same in other words.
    let same = text.replace("symbols = [\"EURUSD\"]", "symbols = [ 'EURUSD' ]");
    assert_eq!(planned(&in_effect(&text), &same), words([&[], &[], &[], &[], &[]]));
}

#[test]
fn sources_come_change_and_go_and_instruments_come() {
    let now = in_effect(&[EURUSD, &source("a", ""), &source("b", ""), &source("c", "")].concat());
    let new = [EURUSD, GBPUSD, &source("a", ""), &source("b", "liveness_ms = 700"), &source("d", "")].concat();
    assert_eq!(planned(&now, &new), words([&["d"], &["b"], &["c"], &["GBPUSD"], &[]]));
}

#[test]
fn what_would_change_the_meaning_of_records_needs_a_restart() {
    let now = in_effect(&[EURUSD, GBPUSD, &source("a", ""), &source("b", "")].concat());
    let new = [
        &EURUSD.replace("digits = 5", "digits = 4"),
        "[journal]\nsync_ms = 77\n[validate.fx]\nmax_spread = \"9 pips\"\n",
        &source("a", "priority = 7"),
        &source("b", "scope = \"private\"\nowner = \"ann\"\nliveness_ms = 700"),
    ]
    .concat();
    let restart: &[&str] = &[
        "sources.a.priority",
        "sources.b.scope",
        "sources.b.owner",
        "instruments.EURUSD",
        "instruments.GBPUSD",
        "journal.sync_ms",
        "validate.fx.max_spread",
    ];
    assert_eq!(planned(&now, &new), words([&[], &["b"], &[], &[], restart]));
}

#[test]
fn a_source_that_comes_again_is_whose_it_was() {
    let mut now = in_effect(&[EURUSD, &source("a", ""), &source("b", "scope = \"private\"\nowner = \"ann\"")].concat());
    let all = [EURUSD, &source("a", ""), &source("b", "")].concat();
    now.sources.retain(|known| known.name != "b");
    now.config.take_from(&settings(EURUSD).config, "sources.b");
    assert_eq!(planned(&now, &all), words([&[], &[], &[], &[], &["sources.b"]]));
    let same = [EURUSD, &source("a", ""), &source("b", "scope = \"private\"\nowner = \"ann\"")].concat();
    assert_eq!(planned(&now, &same), words([&["b"], &[], &[], &[], &[]]));
}

#[test]
fn changes_are_told_a_line_each() {
    let changes = Changes {
        added: vec!["new".into()],
        changed: vec!["other".into()],
        removed: vec!["old".into()],
        instruments: vec!["GBPUSD".into()],
        needs_restart: vec!["journal.sync_ms".into()],
    };
    let lines = [
        "instruments.GBPUSD: added",
        "sources.old: removed",
        "sources.other: changed",
        "sources.new: added",
        "journal.sync_ms: needs a restart",
    ];
    assert_eq!(changes.lines(), lines);
}
