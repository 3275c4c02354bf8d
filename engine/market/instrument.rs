//! What is traded.

use serde::{Deserialize, Serialize};

use super::Price;

/// Persistent number of an instrument, given once and never reused; 0 stands for "all".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstrumentId(pub u32);

/// The kind of market, which decides thresholds and calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Currency pairs.
    Fx,
    /// Precious metals.
    Metal,
    /// Stock indices as contracts for difference.
    Index,
    /// Crypto currencies.
    Crypto,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 4] = [Class::Fx, Class::Metal, Class::Index, Class::Crypto];

    /// The word in configuration, JSON and columns.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Class::Fx => "fx",
            Class::Metal => "metal",
            Class::Index => "index",
            Class::Crypto => "crypto",
        }
    }
}

/// An instrument under its canonical symbol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// Persistent number.
    pub id: InstrumentId,
    /// Canonical symbol, such as `EURUSD`.
    pub symbol: String,
    /// Kind of market.
    pub class: Class,
    /// Digits after the point in which it is quoted.
    pub digits: u8,
    /// The pip, such as 0.0001.
    pub pip: Price,
}
