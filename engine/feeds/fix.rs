//! FIX 4.4 messages: verified reading and writing, by hand. Pure, as are the framing in [`frame`] and the rules of a
//! session in [`session`]; [`link`] puts them on a socket.
//!
//! `8=FIX.4.4|9=LENGTH|35=KIND|…|10=CHECKSUM|`, where `|` is the byte 1. LENGTH counts the bytes from `35=` to the
//! byte 1 before `10=`; CHECKSUM is the sum of all bytes before `10=`, modulo 256. Source: FIX 4.4 specification,
//! volume 1 and 2. Some senders write the checksum with fewer than three digits; that is accepted.
//!
//! Fields of raw data (95 and 96, and the encoded texts), which may hold the byte 1, are not used in market data and not
//! supported.

pub mod frame;
pub mod link;
pub mod session;

use crate::market::time_text;

/// What ends every field.
pub const SOH: u8 = 1;

/// How every message begins.
const START: &[u8] = b"8=FIX.4.4\x019=";

/// Most digits of a BodyLength that are read.
const LENGTH_DIGITS_MAX: usize = 7;

/// Why a message is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not begin and end as every message does.
    #[error("expected a message that begins with 8=FIX.4.4 and 9=, and ends with 10=")]
    Envelope,
    /// BodyLength is wrong.
    #[error("BodyLength 9={said}, but the body has {found} bytes")]
    BodyLength {
        /// In the message.
        said: u32,
        /// Counted.
        found: usize,
    },
    /// CheckSum is wrong.
    #[error("CheckSum 10={said:03}, but the bytes add up to {found:03}")]
    CheckSum {
        /// In the message.
        said: u16,
        /// Counted.
        found: u8,
    },
    /// MsgType is not where it must be.
    #[error("expected 35= as the third field")]
    Kind,
    /// A field without a tag or without an end.
    #[error("expected TAG=VALUE in every field, and a tag from 1 to 999999999")]
    Field,
}

/// A message whose length and checksum are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// MsgType (35), such as `W`.
    pub kind: &'a [u8],
    /// The fields behind it, up to the checksum.
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads one whole message.
    ///
    /// # Errors
    /// [`Fault`]; what the fields hold is not looked at.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Message<'a>, Fault> {
        let (said, digits) = length(frame.strip_prefix(START).ok_or(Fault::Envelope)?).ok_or(Fault::Envelope)?;
        let body_at = START.len() + digits + 1;
        let (trailer_at, said_sum) = trailer(frame).filter(|(at, _)| *at >= body_at).ok_or(Fault::Envelope)?;
        let found = trailer_at - body_at;
        if usize::try_from(said) != Ok(found) {
            return Err(Fault::BodyLength { said, found });
        }
        let sum = checksum(&frame[..trailer_at]);
        if said_sum != u16::from(sum) {
            return Err(Fault::CheckSum { said: said_sum, found: sum });
        }
        let body = frame[body_at..trailer_at].strip_prefix(b"35=").ok_or(Fault::Kind)?;
        let end = body.iter().position(|b| *b == SOH).filter(|end| *end > 0).ok_or(Fault::Kind)?;
        Ok(Message { kind: &body[..end], body: &body[end + 1..] })
    }

    /// The fields behind the MsgType, in their order.
    #[inline]
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.body }
    }

    /// The value of the first field `tag`.
    #[must_use]
    pub fn find(&self, tag: u32) -> Option<&'a [u8]> {
        self.fields().map_while(Result::ok).find(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// The first field `tag` as words.
    #[must_use]
    pub fn words(&self, tag: u32) -> Option<String> {
        self.find(tag).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// The fields of a message: tags and values. Ends behind the first that is none.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), Fault>;

    // Always: returned through memory, a field costs more to hand over than to find.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = field(self.rest);
        self.rest = field.map_or(&[], |(_, _, rest)| rest);
        Some(field.map(|(tag, value, _)| (tag, value)).ok_or(Fault::Field))
    }
}

#[inline(always)]
fn field(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (mut tag, mut at) = (0_u32, 0);
    loop {
        match bytes.get(at)? {
            digit @ b'0'..=b'9' if at < 9 => tag = tag * 10 + u32::from(digit - b'0'),
            b'=' if tag > 0 && bytes[0] != b'0' => break,
            _ => return None,
        }
        at += 1;
    }
    let value = &bytes[at + 1..];
    let end = end_of(value)?;
    Some((tag, &value[..end], &value[end + 1..]))
}

