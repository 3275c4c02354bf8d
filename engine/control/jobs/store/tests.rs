#![allow(clippy::unwrap_used)]
use super::*;
use crate::control::jobs::{Parameters, Runner, SCHEDULE};

const NOW_NS: i64 = 1_000_000_000_000;
const ALL: Choice = Choice { only: None, long: true };

fn open() -> (tempfile::TempDir, Jobs) {
    let state = tempfile::tempdir().unwrap();
    let jobs = Jobs::open(state.path()).unwrap();
    (state, jobs)
}

fn request(kind: Kind, connection: &str, symbol: &str) -> Request {
    Request {
        kind,
        connection: Some(connection.into()),
        owner: String::new(),
        parameters: Parameters { symbol: Some(symbol.into()), timeframe: Some("H1".into()), ..Parameters::default() },
        requested_by: "ann".into(),
    }
}

fn done(text: &str) -> Result<Outcome, JobError> {
    Ok(Outcome { rows: Some(7), message: text.into() })
}

#[test]
fn two_processes_never_run_the_same_at_a_time() {
    let (state, jobs) = open();
    let other = Jobs::open(state.path()).unwrap();
    let first = jobs.queue(&request(Kind::FetchBars, "a", "X"), 3, NOW_NS).unwrap();
    // The very same is that one; the same subject with other parameters waits until it is over.
    assert_eq!(jobs.queue(&request(Kind::FetchBars, "a", "X"), 3, NOW_NS + 5).unwrap().id, first.id);
    let mut later = request(Kind::FetchBars, "a", "X");
    later.parameters.from_ns = Some(5);
    let later = other.queue(&later, 3, NOW_NS).unwrap();
    assert_eq!(jobs.claim("one", NOW_NS, ALL).unwrap().unwrap().id, first.id);
    assert_eq!(other.claim("two", NOW_NS, ALL).unwrap(), None);
    // Of another symbol it may.
    let third = other.queue(&request(Kind::FetchBars, "a", "Y"), 3, NOW_NS).unwrap();
    assert_eq!(other.claim("two", NOW_NS, ALL).unwrap().unwrap().id, third.id);
    let running = jobs.get(first.id).unwrap();
    let finished = jobs.finish(&running, &done("well"), NOW_NS + 9, 0).unwrap();
    assert_eq!((finished.state, finished.rows, finished.message.as_deref()), (State::Succeeded, Some(7), Some("well")));
    assert_eq!(other.claim("two", NOW_NS, ALL).unwrap().unwrap().id, later.id);
}

#[test]
fn many_that_claim_at_once_get_one_each() {
    let (state, jobs) = open();
    for at in 0..40 {
        // Four that are the same, of ten.
        let mut wanted = request(Kind::FetchBars, "a", &format!("S{}", at % 10));
        wanted.parameters.to_ns = Some(at);
        jobs.queue(&wanted, 3, NOW_NS).unwrap();
    }
    let claim = |runner: usize| {
        let jobs = Jobs::open(state.path()).unwrap();
        let name = format!("runner-{runner}");
        move || std::iter::from_fn(|| jobs.claim(&name, NOW_NS, ALL).unwrap()).map(|job| job.id).collect::<Vec<_>>()
    };
    let threads: Vec<_> = (0..4).map(|runner| std::thread::spawn(claim(runner))).collect();
    let mut claimed: Vec<i64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    claimed.sort_unstable();
    // Of each symbol the oldest alone.
    assert_eq!(claimed, (1..=10).collect::<Vec<i64>>());
}

