//! When an instrument trades, as far as the session check needs it.
//!
//! Currencies, metals and indices: Sunday 17:00 to Friday 17:00 New York, with its daylight saving time. Crypto: always.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::Class;

/// Answers for one class; remembers the stretch of time that its last answer holds for, so that the time zone database
/// is asked about twice a week and not at every tick.
#[derive(Debug, Clone)]
pub struct Calendar {
    new_york: Option<TimeZone>,
    known: Option<(i64, i64, bool)>,
}

impl Calendar {
    /// For a class of instruments.
    ///
    /// # Errors
    /// When the time zone database lacks New York.
    pub fn new(class: Class) -> Result<Calendar, String> {
        let new_york = match class {
            Class::Crypto => None,
            Class::Fx | Class::Metal | Class::Index => {
                Some(TimeZone::get("America/New_York").map_err(|e| format!("time zone America/New_York: {e}"))?)
            }
        };
        Ok(Calendar { new_york, known: None })
    }

    /// Whether the market is open at `now_ns`.
    pub fn is_open(&mut self, now_ns: i64) -> bool {
        let Some(zone) = &self.new_york else { return true };
        if let Some((from, to, open)) = self.known
            && (from..to).contains(&now_ns)
        {
            return open;
        }
        match week(zone, now_ns) {
            Some(answer) => {
                self.known = Some(answer);
                answer.2
            }
            // Beyond the years that the calendar computes with: nothing is known against it.
            None => true,
        }
    }
}

/// The stretch around `now_ns` in which the answer does not change, and the answer.
fn week(zone: &TimeZone, now_ns: i64) -> Option<(i64, i64, bool)> {
    let now = Timestamp::from_nanosecond(i128::from(now_ns)).ok()?.to_zoned(zone.clone());
    // Shifted by seven hours a trading week begins with Monday, as the market opens on Sunday at 17:00.
    let days_back = i64::from(now.weekday().since(Weekday::Sunday));
    let mut opens = at_five(&now.checked_sub(days_back.days()).ok()?)?;
    if opens.timestamp() > now.timestamp() {
        opens = at_five(&opens.checked_sub(7.days()).ok()?)?;
    }
    let closes = at_five(&opens.checked_add(5.days()).ok()?)?;
    let next = at_five(&opens.checked_add(7.days()).ok()?)?;
    let ns = |zoned: &Zoned| i64::try_from(zoned.timestamp().as_nanosecond()).ok();
    let (opens, closes, next) = (ns(&opens)?, ns(&closes)?, ns(&next)?);
    Some(if now_ns < closes { (opens, closes, true) } else { (closes, next, false) })
}

fn at_five(day: &Zoned) -> Option<Zoned> {
    day.date().at(17, 0, 0, 0).to_zoned(day.time_zone().clone()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(calendar: &mut Calendar, time: &str) -> bool {
        let at: Timestamp = time.parse().unwrap();
        calendar.is_open(at.as_nanosecond() as i64)
    }

    #[test]
    fn the_week_ends_and_begins_at_five_in_new_york_in_summer_and_winter() {
        let mut fx = Calendar::new(Class::Fx).unwrap();
        for (time, expected) in [
            ("2026-07-03T20:59:59Z", true), ("2026-07-03T21:00:00Z", false), ("2026-07-05T20:59:59Z", false),
            ("2026-07-05T21:00:00Z", true), ("2026-01-02T21:59:59Z", true), ("2026-01-02T22:00:00Z", false),
            ("2026-01-04T21:59:59Z", false), ("2026-01-04T22:00:00Z", true), ("2026-01-07T03:00:00Z", true),
            // Clocks go forward on Sunday 8 March 2026, between Friday's close and Sunday's open.
            ("2026-03-06T21:59:59Z", true), ("2026-03-06T22:00:00Z", false), ("2026-03-08T20:59:59Z", false),
            ("2026-03-08T21:00:00Z", true),
        ] {
            assert_eq!(open(&mut fx, time), expected, "{time}");
            assert_eq!(open(&mut fx.clone(), time), expected, "{time} from the remembered stretch");
        }
        assert!(open(&mut Calendar::new(Class::Crypto).unwrap(), "2026-07-04T12:00:00Z"));
    }
}
