//! Where records go.

use tickwire_schemas::record::{
    Bar, Drop as DropRecord, Gap, Indicator, Quote, Record, Repair, SourceState, Tick, Timer, Trade,
};

use tickwire_schemas::words::BarState;

use super::Identity;
use crate::metrics;
use crate::ring::Outbound;

/// Takes finished records: the outbound ring in the running engine, a list or a comparison in a replay.
pub trait Emit {
    /// A price with its verdict.
    fn tick(&mut self, record: &Tick);
    /// A trade with its verdict.
    fn trade(&mut self, record: &Trade);
    /// A best price.
    fn quote(&mut self, record: &Quote);
    /// A bar.
    fn bar(&mut self, record: &Bar);
    /// An indicator's value.
    fn indicator(&mut self, record: &Indicator);
    /// A hole, opened or closed.
    fn gap(&mut self, record: &Gap);
    /// A source's change of state.
    fn source_state(&mut self, record: &SourceState);
    /// The clock.
    fn timer(&mut self, record: &Timer);
    /// Inputs lost at the door.
    fn drop(&mut self, record: &DropRecord);
    /// What a venue's history says of a hole.
    fn repair(&mut self, record: &Repair);
    /// A tick or trade of the source with this dense index came too late to change its bar; it is no record.
    fn late(&mut self, _source: usize) {}
}

/// Implements [`Emit`] by one generic function over any record.
macro_rules! emit_all_by {
    ($type:ty, $function:ident $(, $more:item)*) => {
        impl Emit for $type {
            $($more)*
            fn tick(&mut self, record: &Tick) {
                self.$function(record);
            }
            fn trade(&mut self, record: &Trade) {
                self.$function(record);
            }
            fn quote(&mut self, record: &Quote) {
                self.$function(record);
            }
            fn bar(&mut self, record: &Bar) {
                self.$function(record);
            }
            fn indicator(&mut self, record: &Indicator) {
                self.$function(record);
            }
            fn gap(&mut self, record: &Gap) {
                self.$function(record);
            }
            fn source_state(&mut self, record: &SourceState) {
                self.$function(record);
            }
            fn timer(&mut self, record: &Timer) {
                self.$function(record);
            }
            fn drop(&mut self, record: &DropRecord) {
                self.$function(record);
            }
            fn repair(&mut self, record: &Repair) {
                self.$function(record);
            }
        }
    };
}

emit_all_by!(
    Outbound,
    publish,
    fn late(&mut self, source: usize) {
        metrics::LATE_TICKS.at(source, 0).inc();
    }
);

/// Records as they stand on the wire, one after another: what a replay compares.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Kind and bytes of each record.
    pub records: Vec<(tickwire_schemas::words::Kind, Vec<u8>)>,
    /// Inputs that came too late for their bar.
    pub late: u64,
}

impl Recorder {
    fn keep<R: Record>(&mut self, record: &R) {
        let mut bytes = [0; tickwire_schemas::record::RECORD_BYTES_MAX];
        let length = record.write(&mut bytes);
        self.records.push((R::KIND, bytes[..length].to_vec()));
    }
}

emit_all_by!(
    Recorder,
    keep,
    fn late(&mut self, _source: usize) {
        self.late += 1;
    }
);

/// What has been derived from one input so far, for the stages behind.
#[derive(Debug)]
pub(super) struct Made {
    quotes: Vec<Best>,
    bars: Vec<Bar>,
}

impl Made {
    /// With room for what a timer makes of some hundred series: more grow it once.
    pub(super) fn new() -> Made {
        Made { quotes: Vec::with_capacity(256), bars: Vec::with_capacity(1024) }
    }

    pub(super) fn clear(&mut self) {
        self.quotes.clear();
        self.bars.clear();
    }
}

/// A common price that was published, as the stages behind need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// Dense index.
    pub instrument: usize,
    /// As in [`Quote`].
    pub ts_recv_ns: i64,
    /// As in [`Quote`].
    pub bid_e9: i64,
    /// As in [`Quote`].
    pub ask_e9: i64,
}

/// What a deriving stage publishes through: it stamps the record's identity, hands it on, and shows it to the stages
/// behind.
pub struct Derived<'a, E> {
    pub(super) identity: &'a mut Identity,
    pub(super) sink: &'a mut E,
    pub(super) made: &'a mut Made,
    pub(super) publish_ns: i64,
}

impl<E: Emit> Derived<'_, E> {
    /// The key that a gap opened now will carry: epoch, and `seq` of the record.
    #[must_use]
    pub fn next_key(&self) -> (u32, u64) {
        (self.identity.epoch(), self.identity.next_seq())
    }

    /// The common prices that earlier stages made of this input.
    #[must_use]
    pub fn quotes(&self) -> &[Best] {
        &self.made.quotes
    }

    /// The final bars that earlier stages made of this input.
    #[must_use]
    pub fn bars(&self) -> &[Bar] {
        &self.made.bars
    }

    /// Publishes a best price: of a private source, by its dense index, or the common one; and of an instrument.
    #[inline]
    pub fn quote(&mut self, (source, instrument): (Option<usize>, usize), record: &mut Quote) {
        self.identity.stamp_of(Quote::KIND, &mut record.head, (source, instrument), self.publish_ns);
        // A private source's quotes are its ticks.
        if source.is_none() {
            let Quote { ts_recv_ns, bid_e9, ask_e9, .. } = *record;
            self.made.quotes.push(Best { instrument, ts_recv_ns, bid_e9, ask_e9 });
        }
        self.sink.quote(record);
    }

    /// Publishes a bar.
    pub fn bar(&mut self, mut record: Bar) {
        self.identity.stamp_series(Bar::KIND, &mut record.head, (record.timeframe, 0), self.publish_ns);
        self.sink.bar(&record);
        if record.state == BarState::Final.code() {
            self.made.bars.push(record);
        }
    }

    /// Publishes an indicator's values.
    pub fn indicator(&mut self, mut record: Indicator) {
        let series = (record.timeframe, record.indicator_id);
        self.identity.stamp_series(Indicator::KIND, &mut record.head, series, self.publish_ns);
        self.sink.indicator(&record);
    }

    /// Publishes a hole.
    pub fn gap(&mut self, mut record: Gap) {
        self.identity.stamp(Gap::KIND, &mut record.head, self.publish_ns);
        self.sink.gap(&record);
    }

    /// Counts an input that came too late for its bar.
    pub fn late(&mut self, source: usize) {
        self.sink.late(source);
    }
}
