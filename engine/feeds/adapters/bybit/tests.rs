#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, Size, SourceId};
use proptest::prelude::*;

const BOOK: &str = <Broker as Adapter>::EXAMPLE.1;
const TRADES: &str = r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617},{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"ZeroPlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023b0","BT":false,"seq":1783284617},{"T":1672304486866,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578.00","L":"MinusTick","i":"2290000000061666327","BT":false,"seq":1783284618}]}"#;
const ACK: &str =
    r#"{"success":true,"ret_msg":"","conn_id":"cf71cb32-e914-4a8e-8ea5-8b1c6c1d5ba8","req_id":"0","op":"subscribe"}"#;
const PONG: &str =
    r#"{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","req_id":"ping","op":"ping"}"#;

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("BTCUSDT".into(), InstrumentId(5)), ("ETHUSDT".into(), InstrumentId(6))])
}

fn decode(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    BybitDecoder.decode(frame, 77, &symbols(), &mut |event| events.push(event));
    events
}

fn generally(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    if let Err(reject) = general(frame, 77, &symbols(), &mut |event| events.push(event)) {
        events.push(Event::Reject(reject));
    }
    events
}

fn tick() -> TickInput {
    TickInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_672_304_484_978_000_000),
        ts_recv_ns: 77,
        bid: Price::from_e9(16_493_500_000_000),
        ask: Price::from_e9(16_611_000_000_000),
        bid_size: Size::from_e8(600_000),
        ask_size: Size::from_e8(2_900_000),
        source_seq: None,
        snapshot: false,
    }
}

