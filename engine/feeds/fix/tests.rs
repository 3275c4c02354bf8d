#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::frame::{FrameTooLong, Framer};
use super::*;

/// The documented messages, recomputed; `|` is the byte 1.
const VECTORS: &[&str] = &[
    "8=FIX.4.4|9=128|35=A|49=demo.broker.1234567|56=cServer|57=QUOTE|50=QUOTE|34=1|52=20260916-14:57:52.100|98=0|108=30|141=Y|553=1234567|554=secret|10=063|",
    "8=FIX.4.4|9=143|35=V|49=demo.broker.1234567|56=cServer|57=QUOTE|50=QUOTE|34=2|52=20260916-14:57:52.400|262=md-1|263=1|264=1|265=1|267=2|269=0|269=1|146=1|55=1|10=159|",
    "8=FIX.4.4|9=142|35=W|34=2|49=cServer|50=QUOTE|52=20260916-14:57:52.978|56=demo.broker.1234567|57=QUOTE|55=1|262=md-1|268=2|269=0|270=1.0851|269=1|270=1.08523|10=197|",
    "8=FIX.4.4|9=171|35=W|34=3|49=cServer|50=QUOTE|52=20260916-14:57:53.010|56=demo.broker.1234567|57=QUOTE|55=1|268=2|269=1|270=1.08523|271=3000000|278=16|269=0|270=1.0851|271=1000000|278=17|10=140|",
    "8=FIX.4.4|9=158|35=X|34=4|49=cServer|50=QUOTE|52=20260916-14:57:53.120|56=demo.broker.1234567|57=QUOTE|268=2|279=0|269=0|278=18|55=1|270=1.08512|271=500000|279=2|278=17|55=1|10=037|",
    "8=FIX.4.4|9=96|35=1|34=5|49=cServer|50=QUOTE|52=20260916-14:58:23.500|56=demo.broker.1234567|57=QUOTE|112=TR-7|10=247|",
];

fn wire(text: &str) -> Vec<u8> {
    text.replace('|', "\x01").into_bytes()
}

type Whole = (Vec<u8>, Vec<(u32, Vec<u8>)>);

fn read(frame: &[u8]) -> Result<Whole, Fault> {
    let message = Message::parse(frame)?;
    let fields: Result<Vec<_>, Fault> = message.fields().map(|f| f.map(|(tag, value)| (tag, value.to_vec()))).collect();
    Ok((message.kind.to_vec(), fields?))
}

/// The same, by the book: everything into strings and a map first.
fn plain(frame: &[u8]) -> Result<Whole, &'static str> {
    let body = frame.strip_suffix(b"\x01").ok_or("end")?;
    let mut fields = Vec::new();
    for part in body.split(|b| *b == 1) {
        let at = part.iter().position(|b| *b == b'=').ok_or("=")?;
        let tag = std::str::from_utf8(&part[..at]).map_err(|_| "tag")?;
        if tag.starts_with(['0', '+']) || tag.len() > 9 {
            return Err("tag");
        }
        fields.push((tag.parse::<u32>().map_err(|_| "tag")?, part[at + 1..].to_vec()));
    }
    let map: BTreeMap<u32, Vec<u8>> = fields.iter().rev().cloned().collect();
    let tags: Vec<u32> = fields.iter().map(|(tag, _)| *tag).collect();
    if tags.len() < 4 || tags[..3] != [8, 9, 35] || tags[tags.len() - 1] != 10 || map[&8] != b"FIX.4.4" {
        return Err("order");
    }
    let digits = |text: &[u8], most: usize| {
        let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= most && !t.starts_with('+'))?;
        text.parse::<u32>().ok()
    };
    let last = &fields[fields.len() - 1].1;
    let trailer = frame.len() - last.len() - 4;
    let header = START.len() + map[&9].len() + 1;
    if digits(&map[&9], 7).map(|n| n as usize) != Some(trailer - header) {
        return Err("length");
    }
    let sum: u32 = frame[..trailer].iter().map(|b| u32::from(*b)).sum();
    if digits(last, 3) != Some(sum % 256) || map[&35].is_empty() {
        return Err("checksum");
    }
    fields.pop();
    Ok((map[&35].clone(), fields.split_off(3)))
}

#[test]
fn the_documented_messages_are_read_and_written_byte_for_byte() {
    for text in VECTORS {
        let frame = wire(text);
        let (kind, fields) = read(&frame).unwrap();
        let draft = Draft::new(std::str::from_utf8(&kind).unwrap());
        let draft = fields.iter().fold(draft, |draft, (tag, value)| draft.with(*tag, value));
        assert_eq!(draft.finish(), frame, "{text}");
    }
    let message = wire(VECTORS[0]);
    let message = Message::parse(&message).unwrap();
    assert_eq!((message.kind, message.find(553), message.words(99)), (&b"A"[..], Some(&b"1234567"[..]), None));
    // A value cannot smuggle in a field.
    assert_eq!(Draft::new("5").with(58, "a\x0135=A").finish(), Draft::new("5").with(58, "a35=A").finish());
}

