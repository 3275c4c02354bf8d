//! What the questions about market data share: whose rows, which series, which span.

use std::sync::Arc;

use serde::Deserialize;
use tickwire_schemas::words::Timeframe;
use utoipa::IntoParams;

use crate::console::api::{ApiError, Services};
use crate::console::viewer::Viewer;
use crate::market::Scope;
use crate::storage::MarketData;
use crate::storage::client::DatabaseError;
use crate::storage::market_data::{Range, Series};
use crate::storage::rows::Audience;

/// The common price, which everybody who is signed in may read.
pub(super) const BEST: &str = "best";

/// Longest name of a source or symbol that is looked for.
const NAME_MAX: usize = 128;

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && !text.contains(char::is_control)
}

/// Whose rows a source's are, for a viewer who may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readable {
    pub(super) audience: Audience,
    /// Whether this run knows it: of one that it does not there may be rows from before, and if there are none, there is
    /// no such source.
    known: bool,
}

impl Readable {
    /// Nothing of a source that nobody knows: it is not there.
    pub(super) fn found(self, source: &str, any: bool) -> Result<(), ApiError> {
        if any || self.known { Ok(()) } else { Err(none(source)) }
    }
}

fn none(source: &str) -> ApiError {
    let shown: String = source.chars().take(NAME_MAX).collect();
    ApiError::not_found(format!("source {shown}"))
}

/// Whether the viewer may read what a source says, and where it stands. Another's source is as one that is not there.
pub(super) fn readable(services: &Services, viewer: &Viewer, source: &str) -> Result<Readable, ApiError> {
    if source == BEST {
        return Ok(Readable { audience: Audience::Global, known: true });
    }
    let view = services.shown.now();
    match view.market.sources().iter().find(|known| known.name == source) {
        Some(known) if viewer.reads(known) => Ok(Readable { audience: known.scope.into(), known: true }),
        // Rows in the common database were a global source's.
        None if is_name(source) && viewer.reads_of(Scope::Global, "", source) => {
            Ok(Readable { audience: Audience::Global, known: false })
        }
        _ => Err(none(source)),
    }
}

/// The database's questions, or why there are none.
pub(super) fn market_data(services: &Services) -> Result<&Arc<MarketData>, ApiError> {
    let off = || ApiError::away("storage.mode is \"off\": nothing is stored that could be asked for");
    services.market_data.as_ref().ok_or_else(off)
}

/// The database's reason goes to the log: it may quote the statement.
pub(super) fn away(error: DatabaseError) -> ApiError {
    tracing::warn!("console: the database did not answer: {error}");
    ApiError::away("the database does not answer; the engine's log says why")
}

/// A symbol, as far as one can be.
pub(super) fn symbol(text: &str) -> Result<String, ApiError> {
    if !is_name(text) {
        return Err(ApiError::field("symbol", "symbol: expected a canonical symbol such as EURUSD"));
    }
    Ok(text.into())
}

/// A bar's length.
pub(super) fn timeframe(text: &str) -> Result<Timeframe, ApiError> {
    let words = || Timeframe::ALL.iter().map(|of| of.word()).collect::<Vec<_>>().join(", ");
    Timeframe::from_word(text)
        .ok_or_else(|| ApiError::field("timeframe", format!("timeframe: expected one of {}", words())))
}

/// A span of time as it is asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// From this time on: RFC 3339, a date (midnight UTC), or seconds since 1970.
    from: Option<String>,
    /// Before this time, likewise.
    to: Option<String>,
}

impl Span {
    pub(super) fn range(&self) -> Result<Range, ApiError> {
        let parse = |field: &str, text: &Option<String>, otherwise: i64| match text {
            Some(text) => nanoseconds(text).ok_or_else(|| {
                let expected = "expected RFC 3339 such as 2026-11-21T10:00:00Z, a date, or seconds since 1970";
                ApiError::field(field, format!("{field}: {expected}"))
            }),
            None => Ok(otherwise),
        };
        let from_ns = parse("from", &self.from, Range::ALL.from_ns)?;
        let to_ns = parse("to", &self.to, Range::ALL.to_ns)?;
        Ok(Range { from_ns, to_ns })
    }

    pub(super) fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Length of `2026-11-21`.
const DATE: usize = 10;

/// Between 1970 and 2262, which is what the database's times can say.
fn nanoseconds(text: &str) -> Option<i64> {
    let ns = if let Ok(seconds) = text.parse::<i64>() {
        seconds.checked_mul(1_000_000_000)?
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        i64::try_from(time.as_nanosecond()).ok()?
    } else {
        // A time without its offset would be read as its date.
        let date: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == DATE)?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        i64::try_from(midnight.as_nanosecond()).ok()?
    };
    (ns >= 0).then_some(ns)
}

/// Which bars.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Name of a source, or `best` for the common price.
    #[serde(default = "best")]
    #[param(default = "best")]
    pub(super) source: String,
    /// Canonical symbol.
    #[param(min_length = 1, max_length = 128)]
    pub(super) symbol: String,
    /// Length of a bar: M1, M5, M15, M30, H1, H4, D1, W1 or MN.
    #[param(pattern = "^(M1|M5|M15|M30|H1|H4|D1|W1|MN)$")]
    pub(super) timeframe: String,
}

pub(super) fn best() -> String {
    BEST.into()
}

impl Which {
    /// The series, if the viewer may read it.
    pub(super) fn series(&self, services: &Services, viewer: &Viewer) -> Result<(Series, Readable), ApiError> {
        let readable = readable(services, viewer, &self.source)?;
        let series = Series {
            audience: readable.audience,
            source: self.source.clone(),
            symbol: symbol(&self.symbol)?,
            timeframe: timeframe(&self.timeframe)?,
        };
        Ok((series, readable))
    }
}

/// A stream or export more than there may be.
pub(super) fn too_many_streams() -> ApiError {
    ApiError::too_many("too many live streams or exports are open: close one first", 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_ways_and_nothing_else_is_one() {
        for (text, seconds) in [
            ("2026-11-21T10:00:00Z", 1_795_255_200),
            ("2026-11-21T11:00:00+01:00", 1_795_255_200),
            ("2026-11-21", 1_795_219_200),
            ("1795219200", 1_795_219_200),
            ("0", 0),
        ] {
            assert_eq!(nanoseconds(text), Some(seconds * 1_000_000_000), "{text}");
        }
        for text in
            ["", "yesterday", "-1", "1969-12-31", "2026-13-01", "9999-01-01", "99999999999999", "2026-11-21T10:00"]
        {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
