//! Behaviour of the stages together, through the same group that the engine runs.
#![allow(clippy::unwrap_used)]

use tickwire_schemas::record::{Drop as DropRecord, Gap, Quote, Record, SourceState, Tick, Timer};
use tickwire_schemas::words::{Cause, Check, GapState, Kind, QuoteState, SourceStatus, Verdict, flag};
use tickwire_schemas::{NO_PRICE, NO_TIME};

use super::*;
use crate::config::Config;
use crate::market::{Class, Input, Instrument, InstrumentId, Price, Scope, Source, SourceId, TickInput, VolumeOf};

mod part;
mod short_cuts;

pub(super) const MS: i64 = 1_000_000;
/// A Wednesday noon, when everything trades.
pub(super) const NOON: i64 = 1_714_564_800_000_000_000;

pub(super) struct Bench {
    pub(super) group: Group,
    pub(super) identity: Identity,
    pub(super) out: Recorder,
}

pub(super) fn market() -> Market {
    let source = |id, name: &str, scope, priority| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: String::new(),
        priority,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let instrument = |id, symbol: &str, class, pip| Instrument {
        id: InstrumentId(id),
        symbol: symbol.into(),
        class,
        digits: 5,
        pip: Price::from_e9(pip).unwrap(),
    };
    let sources = vec![
        source(1, "a", Scope::Global, 10),
        source(2, "b", Scope::Global, 10),
        source(9, "mine", Scope::Private, 10),
    ];
    Market::new(
        sources,
        vec![instrument(1, "EURUSD", Class::Fx, 100_000), instrument(2, "BTCUSDT", Class::Crypto, 1_000_000_000)],
    )
}

impl Bench {
    pub(super) fn new(overrides: &str) -> Bench {
        Bench::of(NAMES, overrides)
    }

    pub(super) fn of(stages: &[&str], overrides: &str) -> Bench {
        let mut config = Config::load(&[], std::iter::empty()).unwrap();
        config.overlay(overrides, "test").unwrap();
        let layout = Layout::new(vec![stages.iter().map(|n| n.to_string()).collect()]).unwrap();
        let group = layout.build(&config, &market()).unwrap().remove(0);
        Bench { group, identity: Identity::new(1, &market()), out: Recorder::default() }
    }

    /// Runs an input and returns the records that came of it.
    pub(super) fn run(&mut self, input: Input) -> Vec<(Kind, Vec<u8>)> {
        self.group.run(&input, Mark::NEW, &mut self.identity, &mut self.out, 77);
        std::mem::take(&mut self.out.records)
    }

    fn tick(&mut self, source: u32, at_ms: i64, bid: i64, ask: i64) -> (Tick, Vec<Quote>) {
        self.run_tick(tick(source, at_ms, bid, ask))
    }

    fn run_tick(&mut self, input: TickInput) -> (Tick, Vec<Quote>) {
        let records = self.run(input.into());
        (only(&records)[0], only(&records))
    }

    fn state(&mut self, source: u32, at_ms: i64, status: SourceStatus, cause: Cause) -> Vec<(Kind, Vec<u8>)> {
        let (status, cause) = (status.code(), cause.code());
        let mut state = SourceState { ts_recv_ns: NOON + at_ms * MS, status, cause, ..SourceState::default() };
        state.head.source_id = source;
        self.run(Input::SourceState(state))
    }

    fn timer(&mut self, at_ms: i64) -> Vec<Quote> {
        let records = self.run(Input::Timer(Timer { now_ns: NOON + at_ms * MS, ..Timer::default() }));
        only(&records)
    }
}

pub(super) fn only<R: Record>(records: &[(Kind, Vec<u8>)]) -> Vec<R> {
    records.iter().filter(|(kind, _)| *kind == R::KIND).map(|(_, bytes)| R::read(bytes).unwrap()).collect()
}

/// Prices in tenths of a pip: 108510 is 1.08510.
pub(super) fn tick(source: u32, at_ms: i64, bid: i64, ask: i64) -> TickInput {
    TickInput {
        source: SourceId(source),
        instrument: InstrumentId(1),
        ts_event_ns: Some(NOON + at_ms * MS),
        ts_recv_ns: NOON + at_ms * MS + MS,
        bid: Price::from_e9(bid * 10_000),
        ask: Price::from_e9(ask * 10_000),
        bid_size: None,
        ask_size: None,
        source_seq: None,
        snapshot: false,
    }
}

