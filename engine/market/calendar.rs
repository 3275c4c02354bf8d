//! When an instrument trades, and where its days, weeks and months begin.
//!
//! | class | trading day | session within it | week |
//! |---|---|---|---|
//! | fx | 17:00 to 17:00 New York, named after the day it ends on | all of it, Monday to Friday | from Sunday 17:00 |
//! | metal, index | the same | from 18:00: an hour's break after the close | from Sunday 17:00 |
//! | crypto | 00:00 to 24:00 UTC | all of it, every day | from Monday 00:00 |
//!
//! New York keeps its daylight saving time, by the tz database. Holidays come from the configuration: they close the
//! session, and move no boundary.

use std::sync::Arc;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use tickwire_schemas::words::Timeframe;

use super::Class;

/// The section `[calendar]`: when a class is closed although its week says open.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holidays {
    fx: Vec<Closure>,
    metal: Vec<Closure>,
    index: Vec<Closure>,
    crypto: Vec<Closure>,
}

impl Holidays {
    fn of(&self, class: Class) -> &[Closure] {
        match class {
            Class::Fx => &self.fx,
            Class::Metal => &self.metal,
            Class::Index => &self.index,
            Class::Crypto => &self.crypto,
        }
    }
}

/// One entry: a trading day of every year, one trading day, or a stretch in the calendar's local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closure {
    EveryYear { month: i8, day: i8 },
    Day(Date),
    Stretch { from: DateTime, to: DateTime },
}

impl<'de> Deserialize<'de> for Closure {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = match text.split_once('/') {
            Some((from, to)) => match (from.parse(), to.parse()) {
                (Ok(from), Ok(to)) if from < to => Some(Closure::Stretch { from, to }),
                _ => None,
            },
            // A leap year has every day that any year has.
            None if text.len() == 5 => format!("2024-{text}")
                .parse::<Date>()
                .ok()
                .map(|date| Closure::EveryYear { month: date.month(), day: date.day() }),
            None => text.parse().ok().map(Closure::Day),
        };
        parsed.ok_or_else(|| {
            serde::de::Error::custom(format!(
                "\"{text}\" is no holiday, expected \"12-25\", \"2026-04-03\" or \"2026-12-24T13:00/2026-12-26T18:00\""
            ))
        })
    }
}

/// A stretch of time: from its start, inclusive, to its end, exclusive; nanoseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First nanosecond.
    pub from_ns: i64,
    /// First nanosecond after it.
    pub to_ns: i64,
}

impl Span {
    /// Whether a time lies in it.
    #[must_use]
    pub fn contains(self, ns: i64) -> bool {
        (self.from_ns..self.to_ns).contains(&ns)
    }
}

const MINUTE_NS: i64 = 60_000_000_000;
const HOUR_NS: i64 = 60 * MINUTE_NS;

/// Answers for one class; remembers the stretch of time that its last answer holds for, so that the time zone database
/// is asked a few times a day and not at every tick.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    /// Hour of the day at which a trading day ends, local; 0 is midnight.
    close_hour: i8,
    /// Hours after the trading day's beginning at which the session begins.
    break_hours: i64,
    every_day: bool,
    closures: Arc<[Closure]>,
    known_session: Option<(Span, bool)>,
    known_day: Option<(Date, Span)>,
}

impl Calendar {
    /// For a class of instruments.
    ///
    /// # Errors
    /// When the time zone database lacks New York.
    pub fn new(class: Class, holidays: &Holidays) -> Result<Calendar, String> {
        let zone = match class {
            Class::Crypto => TimeZone::UTC,
            Class::Fx | Class::Metal | Class::Index => {
                TimeZone::get("America/New_York").map_err(|e| format!("time zone America/New_York: {e}"))?
            }
        };
        let is_crypto = class == Class::Crypto;
        Ok(Calendar {
            zone,
            close_hour: if is_crypto { 0 } else { 17 },
            break_hours: i64::from(matches!(class, Class::Metal | Class::Index)),
            every_day: is_crypto,
            closures: holidays.of(class).into(),
            known_session: None,
            known_day: None,
        })
    }

    /// Whether the market is open at `now_ns`.
    #[inline]
    pub fn is_open(&mut self, now_ns: i64) -> bool {
        if let Some((stretch, open)) = self.known_session
            && stretch.contains(now_ns)
        {
            return open;
        }
        self.is_open_then(now_ns)
    }

    /// The stretch in which the last answer of [`Calendar::is_open`] holds, if it was that the market is open.
    #[must_use]
    pub fn known_open(&self) -> Option<Span> {
        self.known_session.filter(|(_, open)| *open).map(|(stretch, _)| stretch)
    }

    #[cold]
    fn is_open_then(&mut self, now_ns: i64) -> bool {
        match self.session(now_ns) {
            Some(answer) => {
                self.known_session = Some(answer);
                answer.1
            }
            // Beyond the years that the calendar computes with: nothing is known against it.
            None => true,
        }
    }

