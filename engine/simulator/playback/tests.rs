#![allow(clippy::unwrap_used)]

use super::*;

fn playback(text: &str) -> Playback {
    toml::from_str(text).unwrap()
}

fn lean_file(from_to: &str) -> Playback {
    playback(&format!("file = \"x\"\nformat = \"lean\"\nsymbol = \"EURUSD\"\ndate = \"2014-05-02\"\n{from_to}"))
}

fn start() -> Start {
    Start { at: Instant::now(), wall_ns: 1_800_000_000_000_000_000 }
}

#[test]
fn rows_are_cut_to_a_window_of_utc_whatever_their_zone() {
    // Local 07:00 at UTC-5 is 12:00 UTC.
    let rows = b"25199999,1.1,1.2\n25200000,1.3,1.4\n32399999,1.5,1.6\n32400000,1.7,1.8\n";
    let zone = "utc_offset = \"-05:00\"\nfrom = \"12:00:00\"\nto = \"14:00:00\"";
    let rows = lean(&lean_file(zone), rows, 0).unwrap();
    assert_eq!(rows.iter().map(|row| row.at_ns).collect::<Vec<_>>(), [0, 7_199_999_000_000]);
    let Event::Quote(quote) = rows[1].event(start(), 20.0) else { panic!("a quote") };
    assert_eq!(quote.event_ns, start().wall_ns + 7_199_999_000_000 / 20, "spacing kept at 20 times the pace");
    assert_eq!((quote.bid.to_string(), quote.ask.to_string()), ("1.5".into(), "1.6".into()));
}

#[test]
fn a_file_east_of_greenwich_keeps_its_date() {
    // 00:30 at UTC+02:00 is 22:30 UTC of the day before, outside 00:00-24:00 UTC of the date.
    let rows = b"1800000,1.1,1.2\n7200000,1.3,1.4\n";
    let rows = lean(&lean_file("utc_offset = \"+02:00\"\nfrom = \"00:00:00\""), rows, 0).unwrap();
    assert_eq!(rows.iter().map(|row| row.at_ns).collect::<Vec<_>>(), [0]);
}

#[test]
fn a_bad_line_is_named() {
    let error = lean(&lean_file(""), b"1,1.1,1.2\n2,1.1\n", 0).unwrap_err();
    assert_eq!(error, "line 2: expected ms_since_midnight,bid,ask but found \"2,1.1\"");
    assert!(load(&[lean_file("")], &mut Vec::new()).unwrap_err().starts_with("x: "));
}

#[test]
fn recorded_messages_are_sent_as_received_but_for_their_stamps() {
    let lines = "1723161254000000000 {\"stream\":\"btcusdt@bookTicker\",\"data\":{\"u\":5,\"s\":\"BTCUSDT\",\"b\":\"1.0\"}}\n\
        1723161254087896568 {\"stream\":\"btcusdt@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1723161255343}}\n\
        1723161254087896568 {\"lastUpdateId\":5}\n\
        1723161254500000000 {\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1723161255700,\"T\":1723161255699,\"m\":true}}\n";
    let mut symbols = Vec::new();
    let rows = binance(&playback("file = \"x\"\nformat = \"binance\""), lines.as_bytes(), &mut symbols).unwrap();
    assert_eq!((rows.len(), symbols), (2, vec!["BTCUSDT".to_string()]));
    let Event::Message(quote) = rows[0].event(start(), 1.0) else { panic!("a message") };
    assert_eq!(quote.text, "{\"stream\":\"btcusdt@bookTicker\",\"data\":{\"u\":5,\"s\":\"BTCUSDT\",\"b\":\"1.0\"}}");
    assert_eq!(quote.text.slice(quote.payload), "{\"u\":5,\"s\":\"BTCUSDT\",\"b\":\"1.0\"}");
    let Event::Message(trade) = rows[1].event(start(), 2.0) else { panic!("a message") };
    // Half a second at twice the pace; the stamp says that it arrived at once, and T stays before E.
    let expected =
        "{\"stream\":\"btcusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1800000000250,\"T\":1800000000249,\"m\":true}}";
    assert_eq!(trade.text, expected);
    assert!(trade.is_trade && !quote.is_trade);
}

#[tokio::test]
async fn recordings_start_when_all_subscribers_are_there() {
    let stage = Arc::new(Stage::new(vec!["a".into(), "b".into()], Duration::from_secs(3_600)));
    stage.arrived("a", true);
    stage.arrived("b", false);
    assert!(stage.start.borrow().is_none(), "b has not subscribed to everything yet");
    stage.arrived("b", true);
    let first = stage.started().await.wall_ns;
    stage.arrived("a", true);
    assert_eq!(stage.started().await.wall_ns, first, "there is one start");
}

#[tokio::test]
async fn recordings_do_not_wait_for_ever() {
    let stage = Arc::new(Stage::new(vec!["a".into(), "b".into()], Duration::from_millis(1)));
    stage.arrived("a", true);
    stage.started().await;
}
