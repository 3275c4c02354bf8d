//! The account, what is open, and the list of instruments: the venue's tables (`/trading/get_model`), as they are now.
//!
//! Amounts are JSON numbers, read as they are written. Tables may end with a row of totals, which is passed over. An
//! account's row does not say its currency.

use std::collections::BTreeMap;

use serde_json::Value;
use tickwire_schemas::words::Cause;

use super::Broker;
use crate::feeds::adapters::{Account, AccountSummary, Answer, History, Position, SymbolList, VenueSymbol};
use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::net::Failure;
use crate::feeds::rest::not_understood;
use crate::feeds::turns::{in_turn, of_process};
use crate::market::Decimal9;

/// Where a table is asked for.
const MODEL: &str = "/trading/get_model/";

impl Account for Broker {
    fn summary(&self) -> Answer<'_, AccountSummary> {
        Box::pin(async {
            let body = self.ask_once(MODEL, &[("models", "Account")]).await?;
            let accounts: Vec<AccountRow> = rows(&body, b"accounts", AccountRow::read)?;
            let wanted = &self.settings.account;
            let is_wanted = |row: &AccountRow| wanted.is_empty() || row.id == *wanted || row.name == *wanted;
            let mut known = accounts.iter().filter(|row| !row.total && !row.id.is_empty());
            let names: Vec<&str> = known.clone().map(|row| row.id.as_str()).collect();
            let found = known.find(|row| is_wanted(row)).ok_or_else(|| {
                let problem = format!("account: the venue has no \"{wanted}\", expected one of {}", names.join(", "));
                Failure::new(Cause::ProtocolError, problem)
            })?;
            Ok(AccountSummary {
                currency: self.settings.currency.clone(),
                balance: found.balance.ok_or_else(|| not_understood("accounts", Malformed("a balance")))?,
                equity: found.equity,
                margin: found.used_margin,
                free_margin: found.usable_margin,
                leverage: None,
            })
        })
    }

    fn positions(&self) -> Answer<'_, Vec<Position>> {
        Box::pin(async {
            let body = self.ask_once(MODEL, &[("models", "OpenPosition")]).await?;
            let rows: Vec<PositionRow> = rows(&body, b"open_positions", PositionRow::read)?;
            let wanted = &self.settings.account;
            let is_ours =
                |row: &PositionRow| wanted.is_empty() || row.account == *wanted || row.account_name == *wanted;
            rows.into_iter().filter(|row| !row.total && is_ours(row)).map(PositionRow::position).collect()
        })
    }
}

impl SymbolList for Broker {
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            let limit = (self.host(), self.rate());
            let link = in_turn(of_process(), limit, self.link()).await?;
            let list = in_turn(of_process(), limit, self.ask(&link.access, "/trading/get_instruments/", &[])).await;
            let offers = in_turn(of_process(), limit, self.ask(&link.access, MODEL, &[("models", "Offer")])).await;
            link.connection.close().await;
            let (list, offers) = (list?, self::offers(&offers?)?);
            let list: Value = serde_json::from_slice(&list).map_err(|e| not_understood("get_instruments", e))?;
            let wrong = || not_understood("get_instruments", Malformed("symbols in data.instrument"));
            let one = |item: &Value| {
                let name = item["symbol"].as_str()?.to_string();
                let digits = offers.get(&name).and_then(|offer| offer.digits);
                Some(VenueSymbol { name, description: None, digits })
            };
            let items = list["data"]["instrument"].as_array().ok_or_else(wrong)?;
            items.iter().map(|item| one(item).ok_or_else(wrong)).collect()
        })
    }
}

/// An instrument that the token has made visible.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    name: String,
    pub(super) id: Option<u64>,
    digits: Option<u8>,
}

