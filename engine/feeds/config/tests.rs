#![allow(clippy::unwrap_used)]
use super::*;

fn config(text: &str) -> Config {
    let mut config = Config::load(&[], std::iter::empty()).unwrap();
    config.overlay(text, "a.toml").unwrap();
    config
}

const OANDA: &str = "adapter = \"oanda\"\nbase_url = \"http://127.0.0.1:1\"\naccount = \"1-2\"\ntoken = \"t\"\n";

fn parse(keys: &str) -> Result<Vec<SourceSpec>, ConfigError> {
    sources(&config(&format!("[sources.one]\n{keys}")))
}

fn error(keys: &str) -> String {
    parse(keys).unwrap_err().to_string()
}

#[test]
fn symbols_are_a_list_with_the_venues_usual_names_or_a_table() {
    let names = |keys: &str| {
        let specs = parse(keys).unwrap().remove(0).symbols;
        specs.into_iter().map(|s| (s.canonical, s.venue)).collect::<Vec<_>>()
    };
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    assert_eq!(
        names(&format!("{OANDA}symbols = [\"EURUSD\", \"XAUUSD\"]")),
        [pair("EURUSD", "EUR_USD"), pair("XAUUSD", "XAU_USD")]
    );
    assert_eq!(names(&format!("{OANDA}symbols = {{ EURUSD = \"EURUSD.m\" }}")), [pair("EURUSD", "EURUSD.m")]);
    let binance = "adapter = \"binance\"\nbase_url = \"ws://127.0.0.1:1/\"\nsymbols = [\"BTCUSDT\"]";
    assert_eq!(names(binance), [pair("BTCUSDT", "btcusdt")]);
}

#[test]
fn a_source_without_further_keys_is_global_and_has_the_documented_intervals() {
    let spec = parse(&format!("{OANDA}symbols = [\"EURUSD\"]")).unwrap().remove(0);
    assert_eq!((spec.scope, spec.owner.as_str(), spec.priority, spec.venue.name()), (Scope::Global, "", 100, "oanda"));
    assert_eq!((spec.pace.liveness_ns, spec.pace.mute_reconnect_ns), (10_000_000_000, 30_000_000_000));
    let caps = spec.venue.capabilities();
    assert!(caps.stream && caps.history && !caps.account && !caps.symbols);
}

#[test]
fn a_private_source_has_an_owner() {
    let private = |keys: &str| parse(&format!("{OANDA}symbols = [\"EURUSD\"]\n{keys}"));
    let spec = private("scope = \"private\"\nowner = \"ann\"").unwrap().remove(0);
    assert_eq!((spec.scope, spec.owner.as_str()), (Scope::Private, "ann"));
    assert!(private("scope = \"private\"").unwrap_err().to_string().contains("sources.one.owner: is missing"));
    assert!(
        private("owner = \"ann\"").unwrap_err().to_string().contains("sources.one.owner: a global source has no owner")
    );
}

#[test]
fn errors_name_the_key_and_what_was_expected() {
    let with = |keys: &str| format!("{OANDA}symbols = [\"EURUSD\"]\n{keys}");
    for (keys, says) in [
        ("symbols = []".to_string(), "sources.one.adapter: is missing, expected one of oanda, mtapi, binance"),
        ("adapter = \"onada\"".into(), "a.toml: sources.one.adapter: unknown adapter \"onada\", expected one of oanda"),
        ("adapter = \"oanda\"\nsymbols = [\"EURUSD\"]".into(), "missing field `base_url`"),
        (OANDA.into(), "sources.one.symbols: is missing; expected a list"),
        (format!("{OANDA}symbols = []"), "sources.one.symbols: 0 symbols, expected at least one"),
        (format!("{OANDA}symbols = [5]"), "sources.one.symbols: 5 is not a symbol; expected a list"),
        (format!("{OANDA}symbols = [\"EURUSD\", \"EURUSD\"]"), "sources.one.symbols: EURUSD (EUR_USD) is named twice"),
        (with("livenes_ms = 5"), "a.toml: sources.one.livenes_ms: unknown field `livenes_ms`, expected one of `base_url`"),
        (with("livenes_ms = 5"), "every source also knows adapter, symbols, scope"),
        (with("liveness_ms = \"often\""), "a.toml: sources.one.liveness_ms: invalid type: string \"often\", expected u32"),
        (with("liveness_ms = 0"), "sources.one.liveness_ms: 0 ms, expected at least 1"),
        (with("backoff_max_ms = 5"), "sources.one.backoff_max_ms: 5 ms, expected at least backoff_min_ms, which is 500"),
        (with("scope = \"public\""), "sources.one.scope: unknown variant `public`, expected `global` or `private`"),
        (with("").replace("http://127.0.0.1:1", "127.0.0.1"), "sources.one.base_url: \"127.0.0.1\" is not a base URL, expected http://"),
        (with("").replace("1-2", "a/b"), "sources.one.account: \"a/b\" is not an account id"),
        ("adapter = \"mtapi\"\nbase_url = \"http://h\"\nuser = \"1\"\npassword = \"p\"\nserver = \"s\"\nbroker_time = \"EET\"\nsymbols = [\"EURUSD\"]".into(),
            "sources.one.broker_time: \"EET\" is not a broker time, expected \"new-york-close\""),
    ] {
        let error = error(&keys);
        assert!(error.contains(says), "{keys}\n{error}\ndoes not say\n{says}");
    }
    let name = sources(&config("[sources.Best]\nadapter = \"oanda\"")).unwrap_err().to_string();
    assert!(name.contains("sources.Best: the name of a source"), "{name}");
}

