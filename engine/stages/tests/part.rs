//! States that are about one instrument of a source: one of its connections broke, or it is not subscribed any more.

use super::*;

impl Bench {
    fn part(&mut self, instrument: u32, at_ms: i64, status: SourceStatus, cause: Cause) -> Vec<(Kind, Vec<u8>)> {
        let (status, cause) = (status.code(), cause.code());
        let mut state = SourceState { ts_recv_ns: NOON + at_ms * MS, status, cause, ..SourceState::default() };
        (state.head.source_id, state.head.instrument_id) = (1, instrument);
        self.run(Input::SourceState(state))
    }
}

/// A price of the other instrument.
fn coin(at_ms: i64) -> TickInput {
    TickInput { instrument: InstrumentId(2), ..tick(1, at_ms, 108_510, 108_520) }
}

#[test]
fn the_prices_of_a_broken_connection_leave_and_those_of_the_others_stay() {
    let mut b = Bench::new("");
    b.run_tick(tick(1, 0, 108_510, 108_520));
    b.run_tick(coin(0));
    let broken = b.part(2, 100, SourceStatus::Down, Cause::ClosedByPeer);
    let (quotes, gaps): (Vec<Quote>, Vec<Gap>) = (only(&broken), only(&broken));
    assert_eq!(
        quotes.iter().map(|q| (q.head.instrument_id, q.state)).collect::<Vec<_>>(),
        [(2, QuoteState::Stale.code())]
    );
    assert_eq!(gaps.iter().map(|g| (g.head.instrument_id, g.state)).collect::<Vec<_>>(), [(2, GapState::Open.code())]);
    assert_eq!((gaps[0].from_ns, gaps[0].cause), (NOON + MS, Cause::ClosedByPeer.code()));
    // The other one goes on, and no hole is opened or closed for it.
    let went_on = b.run(tick(1, 200, 108_511, 108_521).into());
    assert_eq!((only::<Quote>(&went_on)[0].sources, only::<Gap>(&went_on)), (1, vec![]));
    let back = b.run(coin(300).into());
    assert_eq!(only::<Gap>(&back)[0].state, GapState::Closed.code());
}

#[test]
fn what_nobody_wants_any_more_has_no_hole_that_stays_open() {
    let mut b = Bench::new("");
    b.run_tick(tick(1, 0, 108_510, 108_520));
    b.run_tick(coin(0));
    let open: Vec<Gap> = only(&b.state(1, 100, SourceStatus::Down, Cause::ReadError));
    assert_eq!(open.len(), 2);
    let ended = b.part(2, 500, SourceStatus::Stopped, Cause::Stopped);
    let closed: Vec<Gap> = only(&ended);
    assert_eq!((closed.len(), closed[0].gap_id, closed[0].state), (1, open[1].gap_id, GapState::Closed.code()));
    assert_eq!(closed[0].to_ns, NOON + 500 * MS, "what is missing ends with the wish for it");
    // Nor does a later one begin; for what is still wanted it does.
    b.run_tick(tick(1, 600, 108_511, 108_521));
    let later: Vec<Gap> = only(&b.state(1, 700, SourceStatus::Down, Cause::ReadError));
    assert_eq!(later.iter().map(|g| g.head.instrument_id).collect::<Vec<_>>(), [1]);
    // Wanted again: a flow like any other.
    assert_eq!(only::<Gap>(&b.run(coin(800).into())), []);
    let again: Vec<Gap> = only(&b.part(2, 900, SourceStatus::Mute, Cause::Mute));
    assert_eq!((again.len(), again[0].from_ns), (1, NOON + 801 * MS));
}
