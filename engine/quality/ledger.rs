//! The holes of this run: those that are open, the newest of the others, and how many there were of each kind.
//!
//! Counted are records and not holes: one when a hole opens, one when it closes, one when it is repaired or lost. What is
//! told again after a start ([`crate::stages::gaps`]) counts once, in the run in which it opened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickwire_schemas::record::Gap;
use tickwire_schemas::words::{Cause, GapState};
use tickwire_schemas::{NO_NUMBER, NO_TIME};

use crate::metrics;
use crate::stages::Market;

/// Holes that are listed as open; those beyond are counted.
pub const OPEN_MAX: usize = 100;

/// Holes that are listed as closed, repaired or lost: the newest.
pub const NEWEST_MAX: usize = 50;

/// A hole as it was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Epoch and `seq` of the record that opened it: its key.
    pub key: (u32, u64),
    /// Name of the source; empty: all.
    pub source: Arc<str>,
    /// Canonical symbol; empty: all of the source.
    pub symbol: Arc<str>,
    /// Why.
    pub cause: Cause,
    /// What became of it.
    pub state: GapState,
    /// Receipt of the last data before it, nanoseconds UTC; `None`: never.
    pub from_ns: Option<i64>,
    /// Receipt of the first data after it, nanoseconds UTC; `None` while it is open.
    pub to_ns: Option<i64>,
    /// Events of the source that are known to be missing.
    pub lost: Option<u64>,
}

/// All of it, to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holes {
    /// How many are open.
    pub open_count: usize,
    /// Open ones, the oldest first; [`OPEN_MAX`] at most.
    pub open: Vec<Hole>,
    /// The others, the last told first; [`NEWEST_MAX`] at most.
    pub newest: Vec<Hole>,
    /// How many came into each state in this run, by source, cause and state.
    pub counts: BTreeMap<(Arc<str>, Cause, GapState), u64>,
}

/// Takes the records of one run in their order.
#[derive(Debug)]
pub struct Ledger {
    market: Market,
    names: Vec<Arc<str>>,
    symbols: Vec<Arc<str>>,
    /// At most one of each source and instrument is open.
    open: BTreeMap<(u32, u64), Hole>,
    newest: VecDeque<Hole>,
    counts: BTreeMap<(Arc<str>, Cause, GapState), u64>,
    changed: bool,
}

impl Ledger {
    /// Over a market.
    #[must_use]
    pub fn new(market: &Market) -> Ledger {
        Ledger {
            names: market.sources().iter().map(|source| source.name.as_str().into()).collect(),
            symbols: market.instruments().iter().map(|instrument| instrument.symbol.as_str().into()).collect(),
            open: BTreeMap::new(),
            newest: VecDeque::with_capacity(NEWEST_MAX),
            counts: BTreeMap::new(),
            changed: true,
            market: market.clone(),
        }
    }

    /// Goes on over a market that has grown.
    pub fn grow(&mut self, market: &Market) {
        let (sources, instruments) = (self.names.len(), self.symbols.len());
        self.names.extend(market.sources()[sources..].iter().map(|source| Arc::from(source.name.as_str())));
        let symbols = market.instruments()[instruments..].iter();
        self.symbols.extend(symbols.map(|instrument| Arc::from(instrument.symbol.as_str())));
        self.market = market.clone();
    }

    /// Takes a record, and counts it in `gaps_total`.
    pub fn gap(&mut self, gap: &Gap) {
        let (Some(cause), Some(state)) = (Cause::from_code(gap.cause), GapState::from_code(gap.state)) else { return };
        let source = self.market.source(gap.head.source_id);
        let instrument = self.market.instrument(gap.head.instrument_id);
        let of = |names: &[Arc<str>], at: Option<usize>| at.and_then(|at| names.get(at)).cloned().unwrap_or_default();
        let hole = Hole {
            key: (gap.gap_epoch, gap.gap_id),
            source: of(&self.names, source),
            symbol: of(&self.symbols, instrument),
            cause,
            state,
            from_ns: (gap.from_ns != NO_TIME).then_some(gap.from_ns),
            to_ns: (gap.to_ns != NO_TIME).then_some(gap.to_ns),
            lost: (gap.lost != NO_NUMBER).then_some(gap.lost),
        };
        self.changed = true;
        let told_again = state == GapState::Open && gap.gap_epoch != gap.head.epoch;
        if !told_again {
            *self.counts.entry((Arc::clone(&hole.source), cause, state)).or_default() += 1;
            if let Some(source) = source {
                metrics::GAPS.at(source, metrics::gap_cell(cause, state)).inc();
            }
        }
        if state == GapState::Open {
            self.open.insert(hole.key, hole);
            return;
        }
        self.open.remove(&hole.key);
        self.newest.retain(|known| known.key != hole.key);
        if self.newest.len() == NEWEST_MAX {
            self.newest.pop_back();
        }
        self.newest.push_front(hole);
    }

