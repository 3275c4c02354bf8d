//! Who comes to the console, and what they may: over HTTP, as a browser or a program would.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use console_support::{ADMIN, Answer, Console, PASSWORD, Person, binance, config, token, users};
use engine_support::free_port;
use serde_json::{Value, json};
use tickwire_terminal::Terminal;

/// The secret of the link that the engine has printed.
fn first_run_token(console: &Console) -> Option<String> {
    let log = console.log();
    let (_, rest) = log.split_once("/first-run#")?;
    Some(rest.lines().next().unwrap().to_string())
}

fn sign_in(console: &Console, name: &str, password: &str) -> Answer {
    console.anonymous().post("/api/session", &json!({ "name": name, "password": password }))
}

#[test]
fn the_first_run_link_makes_one_administrator_and_no_more() {
    let console = Console::start_in(tempfile::tempdir().unwrap(), &config(free_port()));
    let anonymous = console.anonymous();
    assert_eq!(anonymous.get("/api/session").code(), "first_run_pending");
    assert_eq!(anonymous.get("/api/users").code(), "not_signed_in");
    let link = first_run_token(&console).expect("a link");
    let body = |token: &str, password: &str| json!({ "token": token, "name": "root", "password": password });
    let wrong = anonymous.post("/api/first-run", &body(&"0".repeat(64), PASSWORD));
    assert_eq!((wrong.status, wrong.code().as_str()), (403, "forbidden"));
    let short = anonymous.post("/api/first-run", &body(&link, "elevenchars"));
    assert_eq!((short.status, &short.json()["error"]["field"]), (422, &json!("password")));
    assert!(short.body.contains("11 characters, expected at least 12"), "{}", short.body);

    let made = anonymous.post("/api/first-run", &body(&link, PASSWORD));
    assert_eq!(made.status, 201, "{}", made.body);
    let root = console.with(&made);
    assert_eq!(root.get("/api/session").json()["user"]["role"], "administrator");
    assert_eq!(anonymous.post("/api/first-run", &body(&link, PASSWORD)).status, 409);
    assert_eq!(anonymous.get("/api/session").code(), "not_signed_in");

    let (ended, dir) = console.engine.stop();
    assert!(ended);
    std::fs::remove_file(dir.path().join("engine.log")).unwrap();
    let again = Console::start_in(dir, &config(free_port()));
    assert!(first_run_token(&again).is_none());
    assert_eq!(sign_in(&again, "root", PASSWORD).status, 200);
}

#[test]
fn signing_in_sets_a_cookie_that_scripts_cannot_read_and_signing_out_ends_it() {
    let console = Console::start();
    let answer = sign_in(&console, ADMIN, PASSWORD);
    let cookie = answer.header("set-cookie").unwrap();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
    let session = answer.json();
    assert_eq!(
        (&session["user"]["name"], &session["user"]["permissions"], &session["user"]["sources"]),
        (&json!(ADMIN), &json!([]), &Value::Null)
    );
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    let admin = console.with(&answer);
    assert_eq!(admin.get("/api/users").status, 200);

    // The cookie alone changes nothing, nor does another session's token.
    let other = console.sign_in(ADMIN);
    let bob = json!({ "name": "bob", "password": PASSWORD, "role": "user", "sources": null });
    for forged in [admin.without("X-CSRF"), admin.without("X-CSRF").and(&other.headers[1])] {
        let refused = forged.post("/api/users", &bob);
        assert_eq!((refused.status, refused.code().as_str()), (403, "csrf"));
        assert_eq!(forged.delete("/api/session").code(), "csrf");
    }
    let out = admin.delete("/api/session");
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(admin.get("/api/session").code(), "not_signed_in");
    assert_eq!(other.get("/api/session").status, 200, "the other session goes on");
}

