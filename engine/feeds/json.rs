//! A cursor over one JSON message: walks it once, in whatever order its keys come, hands out numbers and strings as the
//! text they were written in, and allocates nothing.
//!
//! Prices must not pass through a float, keys may come in any order, and unknown fields are skipped; a derive that does
//! all this needs a document tree. What it walks over is JSON (RFC 8259) to the last byte, skipped values too: a damaged
//! message is refused as a whole, so that nobody trades on the part of it that could be read. Tests hold it against
//! `serde_json`.

use std::borrow::Cow;

use crate::market::{Price, Size};

/// Deepest nesting that is skipped; a market-data message has four levels.
const DEPTH_MAX: usize = 32;

/// Where the text stopped being the JSON that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Malformed(pub &'static str);

/// The result of a step of the cursor.
pub type Step<T> = Result<T, Malformed>;

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Walks an object: `field` is called with each key and must consume the value, for instance by [`Cursor::skip`].
    ///
    /// # Errors
    /// When it is not an object, or `field` fails.
    #[inline]
    pub fn object(&mut self, mut field: impl FnMut(&[u8], &mut Self) -> Step<()>) -> Step<()> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if let Some(key) = self.plain_key() {
                field(key, self)?;
            } else {
                let key = self.text()?;
                self.expect(b':', "':' behind a key")?;
                field(&key, self)?;
            }
            if self.take(b',') {
                continue;
            }
            return self.expect(b'}', "',' or '}' in an object");
        }
    }

    /// Walks an array: `item` is called at each element and must consume it.
    ///
    /// # Errors
    /// When it is not an array, or `item` fails.
    #[inline]
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Step<()>) -> Step<()> {
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b',') {
                continue;
            }
            return self.expect(b']', "',' or ']' in an array");
        }
    }

    /// A string. Borrowed, unless it holds escapes.
    ///
    /// # Errors
    /// When it is not a string.
    #[inline]
    pub fn text(&mut self) -> Step<Cow<'a, [u8]>> {
        let (quoted, escaped) = self.quoted()?;
        if escaped { unescaped(quoted) } else { Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1])) }
    }

    /// The text of a number, written as a number or as a string.
    ///
    /// # Errors
    /// When it is neither.
    #[inline]
    pub fn number(&mut self) -> Step<&'a [u8]> {
        self.space();
        if self.bytes.get(self.at) == Some(&b'"') {
            let (quoted, _) = self.quoted()?;
            return Ok(&quoted[1..quoted.len() - 1]);
        }
        let rest = &self.bytes[self.at..];
        let length = number_length(rest).ok_or(Malformed("a number"))?;
        self.at += length;
        Ok(&rest[..length])
    }

    /// A whole number, written as a number or as a string.
    ///
    /// # Errors
    /// When it is not one, or does not fit.
    pub fn whole(&mut self) -> Step<u64> {
        whole(self.number()?).ok_or(Malformed("a whole number"))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&mut self) -> Step<bool> {
        self.space();
        if self.literal(b"true").is_some() {
            return Ok(true);
        }
        self.literal(b"false").map(|()| false).ok_or(Malformed("true or false"))
    }

    /// Consumes `null` and says whether it was there.
    pub fn null(&mut self) -> bool {
        self.space();
        self.literal(b"null").is_some()
    }

    /// Skips a value of any kind.
    ///
    /// # Errors
    /// When there is none, or it is nested too deeply.
    #[inline]
    pub fn skip(&mut self) -> Step<()> {
        // Most of what is passed over is a plain string.
        if self.bytes.get(self.at) == Some(&b'"') {
            return self.quoted().map(|_| ());
        }
        self.skip_any()
    }

    fn skip_any(&mut self) -> Step<()> {
        // One bit for each container that is open, the innermost lowest: whether it is an object.
        let (mut objects, mut depth) = (0_u64, 0);
        loop {
            match self.peek() {
                b'"' => self.quoted().map(|_| ())?,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    let is_object = open == b'{';
                    if !self.take(if is_object { b'}' } else { b']' }) {
                        depth += 1;
                        objects = objects << 1 | u64::from(is_object);
                        if depth > DEPTH_MAX {
                            return Err(Malformed("less nesting"));
                        }
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' | b'f' => self.boolean().map(|_| ())?,
                b'n' => self.literal(b"null").ok_or(Malformed("a value"))?,
                _ => self.number().map(|_| ())?,
            }
            // Behind a value: ends of containers, up to a comma.
            loop {
                let is_object = objects & 1 == 1;
                if depth == 0 {
                    return Ok(());
                }
                if self.take(b',') {
                    if is_object {
                        self.key()?;
                    }
                    break;
                }
                self.expect(if is_object { b'}' } else { b']' }, "',' or an end behind a value")?;
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Skips a value of any kind and hands out its text, a string with its quotes.
    ///
    /// # Errors
    /// As [`Cursor::skip`].
    pub fn raw(&mut self) -> Step<&'a [u8]> {
        self.space();
        let from = self.at;
        self.skip()?;
        Ok(&self.bytes[from..self.at])
    }

    /// The first byte of the value that comes next, without consuming it; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        self.space();
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn key(&mut self) -> Step<()> {
        if self.plain_key().is_some() {
            return Ok(());
        }
        self.quoted()?;
        self.expect(b':', "':' behind a key")
    }

    /// A key as it is nearly always written: plain, and without spaces around it. Consumes the colon too; nothing when it
    /// is another.
    #[inline(always)]
    fn plain_key(&mut self) -> Option<&'a [u8]> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let from = self.at + 1;
        let end = plain_end(self.bytes, from);
        if !self.bytes[end..].starts_with(b"\":") {
            return None;
        }
        self.at = end + 2;
        Some(&self.bytes[from..end])
    }

    /// Nothing but white space is left.
    ///
    /// # Errors
    /// When there is more.
    pub fn end(&mut self) -> Step<()> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Malformed("the end of the message")) }
    }

    /// Consumes exactly `text`, without white space: for templates. `None`, and nothing consumed, when it is not there.
    #[inline]
    pub fn literal(&mut self, text: &[u8]) -> Option<()> {
        if !self.bytes.get(self.at..)?.starts_with(text) {
            return None;
        }
        self.at += text.len();
        Some(())
    }

    /// Consumes up to the next `"` and the quote itself: for templates. Text with an escape is not for them, nor what is
    /// not ASCII, nor what no string may hold.
    #[inline]
    pub fn until_quote(&mut self) -> Option<&'a [u8]> {
        let end = plain_end(self.bytes, self.at);
        if self.bytes.get(end) != Some(&b'"') {
            return None;
        }
        let text = &self.bytes[self.at..end];
        self.at = end + 1;
        Some(text)
    }

    /// Consumes a price up to the next `"` and the quote itself: for templates. `None` for what they cannot read.
    #[inline]
    pub fn price_until_quote(&mut self) -> Option<Price> {
        let Some((price, length)) = Price::quoted(self.bytes.get(self.at..)?) else {
            return Price::parse(self.until_quote()?).ok();
        };
        self.at += length + 1;
        Some(price)
    }

    /// The same of a size.
    #[inline]
    pub fn size_until_quote(&mut self) -> Option<Size> {
        let Some((size, length)) = Size::quoted(self.bytes.get(self.at..)?) else {
            return Size::parse(self.until_quote()?).ok();
        };
        self.at += length + 1;
        Some(size)
    }

    /// Consumes the digits of a whole number that is not the last of the text: for templates.
    #[inline]
    pub fn digits(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let (mut value, mut length) = (0_u64, 0);
        while let digit @ 0..10 = rest.get(length)?.wrapping_sub(b'0') {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        if length == 0 || length > 1 && rest[0] == b'0' {
            return None;
        }
        self.at += length;
        // So many digits fit whatever they are.
        if length < 20 { Some(value) } else { whole(&rest[..length]) }
    }

    /// A string with its quotes, and whether it holds escapes.
    #[inline]
    fn quoted(&mut self) -> Step<(&'a [u8], bool)> {
        self.space();
        let from = self.at;
        if self.bytes.get(from) != Some(&b'"') {
            return Err(Malformed("a string"));
        }
        let end = plain_end(self.bytes, from + 1);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok((&self.bytes[from..=end], false));
        }
        self.quoted_with_more(from, end)
    }

    /// The same of a string that holds more than plain ASCII, from where that begins.
    #[cold]
    fn quoted_with_more(&mut self, from: usize, mut at: usize) -> Step<(&'a [u8], bool)> {
        let (mut escaped, mut ascii) = (false, true);
        loop {
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += escape_length(&self.bytes[at + 1..]).ok_or(Malformed("an escape in a string"))? + 1;
                }
                Some(0..0x20) | None => return Err(Malformed("the end of a string")),
                Some(byte) => {
                    ascii &= byte.is_ascii();
                    at += 1;
                }
            }
        }
        let quoted = &self.bytes[from..=at];
        if !ascii && std::str::from_utf8(quoted).is_err() {
            return Err(Malformed("UTF-8 in a string"));
        }
        self.at = at + 1;
        Ok((quoted, escaped))
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Step<()> {
        if self.take(byte) { Ok(()) } else { Err(Malformed(what)) }
    }
}

