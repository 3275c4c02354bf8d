//! Records that are made up.

use tickwire::market::Input;
use tickwire_schemas::record::{Bar, Head, Quote, RECORD_BYTES_MAX, Record, Tick};
use tickwire_schemas::words::{BarState, Kind, Timeframe};

use super::support::generated::{self, NOON_NS};

fn head(seq: u64, chains: u64, source_id: u32) -> Head {
    let instrument_id = (seq % chains) as u32 + 1;
    let chain = seq / chains + 1;
    Head { epoch: 1, seq: seq + 1, chain, source_id, instrument_id, ts_publish_ns: NOON_NS + seq as i64 * 1_000 }
}

/// The quote number `seq`, of `chains` instruments by turns.
pub(crate) fn quote(seq: u64, chains: u64) -> Quote {
    let at_ns = NOON_NS + seq as i64 * 1_000;
    Quote {
        head: head(seq, chains, 0),
        ts_event_ns: at_ns,
        ts_recv_ns: at_ns,
        bid_e9: 1_085_000_000 + (seq % 977) as i64 * 10_000,
        ask_e9: 1_085_010_000 + (seq % 977) as i64 * 10_000,
        bid_size_e8: 100_000_000,
        ask_size_e8: 200_000_000,
        bid_source_id: 1,
        ask_source_id: 2,
        sources: 2,
        ..Quote::default()
    }
}

/// Accepted ticks of the made-up sources.
pub(crate) fn ticks(count: u64) -> Vec<Tick> {
    let ticks = generated::inputs(count).into_iter().filter_map(|input| match input {
        Input::Tick(tick) => Some(tick),
        _ => None,
    });
    let stamp = |(tick, seq): (Tick, u64)| {
        let (source_id, instrument_id) = (tick.head.source_id, tick.head.instrument_id);
        Tick { head: Head { instrument_id, ..head(seq, 8, source_id) }, ..tick }
    };
    ticks.zip(0..).map(stamp).collect()
}

/// Final bars of one minute.
pub(crate) fn bars(count: u64) -> Vec<Bar> {
    let of = |seq: u64| {
        let mut bar = Bar { head: head(seq, 4, 1), ticks: 97, ..Bar::default() };
        bar.open_ts_ns = NOON_NS + seq as i64 * 60_000_000_000;
        (bar.timeframe, bar.state) = (Timeframe::M1.code(), BarState::Final.code());
        bar
    };
    (0..count).map(of).collect()
}

/// Kind and bytes of each record, as they stand in the ring.
pub(crate) fn written<R: Record>(records: impl IntoIterator<Item = R>) -> Vec<(Kind, Vec<u8>)> {
    let write = |record: R| {
        let mut out = [0; RECORD_BYTES_MAX];
        let length = record.write(&mut out);
        (R::KIND, out[..length].to_vec())
    };
    records.into_iter().map(write).collect()
}
