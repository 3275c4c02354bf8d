#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, SourceId};
use proptest::prelude::*;

const PRICE: &str = Broker::EXAMPLE.1;

fn symbols() -> Symbols {
    Symbols::new(SourceId(1), [("EUR_USD".into(), InstrumentId(1)), ("USD_JPY".into(), InstrumentId(2))])
}

fn decode_with(decoder: &mut OandaDecoder, line: &str) -> Event {
    let mut events = Vec::new();
    decoder.decode(line.as_bytes(), 77, &symbols(), &mut |event| events.push(event));
    assert_eq!(events.len(), 1, "{line}");
    events[0]
}

fn decode(line: &str) -> Event {
    decode_with(&mut OandaDecoder::new(2), line)
}

#[test]
fn a_price_is_a_tick_with_its_best_levels() {
    let line = PRICE.replace(
        "[{\"price\":\"1.18571\",\"liquidity\":10000000}]",
        "[{\"price\":\"1.18571\",\"liquidity\":1000000},{\"price\":\"1.18570\",\"liquidity\":2000000}]",
    );
    let tick = TickInput {
        source: SourceId(1),
        instrument: InstrumentId(1),
        ts_event_ns: Some(1_603_486_922_692_522_548),
        ts_recv_ns: 77,
        bid: Price::from_e9(1_185_710_000),
        ask: Price::from_e9(1_186_710_000),
        bid_size: Size::from_e8(1_000_000 * 100_000_000),
        ask_size: Size::from_e8(10_000_000 * 100_000_000),
        source_seq: None,
        snapshot: true,
    };
    assert_eq!(decode(&line), Event::Tick(tick));
}

#[test]
fn a_side_of_the_book_may_be_empty() {
    let line = PRICE.replace("\"bids\":[{\"price\":\"1.18571\",\"liquidity\":10000000}]", "\"bids\":[]");
    let Event::Tick(tick) = decode(&line) else { panic!("not a tick") };
    assert_eq!((tick.bid, tick.bid_size), (None, None));
    assert_eq!(tick.ask, Price::from_e9(1_186_710_000));
}

#[test]
fn times_in_unix_form_and_sizes_with_a_point() {
    let line =
        PRICE.replace("2020-10-23T21:02:02.692522548Z", "1603486922.692522548").replace(":10000000}", ":10000000.0}");
    let Event::Tick(tick) = decode(&line) else { panic!("not a tick") };
    assert_eq!(tick.ts_event_ns, Some(1_603_486_922_692_522_548));
    assert_eq!(tick.bid_size, Size::from_e8(10_000_000 * 100_000_000));
}

#[test]
fn the_first_price_of_each_instrument_on_a_connection_is_the_snapshot() {
    let mut decoder = OandaDecoder::new(2);
    let yen = PRICE.replace("EUR_USD", "USD_JPY");
    let snapshots = [PRICE, &yen, PRICE, &yen].map(|line| match decode_with(&mut decoder, line) {
        Event::Tick(tick) => tick.snapshot,
        other => panic!("{other:?}"),
    });
    assert_eq!(snapshots, [true, true, false, false]);
}

#[test]
fn what_is_not_a_price() {
    for (line, event) in [
        (r#"{"type":"HEARTBEAT","time":"2016-10-27T08:38:44.327443673Z"}"#, Event::Alive),
        (r#"{"lastTransactionID":"7582","time":"2017-03-09T15:08:57.512620407Z","type":"HEARTBEAT"}"#, Event::Alive),
        (r#"{"errorMessage":"Session ended"}"#, Event::Refused(Cause::ProtocolError)),
        (r#"{"type":"OTHER"}"#, Event::Reject(Reject::Expected("type PRICE or HEARTBEAT"))),
        ("<html>", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(line), event, "{line}");
    }
    assert_eq!(decode(&PRICE.replace("EUR_USD", "EUR_XXX")), Event::Reject(Reject::UnknownSymbol));
    assert!(matches!(
        decode(&PRICE.replace("1.18571\",\"l", "1.18571x\",\"l")),
        Event::Reject(Reject::Decimal { field: "price", .. })
    ));
    // A time without a zone is nobody's: it must not be taken for UTC.
    assert!(matches!(decode(&PRICE.replace("548Z", "548")), Event::Reject(Reject::Expected(_))));
}

#[test]
fn names_and_words() {
    assert_eq!(["EURUSD", "XAUUSD", "US30"].map(Broker::venue_symbol), ["EUR_USD", "XAU_USD", "US30"]);
    assert_eq!(
        error_message(br#"{"errorCode":"x","errorMessage":"Insufficient authorization"}"#).as_deref(),
        Some("Insufficient authorization")
    );
    assert_eq!(error_message(b"<html>"), None);
}

proptest! {
    #[test]
    fn reads_what_serde_json_reads(
        levels in proptest::collection::vec(("[0-9]{1,4}\\.[0-9]{1,5}", 1_u64..100_000_000), 0..4), pretty: bool, ask: bool,
    ) {
        let mut value: serde_json::Value = serde_json::from_str(PRICE).unwrap();
        let side = if ask { "asks" } else { "bids" };
        value[side] = levels.iter().map(|(p, l)| serde_json::json!({ "price": p, "liquidity": l })).collect();
        let line = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let Event::Tick(tick) = decode(&line) else { panic!("{line}") };
        let best = levels.first().map(|(p, l)| (p.parse::<Price>().unwrap(), Size::from_e8(l * 100_000_000).unwrap()));
        let read = if ask { tick.ask.zip(tick.ask_size) } else { tick.bid.zip(tick.bid_size) };
        prop_assert_eq!(read, best);
    }

    #[test]
    fn a_changed_line_never_panics_and_a_cut_one_is_rejected(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
        let mut line = PRICE.as_bytes().to_vec();
        let (mut decoder, mut events, length) = (OandaDecoder::new(2), Vec::new(), line.len());
        line[at % length] = byte;
        decoder.decode(&line, 0, &symbols(), &mut |event| events.push(event));
        line.truncate(cut % length);
        decoder.decode(&line, 0, &symbols(), &mut |event| events.push(event));
        prop_assert!(matches!(events[..], [_, Event::Reject(_)]), "{:?}", events);
    }
}
