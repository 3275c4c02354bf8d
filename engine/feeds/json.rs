//! A cursor over one JSON message: walks it once, in whatever order its keys come, hands out numbers and strings as the
//! text they were written in, and allocates nothing.
//!
//! Prices must not pass through a float, keys may come in any order, and unknown fields are skipped; a derive that does
//! all this needs a document tree. Tests hold it against `serde_json`.

use std::borrow::Cow;

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
    pub fn object(&mut self, mut field: impl FnMut(&[u8], &mut Self) -> Step<()>) -> Step<()> {
        self.expect(b'{', "an object")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.text()?;
            self.expect(b':', "':' behind a key")?;
            field(&key, self)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "',' or '}' in an object")?;
        }
    }

    /// Walks an array: `item` is called at each element and must consume it.
    ///
    /// # Errors
    /// When it is not an array, or `item` fails.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Step<()>) -> Step<()> {
        self.expect(b'[', "an array")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "',' or ']' in an array")?;
        }
    }

    /// A string. Borrowed, unless it holds escapes.
    ///
    /// # Errors
    /// When it is not a string.
    pub fn text(&mut self) -> Step<Cow<'a, [u8]>> {
        let quoted = self.quoted()?;
        let inner = &quoted[1..quoted.len() - 1];
        if memchr::memchr(b'\\', inner).is_none() {
            return Ok(Cow::Borrowed(inner));
        }
        let text: String = serde_json::from_slice(quoted).map_err(|_| Malformed("a string"))?;
        Ok(Cow::Owned(text.into_bytes()))
    }

    /// The text of a number, written as a number or as a string.
    ///
    /// # Errors
    /// When it is neither.
    pub fn number(&mut self) -> Step<&'a [u8]> {
        self.space();
        if self.bytes.get(self.at) == Some(&b'"') {
            let quoted = self.quoted()?;
            return Ok(&quoted[1..quoted.len() - 1]);
        }
        let from = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        if from == self.at { Err(Malformed("a number")) } else { Ok(&self.bytes[from..self.at]) }
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
    pub fn skip(&mut self) -> Step<()> {
        self.skip_at(0)
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

    fn skip_at(&mut self, depth: usize) -> Step<()> {
        if depth > DEPTH_MAX {
            return Err(Malformed("less nesting"));
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b'"') => self.quoted().map(|_| ()),
            Some(b'{') => self.object(|_, cursor| cursor.skip_at(depth + 1)),
            Some(b'[') => self.array(|cursor| cursor.skip_at(depth + 1)),
            Some(b't' | b'f') => self.boolean().map(|_| ()),
            Some(b'n') => self.literal(b"null").ok_or(Malformed("a value")),
            _ => self.number().map(|_| ()),
        }
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

    /// Consumes up to the next `"` and the quote itself: for templates. Text with an escape is not for them, nor is what
    /// no string may hold.
    #[inline]
    pub fn until_quote(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        // Prices and symbols are shorter than what a vector search needs to pay off.
        let length = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20))?;
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        Some(&rest[..length])
    }

    /// Consumes the digits of a whole number: for templates.
    #[inline]
    pub fn digits(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|b| !b.is_ascii_digit())?;
        self.at += length;
        whole(&rest[..length])
    }

    /// A string with its quotes.
    fn quoted(&mut self) -> Step<&'a [u8]> {
        self.space();
        let from = self.at;
        if self.bytes.get(from) != Some(&b'"') {
            return Err(Malformed("a string"));
        }
        let mut at = from + 1;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(0..0x20) | None => return Err(Malformed("the end of a string")),
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        Ok(&self.bytes[from..=at])
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Step<()> {
        if self.take(byte) { Ok(()) } else { Err(Malformed(what)) }
    }
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// The document tree of a text, read with the cursor; numbers as their text.
    fn tree(cursor: &mut Cursor<'_>) -> Step<serde_json::Value> {
        use serde_json::Value;
        cursor.space();
        Ok(match cursor.bytes.get(cursor.at) {
            Some(b'{') => {
                let mut map = serde_json::Map::new();
                cursor.object(|key, c| {
                    map.insert(String::from_utf8(key.to_vec()).unwrap(), tree(c)?);
                    Ok(())
                })?;
                Value::Object(map)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                cursor.array(|c| {
                    items.push(tree(c)?);
                    Ok(())
                })?;
                Value::Array(items)
            }
            Some(b'"') => Value::String(String::from_utf8(cursor.text()?.into_owned()).unwrap()),
            Some(b't' | b'f') => Value::Bool(cursor.boolean()?),
            Some(b'n') => {
                assert!(cursor.null());
                Value::Null
            }
            _ => serde_json::from_slice(cursor.number()?).map_err(|_| Malformed("a number"))?,
        })
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|f| Value::Object(f.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_the_general_parser_reads(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut cursor = Cursor::new(text.as_bytes());
            prop_assert_eq!(tree(&mut cursor).unwrap(), value);
            prop_assert_eq!(cursor.end(), Ok(()));
            let mut skipping = Cursor::new(text.as_bytes());
            prop_assert_eq!(skipping.skip().and_then(|()| skipping.end()), Ok(()));
        }

        #[test]
        fn a_cut_message_is_an_error(value in any_json(), cut in 0.0..1.0_f64) {
            let text = serde_json::to_string(&serde_json::json!({ "a": value })).unwrap();
            let length = (text.len() as f64 * cut) as usize;
            let mut cursor = Cursor::new(&text.as_bytes()[..length]);
            prop_assert!(cursor.skip().is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut cursor = Cursor::new(&bytes);
            let _ = (cursor.skip(), cursor.until_quote(), cursor.digits(), cursor.text(), cursor.number());
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert_eq!(Cursor::new(deep.as_bytes()).skip(), Err(Malformed("less nesting")));
    }

    #[test]
    fn numbers_keep_their_digits() {
        let mut seen = Vec::new();
        Cursor::new(br#"{"a":1.0851,"b":"25.35190000","c":1e-5}"#)
            .object(|_, c| {
                seen.push(String::from_utf8_lossy(c.number()?).into_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, ["1.0851", "25.35190000", "1e-5"]);
    }
}
