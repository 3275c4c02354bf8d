//! The decoders over what real venues sent: every line of the recordings, with exact counts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tickwire::feeds::adapters::Decoder;
use tickwire::feeds::adapters::binance::BinanceDecoder;
use tickwire::feeds::adapters::oanda::OandaDecoder;
use tickwire::feeds::event::{Event, Symbols};
use tickwire::feeds::lines::LineSplitter;
use tickwire::market::{InstrumentId, Price, Size, SourceId, TickInput, TradeInput};

fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings");
    Path::new(&root).join(path)
}

fn symbols(names: &[&str]) -> Symbols {
    Symbols::new(SourceId(1), names.iter().zip(1..).map(|(name, id)| ((*name).to_string(), InstrumentId(id))))
}

#[derive(Default)]
struct Heard {
    ticks: Vec<TickInput>,
    trades: Vec<TradeInput>,
    alive: usize,
    rejects: usize,
}

impl Heard {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Tick(tick) => self.ticks.push(tick),
            Event::Trade(trade) => self.trades.push(trade),
            Event::Alive => self.alive += 1,
            Event::Reject(_) => self.rejects += 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Decodes a recording of `<receive ns> <message>` lines, and holds each against `serde_json`.
fn binance(path: &str, symbol: &str) -> Heard {
    let symbols = symbols(&[symbol]);
    let (mut heard, mut expected) = (Heard::default(), 0);
    let file = zstd::Decoder::new(std::fs::File::open(data(path)).unwrap()).unwrap();
    for line in BufReader::new(file).lines() {
        let line = line.unwrap();
        let (at_ns, message) = line.split_once(' ').unwrap();
        let at_ns = at_ns.parse().unwrap();
        let before = (heard.ticks.len(), heard.trades.len());
        BinanceDecoder.decode(message.as_bytes(), at_ns, &symbols, &mut |event| heard.hear(event));
        let value: serde_json::Value = serde_json::from_str(message).unwrap();
        let stream = value["stream"].as_str().unwrap_or_default();
        if stream.ends_with("@bookTicker") {
            assert_eq!(heard.ticks.len(), before.0 + 1, "{message}");
            same_tick(&heard.ticks[before.0], &value["data"], at_ns);
        } else if stream.ends_with("@trade") {
            assert_eq!(heard.trades.len(), before.1 + 1, "{message}");
            same_trade(&heard.trades[before.1], &value["data"]);
        } else {
            expected += 1;
        }
    }
    assert_eq!(heard.rejects, expected, "what is neither a bookTicker nor a trade is rejected");
    heard
}

fn same_tick(tick: &TickInput, data: &serde_json::Value, at_ns: i64) {
    let price = |key: &str| Some(data[key].as_str().unwrap().parse::<Price>().unwrap());
    let size = |key: &str| Some(data[key].as_str().unwrap().parse::<Size>().unwrap());
    assert_eq!(
        (tick.bid, tick.ask, tick.bid_size, tick.ask_size),
        (price("b"), price("a"), size("B"), size("A")),
        "{data}"
    );
    assert_eq!((tick.source_seq, tick.ts_recv_ns), (data["u"].as_u64(), at_ns));
    assert_eq!(tick.ts_event_ns, data["T"].as_i64().map(|ms| ms * 1_000_000));
}

fn same_trade(trade: &TradeInput, data: &serde_json::Value) {
    assert_eq!(
        trade.price.to_string().parse::<Price>().unwrap(),
        data["p"].as_str().unwrap().parse().unwrap(),
        "{data}"
    );
    assert_eq!(trade.size, Some(data["q"].as_str().unwrap().parse().unwrap()));
    assert_eq!((trade.trade_id, trade.ts_event_ns), (data["t"].as_u64(), data["T"].as_i64().map(|ms| ms * 1_000_000)));
    assert_eq!(trade.aggressor.word(), if data["m"].as_bool().unwrap() { "sell" } else { "buy" });
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn binance_spot_bitcoin() {
    let heard = binance("hftbacktest/spot/btcusdt_20240808.jsonl.zst", "BTCUSDT");
    assert_eq!((heard.ticks.len(), heard.trades.len(), heard.rejects), (28_040, 9_757, 3_452));
    assert!(heard.ticks.windows(2).all(|pair| pair[0].source_seq < pair[1].source_seq), "u orders them");
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn binance_spot_ether() {
    let heard = binance("hftbacktest/spot/ethusdt_20240808.jsonl.zst", "ETHUSDT");
    assert_eq!((heard.ticks.len(), heard.trades.len(), heard.rejects), (24_077, 6_106, 3_435));
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn binance_futures_bitcoin() {
    let heard = binance("hftbacktest/usdm/btcusdt_20240808.jsonl.zst", "BTCUSDT");
    assert_eq!((heard.ticks.len(), heard.trades.len(), heard.rejects), (66_089, 21_313, 6_552));
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn oanda_stream_whole_and_cut_anywhere() {
    let mut bytes = Vec::new();
    std::fs::File::open(data("oanda_stream/v20_stream_examples.jsonl")).unwrap().read_to_end(&mut bytes).unwrap();
    let symbols = symbols(&["EUR_USD", "EUR_JPY"]);
    let decode = |chunk: usize| {
        let (mut heard, mut decoder, mut lines) = (Heard::default(), OandaDecoder::new(2), LineSplitter::new(1 << 20));
        for piece in bytes.chunks(chunk) {
            lines.push(piece, |line| decoder.decode(line, 5, &symbols, &mut |event| heard.hear(event))).unwrap();
        }
        heard
    };
    let whole = decode(bytes.len());
    assert_eq!((whole.ticks.len(), whole.alive, whole.rejects), (7, 5, 0));
    let first = whole.ticks[0];
    let (bid, ask) = (Price::from_e9(114_295_000_000), Price::from_e9(114_312_000_000));
    assert_eq!((first.instrument, first.bid, first.ask), (InstrumentId(2), bid, ask), "the first level is the best");
    assert_eq!(
        (first.ts_event_ns, first.bid_size),
        (Some(1_477_557_523_094_548_890), Size::from_e8(1_000_000 * 100_000_000))
    );
    assert_eq!(whole.ticks.iter().filter(|t| t.snapshot).count(), 2, "one for each instrument");
    for chunk in 1..200 {
        assert_eq!(decode(chunk).ticks, whole.ticks, "chunks of {chunk}");
    }
}
