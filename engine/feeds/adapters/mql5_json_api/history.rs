//! Past bars and past ticks: `HISTORY` with the type `DATA`, seconds on the broker's clock, both ends included. Bars are of
//! the bid, and the one that forms is among them.

use serde_json::json;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Timeframe};

use super::{Broker, bridge, millis};
use crate::feeds::adapters::{Answer, History, PastTick, TickHistory};
use crate::feeds::json::{Cursor, Malformed, Step, whole};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, ordered, price_e9};
use crate::market::{BrokerClock, Price};

const SECOND_NS: i64 = 1_000_000_000;

/// Longest interval of one request for ticks: a busy hour has some 20,000, which are a megabyte.
const TICKS_SPAN_NS: i64 = 3_600 * SECOND_NS;

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

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let mut clock = BrokerClock::new(self.place.broker_time);
            let row = |c: &mut Cursor<'_>, clock: &mut BrokerClock| bar(c, timeframe, clock);
            let bars = self.past(&symbol, word(timeframe), (from_ns, to_ns), &mut clock, row).await?;
            Ok(ordered(bars, from_ns, to_ns))
        })
    }
}

impl TickHistory for Broker {
    fn host(&self) -> &str {
        &self.place.label
    }

    fn rate(&self) -> Rate {
        bridge::rate(self.settings.history_per_second)
    }

    fn span_ns(&self) -> i64 {
        TICKS_SPAN_NS
    }

    fn ticks(&self, venue_symbol: &str, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<PastTick>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let mut clock = BrokerClock::new(self.place.broker_time);
            let mut ticks = self.past(&symbol, "TICK", (from_ns, to_ns), &mut clock, tick).await?;
            ticks.retain(|tick| (from_ns..to_ns).contains(&tick.ts_event_ns));
            ticks.sort_by_key(|tick| tick.ts_event_ns);
            Ok(ticks)
        })
    }
}

impl Broker {
    /// The rows of an interval.
    async fn past<T>(
        &self,
        symbol: &str,
        length: &str,
        (from_ns, to_ns): (i64, i64),
        clock: &mut BrokerClock,
        row: impl Fn(&mut Cursor<'_>, &mut BrokerClock) -> Step<T>,
    ) -> Result<Vec<T>, Failure> {
        // Zero would be "until now".
        let seconds = |ns: i64| ns.div_euclid(SECOND_NS).max(1);
        let (from, to) = (seconds(clock.server_ns(from_ns)), seconds(clock.server_ns(to_ns)));
        let request = json!({
            "action": "HISTORY", "actionType": "DATA", "symbol": symbol, "chartTF": length, "fromDate": from, "toDate": to,
        });
        let what = format!("HISTORY {symbol} {length}");
        let found = |message: &[u8]| rows(message, symbol, length, |c| row(c, clock));
        self.ask(&request, &what, bridge::PAST_MAX, found).await
    }
}

fn word(timeframe: Timeframe) -> &'static str {
    match timeframe {
        Timeframe::M1 => "M1",
        Timeframe::M5 => "M5",
        Timeframe::M15 => "M15",
        Timeframe::M30 => "M30",
        Timeframe::H1 => "H1",
        Timeframe::H4 => "H4",
        Timeframe::D1 => "D1",
        Timeframe::W1 => "W1",
        Timeframe::MN => "MN1",
    }
}

