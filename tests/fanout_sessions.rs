//! Terminals over real QUIC on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fanout_common;

use fanout_common::*;
use tickwire::fanout::{FanoutConfig, FanoutError, TokenConfig, start};
use tickwire_schemas::control::{CloseCode, ErrorCode, Resume};
use tickwire_terminal::{Data, Delivery, Event, Follow, Followed, Kind, Subscribe, TerminalError, Trust};

fn all(symbols: &[&str], kinds: &[Kind]) -> Subscribe {
    Subscribe { delivery: Delivery::All, ..request(symbols, kinds) }
}

fn refusal<T>(result: Result<T, TerminalError>) -> (ErrorCode, String, String) {
    match result.err().unwrap() {
        TerminalError::Refused(error) => (error.code, error.field.unwrap_or_default(), error.text),
        other => panic!("not refused: {other}"),
    }
}

async fn a_terminal_gets_the_catalogue_then_a_snapshot_then_live_quotes(over: Over) {
    let mut engine = engine(&config(over));
    engine.feed.quote(EURUSD, 1);
    engine.feed.quote(EURUSD, 2);
    engine.feed.quote(BTCUSDT, 3);
    engine.settle().await;
    let terminal = engine.connect("").await.unwrap();
    let welcome = terminal.welcome();
    assert_eq!((welcome.engine_id.as_str(), welcome.epoch), ("test", EPOCH));
    let symbols: Vec<_> = welcome.catalogue.instruments.iter().map(|i| i.symbol.as_str()).collect();
    assert_eq!(symbols, ["EURUSD", "GBPUSD", "BTCUSDT"]);
    let indicators: Vec<_> = welcome.catalogue.indicators.iter().map(|i| (i.id, i.name.as_str())).collect();
    assert_eq!(indicators, [(7, "EMA(20)")]);
    for delivery in [Delivery::Latest, Delivery::All] {
        let request = Subscribe { delivery, ..request(&["*USD"], &[Kind::Quote]) };
        let mut quotes = terminal.subscribe(request).await.unwrap();
        assert_eq!(quotes.subscribed().instruments, [1, 2]);
        let state = snapshot(&mut quotes).await;
        let last = state.iter().map(bid).collect::<Vec<_>>();
        engine.feed.quote(BTCUSDT, 4);
        engine.feed.quote(EURUSD, last[0] + 10);
        let (live, of_snapshot, skipped) = record(&mut quotes).await;
        assert_eq!((last.len(), bid(&live), of_snapshot, skipped), (1, last[0] + 10, false, 0));
        terminal.unsubscribe(&quotes).await.unwrap();
        assert_eq!(quotes.next().await.unwrap(), None);
    }
    assert!(terminal.ping().await.unwrap().rtt_ns >= 0);
    assert_eq!(engine.handle.stats().terminals(), 1);
}

async fn what_a_subscription_gets_wrong_is_named_and_the_session_goes_on(over: Over) {
    let mut engine = engine(&config(over));
    let terminal = engine.connect("").await.unwrap();
    let (code, field, text) = refusal(terminal.subscribe(request(&["EURUSD", "CHEESE"], &[Kind::Quote])).await);
    assert_eq!((code, field.as_str()), (ErrorCode::UnknownSymbol, "symbols"));
    assert!(text.contains("CHEESE"), "{text}");
    assert_eq!(refusal(terminal.subscribe(request(&["["], &[Kind::Quote])).await).0, ErrorCode::BadGlob);
    assert_eq!(refusal(terminal.subscribe(request(&["*"], &[Kind::Timer])).await).0, ErrorCode::UnknownKind);
    let source = Subscribe { sources: Some(vec!["cheese".into()]), ..request(&["*"], &[Kind::Tick]) };
    let (code, _, text) = refusal(terminal.subscribe(source).await);
    assert!(code == ErrorCode::UnknownSource && text.contains("cheese"), "{text}");
    let many = Subscribe { symbols: vec!["A*".into(); 2000], ..request(&[], &[Kind::Quote]) };
    assert_eq!(refusal(terminal.subscribe(many).await).0, ErrorCode::Limit);
    let nothing = terminal.subscribe(request(&["X*"], &[Kind::Quote])).await.unwrap();
    assert!(nothing.subscribed().warnings[0].contains("X*"));
    let mut quotes = terminal.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    engine.feed.quote(EURUSD, 1);
    assert_eq!(bid(&record(&mut quotes).await.0), 1);
}

