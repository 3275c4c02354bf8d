//! Volume-weighted average price.

use serde::{Deserialize, Serialize};

use super::family::{Candle, Family, Parameters, Values};

/// A sum that does not forget its small parts (A. Neumaier, 1974): it stays exact to the last digit for ever.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sum {
    sum: f64,
    /// What rounding took from the sum.
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let (large, small) = if self.sum.abs() >= value.abs() { (self.sum, value) } else { (value, self.sum) };
        self.lost += (large - sum) + small;
        self.sum = sum;
    }

    fn get(&self) -> f64 {
        self.sum + self.lost
    }
}

/// Weights, and prices times weights.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Weighed {
    weights: Sum,
    prices: Sum,
}

impl Weighed {
    fn add(&mut self, weight: f64, price: f64) {
        self.weights.add(weight);
        self.prices.add(weight * price);
    }

    fn mean(&self) -> Option<f64> {
        let weight = self.weights.get();
        (weight > 0.0).then(|| self.prices.get() / weight)
    }
}

/// `VWAP(anchor)`: the mean of the typical prices, (high + low + close) / 3, weighted by volume, since the anchor. With
/// "day" (the default) it begins anew with each trading day of the instrument's calendar (17:00 New York for currencies);
/// with "all" it goes on from the first bar seen. First value at the first bar with volume.
///
/// Where no bar since the anchor has a volume, its ticks are the weight, as is usual for currencies. From the first bar with
/// a volume on, volumes alone count, and a bar without one weighs nothing. While all weights are 0 there is no value.
///
/// Convention: "all" is Skender's. TA-Lib has no VWAP.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vwap {
    daily: bool,
    day: i64,
    by_volume: Option<Weighed>,
    by_ticks: Weighed,
}

impl Family for Vwap {
    const NAME: &'static str = "VWAP";
    const VALUES: &'static [&'static str] = &["vwap"];

    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String> {
        let daily = parameters.word("the anchor", &["day", "all"])? == 0;
        Ok(Vwap { daily, day: i64::MIN, by_volume: None, by_ticks: Weighed::default() })
    }

    fn next(&mut self, candle: &Candle) -> Values {
        if self.daily && self.day != candle.day {
            (self.by_volume, self.by_ticks) = (None, Weighed::default());
            self.day = candle.day;
        }
        let typical = candle.typical();
        self.by_ticks.add(candle.ticks, typical);
        if let Some(volume) = candle.volume {
            self.by_volume.get_or_insert_default().add(volume, typical);
        }
        [self.by_volume.as_ref().unwrap_or(&self.by_ticks).mean(), None, None, None]
    }
}
