//! Exact decimals: text to integer and back, never through a float.

use std::fmt;

use tickwire_schemas::{NO_PRICE, NO_SIZE};

/// Why text is not a price or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// No digits, a stray character, or a second point.
    #[error("not a decimal number")]
    Malformed,
    /// More digits after the point than the unit holds; it is not rounded.
    #[error("more than {0} digits after the point")]
    TooPrecise(u8),
    /// Too large for the integer, or negative where that has no meaning.
    #[error("out of range")]
    OutOfRange,
}

/// A price in units of 1e-9. Never holds the "no price" sentinel of the wire: an absent price is an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

/// A size in units of 1e-8. Never holds the "no size" sentinel of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// Any exact decimal with nine places, such as a configured threshold.
pub type Decimal9 = Price;

impl Price {
    /// The price of `e9` billionths; `None` for the sentinel.
    #[must_use]
    pub const fn from_e9(e9: i64) -> Option<Price> {
        if e9 == NO_PRICE { None } else { Some(Price(e9)) }
    }

    /// Billionths.
    #[must_use]
    pub const fn e9(self) -> i64 {
        self.0
    }

    /// Wire value: billionths, or the sentinel when absent.
    #[must_use]
    pub const fn to_wire(price: Option<Price>) -> i64 {
        match price {
            Some(p) => p.0,
            None => NO_PRICE,
        }
    }

    /// Reads decimal text such as `1.0851` or `-0.5`; an exponent (`1e-5`) is read exactly too, as JSON allows it.
    ///
    /// # Errors
    /// [`DecimalError`] when it is not a decimal, has more than nine places, or does not fit.
    pub fn parse(text: &[u8]) -> Result<Price, DecimalError> {
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let magnitude = scaled(digits, 9)?;
        let value = i64::try_from(magnitude).map_err(|_| DecimalError::OutOfRange)?;
        Ok(Price(if negative { -value } else { value }))
    }

    /// A price without sign or exponent in at most sixteen characters. `None` where only [`Price::parse`] can say what it is,
    /// or that it is none.
    #[inline]
    pub(crate) fn plain(text: &[u8]) -> Option<Price> {
        Some(Price(i64::try_from(plain(text, 9)?).ok()?))
    }

    /// The price that `bytes` begin with, up to a quote, and the length of its text: for templates. `None` where only
    /// [`Price::parse`] can say what it is, or that it is none.
    #[inline]
    pub(crate) fn quoted(bytes: &[u8]) -> Option<(Price, usize)> {
        let (value, length) = quoted(bytes, 9)?;
        Some((Price(i64::try_from(value).ok()?), length))
    }
}

impl Size {
    /// The size of `e8` hundred-millionths; `None` for the sentinel.
    #[must_use]
    pub const fn from_e8(e8: u64) -> Option<Size> {
        if e8 == NO_SIZE { None } else { Some(Size(e8)) }
    }

    /// Hundred-millionths.
    #[must_use]
    pub const fn e8(self) -> u64 {
        self.0
    }

    /// Wire value: hundred-millionths, or the sentinel when absent.
    #[must_use]
    pub const fn to_wire(size: Option<Size>) -> u64 {
        match size {
            Some(s) => s.0,
            None => NO_SIZE,
        }
    }

    /// Reads decimal text such as `31.21000000`.
    ///
    /// # Errors
    /// [`DecimalError`] when it is not a decimal, is negative, has more than eight places, or does not fit.
    pub fn parse(text: &[u8]) -> Result<Size, DecimalError> {
        if text.first() == Some(&b'-') {
            return Err(DecimalError::OutOfRange);
        }
        let value = scaled(text, 8)?;
        if value == NO_SIZE { Err(DecimalError::OutOfRange) } else { Ok(Size(value)) }
    }

    /// The size that `bytes` begin with, up to a quote, and the length of its text: for templates. `None` where only
    /// [`Size::parse`] can say what it is, or that it is none.
    #[inline]
    pub(crate) fn quoted(bytes: &[u8]) -> Option<(Size, usize)> {
        let (value, length) = quoted(bytes, 8)?;
        Some((Size::from_e8(value)?, length))
    }
}

/// Unsigned decimal text times 10^`places`, exactly.
fn scaled(text: &[u8], places: u8) -> Result<u64, DecimalError> {
    match plain(text, places) {
        Some(value) => Ok(value),
        None => general(text, places),
    }
}

/// The same for what prices and sizes nearly always are: at most sixteen digits with or without a point, eight at a time
/// in a word. `None` for anything else, which may be a decimal all the same.
#[inline]
fn plain(text: &[u8], places: u8) -> Option<u64> {
    let (left, right) = words(text)?;
    let first = *text.first()?;
    // Of up to eight characters one word is all there is: half the work.
    if left == 0 { aligned(0, right, first, places) } else { aligned(left, right, first, places) }
}

