//! DWX: an expert adviser's three ZeroMQ sockets. Commands come to the first, a PULL socket; their answers, texts of Python
//! dictionaries, go to those who listen to its PUSH socket; prices of all symbols that were last asked for are published,
//! six decimals, only when one of them has changed. Bars are not published (`TRACK_RATES`), and no order is taken.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::Server;
use super::event::Quote;
use super::hub::Hub;
use super::past::Length;
use super::stamp;
use super::zmq;
use crate::feeds::zmq::Kind;
use crate::market::Price;

/// Serves one client of the port of commands.
pub(super) async fn commands(server: Arc<Server>, stream: TcpStream) {
    zmq::commands(server, stream, Kind::Pull, |server, command| {
        if let Some(answer) = obey(server, &String::from_utf8_lossy(command)) {
            server.desk.answer(answer);
        }
        None
    })
    .await;
}

/// Serves one client of the port of prices.
pub(super) async fn prices(server: Arc<Server>, stream: TcpStream) {
    let mut last = vec![String::new(); server.hub.symbols.len()];
    let topic = |name: &str| format!("{name}:|:");
    let say = move |hub: &Hub, quote: &Quote| {
        let text = line(quote, &hub.symbols[quote.symbol].name);
        let last = last.get_mut(quote.symbol)?;
        (*last != text).then(|| last.clone_from(&text)).map(|()| text)
    };
    zmq::prices(server, stream, Kind::Pub, topic, say).await;
}

/// `%f`: six decimals, cut and not rounded here.
fn six(price: Price) -> String {
    let (sign, e6) = (if price.e9() < 0 { "-" } else { "" }, price.e9().unsigned_abs() / 1_000);
    format!("{sign}{}.{:06}", e6 / 1_000_000, e6 % 1_000_000)
}

fn line(quote: &Quote, name: &str) -> String {
    format!("{name}:|:{};{}", six(quote.bid), six(quote.ask))
}

/// Obeys a command, and gives the answer to it; there is none to what is not understood.
fn obey(server: &Server, command: &str) -> Option<String> {
    let fields: Vec<&str> = command.split(';').collect();
    Some(match fields.as_slice() {
        ["HEARTBEAT", ..] => "{'_action': 'heartbeat', '_response': 'loud and clear!'}".to_string(),
        ["TRACK_PRICES", names @ ..] => track(server, names),
        ["HIST", symbol, length, from, to] => return history(server, symbol, length, from, to),
        ["TRADE", "GET_ACCOUNT_INFO", ..] => ACCOUNT.to_string(),
        ["TRADE", "GET_OPEN_TRADES", ..] => "{'_action': 'OPEN_TRADES', '_trades': {}}".to_string(),
        ["TRADE", ..] => aborted("TRADING_IS_NOT_ALLOWED"),
        _ => return None,
    })
}

const ACCOUNT: &str = "{'_action': 'GET_ACCOUNT_INFORMATION', 'account_number':77, '_data': [{'currenttime': \
    '2024.05.17 10:15', 'account_name':'Demo', 'account_balance':10000.00000000, 'account_equity':10000.00000000, \
    'account_profit':0.00000000, 'account_free_margin':10000.00000000, 'account_leverage' :100}]}";

fn aborted(why: &str) -> String {
    format!("{{'_response': '{why}__ABORTED_COMMAND'}}")
}

fn track(server: &Server, names: &[&str]) -> String {
    let symbols = &server.hub.symbols;
    let (mut tracked, mut errors) = (vec![0; symbols.len()], Vec::new());
    for name in names {
        match server.hub.find(|symbol| symbol.name == *name) {
            Some(at) => tracked[at] = 1,
            None => errors.push(format!("'{name}'")),
        }
    }
    server.desk.track(symbols.len(), |tracks| tracks.copy_from_slice(&tracked));
    if names.is_empty() {
        return "{'_action': 'TRACK_PRICES', '_data': {'symbol_count': 0}}".to_string();
    }
    let (count, errors) = (names.len(), errors.join(", "));
    format!("{{'_action': 'TRACK_PRICES', '_data': {{'symbol_count':{count}, 'error_symbols':[{errors}]}}}}")
}

fn history(server: &Server, symbol: &str, length: &str, from: &str, to: &str) -> Option<String> {
    if !zmq::admits(&server.hub) {
        return Some(aborted("TRADE_CONTEXT_BUSY"));
    }
    let (word, bars) = match length {
        "1" => ("M1", Length::Minutes(1)),
        "5" => ("M5", Length::Minutes(5)),
        "15" => ("M15", Length::Minutes(15)),
        "30" => ("M30", Length::Minutes(30)),
        "60" => ("H1", Length::Minutes(60)),
        "240" => ("H4", Length::Minutes(240)),
        "1440" => ("D1", Length::Minutes(1_440)),
        "10080" => ("W1", Length::Week(0)),
        "43200" => ("MN1", Length::Month),
        _ => return None,
    };
    // `2019.01.04 17:00:00`, on the broker's clock.
    let time = |text: &str| stamp::parse(&text.replace('.', "-").replace(' ', "T"));
    let hub = &server.hub;
    let known = hub.find(|known| known.name == symbol);
    let rows = known.map(|at| zmq::bars(hub, at, bars, time(from).unwrap_or(0), time(to).unwrap_or(0)));
    let rows = rows.unwrap_or_default();
    hub.showed_bars(rows.len() as u64);
    if rows.is_empty() {
        return Some(format!("{{'_action': 'HIST', '_symbol': '{symbol}_{word}', '_response': 'NOT_AVAILABLE'}}"));
    }
    let mut text = format!("{{'_action': 'HIST', '_symbol': '{symbol}_{word}', '_data': [");
    for (at, row) in rows.iter().enumerate() {
        let time = stamp::rfc3339(row.open_ns).replacen('-', ".", 2).replace('T', " ");
        let price = |e9: i64| format!("{}.{:08}", e9 / 1_000_000_000, e9 % 1_000_000_000 / 10);
        let _ = write!(
            text,
            "{}{{'time':'{}', 'open':{}, 'high':{}, 'low':{}, 'close':{}, 'tick_volume':{}, 'spread':0, 'real_volume':0}}",
            if at == 0 { "" } else { ", " },
            &time[..16],
            price(row.open),
            price(row.high),
            price(row.low),
            price(row.close),
            row.ticks
        );
    }
    Some(text + "]}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::Size;

    #[test]
    fn prices_are_written_as_documented() {
        let size = Size::from_e8(1).unwrap();
        let (bid, ask) = ("1.08515".parse().unwrap(), "1.08521".parse().unwrap());
        let quote = Quote { symbol: 0, event_ns: 0, bid, ask, bid_size: size, ask_size: size, update_id: 0 };
        assert_eq!(line(&quote, "EURUSD"), "EURUSD:|:1.085150;1.085210");
        assert_eq!(six("-0.5".parse().unwrap()), "-0.500000");
    }
}
