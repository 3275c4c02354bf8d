//! Exponential moving average.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::family::{Candle, Family, Parameters, Values};

/// `EMA(n)`, n = 20: each close pulls the average 2 / (n + 1) of the way. It begins with the mean of the first n closes,
/// at the n-th bar.
///
/// Convention: that of Skender and of TA-Lib (in its default, not Metastock's), which agree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ema {
    average: Average,
}

impl Family for Ema {
    const NAME: &'static str = "EMA";
    const VALUES: &'static [&'static str] = &["ema"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        Ok(Ema { average: Average::exponential(parameters.period("the period", 20)?) })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        [self.average.next(candle.close), None, None, None]
    }
}
