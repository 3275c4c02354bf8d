//! The accounts API of the "mtapi" kind: bearer key, JSON, prices by asking. No vendor documents it, so this is the contract
//! that our adapter is held to: times in seconds (bars) and milliseconds (prices), errors as `{"error":…,"message":…}`.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Server;
use super::http::{Body, json_reply, query, reply, value};
use super::hub::Hub;
use super::past::{Admission, Candle, Cut, Length};
use super::stamp::{self, ServerTime};
use super::symbols::Symbol;
use crate::clock;
use crate::market::Price;

/// Most bars of one reply, and of one that does not say how many.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 100;

/// Status, code and message.
struct Refusal(StatusCode, &'static str, String, Option<Duration>);

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal(status, code, message.into(), None)
}

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: &Request<Incoming>) -> Response<Body> {
    answer(server, request).unwrap_or_else(|Refusal(status, error, message, wait)| {
        let mut response = json_reply(status, &json!({"error": error, "message": message}));
        if let Some(wait) = wait {
            let seconds = HeaderValue::from(wait.as_nanos().div_ceil(1_000_000_000) as u64);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    })
}

fn answer(server: &Arc<Server>, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let hub = &server.hub;
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer.and_then(|value| value.strip_prefix("Bearer ")) != Some(server.secret.as_str()) {
        return Err(refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "The key is missing or wrong"));
    }
    if request.method() != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Only GET is served"));
    }
    let nothing = |what: &str| refusal(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{what} not found"));
    let path = request.uri().path();
    let mut parts = path.strip_prefix("/v1/accounts/").ok_or_else(|| nothing("Endpoint"))?.split('/');
    let account = parts.next().unwrap_or_default();
    if account.is_empty() || !hub.config.account.is_empty() && account != hub.config.account {
        return Err(nothing(&format!("Account {account}")));
    }
    let rest: Vec<&str> = parts.collect();
    let symbol = |name: &str| {
        let found = hub.find(|symbol| symbol.name == name).ok_or_else(|| nothing(&format!("Symbol {name}")))?;
        Ok::<_, Refusal>((found, &hub.symbols[found]))
    };
    let all = 0..hub.symbols.len();
    Ok(match rest[..] {
        [] => json_reply(StatusCode::OK, &summary(&hub.config.server)),
        ["positions"] => json_reply(StatusCode::OK, &positions(hub)),
        ["symbols"] => {
            let names: Vec<&str> = hub.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
            json_reply(StatusCode::OK, &json!({"symbols": names}))
        }
        ["symbols", name, "price"] => {
            let (index, _) = symbol(name)?;
            let price = price(hub, index, false);
            let none = || refusal(StatusCode::NOT_FOUND, "NO_PRICE", format!("{name} has no price yet"));
            reply(StatusCode::OK, "application/json", price.ok_or_else(none)?)
        }
        ["prices"] => {
            let prices: Vec<String> = all.filter_map(|index| price(hub, index, true)).collect();
            reply(StatusCode::OK, "application/json", format!("{{\"prices\":[{}]}}", prices.join(",")))
        }
        ["history"] => {
            let query = query(request);
            let (_, symbol) = symbol(value(&query, "symbol").unwrap_or_default())?;
            history(hub, symbol, &query)?
        }
        _ => return Err(nothing("Endpoint")),
    })
}

fn summary(server: &str) -> Value {
    json!({"balance": 10_000.0, "equity": 10_012.5, "margin": 50.0, "free_margin": 9_962.5, "margin_level": 20_025.0,
        "currency": "USD", "leverage": 100, "server": server})
}

/// A purchase and a sale of the first symbol.
fn positions(hub: &Hub) -> Value {
    let position = |(ticket, side): (u32, &str)| {
        let symbol = &hub.symbols[0];
        let price = symbol.anchor_e9 as f64 / 1e9;
        json!({"ticket": ticket, "symbol": symbol.name, "type": side, "volume": 0.1, "open_price": price, "profit": 6.25})
    };
    [(5_012, "buy"), (5_013, "sell")].map(position).into()
}

