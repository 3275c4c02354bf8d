//! Times as any API may write them.

use serde::Deserialize;

use crate::market::{BrokerClock, time_text};

/// How a time is written.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Seconds since 1970, with or without decimals.
    S,
    /// Milliseconds.
    #[default]
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// `2024-05-17T10:15:30.123+02:00`.
    Iso,
}

/// Nanoseconds UTC of a time.
pub(super) fn time(unit: TimeUnit, clock: &mut BrokerClock, text: &[u8]) -> Option<i64> {
    let unit_ns = match unit {
        TimeUnit::Iso => {
            let time = time_text::date_time(text)?;
            return Some(match time.offset_ns {
                Some(offset_ns) => time.local_ns - offset_ns,
                None => clock.utc_ns(time.local_ns),
            });
        }
        TimeUnit::S => time_text::SECOND_NS,
        TimeUnit::Ms => 1_000_000,
        TimeUnit::Us => 1_000,
        TimeUnit::Ns => 1,
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let add = |value: i64, b: &u8| value.checked_mul(10)?.checked_add(i64::from(b - b'0'));
    let mut ns = whole.iter().try_fold(0_i64, add)?.checked_mul(unit_ns)?;
    // Beyond the nanosecond nothing is kept.
    let mut place_ns = unit_ns;
    for digit in fraction {
        place_ns /= 10;
        ns = ns.checked_add(i64::from(digit - b'0') * place_ns)?;
    }
    Some(ns)
}
