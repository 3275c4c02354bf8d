//! A day with a thousand disconnections, and one restart of the engine.

use std::collections::{BTreeMap, HashMap};

use tickwire::feeds::machine::Pace;
use tickwire::feeds::net::Failure;
use tickwire::journal::Snapshot;
use tickwire::market::{Calendar, Class, Holidays, Input};
use tickwire::repair::{Past, Plan, RepairConfig, Symbol, Venue};
use tickwire::runtime::Pipeline;
use tickwire_schemas::NO_NUMBER;
use tickwire_schemas::record::{Bar, Drop as DropRecord, Gap, Repair};
use tickwire_schemas::words::{Cause, GapState, Timeframe};

use super::bars::{History, INSTRUMENTS, Said, TICK_EVERY, ticks};
use super::feed::{Feed, Link, PACE};
use super::stages::{BarKey, MINUTE, MS, SECOND, Seen, at, pipeline, tick, timer};

const HOUR: i64 = 60 * MINUTE;

/// Everything happens at multiples of this.
const GRID: i64 = TICK_EVERY / 2;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// It breaks.
    Break(Cause),
    /// The venue asks to leave.
    Leaving,
    /// By the venue's count messages are missing.
    Jump,
    /// It stays open and says nothing for so long, or until it is made anew.
    Mute(i64),
}

/// Blows at random moments, many on the boundaries of minutes and hours and many shortly behind another.
fn blows((from_ns, to_ns): (i64, i64), count: usize, rng: &mut fastrand::Rng) -> Vec<(i64, Blow)> {
    let mut blows = Vec::new();
    let mut last_ns = from_ns;
    while blows.len() < count {
        let anywhere = rng.i64(from_ns + 5 * SECOND..to_ns);
        let at_ns = match rng.u8(0..10) {
            0 => last_ns + rng.i64(1..=SECOND),
            1 => anywhere - anywhere.rem_euclid(MINUTE) + rng.i64(-2..=2) * GRID,
            2 if rng.bool() => anywhere - anywhere.rem_euclid(HOUR) + rng.i64(-2..=2) * GRID,
            _ => anywhere,
        };
        if !(from_ns + 5 * SECOND..to_ns).contains(&at_ns) {
            continue;
        }
        last_ns = at_ns;
        let blow = match rng.u8(0..20) {
            0..=5 => Blow::Break(Cause::ClosedByPeer),
            6..=9 => Blow::Break(Cause::ReadError),
            10 | 11 => Blow::Break(Cause::ProtocolError),
            12 => Blow::Break(Cause::RateLimited),
            13 | 14 => Blow::Leaving,
            15..=17 => Blow::Jump,
            _ => Blow::Mute(rng.i64(6..25) * SECOND),
        };
        blows.push((at_ns, blow));
    }
    blows.sort_by_key(|(at_ns, _)| *at_ns);
    blows
}

/// A hole as the test knows it, by what it did: instrument, last price before, first after, cause.
type Hole = (u32, i64, i64, u8);

/// What one instrument's data has been.
#[derive(Default, Clone, Copy)]
struct Heard {
    last_ns: Option<i64>,
    away: Option<Cause>,
}

/// The engine without its threads and sockets.
struct World {
    pipeline: Pipeline,
    seen: Seen,
    feed: Feed,
    plan: Plan,
    history: Option<History>,
    requests: usize,
    /// Everything that the ledger and the planner were told.
    gaps: Vec<Gap>,
    repairs: Vec<(Repair, usize)>,
    heard: [Heard; 2],
    expected: Vec<Hole>,
    connected_ns: i64,
    mute_until_ns: i64,
    snapshot: Option<Snapshot>,
    pace: Pace,
}

fn plan(with_history: bool) -> Plan {
    let symbol = |(id, class, ..): (u32, Class, i64, i64, i64)| Symbol {
        instrument_id: id,
        venue_symbol: format!("instrument {id}"),
        class,
    };
    let past = with_history.then(|| Past { page: 500, ticks_span_ns: None, timeframes: Timeframe::ALL.to_vec() });
    let venue = Venue { source_id: 1, past, symbols: INSTRUMENTS.map(symbol).to_vec() };
    let config = RepairConfig {
        enabled: true,
        delay_ms: 2_000,
        attempts: 5,
        backoff_ms: 1_000,
        pending_max: 1_000,
        requests: 1,
    };
    let calendars = Class::ALL.iter().map(|class| Calendar::new(*class, &Holidays::default()).unwrap()).collect();
    Plan::new(config, vec![venue], calendars, 5)
}

