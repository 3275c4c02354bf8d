//! The account and the list of symbols: `/AccountSummary`, `/OpenedOrders`, `/Symbols` and `/SymbolList`.

use tickwire_schemas::words::Cause;

use super::Broker;
use crate::feeds::adapters::{Account, AccountSummary, Answer, History, Position, SymbolList, VenueSymbol};
use crate::feeds::members::{Members, elements, named, needed};
use crate::feeds::net::Failure;
use crate::feeds::rest::not_understood;
use crate::feeds::turns::{in_turn, of_process};
use crate::market::Decimal9;

impl Account for Broker {
    fn summary(&self) -> Answer<'_, AccountSummary> {
        Box::pin(async {
            let body = self.of_account("AccountSummary", &[]).await?;
            summary(&body).map_err(|e| not_understood("AccountSummary", e))
        })
    }

    fn positions(&self) -> Answer<'_, Vec<Position>> {
        Box::pin(async {
            let body = self.of_account("OpenedOrders", &[("sort", "OpenTime"), ("ascending", "true")]).await?;
            positions(&body).map_err(|e| not_understood("OpenedOrders", e))
        })
    }
}

impl SymbolList for Broker {
    /// With their digits where the server says them.
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            match self.of_account("Symbols", &[]).await {
                Ok(body) => symbols(&body).map_err(|e| not_understood("Symbols", e)),
                // Not every version of the server has it.
                Err(failure) if failure.cause == Cause::ProtocolError => {
                    let body = self.of_account("SymbolList", &[]).await?;
                    names(&body).map_err(|e| not_understood("SymbolList", e))
                }
                Err(failure) => Err(failure),
            }
        })
    }
}

