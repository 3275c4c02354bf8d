//! `epoch`, `seq` and `chain`: the identity that proves to a reader that it missed nothing.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use tickwire_schemas::record::{Bar, Head, Indicator, Record, read_head};
use tickwire_schemas::words::Kind;

use super::{Market, Pair, StateError};

/// The counters behind `chain`: one per source, instrument and kind, and for bars and indicators per timeframe and
/// indicator too.
#[derive(Debug)]
pub struct Chains {
    /// Indexed by kind, then source (0 is the common price), then instrument (0 is "all").
    counters: Vec<u64>,
    /// Length of the rows of `counters` by source and by instrument.
    rows: (usize, usize),
    /// Of bars and indicators, which are few a minute: a table over all that are possible would be mostly empty.
    series: HashMap<Series, u64, BuildHasherDefault<Mixer>>,
    market: Market,
}

/// Kind, source id, instrument id, timeframe and indicator id.
type Series = (u8, u32, u32, u8, u32);

/// The counters as saved, keyed by persistent ids.
type Saved = (BTreeMap<(u8, u32, u32), u64>, BTreeMap<Series, u64>);

/// Record kinds have codes below this.
const KINDS: usize = 12;

impl Chains {
    /// All at zero.
    #[must_use]
    pub fn new(market: &Market) -> Chains {
        let rows = rows_of(market);
        let counters = vec![0; KINDS * rows.0 * rows.1];
        // Room for the bars of some hundred series: more grow it as they come.
        let series = HashMap::with_capacity_and_hasher(1 << 13, BuildHasherDefault::default());
        Chains { counters, rows, series, market: market.clone() }
    }

    fn at(&mut self, kind: Kind, source_id: u32, instrument_id: u32) -> &mut u64 {
        // What this run does not know shares the cell of "all": such a record cannot arise, the inputs are checked.
        let source = self.market.source(source_id).map_or(0, |dense| dense + 1);
        let instrument = self.market.instrument(instrument_id).map_or(0, |dense| dense + 1);
        self.cell(kind, source, instrument)
    }

    /// Of a source and instrument by their dense indices and one; 0 is the common price, or all instruments.
    #[inline]
    fn cell(&mut self, kind: Kind, source: usize, instrument: usize) -> &mut u64 {
        let (sources, instruments) = self.rows;
        &mut self.counters[(usize::from(kind.code()) * sources + source) * instruments + instrument]
    }

    /// The next number of a chain.
    pub fn next(&mut self, kind: Kind, source_id: u32, instrument_id: u32) -> u64 {
        let counter = self.at(kind, source_id, instrument_id);
        *counter += 1;
        *counter
    }

    /// The same where the dense indices are known: of the source, `None` for the common price, and of the instrument.
    #[inline]
    fn next_of(&mut self, kind: Kind, source: Option<usize>, instrument: usize) -> u64 {
        let counter = self.cell(kind, source.map_or(0, |source| source + 1), instrument + 1);
        *counter += 1;
        *counter
    }

    /// The next number of a chain of bars or indicators.
    fn next_of_series(&mut self, series: Series) -> u64 {
        let counter = self.series.entry(series).or_default();
        *counter += 1;
        *counter
    }

    /// Goes on behind the number of a published record, whatever was counted before.
    pub fn follow(&mut self, kind: Kind, record: &[u8]) {
        let Ok(head) = read_head(kind, record) else { return };
        let series = match kind {
            Kind::Bar => Bar::read(record).ok().map(|bar| (bar.timeframe, 0)),
            Kind::Indicator => Indicator::read(record).ok().map(|value| (value.timeframe, value.indicator_id)),
            _ => None,
        };
        let counter = match series {
            Some((timeframe, indicator)) => {
                let series = (kind.code(), head.source_id, head.instrument_id, timeframe, indicator);
                self.series.entry(series).or_default()
            }
            None if self.is_known(head.source_id, head.instrument_id) => {
                self.at(kind, head.source_id, head.instrument_id)
            }
            None => return,
        };
        *counter = head.chain;
    }

    /// Whether there are chains of their own for these: 0 stands for the common price and for all instruments.
    fn is_known(&self, source_id: u32, instrument_id: u32) -> bool {
        (source_id == 0 || self.market.source(source_id).is_some())
            && (instrument_id == 0 || self.market.instrument(instrument_id).is_some())
    }

