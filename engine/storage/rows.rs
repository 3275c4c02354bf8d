//! Records to rows: which table, which database, which partition, and the bytes. Pure.
//!
//! The bytes are RowBinary, made here and not through serde, because the manifest needs them: a batch that is sent
//! again after a crash must be the same, byte for byte.

mod work;

use std::fmt;

use serde::{Deserialize, Serialize};
use tickwire_schemas::NO_TIME;
use tickwire_schemas::record::{Bar, Gap, Head, Indicator, Quote, Record, RecordError, SourceState, Tick, Trade};
use tickwire_schemas::words::{
    Aggressor, BarState, Basis, Cause, GapState, IndicatorState, Kind, Origin, QuoteState, SourceStatus, Timeframe,
    Verdict, quote_flag,
};

use super::column::{
    Column, Flag, I64, OptPrice, OptSize, OptTime, OptU64, Price, Text, Time, U8, U16, U32, U64, Values, Words,
    put_length, put_text,
};
use super::names::Names;
use work::Execution;

/// Version of the encoding below: raised with every change to it, so that a batch begun by an older engine is not
/// taken for damaged when its checksum differs.
pub const ENCODING: u32 = 2;

/// Epoch of rows that were asked of a venue and not journaled; the engine's own begin with 1.
pub const FETCHED_EPOCH: u32 = 0;

/// Tables of measurements that are no records: they do not come from the journal, and the audit says nothing of them.
pub const NOT_JOURNALED: &[&str] = &["stage_latency", "source_quality"];

/// Who may see a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everybody who may query: rows of global sources.
    Global,
    /// Only through the API: rows of private sources.
    Private,
}

/// A table that the writer fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Accepted ticks.
    Ticks,
    /// Ticks with any other verdict.
    Rejects,
    /// Trades with any verdict.
    Trades,
    /// Quotes, common and private.
    Quotes,
    /// Final and revised bars.
    Bars,
    /// Values of indicators.
    Indicators,
    /// Holes in the data.
    Gaps,
    /// Changes of sources' connections.
    SourceState,
    /// A row for each bar, fetched ones too, and each failure, made from the records that say so.
    PipelineExecutions,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 9] = [
        Table::Ticks,
        Table::Rejects,
        Table::Trades,
        Table::Quotes,
        Table::Bars,
        Table::Indicators,
        Table::Gaps,
        Table::SourceState,
        Table::PipelineExecutions,
    ];

    /// The table's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Table::Ticks => "ticks",
            Table::Rejects => "rejects",
            Table::Trades => "trades",
            Table::Quotes => "quotes",
            Table::Bars => "bars",
            Table::Indicators => "indicators",
            Table::Gaps => "gaps",
            Table::SourceState => "source_state",
            Table::PipelineExecutions => "pipeline_executions",
        }
    }

    /// Name and type of the columns in the order in which they are encoded.
    pub fn columns(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (columns, more): (&[_], &[_]) = match self {
            Table::Ticks => (tick::COLUMNS, &[]),
            Table::Rejects => (tick::COLUMNS, refusal::COLUMNS),
            Table::Trades => (trade::COLUMNS, &[]),
            Table::Quotes => (quote::COLUMNS, &[]),
            Table::Bars => (bar::COLUMNS, &[]),
            Table::Indicators => (indicator::COLUMNS, &[]),
            Table::Gaps => (gap::COLUMNS, &[]),
            Table::SourceState => (source_state::COLUMNS, &[]),
            Table::PipelineExecutions => (execution::COLUMNS, &[]),
        };
        columns.iter().chain(more).copied()
    }

    /// What precedes the rows of an insert: names and types, which the server checks against its own.
    #[must_use]
    pub fn header(self) -> Vec<u8> {
        header_of(self.columns())
    }
}

/// See [`Table::header`].
pub(super) fn header_of(columns: impl Iterator<Item = (&'static str, &'static str)>) -> Vec<u8> {
    let columns: Vec<_> = columns.collect();
    let mut out = Vec::with_capacity(1024);
    put_length(columns.len(), &mut out);
    columns.iter().for_each(|(name, _)| put_text(name, &mut out));
    columns.iter().for_each(|(_, of)| put_text(of, &mut out));
    out
}

