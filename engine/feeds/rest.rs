//! What adapters' histories are made of: requests with long answers over a kept connection, and empty bars to fill in.

use std::time::Duration;

use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{BarState, Basis, Cause, Origin, Timeframe};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::json::{Malformed, Step};
use super::net::{self, Failure, Http};
use crate::market::Price;

/// Longest answer: 5,000 candles of two sides are some 1.2 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Longest wait for a whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A venue's HTTP API.
#[derive(Debug)]
pub struct Rest {
    base: String,
    http: Http,
}

impl Rest {
    /// Below `base`, a checked base URL.
    #[must_use]
    pub fn new(base: String) -> Rest {
        Rest { http: Http::kept(&base), base }
    }

    /// Host and port: what the venue's limits are counted by.
    #[must_use]
    pub fn host(&self) -> &str {
        net::host_of(&self.base)
    }

    /// The body of a successful answer to a GET.
    ///
    /// # Errors
    /// [`Failure`] with the venue's words, found by `words`, when the answer is another, too long or too late.
    pub async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, String)],
        words: impl Fn(&[u8]) -> Option<String>,
    ) -> Result<Vec<u8>, Failure> {
        let answer = async {
            let mut response = self.http.get(&format!("{}{path}", self.base), query, headers).await?;
            if !response.status().is_success() {
                return Err(net::refused(response, words).await);
            }
            let mut body = Vec::new();
            let broken = |e: reqwest::Error| Failure::new(Cause::ReadError, e.without_url().to_string());
            while let Some(chunk) = response.chunk().await.map_err(broken)? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    let text = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                    return Err(Failure::new(Cause::ProtocolError, text));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let late = || Failure::new(Cause::ReadError, format!("no whole answer within {} s", ANSWER_MAX.as_secs()));
        tokio::time::timeout(ANSWER_MAX, answer).await.map_err(|_| late())?
    }
}

/// A side without a price.
const ABSENT: Ohlc = Ohlc { open_e9: NO_PRICE, high_e9: NO_PRICE, low_e9: NO_PRICE, close_e9: NO_PRICE };

/// A final bar of a venue's history, without prices, ids and its end.
#[must_use]
pub fn empty_bar(timeframe: Timeframe, basis: Basis, open_ts_ns: i64) -> Bar {
    Bar {
        open_ts_ns,
        bid: ABSENT,
        ask: ABSENT,
        mid: ABSENT,
        volume_e8: NO_SIZE,
        timeframe: timeframe.code(),
        origin: Origin::Backfill.code(),
        basis: basis.code(),
        state: BarState::Final.code(),
        ..Bar::default()
    }
}

/// A price of a candle in billionths.
///
/// # Errors
/// When it is none.
pub fn price_e9(text: &[u8]) -> Step<i64> {
    Price::parse(text).map(Price::e9).map_err(|_| Malformed("a price of at most nine places"))
}

/// Nobody answers with something that is not their protocol but by a fault.
#[must_use]
pub fn not_understood(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::new(Cause::ProtocolError, format!("{what}: {error}"))
}

/// The bars that open in `[from_ns, to_ns)`, oldest first, each once (the last one said).
#[must_use]
pub fn ordered(mut bars: Vec<Bar>, from_ns: i64, to_ns: i64) -> Vec<Bar> {
    bars.retain(|bar| (from_ns..to_ns).contains(&bar.open_ts_ns));
    bars.reverse();
    bars.sort_by_key(|bar| bar.open_ts_ns);
    bars.dedup_by_key(|bar| bar.open_ts_ns);
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counted_by_host_and_port() {
        assert_eq!(Rest::new("https://api.example.com/prefix".into()).host(), "api.example.com");
        assert_eq!(Rest::new("http://127.0.0.1:80".into()).host(), "127.0.0.1:80");
    }

    #[test]
    fn of_a_bar_said_twice_the_last_one_counts() {
        let bar = |at, ticks| Bar { ticks, ..empty_bar(Timeframe::M1, Basis::Bid, at) };
        let found = ordered(vec![bar(3, 1), bar(2, 1), bar(2, 9), bar(5, 1), bar(1, 1)], 2, 5);
        assert_eq!(found.iter().map(|b| (b.open_ts_ns, b.ticks)).collect::<Vec<_>>(), [(2, 9), (3, 1)]);
    }
}
