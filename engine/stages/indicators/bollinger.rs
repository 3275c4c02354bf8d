//! Bollinger bands.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values};
use super::window::{Moments, Window};

/// `BB(n, factor)`, 20, 2: the mean of the last n closes with bands of `factor` standard deviations above and below, and
/// the deviation itself. First values at the n-th bar; without moves the bands lie on the mean.
///
/// Convention: that of Skender and of TA-Lib, which agree: the population's deviation, divided by n. TA-Lib takes it as the
/// difference of two squares, which loses up to 8 digits where the deviation is small beside the price; here it is not
/// lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bollinger {
    closes: Window<Moments>,
    factor: f64,
}

impl Family for Bollinger {
    const NAME: &'static str = "BB";
    const VALUES: &'static [&'static str] = &["upper", "middle", "lower", "deviation"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let closes = Window::new(parameters.period("the period", 20)?);
        Ok(Bollinger { closes, factor: parameters.factor("the factor on the deviation", 2.0)? })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let Some(window) = self.closes.push(candle.close) else { return [None; 4] };
        let (middle, deviation) = (window.mean, window.deviation());
        let width = self.factor * deviation;
        [Some(middle + width), Some(middle), Some(middle - width), Some(deviation)]
    }
}