/// Where rows go together: an insert touches one partition of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// Which database.
    pub audience: Audience,
    /// Which table.
    pub table: Table,
    /// The partition as the server names it: `YYYYMMDD` or `YYYYMM`.
    pub partition: u32,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let private = if self.audience == Audience::Private { " (private)" } else { "" };
        write!(f, "{}{private}:{}", self.table.name(), self.partition)
    }
}

/// A record that has a table.
#[derive(Debug, Clone, Copy)]
pub enum Stored {
    /// An accepted tick or a reject.
    Tick(Tick),
    /// A trade.
    Trade(Trade),
    /// A quote.
    Quote(Quote),
    /// A final or revised bar.
    Bar(Bar),
    /// An indicator's value.
    Indicator(Indicator),
    /// A hole.
    Gap(Gap),
    /// A source's change.
    SourceState(SourceState),
}

/// State of a bar that is still forming: not stored.
const PROVISIONAL: u8 = BarState::Provisional.code();

impl Stored {
    /// Reads a journaled record; `None` for kinds that are not stored (timers, drops, forming bars).
    ///
    /// # Errors
    /// [`RecordError`] when the bytes are too few.
    pub fn read(kind: Kind, bytes: &[u8]) -> Result<Option<Stored>, RecordError> {
        Ok(Some(match kind {
            Kind::Tick => Stored::Tick(Tick::read(bytes)?),
            Kind::Trade => Stored::Trade(Trade::read(bytes)?),
            Kind::Quote => Stored::Quote(Quote::read(bytes)?),
            Kind::Bar => match Bar::read(bytes)? {
                Bar { state: PROVISIONAL, .. } => return Ok(None),
                bar => Stored::Bar(bar),
            },
            Kind::Indicator => Stored::Indicator(Indicator::read(bytes)?),
            Kind::Gap => Stored::Gap(Gap::read(bytes)?),
            Kind::SourceState => Stored::SourceState(SourceState::read(bytes)?),
            Kind::Timer | Kind::Drop | Kind::External | Kind::Repair | Kind::Signal | Kind::Command | Kind::Ack => {
                return Ok(None);
            }
        }))
    }

    /// Identity and publication time.
    #[must_use]
    pub fn head(&self) -> &Head {
        match self {
            Stored::Tick(r) => &r.head,
            Stored::Trade(r) => &r.head,
            Stored::Quote(r) => &r.head,
            Stored::Bar(r) => &r.head,
            Stored::Indicator(r) => &r.head,
            Stored::Gap(r) => &r.head,
            Stored::SourceState(r) => &r.head,
        }
    }

    /// The lanes it belongs to: one row in each. A bar and a failure are executions of the pipeline too; ticks of a source
    /// that does not store them belong to none.
    pub fn lanes(&self, names: &Names) -> impl Iterator<Item = Lane> + use<> {
        let own = self.lane(names);
        let is_stored = !matches!(self, Stored::Tick(_)) || names.stores_ticks(self.head().source_id);
        let execution = Execution::of(self).map(|execution| Lane {
            table: Table::PipelineExecutions,
            partition: day(execution.finished_ns) / 100,
            ..own
        });
        Some(own).filter(|_| is_stored).into_iter().chain(execution)
    }

    fn lane(&self, names: &Names) -> Lane {
        let (table, partition) = match self {
            Stored::Tick(r) if r.verdict == Verdict::Accepted.code() => (Table::Ticks, day(r.ts_recv_ns)),
            Stored::Tick(r) => (Table::Rejects, day(r.ts_recv_ns)),
            Stored::Trade(r) => (Table::Trades, day(r.ts_recv_ns)),
            Stored::Quote(r) => (Table::Quotes, day(r.ts_recv_ns)),
            Stored::Bar(r) => (Table::Bars, day(r.open_ts_ns) / 100),
            Stored::Indicator(r) => (Table::Indicators, day(r.bar_ts_ns) / 100),
            Stored::Gap(r) => (Table::Gaps, day(r.ts_recv_ns) / 100),
            Stored::SourceState(r) => (Table::SourceState, day(r.ts_recv_ns) / 100),
        };
        let private = names.is_private(self.head().source_id);
        Lane { audience: if private { Audience::Private } else { Audience::Global }, table, partition }
    }

