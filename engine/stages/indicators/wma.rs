//! Linearly weighted moving average.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values};
use super::window::{Weighted, Window};

/// `WMA(n)`, n = 20: the mean of the last n closes with weights 1 for the oldest to n for the newest. First value at the
/// n-th bar.
///
/// Convention: that of Skender and of TA-Lib, which agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wma {
    closes: Window<Weighted>,
}

impl Family for Wma {
    const NAME: &'static str = "WMA";
    const VALUES: &'static [&'static str] = &["wma"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        Ok(Wma { closes: Window::new(parameters.period("the period", 20)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        [self.closes.push(candle.close).map(|window| window.mean()), None, None, None]
    }
}
