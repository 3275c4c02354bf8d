#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, Size, SourceId};
use proptest::prelude::*;

const TICKER: &str = <Broker as Adapter>::EXAMPLE.1;
const TRADE: &str = r#"{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,"qty":0.00027625,"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"},{"symbol":"ETH/USD","side":"sell","price":1634.5,"qty":1e-8,"ord_type":"market","trade_id":7,"timestamp":"2023-10-06T17:35:56.440295Z"}]}"#;
const ACK: &str = r#"{"method":"subscribe","req_id":1,"result":{"channel":"ticker","event_trigger":"bbo","snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"2023-09-25T09:04:31.742599Z","time_out":"2023-09-25T09:04:31.742648Z"}"#;

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("BTC/USD".into(), InstrumentId(5)), ("ETH/USD".into(), InstrumentId(6))])
}

fn decode(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    KrakenDecoder.decode(frame, 77, &symbols(), &mut |event| events.push(event));
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
        ts_event_ns: Some(1_748_770_259_123_456_000),
        ts_recv_ns: 77,
        bid: Price::from_e9(105_944_200_000_000),
        ask: Price::from_e9(105_944_300_000_000),
        bid_size: Size::from_e8(250_000_000),
        ask_size: Size::from_e8(320_000_000),
        source_seq: None,
        snapshot: false,
    }
}

#[test]
fn a_ticker_is_a_tick_with_the_digits_that_were_sent() {
    assert!(template(TICKER.as_bytes()).is_some());
    assert_eq!(decode(TICKER.as_bytes()), [Event::Tick(tick())]);
    let first = TICKER.replace("update", "snapshot");
    assert_eq!(decode(first.as_bytes()), [Event::Tick(TickInput { snapshot: true, ..tick() })]);
    let older = TICKER.replace(r#","timestamp":"2025-06-01T09:30:59.123456Z""#, "");
    assert_eq!(decode(older.as_bytes()), [Event::Tick(TickInput { ts_event_ns: None, ..tick() })]);
    let one_sided = TICKER.replace("\"bid\":105944.20,\"bid_qty\":2.5", "\"bid\":null,\"bid_qty\":null");
    assert_eq!(decode(one_sided.as_bytes()), [Event::Tick(TickInput { bid: None, bid_size: None, ..tick() })]);
}

#[test]
fn the_side_of_a_trade_is_the_takers() {
    let buy = TradeInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_696_613_755_440_295_000),
        ts_recv_ns: 77,
        price: Price::from_e9(105_944_200_000_000).unwrap(),
        size: Size::from_e8(27_625),
        trade_id: Some(10_218_208),
        aggressor: Aggressor::Buy,
    };
    let sell = TradeInput {
        instrument: InstrumentId(6),
        ts_event_ns: Some(1_696_613_756_440_295_000),
        price: Price::from_e9(1_634_500_000_000).unwrap(),
        size: Size::from_e8(1),
        trade_id: Some(7),
        aggressor: Aggressor::Sell,
        ..buy
    };
    assert_eq!(decode(TRADE.as_bytes()), [Event::Trade(buy), Event::Trade(sell)]);
    // One bad item of a message does not take the others with it.
    let half = TRADE.replace("\"side\":\"buy\"", "\"side\":[]");
    let bad = Reject::Malformed(Malformed("a string"));
    assert_eq!(decode(half.as_bytes()), [Event::Reject(bad), Event::Trade(sell)]);
}

