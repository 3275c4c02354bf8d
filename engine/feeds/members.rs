//! Members of JSON objects in answers that are not on the hot path: accounts, lists of symbols, past ticks. What is
//! missing or wrong is told by the member's name, with what it is and what was expected. Pure.

use super::json::Cursor;
use super::net::excerpt;
use crate::market::{Decimal9, DecimalError, Price};

/// Names of one member: the first that is there and not `null` counts.
pub type Names<'n> = &'n [&'static str];

/// A member: its name, and the text of its value, a string with its quotes.
pub type Member<'a> = (Vec<u8>, &'a [u8]);

/// An object, taken apart.
#[derive(Debug)]
pub struct Members<'a>(Vec<Member<'a>>);

impl<'a> Members<'a> {
    /// Takes an object apart.
    ///
    /// # Errors
    /// One sentence when it is none.
    pub fn read(raw: &'a [u8]) -> Result<Self, String> {
        Ok(Members(named(raw)?))
    }

    /// The text of a member, a string with its quotes, and which of the names it has.
    #[must_use]
    pub fn raw(&self, names: Names<'_>) -> Option<(&'static str, &'a [u8])> {
        let of = |name: &&'static str| {
            let found = self.0.iter().find(|(key, raw)| key == name.as_bytes() && *raw != b"null");
            found.map(|(_, raw)| (*name, *raw))
        };
        names.iter().find_map(of)
    }

    /// A string.
    ///
    /// # Errors
    /// One sentence naming the member, when it is something else.
    pub fn text(&self, names: Names<'_>) -> Result<Option<String>, String> {
        self.with(names, "a text", |raw| {
            Cursor::new(raw).text().ok().map(|text| String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// A string, or the text of a number: venues write numbers that name something in either way.
    ///
    /// # Errors
    /// See [`Members::text`].
    pub fn word(&self, names: Names<'_>) -> Result<Option<String>, String> {
        self.with(names, "a text or a number", |raw| {
            let text = if raw.first() == Some(&b'"') { Cursor::new(raw).text().ok()? } else { number(raw)?.into() };
            Some(String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// A price, exactly as it is written.
    ///
    /// # Errors
    /// See [`Members::text`].
    pub fn price(&self, names: Names<'_>) -> Result<Option<Price>, String> {
        self.with(names, "a decimal of at most nine places", |raw| Price::parse(number(raw)?).ok())
    }

    /// An amount that the venue may have computed with binary floating point: beyond nine places it is rounded.
    ///
    /// # Errors
    /// See [`Members::text`].
    pub fn amount(&self, names: Names<'_>) -> Result<Option<Decimal9>, String> {
        self.with(names, "a number", |raw| amount(number(raw)?))
    }

    /// A whole number of at least 0.
    ///
    /// # Errors
    /// See [`Members::text`].
    pub fn whole(&self, names: Names<'_>) -> Result<Option<u64>, String> {
        self.with(names, "a whole number", |raw| {
            let e9 = u64::try_from(Decimal9::parse(number(raw)?).ok()?.e9()).ok()?;
            (e9 % 1_000_000_000 == 0).then_some(e9 / 1_000_000_000)
        })
    }

    /// A member that `read` makes something of; the error says `expected`.
    ///
    /// # Errors
    /// See [`Members::text`].
    pub fn with<T>(
        &self,
        names: Names<'_>,
        expected: &str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some((name, raw)) = self.raw(names) else { return Ok(None) };
        read(raw).map(Some).ok_or_else(|| format!("{name} is {}, expected {expected}", excerpt(raw)))
    }
}

/// What must be there.
///
/// # Errors
/// One sentence naming the member, when it is missing.
pub fn needed<T>(names: Names<'_>, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("{} is missing", names.join(" (or ")) + &")".repeat(names.len().saturating_sub(1)))
}

/// The members of an object in their order, with their names.
///
/// # Errors
/// One sentence when it is none.
pub fn named(raw: &[u8]) -> Result<Vec<Member<'_>>, String> {
    let (mut cursor, mut members) = (Cursor::new(raw), Vec::new());
    let walked = cursor.object(|key, c| {
        members.push((key.to_vec(), c.raw()?));
        Ok(())
    });
    walked.and_then(|()| cursor.end()).map_err(|e| format!("{e}, found {}", excerpt(raw)))?;
    Ok(members)
}

/// The elements of an array.
///
/// # Errors
/// One sentence when it is none.
pub fn elements(raw: &[u8]) -> Result<Vec<&[u8]>, String> {
    let (mut cursor, mut elements) = (Cursor::new(raw), Vec::new());
    let walked = cursor.array(|c| {
        elements.push(c.raw()?);
        Ok(())
    });
    walked.and_then(|()| cursor.end()).map_err(|e| format!("{e}, found {}", excerpt(raw)))?;
    Ok(elements)
}

fn number(raw: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(raw);
    let text = cursor.number().ok()?;
    cursor.end().ok().map(|()| text)
}

fn amount(text: &[u8]) -> Option<Decimal9> {
    match Decimal9::parse(text) {
        Ok(exact) => Some(exact),
        Err(DecimalError::TooPrecise(_)) => {
            let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            let e9 = (value * 1e9).round();
            if e9.abs() < 9e18 { Decimal9::from_e9(e9 as i64) } else { None }
        }
        Err(DecimalError::Malformed | DecimalError::OutOfRange) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let text =
            br#"{"a":"x","b":1.5,"c":null,"d":3.637978807091713E-12,"e":9999.999999999998,"f":7,"g":[1,{}],"h":"1.25"}"#;
        let members = Members::read(text).unwrap();
        assert_eq!(members.text(&["z", "a"]), Ok(Some("x".into())));
        assert_eq!((members.text(&["c"]), members.text(&["z"])), (Ok(None), Ok(None)));
        assert_eq!(members.price(&["b"]), Ok(Price::from_e9(1_500_000_000)));
        assert_eq!(members.price(&["h"]), Ok(Price::from_e9(1_250_000_000)));
        assert_eq!((members.whole(&["f"]), members.word(&["f"])), (Ok(Some(7)), Ok(Some("7".into()))));
        // What a sum of doubles leaves is no amount.
        assert_eq!(members.amount(&["d"]), Ok(Decimal9::from_e9(0)));
        assert_eq!(members.amount(&["e"]), Ok(Decimal9::from_e9(10_000_000_000_000)));
        assert_eq!(members.price(&["a"]), Err("a is \"x\", expected a decimal of at most nine places".into()));
        assert_eq!(
            members.price(&["e"]).unwrap_err(),
            "e is 9999.999999999998, expected a decimal of at most nine places"
        );
        assert_eq!(members.whole(&["b"]).unwrap_err(), "b is 1.5, expected a whole number");
        assert_eq!(members.text(&["g"]).unwrap_err(), "g is [1,{}], expected a text");
        assert_eq!(needed::<()>(&["volume", "lots"], None).unwrap_err(), "volume (or lots) is missing");
        assert_eq!(needed(&["volume"], Some(3)), Ok(3));
        assert!(Members::read(b"[]").unwrap_err().contains("expected an object, found []"));
        assert_eq!(elements(b" [1, \"a\"] ").unwrap(), [&b"1"[..], b"\"a\""]);
        assert!(elements(b"[1] 2").is_err());
    }
}
