#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, SourceId};
use proptest::prelude::*;

fn symbols() -> Symbols {
    Symbols::new(SourceId(1), [("EURUSD".to_string(), InstrumentId(7)), ("XAUUSD".to_string(), InstrumentId(8))])
}

fn decode(message: &[u8]) -> Event {
    let mut events = Vec::new();
    DwxDecoder.decode(message, 5, &symbols(), &mut |event| events.push(event));
    assert_eq!(events.len(), 1);
    events[0]
}

#[test]
fn a_price_has_no_time_of_its_own() {
    let Event::Tick(tick) = decode(Broker::EXAMPLE.1.as_bytes()) else { panic!() };
    assert_eq!((tick.ts_event_ns, tick.ts_recv_ns, tick.instrument), (None, 5, InstrumentId(7)));
    assert_eq!((tick.bid, tick.ask), (Some("1.08515".parse().unwrap()), Some("1.08521".parse().unwrap())));
}

#[test]
fn what_is_no_price_is_told_apart() {
    let expected = Event::Reject(Reject::Expected("SYMBOL:|:BID;ASK"));
    for (message, event) in [
        ("EURUSD_M5:|:1581611100;1.085250;1.085250;1.085200;1.085200;10;0;0", Event::Alive),
        ("EURUSD:|:", Event::Alive),
        ("EURUSD:|:1.1", expected),
        ("EURUSD:|:1.1;1.2;1.3", expected),
        ("EURUSD;1.1;1.2", expected),
        ("GBPUSD:|:1.1;1.2", Event::Reject(Reject::UnknownSymbol)),
    ] {
        assert_eq!(decode(message.as_bytes()), event, "{message}");
    }
    assert!(matches!(decode(b"EURUSD:|:1.1;x"), Event::Reject(Reject::Decimal { field: "the ask", .. })));
}

fn track(text: &str) -> Result<(), String> {
    let json = answer::to_json(text.as_bytes());
    let answer = Answer::read(&json).map_err(|e| e.to_string())?;
    if let Some(refusal) = answer.refusal() {
        return Err(format!("{:?} {refusal}", refusal.cause));
    }
    tracked(&answer, &symbols()).map_err(|failure| failure.text)
}

#[test]
fn all_symbols_or_none() {
    let data = |data: &str| track(&format!("{{'_action': 'TRACK_PRICES', '_data': {{{data}}}}}"));
    assert_eq!(data("'symbol_count':2, 'error_symbols':[]"), Ok(()));
    // A terminal that counts its whole array.
    assert_eq!(data("'symbol_count':10, 'error_symbols':['', '', '', '', '', '', '', '']"), Ok(()));
    let said = data("'symbol_count':2, 'error_symbols':['XAUUSD']").unwrap_err();
    assert_eq!(said, "TRACK_PRICES: the terminal has no symbol XAUUSD");
    let said = data("'symbol_count': 1, 'error_symbols':[]").unwrap_err();
    assert_eq!(said, "TRACK_PRICES: 1 of 2 symbols are tracked");
    assert!(data("").is_err());
    assert_eq!(
        track("{'_response': 'TRADE_CONTEXT_BUSY__ABORTED_COMMAND'}").unwrap_err(),
        "RateLimited TRADE_CONTEXT_BUSY__ABORTED_COMMAND"
    );
    assert!(track("{'_response': 'NO_BROKER_CONNECTION__ABORTED_COMMAND'}").unwrap_err().starts_with("ConnectFailed"));
}

#[test]
fn python_becomes_json() {
    let json = |text: &str| String::from_utf8(answer::to_json(text.as_bytes())).unwrap();
    assert_eq!(
        json("{'a': 1.50, 12: {'b':'it's \"x\" 3: \\'}, 'c' :[-2]}"),
        r#"{"a": 1.50, "12": {"b":"it's \"x\" 3: \\"}, "c" :[-2]}"#
    );
    assert_eq!(json("{'a':'x\ny'}"), r#"{"a":"x y"}"#);
}

proptest! {
    #[test]
    fn no_mutation_panics(edits in proptest::collection::vec((0_usize..200, any::<u8>()), 0..6), cut in 0_usize..40) {
        let mut message = Broker::EXAMPLE.1.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at % message.len();
            message[at] = byte;
        }
        message.truncate(cut);
        decode(&message);
        let _ = answer::to_json(&message);
    }

    #[test]
    fn texts_of_python_survive(text in "[a-zA-Z0-9 .:;\"\\\\]{0,30}", number in 0_u32..1_000_000) {
        let json = answer::to_json(format!("{{'k': '{text}', {number}: {number}}}").as_bytes());
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(&value["k"], &text);
        prop_assert_eq!(&value[number.to_string()], &number);
    }
}
