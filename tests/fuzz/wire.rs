//! What comes over the engine's own sockets: frames of records, and what terminals say.

use std::sync::Arc;

use tickwire::fanout::session::{Action, Session};
use tickwire::fanout::window::Window;
use tickwire::fanout::{Catalogue, ConfiguredTokens, Core, FanoutConfig};
use tickwire::market::{Class, Instrument, InstrumentId, Price};
use tickwire_schemas::control::{CONTROL_BYTES_MAX, Control, Delivery, Goodbye, Hello, Ping, Subscribe, Unsubscribe};
use tickwire_schemas::frame::{Frame, HEADER_BYTES, Header};
use tickwire_schemas::record::{
    Bar, Gap, Indicator, Quote, RECORD_BYTES_MAX, Record, SourceState, Tick, Timer, Trade, read_head,
};
use tickwire_schemas::words::Kind;

use crate::run::{Target, hash};

/// Frames of three records of every kind.
fn frames() -> Vec<Vec<u8>> {
    fn of<R: Record + Default>() -> Vec<u8> {
        let mut one = [0; RECORD_BYTES_MAX];
        let length = R::default().write(&mut one);
        let body = one[..length].repeat(3);
        let header = Header { length: body.len() as u32, version: 1, kind: R::KIND.code(), flags: 1, count: 3 };
        [&header.to_bytes()[..], &body[..]].concat()
    }
    vec![
        of::<Tick>(),
        of::<Trade>(),
        of::<Quote>(),
        of::<Bar>(),
        of::<Indicator>(),
        of::<Gap>(),
        of::<SourceState>(),
        of::<Timer>(),
    ]
}

/// Reads all records of a frame, which a reader does by its kind, and holds that each is written as it was read.
fn read(frame: &Frame<'_>) -> u64 {
    fn all<R: Record>(frame: &Frame<'_>) -> u64 {
        let records = frame.records().map(|records| records.map(<[u8]>::to_vec).collect::<Vec<_>>());
        match frame.read_all::<R>() {
            Err(error) => hash(&std::mem::discriminant(&error)),
            Ok(read) => {
                for (record, bytes) in read.iter().zip(records.unwrap()) {
                    let mut again = [0; RECORD_BYTES_MAX];
                    let length = record.write(&mut again);
                    assert_eq!(again[..length], bytes[..length], "a record that is not written as it was read");
                }
                hash(&(R::KIND.code(), read.len().min(4)))
            }
        }
    }
    match Kind::from_code(frame.header.kind) {
        Some(Kind::Tick) => all::<Tick>(frame),
        Some(Kind::Trade) => all::<Trade>(frame),
        Some(Kind::Quote) => all::<Quote>(frame),
        Some(Kind::Bar) => all::<Bar>(frame),
        Some(Kind::Indicator) => all::<Indicator>(frame),
        Some(Kind::Gap) => all::<Gap>(frame),
        Some(Kind::SourceState) => all::<SourceState>(frame),
        Some(Kind::Timer) => all::<Timer>(frame),
        Some(kind) => u64::from(read_head(kind, frame.body).is_ok()),
        None => 2,
    }
}

#[test]
fn wire_frames() {
    Target::new("wire", frames(), &[b"\x00", b"\xFF\xFF\xFF\xFF", b"\x01\x00", b"\x03\x00", b"\x00\x00\x00\x80"]).run(
        |bytes| {
            let (mut rest, mut saw, mut used) = (bytes, 0, 0);
            loop {
                match Frame::split(rest, 1 << 16) {
                    Ok(Some((frame, behind))) => {
                        assert_eq!(frame.body.len(), frame.header.length as usize);
                        assert_eq!(Header::from_bytes(&frame.header.to_bytes()), frame.header);
                        used += HEADER_BYTES + frame.body.len();
                        saw = hash(&(saw, read(&frame)));
                        rest = behind;
                    }
                    Ok(None) => break,
                    Err(error) => {
                        saw = hash(&(saw, std::mem::discriminant(&error)));
                        break;
                    }
                }
            }
            assert_eq!(used + rest.len(), bytes.len());
            saw
        },
    );
}

