//! MQL5-JSON-API: an expert adviser's ZeroMQ sockets. A request goes to its REP socket, which says `OK`; what was asked goes
//! to those who listen to its data socket, prices to those who listen to its live socket. A symbol that is configured twice
//! is told twice. Bars are not told live, no order is taken, and every listener of the live socket hears everything.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Server;
use super::event::Quote;
use super::hub::Hub;
use super::past::Length;
use super::stamp::ServerTime;
use super::zmq;
use crate::feeds::zmq::Kind;
use crate::market::Price;

/// MetaTrader's numbers, and the adviser's own.
const UNKNOWN_SYMBOL: (u32, &str) = (4_301, "Unknown symbol");
const TOO_MANY: (u32, &str) = (10_024, "Too frequent requests");
const NOT_JSON: (u32, &str) = (65_537, "ERR_DESERIALIZATION");
const WRONG_ACTION: (u32, &str) = (65_538, "ERR_WRONG_ACTION");

/// Serves one client of the system port.
pub(super) async fn requests(server: Arc<Server>, stream: TcpStream) {
    zmq::commands(server, stream, Kind::Rep, |server, request| {
        server.desk.answer(obey(server, request));
        Some("OK".to_string())
    })
    .await;
}

/// Serves one client of the live port.
pub(super) async fn prices(server: Arc<Server>, stream: TcpStream) {
    let rule = zmq::rule(&server.hub);
    let say = move |hub: &Hub, quote: &Quote| Some(line(quote, &hub.symbols[quote.symbol].name, rule));
    zmq::prices(server, stream, Kind::Push, |_| String::new(), say).await;
}

/// A tick: milliseconds on the broker's wall, numbers without trailing zeros.
fn line(quote: &Quote, name: &str, rule: ServerTime) -> String {
    let millis = (quote.event_ns + rule.offset_ns(quote.event_ns)).div_euclid(1_000_000);
    let (bid, ask) = (quote.bid, quote.ask);
    format!("{{\"status\":\"CONNECTED\",\"symbol\":\"{name}\",\"timeframe\":\"TICK\",\"data\":[{millis},{bid},{ask}]}}")
}

/// What was done, or not, by which of the adviser's functions.
fn outcome((number, words): (u32, &str), function: &str) -> String {
    let is_error = number != 0;
    // The keys in the adviser's order.
    format!(
        "{{\"error\":{is_error},\"lastError\":\"{number}\",\"description\":\"{words}\",\"function\":\"{function}\"}}"
    )
}

fn done(function: &str) -> String {
    outcome((0, "ERR_SUCCESS"), function)
}

/// Obeys a request, and gives what goes to the data port.
fn obey(server: &Server, request: &[u8]) -> String {
    let Ok(request) = serde_json::from_slice::<Value>(request) else { return outcome(NOT_JSON, "RequestHandler") };
    let word = |key: &str| request[key].as_str().unwrap_or_default();
    match (word("action"), word("actionType")) {
        ("CONFIG", _) => configure(server, word("symbol"), word("chartTF")),
        ("RESET", _) => {
            server.desk.track(server.hub.symbols.len(), |tracks| tracks.fill(0));
            done("ResetSubscriptionsAndIndicators")
        }
        ("ACCOUNT", _) => ACCOUNT.to_string(),
        ("BALANCE", _) => {
            json!({ "balance": 10_000.0, "equity": 10_000.0, "margin": 0.0, "margin_free": 10_000.0 }).to_string()
        }
        ("POSITIONS", _) => json!({ "positions": [] }).to_string(),
        ("ORDERS", _) => json!({ "error": false, "orders": [] }).to_string(),
        ("HISTORY", "DATA") => history(server, &request, word("symbol"), word("chartTF")),
        _ => outcome(WRONG_ACTION, "RequestHandler"),
    }
}

const ACCOUNT: &str = "{\"error\":false,\"broker\":\"Demo\",\"currency\":\"USD\",\"server\":\"Demo-Server\",\
    \"trading_allowed\":0,\"bot_trading\":0,\"balance\":10000.0,\"equity\":10000.0,\"margin\":0.0,\
    \"margin_free\":10000.0,\"margin_level\":0.0}";

