//! Everything that reads what somebody else wrote, over inputs that nobody would write. Nothing may panic, overflow or
//! ask for memory without bound, and each target has promises of its own that are checked on every input.
//!
//! In the suite each target gets some 20,000 inputs; `scripts/fuzz` gives it ten million. See `fuzz/run.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "feeds/any.rs"]
mod any;
mod counting_support;
#[path = "fuzz/files.rs"]
mod files;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "feeds/oracle.rs"]
mod oracle;
#[path = "fuzz/run.rs"]
mod run;
#[path = "fuzz/wire.rs"]
mod wire;

use std::mem::discriminant;

use any::Any;
use oracle::Oracle;
use run::{Target, hash};
use serde::de::IgnoredAny;
use tickwire::feeds::adapters::adapters;
use tickwire::feeds::event::Event;
use tickwire::feeds::fix::frame::Framer;
use tickwire::feeds::fix::session::{Identity, Now, Session};
use tickwire::feeds::fix::{self, Message};
use tickwire::feeds::json::Cursor;
use tickwire::feeds::lines::LineSplitter;
use tickwire::feeds::zmq::Kind;
use tickwire::feeds::zmq::peer::Peer;
use tickwire::market::{Price, Size, time_text};

/// Words of JSON and of what venues say in it.
const JSON: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"false",
    b"\\u0041",
    b"\\u00",
    b"\\uD800",
    b"\\\"",
    b"\\",
    b"\"\"",
    b"{}",
    b"[]",
    b"0",
    b"-",
    b"1e5",
    b"\xC3\xA9",
    b"\xFF",
    b"\x00",
    b"\"a\":1,",
    b",\"b\":\"1.5\"",
    b",\"data\":[1]",
    b"snapshot",
    b"update",
    b"ticker",
    b"trade",
    b"PRICE",
    b"Z",
    b"+02:00",
    b"{\"a\":[1,{\"b\":null}]}",
];

/// Words of FIX.
const FIX: &[&[u8]] = &[
    b"\x01",
    b"=",
    b"8=FIX.4.4\x01",
    b"9=5\x01",
    b"35=W\x01",
    b"35=X\x01",
    b"35=4\x01",
    b"34=1\x01",
    b"43=Y\x01",
    b"55=1\x01",
    b"268=2\x01",
    b"269=0\x01",
    b"269=1\x01",
    b"269=2\x01",
    b"270=1.5\x01",
    b"271=5\x01",
    b"278=1\x01",
    b"279=0\x01",
    b"279=1\x01",
    b"279=2\x01",
    b"36=18446744073709551615\x01",
    b"7=1\x01",
    b"16=0\x01",
    b"112=T\x01",
    b"123=Y\x01",
    b"10=000\x01",
];

/// Words of what has neither quotes nor tags.
const FIELDS: &[&[u8]] =
    &[b":|:", b";", b":", b"|", b"EURUSD", b"EURUSD:|:1.5;2", b"1.5;", b"-", b"0", b".", b"1e5", b"\xFF", b"\x00"];

/// Makes most of what looks like a message of FIX one: its length and its checksum are right.
fn repair_fix(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let Some(from) = memchr::memmem::find(input, b"35=") else { return };
    if random.u8(..8) == 0 {
        return;
    }
    let to = memchr::memmem::rfind(input, b"\x0110=").map_or(input.len(), |at| at + 1).max(from);
    let mut body = input[from..to].to_vec();
    if body.last() != Some(&fix::SOH) {
        body.push(fix::SOH);
    }
    *input = format!("8=FIX.4.4\x019={}\x01", body.len()).into_bytes();
    input.extend_from_slice(&body);
    let sum = fix::checksum(input);
    input.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
}

/// Every decimal that stands in a text.
fn stands_in(price: Price, text: &[u8]) -> bool {
    let part = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
    text.split(|b| !part(b)).any(|word| Price::parse(word) == Ok(price))
}

/// How many messages a decoder hears before the next connection's takes over.
const FRAMES: usize = 8;

#[test]
fn decoders() {
    for entry in adapters() {
        let any = Any::new(entry);
        let seeds = [any.messages(), any::recorded(any.entry.name)].concat();
        let words = match (any.is_json(), any.is_fix()) {
            (true, _) => JSON,
            (_, true) => FIX,
            _ => FIELDS,
        };
        let mut target = Target::new(format!("decode-{}", any.entry.name), seeds, words);
        if any.is_fix() {
            target.repair = repair_fix;
        }
        let (mut decode, mut oracle, mut heard) = (any.decoder(), Oracle::new(&any), Vec::<Vec<u8>>::new());
        let mut events = Vec::with_capacity(4_096);
        target.run(|frame| {
            if heard.len() == FRAMES {
                heard.clear();
                (decode, oracle) = (any.decoder(), Oracle::new(&any));
            }
            events.clear();
            decode(frame, 7, &any.symbols, &mut |event| events.push(event));
            heard.push(frame.to_vec());
            assert!(!events.is_empty(), "a frame without an event");
            let said = |event: &&Event| matches!(event, Event::Tick(_) | Event::Trade(_) | Event::Confirmed);
            if any.is_json() && events.iter().any(|event| said(&event)) {
                let json = any.split(frame).is_some_and(|(_, json)| serde_json::from_slice::<IgnoredAny>(json).is_ok());
                assert!(json, "a price out of what is not JSON");
            }
            for event in &events {
                let prices = match event {
                    Event::Tick(tick) => [tick.bid, tick.ask],
                    Event::Trade(trade) => [Some(trade.price), None],
                    _ => continue,
                };
                for price in prices.into_iter().flatten() {
                    assert!(heard.iter().rev().any(|text| stands_in(price, text)), "{price} stands nowhere");
                }
            }
            oracle.check(frame, &events);
            events.iter().fold(0, |kinds, event| hash(&(kinds, kind(event))))
        });
    }
}