#[test]
fn ingest_is_checked() {
    let ingest = |text: &str| super::ingest(&config(text)).map_err(|e| e.to_string());
    let good = ingest("[ingest]\nthreads = 0\ncores = [1]\ntimer_ms = 10").unwrap();
    assert_eq!((good.thread_count(), good.cores, good.timer_ms), (1, vec![1], 10));
    assert!(
        ingest("[ingest]\nthreads = 0\ncores = []\ntimer_ms = 0")
            .unwrap_err()
            .contains("ingest.timer_ms: 0 ms, expected 1 to 1000")
    );
    assert!(
        ingest("[ingest]\ncores = [4096]").unwrap_err().contains("ingest.cores: no core 4096, expected numbers below")
    );
    assert!(ingest("[ingest]\nthread = 1").unwrap_err().contains("ingest.thread: unknown field"));
}

#[test]
fn the_common_keys_are_those_of_the_struct() {
    // The adapter's own keys are what is not in this list: the two must not drift apart.
    let unknown = serde_path_to_error::deserialize::<_, Common>(toml::Value::Table(
        [("?".into(), 1.into())].into_iter().collect(),
    ));
    let text = unknown.unwrap_err().to_string();
    assert!(COMMON_KEYS.iter().all(|key| text.contains(&format!("`{key}`"))), "{text}");
    assert_eq!(text.matches('`').count() / 2 - 1, COMMON_KEYS.len(), "{text}");
}

#[test]
fn symbols_over_one_connection_are_as_many_as_configured_and_no_more_than_the_adapter_carries() {
    let names = |count: u32| (0..count).map(|n| format!("\"S{n:05}\"")).collect::<Vec<_>>().join(", ");
    let with = |count, keys: &str| parse(&format!("{OANDA}symbols = [{}]\n{keys}", names(count)));
    let of = |keys: &str| with(1_200, keys).unwrap().remove(0).connection_symbols;
    assert_eq!((of(""), of("connection_symbols = 100")), (500, 100));
    let error = |count, keys| with(count, keys).unwrap_err().to_string();
    assert!(
        error(1, "connection_symbols = 501")
            .contains("sources.one.connection_symbols: 501 symbols, expected at most 500")
    );
    let many = "sources.one.symbols: 200 symbols need 200 connections of 1, expected at most 64";
    assert!(error(200, "connection_symbols = 1").contains(many));
}

#[test]
fn only_other_symbols_leave_the_settings_what_they_are() {
    let of = |keys: &str| parse(&format!("{OANDA}{keys}")).unwrap().remove(0).settings;
    assert_eq!(of("symbols = [\"EURUSD\"]"), of("symbols = [\"GBPUSD\", \"EURUSD\"]"));
    assert_ne!(of("symbols = [\"EURUSD\"]"), of("symbols = [\"EURUSD\"]\npriority = 7"));
}

#[test]
fn who_stands_in_for_whom_is_there_and_has_an_end() {
    let source = |name: &str, first: &str| {
        format!("[sources.{name}]\n{OANDA}symbols = [\"EURUSD\"]\nstandby_for = \"{first}\"\n")
    };
    let of = |parts: &[(&str, &str)]| {
        let text: String = parts.iter().map(|(name, first)| source(name, first)).collect();
        sources(&config(&text)).map_err(|e| e.to_string())
    };
    let specs = of(&[("a", ""), ("b", "a"), ("c", "b")]).unwrap();
    assert_eq!(specs[0].standby, None);
    let expected = StandbySpec { of: "a".into(), failover_ns: 5_000_000_000, return_ns: 60_000_000_000 };
    assert_eq!(specs[1].standby, Some(expected));
    let circle = of(&[("a", "c"), ("b", "a"), ("c", "b")]).unwrap_err();
    assert!(circle.contains("sources.a.standby_for: a circle (a for c for b for a), expected a first"), "{circle}");
    let nobody = of(&[("a", "z")]).unwrap_err();
    assert!(nobody.contains("sources.a.standby_for: no source \"z\""), "{nobody}");
}