fn verdict(tick: &Tick) -> Verdict {
    Verdict::from_code(tick.verdict).unwrap()
}

#[test]
fn repeats_are_duplicates_inside_the_window_and_the_same_price_later_is_news() {
    let mut b = Bench::new("");
    assert_eq!(verdict(&b.tick(1, 0, 108_510, 108_520).0), Verdict::Accepted);
    assert_eq!(verdict(&b.tick(1, 100, 108_511, 108_520).0), Verdict::Accepted);
    assert_eq!(verdict(&b.tick(1, 0, 108_510, 108_520).0), Verdict::Duplicate);
    assert_eq!(verdict(&b.tick(1, 0, 108_509, 108_520).0), Verdict::OutOfOrder, "older, and never said before");
    assert_eq!(verdict(&b.tick(1, 100, 108_512, 108_520).0), Verdict::Accepted, "another price at the same stamp");
    assert_eq!(verdict(&b.tick(1, 200, 108_512, 108_520).0), Verdict::Accepted, "the same price at a new stamp");
    assert_eq!(verdict(&b.tick(2, 100, 108_511, 108_520).0), Verdict::Accepted, "another source");
    assert_eq!(verdict(&b.tick(1, 200 + 61_000, 108_512, 108_520).0), Verdict::Accepted);
    assert_eq!(
        verdict(&b.tick(1, 100, 108_511, 108_520).0),
        Verdict::OutOfOrder,
        "forgotten after the window, yet old"
    );
}

#[test]
fn a_sequence_decides_before_the_stamp_and_without_both_only_the_previous_tick_counts() {
    let mut b = Bench::new("");
    let mut with_seq = |at, seq, bid| {
        verdict(&b.run_tick(TickInput { source_seq: Some(seq), ts_event_ns: None, ..tick(1, at, bid, 108_520) }).0)
    };
    assert_eq!(with_seq(0, 7, 108_510), Verdict::Accepted);
    assert_eq!(with_seq(100, 7, 108_510), Verdict::Duplicate);
    assert_eq!(with_seq(200, 9, 108_510), Verdict::Accepted, "same prices, new sequence");
    assert_eq!(with_seq(300, 8, 108_511), Verdict::OutOfOrder);
    let mut bare = |at, bid| verdict(&b.run_tick(TickInput { ts_event_ns: None, ..tick(2, at, bid, 108_520) }).0);
    assert_eq!(bare(0, 108_510), Verdict::Accepted);
    assert_eq!(bare(1, 108_510), Verdict::Duplicate);
    assert_eq!(bare(2, 108_511), Verdict::Accepted);
    assert_eq!(bare(3, 108_510), Verdict::Accepted, "only the tick before counts");
}

#[test]
fn the_window_forgets_the_oldest_at_its_limit() {
    let mut b = Bench::new("[dedupe]\nentries = 2");
    for at in [0, 100, 200] {
        b.tick(1, at, 108_510, 108_520);
    }
    assert_eq!(verdict(&b.tick(1, 100, 108_510, 108_520).0), Verdict::Duplicate);
    assert_eq!(verdict(&b.tick(1, 0, 108_510, 108_520).0), Verdict::OutOfOrder);
}

