//! The account (`/summary`, `/openPositions`) and the instruments that it may trade (`/instruments`).
//!
//! The venue nets: an instrument has one position, with a long and a short side of which one is empty unless the account
//! hedges. Amounts are decimals in strings.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Broker;
use crate::feeds::adapters::{Account, AccountSummary, Answer, History, Position, SymbolList, VenueSymbol};
use crate::feeds::net::Failure;
use crate::feeds::rest::not_understood;
use crate::feeds::turns::{in_turn, of_process};
use crate::market::Decimal9;

impl Account for Broker {
    fn summary(&self) -> Answer<'_, AccountSummary> {
        Box::pin(async {
            let told: SummaryAnswer = self.of_account("summary").await?;
            Ok(told.account.into())
        })
    }

    fn positions(&self) -> Answer<'_, Vec<Position>> {
        Box::pin(async {
            let told: PositionsAnswer = self.of_account("openPositions").await?;
            Ok(told.positions.into_iter().flat_map(OpenPosition::sides).collect())
        })
    }
}

impl SymbolList for Broker {
    fn symbols(&self) -> Answer<'_, Vec<VenueSymbol>> {
        Box::pin(async {
            let told: InstrumentsAnswer = self.of_account("instruments").await?;
            Ok(told.instruments.into_iter().map(VenueSymbol::from).collect())
        })
    }
}

impl Broker {
    async fn of_account<T: DeserializeOwned>(&self, what: &str) -> Result<T, Failure> {
        let path = format!("/v3/accounts/{}/{what}", self.settings.account);
        let body = in_turn(of_process(), (self.host(), self.rate()), self.ask(&path, &[])).await?;
        read(what, &body)
    }
}

/// An answer; what is wrong with it names the field.
fn read<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Failure> {
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(body))
        .map_err(|e| not_understood(what, e))
}

#[derive(Deserialize)]
struct SummaryAnswer {
    account: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    currency: String,
    balance: Decimal9,
    /// Net asset value: balance and open profit.
    #[serde(rename = "NAV")]
    nav: Option<Decimal9>,
    margin_used: Option<Decimal9>,
    margin_available: Option<Decimal9>,
    margin_rate: Option<Decimal9>,
}

impl From<Summary> for AccountSummary {
    fn from(told: Summary) -> Self {
        AccountSummary {
            currency: told.currency,
            balance: told.balance,
            equity: told.nav,
            margin: told.margin_used,
            free_margin: told.margin_available,
            leverage: told.margin_rate.and_then(leverage),
        }
    }
}

/// One through the margin rate (0.05 is 20), to the nearest hundredth: the venue says the rate, often rounded itself.
fn leverage(margin_rate: Decimal9) -> Option<Decimal9> {
    const HUNDREDTH_E9: i128 = 10_000_000;
    let rate_e9 = i128::from(margin_rate.e9());
    if rate_e9 <= 0 {
        return None;
    }
    let e9 = 1_000_000_000_000_000_000 / rate_e9;
    let e9 = (e9 + HUNDREDTH_E9 / 2) / HUNDREDTH_E9 * HUNDREDTH_E9;
    Decimal9::from_e9(i64::try_from(e9).ok()?)
}

#[derive(Deserialize)]
struct PositionsAnswer {
    positions: Vec<OpenPosition>,
}

#[derive(Deserialize)]
struct OpenPosition {
    instrument: String,
    long: Option<Side>,
    short: Option<Side>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    /// Negative on the short side.
    units: Decimal9,
    /// Not there when the side is empty.
    average_price: Option<Decimal9>,
    #[serde(rename = "unrealizedPL")]
    unrealized: Option<Decimal9>,
}

impl OpenPosition {
    fn sides(self) -> impl Iterator<Item = Position> {
        let OpenPosition { instrument, long, short } = self;
        [long, short].into_iter().flatten().filter(|side| side.units.e9() != 0).map(move |side| Position {
            id: None,
            venue_symbol: instrument.clone(),
            size: side.units,
            open_price: side.average_price,
            profit: side.unrealized,
        })
    }
}

