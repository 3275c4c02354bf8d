//! Alerts, settings and what is still to be sent, in the control database.
//!
//! An alert and the messages about it are written in one transaction: killed at any moment, nothing is raised that nobody
//! is told of. A message is gone when its webhook has taken it, so one may be sent twice and none is forgotten.

mod settings;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use zeroize::Zeroizing;

use super::settings::{AlertSettings, FieldError, RuleSettings, SettingsDraft};
use super::{Alert, AlertRule, Observation, Severity};
use crate::control::ControlError;
use crate::control::database::Database;
use crate::control::vault::{KeyPlace, VaultError};
use settings::{owner_of, rules, set_rule, set_webhooks, webhooks};

pub(in crate::control) use settings::reseal;

/// Messages that may wait for one webhook; of more the oldest are dropped, and counted.
const PENDING_MAX: u32 = 100;

/// Alerts that are over are kept up to so many.
const KEPT_MAX: u32 = 10_000;

/// Why something about alerts was not done.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// The database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The key or a sealed secret.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A field has a wrong value.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Which alerts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    /// Raised ones, or those that are over; `None`: both.
    pub raised: Option<bool>,
    /// Older than this id.
    pub before: Option<i64>,
    /// At most.
    pub limit: u32,
}

/// A message to send.
pub struct Delivery {
    /// Its number: the same when it is sent again.
    pub id: i64,
    /// Attempts made.
    pub attempts: u32,
    /// Whether the alert is over, or begins.
    pub is_cleared: bool,
    /// The alert.
    pub alert: Alert,
    /// To whom.
    pub to: Target,
}

/// A webhook to send to.
pub struct Target {
    /// Its id.
    pub id: i64,
    /// Where messages are posted.
    pub url: String,
    /// What they are signed with.
    pub secret: Option<Zeroizing<Vec<u8>>>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What was answered; `None`: nothing.
    pub status: Option<u16>,
    /// What went wrong; `None`: it was taken.
    pub error: Option<String>,
}

/// The alerts of a state directory.
pub struct Alerts {
    database: Database,
    place: KeyPlace,
}

