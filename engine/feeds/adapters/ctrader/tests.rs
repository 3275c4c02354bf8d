#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::market::{InstrumentId, Price, Size, SourceId};

fn symbols() -> Symbols {
    let names = [("EURUSD", 7), ("GBPUSD", 8), ("41", 9)];
    Symbols::new(SourceId(1), names.map(|(name, id)| (name.to_string(), InstrumentId(id))))
}

/// A message of the venue's: `35=W|55=1|…`.
fn message(text: &str) -> Vec<u8> {
    let (kind, rest) = text.strip_prefix("35=").unwrap().split_once('|').unwrap();
    let head = Draft::new(kind).with(34, "9").with(52, "20260916-14:57:52.978");
    let fields = rest.split('|').filter(|f| !f.is_empty()).map(|f| f.split_once('=').unwrap());
    fields.fold(head, |draft, (tag, value)| draft.with(tag.parse().unwrap(), value)).finish()
}

/// A decoder that has heard the list.
fn decoder() -> CtraderDecoder {
    let mut decoder = CtraderDecoder::new(3);
    decode(&mut decoder, Broker::PRELUDE[0].as_bytes());
    decoder
}

fn decode(decoder: &mut CtraderDecoder, frame: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    decoder.decode(frame, 5, &symbols(), &mut |event| events.push(event));
    events
}

/// Instrument, bid with size and ask with size of each tick.
fn said(decoder: &mut CtraderDecoder, text: &str) -> Vec<String> {
    decode(decoder, &message(text)).into_iter().map(words).collect()
}

fn words(event: Event) -> String {
    let Event::Tick(tick) = event else {
        return match event {
            Event::Alive => "alive".into(),
            Event::Reject(reject) => reject.to_string(),
            other => panic!("{other:?}"),
        };
    };
    let side = |price: Option<Price>, size: Option<Size>| match (price, size) {
        (None, _) => "-".to_string(),
        (Some(price), None) => price.to_string(),
        (Some(price), Some(size)) => format!("{price}x{size}"),
    };
    let first = if tick.snapshot { " first" } else { "" };
    format!("{} {}/{}{first}", tick.instrument.0, side(tick.bid, tick.bid_size), side(tick.ask, tick.ask_size))
}

#[test]
fn a_spot_message_is_a_price_of_its_moment() {
    let mut decoder = decoder();
    let events = decode(&mut decoder, Broker::EXAMPLE.1.as_bytes());
    let p = |text: &str| Some(text.parse::<Price>().unwrap());
    let expected = TickInput {
        source: SourceId(1),
        instrument: InstrumentId(7),
        ts_event_ns: Some(1_789_570_672_978_000_000),
        ts_recv_ns: 5,
        bid: p("1.0851"),
        ask: p("1.08523"),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: true,
    };
    assert_eq!(events, [Event::Tick(expected)]);
    assert_eq!(said(&mut decoder, "35=W|55=1|268=2|269=0|270=1.1|269=1|270=1.2"), ["7 1.1/1.2"]);
    assert_eq!(said(&mut decoder, "35=W|55=2|268=1|269=1|270=1.3"), ["8 -/1.3 first"], "a side may be empty");
    assert_eq!(said(&mut decoder, "35=W|55=41|268=2|269=0|270=2|269=1|270=3"), ["9 2/3 first"], "a number as a name");
    let again = decode(&mut decoder, &message("35=W|43=Y|122=20260916-14:57:50.000|55=1|268=1|269=0|270=1.1"));
    assert!(matches!(again[..], [Event::Tick(t)] if t.ts_event_ns == Some(1_789_570_670_000_000_000)), "{again:?}");
}

