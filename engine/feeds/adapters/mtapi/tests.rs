#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, SourceId};
use proptest::prelude::*;

const QUOTE: &str = Broker::EXAMPLE.1;

fn symbols() -> Symbols {
    Symbols::new(SourceId(2), [("EURUSD".into(), InstrumentId(1)), ("XAUUSD.m".into(), InstrumentId(4))])
}

fn decode(frame: &str) -> Event {
    let mut events = Vec::new();
    let mut decoder = MtapiDecoder::new(BrokerTime::NewYorkClose);
    decoder.decode(frame.as_bytes(), 77, &symbols(), &mut |event| events.push(event));
    assert_eq!(events.len(), 1, "{frame}");
    events[0]
}

#[test]
fn a_quote_is_a_tick_and_its_time_the_brokers_clock() {
    let tick = TickInput {
        source: SourceId(2),
        instrument: InstrumentId(1),
        // 10:15:30.123 on the broker's clock in May is 07:15:30.123 UTC.
        ts_event_ns: Some(1_715_930_130_123_000_000),
        ts_recv_ns: 77,
        bid: Price::from_e9(1_085_100_000),
        ask: Price::from_e9(1_085_230_000),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    };
    assert_eq!(decode(QUOTE), Event::Tick(tick));
}

#[test]
fn a_utc_stamp_is_preferred_and_a_missing_one_is_no_error() {
    let at = |frame: &str| match decode(frame) {
        Event::Tick(tick) => tick.ts_event_ns,
        other => panic!("{other:?}"),
    };
    let time = "\"time\":\"2024-05-17T10:15:30.123\"";
    assert_eq!(
        at(&QUOTE.replace(time, &format!("{time},\"timestampUTC\":1715930130999"))),
        Some(1_715_930_130_999_000_000)
    );
    assert_eq!(at(&QUOTE.replace(time, &format!("\"timestampUTC\":null,{time}"))), Some(1_715_930_130_123_000_000));
    assert_eq!(at(&QUOTE.replace(time, "\"time\":\"2024-05-17T10:15:30Z\"")), Some(1_715_940_930_000_000_000));
    assert_eq!(at(&QUOTE.replace(time, "\"time\":null")), None);
}

#[test]
fn an_answer_to_a_poll_has_no_envelope_and_the_same_again_is_no_tick() {
    let bare = QUOTE.split_once("\"data\":").unwrap().1.strip_suffix('}').unwrap();
    let mut decoder = MtapiDecoder { polled: Some(Polled::new(2, 0)), ..MtapiDecoder::new(BrokerTime::NewYorkClose) };
    let mut decode = |frame: &str| {
        let mut events = Vec::new();
        decoder.decode(frame.as_bytes(), 77, &symbols(), &mut |event| events.push(event));
        events
    };
    let [Event::Tick(first)] = decode(bare)[..] else { panic!() };
    assert_eq!((first.ts_event_ns, first.snapshot), (Some(1_715_930_130_123_000_000), true));
    assert_eq!(decode(bare), [Event::Confirmed]);
    let [Event::Tick(second)] = decode(&bare.replace(".123", ".124"))[..] else { panic!() };
    assert!(!second.snapshot && second.bid == first.bid);
    // The same in an envelope is what the socket says, which never repeats itself for nothing.
    assert!(matches!(decode(QUOTE)[..], [Event::Tick(_)]) && matches!(decode(QUOTE)[..], [Event::Tick(_)]));
    let closed = r#"{"message":"No quote yet","code":"MARKET_CLOSED","stackTrace":""}"#;
    assert_eq!(decode(closed), [Event::Alive], "of one symbol, and the others go on");
    let slow = r#"{"message":"slower","code":"TOO_FREQUENT_REQUEST","stackTrace":""}"#;
    assert_eq!(decode(slow), [Event::Refused(Cause::RateLimited)]);
}

