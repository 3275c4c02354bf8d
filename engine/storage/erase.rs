//! Deleting what one source has stored.

use super::client::{DatabaseError, Endpoint, database_of, query};
use super::rows::Audience;

/// Tables with a column `source`, all of whose rows are that source's own. Those of the common price name other sources
/// beside it and stay.
const TABLES: &[&str] =
    &["ticks", "trades", "quotes", "rejects", "bars", "indicators", "gaps", "source_state", "source_quality"];

/// Deletes every row of a source, and counts them first. Waits until they are gone. Not from within a tokio runtime.
///
/// # Errors
/// The database's own words; what was deleted until then stays deleted.
pub fn source(endpoint: &Endpoint, database: &str, source: &str) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(erase(endpoint, database, source)).map_err(|e| e.to_string())
}

async fn erase(endpoint: &Endpoint, database: &str, source: &str) -> Result<u64, DatabaseError> {
    let quoted = source.replace('\\', "\\\\").replace('\'', "\\'");
    let client = endpoint.client();
    let mut rows = 0;
    for audience in [Audience::Global, Audience::Private] {
        let database = database_of(database, audience);
        let listed =
            format!("SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'");
        let listed = query(&client, &listed, "TabSeparated").await?;
        for table in TABLES.iter().filter(|table| listed.lines().any(|name| name == **table)) {
            let table = format!("`{database}`.`{table}`");
            let count =
                query(&client, &format!("SELECT count() FROM {table} WHERE source = '{quoted}'"), "TabSeparated")
                    .await?;
            let count: u64 =
                count.trim().parse().map_err(|_| DatabaseError::Again(format!("expected a count, found {count:?}")))?;
            if count > 0 {
                let delete = format!("ALTER TABLE {table} DELETE WHERE source = '{quoted}'");
                client.query(&delete).with_setting("mutations_sync", "2").execute().await?;
                rows += count;
            }
        }
    }
    Ok(rows)
}
