//! What venues say of their symbols and accounts: asked of the simulated ones, by the adapters and by `tickwire venue`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

use tickwire::config::Config;
use tickwire::feeds::{self, SourceSpec};
use tickwire::market::Decimal9;
use tickwire::simulator::{self, SimulatorsHandle};
use tickwire_schemas::words::Cause;

const BROKERS: &str = "[simulators.oanda]\nbroker = \"oanda\"\ntoken = \"hunter2\"\naccount = \"101-004-1\"\n\
                       symbols = [\"EURUSD\", \"XAUUSD\", \"USDJPY\"]\n";

const EXCHANGES: [&str; 5] = ["binance", "binance_usdm", "bybit", "coinbase", "kraken"];

fn brokers() -> SimulatorsHandle {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(BROKERS, "brokers").unwrap();
    for name in EXCHANGES {
        let text = format!("[simulators.{name}]\nbroker = \"{name}\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n");
        config.overlay(&text, "exchanges").unwrap();
    }
    simulator::start(simulator::parse(&config).unwrap()).unwrap()
}

/// Sources that are connected to them.
fn sources(brokers: &SimulatorsHandle) -> String {
    let oanda = brokers.address("oanda").unwrap();
    let of = |name: &str, token: &str| {
        format!(
            "[sources.{name}]\nadapter = \"oanda\"\nbase_url = \"http://{oanda}\"\naccount = \"101-004-1\"\n\
             token = \"{token}\"\nsymbols = [\"EURUSD\"]\n"
        )
    };
    let exchange = |name: &str| {
        let at = brokers.address(name).unwrap();
        format!(
            "[sources.{name}]\nadapter = \"{name}\"\nbase_url = \"ws://{at}\"\nrest_url = \"http://{at}\"\n\
             symbols = [\"BTCUSDT\"]\n"
        )
    };
    let nothing = "[sources.nothing]\nadapter = \"kraken\"\nbase_url = \"ws://127.0.0.1:1\"\nsymbols = [\"BTCUSDT\"]\n";
    of("practice", "hunter2") + &of("stranger", "wrong-token") + nothing + &EXCHANGES.map(exchange).concat()
}

fn source(text: &str, name: &str) -> SourceSpec {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(text, "sources").unwrap();
    feeds::config::sources(&config).unwrap().into_iter().find(|spec| spec.name == name).unwrap()
}

