#![allow(clippy::unwrap_used, clippy::field_reassign_with_default)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

const CANARY: &str = "canary-27d0aa";

/// An engine that does as it is told.
#[derive(Default)]
struct Told {
    refuses: Mutex<Option<String>>,
    erases: Mutex<Option<Result<u64, String>>>,
}

impl Engine for Told {
    fn base(&self) -> Result<Config, String> {
        let mut config = Config::load(&[], std::iter::empty()).map_err(|e| e.to_string())?;
        let text = "[instruments.EURUSD]\nclass = \"fx\"\ndigits = 5\npip = \"0.0001\"\n[sources.file]\nadapter = \"mtapi\"\n\
                    base_url = \"https://a.example\"\nuser = \"1\"\nserver = \"S\"\nbroker_time = \"utc\"\npassword = \"env:P\"\n\
                    session = \"file:/s\"\nsymbols = [\"EURUSD\"]\n";
        config.overlay(text, "test").map_err(|e| e.to_string())?;
        Ok(config)
    }

    fn runs(&self) -> bool {
        true
    }

    fn connections_changed(&self) -> Result<Vec<String>, String> {
        let lines = ["sources.demo: added", "sources.other: needs a restart", "journal.x: needs a restart"];
        match &*self.refuses.lock().unwrap() {
            Some(problem) => Err(problem.clone()),
            None => Ok(lines.map(String::from).to_vec()),
        }
    }

    fn erase(&self, _source: &str) -> Result<u64, String> {
        self.erases.lock().unwrap().clone().unwrap_or(Ok(0))
    }
}

struct Bench {
    engine: Arc<Told>,
    service: Service,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Arc::new(Told::default()));
    let told: Arc<dyn Engine> = Arc::clone(&engine) as Arc<dyn Engine>;
    Bench { service: Service::new(dir.path(), told), engine, _dir: dir }
}

fn wanted(config: Json, secrets: &[(&str, &str)], symbols: &[(&str, &str)]) -> Wanted {
    let mut wanted = Wanted::default();
    wanted.config = config.as_object().unwrap().clone();
    wanted.secrets = secrets.iter().map(|(key, secret)| ((*key).into(), (*secret).into())).collect();
    let symbols: BTreeMap<_, _> = symbols.iter().map(|(a, b)| ((*a).to_string(), (*b).to_string())).collect();
    wanted.symbols = Some(symbols).filter(|symbols| !symbols.is_empty());
    wanted
}

fn mtapi() -> Wanted {
    let config = json!({ "base_url": "https://a.example", "user": "7", "server": "S", "broker_time": "utc" });
    wanted(config, &[("password", CANARY)], &[("EURUSD", "")])
}

fn create(bench: &Bench, wanted: &Wanted) -> Result<Connection, ServiceError> {
    bench.service.create("demo", "", "mtapi", wanted, &Limits::default())
}

/// The field and the sentence of a refusal, which never holds the secret.
fn refused<T>(outcome: Result<T, ServiceError>) -> String {
    let error = outcome.err().unwrap();
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    match error {
        ServiceError::Wrong { field, message } => format!("{field}: {message}"),
        other => other.to_string(),
    }
}

#[test]
fn what_is_made_is_shown_without_its_secrets_and_what_engines_say_of_others_is_not_told() {
    let bench = bench();
    let made = create(&bench, &mtapi()).unwrap();
    assert_eq!((made.secrets.as_slice(), made.symbols["EURUSD"].as_str()), (&["password".to_string()][..], "EURUSD"));
    assert!(!serde_json::to_string(&made).unwrap().contains(CANARY));
    assert_eq!(made.config["server"], "S");
    let changed = bench.service.activate("demo", &Limits::default()).unwrap();
    assert_eq!(changed.changes, ["sources.demo: added"]);
    assert!(changed.connection.is_active);
    let all = bench.service.list().unwrap();
    let file = all.iter().find(|c| c.name == "file").unwrap();
    assert_eq!(
        (file.origin, file.secrets.as_slice()),
        (Origin::Configuration, &["password".to_string(), "session".into()][..])
    );
    assert!(!serde_json::to_string(file).unwrap().contains("file:/s"));
    assert!(matches!(bench.service.deactivate("file"), Err(ServiceError::ReadOnly(_))));
    assert!(matches!(
        bench.service.create("file", "", "mtapi", &mtapi(), &Limits::default()),
        Err(ServiceError::NameTaken(_))
    ));
}

