//! The same messages read by general parsers, as one would write it with them: borrowed text, no field that is not
//! needed.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sonic_rs::LazyValue;
use tickwire::feeds::event::{Symbols, utc_time};
use tickwire::feeds::fix;
use tickwire::market::time_text::{self, unix_by_magnitude};
use tickwire::market::{Price, Size, TickInput};

fn empty(symbols: &Symbols, symbol: &str) -> Option<TickInput> {
    Some(TickInput {
        source: symbols.source(),
        instrument: symbols.find(symbol.as_bytes()).ok()?.instrument,
        ts_event_ns: None,
        ts_recv_ns: 5,
        bid: None,
        ask: None,
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    })
}

fn price(text: &str) -> Option<Price> {
    Price::parse(text.as_bytes()).ok()
}

fn size(text: &str) -> Option<Size> {
    Size::parse(text.as_bytes()).ok()
}

#[derive(Deserialize)]
struct Combined<T> {
    data: T,
}

#[derive(Deserialize)]
struct BookTicker<'a> {
    u: u64,
    s: &'a str,
    b: &'a str,
    #[serde(rename = "B")]
    bid_size: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    ask_size: &'a str,
    #[serde(rename = "T")]
    time: Option<u64>,
}

impl BookTicker<'_> {
    fn tick(&self, symbols: &Symbols) -> Option<TickInput> {
        Some(TickInput {
            ts_event_ns: self.time.and_then(unix_by_magnitude),
            bid: Some(price(self.b)?),
            ask: Some(price(self.a)?),
            bid_size: Some(size(self.bid_size)?),
            ask_size: Some(size(self.ask_size)?),
            source_seq: Some(self.u),
            ..empty(symbols, self.s)?
        })
    }
}

pub(crate) fn binance_serde_json(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    serde_json::from_slice::<Combined<BookTicker<'_>>>(frame).ok()?.data.tick(symbols)
}

pub(crate) fn binance_sonic_rs(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    sonic_rs::from_slice::<Combined<BookTicker<'_>>>(frame).ok()?.data.tick(symbols)
}

/// Liquidity is a number, and not always a whole one: `R` is what keeps its text.
#[derive(Deserialize)]
struct OandaPrice<'a, R> {
    #[serde(rename = "type")]
    kind: &'a str,
    time: &'a str,
    #[serde(borrow)]
    bids: Vec<OandaLevel<'a, R>>,
    #[serde(borrow)]
    asks: Vec<OandaLevel<'a, R>>,
    instrument: &'a str,
}

#[derive(Deserialize)]
struct OandaLevel<'a, R> {
    price: &'a str,
    liquidity: R,
}

impl<R> OandaPrice<'_, R> {
    fn tick(&self, symbols: &Symbols, text: impl Fn(&R) -> &str) -> Option<TickInput> {
        if self.kind != "PRICE" {
            return None;
        }
        let level = |side: &[OandaLevel<'_, R>]| match side.first() {
            Some(best) => Some((Some(price(best.price)?), Some(size(text(&best.liquidity))?))),
            None => Some((None, None)),
        };
        let ((bid, bid_size), (ask, ask_size)) = (level(&self.bids)?, level(&self.asks)?);
        let time = time_text::date_time(self.time.as_bytes()).and_then(|t| Some(t.local_ns - t.offset_ns?));
        let time = time.or_else(|| time_text::unix_seconds(self.time.as_bytes()))?;
        Some(TickInput { ts_event_ns: Some(time), bid, ask, bid_size, ask_size, ..empty(symbols, self.instrument)? })
    }
}

pub(crate) fn oanda_serde_json(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    serde_json::from_slice::<OandaPrice<'_, &RawValue>>(frame).ok()?.tick(symbols, |raw| raw.get())
}

pub(crate) fn oanda_sonic_rs(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    sonic_rs::from_slice::<OandaPrice<'_, LazyValue<'_>>>(frame).ok()?.tick(symbols, |raw| raw.as_raw_str())
}

#[derive(Deserialize)]
struct CoinbaseMessage<'a> {
    channel: &'a str,
    timestamp: &'a str,
    #[serde(borrow)]
    events: Vec<CoinbaseEvent<'a>>,
}

#[derive(Deserialize)]
struct CoinbaseEvent<'a> {
    #[serde(borrow)]
    tickers: Vec<CoinbaseTicker<'a>>,
}

#[derive(Deserialize)]
struct CoinbaseTicker<'a> {
    product_id: &'a str,
    best_bid: &'a str,
    best_ask: &'a str,
    best_bid_quantity: &'a str,
    best_ask_quantity: &'a str,
}

