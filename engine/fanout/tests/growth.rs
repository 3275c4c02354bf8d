//! A catalogue that grows while terminals are connected.

use super::*;
use crate::market::{Scope, Source, SourceId, VolumeOf};

/// The instruments of before, two more, and a source of ann's.
fn grown() -> Catalogue {
    let mut instruments: Vec<_> = catalogue().instruments().map(|(_, instrument)| instrument.clone()).collect();
    for (id, symbol) in [(9, "SYM9"), (10, "OTHER")] {
        let first = instruments[0].clone();
        instruments.push(Instrument { id: InstrumentId(id), symbol: symbol.into(), ..first });
    }
    let source = |id, name: &str, scope, owner: &str| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: owner.into(),
        priority: 1,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let sources = vec![source(4, "common", Scope::Global, ""), source(5, "anns", Scope::Private, "ann")];
    Catalogue::new(instruments, sources)
}

fn subscribed(session: &mut Session, core: &Core, id: u32, symbol: &str) -> Subscription {
    let request = Subscribe {
        id,
        symbols: vec![symbol.into()],
        kinds: vec![Kind::Quote],
        delivery: Delivery::All,
        ..Subscribe::default()
    };
    let mut actions = say(session, core, &request.to_frame());
    let Some(Action::Open(subscription, _)) = actions.pop() else { panic!("{symbol} was not opened") };
    *subscription
}

/// Kinds of the frames of everything there is now, and the instruments of its records.
fn pulled(subscription: &mut Subscription, core: &Core) -> (Vec<u8>, Vec<u32>, Vec<control::Catalogue>) {
    subscription.keep_up(core);
    let (mut kinds, mut instruments, mut catalogues) = (Vec::new(), Vec::new(), Vec::new());
    let mut batch = Batch::default();
    while subscription.pull(&core.window, &SnapshotHeaders::new(), 0, &mut batch) == Pulled::Write {
        let bytes = batch.chunks.concat();
        let mut rest = &bytes[..];
        while let Some((frame, after)) = Frame::split(rest, u32::MAX).unwrap() {
            kinds.push(frame.header.kind);
            if frame.header.kind == ControlKind::Catalogue.code() {
                catalogues.push(control::Catalogue::from_body(frame.body).unwrap());
            } else if let Some(kind) = Kind::from_code(frame.header.kind) {
                instruments.extend(frame.records().unwrap().map(|r| read_head(kind, r).unwrap().instrument_id));
            }
            rest = after;
        }
    }
    (kinds, instruments, catalogues)
}

#[test]
fn globs_stand_for_what_is_new_and_its_names_come_before_its_records() {
    let mut core = core(64);
    let mut session = greeted(&core);
    let mut by_glob = subscribed(&mut session, &core, 1, "SYM*");
    let mut by_name = subscribed(&mut session, &core, 2, "SYM2");
    let mut everything = subscribed(&mut session, &core, 3, "*");
    for subscription in [&mut by_glob, &mut by_name, &mut everything] {
        assert_eq!(pulled(subscription, &core).0, [ControlKind::SnapshotEnd.code()]);
    }
    let mut feed = Feed::default();
    feed.push(&mut core.window, Quote::default(), 2);
    core.window.seal();

    core.grow(Arc::new(grown()));
    for instrument in [9, 10, 2] {
        feed.push(&mut core.window, Quote::default(), instrument);
    }
    core.window.seal();

    let quote = Kind::Quote.code();
    let (kinds, instruments, catalogues) = pulled(&mut by_glob, &core);
    assert_eq!((kinds[0], &kinds[1..]), (ControlKind::Catalogue.code(), &[quote; 3][..]));
    assert_eq!(instruments, [2, 9, 2]);
    let symbols: Vec<_> = catalogues[0].instruments.iter().map(|i| i.symbol.as_str()).collect();
    assert_eq!((symbols.len(), &symbols[8..]), (10, &["SYM9", "OTHER"][..]));
    // What belongs to somebody else is not named.
    assert_eq!(catalogues[0].sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["common"]);
    assert_eq!(pulled(&mut by_name, &core).1, [2, 2]);
    assert_eq!(pulled(&mut everything, &core).1, [2, 9, 10, 2]);
    assert_eq!(pulled(&mut everything, &core).0, [0_u8; 0], "told once");

    // On the control stream too, once, so that a terminal can ask for what is new.
    let mut actions = Vec::new();
    session.on_growth(&core, &mut actions);
    session.on_growth(&core, &mut actions);
    assert_eq!(actions.len(), 1);
    assert_eq!(sent::<control::Catalogue>(&actions[0]), catalogues[0]);
    let mut new = subscribed(&mut session, &core, 4, "OTHER");
    assert_eq!(pulled(&mut new, &core).1, [10]);
    // Who comes later is told by the welcome.
    let mut actions = Vec::new();
    greeted(&core).on_growth(&core, &mut actions);
    assert!(actions.is_empty());
}
