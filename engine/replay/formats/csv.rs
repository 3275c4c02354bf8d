//! Prices in columns by name, separated by commas: `ts_ns` (or `ts_ms`), `bid`, `ask`, and if there `bid_size`,
//! `ask_size`, `source`, `symbol`; others are not looked at. What this engine writes with `--quotes` is such a file.
//!
//! An empty field is an absent value; a row with neither price is left out, and so is one of another symbol, or of
//! another source than the manifest's `only`.

use super::{Lines, Names, optional_price, optional_size, whole};
use crate::market::{BrokerClock, Input};

/// More columns than anyone needs.
const COLUMNS_MAX: usize = 64;

/// Where the columns are.
#[derive(Debug, Clone, Copy, Default)]
struct Columns {
    time: usize,
    /// Nanoseconds in a unit of the time.
    unit_ns: i64,
    bid: usize,
    ask: usize,
    bid_size: Option<usize>,
    ask_size: Option<usize>,
    source: Option<usize>,
    symbol: Option<usize>,
    count: usize,
}

/// The decoder.
pub struct Csv {
    names: Names,
    clock: BrokerClock,
    symbol: Vec<u8>,
    only: Option<Vec<u8>>,
    columns: Columns,
}

impl Csv {
    pub(super) fn new(names: Names, clock: BrokerClock, symbol: &str, only: Option<&str>) -> Csv {
        let (symbol, only) = (symbol.into(), only.map(Vec::from));
        Csv { names, clock, symbol, only, columns: Columns::default() }
    }

    pub(super) fn begin(&mut self, header: &[u8]) -> Result<(), String> {
        let header = String::from_utf8_lossy(header);
        let names: Vec<&str> = header.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let need = |name: &str| {
            find(name).ok_or_else(|| format!("its header has no column `{name}`, expected ts_ns or ts_ms, bid, ask"))
        };
        let (time, unit_ns) = match find("ts_ms") {
            Some(at) if find("ts_ns").is_none() => (at, 1_000_000),
            _ => (need("ts_ns")?, 1),
        };
        if names.len() > COLUMNS_MAX {
            return Err(format!("its header has {} columns, expected at most {COLUMNS_MAX}", names.len()));
        }
        if self.only.is_some() && find("source").is_none() {
            return Err("its header has no column `source`, which the key `only` asks for".into());
        }
        self.columns = Columns {
            time,
            unit_ns,
            bid: need("bid")?,
            ask: need("ask")?,
            bid_size: find("bid_size"),
            ask_size: find("ask_size"),
            source: find("source"),
            symbol: find("symbol"),
            count: names.len(),
        };
        Ok(())
    }
}

impl Lines for Csv {
    fn line(&mut self, line: &[u8], out: &mut Vec<Input>) -> Result<(), String> {
        let mut fields: [&[u8]; COLUMNS_MAX] = [b""; COLUMNS_MAX];
        let mut count = 0;
        for field in line.split(|b| *b == b',') {
            *fields.get_mut(count).ok_or("more columns than the header has")? = field;
            count += 1;
        }
        let columns = &self.columns;
        if count != columns.count {
            return Err(format!("{count} columns, expected {} as in the header", columns.count));
        }
        let is_other = |at: Option<usize>, wanted: &[u8]| at.is_some_and(|at| fields[at] != wanted);
        if is_other(columns.symbol, &self.symbol) {
            return Ok(());
        }
        if self.only.as_ref().is_some_and(|only| is_other(columns.source, only)) {
            return Ok(());
        }
        let at_ns = whole(fields[columns.time]).and_then(|at| at.checked_mul(columns.unit_ns));
        let at_ns = self.clock.utc_ns(at_ns.ok_or("time: expected a whole number")?);
        let prices = (optional_price("bid", fields[columns.bid])?, optional_price("ask", fields[columns.ask])?);
        let size = |name, at: Option<usize>| optional_size(name, at.map_or(&b""[..], |at| fields[at]));
        let sizes = (size("bid_size", columns.bid_size)?, size("ask_size", columns.ask_size)?);
        if prices != (None, None) {
            out.push(self.names.tick(at_ns, prices, sizes));
        }
        Ok(())
    }
}
