#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, Size, SourceId};
use proptest::prelude::*;
use tickwire_schemas::words::Aggressor;

const TICKER: &str = <Broker as Adapter>::EXAMPLE.1;
const TRADES: &str = r#"{"channel":"market_trades","timestamp":"2026-08-09T21:05:51.5Z","sequence_num":4,"events":[{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"1068572096","price":"65083.67","size":"0.00214","time":"2026-08-09T21:05:51.426861Z","side":"SELL"},{"product_id":"BTC-USD","trade_id":"1068572095","price":"65083.66","size":"1","time":"2026-08-09T21:05:51.376358Z","side":"BUY"}]}]}"#;
const HEARTBEAT: &str = r#"{"channel":"heartbeats","timestamp":"2026-04-07T14:30:10.1Z","sequence_num":5,"events":[{"current_time":"2026-04-07 14:30:10.000000000+00:00","heartbeat_counter":42}]}"#;
const ACK: &str = r#"{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.629706932Z","sequence_num":26,"events":[{"subscriptions":{"heartbeats":["heartbeats"],"market_trades":["BTC-USD"],"ticker":["BTC-USD","ETH-USD"]}}]}"#;

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("BTC-USD".into(), InstrumentId(5)), ("ETH-USD".into(), InstrumentId(6))])
}

fn decode_all(frames: &[&[u8]]) -> Vec<Event> {
    let (mut events, mut decoder) = (Vec::new(), CoinbaseDecoder::new(2));
    frames.iter().for_each(|frame| decoder.decode(frame, 77, &symbols(), &mut |event| events.push(event)));
    events
}

fn decode(frame: &[u8]) -> Vec<Event> {
    decode_all(&[frame])
}

fn generally(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let read = CoinbaseDecoder::new(2).general(frame, 77, &symbols(), &mut |event| events.push(event));
    if let Err(reject) = read {
        events.push(Event::Reject(reject));
    }
    events
}

fn tick() -> TickInput {
    TickInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_786_309_548_847_774_370),
        ts_recv_ns: 77,
        bid: Price::from_e9(65_083_660_000_000),
        ask: Price::from_e9(65_083_670_000_000),
        bid_size: Size::from_e8(20_371_215),
        ask_size: Size::from_e8(27_848_203),
        source_seq: None,
        snapshot: false,
    }
}

#[test]
fn a_ticker_is_a_tick_with_the_time_of_its_message() {
    assert!(template(TICKER.as_bytes()).is_some());
    assert_eq!(decode(TICKER.as_bytes()), [Event::Tick(tick())]);
    let first = TICKER.replace("update", "snapshot");
    assert_eq!(decode(first.as_bytes()), [Event::Tick(TickInput { snapshot: true, ..tick() })]);
    // As in the vendor's own example.
    let documented = TICKER.replace("\"channel\":\"ticker\"", "\"channel\":\"ticker\",\"client_id\":\"\"");
    assert_eq!(decode(documented.as_bytes()), [Event::Tick(tick())]);
    let one_sided = TICKER.replace("\"best_bid\":\"65083.66\"", "\"best_bid\":\"\"");
    let one_sided = one_sided.replace("\"best_bid_quantity\":\"0.20371215\"", "\"best_bid_quantity\":\"\"");
    assert_eq!(decode(one_sided.as_bytes()), [Event::Tick(TickInput { bid: None, bid_size: None, ..tick() })]);
}

#[test]
fn trades_are_told_oldest_first_and_the_side_is_the_makers() {
    let older = TradeInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_786_309_551_376_358_000),
        ts_recv_ns: 77,
        price: Price::from_e9(65_083_660_000_000).unwrap(),
        size: Size::from_e8(100_000_000),
        trade_id: Some(1_068_572_095),
        aggressor: Aggressor::Sell,
    };
    let newer = TradeInput {
        ts_event_ns: Some(1_786_309_551_426_861_000),
        price: Price::from_e9(65_083_670_000_000).unwrap(),
        size: Size::from_e8(214_000),
        trade_id: Some(1_068_572_096),
        aggressor: Aggressor::Buy,
        ..older
    };
    assert_eq!(decode(TRADES.as_bytes()), [Event::Trade(older), Event::Trade(newer)]);
    let before = TRADES.replace("update", "snapshot");
    assert_eq!(decode(before.as_bytes()), [Event::Alive], "what was before the subscription");
    let half = TRADES.replace("\"side\":\"SELL\"", "\"side\":\"\"");
    let bad = Reject::Expected("BUY or SELL in side");
    assert_eq!(decode(half.as_bytes()), [Event::Reject(bad), Event::Trade(older)]);
}

