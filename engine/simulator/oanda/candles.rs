//! `/v3/instruments/{instrument}/candles` (and below an account) as OANDA documents it. Not simulated: granularities below
//! a minute, smoothing, `units`, and other alignments than New York's 17:00 and midnight UTC.

use std::fmt::Write as _;

use hyper::{Response, StatusCode};

use super::{Refusal, Times};
use crate::clock;
use crate::market::Price;
use crate::simulator::http::{Body, reply, value};
use crate::simulator::hub::Hub;
use crate::simulator::past::{Candle, Cut, Length};
use crate::simulator::stamp::{self, ServerTime};
use crate::simulator::symbols::{Symbol, fixed};

/// Candles of one reply, and of one that did not ask for a number.
const COUNT_MAX: usize = 5_000;
const COUNT: usize = 500;

/// Which prices a candle shows, in the order of the wire.
const PRICES: [(char, &str); 3] = [('B', "bid"), ('M', "mid"), ('A', "ask")];

pub(super) fn candles(
    hub: &Hub,
    name: &str,
    query: &[(String, String)],
    times: Times,
) -> Result<Response<Body>, Refusal> {
    let wrong = |words| (StatusCode::BAD_REQUEST, words);
    let symbol = hub.find(|symbol| symbol.oanda_name() == name);
    let symbol = &hub.symbols[symbol.ok_or(wrong("Invalid value specified for 'instrument'"))?];
    let prices = value(query, "price").unwrap_or("M");
    if prices.is_empty() || !prices.chars().all(|c| PRICES.iter().any(|(known, _)| *known == c)) {
        return Err(wrong("Invalid value specified for 'price'"));
    }
    let granularity = value(query, "granularity").unwrap_or("S5");
    let cut = cut(granularity, query)?;
    let now_ns = clock::now_ns();
    let spans = spans(query, cut, now_ns)?;
    let mut text = format!("{{\"instrument\":\"{name}\",\"granularity\":\"{granularity}\",\"candles\":[");
    let mut first = true;
    let mut shown = 0;
    for (from_ns, to_ns) in spans {
        let Some(candle) = hub.past.candle(symbol, from_ns, to_ns.min(now_ns)) else { continue };
        if !std::mem::replace(&mut first, false) {
            text.push(',');
        }
        write(&mut text, &candle, to_ns <= now_ns, symbol, prices, (times, hub.config.spread));
        shown += 1;
    }
    text.push_str("]}");
    hub.showed_bars(shown);
    Ok(reply(StatusCode::OK, "application/json", text))
}

fn cut(granularity: &str, query: &[(String, String)]) -> Result<Cut, Refusal> {
    let wrong = |words| Err((StatusCode::BAD_REQUEST, words));
    let zone = (
        value(query, "dailyAlignment").unwrap_or("17"),
        value(query, "alignmentTimezone").unwrap_or("America/New_York"),
    );
    let rule = match zone {
        ("17", "America/New_York") => ServerTime::NewYorkClose,
        ("0", "UTC") => ServerTime::Fixed(0),
        _ => return wrong("Invalid value specified for 'dailyAlignment'"),
    };
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let weekly = value(query, "weeklyAlignment").unwrap_or("Friday");
    let Some(weekday) = DAYS.iter().position(|day| *day == weekly) else {
        return wrong("Invalid value specified for 'weeklyAlignment'");
    };
    // On the clock whose midnight is 17:00, the week that begins on Sunday evening begins on Monday.
    let shift = i64::from(rule == ServerTime::NewYorkClose);
    let length = match granularity {
        "D" => Length::Minutes(1_440),
        "W" => Length::Week((weekday as i64 + shift) % 7),
        "M" => Length::Month,
        _ => {
            let known = ["M1", "M2", "M4", "M5", "M10", "M15", "M30", "H1", "H2", "H3", "H4", "H6", "H8", "H12"];
            match granularity.split_at_checked(1).and_then(|(unit, n)| Some((unit, n.parse::<i64>().ok()?))) {
                Some((unit, n)) if known.contains(&granularity) => {
                    Length::Minutes(if unit == "H" { 60 * n } else { n })
                }
                _ => return wrong("Invalid value specified for 'granularity'"),
            }
        }
    };
    Ok(Cut { rule, length })
}

