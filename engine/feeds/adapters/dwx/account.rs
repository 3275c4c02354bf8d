//! The account: `TRADE;GET_ACCOUNT_INFO` and `TRADE;GET_OPEN_TRADES`, which look and change nothing. No other command that
//! begins with TRADE is anywhere in this adapter.

use super::{ANSWER_MAX, Answer, Broker};
use crate::feeds::adapters::{Account, AccountSummary, Answer as Asked, Position};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::rest::not_understood;
use crate::market::Decimal9;

impl Account for Broker {
    fn summary(&self) -> Asked<'_, AccountSummary> {
        Box::pin(self.ask("TRADE;GET_ACCOUNT_INFO", "GET_ACCOUNT_INFORMATION", ANSWER_MAX, |answer: &Answer<'_>| {
            summary(answer.data).map(Some).map_err(|e| not_understood("GET_ACCOUNT_INFO", e))
        }))
    }

    fn positions(&self) -> Asked<'_, Vec<Position>> {
        Box::pin(self.ask("TRADE;GET_OPEN_TRADES", "OPEN_TRADES", ANSWER_MAX, |answer: &Answer<'_>| {
            positions(answer.data).map(Some).map_err(|e| not_understood("GET_OPEN_TRADES", e))
        }))
    }
}

fn decimal(c: &mut Cursor<'_>) -> Step<Decimal9> {
    Decimal9::parse(c.number()?).map_err(|_| Malformed("a decimal"))
}

/// A list of one account, which says no currency and no margin.
fn summary(data: &[u8]) -> Step<AccountSummary> {
    let (mut balance, mut equity, mut free_margin, mut leverage) = (None, None, None, None);
    Cursor::new(data).array(|c| {
        c.object(|key, c| {
            match key {
                b"account_balance" => balance = Some(decimal(c)?),
                b"account_equity" => equity = Some(decimal(c)?),
                b"account_free_margin" => free_margin = Some(decimal(c)?),
                b"account_leverage" => leverage = Some(decimal(c)?),
                _ => c.skip()?,
            }
            Ok(())
        })
    })?;
    let balance = balance.ok_or(Malformed("account_balance"))?;
    Ok(AccountSummary { currency: String::new(), balance, equity, margin: None, free_margin, leverage })
}

/// Orders by ticket. Of their types 0 has bought and 1 has sold; the others wait.
fn positions(trades: &[u8]) -> Step<Vec<Position>> {
    let mut positions = Vec::new();
    Cursor::new(trades).object(|ticket, c| {
        let id = Some(String::from_utf8_lossy(ticket).into_owned());
        let (mut symbol, mut size, mut kind, mut open_price, mut profit) = (None, None, None, None, None);
        c.object(|key, c| {
            match key {
                b"_symbol" => symbol = Some(String::from_utf8_lossy(&c.text()?).into_owned()),
                b"_lots" => size = Some(decimal(c)?),
                b"_type" => kind = Some(c.whole()?),
                b"_open_price" => open_price = Some(decimal(c)?),
                b"_pnl" => profit = Some(decimal(c)?),
                _ => c.skip()?,
            }
            Ok(())
        })?;
        let missing = Malformed("_symbol, _lots and _type");
        let (venue_symbol, size) = (symbol.ok_or(missing)?, size.ok_or(missing)?);
        let size = match kind.ok_or(missing)? {
            0 => size,
            1 => Decimal9::from_e9(-size.e9()).ok_or(Malformed("lots"))?,
            _ => return Ok(()),
        };
        positions.push(Position { id, venue_symbol, size, open_price, profit });
        Ok(())
    })?;
    Ok(positions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::answer::to_json;
    use super::*;

    fn d(text: &str) -> Decimal9 {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_as_the_adviser_writes_it() {
        let text = "{'_action': 'GET_ACCOUNT_INFORMATION', 'account_number':77, '_data': [{'currenttime': '2020.10.06 12:00', \
                    'account_name':'J. O'Neil', 'account_balance':10000.00000000, 'account_equity':10012.50000000, \
                    'account_profit':12.50000000, 'account_free_margin':9962.50000000, 'account_leverage' :100}]}";
        let json = to_json(text.as_bytes());
        let found = summary(Answer::read(&json).unwrap().data).unwrap();
        assert_eq!((found.balance, found.equity, found.leverage), (d("10000"), Some(d("10012.5")), Some(d("100"))));
        assert_eq!((found.free_margin, found.margin, found.currency.as_str()), (Some(d("9962.5")), None, ""));
        assert!(summary(b"[]").is_err());
    }

    #[test]
    fn what_is_bought_and_sold_but_not_what_waits() {
        let trade = |ticket: u32, kind: u32| {
            format!(
                "{ticket}: {{'_magic': 1, '_symbol': 'EURUSD', '_lots': 0.10000000, '_type': {kind}, '_open_price': 1.08510000, \
                 '_open_time': '2020.10.06 12:00:01', '_SL': 0.00000000, '_TP': 0.00000000, '_pnl': -1.50000000, '_comment': ''}}"
            )
        };
        let text =
            format!("{{'_action': 'OPEN_TRADES', '_trades': {{{}, {}, {}}}}}", trade(5, 0), trade(6, 1), trade(7, 2));
        let json = to_json(text.as_bytes());
        let found = positions(Answer::read(&json).unwrap().data).unwrap();
        let told: Vec<_> = found.iter().map(|p| (p.id.as_deref().unwrap(), p.size, p.open_price, p.profit)).collect();
        let (price, profit) = (Some(d("1.0851")), Some(d("-1.5")));
        assert_eq!(told, [("5", d("0.1"), price, profit), ("6", d("-0.1"), price, profit)]);
        assert_eq!(positions(b"{}"), Ok(vec![]));
    }
}
