#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use tickwire_schemas::NO_NUMBER;
use tickwire_schemas::record::{Head, Ohlc};
use tickwire_schemas::words::{BarState, Basis, Origin};

use super::*;
use crate::market::Holidays;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// 2024-03-05 00:00 UTC, a Tuesday.
const DAY: i64 = 1_709_596_800 * SECOND;

const CONFIG: RepairConfig =
    RepairConfig { enabled: true, delay_ms: 10_000, attempts: 3, backoff_ms: 1_000, pending_max: 5_000, requests: 4 };
const DELAY: i64 = 10 * SECOND;

fn calendars() -> Vec<Calendar> {
    Class::ALL.iter().map(|class| Calendar::new(*class, &Holidays::default()).unwrap()).collect()
}

/// One source with two symbols of a class: 7 and 8.
fn plan(class: Class, page: usize, timeframes: &[Timeframe]) -> Plan {
    plan_with(CONFIG, class, page, timeframes)
}

fn plan_with(config: RepairConfig, class: Class, page: usize, timeframes: &[Timeframe]) -> Plan {
    let symbol = |id| Symbol { instrument_id: id, venue_symbol: format!("s{id}"), class };
    let past = (page > 0).then(|| Past { page, timeframes: timeframes.to_vec(), ticks_span_ns: None });
    Plan::new(config, vec![Venue { source_id: 3, past, symbols: vec![symbol(7), symbol(8)] }], calendars(), 1)
}

fn hole(id: u64, instrument_id: u32, from_ns: i64, to_ns: i64) -> Gap {
    Gap {
        head: Head { source_id: 3, instrument_id, ..Head::default() },
        ts_recv_ns: to_ns,
        from_ns,
        to_ns,
        gap_id: id,
        lost: NO_NUMBER,
        gap_epoch: 1,
        cause: Cause::ReadError.code(),
        state: GapState::Closed.code(),
    }
}

fn bar(timeframe: Timeframe, open_ts_ns: i64) -> Bar {
    let prices = Ohlc { open_e9: open_ts_ns, ..Ohlc::default() };
    Bar {
        open_ts_ns,
        bid: prices,
        ask: prices,
        timeframe: timeframe.code(),
        origin: Origin::Backfill.code(),
        basis: Basis::Quote.code(),
        state: BarState::Final.code(),
        ..Bar::default()
    }
}

/// All bars that a venue with a full history answers.
fn bars(job: &Job, calendar: &mut Calendar) -> Vec<Bar> {
    let mut found = Vec::new();
    let mut at = job.from_ns;
    while at < job.to_ns {
        let span = calendar.interval(job.timeframe, at).unwrap();
        found.push(bar(job.timeframe, span.from_ns));
        at = span.to_ns;
    }
    found
}

fn step(told: &Told) -> RepairStep {
    RepairStep::from_code(told.repair.step).unwrap()
}

fn told(plan: &mut Plan) -> Vec<Told> {
    std::iter::from_fn(|| plan.tell()).collect()
}

/// In short: the step, and of a bar its timeframe and opening.
fn short(told: &[Told]) -> Vec<(RepairStep, u64, u8, i64)> {
    let one = |t: &Told| {
        let bar = step(t) == RepairStep::Bar;
        (step(t), t.repair.gap_id, t.repair.timeframe, if bar { t.repair.from_ns } else { 0 })
    };
    told.iter().map(one).collect()
}

/// Answers all that is due; how many requests that took.
fn serve(plan: &mut Plan, class: Class, now_ns: i64) -> usize {
    let (mut calendar, mut requests) = (calendars().remove(class as usize), 0);
    while let Some(job) = plan.next(0, now_ns) {
        requests += 1;
        let all = bars(&job, &mut calendar);
        let page = plan.venues[0].past.as_ref().unwrap().page;
        assert!(!all.is_empty() && all.len() <= page, "{job:?}: {} bars", all.len());
        let last = calendar.interval(job.timeframe, all.last().unwrap().open_ts_ns).unwrap();
        assert!(last.to_ns + DELAY <= now_ns, "{job:?} has not ended");
        assert_eq!(last.to_ns, job.to_ns);
        plan.answered(&job, Ok(all), now_ns);
    }
    requests
}

