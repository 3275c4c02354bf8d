//! Serving a recording: one thread hands its inputs to the engine in the place of feeds, as fast as it happened or as the
//! stages take them, and moves the clock of the process along.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};

use super::Settings;
use super::replay::BarsTiming;
use crate::clock;
use crate::market::Input;
use crate::replay::{Manifest, Recording, ReplayError};
use crate::ring::{Inlet, InletMaker};
use crate::stages::Market;

/// The longest sleep between two looks whether it is time to stop.
const NAP_MAX: Duration = Duration::from_millis(20);

/// How long to wait for room in the ring: a few hundred inputs are worked off meanwhile.
const ROOM_NAP: Duration = Duration::from_micros(50);

/// What a recording came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Played {
    /// Inputs handed to the stages, the clock's among them.
    pub inputs: u64,
    /// Rows that could not be read and were left out.
    pub malformed: u64,
}

/// How a recording ended.
pub type Ended = Result<Played, ReplayError>;

/// A recording that is ready to be served.
pub struct Playback {
    recording: Recording,
    first: Input,
    speed: Option<f64>,
    timer_ms: u64,
}

impl Playback {
    /// Opens the recordings of a manifest, to be played `speed` times as fast as it happened, or as fast as it goes.
    ///
    /// # Errors
    /// [`ReplayError`] naming what is wrong with the manifest or a file, also when there is no input at all.
    pub fn open(
        settings: &Settings,
        manifest: &Path,
        strict: bool,
        speed: Option<f64>,
    ) -> Result<Playback, ReplayError> {
        let manifest = Manifest::read(manifest)?;
        let timing: BarsTiming = settings.config.section("bars").map_err(|e| ReplayError::Options(e.to_string()))?;
        let mut recording = Recording::open(&manifest, &settings.instruments)?;
        recording.close_after(i64::from(timing.close_delay_ms) * 1_000_000);
        if strict {
            recording.be_strict();
        }
        let first = recording.next()?.ok_or_else(|| {
            ReplayError::Manifest(format!("manifest {}: nothing is in its files", manifest.path.display()))
        })?;
        let timer_ms = (manifest.timer_ns / 1_000_000).unsigned_abs();
        Ok(Playback { recording, first, speed, timer_ms })
    }

    /// The sources and instruments, under the recording's own ids.
    #[must_use]
    pub fn market(&self) -> &Market {
        self.recording.market()
    }

    /// The time of its first input.
    #[must_use]
    pub fn begins_ns(&self) -> i64 {
        self.first.now_ns()
    }

    /// Interval of the clock that is made for recordings without one.
    pub(super) fn timer_ms(&self) -> u64 {
        self.timer_ms
    }

    /// Starts the thread; `market` is [`Playback::market`] with the ids that the stages know.
    pub(super) fn play(
        self,
        market: &Market,
        inlet: InletMaker,
        snapshot_every_ms: u64,
        tell: Sender<Ended>,
    ) -> std::io::Result<PlaybackHandle> {
        let (stop, stopped) = bounded(0);
        let ids = Ids::new(self.market(), market);
        let every_ns = i64::try_from(snapshot_every_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let play = move || {
            let inlet = inlet();
            let mut player = Player { inlet: &*inlet, ids, stopped, every_ns, snapshot_ns: 0, begun_ns: 0 };
            let ended = player.run(self);
            // Nobody need listen.
            let _ = tell.send(ended);
            // While the inlet is there the engine goes on.
            let _ = player.stopped.recv();
        };
        let thread = std::thread::Builder::new().name("tw-replay".into()).spawn(play)?;
        Ok(PlaybackHandle { stop, thread })
    }
}

/// A recording that is being served.
pub(super) struct PlaybackHandle {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl PlaybackHandle {
    /// Stops it wherever it is.
    pub(super) fn stop(self) {
        drop(self.stop);
        // A panic aborts the process, so there is nothing to learn from the result.
        let _ = self.thread.join();
    }
}

/// From the ids of the recording, which count from 1, to those of the engine.
struct Ids {
    sources: Vec<u32>,
    instruments: Vec<u32>,
}

impl Ids {
    fn new(from: &Market, to: &Market) -> Ids {
        let mut ids = Ids { sources: Vec::new(), instruments: Vec::new() };
        // Both lists are in one order.
        for (from, to) in from.sources().iter().zip(to.sources()) {
            put(&mut ids.sources, from.id.0, to.id.0);
        }
        for (from, to) in from.instruments().iter().zip(to.instruments()) {
            put(&mut ids.instruments, from.id.0, to.id.0);
        }
        ids
    }

