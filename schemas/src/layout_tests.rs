//! Pins every byte of version 1: sizes, offsets, golden bytes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use crate::frame::{Frame, FrameError, HEADER_BYTES, Header};
use crate::record::*;
use crate::words::*;

#[test]
fn every_word_comes_back_from_its_code_and_its_text() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_code(kind.code()), Some(*kind));
        assert_eq!(Kind::from_word(kind.word()), Some(*kind));
        assert!(kind.code() < 128, "{kind} is a record, codes from 128 are control messages");
    }
    assert_eq!(Check::from_word("jump"), Some(Check::Jump));
    assert_eq!(Verdict::from_code(9), None);
    let words: Vec<_> = flag::words(Check::Interval.bit() | flag::SNAPSHOT).collect();
    assert_eq!(words, ["interval", "snapshot"]);
}

/// Sizes are what a client in another language computes from `wire.md`; a change here is a new wire version.
#[test]
fn sizes_of_version_1() {
    let sizes: Vec<_> = Kind::ALL.iter().filter_map(|k| Some((k.word(), bytes_of(*k)?))).collect();
    let expected = [
        ("tick", 102),
        ("trade", 86),
        ("quote", 96),
        ("bar", 170),
        ("indicator", 82),
        ("gap", 82),
        ("source_state", 50),
        ("timer", 45),
        ("drop", 61),
        ("repair", 164),
    ];
    assert_eq!(sizes, expected);
}

fn head() -> Head {
    Head { epoch: 0x01020304, seq: 5, chain: 6, source_id: 7, instrument_id: 8, ts_publish_ns: -9 }
}

#[test]
fn golden_quote_of_version_1() {
    let quote = Quote {
        head: head(),
        ts_event_ns: 1,
        ts_recv_ns: 2,
        bid_e9: 1_085_100_000,
        ask_e9: crate::NO_PRICE,
        bid_size_e8: 3,
        ask_size_e8: crate::NO_SIZE,
        bid_source_id: 4,
        ask_source_id: 5,
        sources: 0x0102,
        state: 1,
        flags: 0,
    };
    let mut out = [0xEE; RECORD_BYTES_MAX];
    let length = quote.write(&mut out);
    let golden = "04030201\
        0500000000000000 0600000000000000 07000000 08000000 f7ffffffffffffff \
        0100000000000000 0200000000000000 e04fad4000000000 0000000000000080 \
        0300000000000000 ffffffffffffffff 04000000 05000000 0201 01 00";
    let golden: String = golden.split_whitespace().collect();
    let hex: String = out[..length].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, golden);
    assert_eq!(Quote::read(&out[..length]).unwrap(), quote);
    assert_eq!(read_head(Kind::Quote, &out).unwrap(), quote.head);
    let publish = i64::from_le_bytes(out[TS_PUBLISH_OFFSET..TS_PUBLISH_OFFSET + 8].try_into().unwrap());
    assert_eq!(publish, -9);
}

#[test]
fn a_reader_skips_what_it_does_not_know_and_reads_longer_records() {
    let mut record = [0; RECORD_BYTES_MAX];
    let timer = Timer { head: head(), now_ns: 77, snapshot: 1 };
    let length = timer.write(&mut record);
    let unknown = Header { length: 3, version: 1, kind: 99, flags: 0, count: 1 };
    let longer = Header { length: 2 * (length as u32 + 4), version: 1, kind: Kind::Timer.code(), flags: 0, count: 2 };
    let mut stream = Vec::from(unknown.to_bytes());
    stream.extend_from_slice(b"abc");
    stream.extend_from_slice(&longer.to_bytes());
    for _ in 0..2 {
        stream.extend_from_slice(&record[..length]);
        stream.extend_from_slice(&[0xAA; 4]);
    }
    let (first, rest) = Frame::split(&stream, 1000).unwrap().unwrap();
    assert_eq!(Kind::from_code(first.header.kind), None);
    let (second, rest) = Frame::split(rest, 1000).unwrap().unwrap();
    assert!(rest.is_empty());
    assert_eq!(second.read_all::<Timer>().unwrap(), [timer, timer]);
}

#[test]
fn announced_length_beyond_the_limit_is_refused_before_it_is_awaited() {
    let header = Header { length: 1001, version: 1, kind: 1, flags: 0, count: 1 }.to_bytes();
    assert_eq!(Frame::split(&header, 1000), Err(FrameError::TooLong { length: 1001, limit: 1000 }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut rest = &bytes[..];
        while let Ok(Some((frame, tail))) = Frame::split(rest, 300) {
            let _ = frame.read_all::<Tick>();
            let _ = frame.read_all::<Bar>();
            rest = tail;
        }
    }

    #[test]
    fn ticks_come_back_whole(seq: u64, bid: i64, size: u64, flags: u32, verdict: u8, cut in 0usize..102) {
        let tick = Tick { head: Head { seq, ..head() }, bid_e9: bid, ask_size_e8: size, flags, verdict, ..Tick::default() };
        let mut out = [0; RECORD_BYTES_MAX];
        let length = tick.write(&mut out);
        prop_assert_eq!(Tick::read(&out[..length]).unwrap(), tick);
        prop_assert!(Tick::read(&out[..cut]).is_err());
    }
}

#[test]
fn header_is_ten_bytes_little_endian() {
    let header = Header { length: 0x0A0B0C0D, version: 1, kind: 3, flags: 0x0102, count: 0x0304 };
    assert_eq!(header.to_bytes(), [0x0D, 0x0C, 0x0B, 0x0A, 1, 3, 2, 1, 4, 3]);
    assert_eq!(Header::from_bytes(&header.to_bytes()), header);
    assert_eq!(header.to_bytes().len(), HEADER_BYTES);
}
