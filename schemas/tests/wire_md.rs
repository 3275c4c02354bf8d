//! `wire.md` says what the code does: every field of every record with its offset, every word, every control message,
//! and the example bytes.
#![allow(clippy::unwrap_used, missing_docs)]

use tickwire_schemas::control::ControlKind;
use tickwire_schemas::frame::Frame;
use tickwire_schemas::record::*;
use tickwire_schemas::words::*;

const WIRE: &str = include_str!("../wire.md");

fn check<R: Record>(name: &str, layout: &[(&str, usize)]) {
    let title = format!("### {name}: kind {}, {} bytes\n", R::KIND.code(), R::BYTES);
    let section = WIRE.split(&title).nth(1).unwrap_or_else(|| panic!("no section {title}"));
    let rows: Vec<_> = section.split("\n\n").next().unwrap().lines().skip(2).collect();
    let documented: Vec<(&str, usize)> = rows
        .iter()
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[4].trim_matches('`'), cells[1].parse().unwrap())
        })
        .collect();
    assert_eq!(documented, layout, "{name}");
}

#[test]
fn every_field_is_at_its_documented_offset() {
    check::<Tick>("Tick", Tick::LAYOUT);
    check::<Trade>("Trade", Trade::LAYOUT);
    check::<Quote>("Quote", Quote::LAYOUT);
    check::<Bar>("Bar", Bar::LAYOUT);
    check::<Indicator>("Indicator", Indicator::LAYOUT);
    check::<Gap>("Gap", Gap::LAYOUT);
    check::<SourceState>("SourceState", SourceState::LAYOUT);
}

#[test]
fn every_word_and_message_is_documented() {
    let words = |row: &str, all: Vec<(u8, &str)>| {
        let listed: Vec<_> = all.iter().map(|(code, word)| format!("{code} `{word}`")).collect();
        let row = format!("| {row} | {} |", listed.join(", "));
        assert!(WIRE.contains(&row), "{row}");
    };
    words("QuoteState", QuoteState::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("SourceStatus", SourceStatus::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("Cause", Cause::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("GapState", GapState::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("Verdict", Verdict::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("Aggressor", Aggressor::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("Timeframe", Timeframe::ALL.iter().map(|w| (w.code(), w.word())).collect());
    words("Check", Check::ALL.iter().map(|w| (w.code(), w.word())).collect());
    for (bit, word) in flag::WORDS {
        assert!(WIRE.contains(&format!("{bit} `{word}`")), "{word}");
    }
    for kind in (0..=255).filter_map(ControlKind::from_code) {
        assert!(WIRE.contains(&format!("| {} | {kind:?} |", kind.code())), "{kind:?}");
    }
}

#[test]
fn the_example_quote_is_one() {
    let example = WIRE.split("A live quote").nth(1).unwrap().split("```").nth(1).unwrap();
    let hex: String = example.lines().map(|line| line.split("     ").next().unwrap().replace(' ', "")).collect();
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
    let (frame, rest) = Frame::split(&bytes, 1000).unwrap().unwrap();
    assert!(rest.is_empty());
    let quote = frame.read_all::<Quote>().unwrap()[0];
    assert_eq!((quote.head.epoch, quote.head.seq, quote.head.chain, quote.head.instrument_id), (7, 5, 6, 8));
    assert_eq!((quote.head.ts_publish_ns, quote.ts_recv_ns), (1_700_000_000_000_000_000, 1_699_999_999_999_999_999));
    assert_eq!((quote.bid_e9, quote.ask_e9), (1_085_100_000, tickwire_schemas::NO_PRICE));
    assert_eq!((quote.bid_size_e8, quote.bid_source_id, quote.sources, quote.state), (3, 4, 1, 1));
}