#[test]
fn each_check_refuses_or_flags_as_configured() {
    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    let mut failing = |input: TickInput| {
        let tick = b.run_tick(input).0;
        (verdict(&tick), flag::words(tick.reasons).collect::<Vec<_>>().join(","), tick.confidence)
    };
    let refused = |reason: &str, confidence| (Verdict::Refused, reason.to_string(), confidence);
    assert_eq!(failing(tick(1, 1000, 108_530, 108_520)), refused("crossed", 80));
    assert_eq!(failing(tick(1, 2000, 108_510, 108_711)), refused("spread", 80));
    assert_eq!(failing(tick(1, 3000, 108_510, 108_710)), (Verdict::Accepted, String::new(), 100), "20 pips exactly");
    assert_eq!(failing(tick(1, 4000, -5, 108_520)), refused("non_positive,spread", 60));
    assert_eq!(failing(tick(1, 5000, 111_000, 111_010)), refused("jump", 80));
    let late = TickInput { ts_recv_ns: NOON + 36_001 * MS, ..tick(1, 6000, 108_510, 108_520) };
    assert_eq!(failing(late), refused("stale", 80));
    let early = TickInput { ts_recv_ns: NOON + 1_999 * MS, ..tick(1, 7000, 108_510, 108_520) };
    assert_eq!(failing(early), refused("future", 80));
    let snapshot = TickInput { ts_recv_ns: NOON + 900_000 * MS, snapshot: true, ..tick(1, 8000, 108_510, 108_520) };
    assert_eq!(failing(snapshot), (Verdict::Accepted, String::new(), 100), "a subscription's state may be old");

    let quick = b.tick(1, 8040, 108_510, 108_521).0;
    assert_eq!((verdict(&quick), quick.confidence), (Verdict::Accepted, 100), "flags never exclude");
    assert_eq!(quick.flags & 0xFFFF, Check::Interval.bit());
    // Saturday.
    let closed = b.tick(1, 3 * 86_400_000, 108_510, 108_522).0;
    assert_eq!((verdict(&closed), closed.flags & 0xFFFF), (Verdict::Accepted, Check::Session.bit()));

    let mut strict = Bench::new("[validate.fx]\nrefuse = [\"interval\"]");
    strict.tick(1, 0, 108_510, 108_520);
    let quick = strict.tick(1, 40, 108_530, 108_520).0;
    assert_eq!((quick.reasons, quick.flags & 0xFFFF), (Check::Interval.bit(), Check::Crossed.bit()));
    assert_eq!(verdict(&strict.tick(1, 60, 108_510, 108_521).0), Verdict::Accepted, "60 ms after the last good one");
}

#[test]
fn a_new_level_is_believed_when_it_persists_or_another_source_shows_it() {
    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    // Five ticks are needed, over half a second.
    for at in [100, 200, 300, 400, 599] {
        assert_eq!(verdict(&b.tick(1, at, 112_000 + at, 112_010 + at).0), Verdict::Refused, "at {at}");
    }
    let believed = b.tick(1, 600, 112_600, 112_610).0;
    assert_eq!((verdict(&believed), believed.flags & flag::NEW_LEVEL), (Verdict::Accepted, flag::NEW_LEVEL));
    assert_eq!(verdict(&b.tick(1, 700, 112_601, 112_611).0), Verdict::Accepted);
    assert_eq!(verdict(&b.tick(1, 800, 108_510, 108_520).0), Verdict::Refused, "the old level is the jump now");

    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    b.tick(2, 10, 108_510, 108_520);
    assert_eq!(verdict(&b.tick(1, 1000, 112_000, 112_010).0), Verdict::Refused);
    assert_eq!(verdict(&b.tick(2, 1100, 112_002, 112_012).0), Verdict::Accepted, "source 1 shows it too");
    assert_eq!(verdict(&b.tick(1, 1200, 112_001, 112_011).0), Verdict::Accepted);

    let mut late = Bench::new("");
    late.tick(1, 0, 108_510, 108_520);
    assert_eq!(verdict(&late.tick(2, 1000, 112_000, 112_010).0), Verdict::Refused, "its first, far from the other's");
    assert_eq!(verdict(&late.tick(2, 1100, 108_511, 108_521).0), Verdict::Accepted);

    let mut lonely = Bench::new("");
    lonely.tick(1, 0, 108_510, 108_520);
    assert_eq!(verdict(&lonely.tick(1, 1000, 112_000, 112_010).0), Verdict::Refused, "a fat finger");
    assert_eq!(verdict(&lonely.tick(1, 1100, 108_511, 108_521).0), Verdict::Accepted);
}

#[test]
fn a_spread_that_stays_wide_is_flagged_and_no_longer_refused() {
    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    let mut wide = |at: i64| {
        let tick = b.tick(1, at, 108_400 + at % 7, 108_630).0;
        (verdict(&tick), (tick.reasons | tick.flags) & 0xFFFF)
    };
    let spread = Check::Spread.bit();
    // Five ticks are needed, over half a second.
    for at in [100, 200, 300, 400, 599] {
        assert_eq!(wide(at), (Verdict::Refused, spread), "at {at}");
    }
    assert_eq!(wide(600), (Verdict::Accepted, spread), "flagged");
    assert_eq!(wide(700), (Verdict::Accepted, spread));
    // Once it was narrow it begins anew.
    b.tick(1, 800, 108_510, 108_520);
    assert_eq!(verdict(&b.tick(1, 900, 108_400, 108_630).0), Verdict::Refused);
}

