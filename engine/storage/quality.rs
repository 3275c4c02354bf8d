//! The rows of `source_quality`: what the module `quality` makes of a minute of a source and symbol.
//!
//! Measured from what is journaled, and best effort like the other measurements ([`super::telemetry`]): rows may be
//! missing after a crash or while the database is away, and none is there twice.

use std::sync::Arc;

use super::column::{Column, Counts, F32, OptI64, OptPrice, Second, Text, U16, U32, U64};
use super::names::Names;
use super::rows::{Audience, day, row};
use super::telemetry::{Measurement, Numbered};
use crate::metrics::{self, Counter};

const SECOND_NS: i64 = 1_000_000_000;

/// What a source said of a symbol in a minute; the module `quality` defines each figure.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceMinute {
    /// Who may see it.
    pub audience: Audience,
    /// Name of the source.
    pub source: Arc<str>,
    /// Canonical symbol.
    pub symbol: Arc<str>,
    /// Start of the minute, seconds since 1970.
    pub minute: i64,
    /// Accepted prices.
    pub ticks: u64,
    /// Prices with any other verdict.
    pub rejects: u64,
    /// Median of receipt less stamp, microseconds; `None` without stamps.
    pub latency_p50_us: Option<i64>,
    /// 99 of 100.
    pub latency_p99_us: Option<i64>,
    /// Average spread in billionths; [`tickwire_schemas::NO_PRICE`] without one.
    pub avg_spread_e9: i64,
    /// Percent of the time in which the source was live.
    pub uptime_percent: f32,
    /// Percent of the time outside of holes.
    pub completeness_percent: f32,
    /// Common quotes in which it made the bid.
    pub best_bid_count: u64,
    /// Common quotes in which it made the ask.
    pub best_ask_count: u64,
    /// 0 to 100.
    pub score: f32,
    /// How many prices were rejected for which reason, those that occurred.
    pub reject_reasons: Vec<(&'static str, u64)>,
    /// Accepted prices a second.
    pub ticks_per_second: f32,
    /// Common quotes of the symbol that had a price.
    pub best_quotes: u64,
    /// Seconds of the minute that were watched: less than 60 where the engine started or stopped.
    pub open_seconds: f32,
    /// Rank among equals: the smaller wins.
    pub priority: u16,
}

row! { minute: |r: &Numbered<SourceMinute>, _names|
    epoch U32 = r.epoch,
    seq U64 = r.seq,
    source Text = &r.row.source,
    symbol Text = &r.row.symbol,
    minute Second = r.row.minute,
    ticks U64 = r.row.ticks,
    rejects U64 = r.row.rejects,
    latency_p50_us OptI64 = r.row.latency_p50_us,
    latency_p99_us OptI64 = r.row.latency_p99_us,
    avg_spread OptPrice = r.row.avg_spread_e9,
    uptime_percent F32 = r.row.uptime_percent,
    completeness_percent F32 = r.row.completeness_percent,
    best_bid_count U64 = r.row.best_bid_count,
    best_ask_count U64 = r.row.best_ask_count,
    score F32 = r.row.score,
    reject_reasons Counts = &r.row.reject_reasons,
    ticks_per_second F32 = r.row.ticks_per_second,
    best_quotes U64 = r.row.best_quotes,
    open_seconds F32 = r.row.open_seconds,
    priority U16 = r.row.priority,
}

impl Measurement for SourceMinute {
    const TABLE: &'static str = "source_quality";
    const COLUMNS: &'static [(&'static str, &'static str)] = minute::COLUMNS;
    /// A minute of 256 sources with 32 symbols each.
    const QUEUE_ROWS: usize = 8_192;
    const LOST: &'static Counter = &metrics::SOURCE_QUALITY_LOST;

    fn audience(&self) -> Audience {
        self.audience
    }

    fn partition(&self) -> i64 {
        i64::from(day(self.minute.saturating_mul(SECOND_NS)) / 100)
    }

    fn encode(row: &Numbered<Self>, out: &mut Vec<u8>) {
        minute::encode(row, &Names::default(), out);
    }
}