fn decimal(text: &str) -> Decimal9 {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_account_is_read_exactly_and_adds_up() {
    let brokers = brokers();
    let spec = source(&sources(&brokers), "practice");
    assert!(spec.venue.capabilities().account && spec.venue.capabilities().symbols);
    let account = spec.venue.any_account().unwrap();
    let told = account.summary().await.unwrap();
    assert_eq!((told.currency.as_str(), told.balance, told.leverage), ("USD", decimal("100000"), Some(decimal("20"))));
    let (equity, margin, free) = (told.equity.unwrap(), told.margin.unwrap(), told.free_margin.unwrap());
    // Each is cut to four places by itself.
    assert!((equity.e9() - margin.e9() - free.e9()).abs() <= 100_000, "{told:?}");
    let [open] = &account.positions().await.unwrap()[..] else { panic!("one position") };
    assert_eq!((open.venue_symbol.as_str(), open.size), ("EUR_USD", decimal("1000")));
    assert!(open.open_price.is_some() && open.profit.is_some(), "{open:?}");
    brokers.stop();
}

#[tokio::test]
async fn symbols_are_listed_as_they_are_subscribed() {
    let brokers = brokers();
    let spec = source(&sources(&brokers), "practice");
    let told = spec.venue.any_symbol_list().unwrap().symbols().await.unwrap();
    let names: Vec<_> = told.iter().map(|s| (s.name.as_str(), s.digits.unwrap())).collect();
    assert_eq!(names, [("EUR_USD", 5), ("XAU_USD", 2), ("USD_JPY", 3)]);
    assert_eq!(told[0].description.as_deref(), Some("EUR/USD"));
    assert!(told.iter().any(|symbol| symbol.name == spec.symbols[0].venue));
    brokers.stop();
}

/// 200 requests of four connections at once, and a session that connects: the venue answers 120 in a second, and refuses
/// the others.
#[tokio::test]
async fn what_is_asked_of_a_host_stays_within_its_limit_whoever_asks() {
    let brokers = brokers();
    let specs: Vec<_> = (0..4).map(|_| source(&sources(&brokers), "practice")).collect();
    let asked = (0..200).map(|nth| {
        let venue = &specs[nth % 4].venue;
        async move {
            match nth % 3 {
                0 => venue.any_account().unwrap().summary().await.map(drop),
                1 => venue.any_account().unwrap().positions().await.map(drop),
                _ => venue.any_symbol_list().unwrap().symbols().await.map(drop),
            }
        }
    });
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    let stats = brokers.stats("oanda").unwrap();
    assert_eq!((stats.requests, stats.throttled), (200, 0));
    brokers.stop();
}

#[tokio::test]
async fn exchanges_list_what_is_traded_under_the_names_that_are_subscribed() {
    let brokers = brokers();
    for name in EXCHANGES {
        let spec = source(&sources(&brokers), name);
        let told = spec.venue.any_symbol_list().unwrap().symbols().await.unwrap();
        assert_eq!(told.len(), 2, "{name}: what is not traded is left out, and pages are joined: {told:?}");
        let found = told.iter().find(|symbol| symbol.name == spec.symbols[0].venue);
        assert_eq!(found.and_then(|symbol| symbol.digits), Some(2), "{name}: {told:?}");
        assert!(!spec.venue.capabilities().account, "{name}");
    }
    assert!(source(&sources(&brokers), "nothing").venue.any_symbol_list().is_none(), "without rest_url there is none");
    brokers.stop();
}

#[tokio::test]
async fn a_refusal_is_in_the_venues_words_and_without_the_token() {
    let brokers = brokers();
    let spec = source(&sources(&brokers), "stranger");
    let refused = spec.venue.any_account().unwrap().summary().await.unwrap_err();
    assert_eq!(refused.cause, Cause::LoginRefused);
    assert!(refused.text.contains("Insufficient authorization") && !refused.text.contains("wrong-token"), "{refused}");
    brokers.stop();
}

fn venue(config: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tickwire"))
        .arg("venue")
        .args(arguments)
        .arg("--config")
        .arg(config)
        .arg("--state-dir")
        .arg(config.with_file_name("state"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_command_prints_tables_json_and_what_is_wrong() {
    let brokers = brokers();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sources.toml");
    let instruments: String = [("EURUSD", "fx", 5, "0.0001"), ("BTCUSDT", "crypto", 2, "0.01")]
        .map(|(name, class, digits, pip)| {
            format!("[instruments.{name}]\nclass = \"{class}\"\ndigits = {digits}\npip = \"{pip}\"\n")
        })
        .concat();
    std::fs::write(&config, sources(&brokers) + &instruments).unwrap();

    let table = venue(&config, &["symbols", "--connection", "practice"]);
    assert!(table.status.success(), "{}", said(&table));
    assert_eq!(said(&table).lines().nth(2).unwrap(), "XAU_USD       2  XAU/USD");
    let table = said(&venue(&config, &["account", "--connection", "practice"]));
    assert!(table.contains("balance      100000 USD\n") && table.contains("EUR_USD"), "{table}");
    let json = venue(&config, &["account", "--connection", "practice", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["balance"], &json["positions"][0]["size"]), (&"100000".into(), &"1000".into()));

    for (what, connection, code, words) in [
        ("symbols", "nobody", 2, "no source is named \"nobody\", expected one of binance, binance_usdm, bybit"),
        ("symbols", "nothing", 2, "--connection: nothing has no list of symbols (adapter kraken"),
        ("account", "nothing", 2, "--connection: nothing has no account to look at (adapter kraken"),
        ("account", "stranger", 1, "stranger: HTTP 401 Unauthorized: Insufficient authorization"),
    ] {
        let output = venue(&config, &[what, "--connection", connection]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    brokers.stop();
}
