//! The scripted terminal of MTsocketAPI: one command on its first port, the acts on its second.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{Act, Stage};

pub(super) fn serve(stage: &Stage, mut commands: TcpStream) -> std::io::Result<()> {
    let mut command = String::new();
    if BufReader::new(commands.try_clone()?).read_line(&mut command)? == 0 {
        return Ok(());
    }
    assert!(command.contains("\"TRACK_PRICES\"") && command.ends_with("\r\n"), "{command}");
    // The client has connected to it before it said this.
    let (data, _) = stage.data.as_ref().unwrap().accept()?;
    stage.requests.lock().unwrap().push(command.trim().to_string());
    let script = &stage.scripts[stage.turn.fetch_add(1, SeqCst).min(stage.scripts.len() - 1)];
    let mut answer = |number: i64, words: &str| {
        write!(commands, "{{\"MSG\":\"TRACK_PRICES\",\"ERROR_ID\":{number},\"ERROR_DESCRIPTION\":\"{words}\"}}\r\n")
    };
    match script[0] {
        // It has no secret to repeat.
        Act::Refuse => return answer(65, "Nobody knows you"),
        Act::SlowDown => return answer(10_024, "slower"),
        Act::Hangup => return Ok(()),
        _ => answer(0, "The operation completed successfully")?,
    }
    let mut out = data;
    script.iter().try_for_each(|act| play(stage, &mut out, *act))
}

fn play(stage: &Stage, out: &mut TcpStream, act: Act) -> std::io::Result<()> {
    let line = |text: &str| format!("{text}\r\n");
    match act {
        Act::Price => out.write_all(line(stage.price).as_bytes()),
        Act::Say(text) => out.write_all(line(text).as_bytes()),
        Act::Halves => {
            let text = line(stage.price);
            let (a, b) = text.as_bytes().split_at(text.len() / 2);
            out.set_nodelay(true)?;
            out.write_all(a)?;
            std::thread::yield_now();
            out.write_all(b)
        }
        Act::Rubbish => out.write_all(line("\x7bwhat\u{b7}ever").as_bytes()),
        Act::Huge => {
            // The client may hang up before it has read all of it.
            let _ = out.write_all(&vec![b'x'; 2 << 20]);
            Ok(())
        }
        Act::Close => out.shutdown(std::net::Shutdown::Both),
        Act::Heartbeats => loop {
            out.write_all(line("{\"MSG\":\"ACCOUNT_STATUS\",\"BALANCE\":100.0}").as_bytes())?;
            // The pace of the venue, not a wait for anything.
            std::thread::sleep(Duration::from_millis(2));
        },
        Act::Hold => {
            let _ = out.read_to_end(&mut Vec::new());
            let _ = stage.closed.send(());
            Ok(())
        }
        Act::PingPong | Act::UnknownSymbol | Act::Refuse | Act::SlowDown | Act::Hangup => {
            unreachable!("not on this port")
        }
    }
}
