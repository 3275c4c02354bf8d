//! Simple moving average.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values};
use super::window::{Mean, Window};

/// `SMA(n)`, n = 20: the mean of the last n closes. First value at the n-th bar.
///
/// Convention: that of Skender and of TA-Lib, which agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sma {
    closes: Window<Mean>,
}

impl Family for Sma {
    const NAME: &'static str = "SMA";
    const VALUES: &'static [&'static str] = &["sma"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        Ok(Sma { closes: Window::new(parameters.period("the period", 20)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        [self.closes.push(candle.close).map(|window| window.mean), None, None, None]
    }
}
