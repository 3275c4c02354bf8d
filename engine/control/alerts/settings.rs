//! Rules and webhooks as they are shown and set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::AlertRule;

/// Webhooks at most.
const WEBHOOKS_MAX: usize = 20;

/// Longest URL and secret, and the shortest secret, in bytes.
const URL_BYTES_MAX: usize = 2_048;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// Longest time that trouble may have to last, in seconds.
const FOR_SECONDS_MAX: u32 = 86_400;

/// What a rule goes by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Whether it raises alerts.
    pub enabled: bool,
    /// Seconds for storage_lag, percent left for disk_low; absent for the others.
    #[schema(required)]
    pub threshold: Option<f64>,
    /// How long trouble must last to be an alert, and (a minute at most) how long it must be over to be cleared.
    #[schema(maximum = 86400)]
    pub for_seconds: u32,
}

/// Rules and webhooks.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertSettings {
    /// Every rule.
    pub rules: BTreeMap<AlertRule, RuleSettings>,
    /// Whom alerts are sent to.
    pub webhooks: Vec<Webhook>,
}

/// Whom alerts are sent to.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Webhook {
    /// Given once.
    pub id: i64,
    /// Where messages are posted.
    pub url: String,
    /// Whether they are signed.
    pub has_secret: bool,
    /// Alerts of these rules; absent: of all.
    #[schema(required)]
    pub rules: Option<Vec<AlertRule>>,
    /// Whether messages are sent.
    pub enabled: bool,
    /// The last attempt; absent before the first.
    #[schema(required)]
    pub last_delivery: Option<LastDelivery>,
}

/// An attempt to deliver.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LastDelivery {
    /// RFC 3339.
    pub at: String,
    /// What was answered; absent: nothing.
    #[schema(required)]
    pub status: Option<u16>,
    /// What went wrong; absent: it was taken.
    #[schema(required)]
    pub error: Option<String>,
}

/// New settings. What is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsDraft {
    /// Rules that change.
    #[serde(default)]
    pub rules: Option<BTreeMap<AlertRule, RuleSettings>>,
    /// All webhooks: one that is not among them is removed.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub webhooks: Option<Vec<WebhookDraft>>,
}

/// A webhook as it is to be. Other keys, such as a reader gets, are passed over.
#[derive(Debug, Deserialize, ToSchema)]
pub struct WebhookDraft {
    /// Of one that is there; absent for a new one.
    #[serde(default)]
    pub id: Option<i64>,
    /// `http://` or `https://`.
    #[schema(max_length = 2048)]
    pub url: String,
    /// What messages are signed with, 16 to 256 bytes. Absent: as it is; empty: they are not signed.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub secret: Option<SecretText>,
    /// Alerts of these rules; absent: of all.
    #[serde(default)]
    pub rules: Option<Vec<AlertRule>>,
    /// Whether messages are sent.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// A secret on its way to be sealed: wiped when dropped, and never printed.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> SecretText {
        SecretText(Zeroizing::new(text))
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText")
    }
}

/// A field that has a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Which.
    pub field: String,
    /// What is wrong with it, and what was expected.
    pub problem: String,
}

fn wrong(field: String, problem: impl Into<String>) -> FieldError {
    FieldError { field, problem: problem.into() }
}

impl SettingsDraft {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// [`FieldError`] of the first field that does not.
    pub fn check(&self) -> Result<(), FieldError> {
        for (rule, settings) in self.rules.iter().flatten() {
            check_rule(*rule, settings)?;
        }
        let webhooks = self.webhooks.as_deref().unwrap_or_default();
        if webhooks.len() > WEBHOOKS_MAX {
            let problem = format!("{} of them, expected at most {WEBHOOKS_MAX}", webhooks.len());
            return Err(wrong("webhooks".into(), problem));
        }
        for (at, webhook) in webhooks.iter().enumerate() {
            webhook.check().map_err(|(key, problem)| wrong(format!("webhooks[{at}].{key}"), problem))?;
            if webhook.id.is_some() && webhooks[..at].iter().any(|before| before.id == webhook.id) {
                return Err(wrong(format!("webhooks[{at}].id"), "is there twice"));
            }
        }
        Ok(())
    }
}

fn check_rule(rule: AlertRule, settings: &RuleSettings) -> Result<(), FieldError> {
    let field = |key: &str| format!("rules.{}.{key}", rule.word());
    if settings.for_seconds > FOR_SECONDS_MAX {
        let problem = format!("{}, expected at most {FOR_SECONDS_MAX}", settings.for_seconds);
        return Err(wrong(field("for_seconds"), problem));
    }
    match (rule.threshold_range(), settings.threshold) {
        (Some(range), Some(threshold)) if !range.contains(&threshold) => {
            let problem = format!("{threshold}, expected {} to {}", range.start(), range.end());
            Err(wrong(field("threshold"), problem))
        }
        (None, Some(_)) => Err(wrong(field("threshold"), "the rule has none, expected null")),
        _ => Ok(()),
    }
}

impl WebhookDraft {
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.url.len() > URL_BYTES_MAX {
            return Err(("url", format!("{} bytes, expected at most {URL_BYTES_MAX}", self.url.len())));
        }
        let url = reqwest::Url::parse(&self.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or(("url", "is no address, expected http:// or https:// and a host".to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(("url", "holds a name or a password, expected none: what is sent is signed instead".into()));
        }
        let secret = self.secret.as_ref().map(SecretText::expose).unwrap_or_default();
        if !secret.is_empty() && !SECRET_BYTES.contains(&secret.len()) {
            let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
            return Err(("secret", format!("is too short or too long, expected {least} to {most} bytes")));
        }
        if self.rules.as_ref().is_some_and(|rules| rules.len() > AlertRule::ALL.len()) {
            return Err(("rules", "names a rule twice".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn error(draft: serde_json::Value) -> String {
        let draft: SettingsDraft = serde_json::from_value(draft).unwrap();
        draft.check().unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field_and_no_secret_with_it() {
        let webhook = |url: &str, secret: &str| json!({"webhooks": [{"url": url, "secret": secret}]});
        for (url, expected) in [
            ("ftp://h/x", "webhooks[0].url: is no address"),
            ("not a url", "webhooks[0].url: is no address"),
            ("https://user:canary@h/", "webhooks[0].url: holds a name or a password"),
        ] {
            let error = error(webhook(url, ""));
            assert!(error.starts_with(expected) && !error.contains("canary"), "{error}");
        }
        let error = error(webhook("https://h/", "canary"));
        assert!(error.starts_with("webhooks[0].secret: ") && !error.contains("canary"), "{error}");
        let draft: SettingsDraft = serde_json::from_value(webhook("https://h/", "canary-canary-canary")).unwrap();
        assert!(draft.check().is_ok() && !format!("{draft:?}").contains("canary"));
    }

    #[test]
    fn thresholds_are_held_to_their_range() {
        let rule = |rule: &str, threshold: Option<f64>, seconds: u32| json!({"rules": {rule: {"enabled": true, "threshold": threshold, "for_seconds": seconds}}});
        assert!(
            error(rule("disk_low", Some(100.0), 0)).starts_with("rules.disk_low.threshold: 100, expected 0.1 to 90")
        );
        assert!(error(rule("source_mute", Some(1.0), 0)).contains("the rule has none"));
        assert!(error(rule("source_mute", None, 86_401)).starts_with("rules.source_mute.for_seconds"));
        let fine: SettingsDraft = serde_json::from_value(rule("disk_low", None, 5)).unwrap();
        assert!(fine.check().is_ok(), "without a threshold the default counts");
    }
}
