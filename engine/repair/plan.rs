//! What to ask of whom and when, so that holes are mended. Pure: it is told the time, the ledger and the answers.
//!
//! - A hole is taken up when it has closed. Of each published timeframe that its venue has, the bars that overlap it are
//!   asked for, `delay` after their end; what lies in a closed market is not.
//! - Bars of one symbol and timeframe that fit in a page of the venue are one request, whatever number of holes they are
//!   of. A bar is handed out once, under the oldest hole that it belongs to.
//! - The ledger entry is closed when all bars of the shortest timeframe are there, and all longer ones that could be had
//!   by then, or when the hole was taken up: `repaired`, or `lost` where the venue had not one of them. Longer bars that still form follow under the same hole when they have ended. A market that was
//!   closed all the time has nothing to mend: `repaired` without bars.
//! - A request that fails is made again, after a wait that doubles, and a random part of it; waits that the venue asked
//!   for do not count. After the last failure the bars are given up (all timeframes, unless the venue refused just this
//!   request), and the hole becomes `lost` when the others are done.
//! - Of a venue that has ticks, those of the hole are asked for and stored before its entry closes, when its shortest bars
//!   are due. Which of them are stored does not matter after a restart: who stores them leaves out what is there.
//! - Without history, or with more holes waiting than allowed, a hole is `lost` at once: the newest ones, since those
//!   before them may have been asked for already.
//! - What it hands out comes back by the journal ([`Plan::journaled`]). So its state follows from the journal alone,
//!   and after a restart it goes on without telling of a hole twice; a bar whose answer was under way may come twice.

mod hole;
mod saved;
mod ticks;
mod told;

use std::collections::{BTreeMap, VecDeque};

use tickwire_schemas::INSTRUMENT_ALL;
use tickwire_schemas::record::{Bar, Gap, Repair};
use tickwire_schemas::words::{Cause, GapState, RepairStep, Timeframe};

use super::RepairConfig;
use crate::feeds::net::Failure;
use crate::market::{Calendar, Class, Span};

use hole::{Facts, Hole, Part, TIMEFRAMES, shortest_ns};

pub use hole::Key;
pub use saved::Saved;
pub use ticks::TickJob;
pub use told::Told;

use ticks::Ticks;

/// Lost holes that are remembered, to be tried again on demand.
const LOST_MAX: usize = 1_000;

/// A symbol of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Its persistent number.
    pub instrument_id: u32,
    /// The venue's name of it.
    pub venue_symbol: String,
    /// Decides the calendar.
    pub class: Class,
}

/// The bars that a venue has of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Most bars of one request, at least 1.
    pub page: usize,
    /// The published timeframes that it has, shortest first; at least one.
    pub timeframes: Vec<Timeframe>,
    /// Longest stretch of ticks of one request, in nanoseconds; none where it has no ticks, or they are not stored.
    pub ticks_span_ns: Option<i64>,
}

/// A source, as far as it can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venue {
    /// Its persistent number.
    pub source_id: u32,
    /// What it has; none without history.
    pub past: Option<Past>,
    /// What it is subscribed to.
    pub symbols: Vec<Symbol>,
}

/// A request to make: the bars that open in `[from_ns, to_ns)`, all of which have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Index of the source.
    pub venue: usize,
    /// Index of the symbol among those of the source.
    pub symbol: usize,
    /// Length of the bars.
    pub timeframe: Timeframe,
    /// First opening.
    pub from_ns: i64,
    /// Before which they open.
    pub to_ns: i64,
}

/// Failures of one symbol and timeframe.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    failures: u32,
    not_before_ns: i64,
}

/// Source, symbol and code of the timeframe; 0 of ticks.
type Lane = (usize, usize, u8);

/// The planner.
#[derive(Debug)]
pub struct Plan {
    config: RepairConfig,
    venues: Vec<Venue>,
    /// By the number of the class.
    calendars: Vec<Calendar>,
    holes: BTreeMap<Key, Hole>,
    /// Taken up, and not looked at since.
    fresh: Vec<Key>,
    trouble: BTreeMap<Lane, Trouble>,
    lost: VecDeque<(Key, Facts)>,
    told: VecDeque<Told>,
    overflowed: u64,
    rng: fastrand::Rng,
}