#[test]
fn roles_say_what_people_may_and_a_disabled_account_is_out_at_once() {
    let console = Console::start();
    let (admin, user) = (console.sign_in(ADMIN), console.user("ulf", "user", &[]));
    let staff = console.user("sam", "staff", &["manage-users"]);
    let demo = console.user("demo", "demo", &["manage-users"]);
    assert_eq!(demo.get("/api/session").json()["user"]["permissions"], json!([]));
    assert_eq!(user.get("/api/users").code(), "forbidden");
    assert_eq!(demo.get("/api/users").code(), "forbidden");
    assert_eq!(staff.get("/api/users").status, 200);
    assert_eq!(staff.get("/api/settings").code(), "forbidden");
    assert_eq!(demo.post("/api/tokens", &json!({ "name": "x", "scopes": ["read"] })).code(), "forbidden");
    assert_eq!(demo.delete("/api/session").status, 204);
    // Staff who manage users are no administrators by that.
    let refused = staff.patch(&format!("/api/users/{ADMIN}"), &json!({ "password": "a new password" }));
    assert_eq!(refused.code(), "forbidden");

    let key = console.token(&user, &["read"]);
    assert_eq!((user.get("/api/session").status, key.get("/api/session").status), (200, 200));
    assert_eq!(admin.patch("/api/users/ulf", &json!({ "disabled": true })).json()["disabled"], true);
    assert_eq!((user.get("/api/session").status, key.get("/api/session").status), (401, 401));
    assert_eq!(sign_in(&console, "ulf", PASSWORD).code(), "disabled");
    assert_eq!(sign_in(&console, "ulf", "wrong password").code(), "wrong_credentials", "the password comes first");
    // What is left out stays; null is a value.
    admin.patch("/api/users/ulf", &json!({ "disabled": false, "sources": ["bin*"] }));
    let now = admin.patch("/api/users/ulf", &json!({ "role": "user" })).json();
    assert_eq!((&now["disabled"], &now["sources"]), (&json!(false), &json!(["bin*"])));
    assert_eq!(admin.patch("/api/users/ulf", &json!({ "sources": null })).json()["sources"], Value::Null);
    assert_eq!(admin.delete("/api/users/ulf").status, 204);
    assert_eq!(admin.delete("/api/users/ulf").status, 404);
    assert_eq!(key.get("/api/session").status, 401);
}

#[test]
fn the_last_administrator_cannot_go() {
    let console = Console::start();
    let (admin, path) = (console.sign_in(ADMIN), format!("/api/users/{ADMIN}"));
    assert_eq!(admin.delete(&path).code(), "conflict");
    assert_eq!(admin.patch(&path, &json!({ "disabled": true })).code(), "conflict");
    assert_eq!(admin.patch(&path, &json!({ "role": "staff" })).code(), "conflict");
    let told = users(&console.engine.dir, &["edit", ADMIN, "--disable"], "");
    assert!(told.contains("the last enabled administrator"), "{told}");
    console.user("second", "administrator", &[]);
    assert_eq!(admin.patch(&path, &json!({ "disabled": true })).status, 200);
    assert_eq!(admin.get("/api/session").status, 401);
}

#[test]
fn ten_wrong_passwords_are_slowed_and_logged() {
    let console = Console::start();
    let mut looked_at = 0;
    let mut slowed = None;
    for _ in 0..10 {
        let answer = sign_in(&console, ADMIN, "canary-wrong-password");
        match answer.status {
            401 => looked_at += 1,
            _ => slowed = Some(answer),
        }
    }
    let slowed = slowed.expect("some were slowed");
    assert!(looked_at < 10, "{looked_at}");
    assert_eq!((slowed.status, slowed.code().as_str()), (429, "too_many_attempts"));
    assert!(slowed.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // The right one is not looked at either as long.
    let mut right = sign_in(&console, ADMIN, PASSWORD);
    while right.status == 429 {
        let seconds = right.header("retry-after").unwrap().parse().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(seconds));
        right = sign_in(&console, ADMIN, PASSWORD);
    }
    let admin = console.with(&right);
    let log = console.log();
    let told = log.lines().filter(|line| line.contains("sign-in refused") && line.contains("wrong password"));
    assert_eq!(told.clone().count(), looked_at);
    assert!(told.clone().all(|line| line.contains(ADMIN) && line.contains("127.0.0.1") && line.contains("WARN")));
    let entries = admin.get("/api/audit?action=sign_in&succeeded=false").json();
    let entries = entries["entries"].as_array().unwrap().clone();
    assert_eq!(entries.len(), looked_at);
    assert!(entries.iter().all(|e| e["subject"] == ADMIN && e["address"] == "127.0.0.1" && e["actor"].is_null()));
    assert!(!log.contains("canary"), "a wrong password may be the right one with a slip");
    // Who types the password into the field for the name leaves it nowhere.
    sign_in(&console, "canary-name", "x");
    assert!(!console.log().contains("canary") && !admin.get("/api/audit").body.contains("canary"));
    let page = admin.get("/api/audit?limit=1").json();
    let next = page["next"].as_str().unwrap();
    let second = admin.get(&format!("/api/audit?limit=1&before={next}")).json();
    assert!(second["entries"][0]["id"].as_i64() < page["entries"][0]["id"].as_i64());
}

