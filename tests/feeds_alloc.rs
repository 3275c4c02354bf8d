//! From bytes in hand to the inlet no adapter allocates: counted, for the message that each venue sends all day.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "feeds/any.rs"]
mod any;
mod counting_support;

use any::Any;
use counting_support::allocations;
use tickwire::feeds::adapters::adapters;
use tickwire::feeds::event::Event;
use tickwire::feeds::fix::Draft;
use tickwire::feeds::fix::frame::Framer;
use tickwire::feeds::lines::LineSplitter;
use tickwire::feeds::zmq::Kind;
use tickwire::feeds::zmq::peer::Peer;
use tickwire::market::Input;

/// A whole book of cTrader's.
fn fix_book() -> String {
    let head = Draft::new("W").with(34, "3").with(52, "20260916-14:57:53.010").with(55, "1").with(268, "20");
    let book = (0..20).fold(head, |draft, at| {
        let (side, price) = if at % 2 == 0 { ("0", 1_000 - at) } else { ("1", 1_000 + at) };
        draft.with(269, side).number(270, price).with(271, "1000000").number(278, at)
    });
    String::from_utf8(book.finish()).unwrap()
}

/// Two sockets that have introduced themselves.
fn zeromq_pair() -> (Peer, Peer) {
    let (mut pull, mut push) = (Peer::new(Kind::Pull, 1 << 20), Peer::new(Kind::Push, 1 << 20));
    for _ in 0..2 {
        push.push(&std::mem::take(pull.out()), |_| {}).unwrap();
        pull.push(&std::mem::take(push.out()), |_| {}).unwrap();
    }
    (pull, push)
}

#[test]
fn decoding_and_offering_allocates_nothing() {
    for adapter in adapters() {
        let any = Any::new(adapter);
        let (adapter, symbols, message) = (&any.entry, &any.symbols, any.entry.example.1);
        let mut decode = any.decoder();
        // Out of the order of the template, and with fields that nobody knows: the general path must not allocate either.
        let fix = message.starts_with("8=FIX");
        let other = match serde_json::from_str::<serde_json::Value>(message) {
            Ok(tree) => serde_json::to_string_pretty(&tree).unwrap().replacen('{', "{\"unknown\":[1,{\"a\":null}],", 1),
            // FIX has one order; what it can have instead is a book.
            Err(_) if fix => fix_book(),
            // JSON that is packed into something else has one way to be read.
            Err(_) => message.to_string(),
        };
        let (mut lines, mut frames) = (LineSplitter::new(1 << 20), Framer::new(1 << 20));
        let line = if fix { message.to_string() } else { format!("{message}\n") };
        let zeromq = ["dwx", "mql5-json-api"].contains(&adapter.name);
        let (mut peer, mut other_peer) = zeromq_pair();
        other_peer.say(message.as_bytes());
        let packed = std::mem::take(other_peer.out());
        let mut ticks = 0;
        let mut turn = |decode: &mut tickwire::feeds::adapters::AnyDecoder| {
            let mut offer = |event| {
                match event {
                    Event::Tick(tick) => {
                        ticks += usize::from(matches!(std::hint::black_box(Input::from(tick)), Input::Tick(_)));
                    }
                    // Polled, and the same as before.
                    Event::Confirmed => ticks += 1,
                    _ => {}
                }
            };
            decode(message.as_bytes(), 5, symbols, &mut offer);
            decode(other.as_bytes(), 5, symbols, &mut offer);
            let text = if zeromq { &packed } else { line.as_bytes() };
            let (a, b) = text.split_at(20);
            for piece in [a, b] {
                let each = |frame: &[u8]| decode(frame, 5, symbols, &mut offer);
                match (fix, zeromq) {
                    (true, _) => frames.push(piece, each).unwrap(),
                    (_, true) => peer.push(piece, each).unwrap(),
                    _ => lines.push(piece, each).unwrap(),
                }
            }
        };
        turn(&mut decode);
        let before = allocations();
        (0..1_000).for_each(|_| turn(&mut decode));
        assert_eq!(allocations() - before, 0, "{}", adapter.name);
        assert_eq!(ticks, 3 * 1_001, "{}", adapter.name);
    }
}
