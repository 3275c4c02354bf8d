//! Past ticks: `/TickHistoryRequest` asks for a day, and `/OnTickHistory` is the socket on which it comes,
//! `{symbol,bars:[{time,bid,ask,last,volume}]}`, with or without an envelope, in one message or in several.
//!
//! The vendor does not document where a day ends. It is complete here with a tick of the next day, with a message without
//! ticks, or when nothing more has come for `ticks_quiet_ms`.

use std::time::Duration;

use tickwire_schemas::words::Cause;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Broker, VendorError, utc_ns};
use crate::clock;
use crate::feeds::adapters::{Answer, PastTick, TickHistory};
use crate::feeds::json::Cursor;
use crate::feeds::members::{Members, elements, needed};
use crate::feeds::net::{self, Failure};
use crate::feeds::rate::Rate;
use crate::feeds::rest::not_understood;
use crate::market::{BrokerClock, Price, time_text};

const DAY_NS: i64 = 86_400_000_000_000;

/// How far the venue may be behind with its past: so much older than what was fetched is all in it.
const BEHIND_NS: i64 = 180_000_000_000;

/// Longest message: a lively day has some 300,000 ticks of 100 bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Most ticks of a day.
const TICKS_MAX: usize = 5_000_000;

/// Default of `ticks_wait_ms`.
pub(super) fn wait_ms() -> u32 {
    60_000
}

/// Default of `ticks_quiet_ms`.
pub(super) fn quiet_ms() -> u32 {
    3_000
}

/// The day of the broker that was fetched last: the next request often begins in it.
#[derive(Debug, Default)]
pub(super) struct LastDay(Mutex<Option<Day>>);

#[derive(Debug)]
struct Day {
    symbol: String,
    /// Days since 1970 on the broker's clock.
    number: i64,
    /// When it was fetched: what is younger is not in it.
    fetched_ns: i64,
    ticks: Vec<PastTick>,
}

impl TickHistory for Broker {
    fn host(&self) -> &str {
        self.rest.host()
    }

    fn rate(&self) -> Rate {
        Rate::within(self.settings.history_per_second, Duration::from_secs(1))
    }

    fn span_ns(&self) -> i64 {
        DAY_NS
    }

