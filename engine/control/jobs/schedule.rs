//! What is due when. Pure: it is told the time and what was queued before.

use std::collections::BTreeMap;

use super::Kind;

/// Whom a schedule is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// What is done.
    pub kind: Kind,
    /// Of which connection.
    pub connection: Option<String>,
    /// Word of the timeframe.
    pub timeframe: Option<String>,
}

/// Something that is done again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// What.
    pub subject: Subject,
    /// Whose private connection it is of; empty: global, or none.
    pub owner: String,
    /// In words: `every minute (M1)`.
    pub every: String,
    /// Every so many nanoseconds, counted from 1970.
    pub period_ns: i64,
    /// And so many later.
    pub offset_ns: i64,
    /// Done for the first time so long after it is known, if its time does not come sooner. `None`: at its time alone.
    pub first_after_ns: Option<i64>,
}

impl Schedule {
    /// The first of its times behind `ns`.
    #[must_use]
    pub fn next_after(&self, ns: i64) -> i64 {
        let period_ns = self.period_ns.max(1);
        let periods = ns.saturating_sub(self.offset_ns).div_euclid(period_ns).saturating_add(1);
        periods.saturating_mul(period_ns).saturating_add(self.offset_ns)
    }
}

/// A number from 0 to `span_ns` that is the same for the same text: those with one cadence do not all come at once.
#[must_use]
pub fn stagger_ns(text: &str, span_ns: i64) -> i64 {
    let part = i128::from(crc32c::crc32c(text.as_bytes())) * i128::from(span_ns.max(0)) / i128::from(u32::MAX);
    // No more than the span.
    i64::try_from(part).unwrap_or(0)
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    first_ns: i64,
    last_ns: Option<i64>,
}

/// Remembers what was done when.
#[derive(Debug, Default)]
pub struct Planner(BTreeMap<Subject, Seen>);

impl Planner {
    /// Meets a schedule: `last_ns` is when it was last queued, as far as anybody knows.
    pub fn meet(&mut self, subject: &Subject, last_ns: Option<i64>, now_ns: i64) {
        self.0.entry(subject.clone()).or_insert(Seen { first_ns: now_ns, last_ns });
    }

    /// Whether it was met.
    #[must_use]
    pub fn knows(&self, subject: &Subject) -> bool {
        self.0.contains_key(subject)
    }

    /// Forgets all but these.
    pub fn keep(&mut self, schedules: &[Schedule]) {
        self.0.retain(|subject, _| schedules.iter().any(|schedule| schedule.subject == *subject));
    }

    /// When it is next due. One that was missed is due once, however often it was missed.
    #[must_use]
    pub fn next_ns(&self, schedule: &Schedule) -> Option<i64> {
        let seen = self.0.get(&schedule.subject)?;
        Some(match seen.last_ns {
            Some(last_ns) => schedule.next_after(last_ns),
            None => {
                let next_ns = schedule.next_after(seen.first_ns);
                schedule.first_after_ns.map_or(next_ns, |after_ns| next_ns.min(seen.first_ns.saturating_add(after_ns)))
            }
        })
    }

    /// Whether it is due; it is then taken as done.
    pub fn take(&mut self, schedule: &Schedule, now_ns: i64) -> bool {
        let is_due = self.next_ns(schedule).is_some_and(|next_ns| next_ns <= now_ns);
        if is_due && let Some(seen) = self.0.get_mut(&schedule.subject) {
            seen.last_ns = Some(now_ns);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: i64 = 60_000_000_000;
    const HOUR_NS: i64 = 60 * MINUTE_NS;
    const DAY_NS: i64 = 24 * HOUR_NS;

    fn schedule(period_ns: i64, offset_ns: i64, first_after_ns: Option<i64>) -> Schedule {
        Schedule {
            subject: Subject { kind: Kind::Retention, connection: None, timeframe: None },
            owner: String::new(),
            every: String::new(),
            period_ns,
            offset_ns,
            first_after_ns,
        }
    }

    /// Every minute of which something was due, from the first on, up to `minutes`.
    fn due(schedule: &Schedule, last_ns: Option<i64>, from_ns: i64, minutes: i64) -> Vec<i64> {
        let mut planner = Planner::default();
        planner.meet(&schedule.subject, last_ns, from_ns);
        let at = |minute: i64| from_ns + minute * MINUTE_NS;
        (0..minutes).filter(|minute| planner.take(schedule, at(*minute))).collect()
    }

    #[test]
    fn at_two_each_night_and_not_when_the_engine_starts() {
        let nightly = schedule(DAY_NS, 2 * HOUR_NS, None);
        let noon = 20_000 * DAY_NS + 12 * HOUR_NS;
        assert_eq!(due(&nightly, None, noon, 3 * 24 * 60), [14 * 60, 38 * 60, 62 * 60]);
    }

    #[test]
    fn what_was_missed_is_done_once() {
        let nightly = schedule(DAY_NS, 2 * HOUR_NS, None);
        let noon = 20_000 * DAY_NS + 12 * HOUR_NS;
        // Off for five nights: at once, and then at two again.
        assert_eq!(due(&nightly, Some(noon - 5 * DAY_NS), noon, 24 * 60), [0, 14 * 60]);
        // Done this night: not again before the next.
        assert_eq!(due(&nightly, Some(noon - 10 * HOUR_NS), noon, 24 * 60), [14 * 60]);
    }

    #[test]
    fn each_minute_gets_its_bars_after_its_end() {
        let each_minute = schedule(MINUTE_NS, 7_000_000_000, None);
        let at = 1_000 * MINUTE_NS;
        assert_eq!(each_minute.next_after(at), at + 7_000_000_000);
        assert_eq!(each_minute.next_after(at + 7_000_000_000), at + 67_000_000_000);
        assert_eq!(each_minute.next_after(at + 6_999_999_999), at + 7_000_000_000);
    }

    #[test]
    fn a_new_connection_need_not_wait_for_its_hour() {
        let daily = schedule(DAY_NS, 0, Some(5 * MINUTE_NS));
        let noon = 20_000 * DAY_NS + 12 * HOUR_NS;
        assert_eq!(due(&daily, None, noon, 24 * 60), [5, 12 * 60]);
    }

    #[test]
    fn a_removed_connection_is_met_anew() {
        let daily = schedule(DAY_NS, 0, None);
        let mut planner = Planner::default();
        planner.meet(&daily.subject, Some(5), 5);
        planner.keep(&[]);
        assert!(!planner.knows(&daily.subject));
    }

    #[test]
    fn staggers_differ_and_stay_within() {
        let of = |name: &str| stagger_ns(name, MINUTE_NS);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("oanda.M1"), of("binance.M1"));
        assert!((0..100).all(|n| (0..=MINUTE_NS).contains(&of(&n.to_string()))));
        assert!((0..100).any(|n| stagger_ns(&n.to_string(), DAY_NS) > 23 * HOUR_NS));
    }
}