    /// Appends the row of `table`, one of those of [`Stored::lanes`].
    pub fn encode(&self, table: Table, names: &Names, out: &mut Vec<u8>) {
        if table == Table::PipelineExecutions {
            if let Some(row) = Execution::of(self) {
                execution::encode(&row, names, out);
            }
            return;
        }
        match self {
            Stored::Tick(r) => {
                tick::encode(r, names, out);
                if r.verdict != Verdict::Accepted.code() {
                    refusal::encode(r, names, out);
                }
            }
            Stored::Trade(r) => trade::encode(r, names, out),
            Stored::Quote(r) => quote::encode(r, names, out),
            Stored::Bar(r) => bar::encode(r, names, out),
            Stored::Indicator(r) => indicator::encode(r, names, out),
            Stored::Gap(r) => gap::encode(r, names, out),
            Stored::SourceState(r) => source_state::encode(r, names, out),
        }
    }
}

/// From and to of a hole; what nobody knows is when the engine noticed.
fn span(gap: &Gap) -> (i64, i64) {
    let known = |ns: i64| if ns == NO_TIME { gap.ts_recv_ns } else { ns };
    (known(gap.from_ns), known(gap.to_ns))
}

/// The UTC day of a time as `YYYYMMDD`, like `toYYYYMMDD`: the civil calendar counted in 400-year eras from March.
pub(super) fn day(ns: i64) -> u32 {
    let days = ns.div_euclid(86_400_000_000_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year * 10_000 + month * 100 + day) as u32
}

