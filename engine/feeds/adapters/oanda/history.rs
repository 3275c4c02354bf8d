//! Candles: `/v3/instruments/{instrument}/candles` with bid and ask (`price=BA`).
//!
//! Days and weeks are cut where the engine's calendar cuts them: at 17:00 New York, weeks on Sunday. Intervals without a
//! price are left out by the venue; a candle that is not complete is left out here.

use std::time::Duration;

use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Timeframe};

use super::{Broker, time};
use crate::feeds::adapters::{Answer, History};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, not_understood, ordered, price_e9};

/// Candles of one request.
const PAGE: usize = 5_000;
/// Requests of one address in a second: of the 120 that are allowed, since what is sent evenly need not arrive so.
const PER_SECOND: u32 = 100;

impl History for Broker {
    fn page(&self) -> usize {
        PAGE
    }

    fn host(&self) -> &str {
        self.rest.host()
    }

    fn rate(&self) -> Rate {
        Rate::within(PER_SECOND, Duration::from_secs(1))
    }

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let path = format!("/v3/instruments/{venue_symbol}/candles");
        Box::pin(async move {
            let (from, to) = (unix(from_ns), unix(to_ns));
            let query = [
                ("price", "BA"),
                ("granularity", granularity(timeframe)),
                ("from", &from),
                ("to", &to),
                ("dailyAlignment", "17"),
                ("alignmentTimezone", "America/New_York"),
                ("weeklyAlignment", "Sunday"),
            ];
            let body = self.ask(&path, &query).await?;
            let bars = candles(&body, timeframe).map_err(|e| not_understood("candles", e))?;
            Ok(ordered(bars, from_ns, to_ns))
        })
    }
}

/// Seconds since 1970 with nine digits behind the point.
fn unix(ns: i64) -> String {
    format!("{}.{:09}", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}

fn granularity(timeframe: Timeframe) -> &'static str {
    match timeframe {
        Timeframe::D1 => "D",
        Timeframe::W1 => "W",
        Timeframe::MN => "M",
        same => same.word(),
    }
}

fn candles(body: &[u8], timeframe: Timeframe) -> Step<Vec<Bar>> {
    let mut bars = Vec::new();
    let mut cursor = Cursor::new(body);
    cursor.object(|key, c| {
        if key != b"candles" {
            return c.skip();
        }
        c.array(|c| {
            bars.extend(candle(c, timeframe)?);
            Ok(())
        })
    })?;
    cursor.end()?;
    Ok(bars)
}

/// One candle; `None` while it forms.
fn candle(c: &mut Cursor<'_>, timeframe: Timeframe) -> Step<Option<Bar>> {
    let (mut complete, mut open_ns, mut ticks, mut bid, mut ask) = (None, None, 0, None, None);
    c.object(|key, c| {
        match key {
            b"complete" => complete = Some(c.boolean()?),
            b"time" => open_ns = Some(time(&c.text()?).map_err(|_| Malformed("a time in RFC 3339 or UNIX form"))?),
            b"volume" => ticks = c.whole()?,
            b"bid" => bid = Some(ohlc(c)?),
            b"ask" => ask = Some(ohlc(c)?),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    let mut bar = empty_bar(timeframe, Basis::Quote, open_ns.ok_or(Malformed("a time in a candle"))?);
    bar.bid = bid.ok_or(Malformed("a bid in a candle"))?;
    bar.ask = ask.ok_or(Malformed("an ask in a candle"))?;
    bar.ticks = ticks;
    Ok(complete.ok_or(Malformed("complete in a candle"))?.then_some(bar))
}

fn ohlc(c: &mut Cursor<'_>) -> Step<Ohlc> {
    let (mut o, mut h, mut l, mut last) = (None, None, None, None);
    c.object(|key, c| {
        let which = match key {
            b"o" => &mut o,
            b"h" => &mut h,
            b"l" => &mut l,
            b"c" => &mut last,
            _ => return c.skip(),
        };
        *which = Some(price_e9(c.number()?)?);
        Ok(())
    })?;
    let missing = Malformed("o, h, l and c");
    Ok(Ohlc {
        open_e9: o.ok_or(missing)?,
        high_e9: h.ok_or(missing)?,
        low_e9: l.ok_or(missing)?,
        close_e9: last.ok_or(missing)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tickwire_schemas::{NO_PRICE, NO_SIZE};

    const DOCUMENTED: &str = r#"{"instrument":"EUR_USD","granularity":"H1","candles":[{"complete":true,"volume":481,"time":"2017-01-03T00:00:00.000000000Z","bid":{"o":"1.04570","h":"1.04705","l":"1.04565","c":"1.04655"},"ask":{"o":"1.04584","h":"1.04719","l":"1.04579","c":"1.04669"}}]}"#;

    #[test]
    fn the_documented_candle_is_a_bar_of_bid_and_ask() {
        let bars = candles(DOCUMENTED.as_bytes(), Timeframe::H1).unwrap();
        let [bar] = bars[..] else { panic!("{bars:?}") };
        assert_eq!(bar.open_ts_ns, 1_483_401_600_000_000_000);
        assert_eq!((bar.bid.open_e9, bar.bid.high_e9), (1_045_700_000, 1_047_050_000));
        assert_eq!((bar.ask.low_e9, bar.ask.close_e9), (1_045_790_000, 1_046_690_000));
        assert_eq!((bar.mid.open_e9, bar.volume_e8, bar.ticks), (NO_PRICE, NO_SIZE, 481));
        assert_eq!((bar.basis, bar.timeframe), (Basis::Quote.code(), Timeframe::H1.code()));
    }

    #[test]
    fn what_is_not_complete_is_left_out_and_what_is_not_whole_refused() {
        let forming = DOCUMENTED.replace("\"complete\":true", "\"complete\":false");
        assert_eq!(candles(forming.as_bytes(), Timeframe::H1), Ok(vec![]));
        for cut in ["\"bid\"", "\"time\"", "\"h\"", "\"complete\""] {
            let broken = DOCUMENTED.replacen(cut, "\"x\"", 1);
            assert!(candles(broken.as_bytes(), Timeframe::H1).is_err(), "{cut}");
        }
    }
}