#[test]
fn a_book_is_kept_by_the_ids_of_its_entries() {
    let mut decoder = decoder();
    let whole = "35=W|55=1|268=3|269=1|270=1.08523|271=3000000|278=16|269=0|270=1.0851|271=1000000|278=17|269=0|270=1.085|271=5|278=19";
    assert_eq!(said(&mut decoder, whole), ["7 1.0851x1000000/1.08523x3000000 first"]);
    // The documents' example: a better bid comes, and the old one goes by its id alone.
    let change = "35=X|268=2|279=0|269=0|278=18|55=1|270=1.08512|271=500000|279=2|278=17|55=1";
    assert_eq!(said(&mut decoder, change), ["7 1.08512x500000/1.08523x3000000"]);
    assert_eq!(said(&mut decoder, "35=X|268=1|279=2|278=18|55=1"), ["7 1.085x5/1.08523x3000000"]);
    assert_eq!(said(&mut decoder, "35=X|268=1|279=1|278=19|55=1|271=6"), ["7 1.085x6/1.08523x3000000"]);
    assert_eq!(
        said(&mut decoder, "35=X|268=1|279=0|269=0|278=20|55=1|270=1.085|271=4"),
        ["7 1.085x10/1.08523x3000000"]
    );
    assert_eq!(said(&mut decoder, "35=X|268=1|279=2|278=16|55=1"), ["7 1.085x10/-"]);
    // A book is told whole first, be it empty.
    assert_eq!(said(&mut decoder, "35=X|268=1|279=0|269=0|278=50|55=2|270=9|271=9"), ["alive"]);
    assert_eq!(said(&mut decoder, "35=W|55=2|268=0"), ["8 -/- first"]);
    // Two symbols in one message; the second entry of one takes over its symbol.
    let two = "35=X|268=3|279=0|269=1|278=30|55=1|270=1.2|271=1|279=0|269=0|278=31|55=2|270=1.3|271=2|279=0|269=1|278=32|270=1.4|271=3";
    assert_eq!(said(&mut decoder, two), ["7 1.085x10/1.2x1", "8 1.3x2/1.4x3"]);
    // A new W is all there is.
    let whole = "35=W|55=1|268=1|269=0|270=1|271=1|278=40";
    assert_eq!(said(&mut decoder, whole), ["7 1x1/-"]);
    // What comes again was true once.
    assert_eq!(said(&mut decoder, "35=X|43=Y|268=1|279=2|278=40|55=1"), ["alive"]);
    assert_eq!(said(&mut decoder, "35=W|43=Y|55=1|268=1|269=0|270=9|271=1|278=40"), ["alive"]);
    assert_eq!(said(&mut decoder, "35=X|268=1|279=0|269=1|278=41|55=1|270=2|271=1"), ["7 1x1/2x1"]);
}

#[test]
fn behind_a_hole_a_book_says_nothing_until_it_comes_anew() {
    let mut decoder = decoder();
    let mut at = |seq: u64, text: &str| {
        let frame = String::from_utf8(message(text)).unwrap().replace("\x0134=9\x01", &format!("\x0134={seq}\x01"));
        let body: Vec<&str> = frame.split('\x01').filter(|f| !f.is_empty()).collect();
        let fields = body[3..body.len() - 1].iter().map(|f| f.split_once('=').unwrap());
        let draft =
            fields.fold(Draft::new(&body[2][3..]), |draft, (tag, value)| draft.with(tag.parse().unwrap(), value));
        decode(&mut decoder, &draft.finish()).into_iter().map(words).collect::<Vec<_>>().join(", ")
    };
    let whole = "35=W|55=1|268=2|269=0|270=1|271=1|278=1|269=1|270=2|271=1|278=2";
    let change = "35=X|268=1|279=1|278=1|55=1|271=5";
    assert_eq!(at(3, whole), "7 1x1/2x1 first");
    assert_eq!(at(4, change), "7 1x5/2x1");
    assert_eq!(at(6, change), "alive", "5 is missing");
    assert_eq!(at(7, "35=X|268=1|279=2|278=99|55=1"), "alive", "nobody knows whether there is a 99");
    assert_eq!(at(5, "35=4|43=Y|123=Y|36=6"), "alive");
    assert_eq!(at(8, change), "alive");
    assert_eq!(at(9, whole), "7 1x1/2x1");
    assert_eq!(at(10, "35=4|123=Y|36=20"), "alive");
    assert_eq!(at(20, change), "7 1x5/2x1", "what will not come is no hole");
    assert_eq!(at(22, "35=0|"), "alive");
    assert_eq!(at(23, change), "alive", "a heartbeat shows the hole as well");
}

