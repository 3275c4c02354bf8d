//! `OHLC`: the 720 most recent rows, whatever is asked for. Weeks are cut on Thursdays and are not used.

use std::time::Duration;

use serde_json::Value;
use tickwire_schemas::words::{Cause, Timeframe};

use super::super::candles::{Dialect, Page, Query, Row, array_row, expected};
use crate::feeds::net::Failure;
use crate::feeds::rate::Rate;

#[derive(Debug)]
pub(super) struct Recent;

impl Dialect for Recent {
    const ROWS_MAX: usize = 720;
    const ONLY_RECENT: bool = true;

    /// About one request a second, some of them at once; the venue does not document it.
    fn rate(&self) -> Rate {
        Rate::within(15, Duration::from_secs(15))
    }

    fn query(&self, page: Page<'_>) -> Option<Query> {
        let minutes = match page.timeframe {
            Timeframe::M1 => 1,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H4 => 240,
            Timeframe::D1 => 1_440,
            Timeframe::W1 | Timeframe::MN => return None,
        };
        // What comes after `since` is told; the pair is written without the socket's slash.
        let since = page.ends(1_000_000_000).0 - 1;
        let query = vec![
            ("pair", page.symbol.replace('/', "")),
            ("interval", i32::to_string(&minutes)),
            ("since", since.to_string()),
        ];
        Some(("/0/public/OHLC".to_string(), query))
    }

    fn rows<'a>(&self, reply: &'a Value) -> Result<Vec<Row<'a>>, Failure> {
        if let Some(words) = Self::words(reply) {
            let cause = if words.contains("Rate limit") { Cause::RateLimited } else { Cause::ProtocolError };
            return Err(Failure::new(cause, words));
        }
        // The venue has a name of its own for the pair.
        let result = reply["result"].as_object().ok_or_else(|| expected("a result"))?;
        let rows = result.iter().find(|(key, _)| *key != "last").and_then(|(_, rows)| rows.as_array());
        let rows = rows.map(|rows| rows.iter().map(|row| array_row(row, 1_000_000_000, 6, Some(7))).collect());
        rows.flatten().ok_or_else(|| expected("rows of OHLC"))
    }

    fn words(reply: &Value) -> Option<String> {
        let errors = reply["error"].as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>();
        (!errors.is_empty()).then(|| errors.join(", "))
    }
}
