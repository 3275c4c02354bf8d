//! Every decoder against a general parser, over generated messages: those of the venues with their members shuffled,
//! doubled, dropped and filled with other values, written with other spaces and escapes. The same over damaged bytes is in
//! `tests/fuzz.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "feeds/any.rs"]
mod any;
#[path = "feeds/oracle.rs"]
mod oracle;

use std::cell::Cell;
use std::sync::LazyLock;

use any::Any;
use oracle::{Node, Oracle};
use proptest::prelude::*;
use proptest::sample::Index;
use tickwire::feeds::adapters::adapters;
use tickwire::feeds::event::Event;
use tickwire::feeds::fix::Draft;

/// A message that can be changed.
#[derive(Debug, Clone)]
enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    /// Text of a string.
    Text(String),
    /// A number, `true`, `false` or `null`.
    Word(String),
    /// A string of JSON.
    Packed(Box<Tree>),
}

impl Tree {
    fn of(node: &Node<'_>) -> Tree {
        match node {
            Node::Object(members) => Tree::Object(members.iter().map(|(k, v)| (k.clone(), Tree::of(v))).collect()),
            Node::Array(items) => Tree::Array(items.iter().map(Tree::of).collect()),
            Node::Text(_, text) => match Node::read(text).filter(|_| text.starts_with('{')) {
                Some(packed) => Tree::Packed(Box::new(Tree::of(&packed))),
                None => Tree::Text(text.clone()),
            },
            Node::Number(text) => Tree::Word((*text).to_string()),
            Node::Bool(value) => Tree::Word(value.to_string()),
            Node::Null => Tree::Word("null".into()),
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Tree::Object(members) => members.iter().map(|(_, node)| node.count()).sum(),
            Tree::Array(items) => items.iter().map(Tree::count).sum(),
            Tree::Packed(tree) => tree.count(),
            Tree::Text(_) | Tree::Word(_) => 0,
        }
    }

    /// The node number `at`, each before those in it.
    fn at(&mut self, mut at: usize) -> &mut Tree {
        if at == 0 {
            return self;
        }
        at -= 1;
        let inner: Vec<&mut Tree> = match self {
            Tree::Object(members) => members.iter_mut().map(|(_, node)| node).collect(),
            Tree::Array(items) => items.iter_mut().collect(),
            Tree::Packed(tree) => vec![tree],
            Tree::Text(_) | Tree::Word(_) => Vec::new(),
        };
        for node in inner {
            let count = node.count();
            if at < count {
                return node.at(at);
            }
            at -= count;
        }
        unreachable!("fewer nodes than counted")
    }

    fn write(&self, style: Style, out: &mut String) {
        let space = ["", " ", "\n\t"][usize::from(style.space % 3)];
        match self {
            Tree::Word(word) => out.push_str(word),
            Tree::Text(text) => string(text, style, out),
            // Nobody packs line feeds.
            Tree::Packed(tree) => string(&tree.text(Style { space: style.space % 3 % 2, ..style }), style, out),
            Tree::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(space);
                    item.write(style, out);
                }
                out.push_str(space);
                out.push(']');
            }
            Tree::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(space);
                    string(key, style, out);
                    out.push_str(space);
                    out.push(':');
                    out.push_str(space);
                    value.write(style, out);
                }
                out.push_str(space);
                out.push('}');
            }
        }
    }

    fn text(&self, style: Style) -> String {
        let mut out = String::new();
        self.write(style, &mut out);
        out
    }
}

/// How it is written.
#[derive(Debug, Clone, Copy)]
struct Style {
    space: u8,
    escapes: bool,
}

fn string(text: &str, style: Style, out: &mut String) {
    // No venue escapes digits, and no decoder reads numbers that are.
    if style.escapes && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let first = u32::from(text.as_bytes()[0]);
        let rest = serde_json::to_string(&text[1..]).unwrap();
        out.push_str(&format!("\"\\u{first:04x}{}", &rest[1..]));
    } else {
        out.push_str(&serde_json::to_string(text).unwrap());
    }
}

/// A change of a message.
#[derive(Debug, Clone)]
enum Edit {
    /// The members of an object in another order.
    Shuffle(u64),
    /// A member that nobody knows.
    Unknown(String, String),
    Drop(Index),
    Twice(Index),
    /// Another value in the place of this.
    Value(Tree),
}

