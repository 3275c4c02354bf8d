#![allow(clippy::unwrap_used)]
use tickwire_schemas::record::RECORD_BYTES_MAX;
use tickwire_schemas::words::Cause;

use super::*;
use crate::market::{Instrument, InstrumentId, Scope, Source, SourceId, VolumeOf};

const SECOND_NS: i64 = 1_000_000_000;
/// 2026-01-05 10:00 UTC, a Monday.
const BEGIN_NS: i64 = 1_767_607_200 * SECOND_NS;
const A: u32 = 11;
const B: u32 = 12;
const MINE: u32 = 13;

fn market() -> Market {
    let source = |id, name: &str, scope, priority| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: String::new(),
        priority,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = |id, symbol: &str, class| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class,
        digits: 5,
        pip: "0.0001".parse().unwrap(),
    };
    let sources = vec![
        source(A, "a", Scope::Global, 2),
        source(B, "b", Scope::Global, 1),
        source(MINE, "mine", Scope::Private, 0),
    ];
    Market::new(sources, vec![instrument(1, "EURUSD", Class::Fx), instrument(2, "BTCUSD", Class::Crypto)])
}

fn tracker(wanted: &[(usize, usize)]) -> Tracker {
    Tracker::new(&market(), wanted).unwrap()
}

fn give<R: Record>(tracker: &mut Tracker, record: R) {
    let mut bytes = [0; RECORD_BYTES_MAX];
    let length = record.write(&mut bytes);
    tracker.record(R::KIND, &bytes[..length]).unwrap();
}

fn at(ms: i64) -> i64 {
    BEGIN_NS + ms * 1_000_000
}

fn head(source_id: u32, instrument_id: u32) -> Head {
    Head { source_id, instrument_id, ..Head::default() }
}

fn timer(tracker: &mut Tracker, ms: i64) {
    give(tracker, Timer { now_ns: at(ms), ..Timer::default() });
}

fn state(tracker: &mut Tracker, source: u32, ms: i64, status: SourceStatus) {
    give(
        tracker,
        SourceState { head: head(source, 0), ts_recv_ns: at(ms), status: status.code(), ..SourceState::default() },
    );
}

fn tick_of(source: u32, ms: i64) -> Tick {
    Tick {
        head: head(source, 1),
        ts_event_ns: NO_TIME,
        ts_recv_ns: at(ms),
        bid_e9: 1_100_000_000,
        ask_e9: 1_100_100_000,
        ..Tick::default()
    }
}

fn quote(tracker: &mut Tracker, ms: i64, bid: u32, ask: u32) {
    give(
        tracker,
        Quote {
            head: head(SOURCE_BEST, 1),
            ts_recv_ns: at(ms),
            bid_source_id: bid,
            ask_source_id: ask,
            ..Quote::default()
        },
    );
}

fn gap(tracker: &mut Tracker, source: u32, ms: i64, (from, to): (i64, Option<i64>), state: GapState) {
    give(
        tracker,
        Gap {
            head: head(source, 1),
            ts_recv_ns: at(ms),
            from_ns: at(from),
            to_ns: to.map_or(NO_TIME, at),
            cause: Cause::Mute.code(),
            state: state.code(),
            ..Gap::default()
        },
    );
}

/// A row of a whole minute in which nothing happened.
fn empty(source: &str, priority: u16) -> SourceMinute {
    SourceMinute {
        audience: Audience::Global,
        source: source.into(),
        symbol: "EURUSD".into(),
        minute: BEGIN_NS / SECOND_NS,
        ticks: 0,
        rejects: 0,
        latency_p50_us: None,
        latency_p99_us: None,
        avg_spread_e9: NO_PRICE,
        uptime_percent: 0.0,
        completeness_percent: 0.0,
        best_bid_count: 0,
        best_ask_count: 0,
        score: 0.0,
        reject_reasons: Vec::new(),
        ticks_per_second: 0.0,
        best_quotes: 0,
        open_seconds: 60.0,
        priority,
    }
}

fn rows(tracker: &mut Tracker) -> Vec<SourceMinute> {
    tracker.take_closed().into_iter().map(|(_, row)| row).collect()
}

