#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tickwire_schemas::record::{Ohlc, Timer};
use tickwire_schemas::words::{Kind, RepairStep};

use super::*;
use crate::market::{Input, InstrumentId, Price, Size, SourceId, TickInput, TradeInput};
use crate::stages::tests::{Bench, MS, NOON, only, tick};

const MINUTE: i64 = 60_000;

/// What a test looks at: source, timeframe, start in ms after noon, bid, ticks, revision, state.
type Seen = (u32, Timeframe, i64, [i64; 4], u64, u16, BarState);

fn seen(bar: &Bar) -> Seen {
    let tenth = |price: i64| if price == NO_PRICE { 0 } else { price / 10_000 };
    let bid = [bar.bid.open_e9, bar.bid.high_e9, bar.bid.low_e9, bar.bid.close_e9].map(tenth);
    let state = BarState::from_code(bar.state).unwrap();
    let timeframe = Timeframe::from_code(bar.timeframe).unwrap();
    (bar.head.source_id, timeframe, (bar.open_ts_ns - NOON) / MS, bid, bar.ticks, bar.revision, state)
}

fn bars(records: &[(Kind, Vec<u8>)]) -> Vec<Seen> {
    only::<Bar>(records).iter().map(seen).collect()
}

fn timer(at_ms: i64) -> Input {
    Input::Timer(Timer { now_ns: NOON + at_ms * MS, ..Timer::default() })
}

/// Bars of one source, without the other stages.
fn alone(overrides: &str) -> Bench {
    Bench::of(&["bars"], &format!("[bars]\nprovisional_ms = 0\n{overrides}"))
}

fn run(bench: &mut Bench, input: impl Into<Input>) -> Vec<Seen> {
    bars(&bench.run(input.into()))
}

#[test]
fn a_minute_is_closed_by_the_first_tick_behind_it_and_holds_both_sides_and_the_mid() {
    let mut b = alone("timeframes = [\"M1\"]");
    for (at, bid, ask) in [(0, 10, 14), (20_000, 12, 15), (40_000, 7, 9), (59_999, 8, 13)] {
        assert_eq!(run(&mut b, tick(1, at, bid, ask)), []);
    }
    let closed: Vec<Bar> = only(&b.run(tick(1, MINUTE, 20, 21).into()));
    assert_eq!(seen(&closed[0]), (1, Timeframe::M1, 0, [10, 12, 7, 8], 4, 0, BarState::Final));
    let ohlc = |o: i64, h: i64, l: i64, c: i64| Ohlc {
        open_e9: o * 5_000,
        high_e9: h * 5_000,
        low_e9: l * 5_000,
        close_e9: c * 5_000,
    };
    assert_eq!((closed[0].ask, closed[0].mid), (ohlc(28, 30, 18, 26), ohlc(24, 27, 16, 21)));
    assert_eq!((closed[0].close_ts_ns - closed[0].open_ts_ns, closed[0].volume_e8), (MINUTE * MS, NO_SIZE));
    assert_eq!((closed[0].origin, closed[0].basis, closed[0].head.chain), (0, 0, 1));
    // Ten minutes of silence have no bars.
    assert_eq!(run(&mut b, tick(1, 11 * MINUTE, 30, 31)), [(1, Timeframe::M1, MINUTE, [20; 4], 1, 0, BarState::Final)]);
}

#[test]
fn the_clock_closes_bars_of_a_quiet_market_once() {
    let mut b = alone("timeframes = [\"M1\", \"M5\"]\nclose_delay_ms = 500");
    run(&mut b, tick(1, 1000, 10, 11));
    assert_eq!(run(&mut b, timer(MINUTE + 499)), []);
    assert_eq!(run(&mut b, timer(MINUTE + 500)), [(1, Timeframe::M1, 0, [10; 4], 1, 0, BarState::Final)]);
    assert_eq!(run(&mut b, timer(5 * MINUTE + 499)), []);
    assert_eq!(run(&mut b, timer(5 * MINUTE + 500)), [(1, Timeframe::M5, 0, [10; 4], 1, 0, BarState::Final)]);
    assert_eq!(run(&mut b, timer(100 * MINUTE)), []);
}

