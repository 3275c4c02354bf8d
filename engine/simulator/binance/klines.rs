//! `/api/v3/klines` of the spot market: rows, weights, 429 with `Retry-After`, and 418 for those who go on.

use std::fmt::Write as _;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::clock;
use crate::market::Price;
use crate::simulator::http::{Body, json_reply, reply, value};
use crate::simulator::hub::Hub;
use crate::simulator::past::{Admission, Candle, Cut, Length};
use crate::simulator::stamp::ServerTime;
use crate::simulator::symbols::{Symbol, pad};

/// Rows of one reply, and of one that did not ask for a number.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 500;
/// Weight of one request.
const WEIGHT: usize = 2;
/// The first ban of those who go on after 429.
const BAN: Duration = Duration::from_secs(120);

pub(super) fn klines(hub: &Hub, query: &[(String, String)]) -> Response<Body> {
    let (used, mut response) = match hub.admit(Instant::now()) {
        Admission::Admitted(used) => (used, rows(hub, query)),
        Admission::TooMany(wait) => (0, too_many(StatusCode::TOO_MANY_REQUESTS, wait)),
        Admission::Insists => {
            hub.ban(Instant::now(), BAN);
            (0, too_many(StatusCode::IM_A_TEAPOT, BAN))
        }
    };
    if let Ok(weight) = HeaderValue::from_str(&(used * WEIGHT).to_string()) {
        response.headers_mut().insert("X-MBX-USED-WEIGHT-1M", weight);
    }
    response
}

fn too_many(status: StatusCode, wait: Duration) -> Response<Body> {
    let mut response = json_reply(status, &json!({ "code": -1003, "msg": "Too many requests." }));
    if let Ok(seconds) = HeaderValue::from_str(&wait.as_secs().to_string()) {
        response.headers_mut().insert("Retry-After", seconds);
    }
    response
}

fn wrong(code: i32, msg: &str) -> Response<Body> {
    json_reply(StatusCode::BAD_REQUEST, &json!({ "code": code, "msg": msg }))
}

fn rows(hub: &Hub, query: &[(String, String)]) -> Response<Body> {
    let name = value(query, "symbol").unwrap_or_default();
    let Some(symbol) = hub.find(|symbol| symbol.name == name) else { return wrong(-1121, "Invalid symbol.") };
    let symbol = &hub.symbols[symbol];
    let Some(cut) = value(query, "interval").and_then(cut) else { return wrong(-1120, "Invalid interval.") };
    let number = |key| value(query, key).map(str::parse::<i64>).transpose();
    let (Ok(start), Ok(end), Ok(limit)) = (number("startTime"), number("endTime"), number("limit")) else {
        return wrong(-1100, "Illegal characters found in a parameter.");
    };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let now_ns = clock::now_ns();
    // Both ends are included.
    let until_ns = end.map_or(now_ns, |ms| ms.saturating_add(1).saturating_mul(1_000_000).min(now_ns));
    let spans: Vec<_> = match start {
        Some(start) => cut.bars(start.saturating_mul(1_000_000), until_ns).take(limit).collect(),
        None => {
            let mut spans = Vec::new();
            let mut last = cut.around(until_ns - 1);
            while spans.len() < limit {
                spans.push(last);
                last = cut.around(last.0 - 1);
            }
            spans.reverse();
            spans
        }
    };
    let mut text = String::from("[");
    let mut shown = 0;
    // The last one may still form; nothing says so but its closing time.
    for candle in spans.into_iter().filter_map(|(from, to)| Some((hub.past.candle(symbol, from, to.min(now_ns))?, to)))
    {
        if shown > 0 {
            text.push(',');
        }
        row(&mut text, &candle.0, candle.1, symbol);
        shown += 1;
    }
    text.push(']');
    hub.showed_bars(shown);
    reply(StatusCode::OK, "application/json", text)
}

fn cut(interval: &str) -> Option<Cut> {
    let length = match interval {
        "1w" => Length::Week(0),
        "1M" => Length::Month,
        _ => {
            let known = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"];
            let (number, unit) = interval.split_at_checked(interval.len().checked_sub(1)?)?;
            let unit = [("m", 1), ("h", 60), ("d", 1_440)].into_iter().find(|(word, _)| *word == unit)?.1;
            Length::Minutes(known.contains(&interval).then_some(number)?.parse::<i64>().ok()? * unit)
        }
    };
    Some(Cut { rule: ServerTime::Fixed(0), length })
}

fn row(text: &mut String, candle: &Candle, to_ns: i64, symbol: &Symbol) {
    let price = |e9: i64| Price::from_e9(e9).map_or_else(String::new, |p| pad(p.to_string(), 8.max(symbol.digits)));
    let (open, high, low, close) = (price(candle.open), price(candle.high), price(candle.low), price(candle.close));
    let (from, to) = (candle.open_ns / 1_000_000, to_ns / 1_000_000 - 1);
    // Some hundredths of the base asset a trade.
    let volume = format!("{}.{:02}000000", candle.ticks * 3 / 100, candle.ticks * 3 % 100);
    let _ = write!(
        text,
        "[{from},\"{open}\",\"{high}\",\"{low}\",\"{close}\",\"{volume}\",{to},\"0.00000000\",{},\"0.00000000\",\"0.00000000\",\"0\"]",
        candle.ticks
    );
}
