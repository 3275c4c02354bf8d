//! Past candles over HTTP, as each exchange gives them, with its limits.
//!
//! The market remembers nothing, so the past is made up: from the symbol and the number of the minute alone, so that every
//! exchange, every request and every length of candle tells the same story.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Server;
use super::config::Broker;
use super::http::{Body, json_reply, query, value};
use super::past::Admission;
use super::symbols::{Symbol, fixed};
use crate::clock;
use crate::market::{Price, Size};

/// The first ban of Binance's.
const BAN: Duration = Duration::from_secs(120);

const MINUTE_S: i64 = 60;
const WEEK_S: i64 = 7 * 86_400;
/// 5 January 1970, the first Monday.
const MONDAY_S: i64 = 4 * 86_400;

/// When the requests of one simulated exchange came.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<VecDeque<Instant>>);

impl Gate {
    /// Notes a request, and says whether there were not more than `most` within `window`.
    fn lets_in(&self, most: usize, window: Duration) -> bool {
        let (now, mut came) = (Instant::now(), self.0.lock().unwrap_or_else(PoisonError::into_inner));
        came.retain(|at| now - *at < window);
        // Refused ones do not count: the queue is bounded by the limit.
        let room = came.len() < most;
        if room {
            came.push_back(now);
        }
        room
    }
}

/// One candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candle {
    open_s: i64,
    open_e9: i64,
    high_e9: i64,
    low_e9: i64,
    close_e9: i64,
    volume_e8: u64,
    trades: u64,
}

