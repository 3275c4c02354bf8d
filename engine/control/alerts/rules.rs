//! When an alert is raised, and when it is over. No clock and no database: what is known comes with its time.
//!
//! A subject is in trouble when its condition holds, and well again when the condition has not held for as long as it must
//! last to be raised, a minute at most: a source that comes back for a moment every few seconds is one alert and not many.
//! What is measured must come back by a fifth of the threshold (a tenth, where less is worse) before it counts as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{Alert, AlertRule, RuleSettings};

const SECOND_NS: i64 = 1_000_000_000;

/// The longest that a subject must be well before its alert is over.
const WELL_SECONDS_MAX: u32 = 60;

/// What is known of a condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// It does not hold.
    Well,
    /// It holds.
    Trouble,
    /// Nothing is known now: neither raises nor clears.
    Unknown,
    /// What the threshold is compared with.
    Measured(f64),
}

/// What is known of one subject of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The rule.
    pub rule: AlertRule,
    /// What it is about.
    pub subject: String,
    /// The connection that it is about, where it is about one.
    pub source: Option<String>,
    /// Whose private connection that is; empty: nobody's.
    pub owner: String,
    /// Whether its condition holds.
    pub reading: Reading,
    /// What an alert would say, in a sentence.
    pub trouble: String,
    /// What would be said when it is over, in a sentence without its end: `oanda delivers again`.
    pub well: String,
}

/// All that is known at a time.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// One for each subject.
    pub observations: Vec<Observation>,
    /// Rules all of whose subjects are among them: one that is not there is gone.
    pub complete: BTreeSet<AlertRule>,
}

/// What is to be done about an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Something is in trouble for long enough.
    Raise(Observation),
    /// It is over.
    Clear {
        /// The alert.
        id: i64,
        /// Its rule.
        rule: AlertRule,
        /// Its subject.
        subject: String,
        /// Why it is over, in a sentence.
        message: String,
    },
}

/// A subject that is in trouble, or was a moment ago.
#[derive(Debug, Default, Clone, Copy)]
struct Track {
    trouble_since_ns: Option<i64>,
    well_since_ns: Option<i64>,
    /// Id and time of the alert.
    raised: Option<(i64, i64)>,
}

/// What every rule thinks of its subjects.
#[derive(Debug, Default)]
pub struct Watch {
    tracks: BTreeMap<(AlertRule, String), Track>,
}

impl Watch {
    /// Goes on with the alerts that are raised.
    #[must_use]
    pub fn new(raised: &[Alert]) -> Watch {
        let track = |alert: &Alert| {
            let track = Track {
                trouble_since_ns: Some(alert.raised_ns),
                well_since_ns: None,
                raised: Some((alert.id, alert.raised_ns)),
            };
            ((alert.rule, alert.subject.clone()), track)
        };
        Watch { tracks: raised.iter().map(track).collect() }
    }

    /// Takes what is known at `now_ns` and says what is to be done. The same is said again at the next call unless it was
    /// confirmed by [`Watch::raised`] or [`Watch::cleared`].
    pub fn step(&mut self, now_ns: i64, rules: &BTreeMap<AlertRule, RuleSettings>, known: &Known) -> Vec<Change> {
        let mut changes = Vec::new();
        for observation in &known.observations {
            let rule = settings_of(rules, observation.rule);
            if rule.enabled {
                changes.extend(self.observe(now_ns, &rule, observation));
            }
        }
        let seen: BTreeSet<(AlertRule, &str)> =
            known.observations.iter().map(|of| (of.rule, of.subject.as_str())).collect();
        self.tracks.retain(|(rule, subject), track| {
            let is_off = !settings_of(rules, *rule).enabled;
            let is_gone = known.complete.contains(rule) && !seen.contains(&(*rule, subject.as_str()));
            if !is_off && !is_gone {
                return true;
            }
            let Some((id, _)) = track.raised else { return false };
            let why = match *rule {
                _ if is_off => "the rule was switched off",
                AlertRule::JobFailed => "came off since, or failed more than a day ago",
                _ => "is not there any more",
            };
            changes.push(Change::Clear {
                id,
                rule: *rule,
                subject: subject.clone(),
                message: format!("{subject}: {why}"),
            });
            true
        });
        changes
    }

    fn observe(&mut self, now_ns: i64, rule: &RuleSettings, of: &Observation) -> Option<Change> {
        let key = (of.rule, of.subject.clone());
        let raised = self.tracks.get(&key).is_some_and(|track| track.raised.is_some());
        let Some(trouble) = in_trouble(of, rule, raised) else {
            if let Some(track) = self.tracks.get_mut(&key) {
                track.well_since_ns = None;
            }
            return None;
        };
        if trouble {
            let track = self.tracks.entry(key).or_default();
            track.well_since_ns = None;
            let since_ns = *track.trouble_since_ns.get_or_insert(now_ns);
            let is_long = now_ns - since_ns >= i64::from(rule.for_seconds) * SECOND_NS;
            return (is_long && track.raised.is_none()).then(|| Change::Raise(of.clone()));
        }
        let track = self.tracks.get_mut(&key)?;
        let well_since_ns = *track.well_since_ns.get_or_insert(now_ns);
        let enough_ns = i64::from(rule.for_seconds.min(WELL_SECONDS_MAX)) * SECOND_NS;
        if now_ns - well_since_ns < enough_ns {
            return None;
        }
        let Some((id, raised_ns)) = track.raised else {
            self.tracks.remove(&key);
            return None;
        };
        let message = format!("{} (raised for {})", of.well, lasted(well_since_ns - raised_ns));
        Some(Change::Clear { id, rule: of.rule, subject: of.subject.clone(), message })
    }

    /// An alert is raised and kept.
    pub fn raised(&mut self, rule: AlertRule, subject: &str, id: i64, at_ns: i64) {
        self.tracks.entry((rule, subject.to_string())).or_default().raised = Some((id, at_ns));
    }

    /// An alert is over, and that is kept.
    pub fn cleared(&mut self, rule: AlertRule, subject: &str) {
        self.tracks.remove(&(rule, subject.to_string()));
    }

    /// How many alerts of a rule are raised, and how many subjects are in trouble and not yet for long enough.
    #[must_use]
    pub fn counts(&self, rule: AlertRule) -> (u64, u64) {
        let of_rule = self.tracks.iter().filter(|((of, _), _)| *of == rule);
        of_rule.fold(
            (0, 0),
            |(raised, pending), (_, track)| {
                if track.raised.is_some() { (raised + 1, pending) } else { (raised, pending + 1) }
            },
        )
    }
}

fn settings_of(rules: &BTreeMap<AlertRule, RuleSettings>, rule: AlertRule) -> RuleSettings {
    rules.get(&rule).copied().unwrap_or_else(|| rule.default_settings())
}

/// Whether the condition holds; `None` when that is not known.
fn in_trouble(of: &Observation, rule: &RuleSettings, raised: bool) -> Option<bool> {
    let value = match of.reading {
        Reading::Well => return Some(false),
        Reading::Trouble => return Some(true),
        Reading::Unknown => return None,
        Reading::Measured(value) if value.is_nan() => return None,
        Reading::Measured(value) => value,
    };
    let threshold = rule.threshold.or(of.rule.default_settings().threshold)?;
    Some(match of.rule {
        // Less is worse.
        AlertRule::DiskLow => value < if raised { threshold * 1.1 } else { threshold },
        _ => value > if raised { threshold * 0.8 } else { threshold },
    })
}

/// A time span for people.
#[must_use]
pub fn lasted(ns: i64) -> String {
    let seconds = (ns / SECOND_NS).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
