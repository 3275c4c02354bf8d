//! The pure core: conversations, hostile bytes, and delivery against a simple model.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_schemas::control::{
    self, CONTROL_BYTES_MAX, CloseCode, Control, ControlKind, Delivery, ErrorCode, Hello, Ping, Pong, Subscribe,
    Welcome,
};
use tickwire_schemas::frame::{FLAG_SNAPSHOT, Frame, Header};
use tickwire_schemas::record::{Head, Quote, RECORD_BYTES_MAX, Record, Trade, read_head};
use tickwire_schemas::words::Kind;

use super::access::{Access, ConfiguredTokens, Grant};
use super::catalogue::Catalogue;
use super::delivery::{Batch, Pulled, Subscription};
use super::session::{Action, SUBSCRIPTIONS_MAX, Session};
use super::subscription;
use super::window::{SnapshotHeaders, Window};
use super::{Core, FanoutConfig};
use crate::market::{Class, Instrument, InstrumentId, Price};

mod growth;

const EPOCH: u32 = 3;

fn catalogue() -> Arc<Catalogue> {
    let instrument = |id: u32| Instrument {
        id: InstrumentId(id),
        symbol: format!("SYM{id}"),
        class: Class::Fx,
        digits: 5,
        pip: Price::from_e9(100_000).unwrap(),
    };
    Arc::new(Catalogue::new((1..=8).map(instrument).collect(), Vec::new()))
}

fn core(window_records: usize) -> Core {
    let catalogue = catalogue();
    let access = Arc::new(ConfiguredTokens::new(&FanoutConfig::default()).unwrap());
    let window = Window::new(window_records, catalogue.clone());
    Core { catalogue, grown: 0, access, window, engine_id: "test".into(), epoch: EPOCH }
}

fn anonymous() -> Grant {
    ConfiguredTokens::new(&FanoutConfig::default()).unwrap().admit("", true).unwrap()
}

/// Feeds a window as the pipeline would.
#[derive(Default)]
struct Feed {
    seq: u64,
    chains: HashMap<(Kind, u32), u64>,
}

impl Feed {
    fn push<R: Record>(&mut self, window: &mut Window, mut record: R, instrument_id: u32) -> Head {
        self.seq += 1;
        let chain = self.chains.entry((R::KIND, instrument_id)).or_default();
        *chain += 1;
        let head = Head { epoch: EPOCH, seq: self.seq, chain: *chain, source_id: 0, instrument_id, ts_publish_ns: 1 };
        *record.head_mut() = head;
        let mut bytes = [0; RECORD_BYTES_MAX];
        let length = record.write(&mut bytes);
        window.push(R::KIND, &bytes[..length]);
        head
    }
}

fn open(delivery: Delivery, rate: u32, window: &Window) -> Subscription {
    let request =
        Subscribe { symbols: vec!["*".into()], kinds: vec![Kind::Quote, Kind::Trade], ..Subscribe::default() };
    let compiled = subscription::compile(&request, &catalogue(), &anonymous()).unwrap();
    Subscription::open(1, compiled.filter, delivery, rate, None, EPOCH, window).0
}

/// The records of a batch: whether of the snapshot, and the head.
fn heads(batch: &Batch) -> Vec<(bool, Head)> {
    let bytes = batch.chunks.concat();
    let (mut rest, mut heads) = (&bytes[..], Vec::new());
    while let Some((frame, after)) = Frame::split(rest, u32::MAX).unwrap() {
        if let Some(kind) = Kind::from_code(frame.header.kind) {
            let of_snapshot = frame.header.flags & FLAG_SNAPSHOT != 0;
            heads.extend(frame.records().unwrap().map(|r| (of_snapshot, read_head(kind, r).unwrap())));
        }
        rest = after;
    }
    assert!(rest.is_empty(), "a batch ends with a whole frame");
    heads
}

/// Everything there is now, and how the pull ended.
fn drain(subscription: &mut Subscription, window: &Window, now_ns: i64) -> (Vec<(bool, Head)>, Pulled) {
    let (mut found, mut batch) = (Vec::new(), Batch::default());
    loop {
        match subscription.pull(window, &SnapshotHeaders::new(), now_ns, &mut batch) {
            Pulled::Write => found.extend(heads(&batch)),
            end => return (found, end),
        }
    }
}

