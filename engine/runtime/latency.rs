//! How long each stage takes: measured on the pipeline's threads, added up elsewhere.
//!
//! One input in [`EVERY`] is measured, with a clock reading for each stage. A thread collects a second at a time into
//! histograms that it owns and hands them over by exchange: it never waits, locks or allocates for it. The thread
//! `tw-latency` computes the quantiles, for `/metrics` and for the table `stage_latency`.
//!
//! Where a clock reading takes 25 ns, a measured input of five stages costs eight of them and five histogram entries,
//! some 225 ns: 14 ns for each of the sixteen.

use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;

use crate::clock;
use crate::metrics::{self, LatencyCell};
use crate::stages::Laps;
use crate::storage::telemetry::{Seconds, StageSecond};

/// One input in so many is measured.
pub const EVERY: u32 = 16;

/// Seconds that may wait for `tw-latency`, for each thread; it looks every [`LOOK`].
const WINDOWS: usize = 4;
const LOOK: Duration = Duration::from_millis(250);

/// How long `/metrics` shows the same numbers, in seconds.
const SHOWN_SECONDS: i64 = 5;

const SECOND_NS: i64 = 1_000_000_000;

/// A second of one thread's stages.
struct Window {
    /// Seconds since 1970.
    second: i64,
    stages: Vec<(&'static str, Histogram<u64>)>,
}

impl Window {
    fn new(names: &[&'static str]) -> Window {
        Window { second: 0, stages: names.iter().map(|name| (*name, LatencyCell::histogram())).collect() }
    }

    fn is_empty(&self) -> bool {
        self.stages.iter().all(|(_, histogram)| histogram.is_empty())
    }
}

/// Measures the stages of one thread.
pub struct Stopwatch {
    laps: Laps,
    inputs: u32,
    window: Window,
    full: Sender<Window>,
    empty: Receiver<Window>,
    // Dropped with the thread: that ends `tw-latency`.
    _alive: Sender<()>,
}

impl Stopwatch {
    /// Called before each input: where to put its laps, if it is one that is measured.
    #[inline]
    pub fn next_input(&mut self) -> Option<&mut Laps> {
        self.inputs = self.inputs.wrapping_add(1);
        if !self.inputs.is_multiple_of(EVERY) {
            return None;
        }
        // Of the machine's clock: a recording may pass many of its own seconds in one of these.
        let second = clock::machine_ns().div_euclid(SECOND_NS);
        if second != self.window.second {
            self.hand_over();
            self.window.second = second;
        }
        self.laps.restart();
        Some(&mut self.laps)
    }

    /// Called after each input: notes what [`Stopwatch::next_input`] had measured.
    #[inline]
    pub fn input_done(&mut self) {
        if self.inputs.is_multiple_of(EVERY) {
            for ((_, histogram), spent_ns) in self.window.stages.iter_mut().zip(self.laps.spent_ns()) {
                histogram.saturating_record(*spent_ns);
            }
        }
    }