impl Plan {
    /// Of sources, in the order of their indices, and the calendar of each class ([`Class::ALL`]).
    #[must_use]
    pub fn new(config: RepairConfig, venues: Vec<Venue>, calendars: Vec<Calendar>, seed: u64) -> Plan {
        Plan {
            config,
            venues,
            calendars,
            holes: BTreeMap::new(),
            fresh: Vec::new(),
            trouble: BTreeMap::new(),
            lost: VecDeque::new(),
            told: VecDeque::new(),
            overflowed: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes a source that came or changed, and returns its index. Symbols that it has no more are kept: its past
    /// bars may still be had.
    pub fn set_venue(&mut self, venue: Venue) -> usize {
        let Some(at) = self.venues.iter().position(|known| known.source_id == venue.source_id) else {
            self.venues.push(venue);
            return self.venues.len() - 1;
        };
        let known = &mut self.venues[at];
        known.past = venue.past;
        for symbol in venue.symbols {
            match known.symbols.iter_mut().find(|known| known.instrument_id == symbol.instrument_id) {
                Some(same) => *same = symbol,
                None => known.symbols.push(symbol),
            }
        }
        at
    }

    /// Takes a record of the ledger.
    pub fn gap(&mut self, gap: &Gap) {
        let (key, facts) = Facts::of(gap);
        match GapState::from_code(gap.state) {
            Some(GapState::Closed) => self.take_up(key, facts),
            Some(GapState::Repaired | GapState::Lost) => self.close(key),
            Some(GapState::Open) | None => {}
        }
    }

    /// Takes an input that the journal has.
    pub fn journaled(&mut self, repair: &Repair) {
        let key = Key { epoch: repair.gap_epoch, id: repair.gap_id };
        if RepairStep::from_code(repair.step) != Some(RepairStep::Bar) {
            return self.close(key);
        }
        let span = Span { from_ns: repair.from_ns, to_ns: repair.to_ns };
        for hole in self.holes.values_mut().filter(|hole| hole.facts.source_id == repair.head.source_id) {
            let is_its = [INSTRUMENT_ALL, repair.head.instrument_id].contains(&hole.facts.instrument_id);
            hole.found |= is_its && hole.facts.touches(span);
        }
        let (Some(timeframe), Some(hole)) = (Timeframe::from_code(repair.timeframe), self.holes.get_mut(&key)) else {
            return;
        };
        let symbols = &self.venues[hole.venue].symbols;
        for part in hole.parts.iter_mut().filter(|p| symbols[p.symbol].instrument_id == repair.head.instrument_id) {
            let next = &mut part.next[place(timeframe)];
            if next.is_some_and(|span| span.from_ns < repair.to_ns) {
                let calendar = &mut self.calendars[symbols[part.symbol].class as usize];
                *next = hole.facts.next(calendar, timeframe, repair.to_ns);
            }
        }
    }

    /// Makes a hole that was lost wait again; false when it is not known.
    pub fn retry(&mut self, key: Key) -> bool {
        let Some(at) = self.lost.iter().position(|(lost, _)| *lost == key) else { return false };
        let Some((_, facts)) = self.lost.remove(at) else { return false };
        // Under its closed entry longer bars may wait still.
        self.holes.remove(&key);
        self.take_up(key, facts);
        true
    }

    /// To be called when the journal has been read to its end: closes what needs no request.
    pub fn look(&mut self, now_ns: i64) {
        for key in std::mem::take(&mut self.fresh) {
            if let Some(hole) = self.holes.get_mut(&key) {
                hole.until_ns = hole.until_ns.max(now_ns);
            }
            self.settle(key, now_ns);
        }
    }

    /// The next request to a source, if one is due. There may be one at a time of each.
    #[must_use]
    pub fn next(&mut self, venue: usize, now_ns: i64) -> Option<Job> {
        let settled_ns = now_ns.saturating_sub(self.delay_ns());
        let due = |(timeframe, symbol, span): &(Timeframe, usize, Span)| {
            let trouble = self.trouble.get(&(venue, *symbol, timeframe.code()));
            span.to_ns <= settled_ns && trouble.is_none_or(|trouble| trouble.not_before_ns <= now_ns)
        };
        let all = self.holes.values().filter(|hole| hole.venue == venue).flat_map(waiting);
        let first = all.filter(due).min_by_key(|(timeframe, symbol, span)| (*timeframe as u8, span.from_ns, *symbol));
        let (timeframe, symbol, Span { from_ns, .. }) = first?;
        let calendar = &mut self.calendars[self.venues[venue].symbols[symbol].class as usize];
        let forming_ns = calendar.interval(timeframe, settled_ns)?.from_ns;
        let page = self.venues[venue].past.as_ref()?.page.max(1);
        let full_ns = from_ns.saturating_add(shortest_ns(timeframe).saturating_mul(i64::try_from(page).ok()?));
        let mut to_ns = from_ns;
        for hole in self.holes.values().filter(|hole| hole.venue == venue) {
            let spans = waiting(hole).filter(|(t, s, _)| (*t, *s) == (timeframe, symbol));
            if spans.map(|(.., span)| span.from_ns).any(|ns| (from_ns..full_ns.min(forming_ns)).contains(&ns)) {
                let end_ns = calendar.interval(timeframe, hole.facts.to_ns - 1)?.to_ns;
                to_ns = to_ns.max(end_ns.min(forming_ns));
            }
        }
        if to_ns > full_ns {
            // No bar of a timeframe is shorter than the shortest, so that at least one fits.
            let first_ns = calendar.interval(timeframe, from_ns)?.to_ns;
            to_ns = calendar.interval(timeframe, full_ns)?.from_ns.max(first_ns);
        }
        Some(Job { venue, symbol, timeframe, from_ns, to_ns })
    }

    /// The venue's name of the symbol of a request.
    #[must_use]
    pub fn venue_symbol(&self, venue: usize, symbol: usize) -> &str {
        &self.venues[venue].symbols[symbol].venue_symbol
    }

    /// The persistent numbers of source and symbol of a request.
    #[must_use]
    pub fn ids(&self, venue: usize, symbol: usize) -> (u32, u32) {
        (self.venues[venue].source_id, self.venues[venue].symbols[symbol].instrument_id)
    }

    /// Takes the answer to a request, which came at `now_ns`.
    pub fn answered(&mut self, job: &Job, answer: Result<Vec<Bar>, Failure>, now_ns: i64) {
        let lane = (job.venue, job.symbol, job.timeframe.code());
        let bars = match answer {
            Ok(bars) => bars,
            Err(failure) => return self.failed(job, &failure, now_ns),
        };
        self.trouble.remove(&lane);
        for bar in bars.iter().filter(|bar| (job.from_ns..job.to_ns).contains(&bar.open_ts_ns)) {
            self.hand_out(job, bar, now_ns);
        }
        let calendar = &mut self.calendars[self.venues[job.venue].symbols[job.symbol].class as usize];
        let told: Vec<Span> = bars.iter().filter_map(|bar| calendar.interval(job.timeframe, bar.open_ts_ns)).collect();
        let mut touched = Vec::new();
        for (key, hole) in &mut self.holes {
            let facts = hole.facts;
            if let Some(next) = asked(hole, job) {
                *next = facts.next(calendar, job.timeframe, job.to_ns);
                hole.found |= told.iter().any(|span| facts.touches(*span));
                touched.push(*key);
            }
        }
        touched.into_iter().for_each(|key| self.settle(key, now_ns));
    }

    /// The next input for the stages, in their order.
    pub fn tell(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// Holes whose ledger entry waits.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.holes.values().filter(|hole| hole.is_open).count()
    }

    /// Holes that were lost because too many waited.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn delay_ns(&self) -> i64 {
        i64::from(self.config.delay_ms) * 1_000_000
    }

    /// A hole that has closed.
    fn take_up(&mut self, key: Key, facts: Facts) {
        if self.holes.contains_key(&key) {
            return;
        }
        let venue = self.venues.iter().position(|venue| venue.source_id == facts.source_id);
        let venue_at = venue.unwrap_or(usize::MAX);
        let (until_ns, is_open, asks, found, failed, parts) = (0, true, false, false, None, vec![]);
        let mut hole = Hole { facts, venue: venue_at, until_ns, is_open, asks, found, failed, parts };
        match self.parts(&facts, venue) {
            _ if self.holes.len() >= self.config.pending_max => {
                self.overflowed += 1;
                hole.failed = Some(format!("more than {} holes wait to be mended", self.config.pending_max));
            }
            Ok((parts, until_ns)) => (hole.parts, hole.until_ns) = (parts, until_ns),
            Err(why) => hole.failed = Some(why.into()),
        }
        hole.asks = hole.parts.iter().any(|part| part.next.iter().any(Option::is_some));
        self.holes.insert(key, hole);
        self.fresh.push(key);
    }

    /// What is to be asked for of a hole, and by when the shortest bars of it can be had.
    fn parts(&mut self, facts: &Facts, venue: Option<usize>) -> Result<(Vec<Part>, i64), &'static str> {
        let venue = &self.venues[venue.ok_or("its source is not configured any more")?];
        let past = venue.past.as_ref().ok_or("its source has no past bars")?;
        let delay_ns = i64::from(self.config.delay_ms) * 1_000_000;
        let (mut parts, mut until_ns) = (Vec::new(), 0);
        let is_of = |symbol: &Symbol| [INSTRUMENT_ALL, symbol.instrument_id].contains(&facts.instrument_id);
        for (at, symbol) in venue.symbols.iter().enumerate().filter(|(_, symbol)| is_of(symbol)) {
            let calendar = &mut self.calendars[symbol.class as usize];
            let mut next = [None; TIMEFRAMES];
            for timeframe in &past.timeframes {
                next[place(*timeframe)] = facts.next(calendar, *timeframe, facts.reach().from_ns);
            }
            if let Some(last) = past.timeframes.first().and_then(|t| calendar.interval(*t, facts.to_ns - 1)) {
                until_ns = until_ns.max(last.to_ns.saturating_add(delay_ns));
            }
            let ticks = next.iter().any(Option::is_some).then(|| Ticks::of(facts, past, calendar)).flatten();
            parts.push(Part { symbol: at, next, ticks });
        }
        if parts.is_empty() { Err("its source does not subscribe the symbol any more") } else { Ok((parts, until_ns)) }
    }

