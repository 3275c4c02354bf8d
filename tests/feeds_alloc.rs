//! From bytes in hand to the inlet no adapter allocates: counted, for the message that each venue sends all day.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod counting_support;

use counting_support::allocations;
use tickwire::config::Config;
use tickwire::feeds::adapters::adapters;
use tickwire::feeds::config::sources;
use tickwire::feeds::event::{Event, Symbols};
use tickwire::feeds::fix::Draft;
use tickwire::feeds::fix::frame::Framer;
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
    ("ctrader", "base_url = \"tcp://h:1\"\nsender_comp_id = \"a.b.1\"\nusername = \"1\"\npassword = \"p\""),
    ("fxcm", "base_url = \"http://h\"\ntoken = \"t\""),
    ("mtsocketapi", "host = \"h\"\nbroker_time = \"new-york-close\""),
    (
        "json-ws",
        "url = \"ws://h\"\nfields = { symbol = \"data.s\", bid = \"data.b\", ask = \"data.a\", ask_size = \"data.A\", time = \"ts\", sequence = \"data.n\", filter = { type = \"quote\" } }",
    ),
    (
        "json-poll",
        "url = \"http://h\"\ninterval_ms = 1\nfields = { items = \"prices\", symbol = \"symbol\", bid = \"bid\", ask = \"ask\", time = \"time\", time_unit = \"iso\" }",
    ),
];

/// A whole book of cTrader's.
fn fix_book() -> String {
    let head = Draft::new("W").with(34, "3").with(52, "20260916-14:57:53.010").with(55, "1").with(268, "20");
    let book = (0..20).fold(head, |draft, at| {
        let (side, price) = if at % 2 == 0 { ("0", 1_000 - at) } else { ("1", 1_000 + at) };
        draft.with(269, side).number(270, price).with(271, "1000000").number(278, at)
    });
    String::from_utf8(book.finish()).unwrap()
}

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
        adapter.prelude.iter().for_each(|heard| decode(heard.as_bytes(), 5, &symbols, &mut |_| {}));
        // Out of the order of the template, and with fields that nobody knows: the general path must not allocate either.
        let fix = message.starts_with("8=FIX");
        let other = match serde_json::from_str::<serde_json::Value>(message) {
            Ok(tree) => serde_json::to_string_pretty(&tree).unwrap().replacen('{', "{\"unknown\":[1,{\"a\":null}],", 1),
            // FIX has one order; what it can have instead is a book.
            Err(_) if fix => fix_book(),
            // JSON that is packed into something else has one way to be read.
            Err(_) => message.to_string(),
        };
        let (mut lines, mut frames) = (LineSplitter::new(1 << 20), Framer::new(1 << 20));
        let line = if fix { message.to_string() } else { format!("{message}\n") };
        let mut ticks = 0;
        let mut turn = |decode: &mut tickwire::feeds::adapters::AnyDecoder| {
            let mut offer = |event| {
                match event {
                    Event::Tick(tick) => {
                        ticks += usize::from(matches!(std::hint::black_box(Input::from(tick)), Input::Tick(_)));
                    }
                    // Polled, and the same as before.
                    Event::Confirmed => ticks += 1,
                    _ => {}
                }
            };
            decode(message.as_bytes(), 5, &symbols, &mut offer);
            decode(other.as_bytes(), 5, &symbols, &mut offer);
            let (a, b) = line.as_bytes().split_at(50);
            for piece in [a, b] {
                let each = |frame: &[u8]| decode(frame, 5, &symbols, &mut offer);
                if fix { frames.push(piece, each).unwrap() } else { lines.push(piece, each).unwrap() }
            }
        };
        turn(&mut decode);
        let before = allocations();
        (0..1_000).for_each(|_| turn(&mut decode));
        assert_eq!(allocations() - before, 0, "{}", adapter.name);
        assert_eq!(ticks, 3 * 1_001, "{}", adapter.name);
    }
}
