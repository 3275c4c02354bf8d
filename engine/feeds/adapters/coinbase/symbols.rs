//! `market/products`: the list of products, which needs no login.

use serde_json::Value;

use super::super::VenueSymbol;
use super::super::candles::Dialect;
use super::super::listing::{Form, digits, whole};
use super::candles::Public;

pub(super) fn form() -> Form {
    let query = vec![("product_type", "SPOT")];
    Form { path: "/api/v3/brokerage/market/products", query, rate: Public.rate(), symbols, words, next: whole }
}

fn words(reply: &Value) -> Option<String> {
    let error = reply["error"].as_str()?;
    Some(reply["message"].as_str().map_or_else(|| error.to_string(), |message| format!("{error}: {message}")))
}

fn symbols(reply: &Value) -> Option<Vec<VenueSymbol>> {
    let rows = reply["products"].as_array()?.iter();
    rows.filter(|row| row["is_disabled"] != true && row["trading_disabled"] != true)
        .map(|row| {
            let name = row["product_id"].as_str()?.to_string();
            let words = row["display_name"].as_str().or_else(|| row["base_name"].as_str());
            let step =
                if row["price_increment"].is_string() { &row["price_increment"] } else { &row["quote_increment"] };
            Some(VenueSymbol { name, description: words.map(String::from), digits: digits(step) })
        })
        .collect()
}
