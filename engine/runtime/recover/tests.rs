#![allow(clippy::unwrap_used)]
use tempfile::TempDir;
use tickwire_schemas::record::{Bar, Record, Repair, SourceState, Timer};
use tickwire_schemas::words::{Origin, RepairStep, SourceStatus, Timeframe};

use super::super::{Settings, open_market};
use super::*;
use crate::config::Config;
use crate::control::Catalogue;
use crate::journal::disk::SystemDisk;
use crate::journal::{self, Recording};
use crate::market::{Input, InstrumentId, Price, SourceId, TickInput};
use crate::stages::Market;

const SOURCE: &str =
    "adapter = \"oanda\"\nbase_url = \"http://127.0.0.1:1\"\naccount = \"1\"\ntoken = \"t\"\nsymbols = [\"EURUSD\"]\n";
/// A Wednesday noon, in nanoseconds.
const NOON: i64 = 1_714_564_800_000_000_000;
/// Inputs in the journal, and all there are: the rest comes after the restart.
const JOURNALED: usize = 600;
const ALL: usize = 1_200;

/// For each of some inputs the records that came of it, the input's own first.
type Made = Vec<Vec<(Kind, Vec<u8>)>>;

/// A journal of one segment, and what an engine that was never stopped would publish.
struct World {
    dir: TempDir,
    settings: Settings,
    market: Market,
    /// By the uninterrupted run, of every input.
    made: Made,
}

/// Inputs that leave something behind in every stage: duplicates, jumps, forming bars, open gaps.
fn input(n: usize) -> Input {
    let at = NOON + n as i64 * 700_000_000;
    match n % 40 {
        0 => Input::Timer(Timer { now_ns: at, snapshot: u8::from(n.is_multiple_of(80)), ..Timer::default() }),
        1 | 21 => {
            let status = if n % 40 == 1 { SourceStatus::Live } else { SourceStatus::Mute };
            let mut state = SourceState { ts_recv_ns: at, status: status.code(), ..SourceState::default() };
            state.head.source_id = 1;
            Input::SourceState(state)
        }
        11 | 12 => {
            let minute = at - at % 60_000_000_000;
            let mut repair = Repair {
                ts_recv_ns: at,
                from_ns: minute - 120_000_000_000,
                to_ns: minute - 60_000_000_000,
                gap_id: 7,
                gap_epoch: 1,
                timeframe: Timeframe::M1.code(),
                step: if n % 40 == 11 { RepairStep::Bar } else { RepairStep::Repaired }.code(),
                ..Repair::default()
            };
            (repair.head.source_id, repair.head.instrument_id) = (1, 1);
            Input::Repair(repair)
        }
        step => {
            let price = 1_000_000_000 + (n as i64 * 7_919 % 100) * 10_000;
            // Every seventh is the one before it once more.
            let at = if step % 7 == 6 { at - 700_000_000 } else { at };
            TickInput {
                source: SourceId(1 + u32::from(n.is_multiple_of(3))),
                instrument: InstrumentId(1),
                ts_event_ns: Some(at),
                ts_recv_ns: at,
                bid: Price::from_e9(price),
                ask: Price::from_e9(price + 100_000),
                bid_size: None,
                ask_size: None,
                source_seq: None,
                snapshot: false,
            }
            .into()
        }
    }
}

/// The pipeline after the first of the inputs; the others go on behind its identity.
fn begin(make: impl Fn() -> Result<Pipeline, BuildError>, sink: &mut Recorder) -> Pipeline {
    let mut pipeline = make().unwrap();
    let Input::Timer(mut timer) = input(0) else { panic!("the first input is a timer") };
    (timer.head.epoch, timer.head.seq) = (1, 1);
    let mut bytes = [0; tickwire_schemas::record::RECORD_BYTES_MAX];
    let length = timer.write(&mut bytes);
    assert!(pipeline.replay(Kind::Timer, &bytes[..length], sink));
    pipeline
}

impl World {
    /// With snapshots behind the timers among these inputs.
    fn new(snapshots: [usize; 2]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        let sources = format!("[sources.a]\n{SOURCE}[sources.b]\n{SOURCE}");
        let eurusd = "[instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n";
        config.overlay(&format!("{sources}{eurusd}"), "test").unwrap();
        let settings = Settings::new(config).unwrap();
        let market = open_market(&settings, &mut Catalogue::in_memory().unwrap()).unwrap();
        journal::recover(dir.path()).unwrap();
        let mut segment = Recording::create(&dir.path().join("0000000001-0000000001.twj"), Default::default()).unwrap();
        let mut made = Vec::new();
        let mut sink = Recorder::default();
        let mut pipeline = begin(|| Pipeline::build(&settings, &market), &mut sink);
        for n in 0..ALL {
            if n > 0 {
                pipeline.run(&input(n), &mut sink, 0);
            }
            let records: Vec<_> = sink.records.drain(..).collect();
            if n < JOURNALED {
                records.iter().for_each(|(kind, bytes)| segment.append(*kind, bytes).unwrap());
            }
            if snapshots.contains(&n) {
                let seq = read_head(records[0].0, &records[0].1).unwrap().seq;
                snapshot::write(&SystemDisk, dir.path(), &Snapshot { seq, ..pipeline.save() }).unwrap();
            }
            made.push(records);
        }
        segment.sync().unwrap();
        World { dir, settings, market, made }
    }

