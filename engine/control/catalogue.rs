//! Ids of engine, epochs, sources, instruments and indicators, in SQLite: given once, never reused.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::database::{ControlError, Database};

/// The append-only catalogue.
pub struct Catalogue(Database);

impl Catalogue {
    /// Opens the catalogue of a state directory, making or migrating it as needed.
    ///
    /// # Errors
    /// [`ControlError`] when the file cannot be opened, is no such database, or is newer than this program.
    pub fn open(state_dir: &Path) -> Result<Catalogue, ControlError> {
        Database::open(state_dir).map(Catalogue)
    }

    /// A catalogue that nobody keeps: its ids count from 1 and mean something only beside the names they were given for.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn in_memory() -> Result<Catalogue, ControlError> {
        Database::in_memory().map(Catalogue)
    }

    /// The engine's id, given at the first call, and a new epoch greater than all before and than `at_least`.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn begin_epoch(&mut self, at_least: u32) -> Result<(u64, u32), ControlError> {
        self.0.run(|db| {
            let transaction = db.transaction()?;
            let fresh = fastrand::i64(1..);
            transaction.execute("INSERT OR IGNORE INTO engine VALUES (1, ?1, 0)", params![fresh])?;
            transaction.execute("UPDATE engine SET epoch = max(epoch + 1, ?1)", params![at_least])?;
            let row = transaction
                .query_row("SELECT engine_id, epoch FROM engine", [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            transaction.commit()?;
            Ok((row.0.unsigned_abs(), row.1))
        })
    }

    /// The id of a source, given at the first call with its name.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn source_id(&mut self, name: &str) -> Result<u32, ControlError> {
        self.0.run(|db| id_of(db, "sources", "name", name))
    }

    /// The id of an instrument, given at the first call with its symbol.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn instrument_id(&mut self, symbol: &str) -> Result<u32, ControlError> {
        self.0.run(|db| id_of(db, "instruments", "symbol", symbol))
    }

    /// The id of an indicator with its parameters, given at the first call with its canonical name.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn indicator_id(&mut self, name: &str) -> Result<u32, ControlError> {
        self.0.run(|db| id_of(db, "indicators", "name", name))
    }
}

fn id_of(db: &mut Connection, table: &str, column: &str, name: &str) -> rusqlite::Result<u32> {
    let select = format!("SELECT id FROM {table} WHERE {column} = ?1");
    if let Some(id) = db.query_row(&select, params![name], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    db.execute(&format!("INSERT INTO {table} ({column}) VALUES (?1)"), params![name])?;
    u32::try_from(db.last_insert_rowid()).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::database::MIGRATIONS;
    use super::*;

    #[test]
    fn ids_survive_and_are_never_reused_and_epochs_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Catalogue::open(dir.path()).unwrap();
        let (engine, epoch) = first.begin_epoch(0).unwrap();
        assert_eq!(epoch, 1);
        let (a, b) = (first.source_id("a").unwrap(), first.source_id("b").unwrap());
        let eurusd = first.instrument_id("EURUSD").unwrap();
        let ema = first.indicator_id("EMA(20)").unwrap();
        assert!(a != b && a > 0 && eurusd > 0 && ema > 0);
        drop(first);
        let mut second = Catalogue::open(dir.path()).unwrap();
        assert_eq!(second.begin_epoch(7).unwrap(), (engine, 7), "the journal knows a later epoch");
        assert_eq!(second.begin_epoch(0).unwrap(), (engine, 8));
        assert_eq!((second.source_id("b").unwrap(), second.source_id("a").unwrap()), (b, a));
        assert_eq!(second.source_id("c").unwrap(), b + 1);
        assert_eq!(second.instrument_id("EURUSD").unwrap(), eurusd);
        assert_eq!((second.indicator_id("EMA(21)").unwrap(), second.indicator_id("EMA(20)").unwrap()), (ema + 1, ema));
    }

    #[test]
    fn a_database_of_the_first_version_gets_what_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join("control.db")).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute("INSERT INTO sources (name) VALUES ('a')", []).unwrap();
        drop(old);
        let mut catalogue = Catalogue::open(dir.path()).unwrap();
        assert_eq!((catalogue.source_id("a").unwrap(), catalogue.indicator_id("EMA(20)").unwrap()), (1, 1));
    }

    #[test]
    fn all_that_open_a_new_state_directory_at_once_get_it() {
        const OPENERS: usize = 4;
        for _ in 0..50 {
            let dir = tempfile::tempdir().unwrap();
            let together = std::sync::Barrier::new(OPENERS);
            std::thread::scope(|scope| {
                for _ in 0..OPENERS {
                    scope.spawn(|| {
                        together.wait();
                        Catalogue::open(dir.path()).unwrap();
                    });
                }
            });
        }
    }

    #[test]
    fn a_newer_or_foreign_database_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join("control.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let newer = Catalogue::open(dir.path()).err().unwrap().to_string();
        assert!(newer.contains(&format!("has version 99, this program knows up to {}", MIGRATIONS.len())), "{newer}");
        std::fs::write(dir.path().join("control.db"), "not a database at all, but long enough to be looked at")
            .unwrap();
        let foreign = Catalogue::open(dir.path()).err().unwrap().to_string();
        assert!(foreign.contains("not a database"), "{foreign}");
    }
}