impl Edit {
    fn apply(&self, node: &mut Tree) {
        if let Edit::Value(value) = self {
            if matches!(node, Tree::Text(_) | Tree::Word(_)) {
                *node = value.clone();
            }
            return;
        }
        match (self, node) {
            (Edit::Shuffle(seed), Tree::Object(members)) => fastrand::Rng::with_seed(*seed).shuffle(members),
            (Edit::Unknown(key, value), Tree::Object(members)) => {
                members.insert(members.len() / 2, (format!("zz{key}"), Tree::Word(value.clone())));
            }
            (Edit::Drop(at), Tree::Object(members)) if !members.is_empty() => {
                drop(members.remove(at.index(members.len())))
            }
            (Edit::Drop(at), Tree::Array(items)) if !items.is_empty() => drop(items.remove(at.index(items.len()))),
            (Edit::Twice(at), Tree::Object(members)) if !members.is_empty() => {
                members.push(members[at.index(members.len())].clone());
            }
            (Edit::Twice(at), Tree::Array(items)) if !items.is_empty() => {
                items.push(items[at.index(items.len())].clone())
            }
            _ => {}
        }
    }
}

fn harmless() -> impl Strategy<Value = Edit> {
    let value = prop_oneof![
        Just("null".to_string()),
        Just("[1,{\"bid\":\"5\"},[]]".to_string()),
        Just("{\"a\":{\"b\":[{}]}}".to_string()),
        Just("\"\\\"\\u00e9é}\"".to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ];
    prop_oneof![
        any::<u64>().prop_map(Edit::Shuffle),
        ("[a-z]{0,4}", value).prop_map(|(key, value)| Edit::Unknown(key, value))
    ]
}

fn decimal() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(0|[1-9][0-9]{0,5})(\\.[0-9]{1,8})?",
        1 => "-?(0|[1-9][0-9]{0,10})(\\.[0-9]{1,11})?([eE][+-]?[0-9]{1,2})?",
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let value = prop_oneof![
        4 => decimal().prop_map(Tree::Word),
        4 => decimal().prop_map(Tree::Text),
        1 => "[0-9+.eE-]{0,24}".prop_map(Tree::Text),
        1 => "\\PC{0,12}".prop_map(Tree::Text),
        1 => prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(|word| Tree::Word(word.into())),
        1 => prop_oneof![Just("update"), Just("snapshot"), Just("trade"), Just("sell"), Just("2024-05-17T10:15:30.5+02:00")]
            .prop_map(|word: &str| Tree::Text(word.into())),
    ];
    prop_oneof![
        2 => harmless(),
        1 => any::<Index>().prop_map(Edit::Drop),
        1 => any::<Index>().prop_map(Edit::Twice),
        6 => value.prop_map(Edit::Value),
    ]
}

/// Which message, what is changed where, and how it is written.
fn change(edit: impl Strategy<Value = Edit>) -> impl Strategy<Value = (Index, Vec<(Index, Edit)>, Style)> {
    let style = (any::<u8>(), any::<bool>()).prop_map(|(space, escapes)| Style { space, escapes });
    (any::<Index>(), proptest::collection::vec((any::<Index>(), edit), 0..6), style)
}

fn changed(any: &Any, message: &[u8], edits: &[(Index, Edit)], style: Style) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let Some((front, json)) = any.split(message) else { return text(message) };
    let mut tree = Tree::of(&Node::read(&text(json)).unwrap());
    for (at, edit) in edits {
        let count = tree.count();
        edit.apply(tree.at(at.index(count)));
    }
    text(front) + &tree.text(style)
}

fn events(any: &Any, frame: &[u8]) -> Vec<Event> {
    let (mut decode, mut events) = (any.decoder(), Vec::new());
    decode(frame, 7, &any.symbols, &mut |event| events.push(event));
    events
}

/// How many cases each adapter gets.
fn cases() -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })
}

fn of_json(mut test: impl FnMut(&Any)) {
    for any in adapters().into_iter().map(Any::new).filter(Any::is_json) {
        println!("adapter {}", any.entry.name);
        test(&any);
    }
}