/// Where the first byte 1 is. Values are short, and a search that is made for long texts costs more than it saves: eight
/// bytes at a time, by the usual trick that finds a zero byte in a word.
#[inline(always)]
fn end_of(value: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(eight) = value.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let word = u64::from_le_bytes(eight) ^ ONES;
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    value[at..].iter().position(|b| *b == SOH).map(|end| at + end)
}

/// The sum of all bytes, modulo 256.
#[inline]
#[must_use]
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The digits of a BodyLength with the byte 1 behind them: its value, and how many digits it has.
#[inline]
fn length(bytes: &[u8]) -> Option<(u32, usize)> {
    let digits = bytes.iter().take(LENGTH_DIGITS_MAX + 1).position(|b| *b == SOH).filter(|n| *n > 0)?;
    Some((u32::try_from(number(&bytes[..digits])?).ok()?, digits))
}

/// Where `10=` begins, and its value, when the frame ends with one.
#[inline]
fn trailer(frame: &[u8]) -> Option<(usize, u16)> {
    let rest = frame.strip_suffix(&[SOH])?;
    let digits = rest.iter().rev().take(4).position(|b| *b == b'=').filter(|n| (1..=3).contains(n))?;
    let at = rest.len().checked_sub(digits + 3)?;
    if !rest[at..].starts_with(b"10=") || at.checked_sub(1).map(|before| rest[before]) != Some(SOH) {
        return None;
    }
    Some((at, u16::try_from(number(&rest[at + 3..])?).ok()?))
}

/// A whole number of at most 18 digits.
#[inline]
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + u64::from(b - b'0')))
}

/// A UTCTimestamp, `20260916-14:57:52.978` with up to nine digits behind the second or none, in nanoseconds UTC.
#[inline]
#[must_use]
pub fn time(text: &[u8]) -> Option<i64> {
    // Written out as the form that is read elsewhere: `2026-09-16T14:57:52.978`.
    let (mut long, length) = (*b"0000-00-00T00:00:00.000000000", text.len() + 2);
    let &[y1, y2, y3, y4, m1, m2, d1, d2, b'-', ref clock @ ..] = text else { return None };
    if clock.len() > 18 {
        return None;
    }
    [long[0], long[1], long[2], long[3], long[5], long[6], long[8], long[9]] = [y1, y2, y3, y4, m1, m2, d1, d2];
    long[11..length].copy_from_slice(clock);
    time_text::date_time(&long[..length]).filter(|t| t.offset_ns.is_none()).map(|t| t.local_ns)
}

/// A UTCTimestamp with milliseconds.
#[must_use]
pub fn time_of(ns: i64) -> String {
    let stamp = jiff::Timestamp::from_nanosecond(ns.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y%m%d-%H:%M:%S%.3f").to_string()
}

/// The fields of a message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    body: Vec<u8>,
}

impl Draft {
    /// A message of this MsgType.
    #[must_use]
    pub fn new(kind: &str) -> Draft {
        Draft::default().with(35, kind)
    }

    /// The same with one more field. What would end the field early is left out of the value.
    #[must_use]
    pub fn with(mut self, tag: u32, value: impl AsRef<[u8]>) -> Draft {
        self.body.extend_from_slice(tag.to_string().as_bytes());
        self.body.push(b'=');
        self.body.extend(value.as_ref().iter().filter(|b| **b != SOH));
        self.body.push(SOH);
        self
    }

    /// The same with a field that holds a number.
    #[must_use]
    pub fn number(self, tag: u32, value: u64) -> Draft {
        self.with(tag, value.to_string())
    }

    /// The same with the fields of another draft behind its own.
    #[must_use]
    pub fn then(mut self, other: &Draft) -> Draft {
        self.body.extend_from_slice(&other.body);
        self
    }

    /// Appends the whole message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(START);
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.push(SOH);
        out.extend_from_slice(&self.body);
        let sum = checksum(&out[from..]);
        out.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
    }

    /// The whole message.
    #[must_use]
    pub fn finish(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 32);
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
