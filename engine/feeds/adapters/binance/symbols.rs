//! `exchangeInfo`: the list of symbols, of spot and of USD-M futures.

use serde_json::Value;

use super::super::VenueSymbol;
use super::super::candles::Dialect;
use super::super::listing::{Form, digits, whole};
use super::candles;

/// The list below a path. Spot leaves out the sets of permissions, which are most of its list.
pub(in super::super) fn form(path: &'static str, query: Vec<(&'static str, &'static str)>) -> Form {
    let words = |reply: &Value| Some(format!("{} ({})", reply["msg"].as_str()?, reply["code"]));
    Form { path, query, rate: candles::Klines(path).rate(), symbols, words, next: whole }
}

fn symbols(reply: &Value) -> Option<Vec<VenueSymbol>> {
    let rows = reply["symbols"].as_array()?.iter().filter(|row| row["status"] == "TRADING");
    rows.map(|row| {
        let filter = row["filters"].as_array()?.iter().find(|filter| filter["filterType"] == "PRICE_FILTER");
        let pair = row["baseAsset"].as_str().zip(row["quoteAsset"].as_str());
        Some(VenueSymbol {
            // Streams are named in small letters.
            name: row["symbol"].as_str()?.to_lowercase(),
            description: pair.map(|(base, quote)| format!("{base}/{quote}")),
            digits: filter.and_then(|filter| digits(&filter["tickSize"])),
        })
    })
    .collect()
}
