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

fn brokers() -> SimulatorsHandle {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(BROKERS, "brokers").unwrap();
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
    of("practice", "hunter2")
        + &of("stranger", "wrong-token")
        + "[sources.nothing]\nadapter = \"kraken\"\nbase_url = \"ws://127.0.0.1:1\"\nsymbols = [\"BTCUSDT\"]\n"
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
        ("symbols", "nobody", 2, "no source is named \"nobody\", expected one of nothing, practice, stranger"),
        ("account", "nothing", 2, "--connection: nothing has no account to look at (adapter kraken"),
        ("account", "stranger", 1, "stranger: HTTP 401 Unauthorized: Insufficient authorization"),
    ] {
        let output = venue(&config, &[what, "--connection", connection]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    brokers.stop();
}
