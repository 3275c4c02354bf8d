use super::*;
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
    }
}

fn state(machine: &Machine) -> (SourceStatus, Cause, u32) {
    let State { status, cause, attempt } = machine.state();
    (status, cause, attempt)
}

/// A machine whose connection was made at 0.
fn open(pace: Pace) -> Machine {
    let mut machine = Machine::new(pace, 7);
    assert_eq!(machine.step(0), Step::Connect);
    machine.connected(0);
    machine
}

/// The wait that a failure at `now_ns` led to.
fn wait(machine: &mut Machine, now_ns: i64) -> i64 {
    match machine.step(now_ns) {
        Step::Wait(until_ns) => until_ns - now_ns,
        Step::Connect => 0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn live_comes_with_the_first_price_and_not_with_the_connection() {
    let mut machine = Machine::new(pace(), 1);
    assert_eq!(state(&machine), (Connecting, Cause::Start, 0));
    assert_eq!(machine.step(0), Step::Connect);
    machine.connected(5 * MS);
    assert_eq!(state(&machine), (Connecting, Cause::Start, 1));
    assert_eq!(machine.step(5 * MS), Step::Read(1_005 * MS));
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
        assert_eq!(machine.step(at * MS), Step::Read(1_000 * MS));
    }
    assert_eq!(machine.step(1_000 * MS), Step::Read(4_000 * MS));
    assert_eq!(state(&machine), (Mute, Cause::Mute, 0));
    assert_eq!(machine.step(4_000 * MS), Step::Disconnect);
    assert_eq!(state(&machine), (Down, Cause::Mute, 0));
}

#[test]
fn a_price_ends_mute() {
    let mut machine = open(pace());
    machine.data(0);
    machine.step(1_500 * MS);
    assert!(machine.data(1_600 * MS));
    assert_eq!(state(&machine), (Live, Cause::None, 0));
    assert_eq!(machine.step(1_600 * MS), Step::Read(2_600 * MS));
}

#[test]
fn a_connection_that_never_says_a_price_is_mute_too() {
    let mut machine = open(pace());
    machine.step(1_000 * MS);
    assert_eq!(state(&machine), (Mute, Cause::Mute, 1));
}

#[test]
fn waits_double_to_the_cap_with_full_jitter() {
    let (mut longest, mut shortest) = ([0; 10], [i64::MAX; 10]);
    for seed in 0..400 {
        let (mut machine, mut now_ns) = (Machine::new(pace(), seed), 0);
        for failure in 0..10 {
            assert_eq!(machine.step(now_ns), Step::Connect);
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
            while machine.step(i64::MAX / 2) != Step::Connect {}
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
        machine.step(0);
        machine.failed(Cause::LoginRefused, None, 0);
        assert!((30_000 * MS..=60_000 * MS).contains(&wait(&mut machine, 0)));
        assert_eq!(state(&machine), (Down, Cause::LoginRefused, 1));

        let mut machine = Machine::new(pace(), seed);
        machine.step(0);
        machine.failed(Cause::RateLimited, Some(120_000 * MS), 0);
        assert_eq!(wait(&mut machine, 0), 120_000 * MS);
    }
}

#[test]
fn pings_are_sent_at_their_interval_and_are_no_life() {
    let mut machine = open(Pace { ping_every_ns: Some(400 * MS), ..pace() });
    machine.data(0);
    assert_eq!(machine.step(0), Step::Read(400 * MS));
    assert_eq!(machine.step(400 * MS), Step::Ping);
    assert_eq!(machine.step(400 * MS), Step::Read(800 * MS));
    assert_eq!(machine.step(800 * MS), Step::Ping);
    assert_eq!(machine.step(800 * MS), Step::Read(1_000 * MS));
}

#[test]
fn a_connection_is_replaced_before_the_venue_ends_it() {
    let mut machine = open(Pace { age_max_ns: Some(500 * MS), ..pace() });
    machine.data(0);
    assert_eq!(machine.step(1), Step::Read(500 * MS));
    assert_eq!(machine.step(500 * MS), Step::Disconnect);
    assert_eq!(state(&machine), (Down, Cause::None, 0));
    assert_eq!(machine.step(500 * MS), Step::Connect, "at once");
}

#[test]
fn stopped_stays_stopped() {
    let mut machine = open(pace());
    machine.data(0);
    machine.stop();
    assert_eq!(state(&machine), (Stopped, Cause::Stopped, 0));
    assert_eq!(machine.step(i64::MAX - 1), Step::Wait(i64::MAX));
}
