//! Where the inputs of a running engine come from: broker connections, or a recording that is served.

use std::path::Path;
use std::sync::Arc;

use crossbeam::channel::Sender;
use tickwire_schemas::NO_TIME;
use tickwire_schemas::record::Drop as DropRecord;
use tickwire_schemas::words::{Cause, SourceStatus};
use tokio::sync::watch;

use super::Settings;
use super::assemble::RunError;
use super::market::{adopt_market, open_market};
use super::serve::{Ended, Playback, PlaybackHandle};
use crate::control::Catalogue;
use crate::feeds::{self, Feed, FeedStatus, FeedsControl, FeedsHandle, SharedHosts, SourceSpec};
use crate::market::{Class, Input};
use crate::metrics::{self, SOURCES_MAX};
use crate::ring::InletMaker;
use crate::simulator::{self, SimulatorsHandle};
use crate::stages::Market;

/// Where the inputs are to come from.
pub(super) enum Origin {
    /// Broker connections, and the simulators that the settings name.
    Feeds,
    /// A recording; who is told when it has ended.
    Recording(Box<Playback>, Sender<Ended>),
}

impl Origin {
    /// The sources and instruments, under the ids of the state directory.
    pub(super) fn market(&self, settings: &Settings, catalogue: &mut Catalogue) -> Result<Market, RunError> {
        match self {
            Origin::Feeds => Ok(open_market(settings, catalogue)?),
            Origin::Recording(playback, _) => {
                let count = playback.market().sources().len();
                if count > SOURCES_MAX {
                    let problem = format!("the recording has {count} sources, expected at most {SOURCES_MAX}");
                    return Err(RunError::Other(problem));
                }
                Ok(adopt_market(playback.market(), settings, catalogue)?)
            }
        }
    }

    /// The pairs of source and instrument that are subscribed; a recording does not say them before.
    pub(super) fn wanted(&self, settings: &Settings, market: &Market) -> Vec<(usize, usize)> {
        match self {
            Origin::Feeds => wanted(&settings.sources, market),
            Origin::Recording(..) => Vec::new(),
        }
    }

    /// A recording cannot go on where a journal has later times already: to the stages all of it would be too late.
    pub(super) fn check_follows(&self, last_recv_ns: i64, state_dir: &Path) -> Result<(), RunError> {
        match self {
            Origin::Recording(playback, _) if last_recv_ns != NO_TIME && last_recv_ns >= playback.begins_ns() => {
                let text = |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default();
                Err(RunError::Other(format!(
                    "state directory {}: its journal goes to {}, and the recording begins at {}; expected a state \
                     directory of its own (--state-dir)",
                    state_dir.display(),
                    text(last_recv_ns),
                    text(playback.begins_ns()),
                )))
            }
            _ => Ok(()),
        }
    }

    /// How many threads will offer inputs.
    pub(super) fn threads(&self, settings: &Settings) -> usize {
        match self {
            Origin::Feeds => settings.ingest.thread_count(),
            Origin::Recording(..) => 1,
        }
    }

    /// Interval of the Timer inputs, milliseconds.
    pub(super) fn timer_ms(&self, settings: &Settings) -> u64 {
        match self {
            Origin::Feeds => settings.ingest.timer_ms,
            Origin::Recording(playback, _) => playback.timer_ms(),
        }
    }

    /// Lets them come.
    pub(super) fn start(
        self,
        settings: &mut Settings,
        market: &Market,
        inlets: Vec<InletMaker>,
    ) -> Result<Inputs, RunError> {
        match self {
            Origin::Feeds => {
                let simulators = std::mem::take(&mut settings.simulators);
                let simulators = if simulators.is_empty() { None } else { Some(simulator::start(simulators)?) };
                let (stop, stopped) = watch::channel(false);
                let feeds = feeds::start(feeds_of(settings, market)?, &settings.ingest, inlets, stopped)?;
                Ok(Inputs::Feeds { simulators, stop, feeds })
            }
            Origin::Recording(playback, tell) => {
                // Most recordings say nothing of connections: their sources are there until they say otherwise.
                (0..market.sources().len())
                    .for_each(|source| metrics::STATUS.at(source).set(i64::from(SourceStatus::Live.code())));
                let every_ms = settings.ingest.snapshot_every_ms;
                let inlet = inlets.into_iter().next().ok_or_else(|| RunError::Other("no inlet to play into".into()))?;
                let playing = playback.play(market, inlet, every_ms, tell);
                Ok(Inputs::Recording(playing.map_err(|e| RunError::Other(format!("a thread for the replay: {e}")))?))
            }
        }
    }
}

