//! The thread `tw-alerts`: each second it gathers what is known, keeps what the rules make of it, and sends the messages
//! that are due.

mod gather;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::assemble::RunError;
use crate::clock;
use crate::console::Facts;
use crate::control::alerts::{AlertError, AlertRule, Alerts, Change, Sent, Watch, webhook};
use crate::metrics::{self, ALERT_WEBHOOK_FAILURES, ALERT_WEBHOOKS_DROPPED, ALERT_WEBHOOKS_SENT, AlertCounts};
use gather::Gatherer;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The running thread.
pub(super) struct AlertsHandle {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl AlertsHandle {
    /// Ends it. A message under way is broken off, and sent again by the next start.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        // A panic aborts the process, so there is nothing to learn from the result.
        let _ = self.thread.join();
    }
}

/// Starts it, with the alerts that were raised when the engine last stopped.
pub(super) fn start(state_dir: &Path, facts: Arc<Facts>) -> Result<AlertsHandle, RunError> {
    let failed = |e: &dyn std::fmt::Display| RunError::Other(format!("alerts: {e}"));
    let mut alerts = Alerts::open(state_dir).map_err(|e| failed(&e))?;
    let watch = Watch::new(&alerts.raised().map_err(|e| failed(&e))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
    let (stop, stopped) = watch::channel(false);
    let watcher = Watcher {
        alerts,
        watch,
        gatherer: Gatherer::new(state_dir, facts),
        totals: BTreeMap::new(),
        sending: JoinSet::new(),
        busy: BTreeSet::new(),
        failing: false,
    };
    let run = move || {
        runtime.block_on(watcher.run(stopped));
        // Whatever is still being sent goes with it.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("tw-alerts".into()).spawn(run).map_err(|e| failed(&e))?;
    Ok(AlertsHandle { stop, thread })
}

/// A message that was sent, or not.
struct Outcome {
    delivery: i64,
    webhook: i64,
    /// With this one.
    attempts: u32,
    sent: Sent,
}

struct Watcher {
    alerts: Alerts,
    watch: Watch,
    gatherer: Gatherer,
    /// Raised and cleared in this run.
    totals: BTreeMap<AlertRule, (u64, u64)>,
    /// One for each webhook at most.
    sending: JoinSet<Outcome>,
    busy: BTreeSet<i64>,
    /// The database refused the last time: that was told.
    failing: bool,
}

impl Watcher {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut second = tokio::time::interval(LOOK_EVERY);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                Some(outcome) = self.sending.join_next() => match outcome {
                    Ok(outcome) => self.settle(&outcome),
                    // Cancelled: we are stopping.
                    Err(_) => Ok(()),
                },
                _ = second.tick() => self.look(),
            };
            match done.and_then(|()| self.send()) {
                Ok(()) => self.failing = false,
                // Told once; the next look tries again.
                Err(error) if !self.failing => {
                    self.failing = true;
                    tracing::error!("alerts: {error}");
                }
                Err(_) => {}
            }
        }
    }

    /// Gathers, decides, keeps. This thread does nothing else, so it may wait for the database.
    fn look(&mut self) -> Result<(), AlertError> {
        let now_ns = clock::machine_ns();
        let rules = self.alerts.rules()?;
        let jobs = self.alerts.failed_jobs(now_ns - gather::JOBS_SINCE_NS)?;
        let known = self.gatherer.known(&jobs, &self.alerts.connections_in_error()?);
        for change in self.watch.step(now_ns, &rules, &known) {
            self.keep(&change, now_ns)?;
        }
        self.show();
        Ok(())
    }

    fn keep(&mut self, change: &Change, now_ns: i64) -> Result<(), AlertError> {
        match change {
            Change::Raise(what) => {
                let (id, dropped) = self.alerts.raise(what, now_ns)?;
                ALERT_WEBHOOKS_DROPPED.add(dropped);
                self.watch.raised(what.rule, &what.subject, id, now_ns);
                self.totals.entry(what.rule).or_default().0 += 1;
                tracing::warn!(rule = what.rule.word(), subject = what.subject, "alert raised: {}", what.trouble);
            }
            Change::Clear { id, rule, subject, message } => {
                ALERT_WEBHOOKS_DROPPED.add(self.alerts.clear(*id, message, now_ns)?);
                self.watch.cleared(*rule, subject);
                self.totals.entry(*rule).or_default().1 += 1;
                tracing::info!(rule = rule.word(), subject, "alert cleared: {message}");
            }
        }
        Ok(())
    }

    fn show(&self) {
        let of = |rule: AlertRule| {
            let (raised, pending) = self.watch.counts(rule);
            let (raised_total, cleared_total) = self.totals.get(&rule).copied().unwrap_or_default();
            AlertCounts { rule: rule.word(), raised, pending, raised_total, cleared_total }
        };
        metrics::show_alerts(AlertRule::ALL.into_iter().map(of).collect());
    }

    /// Begins to send what is due to webhooks that are not being sent to.
    fn send(&mut self) -> Result<(), AlertError> {
        let now_ns = clock::machine_ns();
        for delivery in self.alerts.due(now_ns)? {
            if self.busy.insert(delivery.to.id) {
                let body = webhook::body(&delivery, now_ns);
                self.sending.spawn(async move {
                    let sent = webhook::send(&delivery.to, body, now_ns).await;
                    let (attempts, webhook) = (delivery.attempts + 1, delivery.to.id);
                    Outcome { delivery: delivery.id, webhook, attempts, sent }
                });
            }
        }
        Ok(())
    }

    fn settle(&mut self, outcome: &Outcome) -> Result<(), AlertError> {
        let now_ns = clock::machine_ns();
        self.busy.remove(&outcome.webhook);
        self.alerts.attempted(outcome.webhook, &outcome.sent, now_ns)?;
        let Some(error) = &outcome.sent.error else {
            ALERT_WEBHOOKS_SENT.inc();
            return self.alerts.done(outcome.delivery);
        };
        ALERT_WEBHOOK_FAILURES.inc();
        let (webhook, attempts) = (outcome.webhook, outcome.attempts);
        if attempts < webhook::ATTEMPTS_MAX {
            tracing::debug!(webhook, attempts, "a message about an alert was not taken: {error}");
            return self.alerts.again(outcome.delivery, now_ns + webhook::wait_ns(attempts));
        }
        ALERT_WEBHOOKS_DROPPED.inc();
        tracing::warn!(webhook, attempts, "a message about an alert is given up: {error}");
        self.alerts.done(outcome.delivery)
    }
}