#[test]
fn what_is_not_as_documented_is_refused_with_its_reason() {
    let mut decoder = decoder();
    said(&mut decoder, "35=W|55=1|268=0");
    for (text, reason) in [
        ("35=W|55=1|268=2|269=0|270=1.1", "expected as many entries (269) as NoMDEntries (268) says"),
        ("35=W|55=1|268=1|269=0|270=1.1x", "MDEntryPx (270) is not a decimal number; expected a decimal"),
        ("35=W|55=1|268=1|269=0|270=", "MDEntryPx (270) is not a decimal number; expected a decimal"),
        ("35=W|55=1|268=1|269=0", "expected MDEntryPx (270) in every entry"),
        ("35=W|55=1|268=1|270=1|269=0", "expected MDEntryType (269) first in every entry"),
        ("35=W|268=1|269=0|270=1", "expected a Symbol (55)"),
        ("35=W|55=99|268=1|269=0|270=1", "a symbol that is not subscribed; expected one of the source's symbols"),
        ("35=X|268=1|279=2|278=17|55=1|271=1x", "MDEntrySize (271) is not a decimal number; expected a decimal"),
        ("35=X|268=1|279=2|278=17|55=1", "expected an entry of the book in MDEntryID (278)"),
        ("35=X|268=1|279=0|278=17|55=1|270=1", "expected MDEntryType (269) of 0 or 1 in a new entry"),
        ("35=X|268=1|279=9|269=0|278=17|55=1|270=1", "expected MDUpdateAction (279) of 0, 1 or 2"),
        ("35=X|268=1|269=0|278=17|55=1|270=1", "expected MDUpdateAction (279) first in every entry"),
        ("35=X|268=1|279=0|269=0|55=1|270=1", "expected MDEntryID (278) in every entry"),
        ("35=Y|262=EURUSD|281=0", "the venue refuses the subscription of the symbol that 262 names"),
        ("35=j|45=2|380=3", "the venue refuses a message"),
        ("35=8|55=1", "expected a message of prices (35=W or X), a list (y) or one of the session"),
    ] {
        assert_eq!(said(&mut decoder, text), [reason], "{text}");
    }
    for text in ["35=0|", "35=1|112=x", "35=4|36=9", "35=5|58=bye", "35=A|108=30", "35=y|560=0"] {
        assert_eq!(said(&mut decoder, text), ["alive"], "{text}");
    }
    assert_eq!(
        words(decode(&mut decoder, b"8=FIX.4.4\x01what").remove(0)),
        "expected a message that begins with 8=FIX.4.4 and 9=, and ends with 10="
    );
}

#[test]
fn keys_are_checked() {
    let keys = "sender_comp_id = \"demo.b.1\"\nusername = \"1\"\npassword = \"p\"\n";
    let build = |more: &str| {
        let settings: Settings = toml::from_str(&format!("{keys}{more}")).unwrap();
        Broker::new(settings).map_err(|e| e.to_string())
    };
    let broker = build("base_url = \"tls://demo-uk-eqx-01.p.c-trader.com:5211\"").unwrap();
    assert_eq!((broker.host.as_str(), broker.port, broker.secure), ("demo-uk-eqx-01.p.c-trader.com", 5_211, true));
    assert_eq!((broker.settings.target_comp_id.as_str(), broker.settings.heartbeat_s), ("cServer", 30));
    assert_eq!(build("base_url = \"tcp://[::1]:5201\"").unwrap().host, "::1");
    for (more, said) in [
        ("base_url = \"https://h:1\"", "base_url: \"https://h:1\" is not a base URL, expected tls:// or tcp://"),
        ("base_url = \"tls://h\"", "base_url: \"tls://h\" has no port"),
        ("base_url = \"tls://h:1\"\nheartbeat_s = 9999", "heartbeat_s: 9999 s, expected 0 to 3600"),
        (
            "base_url = \"tls://h:1\"\ntarget_sub_id = \"a\\u0001b\"",
            "target_sub_id: \"a\\u{1}b\", expected some printable",
        ),
    ] {
        let error = build(more).unwrap_err();
        assert!(error.starts_with(said), "{error}");
    }
    let error = build("base_url = \"tls://h:1\"\nca_file = \"/nonexistent\"").unwrap().check().unwrap_err();
    assert!(error.key == "ca_file" && error.problem.contains("/nonexistent"), "{error}");
}

