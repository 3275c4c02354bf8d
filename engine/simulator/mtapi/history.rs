//! `/PriceHistory`: bars of the bid on the broker's clock. As clients have seen it, rows are not in order and hold the bar
//! that forms. `/PriceHistoryEx` counts back from `from`, which is our reading: the vendor shows its parameters alone.

use std::fmt::Write as _;

use hyper::{Response, StatusCode};
use tokio::time::Instant;

use super::{Refusal, named, server_time};
use crate::clock;
use crate::market::Price;
use crate::simulator::Server;
use crate::simulator::http::{Body, reply, value};
use crate::simulator::past::{Admission, Cut, Length};
use crate::simulator::stamp;

/// Bars of one reply; the vendor documents no limit.
const BARS_MAX: usize = 10_000;

pub(super) fn between(server: &Server, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let (cut, from_ns) = asked(server, query)?;
    let to_ns = time(server, query, "to")?;
    rows(server, query, cut.bars(from_ns, to_ns.min(clock::now_ns())).take(BARS_MAX).collect())
}

pub(super) fn last(server: &Server, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    let (cut, from_ns) = asked(server, query)?;
    let count = value(query, "numBars").and_then(|n| n.parse().ok()).ok_or_else(|| bad("numBars"))?;
    let mut spans = vec![cut.around(from_ns.min(clock::now_ns()))];
    while spans.len() < usize::min(count, BARS_MAX) {
        let earlier = spans.last().map_or(from_ns, |span| span.0);
        spans.push(cut.around(earlier - 1));
    }
    spans.reverse();
    rows(server, query, spans)
}

fn bad(key: &str) -> Refusal {
    ("INVALID_PARAMETER", format!("Parameter {key} is missing or wrong"))
}

fn time(server: &Server, query: &[(String, String)], key: &str) -> Result<i64, Refusal> {
    let wall = value(query, key).and_then(stamp::parse).ok_or_else(|| bad(key))?;
    let rule = server_time(&server.hub);
    let near = wall - rule.offset_ns(wall);
    Ok(wall - rule.offset_ns(near))
}

fn asked(server: &Server, query: &[(String, String)]) -> Result<(Cut, i64), Refusal> {
    if !matches!(server.hub.admit(Instant::now()), Admission::Admitted(_)) {
        return Err(("TOO_FREQUENT_REQUEST", "Too frequent requests".into()));
    }
    let length = match value(query, "timeFrame") {
        Some("10080") => Length::Week(0),
        Some("43200") => Length::Month,
        Some(text @ ("1" | "5" | "15" | "30" | "60" | "240" | "1440")) => Length::Minutes(text.parse().unwrap_or(1)),
        _ => return Err(bad("timeFrame")),
    };
    Ok((Cut { rule: server_time(&server.hub), length }, time(server, query, "from")?))
}

fn rows(server: &Server, query: &[(String, String)], spans: Vec<(i64, i64)>) -> Result<Response<Body>, Refusal> {
    let hub = &server.hub;
    let symbol = &hub.symbols[*named(hub, query)?.first().unwrap_or(&0)];
    let (now_ns, rule) = (clock::now_ns(), server_time(hub));
    let spread = ((symbol.spread_points as f64 * hub.config.spread) as i64).max(1);
    let price =
        |e9: i64| Price::from_e9(e9 - spread / 2 * symbol.point_e9()).map_or_else(String::new, |p| p.to_string());
    let candles = spans.into_iter().rev().filter_map(|(from, to)| hub.past.candle(symbol, from, to.min(now_ns)));
    let mut text = String::from("[");
    let mut shown = 0;
    for candle in candles {
        let comma = if shown == 0 { "" } else { "," };
        let time = stamp::wall_clock(candle.open_ns, rule);
        let _ = write!(
            text,
            "{comma}{{\"time\":\"{}\",\"openPrice\":{},\"highPrice\":{},\"lowPrice\":{},\"closePrice\":{},\
             \"tickVolume\":{},\"spread\":{spread},\"volume\":0}}",
            time.trim_end_matches(".000"),
            price(candle.open),
            price(candle.high),
            price(candle.low),
            price(candle.close),
            candle.ticks
        );
        shown += 1;
    }
    text.push(']');
    hub.showed_bars(shown);
    Ok(reply(StatusCode::OK, "application/json", text))
}
