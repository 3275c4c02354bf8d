//! The board: a place for each thing there is, and when it last changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tickwire_schemas::record::{Bar, Gap, Head, Quote, SourceState, Tick};
use tickwire_schemas::words::{BarState, SourceStatus, Verdict};
use tickwire_schemas::{NO_PRICE, SOURCE_BEST};
use tokio::sync::watch;

use super::sparkline::Sparkline;
use crate::journal::Catalogue;
use crate::market::{Instrument, Source};

/// Holes remembered: of more the oldest are forgotten, since they are in the database.
const GAPS_MAX: usize = 256;

/// A value, and the version of the board with which it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) version: u64,
}

/// The newest bars of a series: a bar that closes is not lost behind the one that forms next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SeriesBars {
    pub(super) revised: Option<Placed<Bar>>,
    pub(super) closed: Option<Placed<Bar>>,
    pub(super) forming: Option<Placed<Bar>>,
}

/// Source, instrument and timeframe, by their persistent ids.
pub(super) type SeriesId = (u32, u32, u8);

/// What is known. Each map is as large as there are sources, instruments and timeframes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) version: u64,
    /// When the newest record was published.
    pub(super) published_ns: i64,
    pub(super) sources: HashMap<u32, Source>,
    pub(super) instruments: HashMap<u32, Instrument>,
    pub(super) status: HashMap<u32, SourceStatus>,
    /// The common price, by instrument.
    pub(super) quotes: HashMap<u32, Placed<Quote>>,
    /// The newest accepted tick of each source, by instrument.
    pub(super) depth: BTreeMap<(u32, u32), Placed<Tick>>,
    pub(super) bars: HashMap<SeriesId, SeriesBars>,
    /// The newest record of each hole, the one that changed last behind.
    pub(super) gaps: VecDeque<Placed<Gap>>,
    pub(super) sparklines: HashMap<u32, Sparkline>,
}

impl State {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Every record passes here, also those that change nothing that is shown.
    pub(super) fn at(&mut self, head: &Head) {
        self.published_ns = self.published_ns.max(head.ts_publish_ns);
    }

    pub(super) fn name(&mut self, catalogue: &Catalogue) {
        self.sources = catalogue.sources.iter().map(|source| (source.id.0, source.clone())).collect();
        self.instruments = catalogue.instruments.iter().map(|of| (of.id.0, of.clone())).collect();
    }

    pub(super) fn tick(&mut self, tick: Tick) {
        // One asked of the venue's past is not what it says now.
        let fetched = tick.flags & tickwire_schemas::words::flag::FETCHED != 0;
        if tick.verdict == Verdict::Accepted.code() && !fetched {
            let version = self.next_version();
            self.depth.insert((tick.head.instrument_id, tick.head.source_id), Placed { value: tick, version });
        }
    }

    pub(super) fn quote(&mut self, quote: Quote) {
        // A private source's own are its ticks.
        if quote.head.source_id != SOURCE_BEST {
            return;
        }
        let version = self.next_version();
        let instrument = quote.head.instrument_id;
        if quote.bid_e9 != NO_PRICE && quote.ask_e9 != NO_PRICE {
            let line = self.sparklines.entry(instrument).or_default();
            line.push(quote.ts_recv_ns, quote.bid_e9, quote.ask_e9);
        }
        self.quotes.insert(instrument, Placed { value: quote, version });
    }

    pub(super) fn bar(&mut self, bar: Bar) {
        let version = self.next_version();
        let series = self.bars.entry((bar.head.source_id, bar.head.instrument_id, bar.timeframe)).or_default();
        let placed = Some(Placed { value: bar, version });
        match BarState::from_code(bar.state) {
            Some(BarState::Provisional) => series.forming = placed,
            Some(BarState::Final) => series.closed = placed,
            _ => series.revised = placed,
        }
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        let version = self.next_version();
        self.gaps.retain(|known| (known.value.gap_epoch, known.value.gap_id) != (gap.gap_epoch, gap.gap_id));
        if self.gaps.len() == GAPS_MAX {
            self.gaps.pop_front();
        }
        self.gaps.push_back(Placed { value: gap, version });
    }

    pub(super) fn source_state(&mut self, state: &SourceState) {
        self.next_version();
        if let Some(status) = SourceStatus::from_code(state.status) {
            self.status.insert(state.head.source_id, status);
        }
    }

    /// The id of a canonical symbol.
    pub(super) fn instrument_of(&self, symbol: &str) -> Option<u32> {
        self.instruments.values().find(|of| of.symbol == symbol).map(|of| of.id.0)
    }