async fn who_may_not_come_is_told_why(over: Over) {
    let engine_of_one = engine(&FanoutConfig { max_terminals: 1, ..config(over) });
    let engine = engine(&FanoutConfig { allow_anonymous_loopback: false, ..config(over) });
    for token in ["", "wrong"] {
        let (code, field, _) = refusal(engine.connect(token).await);
        assert_eq!((code, field.as_str()), (ErrorCode::Unauthorized, "token"));
    }
    let other = Trust::Fingerprint("ab".repeat(32));
    let error = tickwire_terminal::Terminal::connect(engine.handle.local_addr(), &other, "").await.err().unwrap();
    assert!(error.to_string().contains("another fingerprint"), "{error}");
    let first = engine_of_one.connect("ann-secret").await.unwrap();
    match engine_of_one.connect("bob-secret").await.err().unwrap() {
        TerminalError::Closed { code, reason } => {
            assert_eq!((code, reason.as_str()), (CloseCode::TooMany.code(), "this engine serves at most 1 terminals"));
        }
        other => panic!("{other}"),
    }
    first.close().await;
}

async fn an_occupied_port_and_a_bad_certificate_are_one_sentence(over: Over) {
    let engine = engine(&config(over));
    let taken = FanoutConfig { listen: engine.handle.local_addr(), ..config(over) };
    let (_, fakes) = outlets(taken.threads);
    let error = start(&taken, catalogue(), "x".into(), 1, engine.state.path(), None, fakes).err().unwrap();
    assert!(matches!(error, FanoutError::Occupied(_)), "{error}");
    assert!(error.to_string().contains(&engine.handle.local_addr().to_string()));
    let missing = FanoutConfig { certificate: "nowhere.pem".into(), key: "nowhere.key".into(), ..config(over) };
    let (_, fakes) = outlets(missing.threads);
    let error = start(&missing, catalogue(), "x".into(), 1, engine.state.path(), None, fakes).err().unwrap();
    assert!(error.to_string().starts_with("fanout.certificate nowhere.pem: "), "{error}");
}

async fn all_is_contiguous_and_resumes_after_the_last_record(over: Over) {
    let mut engine = engine(&config(over));
    let terminal = engine.connect("").await.unwrap();
    let mut quotes = terminal.subscribe(all(&["EURUSD"], &[Kind::Quote])).await.unwrap();
    snapshot(&mut quotes).await;
    for n in 0..5000 {
        engine.feed.quote(EURUSD, n);
        engine.feed.quote(BTCUSDT, n);
    }
    for n in 0..3000 {
        let (data, _, skipped) = record(&mut quotes).await;
        assert_eq!((bid(&data), skipped), (n, 0));
    }
    let resume = quotes.position();
    terminal.close().await;
    let terminal = engine.connect("").await.unwrap();
    let again = Subscribe { resume, ..all(&["EURUSD"], &[Kind::Quote]) };
    let mut quotes = terminal.subscribe(again).await.unwrap();
    assert!(quotes.subscribed().resumed);
    for n in 3000..5000 {
        let (data, of_snapshot, skipped) = record(&mut quotes).await;
        assert_eq!((bid(&data), of_snapshot, skipped), (n, false, 0));
    }
}

