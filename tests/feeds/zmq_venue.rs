//! The scripted expert advisers over ZeroMQ: the handshake on three sockets, the questions and their answers, then the acts
//! where prices come from. By hand, apart from the engine's codec.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{Act, Stage};

/// What one of these advisers answers, by its words.
struct Words {
    first: &'static str,
    known: &'static str,
    unknown: &'static str,
    slow: &'static str,
}

const DWX: Words = Words {
    first: "{'_action': 'heartbeat', '_response': 'loud and clear!'}",
    known: "{'_action': 'TRACK_PRICES', '_data': {'symbol_count':1, 'error_symbols':[]}}",
    unknown: "{'_action': 'TRACK_PRICES', '_data': {'symbol_count':1, 'error_symbols':['EURUSD']}}",
    slow: "{'_response': 'TRADE_CONTEXT_BUSY__ABORTED_COMMAND'}",
};

const MQL5: Words = Words {
    first: r#"{"balance":1.0,"equity":1.0,"margin":0.0,"margin_free":1.0}"#,
    known: r#"{"error":false,"lastError":"0","description":"ERR_SUCCESS","function":"f"}"#,
    unknown: r#"{"error":true,"lastError":"4301","description":"Unknown symbol","function":"ScriptConfiguration"}"#,
    slow: r#"{"error":true,"lastError":"10024","description":"slower","function":"f"}"#,
};

pub(super) fn serve(stage: &Stage, mut commands: TcpStream) -> std::io::Result<()> {
    let is_dwx = stage.adapter == "dwx";
    if !greet(&mut commands)? {
        return Ok(());
    }
    let script = &stage.scripts[stage.turn.fetch_add(1, SeqCst).min(stage.scripts.len() - 1)];
    match script[0] {
        // It has no secret to repeat.
        Act::Refuse => return commands.write_all(b"\x04\x17\x05ERROR\x10Nobody knows you"),
        Act::Hangup => return Ok(()),
        _ => introduce(&mut commands, if is_dwx { "PULL" } else { "REP" })?,
    }
    let mut answers = accept(stage.answers.as_deref().unwrap(), "PUSH")?;
    let mut prices = accept(stage.data.as_deref().unwrap(), if is_dwx { "PUB" } else { "PUSH" })?;
    let words = if is_dwx { DWX } else { MQL5 };
    if is_dwx {
        note(stage, &mut prices)?;
    }
    // The first question is whether anybody answers; the second of three clears what was subscribed.
    let questions = if is_dwx { 2 } else { 3 };
    for question in 1..=questions {
        if !is_dwx {
            assert_eq!(read_frame(&mut commands)?, (1, Vec::new()), "the delimiter of a request");
        }
        note(stage, &mut commands)?;
        if !is_dwx {
            commands.write_all(b"\x01\0\0\x02OK")?;
        }
        let answer = match script[0] {
            _ if question == 1 => words.first,
            Act::SlowDown => return answers.write_all(&message(words.slow)),
            Act::UnknownSymbol if question == questions => return answers.write_all(&message(words.unknown)),
            _ => words.known,
        };
        answers.write_all(&message(answer))?;
    }
    script.iter().try_for_each(|act| play(stage, &mut prices, *act))
}

/// The greetings; false when nobody is there.
fn greet(socket: &mut TcpStream) -> std::io::Result<bool> {
    let mut greeting = [0; 64];
    if socket.read(&mut greeting[..1])? == 0 {
        return Ok(false);
    }
    socket.read_exact(&mut greeting[1..])?;
    assert!(greeting.starts_with(b"\xff") && &greeting[9..17] == b"\x7f\x03\0NULL\0", "{greeting:?}");
    let mut ours = [0; 64];
    (ours[0], ours[9], ours[10], ours[11]) = (0xff, 0x7f, 3, 1);
    ours[12..16].copy_from_slice(b"NULL");
    ours[32] = 1;
    socket.write_all(&ours)?;
    Ok(true)
}

/// READY of both sides, ours with a property that nobody knows.
fn introduce(socket: &mut TcpStream, kind: &str) -> std::io::Result<()> {
    let mut ready = b"\x05READY\x01X\0\0\0\x02ab\x0bsocket-type\0\0\0".to_vec();
    ready.push(u8::try_from(kind.len()).unwrap());
    ready.extend_from_slice(kind.as_bytes());
    let head = [4, u8::try_from(ready.len()).unwrap()];
    socket.write_all(&[&head[..], &ready].concat())?;
    let (flags, ready) = read_frame(socket)?;
    assert!(flags == 4 && ready.starts_with(b"\x05READY\x0bSocket-Type"), "{ready:?}");
    Ok(())
}

fn accept(listener: &TcpListener, kind: &str) -> std::io::Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    assert!(greet(&mut socket)?);
    introduce(&mut socket, kind)?;
    Ok(socket)
}

/// Remembers the next message of a client.
fn note(stage: &Stage, socket: &mut TcpStream) -> std::io::Result<()> {
    let (flags, body) = read_frame(socket)?;
    assert_eq!(flags, 0, "a whole message: {body:?}");
    let text = String::from_utf8(body).unwrap();
    stage.requests.lock().unwrap().push(text.clone());
    // Nobody listens any more when a test is over.
    let _ = stage.asked.send(text);
    Ok(())
}

/// A short frame: its flags and its body.
fn read_frame(socket: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(head[1])];
    socket.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn message(text: &str) -> Vec<u8> {
    [&[0, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn play(stage: &Stage, out: &mut TcpStream, act: Act) -> std::io::Result<()> {
    const PING: &[u8] = b"\x04\x0a\x04PING\0\x0ahey";
    match act {
        Act::Price => out.write_all(&message(stage.price)),
        Act::Say(text) => out.write_all(&message(text)),
        Act::PingPong => {
            out.write_all(PING)?;
            assert_eq!(read_frame(out)?, (4, b"\x04PONGhey".to_vec()));
            Ok(())
        }
        Act::Halves => {
            let text = message(stage.price);
            let (a, b) = text.split_at(text.len() / 2);
            out.set_nodelay(true)?;
            out.write_all(a)?;
            std::thread::yield_now();
            out.write_all(b)
        }
        Act::Rubbish => out.write_all(&message("\x7bwhat\u{b7}ever")),
        Act::Huge => out.write_all(b"\x02\0\0\0\0\0\x20\0\0"),
        Act::Close => out.shutdown(std::net::Shutdown::Both),
        Act::Heartbeats => loop {
            out.write_all(PING)?;
            // The pace of the venue, not a wait for anything.
            std::thread::sleep(Duration::from_millis(2));
        },
        Act::Hold | Act::UnknownSymbol => {
            let _ = out.read_to_end(&mut Vec::new());
            let _ = stage.closed.send(());
            Ok(())
        }
        Act::Refuse | Act::SlowDown | Act::Hangup => unreachable!("played before prices are asked for"),
    }
}
