#![allow(clippy::unwrap_used)]
use tempfile::TempDir;

use super::*;

const SECOND: i64 = 1_000_000_000;
const T0: i64 = 1_800_000_000 * SECOND;
const PASSWORD: &str = "correct horse battery";

fn open() -> (TempDir, Users) {
    let dir = tempfile::tempdir().unwrap();
    let users = Users::open(dir.path(), Lifetimes::default()).unwrap();
    (dir, users)
}

fn new(name: &str, role: Role) -> NewUser {
    NewUser { name: name.into(), password: Hidden::new(PASSWORD), role, permissions: Vec::new(), sources: None }
}

fn sign_in(users: &Users, name: &str, password: &str, now_ns: i64) -> Result<(Hidden, SignedIn), UserError> {
    let (password, address) = (Hidden::new(password), Some([192, 0, 2, 1].into()));
    users.sign_in(&SignIn { name: name.into(), password, code: None, address }, now_ns)
}

#[test]
fn a_session_ends_when_unused_when_old_with_a_new_password_and_with_its_user() {
    let (_dir, users) = open();
    let by = &Actor::Operator;
    users.add(by, &new("ann", Role::Administrator), T0).unwrap();
    users.add(by, &new("bob", Role::User), T0).unwrap();
    let lifetimes = Lifetimes::default();
    let (id, opened) = sign_in(&users, "BOB", PASSWORD, T0).unwrap();
    assert_eq!(opened.user.name, "bob");
    let lives = |id: &Hidden, now_ns| users.by_session(id.show(), now_ns).unwrap().is_some();
    assert!(lives(&id, T0 + lifetimes.idle_ns - 1));
    // That was a use.
    assert!(lives(&id, T0 + lifetimes.idle_ns));
    assert!(!lives(&id, T0 + 2 * lifetimes.idle_ns));
    let (id, _) = sign_in(&users, "bob", PASSWORD, T0).unwrap();
    for at in (0..lifetimes.most_ns).step_by(usize::try_from(lifetimes.idle_ns / 2).unwrap()) {
        assert!(lives(&id, T0 + at));
    }
    assert!(!lives(&id, T0 + lifetimes.most_ns));

    let change = |change: Change| users.edit(by, "bob", &change, T0).unwrap();
    let (id, _) = sign_in(&users, "bob", PASSWORD, T0).unwrap();
    change(Change { disabled: Some(true), ..Change::default() });
    assert!(!lives(&id, T0));
    assert!(matches!(sign_in(&users, "bob", PASSWORD, T0), Err(UserError::Disabled)));
    change(Change { disabled: Some(false), ..Change::default() });
    assert!(!lives(&id, T0), "enabling opens no old session");
    let (id, _) = sign_in(&users, "bob", PASSWORD, T0).unwrap();
    change(Change { password: Some(Hidden::new("another password")), ..Change::default() });
    assert!(!lives(&id, T0));
    let (id, opened) = sign_in(&users, "bob", "another password", T0).unwrap();
    let (other, _) = sign_in(&users, "bob", "another password", T0).unwrap();
    let (current, next) = (Hidden::new("another password"), Hidden::new("yet another one"));
    users.change_password(&opened, &current, &next, None, T0).unwrap();
    assert!(lives(&id, T0) && !lives(&other, T0), "the others end");
    users.remove(by, "bob", T0).unwrap();
    assert!(!lives(&id, T0));
}

#[test]
fn ten_wrong_passwords_are_slowed_whoever_asks_and_a_right_one_frees_the_name() {
    let (_dir, users) = open();
    users.add(&Actor::Operator, &new("ann", Role::Administrator), T0).unwrap();
    for name in ["ann", "nobody"] {
        let mut now_ns = T0;
        let mut waits = Vec::new();
        for _ in 0..10 {
            while let Err(UserError::TooMany(seconds)) = sign_in(&users, name, "wrong", now_ns) {
                waits.push(seconds);
                now_ns += i64::try_from(seconds).unwrap() * SECOND;
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16], "{name}");
        // While it waits, the right password is not looked at either.
        assert!(matches!(sign_in(&users, name, PASSWORD, now_ns), Err(UserError::TooMany(32))));
        if name == "ann" {
            sign_in(&users, name, PASSWORD, now_ns + 32 * SECOND).unwrap();
            assert!(matches!(sign_in(&users, name, "wrong", now_ns + 33 * SECOND), Err(UserError::WrongCredentials)));
        }
    }
    let failed = AuditFilter { succeeded: Some(false), ..AuditFilter::default() };
    let entries = users.audit(&failed, 100).unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.subject == "ann").count(), 11);
    assert!(entries.iter().all(|entry| entry.address == "192.0.2.1" && entry.subject != "nobody"));
    // By then there were 21 from this address, and the next name waits too.
    assert!(matches!(sign_in(&users, "third", "wrong", T0 + 32 * SECOND), Err(UserError::TooMany(_))));
}