async fn a_resume_that_is_too_late_is_told_then_gets_a_snapshot_and_a_gap(over: Over) {
    let mut engine = engine(&FanoutConfig { window_records: 10, ..config(over) });
    for n in 0..100 {
        engine.feed.quote(EURUSD, n);
    }
    engine.settle().await;
    let terminal = engine.connect("").await.unwrap();
    for resume in
        [Resume { epoch: EPOCH, seq: 5 }, Resume { epoch: EPOCH - 1, seq: 99 }, Resume { epoch: EPOCH, seq: 9999 }]
    {
        let request = Subscribe { resume: Some(resume), ..all(&["*"], &[Kind::Quote]) };
        let mut quotes = terminal.subscribe(request).await.unwrap();
        assert!(!quotes.subscribed().resumed);
        let Some(Event::ResumeGone(gone)) = quotes.next().await.unwrap() else { panic!("no ResumeGone") };
        assert!(gone.epoch == EPOCH && gone.oldest_seq > 5 && gone.newest_seq >= 100, "{gone:?}");
        let state = snapshot(&mut quotes).await;
        assert_eq!(state.iter().map(bid).collect::<Vec<_>>(), [99]);
        let Data::Gap(gap) = record(&mut quotes).await.0 else { panic!("no gap") };
        assert_eq!((gap.gap_epoch, gap.gap_id, gap.cause), (resume.epoch, resume.seq, 13));
        let last = engine.feed.quote(EURUSD, 1000);
        assert_eq!(record(&mut quotes).await.0.head().seq, last);
        engine.feed.quote(EURUSD, 99);
        terminal.unsubscribe(&quotes).await.unwrap();
        while quotes.next().await.unwrap().is_some() {}
        engine.settle().await;
    }
}

/// It reads nothing while 400,000 quotes go by; the other reads all of them.
async fn a_terminal_that_stops_reading_gets_the_newest_and_the_others_have_no_hole(over: Over) {
    let mut engine = engine(&config(over));
    engine.feed.quote(EURUSD, 0);
    engine.feed.quote(BTCUSDT, 0);
    engine.settle().await;
    let (stopped, other) = (engine.connect("").await.unwrap(), engine.connect("").await.unwrap());
    let mut slow = stopped.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    let mut fast = other.subscribe(all(&["*"], &[Kind::Quote])).await.unwrap();
    snapshot(&mut fast).await;
    const ROUNDS: i64 = 100;
    const BURST: i64 = 2000;
    for round in 0..ROUNDS {
        for n in 1..=BURST {
            engine.feed.quote(EURUSD, round * BURST + n);
            engine.feed.quote(BTCUSDT, round * BURST + n);
        }
        for _ in 0..2 * BURST {
            assert_eq!(record(&mut fast).await.2, 0, "a hole at a terminal that reads");
        }
    }
    let total = (ROUNDS * BURST) as u64 + 1;
    assert_eq!(snapshot(&mut slow).await.len(), 2);
    let mut seen = [1; 2];
    let mut skipped_in_all = [0; 2];
    while seen != [total; 2] {
        let (data, _, skipped) = record(&mut slow).await;
        let at = usize::from(data.head().instrument_id == BTCUSDT);
        let head = data.head();
        assert_eq!(head.chain, seen[at] + skipped + 1, "skipped says exactly what is missing");
        assert_eq!(bid(&data), head.chain as i64 - 1);
        (seen[at], skipped_in_all[at]) = (head.chain, skipped_in_all[at] + skipped);
    }
    assert!(skipped_in_all.iter().all(|skipped| *skipped > total / 2), "{skipped_in_all:?}");
}

