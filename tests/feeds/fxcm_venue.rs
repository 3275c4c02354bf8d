//! FXCM's part of the scripted venue: the greeting of its socket, and the form that subscribes.

use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;

use super::{Act, Stage, reply};

/// What a new socket is told; a login that is refused learns it behind the socket's name.
pub(super) fn greeting(first: Act) -> [&'static str; 2] {
    let greeting = if first == Act::Refuse { "44\"Nobody knows you with hunter2\"" } else { "40" };
    [r#"0{"sid":"s0cket","upgrades":[],"pingInterval":25000,"pingTimeout":60000}"#, greeting]
}

/// Answers the request that subscribes, over a connection of its own beside the socket.
pub(super) fn subscribe(stage: &Stage, head: &str, reader: &mut impl Read, out: &mut TcpStream) -> std::io::Result<()> {
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_string())
    };
    assert_eq!(header("authorization").as_deref(), Some("Bearer s0ckethunter2"));
    assert_eq!(header("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    let mut form = vec![0; header("content-length").unwrap().parse().unwrap()];
    reader.read_exact(&mut form)?;
    let form = String::from_utf8(form).unwrap().replace("%2F", "/");
    let pair = form.strip_prefix("pairs=").unwrap();
    let script = &stage.scripts[(stage.turn.load(SeqCst) - 1).min(stage.scripts.len() - 1)];
    let body = match script.contains(&Act::UnknownSymbol) {
        true => r#"{"response":{"executed":false,"error":"Unknown symbol"}}"#.to_string(),
        false => {
            let update = format!(r#"{{\"Updated\":1501275479,\"Rates\":[1.17481,1.17513],\"Symbol\":\"{pair}\"}}"#);
            format!(r#"{{"response":{{"executed":true,"error":""}},"pairs":"{update}"}}"#)
        }
    };
    stage.requests.lock().unwrap().push(form);
    reply(out, "200 OK", &body)
}