impl World {
    fn new(pace: Pace, history: Option<History>) -> World {
        World {
            pipeline: pipeline(""),
            seen: Seen::default(),
            feed: Feed::new(1, pace, 11, 250 * MS),
            plan: plan(history.is_some()),
            history,
            requests: 0,
            gaps: Vec::new(),
            repairs: Vec::new(),
            heard: [Heard::default(); 2],
            expected: Vec::new(),
            connected_ns: 0,
            mute_until_ns: 0,
            snapshot: None,
            pace,
        }
    }

    /// Lets an input through the stages, and the planner read what was journaled.
    fn run(&mut self, input: Input, now_ns: i64) {
        self.pipeline.run(&input, &mut self.seen, now_ns);
        self.seen.quotes.clear();
        for repair in self.seen.repairs.drain(..) {
            self.plan.journaled(&repair);
            self.repairs.push((repair, self.gaps.len()));
        }
        for gap in self.seen.gaps.drain(..) {
            self.plan.gap(&gap);
            self.gaps.push(gap);
        }
    }

    /// Lets the session do something, and its states through the stages.
    fn session<T>(&mut self, now_ns: i64, act: impl FnOnce(&mut Feed, &mut dyn FnMut(Input)) -> T) -> T {
        let mut states = Vec::new();
        let done = act(&mut self.feed, &mut |input| states.push(input));
        states.into_iter().for_each(|state| self.run(state, now_ns));
        done
    }

    /// The source is away: what the test knows, and the stages are to find out.
    fn away(&mut self, cause: Cause) {
        for heard in self.heard.iter_mut().filter(|heard| heard.last_ns.is_some()) {
            heard.away.get_or_insert(cause);
        }
    }

    fn strike(&mut self, blow: Blow, now_ns: i64) {
        let cause = match blow {
            Blow::Break(cause) => cause,
            Blow::Leaving => Cause::ClosedByPeer,
            Blow::Jump => Cause::SequenceJump,
            Blow::Mute(for_ns) => return self.mute_until_ns = now_ns + for_ns,
        };
        self.away(cause);
        self.session(now_ns, |feed, mut out| match blow {
            Blow::Break(_) => feed.failed(cause, now_ns, &mut out),
            _ => feed.leave(cause, now_ns, &mut out),
        });
    }

    /// The session's turn. What it does for reasons of its own the test knows beforehand.
    fn step(&mut self, now_ns: i64) {
        let last_ns = self.heard.iter().filter_map(|heard| heard.last_ns).max().unwrap_or(0);
        let silent_ns = now_ns - last_ns.max(self.connected_ns);
        let old = self.pace.age_max_ns.is_some_and(|age| now_ns >= self.connected_ns + age);
        let mute = silent_ns >= self.pace.liveness_ns;
        let up = self.feed.link == Link::Up;
        if up && (old || mute) {
            self.away(if old { Cause::None } else { Cause::Mute });
        }
        let connects = self.feed.connects;
        let let_go = self.session(now_ns, |feed, mut out| feed.step(now_ns, true, &mut out));
        let expected = up && (old || silent_ns >= self.pace.liveness_ns + self.pace.mute_reconnect_ns);
        assert_eq!(let_go, expected, "old: {old}, silent for {silent_ns} ns");
        if self.feed.connects != connects {
            (self.connected_ns, self.mute_until_ns) = (now_ns, 0);
        }
    }

    fn hear(&mut self, instrument: usize, (event_ns, bid, ask): Said, now_ns: i64) {
        if self.feed.link != Link::Up || now_ns < self.mute_until_ns {
            return;
        }
        let id = INSTRUMENTS[instrument].0;
        let heard = &mut self.heard[instrument];
        if let (Some(cause), Some(from_ns)) = (heard.away.take(), heard.last_ns) {
            self.expected.push((id, from_ns, now_ns, cause.code()));
        }
        heard.last_ns = Some(now_ns);
        self.session(now_ns, |feed, mut out| feed.data(now_ns, &mut out));
        self.run(tick(1, id, (event_ns, now_ns), (bid, ask)), now_ns);
    }

    /// The venue answers the planner at once, but for one request in seven, which fails.
    fn mend(&mut self, now_ns: i64) {
        self.plan.look(now_ns);
        while let Some(job) = self.plan.next(0, now_ns) {
            self.requests += 1;
            let history = self.history.as_ref().expect("nobody is asked who has no history");
            let bars = history.answer(job.symbol, job.timeframe, job.from_ns, job.to_ns);
            assert!(bars.iter().all(|bar| bar.close_ts_ns <= now_ns), "a bar that still forms");
            let failed = self.requests.is_multiple_of(7);
            let answer = if failed { Err(Failure::new(Cause::ReadError, "cut off")) } else { Ok(bars) };
            self.plan.answered(&job, answer, now_ns);
        }
        while let Some(told) = self.plan.tell() {
            self.run(Input::Repair(told.repair), now_ns);
        }
    }