#[test]
fn a_jump_of_the_sequence_is_told_instead_of_the_message() {
    let at = |frame: &str, number: u64| {
        let from = frame.find("\"sequence_num\":").unwrap();
        let to = from + frame[from..].find(',').unwrap();
        format!("{}\"sequence_num\":{number}{}", &frame[..from], &frame[to..])
    };
    let said = |numbers: &[(&str, u64)]| {
        let frames: Vec<String> = numbers.iter().map(|(frame, number)| at(frame, *number)).collect();
        decode_all(&frames.iter().map(String::as_bytes).collect::<Vec<_>>())
    };
    let (price, alive) = (Event::Tick(tick()), Event::Alive);
    // Whatever the channel; the first number of a connection is as good as any.
    assert_eq!(said(&[(TICKER, 8), (HEARTBEAT, 9), (TICKER, 10)]), [price, alive, price]);
    assert_eq!(said(&[(TICKER, 8), (TICKER, 10)]), [price, Event::Lost(1)]);
    assert_eq!(said(&[(HEARTBEAT, 8), (ACK, 12)]), [alive, Event::Lost(3)]);
    // A late or repeated one is no hole.
    assert_eq!(said(&[(TICKER, 8), (TICKER, 8), (TICKER, 7), (TICKER, 9)]), [price; 4]);
}

#[test]
fn the_best_levels_of_a_book_are_told_when_they_change() {
    let message = |number: u64, kind: &str, updates: &str| {
        format!(
            r#"{{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.84777437Z","sequence_num":{number},"events":[{{"type":"{kind}","product_id":"BTC-USD","updates":[{updates}]}}]}}"#
        )
    };
    let level = |side: &str, at: &str, quantity: &str| {
        format!(
            r#"{{"side":"{side}","event_time":"2026-08-09T21:05:48.1Z","price_level":"{at}","new_quantity":"{quantity}"}}"#
        )
    };
    let first =
        [level("bid", "65083.66", "0.20371215"), level("bid", "65000", "1"), level("offer", "65083.67", "0.27848203")];
    let frames = [
        message(0, "snapshot", &first.join(",")),
        message(1, "update", &level("bid", "65000", "2")),
        message(2, "update", &level("bid", "65083.66", "0")),
        message(3, "update", &level("bid", "64999.5", "no number")),
    ];
    let events = decode_all(&frames.each_ref().map(|frame| frame.as_bytes()));
    let fallen = TickInput { bid: Price::from_e9(65_000_000_000_000), bid_size: Size::from_e8(200_000_000), ..tick() };
    let expected = [Event::Tick(TickInput { snapshot: true, ..tick() }), Event::Alive, Event::Tick(fallen)];
    assert_eq!(events[..3], expected);
    // A book with a hole is no book: the session gets another.
    assert!(matches!(events[3..], [Event::Reject(Reject::Decimal { field: "new_quantity", .. }), Event::Lost(1)]));
}

