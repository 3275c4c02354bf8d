//! `instruments-info`: the list of one category, in pages.

use serde_json::Value;

use super::super::VenueSymbol;
use super::super::candles::Dialect;
use super::super::listing::{Form, digits};
use super::Category;
use super::candles::Klines;

pub(super) fn form(category: Category) -> Form {
    let query = vec![("category", category.word()), ("limit", "1000")];
    Form { path: "/v5/market/instruments-info", query, rate: Klines(category).rate(), symbols, words, next }
}

fn words(reply: &Value) -> Option<String> {
    let code = reply["retCode"].as_i64().filter(|code| *code != 0)?;
    Some(format!("{} ({code})", reply["retMsg"].as_str().unwrap_or_default()))
}

fn next(reply: &Value) -> Option<String> {
    reply["result"]["nextPageCursor"].as_str().filter(|cursor| !cursor.is_empty()).map(String::from)
}

fn symbols(reply: &Value) -> Option<Vec<VenueSymbol>> {
    let rows = reply["result"]["list"].as_array()?.iter().filter(|row| row["status"] == "Trading");
    rows.map(|row| {
        let pair = row["baseCoin"].as_str().zip(row["quoteCoin"].as_str());
        Some(VenueSymbol {
            name: row["symbol"].as_str()?.to_string(),
            description: pair.map(|(base, quote)| format!("{base}/{quote}")),
            digits: digits(&row["priceFilter"]["tickSize"]),
        })
    })
    .collect()
}