fn configure(server: &Server, symbol: &str, length: &str) -> String {
    const FUNCTION: &str = "ScriptConfiguration";
    if length != "TICK" {
        return outcome(WRONG_ACTION, FUNCTION);
    }
    let Some(at) = server.hub.find(|known| known.name == symbol) else { return outcome(UNKNOWN_SYMBOL, FUNCTION) };
    server.desk.track(server.hub.symbols.len(), |tracks| tracks[at] += 1);
    done(FUNCTION)
}

fn history(server: &Server, request: &Value, symbol: &str, word: &str) -> String {
    const FUNCTION: &str = "HistoryInfo";
    let hub = &server.hub;
    if !zmq::admits(hub) {
        return outcome(TOO_MANY, FUNCTION);
    }
    let length = match word {
        "TICK" | "M1" => Length::Minutes(1),
        "M5" => Length::Minutes(5),
        "M15" => Length::Minutes(15),
        "M30" => Length::Minutes(30),
        "H1" => Length::Minutes(60),
        "H4" => Length::Minutes(240),
        "D1" => Length::Minutes(1_440),
        "W1" => Length::Week(0),
        "MN1" => Length::Month,
        _ => return outcome(WRONG_ACTION, FUNCTION),
    };
    let Some(at) = hub.find(|known| known.name == symbol) else { return outcome(UNKNOWN_SYMBOL, FUNCTION) };
    let second = |key: &str| request[key].as_i64().filter(|s| (1..1 << 33).contains(s)).map(|s| s * 1_000_000_000);
    let (from, to) = (second("fromDate").unwrap_or(0), second("toDate").unwrap_or(i64::MAX / 2));
    let spread = ((hub.symbols[at].spread_points as f64 * hub.config.spread) as i64).max(1);
    let price = |e9: i64| Price::from_e9(e9).map_or_else(String::new, |price| price.to_string());
    let bars = zmq::bars(hub, at, length, from, to);
    hub.showed_bars(bars.len() as u64);
    let mut rows = String::new();
    for bar in &bars {
        let comma = if rows.is_empty() { "" } else { "," };
        let _ = if word == "TICK" {
            // A minute's open, high, low and close, a quarter of it apart.
            let prices = [bar.open, bar.high, bar.low, bar.close].into_iter().enumerate();
            let ask = |bid: i64| price(bid + spread * hub.symbols[at].point_e9());
            let millis = |at: usize| bar.open_ns / 1_000_000 + 15_000 * at as i64;
            let ticks: Vec<String> =
                prices.map(|(at, bid)| format!("[{},{},{}]", millis(at), price(bid), ask(bid))).collect();
            write!(rows, "{comma}{}", ticks.join(","))
        } else {
            let (seconds, ticks) = (bar.open_ns / 1_000_000_000, bar.ticks);
            let [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(price);
            write!(rows, "{comma}[{seconds},{open},{high},{low},{close},{ticks}.0,{spread}]")
        };
    }
    format!("{{\"data\":[{rows}],\"symbol\":\"{symbol}\",\"timeframe\":\"{word}\"}}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::Size;

    #[test]
    fn ticks_are_written_as_documented() {
        let size = Size::from_e8(1).unwrap();
        let (bid, ask) = ("1.08515".parse().unwrap(), "1.08521".parse().unwrap());
        // 10:15:30.123 on the wall of a server three hours ahead of UTC.
        let event_ns = 1_715_930_130_123_000_000;
        let quote = Quote { symbol: 0, event_ns, bid, ask, bid_size: size, ask_size: size, update_id: 0 };
        assert_eq!(
            line(&quote, "EURUSD", ServerTime::NewYorkClose),
            r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"TICK","data":[1715940930123,1.08515,1.08521]}"#
        );
    }

    #[test]
    fn outcomes_are_written_as_documented() {
        assert_eq!(
            outcome(UNKNOWN_SYMBOL, "ScriptConfiguration"),
            r#"{"error":true,"lastError":"4301","description":"Unknown symbol","function":"ScriptConfiguration"}"#
        );
        assert!(done("f").starts_with(r#"{"error":false,"lastError":"0","#));
    }
}
