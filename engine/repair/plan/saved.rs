//! The planner's state in a file, so that a restart need not read the whole journal.

use serde::{Deserialize, Serialize};
use tickwire_schemas::words::Timeframe;

use super::hole::{Facts, Key, TIMEFRAMES};
use super::{Plan, place};

/// What waits, by persistent numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    holes: Vec<SavedHole>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedHole {
    key: Key,
    facts: Facts,
    is_open: bool,
    #[serde(default)]
    found: bool,
    failed: Option<String>,
    parts: Vec<SavedPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPart {
    instrument_id: u32,
    /// Opening of the next bar to ask for.
    next_ns: Vec<(Timeframe, i64)>,
}

impl Plan {
    /// What waits. It counts what was handed out as done, so it holds once all of that is journaled.
    #[must_use]
    pub fn save(&self) -> Saved {
        let holes = self.holes.iter().map(|(key, hole)| {
            let parts = hole.parts.iter().map(|part| {
                let next = Timeframe::ALL.iter().zip(part.next);
                SavedPart {
                    instrument_id: self.venues[hole.venue].symbols[part.symbol].instrument_id,
                    next_ns: next.filter_map(|(timeframe, span)| Some((*timeframe, span?.from_ns))).collect(),
                }
            });
            let (parts, failed) = (parts.collect(), hole.failed.clone());
            SavedHole { key: *key, facts: hole.facts, is_open: hole.is_open, found: hole.found, failed, parts }
        });
        Saved { holes: holes.collect() }
    }

    /// Takes up what was saved; to be called on a new planner, before it reads on in the journal.
    pub fn load(&mut self, saved: &Saved) {
        for SavedHole { key, facts, is_open, found, failed, parts } in &saved.holes {
            self.take_up(*key, *facts);
            let Some(hole) = self.holes.get_mut(key) else { continue };
            (hole.is_open, hole.found) = (*is_open, *found);
            // What became of the source since may be worse.
            hole.failed = failed.clone().or(hole.failed.take());
            for part in &mut hole.parts {
                // What is stored of an open one is found out where it is stored.
                part.ticks = part.ticks.filter(|_| *is_open);
                let symbol = &self.venues[hole.venue].symbols[part.symbol];
                let before = parts.iter().find(|part| part.instrument_id == symbol.instrument_id);
                let mut next = [None; TIMEFRAMES];
                for (timeframe, from_ns) in before.iter().flat_map(|part| &part.next_ns) {
                    // Not asked any more: its timeframe is not published since.
                    if part.next[place(*timeframe)].is_some() {
                        let calendar = &mut self.calendars[symbol.class as usize];
                        next[place(*timeframe)] = hole.facts.next(calendar, *timeframe, *from_ns);
                    }
                }
                part.next = next;
            }
            if !hole.is_open && hole.is_done() {
                self.holes.remove(key);
            }
        }
    }
}