impl Broker {
    async fn of_account(&self, endpoint: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Failure> {
        in_turn(of_process(), (History::host(self), History::rate(self)), self.ask(endpoint, query)).await
    }
}

fn summary(body: &[u8]) -> Result<AccountSummary, String> {
    let members = Members::read(body)?;
    Ok(AccountSummary {
        currency: needed(&["currency"], members.text(&["currency"])?)?,
        balance: needed(&["balance"], members.amount(&["balance"])?)?,
        equity: members.amount(&["equity"])?,
        margin: members.amount(&["margin"])?,
        free_margin: members.amount(&["freeMargin"])?,
        leverage: members.amount(&["leverage"])?,
    })
}

/// Orders that are filled; those that still wait for their price are no positions.
fn positions(body: &[u8]) -> Result<Vec<Position>, String> {
    let mut positions = Vec::new();
    for raw in elements(body)? {
        let members = Members::read(raw)?;
        const KIND: &[&str] = &["orderType", "type"];
        let sign = needed(KIND, members.with(KIND, "Buy, Sell or a pending kind", direction)?)?;
        let lots = needed(&["lots"], members.amount(&["lots"])?)?;
        let size = Decimal9::from_e9(sign * lots.e9()).ok_or("lots is out of range")?;
        if sign == 0 {
            continue;
        }
        positions.push(Position {
            id: members.word(&["ticket"])?,
            venue_symbol: needed(&["symbol"], members.text(&["symbol"])?)?,
            size,
            open_price: members.price(&["openPrice"])?,
            profit: members.amount(&["profit"])?,
        });
    }
    Ok(positions)
}

/// 1 of a purchase, -1 of a sale, 0 of what is pending or no order: by its word, or by MetaTrader's number.
fn direction(raw: &[u8]) -> Option<i64> {
    let word = raw.trim_ascii().strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(raw);
    Some(match word.to_ascii_lowercase().as_slice() {
        b"buy" | b"0" => 1,
        b"sell" | b"1" => -1,
        b"buylimit" | b"selllimit" | b"buystop" | b"sellstop" | b"buystoplimit" | b"sellstoplimit" | b"closeby"
        | b"balance" | b"credit" => 0,
        [b'2'..=b'8'] => 0,
        _ => return None,
    })
}

/// A map of names to what is known of each.
fn symbols(body: &[u8]) -> Result<Vec<VenueSymbol>, String> {
    let of = |(name, raw): (Vec<u8>, &[u8])| {
        let name = String::from_utf8_lossy(&name).into_owned();
        let read = || {
            let members = Members::read(raw)?;
            let digits = members.with(&["digits"], "a number from 0 to 9", |raw| match raw {
                [digit @ b'0'..=b'9'] => Some(digit - b'0'),
                _ => None,
            })?;
            Ok((members.text(&["description"])?, digits))
        };
        let (description, digits) = read().map_err(|e: String| format!("{name}: {e}"))?;
        Ok(VenueSymbol { name, description, digits })
    };
    named(body)?.into_iter().map(of).collect()
}

fn names(body: &[u8]) -> Result<Vec<VenueSymbol>, String> {
    let of = |raw: &[u8]| match serde_json::from_slice::<String>(raw) {
        Ok(name) => Ok(VenueSymbol { name, description: None, digits: None }),
        Err(_) => Err(format!("expected a name, found {}", String::from_utf8_lossy(raw))),
    };
    elements(body)?.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_account_is_read_and_what_is_wrong_is_named() {
        let text = r#"{"balance":10000.0,"credit":0,"profit":12.5,"equity":10012.499999999998,"margin":50.0,"freeMargin":9962.5,"marginLevel":20025.0,"leverage":100,"currency":"USD","method":"Hedging","isInvestor":false}"#;
        let found = summary(text.as_bytes()).unwrap();
        let e9 = |value: Option<Decimal9>| value.map(Decimal9::e9);
        assert_eq!((found.currency.as_str(), found.balance.e9()), ("USD", 10_000_000_000_000));
        assert_eq!((e9(found.equity), e9(found.leverage)), (Some(10_012_500_000_000), Some(100_000_000_000)));
        assert_eq!((e9(found.margin), e9(found.free_margin)), (Some(50_000_000_000), Some(9_962_500_000_000)));
        for (from, to, expected) in [
            ("\"balance\":10000.0", "\"balance\":\"much\"", "balance is \"much\", expected a number"),
            ("\"balance\":10000.0,", "", "balance is missing"),
            ("\"USD\"", "7", "currency is 7, expected a text"),
            ("\"leverage\":100", "\"leverage\":[]", "leverage is [], expected a number"),
        ] {
            assert_eq!(summary(text.replace(from, to).as_bytes()).unwrap_err(), expected);
        }
    }

    #[test]
    fn filled_orders_are_positions_and_pending_ones_are_not() {
        let text = r#"[{"ticket":5012,"symbol":"EURUSD","orderType":"Buy","lots":0.1,"openPrice":1.08501,"openTime":"2024-05-17T10:15:30","profit":-1.2000000000000002},
            {"ticket":"5013","symbol":"XAUUSD.m","orderType":1,"lots":0.25,"openPrice":2345.1,"profit":null},
            {"ticket":5014,"symbol":"EURUSD","orderType":"BuyLimit","lots":1.0,"openPrice":1.07}]"#;
        let found = positions(text.as_bytes()).unwrap();
        let [long, short] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (long.id.as_deref(), long.venue_symbol.as_str(), long.size.e9()),
            (Some("5012"), "EURUSD", 100_000_000)
        );
        assert_eq!((long.open_price.unwrap().e9(), long.profit.unwrap().e9()), (1_085_010_000, -1_200_000_000));
        assert_eq!((short.id.as_deref(), short.size.e9(), short.profit), (Some("5013"), -250_000_000, None));
        for (from, to, expected) in [
            ("\"Buy\"", "\"Hold\"", "orderType is \"Hold\", expected Buy, Sell or a pending kind"),
            ("\"lots\":0.1,", "", "lots is missing"),
            ("1.08501", "\"high\"", "openPrice is \"high\", expected a decimal of at most nine places"),
            ("\"symbol\":\"EURUSD\",\"orderType\":\"Buy\"", "\"orderType\":\"Buy\"", "symbol is missing"),
        ] {
            assert_eq!(positions(text.replacen(from, to, 1).as_bytes()).unwrap_err(), expected);
        }
        assert!(positions(b"{}").unwrap_err().contains("expected an array"));
    }

    #[test]
    fn symbols_come_with_digits_or_by_name_alone() {
        let text = r#"{"EURUSD":{"currency":"EUR","digits":5,"points":0.00001,"description":"Euro vs US Dollar"},"XAUUSD.m":{"digits":null}}"#;
        let found = symbols(text.as_bytes()).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].digits), ("EURUSD", Some(5)));
        assert_eq!(found[0].description.as_deref(), Some("Euro vs US Dollar"));
        assert_eq!((found[1].name.as_str(), found[1].digits), ("XAUUSD.m", None));
        let wrong = text.replace("\"digits\":5", "\"digits\":55");
        assert_eq!(symbols(wrong.as_bytes()).unwrap_err(), "EURUSD: digits is 55, expected a number from 0 to 9");
        assert_eq!(names(br#"["EURUSD","US30"]"#).unwrap()[1].name, "US30");
        assert_eq!(names(b"[7]").unwrap_err(), "expected a name, found 7");
    }
}
