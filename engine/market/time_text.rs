//! Times as venues write them, to nanoseconds: by hand, since it happens for every tick and must not allocate.

use super::Decimal9;

/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;

/// A date and time of day, and the offset from UTC where the text gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTimeText {
    /// Nanoseconds since 1970 on the clock that the text was read from.
    pub local_ns: i64,
    /// That clock's lead over UTC in nanoseconds; 0 for `Z`, `None` when the text does not say.
    pub offset_ns: Option<i64>,
}

/// Reads `2024-05-17T10:15:30.123`, with up to nine digits behind the second (or none) and `Z`, `+02:00` or nothing at
/// the end. `None` for anything else, and for years outside 1970 to 2261, which nanoseconds do not hold.
#[must_use]
pub fn date_time(text: &[u8]) -> Option<DateTimeText> {
    let (head, mut rest) = text.split_at_checked(19)?;
    let [year, month, day, hour, minute, second] = plain_head(head).or_else(|| any_head(head))?;
    let days = days_from_civil(year, month, day)?;
    // Second 60 is a leap second: the following second, as the rest of the world's clocks have it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut local_ns = (days * 86_400 + hour * 3_600 + minute * 60 + second) * SECOND_NS;
    if let [b'.', fraction @ .., b'Z'] = rest
        && let Some(fraction_ns) = plain_nine(fraction)
    {
        return Some(DateTimeText { local_ns: local_ns + fraction_ns, offset_ns: Some(0) });
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if length == 0 || length > 9 {
            return None;
        }
        local_ns += digits(&fraction[..length])? * 10_i64.pow(9 - length as u32);
        rest = &fraction[length..];
    }
    Some(DateTimeText { local_ns, offset_ns: offset(rest)? })
}

/// Year, month, day, hour, minute and second of `2024-05-17T10:15:30`.
fn any_head(head: &[u8]) -> Option<[i64; 6]> {
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| head[at] != byte) || !matches!(head[10], b'T' | b' ') {
        return None;
    }
    let number = |from: usize, to: usize| digits(&head[from..to]);
    Some([number(0, 4)?, number(5, 7)?, number(8, 10)?, number(11, 13)?, number(14, 16)?, number(17, 19)?])
}

/// The same as it is nearly always written, eight bytes at a time. `None` where [`any_head`] is to judge.
#[inline]
fn plain_head(head: &[u8]) -> Option<[i64; 6]> {
    const DATE: (u64, u64) = form(*b"0000-00-");
    const TIME: (u64, u64) = form(*b"00T00:00");
    let [a, b, c, d, _, e, f, _] = eight(head.first_chunk()?, DATE)?;
    let [g, h, _, i, j, _, k, l] = eight(head.get(8..)?.first_chunk()?, TIME)?;
    let [b':', tens, ones] = *head.get(16..)? else { return None };
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    let two = |tens: u8, ones: u8| i64::from(tens) * 10 + i64::from(ones);
    let is_plain = tens < 10 && ones < 10;
    is_plain.then(|| [two(a, b) * 100 + two(c, d), two(e, f), two(g, h), two(i, j), two(k, l), two(tens, ones)])
}

/// What eight bytes are compared with, and where they have no digit.
const fn form(text: [u8; 8]) -> (u64, u64) {
    let (mut others, mut at) = (0, 0);
    while at < 8 {
        if text[at] != b'0' {
            others |= 0xff << (8 * at);
        }
        at += 1;
    }
    (u64::from_le_bytes(text), others)
}

/// The digits of eight bytes of a form.
#[inline]
fn eight(bytes: &[u8; 8], (form, others): (u64, u64)) -> Option<[u8; 8]> {
    let digits = u64::from_le_bytes(*bytes) ^ form;
    // Ten and more reach the highest bit of their byte.
    let above_nine = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    (above_nine == 0 && digits & others == 0).then(|| digits.to_le_bytes())
}

/// The value of nine digits.
#[inline]
fn plain_nine(text: &[u8]) -> Option<i64> {
    let (first, [last]) = text.split_first_chunk::<8>()? else { return None };
    let last = last.wrapping_sub(b'0');
    let digits = u64::from_le_bytes(eight(first, form(*b"00000000"))?);
    // Neighbours are joined: to four numbers of two digits, two of four, and one of eight.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    (last < 10).then(|| i64::try_from(all * 10 + u64::from(last)).unwrap_or(0))
}

