#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, SourceId};

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("EUR/USD".into(), InstrumentId(1)), ("USD/JPY".into(), InstrumentId(2))])
}

fn decode(frame: &str) -> Event {
    let mut told = Vec::new();
    FxcmDecoder::default().decode(frame.as_bytes(), 7, &symbols(), &mut |event| told.push(event));
    assert_eq!(told.len(), 1, "{frame}");
    told.remove(0)
}

fn tick(frame: &str) -> TickInput {
    match decode(frame) {
        Event::Tick(tick) => tick,
        other => panic!("{frame}: {other:?}"),
    }
}

#[test]
fn the_documented_update_is_a_price_and_its_time_seconds_or_milliseconds() {
    let seconds = tick(
        r#"42["USD/JPY","{\"Updated\":1504167080,\"Rates\":[110.467,110.488,110.629,110.156],\"Symbol\":\"USD/JPY\"}"]"#,
    );
    assert_eq!((seconds.instrument, seconds.ts_event_ns), (InstrumentId(2), Some(1_504_167_080_000_000_000)));
    assert_eq!((seconds.bid.unwrap().e9(), seconds.ask.unwrap().e9()), (110_467_000_000, 110_488_000_000));
    let millis = tick(Broker::EXAMPLE.1);
    assert_eq!((millis.instrument, millis.ts_event_ns), (InstrumentId(1), Some(1_503_314_642_123_000_000)));
}

#[test]
fn an_update_may_stand_for_itself_and_be_named_by_its_event_alone() {
    let object = tick(r#"42["EUR/USD",{"Rates":[1.17614,1.17637]}]"#);
    assert_eq!((object.instrument, object.ts_event_ns), (InstrumentId(1), None));
    let slash = tick(r#"42["x","{\"Rates\":[1,2],\"Symbol\":\"EUR\/USD\"}"]"#);
    assert_eq!(slash.instrument, InstrumentId(1));
    let empty = tick(r#"42["EUR/USD",{"Rates":[null,1.17637]}]"#);
    assert_eq!((empty.bid, empty.ask.unwrap().e9()), (None, 1_176_370_000));
}

#[test]
fn packets_without_a_price_are_life_an_end_or_a_refusal() {
    for alive in ["0{\"sid\":\"a\"}", "2", "3", "3probe", "40", "40{\"sid\":\"b\"}", "6"] {
        assert_eq!(decode(alive), Event::Alive, "{alive}");
    }
    assert_eq!((decode("1"), decode("41")), (Event::Leaving, Event::Leaving));
    assert_eq!(decode("44\"Session ended\""), Event::Refused(Cause::ProtocolError));
    assert_eq!(decode("44\"ORA-20301: Too many calls\""), Event::Refused(Cause::RateLimited));
}

#[test]
fn what_is_no_update_is_refused() {
    for frame in [
        "",
        "9",
        "42",
        "42[]",
        r#"42["EUR/USD"]"#,
        r#"42["EUR/USD","{}"]"#,
        r#"42["EUR/USD","{\"Rates\":[1.1]}"]"#,
        r#"42["EUR/USD","{\"Rates\":[1.1,1.2],\"Updated\":12}"]"#,
        r#"42["EUR/USD","{\"Rates\":[1.10000000001,1.2]}"]"#,
        r#"42["EUR/USD","\u007b}"]"#,
        r#"42["GBP/USD","{\"Rates\":[1.1,1.2]}"]"#,
    ] {
        assert!(matches!(decode(frame), Event::Reject(_)), "{frame}");
    }
}

#[test]
fn keys_that_cannot_work_are_named() {
    let new = |engine_io, ping_ms| {
        let settings = Settings {
            base_url: "https://api-demo.fxcm.com/".into(),
            token: Secret::new("t"),
            account: String::new(),
            currency: String::new(),
            engine_io,
            ping_ms,
            history_per_second: 5,
        };
        Broker::new(settings).map(|broker| broker.stream_base).map_err(|e| e.to_string())
    };
    assert_eq!(new(3, 1), Ok("wss://api-demo.fxcm.com".into()));
    assert_eq!(new(5, 1), Err("engine_io: 5, expected 3 or 4".into()));
    assert_eq!(new(4, 0), Err("ping_ms: 0, expected at least 1".into()));
    assert_eq!((Broker::venue_symbol("XAUUSD"), Broker::venue_symbol("US30")), ("XAU/USD".into(), "US30".into()));
}