    /// The ledger has closed the entry, or is about to: what it waited for is done.
    fn close(&mut self, key: Key) {
        let delay_ns = self.delay_ns();
        let Some(hole) = self.holes.get_mut(&key) else { return };
        if !std::mem::replace(&mut hole.is_open, false) {
            return;
        }
        let until_ns = hole.until_ns;
        for part in &mut hole.parts {
            part.ticks = None;
            let class = self.venues[hole.venue].symbols[part.symbol].class;
            for (at, next) in part.next.iter_mut().enumerate() {
                while let Some(span) = *next
                    && span.to_ns.saturating_add(delay_ns) <= until_ns
                {
                    *next = hole.facts.next(&mut self.calendars[class as usize], Timeframe::ALL[at], span.to_ns);
                }
            }
        }
        self.leave_to_others(key);
    }

    /// A bar that another hole waits for under a closed entry need not be asked for under this one too: so a month's bar
    /// keeps one hole, not a month of them.
    fn leave_to_others(&mut self, key: Key) {
        let Some(mut hole) = self.holes.remove(&key) else { return };
        for part in &mut hole.parts {
            for (at, next) in part.next.iter_mut().enumerate() {
                let is_last = next.is_some_and(|span| hole.facts.to_ns <= span.to_ns);
                let other = |other: &Hole| {
                    let same = |p: &Part| p.symbol == part.symbol && p.next[at] == *next;
                    !other.is_open && other.venue == hole.venue && other.parts.iter().any(same)
                };
                if is_last && self.holes.values().any(other) {
                    *next = None;
                }
            }
        }
        if !hole.is_done() {
            self.holes.insert(key, hole);
        }
    }

