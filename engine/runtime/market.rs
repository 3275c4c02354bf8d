//! The state directory, and the market with its persistent ids.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Settings;
use crate::control::{Catalogue, ControlError, InstrumentSpec};
use crate::feeds::SourceSpec;
use crate::journal;
use crate::market::{IndicatorId, IndicatorName, Instrument, InstrumentId, Source, SourceId, VolumeOf};
use crate::stages::Market;

/// A state directory that this process alone uses, until it is dropped.
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if it is not there, and locks it.
    ///
    /// # Errors
    /// One sentence when it cannot be made, or another engine uses it.
    pub fn lock(path: &Path) -> Result<StateDir, String> {
        let failed = |error: std::io::Error| format!("state directory {}: {error}", path.display());
        std::fs::create_dir_all(path).map_err(failed)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(path.join("engine.lock")).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("state directory {}: another engine is using it", path.display()))?;
        Ok(StateDir { path: path.to_path_buf(), _lock: lock })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Gives every configured source, instrument and indicator its id. They stand in the order of their ids, as they do in a
/// run that begins with some and gets the others later.
///
/// # Errors
/// [`ControlError`] when the catalogue cannot be read or written.
pub fn open_market(settings: &Settings, catalogue: &mut Catalogue) -> Result<Market, ControlError> {
    let (sources, instruments) = entries(&settings.sources, &settings.instruments, catalogue)?;
    let market = Market::new(sources, instruments).with_holidays(settings.holidays.clone());
    Ok(market.with_indicators(indicators_of(settings, catalogue)?))
}

/// Sources and instruments with their ids, in the order of these.
pub(super) fn entries<'a>(
    specs: impl IntoIterator<Item = &'a SourceSpec>,
    instrument_specs: impl IntoIterator<Item = (&'a String, &'a InstrumentSpec)>,
    catalogue: &mut Catalogue,
) -> Result<(Vec<Source>, Vec<Instrument>), ControlError> {
    let mut sources = Vec::new();
    for spec in specs {
        sources.push(Source {
            id: SourceId(catalogue.source_id(&spec.name)?),
            name: spec.name.clone(),
            scope: spec.scope,
            owner: spec.owner.clone(),
            priority: spec.priority,
            volume: VolumeOf::default(),
            stores_ticks: spec.stores_ticks,
        });
    }
    let mut instruments = Vec::new();
    for (symbol, spec) in instrument_specs {
        instruments.push(Instrument {
            id: InstrumentId(catalogue.instrument_id(symbol)?),
            symbol: symbol.clone(),
            class: spec.class,
            digits: spec.digits,
            pip: spec.pip,
        });
    }
    sources.sort_by_key(|source| source.id.0);
    instruments.sort_by_key(|instrument| instrument.id.0);
    Ok((sources, instruments))
}

fn indicators_of(settings: &Settings, catalogue: &mut Catalogue) -> Result<Vec<IndicatorName>, ControlError> {
    let named = settings.indicators.iter();
    named.map(|name| Ok(IndicatorName { id: IndicatorId(catalogue.indicator_id(name)?), name: name.clone() })).collect()
}

/// Gives every source and instrument of a recording its id in this state directory, in the place of the recording's.
///
/// # Errors
/// [`ControlError`] when the catalogue cannot be read or written.
pub fn adopt_market(recorded: &Market, settings: &Settings, catalogue: &mut Catalogue) -> Result<Market, ControlError> {
    let (mut sources, mut instruments) = (recorded.sources().to_vec(), recorded.instruments().to_vec());
    for source in &mut sources {
        source.id = SourceId(catalogue.source_id(&source.name)?);
    }
    for instrument in &mut instruments {
        instrument.id = InstrumentId(catalogue.instrument_id(&instrument.symbol)?);
    }
    let market = Market::new(sources, instruments).with_holidays(settings.holidays.clone());
    Ok(market.with_indicators(indicators_of(settings, catalogue)?))
}

/// The market that a journal was written for, in the order that decided ties. Indicators that are configured since have
/// ids behind those that it knows.
#[must_use]
pub fn journaled_market(journaled: &journal::Catalogue, settings: &Settings) -> Market {
    let journal::Catalogue { sources, instruments, indicators, .. } = journaled;
    let mut indicators = indicators.clone();
    for name in &settings.indicators {
        if !indicators.iter().any(|known| known.name == *name) {
            let id = IndicatorId(indicators.iter().map(|known| known.id.0).max().unwrap_or(0) + 1);
            indicators.push(IndicatorName { id, name: name.clone() });
        }
    }
    let market = Market::new(sources.clone(), instruments.clone()).with_holidays(settings.holidays.clone());
    market.with_indicators(indicators)
}