#[test]
fn a_late_tick_revises_what_is_closed_and_joins_what_forms_until_it_is_too_late() {
    let mut b = alone("timeframes = [\"M1\", \"M5\"]\nlateness_ms = 90000");
    run(&mut b, tick(1, 1000, 10, 11));
    run(&mut b, tick(1, MINUTE, 20, 21));
    // Before the first of its minute: the new open. The clock says 1:00, so the bar is closed for nought seconds.
    let revised = (1, Timeframe::M1, 0, [5, 10, 5, 10], 2, 1, BarState::Revised);
    assert_eq!(run(&mut b, tick(1, 500, 5, 6)), [revised]);
    // At the moment of another: it came later, so it closes.
    assert_eq!(run(&mut b, tick(1, 1000, 7, 8)), [(1, Timeframe::M1, 0, [5, 10, 5, 7], 3, 2, BarState::Revised)]);
    let closed = run(&mut b, timer(6 * MINUTE));
    assert_eq!(closed[1], (1, Timeframe::M5, 0, [5, 20, 5, 20], 4, 0, BarState::Final));
    // 90 s after the minute's end nothing changes it.
    assert_eq!(run(&mut b, tick(1, 30_000, 99, 100)), []);
    assert_eq!(b.out.late, 1);
    // A minute that was empty gets its bar, and the five minutes around it are revised.
    let expected = [
        (1, Timeframe::M1, 4 * MINUTE, [30; 4], 1, 0, BarState::Final),
        (1, Timeframe::M5, 0, [5, 30, 5, 30], 5, 1, BarState::Revised),
    ];
    assert_eq!(run(&mut b, tick(1, 4 * MINUTE, 30, 31)), expected);
}

#[test]
fn the_composite_is_made_of_quotes_and_a_private_source_is_not_in_it() {
    let mut b = Bench::new("[bars]\ntimeframes = [\"M1\"]\nprovisional_ms = 0");
    for (source, at, bid, ask) in [(1, 0, 10, 20), (2, 100, 12, 18), (9, 200, 15, 16), (1, 300, 10, 17)] {
        b.run(tick(source, at, 100_000 + bid, 100_000 + ask).into());
    }
    let closed: Vec<Bar> = only(&b.run(timer(MINUTE + 500)));
    let tenths = |price: i64| price / 10_000 - 100_000;
    let found: Vec<_> = closed
        .iter()
        .map(|bar| (bar.head.source_id, tenths(bar.bid.close_e9), tenths(bar.ask.close_e9), bar.ticks))
        .collect();
    // Three quotes: the private price changes nothing.
    assert_eq!(found, [(0, 12, 17, 3), (1, 10, 17, 2), (2, 12, 18, 1), (9, 15, 16, 1)]);
}

#[test]
fn a_trading_day_ends_at_five_in_new_york() {
    let mut b = alone("timeframes = [\"D1\"]");
    // Wednesday 1 May 2024: 17:00 in New York is 21:00 UTC, nine hours after noon.
    let five = 9 * 60 * MINUTE;
    run(&mut b, tick(1, 0, 10, 11));
    assert_eq!(run(&mut b, tick(1, five - 1, 12, 13)), []);
    let day = run(&mut b, tick(1, five, 20, 21));
    assert_eq!(day, [(1, Timeframe::D1, five - 24 * 60 * MINUTE, [10, 12, 10, 12], 2, 0, BarState::Final)]);
}

fn trade(at: i64, size: u64) -> TradeInput {
    TradeInput {
        source: SourceId(1),
        instrument: InstrumentId(1),
        ts_event_ns: Some(NOON + at * MS),
        ts_recv_ns: NOON + at * MS,
        price: Price::from_e9(1).unwrap(),
        size: Size::from_e8(size),
        trade_id: None,
        aggressor: tickwire_schemas::words::Aggressor::Unknown,
    }
}

