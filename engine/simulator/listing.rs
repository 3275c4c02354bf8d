//! The exchanges' lists of symbols, in the documented fields that a list has use for. One more that is not traded is in
//! each.

use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::config::Broker;
use super::http::{Body, json_reply, query, value};
use super::symbols::{Symbol, pad};

/// Answers a request for a list; `None` when it is for something else.
pub(super) fn route<B>(server: &Server, request: &Request<B>) -> Option<Response<Body>> {
    let symbols = &server.hub.symbols;
    let answer = match (server.hub.config.broker, request.uri().path()) {
        (Broker::Binance, "/api/v3/exchangeInfo") | (Broker::BinanceUsdm, "/fapi/v1/exchangeInfo") => binance(symbols),
        (Broker::Kraken, "/0/public/AssetPairs") => kraken(symbols),
        (Broker::Coinbase, "/api/v3/brokerage/market/products") => coinbase(symbols),
        (Broker::Bybit, "/v5/market/instruments-info") => bybit(symbols, value(&query(request), "cursor")),
        _ => return None,
    };
    Some(json_reply(StatusCode::OK, &answer))
}

/// One step of the last digit, with at least `places`.
fn step(symbol: &Symbol, places: u8) -> String {
    let text = crate::market::Price::from_e9(symbol.point_e9()).map_or_else(String::new, |price| price.to_string());
    pad(text, places)
}

/// Base and quote.
fn sides(symbol: &Symbol) -> (String, String) {
    let pair = symbol.pair_name('/');
    pair.split_once('/').map_or_else(|| (pair.clone(), String::new()), |(a, b)| (a.to_string(), b.to_string()))
}

fn binance(symbols: &[Symbol]) -> Value {
    let mut rows: Vec<Value> = vec![json!({ "symbol": "GONEUSDT", "status": "BREAK", "filters": [] })];
    rows.extend(symbols.iter().map(|symbol| {
        let (base, quote) = sides(symbol);
        json!({ "symbol": symbol.name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
            "filters": [{ "filterType": "LOT_SIZE", "stepSize": "0.00001000" },
                { "filterType": "PRICE_FILTER", "minPrice": "0.01000000", "tickSize": step(symbol, 8) }] })
    }));
    json!({ "timezone": "UTC", "symbols": rows })
}

/// The name for sockets is the older one's, which calls bitcoin XBT.
fn kraken(symbols: &[Symbol]) -> Value {
    let mut result = json!({ "GONEUSD": { "altname": "GONEUSD", "wsname": "GONE/USD", "pair_decimals": 5,
        "status": "cancel_only" } });
    for symbol in symbols {
        let (base, quote) = sides(symbol);
        let base = if base == "BTC" { "XBT" } else { base.as_str() };
        result[format!("{base}{quote}")] = json!({ "altname": format!("{base}{quote}"),
            "wsname": format!("{base}/{quote}"), "pair_decimals": symbol.digits, "status": "online" });
    }
    json!({ "error": [], "result": result })
}

fn coinbase(symbols: &[Symbol]) -> Value {
    let mut rows = vec![json!({ "product_id": "GONE-USD", "is_disabled": true, "price_increment": "0.01" })];
    rows.extend(symbols.iter().map(|symbol| {
        json!({ "product_id": symbol.pair_name('-'), "display_name": symbol.pair_name('-'), "is_disabled": false,
            "trading_disabled": false, "product_type": "SPOT", "price_increment": step(symbol, 2) })
    }));
    json!({ "num_products": rows.len(), "products": rows })
}

/// In two pages.
fn bybit(symbols: &[Symbol], cursor: Option<&str>) -> Value {
    let row = |symbol: &Symbol| {
        let (base, quote) = sides(symbol);
        json!({ "symbol": symbol.name, "baseCoin": base, "quoteCoin": quote, "status": "Trading",
            "priceFilter": { "tickSize": step(symbol, 2) } })
    };
    let list: Vec<Value> = match cursor {
        None => vec![json!({ "symbol": "GONEUSDT", "status": "Closed", "priceFilter": { "tickSize": "0.01" } })],
        Some(_) => symbols.iter().map(row).collect(),
    };
    let next = if cursor.is_none() { "page%3D2" } else { "" };
    json!({ "retCode": 0, "retMsg": "OK", "time": 1_672_712_468_011_u64, "retExtInfo": {},
        "result": { "category": "spot", "list": list, "nextPageCursor": next } })
}
