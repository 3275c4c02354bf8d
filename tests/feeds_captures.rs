//! The exchanges' decoders over what the exchanges sent, and their quotes against the book of the same capture.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tickwire::feeds::adapters::binance::BinanceDecoder;
use tickwire::feeds::adapters::binance_usdm::UsdmDecoder;
use tickwire::feeds::adapters::bybit::BybitDecoder;
use tickwire::feeds::adapters::coinbase::CoinbaseDecoder;
use tickwire::feeds::adapters::kraken::KrakenDecoder;
use tickwire::feeds::adapters::{Decoder, adapters};
use tickwire::feeds::event::{Event, Symbols};
use tickwire::market::{InstrumentId, Price, Size, SourceId, TickInput, TradeInput};

fn text(path: &str) -> String {
    let root = std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings");
    let mut text = String::new();
    let file = std::fs::File::open(Path::new(&root).join(path)).unwrap();
    zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// What a socket of the recorder received, in its order.
fn received(path: &str) -> Vec<String> {
    let lines = text(path);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["t"] == "recv").map(|line| line["data"].as_str().unwrap().to_string()).collect()
}

fn symbols(names: &[&str]) -> Symbols {
    Symbols::new(SourceId(1), names.iter().zip(1..).map(|(name, id)| ((*name).to_string(), InstrumentId(id))))
}

#[derive(Default)]
struct Heard {
    ticks: Vec<TickInput>,
    trades: Vec<TradeInput>,
    alive: usize,
    lost: u64,
    rejects: usize,
}

impl Heard {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Tick(tick) => self.ticks.push(tick),
            Event::Trade(trade) => self.trades.push(trade),
            Event::Alive => self.alive += 1,
            Event::Lost(count) => self.lost += count,
            Event::Reject(_) => self.rejects += 1,
            other => panic!("{other:?}"),
        }
    }

    fn counts(&self) -> (usize, usize, usize, usize) {
        (self.ticks.len(), self.trades.len(), self.alive, self.rejects)
    }
}

fn decode<'a>(mut decoder: impl Decoder, symbols: &Symbols, frames: impl IntoIterator<Item = &'a str>) -> Heard {
    let mut heard = Heard::default();
    frames.into_iter().for_each(|f| decoder.decode(f.as_bytes(), 1, symbols, &mut |event| heard.hear(event)));
    heard
}

/// Best bid, its size, best ask, its size.
type Top = (Option<Price>, Option<Size>, Option<Price>, Option<Size>);

fn top_of(tick: &TickInput) -> Top {
    (tick.bid, tick.bid_size, tick.ask, tick.ask_size)
}

#[derive(Default)]
struct Book {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
}

impl Book {
    fn set(&mut self, is_bid: bool, price: &str, size: &str) {
        let side = if is_bid { &mut self.bids } else { &mut self.asks };
        let (price, size) = (price.parse::<Price>().unwrap().e9(), size.parse::<Size>().unwrap().e8());
        if size == 0 {
            side.remove(&price);
        } else {
            side.insert(price, size);
        }
    }

    fn set_all(&mut self, is_bid: bool, levels: &Value) {
        for level in levels.as_array().unwrap() {
            self.set(is_bid, level[0].as_str().unwrap(), level[1].as_str().unwrap());
        }
    }

    fn top(&self) -> Top {
        let level = |level: Option<(&i64, &u64)>| {
            (level.and_then(|(p, _)| Price::from_e9(*p)), level.and_then(|(_, s)| Size::from_e8(*s)))
        };
        let ((bid, bid_size), (ask, ask_size)) =
            (level(self.bids.last_key_value()), level(self.asks.first_key_value()));
        (bid, bid_size, ask, ask_size)
    }
}

