//! The words for the ids of a journal segment, from the catalogue in its header.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tickwire_schemas::SOURCE_BEST;

use crate::journal::Catalogue;
use crate::market::Scope;

/// Names of sources, instruments and indicators, and who may see a source's rows.
#[derive(Debug, Clone, Default)]
pub struct Names {
    sources: HashMap<u32, (String, Scope)>,
    /// Sources whose ticks are not stored.
    passing: HashSet<u32>,
    symbols: HashMap<u32, String>,
    indicators: HashMap<u32, String>,
}

impl Names {
    /// The names in `catalogue`.
    #[must_use]
    pub fn new(catalogue: &Catalogue) -> Names {
        Names {
            sources: catalogue.sources.iter().map(|s| (s.id.0, (s.name.clone(), s.scope))).collect(),
            passing: catalogue.sources.iter().filter(|s| !s.stores_ticks).map(|s| s.id.0).collect(),
            symbols: catalogue.instruments.iter().map(|i| (i.id.0, i.symbol.clone())).collect(),
            indicators: catalogue.indicators.iter().map(|i| (i.id.0, i.name.clone())).collect(),
        }
    }

    /// The source's name, `best` for the common price; an id without a name is shown as `#id` rather than lost.
    #[must_use]
    pub fn source(&self, id: u32) -> Cow<'_, str> {
        match self.sources.get(&id) {
            Some((name, _)) => Cow::Borrowed(name),
            None if id == SOURCE_BEST => Cow::Borrowed("best"),
            None => Cow::Owned(format!("#{id}")),
        }
    }

    /// The source's name where 0 means nobody or everybody: empty then.
    #[must_use]
    pub fn source_or_empty(&self, id: u32) -> Cow<'_, str> {
        if id == SOURCE_BEST { Cow::Borrowed("") } else { self.source(id) }
    }

    /// The canonical symbol; empty for "all", `#id` for an id without a name.
    #[must_use]
    pub fn symbol(&self, id: u32) -> Cow<'_, str> {
        match self.symbols.get(&id) {
            Some(name) => Cow::Borrowed(name),
            None if id == 0 => Cow::Borrowed(""),
            None => Cow::Owned(format!("#{id}")),
        }
    }

    /// The indicator with its parameters, such as `EMA(20)`; `#id` for an id without a name.
    #[must_use]
    pub fn indicator(&self, id: u32) -> Cow<'_, str> {
        match self.indicators.get(&id) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("#{id}")),
        }
    }

    /// Whether ticks of this source are stored.
    #[must_use]
    pub fn stores_ticks(&self, id: u32) -> bool {
        !self.passing.contains(&id)
    }

    /// Whether rows of this source are one user's. A source that nobody named is: hiding a row can be mended.
    #[must_use]
    pub fn is_private(&self, id: u32) -> bool {
        id != SOURCE_BEST && self.sources.get(&id).is_none_or(|(_, scope)| *scope == Scope::Private)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::{IndicatorId, IndicatorName};

    #[test]
    fn an_indicator_is_named_and_one_without_a_name_is_not_lost() {
        let indicators = vec![IndicatorName { id: IndicatorId(3), name: "MACD(12,26,9)".into() }];
        let names = Names::new(&Catalogue { indicators, ..Catalogue::default() });
        assert_eq!((names.indicator(3), names.indicator(4)), ("MACD(12,26,9)".into(), "#4".into()));
    }
}