#[test]
fn bars_are_asked_for_when_they_have_ended_and_the_entry_does_not_wait_for_the_long_ones() {
    use RepairStep::{Bar, Repaired};
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1, Timeframe::M5, Timeframe::H1]);
    let at = DAY + 10 * HOUR;
    plan.gap(&hole(1, 7, at + 90 * SECOND, at + 130 * SECOND));
    plan.look(at + 130 * SECOND);
    // The hole is of the minutes 1 and 2; the first has ended.
    assert_eq!(plan.next(0, at + 2 * MINUTE + DELAY - 1), None);
    let job = plan.next(0, at + 2 * MINUTE + DELAY).unwrap();
    assert_eq!(
        (job.from_ns, job.to_ns, plan.venue_symbol(job.venue, job.symbol)),
        (at + MINUTE, at + 2 * MINUTE, "s7")
    );
    serve(&mut plan, Class::Crypto, at + 2 * MINUTE + DELAY);
    assert_eq!(short(&told(&mut plan)), [(Bar, 1, 1, at + MINUTE)]);
    assert_eq!(plan.pending(), 1);
    serve(&mut plan, Class::Crypto, at + 3 * MINUTE + DELAY);
    assert_eq!(short(&told(&mut plan)), [(Bar, 1, 1, at + 2 * MINUTE), (Repaired, 1, 0, 0)]);
    assert_eq!(plan.pending(), 0);
    serve(&mut plan, Class::Crypto, at + 5 * MINUTE + DELAY);
    assert_eq!(short(&told(&mut plan)), [(Bar, 1, 2, at)]);
    serve(&mut plan, Class::Crypto, at + HOUR + DELAY);
    assert_eq!(short(&told(&mut plan)), [(Bar, 1, 5, at)]);
    assert!(plan.holes.is_empty());
}

#[test]
fn longer_bars_that_can_be_had_too_come_before_the_end() {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1, Timeframe::M5]);
    let at = DAY + 10 * HOUR;
    plan.gap(&hole(1, 7, at + 4 * MINUTE + SECOND, at + 4 * MINUTE + 9 * SECOND));
    plan.look(at + HOUR);
    serve(&mut plan, Class::Crypto, at + HOUR);
    let steps: Vec<_> = told(&mut plan).iter().map(|t| (step(t), t.repair.timeframe)).collect();
    assert_eq!(steps, [(RepairStep::Bar, 1), (RepairStep::Bar, 2), (RepairStep::Repaired, 0)]);
    assert!(plan.holes.is_empty());
}

#[test]
fn what_was_missed_first_may_belong_to_the_bar_before() {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1]);
    let at = DAY + 10 * HOUR;
    plan.gap(&hole(1, 7, at + SECOND / 100, at + SECOND));
    let job = plan.next(0, at + HOUR).unwrap();
    assert_eq!((job.from_ns, job.to_ns), (at - MINUTE, at + MINUTE));
}

#[test]
fn a_closed_market_has_nothing_to_mend() {
    let mut plan = plan(Class::Fx, 500, &[Timeframe::M1, Timeframe::W1]);
    // From Saturday noon to Sunday noon.
    plan.gap(&hole(1, 7, DAY + 108 * HOUR, DAY + 132 * HOUR));
    plan.look(DAY + 133 * HOUR);
    assert_eq!(short(&told(&mut plan)), [(RepairStep::Repaired, 1, 0, 0)]);
    assert!(plan.holes.is_empty());
    // From the last second of Friday to the first of Sunday, over the change to summer time: two minutes.
    let (closes, opens) = (DAY + 94 * HOUR, DAY + 141 * HOUR);
    plan.gap(&hole(2, 7, closes - SECOND / 2, opens + SECOND / 2));
    plan.look(opens + HOUR);
    let job = plan.next(0, opens + HOUR).unwrap();
    assert_eq!(job.from_ns, closes - MINUTE);
    plan.answered(&job, Ok(vec![bar(Timeframe::M1, closes - MINUTE)]), opens + HOUR);
    let job = plan.next(0, opens + HOUR).unwrap();
    assert_eq!((job.from_ns, job.to_ns), (opens, opens + MINUTE), "the page was over, and nothing between");
}