/// An entry of a book that lives in a map: id to side, price in pips and size.
type Plain = BTreeMap<u64, (u8, u32, u32)>;

fn plain_best(book: &Plain) -> String {
    let side = |side: u8, best: fn(std::vec::IntoIter<u32>) -> Option<u32>| {
        let mine: Vec<_> = book.values().filter(|entry| entry.0 == side).collect();
        let Some(price) = best(mine.iter().map(|entry| entry.1).collect::<Vec<_>>().into_iter()) else {
            return "-".to_string();
        };
        format!("{price}x{}", mine.iter().filter(|entry| entry.1 == price).map(|entry| entry.2).sum::<u32>())
    };
    format!("7 {}/{}", side(0, Iterator::max), side(1, Iterator::min))
}

proptest! {
    #[test]
    fn a_book_of_any_changes_is_a_map_of_them(
        changes in proptest::collection::vec(
            proptest::collection::vec((0..3_u8, 0..12_u64, 0..2_u8, 90..110_u32, 1..9_u32), 1..5), 1..40)
    ) {
        let (mut decoder, mut plain) = (decoder(), Plain::new());
        said(&mut decoder, "35=W|55=1|268=0");
        for message in changes {
            let (mut text, mut count) = (String::new(), 0);
            for (action, id, side, price, size) in message {
                let known = plain.contains_key(&id);
                match action {
                    0 => text += &format!("279=0|269={side}|278={id}|55=1|270={price}|271={size}|"),
                    1 if known => text += &format!("279=1|278={id}|55=1|270={price}|271={size}|"),
                    2 if known => text += &format!("279=2|278={id}|55=1|"),
                    _ => continue,
                }
                count += 1;
                match action {
                    0 => { plain.insert(id, (side, price, size)); }
                    1 => plain.get_mut(&id).map_or((), |entry| (entry.1, entry.2) = (price, size)),
                    _ => { plain.remove(&id); }
                }
            }
            if count > 0 {
                prop_assert_eq!(said(&mut decoder, &format!("35=X|268={count}|{text}")), [plain_best(&plain)]);
            }
        }
    }

    #[test]
    fn no_damage_panics_or_goes_unanswered(
        which in 0..4_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        truncated in any::<prop::sample::Index>(),
    ) {
        let texts = [
            "35=W|55=1|268=2|269=0|270=1.1|271=5|278=1|269=1|270=1.2|271=6|278=2",
            "35=X|268=2|279=0|269=0|278=18|55=1|270=1.08512|271=500000|279=2|278=1|55=1",
            "35=y|320=1|560=0|146=1|55=1|1007=EURUSD|1008=5",
            "35=W|55=2|268=2|269=0|270=1.1|269=1|270=1.2",
        ];
        let frame = message(texts[which]);
        // Damaged inside, with length and checksum made right again, so that it comes as far as it can.
        let parsed = Message::parse(&frame).unwrap();
        let mut fields: Vec<(u32, Vec<u8>)> = parsed.fields().map(|f| f.map(|(t, v)| (t, v.to_vec())).unwrap()).collect();
        for (index, byte) in edits {
            let at = index.index(fields.len());
            match byte % 5 {
                0 => fields[at].0 = [55, 268, 269, 270, 271, 278, 279][usize::from(byte) % 7],
                1 => fields[at].1.push(byte),
                2 => fields[at].1.clear(),
                3 => { let copy = fields[at].clone(); fields.insert(at, copy); }
                _ => { let other = fields.len() - 1 - at; fields.swap(at, other); }
            }
        }
        let kind = std::str::from_utf8(parsed.kind).unwrap();
        let whole = fields.iter().fold(Draft::new(kind), |draft, (tag, value)| draft.with(*tag, value)).finish();
        let mut decoder = decoder();
        decode(&mut decoder, &message(texts[0]));
        prop_assert!(!decode(&mut decoder, &whole).is_empty());
        prop_assert!(!decode(&mut decoder, &whole[..truncated.index(whole.len())]).is_empty());
    }
}
