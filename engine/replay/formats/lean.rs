//! LEAN's quote ticks: `ms_since_midnight,bid,ask`, a day to a file, no header. The day is in the manifest or at the front
//! of the file's name.

use std::collections::VecDeque;
use std::path::Path;

use super::{Lines, Names, price, whole};
use crate::market::{BrokerClock, Input};
use crate::replay::manifest::date_of_name;

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

impl Lines for Lean {
    #[inline]
    fn line(&mut self, line: &[u8], out: &mut VecDeque<Input>) -> Result<(), String> {
        let mut fields = line.split(|b| *b == b',');
        let (Some(ms), Some(bid), Some(ask), None) = (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("expected ms_since_midnight,bid,ask".into());
        };
        let ms = whole(ms).filter(|ms| *ms < DAY_MS).ok_or("ms_since_midnight: expected 0 to 86399999")?;
        let at_ns = self.clock.utc_ns(self.midnight_ns + ms * 1_000_000);
        let prices = (Some(price("bid", bid)?), Some(price("ask", ask)?));
        out.push_back(self.names.tick(at_ns, prices, (None, None)));
        Ok(())
    }
}