/// The newest quote, as numbers without trailing zeros.
fn price(hub: &Hub, index: usize, named: bool) -> Option<String> {
    let quote = hub.last(index)?;
    let (bid, ask, ms) = (quote.bid, quote.ask, quote.event_ns / 1_000_000);
    let name = if named { format!("\"symbol\":\"{}\",", hub.symbols[index].name) } else { String::new() };
    Some(format!("{{{name}\"bid\":{bid},\"ask\":{ask},\"last\":{bid},\"timestamp\":{ms}}}"))
}

/// Bars of the bid; the last one may still form.
fn history(hub: &Hub, symbol: &Symbol, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    match hub.admit(Instant::now()) {
        Admission::Admitted(_) => {}
        Admission::TooMany(wait) => {
            let message = "Too many requests".into();
            return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", message, Some(wait)));
        }
        Admission::Insists => {
            return Err(refusal(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", "Too many requests"));
        }
    }
    let bad = |key: &str| refusal(StatusCode::BAD_REQUEST, "BAD_REQUEST", format!("{key} is missing or wrong"));
    let length = match value(query, "timeframe") {
        Some("10080") => Length::Week(0),
        Some("43200") => Length::Month,
        Some(text @ ("1" | "5" | "15" | "30" | "60" | "240" | "1440")) => Length::Minutes(text.parse().unwrap_or(1)),
        _ => return Err(bad("timeframe")),
    };
    let limit = value(query, "limit").map_or(Some(LIMIT), |text| text.parse().ok()).filter(|limit| *limit > 0);
    let limit = limit.ok_or_else(|| bad("limit"))?.min(LIMIT_MAX);
    // Checked when the configuration was read.
    let rule = ServerTime::parse(&hub.config.server_time).unwrap_or(ServerTime::Fixed(0));
    let (cut, now_ns) = (Cut { rule, length }, clock::now_ns());
    let candle = |(from, to): (i64, i64)| hub.past.candle(symbol, from, to.min(now_ns));
    let candles: Vec<Candle> = match value(query, "from") {
        Some(text) => {
            // Milliseconds have too many digits to be seconds.
            let ms = text.parse::<i64>().ok().filter(|ms| *ms >= 1 << 33).and_then(|ms| ms.checked_mul(1_000_000));
            let from_ns = ms.or_else(|| stamp::parse(text)).ok_or_else(|| bad("from"))?;
            cut.bars(from_ns, now_ns).filter_map(candle).take(limit).collect()
        }
        None => {
            let earlier = |bar: &(i64, i64)| Some(cut.around(bar.0 - 1));
            // Far enough back for a weekend of hours.
            let bars = std::iter::successors(Some(cut.around(now_ns)), earlier).take(limit + 5_000);
            let mut candles: Vec<Candle> = bars.filter_map(candle).take(limit).collect();
            candles.reverse();
            candles
        }
    };
    let spread = ((symbol.spread_points as f64 * hub.config.spread) as i64).max(1);
    let price =
        |e9: i64| Price::from_e9(e9 - spread / 2 * symbol.point_e9()).map_or_else(String::new, |p| p.to_string());
    let row = |candle: &Candle| {
        let (o, h, l, c) = (price(candle.open), price(candle.high), price(candle.low), price(candle.close));
        let (time, ticks) = (candle.open_ns / 1_000_000_000, candle.ticks);
        format!("{{\"time\":{time},\"open\":{o},\"high\":{h},\"low\":{l},\"close\":{c},\"tick_volume\":{ticks}}}")
    };
    let rows: Vec<String> = candles.iter().map(row).collect();
    hub.showed_bars(rows.len() as u64);
    Ok(reply(StatusCode::OK, "application/json", format!("{{\"data\":[{}]}}", rows.join(","))))
}