/// Which candles were asked for.
fn spans(query: &[(String, String)], cut: Cut, now_ns: i64) -> Result<Vec<(i64, i64)>, Refusal> {
    let wrong = |words| (StatusCode::BAD_REQUEST, words);
    let time = |key: &'static str, words: &'static str| match value(query, key) {
        None => Ok(None),
        Some(text) => stamp::parse(text).map(Some).ok_or(wrong(words)),
    };
    let from = time("from", "Invalid value specified for 'from'")?;
    let to = time("to", "Invalid value specified for 'to'")?;
    if to.is_some_and(|to| to > now_ns) {
        return Err(wrong("Invalid value specified for 'to'. Time is in the future"));
    }
    let count = match value(query, "count").map(str::parse::<usize>) {
        None => None,
        Some(Ok(count)) if count > COUNT_MAX => return Err(wrong("Maximum value for 'count' exceeded")),
        Some(Ok(count)) if count > 0 => Some(count),
        Some(_) => return Err(wrong("Invalid value specified for 'count'")),
    };
    let included = |(at, _): &(i64, i64)| value(query, "includeFirst") != Some("false") || Some(*at) != from;
    let spans: Vec<_> = match (from, to, count) {
        (Some(_), Some(_), Some(_)) => return Err(wrong("'count' cannot be specified when 'to' and 'from' are set")),
        (Some(from), Some(to), None) => {
            if from >= to {
                return Err(wrong("Invalid value specified for 'from'. Time is not before 'to'"));
            }
            let spans: Vec<_> = cut.bars(from, to).take(COUNT_MAX + 1).collect();
            if spans.len() > COUNT_MAX {
                return Err(wrong("Maximum value for 'count' exceeded"));
            }
            spans
        }
        (Some(from), None, count) => cut.bars(from, now_ns).take(count.unwrap_or(COUNT)).collect(),
        (None, to, count) => {
            let mut last = cut.around(to.unwrap_or(now_ns) - 1);
            let mut spans = Vec::new();
            while spans.len() < count.unwrap_or(COUNT) {
                spans.push(last);
                last = cut.around(last.0 - 1);
            }
            spans.reverse();
            spans
        }
    };
    Ok(spans.into_iter().filter(included).collect())
}

fn write(
    text: &mut String,
    candle: &Candle,
    complete: bool,
    symbol: &Symbol,
    prices: &str,
    (times, spread): (Times, f64),
) {
    let time = times.write(candle.open_ns);
    let _ = write!(text, "{{\"complete\":{complete},\"volume\":{},\"time\":\"{time}\"", candle.ticks);
    let spread = ((symbol.spread_points as f64 * spread) as i64).max(1);
    for (_, side) in PRICES.iter().filter(|(letter, _)| prices.contains(*letter)) {
        let points = match *side {
            "bid" => -(spread / 2),
            "ask" => spread - spread / 2,
            _ => 0,
        };
        let price = |e9| price(e9 + points * symbol.point_e9(), symbol);
        let (o, h, l, c) = (price(candle.open), price(candle.high), price(candle.low), price(candle.close));
        let _ = write!(text, ",\"{side}\":{{\"o\":\"{o}\",\"h\":\"{h}\",\"l\":\"{l}\",\"c\":\"{c}\"}}");
    }
    text.push('}');
}

fn price(e9: i64, symbol: &Symbol) -> String {
    // The model's prices lie between half and double the usual one.
    Price::from_e9(e9).map_or_else(String::new, |price| fixed(price, symbol.digits))
}