async fn a_reader_of_all_that_falls_out_of_the_window_is_closed_with_the_reason(over: Over) {
    let mut engine = engine(&FanoutConfig { window_records: 1000, ..config(over) });
    let stopped = engine.connect("").await.unwrap();
    let mut slow = stopped.subscribe(all(&["*"], &[Kind::Quote])).await.unwrap();
    for n in 0..20_000 {
        engine.feed.quote(EURUSD, n);
    }
    let error = loop {
        match slow.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if by wish"),
            Err(error) => break error,
        }
    };
    match &error {
        TerminalError::Closed { code, reason } => {
            assert!(*code == CloseCode::TooFarBehind.code() && reason.contains("window"), "{reason}");
        }
        other => panic!("{other}"),
    }
    assert!(error.is_retryable());
}

/// It never reads: its connection cannot take more, and yet it is closed.
async fn a_reader_of_all_that_never_reads_is_closed_too(over: Over) {
    let mut engine = engine(&FanoutConfig { window_records: 1000, ..config(over) });
    let stopped = engine.connect("").await.unwrap();
    let mut unread = stopped.subscribe(all(&["*"], &[Kind::Quote])).await.unwrap();
    let other = engine.connect("").await.unwrap();
    let mut read = other.subscribe(all(&["*"], &[Kind::Quote])).await.unwrap();
    snapshot(&mut read).await;
    for n in 0..20_000 {
        engine.feed.quote(EURUSD, n);
        // One at a time, so that the reader that does read is never behind.
        assert_eq!(bid(&record(&mut read).await.0), n);
    }
    let stats = engine.handle.stats();
    while stats.terminals() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let error = loop {
        match unread.next().await {
            Ok(event) => assert!(event.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TerminalError::Closed { code, .. } if code == CloseCode::TooFarBehind.code()), "{error}");
    engine.feed.quote(EURUSD, 7);
    assert_eq!(record(&mut read).await.2, 0);
}

async fn a_private_source_reaches_its_owner_and_nobody_else(over: Over) {
    let mut engine = engine(&config(over));
    engine.feed.tick(ANNS, EURUSD);
    engine.settle().await;
    let everything = [Kind::Tick, Kind::Trade, Kind::Quote, Kind::Bar, Kind::Indicator, Kind::Gap, Kind::SourceState];
    let (ann, bob, anonymous) = (
        engine.connect("ann-secret").await.unwrap(),
        engine.connect("bob-secret").await.unwrap(),
        engine.connect("").await.unwrap(),
    );
    let of = |terminal: &tickwire_terminal::Terminal| terminal.welcome().catalogue.sources.len();
    assert_eq!((of(&ann), of(&bob), of(&anonymous)), (3, 2, 2));
    let wide = || Subscribe { sources: Some(vec!["*".into()]), ..all(&["*"], &everything) };
    let mut anns = ann.subscribe(wide()).await.unwrap();
    assert_eq!(snapshot(&mut anns).await.len(), 1);
    for terminal in [&bob, &anonymous] {
        let named = Subscribe { sources: Some(vec!["anns".into()]), ..wide() };
        assert_eq!(refusal(terminal.subscribe(named).await).0, ErrorCode::UnknownSource);
        for wide in [wide(), all(&["*"], &everything)] {
            let mut all = terminal.subscribe(wide).await.unwrap();
            let state = snapshot(&mut all).await;
            assert!(state.iter().all(|data| data.head().source_id != ANNS), "{state:?}");
            engine.feed.tick(ANNS, EURUSD);
            engine.feed.send(tickwire_schemas::record::Quote::default(), ANNS, EURUSD);
            engine.feed.gap(ANNS);
            let public = engine.feed.tick(1, EURUSD);
            let (first, _, _) = record(&mut all).await;
            assert_eq!(first.head().seq, public, "{first:?}");
        }
    }
    let mine: Vec<u32> =
        [record(&mut anns).await, record(&mut anns).await, record(&mut anns).await, record(&mut anns).await]
            .map(|(data, _, _)| data.head().source_id)
            .into();
    assert_eq!(mine, [ANNS, ANNS, ANNS, 1]);
}

async fn a_token_sees_no_more_than_it_says(over: Over) {
    let narrow = TokenConfig {
        symbols: vec!["EUR*".into()],
        kinds: vec!["quote".into()],
        sources: vec!["best".into()],
        max_rate_hz: 1000,
        ..token("eve")
    };
    let mut engine = engine(&FanoutConfig { tokens: vec![narrow], ..config(over) });
    let terminal = engine.connect("eve-secret").await.unwrap();
    assert_eq!(terminal.welcome().catalogue.instruments.len(), 1);
    assert_eq!(terminal.welcome().catalogue.sources.len(), 0);
    assert_eq!(terminal.welcome().limits.max_rate_hz, 1000);
    assert_eq!(refusal(terminal.subscribe(request(&["*"], &[Kind::Tick])).await).0, ErrorCode::Forbidden);
    assert_eq!(refusal(terminal.subscribe(request(&["BTCUSDT"], &[Kind::Quote])).await).0, ErrorCode::Forbidden);
    assert_eq!(refusal(terminal.subscribe(all(&["*"], &[Kind::Quote])).await).1, "delivery");
    let mut quotes = terminal.subscribe(request(&["*"], &[Kind::Quote])).await.unwrap();
    assert_eq!(quotes.subscribed().instruments, [EURUSD]);
    engine.feed.quote(BTCUSDT, 1);
    engine.feed.quote(EURUSD, 2);
    assert_eq!(bid(&record(&mut quotes).await.0), 2);
}

async fn an_engine_that_stops_says_goodbye_and_a_follower_comes_back(over: Over) {
    let mut first = engine(&config(over));
    first.feed.quote(EURUSD, 1);
    first.settle().await;
    let mut follow = Follow::new(first.target(), all(&["*"], &[Kind::Quote]));
    assert!(matches!(follow.next().await.unwrap(), Followed::Connected { epoch_changed: false, resumed: false, .. }));
    while !matches!(follow.next().await.unwrap(), Followed::Event(Event::SnapshotEnd(_))) {}
    let address = first.handle.local_addr();
    // The certificate stays in the state directory, and so the fingerprint.
    let (state, _) = (first.state, tokio::task::spawn_blocking(move || first.handle.stop()).await.unwrap());
    let Followed::Lost { error, .. } = follow.next().await.unwrap() else { panic!("not lost") };
    assert!(error.to_string().contains("the engine is stopping"), "{error}");
    let again = FanoutConfig { listen: address, ..config(over) };
    let (_feed, fakes) = outlets(again.threads);
    let _second = start(&again, catalogue(), "test".into(), EPOCH + 1, state.path(), None, fakes).unwrap();
    loop {
        match follow.next().await.unwrap() {
            Followed::Connected { epoch_changed, resumed, .. } => break assert!(epoch_changed && !resumed),
            Followed::Lost { .. } => {}
            Followed::Event(event) => panic!("{event:?}"),
        }
    }
    assert!(matches!(follow.next().await.unwrap(), Followed::Event(Event::ResumeGone(_))));
}

over_each![
    a_terminal_gets_the_catalogue_then_a_snapshot_then_live_quotes,
    what_a_subscription_gets_wrong_is_named_and_the_session_goes_on,
    who_may_not_come_is_told_why,
    an_occupied_port_and_a_bad_certificate_are_one_sentence,
    all_is_contiguous_and_resumes_after_the_last_record,
    a_resume_that_is_too_late_is_told_then_gets_a_snapshot_and_a_gap,
    a_terminal_that_stops_reading_gets_the_newest_and_the_others_have_no_hole,
    a_reader_of_all_that_falls_out_of_the_window_is_closed_with_the_reason,
    a_reader_of_all_that_never_reads_is_closed_too,
    a_private_source_reaches_its_owner_and_nobody_else,
    a_token_sees_no_more_than_it_says,
    an_engine_that_stops_says_goodbye_and_a_follower_comes_back,
];
