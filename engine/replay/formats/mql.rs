//! MetaTrader 5: a dump of `MqlTick`, or the terminal's export of ticks. Both have a header; columns are found by name and
//! separated by tabs. <https://www.mql5.com/en/docs/constants/structures/mqltick>
//!
//! | column | dump | export |
//! |---|---|---|
//! | time | `timestamp_ms` | `<DATE>` `2025.06.23` and `<TIME>` `13:55:33.390` |
//! | prices | `bid`, `ask`, `last`, `volume` | `<BID>`, `<ASK>`, `<LAST>`, `<VOLUME>` |
//! | what changed | `flags`: 2 bid, 4 ask, 8 last, 16 volume, 32 bought, 64 sold | `<FLAGS>` |
//!
//! An empty price has not changed. Times are the server's, although the dump writes them as if they were UTC. A row that
//! changed bid or ask (or has no flags) is a tick, one that changed the last price a trade; one may be both.

use tickwire_schemas::words::Aggressor;

use super::{Lines, Names, optional_price, optional_size, whole};
use crate::market::time_text::date_time;
use crate::market::{BrokerClock, Input, Price, TradeInput};

const BID_OR_ASK: i64 = 2 | 4;
const LAST: i64 = 8;
const BOUGHT: i64 = 32;
const SOLD: i64 = 64;

/// More columns than any version has.
const COLUMNS_MAX: usize = 32;

/// Where the columns are.
#[derive(Debug, Clone, Copy, Default)]
struct Columns {
    millis: Option<usize>,
    date: Option<usize>,
    time: Option<usize>,
    bid: usize,
    ask: usize,
    last: Option<usize>,
    volume: Option<usize>,
    flags: Option<usize>,
    count: usize,
}

/// The decoder.
pub struct Mql {
    names: Names,
    clock: BrokerClock,
    columns: Columns,
    bid: Option<Price>,
    ask: Option<Price>,
}

impl Mql {
    pub(super) fn new(names: Names, clock: BrokerClock) -> Mql {
        Mql { names, clock, columns: Columns::default(), bid: None, ask: None }
    }

    pub(super) fn begin(&mut self, header: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(header);
        let text = text.trim_start_matches('\u{feff}').to_lowercase();
        let names: Vec<&str> = text.split('\t').map(|name| name.trim_matches(['<', '>', ' '])).collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let need = |name: &str| {
            find(name)
                .ok_or_else(|| format!("its header has no column `{name}`, expected those of MqlTick or an export"))
        };
        self.columns = Columns {
            millis: find("timestamp_ms"),
            date: find("date"),
            time: find("time"),
            bid: need("bid")?,
            ask: need("ask")?,
            last: find("last"),
            volume: find("volume"),
            flags: find("flags"),
            count: names.len(),
        };
        if names.len() > COLUMNS_MAX {
            return Err(format!("its header has {} columns, expected at most {COLUMNS_MAX}", names.len()));
        }
        let timed = self.columns.millis.is_some() || (self.columns.date.is_some() && self.columns.time.is_some());
        if timed { Ok(()) } else { Err("its header has no time, expected `timestamp_ms`, or `date` and `time`".into()) }
    }

    fn time_ns(&mut self, fields: &[&[u8]]) -> Result<i64, String> {
        let field = |at: Option<usize>| at.and_then(|at| fields.get(at)).copied().unwrap_or_default();
        let server_ns = if self.columns.millis.is_some() {
            whole(field(self.columns.millis)).and_then(|ms| ms.checked_mul(1_000_000))
        } else {
            server_time(field(self.columns.date), field(self.columns.time))
        };
        let server_ns = server_ns.ok_or("time: expected milliseconds, or a date and a time")?;
        Ok(self.clock.utc_ns(server_ns))
    }
}

impl Lines for Mql {
    fn line(&mut self, line: &[u8], out: &mut Vec<Input>) -> Result<(), String> {
        let mut fields: [&[u8]; COLUMNS_MAX] = [b""; COLUMNS_MAX];
        let mut count = 0;
        for field in line.split(|b| *b == b'\t') {
            *fields.get_mut(count).ok_or("more columns than the header has")? = field;
            count += 1;
        }
        if count != self.columns.count {
            return Err(format!("{count} columns, expected {} as in the header", self.columns.count));
        }
        let field = |at: Option<usize>| at.map_or(&b""[..], |at| fields[at]);
        let at_ns = self.time_ns(&fields)?;
        let flags = match self.columns.flags {
            Some(at) => whole(fields[at]).ok_or("flags: expected a whole number")?,
            None => BID_OR_ASK,
        };
        let bid = optional_price("bid", fields[self.columns.bid])?;
        let ask = optional_price("ask", fields[self.columns.ask])?;
        let last = optional_price("last", field(self.columns.last))?.filter(|last| last.e9() > 0);
        let volume = optional_size("volume", field(self.columns.volume))?;
        (self.bid, self.ask) = (bid.or(self.bid), ask.or(self.ask));
        if flags & BID_OR_ASK != 0 {
            out.push(self.names.tick(at_ns, (self.bid, self.ask), (None, None)));
        }
        if let (Some(price), true) = (last, flags & LAST != 0) {
            let aggressor = match flags & (BOUGHT | SOLD) {
                BOUGHT => Aggressor::Buy,
                SOLD => Aggressor::Sell,
                _ => Aggressor::Unknown,
            };
            out.push(Input::from(TradeInput {
                source: self.names.source,
                instrument: self.names.instrument,
                ts_event_ns: Some(at_ns),
                ts_recv_ns: at_ns,
                price,
                size: volume,
                trade_id: None,
                aggressor,
            }));
        }
        Ok(())
    }
}

/// `2025.06.23` and `13:55:33.390` as if they were UTC.
fn server_time(date: &[u8], time: &[u8]) -> Option<i64> {
    let mut text = [0_u8; 32];
    let length = date.len() + 1 + time.len();
    let text = text.get_mut(..length).filter(|_| date.len() == 10)?;
    text[..10].copy_from_slice(date);
    (text[4], text[7], text[10]) = (b'-', b'-', b'T');
    text[11..].copy_from_slice(time);
    date_time(text).filter(|at| at.offset_ns.is_none() && date[4] == b'.' && date[7] == b'.').map(|at| at.local_ns)
}
