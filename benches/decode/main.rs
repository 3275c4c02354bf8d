//! What decoding one message costs: our decoders beside `serde_json`, `sonic-rs` and a general reader of FIX, over the
//! same recorded messages, into the same struct and just as exact: prices by `Price::parse` from the text they were
//! written in, times and symbols by the same functions.
//!
//! `cargo bench --bench decode [FILTER]`, with `TICKWIRE_DATA` naming the folder of recordings; without it the
//! documented example of each venue is decoded again and again. Ends with a table of medians.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod messages;
mod rivals;
mod table;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use messages::Messages;
use tickwire::feeds::adapters::Decoder;
use tickwire::feeds::adapters::binance::BinanceDecoder;
use tickwire::feeds::adapters::binance_usdm::UsdmDecoder;
use tickwire::feeds::adapters::coinbase::CoinbaseDecoder;
use tickwire::feeds::adapters::ctrader::CtraderDecoder;
use tickwire::feeds::adapters::oanda::OandaDecoder;
use tickwire::feeds::event::{Event, Symbols};
use tickwire::market::TickInput;

/// A rival: the tick of a message, in the same struct.
type Rival = fn(&[u8], &Symbols) -> Option<TickInput>;

/// Measures a decoder beside its rivals over the same messages, having seen that they read the same.
fn compare<D: Decoder + Clone>(c: &mut Criterion, decoder: &D, messages: &Messages, rivals: &[(&str, Rival)]) {
    let Messages { name, symbols, frames } = messages;
    let fresh = || decoder.clone();
    for frame in frames {
        let ours = tick(&mut fresh(), frame, symbols).unwrap_or_else(|| panic!("{name}: {}", frame.escape_ascii()));
        for (rival, read) in rivals {
            // Who reads one message alone does not know whether it was the first.
            let theirs = read(frame, symbols).map(|tick| TickInput { snapshot: ours.snapshot, ..tick });
            assert_eq!(theirs, Some(ours), "{rival}: {}", frame.escape_ascii());
        }
    }
    let mut group = c.benchmark_group(name.clone());
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("tickwire", |b| {
        let mut decoder = fresh();
        b.iter(|| {
            for frame in frames {
                decoder.decode(black_box(frame), 5, symbols, &mut |event| {
                    black_box(event);
                });
            }
        });
    });
    for (rival, read) in rivals {
        group.bench_function(*rival, |b| {
            b.iter(|| {
                for frame in frames {
                    black_box(read(black_box(frame), symbols));
                }
            });
        });
    }
    group.finish();
}

fn tick(decoder: &mut impl Decoder, frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    let mut tick = None;
    decoder.decode(frame, 5, symbols, &mut |event| {
        if let Event::Tick(told) = event {
            tick = Some(told);
        }
    });
    tick
}

fn main() {
    let began = std::time::SystemTime::now();
    let mut criterion = Criterion::default().configure_from_args();
    let c = &mut criterion;
    let spot: [(&str, Rival); 2] = [("serde_json", rivals::binance_serde_json), ("sonic-rs", rivals::binance_sonic_rs)];
    compare(c, &BinanceDecoder, &messages::binance("binance"), &spot);
    compare(c, &UsdmDecoder, &messages::binance("binance_usdm"), &spot);
    let oanda: [(&str, Rival); 2] = [("serde_json", rivals::oanda_serde_json), ("sonic-rs", rivals::oanda_sonic_rs)];
    for messages in messages::oanda() {
        compare(c, &OandaDecoder::new(messages.symbols.len()), &messages, &oanda);
    }
    let coinbase: [(&str, Rival); 2] =
        [("serde_json", rivals::coinbase_serde_json), ("sonic-rs", rivals::coinbase_sonic_rs)];
    let messages = messages::coinbase();
    compare(c, &CoinbaseDecoder::new(messages.symbols.len()), &messages, &coinbase);
    let messages = messages::fix();
    compare(c, &CtraderDecoder::new(messages.symbols.len()), &messages, &[("tag-map", rivals::fix_tag_map)]);
    criterion.final_summary();
    table::print(began);
}