    /// Goes on in a market that has grown.
    fn grow(&mut self, market: &Market) {
        let (sources, instruments) = self.rows;
        let (sources_now, instruments_now) = rows_of(market);
        self.rows = (sources_now, instruments_now);
        let counters = std::mem::replace(&mut self.counters, vec![0; KINDS * sources_now * instruments_now]);
        self.market = market.clone();
        for (at, count) in counters.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let (kind, source, instrument) =
                (at / (sources * instruments), at / instruments % sources, at % instruments);
            self.counters[(kind * sources_now + source) * instruments_now + instrument] = count;
        }
    }

    /// Appends the counters that have counted, keyed by persistent ids.
    pub fn save(&self, out: &mut Vec<u8>) {
        let (sources, instruments) = self.rows;
        let mut chains = BTreeMap::new();
        for (at, count) in self.counters.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (kind, source, instrument) =
                (at / (sources * instruments), at / instruments % sources, at % instruments);
            let source_id = if source == 0 { 0 } else { self.market.sources()[source - 1].id.0 };
            let instrument_id = if instrument == 0 { 0 } else { self.market.instruments()[instrument - 1].id.0 };
            chains.insert((kind as u8, source_id, instrument_id), *count);
        }
        let series: BTreeMap<Series, u64> = self.series.iter().map(|(series, count)| (*series, *count)).collect();
        super::group::save_value::<Saved>(&(chains, series), out);
    }

    /// Takes up what [`Chains::save`] wrote.
    ///
    /// # Errors
    /// When the bytes are not such counters.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (chains, series): Saved = super::group::load_value(bytes)?;
        self.series = series.into_iter().collect();
        for ((kind, source_id, instrument_id), count) in chains {
            if let (Some(kind), true) = (Kind::from_code(kind), self.is_known(source_id, instrument_id)) {
                *self.at(kind, source_id, instrument_id) = count;
            }
        }
        Ok(())
    }
}

/// One more than there are sources, and than there are instruments.
fn rows_of(market: &Market) -> (usize, usize) {
    (market.sources().len() + 1, market.instruments().len() + 1)
}

/// Hashes ids that nobody chooses to do harm, so a multiplication each makes enough of a mess. The default hasher is made
/// against those who choose their keys, and costs several times as much.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mixer(u64);

impl Mixer {
    #[inline]
    fn mix(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

impl Hasher for Mixer {
    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes the upper bits for one thing and the lower ones for another.
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Gives every outbound record its identity.
#[derive(Debug)]
pub struct Identity {
    epoch: u32,
    seq: u64,
    chains: Chains,
}

impl Identity {
    /// For one run of the engine.
    #[must_use]
    pub fn new(epoch: u32, market: &Market) -> Identity {
        Identity { epoch, seq: 0, chains: Chains::new(market) }
    }

    /// Goes on behind the record `seq` of `epoch`; the chains are untouched. A new run begins behind 0.
    pub fn resume_after(&mut self, epoch: u32, seq: u64) {
        self.epoch = epoch;
        self.seq = seq;
    }

    /// The run that records are stamped with.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// `seq` of the last stamped record.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// `seq` that the next record will have.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// Fills in `epoch`, `seq`, `chain` and the time of publication.
    pub fn stamp(&mut self, kind: Kind, head: &mut Head, publish_ns: i64) {
        let chain = self.chains.next(kind, head.source_id, head.instrument_id);
        self.fill(head, chain, publish_ns);
    }

    /// The same for an input whose dense indices may be known.
    #[inline]
    pub(super) fn stamp_input(&mut self, kind: Kind, head: &mut Head, pair: Option<Pair>, publish_ns: i64) {
        match pair {
            Some((source, instrument)) => self.stamp_of(kind, head, (Some(source), instrument), publish_ns),
            None => self.stamp(kind, head, publish_ns),
        }
    }

    /// The same for a record of a source (`None`: of the common price) and instrument by their dense indices.
    #[inline]
    pub(super) fn stamp_of(
        &mut self,
        kind: Kind,
        head: &mut Head,
        (source, instrument): (Option<usize>, usize),
        publish_ns: i64,
    ) {
        debug_assert_eq!(self.chains.market.source(head.source_id), source);
        debug_assert_eq!(self.chains.market.instrument(head.instrument_id), Some(instrument));
        let chain = self.chains.next_of(kind, source, instrument);
        self.fill(head, chain, publish_ns);
    }

    /// The same for a record of no source and instrument.
    #[inline]
    pub(super) fn stamp_of_none(&mut self, kind: Kind, head: &mut Head, publish_ns: i64) {
        debug_assert_eq!((head.source_id, head.instrument_id), (0, 0));
        let counter = self.chains.cell(kind, 0, 0);
        *counter += 1;
        let chain = *counter;
        self.fill(head, chain, publish_ns);
    }

    #[inline]
    fn fill(&mut self, head: &mut Head, chain: u64, publish_ns: i64) {
        self.seq += 1;
        head.epoch = self.epoch;
        head.seq = self.seq;
        head.chain = chain;
        head.ts_publish_ns = publish_ns;
    }

    /// The same for a bar or indicator: `series` is its timeframe and its indicator, 0 for a bar.
    pub fn stamp_series(&mut self, kind: Kind, head: &mut Head, series: (u8, u32), publish_ns: i64) {
        let (timeframe, indicator) = series;
        let chain = self.chains.next_of_series((kind.code(), head.source_id, head.instrument_id, timeframe, indicator));
        self.fill(head, chain, publish_ns);
    }

    /// Goes on in a market that has grown; nothing that was numbered is numbered again.
    pub fn grow(&mut self, market: &Market) {
        self.chains.grow(market);
    }

    /// The chains, to save and load.
    #[must_use]
    pub fn chains(&mut self) -> &mut Chains {
        &mut self.chains
    }
}
