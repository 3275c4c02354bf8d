//! What is asked once: the account, its positions and symbols, and past bars of the bid.

use std::time::Duration;

use serde::Deserialize;
use tickwire_schemas::record::{Bar, Ohlc};
use tickwire_schemas::words::{Basis, Cause, Timeframe};

use super::{Broker, time_ns};
use crate::feeds::adapters::{Account, AccountSummary, Answer, History, Position, SymbolList, VenueSymbol};
use crate::feeds::members::{Members, Names, elements, needed};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;
use crate::feeds::rest::{empty_bar, not_understood, ordered};
use crate::feeds::turns::{in_turn, of_process};
use crate::market::{BrokerClock, Decimal9};

/// Most bars of one request that the public client asks for: the default of `history_bars` and its limit.
pub(super) fn bars_max() -> u32 {
    1_000
}

/// How `from` is written.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// Seconds since 1970.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// `2024-05-17T10:15:30Z`.
    Iso,
}

impl From {
    fn text(self, ns: i64) -> Option<String> {
        Some(match self {
            From::S => ns.div_euclid(1_000_000_000).to_string(),
            From::Ms => ns.div_euclid(1_000_000).to_string(),
            From::Iso => {
                let stamp = jiff::Timestamp::from_nanosecond(i128::from(ns)).ok()?;
                stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            }
        })
    }
}

impl Broker {
    pub(super) fn key(&self) -> Result<String, Failure> {
        self.settings.key.resolve().map_err(|e| Failure::new(Cause::LoginRefused, format!("key: {e}")))
    }

    pub(super) fn headers(key: &str) -> [(&'static str, String); 2] {
        [("Authorization", format!("Bearer {key}")), ("Accept", "application/json".into())]
    }

    /// A path below the account; names are escaped.
    pub(super) fn path(&self, tail: &[&str]) -> String {
        let mut path = String::from("/v1/accounts");
        for name in std::iter::once(&self.settings.account.as_str()).chain(tail) {
            path.push('/');
            for byte in name.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
                    _ => path.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        path
    }

    async fn of_account(&self, tail: &[&str]) -> Result<Vec<u8>, Failure> {
        in_turn(of_process(), (self.host(), self.rate()), self.ask(tail, &[])).await
    }

    async fn ask(&self, tail: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        let key = self.key()?;
        let asked = self.rest.get(&self.path(tail), query, &Self::headers(&key), words).await;
        let body = asked.map_err(|failure| failure.without(&[&key]))?;
        match words(&body) {
            Some(words) => Err(Failure::new(Cause::ProtocolError, words).without(&[&key])),
            None => Ok(body),
        }
    }
}

/// What an error says: `{"error":true,"message":"…"}` or `{"error":"CODE",…}`.
fn words(body: &[u8]) -> Option<String> {
    let members = Members::read(body).ok()?;
    let (_, error) = members.raw(&["error"]).filter(|(_, raw)| *raw != b"false")?;
    let code = members.text(&["error"]).ok().flatten();
    let message = members.text(&["message"]).ok().flatten();
    Some(match (message, code) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(words), None) | (None, Some(words)) => words,
        (None, None) => format!("error {}", String::from_utf8_lossy(error)),
    })
}

impl Account for Broker {
    fn summary(&self) -> Answer<'_, AccountSummary> {
        Box::pin(async {
            let body = self.of_account(&[]).await?;
            summary(&body).map_err(|e| not_understood("the account", e))
        })
    }

    fn positions(&self) -> Answer<'_, Vec<Position>> {
        Box::pin(async {
            let body = self.of_account(&["positions"]).await?;
            positions(&body).map_err(|e| not_understood("positions", e))
        })
    }
}

impl SymbolList for Broker {
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            let body = self.of_account(&["symbols"]).await?;
            symbols(&body).map_err(|e| not_understood("symbols", e))
        })
    }
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
            let from = self.settings.history_from.text(from_ns).ok_or_else(|| not_understood("from", from_ns))?;
            let limit = self.settings.history_bars.to_string();
            let query = [
                ("symbol", symbol.as_str()),
                ("timeframe", minutes(timeframe)),
                ("limit", limit.as_str()),
                ("from", from.as_str()),
            ];
            let body = self.ask(&["history"], &query).await?;
            let bars = bars(&body, timeframe, &mut BrokerClock::new(self.broker_time));
            Ok(ordered(bars.map_err(|e| not_understood("history", e))?, from_ns, to_ns))
        })
    }
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

