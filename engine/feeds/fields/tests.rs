#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, SourceId};
use proptest::prelude::*;

fn symbols() -> Symbols {
    Symbols::new(SourceId(1), [("EURUSD".to_string(), InstrumentId(7)), ("USDJPY".to_string(), InstrumentId(8))])
}

fn layout(text: &str) -> Result<Arc<Layout>, String> {
    let fields: Fields = toml::from_str(text).map_err(|e| e.to_string())?;
    Layout::new(&fields, Some("ok.id"), true).map(Arc::new).map_err(|e| e.to_string())
}

fn decode(decoder: &mut JsonDecoder, frame: &str) -> Vec<Event> {
    let mut events = Vec::new();
    decoder.decode(frame.as_bytes(), 5, &symbols(), &mut |event| events.push(event));
    events
}

fn price_of(text: &str) -> Option<Price> {
    Some(text.parse().unwrap())
}

const ONE: &str = r#"
symbol = "data.s"
bid = "data.px.0"
ask = "data.px.1"
bid_size = "data.bs"
time = "ts"
time_unit = "us"
sequence = "data.n"
filter = { type = "quote", v = 2 }
error = "err.code"
error_ok = ["200"]
error_slow = [429]
error_login = ["AUTH"]
"#;

#[test]
fn a_message_is_read_exactly_by_its_paths() {
    let mut decoder = JsonDecoder::new(layout(ONE).unwrap());
    // More digits than a float holds, an exponent, and a time with decimals.
    let frame = r#"{"v":2,"type":"quote","ts":1715940930123456.7,"err":{"code":200},
        "data":{"s":"\u0045URUSD","px":["9007199.254740993",108523e-5],"bs":1e2,"n":18446744073709551614}}"#;
    let [Event::Tick(tick)] = decode(&mut decoder, frame)[..] else { panic!() };
    assert_eq!(
        (tick.instrument, tick.bid, tick.ask),
        (InstrumentId(7), price_of("9007199.254740993"), price_of("1.08523"))
    );
    assert_eq!((tick.ts_event_ns, tick.source_seq), (Some(1_715_940_930_123_456_700), Some(u64::MAX - 1)));
    assert_eq!((tick.bid_size.map(|s| s.e8()), tick.ask_size, tick.ts_recv_ns), (Some(10_000_000_000), None, 5));
}

