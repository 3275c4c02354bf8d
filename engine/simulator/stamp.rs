//! Times as brokers write them. Pure; written apart from the engine's own conversions, so that each checks the other.

/// A UTC moment as a calendar shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
}

const NANOS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * NANOS;

/// Year, month and day of a day number counted from 1970 (Gregorian; eras of 400 years that begin in March).
pub(super) fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number counted from 1970.
pub(super) fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let year_of_era = year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

fn civil(ns: i64) -> Civil {
    let seconds = ns.div_euclid(NANOS);
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    Civil { year, month, day, hour, minute, second, nanos: ns.rem_euclid(NANOS) }
}

/// `2016-10-27T08:38:44.327443673Z`.
#[must_use]
pub fn rfc3339(ns: i64) -> String {
    let c = civil(ns);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", c.year, c.month, c.day, c.hour, c.minute, c.second, c.nanos)
}

/// `2016-10-27T08:38:44.327443Z`.
#[must_use]
pub fn rfc3339_micros(ns: i64) -> String {
    let mut text = rfc3339(ns);
    // Three digits and the Z.
    text.truncate(text.len() - 4);
    text + "Z"
}

/// `1477557524.327443673`.
#[must_use]
pub fn unix(ns: i64) -> String {
    format!("{}.{:09}", ns.div_euclid(NANOS), ns.rem_euclid(NANOS))
}

/// `2024-05-17T10:15:30.123`: no offset, whole milliseconds, as the clock on the broker's wall shows it.
#[must_use]
pub fn wall_clock(ns: i64, rule: ServerTime) -> String {
    let c = civil(ns + rule.offset_ns(ns));
    let millis = c.nanos / 1_000_000;
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// FIX: `20161027-08:38:44.327`, UTC in whole milliseconds.
#[must_use]
pub fn fix(ns: i64) -> String {
    let c = civil(ns);
    let millis = c.nanos / 1_000_000;
    format!("{:04}{:02}{:02}-{:02}:{:02}:{:02}.{millis:03}", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// Reads what brokers are sent: `2022-01-01T00:00:00`, with a fraction and `Z` or without, or seconds since 1970 with or
/// without a fraction. Without a zone it is as much as it says, on whatever clock.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (whole, fraction) = match text.trim_end_matches('Z').split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text.trim_end_matches('Z'), ""),
    };
    let digits = format!("{fraction:0<9}");
    let nanos: i64 = digits.get(..9)?.parse().ok()?;
    let seconds = match whole.split_once('T') {
        None => whole.parse::<i64>().ok().filter(|seconds| (0..1 << 33).contains(seconds))?,
        Some((date, time)) => {
            let parts = |text: &str, by| text.split(by).map(str::parse::<i64>).collect::<Result<Vec<_>, _>>().ok();
            let [year @ 1970..2200, month @ 1..=12, day @ 1..=31] = parts(date, '-')?[..] else { return None };
            let [hour @ 0..24, minute @ 0..60, second @ 0..60] = parts(time, ':')?[..] else { return None };
            day_number(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        }
    };
    Some(seconds * NANOS + nanos)
}

/// The hour of the UTC day.
pub(super) fn hour_of(ns: i64) -> usize {
    usize::try_from(ns.div_euclid(HOUR_NS).rem_euclid(24)).unwrap_or(0)
}

/// A broker's server clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTime {
    /// Midnight at 17:00 New York: UTC+2, or UTC+3 in American daylight saving time.
    NewYorkClose,
    /// A fixed offset from UTC, in seconds.
    Fixed(i64),
}

impl ServerTime {
    /// Reads `new-york-close`, `utc` or `+02:00`.
    #[must_use]
    pub fn parse(text: &str) -> Option<ServerTime> {
        match text {
            "new-york-close" => Some(ServerTime::NewYorkClose),
            "utc" => Some(ServerTime::Fixed(0)),
            _ => offset_seconds(text).map(ServerTime::Fixed),
        }
    }

    /// What to add to UTC, in nanoseconds, at a UTC moment.
    #[must_use]
    pub fn offset_ns(self, utc_ns: i64) -> i64 {
        match self {
            ServerTime::NewYorkClose if us_daylight_saving(utc_ns) => 3 * HOUR_NS,
            ServerTime::NewYorkClose => 2 * HOUR_NS,
            ServerTime::Fixed(seconds) => seconds * NANOS,
        }
    }
}

/// `+02:00` or `-05:30` in seconds.
pub(super) fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && (0..60).contains(&minutes)).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Second Sunday of March 02:00 EST to first Sunday of November 02:00 EDT, the American rule since 2007.
fn us_daylight_saving(utc_ns: i64) -> bool {
    let (year, _, _) = date_of(utc_ns.div_euclid(24 * HOUR_NS));
    let begins = (sunday_from(day_number(year, 3, 8)) * 24 + 7) * HOUR_NS;
    let ends = (sunday_from(day_number(year, 11, 1)) * 24 + 6) * HOUR_NS;
    (begins..ends).contains(&utc_ns)
}

