//! The FIX codec over recorded messages: what is valid reads as the recording says, what is not is refused with its
//! reason.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::Value;
use tickwire::feeds::adapters::Decoder;
use tickwire::feeds::adapters::ctrader::CtraderDecoder;
use tickwire::feeds::event::{Event, Reject, Symbols};
use tickwire::feeds::fix::frame::Framer;
use tickwire::feeds::fix::{self, Fault, Message};
use tickwire::market::{InstrumentId, Price, SourceId};

fn recorded() -> Vec<Value> {
    let root = std::env::var_os("TICKWIRE_DATA").expect("TICKWIRE_DATA names the folder of recordings");
    let text = std::fs::read_to_string(Path::new(&root).join("fix/md_messages.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wire(message: &Value) -> Vec<u8> {
    message["msg"].as_str().unwrap().replace('|', "\x01").into_bytes()
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn every_message_reads_as_recorded_or_is_refused_with_its_reason() {
    let (mut valid, mut refused, mut unpadded) = (0, 0, 0);
    for recorded in recorded() {
        let frame = wire(&recorded);
        let checksum: u16 = recorded["computed_checksum"].as_str().unwrap().parse().unwrap();
        if recorded["body_length_ok"] == false {
            let Err(Fault::BodyLength { said, found }) = Message::parse(&frame) else { panic!("{recorded}") };
            // Its checksum is wrong too, and is found to be so when the length is set right.
            let text = String::from_utf8(frame).unwrap();
            let mended = text.replacen(&format!("\x019={said}\x01"), &format!("\x019={found}\x01"), 1);
            let Err(Fault::CheckSum { .. }) = Message::parse(mended.as_bytes()) else { panic!("{recorded}") };
            refused += 1;
            continue;
        }
        let message = Message::parse(&frame).unwrap_or_else(|fault| panic!("{fault}: {recorded}"));
        assert_eq!(message.kind, recorded["type"].as_str().unwrap().as_bytes());
        for (tag, key) in [(34, "seq"), (52, "sending_time")] {
            assert_eq!(message.words(tag).as_deref(), recorded[key].as_str(), "{recorded}");
        }
        assert!(recorded["symbol"].is_null() || message.words(55).as_deref() == recorded["symbol"].as_str());
        assert_eq!(
            fix::time_of(fix::time(message.find(52).unwrap()).unwrap()),
            recorded["sending_time"].as_str().unwrap()
        );
        let plain: Vec<(u32, Vec<u8>)> = frame
            .split(|b| *b == fix::SOH)
            .filter(|field| !field.is_empty())
            .map(|field| {
                let at = field.iter().position(|b| *b == b'=').unwrap();
                (std::str::from_utf8(&field[..at]).unwrap().parse().unwrap(), field[at + 1..].to_vec())
            })
            .collect();
        let fields: Vec<_> = message.fields().map(|f| f.map(|(tag, value)| (tag, value.to_vec())).unwrap()).collect();
        assert_eq!(fields, plain[3..plain.len() - 1], "{recorded}");
        let trailer = &plain[plain.len() - 1].1;
        assert_eq!(std::str::from_utf8(trailer).unwrap().parse(), Ok(checksum));
        unpadded += usize::from(trailer.len() < 3);
        valid += 1;
    }
    assert_eq!((valid, refused, unpadded), (43, 2, 12));
}

/// The best of one side of a W, by the book.
fn best(fields: &[(u32, String)], side: &str, better: fn(Price, Price) -> Price) -> Option<Price> {
    let mut mine = false;
    let prices = fields.iter().filter_map(|(tag, value)| {
        if *tag == 269 {
            mine = value == side;
        }
        (mine && *tag == 270).then(|| value.parse::<Price>().unwrap())
    });
    prices.reduce(better)
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn the_adapter_finds_the_best_prices_of_every_snapshot() {
    let names = ["EUR/USD", "USD/CAD", "GBP/USD", "XAU/USD"];
    let symbols = Symbols::new(SourceId(1), names.iter().zip(1..).map(|(n, id)| ((*n).to_string(), InstrumentId(id))));
    let (mut ticks, mut alive, mut refused_by_venue, mut not_prices, mut damaged) = (0, 0, 0, 0, 0);
    for recorded in recorded() {
        let mut decoder = CtraderDecoder::new(names.len());
        let mut events = Vec::new();
        decoder.decode(&wire(&recorded), 5, &symbols, &mut |event| events.push(event));
        match events[..] {
            [Event::Tick(tick)] => {
                let text = recorded["msg"].as_str().unwrap();
                let field = |field: &str| field.split_once('=').map(|(tag, v)| (tag.parse().unwrap(), v.to_string()));
                let fields: Vec<(u32, String)> = text.split('|').filter_map(field).collect();
                let expected = (best(&fields, "0", Ord::max), best(&fields, "1", Ord::min));
                assert_eq!((tick.bid, tick.ask), expected, "{recorded}");
                let sent = tick.ts_event_ns.map(fix::time_of);
                assert_eq!(sent.as_deref(), recorded["sending_time"].as_str());
                assert_eq!(
                    Ok(tick.instrument),
                    symbols.find(recorded["symbol"].as_str().unwrap().as_bytes()).map(|f| f.instrument)
                );
                ticks += 1;
            }
            [Event::Alive] => alive += 1,
            [Event::Reject(Reject::Refused(_))] => refused_by_venue += 1,
            [Event::Reject(Reject::Expected(_))] => not_prices += 1,
            [Event::Reject(Reject::Fix(_))] => damaged += 1,
            _ => panic!("{events:?}: {recorded}"),
        }
    }
    // Snapshots; logons and a logout; a refused subscription; mass quotes and requests of clients; the two invalid ones.
    assert_eq!((ticks, alive, refused_by_venue, not_prices, damaged), (17, 3, 1, 22, 2));
}

#[test]
#[ignore = "needs TICKWIRE_DATA"]
fn all_of_them_are_found_in_one_stream_cut_anywhere() {
    let frames: Vec<_> = recorded().iter().map(wire).collect();
    let stream = frames.concat();
    for chunk in (1..400).chain([stream.len()]) {
        let (mut framer, mut seen) = (Framer::new(1 << 20), Vec::new());
        stream.chunks(chunk).for_each(|piece| framer.push(piece, |frame| seen.push(frame.to_vec())).unwrap());
        assert_eq!(seen, frames, "pieces of {chunk}");
    }
}
