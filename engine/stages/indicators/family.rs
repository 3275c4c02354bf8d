//! What every family of indicators is: parameters in, one candle at a time, up to four values out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One bar of one price, as the families see it.
///
/// Prices of the engine are whole units of 1e-9; here they are `f64`, within 2e-16 of the price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candle {
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Volume, where the source has one.
    pub volume: Option<f64>,
    /// Ticks counted.
    pub ticks: f64,
    /// Marks the trading day: equal within one day, different between two.
    pub day: i64,
}

impl Candle {
    /// `(high + low + close) / 3`.
    #[must_use]
    pub fn typical(&self) -> f64 {
        (self.high + self.low + self.close) / 3.0
    }
}

/// Values after a candle, in the order that the family documents; `None` where there is none yet, or none at all.
pub type Values = [Option<f64>; 4];

/// A family of indicators. It computes with `+ - * /` and `sqrt` alone, so that every machine gets the same bits, and
/// neither panics nor says NaN for any finite candles.
pub trait Family: Sized + Clone + Send + Serialize + DeserializeOwned {
    /// Its name in the configuration and in canonical names.
    const NAME: &'static str;

    /// What its values are, in order.
    const VALUES: &'static [&'static str];

    /// Takes its parameters, in order.
    ///
    /// # Errors
    /// A sentence naming the parameter, its value and what was expected.
    fn new(parameters: &mut Parameters<'_>) -> Result<Self, String>;

    /// Takes in the next candle and gives the values after it.
    fn next(&mut self, candle: &Candle) -> Values;
}

/// A parameter as configured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number or a word in quotes")]
pub enum Parameter {
    /// A period or a factor.
    Number(f64),
    /// One of a few words.
    Word(String),
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Parameter::Number(number) => write!(f, "{number}"),
            Parameter::Word(word) => write!(f, "\"{word}\""),
        }
    }
}

/// Longest period, in bars: it bounds what an indicator remembers, and what a `CCI` costs.
pub const PERIOD_MAX: usize = 10_000;

/// Greatest factor on a deviation.
pub const FACTOR_MAX: f64 = 1000.0;

/// The parameters of one indicator while its family takes them; those left out have their default.
#[derive(Debug)]
pub struct Parameters<'a> {
    given: &'a [Parameter],
    /// What was taken, as it stands in the canonical name.
    taken: Vec<String>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(given: &'a [Parameter]) -> Parameters<'a> {
        Parameters { given, taken: Vec::new() }
    }

    /// The next parameter, a number of bars.
    ///
    /// # Errors
    /// When it is not a whole number from 1 to [`PERIOD_MAX`].
    pub fn period(&mut self, what: &str, default: usize) -> Result<usize, String> {
        let period = match self.given.get(self.taken.len()) {
            None => default,
            Some(Parameter::Number(n)) if n.fract() == 0.0 && (1.0..=PERIOD_MAX as f64).contains(n) => *n as usize,
            Some(other) => return Err(self.wrong(what, other, &format!("a whole number from 1 to {PERIOD_MAX}"))),
        };
        self.taken.push(period.to_string());
        Ok(period)
    }

    /// The next parameter, a factor.
    ///
    /// # Errors
    /// When it is not a number above 0 and at most [`FACTOR_MAX`].
    pub fn factor(&mut self, what: &str, default: f64) -> Result<f64, String> {
        let factor = match self.given.get(self.taken.len()) {
            None => default,
            Some(Parameter::Number(n)) if *n > 0.0 && *n <= FACTOR_MAX => *n,
            Some(other) => return Err(self.wrong(what, other, &format!("a number above 0, at most {FACTOR_MAX}"))),
        };
        self.taken.push(factor.to_string());
        Ok(factor)
    }

    /// The next parameter, one of `words` of which the first is the default; gives its place.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn word(&mut self, what: &str, words: &[&str]) -> Result<usize, String> {
        let at = match self.given.get(self.taken.len()) {
            None => Some(0),
            Some(Parameter::Word(given)) => words.iter().position(|word| word == given),
            Some(Parameter::Number(_)) => None,
        };
        match (at, self.given.get(self.taken.len())) {
            (Some(at), _) => {
                self.taken.extend(words.get(at).map(|word| (*word).to_string()));
                Ok(at)
            }
            (None, Some(other)) => {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                Err(self.wrong(what, other, &words.join(" or ")))
            }
            (None, None) => Err(format!("{what} has no default")),
        }
    }

    fn wrong(&self, what: &str, found: &Parameter, expected: &str) -> String {
        format!("the {}. parameter, {what}, is {found}, expected {expected}", self.taken.len() + 1)
    }

    /// All parameters in canonical form.
    pub(super) fn finish(self, family: &str) -> Result<String, String> {
        if self.given.len() > self.taken.len() {
            return Err(format!("{} parameters, {family} takes at most {}", self.given.len(), self.taken.len()));
        }
        Ok(self.taken.join(","))
    }
}

/// An oscillator between 0 and 100: the share of `part` in `whole`; `otherwise` when there is no whole.
pub(super) fn percent(part: f64, whole: f64, otherwise: f64) -> f64 {
    // Rounding alone could bring it above.
    if whole == 0.0 { otherwise } else { (100.0 * part / whole).min(100.0) }
}
