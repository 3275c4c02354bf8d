//! `tickwire replay --serve`: a recording through the whole engine, with the recording's clock.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;

use std::path::Path;

use engine_support::{Engine, QUIET, command, free_port};
use tempfile::TempDir;
use tickwire::journal::{Catalogue, Reader, Recording};
use tickwire::market::{Class, Input, Instrument, InstrumentId, Price, Scope, Source, SourceId, TickInput, VolumeOf};
use tickwire_schemas::control::{Delivery, Resume};
use tickwire_schemas::record::{Quote, RECORD_BYTES_MAX, Record, SourceState, Tick, Timer};
use tickwire_schemas::words::{Kind, SourceStatus};
use tickwire_terminal::{Data, Event, Terminal};

/// A Wednesday noon in 2014, in nanoseconds.
const NOON: i64 = 1_398_859_200_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Length of the recordings in seconds.
const LENGTH: i64 = 300;

/// Two brokers' files of one instrument, and the manifest.
fn lean(dir: &Path) -> String {
    let mut manifest = "timer_ms = 500\n".to_string();
    for (name, every_ms, shift) in [("zeta", 130, 0), ("alpha", 170, 3)] {
        let rows: String = (0..LENGTH * 1000 / every_ms)
            .map(|n| {
                let bid = 38_600 + (n * 7_919 + shift) % 23;
                format!("{},1.{bid:05},1.{:05}\n", 43_200_000 + n * every_ms, bid + 4 + n % 3)
            })
            .collect();
        std::fs::write(dir.join(format!("{name}.csv")), rows).unwrap();
        manifest += &format!(
            "[[source]]\nname = \"{name}\"\nformat = \"lean-quote\"\nfiles = [\"{name}.csv\"]\nsymbol = \"EURUSD\"\n\
             date = \"2014-04-30\"\n"
        );
    }
    write_manifest(dir, &manifest)
}

fn write_manifest(dir: &Path, text: &str) -> String {
    let path = dir.join("manifest.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// What a recorder would have written: two sources, one of them Ann's own, under ids that are nobody's here.
fn journal(dir: &Path) -> String {
    let source = |id, name: &str, scope, owner: &str| Source {
        id: SourceId(id),
        name: name.into(),
        scope,
        owner: owner.into(),
        priority: 100,
        volume: VolumeOf::default(),
        stores_ticks: true,
    };
    let eurusd = Instrument {
        id: InstrumentId(40),
        symbol: "EURUSD".into(),
        class: Class::Fx,
        digits: 5,
        pip: "0.0001".parse().unwrap(),
    };
    let sources = vec![source(31, "common", Scope::Global, ""), source(32, "anns", Scope::Private, "ann")];
    let catalogue = Catalogue { sources, instruments: vec![eurusd], ..Catalogue::default() };
    let mut file = Recording::create(&dir.join("r.twj"), catalogue).unwrap();
    let mut append = |input: Input| {
        let mut bytes = [0; RECORD_BYTES_MAX];
        let (kind, length) = match input {
            Input::Tick(tick) => (Kind::Tick, tick.write(&mut bytes)),
            Input::Timer(timer) => (Kind::Timer, timer.write(&mut bytes)),
            Input::SourceState(state) => (Kind::SourceState, state.write(&mut bytes)),
            other => panic!("{other:?} is not in this recording"),
        };
        file.append(kind, &bytes[..length]).unwrap();
    };
    for source in [31, 32] {
        let mut state = SourceState { ts_recv_ns: NOON, status: SourceStatus::Live.code(), ..SourceState::default() };
        state.head.source_id = source;
        append(Input::SourceState(state));
    }
    for n in 0..LENGTH * 4 {
        let at = NOON + n * SECOND / 4;
        append(Input::Timer(Timer { now_ns: at, snapshot: 1, ..Timer::default() }));
        let bid = 1_386_000_000 + n % 17 * 10_000;
        append(Input::from(TickInput {
            source: SourceId(31 + u32::from(n % 3 == 0)),
            instrument: InstrumentId(40),
            ts_event_ns: Some(at),
            ts_recv_ns: at + 1_000_000,
            bid: Price::from_e9(bid),
            ask: Price::from_e9(bid + 40_000),
            bid_size: None,
            ask_size: None,
            source_seq: None,
            snapshot: false,
        }));
    }
    file.sync().unwrap();
    write_manifest(dir, "[[source]]\nformat = \"journal\"\nfiles = [\"r.twj\"]\n")
}

/// Everything of one kind that is journaled.
fn journaled<R: Record>(dir: &TempDir) -> Vec<R> {
    let mut reader = Reader::open(&dir.path().join("state/journal"), None).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if entry.kind == R::KIND {
            found.push(R::read(entry.bytes).unwrap());
        }
    }
    found
}

fn replay_check(dir: &TempDir) -> String {
    let done = command(dir.path(), &dir.path().join("test.toml"), &["replay-check"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains(" 0 different"), "{said}");
    said
}

/// The quotes from the beginning of the run on, as a terminal with this token gets them in order and without a hole.
fn quotes_of(engine: &Engine, token: &str, count: usize) -> Vec<Quote> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let terminal = Terminal::connect(engine.quic(), &engine.trust(), token).await.unwrap();
        let mut request = Terminal::request();
        request.symbols = vec!["*".into()];
        request.kinds = vec![Kind::Quote];
        request.delivery = Delivery::All;
        // Behind the first timer, which terminals are not told of.
        request.resume = Some(Resume { epoch: 1, seq: 1 });
        let mut subscription = terminal.subscribe(request).await.unwrap();
        assert!(subscription.subscribed().resumed);
        let mut quotes = Vec::new();
        while quotes.len() < count {
            match subscription.next().await.unwrap().expect("the engine goes on serving") {
                Event::Record { data: Data::Quote(quote), snapshot, skipped } => {
                    assert_eq!((snapshot, skipped), (false, 0));
                    quotes.push(quote);
                }
                other => panic!("{other:?}"),
            }
        }
        quotes
    })
}