#[test]
fn a_failure_is_tried_again_later_and_the_last_one_stays() {
    let (_state, jobs) = open();
    let id = jobs.queue(&request(Kind::Backfill, "a", "X"), 3, NOW_NS).unwrap().id;
    let refused = Err(JobError::Failed("a: login refused".into()));
    for attempt in 1..=3 {
        let at_ns = NOW_NS + attempt * 100;
        let job = jobs.claim("one", at_ns, ALL).unwrap().unwrap();
        assert_eq!(job.attempts, u32::try_from(attempt).unwrap());
        let after = jobs.finish(&job, &refused, at_ns, at_ns + 50).unwrap();
        assert_eq!(after.message.as_deref(), Some("a: login refused"));
        assert_eq!(after.state, if attempt < 3 { State::Queued } else { State::Failed });
        assert_eq!(jobs.claim("one", at_ns + 49, ALL).unwrap(), None, "not before its time");
    }
    assert_eq!(jobs.claim("one", i64::MAX, ALL).unwrap(), None);
    // What makes no sense is not tried again.
    let id_2 = jobs.queue(&request(Kind::Backfill, "b", "X"), 3, NOW_NS).unwrap().id;
    let job = jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    let hopeless = jobs.finish(&job, &Err(JobError::Hopeless("no such symbol".into())), NOW_NS, 0).unwrap();
    assert_eq!((hopeless.id, hopeless.state, hopeless.attempts), (id_2, State::Failed, 1));
    assert!(id_2 > id);
}

#[test]
fn what_a_process_that_ended_had_claimed_goes_on_and_not_for_ever() {
    let (state, jobs) = open();
    let id = jobs.queue(&request(Kind::Backfill, "a", "X"), 2, NOW_NS).unwrap().id;
    let alive = Runner::new(state.path()).unwrap();
    jobs.claim(alive.name(), NOW_NS, ALL).unwrap().unwrap();
    assert_eq!(jobs.take_back(None, NOW_NS).unwrap(), [], "its process lives");
    drop(alive);
    let taken = jobs.take_back(None, NOW_NS).unwrap();
    assert_eq!((taken[0].id, taken[0].state), (id, State::Queued));
    assert!(taken[0].message.as_ref().unwrap().starts_with("interrupted"), "{taken:?}");
    jobs.claim("gone", NOW_NS, ALL).unwrap().unwrap();
    let taken = jobs.take_back(None, NOW_NS).unwrap();
    assert_eq!((taken[0].state, taken[0].attempts), (State::Failed, 2));
    assert_eq!(jobs.take_back(None, NOW_NS).unwrap(), []);
    // One that was to stop is not begun again.
    let id = jobs.queue(&request(Kind::Backfill, "b", "X"), 3, NOW_NS).unwrap().id;
    jobs.claim("gone", NOW_NS, ALL).unwrap().unwrap();
    jobs.cancel(id, NOW_NS).unwrap();
    assert_eq!(jobs.take_back(None, NOW_NS).unwrap()[0].state, State::Cancelled);
}

#[test]
fn an_engine_that_stops_takes_no_attempt_from_its_jobs() {
    let (_state, jobs) = open();
    jobs.queue(&request(Kind::Backfill, "a", "X"), 1, NOW_NS).unwrap();
    let job = jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    let stopped = jobs.finish(&job, &Err(JobError::Stopped), NOW_NS, 0).unwrap();
    assert_eq!((stopped.state, stopped.attempts), (State::Queued, 0));
    let again = jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    jobs.cancel(again.id, NOW_NS).unwrap();
    assert_eq!(jobs.cancelled("one").unwrap(), [again.id]);
    let cancelled = jobs.finish(&again, &Err(JobError::Stopped), NOW_NS, 0).unwrap();
    assert_eq!(cancelled.state, State::Cancelled);
    // And stays so.
    assert_eq!(jobs.cancel(again.id, NOW_NS + 1).unwrap(), cancelled);
    assert!(matches!(jobs.cancel(99, NOW_NS), Err(JobsError::Unknown(99))));
}

#[test]
fn a_worker_is_kept_from_long_jobs() {
    let (_state, jobs) = open();
    jobs.queue(&request(Kind::Backfill, "a", "X"), 1, NOW_NS).unwrap();
    let short = jobs.queue(&request(Kind::FetchBars, "a", "X"), 1, NOW_NS).unwrap();
    let claimed = jobs.claim("one", NOW_NS, Choice { only: None, long: false }).unwrap().unwrap();
    assert_eq!(claimed.id, short.id);
}