#[test]
fn what_the_engine_refuses_is_not_wanted_and_what_cannot_be_erased_stays() {
    let bench = bench();
    create(&bench, &mtapi()).unwrap();
    *bench.engine.refuses.lock().unwrap() = Some("no room".into());
    assert_eq!(refused(bench.service.activate("demo", &Limits::default())), "no room");
    assert!(!bench.service.get("demo").unwrap().is_active);
    *bench.engine.refuses.lock().unwrap() = None;
    *bench.engine.erases.lock().unwrap() = Some(Err("the database is away".into()));
    assert!(refused(bench.service.remove("demo", Data::Delete)).contains("so it stays: the database is away"));
    *bench.engine.erases.lock().unwrap() = Some(Ok(42));
    assert_eq!(bench.service.remove("demo", Data::Delete).unwrap(), 42);
    assert!(matches!(bench.service.get("demo"), Err(ServiceError::NotFound(_))));
    let log = bench.service.logs("demo", &LogFilter { limit: 10, ..LogFilter::default() }).unwrap();
    let told: Vec<_> = log.iter().map(|(_, entry)| (entry.action.as_str(), entry.succeeded)).collect();
    assert_eq!(told, [("remove", true), ("remove", false), ("activate", false), ("create", true)]);
    assert_eq!(log[0].1.metadata["rows"], 42);
}

#[test]
fn secrets_in_the_wrong_place_and_references_are_refused_without_being_repeated() {
    let bench = bench();
    let with = |key: &str, value: Json| {
        let mut wanted = mtapi();
        wanted.config.insert(key.into(), value);
        refused(create(&bench, &wanted))
    };
    let at = with("base_url", format!("https://me:{CANARY}@a.example").into());
    assert!(at.starts_with("base_url: has a name or password"), "{at}");
    let query = with("stream_url", format!("wss://a.example/?token={CANARY}").into());
    assert!(query.starts_with("stream_url: has a secret in token"), "{query}");
    for reference in ["env:HOME", "file:/etc/shadow", "vault:/s#other#password#1"] {
        let told = with("session", reference.into());
        assert!(told.starts_with("session: refers to a secret elsewhere"), "{told}");
        let told = with("password", reference.into());
        assert!(told.starts_with("password: refers to a secret elsewhere"), "{told}");
        let secret = wanted(json!({}), &[("session", reference)], &[]);
        create(&bench, &mtapi()).ok();
        let told = refused(bench.service.edit("demo", &secret, &Limits::default()));
        assert!(told.starts_with("session: refers to a secret elsewhere"), "{told}");
        bench.service.remove("demo", Data::Keep).unwrap();
    }
    let header = wanted(
        json!({ "url": "wss://a.example", "fields": { "symbol": "s", "bid": "b" }, "headers": { "X-Auth": CANARY } }),
        &[],
        &[("EURUSD", "")],
    );
    let told = refused(bench.service.create("any", "", "json-ws", &header, &Limits::default()));
    assert!(told.starts_with("headers.X-Auth: is a secret"), "{told}");
    // One with a place for it is as it should be, and stays readable.
    let config = json!({
        "url": "wss://a.example", "fields.symbol": "s", "fields.bid": "b", "headers": { "X-Api-Key": "{secret:token}" },
        "subscribe": "{\"a\":\"{symbol}\"}\n{\"b\":1}",
    });
    let any = wanted(config, &[("secrets.token", CANARY)], &[("EURUSD", "")]);
    let made = bench.service.create("any", "", "json-ws", &any, &Limits::default()).unwrap();
    assert_eq!(
        (&made.config["headers.X-Api-Key"], &made.config["fields.bid"]),
        (&json!("{secret:token}"), &json!("b"))
    );
    assert_eq!(made.config["subscribe"], "{\"a\":\"{symbol}\"}\n{\"b\":1}");
    // What is shown can be sent again.
    let same = wanted(made.config.clone(), &[], &[]);
    assert_eq!(bench.service.edit("any", &same, &Limits::default()).unwrap().connection.config, made.config);
    assert_eq!(made.secrets, ["secrets.token"]);
}

