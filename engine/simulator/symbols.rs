//! What the simulated brokers quote: digits, starting prices, usual spreads, and each broker's spelling.

use crate::market::Price;

/// How an instrument behaves in the simulated market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Canonical name, such as `EURUSD`.
    pub name: String,
    /// Digits after the point in which it is quoted.
    pub digits: u8,
    /// Where the walk starts and what it is pulled back to, in billionths.
    pub anchor_e9: i64,
    /// Usual spread of a broker, in steps of the last digit.
    pub spread_points: i64,
    /// Volatility of one second, in billionths of the price.
    pub volatility_ppb: i64,
    /// How much of a move comes from the common factor of its group, in thousandths; negative moves against it.
    pub beta_permille: i64,
    /// Trades around the clock, on its own common factor.
    pub crypto: bool,
}

/// name, digits, anchor in billionths, spread in points, volatility of a second in ppb, beta in thousandths.
const KNOWN: [(&str, u8, i64, i64, i64, i64); 12] = [
    ("EURUSD", 5, 1_085_000_000, 10, 16_000, 750),
    ("GBPUSD", 5, 1_265_000_000, 14, 18_000, 650),
    ("USDJPY", 3, 151_200_000_000, 12, 18_000, -600),
    ("USDCHF", 5, 885_000_000, 14, 16_000, -700),
    ("USDCAD", 5, 1_362_000_000, 15, 13_000, -500),
    ("AUDUSD", 5, 655_000_000, 12, 20_000, 600),
    ("NZDUSD", 5, 605_000_000, 15, 20_000, 600),
    ("EURJPY", 3, 164_050_000_000, 16, 20_000, 100),
    ("EURGBP", 5, 857_000_000, 12, 11_000, 100),
    ("XAUUSD", 2, 2_345_000_000_000, 25, 30_000, 450),
    ("BTCUSDT", 2, 64_250_000_000_000, 1, 90_000, 850),
    ("ETHUSDT", 2, 3_120_000_000_000, 1, 105_000, 850),
];

impl Symbol {
    /// What is known of `name`; for others (a recording may be of anything) what its class suggests.
    #[must_use]
    pub fn named(name: &str) -> Symbol {
        let crypto = name.ends_with("USDT") || name.ends_with("USDC");
        let row = KNOWN.iter().find(|row| row.0 == name).copied().unwrap_or_else(|| {
            if crypto {
                (name, 2, 100_000_000_000, 2, 120_000, 800)
            } else if name.ends_with("JPY") {
                (name, 3, 120_000_000_000, 18, 18_000, 0)
            } else {
                (name, 5, 1_000_000_000, 18, 18_000, 0)
            }
        });
        let (_, digits, anchor_e9, spread_points, volatility_ppb, beta_permille) = row;
        Symbol { name: name.to_string(), digits, anchor_e9, spread_points, volatility_ppb, beta_permille, crypto }
    }

    /// One step of the last digit, in billionths.
    #[must_use]
    pub fn point_e9(&self) -> i64 {
        10i64.pow(9 - u32::from(self.digits.min(9)))
    }

    /// OANDA's spelling: `EUR_USD`.
    #[must_use]
    pub fn oanda_name(&self) -> String {
        self.pair_name('_')
    }

    /// Base and quote with something between them: `EUR_USD`, `BTC/USDT`.
    #[must_use]
    pub fn pair_name(&self, separator: char) -> String {
        let quote = if self.crypto { 4 } else { 3 };
        match self.name.len().checked_sub(quote).filter(|at| *at > 0 && self.name.is_char_boundary(*at)) {
            Some(at) => format!("{}{separator}{}", &self.name[..at], &self.name[at..]),
            None => self.name.clone(),
        }
    }
}

/// `price` with at least `digits` places, as brokers print prices in strings (`1.08500`); never fewer than it has.
#[must_use]
pub fn fixed(price: Price, digits: u8) -> String {
    pad(price.to_string(), digits)
}

/// Decimal text with at least `digits` places.
pub(super) fn pad(mut text: String, digits: u8) -> String {
    let places = match text.find('.') {
        Some(at) => text.len() - at - 1,
        None if digits == 0 => return text,
        None => {
            text.push('.');
            0
        }
    };
    for _ in places..usize::from(digits) {
        text.push('0');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn prices_keep_their_places_and_never_lose_a_digit() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        assert_eq!(fixed(price("1.085"), 5), "1.08500");
        assert_eq!(fixed(price("1.0850123"), 5), "1.0850123");
        assert_eq!(fixed(price("64250"), 2), "64250.00");
        assert_eq!(fixed(price("7"), 0), "7");
    }

    #[test]
    fn oanda_spells_pairs_with_an_underscore() {
        assert_eq!(Symbol::named("EURUSD").oanda_name(), "EUR_USD");
        assert_eq!(Symbol::named("XAUUSD").oanda_name(), "XAU_USD");
        assert_eq!(Symbol::named("BTCUSDT").oanda_name(), "BTC_USDT");
        assert_eq!(Symbol::named("EUR").oanda_name(), "EUR");
    }
}