    /// Exchanges the window for an empty one. Without one (`tw-latency` hangs) this second is lost, and counted.
    fn hand_over(&mut self) {
        if self.window.is_empty() {
            return;
        }
        if let Ok(empty) = self.empty.try_recv() {
            let full = std::mem::replace(&mut self.window, empty);
            // There is room for every window that exists.
            let _ = self.full.try_send(full);
        } else {
            metrics::STAGE_LATENCY_LOST.add(self.window.stages.len() as u64);
            self.window.stages.iter_mut().for_each(|(_, histogram)| histogram.reset());
        }
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Starts `tw-latency`, which ends when all stopwatches are gone: one for each of `groups`, by the names of its stages.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    groups: &[Vec<&'static str>],
    seconds: Option<Seconds>,
) -> std::io::Result<(Vec<Stopwatch>, JoinHandle<()>)> {
    let (alive, ended) = bounded(0);
    let (mut watches, mut threads) = (Vec::new(), Vec::new());
    for names in groups {
        let (full, filled) = bounded(WINDOWS + 1);
        let (emptied, empty) = bounded(WINDOWS + 1);
        for _ in 0..WINDOWS {
            let _ = emptied.try_send(Window::new(names));
        }
        let window = Window::new(names);
        watches.push(Stopwatch { laps: Laps::default(), inputs: 0, window, full, empty, _alive: alive.clone() });
        threads.push((filled, emptied));
    }
    let collector = Collector { threads, ended, seconds, shown: Vec::new(), shown_since: 0 };
    let thread = std::thread::Builder::new().name("tw-latency".into()).spawn(move || collector.run())?;
    Ok((watches, thread))
}

struct Collector {
    /// Of each pipeline thread: full windows come, empty ones go back.
    threads: Vec<(Receiver<Window>, Sender<Window>)>,
    ended: Receiver<()>,
    seconds: Option<Seconds>,
    /// What `/metrics` shows next.
    shown: Vec<(&'static str, Histogram<u64>)>,
    shown_since: i64,
}

impl Collector {
    fn run(mut self) {
        while self.ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.collect();
        }
        self.collect();
    }

    fn collect(&mut self) {
        for at in 0..self.threads.len() {
            while let Ok(mut window) = self.threads[at].0.try_recv() {
                self.take(&mut window);
                let _ = self.threads[at].1.try_send(window);
            }
        }
    }

    /// Adds up a window, passes its rows on, and empties it.
    fn take(&mut self, window: &mut Window) {
        for (stage, histogram) in window.stages.iter_mut().filter(|(_, histogram)| !histogram.is_empty()) {
            let at = |quantile| histogram.value_at_quantile(quantile);
            let row = StageSecond {
                second: window.second,
                stage,
                count: histogram.len(),
                p50_ns: at(0.5),
                p99_ns: at(0.99),
                p999_ns: at(0.999),
            };
            if let Some(seconds) = &self.seconds {
                seconds.offer(row);
            }
            if !self.shown.iter().any(|(name, _)| name == stage) {
                self.shown.push((stage, LatencyCell::histogram()));
            }
            if let Some((_, shown)) = self.shown.iter_mut().find(|(name, _)| name == stage) {
                // Of the same bounds, so it fits.
                let _ = shown.add(&*histogram);
            }
            histogram.reset();
        }
        if (window.second - self.shown_since).abs() >= SHOWN_SECONDS {
            self.shown_since = window.second;
            metrics::show_stages(&mut self.shown);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::storage::telemetry;

    #[test]
    fn one_input_in_sixteen_becomes_a_row_of_its_second() {
        let (seconds, mut rows) = telemetry::channel();
        let (mut watches, thread) = start(&[vec!["dedupe"], vec!["bars", "gaps"]], Some(seconds)).unwrap();
        let measured = (0..160).filter(|_| {
            let measured = watches[1].next_input().is_some();
            watches[1].input_done();
            measured
        });
        assert_eq!(measured.count(), 10);
        drop(watches);
        thread.join().unwrap();
        let mut counts = [0, 0];
        while let Some(row) = rows.try_next() {
            assert!(row.second > 1_700_000_000, "{row:?}");
            counts[["bars", "gaps"].iter().position(|stage| *stage == row.stage).unwrap()] += row.count;
        }
        assert_eq!(counts, [10, 10], "and no row for the thread that handled nothing");
    }

    #[test]
    fn a_thread_that_nobody_collects_from_goes_on_and_the_loss_is_counted() {
        let (full, _kept) = bounded(1);
        let (_none, empty) = bounded(1);
        let (alive, _ended) = bounded(0);
        let window = Window::new(&["dedupe"]);
        let mut watch = Stopwatch { laps: Laps::default(), inputs: 0, window, full, empty, _alive: alive };
        let lost = metrics::STAGE_LATENCY_LOST.get();
        (0..EVERY).for_each(|_| {
            watch.next_input();
            watch.input_done();
        });
        watch.hand_over();
        assert!(metrics::STAGE_LATENCY_LOST.get() > lost && watch.window.is_empty());
    }
}