/// A number from the symbol and a minute (SplitMix64).
fn chance(symbol: &Symbol, minute: i64) -> u64 {
    let seed = symbol.name.bytes().fold(0_u64, |seed, b| seed.wrapping_mul(131).wrapping_add(b.into()));
    let mut z = seed.wrapping_add((minute as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Where the market stands at the end of a minute, in steps of the last digit: within 2 per mille of its anchor.
fn close_points(symbol: &Symbol, minute: i64) -> i64 {
    let anchor = symbol.anchor_e9 / symbol.point_e9();
    anchor + (chance(symbol, minute) % 4_001) as i64 * anchor / 1_000_000 - anchor / 500
}

/// The candle of some minutes.
fn candle(symbol: &Symbol, open_s: i64, length_s: i64) -> Candle {
    let first = open_s / MINUTE_S;
    let (open, mut high, mut low, mut close) = (close_points(symbol, first - 1), i64::MIN, i64::MAX, 0);
    let (mut volume, mut trades) = (0, 0);
    for minute in first..first + length_s / MINUTE_S {
        let (from, dice) = (close_points(symbol, minute - 1), chance(symbol, minute));
        close = close_points(symbol, minute);
        high = high.max(from.max(close) + (dice >> 8) as i64 % 20);
        low = low.min(from.min(close) - (dice >> 16) as i64 % 20);
        volume += (dice >> 24) % 1_000_000;
        trades += 1 + (dice >> 40) % 100;
    }
    let point_e9 = symbol.point_e9();
    let [open_e9, high_e9, low_e9, close_e9] = [open, high, low, close].map(|points| points * point_e9);
    Candle { open_s, open_e9, high_e9, low_e9, close_e9, volume_e8: volume, trades }
}

impl Candle {
    /// Open, high, low and close with at least `digits` places.
    fn prices(&self, digits: u8) -> [String; 4] {
        let text = |e9| Price::from_e9(e9).map_or_else(String::new, |price| fixed(price, digits));
        [self.open_e9, self.high_e9, self.low_e9, self.close_e9].map(text)
    }

    fn volume(&self) -> String {
        Size::from_e8(self.volume_e8).map_or_else(String::new, |size| size.to_string())
    }
}

/// The candles that open from `from_s` to `to_s`, oldest first, the one that is forming included.
fn candles(symbol: &Symbol, length_s: i64, from_s: i64, to_s: i64, most: usize) -> Vec<Candle> {
    let origin = if length_s == WEEK_S { MONDAY_S } else { 0 };
    let first = from_s + (origin - from_s).rem_euclid(length_s);
    let to_s = to_s.min(clock::now_ns() / 1_000_000_000);
    let starts = (0..).map(|n| first + n * length_s).take_while(|open_s| *open_s <= to_s).take(most);
    starts.map(|open_s| candle(symbol, open_s, length_s)).collect()
}

/// Answers a request for candles; `None` when it is for something else.
pub(super) fn route<B>(server: &Server, request: &Request<B>) -> Option<Response<Body>> {
    let (path, query) = (request.uri().path(), query(request));
    let get = |key: &str| value(&query, key).unwrap_or_default();
    let number = |key: &str| get(key).parse::<i64>().ok();
    match (server.hub.config.broker, path) {
        (Broker::Binance, "/api/v3/klines") | (Broker::BinanceUsdm, "/fapi/v1/klines") => {
            Some(binance(server, get("symbol"), get("interval"), &["startTime", "endTime", "limit"].map(number)))
        }
        (Broker::Kraken, "/0/public/OHLC") => {
            Some(json_reply(StatusCode::OK, &kraken(server, get("pair"), number("interval"), number("since"))))
        }
        (Broker::Bybit, "/v5/market/kline") => {
            let range = ["start", "end", "limit"].map(number);
            Some(json_reply(StatusCode::OK, &bybit(server, get("symbol"), get("interval"), &range)))
        }
        (Broker::Coinbase, path) => {
            let product = path.strip_prefix("/api/v3/brokerage/market/products/")?.strip_suffix("/candles")?;
            Some(coinbase(server, product, get("granularity"), number("start"), number("end")))
        }
        _ => None,
    }
}

/// 6,000 units of weight in a minute, two of them for each request.
fn binance(server: &Server, name: &str, interval: &str, range: &[Option<i64>; 3]) -> Response<Body> {
    let error = |status, code: i32, words: &str| json_reply(status, &json!({ "code": code, "msg": words }));
    let too_many = |status, wait: Duration| {
        let mut reply = error(status, -1003, "Too many requests; current limit is 6000 request weight per 1 MINUTE.");
        if let Ok(seconds) = HeaderValue::from_str(&wait.as_secs().to_string()) {
            reply.headers_mut().insert(RETRY_AFTER, seconds);
        }
        reply
    };
    match server.hub.admit(Instant::now()) {
        Admission::Admitted(_) => {}
        Admission::TooMany(wait) => return too_many(StatusCode::TOO_MANY_REQUESTS, wait),
        // Who goes on after 429 is banned.
        Admission::Insists => {
            server.hub.ban(Instant::now(), BAN);
            return too_many(StatusCode::IM_A_TEAPOT, BAN);
        }
    }
    let Some(at) = server.hub.find(|symbol| symbol.name == name) else {
        return error(StatusCode::BAD_REQUEST, -1121, "Invalid symbol.");
    };
    let known =
        [("1m", 1), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("4h", 240), ("1d", 1_440), ("1w", 10_080)];
    let Some((_, minutes)) = known.iter().find(|(word, _)| *word == interval) else {
        return error(StatusCode::BAD_REQUEST, -1120, "Invalid interval.");
    };
    let [from_ms, to_ms, limit] = *range;
    let (symbol, length_s) = (&server.hub.symbols[at], minutes * MINUTE_S);
    let most = usize::try_from(limit.unwrap_or(500).clamp(1, 1_000)).unwrap_or(500);
    let from_s = from_ms.map_or(0, |ms| (ms + 999).div_euclid(1_000));
    let rows = candles(symbol, length_s, from_s, to_ms.map_or(i64::MAX, |ms| ms.div_euclid(1_000)), most);
    server.hub.showed_bars(rows.len() as u64);
    let row = |c: &Candle| {
        let [open, high, low, close] = c.prices(8);
        json!([
            c.open_s * 1_000,
            open,
            high,
            low,
            close,
            c.volume(),
            (c.open_s + length_s) * 1_000 - 1,
            "0",
            c.trades,
            "0",
            "0",
            "0"
        ])
    };
    json_reply(StatusCode::OK, &rows.iter().map(row).collect())
}

/// The last 720 rows, whatever is asked for; one request a second, some at once.
fn kraken(server: &Server, pair: &str, minutes: Option<i64>, since: Option<i64>) -> Value {
    let error = |words: &str| json!({ "error": [words] });
    if !server.gate.lets_in(15, Duration::from_secs(15)) {
        return error("EAPI:Rate limit exceeded");
    }
    let Some(at) = server.hub.find(|symbol| symbol.name == pair) else { return error("EQuery:Unknown asset pair") };
    let Some(minutes) = minutes.filter(|m| [1, 5, 15, 30, 60, 240, 1_440, 10_080, 21_600].contains(m)) else {
        return error("EGeneral:Invalid arguments");
    };
    let (symbol, length_s, now_s) = (&server.hub.symbols[at], minutes * MINUTE_S, clock::now_ns() / 1_000_000_000);
    let oldest_s = now_s - now_s.rem_euclid(length_s) - 719 * length_s;
    let from_s = since.map_or(oldest_s, |since| oldest_s.max(since + 1));
    let rows = candles(symbol, length_s, from_s, now_s, 720);
    let row = |c: &Candle| {
        let [open, high, low, close] = c.prices(symbol.digits);
        json!([c.open_s, open, high, low, close, close, c.volume(), c.trades])
    };
    let last = rows.len().checked_sub(2).map_or(0, |at| rows[at].open_s);
    json!({ "error": [], "result": { pair: rows.iter().map(row).collect::<Vec<_>>(), "last": last } })
}

/// At most 350, newest first; ten requests a second.
fn coinbase(server: &Server, product: &str, granularity: &str, start: Option<i64>, end: Option<i64>) -> Response<Body> {
    let error = |status, word: &str, text: &str| json_reply(status, &json!({ "error": word, "message": text }));
    if !server.gate.lets_in(10, Duration::from_secs(1)) {
        return error(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", "too many requests");
    }
    let Some(at) = server.hub.find(|symbol| symbol.pair_name('-') == product) else {
        return error(StatusCode::NOT_FOUND, "NOT_FOUND", &format!("valid product_id is required: {product}"));
    };
    let known = [
        ("ONE_MINUTE", 1),
        ("FIVE_MINUTE", 5),
        ("FIFTEEN_MINUTE", 15),
        ("THIRTY_MINUTE", 30),
        ("ONE_HOUR", 60),
        ("TWO_HOUR", 120),
        ("SIX_HOUR", 360),
        ("ONE_DAY", 1_440),
    ];
    let (Some((_, minutes)), Some(start), Some(end)) = (known.iter().find(|k| k.0 == granularity), start, end) else {
        return error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "start, end and granularity are required");
    };
    let (symbol, length_s) = (&server.hub.symbols[at], minutes * MINUTE_S);
    if (end - start) / length_s >= 350 {
        return error(
            StatusCode::BAD_REQUEST,
            "INVALID_ARGUMENT",
            "number of candles requested should be less than 350",
        );
    }
    let row = |c: &Candle| {
        let [open, high, low, close] = c.prices(symbol.digits);
        json!({ "start": c.open_s.to_string(), "low": low, "high": high, "open": open,
            "close": close, "volume": c.volume() })
    };
    let rows = candles(symbol, length_s, start, end, 350);
    json_reply(StatusCode::OK, &json!({ "candles": rows.iter().rev().map(row).collect::<Vec<_>>() }))
}

/// At most 1,000, newest first; 600 requests in five seconds.
fn bybit(server: &Server, name: &str, interval: &str, range: &[Option<i64>; 3]) -> Value {
    let now_ms = clock::now_ns() / 1_000_000;
    let answer = |code: i32, words: &str, result: Value| json!({ "retCode": code, "retMsg": words, "result": result, "retExtInfo": {}, "time": now_ms });
    if !server.gate.lets_in(600, Duration::from_secs(5)) {
        return answer(10_006, "Too many visits!", json!({}));
    }
    let Some(at) = server.hub.find(|symbol| symbol.name == name) else {
        return answer(10_001, "Not supported symbols", json!({}));
    };
    let minutes = match interval {
        "D" => 1_440,
        "W" => 10_080,
        text => text.parse().ok().filter(|m| [1, 3, 5, 15, 30, 60, 120, 240, 360, 720].contains(m)).unwrap_or(0),
    };
    if minutes == 0 {
        return answer(10_001, "Invalid period!", json!({}));
    }
    let [start_ms, end_ms, limit] = *range;
    let (symbol, length_s) = (&server.hub.symbols[at], minutes * MINUTE_S);
    let most = usize::try_from(limit.unwrap_or(200).clamp(1, 1_000)).unwrap_or(200);
    let from_s = start_ms.map_or(0, |ms| (ms + 999).div_euclid(1_000));
    let rows = candles(symbol, length_s, from_s, end_ms.map_or(i64::MAX, |ms| ms.div_euclid(1_000)), most);
    let row = |c: &Candle| {
        let [open, high, low, close] = c.prices(symbol.digits);
        json!([(c.open_s * 1_000).to_string(), open, high, low, close, c.volume(), "0"])
    };
    answer(0, "OK", json!({ "symbol": name, "list": rows.iter().rev().map(row).collect::<Vec<_>>() }))
}
