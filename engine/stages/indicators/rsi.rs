//! Relative strength index.

use serde::{Deserialize, Serialize};

use super::average::{Average, settle};
use super::family::{Candle, Family, Parameters, Values, percent};

/// `RSI(n)`, n = 14: the share, in percent, of rises in all moves from close to close, both in Wilder's smoothing, which
/// begins with the mean of the first n moves. First value at bar n + 1.
///
/// Convention: that of Skender and of TA-Lib, which agree where there are moves. Only rises are 100, only falls 0. Where
/// nothing moved at all they differ (Skender none, TA-Lib 0): ours is 50, neither strong nor weak. A market that moved and
/// then stands still keeps its last value, until after some 7,500 bars (with n = 14) the averages have decayed to nothing:
/// then 50.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rsi {
    last: Option<f64>,
    rises: Average,
    falls: Average,
}

impl Family for Rsi {
    const NAME: &'static str = "RSI";
    const VALUES: &'static [&'static str] = &["rsi"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let average = Average::wilder(parameters.period("the period", 14)?);
        Ok(Rsi { last: None, rises: average.clone(), falls: average })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let Some(last) = self.last.replace(candle.close) else { return [None; 4] };
        let moved = candle.close - last;
        let averages = self.rises.next(moved.max(0.0)).zip(self.falls.next((-moved).max(0.0)));
        settle([&mut self.rises, &mut self.falls]);
        [averages.map(|(rises, falls)| percent(rises, rises + falls, 50.0)), None, None, None]
    }
}