#[test]
fn without_history_source_or_symbol_a_hole_is_lost_at_once() {
    let mut none = plan(Class::Crypto, 0, &[]);
    none.gap(&hole(1, 7, DAY, DAY + SECOND));
    none.gap(&hole(2, INSTRUMENT_ALL, DAY, DAY + SECOND));
    let mut some = plan(Class::Crypto, 9, &[Timeframe::M1]);
    some.gap(&hole(3, 9, DAY, DAY + SECOND));
    let mut other = hole(4, 7, DAY, DAY + SECOND);
    other.head.source_id = 99;
    some.gap(&other);
    for (plan, reasons) in [(&mut none, ["past bars", "past bars"]), (&mut some, ["symbol", "source"])] {
        plan.look(DAY + SECOND);
        let told = told(plan);
        assert!(told.iter().all(|t| step(t) == RepairStep::Lost));
        assert!(told.iter().zip(reasons).all(|(t, r)| t.why.as_ref().unwrap().contains(r)), "{told:?}");
        assert!(plan.holes.is_empty());
    }
}

#[test]
fn a_hole_of_all_symbols_is_mended_in_each_and_ends_once() {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1]);
    plan.gap(&hole(1, INSTRUMENT_ALL, DAY + SECOND, DAY + 2 * SECOND));
    plan.look(DAY + HOUR);
    assert_eq!(serve(&mut plan, Class::Crypto, DAY + HOUR), 2);
    let ids: Vec<_> = told(&mut plan).iter().map(|t| (step(t), t.repair.head.instrument_id)).collect();
    assert_eq!(ids, [(RepairStep::Bar, 7), (RepairStep::Bar, 8), (RepairStep::Repaired, INSTRUMENT_ALL)]);
}

#[test]
fn three_failures_are_the_end_and_waits_that_were_asked_for_are_none() {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1, Timeframe::M5]);
    plan.gap(&hole(1, 7, DAY + SECOND, DAY + 2 * SECOND));
    let mut now = DAY + HOUR;
    plan.look(now);
    let failure = Failure::new(Cause::ReadError, "broken off");
    let slow = Failure { retry_after: Some(Duration::from_secs(60)), ..Failure::new(Cause::RateLimited, "slowly") };
    for _ in 0..10 {
        let job = plan.next(0, now).filter(|job| job.timeframe == Timeframe::M1).unwrap();
        plan.answered(&job, Err(slow.clone()), now);
        assert!(plan.next(0, now + 60 * SECOND - 1).is_none_or(|job| job.timeframe == Timeframe::M5));
        now += 60 * SECOND;
    }
    for wait in [SECOND, 2 * SECOND, 0] {
        let job = plan.next(0, now).filter(|job| job.timeframe == Timeframe::M1).unwrap();
        plan.answered(&job, Err(failure.clone()), now);
        if wait > 0 {
            assert_eq!(told(&mut plan), []);
            assert!(plan.next(0, now + wait / 2 - 1).is_none_or(|job| job.timeframe == Timeframe::M5));
        }
        now += wait;
    }
    let [lost] = &told(&mut plan)[..] else { panic!() };
    assert_eq!((step(lost), lost.why.as_deref()), (RepairStep::Lost, Some("bars of M1: broken off")));
    assert_eq!(plan.next(0, now + HOUR), None);
    // By hand it is tried again.
    assert!(plan.retry(Key { epoch: 1, id: 1 }) && !plan.retry(Key { epoch: 1, id: 1 }));
    plan.look(now);
    serve(&mut plan, Class::Crypto, now);
    assert_eq!(short(&told(&mut plan)).last().unwrap().0, RepairStep::Repaired);
}