fn code(uri: &str, steps_on: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    totp_rs::TOTP::from_url(uri).unwrap().generate(now + 30 * steps_on)
}

#[test]
fn a_second_factor_is_asked_for_and_its_codes_count_once() {
    let console = Console::start();
    let ulf = console.user("ulf", "user", &[]);
    let wrong = ulf.post("/api/session/totp", &json!({ "password": "wrong" }));
    assert_eq!((wrong.status, &wrong.json()["error"]["field"]), (422, &json!("password")));
    assert_eq!(ulf.put("/api/session/totp", &json!({ "code": "123456" })).code(), "conflict");
    let enrolment = ulf.post("/api/session/totp", &json!({ "password": PASSWORD })).json();
    let uri = enrolment["uri"].as_str().unwrap().to_string();
    assert!(uri.contains(enrolment["secret"].as_str().unwrap()) && uri.starts_with("otpauth://totp/Tickwire:ulf"));
    assert_eq!(sign_in(&console, "ulf", PASSWORD).status, 200, "not before it is confirmed");
    assert_eq!(ulf.put("/api/session/totp", &json!({ "code": code(&uri, 0) })).status, 204);
    assert_eq!(ulf.get("/api/session").json()["user"]["totp"], true);

    let with = |code: &str| {
        console.anonymous().post("/api/session", &json!({ "name": "ulf", "password": PASSWORD, "code": code }))
    };
    assert_eq!(sign_in(&console, "ulf", PASSWORD).code(), "totp_required");
    let next = code(&uri, 1);
    assert_eq!(with(&next).status, 200);
    assert_eq!(with(&next).code(), "wrong_credentials", "again");
    assert_eq!(ulf.ask("DELETE", "/api/session/totp", Some(&json!({ "password": PASSWORD }))).status, 204);
    assert_eq!(sign_in(&console, "ulf", PASSWORD).status, 200);
}

#[test]
fn ones_own_password_is_changed_with_the_current_one_and_ends_the_other_sessions() {
    let console = Console::start();
    let ulf = console.user("ulf", "user", &[]);
    let other = console.sign_in("ulf");
    let change =
        |current: &str, new: &str| ulf.post("/api/session/password", &json!({ "current": current, "new": new }));
    let wrong = change("wrong", "a brand new password");
    assert_eq!((wrong.status, &wrong.json()["error"]["field"]), (422, &json!("current")));
    assert_eq!(change(PASSWORD, "short").json()["error"]["field"], "new");
    assert_eq!(change(PASSWORD, "a brand new password").status, 204);
    assert_eq!((ulf.get("/api/session").status, other.get("/api/session").status), (200, 401));
    assert_eq!(sign_in(&console, "ulf", PASSWORD).status, 401);
    assert_eq!(sign_in(&console, "ulf", "a brand new password").status, 200);
}