/// The word of a code; a code that this version does not know has none.
fn word<T>(known: Option<T>, word: impl Fn(T) -> &'static str) -> &'static str {
    known.map_or("", word)
}

/// Declares a table's columns and their values side by side, so that they cannot drift apart.
macro_rules! row {
    ($table:ident: |$row:ident: &$record:ty, $names:ident| $($column:ident $of:ident = $value:expr,)*) => {
        mod $table {
            use super::*;
            pub(super) const COLUMNS: &[(&str, &str)] = &[$((stringify!($column), $of::TYPE),)*];
            pub(super) fn encode($row: &$record, $names: &Names, out: &mut Vec<u8>) {
                $($of::put($value, out);)*
            }
        }
    };
}

pub(super) use row;

row! { tick: |r: &Tick, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    ts_event OptTime = r.ts_event_ns,
    ts_recv Time = r.ts_recv_ns,
    ts_publish Time = r.head.ts_publish_ns,
    bid OptPrice = r.bid_e9,
    ask OptPrice = r.ask_e9,
    bid_size OptSize = r.bid_size_e8,
    ask_size OptSize = r.ask_size_e8,
    source_seq OptU64 = r.source_seq,
    flags Words = r.flags,
    confidence U8 = r.confidence,
}

row! { refusal: |r: &Tick, _names|
    verdict Text = word(Verdict::from_code(r.verdict), Verdict::word),
    reasons Words = r.reasons,
}

row! { trade: |r: &Trade, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    ts_event OptTime = r.ts_event_ns,
    ts_recv Time = r.ts_recv_ns,
    ts_publish Time = r.head.ts_publish_ns,
    price Price = r.price_e9,
    size OptSize = r.size_e8,
    trade_id OptU64 = r.trade_id,
    aggressor Text = word(Aggressor::from_code(r.aggressor), Aggressor::word),
    flags Words = r.flags,
    verdict Text = word(Verdict::from_code(r.verdict), Verdict::word),
    reasons Words = r.reasons,
}

row! { quote: |r: &Quote, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    ts_event OptTime = r.ts_event_ns,
    ts_recv Time = r.ts_recv_ns,
    ts_publish Time = r.head.ts_publish_ns,
    bid OptPrice = r.bid_e9,
    ask OptPrice = r.ask_e9,
    bid_size OptSize = r.bid_size_e8,
    ask_size OptSize = r.ask_size_e8,
    bid_source Text = &names.source_or_empty(r.bid_source_id),
    ask_source Text = &names.source_or_empty(r.ask_source_id),
    sources U16 = r.sources,
    state Text = word(QuoteState::from_code(r.state), QuoteState::word),
    cross_source Flag = r.flags & quote_flag::CROSS_SOURCE != 0,
}

row! { bar: |r: &Bar, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    timeframe Text = word(Timeframe::from_code(r.timeframe), Timeframe::word),
    origin Text = word(Origin::from_code(r.origin), Origin::word),
    basis Text = word(Basis::from_code(r.basis), Basis::word),
    open_ts Time = r.open_ts_ns,
    close_ts Time = r.close_ts_ns,
    bid_o OptPrice = r.bid.open_e9,
    bid_h OptPrice = r.bid.high_e9,
    bid_l OptPrice = r.bid.low_e9,
    bid_c OptPrice = r.bid.close_e9,
    ask_o OptPrice = r.ask.open_e9,
    ask_h OptPrice = r.ask.high_e9,
    ask_l OptPrice = r.ask.low_e9,
    ask_c OptPrice = r.ask.close_e9,
    mid_o OptPrice = r.mid.open_e9,
    mid_h OptPrice = r.mid.high_e9,
    mid_l OptPrice = r.mid.low_e9,
    mid_c OptPrice = r.mid.close_e9,
    ticks U64 = r.ticks,
    volume OptSize = r.volume_e8,
    revision U32 = u32::from(r.revision),
    state Text = word(BarState::from_code(r.state), BarState::word),
}

row! { indicator: |r: &Indicator, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    timeframe Text = word(Timeframe::from_code(r.timeframe), Timeframe::word),
    indicator Text = &names.indicator(r.indicator_id),
    bar_ts Time = r.bar_ts_ns,
    values Values = r.values_bits,
    state Text = word(IndicatorState::from_code(r.state), IndicatorState::word),
}

row! { gap: |r: &Gap, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source_or_empty(r.head.source_id),
    source_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    gap_id U64 = r.gap_id,
    epoch_opened U32 = r.gap_epoch,
    ts_recv Time = r.ts_recv_ns,
    // A hole before the first data begins where the engine noticed it.
    from_ts Time = span(r).0,
    to_ts OptTime = r.to_ns,
    cause Text = word(Cause::from_code(r.cause), Cause::word),
    state Text = word(GapState::from_code(r.state), GapState::word),
    lost OptU64 = r.lost,
}

row! { source_state: |r: &SourceState, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    chain U64 = r.head.chain,
    source Text = &names.source(r.head.source_id),
    source_id U32 = r.head.source_id,
    ts_recv Time = r.ts_recv_ns,
    state Text = word(SourceStatus::from_code(r.status), SourceStatus::word),
    cause Text = word(Cause::from_code(r.cause), Cause::word),
    attempt U32 = r.attempt,
    symbol Text = &names.symbol(r.head.instrument_id),
}

row! { execution: |r: &Execution, names|
    epoch U32 = r.head.epoch,
    seq U64 = r.head.seq,
    connection Text = &if r.is_bar() { names.source(r.head.source_id) } else { names.source_or_empty(r.head.source_id) },
    connection_id U32 = r.head.source_id,
    symbol Text = &names.symbol(r.head.instrument_id),
    instrument_id U32 = r.head.instrument_id,
    timeframe Text = word(Timeframe::from_code(r.timeframe), Timeframe::word),
    stage Text = r.stage,
    status Text = if r.is_bar() { "completed" } else { "failed" },
    started_ts Time = r.started_ns,
    finished_ts Time = r.finished_ns,
    duration_ns I64 = r.finished_ns.saturating_sub(r.started_ns),
    error Text = if r.is_bar() { "" } else { word(Cause::from_code(r.cause), Cause::word) },
}

#[cfg(test)]
mod tests;