#[test]
fn what_is_no_price_is_told_apart() {
    let mut decoder = JsonDecoder::new(layout(ONE).unwrap());
    for (frame, expected) in [
        (r#"{"type":"status","v":2}"#, Event::Alive),
        (r#"{"type":"quote","v":3}"#, Event::Alive),
        (r#"{"ok":{"id":null}}"#, Event::Alive),
        (r#"{"err":{"code":429}}"#, Event::Refused(Cause::RateLimited)),
        (r#"{"err":{"code":"AUTH"}}"#, Event::Refused(Cause::LoginRefused)),
        (r#"{"err":{"code":7}}"#, Event::Refused(Cause::ProtocolError)),
    ] {
        assert_eq!(decode(&mut decoder, frame), [expected], "{frame}");
    }
}

#[test]
fn what_is_missing_or_wrong_names_its_path() {
    let mut decoder = JsonDecoder::new(layout(ONE).unwrap());
    let good = r#"{"type":"quote","v":2,"ts":1,"data":{"s":"EURUSD","px":[1,2],"bs":null,"n":null}}"#;
    let [Event::Tick(tick)] = decode(&mut decoder, good)[..] else { panic!() };
    assert_eq!((tick.bid_size, tick.source_seq), (None, None), "null is nothing said");
    for (from, to, expected) in [
        ("[1,2]", "[1]", "expected a value at \"data.px.1\" (ask)"),
        ("[1,2]", "[1,\"2,5\"]", "data.px.1 is not a decimal number; expected a decimal"),
        ("[1,2]", "[1,{}]", "data.px.1 is not a decimal number"),
        ("\"bs\":null,", "", "expected a value at \"data.bs\" (bid_size)"),
        ("\"ts\":1", "\"ts\":\"soon\"", "expected a value at \"ts\" (time)"),
        ("\"n\":null", "\"n\":-1", "expected a value at \"data.n\" (sequence)"),
        ("EURUSD", "EURGBP", "a symbol that is not subscribed"),
        ("}}", "}", "expected "),
    ] {
        let frame = good.replace(from, to);
        let [Event::Reject(reject)] = decode(&mut decoder, &frame)[..] else { panic!("{frame}") };
        assert!(reject.to_string().contains(expected), "{frame}: {reject}");
    }
}

#[test]
fn lists_and_objects_of_prices_with_what_is_said_once_for_all() {
    let list = "items = \"r\"\nsymbol = \"s\"\nbid = \"b\"\nask = \"a\"\ntime = \"$.t\"\ntime_unit = \"iso\"\nignore_other_symbols = true";
    let mut decoder = JsonDecoder::new(layout(list).unwrap());
    let events = decode(
        &mut decoder,
        r#"{"t":"2024-05-17T12:15:30+02:00","r":[{"s":"EURUSD","b":1,"a":2},{"s":"X"},{"s":"USDJPY","b":3,"a":null},{"s":"USDJPY","a":4}]}"#,
    );
    let [Event::Tick(a), Event::Alive, Event::Tick(b), Event::Reject(c)] = events[..] else { panic!("{events:?}") };
    assert_eq!((a.instrument, b.instrument, b.ask), (InstrumentId(7), InstrumentId(8), None));
    assert_eq!((a.ts_event_ns, b.ts_event_ns), (Some(1_715_940_930_000_000_000), Some(1_715_940_930_000_000_000)));
    assert_eq!(c.to_string(), "expected a value at \"b\" (bid)");
    assert_eq!(decode(&mut decoder, r#"{"t":"2024-05-17T12:15:30Z","r":[]}"#), [Event::Alive]);
    let [Event::Reject(none)] = decode(&mut decoder, r#"{"t":1}"#)[..] else { panic!() };
    assert_eq!(none.to_string(), "expected a list of prices at \"r\" (items)");

    let map = "items = \"rates\"\nsymbol = \"@key\"\nbid = \"0\"\nask = \"1\"";
    let events = decode(&mut JsonDecoder::new(layout(map).unwrap()), r#"{"rates":{"USDJPY":[150.1,150.2]}}"#);
    let [Event::Tick(tick)] = events[..] else { panic!("{events:?}") };
    assert_eq!((tick.instrument, tick.bid), (InstrumentId(8), price_of("150.1")));
}

#[test]
fn an_unchanged_answer_confirms_for_as_long_as_is_allowed() {
    let layout = layout("symbol = \"s\"\nbid = \"b\"\nask = \"a\"").unwrap();
    let mut decoder = JsonDecoder::polled(layout, 2, 100, true);
    let at = |decoder: &mut JsonDecoder, frame: &str, ns| {
        let mut events = Vec::new();
        decoder.decode(frame.as_bytes(), ns, &symbols(), &mut |event| events.push(event));
        assert_eq!(events.len(), 1);
        events[0]
    };
    let first = "EURUSD\n{\"s\":\"EURUSD\",\"b\":1.1,\"a\":1.2}";
    assert!(matches!(at(&mut decoder, first, 0), Event::Tick(TickInput { snapshot: true, .. })));
    // The same price, written otherwise.
    assert_eq!(at(&mut decoder, "EURUSD\n{\"s\":\"EURUSD\",\"b\":\"1.10\",\"a\":1.2}", 60), Event::Confirmed);
    assert_eq!(at(&mut decoder, first, 101), Event::Alive, "too long unchanged to be believed");
    let changed = at(&mut decoder, "EURUSD\n{\"s\":\"EURUSD\",\"b\":1.1,\"a\":1.3}", 102);
    assert!(matches!(changed, Event::Tick(TickInput { snapshot: false, .. })));
    assert_eq!(at(&mut decoder, "EURUSD\n{\"s\":\"EURUSD\",\"b\":1.1,\"a\":1.3}", 150), Event::Confirmed);
}

#[test]
fn a_wrong_layout_names_its_key() {
    for (text, expected) in [
        ("bid = \"b\"", "fields.symbol: is missing, expected the path"),
        ("symbol = \"s\"", "fields.bid: is missing, and fields.ask too"),
        ("symbol = \"s\"\nbid = \"b[0]\"", "fields.bid: \"b[0]\" is not a path, expected names"),
        ("symbol = \"@key\"\nbid = \"b\"", "fields.symbol: \"@key\" needs fields.items"),
        ("symbol = \"s\"\nbid = \"b\"\ntime_zone = \"EET\"", "fields.time_zone: \"EET\" is not a broker time"),
        ("symbol = \"s\"\nbid = \"b\"\ntime_unit = \"min\"", "unknown variant `min`, expected one of `s`, `ms`"),
        ("symbol = \"s\"\nbidd = \"b\"", "unknown field `bidd`"),
    ] {
        let error = layout(text).err().unwrap();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// What the decoder says, by a document tree, of a message of `ONE`'s layout without numbers that a float would change.
fn expected(tree: &serde_json::Value) -> Option<(String, String, String)> {
    let text = |pointer: &str| {
        let value = tree.pointer(pointer)?;
        Some(value.as_str().map_or_else(|| value.to_string(), String::from))
    };
    Some((text("/data/s")?, text("/data/px/0")?, text("/data/px/1")?))
}

proptest! {
    #[test]
    fn agrees_with_a_document_tree(bid in 1_u32..9_999_999, ask in 1_u32..9_999_999, quoted in any::<bool>(), pretty in any::<bool>()) {
        let number = |n: u32| if quoted { serde_json::json!(n.to_string()) } else { serde_json::json!(n) };
        let tree = serde_json::json!({"type": "quote", "v": 2, "ts": 1, "x": [{"data": 1}],
            "data": {"px": [number(bid), number(ask), 3], "s": "USDJPY", "bs": 1, "n": 1}});
        let frame = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        let mut decoder = JsonDecoder::new(layout(ONE).unwrap());
        let events = decode(&mut decoder, &frame);
        let [Event::Tick(tick)] = events[..] else { panic!("{events:?}") };
        let (symbol, bid, ask) = expected(&tree).unwrap();
        prop_assert_eq!((symbol.as_str(), tick.instrument), ("USDJPY", InstrumentId(8)));
        prop_assert_eq!((tick.bid, tick.ask), (price_of(&bid), price_of(&ask)));
    }

    #[test]
    fn no_mutation_panics_and_every_frame_leads_to_an_event(
        edits in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6),
        cut in 0_usize..400,
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut frame = br#"{"v":2,"type":"quote","ts":1715940930123456,"data":{"s":"EURUSD","px":["1.0851",1.08523],"bs":1e2,"n":5},"r":[{"s":"EURUSD","b":1,"a":2}],"t":"2024-05-17T12:15:30+02:00"}"#.to_vec();
        for (at, byte) in edits {
            let at = at % frame.len();
            frame[at] = byte;
        }
        frame.truncate(frame.len().min(cut.max(60)));
        let list = "items = \"r\"\nsymbol = \"s\"\nbid = \"b\"\ntime = \"$.t\"\ntime_unit = \"iso\"";
        for text in [ONE, list] {
            for frame in [&frame, &bytes] {
                let mut count = 0;
                JsonDecoder::new(layout(text).unwrap()).decode(frame, 5, &symbols(), &mut |_| count += 1);
                prop_assert!(count > 0);
                let mut polled = JsonDecoder::polled(layout(text).unwrap(), 2, 0, true);
                polled.decode(frame, 5, &symbols(), &mut |_| count += 1);
            }
        }
    }
}