#[test]
fn the_best_price_names_both_contributors_and_its_state() {
    let mut b = Bench::new("");
    let first = b.tick(1, 0, 108_510, 108_520).1[0];
    assert_eq!(
        (first.state, first.sources, first.bid_source_id, first.ask_source_id),
        (QuoteState::Single.code(), 1, 1, 1)
    );
    let second = b.tick(2, 100, 108_512, 108_525).1[0];
    assert_eq!((second.bid_e9, second.bid_source_id), (1_085_120_000, 2));
    assert_eq!((second.ask_e9, second.ask_source_id), (1_085_200_000, 1));
    assert_eq!((second.state, second.sources, second.head.chain), (QuoteState::Ok.code(), 2, 2));
    assert_eq!(b.tick(2, 200, 108_512, 108_525).1, [], "nothing changed");
    assert_eq!(b.tick(1, 300, 108_512, 108_520).1[0].bid_source_id, 1, "a tie goes to the source named first");
    assert_eq!(b.tick(2, 400, 108_520, 108_530).1[0].state, QuoteState::Locked.code());
    assert_eq!(b.tick(2, 500, 108_521, 108_530).1[0].state, QuoteState::Crossed.code());
}

#[test]
fn a_source_that_is_not_live_or_too_old_leaves_and_its_repeated_state_brings_it_back() {
    let mut b = Bench::new("[aggregate]\nmax_age_ms = 1000");
    b.tick(1, 0, 108_510, 108_520);
    b.tick(2, 500, 108_512, 108_525);
    let left: Vec<Quote> = only(&b.state(2, 600, SourceStatus::Down, Cause::ClosedByPeer));
    assert_eq!((left[0].bid_source_id, left[0].sources), (1, 1), "at once");
    assert_eq!(b.timer(1001), [], "1 ms was the way to us");
    let stale = b.timer(1002);
    assert_eq!((stale[0].state, stale[0].bid_e9, stale[0].sources), (QuoteState::Stale.code(), NO_PRICE, 0));
    assert_eq!(b.timer(5000), [], "said once");
    let again = TickInput { snapshot: true, ts_recv_ns: NOON + 6000 * MS, ..tick(2, 500, 108_512, 108_525) };
    let (confirmed, quotes) = b.run_tick(again);
    assert_eq!((verdict(&confirmed), quotes[0].bid_source_id), (Verdict::Duplicate, 2));
    // What was refused when it was said does not come back as a duplicate.
    let finger = TickInput { snapshot: true, ..tick(2, 6500, 120_000, 120_010) };
    assert_eq!(verdict(&b.run_tick(finger).0), Verdict::Refused);
    let (repeated, quotes) = b.run_tick(finger);
    assert_eq!((verdict(&repeated), quotes), (Verdict::Duplicate, vec![]));
}

#[test]
fn a_price_that_was_too_old_comes_back_with_its_source_and_not_with_a_clock_that_runs_backwards() {
    let mut b = Bench::of(&["aggregate"], "[aggregate]\nmax_age_ms = 1000");
    b.tick(1, 0, 108_510, 108_520);
    assert_eq!(b.tick(2, 1000, 108_500, 108_530).1[0].sources, 2, "it counts to its last millisecond");
    let second = b.tick(2, 1001, 108_501, 108_530).1[0];
    assert_eq!((second.bid_source_id, second.ask_source_id, second.sources), (2, 2, 1));
    let back = b.tick(2, 500, 108_502, 108_530).1[0];
    assert_eq!((back.bid_source_id, back.sources), (2, 1));
    let again = b.tick(1, 1100, 108_509, 108_531).1[0];
    assert_eq!((again.bid_source_id, again.ask_source_id, again.sources), (1, 2, 2));
}

#[test]
fn a_private_source_has_quotes_of_its_own_and_never_moves_the_common_price() {
    let mut b = Bench::new("[aggregate]\nmax_age_ms = 1000");
    b.tick(1, 0, 108_510, 108_520);
    let own = b.tick(9, 100, 108_515, 108_517).1;
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].head.source_id, own[0].bid_e9, own[0].sources), (9, 1_085_150_000, 1));
    assert_eq!(b.tick(1, 200, 108_511, 108_520).1[0].bid_source_id, 1);
    let stale = b.timer(1150);
    assert_eq!((stale[0].head.source_id, stale[0].state), (9, QuoteState::Stale.code()));
}