/// Runs a conversation over whole frames.
fn say(session: &mut Session, core: &Core, bytes: &[u8]) -> Vec<Action> {
    let mut actions = Vec::new();
    session.on_bytes(bytes, core, 42, &mut actions);
    actions
}

fn greeted(core: &Core) -> Session {
    let mut session = Session::new(true);
    say(&mut session, core, &Hello { version: 1, ..Hello::default() }.to_frame());
    assert!(session.is_open());
    session
}

fn sent<C: Control>(action: &Action) -> C {
    let Action::Send(bytes) = action else { panic!("nothing was sent") };
    let (frame, rest) = Frame::split(bytes, u32::MAX).unwrap().unwrap();
    assert!(rest.is_empty() && frame.header.kind == C::KIND.code(), "{:?}", frame.header);
    C::from_body(frame.body).unwrap()
}

/// The error that was sent, and the code of the close behind it.
fn refused(actions: &[Action]) -> (control::Error, CloseCode) {
    let [error, Action::Close(code, text)] = actions else {
        panic!("{} actions, not an error and a close", actions.len())
    };
    let error: control::Error = sent(error);
    assert_eq!(&error.text, text);
    (error, *code)
}

#[test]
fn a_conversation_in_single_bytes() {
    let core = core(10);
    let mut session = Session::new(true);
    let mut actions = Vec::new();
    for message in [Hello { version: 1, ..Hello::default() }.to_frame(), Ping { id: 5, t1_ns: 9 }.to_frame()] {
        message.iter().for_each(|byte| session.on_bytes(&[*byte], &core, 42, &mut actions));
    }
    let [Action::Admitted(grant), welcome, pong] = &actions[..] else { panic!("{}", actions.len()) };
    assert_eq!(grant.name, "anonymous");
    assert_eq!(sent::<Welcome>(welcome).catalogue.instruments.len(), 8);
    assert_eq!(sent::<Pong>(pong), Pong { id: 5, t1_ns: 9, t2_ns: 42, t3_ns: 42 });
    let mut last = Vec::new();
    session.on_end(&mut last);
    assert!(matches!(last[..], [Action::Close(CloseCode::Done, _)]));
    assert!(say(&mut session, &core, &Ping { id: 6, t1_ns: 9 }.to_frame()).is_empty(), "closed");
}

