#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A moment of the monotonic clock, in seconds.
fn at(seconds: i64) -> Now {
    Now { utc_ns: 1_789_570_672_978_000_000 + seconds * SECOND, monotonic_ns: seconds * SECOND }
}

fn session() -> Session {
    let identity = Identity {
        sender: "demo.broker.1234567".into(),
        target: "cServer".into(),
        sender_sub: "QUOTE".into(),
        target_sub: "QUOTE".into(),
    };
    Session::new(identity, 30 * SECOND, at(0))
}

/// What the session wants to say, `|` for the byte 1, without what is in every message.
fn said(session: &mut Session) -> Vec<String> {
    let mut seen = Vec::new();
    let mut framer = crate::feeds::fix::frame::Framer::new(1 << 16);
    framer
        .push(&std::mem::take(&mut session.out), |frame| {
            let message = Message::parse(frame).unwrap();
            let kind = String::from_utf8(message.kind.to_vec()).unwrap();
            let fields = message.fields().map(Result::unwrap).filter(|(tag, _)| ![49, 56, 57, 50, 52].contains(tag));
            let text: Vec<String> =
                fields.map(|(tag, value)| format!("{tag}={}", String::from_utf8_lossy(value))).collect();
            seen.push(format!("35={kind}|{}", text.join("|")));
        })
        .unwrap();
    seen
}

/// A message of the other side.
fn theirs(kind: &str, seq: u64, more: &[(u32, &str)]) -> Vec<u8> {
    let head = Draft::new(kind).number(34, seq).with(49, "cServer").with(52, "20260916-14:57:52.978");
    more.iter().fold(head, |draft, (tag, value)| draft.with(*tag, value)).finish()
}

const AGAIN: (u32, &str) = (43, "Y");

#[test]
fn a_logon_is_written_as_documented() {
    let mut session = session();
    let fields = Draft::default().with(98, "0").number(108, 30).with(141, "Y").with(553, "1234567").with(554, "secret");
    session.say("A", &fields, Now { utc_ns: 1_789_570_672_100_000_000, monotonic_ns: 0 });
    let text = "8=FIX.4.4|9=128|35=A|49=demo.broker.1234567|56=cServer|57=QUOTE|50=QUOTE|34=1|52=20260916-14:57:52.100|98=0|108=30|141=Y|553=1234567|554=secret|10=063|";
    assert_eq!(String::from_utf8(session.out).unwrap().replace('\x01', "|"), text);
}

#[test]
fn heartbeats_are_sent_after_an_interval_without_a_word_of_ours() {
    let mut session = session();
    session.say("A", &Draft::default(), at(0));
    said(&mut session);
    assert_eq!(session.due_ns(), 30 * SECOND);
    assert_eq!(session.tick(at(29)), Ok(()));
    assert!(said(&mut session).is_empty());
    session.receive(&theirs("0", 1, &[]), at(29)).unwrap();
    assert_eq!(session.tick(at(30)), Ok(()));
    assert_eq!(said(&mut session), ["35=0|34=2"]);
    assert_eq!(session.due_ns(), 60 * SECOND, "what they say does not put ours off");
    session.set_heartbeat(0);
    assert_eq!((session.tick(at(1_000_000)), session.due_ns()), (Ok(()), i64::MAX));
}

#[test]
fn silence_is_questioned_and_then_the_end() {
    let mut session = session();
    for seconds in 0..36 {
        session.tick(at(seconds)).unwrap();
    }
    assert_eq!(said(&mut session), ["35=0|34=1"]);
    session.tick(at(36)).unwrap();
    assert_eq!(said(&mut session), ["35=1|34=2|112=TR-2"]);
    // Anything at all is an answer.
    session.receive(&theirs("W", 1, &[(55, "1")]), at(40)).unwrap();
    (41..=76).for_each(|seconds| session.tick(at(seconds)).unwrap());
    assert_eq!(said(&mut session), ["35=0|34=3", "35=1|34=4|112=TR-4"]);
    (77..112).for_each(|seconds| session.tick(at(seconds)).unwrap());
    assert_eq!(session.tick(at(112)), Err(End::Silent));
}

#[test]
fn a_test_request_is_answered_with_its_id() {
    let mut session = session();
    assert_eq!(session.receive(&theirs("1", 1, &[(112, "TR-7")]), at(1)), Ok(Heard::Take));
    assert_eq!(said(&mut session), ["35=0|34=1|112=TR-7"]);
}

#[test]
fn missing_messages_are_asked_for_and_what_came_is_taken_at_once() {
    let mut session = session();
    assert_eq!(session.receive(&theirs("A", 1, &[]), at(1)), Ok(Heard::Take));
    assert_eq!(session.receive(&theirs("W", 5, &[]), at(1)), Ok(Heard::TakeAfterGap(3)));
    assert_eq!(said(&mut session), ["35=2|34=1|7=2|16=4"]);
    // The two that are sent again, and the rest of the gap; new messages come in between.
    assert_eq!(session.receive(&theirs("W", 2, &[AGAIN, (122, "20260916-14:57:51.000")]), at(1)), Ok(Heard::Old));
    assert_eq!(session.receive(&theirs("W", 6, &[]), at(1)), Ok(Heard::Take));
    assert_eq!(session.receive(&theirs("4", 3, &[AGAIN, (123, "Y"), (36, "5")]), at(1)), Ok(Heard::Old));
    assert_eq!(session.receive(&theirs("W", 7, &[]), at(1)), Ok(Heard::Take));
    assert!(said(&mut session).is_empty());
}

