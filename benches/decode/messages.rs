//! The messages: from the recordings where they are, else each venue's documented example.

use std::io::Read;
use std::path::{Path, PathBuf};

use tickwire::feeds::adapters::adapters;
use tickwire::feeds::event::Symbols;
use tickwire::feeds::fix::Message;
use tickwire::market::{InstrumentId, SourceId};

/// Enough of them that no branch predictor learns them by heart, few enough to stay in a core's cache, where a message
/// that was just received is too.
const MESSAGES_MAX: usize = 4_000;

/// Messages of one kind.
pub(crate) struct Messages {
    /// Venue, kind, and where they are from.
    pub(crate) name: String,
    /// The symbols in them.
    pub(crate) symbols: Symbols,
    /// As received.
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Messages {
    fn new(name: String, names: &[&str], frames: Vec<Vec<u8>>) -> Messages {
        assert!(!frames.is_empty(), "{name}: no messages");
        let ids = (1..).map(InstrumentId);
        let symbols = Symbols::new(SourceId(1), names.iter().map(ToString::to_string).zip(ids));
        Messages { name, symbols, frames }
    }
}

fn recording(path: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("TICKWIRE_DATA") else {
        eprintln!("TICKWIRE_DATA is not set, so not {path} is decoded but the venue's documented example");
        return None;
    };
    Some(Path::new(&root).join(path))
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    text
}

fn example(adapter: &str) -> Vec<Vec<u8>> {
    let entry = adapters().into_iter().find(|entry| entry.name == adapter).unwrap();
    vec![entry.example.1.as_bytes().to_vec()]
}

/// `bookTicker` of Bitcoin.
pub(crate) fn binance(adapter: &str) -> Messages {
    let market = if adapter == "binance" { "spot" } else { "usdm" };
    let path = recording(&format!("hftbacktest/{market}/btcusdt_20240808.jsonl.zst"));
    let (from, frames) = match path {
        None => ("example", example(adapter)),
        Some(path) => {
            let text = text(&path);
            let frames = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, frame)| frame);
            let frames = frames.filter(|frame| frame.contains("@bookTicker")).take(MESSAGES_MAX);
            ("capture", frames.map(|frame| frame.as_bytes().to_vec()).collect())
        }
    };
    Messages::new(format!("{adapter} bookTicker, {from}"), &["BTCUSDT"], frames)
}

/// Prices of the stream. The recorded lines were written anew by a library, in an order that is not the wire's; so the
/// documented one, in the wire's order, is measured beside them.
pub(crate) fn oanda() -> Vec<Messages> {
    let symbols = ["EUR_USD", "EUR_JPY"];
    let mut all = vec![Messages::new("oanda PRICE, example".into(), &symbols, example("oanda"))];
    if let Some(path) = recording("oanda_stream/v20_stream_examples.jsonl") {
        let text = text(&path);
        let frames = text.lines().filter(|line| line.contains("PRICE")).map(|line| line.as_bytes().to_vec());
        all.push(Messages::new("oanda PRICE, capture".into(), &symbols, frames.collect()));
    }
    all
}

/// Tickers: as the decoder is asked for, without the gaps that the other channels leave in the sequence numbers.
pub(crate) fn coinbase() -> Messages {
    let (from, frames) = match recording("cryptofeed/COINBASE.jsonl.zst") {
        None => ("example", example("coinbase")),
        Some(path) => {
            let text = text(&path);
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let frames = lines.filter(|line| line["t"] == "recv").filter_map(|line| {
                let frame = line["data"].as_str().unwrap();
                (frame.contains("\"channel\":\"ticker\"") && frame.contains("\"update\"")).then(|| same_number(frame))
            });
            ("capture", frames.take(MESSAGES_MAX).collect())
        }
    };
    Messages::new(format!("coinbase ticker, {from}"), &["BTC-USD", "ETH-USD"], frames)
}

/// The message with a sequence number of the same length that is never new, so that nothing is taken for lost.
fn same_number(frame: &str) -> Vec<u8> {
    let key = "\"sequence_num\":";
    let at = frame.find(key).unwrap() + key.len();
    let length = frame[at..].find(',').unwrap();
    format!("{}{}{}", &frame[..at], "1".repeat(length), &frame[at + length..]).into_bytes()
}

/// Snapshots of best prices and of books.
pub(crate) fn fix() -> Messages {
    let names = ["EUR/USD", "USD/CAD", "GBP/USD", "XAU/USD", "1"];
    let (from, frames) = match recording("fix/md_messages.jsonl") {
        None => ("example", example("ctrader")),
        Some(path) => {
            let text = text(&path);
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let frames = lines.filter(|line| line["type"] == "W");
            let frames = frames.map(|line| line["msg"].as_str().unwrap().replace('|', "\x01").into_bytes());
            ("capture", frames.filter(|frame| Message::parse(frame).is_ok()).collect())
        }
    };
    Messages::new(format!("ctrader W, {from}"), &names, frames)
}
