#![allow(clippy::unwrap_used)]
use super::*;
use crate::market::{InstrumentId, Price, Size, SourceId};
use proptest::prelude::*;

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("BTCUSDT".into(), InstrumentId(5)), ("ETHUSDT".into(), InstrumentId(6))])
}

fn decode(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    BinanceDecoder.decode(frame, 77, &symbols(), &mut |event| events.push(event));
    events
}

const BOOK: &str = r#"{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}}"#;
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#;
const FUTURES: &str = r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}"#;

#[test]
fn a_book_ticker_is_a_tick_without_a_time_and_with_a_sequence() {
    let tick = TickInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: None,
        ts_recv_ns: 77,
        bid: Price::from_e9(61_837_630_000_000),
        ask: Price::from_e9(61_837_640_000_000),
        bid_size: Size::from_e8(378_826_000),
        ask_size: Size::from_e8(154_698_000),
        source_seq: Some(50_093_239_212),
        snapshot: false,
    };
    assert_eq!(decode(BOOK.as_bytes()), [Event::Tick(tick)]);
}

#[test]
fn when_the_buyer_rests_the_aggressor_sold() {
    let trade = TradeInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_723_161_255_342_000_000),
        ts_recv_ns: 77,
        price: Price::from_e9(61_837_630_000_000).unwrap(),
        size: Size::from_e8(2_000_000),
        trade_id: Some(3_735_683_259),
        aggressor: Aggressor::Sell,
    };
    assert_eq!(decode(TRADE.as_bytes()), [Event::Trade(trade)]);
    let bought = TRADE.replace("\"m\":true", "\"m\":false");
    assert_eq!(decode(bought.as_bytes()), [Event::Trade(TradeInput { aggressor: Aggressor::Buy, ..trade })]);
}

#[test]
fn the_futures_book_ticker_has_a_time() {
    let [Event::Tick(tick)] = decode(FUTURES.as_bytes())[..] else { panic!("not a tick") };
    assert_eq!((tick.ts_event_ns, tick.source_seq), (Some(1_723_161_256_313_000_000), Some(5_123_107_839_020)));
}

#[test]
fn what_is_not_a_price() {
    for (frame, event) in [
        (r#"{"result":null,"id":1}"#, Event::Alive),
        (r#"{"e":"serverShutdown","E":1770123456789}"#, Event::Leaving),
        (r#"{"stream":"x","data":{"e":"serverShutdown","E":1770123456789}}"#, Event::Leaving),
        (r#"{"code":-1121,"msg":"Invalid symbol."}"#, Event::Refused(Cause::ProtocolError)),
        (r#"{"error":{"code":-1003,"msg":"Too many requests."},"id":1}"#, Event::Refused(Cause::RateLimited)),
        (
            r#"{"stream":"x","data":{"e":"kline","s":"BTCUSDT","k":{"t":1}}}"#,
            Event::Reject(Reject::Expected("a bookTicker or a trade")),
        ),
        (
            r#"{"stream":"x","data":{"u":1,"s":"XRPUSDT","b":"1","B":"1","a":"1","A":"1"}}"#,
            Event::Reject(Reject::UnknownSymbol),
        ),
        (
            r#"{"stream":"x","data":{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1"}}"#,
            Event::Reject(Reject::Expected("prices and sizes in b, B, a and A")),
        ),
        ("[]", Event::Reject(Reject::Malformed(Malformed("an object")))),
    ] {
        assert_eq!(decode(frame.as_bytes()), [event], "{frame}");
    }
    for (bad, field) in [("\"b\":\"61837.6x\"", "b"), ("\"b\":\"1.0000000001\"", "b"), ("\"b\":\"\"", "b")] {
        let frame = BOOK.replace("\"b\":\"61837.63000000\"", bad);
        assert!(
            matches!(decode(frame.as_bytes())[..], [Event::Reject(Reject::Decimal { field: f, .. })] if f == field),
            "{frame}"
        );
    }
}

/// What the general parser of `serde_json` makes of a bookTicker or trade.
fn reference(frame: &[u8]) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_slice(frame).ok()?;
    let data = value.get("data")?;
    let keys: &[&str] =
        if data.get("e")? == "trade" { &["s", "t", "p", "q", "T", "m"] } else { &["u", "s", "b", "B", "a", "A"] };
    let text = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), str::to_string);
    let exact = |key: &str, text: String| if "bBaA".contains(key) { shortest(&text) } else { text };
    keys.iter().map(|key| data.get(key).map(|value| exact(key, text(value)))).collect()
}

/// A decimal without zeros that say nothing.
fn shortest(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
}

/// What one of the templates reads.
fn quickly(frame: &[u8]) -> Option<Message<'_>> {
    let book = Book::template(frame).map(|book| Message::Book { symbol: Name::Borrowed(book.symbol), best: book.best });
    book.or_else(|| template(frame))
}

fn told(message: &Message<'_>) -> Option<Vec<String>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match message {
        Message::Book { symbol, best } => Some(vec![
            best.update.map_or(String::new(), |u| u.to_string()),
            text(symbol),
            best.bid.to_string(),
            best.bid_size.to_string(),
            best.ask.to_string(),
            best.ask_size.to_string(),
        ]),
        Message::Trade { id, symbol, price, size, time, buyer_rests } => Some(vec![
            text(symbol),
            id.map_or(String::new(), |id| id.to_string()),
            text(price),
            text(size),
            time.to_string(),
            buyer_rests.to_string(),
        ]),
        _ => None,
    }
}

