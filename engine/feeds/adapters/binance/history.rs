//! Klines of the spot market: `/api/v3/klines`, bars of trades.
//!
//! The bar's one price stands in `mid`, as its basis `last` says; the volume is of the base asset, the ticks are trades.

use std::time::Duration;

use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Cause, Timeframe};

use super::Broker;
use crate::feeds::adapters::{Answer, History};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;
use crate::feeds::rest::{Rest, empty_bar, not_understood, ordered, price_e9};
use crate::market::{Size, time_text::unix_by_magnitude};

/// Klines of one request.
const PAGE: usize = 1_000;
/// Requests of one address in a minute: a weight of 6,000, of which each takes 2.
const PER_MINUTE: u32 = 3_000;

/// The REST base that belongs to a stream's; none for the futures.
pub(super) fn rest_of(stream: &str) -> Option<String> {
    match stream.split_once("://")?.1.split(['/', ':']).next()? {
        "stream.binance.com" => Some("https://api.binance.com".into()),
        "data-stream.binance.vision" => Some("https://data-api.binance.vision".into()),
        host if host.ends_with(".binance.com") => None,
        // ws -> http, wss -> https
        _ => Some(stream.replacen("ws", "http", 1)),
    }
}

impl Broker {
    fn rest(&self) -> Result<&Rest, Failure> {
        self.rest.as_ref().ok_or_else(|| Failure::new(Cause::ProtocolError, "only the spot market has past bars here"))
    }
}

impl History for Broker {
    fn page(&self) -> usize {
        PAGE
    }

    fn host(&self) -> &str {
        self.rest.as_ref().map_or("", Rest::host)
    }

    fn rate(&self) -> Rate {
        Rate::within(PER_MINUTE, Duration::from_secs(60))
    }

    fn bars(&self, venue_symbol: &str, timeframe: Timeframe, from_ns: i64, to_ns: i64) -> Answer<'_, Vec<Bar>> {
        let symbol = venue_symbol.to_uppercase();
        Box::pin(async move {
            // Both ends are included, in milliseconds.
            let millis = |ns: i64| ns.div_euclid(1_000_000);
            let (start, end) = (millis(from_ns + 999_999).to_string(), millis(to_ns - 1).to_string());
            let limit = PAGE.to_string();
            let query = [
                ("symbol", symbol.as_str()),
                ("interval", interval(timeframe)),
                ("startTime", &start),
                ("endTime", &end),
                ("limit", &limit),
            ];
            let body = self.rest()?.get("/api/v3/klines", &query, &[], words).await?;
            let bars = klines(&body, timeframe).map_err(|e| not_understood("klines", e))?;
            Ok(ordered(bars, from_ns, to_ns))
        })
    }
}

fn interval(timeframe: Timeframe) -> &'static str {
    match timeframe {
        Timeframe::M1 => "1m",
        Timeframe::M5 => "5m",
        Timeframe::M15 => "15m",
        Timeframe::M30 => "30m",
        Timeframe::H1 => "1h",
        Timeframe::H4 => "4h",
        Timeframe::D1 => "1d",
        Timeframe::W1 => "1w",
        Timeframe::MN => "1M",
    }
}

/// The words of `{"code":-1121,"msg":"Invalid symbol."}`.
fn words(body: &[u8]) -> Option<String> {
    let (mut code, mut said) = (None, None);
    let read = Cursor::new(body).object(|key, c| {
        match key {
            b"code" => code = Some(String::from_utf8_lossy(c.number()?).into_owned()),
            b"msg" => said = Some(String::from_utf8_lossy(&c.text()?).into_owned()),
            _ => c.skip()?,
        }
        Ok(())
    });
    read.ok()?;
    Some(format!("{} ({})", said?, code?))
}

fn klines(body: &[u8], timeframe: Timeframe) -> Step<Vec<Bar>> {
    let mut bars = Vec::new();
    let mut cursor = Cursor::new(body);
    cursor.array(|c| {
        bars.push(kline(c, timeframe)?);
        Ok(())
    })?;
    cursor.end()?;
    Ok(bars)
}

/// `[openTime, "open", "high", "low", "close", "volume", closeTime, "quote volume", trades, …]`.
fn kline(c: &mut Cursor<'_>, timeframe: Timeframe) -> Step<Bar> {
    let mut at = 0;
    let mut bar = empty_bar(timeframe, Basis::Last, 0);
    bar.mid = Ohlc::default();
    c.array(|c| {
        match at {
            0 => bar.open_ts_ns = unix_by_magnitude(c.whole()?).ok_or(Malformed("a time in milliseconds"))?,
            1 => bar.mid.open_e9 = price_e9(c.number()?)?,
            2 => bar.mid.high_e9 = price_e9(c.number()?)?,
            3 => bar.mid.low_e9 = price_e9(c.number()?)?,
            4 => bar.mid.close_e9 = price_e9(c.number()?)?,
            5 => bar.volume_e8 = Size::parse(c.number()?).map_err(|_| Malformed("a volume"))?.e8(),
            8 => bar.ticks = c.whole()?,
            _ => c.skip()?,
        }
        at += 1;
        Ok(())
    })?;
    if at < 9 { Err(Malformed("a kline of at least nine values")) } else { Ok(bar) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tickwire_schemas::NO_PRICE;

    #[test]
    fn a_kline_is_a_bar_of_trades() {
        let text = r#"[[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,"2434.19055334",308,"1756.87402397","28.46694368","0"]]"#;
        let bars = klines(text.as_bytes(), Timeframe::W1).unwrap();
        let [bar] = bars[..] else { panic!("{bars:?}") };
        assert_eq!((bar.open_ts_ns, bar.ticks), (1_499_040_000_000_000_000, 308));
        assert_eq!((bar.mid.open_e9, bar.mid.high_e9), (16_347_900, 800_000_000));
        assert_eq!((bar.mid.low_e9, bar.mid.close_e9), (15_758_000, 15_771_000));
        assert_eq!((bar.volume_e8, bar.bid.open_e9, bar.basis), (14_897_611_427_815, NO_PRICE, Basis::Last.code()));
        assert!(klines(b"[[1499040000000,\"1\"]]", Timeframe::W1).is_err());
        assert!(klines(b"{\"code\":-1121,\"msg\":\"Invalid symbol.\"}", Timeframe::W1).is_err());
    }

    #[test]
    fn the_spot_market_has_a_rest_host_and_the_futures_none_here() {
        let rest = |url| rest_of(url);
        assert_eq!(rest("wss://stream.binance.com:9443"), Some("https://api.binance.com".into()));
        assert_eq!(rest("wss://data-stream.binance.vision"), Some("https://data-api.binance.vision".into()));
        assert_eq!(rest("wss://fstream.binance.com"), None);
        assert_eq!(rest("ws://127.0.0.1:9"), Some("http://127.0.0.1:9".into()));
        assert_eq!(words(b"{\"code\":-1121,\"msg\":\"Invalid symbol.\"}"), Some("Invalid symbol. (-1121)".into()));
    }
}
