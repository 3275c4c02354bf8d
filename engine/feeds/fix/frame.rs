//! Messages out of a byte stream that is cut anywhere, and that may hold garbage between them.

use memchr::memmem;

use super::{LENGTH_DIGITS_MAX, SOH, START, length, number};

/// Splits what arrives into messages. One that lies within one read is handed on where it lies; only the tail of a read
/// is copied, into a buffer that is kept.
#[derive(Debug)]
pub struct Framer {
    tail: Vec<u8>,
    limit: usize,
    // Bytes of the tail in which no beginning or end of a message was found: they are not searched again.
    searched: usize,
}

/// A message longer than the limit, or as much garbage without a message; the stream is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of more than {0} bytes; expected FIX messages of some hundred")]
pub struct FrameTooLong(pub usize);

/// What the front of a buffer is.
enum Cut {
    /// A message, or garbage, of so many bytes.
    Piece(usize),
    /// Not decidable yet; so many bytes need not be searched again.
    More(usize),
}

impl Framer {
    /// A framer that refuses messages of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Framer { tail: Vec::with_capacity(limit.min(4_096)), limit, searched: 0 }
    }

    /// Hands every message that `bytes` completes to `each`, whole. Garbage between messages is handed on too, in one
    /// piece, when the next message begins; a message with a wrong length is garbage up to its end or the next beginning.
    ///
    /// # Errors
    /// [`FrameTooLong`]; the messages before have been handed on.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), FrameTooLong> {
        if self.tail.is_empty() {
            let used = self.split(bytes, &mut each)?;
            self.tail.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut tail = std::mem::take(&mut self.tail);
        tail.extend_from_slice(bytes);
        let split = self.split(&tail, &mut each);
        if let Ok(used) = split {
            tail.drain(..used);
        }
        self.tail = tail;
        split.map(|_| ())
    }

    /// Hands on what is whole, and says how many bytes that was.
    fn split(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, FrameTooLong> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            match cut(rest, self.limit, self.searched)? {
                Cut::Piece(length) => {
                    each(&rest[..length]);
                    used += length;
                    self.searched = 0;
                }
                Cut::More(_) if rest.len() > self.limit => return Err(FrameTooLong(self.limit)),
                Cut::More(searched) => {
                    self.searched = searched;
                    break;
                }
            }
        }
        Ok(used)
    }
}

fn cut(bytes: &[u8], limit: usize, searched: usize) -> Result<Cut, FrameTooLong> {
    let Some(after) = bytes.strip_prefix(START) else {
        let begins = START.starts_with(bytes);
        return Ok(if begins { Cut::More(0) } else { garbage(bytes, searched, false) });
    };
    let Some((said, digits)) = length(after) else {
        let begins = after.len() <= LENGTH_DIGITS_MAX && after.iter().all(u8::is_ascii_digit);
        if !begins && after.len() > LENGTH_DIGITS_MAX && after[..=LENGTH_DIGITS_MAX].iter().all(u8::is_ascii_digit) {
            return Err(FrameTooLong(limit));
        }
        return Ok(if begins { Cut::More(0) } else { garbage(bytes, searched, true) });
    };
    let trailer_at = START.len() + digits + 1 + said as usize;
    if trailer_at + b"10=000\x01".len() > limit {
        return Err(FrameTooLong(limit));
    }
    match end(bytes, trailer_at) {
        End::At(length) => Ok(Cut::Piece(length)),
        // No message holds the beginning or end of another: if this one does before it is complete, its length is wrong.
        End::Not | End::Unknown => Ok(garbage(bytes, searched, true)),
    }
}

/// Whether a message ends where its length says.
enum End {
    At(usize),
    Unknown,
    Not,
}

/// Looks for `10=`, one to three digits and the byte 1 at `trailer_at`, with a field's end before it.
fn end(bytes: &[u8], trailer_at: usize) -> End {
    if bytes.get(trailer_at - 1).is_some_and(|b| *b != SOH) {
        return End::Not;
    }
    let Some(trailer) = bytes.get(trailer_at..) else { return End::Unknown };
    let Some(digits) = trailer.strip_prefix(b"10=") else {
        return if b"10=".starts_with(trailer) { End::Unknown } else { End::Not };
    };
    match digits.iter().take(4).position(|b| *b == SOH) {
        Some(count) if number(&digits[..count]).is_some() => End::At(trailer_at + 3 + count + 1),
        None if digits.len() < 4 && digits.iter().all(u8::is_ascii_digit) => End::Unknown,
        _ => End::Not,
    }
}

/// Garbage up to the next message; a message with a wrong length also ends where it looks like an end.
fn garbage(bytes: &[u8], searched: usize, message: bool) -> Cut {
    let from = searched.clamp(1, bytes.len());
    let start = memmem::find(&bytes[from..], START).map(|at| from + at);
    let looks = || {
        memmem::find_iter(&bytes[from..], b"\x0110=").find_map(|at| match end(bytes, from + at + 1) {
            End::At(length) => Some(length),
            End::Unknown | End::Not => None,
        })
    };
    let stop = if message { looks() } else { None };
    match start.into_iter().chain(stop).min() {
        Some(length) => Cut::Piece(length),
        None => Cut::More(before(bytes)),
    }
}

/// How much need not be searched again: all but what may be a part of what is searched for.
fn before(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(START.len())
}