#[test]
fn volume_comes_from_trades_or_from_the_sizes_at_the_bid() {
    let mut b = alone("timeframes = [\"M1\"]");
    b.run(TickInput { bid_size: Size::from_e8(77), ..tick(1, 0, 10, 11) }.into());
    b.run(trade(10, 5).into());
    b.run(trade(20, 6).into());
    // A trade ahead of the prices closes nothing: it waits for its minute's first price.
    assert_eq!(run(&mut b, trade(MINUTE, 8)), []);
    assert_eq!(run(&mut b, tick(1, 59_990, 12, 13)), []);
    let closed: Vec<Bar> = only(&b.run(tick(1, MINUTE + 5, 14, 15).into()));
    assert_eq!((closed[0].volume_e8, closed[0].ticks), (11, 2));
    b.run(trade(2 * MINUTE, 9).into());
    // A minute with a trade alone is not empty: it has volume, and no prices.
    let closed: Vec<Bar> = only(&b.run(timer(4 * MINUTE)));
    let found: Vec<_> = closed.iter().map(|bar| (bar.volume_e8, bar.ticks, bar.bid.open_e9 == NO_PRICE)).collect();
    assert_eq!(found, [(8, 1, false), (9, 0, true)]);
}

#[test]
fn forming_bars_are_published_now_and_then_when_they_changed() {
    let mut b = Bench::of(&["bars"], "[bars]\ntimeframes = [\"M1\", \"H1\"]\nprovisional_ms = 1000");
    run(&mut b, timer(0));
    run(&mut b, tick(1, 100, 10, 11));
    run(&mut b, tick(2, 100, 10, 11));
    let forming = |source, timeframe, ticks| (source, timeframe, 0, [10; 4], ticks, 0, BarState::Provisional);
    // Of the 64 parts of a round source 1's series is in the seventh and source 2's in the forty-seventh.
    assert_eq!(run(&mut b, timer(109)), []);
    assert_eq!(run(&mut b, timer(110)), [forming(1, Timeframe::M1, 1), forming(1, Timeframe::H1, 1)]);
    assert_eq!(run(&mut b, timer(734)), []);
    assert_eq!(run(&mut b, timer(1000)), [forming(2, Timeframe::M1, 1), forming(2, Timeframe::H1, 1)]);
    assert_eq!(run(&mut b, timer(2000)), [], "nothing new");
    run(&mut b, tick(1, 2100, 10, 11));
    assert_eq!(run(&mut b, timer(3000)), [forming(1, Timeframe::M1, 2), forming(1, Timeframe::H1, 2)]);
    // At the end of a recording all of it is shown.
    b.group.finish(&mut b.identity, &mut b.out, 0);
    assert_eq!(bars(&std::mem::take(&mut b.out.records)).len(), 4);
}

/// The minute at `at_ms` from the venue: prices in tenths of a pip.
fn mended(basis: Basis, timeframe: Timeframe, at_ms: i64, price: i64) -> Input {
    let ohlc = |price: i64| {
        let [open_e9, high_e9, low_e9, close_e9] = [0, 2, -2, 1].map(|step| (price + step) * 10_000);
        Ohlc { open_e9, high_e9, low_e9, close_e9 }
    };
    let mut repair = Repair {
        ts_recv_ns: NOON + 20 * MINUTE * MS,
        from_ns: NOON + at_ms * MS,
        to_ns: NOON + (at_ms + MINUTE) * MS,
        gap_id: 4,
        gap_epoch: 1,
        prices: ohlc(price),
        ask: ohlc(price + 10),
        ticks: 9,
        volume_e8: NO_SIZE,
        timeframe: timeframe.code(),
        basis: basis.code(),
        step: RepairStep::Bar.code(),
        ..Repair::default()
    };
    (repair.head.source_id, repair.head.instrument_id) = (1, 1);
    Input::Repair(repair)
}

