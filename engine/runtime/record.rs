//! Recording: what the sources say, into one file. The feeds run as in the engine; no stage looks at what they say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use tickwire_schemas::words::Kind;
use tokio::sync::watch;

use super::inputs::feeds_of;
use super::{RunError, Settings, open_market};
use crate::control::Catalogue;
use crate::journal::{self, Clock, JournalError, Recording};
use crate::market::Input;
use crate::ring::{Doorbell, Drained, GroupInput, Idle, InSlot, Mark, Pace, Poll, build_inbound};
use crate::stages::{Group, Identity, Market, Recorder};
use crate::{clock, feeds, metrics, simulator};

/// Inputs taken off the ring before their slots are given back.
const BATCH: usize = 256;

/// How often the file is synced: what a loss of power may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What a recording holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Inputs by source and kind; those of no source, such as timers, under an empty name.
    pub inputs: BTreeMap<(String, Kind), u64>,
    /// Inputs that found no room in the ring.
    pub dropped: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Records into the new file `output` until `stop` says something or `limit` has passed, then until the sources are
/// disconnected. Ids are the recording's own, from 1; no state directory is needed.
///
/// # Errors
/// [`RunError`]: when there is such a file, a write fails, or the feeds or simulators cannot be started.
pub fn record(
    mut settings: Settings,
    output: &Path,
    limit: Option<Duration>,
    stop: &Receiver<()>,
) -> Result<Recorded, RunError> {
    let mut catalogue = Catalogue::in_memory()?;
    let market = open_market(&settings, &mut catalogue)?;
    let (engine_id, _) = catalogue.begin_epoch(1)?;
    // There are no stages whose state could be asked for.
    settings.ingest.snapshot_every_ms = 0;
    let clock = Clock { started_ns: clock::now_ns(), timer_ms: settings.ingest.timer_ms };
    let recording = Recording::create(
        output,
        journal::Catalogue {
            engine_id: engine_id.to_string(),
            sources: market.sources().to_vec(),
            instruments: market.instruments().to_vec(),
            // They are computed by the replay, as its configuration says.
            indicators: Vec::new(),
            clock: Some(clock),
        },
    )?;
    metrics::name_sources(market.sources().iter().map(|s| s.name.clone()).collect());
    let dropped_before = dropped(&market);

    let inbound = build_inbound(
        settings.inbound_slots,
        settings.ingest.thread_count(),
        1,
        market.sources().iter().map(|s| s.id.0).collect(),
        market.source_table(),
    );
    let (stop_feeds, stopped) = watch::channel(false);
    let start = || -> Result<_, RunError> {
        let simulators = std::mem::take(&mut settings.simulators);
        let simulators = if simulators.is_empty() { None } else { Some(simulator::start(simulators)?) };
        Ok((simulators, feeds::start(feeds_of(&settings, &market)?, &settings.ingest, inbound.inlets, stopped)?))
    };
    let (simulators, feeds) = start().inspect_err(|_| {
        // Nothing is in it, and it would be in the way of the next attempt.
        let _ = std::fs::remove_file(output);
    })?;

    let began = Instant::now();
    let until = limit.map(|limit| began + limit);
    let is_over = || stop.try_recv().is_ok() || until.is_some_and(|until| Instant::now() >= until);
    let mut writer = Writer::new(recording, &market);
    for (input, bell) in inbound.groups {
        writer.drain(input, &bell, is_over, || stop_feeds.send_modify(|stop| *stop = true));
    }
    feeds.join();
    if let Some(simulators) = simulators {
        simulators.stop();
    }
    let (counts, bytes) = writer.finish()?;
    let name = |index: usize| market.sources().get(index).map_or_else(String::new, |source| source.name.clone());
    let inputs = counts.into_iter().map(|((index, kind), count)| ((name(index), kind), count)).collect();
    Ok(Recorded { inputs, dropped: dropped(&market) - dropped_before, bytes, took: began.elapsed() })
}

fn dropped(market: &Market) -> u64 {
    (0..market.sources().len()).map(|index| metrics::INPUTS_DROPPED.at(index, 0).get()).sum()
}

/// Inputs by dense index of the source (for none, one behind the last) and kind.
type Counts = BTreeMap<(usize, Kind), u64>;

/// From the ring into the file.
struct Writer<'a> {
    recording: Recording,
    market: &'a Market,
    group: Group,
    identity: Identity,
    record: Recorder,
    counts: Counts,
    failed: Option<JournalError>,
    sync_at: Instant,
}

impl<'a> Writer<'a> {
    fn new(recording: Recording, market: &'a Market) -> Writer<'a> {
        Writer {
            recording,
            market,
            group: Group::of_no_stages(market),
            identity: Identity::new(1, market),
            record: Recorder::default(),
            counts: Counts::new(),
            failed: None,
            sync_at: Instant::now() + SYNC_EVERY,
        }
    }

    /// Takes everything off the ring until the feeds have ended, which `stop` tells them to when it `is_over`.
    fn drain(&mut self, mut input: GroupInput, bell: &Doorbell, is_over: impl Fn() -> bool, stop: impl Fn()) {
        let mut pace = Pace::new(Idle::SpinThenPark);
        loop {
            match input.poll_some(BATCH, &mut |slot: &InSlot| self.write(slot.input())) {
                Drained::Records(_) => pace.busy(),
                Drained::Empty => pace.idle(bell, || input.has_events()),
                Drained::Shutdown => return,
            }
            if self.failed.is_none() && Instant::now() >= self.sync_at {
                self.failed = self.recording.sync().err();
                self.sync_at = Instant::now() + SYNC_EVERY;
            }
            // A disk that takes no more ends the recording; what still comes is taken off the ring and lost.
            if self.failed.is_some() || is_over() {
                stop();
            }
        }
    }

    fn write(&mut self, input: &Input) {
        if self.failed.is_some() {
            return;
        }
        self.group.run(input, Mark::NEW, &mut self.identity, &mut self.record, clock::now_ns());
        for (kind, bytes) in self.record.records.drain(..) {
            if let Err(error) = self.recording.append(kind, &bytes) {
                self.failed = Some(error);
                return;
            }
            let source_id = tickwire_schemas::record::read_head(kind, &bytes).map_or(0, |head| head.source_id);
            let source = self.market.source(source_id).unwrap_or(self.market.sources().len());
            *self.counts.entry((source, kind)).or_default() += 1;
        }
    }

    /// Puts the last on the disk; the counts, and the bytes of the file.
    fn finish(mut self) -> Result<(Counts, u64), JournalError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.recording.sync().map(|()| (self.counts, self.recording.bytes())),
        }
    }
}