#[test]
fn progress_is_kept_and_says_when_it_will_be_over() {
    let (_state, jobs) = open();
    let id = jobs.queue(&request(Kind::Backfill, "a", "X"), 3, NOW_NS).unwrap().id;
    let job = jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    jobs.progress(id, 400, 1_000, Some(4)).unwrap();
    jobs.finish(&job, &Err(JobError::Failed("x".into())), NOW_NS, NOW_NS).unwrap();
    jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    jobs.progress(id, 500, 1_000, Some(5)).unwrap();
    let job = jobs.get(id).unwrap();
    assert_eq!(job.progress, Some(Progress { done: 500, total: 1_000, begun: 400 }));
    // 100 in 10 s: another 500 in 50 s.
    assert_eq!(job.eta_s(NOW_NS + 10_000_000_000), Some(50));
    let over = jobs.finish(&job, &done("all"), NOW_NS, 0).unwrap();
    assert_eq!((over.progress.unwrap().done, over.eta_s(i64::MAX)), (1_000, None));
}

#[test]
fn lists_page_and_hide_what_is_another_s() {
    let (_state, jobs) = open();
    for (at, owner) in ["", "ann", "bob", ""].into_iter().enumerate() {
        let wanted = Request { owner: owner.into(), ..request(Kind::Backfill, &format!("c{at}"), "X") };
        jobs.queue(&wanted, 3, NOW_NS).unwrap();
    }
    let ids = |filter: &Filter, limit| jobs.list(filter, limit).unwrap().iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&Filter::default(), 2), [4, 3]);
    assert_eq!(ids(&Filter { before: Some(3), ..Filter::default() }, 9), [2, 1]);
    assert_eq!(ids(&Filter { seen_by: Some("ann".into()), ..Filter::default() }, 9), [4, 2, 1]);
    assert_eq!(ids(&Filter { connection: Some("c2".into()), ..Filter::default() }, 9), [3]);
    assert_eq!(ids(&Filter { state: Some(State::Running), ..Filter::default() }, 9), [0_i64; 0]);
}

#[test]
fn a_connection_s_past_is_asked_for_once() {
    let (_state, jobs) = open();
    let wanted = request(Kind::Backfill, "a", "X");
    let job = jobs.queue_first(&wanted, 3, NOW_NS).unwrap().unwrap();
    let claimed = jobs.claim("one", NOW_NS, ALL).unwrap().unwrap();
    jobs.finish(&claimed, &done("x"), NOW_NS, 0).unwrap();
    assert_eq!(jobs.queue_first(&wanted, 3, NOW_NS + 5).unwrap(), None);
    assert!(jobs.queue_first(&request(Kind::Backfill, "a", "Y"), 3, NOW_NS).unwrap().unwrap().id > job.id);
}

#[test]
fn history_is_forgotten_but_not_when_something_was_last_done() {
    let (_state, jobs) = open();
    for at in 0..5 {
        let mut wanted = request(Kind::FetchBars, "a", "X");
        (wanted.requested_by, wanted.parameters.to_ns) = (SCHEDULE.into(), Some(at));
        jobs.queue(&wanted, 3, NOW_NS + at).unwrap();
        let claimed = jobs.claim("one", NOW_NS + at, ALL).unwrap().unwrap();
        jobs.finish(&claimed, &done("x"), NOW_NS + at, 0).unwrap();
    }
    assert_eq!(jobs.prune(Prune { before_ns: 0, polls: 3 }).unwrap(), 2);
    assert_eq!(jobs.prune(Prune { before_ns: i64::MAX, polls: 3 }).unwrap(), 2);
    let subject = Subject { kind: Kind::FetchBars, connection: Some("a".into()), timeframe: Some("H1".into()) };
    assert_eq!(jobs.last_of(&subject).unwrap(), Some((NOW_NS + 4, State::Succeeded)));
    assert_eq!(jobs.last_of(&Subject { timeframe: None, ..subject }).unwrap(), None);
}

#[test]
fn a_venue_s_last_answer_is_kept() {
    let (_state, jobs) = open();
    assert_eq!(jobs.last_answer("a", "symbols").unwrap(), None);
    for at in [5, 9] {
        jobs.keep_answer("a", "symbols", &serde_json::json!([at]), at).unwrap();
    }
    assert_eq!(jobs.last_answer("a", "symbols").unwrap(), Some((9, serde_json::json!([9]))));
    assert_eq!(jobs.last_answer("a", "account").unwrap(), None);
}
