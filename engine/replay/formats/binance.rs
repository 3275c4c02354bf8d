//! Captures of Binance's combined stream: `<receive ns> <message as received>`, a line each.
//!
//! The recorder's stamp is the time of receipt and the order of the file; the message's own is the source's. Messages
//! other than `bookTicker` and `trade`, and those of other symbols, are left out.

use super::{Lines, Names, whole};
use crate::feeds::adapters::Decoder;
use crate::feeds::adapters::binance::BinanceDecoder;
use crate::feeds::event::{Event, Reject, Symbols};
use crate::market::Input;

/// The decoder.
pub struct Binance {
    symbols: Symbols,
}

impl Binance {
    pub(super) fn new(names: Names, symbol: &str) -> Binance {
        Binance { symbols: Symbols::new(names.source, [(symbol.to_string(), names.instrument)]) }
    }
}

impl Lines for Binance {
    fn line(&mut self, line: &[u8], out: &mut Vec<Input>) -> Result<(), String> {
        let expected = "expected receive nanoseconds, a space and a message";
        let space = memchr::memchr(b' ', line).ok_or(expected)?;
        let at_ns = whole(&line[..space]).ok_or(expected)?;
        let message = &line[space + 1..];
        let stream = stream_of(message);
        if stream.is_some_and(|stream| !stream.ends_with(b"@bookTicker") && !stream.ends_with(b"@trade")) {
            return Ok(());
        }
        let mut bad = None;
        BinanceDecoder.decode(message, at_ns, &self.symbols, &mut |event| match event {
            Event::Tick(tick) => out.push(Input::from(tick)),
            Event::Trade(trade) => out.push(Input::from(trade)),
            Event::Reject(Reject::UnknownSymbol) => {}
            // Without a stream's name (a snapshot of the book in the capture) it may be anything.
            Event::Reject(Reject::Expected(_)) if stream.is_none() => {}
            Event::Reject(reject) => bad = Some(reject),
            Event::Alive | Event::Confirmed | Event::Leaving | Event::Lost(_) | Event::Refused(_) => {}
        });
        bad.map_or(Ok(()), |reject| Err(reject.to_string()))
    }
}

/// The stream that a message of the combined envelope names.
fn stream_of(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"{\"stream\":\"")?;
    Some(&rest[..memchr::memchr(b'"', rest)?])
}
