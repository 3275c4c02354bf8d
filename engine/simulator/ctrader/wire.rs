//! FIX messages by the book: a list of tags and texts, checked after it was read. Pure.

/// Nothing that a client says is longer.
const MESSAGE_BYTES: usize = 64 * 1024;

/// The fields of a message in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields(Vec<(u32, String)>);

impl Fields {
    /// The first field `tag`; empty where there is none.
    pub(super) fn text(&self, tag: u32) -> &str {
        self.all(tag).next().unwrap_or_default()
    }

    /// The first field `tag` as a number.
    pub(super) fn number(&self, tag: u32) -> Option<u64> {
        self.text(tag).parse().ok()
    }

    /// Every field `tag`.
    pub(super) fn all(&self, tag: u32) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| *found == tag).map(|(_, value)| value.as_str())
    }
}

/// What the front of a buffer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A message.
    Message(Fields),
    /// A message with a wrong checksum or a field that is none.
    Garbled,
    /// No message begins here, or one that is too long: the stream is of no more use.
    Hopeless,
    /// Not enough yet.
    More,
}

/// Takes the first message out of a buffer.
pub(super) fn take(buffer: &mut Vec<u8>) -> Taken {
    const BEGIN: &[u8] = b"8=FIX.4.4\x019=";
    let known = buffer.len().min(BEGIN.len());
    if buffer[..known] != BEGIN[..known] {
        return Taken::Hopeless;
    }
    let Some(digits) = buffer[known..].iter().position(|b| *b == 1) else {
        return if buffer.len() - known > 6 { Taken::Hopeless } else { Taken::More };
    };
    let length = std::str::from_utf8(&buffer[known..known + digits]).ok().and_then(|text| text.parse::<usize>().ok());
    let Some(length) = length.filter(|length| *length < MESSAGE_BYTES) else { return Taken::Hopeless };
    let trailer = known + digits + 1 + length;
    let end = trailer + "10=000\x01".len();
    if buffer.len() < end {
        return Taken::More;
    }
    let message: Vec<u8> = buffer.drain(..end).collect();
    let sum: u32 = message[..trailer].iter().map(|b| u32::from(*b)).sum();
    if message[trailer..] != *format!("10={:03}\x01", sum % 256).as_bytes() {
        // With a wrong length, what follows is not the beginning of a message: hopeless then.
        return Taken::Garbled;
    }
    let field = |text: &str| {
        let (tag, value) = text.split_once('=')?;
        Some((tag.parse().ok()?, value.to_string()))
    };
    let text = String::from_utf8(message).unwrap_or_default();
    let fields: Option<Vec<_>> = text.split_terminator('\x01').map(field).collect();
    match fields.filter(|fields| fields.get(2).is_some_and(|(tag, _)| *tag == 35)) {
        Some(fields) => Taken::Message(Fields(fields)),
        None => Taken::Garbled,
    }
}

/// A whole message around its body.
pub(super) fn envelope(body: &str) -> Vec<u8> {
    let head = format!("8=FIX.4.4\x019={}\x01{body}", body.len());
    let sum: u32 = head.bytes().map(u32::from).sum();
    format!("{head}10={:03}\x01", sum % 256).into_bytes()
}
