//! Connections kept in the state directory, by the program itself, over a simulated broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod engine_support;
mod simulator_support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use engine_support::{Engine, command};
use serde_json::Value;
use tempfile::TempDir;
use tickwire::simulator::SimulatorsHandle;

const CANARY: &str = "canary-8d2f77";

const CONFIG: &str = "[console]\nlisten = \"127.0.0.1:0\"\n[fanout]\nlisten = \"127.0.0.1:0\"\n[storage]\nmode = \"off\"\n\
                      [instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n";

struct Bench {
    simulators: SimulatorsHandle,
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let simulators = simulator_support::start(&format!(
            "[simulators.mtapi]\nbroker = \"mtapi\"\nuser = \"7\"\npassword = \"{CANARY}\"\nsymbols = [\"EURUSD\"]\n"
        ));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("test.toml"), CONFIG).unwrap();
        Bench { simulators, dir }
    }

    fn config(&self) -> std::path::PathBuf {
        self.dir.path().join("test.toml")
    }

    fn run(&self, arguments: &[&str], input: &str) -> (Option<i32>, String) {
        let mut child = command(self.dir.path(), &self.config(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(!text.contains(CANARY), "{arguments:?}: {text}");
        (out.status.code(), text)
    }

    fn add(&self, name: &str, secret: &str) -> (Option<i32>, String) {
        let url = format!("base_url=http://{}", self.simulators.address("mtapi").unwrap());
        let arguments = [
            "connections",
            "add",
            name,
            "--adapter",
            "mtapi",
            "--provider",
            "Demo Broker",
            "--symbols",
            "EURUSD",
            "--set",
            &url,
            "--set",
            "user=7",
            "--set",
            "server=Demo-Server",
            "--set",
            "broker_time=new-york-close",
            "--secret",
            "password",
        ];
        self.run(&arguments, &format!("{secret}\n"))
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments, "");
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }
}

#[test]
fn a_connection_is_made_tested_and_run_and_its_secret_is_shown_nowhere() {
    let mut bench = Bench::new();
    let (code, text) = bench.add("demo", CANARY);
    assert_eq!(code, Some(0), "{text}");
    let tested = bench.done(&["connections", "test", "demo"]);
    assert!(
        tested.contains("connected and subscribed after") && tested.contains("first price after another"),
        "{tested}"
    );
    let listed: Value = serde_json::from_str(&bench.done(&["connections", "list", "--json"])).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["name"] == "demo").unwrap();
    assert_eq!(
        (&row["is_active"], &row["secrets"], &row["adapter"], &row["origin"]),
        (&false.into(), &serde_json::json!(["password"]), &"mtapi".into(), &"database".into())
    );
    bench.done(&["connections", "activate", "demo"]);
    let engine = Engine::start_in(std::mem::replace(&mut bench.dir, tempfile::tempdir().unwrap()), CONFIG);
    engine.watch(&["--kinds", "tick"]).until(|record| record["source"] == "demo");
    let (ended, dir) = engine.stop();
    assert!(ended);
    bench.dir = dir;
    let log = bench.done(&["connections", "logs", "demo"]);
    // Whether it was seen live before the engine stopped is a matter of a second.
    let actions = log.lines().map(|line| line.split_whitespace().nth(1).unwrap());
    let done: Vec<_> = actions.filter(|action| !["connect", "disconnect"].contains(action)).collect();
    assert_eq!(done, ["activate", "test", "create"], "{log}");
    bench.done(&["vault", "rotate"]);
    bench.done(&["connections", "test", "demo"]);
    assert!(!holds(bench.dir.path(), CANARY), "in a file of the state directory");
}

/// Whether any file below a directory holds a text.
fn holds(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| match path.is_dir() {
        true => holds(&path, text),
        false => fs::read(&path).unwrap_or_default().windows(text.len()).any(|window| window == text.as_bytes()),
    })
}

