//! The only place that asks the time; everything else is handed `now_ns`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// No recording is being served.
const MACHINE: i64 = i64::MIN;

/// The recorded time, when a recording is served.
static RECORDED_NS: AtomicI64 = AtomicI64::new(MACHINE);

/// Nanoseconds since 1970 UTC: by the machine's clock, or by the recording's while one is served ([`set_recorded`]).
#[must_use]
pub fn now_ns() -> i64 {
    match RECORDED_NS.load(Relaxed) {
        MACHINE => machine_ns(),
        recorded_ns => recorded_ns,
    }
}

/// Nanoseconds since 1970 UTC by the machine's clock, also while a recording is served: to compare with the times of files.
#[must_use]
pub fn machine_ns() -> i64 {
    // Before 1970 or after 2262 the machine's clock is wrong beyond use; zero makes that visible in every stamp.
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}

/// From now on it is this time of a recording, for the whole process.
pub fn set_recorded(now_ns: i64) {
    RECORDED_NS.store(now_ns, Relaxed);
}

/// Whether the time is a recording's.
#[must_use]
pub fn is_recorded() -> bool {
    RECORDED_NS.load(Relaxed) != MACHINE
}

/// Nanoseconds since the process first asked. Never runs backwards and is never set: for waiting, not for stamps.
#[must_use]
pub fn monotonic_ns() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(START.elapsed().as_nanos()).unwrap_or(i64::MAX)
}
