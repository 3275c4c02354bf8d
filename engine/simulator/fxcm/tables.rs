//! The venue's tables and past candles. The account is short of 2,000 units of its first pair that is quoted in dollars.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Refusal;
use crate::clock;
use crate::simulator::http::value;
use crate::simulator::hub::Hub;
use crate::simulator::past::{Admission, Candle, Cut, Length};
use crate::simulator::stamp::ServerTime;
use crate::simulator::symbols::Symbol;

/// Candles of one reply.
const CANDLES_MAX: usize = 10_000;

const ACCOUNT: &str = "1027808";
const BALANCE_E9: i64 = 50_000_000_000_000;
const UNITS: i64 = 2_000;
/// What is tied up for each thousand units.
const MARGIN_PER_THOUSAND_E9: i64 = 26_000_000_000;

/// A number as the venue writes it, by way of a double.
fn number(e9: i64) -> Value {
    json!(e9 as f64 / 1e9)
}

pub(super) fn instruments(hub: &Hub) -> Value {
    let one =
        |(at, symbol): (usize, &Symbol)| json!({ "symbol": symbol.pair_name('/'), "visible": true, "order": at + 1 });
    json!({ "data": { "instrument": hub.symbols.iter().enumerate().map(one).collect::<Vec<_>>() } })
}

/// The tables that a query names.
pub(super) fn models(hub: &Hub, query: &[(String, String)]) -> Result<Value, Refusal> {
    let mut answer = json!({});
    for (_, model) in query.iter().filter(|(key, _)| key == "models") {
        let (name, rows) = match model.as_str() {
            "Offer" => ("offers", hub.symbols.iter().enumerate().map(|(at, symbol)| offer(hub, at, symbol)).collect()),
            "Account" => ("accounts", vec![account(hub)]),
            "OpenPosition" => ("open_positions", position(hub).into_iter().collect()),
            "ClosedPosition" => ("closed_positions", vec![]),
            "Order" => ("orders", vec![]),
            "Summary" => ("summary", vec![]),
            "Properties" => ("properties", vec![]),
            "LeverageProfile" => ("leverage_profile", vec![]),
            other => return Err(Refusal(format!("Unknown model {other}"))),
        };
        answer[name] = Value::Array(rows);
    }
    Ok(answer)
}

fn offer(hub: &Hub, at: usize, symbol: &Symbol) -> Value {
    let (sell, buy) = hub.last(at).map_or((symbol.anchor_e9, symbol.anchor_e9), |q| (q.bid.e9(), q.ask.e9()));
    json!({ "t": 0, "ratePrecision": symbol.digits, "offerId": at + 1, "currency": symbol.pair_name('/'),
        "instrumentType": 1, "sell": number(sell), "buy": number(buy), "fractionDigits": symbol.digits })
}

/// What is open: its symbol, what it could be closed at, and its profit.
fn held(hub: &Hub) -> Option<(&Symbol, i64, i64)> {
    let at = hub.find(|symbol| symbol.name.ends_with("USD") && !symbol.crypto)?;
    let symbol = &hub.symbols[at];
    let close_e9 = hub.last(at).map_or(symbol.anchor_e9, |quote| quote.ask.e9());
    Some((symbol, close_e9, (symbol.anchor_e9 - close_e9) * UNITS))
}

fn account(hub: &Hub) -> Value {
    let (profit, margin) = held(hub).map_or((0, 0), |(.., profit)| (profit, MARGIN_PER_THOUSAND_E9 * UNITS / 1_000));
    json!({ "t": 6, "ratePrecision": 0, "accountId": ACCOUNT, "accountName": format!("0{ACCOUNT}"), "mc": "N",
        "hedging": "N", "balance": number(BALANCE_E9), "equity": number(BALANCE_E9 + profit), "usdMr": number(margin),
        "usableMargin": number(BALANCE_E9 + profit - margin), "grossPL": number(profit), "dayPL": number(profit) })
}

fn position(hub: &Hub) -> Option<Value> {
    let (symbol, close_e9, profit_e9) = held(hub)?;
    Some(json!({ "t": 1, "ratePrecision": symbol.digits, "tradeId": "122743073", "accountId": ACCOUNT,
        "accountName": format!("0{ACCOUNT}"), "currency": symbol.pair_name('/'), "isBuy": false,
        "amountK": UNITS / 1_000, "open": number(symbol.anchor_e9), "close": number(close_e9),
        "grossPL": number(profit_e9) }))
}

pub(super) fn candles(hub: &Hub, offer: &str, period: &str, query: &[(String, String)]) -> Result<Value, Refusal> {
    let wrong = |words: &str| Err(Refusal(words.into()));
    if !matches!(hub.admit(Instant::now()), Admission::Admitted(_)) {
        return wrong("ORA-20301: Too many requests");
    }
    let symbol = offer.parse::<usize>().ok().and_then(|id| hub.symbols.get(id.checked_sub(1)?));
    let (Some(symbol), Some(cut)) = (symbol, cut(period)) else { return wrong("Unknown offer or period") };
    let whole = |key: &str| value(query, key).map(str::parse::<i64>).transpose();
    let (Ok(Some(num @ 1..=10_000)), Ok(from), Ok(to)) = (whole("num"), whole("from"), whole("to")) else {
        return wrong("Parameter num should be between 1 and 10000");
    };
    let now_ns = clock::now_ns();
    let spans: Vec<(i64, i64)> = match from.zip(to) {
        // Both ends are part of it.
        Some((from, to)) => {
            cut.bars(from * 1_000_000_000, (to * 1_000_000_000 + 1).min(now_ns)).take(CANDLES_MAX).collect()
        }
        None => {
            let last = cut.around(now_ns);
            let mut spans: Vec<_> = std::iter::successors(Some(last), |span| Some(cut.around(span.0 - 1)))
                .take(usize::try_from(num).unwrap_or(0))
                .collect();
            spans.reverse();
            spans
        }
    };
    let shown = spans.iter().filter_map(|(from, to)| hub.past.candle(symbol, *from, (*to).min(now_ns)));
    let rows: Vec<Value> = shown.map(|candle| row(hub, symbol, &candle)).collect();
    hub.showed_bars(rows.len() as u64);
    Ok(json!({ "instrument_id": offer, "period_id": period, "candles": rows }))
}

/// Time in seconds; open, close, high and low of bid and ask; ticks.
fn row(hub: &Hub, symbol: &Symbol, candle: &Candle) -> Value {
    let spread = ((symbol.spread_points as f64 * hub.config.spread) as i64).max(1);
    let side = |points: i64| {
        let moved = points * symbol.point_e9();
        [candle.open, candle.close, candle.high, candle.low].map(|e9| number(e9 + moved))
    };
    let mut row = vec![json!(candle.open_ns.div_euclid(1_000_000_000))];
    row.extend(side(-(spread / 2)).into_iter().chain(side(spread - spread / 2)));
    row.push(json!(candle.ticks));
    Value::Array(row)
}

fn cut(period: &str) -> Option<Cut> {
    let length = match period {
        "D1" => Length::Minutes(1_440),
        // Weeks begin on the clock whose midnight is 17:00 in New York.
        "W1" => Length::Week(0),
        "M1" => Length::Month,
        "m1" | "m5" | "m15" | "m30" => Length::Minutes(period[1..].parse().ok()?),
        "H1" | "H2" | "H3" | "H4" | "H6" | "H8" => Length::Minutes(60 * period[1..].parse::<i64>().ok()?),
        _ => return None,
    };
    Some(Cut { rule: ServerTime::NewYorkClose, length })
}