impl Alerts {
    /// Opens them.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn open(state_dir: &Path) -> Result<Alerts, AlertError> {
        Ok(Alerts { database: Database::open(state_dir)?, place: KeyPlace::find(state_dir) })
    }

    /// What every rule goes by.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn rules(&mut self) -> Result<BTreeMap<AlertRule, RuleSettings>, AlertError> {
        Ok(self.database.run(|db| rules(db))?)
    }

    /// Rules and webhooks.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn settings(&mut self) -> Result<AlertSettings, AlertError> {
        Ok(self.database.run(|db| Ok(AlertSettings { rules: rules(db)?, webhooks: webhooks(db)? }))?)
    }

    /// Puts new settings in the place of those that it names: all of them or nothing.
    ///
    /// # Errors
    /// [`AlertError::Field`], or of the key or the database.
    pub fn set(&mut self, draft: &SettingsDraft) -> Result<(), AlertError> {
        draft.check()?;
        let place = self.place.clone();
        self.whole(|transaction| {
            for (rule, settings) in draft.rules.iter().flatten() {
                set_rule(transaction, *rule, settings)?;
            }
            if let Some(webhooks) = &draft.webhooks {
                set_webhooks(transaction, &place, webhooks)?;
            }
            Ok(())
        })
    }

    /// Alerts, the newest first.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn list(&mut self, page: Page) -> Result<Vec<Alert>, AlertError> {
        let state = match page.raised {
            None => "",
            Some(true) => "AND cleared_ns IS NULL",
            Some(false) => "AND cleared_ns IS NOT NULL",
        };
        let sql = format!("SELECT {COLUMNS} FROM alerts WHERE id < ?1 {state} ORDER BY id DESC LIMIT ?2");
        Ok(self.database.run(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            statement.query_map(params![page.before.unwrap_or(i64::MAX), page.limit], read_alert)?.collect()
        })?)
    }

    /// Alerts that are raised.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn raised(&mut self) -> Result<Vec<Alert>, AlertError> {
        self.list(Page { raised: Some(true), before: None, limit: u32::MAX })
    }

    /// Keeps a new alert, and the messages about it. Its id, and how many messages had to go for want of room.
    ///
    /// # Errors
    /// [`AlertError::Control`], also when the same is raised already.
    pub fn raise(&mut self, what: &Observation, now_ns: i64) -> Result<(i64, u64), AlertError> {
        self.whole(|transaction| {
            transaction.execute(
                "INSERT INTO alerts (rule, subject, source, owner, severity, message, raised_ns) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    what.rule.word(),
                    what.subject,
                    what.source,
                    what.owner,
                    what.rule.severity().word(),
                    what.trouble,
                    now_ns
                ],
            )?;
            let id = transaction.last_insert_rowid();
            let dropped = tell(transaction, id, "raised", now_ns)?;
            transaction.execute(
                "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE cleared_ns IS NOT NULL \
                 ORDER BY id DESC LIMIT -1 OFFSET ?1)",
                params![KEPT_MAX],
            )?;
            Ok((id, dropped))
        })
    }

    /// Keeps that an alert is over, and the messages about it; how many messages had to go for want of room.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn clear(&mut self, id: i64, message: &str, now_ns: i64) -> Result<u64, AlertError> {
        self.whole(|transaction| {
            let sql = "UPDATE alerts SET cleared_ns = ?2, cleared_message = ?3 WHERE id = ?1 AND cleared_ns IS NULL";
            match transaction.execute(sql, params![id, now_ns, message])? {
                0 => Ok(0),
                _ => Ok(tell(transaction, id, "cleared", now_ns)?),
            }
        })
    }

    /// The message that each webhook is to get now: the oldest that waits, if it is time.
    ///
    /// # Errors
    /// Of the database, the key, or a sealed secret.
    pub fn due(&mut self, now_ns: i64) -> Result<Vec<Delivery>, AlertError> {
        let sql = format!(
            "SELECT {COLUMNS}, deliveries.id, deliveries.attempts, deliveries.event, webhooks.id, webhooks.url, \
             webhooks.secret FROM alert_deliveries AS deliveries \
             JOIN webhooks ON webhooks.id = deliveries.webhook_id JOIN alerts ON alerts.id = deliveries.alert_id \
             WHERE webhooks.enabled AND deliveries.next_ns <= ?1 AND deliveries.id = \
             (SELECT min(id) FROM alert_deliveries WHERE webhook_id = webhooks.id)"
        );
        let rows: Vec<(Delivery, Option<Vec<u8>>)> = self.database.run(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let read = |row: &Row<'_>| {
                let delivery = Delivery {
                    id: row.get(10)?,
                    attempts: row.get(11)?,
                    is_cleared: row.get::<_, String>(12)? == "cleared",
                    alert: read_alert(row)?,
                    to: Target { id: row.get(13)?, url: row.get(14)?, secret: None },
                };
                Ok((delivery, row.get(15)?))
            };
            statement.query_map(params![now_ns], read)?.collect()
        })?;
        let mut due = Vec::with_capacity(rows.len());
        for (mut delivery, sealed) in rows {
            delivery.to.secret = self.opened(delivery.to.id, sealed)?;
            due.push(delivery);
        }
        Ok(due)
    }

    /// A webhook to send to, whether or not it is enabled.
    ///
    /// # Errors
    /// Of the database, the key, or a sealed secret.
    pub fn target(&mut self, id: i64) -> Result<Option<Target>, AlertError> {
        let sql = "SELECT url, secret FROM webhooks WHERE id = ?1";
        let found: Option<(String, Option<Vec<u8>>)> =
            self.database.run(|db| db.query_row(sql, params![id], |row| Ok((row.get(0)?, row.get(1)?))).optional())?;
        let Some((url, sealed)) = found else { return Ok(None) };
        Ok(Some(Target { id, url, secret: self.opened(id, sealed)? }))
    }

    /// Notes an attempt to send to a webhook: it is what is shown of it.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn attempted(&mut self, webhook: i64, sent: &Sent, now_ns: i64) -> Result<(), AlertError> {
        let sql = "UPDATE webhooks SET last_ns = ?2, last_code = ?3, last_error = ?4 WHERE id = ?1";
        self.database.run(|db| db.execute(sql, params![webhook, now_ns, sent.status, sent.error]))?;
        Ok(())
    }

    /// A message was taken, or is given up.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn done(&mut self, delivery: i64) -> Result<(), AlertError> {
        self.database.run(|db| db.execute("DELETE FROM alert_deliveries WHERE id = ?1", params![delivery]))?;
        Ok(())
    }

    /// A message was not taken: it is tried again, not before `next_ns`.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn again(&mut self, delivery: i64, next_ns: i64) -> Result<(), AlertError> {
        let sql = "UPDATE alert_deliveries SET attempts = attempts + 1, next_ns = ?2 WHERE id = ?1";
        self.database.run(|db| db.execute(sql, params![delivery, next_ns]))?;
        Ok(())
    }

    /// Failed jobs that nobody made good: of each kind and connection the last one that ended since `since_ns`, where it
    /// failed. Kind, connection (empty: none), owner, and what it said.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn failed_jobs(&mut self, since_ns: i64) -> Result<Vec<FailedJob>, AlertError> {
        let sql = "SELECT kind, connection, owner, attempts, ifnull(message, '') FROM jobs WHERE state = 'failed' \
                   AND finished_ns >= ?1 AND id = (SELECT max(id) FROM jobs AS last WHERE last.kind = jobs.kind \
                   AND last.connection = jobs.connection AND last.state IN ('succeeded', 'failed') \
                   AND last.finished_ns >= ?1)";
        Ok(self.database.run(|db| {
            // Until the migration that makes it.
            let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'jobs')";
            if !db.query_row(is_there, [], |row| row.get::<_, bool>(0))? {
                return Ok(Vec::new());
            }
            let mut statement = db.prepare_cached(sql)?;
            let read = |row: &Row<'_>| {
                Ok(FailedJob {
                    kind: row.get(0)?,
                    connection: row.get(1)?,
                    owner: row.get(2)?,
                    attempts: row.get(3)?,
                    message: row.get(4)?,
                })
            };
            statement.query_map(params![since_ns], read)?.collect()
        })?)
    }

    /// Wanted connections that are in error: name, owner (empty: nobody's) and what is wrong.
    ///
    /// # Errors
    /// [`AlertError::Control`].
    pub fn connections_in_error(&mut self) -> Result<Vec<(String, String, String)>, AlertError> {
        let sql =
            "SELECT name, owner, ifnull(last_error, '') FROM data_connections WHERE is_active AND status = 'error'";
        Ok(self.database.run(|db| {
            let mut statement = db.prepare_cached(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })?)
    }

    fn opened(&self, id: i64, sealed: Option<Vec<u8>>) -> Result<Option<Zeroizing<Vec<u8>>>, AlertError> {
        let Some(sealed) = sealed else { return Ok(None) };
        let gone = || VaultError::Key {
            place: "vault.key".into(),
            problem: "is gone, and with it the secrets of webhooks; expected it back, or the secrets entered anew"
                .into(),
        };
        let vault = self.place.vault()?.ok_or_else(gone)?;
        Ok(Some(vault.open(owner_of(id), &sealed)?))
    }

    /// All of it or nothing, while nobody else writes.
    fn whole<T>(&mut self, f: impl FnOnce(&Transaction<'_>) -> Result<T, Inside>) -> Result<T, AlertError> {
        self.database.run(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match f(&transaction) {
                Ok(value) => transaction.commit().map(|()| Ok(value)),
                Err(Inside::Sql(error)) => Err(error),
                // Dropping the transaction takes it back.
                Err(Inside::Other(error)) => Ok(Err(error)),
            }
        })?
    }
}

