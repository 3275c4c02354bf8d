//! What the database takes: rows and bytes of each table, and the oldest and newest of them.

use super::client::{self, DatabaseError, Endpoint, database_of};
use super::retention::TABLES;
use super::rows::Audience;

/// A table, of both databases together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableUsage {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Time of the oldest row, seconds since 1970.
    pub oldest_s: Option<i64>,
    /// Time of the newest row.
    pub newest_s: Option<i64>,
}

/// All tables that hold something, by name.
///
/// # Errors
/// [`DatabaseError`].
pub async fn tables(endpoint: &Endpoint, database: &str) -> Result<Vec<TableUsage>, DatabaseError> {
    let databases = [Audience::Global, Audience::Private].map(|audience| database_of(database, audience));
    let client = endpoint.client();
    let sql = format!(
        "SELECT database, table, sum(rows), sum(bytes_on_disk) FROM system.parts \
         WHERE active AND database IN ('{}', '{}') GROUP BY database, table ORDER BY table, database",
        databases[0], databases[1]
    );
    let text = client::query(&client, &sql, "TabSeparated").await?;
    let mut found: Vec<TableUsage> = Vec::new();
    for line in text.lines() {
        let odd = || DatabaseError::Again(format!("expected a table and two numbers, found {line:?}"));
        let [of, table, rows, bytes] = line.split('\t').collect::<Vec<_>>()[..] else { return Err(odd()) };
        let Some(aged) = TABLES.iter().find(|aged| aged.table == table) else { continue };
        let (rows, bytes): (u64, u64) = (rows.parse().map_err(|_| odd())?, bytes.parse().map_err(|_| odd())?);
        // The ends of the partitions' key stand beside the parts: nothing is read for this.
        let time = aged.time;
        let sql = format!("SELECT toUnixTimestamp(min({time})), toUnixTimestamp(max({time})) FROM {of}.{table}");
        let ends = client::query(&client, &sql, "TabSeparated").await?;
        let ends: Vec<i64> = ends.trim().split('\t').filter_map(|end| end.parse().ok()).collect();
        let ends = if rows > 0 { (ends.first().copied(), ends.get(1).copied()) } else { (None, None) };
        if found.last().is_none_or(|last| last.table != table) {
            found.push(TableUsage { table: table.into(), ..TableUsage::default() });
        }
        if let Some(last) = found.last_mut() {
            (last.rows, last.bytes) = (last.rows + rows, last.bytes + bytes);
            last.oldest_s = [last.oldest_s, ends.0].into_iter().flatten().min();
            last.newest_s = [last.newest_s, ends.1].into_iter().flatten().max();
        }
    }
    Ok(found)
}