/// Where, from `at` on, the first byte is that is not plain text of a string: a quote, an escape, a control character, or
/// no ASCII; the length of all when there is none.
///
/// Prices and symbols are shorter than what a vector search needs to pay off: eight bytes at a time, by the usual trick
/// that finds a zero byte in a word. It may take a byte above the first one that it finds for another; only the first
/// counts.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let (quote, escape) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (escape.wrapping_sub(ONES) & !escape)
            | word.wrapping_sub(ONES * 0x20)
            | word;
        if found & HIGH != 0 {
            return at + (found & HIGH).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = |b: &u8| matches!(b, 0x20..0x80) && !matches!(b, b'"' | b'\\');
    at + rest.iter().position(|b| !plain(b)).unwrap_or(rest.len())
}

/// Where, from `at` on, the first byte is that is no digit; the length of all when there is none. Eight at a time too: of
/// what was a digit below ten remains, and ten and more reach the highest bit of their byte.
#[inline]
fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let digits = u64::from_le_bytes(*eight) ^ 0x3030_3030_3030_3030;
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// How many bytes an escape has behind its backslash.
fn escape_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(1),
        [b'u', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit) => Some(5),
        _ => None,
    }
}

/// The text of a string with escapes.
#[cold]
fn unescaped<'a>(quoted: &[u8]) -> Step<Cow<'a, [u8]>> {
    let text: String = serde_json::from_slice(quoted).map_err(|_| Malformed("a string"))?;
    Ok(Cow::Owned(text.into_bytes()))
}

/// How long the number is that `bytes` begins with: a sign, digits without a zero in front, a point with digits, an
/// exponent.
#[inline]
fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| digits_end(bytes, from);
    let from = usize::from(bytes.first() == Some(&b'-'));
    let mut end = digits(from);
    if end == from || (end > from + 1 && bytes[from] == b'0') {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        end = digits(point + 1);
        if end == point + 1 {
            return None;
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let from = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits(from);
        if end == from {
            return None;
        }
    }
    Some(end)
}

/// A whole number from its digits.
#[inline]
pub(crate) fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    text.iter().try_fold(0_u64, |value, b| value.checked_mul(10)?.checked_add(digit(b)?))
}

#[cfg(test)]
mod tests;
