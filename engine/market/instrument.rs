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

/// What is known of an instrument beside its symbol and its number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSpec {
    /// Kind of market.
    pub class: Class,
    /// Digits after the point in which it is quoted.
    pub digits: u8,
    /// The pip, such as 0.0001.
    pub pip: Price,
}

impl InstrumentSpec {
    /// What the symbol says by convention: six letters that are two currencies, a metal and a currency, or a crypto
    /// currency and what it is quoted in. `None` for any other symbol.
    #[must_use]
    pub fn by_convention(symbol: &str) -> Option<InstrumentSpec> {
        let spec = |class, digits, pip_digits: u32| {
            let pip = Price::from_e9(10_i64.pow(9 - pip_digits))?;
            Some(InstrumentSpec { class, digits, pip })
        };
        let is_currency = |word: &str| CURRENCIES.contains(&word);
        if let Some((base, quote)) = symbol.split_at_checked(3) {
            if is_currency(base) && is_currency(quote) && base != quote {
                return if quote == "JPY" { spec(Class::Fx, 3, 2) } else { spec(Class::Fx, 5, 4) };
            }
            if METALS.contains(&base) && is_currency(quote) {
                return spec(Class::Metal, 3, 2);
            }
        }
        let (base, quote) = CRYPTO_QUOTES.iter().find_map(|quote| Some((symbol.strip_suffix(quote)?, *quote)))?;
        if !CRYPTO.contains(&base) {
            return None;
        }
        match quote {
            "BTC" | "ETH" | "BNB" => spec(Class::Crypto, 8, 8),
            _ if matches!(base, "BTC" | "ETH") => spec(Class::Crypto, 2, 2),
            _ => spec(Class::Crypto, 5, 5),
        }
    }
}

const CURRENCIES: &[&str] = &[
    "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK", "PLN", "HUF", "CZK", "TRY", "ZAR",
    "MXN", "SGD", "HKD", "CNH", "CNY", "THB", "INR", "KRW", "BRL", "RUB", "ILS", "RON",
];

const METALS: &[&str] = &["XAU", "XAG", "XPT", "XPD"];

const CRYPTO: &[&str] = &[
    "BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "TRX", "DOT", "LTC", "BCH", "LINK", "AVAX", "MATIC", "POL",
    "XLM", "XMR", "ETC", "ATOM", "UNI", "NEAR", "APT", "ARB", "OP", "SUI", "TON", "SHIB", "PEPE", "FIL", "AAVE",
];

/// The longer first, since some end like others.
const CRYPTO_QUOTES: &[&str] = &["FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "BTC", "ETH", "BNB"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn symbols_say_what_they_are() {
        for (symbol, class, digits, pip) in [
            ("EURUSD", Class::Fx, 5, "0.0001"),
            ("USDJPY", Class::Fx, 3, "0.01"),
            ("XAUUSD", Class::Metal, 3, "0.01"),
            ("BTCUSDT", Class::Crypto, 2, "0.01"),
            ("BTCUSD", Class::Crypto, 2, "0.01"),
            ("SOLBTC", Class::Crypto, 8, "0.00000001"),
        ] {
            let spec = InstrumentSpec { class, digits, pip: pip.parse().unwrap() };
            assert_eq!(InstrumentSpec::by_convention(symbol), Some(spec), "{symbol}");
        }
        for symbol in ["", "US30", "EUREUR", "AAPL", "EURUSD.m", "USDT", "ÄÄÄ"] {
            assert_eq!(InstrumentSpec::by_convention(symbol), None, "{symbol}");
        }
    }
}
