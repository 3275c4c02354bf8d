//! Instruments that no configuration file has: made with the connections that bring them.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{ConnectionError, Connections};
use crate::market::{Class, InstrumentSpec, Price};

impl Connections {
    /// Those of the database by canonical symbol.
    ///
    /// # Errors
    /// [`ConnectionError::Control`].
    pub fn instruments(&mut self) -> Result<BTreeMap<String, InstrumentSpec>, ConnectionError> {
        Ok(self.database.run(|db| {
            let mut statement = db.prepare("SELECT symbol, class, digits, pip FROM instrument_specs")?;
            let read = |row: &rusqlite::Row<'_>| {
                let (class, pip): (String, String) = (row.get(1)?, row.get(3)?);
                let unreadable = |column, what: &str| {
                    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
                };
                let class = Class::ALL.into_iter().find(|known| known.word() == class);
                let spec = InstrumentSpec {
                    class: class.ok_or_else(|| unreadable(1, "no such class"))?,
                    digits: row.get(2)?,
                    pip: pip.parse::<Price>().map_err(|_| unreadable(3, "no price"))?,
                };
                Ok((row.get(0)?, spec))
            };
            statement.query_map([], read)?.collect()
        })?)
    }

    /// Keeps instruments, in the place of those with the same symbols.
    ///
    /// # Errors
    /// [`ConnectionError::Control`].
    pub fn keep_instruments(
        &mut self,
        specs: &BTreeMap<String, InstrumentSpec>,
        now_ns: i64,
    ) -> Result<(), ConnectionError> {
        let sql = "INSERT INTO instrument_specs (symbol, class, digits, pip, created_ns, changed_ns) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO UPDATE SET class = excluded.class, \
                   digits = excluded.digits, pip = excluded.pip, changed_ns = excluded.changed_ns";
        self.database.run(|db| {
            let transaction = db.transaction()?;
            for (symbol, InstrumentSpec { class, digits, pip }) in specs {
                transaction.execute(sql, params![symbol, class.word(), digits, pip.to_string(), now_ns])?;
            }
            transaction.commit()
        })?;
        Ok(())
    }
}
