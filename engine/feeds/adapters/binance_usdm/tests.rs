#![allow(clippy::unwrap_used)]
use super::*;
use crate::feeds::adapters::binance::Best;
use crate::market::{InstrumentId, Price, Size, SourceId, TickInput, TradeInput};
use proptest::prelude::*;
use tickwire_schemas::words::Aggressor;

const BOOK: &str = <Broker as Adapter>::EXAMPLE.1;
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256431,"T":1723161256430,"s":"BTCUSDT","t":5266583937,"p":"61800.30","q":"0.045","X":"MARKET","m":false}}"#;
const AGGREGATED: &str = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1626992741575,"a":16599292,"s":"BTCUSDT","p":"1.01100","q":"10","f":23961322,"l":23961325,"T":1626992741421,"m":true}}"#;

fn symbols() -> Symbols {
    Symbols::new(SourceId(3), [("BTCUSDT".into(), InstrumentId(5)), ("ETHUSDT".into(), InstrumentId(6))])
}

fn decode(frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    UsdmDecoder.decode(frame, 77, &symbols(), &mut |event| events.push(event));
    events
}

fn trade() -> TradeInput {
    TradeInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_723_161_256_430_000_000),
        ts_recv_ns: 77,
        price: Price::from_e9(61_800_300_000_000).unwrap(),
        size: Size::from_e8(4_500_000),
        trade_id: Some(5_266_583_937),
        aggressor: Aggressor::Buy,
    }
}

#[test]
fn a_book_ticker_has_a_time_and_a_sequence() {
    let tick = TickInput {
        source: SourceId(3),
        instrument: InstrumentId(5),
        ts_event_ns: Some(1_723_161_256_313_000_000),
        ts_recv_ns: 77,
        bid: Price::from_e9(61_800_200_000_000),
        ask: Price::from_e9(61_800_300_000_000),
        bid_size: Size::from_e8(250_700_000),
        ask_size: Size::from_e8(251_000_000),
        source_seq: Some(5_123_107_839_020),
        snapshot: false,
    };
    assert_eq!(decode(BOOK.as_bytes()), [Event::Tick(tick)]);
}

#[test]
fn trades_of_either_stream() {
    assert_eq!(decode(TRADE.as_bytes()), [Event::Trade(trade())]);
    let aggregated = TradeInput {
        ts_event_ns: Some(1_626_992_741_421_000_000),
        price: Price::from_e9(1_011_000_000).unwrap(),
        size: Size::from_e8(1_000_000_000),
        trade_id: Some(16_599_292),
        aggressor: Aggressor::Sell,
        ..trade()
    };
    assert_eq!(decode(AGGREGATED.as_bytes()), [Event::Trade(aggregated)]);
    let insured = TRADE.replace("MARKET", "INSURANCE_FUND");
    assert_eq!(decode(insured.as_bytes()), [Event::Alive], "not a trade of the market");
}

#[test]
fn the_stream_of_trades_is_chosen() {
    let broker = |keys: &str| Broker::new(toml::from_str(keys).unwrap()).unwrap().trades;
    assert_eq!(broker("base_url = \"wss://h/public\""), Trades::Each);
    assert_eq!(broker("base_url = \"wss://h\"\ntrades = \"aggTrade\""), Trades::Aggregated);
    assert_eq!(broker("base_url = \"wss://h\"\ntrades = \"none\""), Trades::Off);
}

/// What one of the templates reads.
fn template(frame: &[u8]) -> Option<Message<'_>> {
    let book = book(frame).map(|book| Message::Book { symbol: Cow::Borrowed(book.symbol), best: book.best });
    book.or_else(|| super::trade(frame))
}

fn best(update: u64, [bid, bid_size, ask, ask_size]: [&[u8]; 4], time: u64) -> Best {
    let (price, size) = (|text| Price::parse(text).unwrap(), |text| Size::parse(text).unwrap());
    let (bid, bid_size, ask, ask_size) = (price(bid), size(bid_size), price(ask), size(ask_size));
    Best { update: Some(update), bid, bid_size, ask, ask_size, time: Some(time) }
}

proptest! {
    #[test]
    fn the_template_and_the_cursor_read_what_serde_json_reads(
        update in 0_u64..u64::MAX, symbol in "[A-Z0-9]{2,12}", sides in proptest::array::uniform4("[0-9]{1,7}(\\.[0-9]{1,8})?"),
        time in 0_u64..10_000_000_000_000, maker: bool, pretty: bool,
    ) {
        let [a, b, c, d] = &sides;
        let book = format!(r#"{{"stream":"{symbol}@bookTicker","data":{{"e":"bookTicker","u":{update},"s":"{symbol}","b":"{a}","B":"{b}","a":"{c}","A":"{d}","T":{time},"E":1}}}}"#);
        let trade = format!(r#"{{"stream":"{symbol}@trade","data":{{"e":"trade","E":1,"T":{time},"s":"{symbol}","t":{update},"p":"{a}","q":"{b}","X":"MARKET","m":{maker}}}}}"#);
        for frame in [book, trade] {
            let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
            let text = |key: &str| value["data"][key].as_str().unwrap().as_bytes();
            let name = Cow::Borrowed(text("s"));
            let expected = if value["data"]["e"] == "trade" {
                Message::Trade { id: Some(update), symbol: name, price: text("p"), size: text("q"), time, buyer_rests: maker }
            } else {
                Message::Book { symbol: name, best: best(update, ["b", "B", "a", "A"].map(text), time) }
            };
            prop_assert_eq!(template(frame.as_bytes()), Some(expected.clone()));
            // serde_json sorts keys, so a round trip shuffles them.
            let other = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(general(other.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn a_changed_message_never_panics_and_the_template_agrees_with_the_cursor(
        at in 0_usize..200, byte: u8, cut in 0_usize..200, which in 0_usize..3,
    ) {
        let original = [BOOK, TRADE, AGGREGATED][which].as_bytes();
        let (mut frame, length) = (original.to_vec(), original.len());
        frame[at % length] = byte;
        prop_assert_eq!(decode(&frame).len(), 1);
        if let Some(message) = template(&frame) {
            prop_assert_eq!(Ok(message), general(&frame));
        }
        // Of the message as it was: a changed byte can be the end of a shorter one.
        let events = decode(&original[..cut.min(length - 1)]);
        prop_assert!(matches!(events[..], [Event::Reject(_)]), "{:?}", events);
    }
}
