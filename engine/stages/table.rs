//! The sources and instruments of a run, and tables over them.

use std::sync::Arc;

use crate::market::{Calendar, Class, Holidays, IndicatorName, InputRef, Instrument, Scope, Source};

/// Dense indices of a source and an instrument.
pub type Pair = (usize, usize);

/// Marks an id that this run does not know.
const UNKNOWN: u16 = u16::MAX;

/// The sources and instruments of a run, with the way from persistent ids to dense indices and back.
#[derive(Clone, Debug)]
pub struct Market {
    sources: Arc<[Source]>,
    instruments: Arc<[Instrument]>,
    indicators: Arc<[IndicatorName]>,
    source_index: Arc<[u16]>,
    instrument_index: Arc<[u16]>,
    holidays: Arc<Holidays>,
}

impl Market {
    /// Of the sources and instruments in the order of their dense indices, which is also the order among equals.
    #[must_use]
    pub fn new(sources: Vec<Source>, instruments: Vec<Instrument>) -> Market {
        let source_index = index(sources.iter().map(|s| s.id.0));
        let instrument_index = index(instruments.iter().map(|i| i.id.0));
        let (indicators, holidays) = (Arc::default(), Arc::default());
        let (sources, instruments) = (sources.into(), instruments.into());
        Market { sources, instruments, indicators, source_index, instrument_index, holidays }
    }

    /// The same with the indicators that are computed, under their persistent ids.
    #[must_use]
    pub fn with_indicators(self, indicators: Vec<IndicatorName>) -> Market {
        Market { indicators: indicators.into(), ..self }
    }

    /// The same with days on which its classes do not trade.
    #[must_use]
    pub fn with_holidays(self, holidays: Holidays) -> Market {
        Market { holidays: Arc::new(holidays), ..self }
    }

    /// The same with more sources and instruments behind those that are there, whose indices stay; what is there already,
    /// by its id, stays as it is.
    #[must_use]
    pub fn grown(&self, sources: Vec<Source>, instruments: Vec<Instrument>) -> Market {
        let new_sources = sources.into_iter().filter(|source| self.source(source.id.0).is_none());
        let new_instruments = instruments.into_iter().filter(|instrument| self.instrument(instrument.id.0).is_none());
        let sources = self.sources.iter().cloned().chain(new_sources).collect();
        let instruments = self.instruments.iter().cloned().chain(new_instruments).collect();
        self.of(sources, instruments)
    }

    /// Other sources and instruments with the same indicators and the same days without trade.
    #[must_use]
    pub fn of(&self, sources: Vec<Source>, instruments: Vec<Instrument>) -> Market {
        let (indicators, holidays) = (Arc::clone(&self.indicators), Arc::clone(&self.holidays));
        Market { indicators, holidays, ..Market::new(sources, instruments) }
    }

    /// The indicators that are computed.
    #[must_use]
    pub fn indicators(&self) -> &[IndicatorName] {
        &self.indicators
    }

    /// A calendar for a class.
    ///
    /// # Errors
    /// When the time zone database lacks the zone.
    pub fn calendar(&self, class: Class) -> Result<Calendar, String> {
        Calendar::new(class, &self.holidays)
    }

    /// The sources, by dense index.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The instruments, by dense index.
    #[must_use]
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// The dense index of a source's persistent id.
    #[must_use]
    pub fn source(&self, id: u32) -> Option<usize> {
        lookup(&self.source_index, id)
    }

    /// The dense index of an instrument's persistent id.
    #[must_use]
    pub fn instrument(&self, id: u32) -> Option<usize> {
        lookup(&self.instrument_index, id)
    }

    /// Both dense indices of a record's head.
    #[must_use]
    #[inline]
    pub fn pair(&self, head: &tickwire_schemas::record::Head) -> Option<Pair> {
        Some((self.source(head.source_id)?, self.instrument(head.instrument_id)?))
    }

    /// Both dense indices of an input that is of one source and instrument: a tick, a trade, a repair.
    #[must_use]
    #[inline]
    pub fn pair_of(&self, input: InputRef<'_>) -> Option<Pair> {
        match input {
            InputRef::Tick(tick) => self.pair(&tick.head),
            InputRef::Trade(trade) => self.pair(&trade.head),
            InputRef::Repair(repair) => self.pair(&repair.head),
            InputRef::Timer(_) | InputRef::SourceState(_) | InputRef::Drop(_) => None,
        }
    }

