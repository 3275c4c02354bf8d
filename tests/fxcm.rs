//! FXCM's requests against its simulator: tables, past bars, limits and refusals; and both sides against a socket.io that is
//! not ours.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tickwire::clock;
use tickwire::config::Config;
use tickwire::feeds::{self, Feed, IngestConfig, InletMaker, SourceSpec};
use tickwire::market::{Decimal9, Input, InstrumentId, SourceId};
use tickwire::metrics;
use tickwire::ring::Inlet;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::words::{Cause, Timeframe};
use tokio::sync::watch;

const MINUTE_NS: i64 = 60_000_000_000;
/// A Tuesday, 2024-03-05 10:00 UTC.
const TUESDAY_NS: i64 = 1_709_632_800_000_000_000;

fn broker(more: &str) -> SimulatorsHandle {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let text = format!(
        "[simulators.fxcm]\nbroker = \"fxcm\"\ntoken = \"hunter2\"\nsymbols = [\"EURUSD\", \"USDJPY\"]\n{more}"
    );
    config.overlay(&text, "brokers").unwrap();
    simulator::start(simulator::parse(&config).unwrap()).unwrap()
}

fn source(at: &str, more: &str) -> SourceSpec {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    let text = format!(
        "[sources.fxcm]\nadapter = \"fxcm\"\nbase_url = \"http://{at}\"\nsymbols = [\"EURUSD\", \"USDJPY\"]\n{more}"
    );
    config.overlay(&text, "sources").unwrap();
    feeds::config::sources(&config).unwrap().remove(0)
}

fn connected(brokers: &SimulatorsHandle, more: &str) -> SourceSpec {
    source(&brokers.address("fxcm").unwrap().to_string(), &format!("token = \"hunter2\"\n{more}"))
}

fn decimal(text: &str) -> Decimal9 {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_account_and_what_is_open_are_read_exactly() {
    let brokers = broker("");
    for version in [3, 4] {
        let spec = connected(&brokers, &format!("engine_io = {version}\ncurrency = \"USD\""));
        let account = spec.venue.any_account().unwrap();
        let told = account.summary().await.unwrap();
        assert_eq!((told.currency.as_str(), told.balance, told.margin), ("USD", decimal("50000"), Some(decimal("52"))));
        let (equity, free) = (told.equity.unwrap(), told.free_margin.unwrap());
        assert_eq!(equity.e9() - free.e9(), decimal("52").e9(), "{told:?}");
        let [open] = &account.positions().await.unwrap()[..] else { panic!("one position") };
        assert_eq!((open.venue_symbol.as_str(), open.size), ("EUR/USD", decimal("-2000")));
        assert_eq!((open.id.as_deref(), open.open_price), (Some("122743073"), Some(decimal("1.085"))));
    }
    let named = connected(&brokers, "account = \"01027808\"");
    assert!(named.venue.any_account().unwrap().summary().await.is_ok(), "by its name");
    let other = connected(&brokers, "account = \"77\"");
    let refused = other.venue.any_account().unwrap().summary().await.unwrap_err();
    assert_eq!(refused.text, "account: the venue has no \"77\", expected one of 1027808");
    assert!(other.venue.any_account().unwrap().positions().await.unwrap().is_empty());
    brokers.stop();
}

#[tokio::test]
async fn instruments_have_the_digits_of_their_offers() {
    let brokers = broker("");
    let spec = connected(&brokers, "");
    let told = spec.venue.any_symbol_list().unwrap().symbols().await.unwrap();
    let names: Vec<_> = told.iter().map(|symbol| (symbol.name.as_str(), symbol.digits)).collect();
    assert_eq!(names, [("EUR/USD", Some(5)), ("USD/JPY", Some(3))]);
    assert!(told.iter().any(|symbol| symbol.name == spec.symbols[0].venue));
    brokers.stop();
}

#[tokio::test]
async fn past_bars_are_whole_and_over_one_socket() {
    let brokers = broker("history_holes = [\"2024-03-05T11:00:00/2024-03-05T11:10:00\"]");
    let spec = connected(&brokers, "");
    let history = spec.venue.any_history().unwrap();
    let minutes = history.bars("EUR/USD", Timeframe::M1, TUESDAY_NS, TUESDAY_NS + 120 * MINUTE_NS).await.unwrap();
    assert_eq!((minutes.len(), minutes[0].open_ts_ns), (110, TUESDAY_NS));
    assert_eq!(minutes.last().unwrap().open_ts_ns, TUESDAY_NS + 119 * MINUTE_NS, "the end is not part of it");
    assert!(minutes.iter().all(|bar| bar.bid.low_e9 < bar.ask.high_e9 && bar.bid.high_e9 >= bar.bid.open_e9));
    let hours = history.bars("EUR/USD", Timeframe::H1, TUESDAY_NS, TUESDAY_NS + 60 * MINUTE_NS).await.unwrap();
    let [hour] = &hours[..] else { panic!("{hours:?}") };
    assert_eq!((hour.bid.open_e9, hour.ask.close_e9), (minutes[0].bid.open_e9, minutes[59].ask.close_e9));
    assert_eq!(hour.ticks, minutes[..60].iter().map(|bar| bar.ticks).sum::<u64>());

    let unknown = history.bars("GBP/USD", Timeframe::M1, TUESDAY_NS, TUESDAY_NS + MINUTE_NS).await.unwrap_err();
    assert!(unknown.text.starts_with("GBP/USD is not in the venue's table of offers"), "{unknown}");
    let long = history.bars("EUR/USD", Timeframe::H4, TUESDAY_NS, TUESDAY_NS + MINUTE_NS).await.unwrap_err();
    assert!(!history.has(Timeframe::H4) && long.text == "the venue has no bars of H4", "{long}");
    assert_eq!(brokers.stats("fxcm").unwrap().sessions, 1, "one socket for all of them");
    history.close().await.unwrap();
    while brokers.stats("fxcm").unwrap().subscribers > 0 {
        tokio::task::yield_now().await;
    }

    // A socket that is gone is opened again.
    assert_eq!(history.bars("EUR/USD", Timeframe::M1, TUESDAY_NS, TUESDAY_NS + MINUTE_NS).await.unwrap().len(), 1);
    brokers.drop_connections("fxcm");
    while brokers.stats("fxcm").unwrap().subscribers > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(history.bars("EUR/USD", Timeframe::M1, TUESDAY_NS, TUESDAY_NS + MINUTE_NS).await.unwrap().len(), 1);
    brokers.stop();
}

#[tokio::test]
async fn refusals_are_in_the_venues_words_and_without_the_token() {
    let brokers = broker("requests_per_s = 1");
    let stranger = source(&brokers.address("fxcm").unwrap().to_string(), "token = \"wrong-token\"");
    let refused = stranger.venue.any_account().unwrap().summary().await.unwrap_err();
    assert_eq!((refused.cause, refused.text.as_str()), (Cause::LoginRefused, "\"Authentication error\""));
    let eager = connected(&brokers, "ping_ms = 90000");
    let refused = eager.venue.any_account().unwrap().summary().await.unwrap_err();
    assert_eq!(refused.text, "ping_ms: 90000, expected less than 85000, after which the venue hangs up");

    let spec = connected(&brokers, "");
    let history = spec.venue.any_history().unwrap();
    let now_ns = clock::now_ns();
    let too_many = loop {
        if let Err(failure) = history.bars("EUR/USD", Timeframe::M1, now_ns - MINUTE_NS, now_ns).await {
            break failure;
        }
    };
    assert_eq!((too_many.cause, too_many.text.as_str()), (Cause::RateLimited, "ORA-20301: Too many requests"));
    history.close().await.unwrap();
    brokers.stop();
}

fn python(script: &str) -> Command {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = folder.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `scripts/get-venv`", python.display());
    let mut command = Command::new(python);
    command.arg(folder.join("tests/python").join(script));
    command
}

#[test]
fn a_client_that_we_did_not_write_is_content() {
    let brokers = broker("");
    let output = python("fxcm_client.py").arg(brokers.address("fxcm").unwrap().to_string()).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim() == "ok", "{said}{complained}");
    brokers.stop();
}

