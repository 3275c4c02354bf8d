#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::simulator::event::Quote;
use crate::simulator::venue::Faults;

/// 2024-08-08 13:00 UTC, the liveliest hour.
const START_NS: i64 = 1_723_122_000_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

fn venue(name: &str, symbols: &[&str]) -> VenueSpec {
    VenueSpec {
        name: name.into(),
        symbols: symbols.iter().map(ToString::to_string).collect(),
        quotes_per_1000s: 15_000,
        trades_per_1000s: 0,
        spread_permille: 1_000,
        window_ns: 0,
        delay_ns: 0,
        jitter_ns: 0,
        skew_ns: 0,
        faults: Faults::default(),
    }
}

fn run(market: &mut Market, from_ns: i64, seconds: i64, poll_ns: i64) -> Vec<Delivery> {
    let mut out = Vec::new();
    let mut now_ns = from_ns;
    while now_ns <= from_ns + seconds * SECOND_NS {
        market.advance(now_ns, &mut out);
        now_ns += poll_ns;
    }
    out
}

fn quotes(deliveries: &[Delivery], venue: usize, symbol: usize) -> Vec<Quote> {
    let of = |d: &Delivery| match d.event {
        Event::Quote(quote) if d.venue == venue && quote.symbol == symbol => Some(quote),
        _ => None,
    };
    deliveries.iter().filter_map(of).collect()
}

fn market(seed: u64, specs: Vec<VenueSpec>) -> Market {
    Market::new(seed, 1_000, specs)
}

#[test]
fn the_same_seed_says_the_same_however_often_it_is_asked() {
    let mut slow = venue("slow", &["EURUSD", "BTCUSDT"]);
    (slow.delay_ns, slow.jitter_ns, slow.trades_per_1000s) = (25_000_000, 30_000_000, 4_000);
    slow.faults = Faults { duplicates: 50_000, out_of_order: 50_000, crossed: 50_000, fat_finger: 50_000 };
    let specs = vec![slow, venue("fast", &["EURUSD"])];
    let often = run(&mut market(7, specs.clone()), START_NS, 20, 1_000_000);
    assert!(often.len() > 500, "{}", often.len());
    assert_eq!(often, run(&mut market(7, specs.clone()), START_NS, 20, 500_000_000));
    assert_ne!(often, run(&mut market(8, specs), START_NS, 20, 1_000_000));
}

#[test]
fn one_market_moves_all_brokers() {
    let symbols = ["EURUSD", "USDJPY"];
    let said =
        run(&mut market(3, vec![venue("a", &symbols), venue("b", &symbols)]), START_NS, 4 * 3_600, 1_000_000_000);
    // The last mid of every half minute.
    let mids = |venue, symbol| -> BTreeMap<i64, i64> {
        let at = |q: &Quote| (q.event_ns / (30 * SECOND_NS), (q.bid.e9() + q.ask.e9()) / 2);
        quotes(&said, venue, symbol).iter().map(at).collect()
    };
    let (a, b, yen) = (mids(0, 0), mids(1, 0), mids(0, 1));
    for (time, mid) in &a {
        let apart = (mid - b[time]).abs();
        assert!(apart < 300_000, "two brokers are less than 3 pips apart, not {apart}e-9");
    }
    // The dollar is in both pairs, on opposite sides.
    let moved = |mids: &BTreeMap<i64, i64>, time: i64| (mids[&time] - mids[&(time - 1)]).signum();
    let times: Vec<i64> = a.keys().skip(1).copied().collect();
    let opposite = times.iter().filter(|time| moved(&a, **time) == -moved(&yen, **time)).count();
    assert!(opposite * 100 > times.len() * 57, "{opposite} of {} half minutes moved the opposite way", times.len());
}

#[test]
fn quotes_are_sane_without_faults() {
    let symbols = ["EURUSD", "GBPUSD", "USDJPY", "XAUUSD", "BTCUSDT", "ETHUSDT"];
    let said = run(&mut market(11, vec![venue("a", &symbols)]), START_NS, 1_200, 1_000_000_000);
    for (index, name) in symbols.iter().enumerate() {
        let symbol = Symbol::named(name);
        let mut last_ns = 0;
        let all = quotes(&said, 0, index);
        for quote in &all {
            assert!(quote.bid < quote.ask, "{name}: {quote:?}");
            assert_eq!((quote.bid.e9() % symbol.point_e9(), quote.ask.e9() % symbol.point_e9()), (0, 0), "on the grid");
            assert!((quote.bid.e9() - symbol.anchor_e9).abs() < symbol.anchor_e9 / 20, "{name}: {quote:?}");
            assert!(quote.event_ns > last_ns, "{name}: in order");
            last_ns = quote.event_ns;
        }
        // The engine's usual limits: 20 pips of ten points, or 50 basis points.
        let widest = all.iter().map(|q| q.ask.e9() - q.bid.e9()).max().unwrap();
        let limit = if symbol.digits % 2 == 1 { 200 * symbol.point_e9() } else { symbol.anchor_e9 / 200 };
        assert!(widest < limit, "{name}: {widest}e-9");
        let biggest = all.windows(2).map(|w| (w[1].bid.e9() - w[0].bid.e9()).abs()).max().unwrap();
        assert!(biggest < symbol.anchor_e9 / 100, "{name}: a step of {biggest}e-9 would be refused as a jump");
    }
}