/// What an event is, without its values.
fn kind(event: &Event) -> u64 {
    match event {
        Event::Reject(reject) => {
            hash(&reject.to_string().split_once(" is ").map_or_else(|| reject.to_string(), |(a, _)| a.into()))
        }
        Event::Refused(cause) => hash(&(1, cause.word())),
        Event::Tick(tick) => hash(&(2, tick.bid.is_some(), tick.ask.is_some(), tick.bid_size.is_some(), tick.snapshot)),
        other => hash(&discriminant(other)),
    }
}

/// Every message of every adapter of a kind.
fn all_messages(kind: fn(&Any) -> bool) -> Vec<Vec<u8>> {
    let all = adapters().into_iter().map(Any::new).filter(kind);
    all.flat_map(|any| [any.messages(), any::recorded(any.entry.name)].concat()).collect()
}

#[test]
fn json() {
    Target::new("json", all_messages(Any::is_json), JSON).run(|text| {
        let mut cursor = Cursor::new(text);
        let read = cursor.skip().and_then(|()| cursor.end());
        let general = serde_json::from_slice::<IgnoredAny>(text);
        // The general parser does not look at the UTF-8 of what it ignores.
        if general.is_ok() && std::str::from_utf8(text).is_ok() && read.is_err() {
            assert!(depth(text) > 32, "refused what is JSON: {read:?}");
        }
        assert!(read.is_err() || general.is_ok(), "took what is not JSON");
        assert!(read.is_err() || std::str::from_utf8(text).is_ok(), "took what is not UTF-8");
        let mut other = Cursor::new(text);
        let strings =
            (other.until_quote().is_some(), other.digits().is_some(), other.text().is_ok(), other.number().is_ok());
        let prices = (other.price_until_quote().is_some(), other.size_until_quote().is_some(), other.whole().is_ok());
        hash(&(read.err().map(|e| e.0), strings, prices, depth(text).min(40)))
    });
}

