//! Average true range.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::family::{Candle, Family, Parameters, Values};

/// `ATR(n)`, n = 14: Wilder's smoothing of the true range, beginning with the mean of the first n; and the true range
/// itself: how far the bar and the close before it span. A first bar has none, so the first average is at bar n + 1.
///
/// Convention: that of Skender and of TA-Lib, which agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Atr {
    last: Option<f64>,
    average: Average,
}

/// How far a bar and the close before it span.
pub(super) fn true_range(candle: &Candle, last_close: f64) -> f64 {
    let above = (candle.high - last_close).abs();
    let below = (candle.low - last_close).abs();
    (candle.high - candle.low).max(above).max(below)
}

impl Family for Atr {
    const NAME: &'static str = "ATR";
    const VALUES: &'static [&'static str] = &["atr", "true range"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        Ok(Atr { last: None, average: Average::wilder(parameters.period("the period", 14)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let range = self.last.replace(candle.close).map(|last| true_range(candle, last));
        [range.and_then(|range| self.average.next(range)), range, None, None]
    }
}