#[test]
fn what_the_venue_refuses_of_one_timeframe_the_others_still_bring() {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1, Timeframe::M5]);
    plan.gap(&hole(1, 7, DAY + SECOND, DAY + 2 * SECOND));
    let refused = Failure::new(Cause::ProtocolError, "only the 720 most recent bars");
    plan.look(DAY + HOUR);
    for now in (1..=3).map(|n| DAY + n * HOUR) {
        let job = plan.next(0, now).filter(|job| job.timeframe == Timeframe::M1).unwrap();
        plan.answered(&job, Err(refused.clone()), now);
    }
    serve(&mut plan, Class::Crypto, DAY + 4 * HOUR);
    let steps: Vec<_> = told(&mut plan).iter().map(|t| (step(t), t.repair.timeframe)).collect();
    assert_eq!(steps, [(RepairStep::Bar, 2), (RepairStep::Lost, 0)]);
}

#[test]
fn beyond_the_most_that_may_wait_the_newest_is_lost() {
    let mut plan = plan_with(RepairConfig { pending_max: 2, ..CONFIG }, Class::Crypto, 500, &[Timeframe::M1]);
    (1..=3).for_each(|id| plan.gap(&hole(id, 7, DAY + SECOND, DAY + 2 * SECOND)));
    plan.look(DAY + SECOND);
    assert_eq!(short(&told(&mut plan)), [(RepairStep::Lost, 3, 0, 0)]);
    assert_eq!((plan.overflowed(), plan.pending()), (1, 2));
}

/// Holes that may have been made in a day of some symbol, as (from, length) in seconds.
fn holes() -> impl Strategy<Value = Vec<(i64, i64)>> {
    proptest::collection::vec((0_i64..82_000, prop_oneof![0_i64..30, 0_i64..4_000]), 1..40)
}

/// Every bar that overlaps a hole and has ended, by timeframe and opening.
fn missed(gaps: &[Gap], timeframes: &[Timeframe], until_ns: i64) -> BTreeSet<(u8, i64)> {
    let (mut calendar, mut all) = (calendars().remove(Class::Crypto as usize), BTreeSet::new());
    for gap in gaps {
        for timeframe in timeframes {
            let mut at = gap.from_ns - SECOND;
            while at < gap.to_ns {
                let span = calendar.interval(*timeframe, at).unwrap();
                if span.to_ns + DELAY <= until_ns {
                    all.insert((timeframe.code(), span.from_ns));
                }
                at = span.to_ns;
            }
        }
    }
    all
}