#[test]
fn a_bar_of_a_hole_is_a_revision_of_its_own_origin_with_the_prices_that_the_venue_has() {
    let mut b = alone("timeframes = [\"M1\"]");
    let absent = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };
    for basis in [Basis::Quote, Basis::Bid, Basis::Ask, Basis::Mid, Basis::Last] {
        let input = mended(basis, Timeframe::M1, 0, 50);
        let Input::Repair(repair) = input else { panic!() };
        let bar: Vec<Bar> = only(&b.run(input));
        assert_eq!(bar.len(), 1);
        let has = |bases: &[Basis], prices| if bases.contains(&basis) { prices } else { absent };
        assert_eq!(bar[0].bid, has(&[Basis::Quote, Basis::Bid], repair.prices), "{basis}");
        assert_eq!(bar[0].ask, has(&[Basis::Quote, Basis::Ask], repair.ask), "{basis}");
        assert_eq!(bar[0].mid, has(&[Basis::Mid, Basis::Last], repair.prices), "{basis}");
        assert_eq!((bar[0].origin, bar[0].state), (Origin::Repair.code(), BarState::Revised.code()));
        assert_eq!((bar[0].basis, bar[0].revision, bar[0].ticks), (basis.code(), 1, 9));
        assert_eq!((bar[0].open_ts_ns, bar[0].close_ts_ns), (NOON, NOON + MINUTE * MS));
        assert_eq!(
            (bar[0].head.source_id, bar[0].head.chain),
            (1, 1 + u64::from(basis.code())),
            "its own chain goes on"
        );
    }
    assert_eq!(run(&mut b, mended(Basis::Quote, Timeframe::M5, 0, 50)), [], "a timeframe that is not published");
}

#[test]
fn a_repair_stands_above_every_bar_of_its_interval_that_is_remembered_and_changes_none_of_ours() {
    let mut b = alone("timeframes = [\"M1\", \"M5\"]\nlateness_ms = 6000000");
    run(&mut b, tick(1, 1000, 10, 11));
    run(&mut b, tick(1, MINUTE, 20, 21));
    run(&mut b, tick(1, 2000, 12, 13));
    let late = run(&mut b, tick(1, 3000, 14, 15));
    assert_eq!(late, [(1, Timeframe::M1, 0, [10, 14, 10, 14], 3, 2, BarState::Revised)]);
    let again = |b: &mut Bench, at| run(b, mended(Basis::Quote, Timeframe::M1, at, 50))[0].5;
    assert_eq!((again(&mut b, 0), again(&mut b, 0)), (3, 4));
    assert_eq!(again(&mut b, 3 * MINUTE), 1, "we have none");
    // The minute that forms goes on as if nothing had been said, and so do the five.
    assert_eq!(again(&mut b, MINUTE), 1);
    let mut closed = run(&mut b, tick(1, 5 * MINUTE, 30, 31));
    assert_eq!(closed.remove(0), (1, Timeframe::M1, MINUTE, [20; 4], 1, 0, BarState::Final));
    assert_eq!(closed, [(1, Timeframe::M5, 0, [10, 20, 10, 20], 4, 0, BarState::Final)]);
    // Neither does a late tick's revision take the repair into account.
    assert_eq!(run(&mut b, tick(1, 4000, 5, 6))[0].5, 3);
    // Many holes later the first is forgotten.
    (10..200).for_each(|n| assert_eq!(again(&mut b, n * MINUTE), 1));
    assert_eq!((again(&mut b, 199 * MINUTE), again(&mut b, 3 * MINUTE)), (2, 1));
}

/// One price or trade of the model: ms after noon, bid, ask, volume; 0 is an absent one.
type Said = (i64, i64, i64, u64);

fn input((at, bid, ask, volume): Said, now_ms: i64) -> Input {
    if volume != 0 {
        return trade(at, volume).into();
    }
    let side = |price: i64| if price == 0 { None } else { Price::from_e9(price * 10_000) };
    TickInput { ts_recv_ns: NOON + now_ms * MS, bid: side(bid), ask: side(ask), ..tick(1, at, 1, 1) }.into()
}

