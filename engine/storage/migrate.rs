//! The database's tables: numbered SQL files, applied in order, each once, to both databases.

use clickhouse::Client;
use sha2::{Digest, Sha256};

use super::client::{self, DatabaseError, Endpoint, database_of};
use super::rows::Audience;

/// A numbered file.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, from 1.
    pub version: u32,
    /// The file's name.
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal,)*) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../schemas/clickhouse/", $name)),
        },)*]
    };
}

/// All of them, in order. Append-only: a file that was released is never changed.
pub const MIGRATIONS: &[Migration] = migrations! {
    1 "0001_market.sql",
    2 "0002_health.sql",
    3 "0003_views.sql",
    4 "0004_bars_and_telemetry.sql",
    5 "0005_source_quality.sql",
    6 "0006_gaps.sql",
    7 "0007_source_state.sql",
};

impl Migration {
    /// What tells a changed file from an unchanged one.
    #[must_use]
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Remembers what was applied; one in each database.
const APPLIED: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, checksum String, applied_at DateTime('UTC') DEFAULT now())
ENGINE = MergeTree ORDER BY version";

/// Brings both databases up to date.
///
/// # Errors
/// [`DatabaseError`]; a refusal names the file.
pub async fn migrate(endpoint: &Endpoint, database: &str) -> Result<(), DatabaseError> {
    for audience in [Audience::Global, Audience::Private] {
        let name = database_of(database, audience);
        let client = endpoint.client();
        execute(&client, &format!("CREATE DATABASE IF NOT EXISTS {name}")).await?;
        migrate_one(&client.with_database(&name), &name, MIGRATIONS).await?;
    }
    Ok(())
}

async fn migrate_one(client: &Client, database: &str, migrations: &[Migration]) -> Result<(), DatabaseError> {
    execute(client, APPLIED).await?;
    let text =
        client::query(client, "SELECT version, checksum FROM schema_migrations ORDER BY version", "TabSeparated")
            .await?;
    let applied: Vec<(u32, &str)> =
        text.lines().filter_map(|line| line.split_once('\t')).filter_map(|(v, c)| Some((v.parse().ok()?, c))).collect();
    for migration in migrations {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, checksum)) if *checksum == migration.checksum() => {}
            Some((_, checksum)) => {
                return Err(DatabaseError::Refused(format!(
                    "{} was applied to database {database} with checksum {checksum} and is now {}: a released file \
                     must not change, put the change into a new one",
                    migration.name,
                    migration.checksum()
                )));
            }
            None => apply(client, database, migration).await?,
        }
    }
    Ok(())
}

async fn apply(client: &Client, database: &str, migration: &Migration) -> Result<(), DatabaseError> {
    for statement in statements(migration.sql) {
        execute(client, statement).await.map_err(|error| {
            let place = format!("{} in database {database}: {error}", migration.name);
            match error {
                DatabaseError::Again(_) => DatabaseError::Again(place),
                DatabaseError::Refused(_) => DatabaseError::Refused(place),
            }
        })?;
    }
    // Every statement is "IF NOT EXISTS" or "IF EXISTS": if this is not reached, all are simply run again.
    let (version, name, checksum) = (migration.version, migration.name, migration.checksum());
    let record = format!(
        "INSERT INTO schema_migrations (version, name, checksum) SETTINGS async_insert = 0 \
         VALUES ({version}, '{name}', '{checksum}')"
    );
    execute(client, &record).await?;
    tracing::info!(database, file = name, "database schema applied");
    Ok(())
}

async fn execute(client: &Client, sql: &str) -> Result<(), DatabaseError> {
    client::query(client, sql, "TabSeparated").await.map(drop)
}

/// The statements of a file: split at semicolons outside quotes and comments, empty ones left away.
pub fn statements(sql: &str) -> impl Iterator<Item = &str> {
    let mut cuts = Vec::new();
    let (mut start, mut at) = (0, 0);
    let bytes = sql.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            // A doubled quote inside a text closes and opens it again, which comes to the same.
            quote @ (b'\'' | b'`' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'-' if bytes[at..].starts_with(b"--") => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
            }
            b';' => {
                cuts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    cuts.push(start..bytes.len());
    cuts.into_iter().map(|cut| sql[cut].trim()).filter(|text| text.lines().any(is_code))
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with("--")
}

#[cfg(test)]
mod tests;