/// The pairs of source and instrument that these sources subscribe.
pub(super) fn wanted<'a>(specs: impl IntoIterator<Item = &'a SourceSpec>, market: &Market) -> Vec<(usize, usize)> {
    let place = |symbol: &str| market.instruments().iter().position(|instrument| instrument.symbol == symbol);
    let of_source = |spec: &SourceSpec| {
        let source = market.sources().iter().position(|source| source.name == spec.name);
        let instruments = spec.symbols.iter().filter_map(|symbol| place(&symbol.canonical));
        instruments.filter_map(|instrument| Some((source?, instrument))).collect::<Vec<_>>()
    };
    specs.into_iter().flat_map(of_source).collect()
}

/// Where the inputs come from.
pub(super) enum Inputs {
    Feeds { simulators: Option<SimulatorsHandle>, stop: watch::Sender<bool>, feeds: FeedsHandle },
    Recording(PlaybackHandle),
}

/// How the connections of a source, by its dense index, are.
type FeedOf = Box<dyn Fn(usize) -> Option<Arc<FeedStatus>> + Send + Sync>;

impl Inputs {
    /// The simulated brokers, if any run.
    pub(super) fn simulators(&self) -> Option<&SimulatorsHandle> {
        match self {
            Inputs::Feeds { simulators, .. } => simulators.as_ref(),
            Inputs::Recording(_) => None,
        }
    }

    /// How the connections of a source are; a recording has none.
    pub(super) fn feed(&self) -> FeedOf {
        match self {
            Inputs::Feeds { feeds, .. } => {
                let statuses = feeds.control().statuses().clone();
                Box::new(move |source| statuses.at(source))
            }
            Inputs::Recording(_) => Box::new(|_| None),
        }
    }

    /// Adds, changes and removes sources; a recording has none to change.
    pub(super) fn control(&self) -> Option<FeedsControl> {
        match self {
            Inputs::Feeds { feeds, .. } => Some(feeds.control()),
            Inputs::Recording(_) => None,
        }
    }

    /// The buckets of requests by host that the sessions take from; a recording asks nobody.
    pub(super) fn hosts(&self) -> Option<SharedHosts> {
        match self {
            Inputs::Feeds { feeds, .. } => Some(feeds.hosts()),
            Inputs::Recording(_) => None,
        }
    }

    /// Nothing comes any more when this returns. The simulators, if any run, are left to be stopped.
    pub(super) fn stop(self) -> Option<SimulatorsHandle> {
        match self {
            Inputs::Feeds { simulators, stop, feeds } => {
                stop.send_replace(true);
                feeds.join();
                simulators
            }
            Inputs::Recording(playing) => {
                playing.stop();
                None
            }
        }
    }
}

/// Before the first input of a run, says since when nothing was received.
pub(super) fn announce_restart(mut inlets: Vec<InletMaker>, last_recv_ns: i64, started_ns: i64) -> Vec<InletMaker> {
    if last_recv_ns == NO_TIME || inlets.is_empty() {
        return inlets;
    }
    let first = inlets.remove(0);
    let hole = DropRecord {
        from_ns: last_recv_ns,
        to_ns: started_ns,
        count: tickwire_schemas::NO_NUMBER,
        cause: Cause::Restart.code(),
        ..DropRecord::default()
    };
    inlets.insert(
        0,
        Box::new(move || {
            let inlet = first();
            inlet.offer(&Input::Drop(hole));
            inlet
        }),
    );
    inlets
}

pub(super) fn feeds_of(settings: &Settings, market: &Market) -> Result<Vec<Feed>, RunError> {
    let mut feeds = Vec::new();
    // In the order of the market: the feeds' dense indices are its.
    for source in market.sources() {
        if let Some(spec) = settings.sources.iter().find(|spec| spec.name == source.name) {
            feeds.push(feed_of(spec, market)?);
        }
    }
    Ok(feeds)
}

/// A source of the market as the feeds take it.
pub(super) fn feed_of(spec: &SourceSpec, market: &Market) -> Result<Feed, RunError> {
    let at = market.sources().iter().position(|source| source.name == spec.name);
    let (index, source) = at.map(|at| (at, market.sources()[at].id)).ok_or_else(|| {
        // The market is made of the same settings.
        RunError::Other(format!("sources.{}: is not in the market", spec.name))
    })?;
    // The settings checked that every symbol is an instrument.
    let of = |symbol: &str| market.instruments().iter().find(|i| i.symbol == symbol);
    let instruments: Vec<_> = spec.symbols.iter().filter_map(|symbol| of(&symbol.canonical)).collect();
    let mut spec = spec.clone();
    let classes: Vec<_> = Class::ALL.iter().filter(|class| instruments.iter().any(|i| i.class == **class)).collect();
    for class in &classes {
        spec.calendars.push(market.calendar(**class).map_err(RunError::Other)?);
    }
    let calendar = |class| classes.iter().position(|of| **of == class);
    spec.symbol_calendars = instruments.iter().filter_map(|i| calendar(i.class)).collect();
    let instruments = instruments.into_iter().map(|i| i.id).collect();
    Ok(Feed { spec, source, index, instruments })
}