#[test]
fn a_minute_has_the_figures_of_its_records() {
    let mut t = tracker(&[(0, 0), (1, 0)]);
    timer(&mut t, 0);
    state(&mut t, A, 0, SourceStatus::Connecting);
    state(&mut t, A, 0, SourceStatus::Live);
    // Three prices of `a`: two stamped, one without an ask. 1, 2 and 2 pips wide.
    give(&mut t, Tick { ts_event_ns: at(0) - 300_000_000, ..tick_of(A, 0) });
    give(&mut t, Tick { ts_event_ns: at(1_000) - 100_000_000, ask_e9: 1_100_200_000, ..tick_of(A, 1_000) });
    give(&mut t, Tick { ask_e9: NO_PRICE, ..tick_of(A, 2_000) });
    let refused = Verdict::Refused.code();
    let reasons = Check::Spread.bit() | Check::Jump.bit();
    give(&mut t, Tick { verdict: refused, reasons, ..tick_of(A, 3_000) });
    give(&mut t, Tick { verdict: Verdict::Duplicate.code(), ..tick_of(A, 3_000) });
    state(&mut t, B, 6_000, SourceStatus::Live);
    // One price of `b`, whose clock is ahead of ours.
    give(&mut t, Tick { ts_event_ns: at(6_000) + 100_000_000, ..tick_of(B, 6_000) });
    quote(&mut t, 6_000, A, B);
    quote(&mut t, 7_000, A, A);
    quote(&mut t, 8_000, SOURCE_BEST, SOURCE_BEST);
    // `a` is mute from 30 s on and lives again at 45 s; its last price was at 24 s.
    give(&mut t, tick_of(A, 24_000));
    state(&mut t, A, 30_000, SourceStatus::Mute);
    gap(&mut t, A, 30_000, (24_000, None), GapState::Open);
    state(&mut t, A, 45_000, SourceStatus::Live);
    give(&mut t, tick_of(A, 48_000));
    gap(&mut t, A, 48_000, (24_000, Some(48_000)), GapState::Closed);
    timer(&mut t, 59_999);
    assert!(!t.has_closed());
    timer(&mut t, 60_001);
    let a = SourceMinute {
        ticks: 5,
        rejects: 2,
        latency_p50_us: Some(100_000),
        latency_p99_us: Some(300_000),
        avg_spread_e9: 125_000,
        uptime_percent: 75.0,
        completeness_percent: 60.0,
        best_bid_count: 2,
        best_ask_count: 1,
        // 30 + 12 + 15 * 1/2 + 15 * 100/125 + 10 * 5/6
        score: 69.833_336,
        reject_reasons: vec![("spread", 1), ("jump", 1), ("duplicate", 1)],
        ticks_per_second: 5.0 / 60.0,
        best_quotes: 2,
        ..empty("a", 2)
    };
    let b = SourceMinute {
        ticks: 1,
        latency_p50_us: Some(-100_000),
        latency_p99_us: Some(-100_000),
        avg_spread_e9: 100_000,
        uptime_percent: 90.0,
        // Before its first price all is missing.
        completeness_percent: 90.0,
        best_ask_count: 1,
        // 36 + 18 + 15 * 1/2 + 15 + 10
        score: 86.5,
        ticks_per_second: 1.0 / 60.0,
        best_quotes: 2,
        ..empty("b", 1)
    };
    assert_eq!(rows(&mut t), [a, b]);
}

#[test]
fn holes_and_states_go_on_into_the_next_minute_and_counts_do_not() {
    let mut t = tracker(&[(0, 0)]);
    state(&mut t, A, 0, SourceStatus::Live);
    give(&mut t, tick_of(A, 0));
    // A hole that was noticed after its minute was over counts from the turn on.
    timer(&mut t, 60_000);
    state(&mut t, A, 66_000, SourceStatus::Down);
    gap(&mut t, A, 66_000, (54_000, None), GapState::Open);
    timer(&mut t, 120_000);
    state(&mut t, A, 126_000, SourceStatus::Live);
    give(&mut t, tick_of(A, 132_000));
    gap(&mut t, A, 132_000, (54_000, Some(132_000)), GapState::Closed);
    timer(&mut t, 180_000);
    let shown: Vec<_> =
        rows(&mut t).into_iter().map(|r| (r.ticks, r.uptime_percent, r.completeness_percent, r.best_quotes)).collect();
    assert_eq!(shown, [(1, 100.0, 100.0, 0), (0, 10.0, 0.0, 0), (1, 90.0, 80.0, 0)]);
}

#[test]
fn a_dropped_stretch_is_missing_for_every_symbol_and_no_moment_counts_twice() {
    let mut t = tracker(&[(0, 0), (1, 0)]);
    timer(&mut t, 0);
    give(&mut t, tick_of(A, 0));
    give(&mut t, tick_of(B, 0));
    let dropped = |from: i64, to: i64| Gap {
        head: head(A, INSTRUMENT_ALL),
        ts_recv_ns: at(to),
        from_ns: at(from),
        to_ns: at(to),
        state: GapState::Closed.code(),
        ..Gap::default()
    };
    give(&mut t, dropped(6_000, 12_000));
    give(&mut t, dropped(9_000, 15_000));
    // What is repaired later was missing all the same.
    give(&mut t, Gap { state: GapState::Repaired.code(), ..dropped(6_000, 12_000) });
    timer(&mut t, 60_000);
    let shown: Vec<_> = rows(&mut t).into_iter().map(|r| r.completeness_percent).collect();
    assert_eq!(shown, [85.0, 100.0]);
}

