//! The account: `ACCOUNT` and `POSITIONS`, which look and change nothing. `TRADE` is nowhere in this adapter.

use serde_json::json;

use super::{ANSWER_MAX, Broker};
use crate::feeds::adapters::{Account, AccountSummary, Answer, Position};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::market::Decimal9;

impl Account for Broker {
    fn summary(&self) -> Answer<'_, AccountSummary> {
        Box::pin(async { self.ask(&json!({ "action": "ACCOUNT" }), "ACCOUNT", ANSWER_MAX, summary).await })
    }

    fn positions(&self) -> Answer<'_, Vec<Position>> {
        Box::pin(async { self.ask(&json!({ "action": "POSITIONS" }), "POSITIONS", ANSWER_MAX, positions).await })
    }
}

fn decimal(c: &mut Cursor<'_>) -> Step<Decimal9> {
    Decimal9::parse(c.number()?).map_err(|_| Malformed("a decimal"))
}

/// `None` for what has no balance and currency: it answers something else.
fn summary(message: &[u8]) -> Step<Option<AccountSummary>> {
    let (mut currency, mut balance) = (None, None);
    let (mut equity, mut margin, mut free_margin) = (None, None, None);
    Cursor::new(message).object(|key, c| {
        match key {
            b"currency" => currency = Some(String::from_utf8_lossy(&c.text()?).into_owned()),
            b"balance" => balance = Some(decimal(c)?),
            b"equity" => equity = Some(decimal(c)?),
            b"margin" => margin = Some(decimal(c)?),
            b"margin_free" => free_margin = Some(decimal(c)?),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    let both = currency.zip(balance);
    Ok(both.map(|(currency, balance)| AccountSummary {
        currency,
        balance,
        equity,
        margin,
        free_margin,
        leverage: None,
    }))
}

/// `None` for what has no list of positions.
fn positions(message: &[u8]) -> Step<Option<Vec<Position>>> {
    let mut found = None;
    Cursor::new(message).object(|key, c| match key {
        b"positions" => {
            let mut positions = Vec::new();
            // Of no position some advisers write nothing, some one that is null.
            c.array(|c| if c.null() { Ok(()) } else { position(c).map(|position| positions.push(position)) })?;
            found = Some(positions);
            Ok(())
        }
        _ => c.skip(),
    })?;
    Ok(found)
}

fn position(c: &mut Cursor<'_>) -> Step<Position> {
    let (mut id, mut symbol, mut size, mut is_sold, mut open_price) = (None, None, None, None, None);
    c.object(|key, c| {
        match key {
            b"id" => id = Some(String::from_utf8_lossy(c.number()?).into_owned()),
            b"symbol" => symbol = Some(String::from_utf8_lossy(&c.text()?).into_owned()),
            b"type" => is_sold = Some(*c.text()? == *b"POSITION_TYPE_SELL"),
            b"volume" => size = Some(decimal(c)?),
            b"open" => open_price = Some(decimal(c)?),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    let missing = Malformed("symbol, type and volume");
    let (venue_symbol, size) = (symbol.ok_or(missing)?, size.ok_or(missing)?);
    let size = if is_sold.ok_or(missing)? { Decimal9::from_e9(-size.e9()).ok_or(missing)? } else { size };
    Ok(Position { id, venue_symbol, size, open_price, profit: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn d(text: &str) -> Decimal9 {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_as_the_adviser_writes_it() {
        let text = br#"{"error":false,"broker":"B","currency":"USD","server":"Demo","trading_allowed":1,"bot_trading":1,"balance":10000.00000000,"equity":10012.5,"margin":50.00000000,"margin_free":9962.5,"margin_level":20025.0}"#;
        let found = summary(text).unwrap().unwrap();
        assert_eq!((found.currency.as_str(), found.balance, found.equity), ("USD", d("10000"), Some(d("10012.5"))));
        assert_eq!((found.margin, found.free_margin, found.leverage), (Some(d("50")), Some(d("9962.5")), None));
        assert_eq!(summary(br#"{"data":[]}"#), Ok(None));
        assert_eq!(summary(br#"{"balance":1.0,"equity":1.0}"#), Ok(None), "the answer to BALANCE");
    }

    #[test]
    fn what_is_sold_is_negative() {
        let text = br#"{"error":false,"positions":[{"id":501,"magic":0,"symbol":"EURUSD","type":"POSITION_TYPE_SELL","time_setup":1581611100,"open":1.0851,"stoploss":0.0,"takeprofit":0.0,"volume":0.10000000}]}"#;
        let found = positions(text).unwrap().unwrap();
        assert_eq!(
            found,
            [Position {
                id: Some("501".into()),
                venue_symbol: "EURUSD".into(),
                size: d("-0.1"),
                open_price: Some(d("1.0851")),
                profit: None
            }]
        );
        for none in [&br#"{"positions":[]}"#[..], br#"{"positions":[null]}"#] {
            assert_eq!(positions(none), Ok(Some(vec![])));
        }
        assert_eq!(positions(br#"{"balance":1.0}"#), Ok(None));
    }
}
