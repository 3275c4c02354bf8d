//! From bytes in hand to the inlet no adapter allocates: counted, for the message that each venue sends all day.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod counting_support;

use counting_support::allocations;
use tickwire::config::Config;
use tickwire::feeds::adapters::adapters;
use tickwire::feeds::config::sources;
use tickwire::feeds::event::{Event, Symbols};
use tickwire::feeds::lines::LineSplitter;
use tickwire::market::{Input, InstrumentId, SourceId};

/// Keys of any adapter that it does not connect with.
const KEYS: &[(&str, &str)] = &[
    ("oanda", "base_url = \"http://h\"\naccount = \"1-2\"\ntoken = \"t\""),
    (
        "mtapi",
        "base_url = \"http://h\"\nuser = \"1\"\npassword = \"p\"\nserver = \"s\"\nbroker_time = \"new-york-close\"",
    ),
    ("binance", "base_url = \"ws://h\""),
    ("binance_usdm", "base_url = \"ws://h\""),
    ("kraken", "base_url = \"ws://h\""),
    ("coinbase", "base_url = \"ws://h\""),
    ("bybit", "base_url = \"ws://h\""),
];

#[test]
fn decoding_and_offering_allocates_nothing() {
    for adapter in adapters() {
        let (symbol, message) = adapter.example;
        let keys = KEYS.iter().find(|(name, _)| *name == adapter.name).expect("keys of every adapter").1;
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config
            .overlay(
                &format!("[sources.one]\nadapter = \"{}\"\nsymbols = [\"{symbol}\"]\n{keys}", adapter.name),
                "test",
            )
            .unwrap();
        let spec = sources(&config).unwrap().remove(0);
        let symbols = Symbols::new(SourceId(1), [(spec.venue.wire_symbol(&spec.symbols[0].venue), InstrumentId(1))]);
        let mut decode = spec.venue.any_decoder(&symbols);
        // Out of the order of the template, and with fields that nobody knows: the general path must not allocate either.
        let tree: serde_json::Value = serde_json::from_str(message).unwrap();
        let other = serde_json::to_string_pretty(&tree).unwrap().replacen('{', "{\"unknown\":[1,{\"a\":null}],", 1);
        let line = format!("{message}\n");
        let mut lines = LineSplitter::new(1 << 20);
        let mut ticks = 0;
        let mut turn = |decode: &mut tickwire::feeds::adapters::AnyDecoder| {
            let mut offer = |event| {
                if let Event::Tick(tick) = event
                    && let Input::Tick(_) = std::hint::black_box(Input::from(tick))
                {
                    ticks += 1;
                }
            };
            decode(message.as_bytes(), 5, &symbols, &mut offer);
            decode(other.as_bytes(), 5, &symbols, &mut offer);
            let (a, b) = line.as_bytes().split_at(50);
            for piece in [a, b] {
                lines.push(piece, |line| decode(line, 5, &symbols, &mut offer)).unwrap();
            }
        };
        turn(&mut decode);
        let before = allocations();
        (0..1_000).for_each(|_| turn(&mut decode));
        assert_eq!(allocations() - before, 0, "{}", adapter.name);
        assert_eq!(ticks, 3 * 1_001, "{}", adapter.name);
    }
}
