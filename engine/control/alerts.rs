//! Alerts: what is wrong for longer than it should be, told once and told again when it is over.
//!
//! [`rules`] decides, from what is known at a time; it has no clock and no database. [`Alerts`] keeps what was raised, the
//! settings, and what is still to be sent; [`webhook`] says how a message is signed and sends it. Whoever runs the engine
//! gathers what is known and drives them.

mod rules;
mod settings;
mod store;
pub mod webhook;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use rules::{Change, Known, Observation, Reading, Watch, lasted};
pub use settings::{
    AlertSettings, FieldError, LastDelivery, RuleSettings, SecretText, SettingsDraft, Webhook, WebhookDraft,
};
pub(in crate::control) use store::reseal;
pub use store::{AlertError, Alerts, Delivery, FailedJob, Page, Sent, Target};

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertRule {
    /// A connection cannot be made or kept.
    ConnectionError,
    /// A source is connected and silent while its market is open.
    SourceMute,
    /// The best bid of a symbol is above its best ask.
    SymbolCrossed,
    /// One source alone makes the common price of a symbol that several are to make.
    SymbolSingleSource,
    /// The database is behind: `threshold` in seconds.
    StorageLag,
    /// The disk of the state directory fills up: `threshold` in percent that is left.
    DiskLow,
    /// The last job of its kind, for its connection, failed.
    JobFailed,
}

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look.
    Warning,
    /// Data is lost, or will be.
    Critical,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl AlertRule {
    /// Every rule.
    pub const ALL: [AlertRule; 7] = [
        AlertRule::ConnectionError,
        AlertRule::SourceMute,
        AlertRule::SymbolCrossed,
        AlertRule::SymbolSingleSource,
        AlertRule::StorageLag,
        AlertRule::DiskLow,
        AlertRule::JobFailed,
    ];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            AlertRule::ConnectionError => "connection_error",
            AlertRule::SourceMute => "source_mute",
            AlertRule::SymbolCrossed => "symbol_crossed",
            AlertRule::SymbolSingleSource => "symbol_single_source",
            AlertRule::StorageLag => "storage_lag",
            AlertRule::DiskLow => "disk_low",
            AlertRule::JobFailed => "job_failed",
        }
    }

    /// The rule of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<AlertRule> {
        AlertRule::ALL.into_iter().find(|rule| rule.word() == word)
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            AlertRule::ConnectionError | AlertRule::StorageLag | AlertRule::DiskLow => Severity::Critical,
            AlertRule::SourceMute | AlertRule::SymbolCrossed | AlertRule::SymbolSingleSource | AlertRule::JobFailed => {
                Severity::Warning
            }
        }
    }

    /// What a threshold may be; `None` where the rule has none.
    #[must_use]
    pub fn threshold_range(self) -> Option<std::ops::RangeInclusive<f64>> {
        match self {
            AlertRule::StorageLag => Some(1.0..=86_400.0),
            AlertRule::DiskLow => Some(0.1..=90.0),
            _ => None,
        }
    }

    /// Where nothing else is said.
    #[must_use]
    pub fn default_settings(self) -> RuleSettings {
        let (threshold, for_seconds) = match self {
            AlertRule::ConnectionError => (None, 30),
            AlertRule::SourceMute => (None, 60),
            AlertRule::SymbolCrossed => (None, 30),
            AlertRule::SymbolSingleSource => (None, 120),
            AlertRule::StorageLag => (Some(60.0), 30),
            AlertRule::DiskLow => (Some(5.0), 10),
            AlertRule::JobFailed => (None, 0),
        };
        RuleSettings { enabled: true, threshold, for_seconds }
    }
}

/// An alert as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Given once.
    pub id: i64,
    /// Of which rule.
    pub rule: AlertRule,
    /// What it is about: a connection, a symbol, …
    pub subject: String,
    /// The connection that it is about, where it is about one.
    pub source: Option<String>,
    /// Whose private connection that is; empty: nobody's.
    pub owner: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Nanoseconds UTC.
    pub raised_ns: i64,
    /// Nanoseconds UTC; `None` while it is raised.
    pub cleared_ns: Option<i64>,
    /// Why it is over, in a sentence.
    pub cleared_message: Option<String>,
}
