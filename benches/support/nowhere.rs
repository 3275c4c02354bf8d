//! Records that go nowhere.

use std::hint::black_box;

use tickwire::stages::Emit;
use tickwire_schemas::record::{
    Bar, Drop as DropRecord, Gap, Indicator, Quote, Record, Repair, SourceState, Tick, Timer, Trade,
};

/// Counts the records that stages publish and lets them go: they are made in full and not written anywhere.
#[derive(Default)]
pub(crate) struct Nowhere {
    pub(crate) records: u64,
}

impl Nowhere {
    fn take<R: Record>(&mut self, record: &R) {
        self.records += 1;
        black_box(record);
    }
}

macro_rules! take_all {
    ($($name:ident $record:ty),*) => {
        impl Emit for Nowhere {
            $(fn $name(&mut self, record: &$record) {
                self.take(record);
            })*
        }
    };
}

take_all!(
    tick Tick, trade Trade, quote Quote, bar Bar, indicator Indicator, gap Gap, source_state SourceState, timer Timer,
    drop DropRecord, repair Repair
);
