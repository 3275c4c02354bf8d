//! Lines out of a byte stream that is cut anywhere.

/// Splits what arrives into lines. A line that lies within one read is handed on where it lies; only the tail of a read
/// is copied, into a buffer that is kept.
#[derive(Debug)]
pub struct LineSplitter {
    tail: Vec<u8>,
    limit: usize,
}

/// A line longer than the limit; the stream is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {0} bytes; expected one JSON object per line")]
pub struct LineTooLong(pub usize);

impl LineSplitter {
    /// A splitter that refuses lines of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        LineSplitter { tail: Vec::with_capacity(limit.min(4_096)), limit }
    }

    /// Hands every line that `bytes` completes to `each`, without its end (LF or CR LF); empty lines are left out.
    ///
    /// # Errors
    /// [`LineTooLong`] when a line exceeds the limit; the lines before it have been handed on.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), LineTooLong> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.tail.len() + end > self.limit {
                return Err(LineTooLong(self.limit));
            }
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.tail.is_empty() {
                hand_on(line, &mut each);
            } else {
                self.tail.extend_from_slice(line);
                hand_on(&self.tail, &mut each);
                self.tail.clear();
            }
            bytes = rest;
        }
        if self.tail.len() + bytes.len() > self.limit {
            return Err(LineTooLong(self.limit));
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }
}

fn hand_on(line: &[u8], each: &mut impl FnMut(&[u8])) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.is_empty() {
        each(line);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_the_stream_is_cut(
            lines in proptest::collection::vec("[a-z]{1,20}", 1..20),
            cuts in proptest::collection::vec(1_usize..12, 1..40),
        ) {
            let text = lines.iter().map(|l| format!("{l}\r\n\n")).collect::<String>();
            let (mut splitter, mut seen, mut rest) = (LineSplitter::new(20 + 1), Vec::new(), text.as_bytes());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                splitter.push(now, |line| seen.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
                rest = later;
            }
            prop_assert_eq!(seen, lines);
        }
    }

    #[test]
    fn the_limit_is_exact_and_memory_bounded() {
        let mut splitter = LineSplitter::new(4);
        assert_eq!(splitter.push(b"abcd\n", |line| assert_eq!(line, b"abcd")), Ok(()));
        assert_eq!(splitter.push(b"ab", |_| {}), Ok(()));
        assert_eq!(splitter.push(b"cd", |_| {}), Ok(()));
        assert_eq!(splitter.push(b"e", |_| {}), Err(LineTooLong(4)));
        assert_eq!(LineSplitter::new(4).push(b"abcde\n", |_| {}), Err(LineTooLong(4)));
    }
}