struct Tap(mpsc::Sender<Input>);

impl Inlet for Tap {
    fn offer(&self, input: &Input) {
        // The receiver is gone when the test has seen enough.
        let _ = self.0.send(*input);
    }
}

#[test]
fn a_server_that_we_did_not_write_is_heard_and_pinged() {
    let mut venue =
        python("fxcm_venue.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the venue starts");
    let mut port = String::new();
    BufReader::new(venue.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let at = format!("127.0.0.1:{}", port.trim());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let account = source(&at, "token = \"hunter2\"\nping_ms = 100");
    let told = runtime.block_on(account.venue.any_account().unwrap().summary()).unwrap();
    assert_eq!((told.balance, told.equity), (decimal("39208.63"), Some(decimal("39210.26234"))));
    let stranger = source(&at, "token = \"wrong-token\"\nping_ms = 100");
    let refused = runtime.block_on(stranger.venue.any_account().unwrap().summary()).unwrap_err();
    assert!(refused.cause == Cause::LoginRefused && !refused.text.contains("wrong-token"), "{refused}");

    let (sender, inputs) = mpsc::channel();
    let (stop, stopped) = watch::channel(false);
    let inlet: InletMaker = Box::new(move || Box::new(Tap(sender)));
    let ingest = IngestConfig { threads: 0, cores: Vec::new(), timer_ms: 1_000, snapshot_every_ms: 0 };
    let spec = source(&at, "token = \"hunter2\"\nping_ms = 100");
    let feed = Feed { spec, source: SourceId(1), index: 0, instruments: vec![InstrumentId(1), InstrumentId(2)] };
    let feeds = feeds::start(vec![feed], &ingest, vec![inlet], stopped).unwrap();
    // Some 1.6 s of prices, twice as long as the venue waits for a ping.
    let mut ticks = [0; 2];
    while ticks.iter().sum::<u32>() < 160 {
        if let Input::Tick(tick) = inputs.recv_timeout(Duration::from_secs(30)).expect("prices go on") {
            ticks[tick.head.instrument_id as usize - 1] += 1;
            assert!(tick.bid_e9 < tick.ask_e9 && (tick.ts_recv_ns - tick.ts_event_ns).abs() < 60_000_000_000);
        }
    }
    assert!(ticks[0].abs_diff(ticks[1]) <= 1, "{ticks:?}");
    assert_eq!((feeds.statuses()[0].reconnects(), metrics::DECODE_ERRORS.at(0, 0).get()), (0, 0));
    stop.send(true).unwrap();
    feeds.join();
    // The venue ends with its standard input.
    drop(venue.stdin.take());
    assert!(venue.wait().unwrap().success());
}