#[test]
fn terminals_get_every_quote_with_the_recorded_times_and_the_journal_replays() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = lean(dir.path());
    // What the stages alone make of it.
    let table = dir.path().join("quotes.csv").display().to_string();
    let config = dir.path().join("test.toml");
    std::fs::write(&config, QUIET).unwrap();
    let done = command(dir.path(), &config, &["replay", &manifest, "--quotes", &table]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let expected = std::fs::read_to_string(&table).unwrap().lines().count() - 1;
    assert!(expected > 1_000, "{expected}");

    let arguments = ["replay", &manifest, "--serve", "--speed", "0"];
    let mut engine = Engine::start_as(dir, QUIET, &arguments);
    engine.until_said("the recording has ended: ");
    // Told is that the last input is on its way; now the first has arrived.
    engine.watch(&["--kinds", "quote"]).next().unwrap();
    let seen = quotes_of(&engine, "", expected);
    let (status, health) = engine.health();
    assert_eq!(status, 200, "{health}");
    assert!(health["timestamp"].as_str().unwrap().starts_with("2014-04-30T12:0"), "{health}");
    let (ended_well, dir) = engine.stop();
    assert!(ended_well);
    assert_eq!(seen, journaled::<Quote>(&dir), "what is published, all of it");
    assert_eq!(seen.len(), expected, "and no more than the stages alone make");
    replay_check(&dir);

    let ticks = journaled::<Tick>(&dir);
    assert_eq!(ticks.len() as i64, LENGTH * 1000 / 130 + LENGTH * 1000 / 170);
    assert!(ticks.iter().all(|tick| tick.head.ts_publish_ns == tick.ts_recv_ns));
    assert!(seen.iter().all(|quote| (NOON..=NOON + LENGTH * SECOND).contains(&quote.head.ts_publish_ns)));
    let timers = journaled::<Timer>(&dir);
    assert!(timers.iter().all(|timer| timer.now_ns == timer.head.ts_publish_ns && timer.now_ns % (SECOND / 2) == 0));
    let first = Reader::open(&dir.path().join("state/journal"), None).unwrap().catalogue().clone();
    // The order of the manifest decides ties, here and when the journal is replayed.
    assert_eq!(first.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["zeta", "alpha"]);
    let clock = first.clock.unwrap();
    assert_eq!((clock.started_ns, clock.timer_ms), (NOON, 500));

    // Once more it would all be too late.
    let again = command(dir.path(), &config_of(&dir), &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("and the recording begins at 2014-04-30T12:00:00Z"), "{said}");
}

fn config_of(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("test.toml")
}