/// The table of offers by their symbols.
pub(super) fn offers(body: &[u8]) -> Result<BTreeMap<String, Offer>, Failure> {
    let rows: Vec<Offer> = rows(body, b"offers", |key, c, offer: &mut Offer| {
        match key {
            b"currency" => offer.name = text(c)?,
            b"offerId" => offer.id = Some(c.whole()?),
            b"ratePrecision" => offer.digits = u8::try_from(c.whole()?).ok(),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    Ok(rows.into_iter().map(|offer| (offer.name.clone(), offer)).collect())
}

/// The rows of a table; `field` reads one field of a row.
fn rows<R: Default>(
    body: &[u8],
    table: &'static [u8],
    mut field: impl FnMut(&[u8], &mut Cursor<'_>, &mut R) -> Step<()>,
) -> Result<Vec<R>, Failure> {
    let mut found = None;
    let read = Cursor::new(body).object(|key, c| {
        if key != table {
            return c.skip();
        }
        let rows: &mut Vec<R> = found.get_or_insert_default();
        c.array(|c| {
            let mut row = R::default();
            c.object(|key, c| field(key, c, &mut row))?;
            rows.push(row);
            Ok(())
        })
    });
    let name = String::from_utf8_lossy(table);
    read.map_err(|e| not_understood(&name, e))?;
    found.ok_or_else(|| not_understood(&name, Malformed("the table in the answer")))
}

fn text(c: &mut Cursor<'_>) -> Step<String> {
    Ok(String::from_utf8_lossy(&c.text()?).into_owned())
}

/// An id, which tables write as a text or as a number.
fn id(c: &mut Cursor<'_>) -> Step<String> {
    if c.peek() == b'"' { text(c) } else { Ok(c.whole()?.to_string()) }
}

fn amount(c: &mut Cursor<'_>, what: &'static str) -> Step<Option<Decimal9>> {
    if c.null() {
        return Ok(None);
    }
    Decimal9::parse(c.number()?).map(Some).map_err(|_| Malformed(what))
}

#[derive(Debug, Default)]
struct AccountRow {
    id: String,
    name: String,
    balance: Option<Decimal9>,
    equity: Option<Decimal9>,
    used_margin: Option<Decimal9>,
    usable_margin: Option<Decimal9>,
    total: bool,
}

impl AccountRow {
    fn read(key: &[u8], c: &mut Cursor<'_>, row: &mut AccountRow) -> Step<()> {
        match key {
            b"accountId" => row.id = id(c)?,
            b"accountName" => row.name = text(c)?,
            b"balance" => row.balance = amount(c, "a balance of at most nine places")?,
            b"equity" => row.equity = amount(c, "an equity of at most nine places")?,
            b"usdMr" => row.used_margin = amount(c, "an usdMr of at most nine places")?,
            b"usableMargin" => row.usable_margin = amount(c, "a usableMargin of at most nine places")?,
            b"isTotal" => row.total = c.boolean()?,
            _ => c.skip()?,
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct PositionRow {
    id: String,
    account: String,
    account_name: String,
    symbol: String,
    buy: bool,
    /// In thousands of units.
    amount: Option<Decimal9>,
    open: Option<Decimal9>,
    profit: Option<Decimal9>,
    total: bool,
}

impl PositionRow {
    fn read(key: &[u8], c: &mut Cursor<'_>, row: &mut PositionRow) -> Step<()> {
        match key {
            b"tradeId" => row.id = id(c)?,
            b"accountId" => row.account = id(c)?,
            b"accountName" => row.account_name = text(c)?,
            b"currency" => row.symbol = text(c)?,
            b"isBuy" => row.buy = c.boolean()?,
            b"amountK" => row.amount = amount(c, "an amountK of at most nine places")?,
            b"open" => row.open = amount(c, "an open of at most nine places")?,
            b"grossPL" => row.profit = amount(c, "a grossPL of at most nine places")?,
            b"isTotal" => row.total = c.boolean()?,
            _ => c.skip()?,
        }
        Ok(())
    }

    fn position(self) -> Result<Position, Failure> {
        let sign = if self.buy { 1_000 } else { -1_000 };
        let size = self.amount.and_then(|thousands| Decimal9::from_e9(thousands.e9().checked_mul(sign)?));
        Ok(Position {
            id: Some(self.id).filter(|id| !id.is_empty()),
            venue_symbol: self.symbol,
            size: size.ok_or_else(|| not_understood("open_positions", Malformed("an amountK that fits")))?,
            open_price: self.open,
            profit: self.profit,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_documented_rows_are_read_exactly() {
        let body = br#"{"response":{"executed":true},"accounts":[{"t":6,"ratePrecision":0,"accountId":"1027808","balance":39208.63,"usdMr":116,"mc":"N","accountName":"01027808","usdMr3":58,"hedging":"N","usableMargin3":39152.26234,"usableMarginPerc":99.70416,"usableMargin3Perc":99.85208,"equity":39210.26234,"usableMargin":39094.26234,"dayPL":-63.21766,"grossPL":1.63234},{"t":6,"accountId":"","balance":1,"isTotal":true}]}"#;
        let accounts: Vec<AccountRow> = rows(body, b"accounts", AccountRow::read).unwrap();
        let told = |amount: Option<Decimal9>| amount.unwrap().to_string();
        let first = &accounts[0];
        assert_eq!((first.id.as_str(), first.name.as_str(), first.total), ("1027808", "01027808", false));
        let amounts = [first.balance, first.equity, first.used_margin, first.usable_margin].map(told);
        assert_eq!(amounts, ["39208.63", "39210.26234", "116", "39094.26234"]);
        assert!(accounts[1].total);

        let body = br#"{"response":{"executed":true},"open_positions":[{"t":1,"ratePrecision":5,"tradeId":"122743073","accountName":"01027808","accountId":"1027808","roll":0,"com":5,"open":1.19719,"valueDate":"","grossPL":1.74,"close":1.19632,"visiblePL":8.7,"isDisabled":false,"currency":"EUR/USD","isBuy":false,"amountK":2,"currencyPoint":0.2,"time":"09152017143932","usedMargin":52,"stop":0,"stopMove":0,"limit":0}]}"#;
        let mut open: Vec<PositionRow> = rows(body, b"open_positions", PositionRow::read).unwrap();
        let position = open.remove(0).position().unwrap();
        assert_eq!((position.id.as_deref(), position.venue_symbol.as_str()), (Some("122743073"), "EUR/USD"));
        assert_eq!(position.size.to_string(), "-2000");
        assert_eq!([position.open_price, position.profit].map(told), ["1.19719", "1.74"]);

        let body =
            br#"{"offers":[{"t":0,"ratePrecision":5,"offerId":1,"pip":0.0001,"currency":"EUR/USD","volume":1}]}"#;
        assert_eq!(offers(body).unwrap()["EUR/USD"], Offer { name: "EUR/USD".into(), id: Some(1), digits: Some(5) });
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        let error = |body: &[u8]| rows(body, b"accounts", AccountRow::read).unwrap_err().text;
        assert_eq!(error(br#"{"response":{"executed":true}}"#), "accounts: expected the table in the answer");
        let noise = error(br#"{"accounts":[{"balance":39208.630000000005}]}"#);
        assert_eq!(noise, "accounts: expected a balance of at most nine places");
    }
}
