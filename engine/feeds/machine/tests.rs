#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{Calendar, Class, Holidays};
use SourceStatus::{Connecting, Down, Live, Mute, Stopped};

const MS: i64 = 1_000_000;

fn pace() -> Pace {
    Pace {
        liveness_ns: 1_000 * MS,
        mute_reconnect_ns: 3_000 * MS,
        backoff_min_ns: 100 * MS,
        backoff_max_ns: 10_000 * MS,
        login_backoff_ns: 60_000 * MS,
        ping_every_ns: None,
        age_max_ns: None,
        overlaps: false,
    }
}

fn state(machine: &Machine) -> (SourceStatus, Cause, u32) {
    let State { status, cause, attempt } = machine.state();
    (status, cause, attempt)
}

/// A machine whose connection was made at 0.
fn open(pace: Pace) -> Machine {
    let mut machine = Machine::new(pace, 7);
    assert_eq!(machine.step(0, true), Step::Connect);
    machine.connected(0);
    machine
}

/// The wait that a failure at `now_ns` led to.
fn wait(machine: &mut Machine, now_ns: i64) -> i64 {
    match machine.step(now_ns, true) {
        Step::Wait(until_ns) => until_ns - now_ns,
        Step::Connect => 0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn live_comes_with_the_first_price_and_not_with_the_connection() {
    let mut machine = Machine::new(pace(), 1);
    assert_eq!(state(&machine), (Connecting, Cause::Start, 0));
    assert_eq!(machine.step(0, true), Step::Connect);
    machine.connected(5 * MS);
    assert_eq!(state(&machine), (Connecting, Cause::Start, 1));
    assert_eq!(machine.step(5 * MS, true), Step::Read(1_005 * MS));
    assert!(machine.data(10 * MS));
    assert_eq!(state(&machine), (Live, Cause::None, 0));
    assert!(!machine.data(11 * MS), "the second price changes nothing");
}

#[test]
fn silence_is_mute_whatever_else_is_said_and_then_a_new_connection() {
    let mut machine = open(pace());
    machine.data(0);
    // Heartbeats make the session ask, and change nothing.
    for at in (0..1_000).step_by(100) {
        assert_eq!(machine.step(at * MS, true), Step::Read(1_000 * MS));
    }
    assert_eq!(machine.step(1_000 * MS, true), Step::Read(4_000 * MS));
    assert_eq!(state(&machine), (Mute, Cause::Mute, 0));
    assert_eq!(machine.step(4_000 * MS, true), Step::Disconnect);
    assert_eq!(state(&machine), (Down, Cause::Mute, 0));
}

#[test]
fn a_price_ends_mute() {
    let mut machine = open(pace());
    machine.data(0);
    machine.step(1_500 * MS, true);
    assert!(machine.data(1_600 * MS));
    assert_eq!(state(&machine), (Live, Cause::None, 0));
    assert_eq!(machine.step(1_600 * MS, true), Step::Read(2_600 * MS));
}

#[test]
fn a_connection_that_never_says_a_price_is_mute_too() {
    let mut machine = open(pace());
    machine.step(1_000 * MS, true);
    assert_eq!(state(&machine), (Mute, Cause::Mute, 1));
}

#[test]
fn waits_double_to_the_cap_with_full_jitter() {
    let (mut longest, mut shortest) = ([0; 10], [i64::MAX; 10]);
    for seed in 0..400 {
        let (mut machine, mut now_ns) = (Machine::new(pace(), seed), 0);
        for failure in 0..10 {
            assert_eq!(machine.step(now_ns, true), Step::Connect);
            machine.failed(Cause::ConnectFailed, None, now_ns);
            let waited = match machine.phase {
                Phase::Waiting { until_ns } => until_ns - now_ns,
                other => panic!("{other:?}"),
            };
            (longest[failure], shortest[failure]) = (longest[failure].max(waited), shortest[failure].min(waited));
            now_ns += waited;
        }
        assert_eq!(machine.state().attempt, 10);
    }
    for (failure, (longest, shortest)) in longest.into_iter().zip(shortest).enumerate() {
        let bound = ((100 * MS) << failure).min(10_000 * MS);
        assert!(longest <= bound && longest > bound * 9 / 10, "failure {failure}: {longest} of {bound}");
        assert!(shortest < bound / 10, "failure {failure}: {shortest} of {bound}");
    }
}

#[test]
fn a_price_before_the_next_failure_does_not_reset_the_wait_but_a_lasting_connection_does() {
    let bound_after = |lasted_ns: i64| {
        let mut machine = open(pace());
        for _ in 0..8 {
            machine.failed(Cause::ClosedByPeer, None, 0);
            while machine.step(i64::MAX / 2, true) != Step::Connect {}
            machine.connected(0);
            machine.data(0);
        }
        machine.data(lasted_ns);
        machine.bound()
    };
    assert_eq!(bound_after(1), 10_000 * MS);
    assert_eq!(bound_after(10_000 * MS), 100 * MS);
}

#[test]
fn refused_logins_wait_long_and_retry_after_is_a_floor() {
    for seed in 0..50 {
        let mut machine = Machine::new(pace(), seed);
        machine.step(0, true);
        machine.failed(Cause::LoginRefused, None, 0);
        assert!((30_000 * MS..=60_000 * MS).contains(&wait(&mut machine, 0)));
        assert_eq!(state(&machine), (Down, Cause::LoginRefused, 1));

        let mut machine = Machine::new(pace(), seed);
        machine.step(0, true);
        machine.failed(Cause::RateLimited, Some(120_000 * MS), 0);
        assert_eq!(wait(&mut machine, 0), 120_000 * MS);
    }
}

#[test]
fn pings_are_sent_at_their_interval_and_are_no_life() {
    let mut machine = open(Pace { ping_every_ns: Some(400 * MS), ..pace() });
    machine.data(0);
    assert_eq!(machine.step(0, true), Step::Read(400 * MS));
    assert_eq!(machine.step(400 * MS, true), Step::Ping);
    assert_eq!(machine.step(400 * MS, true), Step::Read(800 * MS));
    assert_eq!(machine.step(800 * MS, true), Step::Ping);
    assert_eq!(machine.step(800 * MS, true), Step::Read(1_000 * MS));
}

#[test]
fn a_connection_is_replaced_before_the_venue_ends_it() {
    let mut machine = open(Pace { age_max_ns: Some(500 * MS), ..pace() });
    machine.data(0);
    assert_eq!(machine.step(1, true), Step::Read(500 * MS));
    assert_eq!(machine.step(500 * MS, true), Step::Disconnect);
    assert_eq!(state(&machine), (Down, Cause::None, 0));
    assert_eq!(machine.step(500 * MS, true), Step::Connect, "at once");
}

#[test]
fn where_two_connections_are_borne_the_next_is_made_beside_the_old_one() {
    let pace = Pace { age_max_ns: Some(500 * MS), overlaps: true, ..pace() };
    let mut machine = open(pace);
    machine.data(0);
    assert_eq!(machine.step(500 * MS, true), Step::Replace);
    assert_eq!(machine.step(501 * MS, true), Step::Read(1_000 * MS), "once, and meanwhile silence counts as ever");
    assert!(!machine.data(700 * MS));
    machine.replaced(700 * MS);
    assert_eq!(state(&machine), (Live, Cause::None, 0), "nobody need know");
    assert_eq!(machine.step(700 * MS, true), Step::Read(1_200 * MS));
    assert_eq!(machine.step(1_200 * MS, true), Step::Replace, "its age counts from when it was made");
}

#[test]
fn a_replacement_that_fails_is_tried_again_with_growing_waits_and_the_old_connection_goes_on() {
    let mut machine = open(Pace { age_max_ns: Some(500 * MS), overlaps: true, liveness_ns: i64::MAX, ..pace() });
    machine.data(0);
    let (mut now_ns, mut waits) = (500 * MS, vec![]);
    for _ in 0..12 {
        assert_eq!(machine.step(now_ns, true), Step::Replace);
        machine.replace_failed(None, now_ns);
        let Step::Read(until_ns) = machine.step(now_ns, true) else { panic!() };
        waits.push(until_ns - now_ns);
        now_ns = until_ns;
        assert_eq!(state(&machine), (Live, Cause::None, 0));
    }
    assert!(waits.iter().all(|wait| (100 * MS..=10_000 * MS).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > 1_000 * MS), "{waits:?}");
    assert_eq!(machine.step(now_ns, true), Step::Replace);
    machine.replace_failed(Some(60_000 * MS), now_ns);
    assert_eq!(machine.step(now_ns, true), Step::Read(now_ns + 60_000 * MS));
}

#[test]
fn a_token_that_expires_is_an_age_of_its_own() {
    let mut machine = open(Pace { age_max_ns: Some(900 * MS), overlaps: true, ..pace() });
    machine.expires(300 * MS);
    machine.data(0);
    assert_eq!(machine.step(1, true), Step::Read(300 * MS));
    assert_eq!(machine.step(300 * MS, true), Step::Replace);
    // The next one has none.
    machine.replaced(300 * MS);
    machine.data(600 * MS);
    assert_eq!(machine.step(600 * MS, true), Step::Read(1_200 * MS));
    // Where a second one is not borne, the first is let go.
    let mut machine = open(pace());
    machine.expires(300 * MS);
    assert_eq!(machine.step(300 * MS, true), Step::Disconnect);
}

#[test]
fn stopped_stays_stopped() {
    let mut machine = open(pace());
    machine.data(0);
    machine.stop();
    assert_eq!(state(&machine), (Stopped, Cause::Stopped, 0));
    assert_eq!(machine.step(i64::MAX - 1, true), Step::Wait(i64::MAX));
}

const SECOND: i64 = 1_000_000_000;

/// Asks a machine at the times it asks for itself, and every second at least, from `from_ns` to `to_ns` of the wall clock,
/// which here is also the monotonic one; gives the states that it went through, and how often it had to connect.
fn watch(
    machine: &mut Machine,
    calendar: &mut Calendar,
    (from_ns, to_ns): (i64, i64),
    price_every_s: Option<i64>,
) -> (Vec<(i64, SourceStatus)>, u32) {
    let (mut seen, mut connects, mut now_ns) = (vec![], 0, from_ns);
    while now_ns < to_ns {
        if price_every_s.is_some_and(|every| (now_ns - from_ns) % (every * SECOND) == 0) {
            machine.data(now_ns);
        }
        match machine.step(now_ns, calendar.is_open(now_ns)) {
            Step::Connect => {
                connects += 1;
                machine.connected(now_ns);
                continue;
            }
            Step::Ping | Step::Disconnect | Step::Replace => continue,
            Step::Wait(_) | Step::Read(_) => {}
        }
        if seen.last().is_none_or(|(_, last)| *last != machine.state().status) {
            seen.push((now_ns, machine.state().status));
        }
        now_ns += SECOND;
    }
    (seen, connects)
}

fn at(text: &str) -> i64 {
    i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
}

fn calendar(class: Class) -> Calendar {
    Calendar::new(class, &Holidays::default()).unwrap()
}

/// Ten seconds to mute, thirty more to a new connection.
fn usual() -> Pace {
    Pace { liveness_ns: 10 * SECOND, mute_reconnect_ns: 30 * SECOND, ..pace() }
}

/// A machine that is live at `now_ns`.
fn live(now_ns: i64) -> Machine {
    let mut machine = Machine::new(usual(), 7);
    assert_eq!(machine.step(now_ns, true), Step::Connect);
    machine.connected(now_ns);
    machine.data(now_ns);
    machine
}

#[test]
fn silence_over_the_weekend_is_no_fault_and_counts_anew_from_the_opening() {
    let mut fx = calendar(Class::Fx);
    // Friday 17:00 New York, in winter, to Sunday 17:00.
    let (close, open) = (at("2026-11-20T22:00:00Z"), at("2026-11-22T22:00:00Z"));
    let before = close - 5 * SECOND;
    let mut machine = live(before);
    assert_eq!(watch(&mut machine, &mut fx, (before, open), None), (vec![(before, Live)], 0));
    // No broker is there in the first second.
    let (seen, connects) = watch(&mut machine, &mut fx, (open, open + 9 * SECOND), None);
    assert_eq!((seen, connects), (vec![(open, Live)], 0));
    let (seen, connects) = watch(&mut machine, &mut fx, (open + 9 * SECOND, open + 60 * SECOND), None);
    assert_eq!(seen[..2], [(open + 9 * SECOND, Live), (open + 10 * SECOND, Mute)]);
    assert_eq!((seen.len(), connects), (5, 1), "then it is mute, and connected anew: {seen:?}");
}

#[test]
fn who_was_mute_at_the_close_is_not_and_who_quotes_on_a_weekend_is_live() {
    let mut fx = calendar(Class::Fx);
    let (close, open) = (at("2026-11-20T22:00:00Z"), at("2026-11-22T22:00:00Z"));
    let before = close - 20 * SECOND;
    let mut machine = live(before);
    let (seen, connects) = watch(&mut machine, &mut fx, (before, open), None);
    assert_eq!(seen, [(before, Live), (before + 10 * SECOND, Mute), (close, Live)]);
    assert_eq!(connects, 0);

    // Connected on Saturday: nothing is said until there is a price.
    let saturday = close + 3_600 * SECOND;
    let mut machine = Machine::new(usual(), 7);
    let (seen, connects) = watch(&mut machine, &mut fx, (saturday, saturday + 600 * SECOND), None);
    assert_eq!((seen, connects), (vec![(saturday, Connecting)], 1));
    assert!(machine.data(saturday + 600 * SECOND));
    assert_eq!(machine.state().status, Live);
}

#[test]
fn a_lost_connection_is_told_and_made_again_on_a_weekend_too() {
    let mut fx = calendar(Class::Fx);
    let saturday = at("2026-11-21T12:00:00Z");
    let mut machine = live(saturday);
    machine.failed(Cause::ClosedByPeer, None, saturday);
    assert_eq!(state(&machine), (Down, Cause::ClosedByPeer, 0));
    let (_, connects) = watch(&mut machine, &mut fx, (saturday, saturday + 60 * SECOND), None);
    assert_eq!(connects, 1);
}

#[test]
fn metals_rest_for_an_hour_a_day_and_crypto_never() {
    // Wednesday 17:00 to 18:00 New York, in summer.
    let (close, open) = (at("2026-07-15T21:00:00Z"), at("2026-07-15T22:00:00Z"));
    let until = open + 11 * SECOND;
    for (class, price_every_s, expected) in [
        (Class::Metal, None, vec![(close, Live), (open + 10 * SECOND, Mute)]),
        (Class::Fx, Some(5), vec![(close, Live)]),
    ] {
        let mut machine = live(close);
        assert_eq!(watch(&mut machine, &mut calendar(class), (close, until), price_every_s), (expected, 0));
    }
    let saturday = at("2026-11-21T12:00:00Z");
    let mut machine = live(saturday);
    let (seen, connects) = watch(&mut machine, &mut calendar(Class::Crypto), (saturday, saturday + 50 * SECOND), None);
    assert_eq!(seen[..2], [(saturday, Live), (saturday + 10 * SECOND, Mute)]);
    assert_eq!(connects, 1);
}

#[test]
fn what_else_is_wanted_does_not_wait_for_the_failures_before() {
    let mut machine = Machine::new(pace(), 7);
    assert_eq!(machine.step(0, true), Step::Connect);
    machine.failed(Cause::LoginRefused, None, 0);
    assert!(wait(&mut machine, MS) >= 29_000 * MS, "an account is not to be locked");
    machine.hurry(2 * MS);
    assert_eq!(state(&machine), (Down, Cause::LoginRefused, 1));
    assert_eq!(machine.step(2 * MS, true), Step::Connect);
    machine.connected(3 * MS);
    machine.hurry(4 * MS);
    assert!(matches!(machine.step(4 * MS, true), Step::Read(_)), "a connection that is there stays");
}
