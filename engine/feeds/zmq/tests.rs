#![allow(clippy::unwrap_used)]
use super::peer::Peer;
use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1_000;

/// What one peer hears of the other, all of whose bytes come in pieces.
fn carry(from: &mut Peer, to: &mut Peer, piece: usize) -> Vec<Vec<u8>> {
    let (bytes, mut heard) = (std::mem::take(from.out()), Vec::new());
    for bytes in bytes.chunks(piece) {
        to.push(bytes, |message| heard.push(message.to_vec())).unwrap();
    }
    heard
}

fn pair(one: Kind, other: Kind) -> (Peer, Peer) {
    let (mut one, mut other) = (Peer::new(one, LIMIT), Peer::new(other, LIMIT));
    for _ in 0..2 {
        carry(&mut one, &mut other, 7);
        carry(&mut other, &mut one, 64);
    }
    assert!(one.is_open() && other.is_open());
    (one, other)
}

/// A peer whose handshake is over, and what a fault of the other side makes of it.
fn told(kind: Kind, other: Kind, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let (mut peer, _) = pair(kind, other);
    let mut heard = Vec::new();
    peer.push(bytes, |message| heard.push(message.to_vec())).map(|()| heard)
}

#[test]
fn the_greeting_and_ready_are_those_of_the_specification() {
    let mut peer = Peer::new(Kind::Sub, LIMIT);
    let greeting = std::mem::take(peer.out());
    assert_eq!(greeting.len(), 64);
    assert_eq!(&greeting[..16], b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL");
    assert!(greeting[16..].iter().all(|b| *b == 0));
    peer.push(&greeting, |_| ()).unwrap();
    assert_eq!(peer.out(), b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    assert!(!peer.is_open());
}

#[test]
fn messages_long_and_short_and_with_an_envelope() {
    let (mut push, mut pull) = pair(Kind::Push, Kind::Pull);
    push.say(b"ab");
    push.say(&[b'x'; 256]);
    assert_eq!(&push.out()[..4], b"\0\x02ab");
    assert_eq!(&push.out()[4..13], b"\x02\0\0\0\0\0\0\x01\0");
    assert_eq!(carry(&mut push, &mut pull, 5), [b"ab".to_vec(), vec![b'x'; 256]]);

    let (mut req, mut rep) = pair(Kind::Req, Kind::Rep);
    req.say(b"{}");
    assert_eq!(req.out(), b"\x01\0\0\x02{}");
    assert_eq!(carry(&mut req, &mut rep, 1), [b"{}"]);
    rep.say(b"OK");
    assert_eq!(carry(&mut rep, &mut req, 100), [b"OK"]);

    // Several parts are one message.
    assert_eq!(told(Kind::Sub, Kind::Pub, b"\x01\x02ab\x01\0\0\x01c\0\x01d").unwrap(), [&b"abc"[..], b"d"]);
}

#[test]
fn a_ping_is_answered_with_its_context_and_is_no_message() {
    let (mut peer, _) = pair(Kind::Pull, Kind::Push);
    peer.push(b"\x04\x0a\x04PING\0\x0ahey\x04\x05\x04PONG", |_| panic!("no message")).unwrap();
    assert_eq!(peer.out(), b"\x04\x08\x04PONGhey");
    peer.out().clear();
    // A context is at most sixteen bytes.
    let long = [&b"\x04\x1b\x04PING\0\x0a"[..], &[b'x'; 20]].concat();
    peer.push(&long, |_| panic!("no message")).unwrap();
    assert_eq!(peer.out(), &[&b"\x04\x15\x04PONG"[..], &[b'x'; 16]].concat());
}

#[test]
fn what_is_wrong_is_said() {
    let refuse = |bytes: &[u8]| Peer::new(Kind::Sub, LIMIT).push(bytes, |_| ()).unwrap_err();
    assert_eq!(refuse(b"HTTP/1.1"), Fault::NotZeroMq);
    assert_eq!(refuse(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01"), Fault::Version(1));
    let mut greeting = std::mem::take(Peer::new(Kind::Pub, LIMIT).out());
    greeting[12..17].copy_from_slice(b"PLAIN");
    assert_eq!(refuse(&greeting), Fault::Security("PLAIN".into()));

    let (mut sub, mut push) = (Peer::new(Kind::Sub, LIMIT), Peer::new(Kind::Push, LIMIT));
    carry(&mut sub, &mut push, 64);
    let fault = sub.push(push.out(), |_| ()).unwrap_err();
    assert_eq!(fault.to_string(), "the other side is a PUSH socket; a SUB socket expects PUB");

    for (bytes, expected) in [
        (&b"\x08\0"[..], "flags"),
        (b"\x05\0", "flags"),
        (b"\x04\0", "name of a command"),
        (b"\x04\x02\x05R", "whole name"),
        (b"\x04\x0d\x05ERROR\x06Nobody", "refused: Nobody"),
    ] {
        let said = told(Kind::Sub, Kind::Pub, bytes).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    let mut early = std::mem::take(Peer::new(Kind::Pub, LIMIT).out());
    early.extend_from_slice(b"\0\x02ab");
    assert_eq!(refuse(&early), Fault::Malformed("READY before any message"));
}

#[test]
fn the_limit_is_exact_and_nothing_is_kept_beyond_it() {
    let head = |length: u64| [&b"\x02"[..], &length.to_be_bytes()].concat();
    let mut whole = head(1_000);
    whole.resize(whole.len() + 1_000, b'x');
    assert_eq!(told(Kind::Sub, Kind::Pub, &whole).unwrap(), [[b'x'; 1_000]]);
    for length in [1_001, u64::MAX] {
        assert_eq!(told(Kind::Sub, Kind::Pub, &head(length)), Err(Fault::TooLong(LIMIT)));
    }
    // Parts count together, and parts without anything in them are none.
    let parts = [&b"\x01\xff"[..], &[b'x'; 255]].concat();
    assert_eq!(told(Kind::Sub, Kind::Pub, &parts.repeat(4)), Err(Fault::TooLong(LIMIT)));
    assert_eq!(told(Kind::Sub, Kind::Pub, &b"\x01\0".repeat(5_000)).unwrap().len(), 0);
}

proptest! {
    #[test]
    fn messages_do_not_depend_on_where_the_stream_is_cut(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..20),
        piece in 1_usize..300,
        delimited in any::<bool>(),
    ) {
        let (mut from, mut to) =
            if delimited { pair(Kind::Req, Kind::Rep) } else { pair(Kind::Push, Kind::Pull) };
        messages.iter().for_each(|message| from.say(message));
        prop_assert_eq!(carry(&mut from, &mut to, piece), messages);
    }

    #[test]
    fn no_bytes_panic_and_memory_is_bounded(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), edits in proptest::collection::vec((0_usize..500, any::<u8>()), 0..4),
        piece in 1_usize..100,
    ) {
        let mut peer = Peer::new(Kind::Rep, LIMIT);
        let mut other = Peer::new(Kind::Req, LIMIT);
        other.push(&std::mem::take(peer.out()), |_| ()).unwrap();
        let mut stream = std::mem::take(other.out());
        stream.extend_from_slice(&bytes);
        for (at, byte) in edits {
            let at = at % stream.len();
            stream[at] = byte;
        }
        for bytes in stream.chunks(piece) {
            if peer.push(bytes, |message| assert!(message.len() <= LIMIT)).is_err() {
                break;
            }
            // Answers are never longer than what they answer.
            prop_assert!(peer.out().len() <= 64 + stream.len());
        }
    }
}