#[test]
fn only_what_was_watched_of_a_minute_counts() {
    let mut t = tracker(&[(0, 0)]);
    timer(&mut t, 40_000);
    state(&mut t, A, 40_000, SourceStatus::Live);
    (0..10).for_each(|n| give(&mut t, tick_of(A, 40_000 + n)));
    // An earlier receipt that comes later does not turn the clock back.
    give(&mut t, tick_of(A, 39_000));
    timer(&mut t, 60_000);
    timer(&mut t, 70_000);
    t.finish();
    // Nobody watched the hour after: no row, and none of it counts.
    timer(&mut t, 3_690_000);
    timer(&mut t, 3_705_000);
    t.finish();
    let shown: Vec<_> = rows(&mut t)
        .into_iter()
        .map(|r| ((r.minute - BEGIN_NS / SECOND_NS) / 60, r.open_seconds, r.uptime_percent, r.ticks_per_second))
        .collect();
    assert_eq!(shown, [(0, 20.0, 100.0, 0.55), (1, 10.0, 100.0, 0.0), (61, 15.0, 100.0, 0.0)]);
}

#[test]
fn a_closed_market_has_no_row_and_an_open_one_beside_it_does() {
    let mut t = tracker(&[(0, 0), (0, 1)]);
    // The Sunday before.
    let sunday = -86_400_000;
    timer(&mut t, sunday);
    timer(&mut t, sunday + 60_000);
    assert_eq!(rows(&mut t).iter().map(|r| &*r.symbol).collect::<Vec<_>>(), ["BTCUSD"]);
}

#[test]
fn a_private_source_changes_no_other_score_and_its_quotes_are_not_common() {
    let mut t = tracker(&[]);
    timer(&mut t, 0);
    give(&mut t, tick_of(A, 0));
    give(&mut t, Tick { ask_e9: 1_100_050_000, ..tick_of(MINE, 0) });
    give(
        &mut t,
        Quote { head: head(MINE, 1), ts_recv_ns: at(1), bid_source_id: MINE, ask_source_id: MINE, ..Quote::default() },
    );
    timer(&mut t, 60_000);
    let rows = rows(&mut t);
    let shown: Vec<_> =
        rows.iter().map(|r| (&*r.source, r.audience, r.score, r.best_bid_count, r.best_quotes)).collect();
    // Without stamps the latency gives one half.
    assert_eq!(shown, [("a", Audience::Global, 92.5, 0, 0), ("mine", Audience::Private, 92.5, 0, 0)]);
}

#[test]
fn of_very_many_prices_an_even_part_gives_the_latencies() {
    let mut t = tracker(&[]);
    for n in 0..50_000 {
        give(&mut t, Tick { ts_event_ns: at(0) - n * 1_000, ..tick_of(A, 0) });
    }
    timer(&mut t, 60_000);
    let row = &rows(&mut t)[0];
    assert_eq!(row.ticks, 50_000);
    let (p50, p99) = (row.latency_p50_us.unwrap(), row.latency_p99_us.unwrap());
    assert!((24_900..25_100).contains(&p50) && (49_400..49_600).contains(&p99), "{p50} {p99}");
}

#[test]
fn a_symbol_says_how_its_common_price_is_and_since_when() {
    let mut tracker = tracker(&[(0, 0), (2, 0), (1, 1)]);
    timer(&mut tracker, 0);
    let quote = |tracker: &mut Tracker, source, ms, state: QuoteState| {
        give(tracker, Quote { head: head(source, 1), ts_recv_ns: at(ms), state: state.code(), ..Quote::default() });
    };
    assert_eq!(tracker.symbols()[0].common, None, "before the first quote nothing is known");
    quote(&mut tracker, SOURCE_BEST, 10, QuoteState::Single);
    quote(&mut tracker, SOURCE_BEST, 20, QuoteState::Crossed);
    quote(&mut tracker, SOURCE_BEST, 30, QuoteState::Crossed);
    quote(&mut tracker, MINE, 40, QuoteState::Ok);
    let symbols = tracker.symbols();
    assert_eq!((&*symbols[0].symbol, symbols[0].common), ("EURUSD", Some((QuoteState::Crossed, at(20)))));
    assert_eq!((&symbols[0].sources, &symbols[1].sources), (&vec![0, 2], &vec![1]));
    assert!(symbols[0].is_open);
    // Saturday.
    timer(&mut tracker, 5 * 86_400_000);
    let open: Vec<bool> = tracker.symbols().iter().map(|symbol| symbol.is_open).collect();
    assert_eq!(open, [false, true]);
}
