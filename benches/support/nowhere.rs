//! Records that go nowhere.

use std::hint::black_box;
use std::task::{Context, Poll};

use tickwire::ring::{Drained, Outlet};
use tickwire::stages::Emit;
use tickwire_schemas::record::{
    Bar, Drop as DropRecord, Gap, Indicator, Quote, Record, Repair, SourceState, Tick, Timer, Trade,
};
use tickwire_schemas::words::Kind;

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

/// The journal's outlet; what the fan-out would take is taken and let go: no terminal is connected.
pub(crate) struct JournalAlone {
    pub(crate) journal: Box<dyn Outlet>,
    pub(crate) fanout: Box<dyn Outlet>,
}

impl Outlet for JournalAlone {
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Kind, &[u8])) -> Drained {
        let _ = self.fanout.drain(limit, &mut |_, _| {});
        self.journal.drain(limit, each)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.journal.poll_ready(cx)
    }

    fn awake(&mut self) {
        self.journal.awake();
    }
}
