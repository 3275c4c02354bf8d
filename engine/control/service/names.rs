//! What a venue's name of a symbol most likely stands for.

use crate::market::InstrumentSpec;

/// The canonical symbol of a venue's name: `EUR/USD`, `EUR_USD`, `EURUSD.m`, `EURUSDpro` and `eurusd` are EURUSD. A guess,
/// for people to look at; `None` where there is nothing to go by.
#[must_use]
pub fn canonical_name(venue: &str) -> Option<String> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let known = |text: &str| InstrumentSpec::by_convention(text).is_some();
    let whole = plain(venue);
    // Brokers' endings: behind a point, a hash or a dash, or small letters behind six capitals.
    let cut = plain(venue.split(['.', '#', '!', '^']).next().unwrap_or(venue));
    let six = venue.get(..6).filter(|six| six.chars().all(|c| c.is_ascii_uppercase())).map(String::from);
    let found = [Some(whole.clone()), Some(cut.clone()), six].into_iter().flatten().find(|text| known(text));
    found.or(Some(if cut.is_empty() { whole } else { cut })).filter(|text| (2..=32).contains(&text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_venues_lead_to_ours() {
        for (venue, ours) in [
            ("EUR/USD", "EURUSD"),
            ("EUR_USD", "EURUSD"),
            ("EURUSD.m", "EURUSD"),
            ("EURUSDpro", "EURUSD"),
            ("#US30", "US30"),
            ("btcusdt", "BTCUSDT"),
            ("BTC-USD", "BTCUSD"),
            ("XAUUSD.raw", "XAUUSD"),
            ("US500.cash", "US500"),
        ] {
            assert_eq!(canonical_name(venue).as_deref(), Some(ours), "{venue}");
        }
        assert_eq!(canonical_name("."), None);
    }
}