/// The same of what `bytes` begin with, up to a quote among the first sixteen of them; and how long it is. For templates.
#[inline]
fn quoted(bytes: &[u8], places: u8) -> Option<(u64, usize)> {
    let (&left, rest) = bytes.split_first_chunk()?;
    let (left, right) = (u64::from_le_bytes(left), u64::from_le_bytes(*rest.first_chunk()?));
    let length = match byte_in(left, b'"') {
        Some(at) => at,
        None => 8 + byte_in(right, b'"')?,
    };
    let both = u128::from(left ^ ZEROS) | u128::from(right ^ ZEROS) << 64;
    let moved = both.checked_shl(8 * (16 - length) as u32)?;
    Some((aligned(moved as u64, (moved >> 64) as u64, left as u8, places)?, length))
}

/// Eight times the digit zero: what makes digits of eight bytes of text, and eight bytes of text of digits.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The text in two words of eight bytes each, the first byte lowest, with zeros in front; as digits.
#[inline]
fn words(text: &[u8]) -> Option<(u64, u64)> {
    // Of a short text both ends are read: they overlap.
    let length = text.len();
    if let (Some(first), Some(last), ..=16) = (text.first_chunk(), text.last_chunk(), length) {
        let left = (u64::from_le_bytes(*first) ^ ZEROS).checked_shl(8 * (16 - length) as u32);
        return Some((left.unwrap_or(0), u64::from_le_bytes(*last) ^ ZEROS));
    }
    if let (Some(first), Some(last), ..8) = (text.first_chunk(), text.last_chunk(), length) {
        let (first, last) = (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
        let zeros = ZEROS & u64::from(u32::MAX);
        return Some((0, (first ^ zeros) << (8 * (8 - length)) | (last ^ zeros) << 32));
    }
    let word = match *text {
        [a] => [b'0', b'0', a],
        [a, b] => [b'0', a, b],
        [a, b, c] => [a, b, c],
        _ => return None,
    };
    let word = u64::from(word[0]) | u64::from(word[1]) << 8 | u64::from(word[2]) << 16;
    Some((0, (word << 40) ^ (ZEROS << 40)))
}

/// The value of a decimal in two words of digits, whose last byte is the last; with zeros in front of its `first`.
#[inline(always)]
fn aligned(mut left: u64, mut right: u64, first: u8, places: u8) -> Option<u64> {
    const POINT: u8 = b'.' ^ b'0';
    const TOO_MUCH: u64 = 0x7676_7676_7676_7676;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut fraction = 0;
    // What stands before the point moves up by one byte, over it.
    let close = |word: u64, at: usize| {
        let below = (1 << (8 * at)) - 1;
        word & !(below << 8 | 0xFF) | (word & below) << 8
    };
    if let Some(at) = byte_in(left, POINT) {
        fraction = 15 - at;
        left = close(left, at);
    } else if let Some(at) = byte_in(right, POINT) {
        fraction = 7 - at;
        right = close(right, at) | left >> 56;
        left <<= 8;
        // "5." is no decimal, nor is ".5": a point wants a digit on both sides.
        if fraction == 0 {
            return None;
        }
    }
    // A digit is below ten, and ten and more reach the highest bit of their byte.
    let wrong = left.wrapping_add(TOO_MUCH) | left | right.wrapping_add(TOO_MUCH) | right;
    if wrong & HIGH != 0 || first == b'.' {
        return None;
    }
    let value = eight(left) * 100_000_000 + eight(right);
    let unit = POWERS.get(usize::from(places).checked_sub(fraction)?)?;
    value.checked_mul(*unit)
}

/// The number that one to sixteen digits are; `None` for anything else.
#[inline]
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    plain(text, 0)
}

/// Where in a word a byte is for the first time, by the usual trick that finds a zero byte.
#[inline]
pub(crate) fn byte_in(word: u64, byte: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = word ^ (ONES * u64::from(byte));
    let found = word.wrapping_sub(ONES) & !word & (ONES << 7);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// The number that eight digits are, the first in the lowest byte: neighbours are added up to pairs, pairs to fours, and
/// fours to eight.
#[inline]
fn eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

const POWERS: [u64; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// The same of any decimal, with an exponent too.
fn general(text: &[u8], places: u8) -> Result<u64, DecimalError> {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &b"0"[..]),
    };
    // "5." and ".5" are no decimals: a point wants a digit on both sides.
    if whole.is_empty() || fraction.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(DecimalError::Malformed);
    }
    // Zeros at the end say nothing, and must not overflow either.
    let fraction = &fraction[..fraction.iter().rposition(|b| *b != b'0').map_or(0, |last| last + 1)];
    let mut value: u64 = 0;
    for digit in whole.iter().chain(fraction) {
        let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
        value = next.ok_or(DecimalError::OutOfRange)?;
    }
    let fraction = i32::try_from(fraction.len()).map_err(|_| DecimalError::OutOfRange)?;
    shift(value, exponent + i32::from(places) - fraction, places)
}

fn parse_exponent(text: &[u8]) -> Result<i32, DecimalError> {
    let text = std::str::from_utf8(text).map_err(|_| DecimalError::Malformed)?;
    let value: i32 = text.parse().map_err(|_| DecimalError::Malformed)?;
    if value.abs() > 64 { Err(DecimalError::OutOfRange) } else { Ok(value) }
}

