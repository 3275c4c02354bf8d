#![allow(clippy::unwrap_used)]

use serde_json::json;

use toml::Value;

use super::super::credentials::part_secrets;
use super::*;

const CANARY: &str = "canary-5f1c8e";

fn draft(url: &str) -> Draft {
    Draft {
        adapter: "mtapi".into(),
        provider: "Broker-Demo".into(),
        config: format!("base_url = \"{url}\"\nsymbols = [\"EURUSD\"]\n").parse().unwrap(),
        stores_ticks: true,
        retention_days: RETENTION_DAYS,
        timeframes: vec![Timeframe::M1, Timeframe::H1],
    }
}

fn secrets(pairs: &[(&str, &str)]) -> Credentials {
    let mut credentials = Credentials::default();
    pairs.iter().for_each(|(key, secret)| credentials.set(*key, *secret));
    credentials
}

/// Every byte of every file below a directory.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_connection_is_kept_as_it_was_said_and_its_secrets_are_nowhere_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Connections::open(dir.path()).unwrap();
    let id = first.add("demo", "", &draft("https://a.example"), &secrets(&[("password", CANARY)]), 5).unwrap();
    drop(first);
    let mut again = Connections::open(dir.path()).unwrap();
    let kept = again.get("demo").unwrap();
    assert_eq!(
        (kept.id, &kept.draft, kept.is_active, kept.status),
        (id, &draft("https://a.example"), false, Status::Inactive)
    );
    assert_eq!((kept.has_credentials, kept.created_ns, kept.last_connected_ns), (true, 5, None));
    let credentials = again.credentials("demo").unwrap();
    assert_eq!(credentials.get("password"), Some(CANARY));
    assert!(!format!("{kept:?} {credentials:?}").contains(CANARY));
    let bytes = all_bytes(dir.path());
    assert!(holds(&bytes, "https://a.example"), "the test looks at what is written");
    assert!(!holds(&bytes, CANARY));
}

#[test]
fn an_edit_leaves_the_secrets_that_it_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    let marked = |url: &str, keys: &[&str]| {
        let mut draft = draft(url);
        keys.iter().for_each(|key| drop(draft.config.insert((*key).into(), "vault:".into())));
        draft
    };
    let (first, second) =
        (marked("https://a.example", &["password", "key"]), marked("https://b.example", &["password", "key"]));
    all.add("demo", "ann", &first, &secrets(&[("password", "one"), ("key", "two")]), 5).unwrap();
    all.edit("demo", &second, &secrets(&[("key", "three")]), 9).unwrap();
    let kept = all.get("demo").unwrap();
    assert_eq!((kept.draft, kept.owner.as_str(), kept.created_ns, kept.changed_ns), (second, "ann", 5, 9));
    let credentials = all.credentials("demo").unwrap();
    assert_eq!((credentials.get("password"), credentials.get("key")), (Some("one"), Some("three")));
    // A key that is taken away takes its secret with it.
    all.edit("demo", &marked("https://b.example", &["key"]), &Credentials::default(), 10).unwrap();
    assert_eq!(all.credentials("demo").unwrap().keys().collect::<Vec<_>>(), ["key"]);
}

#[test]
fn a_name_is_given_once_and_an_id_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    let first = all.add("demo", "", &draft("https://a.example"), &Credentials::default(), 1).unwrap();
    let taken = all.add("demo", "ann", &draft("https://a.example"), &Credentials::default(), 1).unwrap_err();
    assert!(taken.to_string().contains("\"demo\" is taken"), "{taken}");
    all.remove("demo").unwrap();
    assert!(matches!(all.remove("demo"), Err(ConnectionError::Unknown(_))));
    assert!(matches!(all.set_active("demo", true, 1), Err(ConnectionError::Unknown(_))));
    assert!(all.add("demo", "", &draft("https://a.example"), &Credentials::default(), 1).unwrap() > first);
    assert!(!dir.path().join("vault.key").exists(), "nothing was sealed");
}

#[test]
fn a_log_outlives_its_connection_and_comes_newest_first_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    all.add("demo", "", &draft("https://a.example"), &Credentials::default(), 1).unwrap();
    let connection = all.get("demo").unwrap();
    let entry = |at_ns| LogEntry {
        at_ns,
        action: "test".into(),
        succeeded: at_ns % 2 == 0,
        message: format!("entry {at_ns}"),
        metadata: json!({ "latency_ms": at_ns }),
    };
    (0..5).for_each(|at_ns| all.log(&connection, &entry(at_ns)).unwrap());
    all.remove("demo").unwrap();
    let mut logs = |name: &str, filter: LogFilter| all.logs(name, &filter).unwrap();
    let filter = |skip, limit| LogFilter { skip, limit, ..LogFilter::default() };
    let entries = |found: &[(i64, LogEntry)]| found.iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>();
    let second = logs("demo", filter(1, 2));
    assert_eq!(entries(&second), [entry(3), entry(2)]);
    assert_eq!(entries(&logs("demo", filter(4, 9))), [entry(0)]);
    assert_eq!(logs("other", filter(0, 9)), []);
    let older = LogFilter { before: Some(second[1].0), succeeded: Some(true), ..filter(0, 9) };
    assert_eq!(entries(&logs("demo", older)), [entry(0)]);
    assert_eq!(logs("demo", LogFilter { action: Some("edit".into()), ..filter(0, 9) }), []);
    // What is stored under a name stays that of its owner.
    let taken = all.add("demo", "ann", &draft("https://a.example"), &Credentials::default(), 1).unwrap_err();
    assert!(matches!(taken, ConnectionError::NameTaken(_)));
}