#[test]
fn what_breaks_the_protocol_is_told_and_closed() {
    let core = core(10);
    let fresh = |bytes: &[u8]| refused(&say(&mut Session::new(true), &core, bytes));
    let (error, close) = fresh(&Hello { version: 9, ..Hello::default() }.to_frame());
    assert_eq!((error.code, error.field.as_deref(), close), (ErrorCode::Version, Some("version"), CloseCode::Refused));
    let (error, close) = fresh(&Hello { version: 1, token: "x".into(), ..Hello::default() }.to_frame());
    assert_eq!((error.code, close), (ErrorCode::Unauthorized, CloseCode::Refused));
    assert_eq!(fresh(&Ping { id: 1, t1_ns: 1 }.to_frame()).0.code, ErrorCode::Unexpected);
    let header = |length, kind| Header { length, version: 1, kind, flags: 0, count: 1 }.to_bytes();
    let (error, close) = fresh(&header(CONTROL_BYTES_MAX + 1, 128));
    assert_eq!((error.code, close), (ErrorCode::TooLong, CloseCode::Protocol));
    let then = |body: &str| {
        let frame = [&header(body.len() as u32, ControlKind::Subscribe.code()), body.as_bytes()].concat();
        refused(&say(&mut greeted(&core), &core, &frame)).0
    };
    assert_eq!(then(r#"{"symbols":["*"]}"#).field.as_deref(), Some("id"));
    assert_eq!(then(r#"{"id":1,"symbols":["*"],"max_rate_hz":-1}"#).field.as_deref(), Some("max_rate_hz"));
    assert_eq!(then("\u{0}\u{1}").code, ErrorCode::Malformed);
    let mut twice = greeted(&core);
    let again = say(&mut twice, &core, &Hello { version: 1, ..Hello::default() }.to_frame());
    assert_eq!(refused(&again).0.code, ErrorCode::Unexpected);
}

#[test]
fn kinds_of_a_later_version_are_skipped() {
    let core = core(10);
    let mut session = greeted(&core);
    let unknown = Header { length: 3, version: 1, kind: 200, flags: 0, count: 1 }.to_bytes();
    let command = Header { length: 2, version: 1, kind: Kind::Command.code(), flags: 0, count: 1 }.to_bytes();
    let bytes = [&unknown[..], b"abc", &command, b"de", &Ping { id: 1, t1_ns: 2 }.to_frame()].concat();
    let actions = say(&mut session, &core, &bytes);
    assert!(actions.len() == 1 && session.is_open());
    sent::<Pong>(&actions[0]);
}

#[test]
fn a_terminal_has_64_subscriptions_and_each_number_once() {
    let core = core(10);
    let mut session = greeted(&core);
    let subscribe = |id| Subscribe { id, symbols: vec!["*".into()], ..Subscribe::default() }.to_frame();
    for id in 0..SUBSCRIPTIONS_MAX as u32 {
        assert!(matches!(say(&mut session, &core, &subscribe(id))[..], [Action::Open(..)]));
    }
    let error = |session: &mut Session, bytes: &[u8]| sent::<control::Error>(&say(session, &core, bytes)[0]);
    assert_eq!(error(&mut session, &subscribe(5)).code, ErrorCode::BadId);
    let over = error(&mut session, &subscribe(1000));
    assert_eq!((over.code, over.id), (ErrorCode::Limit, Some(1000)));
    let end = control::Unsubscribe { id: 5 }.to_frame();
    assert!(matches!(say(&mut session, &core, &end)[..], [Action::End(5)]));
    assert_eq!(error(&mut session, &end).code, ErrorCode::BadId);
    assert!(matches!(say(&mut session, &core, &subscribe(5))[..], [Action::Open(..)]));
}

#[test]
fn a_limited_rate_brings_each_chain_once_a_round_and_the_newest() {
    let mut core = core(1000);
    let mut feed = Feed::default();
    let mut limited = open(Delivery::Latest, 10, &core.window);
    assert_eq!(drain(&mut limited, &core.window, 0).0, []);
    let mut now = 0;
    for round in 1..=3u64 {
        for _ in 0..20 {
            feed.push(&mut core.window, Quote::default(), 1);
            feed.push(&mut core.window, Quote::default(), 2);
        }
        core.window.seal();
        let (found, end) = drain(&mut limited, &core.window, now);
        let numbers: Vec<_> = found.iter().map(|(_, head)| (head.instrument_id, head.chain)).collect();
        assert_eq!((numbers, end), (vec![(1, round * 20), (2, round * 20)], Pulled::Idle));
        feed.push(&mut core.window, Quote::default(), 3);
        core.window.seal();
        now += 100_000_000;
        assert_eq!(drain(&mut limited, &core.window, now - 1), (vec![], Pulled::Wait(now)));
        assert_eq!(drain(&mut limited, &core.window, now).0.len(), 1);
        now += 100_000_000;
    }
}

#[test]
fn a_snapshot_holds_states_and_no_events() {
    let mut core = core(1000);
    let mut feed = Feed::default();
    feed.push(&mut core.window, Trade::default(), 1);
    feed.push(&mut core.window, Quote::default(), 1);
    let newest = feed.push(&mut core.window, Quote::default(), 1);
    core.window.seal();
    for delivery in [Delivery::All, Delivery::Latest] {
        let (found, _) = drain(&mut open(delivery, 0, &core.window), &core.window, 0);
        assert_eq!(found, [(true, newest)]);
    }
}

proptest! {
    /// Whatever comes, the session answers with nothing, frames, or an error and a close; it holds at most one frame.
    #[test]
    fn no_bytes_break_a_session(
        greeted_before in any::<bool>(),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let core = core(10);
        let mut session = if greeted_before { greeted(&core) } else { Session::new(true) };
        let mut closed = false;
        for piece in pieces {
            for action in say(&mut session, &core, &piece) {
                prop_assert!(!closed, "an action after the close");
                closed |= matches!(action, Action::Close(..));
            }
        }
        let next = say(&mut Session::new(true), &core, &Hello { version: 1, ..Hello::default() }.to_frame());
        prop_assert_eq!(next.len(), 2);
    }

    /// Frames that are well formed and hold anything: known kinds with a body of nearly right JSON.
    #[test]
    fn no_message_breaks_a_session(
        messages in prop::collection::vec((any::<u8>(), "[\\[\\]{}:,\"a-z0-9*?.\\-]{0,60}"), 1..20),
        fields in prop::collection::vec(("id|symbols|kinds|sources|delivery|resume|version|token", "[0-9]{1,12}|\"[a-z*\\[]{0,9}\"|\\[\"[*a-zA-Z]{0,4}\"\\]|null|\\{\\}"), 0..6),
    ) {
        let core = core(10);
        let json = format!("{{{}}}", fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","));
        for (kind, body) in messages.into_iter().flat_map(|(kind, body)| [(kind, body), (kind % 14 + 128, json.clone())]) {
            let mut session = greeted(&core);
            let header = Header { length: body.len() as u32, version: 1, kind, flags: 0, count: 1 }.to_bytes();
            let actions = say(&mut session, &core, &[&header[..], body.as_bytes()].concat());
            let closes = actions.iter().filter(|a| matches!(a, Action::Close(..))).count();
            prop_assert_eq!(closes == 1, !session.is_open());
        }
    }

    /// A terminal that reads at any pace, against what was published: `all` brings everything in order or says that it
    /// is too far behind; `latest` brings rising numbers of each chain, ends with the newest, and sends no more than
    /// was published.
    #[test]
    fn delivery_against_a_model(
        capacity in 1usize..60,
        steps in prop::collection::vec((0usize..40, 0usize..4), 1..30),
        choice in prop::collection::vec(1u32..9, 1..50),
    ) {
        let mut core = core(capacity);
        let mut feed = Feed::default();
        let (mut all, mut latest) = (open(Delivery::All, 0, &core.window), open(Delivery::Latest, 0, &core.window));
        let (mut published, mut got, mut newest) = (Vec::new(), Vec::new(), HashMap::new());
        let mut behind = false;
        let mut batch = Batch::default();
        let headers = SnapshotHeaders::new();
        for (pushes, pulls) in steps {
            for _ in 0..pushes {
                let instrument = choice[published.len() % choice.len()];
                published.push(feed.push(&mut core.window, Quote::default(), instrument));
            }
            core.window.seal();
            for _ in 0..pulls {
                match all.pull(&core.window, &headers, 0, &mut batch) {
                    Pulled::Write => got.extend(heads(&batch).into_iter().map(|(_, head)| head)),
                    Pulled::TooFarBehind => behind = true,
                    _ => {}
                }
                if latest.pull(&core.window, &headers, 0, &mut batch) == Pulled::Write {
                    for (_, head) in heads(&batch) {
                        let before = newest.insert(head.instrument_id, head.chain);
                        prop_assert!(before.is_none_or(|before| before < head.chain));
                    }
                }
            }
        }
        prop_assert_eq!(&got[..], &published[..got.len()]);
        let (rest, end) = drain(&mut all, &core.window, 0);
        got.extend(rest.into_iter().map(|(_, head)| head));
        behind |= end == Pulled::TooFarBehind;
        prop_assert!(behind || got == published);
        for (_, head) in drain(&mut latest, &core.window, 0).0 {
            let before = newest.insert(head.instrument_id, head.chain);
            prop_assert!(before.is_none_or(|before| before < head.chain));
        }
        let expected: HashMap<_, _> = published.iter().map(|head| (head.instrument_id, head.chain)).collect();
        prop_assert_eq!(newest, expected);
        prop_assert_eq!(core.window.between(0, u64::MAX).count(), capacity.min(published.len()));
    }
}
