//! LEAN's quote ticks: `ms_since_midnight,bid,ask`, a day to a file, no header. The day is in the manifest or at the front
//! of the file's name.

use std::path::Path;

use super::{Lines, Names, price, whole};
use crate::market::decimal::{byte_in, digits};
use crate::market::{BrokerClock, Input, Price};
use crate::replay::buffer::Buffer;
use crate::replay::manifest::date_of_name;
use crate::replay::merge::TIMES;

const DAY_MS: i64 = 86_400_000;

/// The decoder.
pub struct Lean {
    names: Names,
    clock: BrokerClock,
    date_ns: Option<i64>,
    midnight_ns: i64,
}

impl Lean {
    pub(super) fn new(names: Names, clock: BrokerClock, date_ns: Option<i64>) -> Lean {
        Lean { names, clock, date_ns, midnight_ns: 0 }
    }

    pub(super) fn begin(&mut self, file: &Path) -> Result<(), String> {
        let date = self.date_ns.or_else(|| date_of_name(file));
        self.midnight_ns =
            date.ok_or("its rows have no day; expected the key `date`, or a name that begins with YYYYMMDD")?;
        Ok(())
    }
}

/// Rows read ahead at most: what costs the same for one row as for several is paid once for so many. They stay in the
/// nearest cache.
const AHEAD_MAX: usize = 16;

impl Lean {
    /// Reads on as long as rows are plain and in memory; any other waits for its turn. Each gives one input.
    pub(super) fn read_ahead(&mut self, bytes: &mut Buffer, out: &mut Vec<Input>) {
        for _ in 0..AHEAD_MAX {
            let Some((line, length)) = bytes.line_in_memory() else { return };
            let Some((ms, bid, ask)) = plain(line) else { return };
            let at_ns = self.clock.utc_ns(self.midnight_ns + ms * 1_000_000);
            if !TIMES.contains(&at_ns) {
                return;
            }
            out.push(self.names.tick(at_ns, (Some(bid), Some(ask)), (None, None)));
            bytes.step_over_line(length);
        }
    }
}

impl Lines for Lean {
    #[inline]
    fn line(&mut self, line: &[u8], out: &mut Vec<Input>) -> Result<(), String> {
        let (ms, bid, ask) = match plain(line) {
            Some(row) => row,
            None => general(line)?,
        };
        let at_ns = self.clock.utc_ns(self.midnight_ns + ms * 1_000_000);
        out.push(self.names.tick(at_ns, (Some(bid), Some(ask)), (None, None)));
        Ok(())
    }
}

/// A row as rows nearly always are: three plain decimals. `None` for any other, which may be one all the same.
#[inline]
fn plain(line: &[u8]) -> Option<(i64, Price, Price)> {
    let (ms, rest) = cut(line)?;
    let (bid, ask) = cut(rest)?;
    let ms = i64::try_from(digits(ms)?).ok().filter(|ms| *ms < DAY_MS)?;
    Some((ms, Price::plain(bid)?, Price::plain(ask)?))
}

/// Any row, or what is wrong with it.
fn general(line: &[u8]) -> Result<(i64, Price, Price), String> {
    let mut fields = line.split(|b| *b == b',');
    let (Some(ms), Some(bid), Some(ask), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
        return Err("expected ms_since_midnight,bid,ask".into());
    };
    let ms = whole(ms).filter(|ms| *ms < DAY_MS).ok_or("ms_since_midnight: expected 0 to 86399999")?;
    Ok((ms, price("bid", bid)?, price("ask", ask)?))
}

/// What stands before the first comma, and what behind it. Eight bytes at a time: fields are short.
#[inline]
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    let at = loop {
        let rest = bytes.get(from..)?;
        match rest.first_chunk() {
            Some(word) => match byte_in(u64::from_le_bytes(*word), b',') {
                Some(at) => break from + at,
                None => from += 8,
            },
            None => break from + rest.iter().position(|b| *b == b',')?,
        }
    };
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is taken by the short way is what the long one finds.
        #[test]
        fn a_plain_row_is_read_as_any_row_is(line in "[0-9.,e-]{0,6},?[0-9]{0,9}[.,]?[0-9]{0,8},?[0-9]{0,3}[.,]?[0-9]{0,9}[,]?") {
            if let Some(row) = plain(line.as_bytes()) {
                prop_assert_eq!(Ok(row), general(line.as_bytes()), "{}", line);
            }
        }
    }

    #[test]
    fn rows_of_the_usual_form_are_plain() {
        let row =
            |bid: i64, ask: i64| Some((Price::from_e9(bid)?, Price::from_e9(ask)?)).map(|(b, a)| (45_000_123, b, a));
        for line in ["45000123,1.38655,1.3867", "45000123,1.38655,1.38670"] {
            assert_eq!(plain(line.as_bytes()), row(1_386_550_000, 1_386_700_000), "{line}");
        }
        assert_eq!(plain(b"45000123,102.5,103"), row(102_500_000_000, 103_000_000_000));
        for line in ["", "45000123", "45000123,1.1", "45000123,1.1,1.2,", "86400000,1.1,1.2", "-1,1.1,1.2", "1,,1.2"] {
            assert_eq!(plain(line.as_bytes()), None, "{line}");
        }
    }
}
