//! What differs between past bars and past ticks: what is asked, in which chunks, and which rows come of it.

use tickwire_schemas::record::{Bar, Head};
use tickwire_schemas::words::Timeframe;

use super::missing::is_open_in;
use super::progress::Progress;
use crate::feeds::adapters::{Answer, History, PastTick, TickHistory};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;
use crate::market::Calendar;
use crate::storage::past::{Counted, new_rows};
use crate::storage::rows::{FETCHED_EPOCH, Stored, Table};

const DAY_NS: i64 = 86_400_000_000_000;

/// From and to of a chunk.
pub(super) type Chunk = (i64, i64);

/// What is fetched.
#[derive(Debug)]
pub(super) enum Work<'a> {
    Bars(Bars<'a>),
    Ticks(Ticks<'a>),
}

#[derive(Debug)]
pub(super) struct Bars<'a> {
    pub(super) history: &'a dyn History,
    pub(super) venue_symbol: &'a str,
    pub(super) timeframe: Timeframe,
}

#[derive(Debug)]
pub(super) struct Ticks<'a> {
    pub(super) history: &'a dyn TickHistory,
    pub(super) venue_symbol: &'a str,
}

/// What a venue answered.
#[derive(Debug)]
pub(super) enum Fetched {
    Bars(Vec<Bar>),
    Ticks(Vec<PastTick>),
}

impl Work<'_> {
    pub(super) fn host(&self) -> &str {
        match self {
            Work::Bars(bars) => bars.history.host(),
            Work::Ticks(ticks) => ticks.history.host(),
        }
    }

    pub(super) fn rate(&self) -> Rate {
        match self {
            Work::Bars(bars) => bars.history.rate(),
            Work::Ticks(ticks) => ticks.history.rate(),
        }
    }

    pub(super) fn close(&self) -> Answer<'_, ()> {
        match self {
            Work::Bars(bars) => bars.history.close(),
            Work::Ticks(ticks) => ticks.history.close(),
        }
    }

    pub(super) fn table(&self) -> Table {
        match self {
            Work::Bars(_) => Table::Bars,
            Work::Ticks(_) => Table::Ticks,
        }
    }

    /// The word for it in names of files and tokens.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Work::Bars(bars) => bars.timeframe.word(),
            Work::Ticks(_) => "ticks",
        }
    }

    /// The column that chunks are cut by, and what tells its rows from those of the engine.
    pub(super) fn rows_are(&self) -> (&'static str, &'static str, String) {
        match self {
            Work::Bars(bars) => {
                ("bars FINAL", "open_ts", format!("timeframe = '{}' AND origin = 'backfill'", bars.timeframe))
            }
            Work::Ticks(_) => ("ticks", "ts_recv", format!("epoch = {FETCHED_EPOCH}")),
        }
    }

    /// Where the chunk ends that begins at `from_ns`: as much as the venue answers at once. Chunks of ticks end at
    /// midnight UTC where a day is the most, whatever the request began with: requests that overlap ask the same.
    pub(super) fn chunk_end(&self, from_ns: i64) -> i64 {
        match self {
            Work::Bars(bars) => {
                from_ns.saturating_add(length_ns(bars.timeframe).saturating_mul(bars.history.page() as i64))
            }
            Work::Ticks(ticks) => {
                let span_ns = ticks.history.span_ns().clamp(1, DAY_NS);
                from_ns.saturating_add(span_ns - from_ns.rem_euclid(span_ns))
            }
        }
    }

    /// Whether there is nothing to ask: ticks of a chunk in which the market was never open. (Of bars many chunks fit into
    /// one request anyway.)
    pub(super) fn is_idle(&self, calendar: &mut Calendar, (from_ns, to_ns): Chunk) -> bool {
        matches!(self, Work::Ticks(_)) && !is_open_in(calendar, from_ns, to_ns)
    }

    pub(super) async fn fetch(&self, (from_ns, to_ns): Chunk) -> Result<Fetched, Failure> {
        match self {
            Work::Bars(bars) => {
                let found = bars.history.bars(bars.venue_symbol, bars.timeframe, from_ns, to_ns).await?;
                Ok(Fetched::Bars(found))
            }
            Work::Ticks(ticks) => {
                let mut found = ticks.history.ticks(ticks.venue_symbol, from_ns, to_ns).await?;
                found.retain(|tick| (from_ns..to_ns).contains(&tick.ts_event_ns));
                Ok(Fetched::Ticks(found))
            }
        }
    }

    /// The timeframe of the intervals that are missing when nothing is in them: ticks are looked for hour by hour.
    pub(super) fn grain(&self) -> Timeframe {
        match self {
            Work::Bars(bars) => bars.timeframe,
            Work::Ticks(_) => Timeframe::H1,
        }
    }

    /// The rows of a chunk without those of `there`, and what the chunk says of the progress.
    pub(super) fn rows(
        &self,
        fetched: Fetched,
        chunk: Chunk,
        head: Head,
        calendar: &mut Calendar,
        progress: &mut Progress,
        there: Counted,
    ) -> Vec<Stored> {
        match fetched {
            Fetched::Bars(mut bars) => {
                progress.odd_cuts += complete(&mut bars, head, self.grain(), calendar);
                progress.missing.page(calendar, self.grain(), chunk, bars.iter().map(|bar| bar.open_ts_ns));
                progress.rows += bars.len() as u64;
                bars.into_iter().map(Stored::Bar).collect()
            }
            Fetched::Ticks(ticks) => {
                progress.missing.page(calendar, self.grain(), chunk, ticks.iter().map(|tick| tick.ts_event_ns));
                progress.rows += ticks.len() as u64;
                new_rows(ticks, there, head, 0).collect()
            }
        }
    }
}

/// Fills in what the adapter does not know; returns how many bars begin where our calendar begins none.
fn complete(bars: &mut [Bar], head: Head, timeframe: Timeframe, calendar: &mut Calendar) -> u64 {
    let mut odd = 0;
    for bar in bars {
        bar.head = head;
        let span = calendar.interval(timeframe, bar.open_ts_ns);
        let length_ns = span.map_or(length_ns(timeframe), |span| span.to_ns - span.from_ns);
        odd += u64::from(span.is_some_and(|span| span.from_ns != bar.open_ts_ns));
        bar.close_ts_ns = bar.open_ts_ns.saturating_add(length_ns);
    }
    odd
}

/// The shortest length of a bar of a timeframe, so that no page holds more bars than the venue returns.
fn length_ns(timeframe: Timeframe) -> i64 {
    const MINUTE_NS: i64 = 60_000_000_000;
    MINUTE_NS
        * match timeframe {
            Timeframe::M1 => 1,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H4 => 240,
            // A day may lose an hour to daylight saving time.
            Timeframe::D1 => 23 * 60,
            Timeframe::W1 => (7 * 24 - 1) * 60,
            Timeframe::MN => (28 * 24 - 1) * 60,
        }
}
