//! What is counted. Nothing is read but what is in this repository, so that the counts are the same everywhere.

use std::hint::black_box;
use std::sync::Arc;

use tickwire::fanout::Catalogue;
use tickwire::fanout::window::Window;
use tickwire::feeds::adapters::binance::BinanceDecoder;
use tickwire::feeds::adapters::ctrader::CtraderDecoder;
use tickwire::feeds::adapters::oanda::OandaDecoder;
use tickwire::feeds::adapters::{Decoder, adapters};
use tickwire::feeds::event::{Event, Symbols};
use tickwire::market::{Input, InstrumentId, SourceId};
use tickwire::ring::{InSlot, Poll, build_inbound, build_outbound};
use tickwire::stages::NAMES;
use tickwire_schemas::record::{Quote, RECORD_BYTES_MAX, Record};
use tickwire_schemas::words::Kind;

use super::support::generated;
use super::support::nowhere::Nowhere;
use super::support::pipeline::{Stages, settings};

/// One thing that is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How often it is done between two counts.
    pub(crate) operations: u64,
    pub(crate) run: fn(u64),
}

/// Four minutes of ticks: as many bars close in the second four as in the first.
const TICKS: u64 = 24_000;
const MESSAGES: u64 = 2_000;
const RECORDS: u64 = 6_400;

/// Every case.
pub(crate) const ALL: &[Case] = &[
    Case { name: "decode/binance-bookTicker", operations: MESSAGES, run: binance },
    Case { name: "decode/binance-bookTicker-other-order", operations: MESSAGES, run: binance_other_order },
    Case { name: "decode/oanda-PRICE", operations: MESSAGES, run: oanda },
    Case { name: "decode/fix-W", operations: MESSAGES, run: fix },
    Case { name: "ring/inlet-to-group", operations: TICKS, run: ring_inbound },
    Case { name: "stages/no-bars", operations: TICKS, run: stages_no_bars },
    Case { name: "stages/bars", operations: TICKS, run: stages_bars },
    Case { name: "stages/bars-indicators", operations: TICKS, run: stages_bars_indicators },
    Case { name: "stages/all-into-ring", operations: TICKS, run: stages_into_ring },
    Case { name: "frame/record-write", operations: RECORDS, run: record_write },
    Case { name: "frame/record-read", operations: RECORDS, run: record_read },
    Case { name: "frame/window", operations: RECORDS, run: window },
];

pub(crate) fn find(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}

fn example(adapter: &str) -> &'static [u8] {
    adapters().into_iter().find(|entry| entry.name == adapter).unwrap().example.1.as_bytes()
}

fn decode<D: Decoder>(make: impl FnOnce(usize) -> D, symbol: &str, frame: &[u8], messages: u64) {
    let symbols = Symbols::new(SourceId(1), [(symbol.to_string(), InstrumentId(1))]);
    let mut decoder = make(symbols.len());
    let mut ticks = 0;
    for _ in 0..messages {
        decoder.decode(black_box(frame), 5, &symbols, &mut |event| {
            ticks += u64::from(matches!(black_box(event), Event::Tick(_)));
        });
    }
    assert_eq!(ticks, messages, "every message is a tick");
}

fn binance(messages: u64) {
    decode(|_| BinanceDecoder, "BTCUSDT", example("binance"), messages);
}

/// Members in an order that the venue does not write: what the general reader takes.
fn binance_other_order(messages: u64) {
    let frame = br#"{"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","u":400900217,"a":"61837.64000000","A":"1.54698000","b":"61837.63000000","B":"3.78826000"}}"#;
    decode(|_| BinanceDecoder, "BTCUSDT", frame, messages);
}

fn oanda(messages: u64) {
    decode(OandaDecoder::new, "EUR_USD", example("oanda"), messages);
}

fn fix(messages: u64) {
    decode(CtraderDecoder::new, "1", example("ctrader"), messages);
}

/// The first so many made-up ticks, with their timers. All that any run takes are made in every run, so that making them
/// is not in the difference that is counted.
fn inputs(ticks: u64) -> Vec<Input> {
    let mut inputs = generated::inputs(2 * TICKS);
    inputs.truncate(inputs.len() * ticks as usize / (2 * TICKS) as usize);
    inputs
}

