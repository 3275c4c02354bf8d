//! The OpenAPI document against the running engine: by schemathesis, and by somebody who shows nothing. Needs libchdb
//! (`scripts/get-chdb`) and the Python environment (`scripts/get-venv`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use console_support::{ADMIN, Console, PASSWORD, Person, config, token, users};
use engine_support::free_port;
use serde_json::json;

/// What anybody may ask.
const OPEN: [&str; 3] = ["GET /api/openapi.json", "POST /api/first-run", "POST /api/session"];

#[test]
fn what_the_document_says_is_what_is_answered() {
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let text = config(port).replace("mode = \"off\"", "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"");
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    let console = Console::start_in(dir, &text);
    let admin = console.sign_in(ADMIN);
    let secret = token(&admin, &["read", "write"]);
    // What the run may change and remove, as `schemathesis.toml` names it: a token, a connection and a user.
    let other = admin.post("/api/tokens", &json!({ "name": "other", "scopes": ["read"] }));
    assert_eq!(other.json()["id"], 2, "{}", other.body);
    let kept = json!({
        "name": "kept", "adapter": "binance", "private": false, "symbols": { "BTCUSDT": "" },
        "config": { "base_url": format!("ws://127.0.0.1:{port}"), "rest_url": format!("http://127.0.0.1:{port}") },
    });
    let kept = admin.post("/api/data-connections", &kept);
    assert_eq!(kept.status, 201, "{}", kept.body);
    // While the engine runs: two processes hold the control database.
    let made = users(&console.engine.dir, &["add", "somebody"], PASSWORD);
    assert!(made.contains("somebody is made"), "{made}");

    schemathesis(&console, "schemathesis.toml", &[("TICKWIRE_TOKEN", secret.as_str())]);
    assert_eq!(console.bearer(&secret).get("/api/users").status, 200, "the run stood on this token");
    let value = |at: usize, before: &str| admin.headers[at].strip_prefix(before).unwrap().to_string();
    let (session, csrf) = (value(0, "Cookie: tickwire_session="), value(1, "X-CSRF-Token: "));
    let by_session = [("TICKWIRE_SESSION", session.as_str()), ("TICKWIRE_CSRF", csrf.as_str())];
    schemathesis(&console, "schemathesis_session.toml", &by_session);
    assert_eq!(admin.get("/api/users").status, 200, "the run stood on this session");
}

/// Has schemathesis ask everything that its configuration does not leave out; it must find nothing.
fn schemathesis(console: &Console, configuration: &str, given: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join(".cache/venv/bin/st");
    assert!(program.exists(), "{} is missing: run `scripts/get-venv`", program.display());
    let out = Command::new(program)
        .current_dir(console.engine.dir.path())
        .envs(given.iter().copied())
        .arg("--config-file")
        .arg(folder.join("tests/python").join(configuration))
        // One worker: before Python 3.11.8 two threads that parse source at once may fail at it (CPython issue 106905).
        .args(["run", "--no-color", "--workers", "1"])
        .arg(format!("http://{}/api/openapi.json", console.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{configuration}: {said}");
}

#[test]
fn whoever_shows_nothing_gets_nothing_but_what_is_meant_for_all() {
    let console = Console::start();
    let document = console.anonymous().get("/api/openapi.json").json();
    let (mut said, mut names) = (Vec::new(), BTreeSet::new());
    let mut open = [Vec::new(), Vec::new()];
    let people = [console.anonymous(), console.bearer("tickwire_0000")];
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            if operation["security"] == json!([{}]) {
                said.push(name.clone());
            }
            for (person, open) in people.iter().zip(&mut open) {
                if lets_in(person, method, path) {
                    open.push(name.clone());
                }
            }
            let id = operation["operationId"].as_str().unwrap().to_string();
            assert!(names.insert(id.clone()), "two operations are called {id}");
        }
    }
    assert!(names.len() > 50, "{names:?}");
    for mut found in [said].into_iter().chain(open) {
        found.sort();
        assert_eq!(found, OPEN);
    }
}

/// Whether they are answered anything but that they must sign in.
fn lets_in(person: &Person, method: &str, path: &str) -> bool {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    let path = parts.collect::<Vec<_>>().join("/");
    let answer = person.ask(&method.to_uppercase(), &path, None);
    !(answer.status == 401 && answer.code() == "not_signed_in")
}