    fn take_snapshot(&mut self) {
        self.snapshot = Some(self.pipeline.save());
        self.seen.journal = Some(Vec::new());
    }

    /// The engine dies and another begins with the last snapshot and the inputs behind it.
    fn restart(&mut self, now_ns: i64) {
        let (snapshot, journal) = (self.snapshot.take().unwrap(), self.seen.journal.take().unwrap());
        self.pipeline = pipeline("");
        self.pipeline.load(&snapshot).unwrap();
        for (kind, bytes) in &journal {
            assert!(self.pipeline.replay(*kind, bytes, &mut Seen::default()));
        }
        assert!(journal.len() > 100);
        self.pipeline.resume_after(2, 0);
        self.plan = plan(self.history.is_some());
        let mut gaps = self.gaps.iter().enumerate().peekable();
        for (repair, before) in &self.repairs {
            while let Some((_, gap)) = gaps.next_if(|(at, _)| at < before) {
                self.plan.gap(gap);
            }
            self.plan.journaled(repair);
        }
        gaps.for_each(|(_, gap)| self.plan.gap(gap));
        self.feed = Feed::new(1, self.pace, 12, 500 * MS);
        self.away(Cause::Restart);
        let last_ns = self.heard.iter().filter_map(|heard| heard.last_ns).max().unwrap();
        let (cause, count) = (Cause::Restart.code(), NO_NUMBER);
        let hole = DropRecord { from_ns: last_ns, to_ns: now_ns, count, cause, ..DropRecord::default() };
        self.run(Input::Drop(hole), now_ns);
    }
}

/// How a day goes.
struct Day {
    from_ns: i64,
    /// Until then blows fall.
    blows_to_ns: i64,
    to_ns: i64,
    blows: Vec<(i64, Blow)>,
    /// When the engine dies, and when the next one starts.
    restart: Option<(i64, i64)>,
}

impl Day {
    fn new(from: &str, long_ns: i64, count: usize) -> Day {
        let from_ns = at(from);
        let blows_to_ns = from_ns + long_ns - 5 * MINUTE;
        let blows = blows((from_ns, blows_to_ns), count, &mut fastrand::Rng::with_seed(17));
        let died_ns = from_ns + long_ns / 2 + 12 * SECOND + GRID;
        let restart = Some((died_ns, died_ns + 25 * SECOND));
        Day { from_ns, blows_to_ns, to_ns: from_ns + long_ns + 10 * MINUTE, blows, restart }
    }

    /// Nothing happens on it.
    fn calm(&self) -> Day {
        Day { blows: Vec::new(), restart: None, ..*self }
    }

    fn ticks(&self) -> [Vec<Said>; 2] {
        // When the first connection is there.
        ticks((self.from_ns + 2 * SECOND, self.to_ns), 99)
    }

    fn live(&self, pace: Pace, history: Option<History>) -> World {
        let mut world = World::new(pace, history);
        let mut rng = fastrand::Rng::with_seed(23);
        let ticks = self.ticks();
        let mut next = ticks.each_ref().map(|ticks| ticks.iter().copied().peekable());
        let mut blows = self.blows.iter().copied().peekable();
        for now_ns in (self.from_ns..self.to_ns).step_by(GRID as usize) {
            if let Some((died_ns, started_ns)) = self.restart {
                if now_ns == died_ns - 47 * SECOND {
                    world.take_snapshot();
                } else if now_ns == started_ns {
                    world.restart(now_ns);
                } else if (died_ns..started_ns).contains(&now_ns) {
                    next.iter_mut().for_each(|ticks| while ticks.next_if(|(ns, ..)| *ns <= now_ns).is_some() {});
                    continue;
                }
            }
            // A connection must be there to be hit; a blow that finds none waits for one.
            if world.feed.link == Link::Up
                && world.mute_until_ns <= now_ns
                && let Some((_, blow)) = blows.next_if(|(at_ns, _)| *at_ns <= now_ns)
            {
                world.feed.opens_in_ns = rng.i64(1..8) * GRID;
                world.strike(blow, now_ns);
            } else if matches!(world.feed.link, Link::Opening(_)) && rng.u8(0..20) == 0 && now_ns < self.blows_to_ns {
                world.session(now_ns, |feed, mut out| feed.failed(Cause::ConnectFailed, now_ns, &mut out));
            }
            world.step(now_ns);
            for (instrument, ticks) in next.iter_mut().enumerate() {
                if let Some(said) = ticks.next_if(|(ns, ..)| *ns <= now_ns) {
                    world.hear(instrument, said, now_ns);
                }
            }
            if now_ns % SECOND == 0 {
                world.run(timer(now_ns), now_ns);
                world.mend(now_ns);
            }
        }
        assert_eq!(blows.next(), None, "every blow fell");
        assert_eq!(world.seen.refused, 0);
        world
    }
}

