//! The settings of alerts in the control database: rules, webhooks, and the sealed secrets of these.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};

use super::Inside;
use crate::control::alerts::settings::{FieldError, LastDelivery, RuleSettings, Webhook, WebhookDraft};
use crate::control::alerts::{AlertRule, webhook};
use crate::control::connections::vault_for_another;
use crate::control::vault::{KeyPlace, Owner, Vault, VaultError};

pub(super) fn rules(db: &Connection) -> rusqlite::Result<BTreeMap<AlertRule, RuleSettings>> {
    let mut all: BTreeMap<_, _> = AlertRule::ALL.into_iter().map(|rule| (rule, rule.default_settings())).collect();
    let mut statement = db.prepare_cached("SELECT rule, enabled, threshold, for_seconds FROM alert_rules")?;
    let read = |row: &Row<'_>| {
        let settings = RuleSettings { enabled: row.get(1)?, threshold: row.get(2)?, for_seconds: row.get(3)? };
        Ok((row.get::<_, String>(0)?, settings))
    };
    for row in statement.query_map([], read)? {
        let (word, settings) = row?;
        if let Some(rule) = AlertRule::from_word(&word) {
            let threshold = settings.threshold.or(rule.default_settings().threshold);
            all.insert(rule, RuleSettings { threshold, ..settings });
        }
    }
    Ok(all)
}

pub(super) fn set_rule(db: &Connection, rule: AlertRule, settings: &RuleSettings) -> rusqlite::Result<()> {
    let sql = "INSERT INTO alert_rules (rule, enabled, threshold, for_seconds) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT DO UPDATE SET enabled = ?2, threshold = ?3, for_seconds = ?4";
    let RuleSettings { enabled, threshold, for_seconds } = settings;
    db.execute(sql, params![rule.word(), enabled, threshold, for_seconds]).map(|_| ())
}

pub(super) fn webhooks(db: &Connection) -> rusqlite::Result<Vec<Webhook>> {
    let sql =
        "SELECT id, url, secret IS NOT NULL, rules, enabled, last_ns, last_code, last_error FROM webhooks ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let (status, error) = (row.get(6)?, row.get(7)?);
        let last = |ns: i64| LastDelivery { at: webhook::time(ns), status, error };
        Ok(Webhook {
            id: row.get(0)?,
            url: row.get(1)?,
            has_secret: row.get(2)?,
            rules: row.get::<_, Option<String>>(3)?.and_then(|text| serde_json::from_str(&text).ok()),
            enabled: row.get(4)?,
            last_delivery: row.get::<_, Option<i64>>(5)?.map(last),
        })
    };
    statement.query_map([], read)?.collect()
}

pub(super) fn set_webhooks(db: &Transaction<'_>, place: &KeyPlace, wanted: &[WebhookDraft]) -> Result<(), Inside> {
    let there: Vec<i64> =
        db.prepare("SELECT id FROM webhooks")?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for id in there.iter().filter(|id| wanted.iter().all(|webhook| webhook.id != Some(**id))) {
        db.execute("DELETE FROM webhooks WHERE id = ?1", params![id])?;
    }
    for (at, webhook) in wanted.iter().enumerate() {
        let rules = webhook.rules.as_ref().map(|rules| serde_json::to_string(rules).unwrap_or_default());
        let id = match webhook.id {
            Some(id) if there.contains(&id) => {
                let sql = "UPDATE webhooks SET url = ?2, rules = ?3, enabled = ?4 WHERE id = ?1";
                db.execute(sql, params![id, webhook.url, rules, webhook.enabled])?;
                id
            }
            Some(id) => {
                let (field, problem) =
                    (format!("webhooks[{at}].id"), format!("{id}, expected one that is there, or none"));
                return Err(FieldError { field, problem }.into());
            }
            None => {
                let sql = "INSERT INTO webhooks (url, rules, enabled) VALUES (?1, ?2, ?3)";
                db.execute(sql, params![webhook.url, rules, webhook.enabled])?;
                db.last_insert_rowid()
            }
        };
        if !webhook.enabled {
            db.execute("DELETE FROM alert_deliveries WHERE webhook_id = ?1", params![id])?;
        }
        match webhook.secret.as_ref().map(|secret| secret.expose()) {
            None => {}
            Some("") => drop(db.execute("UPDATE webhooks SET secret = NULL WHERE id = ?1", params![id])?),
            Some(secret) => seal(db, place, id, secret)?,
        }
    }
    Ok(())
}

pub(super) fn owner_of(id: i64) -> Owner {
    Owner { kind: "webhook", id }
}

fn seal(db: &Transaction<'_>, place: &KeyPlace, id: i64, secret: &str) -> Result<(), Inside> {
    let sealed = vault_for_another(db, place)??.seal(owner_of(id), secret.as_bytes())?;
    db.execute("UPDATE webhooks SET secret = ?2 WHERE id = ?1", params![id, sealed])?;
    Ok(())
}

/// Seals the secrets of webhooks anew; how many those were.
pub(in crate::control) fn reseal(
    db: &Transaction<'_>,
    now: &Vault,
    next: &Vault,
) -> rusqlite::Result<Result<usize, VaultError>> {
    let rows: Vec<(i64, Vec<u8>)> = db
        .prepare("SELECT id, secret FROM webhooks WHERE secret IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, sealed) in &rows {
        match now.open(owner_of(*id), sealed).and_then(|secret| next.seal(owner_of(*id), &secret)) {
            Ok(sealed) => db.execute("UPDATE webhooks SET secret = ?2 WHERE id = ?1", params![id, sealed])?,
            Err(error) => return Ok(Err(error)),
        };
    }
    Ok(Ok(rows.len()))
}