#[test]
fn a_hole_opens_with_the_last_data_and_closes_with_the_first_after() {
    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    let open: Vec<Gap> = only(&b.state(1, 5000, SourceStatus::Mute, Cause::Mute));
    assert_eq!((open.len(), open[0].state, open[0].cause), (1, GapState::Open.code(), Cause::Mute.code()));
    assert_eq!((open[0].from_ns, open[0].to_ns), (NOON + MS, NO_TIME));
    assert_eq!((open[0].gap_id, open[0].gap_epoch), (open[0].head.seq, 1));
    assert_eq!(only::<Gap>(&b.state(1, 6000, SourceStatus::Down, Cause::ClosedByPeer)), [], "the same hole");
    let closed: Vec<Gap> = only(&b.run(tick(1, 9000, 108_510, 108_521).into()));
    assert_eq!((closed[0].gap_id, closed[0].state), (open[0].gap_id, GapState::Closed.code()));
    assert_eq!((closed[0].from_ns, closed[0].to_ns), (NOON + MS, NOON + 9001 * MS));

    let mut lost =
        DropRecord { from_ns: 1, to_ns: 2, count: 3, cause: Cause::JournalFull.code(), ..DropRecord::default() };
    lost.head.source_id = 2;
    let hole: Vec<Gap> = only(&b.run(Input::Drop(lost)));
    assert_eq!((hole[0].lost, hole[0].head.source_id, hole[0].state), (3, 2, GapState::Closed.code()));

    let restart = DropRecord { to_ns: NOON + 20_000 * MS, cause: Cause::Restart.code(), ..DropRecord::default() };
    let hole: Vec<Gap> = only(&b.run(Input::Drop(restart)));
    assert_eq!((hole.len(), hole[0].from_ns, hole[0].cause), (1, NOON + 9001 * MS, Cause::Restart.code()));
}

/// A run cut in two at any point, the second half from saved state, gives the bytes of the undivided run.
#[test]
fn saved_state_continues_exactly() {
    let inputs: Vec<Input> = (0..400i64)
        .map(|n| {
            let (source, at) = ([1, 2, 9][n as usize % 3], n * 37);
            match n % 20 {
                7 => Input::Timer(Timer { now_ns: NOON + at * MS, ..Timer::default() }),
                13 => {
                    let status = if n % 40 == 13 { SourceStatus::Down } else { SourceStatus::Live }.code();
                    let mut state = SourceState { ts_recv_ns: NOON + at * MS, status, ..SourceState::default() };
                    state.head.source_id = source;
                    Input::SourceState(state)
                }
                _ => tick(
                    source,
                    at - (n % 5) * 60,
                    108_510 + n % 11 + (n % 50 / 49) * 4000,
                    108_520 + n % 7 + (n % 50 / 49) * 4000,
                )
                .into(),
            }
        })
        .collect();
    let mut whole = Bench::new("[aggregate]\nmax_age_ms = 300");
    let expected: Vec<_> = inputs.iter().map(|input| whole.run(*input)).collect();
    for cut in [1, 57, 133, 200, 399] {
        let mut first = Bench::new("[aggregate]\nmax_age_ms = 300");
        inputs[..cut].iter().for_each(|input| drop(first.run(*input)));
        let (mut states, mut chains) = (Vec::new(), Vec::new());
        first.group.save(&mut states);
        first.identity.chains().save(&mut chains);
        let mut second = Bench::new("[aggregate]\nmax_age_ms = 300");
        second.group.load(&states).unwrap();
        second.identity.chains().load(&chains).unwrap();
        second.identity.resume_after(1, first.identity.seq());
        for (at, input) in inputs.iter().enumerate().skip(cut) {
            assert_eq!(second.run(*input), expected[at], "cut at {cut}, input {at}");
        }
    }
}

/// What a journal holds of an input gives the same input, verdict and all stage-made flags taken off.
#[test]
fn an_input_comes_back_from_its_record() {
    let mut b = Bench::new("");
    b.tick(1, 0, 108_510, 108_520);
    let crossed: Input = TickInput { snapshot: true, ts_event_ns: None, ..tick(1, 10, 108_530, 108_520) }.into();
    let records = b.run(crossed);
    assert_eq!(Input::from_record(records[0].0, &records[0].1), Some(crossed));
    assert_eq!(Input::from_record(Kind::Quote, &records[0].1), None);
}