/// `value` times 10^`power`, refusing to drop a digit that is not zero.
fn shift(mut value: u64, power: i32, places: u8) -> Result<u64, DecimalError> {
    for _ in 0..power.max(0) {
        if value == 0 {
            break;
        }
        value = value.checked_mul(10).ok_or(DecimalError::OutOfRange)?;
    }
    for _ in 0..(-power).max(0) {
        if !value.is_multiple_of(10) {
            return Err(DecimalError::TooPrecise(places));
        }
        value /= 10;
    }
    Ok(value)
}

/// Integer part, point, and the fraction without trailing zeros.
fn write_scaled(f: &mut fmt::Formatter<'_>, negative: bool, magnitude: u64, places: usize) -> fmt::Result {
    let unit = 10u64.pow(places as u32);
    let (whole, mut fraction) = (magnitude / unit, magnitude % unit);
    let sign = if negative { "-" } else { "" };
    if fraction == 0 {
        return write!(f, "{sign}{whole}");
    }
    let mut width = places;
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        width -= 1;
    }
    write!(f, "{sign}{whole}.{fraction:0width$}")
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0 < 0, self.0.unsigned_abs(), 9)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, false, self.0, 8)
    }
}

impl std::str::FromStr for Price {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Price::parse(text.as_bytes())
    }
}

impl std::str::FromStr for Size {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Size::parse(text.as_bytes())
    }
}

impl<'de> serde::Deserialize<'de> for Price {
    /// From text (`"0.0001"`) or a whole number; a float is refused, since it may already be rounded.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Price;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal in quotes such as \"0.0001\", or a whole number")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Price, E> {
                text.parse().map_err(|e| E::custom(format!("\"{text}\": {e}")))
            }
            fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<Price, E> {
                whole.checked_mul(1_000_000_000).map(Price).ok_or_else(|| E::custom(format!("{whole}: out of range")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl serde::Serialize for Price {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_becomes_the_exact_integer() {
        for (text, e9) in [
            ("1.0851", 1_085_100_000),
            ("0.001", 1_000_000),
            ("-0.5", -500_000_000),
            ("105944.20", 105_944_200_000_000),
            ("1.00000000000", 1_000_000_000),
            ("1e-5", 10_000),
            ("1.5E2", 150_000_000_000),
            ("9223372036.854775807", i64::MAX),
            ("1.2345678901e1", 12_345_678_901),
        ] {
            assert_eq!(Price::parse(text.as_bytes()).unwrap().e9(), e9, "{text}");
        }
        assert_eq!(Size::parse(b"31.21000000").unwrap().e8(), 3_121_000_000);
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_not_a_rounding() {
        assert_eq!(Price::parse(b"1.0000000001"), Err(DecimalError::TooPrecise(9)));
        assert_eq!(Price::parse(b"1.5e-9"), Err(DecimalError::TooPrecise(9)));
        assert_eq!(Price::parse(b"9223372036.854775808"), Err(DecimalError::OutOfRange));
        assert_eq!(Size::parse(b"-1"), Err(DecimalError::OutOfRange));
        for text in ["", "-", ".", ".5", "5.", "1..2", "1.2.3", "abc", "1,5", "NaN", "+1", " 1", "1e", "e5", "--1"] {
            assert_eq!(Price::parse(text.as_bytes()), Err(DecimalError::Malformed), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(e9 in (i64::MIN + 1)..=i64::MAX, e8 in 0..u64::MAX) {
            let price = Price::from_e9(e9).unwrap();
            prop_assert_eq!(price.to_string().parse::<Price>(), Ok(price));
            let size = Size::from_e8(e8).unwrap();
            prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
        }

        #[test]
        fn the_short_way_reads_what_the_general_one_reads(
            text in "[0-9]{0,9}[.]?[0-9]{0,9}[.e]?[0-9]?",
            (at, byte) in (0_usize..18, any::<u8>()),
            places in 8_u8..=9,
        ) {
            let mut text = text.into_bytes();
            for _ in 0..2 {
                if let Some(value) = plain(&text, places) {
                    prop_assert_eq!(general(&text, places), Ok(value));
                }
                let more = [&text[..], b"\",\"B\":\"1.5\"}"].concat();
                if let Some((value, length)) = quoted(&more, places) {
                    prop_assert_eq!((general(&more[..length], places), more[length]), (Ok(value), b'"'));
                }
                // Then with one byte that may be anything.
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
            }
        }

        #[test]
        fn the_short_way_is_the_one_of_usual_prices(whole in 0_u32..1_000_000, fraction in 0_u32..100_000_000, digits in 0_usize..=8) {
            let fraction = format!("{fraction:08}");
            let text = if digits == 0 { whole.to_string() } else { format!("{whole}.{}", &fraction[..digits]) };
            prop_assert!(plain(text.as_bytes(), 9).is_some(), "{}", text);
            prop_assert!(quoted(format!("{text}\",\"B\":\"1.50000\",\"a\"").as_bytes(), 9).is_some(), "{}", text);
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Price::parse(&text);
            let _ = Size::parse(&text);
        }
    }
}
