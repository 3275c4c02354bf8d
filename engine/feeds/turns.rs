//! Waiting for one's turn at a host: every request to it, whatever for, takes from the same bucket.

use std::sync::LazyLock;
use std::time::Duration;

use super::net::Failure;
use super::rate::{Rate, SharedHosts};
use crate::clock;

static OF_PROCESS: LazyLock<SharedHosts> = LazyLock::new(SharedHosts::default);

/// The buckets that all sessions, repairs and requests for accounts and symbols of this process take from: a venue counts by
/// address, whoever asks.
#[must_use]
pub fn of_process() -> &'static SharedHosts {
    &OF_PROCESS
}

/// Makes a request as soon as the host may be asked; when it asks to wait, nobody asks it before.
///
/// # Errors
/// Those of the request.
pub async fn in_turn<T>(
    hosts: &SharedHosts,
    (host, rate): (&str, Rate),
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    loop {
        match hosts.take(host, rate, clock::monotonic_ns()) {
            0 => break,
            wait_ns => tokio::time::sleep(Duration::from_nanos(wait_ns.unsigned_abs())).await,
        }
    }
    let answer = request.await;
    if let Err(Failure { retry_after: Some(wait), .. }) = &answer {
        let wait_ns = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
        hosts.hold(host, clock::monotonic_ns().saturating_add(wait_ns));
    }
    answer
}

#[cfg(test)]
mod tests {
    use tickwire_schemas::words::Cause;

    use super::*;

    #[tokio::test]
    async fn who_is_asked_to_wait_holds_the_host_for_all_and_no_other_host() {
        let (hosts, rate) = (SharedHosts::default(), Rate::within(120, Duration::from_secs(1)));
        let wait = Some(Duration::from_secs(60));
        let refused =
            async { Err::<(), _>(Failure { retry_after: wait, ..Failure::new(Cause::RateLimited, "slower") }) };
        assert!(in_turn(&hosts, ("a", rate), refused).await.is_err());
        assert!(hosts.take("a", rate, clock::monotonic_ns()) > 50_000_000_000);
        assert_eq!(in_turn(&hosts, ("b", rate), async { Ok(7) }).await.ok(), Some(7));
    }
}
