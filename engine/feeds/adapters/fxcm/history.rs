//! Past candles of bid and ask: `/candles/{offer}/{period}/`.
//!
//! Candles are asked for by the offer's number, which the table of offers tells, over a socket that is kept for the next
//! request and closed at the end. A candle may come twice; the last one counts. How the venue cuts bars longer than an hour
//! is not documented, so there are none here.

use std::collections::BTreeMap;
use std::time::Duration;

use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Cause, Timeframe};
use tokio::sync::Mutex;

use super::Broker;
use super::link::{Access, Link};
use super::tables::offers;
use crate::clock;
use crate::feeds::adapters::{Answer, History};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::net::{self, Connection, Failure};
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, not_understood, ordered, price_e9};

/// Candles of one request.
const PAGE: usize = 10_000;

pub(super) fn per_second() -> u32 {
    5
}

/// The socket that past candles are asked over.
#[derive(Debug, Default)]
pub(super) struct Past(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    connection: Connection,
    /// When it was last pinged, monotonic.
    pinged_ns: i64,
    known: Known,
}

/// What candles are asked with.
#[derive(Debug)]
struct Known {
    access: Access,
    /// Numbers of the offers by their symbols.
    offers: BTreeMap<String, u64>,
}

impl History for Broker {
    fn page(&self) -> usize {
        PAGE
    }

    fn host(&self) -> &str {
        net::host_of(&self.settings.base_url)
    }

    fn rate(&self) -> Rate {
        Rate::within(self.settings.history_per_second, Duration::from_secs(1))
    }

    fn has(&self, timeframe: Timeframe) -> bool {
        period(timeframe).is_some()
    }

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let none = || Failure::new(Cause::ProtocolError, format!("the venue has no bars of {timeframe}"));
            let period = period(timeframe).ok_or_else(none)?;
            let mut past = self.past.0.lock().await;
            if let Some(kept) = past.take() {
                *past = self.still_there(kept).await;
            }
            let mut body = None;
            if let Some(Kept { known, .. }) = &*past {
                match self.page(known, &symbol, period, from_ns, to_ns).await {
                    // The venue does not know the socket any more; a new one is asked.
                    Err(failure) if failure.cause == Cause::LoginRefused => {}
                    answer => body = Some(answer?),
                }
            }
            let body = match body {
                Some(body) => body,
                None => {
                    let known = &past.insert(self.open_past().await?).known;
                    self.page(known, &symbol, period, from_ns, to_ns).await?
                }
            };
            let bars = candles(&body, timeframe).map_err(|e| not_understood("candles", e))?;
            Ok(ordered(bars, from_ns, to_ns))
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            if let Some(kept) = self.past.0.lock().await.take() {
                kept.connection.close().await;
            }
            Ok(())
        })
    }
}

impl Broker {
    async fn open_past(&self) -> Result<Kept, Failure> {
        let link = self.link().await?;
        let told = self.ask(&link.access, "/trading/get_model/", &[("models", "Offer")]).await;
        let offers = offers(&told?)?.into_iter().filter_map(|(name, offer)| Some((name, offer.id?))).collect();
        let Link { connection, access } = link;
        Ok(Kept { connection, pinged_ns: clock::monotonic_ns(), known: Known { access, offers } })
    }

    async fn page(
        &self,
        known: &Known,
        symbol: &str,
        period: &str,
        from_ns: i64,
        to_ns: i64,
    ) -> Result<Vec<u8>, Failure> {
        let offer = known.offers.get(symbol).ok_or_else(|| {
            let text = format!("{symbol} is not in the venue's table of offers, expected a symbol that is visible");
            Failure::new(Cause::ProtocolError, text)
        })?;
        let seconds = |ns: i64| ns.div_euclid(1_000_000_000).to_string();
        let query = [("num", PAGE.to_string()), ("from", seconds(from_ns)), ("to", seconds(to_ns))];
        let query = query.each_ref().map(|(key, value)| (*key, value.as_str()));
        self.ask(&known.access, &format!("/candles/{offer}/{period}/"), &query).await
    }

