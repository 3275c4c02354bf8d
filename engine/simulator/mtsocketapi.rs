//! MTsocketAPI: an expert adviser's two ports. Commands are JSON lines on the first and are answered there; the prices of
//! all symbols that were last asked for come on the second, to everyone who is connected to it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::watch;

use super::Server;
use super::event::{Event, Quote};
use super::stamp::{self, ServerTime};
use super::symbols::Symbol;

/// Nothing that a client says to it is longer.
const LINE_BYTES: u64 = 64 * 1024;

/// MetaTrader's numbers: an unknown symbol, and something that cannot be done.
const UNKNOWN_SYMBOL: i64 = 4_301;
const WRONG_COMMAND: i64 = 4_003;

/// The symbols that are tracked: one list, whoever asked last.
#[derive(Debug)]
pub(super) struct Tracks(watch::Sender<Vec<bool>>);

impl Default for Tracks {
    fn default() -> Self {
        Tracks(watch::Sender::new(Vec::new()))
    }
}

/// Serves one client of the command port.
pub(super) async fn commands(server: Arc<Server>, stream: TcpStream) {
    let (reader, mut writer) = stream.into_split();
    let answer = async {
        let mut lines: Lines<_> = BufReader::new(reader.take(LINE_BYTES)).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let text = format!("{}\r\n", command(&server, &line));
            if writer.write_all(text.as_bytes()).await.is_err() {
                return;
            }
            // The limit is on a line, not on all of them.
            lines.get_mut().get_mut().set_limit(LINE_BYTES);
        }
    };
    tokio::select! {
        () = answer => {}
        () = server.hub.until_cut() => {}
    }
}

/// Obeys a command and gives the answer to it.
fn command(server: &Server, line: &str) -> Value {
    let answer =
        |name: &Value, number: i64, words: &str| json!({"MSG": name, "ERROR_ID": number, "ERROR_DESCRIPTION": words});
    let done = "The operation completed successfully";
    let Ok(request) = serde_json::from_str::<Value>(line) else {
        return answer(&Value::Null, WRONG_COMMAND, "Wrong JSON");
    };
    let name = &request["MSG"];
    match name.as_str() {
        Some("PING") => answer(name, 0, done),
        Some("TRACK_PRICES") => {
            let mut tracked = vec![false; server.hub.symbols.len()];
            for symbol in request["SYMBOLS"].as_array().into_iter().flatten() {
                match server.hub.find(|known| symbol.as_str() == Some(&known.name)) {
                    Some(at) => tracked[at] = true,
                    None => return answer(name, UNKNOWN_SYMBOL, &format!("Unknown symbol {symbol}")),
                }
            }
            server.tracks.0.send_replace(tracked);
            answer(name, 0, done)
        }
        _ => answer(name, WRONG_COMMAND, "Wrong command"),
    }
}

/// Serves one client of the data port.
pub(super) async fn prices(server: Arc<Server>, stream: TcpStream) {
    // Prices are small and urgent.
    let _ = stream.set_nodelay(true);
    tokio::select! {
        // The client is gone.
        _ = session(&server, stream) => {}
        () = server.hub.until_old(0) => {}
        () = server.hub.until_cut() => {}
    }
}

async fn session(server: &Server, stream: TcpStream) -> Option<()> {
    let (hub, mut tracks) = (&server.hub, server.tracks.0.subscribe());
    let (mut reader, mut writer) = stream.into_split();
    let (mut source, rule) = (hub.source(), ServerTime::parse(&hub.config.server_time)?);
    loop {
        let tracked = tracks.borrow_and_update().clone();
        let wants = |symbol: usize| tracked.get(symbol).copied().unwrap_or(false);
        hub.subscribed(wants);
        tokio::select! {
            changed = tracks.changed() => changed.ok()?,
            () = gone(&mut reader) => return None,
            batch = source.next(|event| matches!(event, Event::Quote(_)) && wants(event.symbol())) => {
                let quotes = batch.events.iter().filter_map(|event| match event {
                    Event::Quote(quote) => Some(line(quote, &hub.symbols[quote.symbol], rule)),
                    _ => None,
                });
                writer.write_all(quotes.collect::<String>().as_bytes()).await.ok()?;
                source.sent(&batch);
            }
        }
    }
}

/// Returns when the client has closed; what it says is passed over.
async fn gone(reader: &mut OwnedReadHalf) {
    let mut words = [0; 256];
    while matches!(reader.read(&mut words).await, Ok(1..)) {}
}

/// A quote as documented: numbers without trailing zeros, the broker's wall clock with dots in its date.
fn line(quote: &Quote, symbol: &Symbol, rule: ServerTime) -> String {
    let time = stamp::wall_clock(quote.event_ns, rule).replacen('-', ".", 2).replace('T', " ");
    let (name, bid, ask) = (&symbol.name, quote.bid, quote.ask);
    format!(
        "{{\"MSG\":\"QUOTE\",\"SYMBOL\":\"{name}\",\"ASK\":{ask},\"BID\":{bid},\"FLAGS\":6,\"TIME\":\"{time}\",\"VOLUME\":0}}\r\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::Size;

    #[test]
    fn quotes_are_written_as_documented() {
        let size = Size::from_e8(1).unwrap();
        let (bid, ask) = ("1.08515".parse().unwrap(), "1.08521".parse().unwrap());
        // 10:15:30.123 on the wall of a server three hours ahead of UTC.
        let event_ns = 1_715_930_130_123_000_000;
        let quote = Quote { symbol: 0, event_ns, bid, ask, bid_size: size, ask_size: size, update_id: 0 };
        assert_eq!(
            line(&quote, &Symbol::named("EURUSD"), ServerTime::NewYorkClose),
            "{\"MSG\":\"QUOTE\",\"SYMBOL\":\"EURUSD\",\"ASK\":1.08521,\"BID\":1.08515,\"FLAGS\":6,\"TIME\":\"2024.05.17 10:15:30.123\",\"VOLUME\":0}\r\n"
        );
    }
}
