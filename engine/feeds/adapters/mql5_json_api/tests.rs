#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, SourceId};
use proptest::prelude::*;

fn decode(message: &[u8]) -> Event {
    let broker = Broker::new(toml::from_str("host = \"h\"\nbroker_time = \"new-york-close\"").unwrap()).unwrap();
    let symbols = Symbols::new(SourceId(1), [("EURUSD".to_string(), InstrumentId(7))]);
    let mut decoder = broker.decoder(&symbols);
    let mut events = Vec::new();
    decoder.decode(message, 5, &symbols, &mut |event| events.push(event));
    assert_eq!(events.len(), 1);
    events[0]
}

#[test]
fn a_tick_is_read_on_the_brokers_clock() {
    let Event::Tick(tick) = decode(Broker::EXAMPLE.1.as_bytes()) else { panic!() };
    // 10:15:30.123 on a server three hours ahead of UTC.
    assert_eq!((tick.ts_event_ns, tick.instrument), (Some(1_715_930_130_123_000_000), InstrumentId(7)));
    assert_eq!((tick.bid, tick.ask), (Some("1.08515".parse().unwrap()), Some("1.08521".parse().unwrap())));
}

#[test]
fn what_is_no_tick_is_told_apart() {
    for (message, expected) in [
        (
            r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"M1","data":[1581611100,1.08525,1.08525,1.08520,1.08520,10.0]}"#,
            Event::Alive,
        ),
        (r#"{"status":"CONNECTED","type":"FLUSH","data":"1581611172734"}"#, Event::Alive),
        (r#"{"status":"DISCONNECTED","type":"NORMAL","data":"x is finished"}"#, Event::Alive),
        (r#"{"status":"DISCONNECTED"}"#, Event::Refused(Cause::ClosedByPeer)),
        (r#"{"error":true,"lastError":"10024","description":"d","function":"f"}"#, Event::Refused(Cause::RateLimited)),
        (r#"{"error":true,"lastError":65}"#, Event::Refused(Cause::LoginRefused)),
        (r#"{"error":true}"#, Event::Refused(Cause::ProtocolError)),
        (
            r#"{"status":"CONNECTED","symbol":"GBPUSD","timeframe":"TICK","data":[1,2,3]}"#,
            Event::Reject(Reject::UnknownSymbol),
        ),
        (r#"{"a":1}"#, Event::Reject(Reject::Expected("status CONNECTED or DISCONNECTED"))),
        (
            r#"{"status":"CONNECTED","symbol":"EURUSD","timeframe":"TICK","data":[1,2]}"#,
            Event::Reject(Reject::Expected("a time, a bid and an ask in data")),
        ),
    ] {
        assert_eq!(decode(message.as_bytes()), expected, "{message}");
    }
    // Not the time of one and the price of the other.
    let twice = Broker::EXAMPLE.1.replace('}', ",\"data\":[1715940931123]}");
    assert!(matches!(decode(twice.as_bytes()), Event::Reject(Reject::Expected(_))));
    let late = Broker::EXAMPLE.1.replace("1715940930123", "18446744073709551615");
    assert!(matches!(decode(late.as_bytes()), Event::Reject(Reject::Malformed(_))));
}

#[test]
fn answers_to_other_questions_are_none() {
    assert_eq!(done(br#"{"error":false,"lastError":"0","description":"ERR_SUCCESS","function":"f"}"#), Ok(Some(())));
    assert_eq!(done(br#"{"data":[]}"#), Ok(None));
    assert!(done(b"OK").is_err());
    assert!(is_balance(br#"{"balance":1.0,"equity":1.0,"margin":0.0,"margin_free":1.0}"#));
    assert!(!is_balance(br#"{"error":false,"currency":"USD","balance":1.0}"#) && !is_balance(br#"{"data":[]}"#));
}

proptest! {
    #[test]
    fn no_mutation_panics(edits in proptest::collection::vec((0_usize..200, any::<u8>()), 0..6), cut in 0_usize..200) {
        let mut message = Broker::EXAMPLE.1.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at % message.len();
            message[at] = byte;
        }
        message.truncate(cut);
        decode(&message);
    }
}
