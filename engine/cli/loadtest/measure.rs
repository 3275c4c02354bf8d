//! What a load generator counts, whatever protocol it speaks.
//!
//! A record belongs to the measurement when it was *published* inside the window of time, not when it arrived there:
//! what a slow server delivers late then counts with its whole delay, and what it never delivers is missing. The time of
//! publication is the one in the record; a publisher that writes there when it meant to publish corrects for its own
//! delays too (coordinated omission).

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart, nanoseconds; what took longer counts as this.
const LATENCY_MAX_NS: u64 = 600_000_000_000;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Counts and latencies of all terminals of one load generator.
#[derive(Debug)]
pub struct Tally {
    from_ns: i64,
    until_ns: i64,
    latency: Histogram<u64>,
    records: u64,
    skipped: u64,
    records_total: u64,
    skipped_total: u64,
    early: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally::new()
    }
}

impl Tally {
    /// Nothing counted, and no window yet: only the totals count.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are valid.
    #[must_use]
    pub fn new() -> Tally {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS);
        let latency = latency.unwrap_or_else(|_| unreachable!("1 to 5 digits are allowed"));
        let (from_ns, until_ns) = (i64::MAX, i64::MAX);
        Tally { from_ns, until_ns, latency, records: 0, skipped: 0, records_total: 0, skipped_total: 0, early: 0 }
    }

    /// Measures what is published from `from_ns` on, before `until_ns`.
    pub fn measure(&mut self, from_ns: i64, until_ns: i64) {
        (self.from_ns, self.until_ns) = (from_ns, until_ns);
    }

    /// One record arrived that was published at `published_ns`; `skipped` before it, of the same chain, did not come.
    pub fn record(&mut self, published_ns: i64, now_ns: i64, skipped: u64) {
        self.records_total += 1;
        self.skipped_total += skipped;
        if published_ns < self.from_ns || published_ns >= self.until_ns {
            return;
        }
        self.records += 1;
        self.skipped += skipped;
        let latency_ns = now_ns - published_ns;
        // The clocks of two machines differ; on one machine this does not happen.
        self.early += u64::from(latency_ns < 0);
        self.latency.saturating_record(u64::try_from(latency_ns).unwrap_or(0));
    }

    /// One record of a snapshot arrived: old by nature, so that only the total counts it.
    pub fn snapshot(&mut self) {
        self.records_total += 1;
    }

    /// Whether a record published at this time is behind the window.
    #[must_use]
    pub fn is_past(&self, published_ns: i64) -> bool {
        published_ns >= self.until_ns
    }

    /// Records that arrived so far, snapshots included.
    #[must_use]
    pub fn records_total(&self) -> u64 {
        self.records_total
    }

    /// Fills in what was counted.
    pub fn report(&self, report: &mut Report) {
        let seconds = Duration::from_nanos(u64::try_from(self.until_ns - self.from_ns).unwrap_or(0)).as_secs_f64();
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        report.seconds = seconds;
        report.records = self.records;
        report.skipped = self.skipped;
        report.records_total = self.records_total;
        report.skipped_total = self.skipped_total;
        report.early = self.early;
        report.records_per_s = if seconds > 0.0 { self.records as f64 / seconds } else { 0.0 };
        report.latency_us = Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) };
    }
}

/// Publication to arrival, microseconds; all 0 when nothing arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// 50th percentile.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What a load generator found: the JSON document of `tickwire loadtest --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Terminals asked for.
    pub terminals: u64,
    /// Terminals that were connected, subscribed and had their snapshot.
    pub connected: u64,
    /// Terminals that could not connect, or were disconnected before the end.
    pub failed: u64,
    /// Why the first of them failed; empty when none did.
    pub first_failure: String,
    /// UDP or TCP sockets that the terminals share.
    pub sockets: u64,
    /// From the first connection attempt to the last snapshot, seconds.
    pub connect_seconds: f64,
    /// Length of the measurement.
    pub seconds: f64,
    /// Records published in that time that arrived.
    pub records: u64,
    /// Records of that time that newer ones replaced, by the numbers of their chains.
    pub skipped: u64,
    /// `records` a second.
    pub records_per_s: f64,
    /// Publication to arrival.
    pub latency_us: Latency,
    /// Records that arrived before they were published: the clocks differ.
    pub early: u64,
    /// Processor time of the load generator in that time, seconds.
    pub cpu_seconds: f64,
    /// Datagrams, or reads of a stream, in that time.
    pub packets_received: u64,
    /// Datagrams sent in that time.
    pub packets_sent: u64,
    /// Records that arrived from the first connection to the last, snapshots included.
    pub records_total: u64,
    /// Records replaced, likewise.
    pub skipped_total: u64,
}

impl Report {
    /// Share of what there was that arrived: 1 when nothing was replaced. What is merely late beyond the end counts in
    /// neither.
    #[must_use]
    pub fn share(&self) -> f64 {
        let all = self.records + self.skipped;
        if all == 0 { 0.0 } else { self.records as f64 / all as f64 }
    }

    /// The table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Latency { p50, p90, p99, p999, max } = self.latency_us;
        let mut lines = vec![
            format!(
                "terminals     {} of {} connected in {:.2} s",
                self.connected, self.terminals, self.connect_seconds
            ),
            format!("measured      {:.1} s", self.seconds),
            format!("records       {} ({:.0} a second)", self.records, self.records_per_s),
            format!("conflated     {} ({:.3} % delivered)", self.skipped, 100.0 * self.share()),
            format!("latency       p50 {p50:.1} us, p90 {p90:.1}, p99 {p99:.1}, p99.9 {p999:.1}, max {max:.1}"),
            format!("datagrams     {} received, {} sent", self.packets_received, self.packets_sent),
            format!("own CPU       {:.2} s ({:.2} us a record)", self.cpu_seconds, self.cpu_us_per_record()),
        ];
        if self.failed > 0 {
            lines.push(format!("failed        {}; the first: {}", self.failed, self.first_failure));
        }
        if self.early > 0 {
            lines.push(format!(
                "clocks        {} records arrived before their time: latencies are too small",
                self.early
            ));
        }
        lines.join("\n") + "\n"
    }

    fn cpu_us_per_record(&self) -> f64 {
        if self.records == 0 { 0.0 } else { self.cpu_seconds * 1e6 / self.records as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_by_the_time_of_its_publication() {
        let mut tally = Tally::new();
        tally.record(5, 6, 0);
        tally.measure(10_000, 20_000);
        tally.snapshot();
        tally.record(9_999, 15_000, 2);
        tally.record(10_000, 12_000, 0);
        // Late, but of the window: its delay counts.
        tally.record(19_999, 1_000_019_999, 3);
        tally.record(20_000, 20_001, 1);
        let mut report = Report::default();
        tally.report(&mut report);
        assert_eq!((report.records, report.skipped), (2, 3));
        assert_eq!((report.records_total, report.skipped_total), (6, 6));
        assert!((report.latency_us.p50 - 2.0).abs() < 0.002, "{}", report.latency_us.p50);
        assert!((report.latency_us.max / 1e6 - 1.0).abs() < 0.002, "{}", report.latency_us.max);
        assert!((report.share() - 0.4).abs() < 1e-9);
        assert!(tally.is_past(20_000) && !tally.is_past(19_999));
    }

    #[test]
    fn a_clock_that_is_behind_is_told() {
        let mut tally = Tally::new();
        tally.measure(0, 100);
        tally.record(50, 40, 0);
        let mut report = Report::default();
        tally.report(&mut report);
        assert_eq!((report.early, report.records), (1, 1));
        assert!(report.table().contains("clocks"));
    }
}
