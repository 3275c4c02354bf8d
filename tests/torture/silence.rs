//! A socket that is open, heartbeats that come, and no prices; and the weekend, on which that is no fault.

use tickwire::market::{Calendar, Class, Holidays};
use tickwire_schemas::record::Quote;
use tickwire_schemas::words::{Cause, GapState, SourceStatus};

use super::feed::{Feed, Link, PACE};
use super::stages::{MINUTE, MS, SECOND, Seen, at, pipeline, tick, timer};

/// The price at a time: another one every quarter of a second.
fn price(at_ns: i64) -> (i64, i64) {
    let bid = 1_085_000_000 + at_ns / (250 * MS) % 40 * 10_000;
    (bid, bid + 100_000)
}

/// Two sources quote until one of them says only heartbeats; ms after its last price at which it left the best price, was
/// mute, was let go of, was asked for a new connection, and was in the best price again.
fn fall_silent(max_age_ms: i64) -> [i64; 4] {
    let mut pipeline = pipeline(&format!("[aggregate]\nmax_age_ms = {max_age_ms}\n"));
    let mut seen = Seen::default();
    let (mut worst, mut other) = (Feed::new(1, PACE, 1, 100 * MS), Feed::new(2, PACE, 2, 100 * MS));
    let noon = at("2026-11-18T12:00:00Z");
    let last_ns = noon + 30 * SECOND;
    let mut times: [Option<i64>; 4] = [None; 4];
    let mut says_prices = true;
    let mut now_ns = noon;
    while times[3].is_none() {
        assert!(now_ns < noon + 5 * MINUTE, "{times:?}");
        let mut run = |input| pipeline.run(&input, &mut seen, now_ns);
        // Whatever comes by the socket makes the session ask the machine; heartbeats come every 50 ms.
        let let_go = worst.step(now_ns, true, &mut run);
        other.step(now_ns, true, &mut run);
        for (source, feed, speaks) in [(1, &mut worst, says_prices), (2, &mut other, true)] {
            if now_ns % (250 * MS) == 0 && feed.link == Link::Up && speaks {
                feed.data(now_ns, &mut run);
                run(tick(source, 1, (now_ns, now_ns), price(now_ns)));
            }
        }
        run(timer(now_ns));
        let note = |at: &mut Option<i64>, happens: bool| {
            if happens && at.is_none() {
                *at = Some((now_ns - last_ns) / MS);
            }
        };
        let sources = seen.quotes.drain(..).next_back().map(|quote: Quote| quote.sources);
        if now_ns == last_ns {
            says_prices = false;
        } else if now_ns > last_ns {
            note(&mut times[0], sources == Some(1));
            note(&mut times[1], worst.status() == SourceStatus::Mute);
            note(&mut times[2], let_go);
            let connects = worst.connects;
            note(&mut times[3], connects == 2 && sources == Some(2));
            // Its new connection says prices again.
            says_prices |= connects == 2;
        }
        now_ns += 50 * MS;
    }
    let states: Vec<_> = seen.gaps.iter().map(|gap| (gap.head.source_id, gap.state, gap.cause, gap.from_ns)).collect();
    let of = |state: GapState| (1, state.code(), Cause::Mute.code(), last_ns);
    assert_eq!(states, [of(GapState::Open), of(GapState::Closed)]);
    assert_eq!(seen.gaps[1].to_ns % (250 * MS), 0);
    times.map(Option::unwrap)
}

#[test]
fn who_says_only_heartbeats_leaves_the_best_price_and_is_connected_anew() {
    // By age: within the limit and one beat of the clock.
    let [left, mute, let_go, back] = fall_silent(2_000);
    assert!((2_000..=2_050).contains(&left), "{left}");
    assert_eq!((mute, let_go), (5_000, 15_000), "liveness_ms, then mute_reconnect_ms");
    assert!((15_100..=15_700).contains(&back), "{back}");
    // By liveness, where age would let it stay.
    let [left, mute, let_go, _] = fall_silent(60_000);
    assert_eq!((left, mute, let_go), (5_000, 5_000, 15_000));
}

/// Friday 17:00 to Sunday 17:00 in New York, in winter, in summer and over both changes of the clock: brokers hold the
/// socket, send heartbeats and say nothing.
#[test]
fn a_weekend_passes_without_a_needless_connection_or_a_hole() {
    for (close, open) in [
        ("2026-11-20T22:00:00Z", "2026-11-22T22:00:00Z"),
        ("2026-07-17T21:00:00Z", "2026-07-19T21:00:00Z"),
        ("2026-03-06T22:00:00Z", "2026-03-08T21:00:00Z"),
        ("2026-10-30T21:00:00Z", "2026-11-01T22:00:00Z"),
    ] {
        let (close_ns, open_ns) = (at(close), at(open));
        let mut pipeline = pipeline("");
        let mut seen = Seen::default();
        let mut fx = Calendar::new(Class::Fx, &Holidays::default()).unwrap();
        let mut feed = Feed::new(1, PACE, 3, 100 * MS);
        let mut now_ns = close_ns - 10 * MINUTE;
        while now_ns < open_ns + 10 * MINUTE {
            let mut run = |input| pipeline.run(&input, &mut seen, now_ns);
            let is_open = fx.is_open(now_ns);
            assert!(!feed.step(now_ns, is_open, &mut run), "{close}: let go of the connection at {now_ns}");
            // The last price three seconds before the close, the first four seconds after the opening.
            let speaks = now_ns <= close_ns - 3 * SECOND || now_ns >= open_ns + 4 * SECOND;
            if feed.link == Link::Up && speaks {
                feed.data(now_ns, &mut run);
                run(tick(1, 1, (now_ns, now_ns), price(now_ns)));
                assert_eq!(feed.status(), SourceStatus::Live);
            }
            if now_ns % (10 * SECOND) == 0 {
                run(timer(now_ns));
            }
            now_ns += SECOND;
        }
        assert_eq!((feed.connects, seen.gaps.len()), (1, 0), "{close}");
    }
}
