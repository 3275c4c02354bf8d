//! Whether a request fits the configuration, and what it comes to.

use std::collections::BTreeMap;

use tickwire_schemas::words::Timeframe;

use super::missing::HOUR_NS;
use super::work::{Bars, Ticks, Work};
use super::{Backfill, BackfillError, BackfillRequest, Wanted};
use crate::clock;
use crate::control::InstrumentSpec;
use crate::feeds::SourceSpec;
use crate::market::{Calendar, Holidays, Instrument, InstrumentId};
use crate::runtime::Settings;

/// Names to choose from.
fn known(names: Vec<&str>) -> String {
    if names.is_empty() { "there is none".into() } else { format!("expected one of {}", names.join(", ")) }
}

fn wrong<T>(text: String) -> Result<T, BackfillError> {
    Err(BackfillError::Request(text))
}

/// What a request is held against.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Known<'a> {
    pub(in crate::runtime) sources: &'a [SourceSpec],
    pub(in crate::runtime) instruments: &'a BTreeMap<String, InstrumentSpec>,
    pub(in crate::runtime) holidays: &'a Holidays,
    /// Name of the database for global rows.
    pub(in crate::runtime) database: &'a str,
}

impl<'a> Backfill<'a> {
    /// Checks a request; touches neither network nor database.
    ///
    /// # Errors
    /// [`BackfillError::Request`].
    pub fn new(settings: &'a Settings, request: BackfillRequest) -> Result<Backfill<'a>, BackfillError> {
        let Settings { sources, instruments, holidays, .. } = settings;
        Self::of(Known { sources, instruments, holidays, database: settings.storage.database.as_str() }, request)
    }

    /// The same against what is in effect.
    pub(in crate::runtime) fn of(settings: Known<'a>, request: BackfillRequest) -> Result<Backfill<'a>, BackfillError> {
        let BackfillRequest { connection, symbol, wanted, from_ns, to_ns } = &request;
        let Some(source) = settings.sources.iter().find(|source| source.name == *connection) else {
            let names = known(settings.sources.iter().map(|source| source.name.as_str()).collect());
            return wrong(format!("--connection: no source is named \"{connection}\", {names}"));
        };
        let Some(venue_symbol) = source.symbols.iter().find(|spec| spec.canonical == *symbol) else {
            let names = known(source.symbols.iter().map(|spec| spec.canonical.as_str()).collect());
            return wrong(format!("--symbol: sources.{connection} has no \"{symbol}\", {names}"));
        };
        let work = work(source, &venue_symbol.venue, wanted)?;
        if from_ns >= to_ns {
            return wrong("--from: is not before --to, expected an earlier time".into());
        }
        source.venue.check().map_err(|e| BackfillError::Request(format!("sources.{connection}.{e}")))?;
        let Some(spec) = settings.instruments.get(symbol) else {
            return wrong(format!("--symbol: {symbol} is no instrument, expected a section [instruments.{symbol}]"));
        };
        let mut calendar = Calendar::new(spec.class, settings.holidays).map_err(BackfillError::Request)?;
        let now_ns = clock::now_ns();
        let (forming_ns, what) = match &work {
            Work::Bars(bars) => (
                calendar.interval(bars.timeframe, now_ns).map_or(now_ns, |span| span.from_ns),
                "no bar from then on has ended yet",
            ),
            // A venue may be some minutes behind with its past.
            Work::Ticks(_) => (now_ns - now_ns.rem_euclid(HOUR_NS), "it is not yet past"),
        };
        if *from_ns >= forming_ns {
            return wrong(format!("--from: {what}, expected an earlier time"));
        }
        let instrument = Instrument {
            id: InstrumentId(0),
            symbol: symbol.clone(),
            class: spec.class,
            digits: spec.digits,
            pip: spec.pip,
        };
        let until_ns = (*to_ns).min(forming_ns);
        Ok(Backfill { source, work, instrument, calendar, database: settings.database, until_ns, request })
    }
}

fn work<'a>(source: &'a SourceSpec, venue_symbol: &'a str, wanted: &Wanted) -> Result<Work<'a>, BackfillError> {
    let (connection, adapter) = (&source.name, source.venue.name());
    match wanted {
        Wanted::Bars(timeframe) => {
            let Some(history) = source.venue.any_history() else {
                return wrong(format!("--connection: {connection} has no past bars (adapter {adapter})"));
            };
            let has = |timeframe: &Timeframe| history.has(*timeframe);
            let Some(timeframe) = Timeframe::from_word(timeframe).filter(has) else {
                let names = known(Timeframe::ALL.iter().filter(|t| has(t)).map(|t| t.word()).collect());
                return wrong(format!("--timeframe: {connection} has no bars of \"{timeframe}\", {names}"));
            };
            Ok(Work::Bars(Bars { history, venue_symbol, timeframe }))
        }
        Wanted::Ticks => match source.venue.any_tick_history() {
            Some(history) => Ok(Work::Ticks(Ticks { history, venue_symbol })),
            None => wrong(format!("--ticks: {connection} has no past ticks (adapter {adapter}), expected --timeframe")),
        },
    }
}