/// A depth that the nesting does not exceed.
fn depth(text: &[u8]) -> usize {
    let mut now = 0_usize;
    let depths = text.iter().map(|byte| {
        match byte {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        now
    });
    depths.max().unwrap_or(0)
}

#[test]
fn numbers_and_times() {
    let seeds = [
        "1.0851",
        "61837.63000000",
        "-0.5",
        "1e-5",
        "2024-05-17T10:15:30.123456789+02:00",
        "1477557524.327443673",
        "1715940930123",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
    Target::new("text", seeds, &[b".", b"e", b"-", b"+", b"Z", b"T", b":", b"0", b"00000000", b"99999999"]).run(
        |text| {
            let price = Price::parse(text);
            if let Ok(price) = price {
                // Whoever can read it at all reads the same, to the last bit of a float.
                let float: f64 = std::str::from_utf8(text).unwrap().parse().unwrap();
                assert_eq!(price.to_string().parse::<f64>().unwrap(), float, "{price}");
            }
            let size = Size::parse(text);
            let time = time_text::date_time(text);
            let fix = fix::time(text);
            hash(&(
                price.err().map(|e| e.to_string()),
                size.err().map(|e| e.to_string()),
                time.is_some(),
                fix.is_some(),
            ))
        },
    );
}

#[test]
fn lines() {
    const LIMIT: usize = 1_024;
    let seeds = all_messages(Any::is_json).chunks(3).map(|some| some.join(&b"\r\n"[..])).collect();
    let mut count = 0;
    Target::new("lines", seeds, &[b"\n", b"\r\n", b"\r", b"\n\n"]).run(|bytes| {
        count += 1;
        let (mut splitter, mut lines, mut ended) = (LineSplitter::new(LIMIT), Vec::new(), None);
        for piece in bytes.chunks(1 + count % 700) {
            if let Err(error) = splitter.push(piece, |line| lines.push(line.to_vec())) {
                ended = Some(error);
                break;
            }
        }
        let mut plain = bytes.split_inclusive(|b| *b == b'\n');
        let plain = plain.by_ref().take_while(|line| line.ends_with(b"\n") && line.len() <= LIMIT + 1);
        let plain =
            plain.map(|line| line.strip_suffix(b"\n").unwrap()).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let plain: Vec<_> = plain.filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, plain);
        let longest = bytes.split(|b| *b == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        assert_eq!(ended.is_some(), longest > LIMIT, "the limit is exact");
        hash(&(lines.len().min(8), ended.is_some()))
    });
}

#[test]
fn fix_frames() {
    const LIMIT: usize = 4_096;
    let mut target =
        Target::new("fix-frames", all_messages(Any::is_fix).chunks(2).map(|some| some.concat()).collect(), FIX);
    target.repair = |input, random| {
        if random.bool() {
            repair_fix(input, random);
        }
    };
    let mut count = 0;
    target.run(|bytes| {
        count += 1;
        let split = |chunk: usize| {
            let (mut framer, mut frames) = (Framer::new(LIMIT), Vec::new());
            let ended = bytes.chunks(chunk).find_map(|piece| framer.push(piece, |f| frames.push(f.to_vec())).err());
            (frames, ended.is_some())
        };
        let (whole, too_long) = split(bytes.len().max(1));
        let (cut, cut_too_long) = split(1 + count % 300);
        // A message that holds another cannot be told from one with a wrong length before all of it is there.
        let ends = |frame: &[u8]| memchr::memmem::find_iter(frame, b"\x0110=").count();
        let nested = whole.iter().any(|f| ends(f) > 1 || memchr::memmem::rfind(f, b"8=FIX.4.4\x019=") > Some(0));
        // The limit may be noticed sooner in pieces, never the other way round.
        assert!(
            nested || cut == whole || cut_too_long && whole.starts_with(&cut),
            "where it is cut changes what is found"
        );
        assert!(bytes.starts_with(&whole.concat()), "what was handed on is what came");
        let sound = whole.iter().filter(|frame| Message::parse(frame).is_ok()).count();
        hash(&(
            sound.min(4),
            whole.len().min(4),
            too_long,
            whole.first().and_then(|f| Message::parse(f).err()).map(|e| discriminant(&e)),
        ))
    });
}

#[test]
fn fix_session() {
    let mut target = Target::new("fix-session", all_messages(Any::is_fix), FIX);
    target.repair = repair_fix;
    let identity =
        || Identity { sender: "a".into(), target: "b".into(), sender_sub: "c".into(), target_sub: String::new() };
    let now = |at| Now { utc_ns: 1_789_571_872_978_000_000 + at, monotonic_ns: at };
    let begin = |at| {
        let mut session = Session::new(identity(), 30_000_000_000, now(at));
        (0..4).for_each(|_| session.request("V", fix::Draft::default().with(262, "x"), now(at)));
        session
    };
    let (mut session, mut count) = (begin(0), 0_i64);
    target.run(|frame| {
        count += 1;
        let at = count * 1_000_000_000;
        let heard = session.receive(frame, now(at));
        let due = session.tick(now(at));
        let said = std::mem::take(&mut session.out);
        // Whatever comes, what goes out is sound.
        let mut framer = Framer::new(1 << 20);
        let mut kinds = 0;
        framer.push(&said, |frame| kinds = hash(&(kinds, Message::parse(frame).unwrap().kind))).unwrap();
        let kind =
            hash(&(discriminant(&heard), heard.as_ref().ok().copied().map(|h| discriminant(&h)), due.is_err(), kinds));
        if heard.is_err() || due.is_err() || count % 16 == 0 {
            session = begin(at);
        }
        kind
    });
}

#[test]
fn zeromq() {
    const LIMIT: usize = 4_096;
    // What a peer says on a new connection, then messages.
    let stream = |kind, messages: &[Vec<u8>]| {
        let mut peer = Peer::new(kind, LIMIT);
        let greeting = std::mem::take(peer.out());
        let mut other = Peer::new(Kind::Pull, LIMIT);
        peer.push(&std::mem::take(other.out()), |_| {}).unwrap();
        let ready = std::mem::take(peer.out());
        messages.iter().for_each(|message| peer.say(message));
        [greeting, ready, std::mem::take(peer.out())].concat()
    };
    let seeds = all_messages(Any::is_json).chunks(2).map(|some| stream(Kind::Push, some)).collect();
    let words: &[&[u8]] = &[b"\x00", b"\x01", b"\x02", b"\x04", b"\x06", b"\x04PING", b"\x05READY", b"\xFF"];
    let mut count = 0;
    Target::new("zeromq", seeds, words).run(|bytes| {
        count += 1;
        let read = |size: usize| {
            let (mut peer, mut heard) = (Peer::new(Kind::Pull, LIMIT), Vec::new());
            let ended = bytes.chunks(size).find_map(|piece| peer.push(piece, |body| heard.push(body.to_vec())).err());
            assert!(heard.iter().all(|body| body.len() <= LIMIT));
            // It answers pings, and says nothing that grows beyond what it was sent.
            assert!(peer.out().len() <= 256 + 2 * bytes.len());
            (heard, ended.map(|fault| discriminant(&fault)))
        };
        let whole = read(bytes.len().max(1));
        assert_eq!(read(1 + count % 700), whole, "however it is cut");
        hash(&(whole.0.len().min(8), whole.1))
    });
}