#[test]
fn what_is_not_a_price() {
    for (frame, event) in [
        (r#"{"channel":"heartbeat"}"#, Event::Alive),
        (r#"{"channel":"status","type":"update","data":[{"api_version":"v2","system":"online"}]}"#, Event::Alive),
        (r#"{"method":"pong","req_id":42,"time_in":"x","time_out":"y"}"#, Event::Alive),
        (ACK, Event::Alive),
        (r#"{"error":"Exceeded msg rate","method":"subscribe","success":false}"#, Event::Refused(Cause::RateLimited)),
        (r#"{"error":"Unsupported field","method":"subscribe","success":false}"#, Event::Refused(Cause::ProtocolError)),
        (
            r#"{"channel":"book","type":"update","data":[]}"#,
            Event::Reject(Reject::Expected("the channel ticker, trade, heartbeat or status")),
        ),
        (r#"{"channel":"ticker","type":"update","data":[]}"#, Event::Reject(Reject::Expected("something in data"))),
        (r#"{"channel":"ticker","data":[{"symbol":"X/Y","bid":1}]}"#, Event::Reject(Reject::UnknownSymbol)),
        (r#"{"channel":"ticker","data":[{"symbol":"BTC/USD"}]}"#, Event::Reject(Reject::Expected("a bid or an ask"))),
        ("[]", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(frame.as_bytes()), [event], "{frame}");
    }
}

#[test]
fn every_symbol_of_every_channel_is_awaited_and_a_refused_one_is_named() {
    let asked: Vec<Value> = (1..)
        .zip(CHANNELS)
        .map(|(id, channel)| serde_json::from_str(&request(id, channel, &symbols())).unwrap())
        .collect();
    assert_eq!(
        asked[0],
        json!({"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD","ETH/USD"],"event_trigger":"bbo","snapshot":true},"req_id":1})
    );
    assert_eq!(asked[1]["params"]["snapshot"], false);
    let mut pending: BTreeSet<String> = ["BTC/USD", "ETH/USD"].map(|name| awaited("ticker", name)).into();
    for frame in [TICKER, r#"{"channel":"heartbeat"}"#, "rubbish", ACK] {
        confirm(frame.as_bytes(), &mut pending).unwrap();
    }
    assert_eq!(pending, ["ticker of ETH/USD".to_string()].into());
    let refused =
        r#"{"error":"Currency pair not supported ETH/USD","method":"subscribe","success":false,"symbol":"ETH/USD"}"#;
    let failure = confirm(refused.as_bytes(), &mut pending).unwrap_err();
    assert_eq!(failure.text, "the subscription was refused: Currency pair not supported ETH/USD");
}

#[test]
fn pairs_have_a_slash() {
    for (canonical, venue) in [("BTCUSD", "BTC/USD"), ("BTCUSDT", "BTC/USDT"), ("EURUSD", "EUR/USD"), ("USD", "USD")] {
        assert_eq!(Broker::venue_symbol(canonical), venue);
    }
}

/// What the general parser of `serde_json` makes of tickers, whose numbers have few enough digits for its floats.
fn reference(frame: &[u8]) -> Vec<Event> {
    let value: Value = serde_json::from_slice(frame).unwrap();
    let item = &value["data"][0];
    let text = |key: &str| item[key].to_string();
    let symbols = symbols();
    let found = symbols.find(item["symbol"].as_str().unwrap().as_bytes()).unwrap();
    vec![Event::Tick(TickInput {
        instrument: found.instrument,
        ts_event_ns: item["timestamp"].as_str().map(|time| utc_time(time.as_bytes()).unwrap()),
        bid: Some(text("bid").parse().unwrap()),
        ask: Some(text("ask").parse().unwrap()),
        bid_size: Some(text("bid_qty").parse().unwrap()),
        ask_size: Some(text("ask_qty").parse().unwrap()),
        snapshot: value["type"] == "snapshot",
        ..tick()
    })]
}

proptest! {
    #[test]
    fn the_template_and_the_cursor_read_what_serde_json_reads(
        sides in proptest::array::uniform4("[1-9][0-9]{0,5}(\\.[0-9]{1,7})?"), micros in 0_u32..1_000_000,
        is_btc: bool, is_first: bool, has_time: bool, shuffled: bool, pretty: bool,
    ) {
        let [bid, bid_qty, ask, ask_qty] = &sides;
        let symbol = if is_btc { "BTC/USD" } else { "ETH/USD" };
        let kind = if is_first { "snapshot" } else { "update" };
        let time = if has_time { format!(r#","timestamp":"2025-06-01T09:30:59.{micros:06}Z""#) } else { String::new() };
        let frame = format!(r#"{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{symbol}","bid":{bid},"bid_qty":{bid_qty},"ask":{ask},"ask_qty":{ask_qty},"last":{bid},"volume":{bid_qty},"vwap":{bid},"low":{bid},"high":{ask},"change":-{bid},"change_pct":0.24{time}}}]}}"#);
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
        at in 0_usize..400, byte: u8, cut in 0_usize..400, which in 0_usize..3,
    ) {
        let original = [TICKER, TRADE, ACK][which].as_bytes();
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
