//! How long a thread that does nothing but look at the clock is kept from its core: the machine's part of every p99 here.

use std::time::{Duration, Instant};

use super::process::pin;
use super::sides::{LOAD_CORE, SERVER_CORE, Values};

/// From here on a time between two looks at the clock is a pause. The look itself takes some 40 ns.
const PAUSE: Duration = Duration::from_micros(10);

/// A pause that a percentile of a hop shows.
const LONG: Duration = Duration::from_micros(50);

/// Looks at the clock for `length` on both cores at once; what each of them, by its number, was not given.
pub fn on_both_cores(length: Duration) -> [(usize, Values); 2] {
    std::thread::scope(|scope| {
        [SERVER_CORE, LOAD_CORE]
            .map(|core| (core, scope.spawn(move || on_core(core, length))))
            .map(|(core, looking)| (core, looking.join().expect("the thread that looks")))
    })
}

fn on_core(core: usize, length: Duration) -> Values {
    pin(core);
    let (mut away, mut longest, mut long) = (Duration::ZERO, Duration::ZERO, 0_u32);
    let began = Instant::now();
    let mut before = began;
    while before - began < length {
        let now = Instant::now();
        let between = now - before;
        before = now;
        if between > PAUSE {
            away += between;
            longest = longest.max(between);
            long += u32::from(between > LONG);
        }
    }
    let seconds = length.as_secs_f64();
    Values::from([
        ("away_share".into(), away.as_secs_f64() / seconds),
        ("over_50us_per_s".into(), f64::from(long) / seconds),
        ("longest_us".into(), longest.as_secs_f64() * 1e6),
    ])
}
