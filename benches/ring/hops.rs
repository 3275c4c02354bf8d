//! Two threads, and the time between them.

use std::time::Instant;

use hdrhistogram::Histogram;
use tickwire::clock::monotonic_ns;
use tickwire::market::{Input, InstrumentId, SourceId, TickInput};

/// How often an input is sent, and what the receiver does between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// Looks again and again.
    Spin,
    /// Sleeps until it is woken.
    Park,
    /// Never waits.
    Flood,
}

impl Load {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Load::Spin => "spin",
            Load::Park => "park",
            Load::Flood => "flood",
        }
    }

    /// Inputs of one round.
    pub(crate) fn inputs(self) -> u64 {
        match self {
            Load::Spin => 200_000,
            Load::Park => 3_000,
            Load::Flood => 2_000_000,
        }
    }

    fn every_ns(self) -> i64 {
        match self {
            Load::Spin => 2_000,
            Load::Park => 200_000,
            Load::Flood => 0,
        }
    }
}

/// What one round of one side came to.
pub(crate) struct Round {
    latency: Histogram<u64>,
    pub(crate) million_per_s: f64,
}

impl Round {
    /// Nanoseconds at a quantile.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64
    }
}

/// Takes the time of each input but the first, which warm up.
pub(crate) struct Tally {
    latency: Histogram<u64>,
    seen: u64,
    warm_up: u64,
}

impl Tally {
    #[inline]
    pub(crate) fn take(&mut self, input: &Input) {
        match input {
            Input::Tick(tick) => {
                let spent_ns = monotonic_ns() - tick.ts_recv_ns;
                if self.seen >= self.warm_up {
                    self.latency.saturating_record(spent_ns.max(1) as u64);
                }
                self.seen += 1;
            }
            // The door's own account of what found no room, when the machine held this thread up for long.
            Input::Drop(lost) => self.seen += lost.count,
            _ => {}
        }
    }
}

/// Pins the calling thread, where there are cores for both.
fn pin(core: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.len() > 1 {
        core_affinity::set_for_current(cores[core % cores.len()]);
    }
}

fn tick() -> TickInput {
    TickInput {
        source: SourceId(1),
        instrument: InstrumentId(1),
        ts_event_ns: Some(1),
        ts_recv_ns: 0,
        bid: None,
        ask: None,
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    }
}

/// Sends `inputs` from one thread, made by `sender` on it, to another that runs `receive` until there is nothing more.
/// `send` says whether there was room.
pub(crate) fn measure<S: FnMut(Input) -> bool>(
    load: Load,
    inputs: u64,
    sender: impl FnOnce() -> S + Send,
    receive: impl FnOnce(&mut Tally) + Send,
) -> Round {
    // The first asking sets the clock's beginning.
    let _ = monotonic_ns();
    // A tenth more, which are not measured: what is cold at first.
    let warm_up = inputs / 10;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            pin(1);
            let latency = Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap();
            let mut tally = Tally { latency, seen: 0, warm_up };
            receive(&mut tally);
            assert_eq!(tally.seen, inputs + warm_up, "every input arrives");
            tally.latency
        });
        let sender = scope.spawn(move || {
            pin(0);
            let mut send = sender();
            let mut due_ns = monotonic_ns();
            let mut began = Instant::now();
            for number in 0..warm_up + inputs {
                if number == warm_up {
                    began = Instant::now();
                }
                due_ns += load.every_ns();
                while monotonic_ns() < due_ns {
                    std::hint::spin_loop();
                }
                let mut input = TickInput { ts_recv_ns: monotonic_ns(), ..tick() };
                while !send(input.into()) {
                    std::hint::spin_loop();
                    input.ts_recv_ns = monotonic_ns();
                }
            }
            drop(send);
            began.elapsed().as_secs_f64()
        });
        let seconds = sender.join().unwrap();
        Round { latency: receiver.join().unwrap(), million_per_s: inputs as f64 / seconds / 1e6 }
    })
}
