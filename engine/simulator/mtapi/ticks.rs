//! `/TickHistoryRequest` and `/OnTickHistory`: the ticks of a day of the broker, four for each minute that is traded: its
//! open, high, low and close. A day without ticks is a message without any; other days come in several.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hyper::Response;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::{Login, Refusal, named, ok, server_time};
use crate::clock;
use crate::market::Price;
use crate::simulator::Server;
use crate::simulator::http::{Body, WebSocket, value};
use crate::simulator::past::{Admission, Cut, Length, MINUTE_NS};
use crate::simulator::stamp::{self, day_number};

/// Days of one login that are asked for and not told yet.
pub(super) const DAYS_MAX: usize = 16;

/// Ticks of one message.
const TICKS_PER_MESSAGE: usize = 2_000;

/// A symbol and a day, counted from 1970 on the broker's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Day {
    symbol: usize,
    number: i64,
}

pub(super) fn ask(server: &Server, login: &Login, query: &[(String, String)]) -> Result<Response<Body>, Refusal> {
    if !matches!(server.hub.admit(Instant::now()), Admission::Admitted(_)) {
        return Err(("TOO_FREQUENT_REQUEST", "Too frequent requests".into()));
    }
    let symbol = *named(&server.hub, query)?.first().unwrap_or(&0);
    let number = |key: &str, most: i64| {
        let number = value(query, key).and_then(|n| n.parse::<i64>().ok()).filter(|n| (1..=most).contains(n));
        number.ok_or_else(|| ("INVALID_PARAMETER", format!("Parameter {key} is missing or wrong")))
    };
    let number = day_number(number("startYear", 2_200)?, number("startMonth", 12)?, number("startDay", 31)?);
    // Without a socket nobody hears of it.
    let _ = login.days.send(Day { symbol, number });
    Ok(ok())
}

pub(super) async fn tell(server: Arc<Server>, login: Arc<Login>, mut socket: WebSocket) {
    let mut days = login.days.subscribe();
    let told = async {
        loop {
            tokio::select! {
                frame = socket.next() => match frame?.ok()? {
                    Frame::Close(_) => return None::<()>,
                    _ => socket.flush().await.ok()?,
                },
                day = days.recv() => match day {
                    Ok(day) => {
                        for text in messages(&server, day) {
                            socket.feed(Frame::text(text)).await.ok()?;
                        }
                        socket.flush().await.ok()?;
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    };
    tokio::select! {
        _ = told => {}
        () = server.hub.until_cut() => {}
    }
}

fn messages(server: &Server, day: Day) -> Vec<String> {
    let (hub, symbol) = (&server.hub, &server.hub.symbols[day.symbol]);
    let (rule, now_ns) = (server_time(hub), clock::now_ns());
    let noon_ns = (day.number * 1_440 + 720) * MINUTE_NS;
    let (from_ns, to_ns) = Cut { rule, length: Length::Minutes(1_440) }.around(noon_ns - rule.offset_ns(noon_ns));
    let spread = ((symbol.spread_points as f64 * hub.config.spread) as i64).max(1);
    let price = |e9: i64| Price::from_e9(e9).map_or_else(String::new, |price| price.to_string());
    let mut rows = Vec::new();
    // The minute that is not over has no close.
    for minute in (from_ns..to_ns.min(now_ns - MINUTE_NS + 1)).step_by(MINUTE_NS as usize) {
        let Some(candle) = hub.past.candle(symbol, minute, minute + MINUTE_NS) else { continue };
        for (nth, e9) in (0..).zip([candle.open, candle.high, candle.low, candle.close]) {
            let time = stamp::wall_clock(minute + nth * 15_250_000_000, rule);
            let bid = e9 - spread / 2 * symbol.point_e9();
            let (bid, ask) = (price(bid), price(bid + spread * symbol.point_e9()));
            rows.push(format!("{{\"time\":\"{time}\",\"bid\":{bid},\"ask\":{ask},\"last\":0,\"volume\":0}}"));
        }
    }
    hub.showed_ticks(rows.len() as u64);
    let message = |rows: &[String]| {
        let mut text = String::new();
        let _ = write!(text, "{{\"symbol\":\"{}\",\"bars\":[{}]}}", symbol.name, rows.join(","));
        text
    };
    if rows.is_empty() { vec![message(&[])] } else { rows.chunks(TICKS_PER_MESSAGE).map(message).collect() }
}