proptest! {
    /// Killed at any time, it mends every hole once, and asks for every bar.
    #[test]
    fn killed_at_any_time_it_goes_on_where_it_stopped(
        seconds in holes(), kills in proptest::collection::vec(1_i64..400, 0..20), page in 1_usize..300, save in any::<bool>(),
    ) {
        let timeframes = [Timeframe::M1, Timeframe::M15, Timeframe::H4, Timeframe::D1];
        let make = || plan(Class::Crypto, page, &timeframes);
        let mut gaps: Vec<Gap> = seconds.iter().zip(1..).map(|((from, length), id)| {
            hole(id, 7, DAY + from * SECOND, DAY + (from + length) * SECOND)
        }).collect();
        gaps.sort_by_key(|gap| gap.to_ns);
        enum Entry { Gap(Gap), Repair(Repair) }
        let mut journal: Vec<Entry> = Vec::new();
        let mut plan = make();
        let mut coming = gaps.iter().peekable();
        for turn in 0..450 {
            let now = DAY + turn * 4 * MINUTE;
            while let Some(gap) = coming.next_if(|gap| gap.to_ns <= now) {
                plan.gap(gap);
                journal.push(Entry::Gap(*gap));
            }
            plan.look(now);
            serve(&mut plan, Class::Crypto, now);
            let said = told(&mut plan);
            if !kills.contains(&turn) {
                journal.extend(said.iter().map(|t| Entry::Repair(t.repair)));
                said.iter().for_each(|t| plan.journaled(&t.repair));
                continue;
            }
            // A part of what was handed out came into the journal.
            let kept = said.len() * (turn as usize % 5) / 4;
            let saved = plan.save();
            journal.extend(said[..kept].iter().map(|t| Entry::Repair(t.repair)));
            plan = make();
            if save && kept == said.len() {
                plan.load(&serde_json::from_slice(&serde_json::to_vec(&saved).unwrap()).unwrap());
                continue;
            }
            for entry in &journal {
                match entry {
                    Entry::Gap(gap) => plan.gap(gap),
                    Entry::Repair(repair) => plan.journaled(repair),
                }
            }
        }
        let (mut ends, mut bars) = (BTreeSet::new(), BTreeSet::new());
        for entry in &journal {
            let Entry::Repair(repair) = entry else { continue };
            if repair.step == RepairStep::Bar.code() {
                bars.insert((repair.timeframe, repair.from_ns));
            } else {
                prop_assert_eq!(repair.step, RepairStep::Repaired.code());
                prop_assert!(ends.insert(repair.gap_id), "{} ended twice", repair.gap_id);
            }
        }
        prop_assert_eq!(ends.len(), gaps.len());
        prop_assert_eq!(bars, missed(&gaps, &timeframes, DAY + 449 * 4 * MINUTE));
        prop_assert!(plan.holes.is_empty(), "{:?}", plan.holes);
    }
}

#[test]
fn a_thousand_holes_in_a_day_are_one_request_for_each_stretch_of_bars() {
    let all = Timeframe::ALL;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut gaps: Vec<Gap> = (1..=1_000)
        .map(|id| {
            let from = DAY + rng.i64(0..86_300) * SECOND;
            hole(id, 7, from, from + rng.i64(1..60) * SECOND)
        })
        .collect();
    gaps.sort_by_key(|gap| gap.to_ns);
    let expected = missed(&gaps, all, DAY + 24 * HOUR + DELAY);
    let run = |times: &[i64]| {
        let mut plan = plan(Class::Crypto, 5_000, all);
        let (mut requests, mut said, mut most) = (0, Vec::new(), 0);
        let mut coming = gaps.iter().peekable();
        for now in times {
            while let Some(gap) = coming.next_if(|gap| gap.to_ns <= *now) {
                plan.gap(gap);
            }
            plan.look(*now);
            requests += serve(&mut plan, Class::Crypto, *now);
            said.extend(told(&mut plan));
            most = most.max(plan.holes.len());
        }
        let bars = said.iter().filter(|t| step(t) == RepairStep::Bar).map(|t| (t.repair.timeframe, t.repair.from_ns));
        let bars: Vec<_> = bars.collect();
        assert_eq!(said.len() - bars.len(), 1_000, "ends");
        let set: BTreeSet<_> = bars.iter().copied().collect();
        assert_eq!(set, expected);
        (requests, bars.len() - set.len(), plan.holes.len(), most)
    };
    // After the day, as after an outage: a request for each timeframe that has ended; week and month still form.
    let (requests, twice, left, _) = run(&[DAY + 24 * HOUR + DELAY]);
    assert_eq!((requests, twice), (7, 0));
    assert_eq!(left, 1, "the first hole keeps the week and the month");
    // As they come.
    let minutes: Vec<i64> = (1..=24 * 60).map(|minute| DAY + minute * MINUTE + DELAY).collect();
    let (requests, _, left, most) = run(&minutes);
    assert!(requests <= 1_440 + 288 + 96 + 48 + 24 + 6 + 1, "{requests}");
    assert!(left <= 2 && most < 50, "{left} left, {most} at most");
}

