#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::control::alerts::Reading;
use crate::control::connections::Connections;

fn alerts(dir: &Path) -> Alerts {
    Alerts::open(dir).unwrap()
}

fn set(alerts: &mut Alerts, draft: serde_json::Value) -> Result<(), AlertError> {
    alerts.set(&serde_json::from_value(draft).unwrap())
}

fn trouble(rule: AlertRule, subject: &str, owner: &str) -> Observation {
    Observation {
        rule,
        subject: subject.into(),
        source: Some(subject.into()),
        owner: owner.into(),
        reading: Reading::Trouble,
        trouble: format!("{subject} is refused"),
        well: String::new(),
    }
}

const RULE: AlertRule = AlertRule::ConnectionError;

#[test]
fn what_is_raised_is_there_after_a_restart_and_goes_once() {
    let dir = tempfile::tempdir().unwrap();
    let (id, _) = alerts(dir.path()).raise(&trouble(RULE, "oanda", ""), 5).unwrap();
    let mut again = alerts(dir.path());
    assert!(again.raise(&trouble(RULE, "oanda", ""), 6).is_err(), "raised once");
    let raised = again.raised().unwrap();
    assert_eq!(raised.iter().map(|alert| (alert.id, alert.raised_ns)).collect::<Vec<_>>(), [(id, 5)]);
    again.clear(id, "over", 9).unwrap();
    again.clear(id, "over again", 10).unwrap();
    assert!(again.raised().unwrap().is_empty());
    let kept = &again.list(Page { raised: Some(false), before: None, limit: 10 }).unwrap()[0];
    assert_eq!((kept.cleared_ns, kept.cleared_message.as_deref()), (Some(9), Some("over")));
    let (next, _) = again.raise(&trouble(RULE, "oanda", ""), 11).unwrap();
    let before = |id| Page { raised: None, before: Some(id), limit: 10 };
    assert_eq!(again.list(before(next)).unwrap().len(), 1);
}

#[test]
fn webhooks_get_what_they_ask_for_in_order_and_nobody_a_private_alert() {
    let dir = tempfile::tempdir().unwrap();
    let mut alerts = alerts(dir.path());
    let webhooks = json!({"webhooks": [
        {"url": "http://all/"}, {"url": "http://mute/", "rules": ["source_mute"]}, {"url": "http://off/", "enabled": false},
    ]});
    set(&mut alerts, webhooks).unwrap();
    let urls = |alerts: &mut Alerts, at| -> Vec<(String, bool, i64)> {
        alerts.due(at).unwrap().into_iter().map(|d| (d.to.url, d.is_cleared, d.id)).collect()
    };
    let (id, _) = alerts.raise(&trouble(RULE, "oanda", ""), 5).unwrap();
    alerts.raise(&trouble(RULE, "hers", "alice"), 5).unwrap();
    alerts.clear(id, "over", 6).unwrap();
    let due = urls(&mut alerts, 10);
    assert!(matches!(&due[..], [(url, false, _)] if url == "http://all/"), "{due:?}");
    // The end waits until the beginning was taken.
    let first = due[0].2;
    alerts.again(first, 100).unwrap();
    assert!(urls(&mut alerts, 99).is_empty());
    assert_eq!(alerts.due(100).unwrap()[0].attempts, 1);
    alerts.done(first).unwrap();
    let due = urls(&mut alerts, 10);
    assert!(matches!(&due[..], [(_, true, _)]), "{due:?}");
    alerts.done(due[0].2).unwrap();
    alerts.raise(&trouble(AlertRule::SourceMute, "oanda", ""), 20).unwrap();
    assert_eq!(urls(&mut alerts, 30).len(), 2);
}

#[test]
fn more_messages_than_fit_push_out_the_oldest_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut alerts = alerts(dir.path());
    set(&mut alerts, json!({"webhooks": [{"url": "http://h/"}]})).unwrap();
    let mut dropped = 0;
    for at in 0..i64::from(PENDING_MAX) + 7 {
        dropped += alerts.raise(&trouble(RULE, &format!("source {at}"), ""), at).unwrap().1;
    }
    assert_eq!(dropped, 7);
    assert_eq!(alerts.due(i64::MAX).unwrap()[0].alert.subject, "source 7");
}

#[test]
fn a_secret_is_sealed_kept_changed_and_taken_away_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut alerts = alerts(dir.path());
    set(&mut alerts, json!({"webhooks": [{"url": "http://h/", "secret": "canary-canary-canary"}]})).unwrap();
    let secret = |alerts: &mut Alerts, id| alerts.target(id).unwrap().unwrap().secret.map(|s| s.to_vec());
    let shown = alerts.settings().unwrap();
    let id = shown.webhooks[0].id;
    assert!(shown.webhooks[0].has_secret && !serde_json::to_string(&shown).unwrap().contains("canary"));
    assert_eq!(secret(&mut alerts, id).unwrap(), b"canary-canary-canary");
    let bytes = std::fs::read(dir.path().join("control.db")).unwrap();
    let wal = std::fs::read(dir.path().join("control.db-wal")).unwrap_or_default();
    assert!(![bytes, wal].concat().windows(13).any(|w| w == b"canary-canary"));
    // A new key for everything opens it too.
    assert_eq!(Connections::open(dir.path()).unwrap().rotate().unwrap(), 1);
    assert_eq!(secret(&mut alerts, id).unwrap(), b"canary-canary-canary");
    // What a reader got can be sent back.
    let mut back = serde_json::to_value(&shown.webhooks).unwrap();
    back[0]["url"] = "http://other/".into();
    set(&mut alerts, json!({"webhooks": back})).unwrap();
    assert_eq!(secret(&mut alerts, id).unwrap(), b"canary-canary-canary");
    set(&mut alerts, json!({"webhooks": [{"id": id, "url": "http://h/", "secret": ""}]})).unwrap();
    assert_eq!(secret(&mut alerts, id), None);
}

#[test]
fn settings_change_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut alerts = alerts(dir.path());
    let rule = json!({"disk_low": {"enabled": false, "threshold": null, "for_seconds": 1}});
    let error = set(&mut alerts, json!({"rules": rule, "webhooks": [{"url": "http://h/", "id": 77}]})).unwrap_err();
    assert_eq!(error.to_string(), "webhooks[0].id: 77, expected one that is there, or none");
    assert!(alerts.rules().unwrap()[&AlertRule::DiskLow].enabled);
    set(&mut alerts, json!({"rules": rule})).unwrap();
    let found = alerts.rules().unwrap()[&AlertRule::DiskLow];
    assert_eq!((found.enabled, found.threshold, found.for_seconds), (false, Some(5.0), 1));
    assert_eq!(alerts.rules().unwrap().len(), AlertRule::ALL.len());
}
