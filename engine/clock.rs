//! The only place that asks the time; everything else is handed `now_ns`.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 UTC by the machine's clock.
#[must_use]
pub fn now_ns() -> i64 {
    // Before 1970 or after 2262 the machine's clock is wrong beyond use; zero makes that visible in every stamp.
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_nanos()).ok()).unwrap_or(0)
}

/// Nanoseconds since the process first asked. Never runs backwards and is never set: for waiting, not for stamps.
#[must_use]
pub fn monotonic_ns() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(START.elapsed().as_nanos()).unwrap_or(i64::MAX)
}
