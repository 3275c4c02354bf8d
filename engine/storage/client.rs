//! Talking to ClickHouse over HTTP, with the official client.

use std::time::Duration;

use bytes::Bytes;
use clickhouse::error::Error;
use clickhouse::{Client, Compression};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tracing::{Instrument, trace_span};

use super::rows::{Audience, Lane, Table};

/// Longest wait for the database to take a chunk, and to answer an insert or a query.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below ClickHouse's own 3 s, so that we never send into a connection that it is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A database by address and credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://HOST:PORT`.
    pub url: String,
    /// User.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({} as {})", self.url, self.user)
    }
}

impl Endpoint {
    /// A client without a database of its own. Must be called inside a tokio runtime.
    #[must_use]
    pub fn client(&self) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true); // Without it Nagle and delayed ACKs cost 40 ms a batch.
        connector.set_keepalive(Some(Duration::from_secs(60)));
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).build(connector);
        Client::with_http_client(http)
            .with_url(&self.url)
            .with_user(&self.user)
            .with_password(&self.password)
            .with_compression(self.compression())
    }

    /// On this machine packing costs more time than it saves: both ends take it from the same cores.
    fn compression(&self) -> Compression {
        let host = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        let is_here = host.starts_with("127.") || host.starts_with("[::1]") || host.starts_with("localhost");
        if is_here { Compression::None } else { Compression::Lz4 }
    }
}

/// Name of the database for an audience.
#[must_use]
pub fn database_of(database: &str, audience: Audience) -> String {
    match audience {
        Audience::Global => database.to_string(),
        Audience::Private => format!("{database}_private"),
    }
}

/// Why the database did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// It could not be reached, was too busy, or stopped in the middle: try again.
    #[error("{0}")]
    Again(String),
    /// It understood and refuses: the same request will be refused again until somebody changes something.
    #[error("{0}")]
    Refused(String),
}

/// ClickHouse's codes for "this will not work the next time either": what a request says, not how the server is.
const REFUSED: &[u32] = &[
    16,  // NO_SUCH_COLUMN_IN_TABLE
    20,  // NUMBER_OF_COLUMNS_DOESNT_MATCH
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    36,  // BAD_ARGUMENTS
    44,  // ILLEGAL_COLUMN
    46,  // UNKNOWN_FUNCTION
    47,  // UNKNOWN_IDENTIFIER
    48,  // NOT_IMPLEMENTED
    53,  // TYPE_MISMATCH
    60,  // UNKNOWN_TABLE
    62,  // SYNTAX_ERROR
    81,  // UNKNOWN_DATABASE
    115, // UNKNOWN_SETTING
    117, // INCORRECT_DATA
    164, // READONLY
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    469, // VIOLATED_CONSTRAINT
    497, // ACCESS_DENIED
];

/// The code in `Code: 60. DB::Exception: …`.
fn code_of(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        let refused = match &error {
            Error::BadResponse(text) => code_of(text).is_some_and(|code| REFUSED.contains(&code)),
            Error::InvalidParams(_) | Error::Unsupported(_) => true,
            _ => false,
        };
        let text = sentence(&error);
        if refused { DatabaseError::Refused(text) } else { DatabaseError::Again(text) }
    }
}

/// The error with its causes, one line, not longer than a log line should be.
fn sentence(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// Inserts one batch as one block under `token`. `body` is the table's header and the rows.
///
/// # Errors
/// [`DatabaseError`]; after [`DatabaseError::Again`] the rows may or may not be there.
pub async fn insert(client: &Client, table: Table, token: &str, body: Bytes) -> Result<(), DatabaseError> {
    let columns = table.columns().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    insert_into(client, table.name(), &columns, token, body).await
}

/// [`insert`] for any table.
pub(super) async fn insert_into(
    client: &Client,
    table: &str,
    columns: &str,
    token: &str,
    body: Bytes,
) -> Result<(), DatabaseError> {
    let span = trace_span!(target: "spans", "insert", table, bytes = body.len());
    let sql = format!("INSERT INTO {table} ({columns}) FORMAT RowBinaryWithNamesAndTypes");
    let mut insert = client
        .insert_formatted_with(sql)
        .with_setting("async_insert", "0")
        .with_setting("insert_deduplicate", "1")
        .with_setting("insert_deduplication_token", token)
        .with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT));
    // In one piece: a connection that breaks can leave no part of it behind.
    let sent = async {
        insert.send(body).await?;
        Ok(insert.end().await?)
    };
    sent.instrument(span).await
}

/// Rows that the table has of `epoch` from `first` to `last` in the lane's partition.
///
/// # Errors
/// [`DatabaseError`].
pub async fn count(client: &Client, lane: Lane, epoch: u32, first: u64, last: u64) -> Result<u64, DatabaseError> {
    let sql = format!(
        "SELECT count() FROM {} WHERE _partition_id = '{}' AND epoch = {epoch} AND seq BETWEEN {first} AND {last}",
        lane.table.name(),
        lane.partition
    );
    let text = query(client, &sql, "TabSeparated").await?;
    text.trim().parse().map_err(|_| DatabaseError::Again(format!("expected a count, found {text:?}")))
}

/// The whole answer of a query as text.
///
/// # Errors
/// [`DatabaseError`].
pub async fn query(client: &Client, sql: &str, format: &str) -> Result<String, DatabaseError> {
    query_within(client, sql, format, ANSWER_TIMEOUT).await
}

/// [`query`] of something that may take longer, or not as long.
///
/// # Errors
/// [`DatabaseError`].
pub async fn query_within(
    client: &Client,
    sql: &str,
    format: &str,
    patience: Duration,
) -> Result<String, DatabaseError> {
    let answer = async { client.query_raw(sql).fetch_bytes(format)?.collect().await };
    let bytes = match tokio::time::timeout(patience, answer).await {
        Ok(bytes) => bytes?,
        Err(_) => return Err(DatabaseError::Again(format!("no answer within {} s", patience.as_secs()))),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        matches!(Error::BadResponse(text.into()).into(), DatabaseError::Refused(_))
    }

    #[test]
    fn errors_of_the_schema_stop_and_errors_of_the_moment_do_not() {
        assert!(refused("Code: 60. DB::Exception: Table md.ticks does not exist. (UNKNOWN_TABLE)"));
        assert!(refused("Code: 117. DB::Exception: Type of 'bid' must be Decimal(18, 9), not String"));
        assert!(!refused("Code: 252. DB::Exception: Too many parts"));
        assert!(!refused("Code: 241. DB::Exception: Memory limit (total) exceeded"));
        assert!(!refused("Code: 516. DB::Exception: tickwire: Authentication failed"));
        assert!(!refused("503 Service Unavailable"));
        assert!(matches!(Error::TimedOut.into(), DatabaseError::Again(_)));
    }

    #[test]
    fn credentials_are_not_printed() {
        let endpoint = Endpoint { url: "http://h:1".into(), user: "u".into(), password: "canary".into() };
        assert_eq!(format!("{endpoint:?}"), "Endpoint(http://h:1 as u)");
    }
}