#[test]
fn a_number_that_was_there_is_the_end_unless_it_says_so() {
    let mut session = session();
    session.receive(&theirs("A", 1, &[]), at(1)).unwrap();
    session.receive(&theirs("0", 2, &[]), at(1)).unwrap();
    assert_eq!(session.receive(&theirs("1", 2, &[AGAIN, (112, "x")]), at(1)), Ok(Heard::Old));
    assert!(said(&mut session).is_empty(), "a question that was answered is not answered again");
    let text = "MsgSeqNum too low, expecting 3 but received 2";
    assert_eq!(session.receive(&theirs("0", 2, &[]), at(1)), Err(End::Broken(text.into())));
    assert_eq!(said(&mut session), [format!("35=5|34=1|58={text}")]);
    let frame = Draft::new("0").with(52, "20260916-14:57:52.978").finish();
    assert!(matches!(session.receive(&frame, at(1)), Err(End::Broken(text)) if text.contains("MsgSeqNum (34)")));
}

#[test]
fn numbers_are_skipped_and_set_forward_but_never_back() {
    let mut session = session();
    session.receive(&theirs("4", 1, &[(123, "Y"), (36, "10")]), at(1)).unwrap();
    assert_eq!(session.receive(&theirs("0", 10, &[]), at(1)), Ok(Heard::Take));
    session.receive(&theirs("4", 3, &[(36, "20")]), at(1)).unwrap();
    assert_eq!(session.receive(&theirs("0", 20, &[]), at(1)), Ok(Heard::Take));
    assert!(said(&mut session).is_empty());
    session.receive(&theirs("4", 1, &[(36, "7")]), at(1)).unwrap();
    assert_eq!(
        said(&mut session),
        ["35=3|34=1|45=1|371=36|372=4|373=5|58=NewSeqNo (36) must be above the numbers so far"]
    );
    assert_eq!(session.receive(&theirs("0", 21, &[]), at(1)), Ok(Heard::Take));
}

#[test]
fn requests_are_sent_again_and_the_rest_is_skipped() {
    let mut session = session();
    session.say("A", &Draft::default(), at(0));
    session.request("x", Draft::default().with(320, "1"), at(1));
    session.say("0", &Draft::default(), at(2));
    session.say("0", &Draft::default(), at(3));
    session.request("V", Draft::default().with(262, "EURUSD"), at(4));
    session.say("0", &Draft::default(), at(5));
    said(&mut session);
    let (x, v) =
        ("35=x|34=2|43=Y|122=20260916-14:57:53.978|320=1", "35=V|34=5|43=Y|122=20260916-14:57:56.978|262=EURUSD");
    let now = "122=20260916-14:58:02.978";
    for (from, to, expected) in [
        (
            "1",
            "0",
            vec![
                format!("35=4|34=1|43=Y|{now}|123=Y|36=2"),
                x.into(),
                format!("35=4|34=3|43=Y|{now}|123=Y|36=5"),
                v.into(),
                format!("35=4|34=6|43=Y|{now}|123=Y|36=7"),
            ],
        ),
        ("3", "4", vec![format!("35=4|34=3|43=Y|{now}|123=Y|36=5")]),
        ("5", "5", vec![v.into()]),
        (
            "2",
            "999999",
            vec![
                x.into(),
                format!("35=4|34=3|43=Y|{now}|123=Y|36=5"),
                v.into(),
                format!("35=4|34=6|43=Y|{now}|123=Y|36=7"),
            ],
        ),
        ("7", "0", vec![]),
    ] {
        let seq = session.next_in;
        session.receive(&theirs("2", seq, &[(7, from), (16, to)]), at(10)).unwrap();
        assert_eq!(said(&mut session), expected, "{from} to {to}");
    }
    session.say("0", &Draft::default(), at(11));
    assert_eq!(said(&mut session), ["35=0|34=7"], "the count goes on where it was");
}

#[test]
fn a_logout_is_answered_once_and_is_the_end() {
    let mut session = session();
    let logout = theirs("5", 1, &[(58, "InternalError: RET_INVALID_DATA")]);
    assert_eq!(session.receive(&logout, at(1)), Err(End::Logout("InternalError: RET_INVALID_DATA".into())));
    session.logout("", at(2));
    assert_eq!(said(&mut session), ["35=5|34=1"]);
}

#[test]
fn what_is_no_message_is_the_decoders_and_leaves_its_number_missing() {
    let mut session = session();
    session.receive(&theirs("A", 1, &[]), at(1)).unwrap();
    let mut damaged = theirs("W", 2, &[(270, "1.1")]);
    let end = damaged.len();
    damaged[end - 9] ^= 1;
    assert_eq!(session.receive(&damaged, at(1)), Ok(Heard::Take));
    assert_eq!(session.receive(&theirs("W", 3, &[]), at(1)), Ok(Heard::TakeAfterGap(1)));
    assert_eq!(said(&mut session), ["35=2|34=1|7=2|16=2"]);
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_the_count_never_runs_back(
        messages in proptest::collection::vec(
            ("[0-5AWXj]", 0..12_u64, any::<bool>(), proptest::option::of((prop_oneof![Just(7_u32), Just(16), Just(36), Just(112), Just(123)], "[0-9Y]{0,20}"))),
            0..30)
    ) {
        let mut session = session();
        session.request("V", Draft::default().with(262, "a"), at(0));
        for (kind, seq, again, more) in messages {
            let before = session.next_in;
            let mut draft = Draft::new(&kind).number(34, seq);
            if again {
                draft = draft.with(43, "Y");
            }
            if let Some((tag, value)) = more {
                draft = draft.with(tag, value);
            }
            let ended = session.receive(&draft.finish(), at(1)).is_err();
            prop_assert!(session.next_in >= before);
            if ended {
                break;
            }
        }
        // All that it says are messages, at most one of them a logout.
        let said = said(&mut session);
        prop_assert!(said.iter().filter(|text| text.starts_with("35=5")).count() <= 1);
    }
}
