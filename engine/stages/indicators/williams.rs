//! Williams %R.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values, percent};
use super::stochastic::Range;

/// `WILLR(n)`, n = 14: where the close lies between the highest high (0) and the lowest low (-100) of the last n bars. First
/// value at the n-th bar.
///
/// Convention: that of Skender and of TA-Lib, which agree where there is a range. Without any, they differ (TA-Lib 0): ours
/// is Skender's -100, so that it is the unsmoothed stochastic oscillator less 100 always.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Williams {
    range: Range,
}

impl Family for Williams {
    const NAME: &'static str = "WILLR";
    const VALUES: &'static [&'static str] = &["%R"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        Ok(Williams { range: Range::new(parameters.period("the period", 14)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let range = self.range.next(candle);
        [range.map(|(highest, lowest)| -percent(highest - candle.close, highest - lowest, 100.0)), None, None, None]
    }
}
