//! Commodity channel index.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values};

/// `CCI(n)`, n = 20: how far the typical price, (high + low + close) / 3, lies from its mean over the last n bars, in units
/// of 0.015 mean absolute deviations. First value at the n-th bar.
///
/// The mean deviation is from a mean that changes at every bar, so every bar looks at all n: this family costs O(n) a bar,
/// unlike the others.
///
/// Convention: that of Skender and of TA-Lib, which agree where there is a deviation. Without any they differ (Skender none,
/// TA-Lib 0): ours is 0, exactly; distances are taken from the newest price, so that rounding makes none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cci {
    period: usize,
    typical: VecDeque<f64>,
}

impl Family for Cci {
    const NAME: &'static str = "CCI";
    const VALUES: &'static [&'static str] = &["cci"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let period = parameters.period("the period", 20)?;
        Ok(Cci { period, typical: VecDeque::new() })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let newest = candle.typical();
        if self.typical.capacity() <= self.period {
            self.typical.reserve_exact(self.period + 1 - self.typical.len());
        }
        self.typical.push_back(newest);
        if self.typical.len() > self.period {
            self.typical.pop_front();
        }
        if self.typical.len() < self.period {
            return [None; 4];
        }
        let count = self.period as f64;
        // Of the prices less the newest, which leaves all distances as they are.
        let mean = self.typical.iter().map(|typical| typical - newest).sum::<f64>() / count;
        let deviation = self.typical.iter().map(|typical| (typical - newest - mean).abs()).sum::<f64>() / count;
        let index = if deviation == 0.0 { 0.0 } else { -mean / (0.015 * deviation) };
        [Some(index), None, None, None]
    }
}
