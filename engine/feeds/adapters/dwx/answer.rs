//! Answers of the adviser: the text of a Python dictionary, with single quotes and with numbers as keys. It is turned into
//! JSON first, which everything else here reads; nothing of this is on the hot path.

use std::borrow::Cow;

use tickwire_schemas::words::Cause;

use crate::feeds::json::{Cursor, Malformed, Step};
use crate::feeds::net::{Failure, excerpt};

/// The same in JSON. The adviser escapes nothing: a quote ends a text where the text can end, in front of a comma, a colon
/// or a bracket.
pub(super) fn to_json(text: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(text.len() + 16);
    let (mut at, mut quoted) = (0, false);
    while let Some(byte) = text.get(at).copied() {
        let rest = &text[at + 1..];
        match byte {
            b'\'' if !quoted || ends(rest) => {
                quoted = !quoted;
                json.push(b'"');
            }
            b'"' | b'\\' if quoted => json.extend_from_slice(&[b'\\', byte]),
            0..0x20 if quoted => json.push(b' '),
            b'0'..=b'9' if !quoted => {
                let length = 1 + rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
                let number = &text[at..at + length];
                let is_key = text[at + length..].trim_ascii_start().starts_with(b":");
                let quote: &[u8] = if is_key { b"\"" } else { b"" };
                json.extend_from_slice(&[quote, number, quote].concat());
                at += length - 1;
            }
            _ => json.push(byte),
        }
        at += 1;
    }
    json
}

fn ends(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b',' | b':' | b']' | b'}'))
}

type Text<'a> = Cow<'a, [u8]>;

/// What every answer may have; what is absent is empty.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    action: Text<'a>,
    response: Text<'a>,
    /// With the length of the bars, as in `EURUSD_M5`.
    pub(super) symbol: Text<'a>,
    /// `_data` or `_trades`, whatever it is.
    pub(super) data: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(super) fn read(json: &'a [u8]) -> Step<Self> {
        let mut answer = Answer::default();
        let mut cursor = Cursor::new(json);
        cursor.object(|key, c| {
            match key {
                b"_action" => answer.action = c.text()?,
                b"_response" => answer.response = c.text()?,
                b"_symbol" => answer.symbol = c.text()?,
                b"_data" | b"_trades" => answer.data = c.raw()?,
                _ => c.skip()?,
            }
            Ok(())
        })?;
        cursor.end()?;
        Ok(answer)
    }

    pub(super) fn is(&self, action: &str) -> bool {
        *self.action == *action.as_bytes()
    }

    /// Whether the venue has nothing of what was asked.
    pub(super) fn is_empty(&self) -> bool {
        *self.response == *b"NOT_AVAILABLE"
    }

    /// The failure that an answer without an action stands for: commands are refused so.
    pub(super) fn refusal(&self) -> Option<Failure> {
        if !self.action.is_empty() || self.response.is_empty() {
            return None;
        }
        let has = |word: &[u8]| memchr::memmem::find(&self.response, word).is_some();
        let cause = if has(b"BUSY") {
            Cause::RateLimited
        } else if has(b"NO_BROKER_CONNECTION") {
            Cause::ConnectFailed
        } else {
            Cause::ProtocolError
        };
        Some(Failure::new(cause, excerpt(&self.response)))
    }
}

/// The answer to `TRACK_PRICES`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tracked {
    pub(super) count: u64,
    pub(super) errors: Vec<String>,
}

/// Reads the data of the answer to `TRACK_PRICES`.
pub(super) fn tracked(data: &[u8]) -> Step<Tracked> {
    let mut tracked = Tracked::default();
    let mut said = false;
    Cursor::new(data).object(|key, c| {
        match key {
            b"symbol_count" => (tracked.count, said) = (c.whole()?, true),
            b"error_symbols" => c.array(|c| {
                tracked.errors.push(String::from_utf8_lossy(&c.text()?).into_owned());
                Ok(())
            })?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    if said { Ok(tracked) } else { Err(Malformed("symbol_count")) }
}
