//! Past ticks into the table `ticks`, each once.
//!
//! Nothing replaces rows of ticks as one bar replaces another. So what is to be stored is compared with what is there, of
//! equal ones as many as there are; and an insert whose answer was lost is the same block under the same token, which the
//! database drops.

use std::collections::{BTreeMap, HashMap};

use tickwire_schemas::record::{Head, Tick};
use tickwire_schemas::words::{Verdict, flag};
use tickwire_schemas::{NO_NUMBER, NO_SIZE};

use super::Endpoint;
use super::client::{self, DatabaseError, database_of};
use super::names::Names;
use super::rows::{Audience, FETCHED_EPOCH, Lane, Stored, Table};
use crate::feeds::adapters::PastTick;
use crate::market::Price;

/// Rows of one insert: some 10 MB.
const INSERT_ROWS: usize = 50_000;

/// How far the engine's time of receipt may be from the venue's stamp of a live tick, for it to be found.
const SKEW_NS: i64 = 600_000_000_000;

/// How many ticks of one time and two prices there are.
pub type Counted = HashMap<(i64, i64, i64), u64>;

/// A source's symbol in a database.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Where the database is.
    pub endpoint: &'a Endpoint,
    /// Its name for global sources.
    pub database: &'a str,
    /// The words for the two ids.
    pub names: &'a Names,
    /// The source.
    pub source_id: u32,
    /// The symbol.
    pub instrument_id: u32,
}

impl Target<'_> {
    /// The head of rows that no record of the journal stands behind.
    #[must_use]
    pub fn head(&self) -> Head {
        let Target { source_id, instrument_id, .. } = *self;
        Head { epoch: FETCHED_EPOCH, source_id, instrument_id, ..Head::default() }
    }

    /// Asks for something of the rows of `table` that meet `are`, a condition.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn select(&self, what: &str, table: &str, are: &str) -> Result<String, DatabaseError> {
        let private = self.names.is_private(self.source_id);
        let audience = if private { Audience::Private } else { Audience::Global };
        let client = self.endpoint.client().with_database(database_of(self.database, audience));
        // Names of sources and symbols hold nothing that would have to be quoted.
        let (symbol, source) = (self.names.symbol(self.instrument_id), self.names.source(self.source_id));
        let sql = format!("SELECT {what} FROM {table} WHERE symbol = '{symbol}' AND source = '{source}' AND {are}");
        client::query(&client, &sql, "TabSeparated").await
    }

    /// The ticks that were fetched of `[from, to)` before, by the venue's stamps; with `live` those that the engine received
    /// and accepted too.
    ///
    /// # Errors
    /// [`DatabaseError`]; refused is also an answer that is none.
    pub async fn ticks_there(&self, (from_ns, to_ns): (i64, i64), live: bool) -> Result<Counted, DatabaseError> {
        let at = |ns: i64| format!("fromUnixTimestamp64Nano({ns}, 'UTC')");
        let are = if live {
            let (early, late) = (from_ns.saturating_sub(SKEW_NS), to_ns.saturating_add(SKEW_NS));
            format!(
                "ts_recv >= {} AND ts_recv < {} AND ts_event >= {} AND ts_event < {}",
                at(early),
                at(late),
                at(from_ns),
                at(to_ns)
            )
        } else {
            format!("epoch = {FETCHED_EPOCH} AND ts_recv >= {} AND ts_recv < {}", at(from_ns), at(to_ns))
        };
        let time =
            if live { "toUnixTimestamp64Nano(assumeNotNull(ts_event))" } else { "toUnixTimestamp64Nano(ts_recv)" };
        counted(&self.select(&format!("{time}, bid, ask"), "ticks", &are).await?)
    }

    /// Inserts rows of a table, a partition at a time; `of` tells in the token what they are.
    ///
    /// # Errors
    /// [`DatabaseError`]; what was inserted before it is there.
    pub async fn insert(&self, table: Table, rows: &[Stored], of: &str) -> Result<(), DatabaseError> {
        for some in rows.chunks(INSERT_ROWS) {
            let mut lanes: BTreeMap<Lane, Vec<u8>> = BTreeMap::new();
            for row in some {
                let Some(lane) = row.lanes(self.names).find(|lane| lane.table == table) else { continue };
                row.encode(table, self.names, lanes.entry(lane).or_insert_with(|| table.header()));
            }
            for (lane, body) in lanes {
                // What a venue says of the same stretch another time is another batch only where it differs.
                let crc = crc32c::crc32c(&body);
                let token = format!("{of}:{}:{crc:08x}", lane.partition);
                let client = self.endpoint.client().with_database(database_of(self.database, lane.audience));
                client::insert(&client, lane.table, &token, body.into()).await?;
            }
        }
        Ok(())
    }
}

