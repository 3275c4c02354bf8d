#![allow(clippy::unwrap_used)]
use super::*;
use crate::feeds::json::Malformed;
use crate::market::{InstrumentId, Price, SourceId};
use proptest::prelude::*;

const PRICE: &str = Broker::EXAMPLE.1;

fn symbols() -> Symbols {
    Symbols::new(SourceId(2), [("EURUSD".into(), InstrumentId(1)), ("XAUUSD.m".into(), InstrumentId(4))])
}

fn decoder() -> AccountsDecoder {
    AccountsDecoder { clock: BrokerClock::new(BrokerTime::NewYorkClose), polled: Polled::new(2, 0) }
}

fn events(decoder: &mut AccountsDecoder, frame: &str) -> Vec<Event> {
    let mut events = Vec::new();
    decoder.decode(frame.as_bytes(), 77, &symbols(), &mut |event| events.push(event));
    events
}

fn one(frame: &str) -> Event {
    let events = events(&mut decoder(), frame);
    assert_eq!(events.len(), 1, "{frame}");
    events[0]
}

fn tick(instrument: u32, bid: i64, ask: i64) -> TickInput {
    TickInput {
        source: SourceId(2),
        instrument: InstrumentId(instrument),
        ts_event_ns: Some(1_715_940_930_123_000_000),
        ts_recv_ns: 77,
        bid: Price::from_e9(bid),
        ask: Price::from_e9(ask),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: true,
    }
}

#[test]
fn the_documented_price_is_a_tick_whatever_form_its_time_has() {
    let wanted = Event::Tick(tick(1, 1_085_100_000, 1_085_230_000));
    let bare = PRICE.replace("\"symbol\":\"EURUSD\",", "");
    for time in [
        "\"2024-05-17T10:15:30.123Z\"",
        "1715940930123",
        "1715940930.123",
        "\"2024-05-17T13:15:30.123\"",
        "\"1715940930.123\"",
    ] {
        let text = bare.replace("\"2024-05-17T10:15:30.123Z\"", time);
        assert_eq!(one(&format!("EURUSD\n{text}")), wanted, "{time}");
        assert_eq!(one(&format!("EURUSD\n{}", text.replace("\"timestamp\"", "\"time\""))), wanted, "{time}");
        assert_eq!(one(&format!("EURUSD\n{{\"data\":{text}}}")), wanted, "{time}");
    }
    let seconds = bare.replace("\"2024-05-17T10:15:30.123Z\"", "1715940930");
    let at = |frame: &str| match one(frame) {
        Event::Tick(tick) => tick.ts_event_ns,
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&format!("EURUSD\n{seconds}")), Some(1_715_940_930_000_000_000));
    assert_eq!(at(&PRICE.replace("\"2024-05-17T10:15:30.123Z\"", "null")), None);
}

#[test]
fn all_prices_are_a_list_bare_or_named_and_others_symbols_are_passed_over() {
    let other = PRICE.replace("EURUSD", "XAUUSD.m").replace("1.0851,", "2345.1,").replace("1.08523", "2345.3");
    let foreign = PRICE.replace("EURUSD", "US30");
    let wanted = [
        Event::Tick(tick(1, 1_085_100_000, 1_085_230_000)),
        Event::Alive,
        Event::Tick(tick(4, 2_345_100_000_000, 2_345_300_000_000)),
    ];
    let list = format!("[{PRICE},{foreign},{other}]");
    for frame in [list.clone(), format!("{{\"prices\":{list}}}"), format!(" {{ \"data\" : {list}, \"count\":3 }}")] {
        assert_eq!(events(&mut decoder(), &frame), wanted, "{frame}");
    }
    assert_eq!(one("{\"prices\":[]}"), Event::Alive);
}

#[test]
fn an_empty_side_is_no_price_and_two_are_no_tick() {
    let one_side = PRICE.replace("1.0851,", "null,");
    let Event::Tick(tick) = one(&one_side) else { panic!() };
    assert_eq!((tick.bid, tick.ask), (None, Price::from_e9(1_085_230_000)));
    assert_eq!(one(&one_side.replace("1.08523", "null")), Event::Alive);
}

#[test]
fn the_price_from_before_is_no_tick() {
    let mut decoder = decoder();
    assert!(matches!(events(&mut decoder, PRICE)[..], [Event::Tick(TickInput { snapshot: true, .. })]));
    assert_eq!(events(&mut decoder, PRICE), [Event::Confirmed]);
    let next = PRICE.replace(".123Z", ".124Z");
    assert!(matches!(events(&mut decoder, &next)[..], [Event::Tick(TickInput { snapshot: false, .. })]));
}

#[test]
fn what_is_wrong_is_named() {
    for (frame, event) in [
        (r#"{"error":true,"message":"Too many"}"#.to_string(), Event::Refused(Cause::ProtocolError)),
        ("EURUSD\n{\"error\":\"NOT_FOUND\"}".into(), Event::Refused(Cause::ProtocolError)),
        ("{\"error\":1}x".into(), Event::Reject(Reject::Malformed(Malformed("the end of the message")))),
        (PRICE.replace("\"bid\":1.0851,", ""), Event::Reject(Reject::Expected("a bid"))),
        (PRICE.replace("\"ask\":1.08523,", ""), Event::Reject(Reject::Expected("an ask"))),
        (PRICE.replace("EURUSD", "GBPUSD"), Event::Reject(Reject::UnknownSymbol)),
        (format!("XAUUSD.m\n{PRICE}"), Event::Reject(Reject::Expected("the symbol that was asked for"))),
        (PRICE.replace("\"symbol\":\"EURUSD\",", ""), Event::Reject(Reject::Expected("a symbol"))),
        ("{\"prices\":7}".into(), Event::Reject(Reject::Expected("a list of prices in prices or data"))),
        (
            PRICE.replace("2024-05-17T10:15:30.123Z", "noon"),
            Event::Reject(Reject::Expected("a timestamp in seconds, milliseconds or as 2024-05-17T10:15:30.123Z")),
        ),
        (String::new(), Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(one(&frame), event, "{frame}");
    }
    let Event::Reject(reject) = one(&PRICE.replace("1.0851,", "\"much\",")) else { panic!() };
    assert!(reject.to_string().starts_with("bid is not a decimal"), "{reject}");
}

#[test]
fn keys_are_checked_and_named() {
    let build = |more: &str| {
        let text = format!("base_url = \"http://h/api\"\naccount = \"a/7\"\nkey = \"k\"\n{more}");
        Broker::new(toml::from_str(&text).unwrap())
    };
    let broker = build("").unwrap();
    assert_eq!(broker.path(&["symbols", "US 30#", "price"]), "/v1/accounts/a%2F7/symbols/US%2030%23/price");
    for (keys, expected) in [
        ("interval_ms = 0", "interval_ms: 0, expected 1 to 3600000"),
        ("history_bars = 1001", "history_bars: 1001, expected 1 to 1000"),
        ("broker_time = \"noon\"", "broker_time: \"noon\" is not a broker time"),
    ] {
        let error = build(keys).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn a_changed_answer_never_panics_and_a_cut_one_is_rejected(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut frame = PRICE.as_bytes().to_vec();
        let (mut decoder, mut events, length) = (decoder(), Vec::new(), frame.len());
        frame[at % length] = byte;
        decoder.decode(&frame, 0, &symbols(), &mut |event| events.push(event));
        frame.truncate(cut % length);
        decoder.decode(&frame, 0, &symbols(), &mut |event| events.push(event));
        prop_assert!(matches!(events[..], [_, Event::Reject(_)]), "{:?}", events);
    }
}
