//! Stochastic oscillator.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values, percent};
use super::window::{Highest, Lowest, Mean, Window};

/// The highest high and the lowest low of the last bars.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Range {
    highs: Window<Highest>,
    lows: Window<Lowest>,
}

impl Range {
    /// Over `period` bars.
    pub(super) fn new(period: usize) -> Range {
        Range { highs: Window::new(period), lows: Window::new(period) }
    }

    /// Highest and lowest, with this bar.
    pub(super) fn next(&mut self, candle: &Candle) -> Option<(f64, f64)> {
        let (highest, lowest) = (self.highs.push(candle.high), self.lows.push(candle.low));
        highest.zip(lowest).map(|(highest, lowest)| (highest.0, lowest.0))
    }
}

/// `STOCH(n, k, d)`, 14, 3, 3: where the close lies between the lowest low (0) and the highest high (100) of the last n
/// bars; its mean over k bars is %K, and the mean of %K over d bars is %D. %K is there from bar n + k - 1, %D from bar
/// n + k + d - 2.
///
/// Convention: that of Skender and of TA-Lib, which agree; TA-Lib shows no %K before %D. Without any range the close lies
/// at 0, in both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stochastic {
    range: Range,
    k: Window<Mean>,
    d: Window<Mean>,
}

impl Family for Stochastic {
    const NAME: &'static str = "STOCH";
    const VALUES: &'static [&'static str] = &["%K", "%D"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let range = Range::new(parameters.period("the period", 14)?);
        let k = Window::new(parameters.period("the smoothing of %K", 3)?);
        Ok(Stochastic { range, k, d: Window::new(parameters.period("the smoothing of %D", 3)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let range = self.range.next(candle);
        let raw = range.map(|(highest, lowest)| percent(candle.close - lowest, highest - lowest, 0.0));
        let k = raw.and_then(|raw| self.k.push(raw)).map(|window| window.mean);
        let d = k.and_then(|k| self.d.push(k)).map(|window| window.mean);
        [k, d, None, None]
    }
}