#[derive(Deserialize)]
struct InstrumentsAnswer {
    instruments: Vec<Instrument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instrument {
    name: String,
    display_name: Option<String>,
    display_precision: Option<u8>,
}

impl From<Instrument> for VenueSymbol {
    fn from(told: Instrument) -> Self {
        VenueSymbol { name: told.name, description: told.display_name, digits: told.display_precision }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decimal(text: &str) -> Option<Decimal9> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_documented_summary_is_read_exactly() {
        let body = br#"{"account":{"id":"101-004-1234567-001","currency":"EUR","balance":"35454.4740","NAV":"35450.0","unrealizedPL":"-4.4","marginUsed":"120.0","marginAvailable":"35330.0","marginRate":"0.05","openTradeCount":2,"hedgingEnabled":false},"lastTransactionID":"2123"}"#;
        let told: SummaryAnswer = read("summary", body).unwrap();
        let expected = AccountSummary {
            currency: "EUR".into(),
            balance: "35454.474".parse().unwrap(),
            equity: decimal("35450"),
            margin: decimal("120"),
            free_margin: decimal("35330"),
            leverage: decimal("20"),
        };
        assert_eq!(AccountSummary::from(told.account), expected);
        assert_eq!(leverage("0.0333".parse().unwrap()), decimal("30.03"));
        assert_eq!(leverage("0".parse().unwrap()), None);
    }

    #[test]
    fn each_side_that_is_open_is_a_position() {
        let body = br#"{"lastTransactionID":"6381","positions":[
            {"instrument":"EUR_USD","long":{"units":"200","averagePrice":"1.13032","pl":"-1.0","tradeIDs":["6375"],"unrealizedPL":"-0.1080"},"short":{"units":"0","pl":"0.0000","unrealizedPL":"0.0000"},"unrealizedPL":"-0.1080"},
            {"instrument":"DE30_EUR","long":{"units":"1","averagePrice":"10678.3","unrealizedPL":"3.0"},"short":{"units":"-2.5","averagePrice":"10680.1","unrealizedPL":"-0.1"}}]}"#;
        let told: PositionsAnswer = read("openPositions", body).unwrap();
        let found: Vec<Position> = told.positions.into_iter().flat_map(OpenPosition::sides).collect();
        let sizes: Vec<_> = found.iter().map(|p| (p.venue_symbol.as_str(), p.size.to_string())).collect();
        assert_eq!(sizes, [("EUR_USD", "200".into()), ("DE30_EUR", "1".into()), ("DE30_EUR", "-2.5".into())]);
        assert_eq!((found[0].open_price, found[0].profit), (decimal("1.13032"), decimal("-0.108")));
    }

    #[test]
    fn instruments_have_their_digits() {
        let body = br#"{"instruments":[{"name":"EUR_USD","type":"CURRENCY","displayName":"EUR/USD","pipLocation":-4,"displayPrecision":5,"minimumTradeSize":"1","marginRate":"0.05"}]}"#;
        let told: InstrumentsAnswer = read("instruments", body).unwrap();
        let found: Vec<VenueSymbol> = told.instruments.into_iter().map(VenueSymbol::from).collect();
        let expected = VenueSymbol { name: "EUR_USD".into(), description: Some("EUR/USD".into()), digits: Some(5) };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_is_not_understood_names_its_field() {
        let error = |body: &[u8]| read::<SummaryAnswer>("summary", body).err().unwrap().text;
        let float = error(br#"{"account":{"currency":"EUR","balance":35454.47}}"#);
        assert!(float.contains("summary: account.balance:") && float.contains("decimal in quotes"), "{float}");
        let precise = error(br#"{"account":{"currency":"EUR","balance":"1.0000000001"}}"#);
        assert!(precise.contains("more than 9 digits after the point"), "{precise}");
        assert!(error(b"<html>").starts_with("summary: "), "not JSON at all");
    }
}