/// A job that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedJob {
    /// Its kind.
    pub kind: String,
    /// For which connection; empty: none.
    pub connection: String,
    /// Whose private connection that is; empty: nobody's.
    pub owner: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What it said last.
    pub message: String,
}

/// What went wrong inside a transaction.
enum Inside {
    Sql(rusqlite::Error),
    Other(AlertError),
}

impl From<rusqlite::Error> for Inside {
    fn from(error: rusqlite::Error) -> Inside {
        Inside::Sql(error)
    }
}

impl From<VaultError> for Inside {
    fn from(error: VaultError) -> Inside {
        Inside::Other(error.into())
    }
}

impl From<FieldError> for Inside {
    fn from(error: FieldError) -> Inside {
        Inside::Other(error.into())
    }
}

const COLUMNS: &str = "alerts.id, alerts.rule, alerts.subject, alerts.source, alerts.owner, alerts.severity, \
                       alerts.message, alerts.raised_ns, alerts.cleared_ns, alerts.cleared_message";

fn read_alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let rule: String = row.get(1)?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, "no such rule".into());
    let severity: String = row.get(5)?;
    Ok(Alert {
        id: row.get(0)?,
        rule: AlertRule::from_word(&rule).ok_or_else(unknown)?,
        subject: row.get(2)?,
        source: row.get(3)?,
        owner: row.get(4)?,
        severity: if severity == "critical" { Severity::Critical } else { Severity::Warning },
        message: row.get(6)?,
        raised_ns: row.get(7)?,
        cleared_ns: row.get(8)?,
        cleared_message: row.get(9)?,
    })
}

/// Puts a message for each webhook that wants it behind those that wait. What is about somebody's private connection is
/// nobody else's business: it goes to none. How many messages had to go for want of room.
fn tell(db: &Connection, alert: i64, event: &str, now_ns: i64) -> rusqlite::Result<u64> {
    db.execute(
        "INSERT INTO alert_deliveries (webhook_id, alert_id, event, attempts, next_ns) \
         SELECT webhooks.id, alerts.id, ?2, 0, ?3 FROM webhooks, alerts \
         WHERE alerts.id = ?1 AND alerts.owner = '' AND webhooks.enabled \
         AND (webhooks.rules IS NULL OR EXISTS (SELECT 1 FROM json_each(webhooks.rules) WHERE value = alerts.rule))",
        params![alert, event, now_ns],
    )?;
    let dropped = db.execute(
        "DELETE FROM alert_deliveries WHERE (SELECT count(*) FROM alert_deliveries AS newer \
         WHERE newer.webhook_id = alert_deliveries.webhook_id AND newer.id >= alert_deliveries.id) > ?1",
        params![PENDING_MAX],
    )?;
    Ok(dropped as u64)
}

#[cfg(test)]
mod tests;
