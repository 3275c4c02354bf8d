//! Past bars: `HIST;EURUSD;5;2019.01.04 17:00:00;2019.01.04 18:00:00`, bars of the bid on the broker's clock, both ends
//! included.
//!
//! The terminal fetches what it does not have while it is asked; the adviser tries for two seconds, then says
//! `NOT_AVAILABLE`, which is what it says of a weekend too: neither can be told from the other.

use tickwire_schemas::NO_PRICE;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Timeframe};

use super::{Answer, Broker, bridge};
use crate::feeds::adapters::{Answer as Asked, History};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, not_understood, ordered, price_e9};
use crate::market::{BrokerClock, time_text};

impl History for Broker {
    fn page(&self) -> usize {
        self.settings.history_bars as usize
    }

    fn host(&self) -> &str {
        &self.place.label
    }

    fn rate(&self) -> Rate {
        bridge::rate(self.settings.history_per_second)
    }

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Asked<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let mut clock = BrokerClock::new(self.place.broker_time);
            let mut wall = |ns| wall_clock(clock.server_ns(ns)).ok_or_else(|| not_understood("time", ns));
            let (from, to) = (wall(from_ns)?, wall(to_ns)?);
            let command = format!("HIST;{symbol};{};{from};{to}", minutes(timeframe));
            let found = |answer: &Answer<'_>| {
                let bars = rows(answer, &symbol, timeframe, &mut clock).map_err(|e| not_understood("HIST", e))?;
                Ok(bars.map(|bars| ordered(bars, from_ns, to_ns)))
            };
            self.ask(&command, "HIST", bridge::PAST_MAX, found).await
        })
    }
}

/// `2019.01.04 17:00:00`; `None` beyond the years that can be written so.
fn wall_clock(server_ns: i64) -> Option<String> {
    let stamp = jiff::Timestamp::from_nanosecond(i128::from(server_ns)).ok()?;
    Some(stamp.strftime("%Y.%m.%d %H:%M:%S").to_string())
}

/// MetaTrader 4's number of a length: minutes, a month having 30 days.
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

/// The bars of an answer; `None` when they are of another symbol.
fn rows(answer: &Answer<'_>, symbol: &str, timeframe: Timeframe, clock: &mut BrokerClock) -> Step<Option<Vec<Bar>>> {
    // With the length of the bars behind it, in words that are not documented.
    let named = answer.symbol.strip_prefix(symbol.as_bytes());
    if !named.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_")) {
        return Ok(None);
    }
    let mut bars = Vec::new();
    if answer.is_empty() {
        return Ok(Some(bars));
    }
    let mut cursor = Cursor::new(answer.data);
    cursor.array(|c| {
        bars.push(row(c, timeframe, clock)?);
        Ok(())
    })?;
    cursor.end()?;
    Ok(Some(bars))
}

fn row(c: &mut Cursor<'_>, timeframe: Timeframe, clock: &mut BrokerClock) -> Step<Bar> {
    let mut bar = empty_bar(timeframe, Basis::Bid, i64::MIN);
    let Ohlc { mut open_e9, mut high_e9, mut low_e9, mut close_e9 } = bar.bid;
    c.object(|key, c| {
        match key {
            b"time" => {
                bar.open_ts_ns = clock.utc_ns(time(&c.text()?).ok_or(Malformed("a time such as 2019.01.04 17:05"))?)
            }
            b"open" => open_e9 = price_e9(c.number()?)?,
            b"high" => high_e9 = price_e9(c.number()?)?,
            b"low" => low_e9 = price_e9(c.number()?)?,
            b"close" => close_e9 = price_e9(c.number()?)?,
            b"tick_volume" => bar.ticks = c.whole()?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    bar.bid = Ohlc { open_e9, high_e9, low_e9, close_e9 };
    let whole = bar.open_ts_ns != i64::MIN && ![open_e9, high_e9, low_e9, close_e9].contains(&NO_PRICE);
    if whole { Ok(bar) } else { Err(Malformed("time, open, high, low and close")) }
}

/// Nanoseconds on the broker's clock; seconds may be left out.
fn time(text: &[u8]) -> Option<i64> {
    let mut iso = [text, if text.len() == 16 { b":00" } else { b"" }].concat();
    iso.iter_mut().take(10).filter(|byte| **byte == b'.').for_each(|byte| *byte = b'-');
    time_text::date_time(&iso).filter(|time| time.offset_ns.is_none()).map(|time| time.local_ns)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::answer::to_json;
    use super::*;
    use crate::market::BrokerTime;

    #[test]
    fn rows_are_bars_of_the_bid_on_the_brokers_clock() {
        let text = "{'_action': 'HIST', '_symbol': 'EURUSD_M5', '_data': [{'time':'2019.01.04 17:05', 'open':1.13950000, \
                    'high':1.14000000, 'low':1.13940000, 'close':1.13990000, 'tick_volume':231, 'spread':0, 'real_volume':0}]}";
        let json = to_json(text.as_bytes());
        let answer = Answer::read(&json).unwrap();
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        let bars = rows(&answer, "EURUSD", Timeframe::M5, &mut clock).unwrap().unwrap();
        let [bar] = bars[..] else { panic!("{bars:?}") };
        // 15:05 UTC: two hours ahead in winter.
        assert_eq!((bar.open_ts_ns, bar.ticks), (1_546_614_300_000_000_000, 231));
        assert_eq!((bar.bid.open_e9, bar.bid.close_e9), (1_139_500_000, 1_139_900_000));
        assert_eq!((bar.ask.open_e9, bar.basis), (NO_PRICE, Basis::Bid.code()));
        assert_eq!(rows(&answer, "EUR", Timeframe::M5, &mut clock), Ok(None), "somebody else's answer");
    }

    #[test]
    fn nothing_there_is_no_failure() {
        let json = to_json(b"{'_action': 'HIST', '_symbol': 'EURUSD_M5', '_response': 'NOT_AVAILABLE'}");
        let mut clock = BrokerClock::new(BrokerTime::Fixed(0));
        let answer = Answer::read(&json).unwrap();
        assert_eq!(rows(&answer, "EURUSD", Timeframe::M5, &mut clock), Ok(Some(vec![])));
    }

    #[test]
    fn times_with_and_without_seconds() {
        assert_eq!(time(b"2019.01.04 17:05"), Some(1_546_621_500_000_000_000));
        assert_eq!(time(b"2019.01.04 17:05:01"), Some(1_546_621_501_000_000_000));
        assert_eq!((time(b"2019.01.04"), time(b"2019.01.04 17:05Z")), (None, None));
        assert_eq!(wall_clock(1_546_621_500_000_000_000).unwrap(), "2019.01.04 17:05:00");
    }
}
