//! The scripted venue that is asked again and again: one connection is one session, and each act answers a request.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;

use super::{Act, Stage, reply};

pub(super) fn serve(stage: &Stage, socket: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut out = socket;
    let Some(first) = hear(&mut reader)? else { return Ok(()) };
    assert!(first.1, "the header with the secret");
    // Nobody listens any more when a test is over.
    let _ = stage.asked.send(first.0.clone());
    stage.requests.lock().unwrap().push(first.0);
    let script = &stage.scripts[stage.turn.fetch_add(1, SeqCst).min(stage.scripts.len() - 1)];
    for (at, act) in script.iter().enumerate() {
        if at > 0 && *act != Act::Hold && hear(&mut reader)?.is_none() {
            return Ok(());
        }
        play(stage, &mut out, &mut reader, *act)?;
    }
    Ok(())
}

/// The line of the next request, and whether it has the header; `None` when the client went.
fn hear(reader: &mut impl BufRead) -> std::io::Result<Option<(String, bool)>> {
    let (mut request, mut known) = (String::new(), false);
    if reader.read_line(&mut request)? == 0 {
        return Ok(None);
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            return Ok(Some((request.trim().to_string(), known)));
        }
        known |= line.trim().eq_ignore_ascii_case("authorization: bearer hunter2");
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn play(stage: &Stage, out: &mut TcpStream, reader: &mut impl BufRead, act: Act) -> std::io::Result<()> {
    match act {
        Act::Refuse => reply(out, "403 Forbidden", "Nobody knows you with hunter2"),
        Act::SlowDown => reply(out, "429 Too Many Requests\r\nRetry-After: 60", "slower"),
        Act::Hangup => Ok(()),
        Act::Close => out.shutdown(std::net::Shutdown::Both),
        Act::Price => out.write_all(answer(stage.price).as_bytes()),
        Act::Say(text) => out.write_all(answer(text).as_bytes()),
        Act::Rubbish => out.write_all(answer("\x7bwhat\u{b7}ever").as_bytes()),
        Act::Halves => {
            // The same price at another time: an answer without news would be no price.
            let text = answer(&stage.price.replace(".123", ".456"));
            let (a, b) = text.as_bytes().split_at(text.len() - 40);
            out.set_nodelay(true)?;
            out.write_all(a)?;
            std::thread::yield_now();
            out.write_all(b)
        }
        Act::Huge => {
            // The client may hang up before it has read all of it.
            let _ = out.write_all(answer(&"x".repeat(2 << 20)).as_bytes());
            Ok(())
        }
        Act::Heartbeats => loop {
            out.write_all(answer("{\"prices\":[]}").as_bytes())?;
            if hear(reader)?.is_none() {
                return Ok(());
            }
        },
        Act::Hold => {
            let _ = reader.read_to_end(&mut Vec::new());
            let _ = stage.closed.send(());
            Ok(())
        }
        Act::PingPong | Act::UnknownSymbol => unreachable!("HTTP has no pings, and confirms nothing"),
    }
}