impl CoinbaseMessage<'_> {
    fn tick(&self, symbols: &Symbols) -> Option<TickInput> {
        let ticker = self.events.first()?.tickers.first()?;
        if self.channel != "ticker" {
            return None;
        }
        Some(TickInput {
            ts_event_ns: Some(utc_time(self.timestamp.as_bytes()).ok()?),
            bid: Some(price(ticker.best_bid)?),
            ask: Some(price(ticker.best_ask)?),
            bid_size: Some(size(ticker.best_bid_quantity)?),
            ask_size: Some(size(ticker.best_ask_quantity)?),
            ..empty(symbols, ticker.product_id)?
        })
    }
}

pub(crate) fn coinbase_serde_json(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    serde_json::from_slice::<CoinbaseMessage<'_>>(frame).ok()?.tick(symbols)
}

pub(crate) fn coinbase_sonic_rs(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    sonic_rs::from_slice::<CoinbaseMessage<'_>>(frame).ok()?.tick(symbols)
}

/// A general reader of FIX: length and checksum verified, a map from each tag to its values in their order.
pub(crate) fn fix_tag_map(frame: &[u8], symbols: &Symbols) -> Option<TickInput> {
    let map = TagMap::read(frame)?;
    if map.first(35)? != "W" {
        return None;
    }
    let (mut bid, mut ask) = (None, None);
    let entries = map.groups(268, 269)?;
    for entry in &entries {
        let level = (price(entry.get(&270)?)?, entry.get(&271).map(|text| size(text)));
        let level = (level.0, level.1.map_or(Some(None), |size| size.map(Some))?);
        match *entry.get(&269)? {
            "0" => better(&mut bid, level, |new, old| new > old),
            "1" => better(&mut ask, level, |new, old| new < old),
            _ => {}
        }
    }
    Some(TickInput {
        ts_event_ns: Some(fix::time(map.first(52)?.as_bytes())?),
        bid: bid.map(|(price, _)| price),
        ask: ask.map(|(price, _)| price),
        bid_size: bid.and_then(|(_, size)| size),
        ask_size: ask.and_then(|(_, size)| size),
        ..empty(symbols, map.first(55)?)?
    })
}

type Level = (Price, Option<Size>);

fn better(best: &mut Option<Level>, level: Level, beats: impl Fn(Price, Price) -> bool) {
    match best {
        Some((price, size)) if *price == level.0 => {
            *size = size.zip(level.1).and_then(|(a, b)| Size::from_e8(a.e8().checked_add(b.e8())?));
        }
        Some((price, _)) if !beats(level.0, *price) => {}
        _ => *best = Some(level),
    }
}

struct TagMap<'a> {
    /// In the order of the message.
    fields: Vec<(u32, &'a str)>,
    /// Where in `fields` each tag is.
    places: HashMap<u32, Vec<usize>>,
}

impl<'a> TagMap<'a> {
    fn read(frame: &'a [u8]) -> Option<TagMap<'a>> {
        let text = std::str::from_utf8(frame).ok()?;
        let mut fields = Vec::new();
        let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
        for field in text.strip_suffix('\x01')?.split('\x01') {
            let (tag, value) = field.split_once('=')?;
            let tag = tag.parse().ok()?;
            places.entry(tag).or_default().push(fields.len());
            fields.push((tag, value));
        }
        let map = TagMap { fields, places };
        let [(8, "FIX.4.4"), (9, length), (35, _), ..] = map.fields[..] else { return None };
        let (10, sum) = *map.fields.last()? else { return None };
        let body = text.find("\x0135=")? + 1;
        let trailer = text.rfind("\x0110=")? + 1;
        let counted = frame[..trailer].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        (length.parse() == Ok(trailer - body) && sum.parse() == Ok(counted)).then_some(map)
    }

    fn first(&self, tag: u32) -> Option<&'a str> {
        Some(self.fields[*self.places.get(&tag)?.first()?].1)
    }

    /// The entries of a repeating group: each begins with `first`.
    fn groups(&self, count: u32, first: u32) -> Option<Vec<HashMap<u32, &'a str>>> {
        let starts = self.places.get(&first)?;
        if self.first(count)?.parse() != Ok(starts.len()) {
            return None;
        }
        let ends = starts.iter().skip(1).copied().chain([self.fields.len() - 1]);
        Some(starts.iter().zip(ends).map(|(from, to)| self.fields[*from..to].iter().copied().collect()).collect())
    }
}
