//! Every route of the API's document and every kind of viewer: who is let in, and who is not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod console_support;
mod engine_support;

use std::collections::BTreeSet;

use console_support::{ADMIN, Console, Person};
use serde_json::{Value, json};

/// Who is let in. Everybody else is told 401 when they are nobody, and 403 when they are somebody.
#[derive(Debug, Clone, Copy, PartialEq)]
enum For {
    /// Anybody at all.
    All,
    /// Whoever is signed in; a demo account and a token for reading when it reads.
    SignedIn,
    /// The same, but people and no tokens.
    People,
    /// Administrators, and staff with a permission, which the staff here lack.
    Managers,
    /// Administrators and whoever owns it; to others it is not there.
    Owners,
}

/// A route, who is let in, and a body that makes sense as far as the shape goes.
const ROUTES: &[(&str, &str, For, &str)] = &[
    ("GET", "/api/openapi.json", For::All, ""),
    // session
    ("GET", "/api/session", For::SignedIn, ""),
    ("POST", "/api/session", For::All, r#"{"name":"nobody","password":"x"}"#),
    ("DELETE", "/api/session", For::People, ""),
    ("POST", "/api/first-run", For::All, r#"{"token":"x","name":"eve","password":"correct horse"}"#),
    ("POST", "/api/session/password", For::People, r#"{"current":"x","new":"short"}"#),
    ("POST", "/api/session/totp", For::People, r#"{"password":"correct horse battery"}"#),
    ("PUT", "/api/session/totp", For::People, r#"{"code":"x"}"#),
    ("DELETE", "/api/session/totp", For::People, r#"{"password":"correct horse battery"}"#),
    // users, tokens, settings
    ("GET", "/api/users", For::Managers, ""),
    ("POST", "/api/users", For::Managers, r#"{"name":"","password":"","role":"user"}"#),
    ("PATCH", "/api/users/{name}", For::Managers, r#"{"disabled":false}"#),
    ("DELETE", "/api/users/{name}", For::Managers, ""),
    ("GET", "/api/audit", For::Managers, ""),
    ("GET", "/api/tokens", For::SignedIn, ""),
    ("POST", "/api/tokens", For::People, r#"{"name":"","scopes":[]}"#),
    ("DELETE", "/api/tokens/{id}", For::SignedIn, ""),
    ("GET", "/api/settings", For::Managers, ""),
    ("PUT", "/api/settings", For::Managers, "{}"),
    // connections
    ("GET", "/api/adapters", For::SignedIn, ""),
    ("GET", "/api/error-codes", For::SignedIn, ""),
    ("GET", "/api/data-connections", For::SignedIn, ""),
    ("POST", "/api/data-connections", For::SignedIn, DRAFT),
    ("GET", "/api/data-connections/health", For::SignedIn, ""),
    ("POST", "/api/data-connections/test", For::SignedIn, DRAFT),
    ("POST", "/api/data-connections/symbols", For::SignedIn, DRAFT),
    ("GET", "/api/data-connections/{name}", For::Owners, ""),
    ("PATCH", "/api/data-connections/{name}", For::Owners, "{}"),
    ("DELETE", "/api/data-connections/{name}", For::Owners, ""),
    ("POST", "/api/data-connections/{name}/test", For::Owners, ""),
    ("POST", "/api/data-connections/{name}/activate", For::Owners, ""),
    ("POST", "/api/data-connections/{name}/deactivate", For::Owners, ""),
    ("GET", "/api/data-connections/{name}/logs", For::Owners, ""),
    ("GET", "/api/data-connections/{name}/symbols", For::Owners, ""),
    ("GET", "/api/data-connections/{name}/account", For::Owners, ""),
    ("GET", "/api/data-connections/{name}/positions", For::Owners, ""),
    (
        "POST",
        "/api/data-connections/{name}/backfill",
        For::Owners,
        r#"{"symbol":"BTCUSDT","timeframe":"H1","from":"2024-01-01","to":"2024-01-02"}"#,
    ),
    // market data
    ("GET", "/api/instruments", For::SignedIn, ""),
    ("GET", "/api/bars", For::SignedIn, ""),
    ("GET", "/api/bars.csv", For::SignedIn, ""),
    ("GET", "/api/ticks", For::SignedIn, ""),
    ("GET", "/api/indicators", For::SignedIn, ""),
    ("GET", "/api/market-data/exists", For::SignedIn, ""),
    ("GET", "/api/market-data/statistics", For::SignedIn, ""),
    ("GET", "/api/live/quotes", For::SignedIn, ""),
    ("GET", "/api/live/sparklines", For::SignedIn, ""),
    ("GET", "/api/live/symbols/{symbol}", For::SignedIn, ""),
    // system
    ("GET", "/api/status", For::SignedIn, ""),
    ("GET", "/api/sources", For::SignedIn, ""),
    ("GET", "/api/gaps", For::SignedIn, ""),
    ("POST", "/api/gaps/{epoch}/{id}/repair", For::Owners, ""),
    ("GET", "/api/jobs", For::SignedIn, ""),
    ("POST", "/api/jobs", For::Owners, r#"{"kind":"retention"}"#),
    ("GET", "/api/jobs/{id}", For::Owners, ""),
    ("POST", "/api/jobs/{id}/cancel", For::Owners, ""),
    ("GET", "/api/job-schedules", For::SignedIn, ""),
    ("GET", "/api/storage", For::Managers, ""),
    ("GET", "/api/pipeline", For::Managers, ""),
    ("GET", "/api/terminals", For::Managers, ""),
    ("GET", "/api/alerts", For::SignedIn, ""),
    ("GET", "/api/alerts/settings", For::Managers, ""),
    ("PUT", "/api/alerts/settings", For::Managers, "{}"),
    ("POST", "/api/alerts/webhooks/{id}/test", For::Managers, ""),
];

const DRAFT: &str =
    r#"{"name":"mine","adapter":"nonsense","private":true,"config":{},"secrets":{},"symbols":{},"timeframes":[]}"#;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Nobody,
    Demo,
    User,
    Staff,
    Administrator,
    ReadToken,
    WriteToken,
}

impl For {
    /// Whether somebody is let in by this method.
    fn lets_in(self, kind: Kind, reads: bool) -> bool {
        let scope_fits = match kind {
            Kind::Demo | Kind::ReadToken => reads,
            Kind::WriteToken => !reads,
            _ => true,
        };
        let is_token = matches!(kind, Kind::ReadToken | Kind::WriteToken);
        let is_above = kind == Kind::Administrator || is_token;
        match self {
            For::All => true,
            For::SignedIn => kind != Kind::Nobody && scope_fits,
            For::People => kind != Kind::Nobody && scope_fits && !is_token,
            For::Managers | For::Owners => is_above && scope_fits,
        }
    }
}

#[test]
fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let console = Console::start();
    let admin = console.sign_in(ADMIN);
    let document = console.anonymous().get("/api/openapi.json").json();
    let people = [
        (Kind::Nobody, console.anonymous()),
        (Kind::Demo, console.user("demo", "demo", &[])),
        (Kind::User, console.user("ulf", "user", &[])),
        (Kind::Staff, console.user("sam", "staff", &[])),
        (Kind::Administrator, admin.clone()),
        (Kind::ReadToken, console.token(&admin, &["read"])),
        (Kind::WriteToken, console.token(&admin, &["write"])),
    ];
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let Some(route) = ROUTES.iter().find(|(m, p, ..)| *m == method && p == path) else {
                wrong.push(format!("{method} {path} is in the document and not in the table of this test"));
                continue;
            };
            seen.insert((method.clone(), path.clone()));
            let is_open = operation["security"].as_array().is_some_and(|all| all == &[json!({})]);
            // Who is signed in is asked of everybody, and the answer is 401.
            if is_open != (route.2 == For::All) {
                wrong.push(format!("{method} {path}: the document says another thing about who may come"));
            }
            for (kind, person) in &people {
                wrong.extend(ask(&console, route, *kind, person));
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong with the answer to somebody.
fn ask(console: &Console, route: &(&str, &str, For, &str), kind: Kind, person: &Person) -> Option<String> {
    let (method, path, who, body) = *route;
    let reads = method == "GET";
    // One that is ended is not there for the next route.
    let person = match (method, path, kind) {
        ("DELETE", "/api/session", Kind::Demo) => console.sign_in("demo"),
        ("DELETE", "/api/session", Kind::User) => console.sign_in("ulf"),
        ("DELETE", "/api/session", Kind::Staff) => console.sign_in("sam"),
        ("DELETE", "/api/session", Kind::Administrator) => console.sign_in(ADMIN),
        _ => person.clone(),
    };
    let filled = fill(path);
    let body = (!body.is_empty()).then(|| serde_json::from_str::<Value>(body).unwrap());
    let answer = person.ask(method, &filled, body.as_ref());
    let told = format!("{kind:?}: {method} {path}: {} {}", answer.status, answer.body);
    if answer.status >= 500 && answer.status != 503 {
        return Some(told);
    }
    // A demo account may end its own session, and wrong passwords are slowed.
    let signs_out = (method, path, kind) == ("DELETE", "/api/session", Kind::Demo);
    let right = if who.lets_in(kind, reads) || signs_out {
        let is_credentials = (method, path) == ("POST", "/api/session") && answer.status == 401;
        let is_link = path == "/api/first-run";
        ![401, 403].contains(&answer.status) || is_credentials || is_link
    } else if kind == Kind::Nobody {
        answer.status == 401
    } else {
        answer.status == 403 || (who == For::Owners && answer.status == 404)
    };
    (!right).then_some(told)
}

/// The path with names of what is not there, and what it cannot do without.
fn fill(path: &str) -> String {
    let filled = path.split('/').map(|part| match part {
        "{symbol}" => "BTCUSDT",
        "{id}" | "{epoch}" => "4000000",
        part if part.starts_with('{') => "nothing-of-this-name",
        part => part,
    });
    let query = match path {
        "/api/data-connections/{name}" => "?data=keep",
        "/api/bars" | "/api/bars.csv" | "/api/ticks" | "/api/indicators" | "/api/market-data/exists" => {
            "?source=best&symbol=BTCUSDT&timeframe=M1"
        }
        _ => "",
    };
    filled.collect::<Vec<_>>().join("/") + query
}
