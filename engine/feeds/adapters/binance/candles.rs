//! `klines`, of spot and of USD-M futures.

use std::time::Duration;

use serde_json::Value;
use tickwire_schemas::words::Timeframe;

use super::super::candles::{Dialect, Page, Query, Row, array_row, expected};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;

/// Klines below a path.
#[derive(Debug)]
pub(in super::super) struct Klines(pub(in super::super) &'static str);

impl Dialect for Klines {
    const ROWS_MAX: usize = 1_000;

    /// A weight of 6,000 in a minute, 2 for each request; of 2,400 for the futures, 5 for each.
    fn rate(&self) -> Rate {
        let spot = self.0.starts_with("/api/");
        Rate::within(if spot { 3_000 } else { 480 }, Duration::from_secs(60))
    }

    fn query(&self, page: Page<'_>) -> Option<Query> {
        let interval = match page.timeframe {
            Timeframe::M1 => "1m",
            Timeframe::M5 => "5m",
            Timeframe::M15 => "15m",
            Timeframe::M30 => "30m",
            Timeframe::H1 => "1h",
            Timeframe::H4 => "4h",
            Timeframe::D1 => "1d",
            Timeframe::W1 => "1w",
            Timeframe::MN => "1M",
        };
        let (from_ms, last_ms) = page.ends(1_000_000);
        let query = vec![
            ("symbol", page.symbol.to_uppercase()),
            ("interval", interval.to_string()),
            ("startTime", from_ms.to_string()),
            ("endTime", last_ms.to_string()),
            ("limit", Self::ROWS_MAX.to_string()),
        ];
        Some((self.0.to_string(), query))
    }

    fn rows<'a>(&self, reply: &'a Value) -> Result<Vec<Row<'a>>, Failure> {
        let rows = reply.as_array().map(|rows| rows.iter().map(|row| array_row(row, 1_000_000, 5, Some(8))).collect());
        rows.flatten().ok_or_else(|| expected("rows of klines"))
    }

    fn words(reply: &Value) -> Option<String> {
        Some(format!("{} ({})", reply["msg"].as_str()?, reply["code"]))
    }
}
