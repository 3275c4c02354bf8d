//! A question that a connection asks now and then beside what it reads, such as whether the venue's session still stands.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::Failure;

/// An answer that is waited for.
pub type Asking = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The question and when to ask it.
pub struct Check {
    every: Duration,
    ask: Box<dyn Fn() -> Asking + Send + Sync>,
    next: Pin<Box<Sleep>>,
    pending: Option<Asking>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("every", &self.every).finish_non_exhaustive()
    }
}

impl Check {
    /// Asks `ask` so long after the start, and so long after each answer. Must be made within a runtime.
    pub fn new(every: Duration, ask: impl Fn() -> Asking + Send + Sync + 'static) -> Self {
        Check { every, ask: Box::new(ask), next: Box::pin(sleep(every)), pending: None }
    }

    /// Ready when an answer is a failure. Dropping the future before it is ready loses nothing: the question goes on.
    pub(super) async fn fails(&mut self) -> Failure {
        loop {
            if let Some(pending) = &mut self.pending {
                let answer = pending.await;
                self.pending = None;
                if let Err(failure) = answer {
                    return failure;
                }
                self.next.as_mut().reset(Instant::now() + self.every);
            }
            self.next.as_mut().await;
            self.pending = Some((self.ask)());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use tickwire_schemas::words::Cause;
    use tokio::time::timeout;

    #[tokio::test]
    async fn it_goes_on_however_often_nobody_waits_and_the_first_failure_ends_it() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let mut check = Check::new(Duration::from_millis(5), move || {
            let nth = count.fetch_add(1, Relaxed);
            Box::pin(async move {
                sleep(Duration::from_millis(5)).await;
                if nth < 2 { Ok(()) } else { Err(Failure::new(Cause::ConnectFailed, "gone")) }
            })
        });
        // Prices come between all of it, each of which drops the future.
        let mut drops = 0;
        let failure = loop {
            match timeout(Duration::from_millis(1), check.fails()).await {
                Ok(failure) => break failure,
                Err(_) => drops += 1,
            }
        };
        assert_eq!((failure.text.as_str(), asked.load(Relaxed)), ("gone", 3));
        assert!(drops > 2, "{drops}");
    }
}