#[test]
fn a_wrong_password_is_told_in_the_venues_words_and_can_be_set_right() {
    let bench = Bench::new();
    bench.add("demo", "wrong");
    let (code, text) = bench.run(&["connections", "test", "demo"], "");
    assert_eq!(code, Some(1));
    assert!(text.contains("INVALID_ACCOUNT") && text.contains("login_refused"), "{text}");
    let shown: Value = serde_json::from_str(&bench.done(&["connections", "show", "demo"])).unwrap();
    assert!(shown["last_error"].as_str().unwrap().contains("INVALID_ACCOUNT"), "{shown}");
    let (code, text) = bench.run(&["connections", "edit", "demo", "--secret", "password"], &format!("{CANARY}\n"));
    assert_eq!(code, Some(0), "{text}");
    bench.done(&["connections", "test", "demo"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_key_that_does_not() {
    let bench = Bench::new();
    let add = |more: &[&str]| {
        let mut arguments = vec!["connections", "add", "demo"];
        arguments.extend(more);
        let (code, text) = bench.run(&arguments, "");
        assert_eq!(code, Some(2), "{text}");
        text
    };
    let unknown = add(&["--adapter", "nonsense", "--symbols", "EURUSD"]);
    assert!(unknown.contains("unknown adapter \"nonsense\", expected one of"), "{unknown}");
    let missing = add(&["--adapter", "mtapi", "--symbols", "EURUSD"]);
    assert!(missing.contains("missing field `base_url`"), "{missing}");
    let open = add(&["--adapter", "mtapi", "--set", &format!("password={CANARY}")]);
    assert!(open.contains("--set password: is a secret, expected --secret password"), "{open}");
    let file = {
        let (code, text) = bench.add("demo", "file:/etc/shadow");
        assert_eq!(code, Some(2));
        text
    };
    assert!(file.contains("password: refers to a secret elsewhere"), "{file}");
    assert!(bench.done(&["connections", "list", "--json"]).trim() == "[]");
}

#[test]
fn one_that_cannot_be_a_source_does_not_keep_the_engine_from_the_others() {
    let bench = Bench::new();
    bench.add("demo", CANARY);
    bench.done(&["connections", "activate", "demo"]);
    let section = "[sources.demo]\nadapter = \"binance\"\nbase_url = \"ws://127.0.0.1:1\"\nsymbols = [\"EURUSD\"]\n";
    fs::write(bench.config(), [CONFIG, section].concat()).unwrap();
    let checked = bench.done(&["check-config"]);
    let expected = "connection demo is left out: the configuration has a section [sources.demo] too";
    assert!(checked.contains(expected), "{checked}");
    let (code, text) = bench.run(&["connections", "deactivate", "demo"], "");
    assert_eq!(code, Some(2));
    assert!(text.contains("stands in a configuration file"), "{text}");
}

#[test]
fn symbols_that_nobody_configured_become_instruments() {
    let bench = Bench::new();
    bench.add("demo", CANARY);
    bench.done(&["connections", "edit", "demo", "--symbols", "EURUSD,USDJPY=USDJPY.m,BTCUSDT"]);
    let (code, text) = bench.run(&["connections", "edit", "demo", "--symbols", "NONSENSE"], "");
    assert_eq!(code, Some(2));
    assert!(text.contains("instruments.NONSENSE: NONSENSE is no instrument that is known"), "{text}");
    bench.done(&["connections", "edit", "demo", "--symbols", "GERMANY40", "--instrument", "GERMANY40=index:1:0.1"]);
    bench.done(&["connections", "activate", "demo"]);
    let checked = bench.done(&["check-config"]);
    for section in ["[instruments.USDJPY]", "[instruments.BTCUSDT]", "[instruments.GERMANY40]", "[sources.demo]"] {
        assert!(checked.contains(section), "{section}: {checked}");
    }
}

#[test]
fn what_the_venue_knows_is_asked_of_it() {
    let bench = Bench::new();
    bench.add("demo", CANARY);
    let symbols = bench.done(&["connections", "symbols", "demo", "--search", "eur", "--json"]);
    let symbols: Value = serde_json::from_str(&symbols).unwrap();
    assert_eq!((&symbols[0]["venue"], &symbols[0]["canonical"]), (&"EURUSD".into(), &"EURUSD".into()));
    let account: Value = serde_json::from_str(&bench.done(&["connections", "account", "demo", "--json"])).unwrap();
    assert!(account["id"] == "7" && account["balance"].is_string(), "{account}");
    let positions: Value = serde_json::from_str(&bench.done(&["connections", "positions", "demo", "--json"])).unwrap();
    assert!(positions.is_array());
}

#[test]
fn logs_of_what_never_was_and_removal_without_a_word_about_the_data_are_refused() {
    let bench = Bench::new();
    let (code, text) = bench.run(&["connections", "logs", "nosuch"], "");
    assert_eq!(code, Some(2));
    assert!(text.contains("there is no connection named \"nosuch\""), "{text}");
    bench.add("demo", CANARY);
    let (code, text) = bench.run(&["connections", "remove", "demo"], "");
    assert_eq!(code, Some(2));
    assert!(text.contains("--data keep or --data delete"), "{text}");
    bench.done(&["connections", "remove", "demo", "--data", "keep"]);
    let log = bench.done(&["connections", "logs", "demo"]);
    assert!(log.lines().next().unwrap().contains("remove"), "{log}");
}

/// A crypto venue: it is open on all days.
const CRYPTO: &str =
    "[simulators.coins]\nbroker = \"binance\"\nlisten = \"127.0.0.1:PORT\"\nsymbols = [\"BTCUSDT\", \"ETHUSDT\"]\n";

#[test]
fn a_running_engine_takes_changes_up_at_once_and_leaves_the_others_alone() {
    let port = engine_support::free_port();
    let steady = format!(
        "[instruments.ETHUSDT]\nclass = \"crypto\"\ndigits = 2\npip = \"0.01\"\n[sources.steady]\nadapter = \"binance\"\n\
         base_url = \"ws://127.0.0.1:{port}\"\nsymbols = [\"ETHUSDT\"]\n"
    );
    let config = [CONFIG, &CRYPTO.replace("PORT", &port.to_string()), &steady].concat();
    let engine = Engine::start(&config);
    engine.watch(&["--kinds", "tick"]).until(|record| record["source"] == "steady");
    let run = |arguments: &[&str]| {
        let out = command(engine.dir.path(), &engine.config, arguments).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {text}");
        text
    };
    let url = format!("base_url=ws://127.0.0.1:{port}");
    let add = ["connections", "add", "coins", "--adapter", "binance", "--symbols", "BTCUSDT", "--set", &url];
    run(&add);
    let told = run(&["connections", "activate", "coins"]);
    assert!(told.contains("sources.coins: added") && told.contains("instruments.BTCUSDT: added"), "{told}");
    engine.watch(&["--kinds", "tick"]).until(|record| record["source"] == "coins" && record["symbol"] == "BTCUSDT");
    let status = |wanted: &str| {
        let shown = || serde_json::from_str::<Value>(&run(&["connections", "show", "coins"])).unwrap();
        assert!((0..2_000).any(|_| shown()["status"] == wanted), "{wanted}: {}", shown());
    };
    status("active");
    let told = run(&["connections", "edit", "coins", "--symbols", "BTCUSDT,ETHUSDT"]);
    assert!(told.contains("sources.coins: changed"), "{told}");
    engine.watch(&["--kinds", "tick"]).until(|record| record["source"] == "coins" && record["symbol"] == "ETHUSDT");
    let told = run(&["connections", "deactivate", "coins", "--no-reload"]);
    assert!(!told.contains("removed"), "{told}");
    let told = run(&["reload"]);
    assert!(told.contains("sources.coins: removed"), "{told}");
    status("inactive");
    // The other was never touched.
    let (_, health) = engine.health();
    assert_eq!(health["broker_connections"]["steady"]["reconnects"], 0, "{health}");
    run(&["connections", "remove", "coins", "--data", "keep"]);
    let (ended, _dir) = engine.stop();
    assert!(ended);
}