#[test]
fn tokens_that_are_asked_for_are_checked() {
    let build = |more: &str| {
        let keys = "base_url = \"http://h\"\nuser = \"7\"\npassword = \"p\"\nserver = \"S\"\nbroker_time = \"utc\"";
        Broker::new(toml::from_str(&format!("{keys}\n{more}")).unwrap())
    };
    assert_eq!(build("session = \"mine-1\"").unwrap().check(), Ok(()));
    let error = build("session = \"two words\"").unwrap().check().unwrap_err().to_string();
    assert!(error.contains("session: not a token, expected at most 128 of") && !error.contains("two words"), "{error}");
    assert_eq!(build("poll_ms = 0").unwrap_err().to_string(), "poll_ms: 0, expected at least 1");
}

#[test]
fn what_is_not_a_quote() {
    for (frame, event) in [
        (
            r#"{"message":"Client with id = x not found","code":"INVALID_TOKEN","stackTrace":"at …"}"#,
            Event::Refused(Cause::ConnectFailed),
        ),
        (r#"{"type":"Ohlc","data":{"symbol":"EURUSD","open":1.1}}"#, Event::Reject(Reject::Expected("type Quote"))),
        (r#"{"type":"Quote","data":{"symbol":"EURUSD","bid":1.1}}"#, Event::Reject(Reject::Expected("an ask"))),
        (r#"{"type":"Quote","data":{"symbol":"GBPUSD","bid":1.1,"ask":1.2}}"#, Event::Reject(Reject::UnknownSymbol)),
        (
            r#"{"type":"Quote","data":{"symbol":"EURUSD","bid":1.1,"ask":1.2,"time":"yesterday"}}"#,
            Event::Reject(Reject::Expected("a time such as 2024-05-17T10:15:30.123")),
        ),
        ("", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(frame), event, "{frame}");
    }
}

#[test]
fn tokens_come_with_and_without_quotes_and_errors_are_no_tokens() {
    for body in ["7c0f-1b3a", "\"7c0f-1b3a\"", " 7c0f-1b3a\r\n"] {
        assert_eq!(token(body.as_bytes()).as_deref(), Some("7c0f-1b3a"), "{body}");
    }
    for body in ["", "\"\"", "{\"code\":\"X\"}", "<html>", "two words", &"x".repeat(129)] {
        assert_eq!(token(body.as_bytes()), None, "{body}");
    }
    let error =
        VendorError::read(br#"{"message":"Invalid account","code":"INVALID_ACCOUNT","stackTrace":null}"#).unwrap();
    assert_eq!((error.cause(), error.words().as_str()), (Cause::LoginRefused, "Invalid account (INVALID_ACCOUNT)"));
    assert_eq!(VendorError::read(b"7c0f-1b3a"), None);
    assert_eq!(VendorError::read(b"OK"), None);
}

proptest! {
    #[test]
    fn numbers_are_read_as_they_are_written(bid in 1_i64..9_000_000_000_000, ask in 1_i64..9_000_000_000_000, pretty: bool) {
        let (bid, ask) = (Price::from_e9(bid * 1_000).unwrap(), Price::from_e9(ask * 1_000).unwrap());
        let frame = QUOTE.replace("1.0851,", &format!("{bid},")).replace("1.08523", &ask.to_string());
        let frame = if pretty { frame.replace(':', " : ").replace("10 : 15 : 30", "10:15:30") } else { frame };
        let Event::Tick(tick) = decode(&frame) else { panic!("{frame}") };
        prop_assert_eq!((tick.bid, tick.ask), (Some(bid), Some(ask)));
    }

    #[test]
    fn a_changed_message_never_panics_and_a_cut_one_is_rejected(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut frame = QUOTE.as_bytes().to_vec();
        let (mut decoder, mut events, length) = (MtapiDecoder::new(BrokerTime::Fixed(0)), Vec::new(), frame.len());
        frame[at % length] = byte;
        decoder.decode(&frame, 0, &symbols(), &mut |event| events.push(event));
        frame.truncate(cut % length);
        decoder.decode(&frame, 0, &symbols(), &mut |event| events.push(event));
        prop_assert!(matches!(events[..], [_, Event::Reject(_)]), "{:?}", events);
    }
}