#[test]
fn a_rotation_seals_everything_anew_and_a_lost_key_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("vault.key");
    let mut all = Connections::open(dir.path()).unwrap();
    all.add("a", "", &draft("https://a.example"), &secrets(&[("password", "one")]), 1).unwrap();
    all.add("b", "", &draft("https://b.example"), &Credentials::default(), 1).unwrap();
    let before = std::fs::read(&key).unwrap();
    assert_eq!(all.rotate().unwrap(), 1);
    assert_ne!(std::fs::read(&key).unwrap(), before);
    assert_eq!(Connections::open(dir.path()).unwrap().credentials("a").unwrap().get("password"), Some("one"));
    std::fs::write(&key, &before).unwrap();
    let other = all.credentials("a").unwrap_err().to_string();
    assert!(other.contains("sealed with another key"), "{other}");
    std::fs::remove_file(&key).unwrap();
    let gone = all.credentials("a").unwrap_err().to_string();
    assert!(gone.contains("vault.key: is gone"), "{gone}");
    assert!(all.credentials("b").unwrap().keys().next().is_none());
}

#[test]
fn a_rotation_that_was_killed_is_finished_or_taken_back_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    all.add("a", "", &draft("https://a.example"), &secrets(&[("password", "one")]), 1).unwrap();
    let opens = || {
        let credentials = Connections::open(dir.path()).unwrap().credentials("a").unwrap();
        assert_eq!(credentials.get("password"), Some("one"));
        assert!(!dir.path().join("vault.key.next").exists());
    };
    // Before the database changed over: there is a next key that nothing is sealed with.
    all.place.begin_rotation().unwrap();
    opens();
    // After it: the old key is still in its place, the new one still beside it.
    let old = std::fs::read(dir.path().join("vault.key")).unwrap();
    all.rotate().unwrap();
    std::fs::rename(dir.path().join("vault.key"), dir.path().join("vault.key.next")).unwrap();
    std::fs::write(dir.path().join("vault.key"), old).unwrap();
    std::fs::set_permissions(dir.path().join("vault.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    opens();
}

#[test]
fn states_come_and_go_and_the_last_error_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Connections::open(dir.path()).unwrap();
    all.add("a", "", &draft("https://a.example"), &Credentials::default(), 1).unwrap();
    all.set_active("a", true, 2).unwrap();
    all.set_status("a", Status::Error, None, Some("login refused")).unwrap();
    all.set_status("a", Status::Active, Some(7), None).unwrap();
    let kept = &all.list().unwrap()[0];
    assert_eq!((kept.is_active, kept.status, kept.last_connected_ns), (true, Status::Active, Some(7)));
    assert_eq!((kept.last_error.as_deref(), kept.changed_ns), (Some("login refused"), 2));
}

#[test]
fn secrets_are_parted_from_a_section_and_found_again_by_their_references() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        format!("base_url = \"https://a.example\"\npassword = \"{CANARY}\"\n[secrets]\nanything = \"{CANARY}-2\"\n");
    let mut table: Table = text.parse().unwrap();
    let credentials = part_secrets(&mut table).unwrap();
    assert!(!table.to_string().contains(CANARY), "{table}");
    let mut all = Connections::open(dir.path()).unwrap();
    all.add("demo", "ann", &Draft { config: table, ..draft("") }, &credentials, 1).unwrap();
    let section = all.get("demo").unwrap().section(dir.path());
    assert_eq!((section["owner"].as_str(), section["scope"].as_str()), (Some("ann"), Some("private")));
    crate::config::open_vault_with(open_reference);
    let resolve = |value: &Value| crate::config::Secret::new(value.as_str().unwrap()).resolve();
    assert_eq!(resolve(&section["password"]).unwrap(), CANARY);
    assert_eq!(resolve(&section["secrets"]["anything"]).unwrap(), format!("{CANARY}-2"));
    let unknown = resolve(&format!("vault:{}#demo#other#1", dir.path().display()).into()).unwrap_err();
    assert!(unknown.contains("no secret is sealed"), "{unknown}");
}

#[test]
fn a_reference_to_a_secret_of_this_machine_is_refused() {
    for text in ["file:/etc/shadow", "env:HOME", "vault:state#demo#password"] {
        let mut table: Table = format!("password = \"{text}\"").parse().unwrap();
        let error = part_secrets(&mut table).unwrap_err();
        assert!(error.starts_with("password: refers to a secret elsewhere"), "{error}");
    }
}