/// The first Sunday on or after a day; day 0 was a Thursday.
fn sunday_from(day: i64) -> i64 {
    day + (3 - day).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_as_recorded() {
        assert_eq!(rfc3339(1_477_557_524_327_443_673), "2016-10-27T08:38:44.327443673Z");
        assert_eq!(rfc3339_micros(1_477_557_524_327_443_673), "2016-10-27T08:38:44.327443Z");
        assert_eq!(unix(1_477_557_524_327_443_673), "1477557524.327443673");
        assert_eq!(fix(1_477_557_524_327_443_673), "20161027-08:38:44.327");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(wall_clock(1_715_940_930_123_999_999, ServerTime::Fixed(0)), "2024-05-17T10:15:30.123");
        assert_eq!(day_number(2000, 2, 29) * 86_400, 951_782_400);
        for text in ["2016-10-27T08:38:44.327443673Z", "1477557524.327443673"] {
            assert_eq!(parse(text), Some(1_477_557_524_327_443_673), "{text}");
        }
        assert_eq!(parse("2000-02-29T00:00:00"), Some(951_782_400_000_000_000));
        for text in ["", "2000-02-29", "2000-13-01T00:00:00", "x", "2000-01-01T00:00", "1.x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_trading_day_of_servers_starts_at_new_york_close_all_year() {
        let at = |days: i64, hour: i64| (days * 24 + hour) * HOUR_NS;
        let rule = ServerTime::NewYorkClose;
        // 17:00 in New York is 22:00 UTC in winter and 21:00 UTC in summer.
        assert_eq!(wall_clock(at(day_number(2024, 1, 15), 22), rule), "2024-01-16T00:00:00.000");
        assert_eq!(wall_clock(at(day_number(2024, 7, 15), 21), rule), "2024-07-16T00:00:00.000");
        // The change of 10 March 2024 happens at 07:00 UTC, that of 3 November at 06:00 UTC.
        let march = at(day_number(2024, 3, 10), 7);
        assert_eq!((rule.offset_ns(march - 1), rule.offset_ns(march)), (2 * HOUR_NS, 3 * HOUR_NS));
        let november = at(day_number(2024, 11, 3), 6);
        assert_eq!((rule.offset_ns(november - 1), rule.offset_ns(november)), (3 * HOUR_NS, 2 * HOUR_NS));
    }

    #[test]
    fn rules_are_read_from_text() {
        assert_eq!(ServerTime::parse("new-york-close"), Some(ServerTime::NewYorkClose));
        assert_eq!(ServerTime::parse("-05:30"), Some(ServerTime::Fixed(-19_800)));
        assert_eq!(ServerTime::parse("EET"), None);
        assert_eq!(ServerTime::parse("+2"), None);
    }
}
