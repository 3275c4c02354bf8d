//! The account, its orders and the list of symbols.

use std::fmt::Write as _;

use hyper::{Response, StatusCode};

use crate::market::Price;
use crate::simulator::Server;
use crate::simulator::http::{Body, reply};

fn json(text: impl Into<bytes::Bytes>) -> Response<Body> {
    reply(StatusCode::OK, "application/json", text)
}

/// The vendor computes with binary floating point, and it shows.
pub(super) fn summary() -> Response<Body> {
    const SUMMARY: &str = "{\"balance\":10000.0,\"credit\":0,\"profit\":12.499999999999998,\"equity\":10012.499999999998,\
        \"margin\":50.0,\"freeMargin\":9962.5,\"marginLevel\":20025.0,\"leverage\":100,\"currency\":\"USD\",\
        \"method\":\"Hedging\",\"isInvestor\":false}";
    json(SUMMARY)
}

/// A purchase of each symbol, a sale of the first, and an order that waits.
pub(super) fn orders(server: &Server) -> Response<Body> {
    let symbols = &server.hub.symbols;
    let rows = symbols.iter().map(|symbol| (symbol, "Buy", "0.1"));
    let rows =
        rows.chain(symbols.iter().take(1).flat_map(|symbol| [(symbol, "Sell", "0.25"), (symbol, "BuyLimit", "1.0")]));
    let mut text = String::from("[");
    for (ticket, (symbol, kind, lots)) in (5_012..).zip(rows) {
        let comma = if ticket == 5_012 { "" } else { "," };
        let price = Price::from_e9(symbol.anchor_e9).map_or_else(String::new, |price| price.to_string());
        let _ = write!(
            text,
            "{comma}{{\"ticket\":{ticket},\"symbol\":\"{}\",\"orderType\":\"{kind}\",\"lots\":{lots},\"openPrice\":{price},\
             \"openTime\":\"2024-05-17T10:15:30\",\"profit\":-1.2000000000000002}}",
            symbol.name
        );
    }
    json(text + "]")
}

pub(super) fn symbols(server: &Server) -> Response<Body> {
    let row = |symbol: &crate::simulator::symbols::Symbol| {
        let (name, digits, quote) = (&symbol.name, symbol.digits, symbol.name.get(3..).unwrap_or_default());
        format!(
            "\"{name}\":{{\"currency\":\"{quote}\",\"digits\":{digits},\"spread\":{},\"contractSize\":100000}}",
            symbol.spread_points
        )
    };
    let rows: Vec<String> = server.hub.symbols.iter().map(row).collect();
    json(format!("{{{}}}", rows.join(",")))
}