proptest! {
    #[test]
    fn the_template_and_the_cursor_read_what_serde_json_reads(
        update in 0_u64..u64::MAX, symbol in "[A-Z0-9]{2,12}", sides in proptest::array::uniform4("[0-9]{1,7}(\\.[0-9]{1,8})?"),
        id in 0_u64..u64::MAX, time in 0_u64..10_000_000_000_000, maker: bool, shuffled: bool, pretty: bool,
    ) {
        let [a, b, c, d] = &sides;
        let book = format!(r#"{{"stream":"{symbol}@bookTicker","data":{{"u":{update},"s":"{symbol}","b":"{a}","B":"{b}","a":"{c}","A":"{d}"}}}}"#);
        let trade = format!(r#"{{"stream":"{symbol}@trade","data":{{"e":"trade","E":{time},"s":"{symbol}","t":{id},"p":"{a}","q":"{b}","T":{time},"m":{maker},"M":true}}}}"#);
        for frame in [book, trade] {
            prop_assert_eq!(quickly(frame.as_bytes()), general(frame.as_bytes()).ok());
            // serde_json sorts keys, so a round trip shuffles them.
            let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
            let other = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let frame = if shuffled { other.unwrap() } else { frame };
            let mut enriched: serde_json::Value = serde_json::from_str(&frame).unwrap();
            enriched["data"].as_object_mut().unwrap().entry("e").or_insert("bookTicker".into());
            let expected = reference(enriched.to_string().as_bytes());
            prop_assert_eq!(told(&general(frame.as_bytes()).unwrap()), expected);
        }
    }

    #[test]
    fn a_changed_message_never_panics_and_always_says_something(
        at in 0_usize..200, byte: u8, cut in 0_usize..200, which in 0_usize..3,
    ) {
        let original = [BOOK, TRADE, FUTURES][which].as_bytes();
        let (mut frame, length) = (original.to_vec(), original.len());
        frame[at % length] = byte;
        prop_assert_eq!(decode(&frame).len(), 1);
        // Of the message as it was: a changed byte can be the end of a shorter one.
        let events = decode(&original[..cut.min(length - 1)]);
        prop_assert!(matches!(events[..], [Event::Reject(_)]), "{:?}", events);
    }

    #[test]
    fn no_bytes_panic(frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(decode(&frame).len(), 1);
    }
}
