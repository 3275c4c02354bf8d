//! The one market behind all simulated brokers. Pure: it is told the time, and from one seed and one start it always
//! says the same. Prices are whole numbers throughout.
//!
//! Every 10 ms each instrument's true price takes a step: a common factor of its group plus a part of its own, pulled
//! softly towards where it began. Bursts come and go, with more ticks and wider spreads. Each broker looks at the true
//! price at its own moments and quotes around it (`venue.rs`); what it says becomes due after the broker's delay.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use super::event::Event;
use super::symbols::Symbol;
use super::venue::{Venue, VenueSpec};

/// Length of a step of the walk.
pub const STEP_NS: i64 = 10_000_000;

/// A stall longer than this (a suspended machine) is skipped and not made up for.
const CATCH_UP_NS: i64 = 5_000_000_000;

/// What an instrument does at this moment.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The instrument.
    pub symbol: Symbol,
    /// The true price, in billionths.
    pub mid_e9: i64,
    /// Activity in thousandths: 1,000 when calm, more in a burst.
    pub activity: i64,
    burst_steps: u32,
}

/// Something a broker says, and when it reaches the subscriber's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Due at, nanoseconds UTC.
    pub at_ns: i64,
    /// Index of the broker.
    pub venue: usize,
    /// What it says.
    pub event: Event,
}

/// The market and the brokers that quote it.
#[derive(Debug)]
pub struct Market {
    rng: Rng,
    walks: Vec<Walk>,
    venues: Vec<Venue>,
    volatility_permille: i64,
    /// Start of the next step; 0 until the first advance.
    next_step_ns: i64,
    due: BinaryHeap<Reverse<Pending>>,
    made: u64,
}

/// A delivery in waiting; equal times keep the order in which they were made.
#[derive(Debug)]
struct Pending {
    at_ns: i64,
    ordinal: u64,
    delivery: Delivery,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.ordinal == other.ordinal
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.ordinal).cmp(&(other.at_ns, other.ordinal))
    }
}

impl Market {
    /// A market of all symbols that any of the brokers offers. `volatility_permille` is 1,000 for the usual one.
    #[must_use]
    pub fn new(seed: u64, volatility_permille: i64, specs: Vec<VenueSpec>) -> Market {
        let mut walks: Vec<Walk> = Vec::new();
        for name in specs.iter().flat_map(|spec| &spec.symbols) {
            if walks.iter().all(|walk| walk.symbol.name != *name) {
                let symbol = Symbol::named(name);
                walks.push(Walk { mid_e9: symbol.anchor_e9, symbol, activity: 1_000, burst_steps: 0 });
            }
        }
        let venues = specs.into_iter().map(|spec| Venue::new(seed, spec, &walks)).collect();
        let (rng, due) = (Rng::with_seed(seed), BinaryHeap::new());
        Market { rng, walks, venues, volatility_permille, next_step_ns: 0, due, made: 0 }
    }

    /// Moves the market to `now_ns` and appends what has become due, in order.
    pub fn advance(&mut self, now_ns: i64, out: &mut Vec<Delivery>) {
        if self.next_step_ns == 0 || now_ns - self.next_step_ns > CATCH_UP_NS {
            self.next_step_ns = now_ns;
        }
        // A step is made as soon as it begins, so that nothing in it is late.
        while self.next_step_ns <= now_ns {
            self.step(self.next_step_ns);
            self.next_step_ns += STEP_NS;
        }
        while self.due.peek().is_some_and(|Reverse(pending)| pending.at_ns <= now_ns) {
            if let Some(Reverse(pending)) = self.due.pop() {
                out.push(pending.delivery);
            }
        }
    }

    /// When there is something to do again.
    #[must_use]
    pub fn wakes_at_ns(&self) -> i64 {
        self.due.peek().map_or(self.next_step_ns, |Reverse(pending)| pending.at_ns.min(self.next_step_ns))
    }

    fn step(&mut self, from_ns: i64) {
        let factors = [bell(&mut self.rng), bell(&mut self.rng)];
        for walk in &mut self.walks {
            walk.step(&mut self.rng, factors, self.volatility_permille);
        }
        let mut made = Vec::new();
        for (index, venue) in self.venues.iter_mut().enumerate() {
            venue.step(from_ns, &self.walks, &mut made);
            for (at_ns, event) in made.drain(..) {
                self.made += 1;
                let delivery = Delivery { at_ns, venue: index, event };
                self.due.push(Reverse(Pending { at_ns, ordinal: self.made, delivery }));
            }
        }
    }
}

impl Walk {
    fn step(&mut self, rng: &mut Rng, factors: [i64; 2], volatility_permille: i64) {
        self.burst(rng);
        let beta = self.symbol.beta_permille;
        let own = (1_000_000 - beta * beta).max(0).isqrt();
        let shock = (beta * factors[usize::from(self.symbol.crypto)] + own * bell(rng)) / 1_000;
        // A step is a hundredth of a second, so it has a tenth of a second's deviation.
        let scale = self.symbol.volatility_ppb / 10 * volatility_permille / 1_000 * self.activity / 1_000;
        let wander = i128::from(self.mid_e9) * i128::from(scale) * i128::from(shock) / 1_000_000_000_000;
        // The pull is worth a 200,000th of the way per step: half of it in some twenty minutes.
        let pull = (self.symbol.anchor_e9 - self.mid_e9) / 200_000;
        let moved = self.mid_e9 + i64::try_from(wander).unwrap_or(0) + pull;
        // Half and double the anchor are far beyond any real session; they keep a wild configuration positive.
        self.mid_e9 = moved.clamp(self.symbol.anchor_e9 / 2, self.symbol.anchor_e9.saturating_mul(2));
    }

    /// A burst begins about every 50 s and lasts 0.3 to 3 s.
    fn burst(&mut self, rng: &mut Rng) {
        if self.burst_steps > 0 {
            self.burst_steps -= 1;
            if self.burst_steps == 0 {
                self.activity = 1_000;
            }
        } else if rng.u32(0..5_000) == 0 {
            self.burst_steps = rng.u32(30..300);
            self.activity = rng.i64(2_000..4_000);
        }
    }
}

/// A bell-shaped number of mean 0 and deviation 1,000: the sum of three even ones, each of deviation 577.
fn bell(rng: &mut Rng) -> i64 {
    (0..3).map(|_| rng.i64(-1_000..=1_000)).sum()
}

#[cfg(test)]
mod tests;
