//! `kline` of one category.

use std::time::Duration;

use serde_json::Value;
use tickwire_schemas::words::{Cause, Timeframe};

use super::super::candles::{Dialect, Page, Query, Row, array_row, expected};
use super::Category;
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;

/// How long the venue wants to be left alone by those who asked too often.
const RETRY_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Klines(pub(super) Category);

impl Dialect for Klines {
    const ROWS_MAX: usize = 1_000;

    /// 600 requests in 5 seconds.
    fn rate(&self) -> Rate {
        Rate::within(600, Duration::from_secs(5))
    }

    fn query(&self, page: Page<'_>) -> Option<Query> {
        let interval = match page.timeframe {
            Timeframe::M1 => "1",
            Timeframe::M5 => "5",
            Timeframe::M15 => "15",
            Timeframe::M30 => "30",
            Timeframe::H1 => "60",
            Timeframe::H4 => "240",
            Timeframe::D1 => "D",
            Timeframe::W1 => "W",
            Timeframe::MN => "M",
        };
        let (start, end) = page.ends(1_000_000);
        let query = vec![
            ("category", self.0.word().to_string()),
            ("symbol", page.symbol.to_string()),
            ("interval", interval.to_string()),
            ("start", start.to_string()),
            ("end", end.to_string()),
            ("limit", Self::ROWS_MAX.to_string()),
        ];
        Some(("/v5/market/kline".to_string(), query))
    }

    fn rows<'a>(&self, reply: &'a Value) -> Result<Vec<Row<'a>>, Failure> {
        if reply["retCode"] != 0 {
            let text = Self::words(reply).unwrap_or_else(|| "no retCode".to_string());
            return Err(match reply["retCode"].as_i64() {
                Some(10_006) => Failure { cause: Cause::RateLimited, text, retry_after: Some(RETRY_AFTER) },
                _ => Failure::new(Cause::ProtocolError, text),
            });
        }
        let rows = reply["result"]["list"].as_array();
        let rows = rows.map(|rows| rows.iter().map(|row| array_row(row, 1_000_000, 5, None)).collect());
        rows.flatten().ok_or_else(|| expected("a list of klines"))
    }

    fn words(reply: &Value) -> Option<String> {
        Some(format!("{} ({})", reply["retMsg"].as_str()?, reply["retCode"]))
    }
}
