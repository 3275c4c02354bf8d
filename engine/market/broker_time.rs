//! Broker server time to UTC, by the broker's rule.
//!
//! MetaTrader servers stamp prices with their own wall clock and do not say its offset. Two rules cover those in use: a
//! fixed offset, and the clock on which the trading day ends at midnight when New York's ends at 17:00 (GMT+2, and
//! GMT+3 while the United States have summer time).

use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::time_text::SECOND_NS;

/// New York is this far behind a server whose midnight is New York's 17:00.
const CLOSE_SHIFT_S: i64 = 7 * 3_600;

/// How a broker's server clock relates to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerTime {
    /// Always this many seconds ahead of UTC.
    Fixed(i32),
    /// Midnight is 17:00 in New York, all year.
    NewYorkClose,
}

impl FromStr for BrokerTime {
    type Err = String;

    /// Reads `utc`, `+02:00`, `-05:00` or `new-york-close`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not a broker time, expected \"new-york-close\", \"utc\" or an offset such as \"+02:00\""
            )
        };
        match text {
            "new-york-close" => return Ok(BrokerTime::NewYorkClose),
            "utc" => return Ok(BrokerTime::Fixed(0)),
            _ => {}
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| (text.len() == 2).then(|| text.parse::<u8>().ok()).flatten().ok_or_else(wrong);
        let (hours, minutes) = (i32::from(number(hours)?), i32::from(number(minutes)?));
        if hours > 14 || minutes > 59 {
            return Err(wrong());
        }
        Ok(BrokerTime::Fixed(sign * (hours * 3_600 + minutes * 60)))
    }
}

/// Converts one broker's stamps. It remembers the offset of the hour it last saw, so that the calendar is asked once an
/// hour and not once a tick.
#[derive(Debug, Clone)]
pub struct BrokerClock {
    rule: Rule,
    hour: i64,
    offset_ns: i64,
}

#[derive(Debug, Clone)]
enum Rule {
    Fixed(i64),
    NewYorkClose(TimeZone),
}

impl BrokerClock {
    /// A clock that follows `rule`.
    #[must_use]
    pub fn new(rule: BrokerTime) -> Self {
        let rule = match rule {
            BrokerTime::Fixed(seconds) => Rule::Fixed(i64::from(seconds)),
            BrokerTime::NewYorkClose => Rule::NewYorkClose(new_york()),
        };
        BrokerClock { rule, hour: i64::MIN, offset_ns: 0 }
    }

    /// UTC of a server stamp, both in nanoseconds since 1970. In the one hour that autumn repeats (a Sunday morning,
    /// when no market is open) the earlier of the two is taken.
    #[inline]
    pub fn utc_ns(&mut self, server_ns: i64) -> i64 {
        // Offsets change on the hour alone.
        let hour = server_ns.div_euclid(3_600 * SECOND_NS);
        if hour != self.hour {
            self.hour = hour;
            self.offset_ns = self.offset_s(hour * 3_600) * SECOND_NS;
        }
        server_ns.saturating_sub(self.offset_ns)
    }

    /// The server's stamp of a time in UTC, both in nanoseconds since 1970: found the other way around, since the offset is
    /// known by server time.
    pub fn server_ns(&mut self, utc_ns: i64) -> i64 {
        let near = utc_ns.saturating_add(self.ahead_ns(utc_ns));
        utc_ns.saturating_add(self.ahead_ns(near))
    }

    fn ahead_ns(&mut self, server_ns: i64) -> i64 {
        server_ns.saturating_sub(self.utc_ns(server_ns))
    }

    /// Seconds that the server is ahead of UTC at the server time `server_s`.
    fn offset_s(&self, server_s: i64) -> i64 {
        match &self.rule {
            Rule::Fixed(seconds) => *seconds,
            Rule::NewYorkClose(zone) => {
                let local = Timestamp::from_second(server_s - CLOSE_SHIFT_S).map(|t| TimeZone::UTC.to_datetime(t));
                let utc = local.and_then(|local| zone.to_ambiguous_timestamp(local).compatible());
                // Outside the calendar's range nothing is known; the stamp is nonsense anyway and the stages flag it.
                utc.map_or(0, |utc| server_s - utc.as_second())
            }
        }
    }
}