    /// Closes the ledger entry of a hole when it can be.
    fn settle(&mut self, key: Key, now_ns: i64) {
        let delay_ns = self.delay_ns();
        let Some(hole) = self.holes.get_mut(&key) else { return };
        if hole.is_open && hole.is_mended(delay_ns) {
            if hole.asks && !hole.found && hole.failed.is_none() {
                hole.failed = Some("the market was open, and its venue has no bar of that time".into());
            }
            let step = if hole.failed.is_some() { RepairStep::Lost } else { RepairStep::Repaired };
            let repair = Repair { ts_recv_ns: now_ns, step: step.code(), ..told::of_hole(key, &hole.facts) };
            let venue = Some(hole.venue).filter(|venue| *venue < self.venues.len());
            self.told.push_back(Told { venue, repair, why: hole.failed.clone() });
            if step == RepairStep::Lost {
                self.lost.truncate(LOST_MAX - 1);
                self.lost.push_front((key, hole.facts));
            }
            self.close(key);
        } else if !hole.is_open && hole.is_done() {
            self.holes.remove(&key);
        }
    }

    /// Hands out a bar under the oldest hole that waits for it.
    fn hand_out(&mut self, job: &Job, bar: &Bar, now_ns: i64) {
        let symbol = &self.venues[job.venue].symbols[job.symbol];
        let span = self.calendars[symbol.class as usize].interval(job.timeframe, bar.open_ts_ns);
        // A bar that is cut elsewhere is none of ours.
        let Some(span) = span.filter(|span| span.from_ns == bar.open_ts_ns) else { return };
        let waits = |(_, hole): &(&Key, &Hole)| {
            let of_job = |(t, s, next): (Timeframe, usize, Span)| {
                (t, s) == (job.timeframe, job.symbol) && next.from_ns <= span.from_ns
            };
            hole.venue == job.venue && hole.facts.touches(span) && waiting(hole).any(of_job)
        };
        let Some((key, hole)) = self.holes.iter().find(waits) else { return };
        let mut repair = told::of_bar(*key, &hole.facts, bar, span);
        (repair.head.instrument_id, repair.ts_recv_ns) = (symbol.instrument_id, now_ns);
        self.told.push_back(Told { venue: Some(job.venue), repair, why: None });
    }

