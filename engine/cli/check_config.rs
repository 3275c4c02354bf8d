//! `tickwire check-config`

use std::process::ExitCode;

use super::{Common, Failure, say};
use crate::market::{IndicatorName, Instrument, InstrumentId, Source, SourceId, VolumeOf};
use crate::stages::Market;

/// Parses every section, builds the stages for the configured market, and prints the effective configuration.
pub(super) fn run(common: &Common) -> Result<ExitCode, Failure> {
    let settings = common.settings()?;
    // Numbers of its own: checking a configuration gives no ids.
    let sources = settings.sources.iter().zip(1..).map(|(spec, id)| Source {
        id: SourceId(id),
        name: spec.name.clone(),
        scope: spec.scope,
        owner: spec.owner.clone(),
        priority: spec.priority,
        volume: VolumeOf::default(),
        stores_ticks: spec.stores_ticks,
    });
    let instruments = settings.instruments.iter().zip(1..).map(|((symbol, spec), id)| Instrument {
        id: InstrumentId(id),
        symbol: symbol.clone(),
        class: spec.class,
        digits: spec.digits,
        pip: spec.pip,
    });
    let market = Market::new(sources.collect(), instruments.collect())
        .with_holidays(settings.holidays.clone())
        .with_indicators(IndicatorName::numbered(&settings.indicators));
    settings.layout.build(&settings.config, &market).map_err(Failure::usage)?;
    say(settings.config.masked())?;
    Ok(ExitCode::SUCCESS)
}