#[test]
fn attempts_at_the_same_time_all_count() {
    let (_dir, users) = open();
    users.add(&Actor::Operator, &new("ann", Role::Administrator), T0).unwrap();
    let looked_at = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..12).map(|_| scope.spawn(|| sign_in(&users, "ann", "wrong", T0))).collect();
        let outcomes = tries.into_iter().map(|thread| thread.join().unwrap().unwrap_err());
        outcomes.filter(|error| matches!(error, UserError::WrongCredentials)).count()
    });
    assert_eq!(looked_at, 5);
}

#[test]
fn a_code_counts_once_and_survives_a_new_key() {
    let (dir, users) = open();
    users.add(&Actor::Operator, &new("ann", Role::Administrator), T0).unwrap();
    let (_, who) = sign_in(&users, "ann", PASSWORD, T0).unwrap();
    let enrolment = users.enrol(&who, &Hidden::new(PASSWORD), None, T0).unwrap();
    let app = totp_rs::TOTP::from_url(enrolment.uri.show()).unwrap();
    assert_eq!(app.get_secret_base32(), enrolment.secret.show());
    let code = |now_ns: i64| Hidden::new(app.generate(u64::try_from(now_ns / SECOND).unwrap()));
    sign_in(&users, "ann", PASSWORD, T0).unwrap();
    assert!(users.confirm(&who, &Hidden::new("000000"), None, T0).is_err());
    users.confirm(&who, &code(T0), None, T0).unwrap();
    let mut connections = crate::control::connections::Connections::open(dir.path()).unwrap();
    assert_eq!(connections.rotate().unwrap(), 1);

    let with = |code: Option<Hidden>, now_ns| {
        let (name, password) = ("ann".into(), Hidden::new(PASSWORD));
        users.sign_in(&SignIn { name, password, code, address: None }, now_ns)
    };
    assert!(matches!(with(None, T0), Err(UserError::TotpRequired)));
    assert!(matches!(with(Some(code(T0)), T0), Err(UserError::WrongCredentials)), "it confirmed");
    let later = T0 + 60 * SECOND;
    assert!(matches!(with(Some(code(T0 - 60 * SECOND)), later), Err(UserError::WrongCredentials)), "too old");
    with(Some(code(later)), later).unwrap();
    assert!(matches!(with(Some(code(later)), later), Err(UserError::WrongCredentials)), "used");
    assert!(matches!(with(Some(code(later - 30 * SECOND)), later), Err(UserError::WrongCredentials)), "earlier");
    users.edit(&Actor::Operator, "ann", &Change { totp_off: true, ..Change::default() }, later).unwrap();
    with(None, later).unwrap();
}

#[test]
fn the_last_enabled_administrator_stays() {
    let (_dir, users) = open();
    let by = &Actor::Operator;
    users.add(by, &new("ann", Role::Administrator), T0).unwrap();
    users.add(by, &new("bob", Role::Administrator), T0).unwrap();
    let disabled = |disabled| Change { disabled: Some(disabled), ..Change::default() };
    users.edit(by, "bob", &disabled(true), T0).unwrap();
    let demoted = Change { role: Some(Role::Staff), ..Change::default() };
    for refused in [
        users.edit(by, "ann", &demoted, T0).map(|_| ()),
        users.edit(by, "ann", &disabled(true), T0).map(|_| ()),
        users.remove(by, "ann", T0),
    ] {
        assert!(matches!(refused, Err(UserError::Conflict(_))), "{refused:?}");
    }
    let ann = users.get("ann").unwrap();
    assert_eq!((ann.role, ann.disabled), (Role::Administrator, false));
    users.edit(by, "bob", &disabled(false), T0).unwrap();
    users.remove(by, "ann", T0).unwrap();
}

#[test]
fn staff_who_manage_users_gain_nothing_by_it() {
    let (_dir, users) = open();
    let by = &Actor::Operator;
    users.add(by, &new("ann", Role::Administrator), T0).unwrap();
    let staff = |name: &str, permissions: &[Permission]| {
        users.add(by, &NewUser { permissions: permissions.into(), ..new(name, Role::Staff) }, T0).unwrap();
    };
    staff("sam", &[Permission::ManageUsers]);
    staff("jo", &[Permission::ManageJobs]);
    users.add(by, &new("ulf", Role::User), T0).unwrap();
    let (name, role, permissions) = ("sam".to_string(), Role::Staff, vec![Permission::ManageUsers]);
    let sam = &Actor::User { name, role, permissions, address: None };
    let edit = |name: &str, change: Change| users.edit(sam, name, &change, T0);
    let role = |role| Change { role: Some(role), ..Change::default() };
    let password = || Change { password: Some(Hidden::new(PASSWORD)), ..Change::default() };
    let jobs = || Change { permissions: Some(vec![Permission::ManageJobs]), ..role(Role::Staff) };
    for refused in [
        users.add(sam, &new("eve", Role::Administrator), T0),
        edit("ann", password()),
        edit("sam", role(Role::Administrator)),
        edit("sam", jobs()),
        edit("ulf", role(Role::Administrator)),
        edit("ulf", jobs()),
        edit("jo", password()),
    ] {
        assert!(matches!(refused, Err(UserError::NotAllowed(_))), "{refused:?}");
    }
    assert!(matches!(users.remove(sam, "ann", T0), Err(UserError::NotAllowed(_))));
    edit("ulf", password()).unwrap();
    users.add(sam, &new("eve", Role::User), T0).unwrap();
    users.remove(sam, "eve", T0).unwrap();
}

