//! The simulated account: so many units of its first pair that is quoted in dollars, bought at the usual price.

use serde_json::{Value, json};

use crate::market::Price;
use crate::simulator::hub::Hub;
use crate::simulator::symbols::{Symbol, fixed};

const BALANCE_E9: i64 = 100_000_000_000_000;
const UNITS: i64 = 1_000;
/// A margin rate of 0.05.
const MARGIN_DIVISOR: i64 = 20;

/// What is open, valued at the newest price, or at the usual one before there is any.
struct Held<'a> {
    symbol: &'a Symbol,
    profit_e9: i64,
    margin_e9: i64,
}

fn held(hub: &Hub) -> Option<Held<'_>> {
    let at = hub.find(|symbol| symbol.name.ends_with("USD") && !symbol.crypto)?;
    let symbol = &hub.symbols[at];
    let (bid, ask) = hub.last(at).map_or((symbol.anchor_e9, symbol.anchor_e9), |q| (q.bid.e9(), q.ask.e9()));
    let margin_e9 = (bid / 2 + ask / 2) * UNITS / MARGIN_DIVISOR;
    Some(Held { symbol, profit_e9: (bid - symbol.anchor_e9) * UNITS, margin_e9 })
}

/// An amount of money with four places, as the venue writes it.
fn money(e9: i64) -> String {
    const PLACES_4_E9: i64 = 100_000;
    Price::from_e9(e9 / PLACES_4_E9 * PLACES_4_E9).map_or_else(String::new, |amount| fixed(amount, 4))
}

pub(super) fn summary(hub: &Hub, account: &str) -> Value {
    let held = held(hub);
    let (profit, margin) = held.as_ref().map_or((0, 0), |held| (held.profit_e9, held.margin_e9));
    json!({
        "account": {
            "id": account, "currency": "USD", "balance": money(BALANCE_E9), "NAV": money(BALANCE_E9 + profit),
            "unrealizedPL": money(profit), "marginUsed": money(margin),
            "marginAvailable": money(BALANCE_E9 + profit - margin), "marginRate": "0.05",
            "openTradeCount": usize::from(held.is_some()), "openPositionCount": usize::from(held.is_some()),
            "hedgingEnabled": false
        },
        "lastTransactionID": "1"
    })
}

pub(super) fn positions(hub: &Hub) -> Value {
    let one = |held: Held<'_>| {
        let open = Price::from_e9(held.symbol.anchor_e9).map(|price| fixed(price, held.symbol.digits));
        let profit = money(held.profit_e9);
        json!({
            "instrument": held.symbol.oanda_name(),
            "long": { "units": UNITS.to_string(), "averagePrice": open, "tradeIDs": ["1"], "pl": "0.0000",
                "unrealizedPL": profit },
            "short": { "units": "0", "pl": "0.0000", "unrealizedPL": "0.0000" },
            "pl": "0.0000", "unrealizedPL": profit, "marginUsed": money(held.margin_e9)
        })
    };
    json!({ "positions": held(hub).map(one).into_iter().collect::<Vec<_>>(), "lastTransactionID": "1" })
}

pub(super) fn instruments(hub: &Hub, wanted: &[usize]) -> Value {
    let one = |symbol: &Symbol| {
        let metal = symbol.name.starts_with("XA");
        json!({
            "name": symbol.oanda_name(), "type": if metal { "METAL" } else { "CURRENCY" },
            "displayName": symbol.pair_name('/'),
            // A pip is ten points where prices have an odd number of digits, as those of currencies do.
            "pipLocation": if symbol.digits % 2 == 1 { 1 - i32::from(symbol.digits) } else { -i32::from(symbol.digits) },
            "displayPrecision": symbol.digits, "tradeUnitsPrecision": 0, "minimumTradeSize": "1", "marginRate": "0.05"
        })
    };
    json!({ "instruments": wanted.iter().map(|at| one(&hub.symbols[*at])).collect::<Vec<_>>() })
}