    /// Notes a failure, and whether it was the last one that is borne.
    fn gives_up(&mut self, lane: Lane, failure: &Failure, now_ns: i64) -> bool {
        let trouble = self.trouble.entry(lane).or_default();
        let wait_ns = match failure.retry_after {
            Some(wait) => i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX),
            None => {
                trouble.failures += 1;
                let bound_ns = (i64::from(self.config.backoff_ms) * 1_000_000) << (trouble.failures - 1).min(16);
                // Half of it at random, so that those who failed together do not ask together again.
                bound_ns / 2 + self.rng.i64(0..=bound_ns / 2)
            }
        };
        trouble.not_before_ns = now_ns.saturating_add(wait_ns);
        let is_last = trouble.failures >= self.config.attempts;
        if is_last {
            self.trouble.remove(&lane);
        }
        is_last
    }

    fn failed(&mut self, job: &Job, failure: &Failure, now_ns: i64) {
        if !self.gives_up((job.venue, job.symbol, job.timeframe.code()), failure, now_ns) {
            return;
        }
        let mut touched = Vec::new();
        for (key, hole) in &mut self.holes {
            let Some(next) = asked(hole, job) else { continue };
            *next = None;
            if failure.cause != Cause::ProtocolError {
                // The venue cannot be asked at all: the other timeframes would fail the same way.
                let parts = hole.parts.iter_mut().filter(|part| part.symbol == job.symbol);
                parts.for_each(|part| (part.next, part.ticks) = ([None; TIMEFRAMES], None));
            }
            hole.failed = Some(format!("bars of {}: {failure}", job.timeframe));
            touched.push(*key);
        }
        touched.into_iter().for_each(|key| self.settle(key, now_ns));
    }
}

/// What a hole waits for.
fn waiting(hole: &Hole) -> impl Iterator<Item = (Timeframe, usize, Span)> {
    let spans = |part: &Part| {
        let symbol = part.symbol;
        let all = Timeframe::ALL.iter().zip(part.next);
        all.filter_map(move |(timeframe, next)| Some((*timeframe, symbol, next?)))
    };
    hole.parts.iter().flat_map(spans)
}

/// The bar that a hole waits for, when the request asked for it.
fn asked<'a>(hole: &'a mut Hole, job: &Job) -> Option<&'a mut Option<Span>> {
    let part = hole.parts.iter_mut().find(|part| hole.venue == job.venue && part.symbol == job.symbol)?;
    let next = &mut part.next[place(job.timeframe)];
    next.is_some_and(|span| (job.from_ns..job.to_ns).contains(&span.from_ns)).then_some(next)
}

fn place(timeframe: Timeframe) -> usize {
    usize::from(timeframe.code()) - 1
}

#[cfg(test)]
mod tests;