/// Checkpoints at which the book, rebuilt from snapshot and depth messages, equals the last quote that is not newer.
fn checkpoints(decoder: impl Decoder, path: &str, symbol: &str) -> usize {
    let text = text(path);
    let frames: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let ticks = decode(decoder, &symbols(&[symbol]), frames.iter().copied()).ticks;
    assert!(ticks.is_sorted_by_key(|tick| tick.source_seq), "u orders them");
    let depths = || frames.iter().filter(|f| f.contains("lastUpdateId") || f.contains("@depth"));
    let mut book = Book::default();
    let mut snapshot = None;
    for message in depths().filter(|f| f.contains("lastUpdateId")) {
        let message: Value = serde_json::from_str(message).unwrap();
        book.set_all(true, &message["bids"]);
        book.set_all(false, &message["asks"]);
        snapshot = message["lastUpdateId"].as_u64();
    }
    let mut equal = 0;
    for message in depths().filter(|f| f.contains("@depth")) {
        let message: Value = serde_json::from_str(message).unwrap();
        let (data, update) = (&message["data"], message["data"]["u"].as_u64());
        if update <= snapshot {
            continue;
        }
        book.set_all(true, &data["b"]);
        book.set_all(false, &data["a"]);
        // The streams are not in step: some quotes come behind a depth message that is newer.
        let known = ticks.partition_point(|tick| tick.source_seq <= update);
        if let Some(tick) = known.checked_sub(1).and_then(|at| ticks.get(at)) {
            assert_eq!(top_of(tick), book.top(), "at {update:?}");
            equal += 1;
        }
    }
    equal
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_quotes_of_binance_equal_the_book_at_every_checkpoint() {
    assert_eq!(checkpoints(UsdmDecoder, "hftbacktest/usdm/btcusdt_20240808.jsonl.zst", "BTCUSDT"), 6_547);
    assert_eq!(checkpoints(BinanceDecoder, "hftbacktest/spot/btcusdt_20240808.jsonl.zst", "BTCUSDT"), 3_449);
    assert_eq!(checkpoints(BinanceDecoder, "hftbacktest/spot/ethusdt_20240808.jsonl.zst", "ETHUSDT"), 3_432);
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn binance_futures_of_two_years() {
    let text = text("hftbacktest/usdm/btcusdt_20240808.jsonl.zst");
    let frames = text.lines().map(|line| line.split_once(' ').unwrap().1);
    let heard = decode(UsdmDecoder, &symbols(&["BTCUSDT"]), frames.clone());
    assert_eq!(heard.counts(), (66_089, 21_313, 0, 6_552), "depth messages and their snapshot are not for us");
    let spot = decode(BinanceDecoder, &symbols(&["BTCUSDT"]), frames);
    assert!(
        heard.ticks == spot.ticks && heard.trades == spot.trades,
        "the template reads what the general parser reads"
    );

    let frames = received("cryptofeed/BINANCE_FUTURES.jsonl.zst");
    let symbols = symbols(&["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"]);
    let heard = decode(UsdmDecoder, &symbols, frames.iter().map(String::as_str));
    assert_eq!(heard.counts(), (613, 91, 0, 764 + 67), "aggregated trades; depth and bars are not for us");
    let first = heard.trades[0];
    assert_eq!((first.trade_id, first.size), (Some(16_599_292), Size::from_e8(1_000_000_000)));
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn coinbase_is_whole_and_a_missing_message_is_noticed() {
    let frames = received("cryptofeed/COINBASE.jsonl.zst");
    let symbols = symbols(&["BTC-USD", "ETH-USD"]);
    let heard = decode(CoinbaseDecoder::new(2), &symbols, frames.iter().map(String::as_str));
    // Ticks: 160 of the ticker, 204 changes of the best levels in 775 messages of the books. Alive: the others of these, 25
    // heartbeats, 5 confirmations, two snapshots of trades. Refused: 6 messages of bars.
    assert_eq!((frames.len(), heard.lost), (1_030, 0));
    assert_eq!(heard.counts(), (160 + 204, 79, 775 - 204 + 32, 6));
    assert_eq!(heard.ticks.iter().filter(|tick| tick.snapshot).count(), 4, "one for each product and channel");
    for pair in [1, 2].map(InstrumentId) {
        let ticks: Vec<_> = heard.ticks.iter().filter(|tick| tick.instrument == pair).collect();
        assert!(ticks.is_sorted_by_key(|tick| tick.ts_event_ns), "the time of the message orders them");
        let ids: Vec<_> = heard.trades.iter().filter(|t| t.instrument == pair).map(|t| t.trade_id.unwrap()).collect();
        assert!(ids.windows(2).all(|ids| ids[0] + 1 == ids[1]), "no trade is missing, none is out of order: {ids:?}");
    }
    for missing in [1, 17, 500, 1_028] {
        let rest = frames.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, frame)| frame.as_str());
        assert_eq!(decode(CoinbaseDecoder::new(2), &symbols, rest).lost, 1, "without message {missing}");
    }
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn coinbase_against_its_own_book() {
    let symbols = symbols(&["BTC-USD", "ETH-USD"]);
    let (mut books, mut decoder) = (BTreeMap::<u32, Book>::new(), CoinbaseDecoder::new(2));
    let (mut as_the_book, mut behind_it, mut at_best, mut inside, mut levels) = (0, 0, 0, 0, 0);
    for frame in received("cryptofeed/COINBASE.jsonl.zst") {
        let message: Value = serde_json::from_str(&frame).unwrap();
        let is_book = message["channel"] == "l2_data";
        for event in message["events"].as_array().into_iter().flatten().filter(|_| is_book) {
            let product = symbols.find(event["product_id"].as_str().unwrap().as_bytes()).unwrap().instrument;
            for update in event["updates"].as_array().unwrap() {
                let field = |key: &str| update[key].as_str().unwrap();
                let book = books.entry(product.0).or_default();
                book.set(update["side"] == "bid", field("price_level"), field("new_quantity"));
            }
        }
        decoder.decode(frame.as_bytes(), 1, &symbols, &mut |event| match event {
            Event::Tick(tick) if is_book => {
                assert_eq!(top_of(&tick), books[&tick.instrument.0].top(), "the decoder's book is ours");
                levels += 1;
            }
            Event::Tick(tick) => {
                let Some(top) = books.get(&tick.instrument.0).map(Book::top) else { return };
                *if (tick.bid, tick.ask) == (top.0, top.2) { &mut as_the_book } else { &mut behind_it } += 1;
            }
            Event::Trade(trade) => {
                let Some((bid, _, ask, _)) = books.get(&trade.instrument.0).map(Book::top) else { return };
                let bought = trade.aggressor.word() == "buy";
                match (Some(trade.price) <= bid, Some(trade.price) >= ask) {
                    (false, false) => inside += 1,
                    (at_bid, _) => {
                        assert_ne!(at_bid, bought, "who pays the ask is the buyer: {trade:?} at {bid:?}, {ask:?}");
                        at_best += 1;
                    }
                }
            }
            _ => {}
        });
    }
    // What the adapter's documentation says: the venue's ticker is not its book at every moment.
    assert_eq!((as_the_book, behind_it), (132, 22));
    assert_eq!((at_best, inside, levels), (71, 7, 204));
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn kraken_of_the_old_socket_is_refused_and_its_numbers_are_exact_in_the_new_one() {
    let frames = received("cryptofeed/KRAKEN.jsonl.zst");
    let symbols = symbols(&["WAVES/EUR", "XMR/USD", "KSM/XBT", "GRT/ETH", "SC/EUR", "ETH/CHF", "OCEAN/XBT", "OMG/USD"]);
    let heard = decode(KrakenDecoder, &symbols, frames.iter().map(String::as_str));
    assert_eq!(
        heard.counts(),
        (0, 0, 0, 4_430),
        "version 1 is another protocol, and nothing of it is taken for a price"
    );

    let (mut ticks, mut trades) = (0, 0);
    for frame in &frames {
        let Ok(Value::Array(old)) = serde_json::from_str(frame) else { continue };
        let pair = old[old.len() - 1].as_str().unwrap();
        let field = |value: &Value| value.as_str().unwrap().to_string();
        match old[old.len() - 2].as_str().unwrap() {
            "ticker" => {
                let [bid, bid_qty, ask, ask_qty] =
                    [("b", 0), ("b", 2), ("a", 0), ("a", 2)].map(|(k, at)| field(&old[1][k][at]));
                let new = format!(
                    r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"{pair}","bid":{bid},"bid_qty":{bid_qty},"ask":{ask},"ask_qty":{ask_qty},"last":{bid}}}]}}"#
                );
                let heard = decode(KrakenDecoder, &symbols, [new.as_str()]);
                // Pairs beyond those above are not subscribed.
                let Some(tick) = heard.ticks.first() else { continue };
                let expected = (bid.parse().ok(), bid_qty.parse().ok(), ask.parse().ok(), ask_qty.parse().ok());
                assert_eq!(top_of(tick), expected, "{new}");
                ticks += 1;
            }
            "trade" => {
                for (id, trade) in old[1].as_array().unwrap().iter().enumerate() {
                    let (price, qty) = (field(&trade[0]), field(&trade[1]));
                    let side = if trade[3] == "s" { "sell" } else { "buy" };
                    let new = format!(
                        r#"{{"channel":"trade","type":"update","data":[{{"symbol":"{pair}","side":"{side}","price":{price},"qty":{qty},"ord_type":"limit","trade_id":{id},"timestamp":"2021-04-17T16:48:52.949647Z"}}]}}"#
                    );
                    let heard = decode(KrakenDecoder, &symbols, [new.as_str()]);
                    let Some(told) = heard.trades.first() else { continue };
                    assert_eq!((told.price, told.size), (price.parse().unwrap(), qty.parse().ok()), "{new}");
                    assert_eq!(told.aggressor.word(), side);
                    trades += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!((ticks, trades), (16, 10));
}

/// Holds what a decoder reads against ccxt: the best prices of `frames`, in their order.
fn same_as_ccxt(exchange: &str, decoder: impl Decoder, symbols: &Symbols, frames: &[&str]) -> usize {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/ccxt_captures.py")).arg(exchange);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, text) = (child.stdin.take().unwrap(), frames.join("\n"));
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let ticks = decode(decoder, symbols, frames.iter().copied()).ticks;
    assert_eq!(said.lines().count(), ticks.len(), "{exchange}");
    for (line, tick) in said.lines().zip(&ticks) {
        let price = |price: Option<Price>| price.map_or("-".into(), |p| p.e9().to_string());
        let size = |size: Option<Size>| size.map_or("-".into(), |s| s.e8().to_string());
        let ours = [price(tick.bid), price(tick.ask), size(tick.bid_size), size(tick.ask_size)].join(" ");
        assert_eq!(line.split_once(' ').unwrap().1, ours, "{exchange} {tick:?}");
    }
    ticks.len()
}

#[test]
fn ccxt_reads_the_documented_messages_alike() {
    // Of these two venues there is no capture.
    let [kraken, bybit] = ["kraken", "bybit"].map(example);
    assert_eq!(same_as_ccxt("kraken", KrakenDecoder, &symbols(&["BTC/USD"]), &[kraken]), 1);
    assert_eq!(same_as_ccxt("bybit", BybitDecoder, &symbols(&["BTCUSDT"]), &[bybit]), 1);
}

fn example(name: &str) -> &'static str {
    adapters().iter().find(|adapter| adapter.name == name).unwrap().example.1
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn ccxt_reads_the_captures_to_the_same_best_prices() {
    for (file, exchange, symbol, count) in [
        ("hftbacktest/usdm/btcusdt_20240808.jsonl.zst", "binanceusdm", "BTCUSDT", 66_089),
        ("hftbacktest/spot/btcusdt_20240808.jsonl.zst", "binance", "BTCUSDT", 28_040),
        ("hftbacktest/spot/ethusdt_20240808.jsonl.zst", "binance", "ETHUSDT", 24_077),
    ] {
        let text = text(file);
        let frames = text.lines().map(|line| line.split_once(' ').unwrap().1);
        let frames: Vec<&str> = frames.filter(|frame| frame.contains("@bookTicker")).collect();
        let symbols = symbols(&[symbol]);
        let same = match exchange {
            "binance" => same_as_ccxt(exchange, BinanceDecoder, &symbols, &frames),
            _ => same_as_ccxt(exchange, UsdmDecoder, &symbols, &frames),
        };
        assert_eq!(same, count, "{file}");
    }
    let frames = received("cryptofeed/COINBASE.jsonl.zst");
    // One at a time: between them are messages that are not shown to ccxt, and so the numbers jump.
    let tickers: Vec<&str> =
        frames.iter().map(String::as_str).filter(|f| f.contains("\"channel\":\"ticker\"")).collect();
    let symbols = symbols(&["BTC-USD", "ETH-USD"]);
    assert_eq!(same_as_ccxt("coinbase", EachAnew, &symbols, &tickers), 160);
}

/// Coinbase's decoder on a connection of its own for every message.
struct EachAnew;

impl Decoder for EachAnew {
    fn decode(&mut self, frame: &[u8], ts_recv_ns: i64, symbols: &Symbols, sink: &mut impl FnMut(Event)) {
        CoinbaseDecoder::new(2).decode(frame, ts_recv_ns, symbols, sink);
    }
}
