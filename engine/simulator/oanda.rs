//! OANDA v20 as its documents describe it: bearer token, account endpoints, and the pricing stream with heartbeats; 20
//! streams at a time, and so many requests a second. Not simulated: the limit of two new connections a second.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use super::Server;
use super::event::{Event, Quote};
use super::http::{Body, Gone, Outlet, json_reply, query, reply, streamed, value};
use super::hub::{Hub, Source};
use super::past::Admission;
use super::stamp;
use super::symbols::{Symbol, fixed};
use crate::clock;
use crate::market::Price;

mod account;
mod candles;

/// Heartbeats of the pricing stream come this often.
const HEARTBEAT_S: u64 = 5;
/// Streams that one address may hold.
const STREAMS_MAX: u64 = 20;

/// How the client wants times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Rfc3339,
    Unix,
}

impl Times {
    fn write(self, ns: i64) -> String {
        match self {
            Times::Rfc3339 => stamp::rfc3339(ns),
            Times::Unix => stamp::unix(ns),
        }
    }
}

/// Answers one request.
pub(super) fn route(server: &Arc<Server>, request: &Request<Incoming>) -> Response<Body> {
    let mut response = answer(server, request)
        .unwrap_or_else(|(status, message)| json_reply(status, &json!({ "errorMessage": message })));
    let id = clock::now_ns().unsigned_abs();
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("RequestID", id);
    }
    response
}

type Refusal = (StatusCode, &'static str);

fn answer(server: &Arc<Server>, request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let hub = &server.hub;
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if authorization != format!("Bearer {}", server.secret).as_bytes() {
        return Err((StatusCode::UNAUTHORIZED, "Insufficient authorization to perform request."));
    }
    let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    // Streams have a limit of their own.
    if !parts.ends_with(&["pricing", "stream"]) && !matches!(hub.admit(Instant::now()), Admission::Admitted(_)) {
        return Err((StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded"));
    }
    if let ["v3", "instruments", name, "candles"] = parts[..] {
        return candles::candles(hub, name, &query(request), times(request)?);
    }
    let ["v3", "accounts", account, endpoint @ ..] = parts.as_slice() else {
        return Err((StatusCode::NOT_FOUND, "The requested resource does not exist"));
    };
    if !hub.config.account.is_empty() && *account != hub.config.account {
        return Err((StatusCode::BAD_REQUEST, "Invalid value specified for 'accountID'"));
    }
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let times = times(request)?;
    match endpoint {
        ["summary"] => Ok(json_reply(StatusCode::OK, &account::summary(hub, account))),
        ["openPositions"] => Ok(json_reply(StatusCode::OK, &account::positions(hub))),
        ["instruments"] => Ok(json_reply(StatusCode::OK, &account::instruments(hub, &wanted_or_all(hub, request)?))),
        ["pricing"] => Ok(pricing(hub, &wanted(hub, request)?, times)),
        ["pricing", "stream"] => stream(hub, request, times),
        ["instruments", name, "candles"] => candles::candles(hub, name, &query(request), times),
        _ => Err((StatusCode::NOT_FOUND, "The requested resource does not exist")),
    }
}

fn times(request: &Request<Incoming>) -> Result<Times, Refusal> {
    match request.headers().get("Accept-Datetime-Format").map(HeaderValue::as_bytes) {
        Some(b"UNIX") => Ok(Times::Unix),
        Some(b"RFC3339") | None => Ok(Times::Rfc3339),
        Some(_) => Err((StatusCode::BAD_REQUEST, "Invalid value specified for 'Accept-Datetime-Format'")),
    }
}

/// The instruments that a request names; all of them must be known.
fn wanted(hub: &Hub, request: &Request<Incoming>) -> Result<Vec<usize>, Refusal> {
    let query = query(request);
    let names = value(&query, "instruments").unwrap_or_default();
    let find = |name| hub.find(|symbol| symbol.oanda_name() == name);
    let found: Option<Vec<usize>> = names.split(',').map(find).collect();
    found.ok_or((StatusCode::BAD_REQUEST, "Invalid value specified for 'instruments'"))
}

fn wanted_or_all(hub: &Hub, request: &Request<Incoming>) -> Result<Vec<usize>, Refusal> {
    match value(&query(request), "instruments") {
        Some(_) => wanted(hub, request),
        None => Ok((0..hub.symbols.len()).collect()),
    }
}

fn pricing(hub: &Hub, wanted: &[usize], times: Times) -> Response<Body> {
    let prices: Vec<String> =
        wanted.iter().filter_map(|at| hub.last(*at).map(|quote| price(&quote, &hub.symbols[*at], times))).collect();
    let now = times.write(clock::now_ns());
    reply(StatusCode::OK, "application/json", format!("{{\"time\":\"{now}\",\"prices\":[{}]}}", prices.join(",")))
}

/// One PRICE object in the wire's order of keys, on one line without its end.
pub(super) fn price(quote: &Quote, symbol: &Symbol, times: Times) -> String {
    let point = symbol.point_e9();
    let moved =
        |price: Price, points: i64| fixed(Price::from_e9(price.e9() + points * point).unwrap_or(price), symbol.digits);
    let mut line = String::with_capacity(384);
    let _ = write!(
        line,
        "{{\"type\":\"PRICE\",\"time\":\"{}\",\
         \"bids\":[{{\"price\":\"{}\",\"liquidity\":10000000}},{{\"price\":\"{}\",\"liquidity\":10000000}}],\
         \"asks\":[{{\"price\":\"{}\",\"liquidity\":10000000}},{{\"price\":\"{}\",\"liquidity\":10000000}}],\
         \"closeoutBid\":\"{}\",\"closeoutAsk\":\"{}\",\"status\":\"tradeable\",\"tradeable\":true,\"instrument\":\"{}\"}}",
        times.write(quote.event_ns),
        moved(quote.bid, 0),
        moved(quote.bid, -2),
        moved(quote.ask, 0),
        moved(quote.ask, 2),
        moved(quote.bid, -4),
        moved(quote.ask, 4),
        symbol.oanda_name(),
    );
    line
}

fn stream(hub: &Arc<Hub>, request: &Request<Incoming>, times: Times) -> Result<Response<Body>, Refusal> {
    let wanted = wanted(hub, request)?;
    let snapshot = match value(&query(request), "snapshot") {
        None | Some("true" | "True") => true,
        Some("false" | "False") => false,
        Some(_) => return Err((StatusCode::BAD_REQUEST, "Invalid value specified for 'snapshot'")),
    };
    if hub.stats().subscribers >= STREAMS_MAX {
        return Err((StatusCode::TOO_MANY_REQUESTS, "Too many active streams"));
    }
    let (outlet, response) = streamed("application/octet-stream");
    // Counted before the answer, so that no two requests take the same place.
    let source = hub.source();
    let hub = hub.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = session(&hub, source, &outlet, &wanted, snapshot, times) => {}
            () = outlet.closed() => {}
            () = hub.until_old(0) => {}
            () = hub.until_cut() => {}
        }
    });
    Ok(response)
}

