//! The ticks of holes, of venues that have them: asked for when the bars of the hole are, stored before its entry closes.

use super::hole::{Facts, Key};
use super::{Lane, Past, Plan};
use crate::feeds::net::Failure;
use crate::market::Calendar;

/// The ticks of a symbol that are still to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
    /// When the last of them are of the past for the venue too.
    pub(super) settled_ns: i64,
}

impl Ticks {
    /// Of a hole that has bars to ask for.
    pub(super) fn of(facts: &Facts, past: &Past, calendar: &mut Calendar) -> Option<Ticks> {
        past.ticks_span_ns?;
        let reach = facts.reach();
        let last = calendar.interval(*past.timeframes.first()?, facts.to_ns - 1);
        let settled_ns = last.map_or(reach.to_ns, |span| span.to_ns);
        Some(Ticks { from_ns: reach.from_ns, to_ns: reach.to_ns, settled_ns })
    }
}

/// A request to make: the ticks of a hole that the venue stamped in `[from_ns, to_ns)`, which are to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickJob {
    /// Index of the source.
    pub venue: usize,
    /// Index of the symbol among those of the source.
    pub symbol: usize,
    /// The hole.
    pub key: Key,
    /// First stamp.
    pub from_ns: i64,
    /// Before which they are stamped.
    pub to_ns: i64,
}

impl TickJob {
    fn lane(&self) -> Lane {
        // Codes of timeframes begin with 1.
        (self.venue, self.symbol, 0)
    }
}

impl Plan {
    /// The next request for ticks of a source, if one is due: of the oldest hole first. There may be one request at a time
    /// of each source.
    #[must_use]
    pub fn next_ticks(&self, venue: usize, now_ns: i64) -> Option<TickJob> {
        let settled_ns = now_ns.saturating_sub(self.delay_ns());
        // A venue that has none any more is asked, and says so.
        let past = self.venues.get(venue)?.past.as_ref();
        let span_ns = past.and_then(|past| past.ticks_span_ns).unwrap_or(i64::MAX).max(1);
        for (key, hole) in self.holes.iter().filter(|(_, hole)| hole.venue == venue) {
            for part in &hole.parts {
                let Some(ticks) = part.ticks.filter(|ticks| ticks.settled_ns <= settled_ns) else { continue };
                let (symbol, from_ns) = (part.symbol, ticks.from_ns);
                let to_ns = ticks.to_ns.min(from_ns.saturating_add(span_ns));
                let job = TickJob { venue, symbol, key: *key, from_ns, to_ns };
                if self.trouble.get(&job.lane()).is_none_or(|trouble| trouble.not_before_ns <= now_ns) {
                    return Some(job);
                }
            }
        }
        None
    }

    /// Takes that the ticks of a request are stored, at `now_ns`.
    pub fn stored(&mut self, job: &TickJob, now_ns: i64) {
        self.trouble.remove(&job.lane());
        let left = |ticks: Ticks| (job.to_ns < ticks.to_ns).then_some(Ticks { from_ns: job.to_ns, ..ticks });
        self.of_ticks(job, left);
        self.settle(job.key, now_ns);
    }

    /// Takes that the ticks of a request could not be had, or not be stored.
    pub fn not_stored(&mut self, job: &TickJob, failure: &Failure, now_ns: i64) {
        if !self.gives_up(job.lane(), failure, now_ns) {
            return;
        }
        self.of_ticks(job, |_| None);
        if let Some(hole) = self.holes.get_mut(&job.key).filter(|hole| hole.is_open) {
            hole.failed = Some(format!("ticks: {failure}"));
        }
        self.settle(job.key, now_ns);
    }

    fn of_ticks(&mut self, job: &TickJob, left: impl Fn(Ticks) -> Option<Ticks>) {
        let hole = self.holes.get_mut(&job.key).filter(|hole| hole.venue == job.venue);
        for part in hole.into_iter().flat_map(|hole| &mut hole.parts).filter(|part| part.symbol == job.symbol) {
            // The hole may have been taken up anew meanwhile.
            part.ticks =
                part.ticks.and_then(|ticks| if ticks.from_ns == job.from_ns { left(ticks) } else { Some(ticks) });
        }
    }
}