fn stages(names: &[&str], ticks: u64) {
    let mut stages = Stages::new(&settings(), &generated::market(), names);
    let mut sink = Nowhere::default();
    for input in &inputs(ticks) {
        stages.run(black_box(input), &mut sink);
    }
    assert!(sink.records >= ticks);
}

fn stages_no_bars(ticks: u64) {
    stages(&["dedupe", "validate", "aggregate"], ticks);
}

fn stages_bars(ticks: u64) {
    stages(&["dedupe", "validate", "aggregate", "bars"], ticks);
}

fn stages_bars_indicators(ticks: u64) {
    stages(&["dedupe", "validate", "aggregate", "bars", "indicators"], ticks);
}

/// Every stage, publishing into the ring that the journal and the fan-out read.
fn stages_into_ring(ticks: u64) {
    let mut stages = Stages::new(&settings(), &generated::market(), NAMES);
    let (mut outbound, journal, mut outlets) = build_outbound(4096, 1);
    outlets.push(journal);
    let mut bytes = 0;
    for inputs in inputs(ticks).chunks(64) {
        for input in inputs {
            stages.run(black_box(input), &mut outbound);
        }
        outbound.ring();
        for outlet in &mut outlets {
            outlet.drain(4096, &mut |_: Kind, record: &[u8]| bytes += black_box(record).len());
        }
    }
    assert!(bytes > 0);
}

/// From a feed's door to the group, the ring between them.
fn ring_inbound(ticks: u64) {
    let market = generated::market();
    let ids: Arc<[u32]> = market.sources().iter().map(|source| source.id.0).collect();
    let mut ring = build_inbound(1024, 1, 1, ids, market.source_table());
    let inlet = ring.inlets.remove(0)();
    let inputs = inputs(ticks);
    let mut taken = 0;
    for inputs in inputs.chunks(64) {
        inputs.iter().for_each(|input| inlet.offer(black_box(input)));
        ring.groups[0].0.poll_some(64, &mut |slot: &InSlot| {
            taken += usize::from(matches!(black_box(slot.input()), Input::Tick(_) | Input::Timer(_)));
        });
    }
    assert_eq!(taken, inputs.len());
}

fn quotes() -> Vec<Quote> {
    let quote = |n: u32| {
        let at_ns = generated::NOON_NS + i64::from(n);
        let mut quote = Quote { ts_event_ns: at_ns, ts_recv_ns: at_ns, bid_e9: 1_085_000_000, ..Quote::default() };
        (quote.ask_e9, quote.sources) = (1_085_020_000, 2);
        (quote.head.epoch, quote.head.seq, quote.head.chain) = (1, u64::from(n) + 1, u64::from(n) / 4 + 1);
        quote.head.instrument_id = n % 4 + 1;
        quote
    };
    (0..64).map(quote).collect()
}

fn record_write(records: u64) {
    let quotes = quotes();
    let mut out = [0; RECORD_BYTES_MAX];
    for quote in quotes.iter().cycle().take(records as usize) {
        black_box(black_box(quote).write(black_box(&mut out)));
    }
}

fn written() -> Vec<Vec<u8>> {
    let write = |quote: &Quote| {
        let mut out = [0; RECORD_BYTES_MAX];
        let length = quote.write(&mut out);
        out[..length].to_vec()
    };
    quotes().iter().map(write).collect()
}

fn record_read(records: u64) {
    let written = written();
    for bytes in written.iter().cycle().take(records as usize) {
        black_box(Quote::read(black_box(bytes)).unwrap());
    }
}

/// A record out of the ring behind a frame's header, in the block that all terminals share.
fn window(records: u64) {
    let catalogue = Arc::new(Catalogue::new(generated::instruments(), generated::sources()));
    let mut window = Window::new(1024, catalogue);
    let written = written();
    for _ in 0..records / written.len() as u64 {
        written.iter().for_each(|record| window.push(Kind::Quote, black_box(record)));
        window.seal();
    }
    assert_eq!(window.head(), records);
}