    /// How things stand, if that changed since the last call.
    pub fn take_changed(&mut self) -> Option<Holes> {
        std::mem::take(&mut self.changed).then(|| Holes {
            open_count: self.open.len(),
            open: self.open.values().take(OPEN_MAX).cloned().collect(),
            newest: self.newest.iter().cloned().collect(),
            counts: self.counts.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tickwire_schemas::INSTRUMENT_ALL;
    use tickwire_schemas::record::Head;

    use super::*;
    use crate::market::{Class, Instrument, InstrumentId, Scope, Source, SourceId, VolumeOf};

    fn ledger() -> Ledger {
        let source = |id, name: &str| Source {
            id: SourceId(id),
            name: name.into(),
            scope: Scope::Global,
            owner: String::new(),
            priority: 1,
            volume: VolumeOf::default(),
            stores_ticks: true,
        };
        let instrument = Instrument {
            id: InstrumentId(4),
            symbol: "EURUSD".into(),
            class: Class::Fx,
            digits: 5,
            pip: "0.0001".parse().unwrap(),
        };
        Ledger::new(&Market::new(vec![source(7, "a"), source(8, "b")], vec![instrument]))
    }

    /// A record of source 7 in epoch 2; the key says when the hole was opened.
    fn gap(key: (u32, u64), state: GapState, cause: Cause) -> Gap {
        let to_ns = if state == GapState::Open { NO_TIME } else { 20 };
        Gap {
            head: Head { epoch: 2, source_id: 7, instrument_id: 4, ..Head::default() },
            ts_recv_ns: 30,
            from_ns: 10,
            to_ns,
            gap_id: key.1,
            lost: NO_NUMBER,
            gap_epoch: key.0,
            cause: cause.code(),
            state: state.code(),
        }
    }

    #[test]
    fn a_hole_is_open_then_closed_then_repaired_and_stands_once() {
        let mut ledger = ledger();
        assert_eq!(ledger.take_changed(), Some(Holes::default()));
        ledger.gap(&gap((2, 5), GapState::Open, Cause::Mute));
        let holes = ledger.take_changed().unwrap();
        assert_eq!((holes.open_count, holes.newest.len()), (1, 0));
        let open = &holes.open[0];
        assert_eq!((&*open.source, &*open.symbol, open.from_ns, open.to_ns), ("a", "EURUSD", Some(10), None));
        assert_eq!(ledger.take_changed(), None, "nothing new");

        ledger.gap(&gap((2, 5), GapState::Closed, Cause::Mute));
        ledger.gap(&gap((2, 9), GapState::Open, Cause::ReadError));
        ledger.gap(&gap((2, 5), GapState::Repaired, Cause::Mute));
        let holes = ledger.take_changed().unwrap();
        assert_eq!(holes.open.iter().map(|hole| hole.key).collect::<Vec<_>>(), [(2, 9)]);
        let newest: Vec<_> = holes.newest.iter().map(|hole| (hole.key, hole.state, hole.to_ns)).collect();
        assert_eq!(newest, [((2, 5), GapState::Repaired, Some(20))]);
        let counts: Vec<_> = holes.counts.iter().map(|((_, cause, state), n)| (*cause, *state, *n)).collect();
        let mute = |state| (Cause::Mute, state, 1);
        let expected = [GapState::Open, GapState::Closed, GapState::Repaired].map(mute);
        assert!(expected.iter().all(|count| counts.contains(count)) && counts.len() == 4, "{counts:?}");
    }

    #[test]
    fn what_was_open_before_the_start_is_listed_and_counted_when_it_closes() {
        let mut ledger = ledger();
        ledger.gap(&gap((1, 5), GapState::Open, Cause::Stopped));
        let holes = ledger.take_changed().unwrap();
        assert_eq!((holes.open_count, holes.counts.len()), (1, 0));
        ledger.gap(&gap((1, 5), GapState::Closed, Cause::Stopped));
        let holes = ledger.take_changed().unwrap();
        assert_eq!((holes.open_count, holes.counts.len()), (0, 1));
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let mut ledger = ledger();
        for seq in 0..1_000 {
            ledger.gap(&gap((2, seq), GapState::Open, Cause::Mute));
            if seq % 2 == 0 {
                ledger.gap(&gap((2, seq), GapState::Lost, Cause::Mute));
            }
        }
        let mut everything = gap((2, 1_000), GapState::Closed, Cause::RingFull);
        (everything.head.instrument_id, everything.lost) = (INSTRUMENT_ALL, 12);
        ledger.gap(&everything);
        let holes = ledger.take_changed().unwrap();
        assert_eq!((holes.open_count, holes.open.len(), holes.newest.len()), (500, OPEN_MAX, NEWEST_MAX));
        assert_eq!(holes.newest[0].key, (2, 1_000));
        assert_eq!((&*holes.newest[0].symbol, holes.newest[0].lost), ("", Some(12)));
        assert_eq!(holes.newest[1].key, (2, 998));
        assert_eq!(holes.open[0].key, (2, 1), "the oldest");
    }
}