    fn make(&self, market: &Market) -> Result<Pipeline, BuildError> {
        Pipeline::build(&self.settings, market)
    }

    /// Writes a snapshot again with the state `name` made unreadable.
    fn spoil(&self, at: usize, name: &str) {
        let mut snapshot = snapshot::kept(self.dir.path()).unwrap().remove(at);
        snapshot.stages.iter_mut().find(|(n, _)| n == name).unwrap().1 = vec![0xFF; 3];
        snapshot::write(&SystemDisk, self.dir.path(), &snapshot).unwrap();
    }

    /// Has the journal begin with this input.
    fn forget(&self, input: usize) {
        let path = self.dir.path().join("0000000001-0000000001.twj");
        std::fs::remove_file(&path).unwrap();
        let mut segment = Recording::create(&path, Default::default()).unwrap();
        for (kind, bytes) in self.made[input..JOURNALED].iter().flatten() {
            segment.append(*kind, bytes).unwrap();
        }
        segment.sync().unwrap();
    }

    /// Restarts; the sentences of the report, how many inputs were replayed, and what is published from then on.
    fn restart(&self) -> (Vec<String>, u64, Made) {
        let mut recovery = journal::recover(self.dir.path()).unwrap();
        let (mut pipeline, replayed) = restore(|market| self.make(market), &self.market, &mut recovery).unwrap();
        let mut after = Vec::new();
        for records in &self.made[JOURNALED..] {
            let mut sink = Recorder::default();
            assert!(pipeline.replay(records[0].0, &records[0].1, &mut sink));
            after.push(sink.records);
        }
        (recovery.report.notes, replayed, after)
    }
}

#[test]
fn the_newest_snapshot_that_loads_is_taken_up_whole_and_none_by_half() {
    let world = World::new([160, 480]);
    let kinds: std::collections::BTreeSet<Kind> = world.made.iter().flatten().map(|(kind, _)| *kind).collect();
    assert!([Kind::Quote, Kind::Bar, Kind::Gap].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let repaired = |(kind, bytes): &&(Kind, Vec<u8>)| {
        *kind == Kind::Bar && Bar::read(bytes).unwrap().origin == Origin::Repair.code()
    };
    assert!(world.made.iter().flatten().filter(repaired).count() > 20);
    let found = compare(world.dir.path(), &world.market, |market| world.make(market)).unwrap();
    assert_eq!((found.differences, found.skipped, found.inputs), (0, 0, JOURNALED as u64), "{found:?}");
    let (notes, replayed, after) = world.restart();
    assert_eq!((notes.len(), replayed), (0, (JOURNALED - 481) as u64));
    assert!(after == world.made[JOURNALED..], "as if it had not been stopped");

    // The stages before the last have taken up theirs when the last one fails.
    world.spoil(1, "chains");
    let (notes, replayed, after) = world.restart();
    assert_eq!((notes.len(), replayed), (1, (JOURNALED - 161) as u64));
    assert!(notes[0].contains("is not used: saved state is damaged or of another version"), "{}", notes[0]);
    assert!(after == world.made[JOURNALED..], "the snapshot before it and more of the journal do as well");

    world.spoil(0, "bars");
    let (notes, replayed, after) = world.restart();
    assert_eq!((notes.len(), replayed), (2, JOURNALED as u64));
    assert!(after == world.made[JOURNALED..], "so does the whole journal");
}

#[test]
fn without_any_snapshot_and_beginning_the_stages_are_empty_and_the_chains_go_on() {
    let world = World::new([160, 480]);
    world.spoil(0, "gaps");
    world.spoil(1, "chains");
    // What was before the input 300 has been deleted.
    world.forget(300);
    let (notes, replayed, after) = world.restart();
    assert_eq!((notes.len(), replayed), (2, (JOURNALED - 300) as u64), "{notes:?}");
    // Had a stage kept half of a state, these would differ.
    let mut expected = world.make(&world.market).unwrap();
    for records in &world.made[300..JOURNALED] {
        expected.replay(records[0].0, &records[0].1, &mut Recorder::default());
        records.iter().for_each(|(kind, bytes)| expected.follow(*kind, bytes));
    }
    for (n, records) in world.made[JOURNALED..].iter().enumerate() {
        let mut sink = Recorder::default();
        expected.replay(records[0].0, &records[0].1, &mut sink);
        assert_eq!(after[n], sink.records);
        // Ticks, timers and states are numbered on, as the terminals expect.
        assert_eq!(chain(&after[n][0]), chain(&records[0]));
    }
    let found = compare(world.dir.path(), &world.market, |market| world.make(market)).unwrap();
    assert_eq!((found.records, found.notes.len()), (0, 2), "{found:?}");
}

fn chain((kind, bytes): &(Kind, Vec<u8>)) -> u64 {
    read_head(*kind, bytes).unwrap().chain
}