#[test]
fn a_token_may_what_its_scopes_say_and_no_more() {
    let console = Console::start();
    let (admin, ulf) = (console.sign_in(ADMIN), console.user("ulf", "user", &[]));
    let may = |person: &Person| {
        let bob = json!({ "approved_providers": null });
        (person.get("/api/settings").status, person.put("/api/settings", &bob).status)
    };
    assert_eq!(may(&console.token(&admin, &["read"])), (200, 403));
    assert_eq!(may(&console.token(&admin, &["write"])), (403, 200));
    assert_eq!(may(&console.token(&admin, &["read", "write"])), (200, 200));
    assert_eq!(may(&console.token(&admin, &["stream"])), (403, 403));
    assert_eq!(may(&console.token(&ulf, &["read", "write"])), (403, 403), "it is its user's");
    assert_eq!(may(&console.bearer("tickwire_0000")), (401, 401));
    // A token changes nothing that it hangs on.
    let all = console.token(&admin, &["read", "write"]);
    assert_eq!(all.post("/api/tokens", &json!({ "name": "more", "scopes": ["read"] })).code(), "session_needed");
    assert_eq!(all.post("/api/session/totp", &json!({ "password": PASSWORD })).code(), "session_needed");

    let past = json!({ "name": "old", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(admin.post("/api/tokens", &past).json()["error"]["field"], "expires_at");
    let mine = ulf.get("/api/tokens").json();
    let mine = mine["tokens"].as_array().unwrap().clone();
    assert!(mine.len() == 1 && mine[0]["user"] == "ulf" && mine[0].get("token").is_none());
    let all = admin.get("/api/tokens").json();
    let theirs = all["tokens"].as_array().unwrap().iter().find(|token| token["user"] == ADMIN).unwrap();
    assert_eq!(ulf.delete(&format!("/api/tokens/{}", theirs["id"])).status, 404, "another's is not there");
    let secret = token(&ulf, &["read"]);
    let id = ulf.get("/api/tokens").json()["tokens"][0]["id"].clone();
    assert_eq!(console.bearer(&secret).get("/api/session").json()["csrf_token"], Value::Null);
    assert_eq!(ulf.delete(&format!("/api/tokens/{id}")).status, 204);
    assert_eq!(console.bearer(&secret).get("/api/session").status, 401);
}

#[test]
fn a_terminal_comes_as_the_user_of_its_token_and_not_when_they_are_disabled() {
    let port = free_port();
    let mine = binance("mine", port, "scope = \"private\"\nowner = \"ulf\"");
    let dir = tempfile::tempdir().unwrap();
    let text = config(port) + &mine;
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    let console = Console::start_in(dir, &text);
    let (admin, ulf) = (console.sign_in(ADMIN), console.user("ulf", "user", &[]));
    let (his, hers) = (token(&ulf, &["stream"]), token(&admin, &["stream"]));
    let reads = token(&ulf, &["read"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sources = |token: &str| {
        let terminal =
            runtime.block_on(Terminal::connect(console.engine.quic(), &console.engine.trust(), token)).ok()?;
        let mut names: Vec<String> = terminal.catalogue().sources.iter().map(|source| source.name.clone()).collect();
        names.sort();
        Some(names)
    };
    assert_eq!(sources(&his).unwrap(), ["binance", "mine"]);
    assert_eq!(sources(&hers).unwrap(), ["binance"], "not even an administrator");
    assert!(sources(&reads).is_none());
    admin.patch("/api/users/ulf", &json!({ "sources": [] }));
    assert_eq!(sources(&his).unwrap(), ["mine"]);
    admin.patch("/api/users/ulf", &json!({ "disabled": true }));
    assert!(sources(&his).is_none());
}

#[test]
fn an_open_stream_ends_when_its_viewer_is_not_let_in_any_more() {
    let console = Console::start();
    let (admin, ulf) = (console.sign_in(ADMIN), console.user("ulf", "user", &[]));
    let mut events = ulf.events("/api/live/quotes");
    assert_eq!(events.next().unwrap().0, "quotes");
    admin.patch("/api/users/ulf", &json!({ "disabled": true }));
    let more = std::iter::from_fn(|| events.next()).take(200).count();
    assert!(more < 200, "it goes on");
}

#[test]
fn every_answer_tells_the_browser_what_it_may_do_with_it() {
    let console = Console::start();
    let (anonymous, admin) = (console.anonymous(), console.sign_in(ADMIN));
    for (person, path) in [
        (&anonymous, "/"),
        (&anonymous, "/health"),
        (&anonymous, "/metrics"),
        (&anonymous, "/api/session"),
        (&admin, "/api/users"),
        (&anonymous, "/api/openapi.json"),
        (&anonymous, "/api/nothing"),
        (&anonymous, "/nothing"),
    ] {
        let answer = person.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        assert!(!policy.contains("unsafe"), "{policy}");
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            let found: Vec<_> = answer.headers.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{path}: {name}");
            assert_eq!(found[0].1, value, "{path}");
        }
        if path.starts_with("/api") {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        }
    }
    // A page of another site whose name leads here.
    let rebound = admin.and("Host: evil.example");
    assert_eq!(rebound.get("/api/users").code(), "wrong_host");
    assert_eq!(rebound.get("/").status, 421);
    assert_eq!(admin.and("Host: 127.0.0.1:8080").get("/api/users").status, 200);
}

#[test]
fn what_makes_no_sense_is_refused_in_the_apis_own_words() {
    let console = Console::start();
    let admin = console.sign_in(ADMIN);
    let kind = "Content-Type: application/json\r\n";
    let raw = |head: &str, body: &[u8]| admin.ask_raw("POST", "/api/users", head, body);
    assert_eq!((raw(kind, b"{").status, raw(kind, b"{").code().as_str()), (400, "malformed"));
    assert_eq!(raw("Content-Type: text/plain\r\n", b"{}").code(), "malformed");
    assert_eq!(raw(kind, b"{}").json()["error"]["field"], "name");
    assert_eq!(raw(kind, b"{\"name\":\"a\",\"canary\":1}").status, 422);
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(1024 * 1024));
    assert_eq!((raw(kind, long.as_bytes()).status, raw(kind, long.as_bytes()).code().as_str()), (413, "too_large"));
    assert_eq!(admin.get("/api/nothing").code(), "not_found");
    assert_eq!(admin.get("/api/tokens/nothing").code(), "wrong_method");
    assert_eq!(admin.delete("/api/tokens/nothing").code(), "not_found");
    let wrong = admin.ask("PUT", "/api/users", None);
    assert_eq!((wrong.status, wrong.code().as_str()), (405, "wrong_method"));
    assert!(wrong.header("allow").unwrap().contains("POST"), "{wrong:?}");
    assert_eq!(admin.get("/api/audit?limit=0").json()["error"]["field"], "limit");
    assert_eq!(admin.get("/api/audit?limit=many").code(), "malformed");
    let glob = json!({ "name": "bob", "password": PASSWORD, "role": "user", "sources": ["["] });
    assert_eq!(admin.post("/api/users", &glob).json()["error"]["field"], "sources");
    let adapter = json!({ "approved_providers": ["nonsense"] });
    assert_eq!(admin.put("/api/settings", &adapter).json()["error"]["field"], "approved_providers");
    let adapter = json!({ "approved_providers": ["mtapi"] });
    assert_eq!(admin.put("/api/settings", &adapter).json()["approved_providers"], json!(["mtapi"]));
    assert_eq!(admin.get("/api/settings").json()["approved_providers"], json!(["mtapi"]));
}

#[test]
fn behind_a_proxy_cookies_are_for_tls_and_figures_need_a_token() {
    let port = free_port();
    let text = config(port).replacen(
        "listen = \"127.0.0.1:0\"",
        "listen = \"127.0.0.1:0\"\nbehind_tls_proxy = true\nhosts = [\"desk.example\"]",
        1,
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    let console = Console::start_in(dir, &text);
    let through = console.anonymous().and("Host: desk.example").and("X-Forwarded-For: 10.9.9.9, 192.0.2.7");
    let answer = through.post("/api/session", &json!({ "name": ADMIN, "password": PASSWORD }));
    assert!(answer.header("set-cookie").unwrap().contains("; Secure"));
    assert!(answer.header("strict-transport-security").is_some());
    let admin = console.with(&answer);
    let entry = admin.get("/api/audit?action=sign_in").json()["entries"][0].clone();
    assert_eq!(entry["address"], "192.0.2.7", "what the proxy has added, not what was claimed");
    let reads = console.token(&admin, &["read"]);
    for path in ["/health", "/metrics"] {
        assert_eq!(console.anonymous().get(path).status, 401, "{path}");
        assert!([200, 503].contains(&reads.get(path).status), "{path}");
    }
}

#[test]
fn secrets_are_nowhere_but_with_whom_they_belong_to() {
    let console = Console::start();
    let (admin, password) = (console.sign_in(ADMIN), "canary-password-7f3a");
    let ulf = json!({ "name": "ulf", "password": password, "role": "user" });
    let made = admin.post("/api/users", &ulf);
    let ulf = console.with(&sign_in(&console, "ulf", password));
    let secret = token(&ulf, &["read", "write", "stream"]);
    let enrolled = ulf.post("/api/session/totp", &json!({ "password": password })).json();
    let factor = enrolled["secret"].as_str().unwrap().to_string();
    let raw = totp_rs::Secret::Encoded(factor.clone()).to_bytes().unwrap();
    let session = ulf.headers[0].rsplit('=').next().unwrap().to_string();
    let secrets = [password, secret.as_str(), factor.as_str(), session.as_str()];
    let answers = [
        made.body,
        admin.get("/api/users").body,
        admin.get("/api/tokens").body,
        admin.get("/api/audit").body,
        ulf.get("/api/session").body,
        ulf.get("/metrics").body,
        ulf.get("/health").body,
        users(&console.engine.dir, &["list", "--json"], ""),
    ];
    for secret in secrets {
        for answer in &answers {
            assert!(!answer.contains(secret), "{answer}");
        }
    }
    let (ended, dir) = console.engine.stop();
    assert!(ended);
    let mut looked_at = 0;
    let mut folders = vec![dir.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            looked_at += 1;
            for secret in secrets.iter().map(|s| s.as_bytes()).chain([raw.as_slice()]) {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "in {}", path.display());
            }
        }
    }
    assert!(looked_at > 3, "{looked_at}");
}

#[test]
fn users_are_managed_on_the_command_line_too() {
    let console = Console::start();
    let dir = &console.engine.dir;
    let says = |arguments: &[&str], line: &str, expected: &str| {
        let said = users(dir, arguments, line);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        said
    };
    says(&["add", "sam", "--role", "staff", "--permissions", "manage-jobs,view-system"], PASSWORD, "sam is made");
    says(&["add", "short"], "short", "expected at least 12");
    says(&["add", "x", "--role", "king"], PASSWORD, "expected one of administrator, staff, user, demo");
    let sam = console.sign_in("sam");
    assert_eq!(sam.get("/api/session").json()["user"]["permissions"], json!(["manage-jobs", "view-system"]));
    says(&["edit", "sam", "--sources", "bin*", "--permissions", ""], "", "sam is changed");
    let user = sam.get("/api/session").json()["user"].clone();
    assert_eq!((&user["permissions"], &user["sources"]), (&json!([]), &json!(["bin*"])));
    let secret = says(&["token", "sam", "--label", "desk", "--days", "1"], "", "tickwire_");
    assert_eq!(console.bearer(secret.trim()).get("/api/session").status, 200);
    says(&["password", "sam"], "another good password", "sam has a new password");
    assert_eq!(sam.get("/api/session").status, 401, "their sessions end");
    let listed: Value = serde_json::from_str(&users(dir, &["list", "--json"], "")).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    says(&["remove", "sam"], "", "sam is removed");
    let audit = console.sign_in(ADMIN).get("/api/audit?action=remove_user").json();
    assert_eq!((&audit["entries"][0]["subject"], &audit["entries"][0]["actor"]), (&json!("sam"), &Value::Null));
}