/// The elements of a bare list, or of one that is a member of an object.
fn list<'a>(body: &'a [u8], names: Names<'_>) -> Result<Vec<&'a [u8]>, String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return elements(body);
    }
    let (name, raw) = needed(names, Members::read(body)?.raw(names))?;
    elements(raw).map_err(|e| format!("{name}: {e}"))
}

fn summary(body: &[u8]) -> Result<AccountSummary, String> {
    let outer = Members::read(body)?;
    let inner = outer.raw(&["data"]).map(|(_, raw)| Members::read(raw)).transpose()?;
    let members = inner.as_ref().unwrap_or(&outer);
    Ok(AccountSummary {
        currency: needed(&["currency"], members.text(&["currency"])?)?,
        balance: needed(&["balance"], members.amount(&["balance"])?)?,
        equity: members.amount(&["equity"])?,
        margin: members.amount(&["margin"])?,
        free_margin: members.amount(&["free_margin"])?,
        leverage: members.amount(&["leverage"])?,
    })
}

/// Only `symbol` is known of a position; the other names are those of the MetaTrader interfaces.
fn positions(body: &[u8]) -> Result<Vec<Position>, String> {
    const SIZE: Names<'_> = &["volume", "lots", "size"];
    const SIDE: Names<'_> = &["type", "side"];
    let read = |raw: &&[u8]| {
        let members = Members::read(raw)?;
        let sign = members.with(SIDE, "buy or sell", |raw| match raw.to_ascii_lowercase().as_slice() {
            b"\"buy\"" | b"\"long\"" | b"\"position_type_buy\"" | b"0" => Some(1),
            b"\"sell\"" | b"\"short\"" | b"\"position_type_sell\"" | b"1" => Some(-1),
            _ => None,
        })?;
        let size = needed(SIZE, members.amount(SIZE)?)?;
        // A size may be negative by itself.
        let size = sign.map_or(Some(size), |sign: i64| Decimal9::from_e9(sign * size.e9().saturating_abs()));
        Ok(Position {
            id: members.word(&["ticket", "id"])?,
            venue_symbol: needed(&["symbol"], members.text(&["symbol"])?)?,
            size: size.ok_or("volume is out of range")?,
            open_price: members.price(&["open_price", "price_open", "price"])?,
            profit: members.amount(&["profit"])?,
        })
    };
    list(body, &["positions", "data"])?.iter().map(read).collect()
}

fn symbols(body: &[u8]) -> Result<Vec<VenueSymbol>, String> {
    const NAME: Names<'_> = &["name", "symbol"];
    let read = |raw: &&[u8]| {
        if let Ok(name) = serde_json::from_slice::<String>(raw) {
            return Ok(VenueSymbol { name, description: None, digits: None });
        }
        let members = Members::read(raw)?;
        Ok(VenueSymbol {
            name: needed(NAME, members.text(NAME)?)?,
            description: members.text(&["description"])?,
            digits: members.with(&["digits"], "a number from 0 to 9", |raw| match raw {
                [digit @ b'0'..=b'9'] => Some(digit - b'0'),
                _ => None,
            })?,
        })
    };
    list(body, &["symbols", "data"])?.iter().map(read).collect()
}