    /// The socket, pinged where it is time; none when it is gone.
    async fn still_there(&self, mut kept: Kept) -> Option<Kept> {
        let now_ns = clock::monotonic_ns();
        if now_ns - kept.pinged_ns >= i64::from(self.settings.ping_ms) * 1_000_000 {
            kept.connection.ping().await.ok()?;
            kept.pinged_ns = now_ns;
        }
        Some(kept)
    }
}

fn period(timeframe: Timeframe) -> Option<&'static str> {
    match timeframe {
        Timeframe::M1 => Some("m1"),
        Timeframe::M5 => Some("m5"),
        Timeframe::M15 => Some("m15"),
        Timeframe::M30 => Some("m30"),
        Timeframe::H1 => Some("H1"),
        Timeframe::H4 | Timeframe::D1 | Timeframe::W1 | Timeframe::MN => None,
    }
}

fn candles(body: &[u8], timeframe: Timeframe) -> Step<Vec<Bar>> {
    let mut bars = None;
    let mut cursor = Cursor::new(body);
    cursor.object(|key, c| {
        if key != b"candles" {
            return c.skip();
        }
        let bars: &mut Vec<Bar> = bars.get_or_insert_default();
        c.array(|c| {
            bars.push(candle(c, timeframe)?);
            Ok(())
        })
    })?;
    cursor.end()?;
    bars.ok_or(Malformed("candles"))
}

/// Time, then open, close, high and low of the bid and of the ask, and the number of ticks.
fn candle(c: &mut Cursor<'_>, timeframe: Timeframe) -> Step<Bar> {
    let (mut time, mut prices, mut ticks, mut place) = (0, [0; 8], 0, 0);
    c.array(|c| {
        match place {
            0 => time = c.whole()?,
            1..=8 => prices[place - 1] = price_e9(c.number()?)?,
            9 => ticks = c.whole()?,
            _ => c.skip()?,
        }
        place += 1;
        Ok(())
    })?;
    if place < 10 {
        return Err(Malformed("a time, eight prices and a number of ticks in a candle"));
    }
    let side = |at: usize| Ohlc {
        open_e9: prices[at],
        close_e9: prices[at + 1],
        high_e9: prices[at + 2],
        low_e9: prices[at + 3],
    };
    let open_ns = i64::try_from(time).ok().and_then(|seconds| seconds.checked_mul(1_000_000_000));
    let mut bar = empty_bar(timeframe, Basis::Quote, open_ns.ok_or(Malformed("a time in seconds in a candle"))?);
    (bar.bid, bar.ask, bar.ticks) = (side(0), side(4), ticks);
    Ok(bar)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_documented_candles_are_bars_of_bid_and_ask() {
        let body = br#"{"response":{"executed":true,"error":""},"instrument_id":"1","period_id":"h1","candles":[[1498136400,1.116,1.11586,1.1163,1.11513,1.11622,1.1161,1.11653,1.11537,18744],[1498136400,1.116,1.11586,1.1163,1.11513,1.11622,1.11611,1.11653,1.11537,18743]]}"#;
        let bars = candles(body, Timeframe::H1).unwrap();
        let [bar] = ordered(bars, 1_498_136_400_000_000_000, i64::MAX)[..] else { panic!() };
        assert_eq!((bar.bid.open_e9, bar.bid.close_e9), (1_116_000_000, 1_115_860_000));
        assert_eq!((bar.bid.high_e9, bar.bid.low_e9), (1_116_300_000, 1_115_130_000));
        assert_eq!((bar.ask.open_e9, bar.ask.close_e9, bar.ticks), (1_116_220_000, 1_116_110_000, 18_743));
    }

    #[test]
    fn a_candle_that_is_not_whole_is_refused() {
        assert_eq!(candles(br#"{"candles":[]}"#, Timeframe::M1), Ok(vec![]));
        for body in [&br#"{}"#[..], br#"{"candles":[[1498136400,1.1,1.1,1.1,1.1]]}"#, br#"{"candles":[["a"]]}"#] {
            assert!(candles(body, Timeframe::M1).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
