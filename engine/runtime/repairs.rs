//! The thread that mends holes, from the settings.

use std::path::Path;

use serde::Deserialize;
use tickwire_schemas::words::Timeframe;

use super::Settings;
use super::assemble::RunError;
use super::inputs::Inputs;
use crate::feeds::SourceSpec;
use crate::feeds::adapters::TickHistory;
use crate::journal::{Catalogue, JournalHandle};
use crate::market::{Class, Source};
use crate::repair::{self, Asked, Past, RepairSources, Repairer, Store, Symbol, Venue};
use crate::stages::Market;
use crate::storage::names::Names;

/// Of the section `[bars]`, whose other keys are the stage's.
#[derive(Deserialize)]
struct Published {
    timeframes: Vec<Timeframe>,
}

/// Starts it; none when it is switched off, or the inputs are a recording's: what was missed then is not ours to mend.
pub(super) fn start(
    settings: &Settings,
    market: &Market,
    inputs: &Inputs,
    journal: &JournalHandle,
    state_dir: &Path,
    epoch: u32,
    store: Option<Store>,
) -> Result<Option<(Repairer, Repairs)>, RunError> {
    let Inputs::Feeds { feeds, .. } = inputs else { return Ok(None) };
    if !settings.repair.enabled {
        return Ok(None);
    }
    let published: Published = settings.config.section("bars").map_err(|e| RunError::Other(e.to_string()))?;
    let calendars: Result<Vec<_>, String> = Class::ALL.iter().map(|class| market.calendar(*class)).collect();
    let published = What { timeframes: published.timeframes, ticks: store.is_some() };
    let setup = repair::Setup {
        config: settings.repair.clone(),
        sources: all_asked(&settings.sources, market, &published),
        calendars: calendars.map_err(RunError::Other)?,
        journal_dir: journal.dir().to_path_buf(),
        durable: journal.durable(),
        epoch,
        state_file: state_dir.join("repair.json"),
        hosts: feeds.hosts(),
        late: feeds.late(),
        store,
    };
    let repairer = repair::start(setup).map_err(RunError::Other)?;
    let repairs = Repairs { sources: repairer.sources(), published };
    Ok(Some((repairer, repairs)))
}

/// Lets the running thread know of sources that come or change.
pub(super) struct Repairs {
    sources: RepairSources,
    published: What,
}

/// What is mended.
struct What {
    /// Bars of these.
    timeframes: Vec<Timeframe>,
    /// Ticks too: there is a database that they can be stored in.
    ticks: bool,
}

impl Repairs {
    /// Tells of one. When the thread has no time for it its holes stay as they are until the next start, which is told.
    pub(super) fn source(&self, spec: &SourceSpec, market: &Market) {
        let Some(source) = market.sources().iter().find(|source| source.name == spec.name) else { return };
        if !self.sources.tell(asked(spec, source.id.0, market, &self.published)) {
            tracing::warn!(source = spec.name, "holes of it are not mended before the next start: repairs are stuck");
        }
    }
}

/// All sources, in the order of the market: the settings have another.
fn all_asked(specs: &[SourceSpec], market: &Market, published: &What) -> Vec<Asked> {
    let spec_of = |name: &str| specs.iter().find(|spec| spec.name == name);
    let of = |source: &Source| Some(asked(spec_of(&source.name)?, source.id.0, market, published));
    market.sources().iter().filter_map(of).collect()
}

/// What is asked of a source: the published timeframes that it has, of its symbols.
fn asked(spec: &SourceSpec, source_id: u32, market: &Market, published: &What) -> Asked {
    let past = spec.venue.any_history().and_then(|history| {
        let has = Timeframe::ALL.iter().filter(|t| published.timeframes.contains(t) && history.has(**t));
        let timeframes: Vec<Timeframe> = has.copied().collect();
        let ticks = spec.venue.any_tick_history().filter(|_| published.ticks && spec.stores_ticks);
        let ticks_span_ns = ticks.map(TickHistory::span_ns);
        (!timeframes.is_empty()).then(|| Past { page: history.page(), timeframes, ticks_span_ns })
    });
    // The settings checked that every symbol is an instrument.
    let symbols = spec.symbols.iter().filter_map(|symbol| {
        let instrument = market.instruments().iter().find(|i| i.symbol == symbol.canonical)?;
        let venue_symbol = symbol.venue.clone();
        Some(Symbol { instrument_id: instrument.id.0, venue_symbol, class: instrument.class })
    });
    let venue = Venue { source_id, past, symbols: symbols.collect() };
    let source = market.sources().iter().find(|source| source.id.0 == source_id);
    let (sources, instruments) = (source.cloned().into_iter().collect(), market.instruments().to_vec());
    let names = Names::new(&Catalogue { sources, instruments, ..Catalogue::default() });
    Asked { name: spec.name.clone(), venue, adapter: spec.venue.clone(), names: names.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;
    use crate::feeds::config::sources;
    use crate::market::{Instrument, InstrumentId, Scope, SourceId, VolumeOf};

    #[test]
    fn each_hole_is_asked_of_its_own_venue_whatever_the_order_of_the_names() {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let keys = "adapter = \"binance\"\nbase_url = \"ws://h\"\nsymbols = [\"BTCUSDT\"]";
        let text = format!("[sources.a]\n{keys}\nrest_url = \"http://h\"\n[sources.z]\n{keys}\n");
        config.overlay(&text, "test").unwrap();
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
            symbol: "BTCUSDT".into(),
            class: Class::Crypto,
            digits: 2,
            pip: "1".parse().unwrap(),
        };
        // The catalogue met `z` first.
        let market = Market::new(vec![source(1, "z"), source(2, "a")], vec![instrument]);
        let asked =
            all_asked(&sources(&config).unwrap(), &market, &What { timeframes: vec![Timeframe::M1], ticks: true });
        let found: Vec<_> =
            asked.iter().map(|a| (a.name.as_str(), a.venue.source_id, a.venue.past.is_some())).collect();
        assert_eq!(found, [("z", 1, false), ("a", 2, true)]);
    }
}
