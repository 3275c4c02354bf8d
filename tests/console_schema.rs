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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemathesis = folder.join(".cache/venv/bin/st");
    assert!(schemathesis.exists(), "{} is missing: run `scripts/get-venv`", schemathesis.display());

    let store = "mode = \"embedded\"\nlisten = \"127.0.0.1:0\"";
    let text = config(free_port()).replace("mode = \"off\"", store);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("test.toml"), &text).unwrap();
    users(&dir, &["add", ADMIN, "--role", "administrator"], PASSWORD);
    let console = Console::start_in(dir, &text);
    // What the run may change and remove: a token of this number and a user of this name, as `schemathesis.toml` has them.
    let admin = console.sign_in(ADMIN);
    let secret = token(&admin, &["read", "write"]);
    let other = admin.post("/api/tokens", &json!({ "name": "other", "scopes": ["read"] }));
    assert_eq!(other.json()["id"], 2, "{}", other.body);
    // Made while the engine runs: two processes hold the control database.
    let made = users(&console.engine.dir, &["add", "somebody"], PASSWORD);
    assert!(made.contains("somebody is made"), "{made}");

    let out = Command::new(schemathesis)
        .current_dir(console.engine.dir.path())
        .env("TICKWIRE_TOKEN", &secret)
        .arg("--config-file")
        .arg(folder.join("tests/python/schemathesis.toml"))
        .args(["run", "--no-color", "--workers", "2"])
        .arg(format!("http://{}/api/openapi.json", console.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert_eq!(console.bearer(&secret).get("/api/users").status, 200, "the run stood on this token: {said}");
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
