//! Holes are mended from the venue's past bars, also when the engine is killed in between.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use engine_support::{Engine, QUIET, command, free_port, http};
use serde_json::Value;
use tickwire::clock;
use tickwire::config::Config;
use tickwire::feeds;
use tickwire::journal::Reader;
use tickwire_schemas::record::{Bar, Gap, Record};
use tickwire_schemas::words::{Cause, GapState, Kind, Origin, Timeframe};

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;

fn ask_simulator(port: u16, mood: &str) {
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    assert_eq!(http(address, "POST", &format!("/__sim/{mood}")).0, 200);
}

fn word<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or("")
}

fn binance(name: &str, port: u16, source: &str) -> String {
    format!(
        "[simulators.{name}]\nbroker = \"binance\"\nlisten = \"127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n\
         [sources.{name}]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"BTCUSDT\"]\n{source}\n"
    )
}

/// Returns when every source has been told in each of these states of a hole.
fn until_gaps(terminal: &mut engine_support::Watch, sources: &[&str], state: &str, cause: Option<&str>) {
    let mut left: Vec<&str> = sources.to_vec();
    while !left.is_empty() {
        let gap = terminal.until(|r| word(r, "kind") == "gap" && word(r, "state") == state);
        if cause.is_none_or(|cause| word(&gap, "cause") == cause) {
            left.retain(|source| *source != word(&gap, "source"));
        }
    }
}

/// The past bars of a source, by timeframe and opening, as the venue tells them to anybody.
fn past(config: &str, source: &str, timeframes: &[Timeframe]) -> BTreeMap<(u8, i64), Bar> {
    let mut parsed = Config::load(&[], std::iter::empty()).unwrap();
    parsed.overlay(config, "test").unwrap();
    let specs = feeds::config::sources(&parsed).unwrap();
    let spec = specs.iter().find(|spec| spec.name == source).unwrap();
    let (history, now_ns) = (spec.venue.any_history().unwrap(), clock::now_ns());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut all = BTreeMap::new();
    for timeframe in timeframes {
        let to_ns = now_ns - now_ns % MINUTE_NS;
        let bars = history.bars(&spec.symbols[0].venue, *timeframe, to_ns - 30 * MINUTE_NS, to_ns);
        all.extend(runtime.block_on(bars).unwrap().into_iter().map(|bar| ((*timeframe as u8, bar.open_ts_ns), bar)));
    }
    all
}

/// Records with the names of their sources.
type Named<T> = Vec<(String, T)>;

/// The ledger and the mended bars of a journal, with the names of their sources.
fn journaled(dir: &Path) -> (Named<Gap>, Named<Bar>) {
    let (mut gaps, mut bars) = (Vec::new(), Vec::new());
    let mut reader = Reader::open(&dir.join("state/journal"), None).unwrap();
    let mut sources = BTreeMap::new();
    while let Some(entry) = reader.next().unwrap() {
        let (kind, bytes) = (entry.kind, entry.bytes.to_vec());
        if sources.is_empty() {
            sources = reader.catalogue().sources.iter().map(|s| (s.id.0, s.name.clone())).collect();
        }
        if kind == Kind::Gap {
            let gap = Gap::read(&bytes).unwrap();
            gaps.push((sources[&gap.head.source_id].clone(), gap));
        } else if kind == Kind::Bar {
            let bar = Bar::read(&bytes).unwrap();
            if bar.origin == Origin::Repair.code() {
                bars.push((sources[&bar.head.source_id].clone(), bar));
            }
        }
    }
    (gaps, bars)
}

