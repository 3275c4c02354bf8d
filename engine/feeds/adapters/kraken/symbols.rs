//! `AssetPairs`: the list of pairs.
//!
//! `wsname` is the name of WebSocket v1, which has names of its own for two coins; v2 calls them as everybody does.

use serde_json::Value;

use super::super::VenueSymbol;
use super::super::candles::Dialect;
use super::super::listing::{Form, whole};
use super::candles::Recent;

pub(super) fn form() -> Form {
    Form { path: "/0/public/AssetPairs", query: vec![], rate: Recent.rate(), symbols, words, next: whole }
}

fn words(reply: &Value) -> Option<String> {
    let errors: Vec<&str> = reply["error"].as_array()?.iter().filter_map(Value::as_str).collect();
    (!errors.is_empty()).then(|| errors.join(", "))
}

fn symbols(reply: &Value) -> Option<Vec<VenueSymbol>> {
    let pairs = reply["result"].as_object()?.values();
    // A pair without a name for sockets cannot be subscribed.
    let named = pairs.filter(|pair| pair["status"] == "online" && pair["wsname"].is_string());
    named
        .map(|pair| {
            let (base, quote) = pair["wsname"].as_str()?.split_once('/')?;
            Some(VenueSymbol {
                name: format!("{}/{}", coin(base), coin(quote)),
                description: pair["altname"].as_str().map(String::from),
                digits: pair["pair_decimals"].as_u64().and_then(|digits| u8::try_from(digits).ok()),
            })
        })
        .collect()
}

fn coin(name: &str) -> &str {
    match name {
        "XBT" => "BTC",
        "XDG" => "DOGE",
        same => same,
    }
}
