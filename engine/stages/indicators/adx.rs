//! Average directional index.

use serde::{Deserialize, Serialize};

use super::atr::true_range;
use super::average::{Average, settle};
use super::family::{Candle, Family, Parameters, Values, percent};

/// `ADX(n)`, n = 14: how strong a trend is, and the directional indicators +DI and -DI that it is made of. A bar moves up
/// by how far its high passes the last high, if that is further than its low passes the last low, and the other way round.
/// Both in Wilder's smoothing, in percent of the true range's, are +DI and -DI, there from bar n + 1; their difference in
/// percent of their sum, smoothed once more, is the ADX, from bar 2n.
///
/// Convention: Skender's: every smoothing begins with the mean of its first n values. TA-Lib begins with n - 1 of them and
/// takes the n-th as a step; the two differ at the beginning and come together as the averages forget it, to 1e-9 within
/// 320 bars (with n = 14). Without any range, and without any direction, all are 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Adx {
    /// High, low and close.
    last: Option<(f64, f64, f64)>,
    up: Average,
    down: Average,
    range: Average,
    index: Average,
}

impl Family for Adx {
    const NAME: &'static str = "ADX";
    const VALUES: &'static [&'static str] = &["adx", "+DI", "-DI"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let period = parameters.period("the period", 14)?;
        let [up, down, range, index] = std::array::from_fn(|_| Average::wilder(period));
        Ok(Adx { last: None, up, down, range, index })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let last = self.last.replace((candle.high, candle.low, candle.close));
        let Some((high, low, close)) = last else { return [None; 4] };
        let (up, down) = (candle.high - high, low - candle.low);
        let smoothed = (
            self.up.next(if up > down { up.max(0.0) } else { 0.0 }),
            self.down.next(if down > up { down.max(0.0) } else { 0.0 }),
            self.range.next(true_range(candle, close)),
        );
        settle([&mut self.up, &mut self.down]);
        let (Some(up), Some(down), Some(range)) = smoothed else { return [None; 4] };
        let (up, down) = (percent(up, range, 0.0), percent(down, range, 0.0));
        let index = self.index.next(percent((up - down).abs(), up + down, 0.0));
        [index, Some(up), Some(down), None]
    }
}
