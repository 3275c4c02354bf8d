//! Past bars: `/PriceHistory` or `/PriceHistoryEx`, bars of the bid, on the broker's clock.
//!
//! Rows may be unsorted and hold the bar that forms. What the vendor allows is not documented: how many bars a request
//! may ask for, and how many requests a second, are settings.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Timeframe};
use tickwire_schemas::{NO_PRICE, NO_SIZE};

use super::{Broker, utc_ns};
use crate::feeds::adapters::{Answer, History};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, not_understood, ordered, price_e9};
use crate::market::{BrokerClock, Size, time_text};

/// Default of `history_bars`.
pub(super) fn page() -> u32 {
    5_000
}

/// Default of `history_per_second`.
pub(super) fn per_second() -> u32 {
    5
}

/// Which endpoint of past bars is asked.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// `/PriceHistory`, by both ends.
    #[default]
    Time,
    /// `/PriceHistoryEx`, by the end and how many before it.
    Count,
}

impl History for Broker {
    fn page(&self) -> usize {
        self.settings.history_bars as usize
    }

    fn host(&self) -> &str {
        self.rest.host()
    }

    fn rate(&self) -> Rate {
        Rate::within(self.settings.history_per_second, Duration::from_secs(1))
    }

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let mut clock = BrokerClock::new(self.broker_time);
            let mut wall = |ns| wall_clock(clock.server_ns(ns)).ok_or_else(|| not_understood("time", ns));
            // By number they are counted back from the last that opens before the end.
            let (from, to, last) = (wall(from_ns)?, wall(to_ns)?, wall(to_ns - time_text::SECOND_NS)?);
            let mut query = vec![("symbol", symbol.as_str()), ("timeFrame", minutes(timeframe))];
            let count = self.settings.history_bars.to_string();
            let endpoint = match self.settings.history_by {
                By::Time => {
                    query.extend([("from", from.as_str()), ("to", to.as_str())]);
                    "PriceHistory"
                }
                // Our reading: the vendor shows the parameters alone.
                By::Count => {
                    query.extend([("from", last.as_str()), ("numBars", count.as_str())]);
                    "PriceHistoryEx"
                }
            };
            let body = self.ask(endpoint, &query).await?;
            let bars = rows(&body, timeframe, &mut clock).map_err(|e| not_understood(endpoint, e))?;
            Ok(ordered(bars, from_ns, to_ns))
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.log_out())
    }
}

/// `2022-01-01T00:00:00`; `None` beyond the years that can be written so.
fn wall_clock(server_ns: i64) -> Option<String> {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(server_ns)).ok()?;
    Some(stamp.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

fn minutes(timeframe: Timeframe) -> &'static str {
    match timeframe {
        Timeframe::M1 => "1",
        Timeframe::M5 => "5",
        Timeframe::M15 => "15",
        Timeframe::M30 => "30",
        Timeframe::H1 => "60",
        Timeframe::H4 => "240",
        Timeframe::D1 => "1440",
        Timeframe::W1 => "10080",
        Timeframe::MN => "43200",
    }
}

fn rows(body: &[u8], timeframe: Timeframe, clock: &mut BrokerClock) -> Step<Vec<Bar>> {
    let mut bars = Vec::new();
    let mut cursor = Cursor::new(body);
    cursor.array(|c| {
        bars.push(row(c, timeframe, clock)?);
        Ok(())
    })?;
    cursor.end()?;
    Ok(bars)
}

fn row(c: &mut Cursor<'_>, timeframe: Timeframe, clock: &mut BrokerClock) -> Step<Bar> {
    let mut bar = empty_bar(timeframe, Basis::Bid, i64::MIN);
    let Ohlc { mut open_e9, mut high_e9, mut low_e9, mut close_e9 } = bar.bid;
    c.object(|key, c| {
        match key {
            b"time" => {
                bar.open_ts_ns = utc_ns(clock, &c.text()?).ok_or(Malformed("a time such as 2022-01-03T00:00:00"))?;
            }
            b"openPrice" => open_e9 = price_e9(c.number()?)?,
            b"highPrice" => high_e9 = price_e9(c.number()?)?,
            b"lowPrice" => low_e9 = price_e9(c.number()?)?,
            b"closePrice" => close_e9 = price_e9(c.number()?)?,
            b"tickVolume" => bar.ticks = c.whole()?,
            b"volume" => bar.volume_e8 = volume(c.number()?)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    bar.bid = Ohlc { open_e9, high_e9, low_e9, close_e9 };
    let whole = bar.open_ts_ns != i64::MIN && ![open_e9, high_e9, low_e9, close_e9].contains(&NO_PRICE);
    if whole { Ok(bar) } else { Err(Malformed("time, openPrice, highPrice, lowPrice and closePrice")) }
}

/// Zero is what brokers without an exchange say: unknown.
fn volume(text: &[u8]) -> Step<u64> {
    let size = Size::parse(text).map_err(|_| Malformed("a volume"))?;
    Ok(if size.e8() == 0 { NO_SIZE } else { size.e8() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::BrokerTime;

    #[test]
    fn rows_are_bars_of_the_bid_on_the_brokers_clock() {
        let text = r#"[{"time":"2022-01-03T00:00:00","openPrice":1.1371,"highPrice":1.1379,"lowPrice":1.1365,"closePrice":1.1369,"tickVolume":5120,"spread":3,"volume":0}]"#;
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        let bars = rows(text.as_bytes(), Timeframe::D1, &mut clock).unwrap();
        let [bar] = bars[..] else { panic!("{bars:?}") };
        // Sunday 17:00 in New York.
        assert_eq!((bar.open_ts_ns, bar.ticks, bar.volume_e8), (1_641_160_800_000_000_000, 5_120, NO_SIZE));
        assert_eq!((bar.bid.open_e9, bar.bid.close_e9), (1_137_100_000, 1_136_900_000));
        assert_eq!((bar.ask.open_e9, bar.basis), (NO_PRICE, Basis::Bid.code()));
        assert!(rows(b"[{\"time\":\"2022-01-03T00:00:00\"}]", Timeframe::D1, &mut clock).is_err());
    }

    #[test]
    fn requests_are_on_the_brokers_clock_summer_and_winter() {
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        for (utc, server) in [
            ("2024-01-15T22:00:00Z", "2024-01-16T00:00:00"),
            ("2024-07-15T21:00:00Z", "2024-07-16T00:00:00"),
            // Around the two changes.
            ("2024-03-10T06:59:00Z", "2024-03-10T08:59:00"),
            ("2024-03-10T21:00:00Z", "2024-03-11T00:00:00"),
            ("2024-11-03T08:00:00Z", "2024-11-03T10:00:00"),
        ] {
            let ns = i64::try_from(utc.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap();
            assert_eq!(wall_clock(clock.server_ns(ns)).unwrap(), server, "{utc}");
        }
    }
}
