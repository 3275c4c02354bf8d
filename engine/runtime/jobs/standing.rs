//! What is wanted without anybody asking.

use tickwire_schemas::words::Timeframe;

use super::Ground;
use crate::control::jobs::Kind;
use crate::control::jobs::schedule::{Schedule, Subject, stagger_ns};
use crate::control::jobs::scheduler::{FirstBackfill, Standing};
use crate::feeds::SourceSpec;
use crate::storage::Mode;

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;
const HOUR_NS: i64 = 60 * MINUTE_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// How long after the end of a bar it is asked for at the earliest.
const SETTLED_NS: i64 = 3 * SECOND_NS;

/// How long after it is known a connection is asked for its symbols and account at the earliest, and over how long the
/// first questions are spread.
const FIRST_AFTER_NS: i64 = 2 * MINUTE_NS;
const FIRST_SPREAD_NS: i64 = 3 * MINUTE_NS;

pub(super) fn of(ground: &Ground) -> Standing {
    let mut standing = Standing::default();
    let stores = ground.storage.mode != Mode::Off;
    if stores
        && ground.retention.enabled
        && let Some(at_ns) = ground.retention.at_ns()
    {
        standing.schedules.push(Schedule {
            subject: Subject { kind: Kind::Retention, connection: None, timeframe: None },
            owner: String::new(),
            every: format!("daily at {} UTC", ground.retention.at),
            period_ns: DAY_NS,
            offset_ns: at_ns,
            first_after_ns: None,
        });
    }
    for spec in (ground.in_effect)().sources {
        if spec.venue.any_symbol_list().is_some() {
            standing.schedules.push(refresh(&spec, Kind::RefreshSymbols, "daily", DAY_NS));
        }
        if spec.venue.any_account().is_some() {
            standing.schedules.push(refresh(&spec, Kind::RefreshAccount, "hourly", HOUR_NS));
        }
        let Some(history) = spec.venue.any_history().filter(|_| stores) else { continue };
        for timeframe in spec.timeframes.iter().filter(|timeframe| history.has(**timeframe)) {
            standing.schedules.push(fetch(&spec, *timeframe));
            if ground.config.backfill_days == 0 {
                continue;
            }
            standing.first.extend(spec.symbols.iter().map(|symbol| FirstBackfill {
                connection: spec.name.clone(),
                owner: spec.owner.clone(),
                symbol: symbol.canonical.clone(),
                timeframe: timeframe.word().into(),
            }));
        }
    }
    standing
}

fn refresh(spec: &SourceSpec, kind: Kind, every: &str, period_ns: i64) -> Schedule {
    let name = format!("{}.{}", spec.name, kind.word());
    Schedule {
        subject: Subject { kind, connection: Some(spec.name.clone()), timeframe: None },
        owner: spec.owner.clone(),
        every: every.into(),
        period_ns,
        offset_ns: stagger_ns(&name, period_ns),
        first_after_ns: Some(FIRST_AFTER_NS + stagger_ns(&name, FIRST_SPREAD_NS)),
    }
}

fn fetch(spec: &SourceSpec, timeframe: Timeframe) -> Schedule {
    let (period_ns, words) = cadence(timeframe);
    let name = format!("{}.{timeframe}", spec.name);
    Schedule {
        subject: Subject {
            kind: Kind::FetchBars,
            connection: Some(spec.name.clone()),
            timeframe: Some(timeframe.word().into()),
        },
        owner: spec.owner.clone(),
        every: format!("{words} ({timeframe})"),
        period_ns,
        offset_ns: SETTLED_NS + stagger_ns(&name, (period_ns / 4).min(MINUTE_NS)),
        first_after_ns: None,
    }
}

/// How often bars of a length are asked for. Those that days cut are asked for more often than they end, since venues cut
/// their days at different hours.
fn cadence(timeframe: Timeframe) -> (i64, &'static str) {
    match timeframe {
        Timeframe::M1 => (MINUTE_NS, "every minute"),
        Timeframe::M5 => (5 * MINUTE_NS, "every 5 minutes"),
        Timeframe::M15 => (15 * MINUTE_NS, "every 15 minutes"),
        Timeframe::M30 => (30 * MINUTE_NS, "every 30 minutes"),
        Timeframe::H1 | Timeframe::H4 => (HOUR_NS, "every hour"),
        Timeframe::D1 | Timeframe::W1 | Timeframe::MN => (4 * HOUR_NS, "every 4 hours"),
    }
}

/// The shortest length of a bar: so many of them are no more than a venue gives at once.
pub(super) fn length_ns(timeframe: Timeframe) -> i64 {
    match timeframe {
        Timeframe::M1 => MINUTE_NS,
        Timeframe::M5 => 5 * MINUTE_NS,
        Timeframe::M15 => 15 * MINUTE_NS,
        Timeframe::M30 => 30 * MINUTE_NS,
        Timeframe::H1 => HOUR_NS,
        Timeframe::H4 => 4 * HOUR_NS,
        // A day may lose an hour to daylight saving time.
        Timeframe::D1 => 23 * HOUR_NS,
        Timeframe::W1 => (7 * 24 - 1) * HOUR_NS,
        Timeframe::MN => (28 * 24 - 1) * HOUR_NS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_asked_for_soon_after_their_end_and_never_before() {
        for timeframe in Timeframe::ALL.iter().copied() {
            let (period_ns, words) = cadence(timeframe);
            assert!(period_ns <= length_ns(timeframe), "{timeframe}: {words}");
            let latest_ns = SETTLED_NS + (period_ns / 4).min(MINUTE_NS);
            assert!(latest_ns < period_ns, "{timeframe}: {latest_ns}");
        }
    }
}
