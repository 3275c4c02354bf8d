//! One side of a connection, without the connection: the greeting, the handshake, messages and commands.

use super::{COMMAND, Fault, Kind, LONG, MORE, put_frame};

/// A greeting: ten bytes of signature, two of version, twenty of mechanism, one of role, and filler.
const GREETING_BYTES: usize = 64;

/// Longest words of the other side that are kept: its ERROR has at most 255.
const WORDS_MAX: usize = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ready,
    Open,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Peer {
    kind: Kind,
    stage: Stage,
    limit: usize,
    /// The beginning of what is not whole yet.
    tail: Vec<u8>,
    /// The parts so far of a message that has more.
    parts: Vec<u8>,
    within: bool,
    delimited: bool,
    /// What is to be sent.
    out: Vec<u8>,
}

/// A whole frame at the front of a buffer.
struct Frame<'a> {
    flags: u8,
    body: &'a [u8],
    /// Its length with its head.
    length: usize,
}

impl Peer {
    /// A socket of some kind that refuses messages of more than `limit` bytes. Its greeting is what is to be sent first.
    #[must_use]
    pub fn new(kind: Kind, limit: usize) -> Self {
        let mut out = vec![0; GREETING_BYTES];
        (out[0], out[9], out[10]) = (0xff, 0x7f, 3);
        out[12..16].copy_from_slice(b"NULL");
        Peer {
            kind,
            stage: Stage::Greeting,
            limit,
            tail: Vec::new(),
            parts: Vec::new(),
            within: false,
            delimited: false,
            out,
        }
    }

    /// Whether the handshake is over, so that messages may be said.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// What is to be sent, in order; what was sent is the caller's to take out.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends a message.
    pub fn say(&mut self, body: &[u8]) {
        if self.kind.is_delimited() {
            put_frame(&mut self.out, MORE, b"");
        }
        put_frame(&mut self.out, 0, body);
    }

    /// Takes bytes and hands each message that they complete to `each`, without the empty frame of REQ and REP. The parts of
    /// a message of several are joined. One that came in one piece is handed on where it lies.
    ///
    /// # Errors
    /// [`Fault`]; the messages before have been handed on.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Fault> {
        if self.tail.is_empty() {
            let used = self.split(bytes, &mut each)?;
            self.tail.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut tail = std::mem::take(&mut self.tail);
        tail.extend_from_slice(bytes);
        let used = self.split(&tail, &mut each)?;
        tail.drain(..used);
        self.tail = tail;
        Ok(())
    }

    /// Takes what is whole, and says how many bytes that was.
    fn split(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, Fault> {
        let mut used = 0;
        if self.stage == Stage::Greeting {
            let Some(greeting) = greeting(bytes)? else { return Ok(0) };
            mechanism(greeting)?;
            let mut ready = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
            ready.push(self.kind.word().len() as u8);
            ready.extend_from_slice(self.kind.word().as_bytes());
            put_frame(&mut self.out, COMMAND, &ready);
            self.stage = Stage::Ready;
            used = GREETING_BYTES;
        }
        while let Some(frame) = frame(&bytes[used..], self.limit)? {
            match frame.flags & (COMMAND | MORE) {
                COMMAND => self.command(frame.body)?,
                _ if self.stage != Stage::Open => return Err(Fault::Malformed("READY before any message")),
                more => self.part(frame.body, more == MORE, each)?,
            }
            used += frame.length;
        }
        Ok(used)
    }

    fn part(&mut self, body: &[u8], more: bool, each: &mut impl FnMut(&[u8])) -> Result<(), Fault> {
        if self.kind.is_delimited() && !self.within && !self.delimited && more && body.is_empty() {
            self.delimited = true;
            return Ok(());
        }
        if !self.within && !more {
            self.delimited = false;
            each(body);
            return Ok(());
        }
        if self.parts.len() + body.len() > self.limit {
            return Err(Fault::TooLong(self.limit));
        }
        self.parts.extend_from_slice(body);
        self.within = more;
        if !more {
            self.delimited = false;
            each(&self.parts);
            self.parts.clear();
        }
        Ok(())
    }

    fn command(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (length, rest) = body.split_first().ok_or(Fault::Malformed("the name of a command"))?;
        let named = rest.split_at_checked(usize::from(*length));
        let (name, data) = named.ok_or(Fault::Malformed("the whole name of a command"))?;
        match (name, self.stage) {
            (b"READY", Stage::Ready) => {
                self.partner(data)?;
                self.stage = Stage::Open;
                Ok(())
            }
            (b"ERROR", _) => Err(Fault::Refused(words(data.get(1..).unwrap_or_default()))),
            (_, Stage::Ready | Stage::Greeting) => Err(Fault::Malformed("READY")),
            // Two bytes of patience, then what the answer must repeat.
            (b"PING", Stage::Open) => {
                let context = data.get(2..18).or(data.get(2..)).unwrap_or_default();
                put_frame(&mut self.out, COMMAND, &[b"\x04PONG", context].concat());
                Ok(())
            }
            // PONG, and what later versions may add.
            (_, Stage::Open) => Ok(()),
        }
    }

    /// Whether the other socket is one that this may talk to.
    fn partner(&self, mut properties: &[u8]) -> Result<(), Fault> {
        let wrong = || Fault::Malformed("the properties of READY");
        while let Some((length, rest)) = properties.split_first() {
            let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(wrong)?;
            let (length, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| wrong())?;
            let (value, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
            properties = rest;
            if name.eq_ignore_ascii_case(b"Socket-Type") {
                let partners = self.kind.partners();
                if partners.iter().any(|word| word.as_bytes() == value) {
                    return Ok(());
                }
                return Err(Fault::Partner { found: words(value), own: self.kind.word(), expected: partners[0] });
            }
        }
        Err(Fault::Malformed("a Socket-Type in READY"))
    }
}

/// The greeting at the front, when it is whole. What cannot become one is told at its first wrong byte: versions before 3
/// send fewer bytes, and then wait.
fn greeting(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    if bytes.first().is_some_and(|b| *b != 0xff) || bytes.get(9).is_some_and(|b| *b != 0x7f) {
        return Err(Fault::NotZeroMq);
    }
    match bytes.get(10) {
        Some(major @ 0..3) => Err(Fault::Version(*major)),
        _ => Ok(bytes.get(..GREETING_BYTES)),
    }
}

fn mechanism(greeting: &[u8]) -> Result<(), Fault> {
    let name = greeting[12..32].split(|b| *b == 0).next().unwrap_or_default();
    if name == b"NULL" { Ok(()) } else { Err(Fault::Security(words(name))) }
}

/// The frame at the front, when it is whole; a length beyond the limit is refused as soon as it is said.
fn frame(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, Fault> {
    let Some(flags) = bytes.first().copied() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        return Err(Fault::Malformed("the flags of a frame"));
    }
    let (length, head) = if flags & LONG == 0 {
        let Some(length) = bytes.get(1) else { return Ok(None) };
        (u64::from(*length), 2)
    } else {
        let Some(length) = bytes[1..].first_chunk() else { return Ok(None) };
        (u64::from_be_bytes(*length), 9)
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(Fault::TooLong(limit))?;
    Ok(bytes.get(head..head + length).map(|body| Frame { flags, body, length: head + length }))
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_MAX)]).into_owned()
}