    fn give(&self, input: &mut Input) {
        let head = match input {
            Input::Tick(tick) => &mut tick.head,
            Input::Trade(trade) => &mut trade.head,
            Input::Timer(timer) => &mut timer.head,
            Input::SourceState(state) => &mut state.head,
            Input::Drop(drop) => &mut drop.head,
            Input::Repair(repair) => &mut repair.head,
        };
        // 0 stands for none, or all.
        let find = |table: &[u32], id: u32| table.get(id as usize).copied().unwrap_or(0);
        head.source_id = find(&self.sources, head.source_id);
        head.instrument_id = find(&self.instruments, head.instrument_id);
    }
}

fn put(table: &mut Vec<u32>, from: u32, to: u32) {
    table.resize(table.len().max(from as usize + 1), 0);
    table[from as usize] = to;
}

struct Player<'a> {
    inlet: &'a dyn Inlet,
    ids: Ids,
    stopped: Receiver<()>,
    /// How often the stages are asked to save their state, by the machine's clock; 0 is never.
    every_ns: i64,
    snapshot_ns: i64,
    begun_ns: i64,
}

impl Player<'_> {
    fn run(&mut self, playback: Playback) -> Ended {
        let Playback { mut recording, first, speed, .. } = playback;
        self.begun_ns = clock::monotonic_ns();
        self.snapshot_ns = self.begun_ns;
        let (first_ns, mut last_ns) = (first.now_ns(), first.now_ns());
        let mut played = Played::default();
        let mut next = Some(first);
        while let Some(mut input) = next {
            last_ns = last_ns.max(input.now_ns());
            let due_ns = speed.map_or(0, |speed| ((last_ns - first_ns) as f64 / speed) as i64);
            self.ids.give(&mut input);
            self.ask_for_snapshot(&mut input);
            if !self.wait_until(due_ns) || !self.hand_over(input, last_ns) {
                break;
            }
            played.inputs += 1;
            next = recording.next()?;
            while let Some(note) = recording.take_note() {
                tracing::warn!("{note}; left out");
            }
        }
        played.malformed = recording.malformed();
        Ok(played)
    }

    /// Waits until so long after the beginning; false when it is time to stop.
    fn wait_until(&self, due_ns: i64) -> bool {
        loop {
            let early_ns = due_ns - (clock::monotonic_ns() - self.begun_ns);
            match u64::try_from(early_ns) {
                Ok(early_ns) if early_ns > 0 => std::thread::sleep(NAP_MAX.min(Duration::from_nanos(early_ns))),
                _ => return true,
            }
            if self.is_stopped() {
                return false;
            }
        }
    }

    /// Moves the clock and waits for room; false when it is time to stop.
    fn hand_over(&self, input: Input, now_ns: i64) -> bool {
        clock::set_recorded(now_ns);
        while !self.inlet.try_offer(&input) {
            if self.is_stopped() {
                return false;
            }
            std::thread::sleep(ROOM_NAP);
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// What a recording asked of its own engine does not matter here.
    fn ask_for_snapshot(&mut self, input: &mut Input) {
        let Input::Timer(timer) = input else { return };
        let now_ns = clock::monotonic_ns();
        let due = self.every_ns > 0 && now_ns - self.snapshot_ns >= self.every_ns;
        timer.snapshot = u8::from(due);
        if due {
            self.snapshot_ns = now_ns;
        }
    }
}
