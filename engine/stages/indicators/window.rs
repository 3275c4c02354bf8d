//! What the last n values come to, in amortised constant time and without drift.
//!
//! A running sum from which old values are subtracted keeps their rounding errors for ever: one value of 1e12 in a
//! window of prices near 1 leaves an error of 1e-4 behind. Here nothing is subtracted. The window is a queue of two
//! stacks: of the older values every suffix is known, of the newer ones the whole. When no older value is left, the
//! newer ones become the older, once in n steps. So a result is always put together from the values in the window alone,
//! by at most n operations, however many came before; and it works for whatever can be put together, also for highest
//! and lowest, which cannot be subtracted.

use serde::{Deserialize, Serialize};

/// What a stretch of values comes to.
pub(super) trait Aggregate: Copy {
    /// Of one value.
    fn of(value: f64) -> Self;

    /// Of this stretch and the one after it.
    fn then(self, later: Self) -> Self;
}

/// The last `length` values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Window<A> {
    length: usize,
    /// Of the older values: what each comes to with all later ones of them. The last is of all.
    older: Vec<A>,
    newer: Vec<f64>,
    /// What the newer come to.
    recent: Option<A>,
}

impl<A: Aggregate> Window<A> {
    /// An empty window for `length` values, at least 1.
    pub(super) fn new(length: usize) -> Window<A> {
        Window { length, older: Vec::new(), newer: Vec::new(), recent: None }
    }

    /// Takes in a value; the oldest leaves a full window. `None` until it is full.
    pub(super) fn push(&mut self, value: f64) -> Option<A> {
        // Room for all that comes, with the first value: a window that stays empty needs none.
        if self.newer.capacity() <= self.length {
            self.newer.reserve_exact(self.length + 1 - self.newer.len());
            self.older.reserve_exact(self.length + 1 - self.older.len());
        }
        self.newer.push(value);
        self.recent = Some(self.recent.map_or(A::of(value), |recent| recent.then(A::of(value))));
        if self.older.len() + self.newer.len() > self.length {
            if self.older.is_empty() {
                self.turn();
            }
            self.older.pop();
        }
        if self.older.len() + self.newer.len() < self.length {
            return None;
        }
        match (self.older.last(), self.recent) {
            (Some(older), Some(recent)) => Some(older.then(recent)),
            (older, recent) => older.copied().or(recent),
        }
    }

    /// The newer values become the older.
    fn turn(&mut self) {
        self.recent = None;
        let mut suffix: Option<A> = None;
        for value in self.newer.drain(..).rev() {
            let whole = suffix.map_or(A::of(value), |later| A::of(value).then(later));
            self.older.push(whole);
            suffix = Some(whole);
        }
    }
}

/// Mean, and the sum of the squares of the distances from it.
///
/// Put together by the formula of Chan, Golub and LeVeque (Algorithms for computing the sample variance, 1983), which
/// never takes the difference of two large squares. Equal values have exactly their mean, and no deviation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Moments {
    count: f64,
    /// The mean.
    pub(super) mean: f64,
    squares: f64,
}

impl Moments {
    /// Standard deviation of the population: divided by n, not by n - 1.
    pub(super) fn deviation(&self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

impl Aggregate for Moments {
    fn of(value: f64) -> Moments {
        Moments { count: 1.0, mean: value, squares: 0.0 }
    }

    fn then(self, later: Moments) -> Moments {
        let count = self.count + later.count;
        let apart = later.mean - self.mean;
        let mean = self.mean + apart * (later.count / count);
        let squares = self.squares + later.squares + apart * apart * (self.count * later.count / count);
        Moments { count, mean, squares }
    }
}

/// Mean alone; of equal values it is exactly that value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Mean {
    count: f64,
    /// The mean.
    pub(super) mean: f64,
}

impl Aggregate for Mean {
    fn of(value: f64) -> Mean {
        Mean { count: 1.0, mean: value }
    }

    fn then(self, later: Mean) -> Mean {
        let count = self.count + later.count;
        Mean { count, mean: self.mean + (later.mean - self.mean) * (later.count / count) }
    }
}

/// Sum, and sum with weights 1, 2, 3 … from the oldest on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Weighted {
    count: f64,
    sum: f64,
    weighted: f64,
}

impl Weighted {
    /// The mean with those weights.
    pub(super) fn mean(&self) -> f64 {
        self.weighted / (self.count * (self.count + 1.0) / 2.0)
    }
}

impl Aggregate for Weighted {
    fn of(value: f64) -> Weighted {
        Weighted { count: 1.0, sum: value, weighted: value }
    }

    fn then(self, later: Weighted) -> Weighted {
        Weighted {
            count: self.count + later.count,
            sum: self.sum + later.sum,
            weighted: self.weighted + later.weighted + self.count * later.sum,
        }
    }
}

/// The highest value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Highest(pub(super) f64);

impl Aggregate for Highest {
    fn of(value: f64) -> Highest {
        Highest(value)
    }

    fn then(self, later: Highest) -> Highest {
        Highest(self.0.max(later.0))
    }
}

/// The lowest value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Lowest(pub(super) f64);

impl Aggregate for Lowest {
    fn of(value: f64) -> Lowest {
        Lowest(value)
    }

    fn then(self, later: Lowest) -> Lowest {
        Lowest(self.0.min(later.0))
    }
}