fn counted(text: &str) -> Result<Counted, DatabaseError> {
    let mut counted = Counted::new();
    for line in text.lines() {
        let price = |text: &str| match text {
            "\\N" => Some(None),
            _ => Price::parse(text.as_bytes()).ok().map(Some),
        };
        let mut cells = line.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let row = (cell().parse::<i64>().ok(), price(cell()), price(cell()));
        let (Some(at_ns), Some(bid), Some(ask)) = row else {
            return Err(DatabaseError::Refused(format!("expected a time and two prices, found {line:?}")));
        };
        *counted.entry((at_ns, Price::to_wire(bid), Price::to_wire(ask))).or_default() += 1;
    }
    Ok(counted)
}

/// The ticks that are not there yet, as rows: of equal ones as many as there are not. Nobody received them when they were
/// said, so all of their times are the venue's, and no stage has looked at them, so nothing vouches for them. `flags` are
/// [`flag::FETCHED`] and what else is to be said of them.
pub fn new_rows(ticks: Vec<PastTick>, mut there: Counted, head: Head, flags: u32) -> impl Iterator<Item = Stored> {
    let is_new = move |tick: &PastTick| {
        let key = (tick.ts_event_ns, Price::to_wire(tick.bid), Price::to_wire(tick.ask));
        match there.get_mut(&key) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        }
    };
    let row = move |tick: PastTick| {
        Stored::Tick(Tick {
            head: Head { ts_publish_ns: tick.ts_event_ns, ..head },
            ts_event_ns: tick.ts_event_ns,
            ts_recv_ns: tick.ts_event_ns,
            bid_e9: Price::to_wire(tick.bid),
            ask_e9: Price::to_wire(tick.ask),
            bid_size_e8: NO_SIZE,
            ask_size_e8: NO_SIZE,
            source_seq: NO_NUMBER,
            flags: flags | flag::FETCHED,
            reasons: 0,
            verdict: Verdict::Accepted.code(),
            confidence: 0,
        })
    };
    ticks.into_iter().filter(is_new).map(row)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_equal_ticks_as_many_are_new_as_are_not_there() {
        let tick = |at, bid| PastTick { ts_event_ns: at, bid: Price::from_e9(bid), ask: None };
        let fetched = vec![tick(1, 7), tick(1, 7), tick(1, 7), tick(2, 7), tick(2, 8)];
        let there = counted("1\t0.000000007\t\\N\n1\t0.000000007\t\\N\n2\t0.000000008\t\\N\n").unwrap();
        let new: Vec<_> = new_rows(fetched, there, Head::default(), flag::REPAIRED)
            .map(|row| match row {
                Stored::Tick(tick) => (tick.ts_recv_ns, tick.bid_e9, tick.flags),
                other => panic!("{other:?}"),
            })
            .collect();
        let flags = flag::FETCHED | flag::REPAIRED;
        assert_eq!(new, [(1, 7, flags), (2, 7, flags)]);
        assert!(counted("noon\t1\t1\n").unwrap_err().to_string().contains("found \"noon"));
    }
}
