//! The scripted venue in FIX: logon, the list of symbols and one subscription, then the acts. By hand, apart from the
//! engine's codec.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{Act, Stage};

/// Fields that a connection has for itself, or that do not matter here.
const HEADER: &[&str] = &["8", "9", "35", "34", "49", "50", "52", "56", "57", "10"];

struct Player<'a> {
    stage: &'a Stage,
    reader: BufReader<TcpStream>,
    out: TcpStream,
    seq: u32,
}

pub(super) fn serve(stage: &Stage, socket: TcpStream) -> std::io::Result<()> {
    let mut player = Player { stage, reader: BufReader::new(socket.try_clone()?), out: socket, seq: 1 };
    let Some(logon) = player.hear()? else { return Ok(()) };
    assert!(logon.contains("|35=A|") && logon.contains("|98=0|") && logon.contains("|141=Y|"), "{logon}");
    let script = &stage.scripts[stage.turn.fetch_add(1, SeqCst).min(stage.scripts.len() - 1)];
    match script[0] {
        Act::Refuse => return player.say("35=5|58=InternalError: RET_INVALID_DATA. Nobody knows you, hunter2"),
        Act::SlowDown => return player.say("35=5|58=REQUEST_FREQUENCY_EXCEEDED"),
        Act::Hangup => return Ok(()),
        _ => {}
    }
    player.note(&logon);
    player.say("35=A|98=0|108=30|141=Y")?;
    let asked = player.hear()?.unwrap_or_default();
    assert!(asked.contains("|35=x|"), "{asked}");
    player.note(&asked);
    player.say("35=y|320=symbols|322=responce:symbols|560=0|146=2|55=1|1007=EURUSD|1008=5|55=2|1007=GBPUSD|1008=5")?;
    let asked = player.hear()?.unwrap_or_default();
    assert!(asked.contains("|35=V|") && asked.contains("|55=1|"), "{asked}");
    player.note(&asked);
    script.iter().try_for_each(|act| player.play(*act))
}

impl Player<'_> {
    /// Remembers what was asked, without what differs from one moment to the next.
    fn note(&self, asked: &str) {
        let timeless = asked.split('|').filter(|field| !["9=", "52=", "10="].iter().any(|tag| field.starts_with(tag)));
        let timeless = timeless.collect::<Vec<_>>().join("|");
        self.stage.requests.lock().unwrap().push(timeless);
    }

    /// The next message of the client, with `|` for the byte 1; `None` when it went.
    fn hear(&mut self) -> std::io::Result<Option<String>> {
        let mut bytes = Vec::new();
        let ends = |bytes: &[u8]| {
            let tail = bytes.len().checked_sub(8).map(|at| &bytes[at..]);
            tail.is_some_and(|tail| tail.starts_with(b"\x0110=") && tail.ends_with(b"\x01"))
        };
        while !ends(&bytes) {
            let mut byte = [0];
            if self.reader.read(&mut byte)? == 0 {
                return Ok(None);
            }
            bytes.push(byte[0]);
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, _) = text.split_at(text.len() - 7);
        assert_eq!(text, envelope(&head.splitn(3, '\x01').nth(2).unwrap().replace('\x01', "|")), "length and checksum");
        let text = text.replace('\x01', "|");
        // Nobody listens any more when a test is over.
        let _ = self.stage.asked.send(text.clone());
        Ok(Some(text))
    }

    fn message(&mut self, text: &str) -> String {
        let (kind, rest) = text.split_once('|').unwrap_or((text, ""));
        let rest = rest.trim_end_matches('|');
        let end = if rest.is_empty() { "" } else { "|" };
        let seq = self.seq;
        self.seq += 1;
        envelope(&format!(
            "{kind}|34={seq}|49=cServer|50=QUOTE|52=20260916-14:57:52.978|56=demo.broker.77|57=QUOTE|{rest}{end}"
        ))
    }

    /// The example with this connection's numbers.
    fn price(&mut self) -> String {
        let fields = self.stage.price.split('\x01').filter(|field| {
            let tag = field.split('=').next().unwrap();
            !tag.is_empty() && !HEADER.contains(&tag)
        });
        let text = fields.collect::<Vec<_>>().join("|");
        self.message(&format!("35=W|{text}"))
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        let message = self.message(text);
        self.out.write_all(message.as_bytes())
    }

    fn play(&mut self, act: Act) -> std::io::Result<()> {
        match act {
            Act::Price => {
                let price = self.price();
                self.out.write_all(price.as_bytes())
            }
            // Three messages that never come.
            Act::Say("SKIP") => {
                self.seq += 3;
                Ok(())
            }
            Act::Say(text) => self.say(text),
            Act::PingPong => {
                self.say("35=1|112=hey")?;
                while self.hear()?.is_some_and(|said| !(said.contains("|35=0|") && said.contains("|112=hey|"))) {}
                Ok(())
            }
            Act::Halves => {
                let message = self.price().into_bytes();
                let (a, b) = message.split_at(message.len() / 2);
                self.out.set_nodelay(true)?;
                self.out.write_all(a)?;
                std::thread::yield_now();
                self.out.write_all(b)
            }
            // A wrong checksum, and no number of the count.
            Act::Rubbish => self.out.write_all(b"8=FIX.4.4\x019=10\x0135=W\x0134=9\x0110=000\x01"),
            Act::Huge => self.out.write_all(b"8=FIX.4.4\x019=2097152\x0135=W\x01"),
            Act::Close => self.out.shutdown(std::net::Shutdown::Both),
            Act::Heartbeats => loop {
                self.say("35=0")?;
                // The pace of the venue, not a wait for anything.
                std::thread::sleep(Duration::from_millis(2));
            },
            Act::Hold | Act::UnknownSymbol => {
                while self.hear()?.is_some() {}
                let _ = self.stage.closed.send(());
                Ok(())
            }
            Act::Refuse | Act::SlowDown | Act::Hangup => unreachable!("played before the logon is answered"),
        }
    }
}

/// A whole message around a body with `|` for the byte 1.
fn envelope(body: &str) -> String {
    let body = body.replace('|', "\x01");
    let head = format!("8=FIX.4.4\x019={}\x01{body}", body.len());
    let sum: u32 = head.bytes().map(u32::from).sum();
    format!("{head}10={:03}\x01", sum % 256)
}