    /// The stretch around `now_ns` in which the answer does not change, and the answer.
    fn session(&mut self, now_ns: i64) -> Option<(Span, bool)> {
        let (date, day) = self.trading_day(now_ns)?;
        let trades = self.every_day || !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        let opens_ns = if trades { day.from_ns + self.break_hours * HOUR_NS } else { day.to_ns };
        let closed: Vec<Span> = self.closures.iter().filter_map(|closure| self.stretch(*closure, date, day)).collect();
        let cuts = closed.iter().flat_map(|span| [span.from_ns, span.to_ns]).chain([opens_ns]);
        let mut stretch = day;
        for cut in cuts {
            if cut <= now_ns {
                stretch.from_ns = stretch.from_ns.max(cut);
            } else {
                stretch.to_ns = stretch.to_ns.min(cut);
            }
        }
        Some((stretch, now_ns >= opens_ns && !closed.iter().any(|span| span.contains(now_ns))))
    }

    /// When a closure closes, if it touches the trading day.
    fn stretch(&self, closure: Closure, date: Date, day: Span) -> Option<Span> {
        match closure {
            Closure::EveryYear { month, day: of_month } => {
                ((date.month(), date.day()) == (month, of_month)).then_some(day)
            }
            Closure::Day(closed) => (closed == date).then_some(day),
            Closure::Stretch { from, to } => Some(Span { from_ns: self.ns(from)?, to_ns: self.ns(to)? }),
        }
    }

    /// The trading day that `ns` lies in: the date it is named after (on which it ends), and its stretch. `None` beyond the
    /// years that can be computed with.
    pub fn trading_day(&mut self, ns: i64) -> Option<(Date, Span)> {
        if let Some(known) = self.known_day
            && known.1.contains(ns)
        {
            return Some(known);
        }
        let local = self.zone.to_datetime(Timestamp::from_nanosecond(i128::from(ns)).ok()?);
        let after_close = self.close_hour > 0 && local.hour() >= self.close_hour;
        let date = if after_close { local.date().tomorrow().ok()? } else { local.date() };
        let day = Span { from_ns: self.begin_of(date)?, to_ns: self.begin_of(date.tomorrow().ok()?)? };
        self.known_day = Some((date, day));
        self.known_day
    }

    /// The interval of a timeframe that `ns` lies in. Minutes and H1 are cut on the clock, H4 counts from the start of the
    /// trading day (the last one ends with it), D1 is the trading day, W1 its week, MN its calendar month.
    pub fn interval(&mut self, timeframe: Timeframe, ns: i64) -> Option<Span> {
        let on_the_clock = |length_ns: i64| {
            let from_ns = ns.div_euclid(length_ns).checked_mul(length_ns)?;
            Some(Span { from_ns, to_ns: from_ns.checked_add(length_ns)? })
        };
        match timeframe {
            Timeframe::M1 => on_the_clock(MINUTE_NS),
            Timeframe::M5 => on_the_clock(5 * MINUTE_NS),
            Timeframe::M15 => on_the_clock(15 * MINUTE_NS),
            Timeframe::M30 => on_the_clock(30 * MINUTE_NS),
            Timeframe::H1 => on_the_clock(HOUR_NS),
            Timeframe::H4 => {
                let day = self.trading_day(ns)?.1;
                let from_ns = ns - (ns - day.from_ns) % (4 * HOUR_NS);
                Some(Span { from_ns, to_ns: (from_ns + 4 * HOUR_NS).min(day.to_ns) })
            }
            Timeframe::D1 => Some(self.trading_day(ns)?.1),
            Timeframe::W1 => {
                let date = self.trading_day(ns)?.0;
                // Of the days that a week's trading days are named after, Monday is the first. What is quoted on a weekend
                // before the opening belongs to the week that ends.
                let monday = date.checked_sub(i64::from(date.weekday().since(Weekday::Monday)).days()).ok()?;
                let next = monday.checked_add(7.days()).ok()?;
                Some(Span { from_ns: self.begin_of(monday)?, to_ns: self.begin_of(next)? })
            }
            Timeframe::MN => {
                let first = self.trading_day(ns)?.0.first_of_month();
                let next = first.checked_add(1.month()).ok()?;
                Some(Span { from_ns: self.begin_of(first)?, to_ns: self.begin_of(next)? })
            }
        }
    }

    /// When the trading day named after `date` begins: at the close of the day before.
    fn begin_of(&self, date: Date) -> Option<i64> {
        let civil_day = if self.close_hour > 0 { date.yesterday().ok()? } else { date };
        self.ns(civil_day.at(self.close_hour, 0, 0, 0))
    }

    fn ns(&self, local: DateTime) -> Option<i64> {
        let zoned = self.zone.to_ambiguous_zoned(local).compatible().ok()?;
        i64::try_from(zoned.timestamp().as_nanosecond()).ok()
    }
}

#[cfg(test)]
mod tests;