#[test]
fn a_layout_that_breaks_a_rule_names_the_stage() {
    let layout = |groups: &[&[&str]]| {
        Layout::new(groups.iter().map(|g| g.iter().map(|n| n.to_string()).collect()).collect())
            .and_then(|layout| layout.build(&Config::load(&[], std::iter::empty()).unwrap(), &market()).map(|_| ()))
            .map_err(|e| e.to_string())
    };
    assert_eq!(layout(&[&["dedupe"], &["validate"], &["aggregate", "gaps"]]), Ok(()));
    assert!(layout(&[&["dedup"]]).unwrap_err().starts_with("`dedup` is not a stage, expected one of dedupe, validate"));
    assert!(layout(&[&["validate", "dedupe"]]).unwrap_err().starts_with("`dedupe` is out of order"));
    assert!(layout(&[&["dedupe", "aggregate"], &["gaps"]]).unwrap_err().contains("`aggregate` publishes records"));
    assert!(layout(&[]).unwrap_err().contains("empty"));
}

/// Nothing that a broker can say makes the stages fail.
#[test]
fn extreme_prices_sizes_and_stamps_are_judged_like_any_other() {
    let mut b = Bench::new("");
    let extremes = [i64::MIN + 1, -1, 0, 1, i64::MAX];
    for source in [1, 2, 9] {
        for bid in extremes {
            for ask in extremes {
                for stamp in [None, Some(i64::MIN + 1), Some(NOON), Some(i64::MAX)] {
                    let (bid, ask) = (Price::from_e9(bid), Price::from_e9(ask));
                    b.run_tick(TickInput { bid, ask, ts_event_ns: stamp, ..tick(source, 0, 1, 1) });
                }
            }
        }
    }
    // The stamp at the end of time does not make what follows late.
    let believed = (20..40).map(|at| verdict(&b.tick(1, at * 100, 108_510, 108_520).0)).collect::<Vec<_>>();
    assert_eq!(believed.last(), Some(&Verdict::Accepted), "{believed:?}");
}

/// A sequence that begins anew is late twenty times, and then the new order.
#[test]
fn a_run_of_late_ticks_is_the_new_order() {
    let mut b = Bench::new("");
    let mut with_seq = |at: i64, seq: u64| {
        verdict(&b.run_tick(TickInput { source_seq: Some(seq), ts_event_ns: None, ..tick(1, at, 108_510, 108_520) }).0)
    };
    assert_eq!(with_seq(0, u64::MAX - 1), Verdict::Accepted);
    for n in 1..20 {
        assert_eq!(with_seq(n * 100, n as u64), Verdict::OutOfOrder, "{n}");
    }
    assert_eq!(
        (with_seq(2000, 20), with_seq(2100, 21), with_seq(2200, 20)),
        (Verdict::Accepted, Verdict::Accepted, Verdict::Duplicate)
    );
}

/// A burst that was held up is late however long it is; a clock set back is the new order within a second, repeats or not.
#[test]
fn late_ticks_are_the_new_order_only_after_a_second() {
    let mut b = Bench::new("");
    b.tick(1, 60_000, 108_510, 108_520);
    for n in 0..200 {
        assert_eq!(verdict(&b.tick(1, 30_000 + n, 108_510, 108_520 + n % 7).0), Verdict::OutOfOrder, "{n}");
    }
    let mut b = Bench::new("[validate.fx]\nmax_stale_ms = 0");
    b.tick(1, 60_000, 108_510, 108_520);
    let at =
        |n: i64| TickInput { ts_recv_ns: NOON + (60_000 + n * 100) * MS, ..tick(1, 1_000 + n * 100, 108_510, 108_520) };
    let mut verdicts = Vec::new();
    for n in 1..=25 {
        verdicts.push(verdict(&b.run_tick(at(n)).0));
        verdicts.push(verdict(&b.run_tick(at(n)).0));
    }
    let accepted = verdicts.iter().position(|v| *v == Verdict::Accepted).unwrap();
    assert_eq!(accepted, 38, "{verdicts:?}");
    assert!(verdicts[40..].chunks(2).all(|pair| pair == [Verdict::Accepted, Verdict::Duplicate]), "{verdicts:?}");
    // What was known before the clock was set back is known still.
    assert_eq!(verdict(&b.tick(1, 60_000, 108_510, 108_520).0), Verdict::Duplicate);
}