fn core() -> Core {
    let instrument = |id: u32| Instrument {
        id: InstrumentId(id),
        symbol: format!("SYM{id}"),
        class: Class::Fx,
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    };
    let catalogue = Arc::new(Catalogue::new((1..=8).map(instrument).collect(), Vec::new()));
    let access = Arc::new(ConfiguredTokens::new(&FanoutConfig::default()).unwrap());
    let window = Window::new(1_024, catalogue.clone());
    Core { catalogue, access, window, engine_id: "test".into(), epoch: 3, grown: 0 }
}

/// Makes most frames as long as their headers say.
#[allow(clippy::ptr_arg)] // All repairs have this form.
fn repair(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    if random.u8(..4) == 0 || input.len() < HEADER_BYTES {
        return;
    }
    let length = (input.len() - HEADER_BYTES) as u32;
    input[..4].copy_from_slice(&length.to_le_bytes());
}

#[test]
fn control() {
    let subscribe = |symbols: &[&str], delivery| Subscribe {
        symbols: symbols.iter().map(ToString::to_string).collect(),
        kinds: vec![Kind::Quote, Kind::Tick],
        delivery,
        id: 1,
        ..Subscribe::default()
    };
    let hello = Hello { version: 1, token: String::new(), ..Hello::default() };
    let asked = [hello.to_frame(), subscribe(&["SYM*"], Delivery::Latest).to_frame()].concat();
    let mut seeds = vec![hello.to_frame(), asked];
    seeds.push(subscribe(&["*", "SYM[12]", "{SYM1,SYM2}"], Delivery::All).to_frame());
    seeds.push(Unsubscribe { id: 1 }.to_frame());
    seeds.push(Ping { id: 1, t1_ns: 5 }.to_frame());
    seeds.push(Goodbye { code: 0, reason: String::new() }.to_frame());
    let words: &[&[u8]] = &[
        b"\"symbols\":",
        b"\"kinds\":",
        b"[\"*\"]",
        b"\"tick\"",
        b"\"delivery\":\"all\"",
        b"null",
        b"-1",
        b"[[[[",
        b"{",
        b"}",
        b"**",
        b"[!a-z]",
        b"{a,b}",
        b"\\",
        b"\"resume\":{\"epoch\":1,\"seq\":2}",
        b"\x82",
        b"\x80",
        b"\x81",
        b"\x84",
    ];
    let mut target = Target::new("control", seeds, words);
    target.repair = repair;
    // Patterns of symbols are made into automata.
    target.spare_bytes = 16 << 20;
    let core = core();
    let begin = || {
        let mut session = Session::new(true);
        session.on_bytes(&Hello { version: 1, ..Hello::default() }.to_frame(), &core, 5, &mut Vec::new());
        session
    };
    let (mut session, mut count) = (begin(), 0);
    target.run(|bytes| {
        let (open, mut actions) = (session.is_open(), Vec::new());
        session.on_bytes(bytes, &core, 5, &mut actions);
        let mut saw = hash(&open);
        for action in &actions {
            let kind = match action {
                Action::Send(frame) | Action::Open(_, frame) => {
                    let (frame, rest) = Frame::split(frame, CONTROL_BYTES_MAX).unwrap().unwrap();
                    assert!(rest.is_empty(), "one frame at a time");
                    frame.header.kind
                }
                Action::Admitted(_) => 1,
                Action::End(_) => 2,
                Action::Close(..) => 3,
            };
            saw = hash(&(saw, kind));
        }
        let closes = actions.iter().any(|action| matches!(action, Action::Close(..)));
        assert_eq!(closes, open && !session.is_open(), "what ends says so");
        count += 1;
        if closes || count % 8 == 0 {
            session = begin();
            assert!(session.is_open());
        }
        saw
    });
}