/// Bars as they would be had everything come in time: grouped by interval, in the order of stamps, then of arrival.
fn model(said: &[Said]) -> BTreeMap<(u8, i64), (Ohlc, Ohlc, u64, u64)> {
    let mut calendar = crate::stages::tests::market().calendar(Class::Fx).unwrap();
    let mut sorted = said.to_vec();
    sorted.sort_by_key(|(at, ..)| *at);
    let mut bars: BTreeMap<(u8, i64), Vec<Said>> = BTreeMap::new();
    for said in sorted {
        for timeframe in Timeframe::ALL {
            let span = calendar.interval(*timeframe, NOON + said.0 * MS).unwrap();
            bars.entry((timeframe.code(), span.from_ns)).or_default().push(said);
        }
    }
    let ohlc = |prices: Vec<i64>| {
        let prices: Vec<i64> = prices.into_iter().filter(|p| *p != 0).map(|p| p * 10_000).collect();
        let [open_e9, high_e9, low_e9, close_e9] =
            [prices.first(), prices.iter().max(), prices.iter().min(), prices.last()]
                .map(|p| p.copied().unwrap_or(NO_PRICE));
        Ohlc { open_e9, high_e9, low_e9, close_e9 }
    };
    bars.into_iter()
        .map(|(key, said)| {
            let bid = ohlc(said.iter().map(|s| s.1).collect());
            let ask = ohlc(said.iter().map(|s| s.2).collect());
            let ticks = said.iter().filter(|s| s.3 == 0).count() as u64;
            let volume = if ticks == said.len() as u64 { NO_SIZE } else { said.iter().map(|s| s.3).sum() };
            (key, (bid, ask, ticks, volume))
        })
        .collect()
}

proptest! {
    /// In whatever order ticks come and whenever the clock strikes, the last word on every bar is what a plain grouping of
    /// all ticks gives; revisions count up from a final bar; and a run cut in two gives the same bytes.
    #[test]
    fn every_bar_ends_as_the_grouping_of_its_ticks(
        steps in prop::collection::vec((0i64..100_000, 0i64..150_000, 0i64..40, 0i64..40, 0u8..10), 1..120),
        cut in 0usize..120,
    ) {
        let overrides = "lateness_ms = 4000000000";
        let (mut whole, mut first) = (alone(overrides), alone(overrides));
        let (mut now, mut said, mut inputs) = (0, Vec::new(), Vec::new());
        for (step, back, bid, ask, kind) in steps {
            now += step;
            if kind == 0 {
                inputs.push(timer(now));
                continue;
            }
            let back = if kind < 4 { back } else { 0 };
            if kind == 4 && ask < 10 {
                inputs.push(mended(Basis::Quote, Timeframe::M1, (now - back).div_euclid(MINUTE) * MINUTE, bid));
                continue;
            }
            // On whole seconds, so that some are at one moment; trades may be stamped ahead of the clock.
            let at = (now - back).div_euclid(1000) * 1000;
            let one = if kind > 7 { (at + ask * 1000, 0, 0, bid as u64 + 1) } else { (at, bid, ask, 0) };
            if one != (at, 0, 0, 0) {
                said.push(one);
                inputs.push(input(one, now));
            }
        }
        inputs.push(timer(now + 40 * 24 * 60 * MINUTE));
        let records: Vec<_> = inputs.iter().map(|input| whole.run(*input)).collect();
        let mut last: BTreeMap<(u8, i64), Bar> = BTreeMap::new();
        let bars = records.iter().flat_map(|records| only::<Bar>(records));
        for bar in bars.filter(|bar| bar.origin == Origin::Own.code()) {
            let before = last.insert((bar.timeframe, bar.open_ts_ns), bar);
            let expected = before.map_or((0, BarState::Final), |before| (before.revision + 1, BarState::Revised));
            prop_assert_eq!((bar.revision, bar.state), (expected.0, expected.1.code()));
        }
        let found: BTreeMap<_, _> =
            last.into_iter().map(|(key, bar)| (key, (bar.bid, bar.ask, bar.ticks, bar.volume_e8))).collect();
        prop_assert_eq!(found, model(&said));

        let cut = cut.min(inputs.len());
        inputs[..cut].iter().for_each(|input| drop(first.run(*input)));
        let (mut states, mut chains) = (Vec::new(), Vec::new());
        first.group.save(&mut states);
        first.identity.chains().save(&mut chains);
        let mut second = alone(overrides);
        second.group.load(&states).unwrap();
        second.identity.chains().load(&chains).unwrap();
        second.identity.resume_after(1, first.identity.seq());
        for (at, input) in inputs.iter().enumerate().skip(cut) {
            prop_assert_eq!(&second.run(*input), &records[at]);
        }
    }
}
