//! Averages that remember all that came before, ever less.

use serde::{Deserialize, Serialize};

/// An exponential average, which begins with the plain mean of its first n values.
///
/// Each step goes a fixed part of the way to the new value: 2 / (n + 1) for an exponential moving average, 1 / n for
/// Wilder's smoothing (J. W. Wilder, New Concepts in Technical Trading Systems, 1978). Equal values average to exactly
/// that value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Average {
    period: usize,
    part: f64,
    count: usize,
    value: f64,
}

impl Average {
    /// Of an exponential moving average over `period` values.
    pub(super) fn exponential(period: usize) -> Average {
        Average { period, part: 2.0 / (period as f64 + 1.0), count: 0, value: 0.0 }
    }

    /// Of Wilder's smoothing over `period` values.
    pub(super) fn wilder(period: usize) -> Average {
        Average { period, part: 1.0 / period as f64, count: 0, value: 0.0 }
    }

    /// Takes in a value. `None` until there are as many as the period.
    pub(super) fn next(&mut self, value: f64) -> Option<f64> {
        if self.count < self.period {
            self.count += 1;
            self.value += (value - self.value) / self.count as f64;
        } else {
            self.value += (value - self.value) * self.part;
        }
        (self.count == self.period).then_some(self.value)
    }
}

/// Averages below this are nothing. In a market that stands still they only ever decay, and would end as the smallest
/// numbers there are, whose proportions mean nothing; one move of 1e-9 is greater by 240 decimals.
const NOTHING: f64 = 1e-250;

/// Sets averages that are compared with each other to zero, all at once, when they have decayed to nothing.
pub(super) fn settle<const N: usize>(averages: [&mut Average; N]) {
    if averages.iter().all(|average| average.value < NOTHING) {
        averages.into_iter().for_each(|average| average.value = 0.0);
    }
}