#[test]
fn rates_follow_the_hour_and_spreads_widen_in_bursts() {
    let count = |start_ns| run(&mut market(5, vec![venue("a", &["EURUSD"])]), start_ns, 600, 1_000_000_000).len();
    let (lively, sleepy) = (count(START_NS), count(START_NS + 9 * 3_600 * SECOND_NS));
    assert!((8_000..14_000).contains(&lively), "15 a second and bursts: {lively} in 600 s");
    assert!(sleepy < lively / 2, "{sleepy} at 22:00 UTC");
    let said = run(&mut market(5, vec![venue("a", &["EURUSD"])]), START_NS, 600, 1_000_000_000);
    let mut spreads: Vec<i64> = quotes(&said, 0, 0).iter().map(|q| q.ask.e9() - q.bid.e9()).collect();
    spreads.sort_unstable();
    assert!(spreads[spreads.len() - 1] > 2 * spreads[spreads.len() / 2], "a burst at least doubles the spread");
}

#[test]
fn a_window_lets_one_price_through_and_keeps_the_last() {
    let mut spec = venue("oanda", &["EURUSD", "USDJPY"]);
    (spec.quotes_per_1000s, spec.window_ns) = (100_000, 250_000_000);
    let said = run(&mut market(9, vec![spec]), START_NS, 60, 1_000_000);
    for symbol in 0..2 {
        let times: Vec<i64> = said.iter().filter(|d| d.event.symbol() == symbol).map(|d| d.at_ns).collect();
        assert!(times.windows(2).all(|w| w[1] - w[0] >= 250_000_000), "at most four a second");
        assert!(times.len() > 230, "a busy instrument uses its four a second: {} in 60 s", times.len());
    }
}

#[test]
fn faults_come_as_often_as_configured() {
    let share = |faults| {
        let mut spec = venue("a", &["EURUSD"]);
        (spec.quotes_per_1000s, spec.faults) = (200_000, faults);
        quotes(&run(&mut market(2, vec![spec]), START_NS, 60, 1_000_000_000), 0, 0)
    };
    let near = |found: usize, of: usize| (of * 15 / 1_000..of * 25 / 1_000).contains(&found);
    let said = share(Faults { duplicates: 20_000, ..Faults::default() });
    let twice = said.windows(2).filter(|w| w[0] == w[1]).count();
    assert!(near(twice, said.len()), "{twice} of {}", said.len());
    let said = share(Faults { out_of_order: 20_000, ..Faults::default() });
    let late = said.windows(2).filter(|w| w[1].event_ns < w[0].event_ns).count();
    assert!(near(late, said.len()), "{late} of {}", said.len());
    let said = share(Faults { crossed: 20_000, ..Faults::default() });
    let crossed = said.iter().filter(|q| q.bid > q.ask).count();
    assert!(near(crossed, said.len()), "{crossed} of {}", said.len());
    let said = share(Faults { fat_finger: 20_000, ..Faults::default() });
    let off = said.iter().filter(|q| (q.bid.e9() - 1_085_000_000).abs() > 25_000_000).count();
    assert!(near(off, said.len()), "{off} of {}", said.len());
}

#[test]
fn a_stall_is_skipped_and_not_made_up_for() {
    let mut market = market(1, vec![venue("a", &["EURUSD"])]);
    run(&mut market, START_NS, 1, 1_000_000);
    let mut out = Vec::new();
    market.advance(START_NS + 3_600 * SECOND_NS, &mut out);
    assert!(out.len() < 5, "{} events after an hour's sleep", out.len());
}

#[test]
fn delay_and_skew_are_the_brokers_own() {
    let mut spec = venue("a", &["EURUSD"]);
    (spec.delay_ns, spec.jitter_ns, spec.skew_ns) = (40_000_000, 10_000_000, -3_000_000);
    for delivery in run(&mut market(1, vec![spec]), START_NS, 30, 1_000_000) {
        let Event::Quote(quote) = delivery.event else { panic!("a quote") };
        let late_ns = delivery.at_ns - (quote.event_ns + 3_000_000);
        // Never less than the delay; an earlier quote's longer jitter may hold it up a little.
        assert!((40_000_000..=50_000_000).contains(&late_ns), "{late_ns}");
    }
}