/// Holes of the ledger with the states that each went through; every one must have gone through these.
fn ledger(gaps: &[Gap], end: GapState) -> Vec<Hole> {
    let mut holes: BTreeMap<(u32, u64), Vec<&Gap>> = BTreeMap::new();
    for gap in gaps {
        holes.entry((gap.gap_epoch, gap.gap_id)).or_default().push(gap);
    }
    let of = |told: &Vec<&Gap>| {
        // Open ones are told again after the restart.
        let mut states: Vec<u8> = told.iter().map(|gap| gap.state).collect();
        states.dedup();
        assert_eq!(states, [GapState::Open, GapState::Closed, end].map(GapState::code), "{told:?}");
        let closed = told.iter().find(|gap| gap.state == GapState::Closed.code()).unwrap();
        let same = |gap: &&&Gap| {
            (gap.head.source_id, gap.head.instrument_id, gap.from_ns, gap.cause)
                == (1, closed.head.instrument_id, closed.from_ns, closed.cause)
        };
        assert_eq!(told.iter().filter(same).count(), told.len(), "{told:?}");
        assert_eq!(told.last().unwrap().to_ns, closed.to_ns);
        (closed.head.instrument_id, closed.from_ns, closed.to_ns, closed.cause)
    };
    let mut holes: Vec<Hole> = holes.values().map(of).collect();
    holes.sort_unstable();
    holes
}

fn sorted(mut holes: Vec<Hole>) -> Vec<Hole> {
    holes.sort_unstable();
    holes
}

/// What a bar says of bid and ask.
fn said(bars: &HashMap<BarKey, Bar>) -> BTreeMap<BarKey, (Bar, u64)> {
    let plain = |bar: &Bar| Bar {
        bid: bar.bid,
        ask: bar.ask,
        open_ts_ns: bar.open_ts_ns,
        close_ts_ns: bar.close_ts_ns,
        ..Bar::default()
    };
    bars.iter().map(|(key, bar)| (*key, (plain(bar), bar.ticks))).collect()
}

/// The ledger's holes are those that the blows made and no others, all are mended, and all bars that ended are those of a
/// day on which nothing happened.
#[test]
fn a_thousand_disconnections_leave_the_bars_of_a_calm_day() {
    let day = Day::new("2026-11-17T00:00:00Z", 24 * HOUR, 1_000);
    let pace = Pace { age_max_ns: Some(3 * HOUR), ..PACE };
    let world = day.live(pace, Some(History::of(&day.ticks())));
    eprintln!(
        "{} holes, {} connections, {} requests, {} bars",
        world.expected.len(),
        world.feed.connects,
        world.requests,
        world.seen.bars.len()
    );
    let found = ledger(&world.gaps, GapState::Repaired);
    assert_eq!(found, sorted(world.expected));

    let calm = day.calm().live(PACE, None);
    assert_eq!((calm.expected.len(), calm.gaps.len(), calm.feed.connects), (0, 0, 1));
    let (expected, found) = (said(&calm.seen.bars), said(&world.seen.bars));
    let timeframes: std::collections::BTreeSet<u8> = expected.keys().map(|(_, timeframe, _)| *timeframe).collect();
    assert_eq!(timeframes.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7], "M1 to D1 end within the day");
    for (key, bar) in &expected {
        assert_eq!(found.get(key), Some(bar), "{key:?}");
    }
    assert_eq!(found.len(), expected.len());
    let own = said(&world.seen.own);
    let mended = expected.iter().filter(|(key, bar)| own.get(*key) != Some(*bar)).count();
    assert!(mended > 1_000, "without repairs only {mended} bars would differ");
}

/// A venue that has no history is asked for nothing, and the ledger says of every hole that it is lost.
#[test]
fn without_history_every_hole_is_lost() {
    let day = Day::new("2026-11-17T08:00:00Z", 4 * HOUR, 200);
    let world = day.live(Pace { age_max_ns: Some(HOUR), ..PACE }, None);
    assert!(world.expected.len() > 250, "{}", world.expected.len());
    assert_eq!(ledger(&world.gaps, GapState::Lost), sorted(world.expected));
    assert_eq!(world.requests, 0);
    assert!(world.seen.bars.values().all(|bar| bar.origin == 0));
}