/// Reads `1477557524.327443673` (seconds since 1970) exactly.
#[must_use]
pub fn unix_seconds(text: &[u8]) -> Option<i64> {
    // A decimal in units of 1e-9 is a number of nanoseconds.
    Decimal9::parse(text).ok().map(Decimal9::e9).filter(|ns| *ns >= 0)
}

/// An integer time since 1970 in seconds, milliseconds, microseconds or nanoseconds, told apart by its magnitude: each
/// unit covers 1973 to 2262.
#[must_use]
pub fn unix_by_magnitude(value: u64) -> Option<i64> {
    let value = i64::try_from(value).ok()?;
    let unit_ns = match value {
        100_000_000..10_000_000_000 => SECOND_NS,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    // Nanoseconds end in 2262, before the larger units do.
    value.checked_mul(unit_ns)
}

/// `Z`, `+hh:mm`, `-hh:mm`, or nothing.
fn offset(text: &[u8]) -> Option<Option<i64>> {
    let (sign, rest) = match text.split_first() {
        None => return Some(None),
        Some((b'Z', [])) => return Some(Some(0)),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let &[h1, h2, b':', m1, m2] = rest else { return None };
    let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
    (hours <= 14 && minutes <= 59).then_some(Some(sign * (hours * 3_600 + minutes * 60) * SECOND_NS))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = *BEFORE.get(usize::try_from(month - 1).ok()?)?;
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1970..2262).contains(&year) || !(1..=last).contains(&day) {
        return None;
    }
    let leaps = |y: i64| y / 4 - y / 100 + y / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    Some(years + before + i64::from(leap && month > 2) + day - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn venue_times_are_read_exactly() {
        let read = |text: &str| date_time(text.as_bytes());
        let at = |local_ns, offset_ns| Some(DateTimeText { local_ns, offset_ns });
        assert_eq!(read("2016-10-27T08:38:44.327443673Z"), at(1_477_557_524_327_443_673, Some(0)));
        assert_eq!(read("2024-05-17T10:15:30.123"), at(1_715_940_930_123_000_000, None));
        assert_eq!(read("2024-05-17T10:15:30+02:00"), at(1_715_940_930_000_000_000, Some(7_200 * SECOND_NS)));
        assert_eq!(unix_seconds(b"1477557524.327443673"), Some(1_477_557_524_327_443_673));
        for text in [
            "",
            "2024-05-17",
            "2024-13-01T00:00:00",
            "2023-02-29T00:00:00",
            "2024-05-17T24:00:00",
            "2024-05-17T10:15:30.",
            "2024-05-17T10:15:30.1234567890",
            "2024-05-17T10:15:30x",
            "2024-05-17T10:15:30+2",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn integer_times_are_told_apart_by_magnitude() {
        for value in [1_715_940_930, 1_715_940_930_000, 1_715_940_930_000_000, 1_715_940_930_000_000_000] {
            assert_eq!(unix_by_magnitude(value), Some(1_715_940_930_000_000_000), "{value}");
        }
        assert_eq!(unix_by_magnitude(0), None);
        assert_eq!(unix_by_magnitude(9_300_000_000), None, "seconds beyond 2262");
        assert_eq!(unix_by_magnitude(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn agrees_with_a_calendar_library(ns in 0_i64..9_200_000_000_000_000_000) {
            let text = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap().to_string();
            prop_assert_eq!(date_time(text.as_bytes()), Some(DateTimeText { local_ns: ns, offset_ns: Some(0) }));
        }

        #[test]
        fn the_quick_way_says_what_the_general_one_does(
            ns in 0_i64..9_200_000_000_000_000_000, at in 0_usize..32, byte in prop_oneof![any::<u8>(), b'/'..=b':', Just(b' ')],
        ) {
            let mut text = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap().strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string().into_bytes();
            prop_assert_eq!((plain_head(&text[..19]), plain_nine(&text[20..29])), (any_head(&text[..19]), digits(&text[20..29])));
            if let Some(one) = text.get_mut(at) {
                *one = byte;
            }
            let (head, nine) = (&text[..19], &text[20..29]);
            prop_assert!(plain_head(head).is_none_or(|found| Some(found) == any_head(head)));
            prop_assert_eq!(plain_nine(nine), digits(nine));
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (date_time(&text), unix_seconds(&text));
        }
    }
}