#[test]
fn every_decoder_reads_what_the_general_parser_reads() {
    of_json(|any| {
        let messages = any.messages();
        let told = Cell::new(0);
        cases()
            .run(&change(any_edit()), |(which, edits, style)| {
                let frame = changed(any, &messages[which.index(messages.len())], &edits, style);
                let told_now = Oracle::new(any).check(frame.as_bytes(), &events(any, frame.as_bytes()));
                told.set(told.get() + u32::from(told_now));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", any.entry.name));
        let told = told.get();
        assert!(told > 100, "{}: only {told} of the messages said a price", any.entry.name);
    });
}

#[test]
fn the_order_of_members_unknown_ones_spaces_and_escapes_change_nothing() {
    of_json(|any| {
        let messages = any.messages();
        cases()
            .run(&change(harmless()), |(which, edits, style)| {
                // The adapters for any API compare words as they are written.
                let style = Style { escapes: style.escapes && !any.entry.name.starts_with("json-"), ..style };
                let message = &messages[which.index(messages.len())];
                let frame = changed(any, message, &edits, style);
                prop_assert_eq!(events(any, frame.as_bytes()), events(any, message), "{}", frame);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", any.entry.name));
    });
}

#[test]
fn every_message_of_every_venue_is_understood() {
    for any in adapters().into_iter().map(Any::new) {
        assert!(Oracle::new(&any).has_opinion(), "tests/feeds/oracle.rs has no reader for {}", any.entry.name);
        for message in any.messages() {
            let told = events(&any, &message);
            let shown = message.escape_ascii();
            let held = Oracle::new(&any).check(&message, &told);
            assert!(held || message != any.entry.example.1.as_bytes(), "{}: no price in its example", any.entry.name);
            let depth = message.windows(11).any(|part| part == b"depthUpdate");
            let refused = message.windows(5).any(|part| part == b"\x0135=Y" || part == b"\x01281");
            let rejects = told.iter().any(|event| matches!(event, Event::Reject(_)));
            assert_eq!(rejects, depth || refused, "{}: {told:?} of {shown}", any.entry.name);
        }
    }
}

fn adapter(name: &str) -> Any {
    Any::new(adapters().into_iter().find(|entry| entry.name == name).unwrap())
}

static CTRADER: LazyLock<Any> = LazyLock::new(|| adapter("ctrader"));
static DWX: LazyLock<Any> = LazyLock::new(|| adapter("dwx"));
static POLLED: LazyLock<[Any; 2]> = LazyLock::new(|| ["json-poll", "mtapi-accounts"].map(adapter));

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn prices_of_fix_are_read_as_a_list_of_tags_has_them(
        entries in proptest::collection::vec(("[0127]", proptest::option::of(decimal()), proptest::option::of(decimal()), proptest::option::of(0_u64..9)), 0..7),
        (count, symbol, again, first) in (proptest::option::of(0_u64..7), 0_u8..8, 0_u8..6, 0_u8..6),
        damage in proptest::option::of((any::<Index>(), any::<u8>())),
    ) {
        let any = &*CTRADER;
        let mut draft = Draft::new("W").number(34, 3).with(52, "20260916-14:57:53.010");
        if again == 0 {
            draft = draft.with(43, "Y");
        }
        if first == 0 {
            draft = draft.with(122, "20260916-14:57:50");
        }
        draft = draft.with(55, if symbol == 0 { "9" } else { "1" });
        draft = draft.number(268, count.filter(|n| *n < 4).unwrap_or(entries.len() as u64));
        for (side, at, much, id) in &entries {
            draft = draft.with(269, side);
            for (tag, text) in [(270, at), (271, much), (278, &id.map(|id| id.to_string()))] {
                if let Some(text) = text {
                    draft = draft.with(tag, text);
                }
            }
        }
        let mut frame = draft.finish();
        if let Some((at, byte)) = damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        Oracle::new(any).check(&frame, &events(any, &frame));
    }

    #[test]
    fn lines_of_fields_are_read_as_they_are_split(
        name in prop_oneof![4 => Just("EURUSD".to_string()), 1 => "[A-Z]{0,7}"],
        mark in prop_oneof![8 => Just(":|:".to_string()), 1 => "[:|;]{0,4}"],
        fields in proptest::collection::vec(prop_oneof![8 => decimal(), 1 => "[0-9.eE:|+-]{0,8}"], 0..5),
        damage in proptest::option::of((any::<Index>(), any::<u8>())),
    ) {
        let mut frame = format!("{name}{mark}{}", fields.join(";")).into_bytes();
        if let Some((at, byte)) = damage.filter(|_| !frame.is_empty()) {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        Oracle::new(&DWX).check(&frame, &events(&DWX, &frame));
    }

    #[test]
    fn repeats_of_polled_prices_are_told_apart(
        answers in proptest::collection::vec((any::<bool>(), any::<Index>(), 0..3_u8, 0..2_u8), 1..12),
    ) {
        for polled in &*POLLED {
            let (mut decode, mut oracle, messages) = (polled.decoder(), Oracle::new(polled), polled.messages());
            for (documented, which, bid, second) in &answers {
                let price = format!(
                    "{{\"symbol\":\"EURUSD\",\"bid\":1.{bid},\"ask\":2.0,\"time\":\"2024-05-17T10:15:3{second}Z\"}}"
                );
                let frame = match documented {
                    true => messages[which.index(messages.len())].clone(),
                    false => format!("{{\"prices\":[{price}]}}").into_bytes(),
                };
                let mut told = Vec::new();
                decode(&frame, 7, &polled.symbols, &mut |event| told.push(event));
                oracle.check(&frame, &told);
            }
        }
    }
}
