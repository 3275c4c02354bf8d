//! Instruments, sources and indicators by id, with dense indices of the first two for the bit sets of subscriptions.

use std::collections::HashMap;

use tickwire_schemas::control::{self, IndicatorEntry, InstrumentEntry, SourceEntry};
use tickwire_schemas::{INSTRUMENT_ALL, SOURCE_BEST};

use crate::market::{IndicatorName, Instrument, Scope, Source};

use super::access::Grant;

/// Name of the common price among the sources.
pub const BEST: &str = "best";

/// Dense index of "every instrument" and of the common price.
pub const ALL: u32 = 0;

/// Dense index of an id that is in no catalogue; no subscription holds it.
pub const UNKNOWN: u32 = u32::MAX;

/// What there is. Index 0 of instruments and sources stands for all instruments and for the common price; entry `n` has
/// index `n + 1`.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    instruments: Vec<Instrument>,
    sources: Vec<Source>,
    indicators: Vec<IndicatorName>,
    instrument_index: HashMap<u32, u32>,
    source_index: HashMap<u32, u32>,
}

impl Catalogue {
    /// A catalogue of these instruments and sources.
    #[must_use]
    pub fn new(instruments: Vec<Instrument>, sources: Vec<Source>) -> Self {
        let dense = |ids: Vec<u32>| ids.into_iter().zip(1..).collect::<HashMap<u32, u32>>();
        let instrument_index = dense(instruments.iter().map(|i| i.id.0).collect());
        let source_index = dense(sources.iter().map(|s| s.id.0).collect());
        Catalogue { instruments, sources, indicators: Vec::new(), instrument_index, source_index }
    }

    /// The same with the indicators that are computed.
    #[must_use]
    pub fn with_indicators(self, indicators: Vec<IndicatorName>) -> Self {
        Catalogue { indicators, ..self }
    }

    /// Dense index of an instrument's id.
    #[must_use]
    pub fn instrument_index(&self, id: u32) -> u32 {
        if id == INSTRUMENT_ALL { ALL } else { self.instrument_index.get(&id).copied().unwrap_or(UNKNOWN) }
    }

    /// Dense index of a source's id.
    #[must_use]
    pub fn source_index(&self, id: u32) -> u32 {
        if id == SOURCE_BEST { ALL } else { self.source_index.get(&id).copied().unwrap_or(UNKNOWN) }
    }

    /// Every instrument with its dense index.
    pub fn instruments(&self) -> impl Iterator<Item = (u32, &Instrument)> {
        (1..).zip(&self.instruments)
    }

    /// Every source that `grant` may see, with its dense index, and the common price if it may see that.
    pub fn visible_sources<'a>(&'a self, grant: &'a Grant) -> impl Iterator<Item = (u32, &'a str)> {
        let best = grant.sources.is_match(BEST).then_some((ALL, BEST));
        let rest =
            (1..).zip(&self.sources).filter(|(_, s)| may_see(grant, s)).map(|(index, s)| (index, s.name.as_str()));
        best.into_iter().chain(rest)
    }

    /// The catalogue as the terminal with this grant sees it: nobody else's private source, not even by name.
    #[must_use]
    pub fn for_terminal(&self, grant: &Grant) -> control::Catalogue {
        let instruments = self.instruments.iter().filter(|i| grant.symbols.is_match(&i.symbol));
        let instruments = instruments.map(|i| InstrumentEntry {
            id: i.id.0,
            symbol: i.symbol.clone(),
            class: i.class.word().into(),
            digits: i.digits,
            pip_e9: i.pip.e9(),
        });
        let sources = self.sources.iter().filter(|s| may_see(grant, s)).map(|s| SourceEntry {
            id: s.id.0,
            name: s.name.clone(),
            scope: if s.scope == Scope::Private { "private" } else { "global" }.into(),
        });
        let indicators = self.indicators.iter().map(|i| IndicatorEntry { id: i.id.0, name: i.name.clone() });
        control::Catalogue {
            instruments: instruments.collect(),
            sources: sources.collect(),
            indicators: indicators.collect(),
        }
    }
}

/// A private source belongs to its owner alone, whatever globs a token holds; without an owner it is nobody's.
fn may_see(grant: &Grant, source: &Source) -> bool {
    let own = source.scope == Scope::Private && !source.owner.is_empty() && source.owner == grant.user;
    (source.scope == Scope::Global || own) && ((own && grant.all_own) || grant.sources.is_match(&source.name))
}