#[test]
fn who_owns_connections_is_not_removed() {
    let (dir, users) = open();
    users.add(&Actor::Operator, &new("ulf", Role::User), T0).unwrap();
    let mut connections = crate::control::connections::Connections::open(dir.path()).unwrap();
    let draft = crate::control::connections::Draft {
        adapter: "binance".into(),
        provider: String::new(),
        config: toml::Table::new(),
        timeframes: Vec::new(),
        stores_ticks: true,
        retention_days: 1,
    };
    connections.add("mine", "ulf", &draft, &crate::control::credentials::Credentials::default(), T0).unwrap();
    let refused = users.remove(&Actor::Operator, "ulf", T0).unwrap_err().to_string();
    assert!(refused.contains("remove mine first"), "{refused}");
    connections.remove("mine").unwrap();
    users.remove(&Actor::Operator, "ulf", T0).unwrap();
}

#[test]
fn a_stream_token_admits_its_user_until_it_ends_they_are_disabled_or_it_is_removed() {
    use crate::fanout::Access;
    let (dir, users) = open();
    let sources = Some(vec!["bin*".to_string()]);
    users.add(&Actor::Operator, &NewUser { sources, ..new("ulf", Role::User) }, T0).unwrap();
    let access = users.streams();
    let token = |scopes: &[Scope], expires_ns| {
        let new = NewToken { name: "desk".into(), scopes: scopes.into(), expires_ns };
        users.add_token(&Actor::Operator, "ulf", &new, crate::clock::machine_ns()).unwrap()
    };
    let (_, reads) = token(&[Scope::Read, Scope::Write], None);
    assert!(access.admit(reads.show(), true).is_none());
    let (made, streams) = token(&[Scope::Stream], None);
    let grant = access.admit(streams.show(), false).unwrap();
    assert_eq!((grant.user.as_str(), grant.all_own), ("ulf", true));
    assert!(grant.sources.is_match("binance") && grant.sources.is_match("best") && !grant.sources.is_match("oanda"));
    assert!(access.admit("", true).is_none() && access.admit("tickwire_", true).is_none());
    users.refresh().unwrap();
    assert!(users.tokens(Some("ulf")).unwrap()[0].last_used_ns.is_some());

    // By another process: taken up when it is looked for.
    let other = Users::open(dir.path(), Lifetimes::default()).unwrap();
    let disabled = |disabled| Change { disabled: Some(disabled), ..Change::default() };
    users.refresh_if_changed().unwrap();
    other.edit(&Actor::Operator, "ulf", &disabled(true), T0).unwrap();
    users.refresh_if_changed().unwrap();
    assert!(access.admit(streams.show(), false).is_none());
    users.edit(&Actor::Operator, "ulf", &disabled(false), T0).unwrap();
    assert!(access.admit(streams.show(), false).is_some());
    users.remove_token(&Actor::Operator, made.id, T0).unwrap();
    assert!(access.admit(streams.show(), false).is_none());
    let (_, short) = token(&[Scope::Stream], Some(crate::clock::machine_ns() + 50_000_000));
    while access.admit(short.show(), false).is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_a_user_is_refused_with_the_reason() {
    let (_dir, users) = open();
    let by = &Actor::Operator;
    let told = |new: NewUser| users.add(by, &new, T0).unwrap_err().to_string();
    let short = told(NewUser { password: Hidden::new("elevenchars"), ..new("ann", Role::User) });
    assert!(short.contains("password: 11 characters, expected at least 12"), "{short}");
    for name in ["", "two words", "a/b", "é", &"a".repeat(65)] {
        assert!(told(new(name, Role::User)).starts_with("name: expected"), "{name}");
    }
    let sources = Some(vec!["[".to_string()]);
    assert!(told(NewUser { sources, ..new("ann", Role::User) }).starts_with("sources: "));
    users.add(by, &new("ann", Role::User), T0).unwrap();
    assert!(told(new("ANN", Role::User)).contains("is there already"));
}