#[test]
fn private_sources_of_a_recording_stay_private_and_a_paced_one_is_left_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = journal(dir.path());
    let tokens = "[[fanout.tokens]]\nname = \"ann\"\ntoken = \"ann-secret\"\nuser = \"ann\"\n\
                  [[fanout.tokens]]\nname = \"bob\"\ntoken = \"bob-secret\"\nuser = \"bob\"\n";
    let config = format!("{QUIET}{tokens}");
    let mut engine = Engine::start_as(dir, &config, &["replay", &manifest, "--serve", "--speed", "0"]);
    engine.until_said("the recording has ended: ");
    let mut bob = engine.watch(&["--token", "bob-secret", "--sources", "*", "--kinds", "tick,quote"]);
    let record = bob.next().unwrap();
    assert!(!record.to_string().contains("anns"), "{record}");
    drop(bob);
    let (ended_well, dir) = engine.stop();
    assert!(ended_well);
    let header = Reader::open(&dir.path().join("state/journal"), None).unwrap().catalogue().clone();
    let owners: Vec<_> = header.sources.iter().map(|s| (s.id.0, s.owner.as_str())).collect();
    assert_eq!(owners, [(1, ""), (2, "ann")], "under the ids of this state directory");
    let (own, common): (Vec<_>, Vec<_>) = journaled::<Quote>(&dir).into_iter().partition(|q| q.head.source_id == 2);
    assert!(own.len() > 50 && common.len() > 50, "{} {}", own.len(), common.len());
    assert!(common.iter().all(|quote| quote.bid_source_id == 1), "the common price has nothing of Ann's");
    replay_check(&dir);

    // At the pace at which it happened it would take five minutes; a signal ends it wherever it is.
    let dir = tempfile::tempdir().unwrap();
    let manifest = journal(dir.path());
    let engine = Engine::start_as(dir, QUIET, &["replay", &manifest, "--serve"]);
    engine.watch(&["--kinds", "quote"]).next().unwrap();
    let (ended_well, dir) = engine.stop();
    assert!(ended_well);
    assert!(journaled::<Tick>(&dir).len() < LENGTH as usize * 4);
}

#[test]
fn with_exit_it_ends_by_itself_and_everything_is_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = lean(dir.path());
    let config = format!("[storage]\nmode = \"embedded\"\nlisten = \"127.0.0.1:{}\"\n", free_port());
    let config = QUIET.replace("[storage]\nmode = \"off\"\n", &config);
    std::fs::write(config_of(&dir), config).unwrap();
    let arguments = ["replay", &manifest, "--serve", "--speed", "0", "--exit"];
    let done = command(dir.path(), &config_of(&dir), &arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let quotes = journaled::<Quote>(&dir);
    let query = "select count(), min(ts_publish), max(seq) from quotes";
    let asked = command(dir.path(), &config_of(&dir), &["sql", query, "--format", "TSV"]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    let expected = format!("{}\t2014-04-30 12:00:00.", quotes.len());
    assert!(said.starts_with(&expected), "{said} {expected} {}", String::from_utf8_lossy(&asked.stderr));
    assert!(said.trim_end().ends_with(&quotes.last().unwrap().head.seq.to_string()), "{said}");
    replay_check(&dir);
    // Each minute of each source is judged, by the same ticks and quotes that the database has.
    let ticks = "SELECT source, symbol, toStartOfMinute(ts_recv) AS minute, count() AS n, avg(assumeNotNull(ask) - \
                 assumeNotNull(bid)) AS spread FROM ticks GROUP BY source, symbol, minute";
    let bids = "SELECT bid_source AS source, symbol, toStartOfMinute(ts_recv) AS minute, count() AS n FROM quotes \
                WHERE bid_source != '' GROUP BY source, symbol, minute";
    let query = format!(
        "SELECT count(), countIf(q.ticks = t.n AND abs(toFloat64(q.avg_spread) - t.spread) < 2e-9), \
         countIf(q.best_bid_count = b.n), countIf(q.uptime_percent > 99 AND q.completeness_percent > 99) \
         FROM source_quality AS q JOIN ({ticks}) AS t USING (source, symbol, minute) \
         LEFT JOIN ({bids}) AS b USING (source, symbol, minute)"
    );
    let asked = command(dir.path(), &config_of(&dir), &["sql", &query, "--format", "TSV"]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(said, "10\t10\t10\t10\n", "{}", String::from_utf8_lossy(&asked.stderr));
}

#[test]
fn who_is_told_a_second_time_to_stop_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = lean(dir.path());
    // Nobody listens there: what is journaled cannot be stored, and --exit waits for it.
    let server = format!("[storage]\nmode = \"server\"\nurl = \"http://127.0.0.1:{}\"\n", free_port());
    let config = QUIET.replace("[storage]\nmode = \"off\"\n", &server);
    let arguments = ["replay", &manifest, "--serve", "--speed", "0", "--exit"];
    let mut engine = Engine::start_as(dir, &config, &arguments);
    engine.until_said("waiting until everything is stored");
    assert_eq!(engine.interrupt_until_it_ends(), Some(130));
}
