//! Holes, the newest first, each as it was last told.

use clickhouse::Row;
use serde::Deserialize;

use super::{MarketData, rows};
use crate::storage::client::DatabaseError;
use crate::storage::rows::Audience;

/// A hole as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct StoredGap {
    /// Start of the engine in which it opened.
    pub epoch: u32,
    /// Its number there.
    pub id: u64,
    /// Name of the source; empty: every one.
    pub source: String,
    /// Canonical symbol; empty: every one of the source.
    pub symbol: String,
    /// Last data before it, nanoseconds UTC; where there never was any, when it was noticed.
    pub from_ns: i64,
    /// First data after it; `None` while it is open.
    pub to_ns: Option<i64>,
    /// A word of [`Cause`](tickwire_schemas::words::Cause).
    pub cause: String,
    /// A word of [`GapState`](tickwire_schemas::words::GapState).
    pub state: String,
    /// Events known to be missing.
    pub lost: Option<u64>,
}

/// Which holes. Empty text: all.
#[derive(Debug, Clone, Copy, Default)]
pub struct GapQuestion<'a> {
    /// What became of them, a word of [`GapState`](tickwire_schemas::words::GapState).
    pub state: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Canonical symbol; holes of all symbols are among them.
    pub symbol: &'a str,
    /// Older than this one: epoch and number.
    pub before: Option<(u32, u64)>,
}

const GAPS: &str = "SELECT epoch_opened AS epoch, gap_id AS id, CAST(source, 'String') AS source, \
                    CAST(symbol, 'String') AS symbol, toUnixTimestamp64Nano(from_ts) AS from_ns, \
                    toUnixTimestamp64Nano(to_ts) AS to_ns, CAST(cause, 'String') AS cause, \
                    CAST(state, 'String') AS state, lost FROM last_gaps \
                    WHERE (epoch_opened, gap_id) < ({epoch:UInt32}, {id:UInt64}) \
                    AND ({state:String} = '' OR last_gaps.state = {state:String}) \
                    AND ({source:String} = '' OR last_gaps.source = {source:String}) \
                    AND ({symbol:String} = '' OR last_gaps.symbol IN ('', {symbol:String})) \
                    ORDER BY epoch_opened DESC, gap_id DESC LIMIT {limit:UInt32}";

impl MarketData {
    /// The newest `limit` holes of an audience.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn gaps(
        &self,
        audience: Audience,
        question: GapQuestion<'_>,
        limit: u32,
    ) -> Result<Vec<StoredGap>, DatabaseError> {
        let (epoch, id) = question.before.unwrap_or((u32::MAX, u64::MAX));
        let query = self.query(audience, GAPS)?.param("epoch", epoch).param("id", id).param("limit", limit);
        let query = query.param("state", question.state).param("source", question.source);
        rows(query.param("symbol", question.symbol)).await
    }
}
