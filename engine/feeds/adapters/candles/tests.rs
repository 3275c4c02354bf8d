#![allow(clippy::unwrap_used)]
use super::super::binance::candles::Klines;
use super::*;
use serde_json::json;

const MINUTE_MS: i64 = 60_000;

#[test]
fn a_kline_is_a_bar_of_trades_with_its_digits() {
    let reply = json!([[
        1_499_040_000_000_i64,
        "0.01634790",
        "0.80000000",
        "0.01575800",
        "0.01577100",
        "148976.11427815",
        1_499_040_059_999_i64,
        "2434.19055334",
        308,
        "1756.87402397",
        "28.46694368",
        "0"
    ]]);
    let rows = Klines("/api/v3/klines").rows(&reply).unwrap();
    let mut calendar = Calendar::new(Class::Crypto, &Holidays::default()).unwrap();
    let bar = rows[0].bar(Timeframe::M1, &mut calendar).unwrap();
    assert_eq!((bar.open_ts_ns, bar.close_ts_ns - bar.open_ts_ns), (1_499_040_000_000_000_000, 60_000_000_000));
    let expected = Ohlc { open_e9: 16_347_900, high_e9: 800_000_000, low_e9: 15_758_000, close_e9: 15_771_000 };
    assert_eq!((bar.mid, bar.bid, bar.ask), (expected, NO_OHLC, NO_OHLC));
    assert_eq!((bar.volume_e8, bar.ticks, bar.basis), (14_897_611_427_815, 308, Basis::Last.code()));
    let wrong = rows[0].bar(Timeframe::MN, &mut calendar).unwrap_err();
    assert!(wrong.contains("expected its start"), "3 July 2017 is no first of a month: {wrong}");
}

#[test]
fn a_page_is_asked_with_both_ends_included() {
    let page = Page { symbol: "btcusdt", timeframe: Timeframe::MN, from_ns: 0, to_ns: 2 * MINUTE_MS * 1_000_000 };
    let (path, query) = Klines("/fapi/v1/klines").query(page).unwrap();
    let text: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(path, "/fapi/v1/klines");
    assert_eq!(text.join("&"), "symbol=BTCUSDT&interval=1M&startTime=0&endTime=119999&limit=1000");
}

#[test]
fn what_is_no_row_is_refused() {
    for reply in
        [json!({}), json!([[1]]), json!([["x", "1", "1", "1", "1", "1"]]), json!([[1, 1.5, "1", "1", "1", "1"]])]
    {
        let failure = Klines("").rows(&reply).unwrap_err();
        assert_eq!(failure.text, "expected rows of klines in the venue's reply", "{reply}");
    }
}