/// The rows of an answer; `None` when it is not the one to this question. Advisers of old name neither symbol nor length.
fn rows<T>(
    message: &[u8],
    symbol: &str,
    length: &str,
    mut row: impl FnMut(&mut Cursor<'_>) -> Step<T>,
) -> Step<Option<Vec<T>>> {
    let (mut data, mut ours) = (None, true);
    let mut cursor = Cursor::new(message);
    cursor.object(|key, c| {
        match key {
            b"symbol" => ours &= *c.text()? == *symbol.as_bytes(),
            b"timeframe" => ours &= *c.text()? == *length.as_bytes(),
            b"data" => data = Some(c.raw()?),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    cursor.end()?;
    let Some(data) = data.filter(|_| ours) else { return Ok(None) };
    let mut rows = Vec::new();
    Cursor::new(data).array(|c| {
        rows.push(row(c)?);
        Ok(())
    })?;
    Ok(Some(rows))
}

/// The first numbers of a row, of which there must be so many.
fn numbers<'a, const N: usize>(c: &mut Cursor<'a>, what: &'static str) -> Step<[&'a [u8]; N]> {
    let (mut numbers, mut count) = ([&[][..]; N], 0);
    c.array(|c| {
        match numbers.get_mut(count) {
            Some(place) => *place = c.number()?,
            None => c.skip()?,
        }
        count += 1;
        Ok(())
    })?;
    if count >= N { Ok(numbers) } else { Err(Malformed(what)) }
}

/// Seconds, four prices, ticks; the spread may follow.
fn bar(c: &mut Cursor<'_>, timeframe: Timeframe, clock: &mut BrokerClock) -> Step<Bar> {
    let [time, open, high, low, close, ticks] = numbers(c, "a time, four prices and a volume")?;
    let seconds = whole(time).and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(SECOND_NS));
    let open_ts_ns = clock.utc_ns(seconds.ok_or(Malformed("seconds since 1970"))?);
    let mut bar = empty_bar(timeframe, Basis::Bid, open_ts_ns);
    bar.bid =
        Ohlc { open_e9: price_e9(open)?, high_e9: price_e9(high)?, low_e9: price_e9(low)?, close_e9: price_e9(close)? };
    // Written with places behind the point, as a price is.
    bar.ticks = u64::try_from(price_e9(ticks)?).map_err(|_| Malformed("a volume"))? / 1_000_000_000;
    Ok(bar)
}

/// Milliseconds, bid, ask; zero is a side without a price.
fn tick(c: &mut Cursor<'_>, clock: &mut BrokerClock) -> Step<PastTick> {
    let [time, bid, ask] = numbers(c, "a time, a bid and an ask")?;
    let side = |text| {
        let price = Price::parse(text).map_err(|_| Malformed("a price of at most nine places"))?;
        Ok(Some(price).filter(|price| price.e9() != 0))
    };
    Ok(PastTick { ts_event_ns: millis(clock, time)?, bid: side(bid)?, ask: side(ask)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::BrokerTime;

    #[test]
    fn bars_are_of_the_bid_on_the_brokers_clock() {
        let text = br#"{"data":[[1560782340,1.12271,1.12288,1.12269,1.12277,46.0,3],[1560782400,1.12278,1.12299,1.12276,1.12297,43.00000]],"symbol":"EURUSD","timeframe":"M1"}"#;
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        let bars = rows(text, "EURUSD", "M1", |c| bar(c, Timeframe::M1, &mut clock)).unwrap().unwrap();
        assert_eq!(
            bars.iter().map(|b| (b.open_ts_ns, b.ticks)).collect::<Vec<_>>(),
            [(1_560_771_540_000_000_000, 46), (1_560_771_600_000_000_000, 43)]
        );
        assert_eq!((bars[1].bid.open_e9, bars[1].bid.high_e9), (1_122_780_000, 1_122_990_000));
        let others = |symbol, length| rows(text, symbol, length, |c| c.skip()).unwrap();
        assert_eq!((others("GBPUSD", "M1"), others("EURUSD", "M5")), (None, None));
        assert_eq!(rows(br#"{"data":[]}"#, "EURUSD", "M1", |c| c.skip()).unwrap(), Some(vec![]));
        assert!(rows(br#"{"data":[[1,2]]}"#, "E", "M1", |c| bar(c, Timeframe::M1, &mut clock)).is_err());
    }

    #[test]
    fn ticks_have_milliseconds_and_maybe_one_side() {
        let text = br#"{"data":[[1715940930123,1.08515,0.0],[1715940930124,1.08515,1.08521]],"symbol":"EURUSD","timeframe":"TICK"}"#;
        let mut clock = BrokerClock::new(BrokerTime::Fixed(3_600));
        let ticks = rows(text, "EURUSD", "TICK", |c| tick(c, &mut clock)).unwrap().unwrap();
        assert_eq!(
            ticks[0],
            PastTick { ts_event_ns: 1_715_937_330_123_000_000, bid: Some("1.08515".parse().unwrap()), ask: None }
        );
        assert_eq!(ticks[1].ask, Some("1.08521".parse().unwrap()));
    }
}