/// One source that has ticks too, of two hours a request.
fn plan_of_ticks() -> Plan {
    let mut plan = plan(Class::Crypto, 500, &[Timeframe::M1]);
    plan.venues[0].past.as_mut().unwrap().ticks_span_ns = Some(2 * HOUR);
    plan
}

#[test]
fn an_entry_waits_for_its_ticks_which_come_in_stretches_that_the_venue_answers() {
    use RepairStep::Repaired;
    let mut plan = plan_of_ticks();
    let (from, to) = (DAY + 10 * HOUR + 30 * SECOND, DAY + 13 * HOUR + 10 * SECOND);
    plan.gap(&hole(1, 7, from, to));
    plan.look(to);
    // The last of them are of a minute that is not over.
    assert_eq!(plan.next_ticks(0, DAY + 13 * HOUR + MINUTE + DELAY - 1), None);
    let now = DAY + 13 * HOUR + MINUTE + DELAY;
    serve(&mut plan, Class::Crypto, now);
    assert!(told(&mut plan).iter().all(|told| step(told) == RepairStep::Bar));
    let first = plan.next_ticks(0, now).unwrap();
    assert_eq!((first.from_ns, first.to_ns), (from - SECOND, from - SECOND + 2 * HOUR));
    plan.stored(&first, now);
    let second = plan.next_ticks(0, now).unwrap();
    assert_eq!((second.from_ns, second.to_ns), (first.to_ns, to));
    assert_eq!(told(&mut plan), []);
    // After a restart in between all of them are asked for again: who stores them leaves out what is there.
    let mut again = plan_of_ticks();
    again.load(&plan.save());
    assert_eq!(again.next_ticks(0, now), Some(first));
    plan.stored(&second, now);
    assert_eq!(short(&told(&mut plan)), [(Repaired, 1, 0, 0)]);
    assert_eq!(plan.next_ticks(0, now), None);
    // What comes too late for an entry that was closed by the journal changes nothing.
    again.journaled(&Repair { gap_id: 1, gap_epoch: 1, step: Repaired.code(), ..Repair::default() });
    again.stored(&first, now);
    assert_eq!((again.next_ticks(0, now), told(&mut again)), (None, vec![]));
}

#[test]
fn ticks_that_cannot_be_had_leave_the_hole_lost_and_a_database_that_is_away_does_not() {
    let mut plan = plan_of_ticks();
    let at = DAY + 10 * HOUR;
    plan.gap(&hole(1, 7, at, at + 10 * SECOND));
    plan.look(at + 10 * SECOND);
    let mut now = at + MINUTE + DELAY;
    serve(&mut plan, Class::Crypto, now);
    told(&mut plan);
    let away = Failure {
        retry_after: Some(Duration::from_secs(30)),
        ..Failure::new(Cause::ProtocolError, "the database: away")
    };
    for _ in 0..10 {
        let job = plan.next_ticks(0, now).unwrap();
        plan.not_stored(&job, &away, now);
        assert_eq!(plan.next_ticks(0, now + 30 * SECOND - 1), None);
        now += 30 * SECOND;
    }
    assert_eq!(told(&mut plan), []);
    for _ in 0..CONFIG.attempts {
        let job = plan.next_ticks(0, now).unwrap();
        plan.not_stored(&job, &Failure::new(Cause::ReadError, "cut"), now);
        now += HOUR;
    }
    let told = told(&mut plan);
    assert_eq!(short(&told), [(RepairStep::Lost, 1, 0, 0)]);
    assert_eq!(told[0].why.as_deref(), Some("ticks: cut"));
    // A market that was closed has none.
    let mut fx = plan_with(CONFIG, Class::Fx, 500, &[Timeframe::M1]);
    fx.venues[0].past.as_mut().unwrap().ticks_span_ns = Some(2 * HOUR);
    let saturday = DAY + 4 * 24 * HOUR + 10 * HOUR;
    fx.gap(&hole(1, 7, saturday, saturday + HOUR));
    assert_eq!(fx.next_ticks(0, saturday + 2 * HOUR), None);
}
