//! Moving average convergence and divergence.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::family::{Candle, Family, Parameters, Values};

/// `MACD(fast, slow, signal)`, 12, 26, 9: the fast exponential average of the closes less the slow one; its own
/// exponential average, the signal; and the first less the second, the histogram. The line is there from bar `slow`, the
/// others from bar `slow + signal - 1`.
///
/// Convention: Skender's. Each average begins with the mean of its own first values. TA-Lib lets the fast one begin with
/// the slow one, by the last `fast` closes before, and shows nothing before the signal: the two differ at the beginning and
/// come together as the averages forget it, to 1e-9 within 170 bars (with 12, 26, 9).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Macd {
    fast: Average,
    slow: Average,
    signal: Average,
}

impl Family for Macd {
    const NAME: &'static str = "MACD";
    const VALUES: &'static [&'static str] = &["macd", "signal", "histogram"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let fast = parameters.period("the fast period", 12)?;
        let slow = parameters.period("the slow period", 26)?;
        if slow <= fast {
            return Err(format!("the slow period is {slow}, expected more than the fast one, {fast}"));
        }
        let signal = Average::exponential(parameters.period("the signal's period", 9)?);
        Ok(Macd { fast: Average::exponential(fast), slow: Average::exponential(slow), signal })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        let averages = self.fast.next(candle.close).zip(self.slow.next(candle.close));
        let line = averages.map(|(fast, slow)| fast - slow);
        let signal = line.and_then(|line| self.signal.next(line));
        [line, signal, line.zip(signal).map(|(line, signal)| line - signal), None]
    }
}