#[test]
fn an_edit_changes_what_it_names_and_null_takes_a_key_away() {
    let bench = bench();
    let mut first = mtapi();
    first.config.insert("stream_url".into(), "wss://b.example".into());
    create(&bench, &first).unwrap();
    let change = wanted(json!({ "server": "T", "stream_url": null }), &[], &[("EURUSD", "EURUSD.m"), ("USDJPY", "")]);
    let now = bench.service.edit("demo", &change, &Limits::default()).unwrap().connection;
    assert_eq!(
        (&now.config["server"], &now.config["user"], now.config.get("stream_url")),
        (&json!("T"), &json!("7"), None)
    );
    assert_eq!((now.symbols["EURUSD"].as_str(), now.symbols["USDJPY"].as_str()), ("EURUSD.m", "USDJPY"));
    assert_eq!(now.secrets, ["password"]);
    let mut unfit = Wanted::default();
    unfit.timeframes = Some(vec!["M7".into()]);
    assert!(refused(bench.service.edit("demo", &unfit, &Limits::default())).starts_with("timeframes: \"M7\" is none"));
    let missing = wanted(json!({ "server": null }), &[], &[]);
    assert_eq!(refused(bench.service.edit("demo", &missing, &Limits::default())), "server: missing field `server`");
}

#[test]
fn instruments_are_everybodys_and_users_do_not_change_them() {
    let bench = bench();
    let user = Limits { plain_keys: true, ..Limits::default() };
    let described = |digits: u8| {
        let mut wanted = mtapi();
        wanted.symbols = Some(BTreeMap::from([("DAX".into(), "GER40".into())]));
        let spec = InstrumentWanted { class: "index".into(), digits, pip: "0.1".into() };
        wanted.instruments.insert("DAX".into(), spec);
        wanted
    };
    let unknown = wanted(json!({}), &[], &[("DAX", "GER40")]);
    create(&bench, &mtapi()).unwrap();
    assert!(refused(bench.service.edit("demo", &unknown, &user)).contains("expected its class, digits and pip"));
    bench.service.edit("demo", &described(1), &user).unwrap();
    bench.service.edit("demo", &described(1), &user).unwrap();
    assert!(
        refused(bench.service.edit("demo", &described(2), &user)).starts_with("instruments.DAX: is known otherwise")
    );
    bench.service.edit("demo", &described(2), &Limits::default()).unwrap();
    let mut all = Connections::open(&bench.service.state_dir).unwrap();
    assert_eq!(all.instruments().unwrap()["DAX"].digits, 2);
    for key in ["ca_file", "standby_for", "priority"] {
        let told = refused(bench.service.edit("demo", &wanted(json!({ key: "x" }), &[], &[]), &user));
        assert_eq!(told, format!("{key}: is for those who manage connections"));
    }
}

#[test]
fn a_draft_is_tried_with_stored_secrets_and_a_refusal_is_told_with_its_cure() {
    let bench = bench();
    let here = json!({ "base_url": "http://127.0.0.1:1" });
    let unsaid = wanted(here.clone(), &[], &[("EURUSD", "")]);
    let told = refused(bench.service.test_draft(None, "mtapi", &unsaid, &Limits::default()));
    assert!(told.contains("missing field"), "{told}");
    create(&bench, &mtapi()).unwrap();
    let result = bench.service.test_draft(Some("demo"), "mtapi", &unsaid, &Limits::default()).unwrap();
    assert_eq!((result.succeeded, result.error_code.as_deref()), (false, Some("host_unreachable")));
    assert!(result.cure.is_some() && !serde_json::to_string(&result).unwrap().contains(CANARY));
    // Another's secrets do not go where they did not before.
    let foreign = Limits { foreign_secrets: true, ..Limits::default() };
    let told = refused(bench.service.test_draft(Some("demo"), "mtapi", &unsaid, &foreign));
    assert!(told.contains("expected password with it"), "{told}");
}