#[test]
fn what_is_wrong_is_said() {
    let base = VECTORS[5];
    for (from, to, fault) in [
        ("9=96|", "9=97|", Fault::BodyLength { said: 97, found: 96 }),
        ("TR-7", "TR-8", Fault::CheckSum { said: 247, found: 248 }),
        ("10=247|", "10=999|", Fault::CheckSum { said: 999, found: 247 }),
        ("8=FIX.4.4|", "8=FIX.4.2|", Fault::Envelope),
        ("10=247|", "10=0247|", Fault::Envelope),
        ("10=247|", "", Fault::Envelope),
        ("9=96|", "9=|", Fault::Envelope),
        ("9=96|", "9=00000096|", Fault::Envelope),
    ] {
        assert_eq!(Message::parse(&wire(&base.replacen(from, to, 1))), Err(fault), "{from} -> {to}");
    }
    assert_eq!(read(&Draft::default().with(34, "5").finish()), Err(Fault::Kind));
    for tag in ["", "0", "01", "a", "1a", "9999999999"] {
        let body = format!("35=0\x01{tag}=x\x01");
        let frame = Draft { body: body.into_bytes() }.finish();
        assert_eq!(read(&frame), Err(Fault::Field), "tag {tag}");
    }
}

#[test]
fn times_are_read_exactly_and_written_back() {
    let ns = 1_789_570_672_978_000_000;
    assert_eq!(time(b"20260916-14:57:52.978"), Some(ns));
    assert_eq!(time_of(ns + 999_999), "20260916-14:57:52.978");
    assert_eq!(time(b"20260916-14:57:52"), Some(ns - 978_000_000));
    assert_eq!(time(b"20260916-14:57:52.978123456"), Some(ns + 123_456));
    for text in [
        "",
        "20260916",
        "2026-09-16-14:57:52",
        "20261316-14:57:52",
        "20260916-14:57:52Z",
        "20260916-14:57:52.9781234567",
    ] {
        assert_eq!(time(text.as_bytes()), None, "{text}");
    }
}

/// What a framer hands on, when `bytes` come in pieces of `chunk`.
fn frames(bytes: &[u8], chunk: usize, limit: usize) -> (Vec<Vec<u8>>, Result<(), FrameTooLong>) {
    let (mut framer, mut seen) = (Framer::new(limit), Vec::new());
    for piece in bytes.chunks(chunk) {
        let pushed = framer.push(piece, |frame| seen.push(frame.to_vec()));
        if pushed.is_err() {
            return (seen, pushed);
        }
    }
    (seen, Ok(()))
}

#[test]
fn frames_do_not_depend_on_where_the_stream_is_cut_or_on_garbage_between() {
    let wrong_length = VECTORS[1].replace("9=143", "9=133");
    let too_long = VECTORS[1].replace("9=143", "9=643");
    let pieces = [
        "junk 8=FIX.4",
        VECTORS[0],
        VECTORS[2],
        &wrong_length,
        VECTORS[3],
        "8=FIX.4.4|9=x|35=0|",
        VECTORS[4],
        &too_long,
        VECTORS[5],
    ];
    let expected: Vec<_> = pieces.iter().map(|piece| wire(piece)).collect();
    let bytes = expected.concat();
    for chunk in 1..bytes.len() {
        assert_eq!(frames(&bytes, chunk, 1 << 16), (expected.clone(), Ok(())), "pieces of {chunk}");
    }
}

#[test]
fn the_limit_is_exact_and_memory_bounded() {
    let frame = wire(VECTORS[0]);
    assert_eq!(frames(&frame, 7, frame.len()).0.len(), 1);
    assert_eq!(frames(&frame, 7, frame.len() - 1).1, Err(FrameTooLong(frame.len() - 1)));
    // Refused as soon as it is announced, whether or not it comes.
    assert_eq!(frames(&wire("8=FIX.4.4|9=2000000|35=W|"), 4, 1 << 20).1, Err(FrameTooLong(1 << 20)));
    assert_eq!(frames(&wire("8=FIX.4.4|9=99999999999|"), 4, 1 << 20).1, Err(FrameTooLong(1 << 20)));
    assert_eq!(frames(&[b'x'; 300], 10, 200).1, Err(FrameTooLong(200)));
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![Just(34_u32), Just(52), Just(55), Just(269), Just(270), 1..999_999_999_u32];
    let value = prop_oneof!["[0-9.]{0,8}", "[ -~]{0,12}", Just("10=000".to_string())];
    ("[0-9A-Za-z]{1,2}", proptest::collection::vec((tag, value), 0..12)).prop_map(|(kind, fields)| {
        fields.iter().fold(Draft::new(&kind), |draft, (tag, value)| draft.with(*tag, value)).finish()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn a_plain_parser_reads_the_same(
        mut frame in message(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..3),
        mend in any::<bool>(),
    ) {
        for (index, byte, what) in edits {
            let at = index.index(frame.len());
            match what {
                0 => frame[at] = byte,
                1 => frame[at] = SOH,
                2 => { frame.remove(at); }
                _ => frame.insert(at, byte),
            }
            if frame.is_empty() { break; }
        }
        // With its checksum set right, more of a damaged message gets past it.
        if mend && let Some((at, _)) = trailer(&frame) {
            let sum = checksum(&frame[..at]);
            frame.truncate(at);
            frame.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
        }
        prop_assert_eq!(read(&frame).ok(), plain(&frame).ok());
    }

    #[test]
    fn a_stream_of_messages_is_the_messages(messages in proptest::collection::vec(message(), 1..6), chunk in 1..200_usize) {
        prop_assert_eq!(frames(&messages.concat(), chunk, 1 << 16), (messages, Ok(())));
    }

    #[test]
    fn no_bytes_lose_or_invent_any(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(1_u8), Just(b'=')], 0..400), chunk in 1..50_usize, message in message(), at in any::<prop::sample::Index>()) {
        let mut stream = bytes.clone();
        let at = at.index(bytes.len() + 1);
        stream.splice(at..at, message);
        let (seen, end) = frames(&stream, chunk, 1 << 16);
        prop_assert!(end.is_ok() && stream.starts_with(&seen.concat()));
        prop_assert_eq!(frames(&stream, stream.len(), 1 << 16).0, seen);
    }
}