fn bars(body: &[u8], timeframe: Timeframe, clock: &mut BrokerClock) -> Result<Vec<Bar>, String> {
    const TIME: Names<'_> = &["time", "timestamp"];
    const TICKS: Names<'_> = &["tick_volume", "volume"];
    let read = |raw: &&[u8]| {
        let members = Members::read(raw)?;
        let expected = "a time in seconds, milliseconds or as 2024-05-17T10:15:30Z";
        let open_ts_ns = needed(TIME, members.with(TIME, expected, |raw| time_ns(clock, raw))?)?;
        let price = |name| Ok::<_, String>(needed(name, members.price(name)?)?.e9());
        let bid = Ohlc {
            open_e9: price(&["open"])?,
            high_e9: price(&["high"])?,
            low_e9: price(&["low"])?,
            close_e9: price(&["close"])?,
        };
        let ticks = members.whole(TICKS)?.unwrap_or(0);
        Ok(Bar { bid, ticks, ..empty_bar(timeframe, Basis::Bid, open_ts_ns) })
    };
    list(body, &["data"])?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::BrokerTime;

    fn read_bars(text: &str) -> Result<Vec<Bar>, String> {
        bars(text.as_bytes(), Timeframe::H1, &mut BrokerClock::new(BrokerTime::Fixed(7_200)))
    }

    const BARS: &str =
        r#"{"data":[{"time":1715936400,"open":1.0850,"high":1.0859,"low":1.0847,"close":1.0853,"tick_volume":1820}]}"#;

    #[test]
    fn bars_are_read_with_times_of_every_form() {
        let [bar] = read_bars(BARS).unwrap()[..] else { panic!() };
        assert_eq!((bar.open_ts_ns, bar.ticks), (1_715_936_400_000_000_000, 1_820));
        assert_eq!((bar.bid.open_e9, bar.bid.high_e9), (1_085_000_000, 1_085_900_000));
        assert_eq!((bar.bid.low_e9, bar.bid.close_e9, bar.basis), (1_084_700_000, 1_085_300_000, Basis::Bid.code()));
        for time in [
            "1715936400000",
            "\"1715936400\"",
            "1715936400.0",
            "\"2024-05-17T09:00:00Z\"",
            "\"2024-05-17T11:00:00\"",
            "\"2024-05-17 11:00:00.000\"",
        ] {
            let text = BARS.replace("1715936400", time).replace("\"tick_volume\"", "\"volume\"");
            let bars = read_bars(&text).unwrap();
            assert_eq!((bars[0].open_ts_ns, bars[0].ticks), (bar.open_ts_ns, 1_820), "{time}");
        }
        let bare = BARS.trim_start_matches("{\"data\":").trim_end_matches('}').to_string();
        assert_eq!(read_bars(&bare.replace("\"time\"", "\"timestamp\"")).unwrap(), [bar]);
        for (from, to, expected) in [
            ("1715936400", "\"noon\"", "time is \"noon\", expected a time in seconds"),
            ("\"open\":1.0850,", "", "open is missing"),
            ("1.0859", "\"x\"", "high is \"x\", expected a decimal"),
            ("1820", "1.5", "tick_volume is 1.5, expected a whole number"),
            ("\"data\"", "\"rows\"", "data is missing"),
            ("\"time\":1715936400,", "", "time (or timestamp) is missing"),
        ] {
            let error = read_bars(&BARS.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_account_its_positions_and_symbols_are_read_and_what_is_wrong_is_named() {
        let text = r#"{"balance":10000.0,"equity":10012.5,"margin":50.0,"free_margin":9962.5,"margin_level":20025.0,"currency":"USD","leverage":100,"server":"Broker-Demo"}"#;
        let found = summary(text.as_bytes()).unwrap();
        assert_eq!((found.currency.as_str(), found.balance.e9()), ("USD", 10_000_000_000_000));
        assert_eq!(found.free_margin.map(Decimal9::e9), Some(9_962_500_000_000));
        assert_eq!(summary(br#"{"currency":"USD","balance":true}"#).unwrap_err(), "balance is true, expected a number");
        let text = r#"[{"ticket":7,"symbol":"EURUSD","type":"buy","volume":0.1,"open_price":1.085,"profit":-1.5},
            {"id":"a","symbol":"XAUUSD","side":"SELL","lots":"0.25"},{"symbol":"US30","size":-2}]"#;
        let found = positions(text.as_bytes()).unwrap();
        let sizes: Vec<i64> = found.iter().map(|position| position.size.e9()).collect();
        assert_eq!(sizes, [100_000_000, -250_000_000, -2_000_000_000]);
        assert_eq!((found[0].id.as_deref(), found[1].id.as_deref(), &found[2].id), (Some("7"), Some("a"), &None));
        assert_eq!(positions(br#"[{"symbol":"US30"}]"#).unwrap_err(), "volume (or lots, size) is missing");
        assert_eq!(
            positions(br#"[{"symbol":"US30","volume":1,"type":"hold"}]"#).unwrap_err(),
            "type is \"hold\", expected buy or sell"
        );
        let text = r#"{"symbols":["EURUSD",{"name":"XAUUSD","digits":2,"description":"Gold"}]}"#;
        let found = symbols(text.as_bytes()).unwrap();
        assert_eq!((found[0].name.as_str(), found[1].digits), ("EURUSD", Some(2)));
        assert_eq!(symbols(b"{\"symbols\":7}").unwrap_err(), "symbols: expected an array, found 7");
    }

    #[test]
    fn errors_are_told_in_the_venues_words() {
        for (body, expected) in [
            (r#"{"error":true,"message":"No such account"}"#, Some("No such account")),
            (r#"{"error":"NOT_FOUND","message":"No such account"}"#, Some("No such account (NOT_FOUND)")),
            (r#"{"error":"NOT_FOUND"}"#, Some("NOT_FOUND")),
            (r#"{"error":true}"#, Some("error true")),
            (r#"{"error":false,"balance":1}"#, None),
            (r#"{"error":null}"#, None),
            ("Bad gateway", None),
        ] {
            assert_eq!(words(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