#[test]
fn what_is_not_a_price() {
    for (frame, event) in [
        (HEARTBEAT, Event::Alive),
        (&HEARTBEAT.replace("42", "\"42\""), Event::Alive),
        (ACK, Event::Alive),
        (r#"{"type":"error","message":"rate limit exceeded"}"#, Event::Refused(Cause::RateLimited)),
        (r#"{"type":"error","message":"authentication failure"}"#, Event::Refused(Cause::ProtocolError)),
        (
            r#"{"channel":"candles","sequence_num":3,"events":[]}"#,
            Event::Reject(Reject::Expected("the channel ticker, l2_data, market_trades, heartbeats or subscriptions")),
        ),
        (r#"{"channel":"ticker","events":[{"type":"update","tickers":[]}]}"#, Event::Alive),
        (
            r#"{"channel":"ticker","events":[{"tickers":[{"product_id":"X-Y","best_bid":"1"}]}]}"#,
            Event::Reject(Reject::UnknownSymbol),
        ),
        ("[]", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(frame.as_bytes()), [event], "{frame}");
    }
}

#[test]
fn what_is_confirmed_is_no_longer_awaited_and_an_error_is_passed_on() {
    let all = [
        "ticker of BTC-USD",
        "ticker of ETH-USD",
        "market_trades of BTC-USD",
        "market_trades of ETH-USD",
        "heartbeats",
    ];
    let mut pending: BTreeSet<String> = all.map(String::from).into();
    for frame in [TICKER, TRADES, "rubbish", ACK] {
        confirm(frame.as_bytes(), &mut pending).unwrap();
    }
    assert_eq!(pending, ["market_trades of ETH-USD".to_string()].into());
    let refused = r#"{"type":"error","message":"failed to subscribe","reason":"ETH-USD is not a valid product"}"#;
    let failure = confirm(refused.as_bytes(), &mut pending).unwrap_err();
    assert_eq!(failure.text, "the subscription was refused: failed to subscribe: ETH-USD is not a valid product");
}

/// What the general parser of `serde_json` makes of a ticker.
fn reference(frame: &[u8]) -> Vec<Event> {
    let value: Value = serde_json::from_slice(frame).unwrap();
    let event = &value["events"][0];
    let item = &event["tickers"][0];
    let text = |key: &str| item[key].as_str().unwrap();
    vec![Event::Tick(TickInput {
        instrument: symbols().find(text("product_id").as_bytes()).unwrap().instrument,
        ts_event_ns: Some(utc_time(value["timestamp"].as_str().unwrap().as_bytes()).unwrap()),
        bid: Some(text("best_bid").parse().unwrap()),
        ask: Some(text("best_ask").parse().unwrap()),
        bid_size: Some(text("best_bid_quantity").parse().unwrap()),
        ask_size: Some(text("best_ask_quantity").parse().unwrap()),
        snapshot: event["type"] == "snapshot",
        ..tick()
    })]
}

proptest! {
    #[test]
    fn the_template_and_the_cursor_read_what_serde_json_reads(
        sides in proptest::array::uniform4("[0-9]{1,7}(\\.[0-9]{1,8})?"), nanos in "[0-9]{1,9}", number in 0_u64..u64::MAX,
        is_btc: bool, is_first: bool, shuffled: bool, pretty: bool,
    ) {
        let [bid, bid_size, ask, ask_size] = &sides;
        let symbol = if is_btc { "BTC-USD" } else { "ETH-USD" };
        let kind = if is_first { "snapshot" } else { "update" };
        let frame = format!(r#"{{"channel":"ticker","timestamp":"2026-08-09T21:05:48.{nanos}Z","sequence_num":{number},"events":[{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{symbol}","price":"{bid}","volume_24_h":"1","low_24_h":"1","high_24_h":"2","low_52_w":"1","high_52_w":"2","price_percent_chg_24_h":"-0.1","best_bid":"{bid}","best_ask":"{ask}","best_bid_quantity":"{bid_size}","best_ask_quantity":"{ask_size}"}}]}}]}}"#);
        prop_assert_eq!(template(frame.as_bytes()).is_some(), !is_first);
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
        at in 0_usize..600, byte: u8, cut in 0_usize..600, which in 0_usize..4,
    ) {
        let original = [TICKER, TRADES, ACK, HEARTBEAT][which].as_bytes();
        let (mut frame, length) = (original.to_vec(), original.len());
        frame[at % length] = byte;
        prop_assert!(!decode(&frame).is_empty());
        prop_assert_eq!(decode(&frame), generally(&frame));
        let _ = confirm(&frame, &mut BTreeSet::new());
        // Of the message as it was: a changed byte can be the end of a shorter one.
        let events = decode(&original[..cut.min(length - 1)]);
        prop_assert!(matches!(events[..], [Event::Reject(_)]), "{:?}", events);
    }

    #[test]
    fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(decode(&frame).len(), 1);
    }
}