    /// The id of a source by its name, 0 for `best`.
    pub(super) fn source_of(&self, name: &str) -> Option<u32> {
        if name == "best" {
            return Some(SOURCE_BEST);
        }
        self.sources.values().find(|source| source.name == name).map(|source| source.id.0)
    }
}

/// What is so now, for whoever looks.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// From this age on a source's price counts nowhere; 0: never. Nanoseconds.
    pub(super) max_age_ns: i64,
}

impl Board {
    /// With nothing on it. A source's price older than `max_age_ms` is shown as stale, as the common price leaves it out
    /// then; 0: never.
    #[must_use]
    pub fn new(catalogue: &Catalogue, max_age_ms: i64) -> Board {
        let mut state = State::default();
        state.name(catalogue);
        let max_age_ns = max_age_ms.saturating_mul(1_000_000);
        Board { state: Mutex::new(state), changed: watch::channel(0).0, max_age_ns }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes of the board's version.
    pub(in crate::console) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells all who look that there is more.
    pub(super) fn tell(&self) {
        let version = self.state().version;
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
    }

    /// The names of the sources that have a price of each symbol.
    pub(in crate::console) fn sources_by_symbol(&self) -> BTreeMap<String, Vec<Source>> {
        let state = self.state();
        let mut all: BTreeMap<String, Vec<Source>> = BTreeMap::new();
        for (instrument, source) in state.depth.keys() {
            if let (Some(instrument), Some(source)) = (state.instruments.get(instrument), state.sources.get(source)) {
                all.entry(instrument.symbol.clone()).or_default().push(source.clone());
            }
        }
        all
    }
}

/// Shared by the thread that writes and those who look.
pub(super) type SharedBoard = Arc<Board>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tickwire_schemas::words::flag;

    use super::*;

    fn head(seq: u64, source_id: u32) -> Head {
        Head { epoch: 1, seq, source_id, instrument_id: 1, ts_publish_ns: seq as i64, ..Head::default() }
    }

    #[test]
    fn each_thing_has_one_place_however_often_it_changes() {
        let mut state = State::default();
        for seq in 1..=10_000 {
            state.quote(Quote { head: head(seq, SOURCE_BEST), bid_e9: seq as i64, ask_e9: 9, ..Quote::default() });
            state.quote(Quote { head: head(seq, 7), ..Quote::default() });
            state.tick(Tick { head: head(seq, 7), bid_e9: seq as i64, ..Tick::default() });
            state.tick(Tick { head: head(seq, 7), verdict: Verdict::Refused.code(), ..Tick::default() });
            state.tick(Tick { head: head(seq, 7), flags: flag::FETCHED, ..Tick::default() });
            state.gap(Gap { head: head(seq, 7), gap_id: seq, ..Gap::default() });
        }
        let counts = (state.quotes.len(), state.depth.len(), state.gaps.len(), state.sparklines.len());
        assert_eq!(counts, (1, 1, GAPS_MAX, 1));
        assert_eq!(state.quotes[&1].value.bid_e9, 10_000, "a private source's quote is not the common price");
        assert_eq!(state.depth[&(1, 7)].value.bid_e9, 10_000, "neither refused nor fetched prices are what it says");
        assert_eq!(state.gaps.back().unwrap().value.gap_id, 10_000);
    }

    #[test]
    fn a_bar_that_closes_is_not_lost_behind_the_next() {
        let mut state = State::default();
        let mut bar = |seq: u64, open_ts_ns: i64, of: BarState| {
            let head = head(seq, SOURCE_BEST);
            state.bar(Bar { head, open_ts_ns, timeframe: 1, state: of.code(), ..Bar::default() });
        };
        bar(1, 0, BarState::Provisional);
        bar(2, 0, BarState::Final);
        bar(3, 60, BarState::Provisional);
        bar(4, 0, BarState::Revised);
        let series = state.bars[&(SOURCE_BEST, 1, 1)];
        let opens = [series.closed, series.forming, series.revised].map(|bar| bar.unwrap().value.open_ts_ns);
        assert_eq!((opens, state.bars.len()), ([0, 60, 0], 1));
    }

    #[test]
    fn a_hole_that_closes_replaces_itself() {
        let mut state = State::default();
        state.gap(Gap { gap_epoch: 1, gap_id: 5, state: 0, ..Gap::default() });
        state.gap(Gap { gap_epoch: 2, gap_id: 5, state: 0, ..Gap::default() });
        state.gap(Gap { gap_epoch: 1, gap_id: 5, state: 1, ..Gap::default() });
        let found: Vec<_> = state.gaps.iter().map(|gap| (gap.value.gap_epoch, gap.value.state)).collect();
        assert_eq!(found, [(2, 0), (1, 1)]);
    }
}