/// The machine's calendar for New York, else the rule in force since 2007.
fn new_york() -> TimeZone {
    TimeZone::get("America/New_York")
        .or_else(|_| TimeZone::posix("EST5EDT,M3.2.0,M11.1.0"))
        .unwrap_or(TimeZone::fixed(jiff::tz::offset(-5)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::market::time_text::date_time;

    fn convert(clock: &mut BrokerClock, server: &str) -> String {
        let utc = clock.utc_ns(date_time(server.as_bytes()).unwrap().local_ns);
        Timestamp::from_nanosecond(i128::from(utc)).unwrap().to_string()
    }

    #[test]
    fn the_day_closes_at_seventeen_hours_new_york_in_winter_and_in_summer() {
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        for (server, utc) in [
            ("2024-01-16T00:00:00", "2024-01-15T22:00:00Z"),
            ("2024-07-16T00:00:00", "2024-07-15T21:00:00Z"),
            // The Friday before and the Monday after the switch of March 2024; Europe switches three weeks later.
            ("2024-03-08T23:59:59.5", "2024-03-08T21:59:59.5Z"),
            ("2024-03-11T00:00:00", "2024-03-10T21:00:00Z"),
            ("2024-11-01T23:59:59", "2024-11-01T20:59:59Z"),
            ("2024-11-04T00:00:00", "2024-11-03T22:00:00Z"),
        ] {
            assert_eq!(convert(&mut clock, server), utc, "{server}");
        }
    }

    #[test]
    fn every_hour_of_a_year_is_new_york_plus_seven() {
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        let zone = new_york();
        for hour in 0..8_760 {
            let utc = Timestamp::from_second(1_704_067_200 + hour * 3_600).unwrap();
            let server_s = utc.as_second() + i64::from(zone.to_offset(utc).seconds()) + CLOSE_SHIFT_S;
            let back = clock.utc_ns(server_s * SECOND_NS) / SECOND_NS;
            // The repeated hour of autumn is the earlier one.
            let repeated = utc.as_second() == 1_730_613_600;
            assert_eq!(back, utc.as_second() - if repeated { 3_600 } else { 0 }, "{utc}");
        }
    }

    #[test]
    fn server_stamps_of_utc_times_are_found_around_both_changes() {
        let mut clock = BrokerClock::new(BrokerTime::NewYorkClose);
        for (utc, server) in [
            ("2024-01-15T22:00:00", "2024-01-16T00:00:00"),
            ("2024-07-15T21:00:00", "2024-07-16T00:00:00"),
            ("2024-03-10T06:59:00", "2024-03-10T08:59:00"),
            ("2024-03-10T21:00:00", "2024-03-11T00:00:00"),
            ("2024-11-03T08:00:00", "2024-11-03T10:00:00"),
        ] {
            let ns = |text: &str| date_time(text.as_bytes()).unwrap().local_ns;
            assert_eq!(clock.server_ns(ns(utc)), ns(server), "{utc}");
        }
    }

    #[test]
    fn fixed_offsets() {
        assert_eq!(
            convert(&mut BrokerClock::new("+02:00".parse().unwrap()), "2024-05-17T10:15:30.123"),
            "2024-05-17T08:15:30.123Z"
        );
        assert_eq!(
            convert(&mut BrokerClock::new("-05:30".parse().unwrap()), "2024-05-17T10:15:30"),
            "2024-05-17T15:45:30Z"
        );
        assert_eq!("utc".parse(), Ok(BrokerTime::Fixed(0)));
        for text in ["", "2", "+2", "+2:00", "+15:00", "GMT+2", "+02:60", "EET"] {
            assert!(text.parse::<BrokerTime>().unwrap_err().contains("new-york-close"), "{text}");
        }
    }
}