async fn session(
    hub: &Hub,
    mut source: Source,
    outlet: &Outlet,
    wanted: &[usize],
    snapshot: bool,
    times: Times,
) -> Result<(), Gone> {
    let mut heartbeat = hub.heartbeat(HEARTBEAT_S);
    let lines = |events: &[Event]| {
        let mut text = String::new();
        for event in events {
            if let Event::Quote(quote) = event {
                text.push_str(&price(quote, &hub.symbols[quote.symbol], times));
                text.push('\n');
            }
        }
        text
    };
    let known: Vec<Event> = wanted.iter().filter_map(|at| hub.last(*at)).map(Event::Quote).collect();
    if snapshot && !known.is_empty() {
        outlet.send(lines(&known)).await?;
        hub.count(&known);
    }
    hub.subscribed(|symbol| wanted.contains(&symbol));
    loop {
        tokio::select! {
            _ = heartbeat.tick() => {
                let now = times.write(clock::now_ns());
                outlet.send(format!("{{\"type\":\"HEARTBEAT\",\"time\":\"{now}\"}}\n")).await?;
            }
            batch = source.next(|e| matches!(e, Event::Quote(_)) && wanted.contains(&e.symbol())) => {
                outlet.send(lines(&batch.events)).await?;
                source.sent(&batch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::Size;

    #[test]
    fn prices_are_written_as_documented() {
        let p = |text: &str| text.parse::<Price>().unwrap();
        let size = Size::from_e8(1).unwrap();
        let event_ns = 1_603_486_922_692_522_548;
        let quote = Quote {
            symbol: 0,
            event_ns,
            bid: p("1.1857"),
            ask: p("1.18671"),
            bid_size: size,
            ask_size: size,
            update_id: 0,
        };
        let line = price(&quote, &Symbol::named("EURUSD"), Times::Rfc3339);
        assert_eq!(
            line,
            r#"{"type":"PRICE","time":"2020-10-23T21:02:02.692522548Z","bids":[{"price":"1.18570","liquidity":10000000},{"price":"1.18568","liquidity":10000000}],"asks":[{"price":"1.18671","liquidity":10000000},{"price":"1.18673","liquidity":10000000}],"closeoutBid":"1.18566","closeoutAsk":"1.18675","status":"tradeable","tradeable":true,"instrument":"EUR_USD"}"#
        );
        let unix = price(&quote, &Symbol::named("EURUSD"), Times::Unix);
        assert!(unix.contains(r#""time":"1603486922.692522548""#), "{unix}");
    }
}