/// Takes up to a minute and a half: bars are asked for when they have ended.
#[test]
fn holes_are_mended_from_the_past_also_when_the_engine_is_killed_in_between() {
    let (broker, exchange, poor) = (free_port(), free_port(), free_port());
    let quick = "backoff_min_ms = 20\nbackoff_max_ms = 100";
    let config = [
        QUIET.to_string(),
        "[instruments.BTCUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"1\"\n".into(),
        "[bars]\ntimeframes = [\"M1\", \"M5\"]\nprovisional_ms = 0\n".into(),
        "[repair]\ndelay_ms = 3000\nbackoff_ms = 200\n".into(),
        binance("broker", broker, &format!("rest_url = \"http://127.0.0.1:{broker}\"\n{quick}")),
        binance("exchange", exchange, &format!("rest_url = \"http://127.0.0.1:{exchange}\"\n{quick}")),
        // Without the address of its past it has none.
        binance("poor", poor, quick),
    ]
    .concat();
    let engine = Engine::start(&config);
    let mut terminal = engine.watch(&["--delivery", "all", "--sources", "*", "--kinds", "tick,gap"]);
    for source in ["broker", "exchange", "poor"] {
        terminal.until(|r| word(r, "kind") == "tick" && word(r, "source") == source);
    }
    [broker, exchange, poor].into_iter().for_each(|port| ask_simulator(port, "drop"));
    until_gaps(&mut terminal, &["broker", "exchange", "poor"], "closed", None);
    drop(terminal);
    // What the journal does not have when the engine is killed was not; then the holes would still be open.
    let is_closed = |(_, gap): &&(String, Gap)| gap.state == GapState::Closed.code();
    while journaled(engine.dir.path()).0.iter().filter(is_closed).count() < 3 {
        std::thread::yield_now();
    }
    let engine = Engine::start_in(engine.kill(), &config);
    let mut terminal = engine.watch(&["--delivery", "all", "--sources", "*", "--kinds", "gap"]);
    until_gaps(&mut terminal, &["broker", "exchange"], "repaired", Some("restart"));
    let timeframes = [Timeframe::M1, Timeframe::M5];
    let told: BTreeMap<&str, _> =
        ["broker", "exchange"].into_iter().map(|source| (source, past(&config, source, &timeframes))).collect();
    let (ended, dir) = engine.stop();
    assert!(ended);

    let (gaps, bars) = journaled(dir.path());
    for (source, bar) in &bars {
        let Some(told) = told[source.as_str()].get(&(bar.timeframe, bar.open_ts_ns)) else {
            panic!("{source} has no such bar: {bar:?}");
        };
        let of = |bar: &Bar| (bar.bid, bar.ask, bar.mid, bar.ticks, bar.volume_e8, bar.basis);
        assert_eq!(of(bar), of(told), "{source}");
    }
    let state = |gap: &Gap| GapState::from_code(gap.state).unwrap();
    let mut causes = Vec::new();
    for (source, closed) in gaps.iter().filter(|(_, gap)| state(gap) == GapState::Closed) {
        let same = |gap: &Gap| (gap.gap_epoch, gap.gap_id) == (closed.gap_epoch, closed.gap_id);
        let ends: Vec<_> = gaps.iter().map(|(_, gap)| gap).filter(|gap| same(gap)).map(state).collect();
        let ends: Vec<_> = ends.into_iter().filter(|s| ![GapState::Open, GapState::Closed].contains(s)).collect();
        causes.push((source.as_str(), closed.cause == Cause::Restart.code()));
        if source == "poor" {
            assert_eq!(ends, [GapState::Lost], "{closed:?}");
            continue;
        }
        if ends.is_empty() {
            // Of the end of the run.
            assert!(closed.gap_epoch == 2 && closed.cause != Cause::Restart.code(), "{source}: {closed:?}");
            continue;
        }
        assert_eq!(ends, [GapState::Repaired], "{source}: {closed:?}");
        let mut minute_ns = (closed.from_ns - SECOND_NS).div_euclid(MINUTE_NS) * MINUTE_NS;
        while minute_ns < closed.to_ns {
            let is_it = |(of, bar): &&(String, Bar)| {
                (of, bar.open_ts_ns, bar.timeframe) == (source, minute_ns, Timeframe::M1.code())
            };
            assert!(bars.iter().any(|bar| is_it(&bar)), "{source}: no bar of {minute_ns}");
            minute_ns += MINUTE_NS;
        }
    }
    for source in ["broker", "exchange", "poor"] {
        assert!(causes.contains(&(source, false)) && causes.contains(&(source, true)), "{source}: {causes:?}");
    }
    let check = command(dir.path(), &dir.path().join("test.toml"), &["replay-check"]).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