    fn ticks(&self, venue_symbol: &str, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<PastTick>> {
        let symbol = venue_symbol.to_string();
        Box::pin(async move {
            let mut clock = BrokerClock::new(self.broker_time);
            let first = clock.server_ns(from_ns).div_euclid(DAY_NS);
            let last = clock.server_ns(to_ns - 1).div_euclid(DAY_NS);
            let mut kept = self.last_day.0.lock().await;
            let mut found = Vec::new();
            for number in first..=last {
                let is_whole = |day: &Day| day.fetched_ns >= to_ns.saturating_add(BEHIND_NS);
                let fits = |day: &&mut Day| day.symbol == symbol && day.number == number && is_whole(day);
                let day = match kept.as_mut().filter(fits) {
                    Some(day) => day,
                    None => {
                        let fetched_ns = clock::now_ns();
                        let ticks = self.day(&symbol, number, &mut clock).await?;
                        kept.insert(Day { symbol: symbol.clone(), number, fetched_ns, ticks })
                    }
                };
                found.extend(day.ticks.iter().filter(|tick| (from_ns..to_ns).contains(&tick.ts_event_ns)));
            }
            Ok(found)
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.log_out())
    }
}

impl Broker {
    /// The ticks of a day of the broker, oldest first.
    async fn day(&self, symbol: &str, number: i64, clock: &mut BrokerClock) -> Result<Vec<PastTick>, Failure> {
        // A token that is no longer known is found out here, and not by a socket that nobody writes to.
        self.ask("CheckConnect", &[]).await?;
        let token = self.token().await?;
        let fetched = self.fetch(&token, symbol, number, clock).await.map_err(|failure| failure.without(&[&token]))?;
        let mut ticks = fetched;
        ticks.sort_by_key(|tick| tick.ts_event_ns);
        Ok(ticks)
    }

    async fn fetch(
        &self,
        token: &str,
        symbol: &str,
        number: i64,
        clock: &mut BrokerClock,
    ) -> Result<Vec<PastTick>, Failure> {
        let date = jiff::Timestamp::from_second(number.saturating_mul(86_400));
        let date = date.map_err(|e| not_understood("the day", e))?.to_zoned(jiff::tz::TimeZone::UTC).date();
        let (year, month, of_month) = (date.year().to_string(), date.month().to_string(), date.day().to_string());
        let (day_ns, end_ns) = (clock.utc_ns(number * DAY_NS), clock.utc_ns((number + 1) * DAY_NS));
        let url = format!("{}/OnTickHistory?id={token}", self.stream_base);
        let mut socket = net::websocket_of(&url, MESSAGE_BYTES_MAX).await?;
        let query = [("symbol", symbol), ("startYear", &year), ("startMonth", &month), ("startDay", &of_month)];
        self.ask("TickHistoryRequest", &query).await?;
        let (wait, quiet) = (self.settings.ticks_wait_ms, self.settings.ticks_quiet_ms);
        let (mut ticks, mut heard, mut complete) = (Vec::new(), false, false);
        while !complete {
            let mut wrong = None;
            let patience = Duration::from_millis(if heard { quiet } else { wait }.into());
            let mut each = |frame: &[u8], _| match message(frame, symbol, clock) {
                Ok(None) => {}
                Ok(Some(some)) => {
                    heard = true;
                    complete |= some.is_empty() || some.iter().any(|tick: &PastTick| tick.ts_event_ns >= end_ns);
                    let of_day = |tick: &PastTick| (day_ns..end_ns).contains(&tick.ts_event_ns);
                    ticks.extend(some.into_iter().filter(of_day));
                }
                Err(failure) => wrong = wrong.take().or(Some(failure)),
            };
            let read = socket.read(&mut each);
            match timeout(patience, read).await {
                Ok(read) => read?,
                Err(_) if heard => complete = true,
                Err(_) => {
                    let text = format!("OnTickHistory: nothing of {symbol} on {date} within {wait} ms");
                    return Err(Failure::new(Cause::ReadError, text));
                }
            }
            if let Some(failure) = wrong {
                return Err(failure);
            }
            if ticks.len() > TICKS_MAX {
                let text = format!("OnTickHistory: more than {TICKS_MAX} ticks of {symbol} on {date}");
                return Err(Failure::new(Cause::ProtocolError, text));
            }
        }
        socket.close().await;
        Ok(ticks)
    }
}

/// The ticks of a message; `None` when it is about something else.
fn message(frame: &[u8], symbol: &str, clock: &mut BrokerClock) -> Result<Option<Vec<PastTick>>, Failure> {
    if let Some(error) = VendorError::read(frame) {
        return Err(error.of("OnTickHistory"));
    }
    rows(frame, symbol, clock).map_err(|e| not_understood("OnTickHistory", e))
}

fn rows(frame: &[u8], symbol: &str, clock: &mut BrokerClock) -> Result<Option<Vec<PastTick>>, String> {
    let outer = Members::read(frame)?;
    let inner = outer.raw(&["data"]).map(|(_, raw)| Members::read(raw)).transpose()?;
    let members = inner.as_ref().unwrap_or(&outer);
    let (_, bars) = match (members.text(&["symbol"])?, members.raw(&["bars"])) {
        (Some(name), bars) if name == symbol => needed(&["bars"], bars)?,
        _ => return Ok(None),
    };
    elements(bars)?.into_iter().map(|raw| tick(raw, clock)).collect::<Result<_, _>>().map(Some)
}

fn tick(raw: &[u8], clock: &mut BrokerClock) -> Result<PastTick, String> {
    let members = Members::read(raw)?;
    let utc = members.with(&["timestampUTC"], "a time in milliseconds", |raw| {
        time_text::unix_by_magnitude(Cursor::new(raw).whole().ok()?)
    })?;
    let ts_event_ns = match utc {
        Some(utc) => utc,
        None => {
            let time = members.with(&["time"], "a time such as 2024-05-17T10:15:30.123", |raw| {
                utc_ns(clock, &Cursor::new(raw).text().ok()?)
            });
            needed(&["time"], time?)?
        }
    };
    // MetaTrader's empty side.
    let side = |name| members.price(name).map(|price| price.filter(|price| *price != ZERO));
    let (bid, ask) = (side(&["bid"])?, side(&["ask"])?);
    if bid.is_none() && ask.is_none() {
        return Err("bid and ask are missing".into());
    }
    Ok(PastTick { ts_event_ns, bid, ask })
}

const ZERO: Price = match Price::from_e9(0) {
    Some(zero) => zero,
    None => panic!("zero is a price"),
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::BrokerTime;

    const MESSAGE: &str = r#"{"symbol":"EURUSD","bars":[{"time":"2024-05-17T10:15:30.123","bid":1.0851,"ask":1.08523,"last":0,"volume":0},{"time":"2024-05-17T10:15:30.5","bid":0,"ask":1.08524,"last":0,"volume":0}]}"#;

    fn read(text: &str) -> Result<Option<Vec<PastTick>>, String> {
        rows(text.as_bytes(), "EURUSD", &mut BrokerClock::new(BrokerTime::NewYorkClose))
    }

    #[test]
    fn past_ticks_are_on_the_brokers_clock_with_or_without_an_envelope() {
        let wanted = vec![
            PastTick {
                ts_event_ns: 1_715_930_130_123_000_000,
                bid: Price::from_e9(1_085_100_000),
                ask: Price::from_e9(1_085_230_000),
            },
            PastTick { ts_event_ns: 1_715_930_130_500_000_000, bid: None, ask: Price::from_e9(1_085_240_000) },
        ];
        assert_eq!(read(MESSAGE), Ok(Some(wanted.clone())));
        let wrapped = format!("{{\"type\":\"TickHistory\",\"id\":\"x\",\"data\":{MESSAGE}}}");
        assert_eq!(read(&wrapped), Ok(Some(wanted)));
        assert_eq!(read(&MESSAGE.replace("EURUSD", "USDJPY")), Ok(None));
        assert_eq!(read("{\"symbol\":\"EURUSD\",\"bars\":[]}"), Ok(Some(Vec::new())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("2024-05-17T10:15:30.123", "noon", "time is \"noon\", expected a time such as"),
            ("\"time\":\"2024-05-17T10:15:30.123\",", "", "time is missing"),
            ("1.0851,", "\"x\",", "bid is \"x\", expected a decimal of at most nine places"),
            ("\"bid\":0,\"ask\":1.08524,", "", "bid and ask are missing"),
            ("\"bars\"", "\"rows\"", "bars is missing"),
            ("\"bars\":[", "\"bars\":7,\"x\":[", "expected an array"),
        ] {
            let error = read(&MESSAGE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let error = br#"{"message":"No such symbol","code":"SYMBOL_NOT_FOUND","stackTrace":""}"#;
        let failure = message(error, "EURUSD", &mut BrokerClock::new(BrokerTime::Fixed(0))).unwrap_err();
        assert_eq!(failure.text, "OnTickHistory: No such symbol (SYMBOL_NOT_FOUND)");
    }
}