#[test]
fn a_book_of_one_level_is_a_tick() {
    assert_eq!(decode(BOOK.as_bytes()), [Event::Tick(tick())]);
    let other_order = BOOK
        .replace(r#""ts":1672304484978,"type":"snapshot""#, r#""type":"snapshot","ts":1672304484978"#)
        .replace(r#","cts":1672304484976"#, "");
    assert!(template(BOOK.as_bytes()).is_some() && template(other_order.as_bytes()).is_some());
    assert_eq!(decode(other_order.as_bytes()), [Event::Tick(tick())]);
    let one_sided = BOOK.replace(r#"[["16493.50","0.006"]]"#, "[]");
    assert_eq!(decode(one_sided.as_bytes()), [Event::Tick(TickInput { bid: None, bid_size: None, ..tick() })]);
    let restarted = BOOK.replace("18521288", "1");
    assert_eq!(decode(restarted.as_bytes()), [Event::Tick(TickInput { snapshot: true, ..tick() })]);
}

#[test]
fn equal_fills_of_one_millisecond_are_told_apart() {
    let first = TradeInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_672_304_486_865_000_000),
        ts_recv_ns: 77,
        price: Price::from_e9(16_578_500_000_000).unwrap(),
        size: Size::from_e8(100_000),
        trade_id: None,
        aggressor: Aggressor::Buy,
    };
    let second = TradeInput { ts_event_ns: Some(1_672_304_486_865_000_001), ..first };
    let sold = TradeInput {
        ts_event_ns: Some(1_672_304_486_866_000_000),
        price: Price::from_e9(16_578_000_000_000).unwrap(),
        size: Size::from_e8(200_000_000),
        trade_id: Some(2_290_000_000_061_666_327),
        aggressor: Aggressor::Sell,
        ..first
    };
    assert_eq!(decode(TRADES.as_bytes()), [first, second, sold].map(Event::Trade));
    let blocks = TRADES.replace("\"BT\":false", "\"BT\":true");
    assert_eq!(decode(blocks.as_bytes()), [Event::Alive], "block trades happen off the book");
    let half = TRADES.replacen("\"p\":\"16578.50\"", "\"p\":\"x\"", 1);
    let [Event::Reject(Reject::Decimal { field: "p", .. }), Event::Trade(_), Event::Trade(last)] =
        decode(half.as_bytes())[..]
    else {
        panic!("{:?}", decode(half.as_bytes()))
    };
    assert_eq!(last, sold);
}

#[test]
fn what_is_not_a_price() {
    for (frame, event) in [
        (ACK, Event::Alive),
        (PONG, Event::Alive),
        (r#"{"success":false,"ret_msg":"Too many visits!","op":"subscribe"}"#, Event::Refused(Cause::RateLimited)),
        (r#"{"success":false,"ret_msg":"error:request invalid","op":""}"#, Event::Refused(Cause::ProtocolError)),
        (
            r#"{"topic":"orderbook.1.BTCUSDT","type":"delta","ts":1672304484978,"data":{}}"#,
            Event::Reject(Reject::Expected("a snapshot: orderbook.1 has nothing else")),
        ),
        (
            r#"{"topic":"tickers.BTCUSDT","type":"delta","ts":1672304484978,"data":{}}"#,
            Event::Reject(Reject::Expected("the topic orderbook.1 or publicTrade")),
        ),
        (
            r#"{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[],"a":[]}}"#,
            Event::Reject(Reject::Expected("a level in b or a")),
        ),
        (&BOOK.replace("BTCUSDT", "XRPUSDT"), Event::Reject(Reject::UnknownSymbol)),
        ("[]", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(frame.as_bytes()), [event], "{frame}");
    }
}

#[test]
fn requests_have_ten_topics_and_a_refused_one_names_them() {
    let asked = vec![topics(&["BTCUSDT"]), topics(&["A", "B", "C", "D", "E"])];
    assert_eq!(asked[0], ["orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"]);
    assert_eq!(asked[1].len(), 10);
    let mut pending: BTreeSet<String> = asked[0].iter().cloned().collect();
    for frame in [BOOK, PONG, "rubbish"] {
        confirm(frame.as_bytes(), &asked, &mut pending).unwrap();
    }
    assert_eq!(pending.len(), 2);
    confirm(ACK.as_bytes(), &asked, &mut pending).unwrap();
    assert!(pending.is_empty());
    let refused = r#"{"success":false,"ret_msg":"error:handler not found","req_id":"0","op":"subscribe"}"#;
    let failure = confirm(refused.as_bytes(), &asked, &mut pending).unwrap_err();
    assert_eq!(
        failure.text,
        "the subscription was refused: error:handler not found (of orderbook.1.BTCUSDT, publicTrade.BTCUSDT)"
    );
}

/// What the general parser of `serde_json` makes of a book.
fn reference(frame: &[u8]) -> Vec<Event> {
    let value: Value = serde_json::from_slice(frame).unwrap();
    let data = &value["data"];
    let text = |side: &str, at: usize| data[side][0][at].as_str().unwrap();
    vec![Event::Tick(TickInput {
        instrument: symbols().find(data["s"].as_str().unwrap().as_bytes()).unwrap().instrument,
        ts_event_ns: value["ts"].as_i64().map(|ms| ms * 1_000_000),
        bid: Some(text("b", 0).parse().unwrap()),
        ask: Some(text("a", 0).parse().unwrap()),
        bid_size: Some(text("b", 1).parse().unwrap()),
        ask_size: Some(text("a", 1).parse().unwrap()),
        snapshot: data["u"] == 1,
        ..tick()
    })]
}

proptest! {
    #[test]
    fn the_template_and_the_cursor_read_what_serde_json_reads(
        sides in proptest::array::uniform4("[0-9]{1,7}(\\.[0-9]{1,8})?"), ms in 1_500_000_000_000_u64..9_000_000_000_000,
        update in 0_u64..u64::MAX, is_btc: bool, has_cts: bool, shuffled: bool, pretty: bool,
    ) {
        let [bid, bid_size, ask, ask_size] = &sides;
        let symbol = if is_btc { "BTCUSDT" } else { "ETHUSDT" };
        let cts = if has_cts { format!(",\"cts\":{ms}") } else { String::new() };
        let frame = format!(r#"{{"topic":"orderbook.1.{symbol}","ts":{ms},"type":"snapshot","data":{{"s":"{symbol}","b":[["{bid}","{bid_size}"]],"a":[["{ask}","{ask_size}"]],"u":{update},"seq":{ms}}}{cts}}}"#);
        prop_assert!(template(frame.as_bytes()).is_some());
        let expected = reference(frame.as_bytes());
        prop_assert_eq!(&decode(frame.as_bytes()), &expected);
        // serde_json sorts keys, so a round trip shuffles them.
        let value: Value = serde_json::from_str(&frame).unwrap();
        let other = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let frame = if shuffled { other.unwrap() } else { frame };
        prop_assert_eq!(&generally(frame.as_bytes()), &expected);
    }

    #[test]
    fn a_changed_message_never_panics_and_the_template_agrees_with_the_cursor(
        at in 0_usize..700, byte: u8, cut in 0_usize..700, which in 0_usize..4,
    ) {
        let original = [BOOK, TRADES, ACK, PONG][which].as_bytes();
        let (mut frame, length) = (original.to_vec(), original.len());
        frame[at % length] = byte;
        prop_assert!(!decode(&frame).is_empty());
        // The template looks no further than the prefix of the topic.
        if template(&frame).is_some() {
            prop_assert_eq!(decode(&frame), generally(&frame));
        }
        let _ = confirm(&frame, &[], &mut BTreeSet::new());
        // Of the message as it was: a changed byte can be the end of a shorter one.
        let events = decode(&original[..cut.min(length - 1)]);
        prop_assert!(matches!(events[..], [Event::Reject(_)]), "{:?}", events);
    }

    #[test]
    fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(decode(&frame).len(), 1);
    }
}