    /// Whether the source's prices are common property.
    #[must_use]
    pub fn is_global(&self, source: usize) -> bool {
        self.sources[source].scope == Scope::Global
    }

    /// The class of an instrument.
    #[must_use]
    pub fn class(&self, instrument: usize) -> Class {
        self.instruments[instrument].class
    }

    /// The dense source indices by persistent id.
    #[must_use]
    pub fn source_table(&self) -> Arc<[u16]> {
        Arc::clone(&self.source_index)
    }
}

fn index(ids: impl Iterator<Item = u32> + Clone) -> Arc<[u16]> {
    let mut table = vec![UNKNOWN; ids.clone().max().map_or(0, |max| max as usize + 1)];
    for (dense, id) in ids.enumerate() {
        table[id as usize] = dense as u16;
    }
    table.into()
}

#[inline]
fn lookup(table: &[u16], id: u32) -> Option<usize> {
    table.get(id as usize).filter(|dense| **dense != UNKNOWN).map(|dense| usize::from(*dense))
}

/// One cell for each pair of source and instrument.
#[derive(Debug)]
pub struct PerPair<T> {
    cells: Vec<T>,
    instruments: usize,
}

impl<T: Default> PerPair<T> {
    /// With every cell at its default.
    #[must_use]
    pub fn new(market: &Market) -> PerPair<T> {
        let instruments = market.instruments().len();
        let count = market.sources().len() * instruments;
        PerPair { cells: std::iter::repeat_with(T::default).take(count).collect(), instruments }
    }

    /// The cell of a pair.
    #[inline]
    pub fn at(&mut self, (source, instrument): Pair) -> &mut T {
        &mut self.cells[source * self.instruments + instrument]
    }

    /// The cell of a pair, to read.
    #[must_use]
    #[inline]
    pub fn get(&self, (source, instrument): Pair) -> &T {
        &self.cells[source * self.instruments + instrument]
    }

    /// Takes the cells of a table over the same sources and instruments, of which this one may have more.
    pub fn take_over(&mut self, smaller: &mut PerPair<T>) {
        let instruments = smaller.instruments;
        for (at, cell) in smaller.cells.iter_mut().enumerate() {
            *self.at((at / instruments, at % instruments)) = std::mem::take(cell);
        }
    }

    /// Every pair with its cell, by source, then instrument.
    pub fn iter(&self) -> impl Iterator<Item = (Pair, &T)> {
        let instruments = self.instruments;
        self.cells.iter().enumerate().map(move |(at, cell)| ((at / instruments, at % instruments), cell))
    }

    /// The cells of one source, by instrument.
    pub fn row(&mut self, source: usize) -> &mut [T] {
        &mut self.cells[source * self.instruments..(source + 1) * self.instruments]
    }
}

impl<T: Default + Clone + serde::Serialize + serde::de::DeserializeOwned> PerPair<T> {
    /// Appends the cells for which `keep` holds, keyed by persistent ids.
    pub fn save(&self, market: &Market, keep: impl Fn(&T) -> bool, out: &mut Vec<u8>) {
        let cells: Vec<(u32, u32, &T)> = self
            .iter()
            .filter(|(_, cell)| keep(cell))
            .map(|((s, i), cell)| (market.sources()[s].id.0, market.instruments()[i].id.0, cell))
            .collect();
        super::group::save_value(&cells, out);
    }

    /// Takes up what [`PerPair::save`] wrote; pairs that this run does not have are left out.
    ///
    /// # Errors
    /// When the bytes are not such cells.
    pub fn load(&mut self, market: &Market, bytes: &[u8]) -> Result<(), super::StateError> {
        let cells: Vec<(u32, u32, T)> = super::group::load_value(bytes)?;
        for (source, instrument, cell) in cells {
            if let (Some(s), Some(i)) = (market.source(source), market.instrument(instrument)) {
                *self.at((s, i)) = cell;
            }
        }
        Ok(())
    }
}
