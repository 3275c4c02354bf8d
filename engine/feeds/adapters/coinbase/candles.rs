//! `candles` of the public market endpoints. There are none of four hours, weeks and months.

use std::time::Duration;

use serde_json::Value;
use tickwire_schemas::words::Timeframe;

use super::super::candles::{Dialect, Page, Query, Row, expected};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;

#[derive(Debug)]
pub(super) struct Public;

impl Dialect for Public {
    /// The venue documents 350, and refuses with "less than 350".
    const ROWS_MAX: usize = 349;

    /// Public requests of one address: ten a second.
    fn rate(&self) -> Rate {
        Rate::within(10, Duration::from_secs(1))
    }

    fn query(&self, page: Page<'_>) -> Option<Query> {
        let granularity = match page.timeframe {
            Timeframe::M1 => "ONE_MINUTE",
            Timeframe::M5 => "FIVE_MINUTE",
            Timeframe::M15 => "FIFTEEN_MINUTE",
            Timeframe::M30 => "THIRTY_MINUTE",
            Timeframe::H1 => "ONE_HOUR",
            Timeframe::D1 => "ONE_DAY",
            Timeframe::H4 | Timeframe::W1 | Timeframe::MN => return None,
        };
        let (start, end) = page.ends(1_000_000_000);
        let query = vec![
            ("start", start.to_string()),
            ("end", end.to_string()),
            ("granularity", granularity.to_string()),
            ("limit", Self::ROWS_MAX.to_string()),
        ];
        Some((format!("/api/v3/brokerage/market/products/{}/candles", page.symbol), query))
    }

    fn rows<'a>(&self, reply: &'a Value) -> Result<Vec<Row<'a>>, Failure> {
        let row = |row: &'a Value| -> Option<Row<'a>> {
            let text = |key: &str| row[key].as_str();
            Some(Row {
                open_ns: text("start")?.parse::<i64>().ok()?.checked_mul(1_000_000_000)?,
                prices: [text("open")?, text("high")?, text("low")?, text("close")?],
                volume: text("volume")?,
                trades: None,
            })
        };
        let rows = reply["candles"].as_array().map(|rows| rows.iter().map(row).collect());
        rows.flatten().ok_or_else(|| expected("candles"))
    }

    fn words(reply: &Value) -> Option<String> {
        let words: Vec<&str> = ["error", "message"].iter().filter_map(|key| reply[*key].as_str()).collect();
        (!words.is_empty()).then(|| words.join(": "))
    }
}
