//! Control messages: frames of kind 128 and above, whose body is one JSON object in UTF-8.
//!
//! Unknown fields are ignored and absent optional ones take their default, so that either side may be newer. A field
//! that is missing or of the wrong type is a [`ControlError`] that names it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::frame::Header;
use crate::words::Kind;

/// Longest body of a control frame from a terminal, in bytes.
pub const CONTROL_BYTES_MAX: u32 = 64 * 1024;

/// Longest body of a control frame from the engine, in bytes: a catalogue of some 100,000 instruments.
pub const ENGINE_CONTROL_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// What a control frame says: the `kind` byte of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ControlKind {
    /// Terminal: who I am.
    Hello = 128,
    /// Engine: who I am, and what there is.
    Welcome = 129,
    /// Terminal: send me this.
    Subscribe = 130,
    /// Engine: what you will get; also the first frame of the stream that brings it.
    Subscribed = 131,
    /// Terminal: stop sending that.
    Unsubscribe = 132,
    /// Terminal: what time is it?
    Ping = 133,
    /// Engine: this time.
    Pong = 134,
    /// Engine: what was wrong.
    Error = 135,
    /// Either: I am about to close the connection.
    Goodbye = 136,
    /// Engine: what follows is live.
    SnapshotEnd = 137,
    /// Reserved.
    Resume = 138,
    /// Engine: the records you want to continue from are gone.
    ResumeGone = 139,
    /// Reserved.
    Skipped = 140,
    /// Engine: the catalogue has grown.
    Catalogue = 141,
}

impl ControlKind {
    /// The byte on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The message of a wire byte; `None` for those this version does not know, which a reader skips.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            128 => ControlKind::Hello,
            129 => ControlKind::Welcome,
            130 => ControlKind::Subscribe,
            131 => ControlKind::Subscribed,
            132 => ControlKind::Unsubscribe,
            133 => ControlKind::Ping,
            134 => ControlKind::Pong,
            135 => ControlKind::Error,
            136 => ControlKind::Goodbye,
            137 => ControlKind::SnapshotEnd,
            138 => ControlKind::Resume,
            139 => ControlKind::ResumeGone,
            140 => ControlKind::Skipped,
            141 => ControlKind::Catalogue,
            _ => return None,
        })
    }
}

/// Why the body of a control frame is not its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?}: {field}: {problem}")]
pub struct ControlError {
    /// The message.
    pub kind: ControlKind,
    /// The offending field, `.` when the body is not a JSON object.
    pub field: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

/// A control message.
pub trait Control: Serialize + DeserializeOwned {
    /// The kind of its frame.
    const KIND: ControlKind;

    /// The whole frame: header and body.
    fn to_frame(&self) -> Vec<u8> {
        // Every field of every message is a number, a string or a list of them: this cannot fail.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = Header { length, version: crate::WIRE_VERSION, kind: Self::KIND.code(), flags: 0, count: 1 };
        let mut frame = Vec::with_capacity(crate::frame::HEADER_BYTES + body.len());
        frame.extend_from_slice(&header.to_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    /// Reads the body of a frame of this kind.
    ///
    /// # Errors
    /// [`ControlError`] naming the first field that is missing or wrong.
    fn from_body(body: &[u8]) -> Result<Self, ControlError> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = serde_path_to_error::deserialize(&mut json).map_err(|e| {
            let at = e.path().to_string();
            let problem = e.into_inner().to_string();
            let missing = problem.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            let field = match missing {
                Some(name) if at == "." => name.to_string(),
                Some(name) => format!("{at}.{name}"),
                None => at,
            };
            ControlError { kind: Self::KIND, field, problem }
        })?;
        let trailing =
            |e: serde_json::Error| ControlError { kind: Self::KIND, field: ".".into(), problem: e.to_string() };
        json.end().map_err(trailing)?;
        Ok(read)
    }
}

macro_rules! control {
    ($($name:ident),*) => { $(impl Control for $name { const KIND: ControlKind = ControlKind::$name; })* };
}
control!(
    Hello,
    Welcome,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Ping,
    Pong,
    Error,
    Goodbye,
    SnapshotEnd,
    ResumeGone,
    Catalogue
);

/// The terminal's first message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Greatest wire version the terminal reads.
    pub version: u8,
    /// The secret that says who it is; empty for an anonymous terminal on loopback.
    #[serde(default)]
    pub token: String,
    /// Name and version of the program, for the engine's log.
    #[serde(default)]
    pub client: String,
    /// Optional parts of the protocol that the terminal can do.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// The engine's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Which engine this is; the same after a restart.
    pub engine_id: String,
    /// Which start of it: `seq` and `chain` belong to an epoch.
    pub epoch: u32,
    /// Wire version of everything that follows.
    pub version: u8,
    /// The capabilities that both sides have.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The engine's clock, nanoseconds UTC.
    pub now_ns: i64,
    /// Names of the ids in records; only what the token may see.
    pub catalogue: Catalogue,
    /// What the engine allows this terminal.
    pub limits: Limits,
}

/// Names of instruments, sources and indicators: in [`Welcome`], and as a message of its own, whole, when it has grown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The instruments.
    pub instruments: Vec<InstrumentEntry>,
    /// The sources, without the common price (id 0, `best`).
    pub sources: Vec<SourceEntry>,
    /// The indicators; an engine that has none may leave them out.
    #[serde(default)]
    pub indicators: Vec<IndicatorEntry>,
}

/// One instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstrumentEntry {
    /// `instrument_id` in records.
    pub id: u32,
    /// Canonical symbol.
    pub symbol: String,
    /// `fx`, `metal`, `index` or `crypto`.
    pub class: String,
    /// Digits after the point in which it is quoted.
    pub digits: u8,
    /// The pip in units of 1e-9.
    pub pip_e9: i64,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEntry {
    /// `source_id` in records.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// `global`, or `private` for one of the terminal's own user.
    pub scope: String,
}

/// One indicator with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndicatorEntry {
    /// `indicator_id` in records.
    pub id: u32,
    /// Its canonical name, such as `EMA(20)` or `MACD(12,26,9)`; with another price than the mid, `EMA(20,bid)`.
    pub name: String,
}

/// What the engine allows a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest body of a control frame from the terminal, in bytes.
    pub control_bytes: u32,
    /// Subscriptions at one time.
    pub subscriptions: u32,
    /// Entries of one list in [`Subscribe`].
    pub list_entries: u32,
    /// Most values a second of each chain, 0 for no limit; a limited terminal cannot ask for `all`.
    pub max_rate_hz: u32,
}

/// How records are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The newest of each chain; what a slow reader did not take is replaced.
    #[default]
    Latest,
    /// Every record, in order; a reader too far behind is closed.
    All,
}

/// Asks for records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The terminal's number for it, not in use by another subscription of this connection.
    pub id: u32,
    /// Symbols or globs (`*`, `?`, `[…]`, `{a,b}`).
    pub symbols: Vec<String>,
    /// Kinds of record.
    #[serde(default = "only_quotes")]
    pub kinds: Vec<Kind>,
    /// Names of sources or globs, `best` for the common price. Absent: `best` for quotes, all it may see for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<String>>,
    /// How they are delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// With `latest`: most values a second of each chain, 0 for as many as there are.
    #[serde(default)]
    pub max_rate_hz: u32,
    /// With `all`: continue after this record instead of starting with a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

fn only_quotes() -> Vec<Kind> {
    vec![Kind::Quote]
}

/// The last record a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Its epoch.
    pub epoch: u32,
    /// Its position.
    pub seq: u64,
}

/// The engine's answer to [`Subscribe`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The terminal's number for it.
    pub id: u32,
    /// Ids of the instruments that the globs stand for.
    pub instruments: Vec<u32>,
    /// True when the records after [`Subscribe::resume`] follow; false when a snapshot does.
    #[serde(default)]
    pub resumed: bool,
    /// What was understood but has no effect.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The terminal's number for it.
    pub id: u32,
}

/// Asks the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back in the answer.
    pub id: u32,
    /// The terminal's clock when it sent this, nanoseconds UTC; comes back in the answer.
    pub t1_ns: i64,
}

/// The answer to [`Ping`]: with `t4_ns` the time it arrives, the engine's clock is ahead of the terminal's by
/// `((t2 - t1) + (t3 - t4)) / 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Of the [`Ping`].
    pub id: u32,
    /// Of the [`Ping`].
    pub t1_ns: i64,
    /// The engine's clock when the ping arrived.
    pub t2_ns: i64,
    /// The engine's clock when this was sent.
    pub t3_ns: i64,
}

/// What kind of thing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a frame, not JSON, a field missing or of the wrong type. The connection is closed.
    Malformed,
    /// A frame longer than allowed. The connection is closed.
    TooLong,
    /// A message that does not fit here, such as Subscribe before Hello. The connection is closed.
    Unexpected,
    /// A wire version the engine does not speak. The connection is closed.
    Version,
    /// The token is not known. The connection is closed.
    Unauthorized,
    /// The engine has as many terminals as it may. The connection is closed.
    TooManyTerminals,
    /// The token does not allow it.
    Forbidden,
    /// No such instrument.
    UnknownSymbol,
    /// No such source, or none that the terminal may see.
    UnknownSource,
    /// A kind that is never delivered.
    UnknownKind,
    /// Not a glob.
    BadGlob,
    /// The number is in use, or is not.
    BadId,
    /// More of something than allowed.
    Limit,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

/// Something the engine could not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of thing was wrong.
    pub code: ErrorCode,
    /// One sentence.
    pub text: String,
    /// The offending field of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The subscription it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
}

/// The sender is about to close the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// [`CloseCode`] of the connection's close.
    pub code: u32,
    /// One sentence.
    pub reason: String,
}

/// The snapshot is complete; live records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEnd {
    /// The subscription.
    pub id: u32,
    /// The engine's epoch.
    pub epoch: u32,
    /// The live records are those after this one.
    pub seq: u64,
    /// Records in the snapshot.
    pub records: u32,
}

/// The records after [`Subscribe::resume`] are no longer in the engine's window: a snapshot and a Gap follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeGone {
    /// The subscription.
    pub id: u32,
    /// The engine's epoch.
    pub epoch: u32,
    /// The earliest record one could resume after.
    pub oldest_seq: u64,
    /// The newest record.
    pub newest_seq: u64,
}

/// Application error code with which a QUIC connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing was wrong.
    Done = 0,
    /// The peer broke the protocol; an [`Error`] said how.
    Protocol = 1,
    /// Bad token or version; an [`Error`] said which.
    Refused = 2,
    /// As many terminals as the engine may have.
    TooMany = 3,
    /// A reader of `all` fell out of the window.
    TooFarBehind = 4,
    /// The engine stops.
    Shutdown = 5,
    /// No Hello in time.
    Timeout = 6,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::Frame;

    #[test]
    fn codes_come_back() {
        for code in 0..=255 {
            if let Some(kind) = ControlKind::from_code(code) {
                assert_eq!(kind.code(), code);
            }
        }
        assert_eq!((128..=141).filter(|c| ControlKind::from_code(*c).is_some()).count(), 14);
    }

    #[test]
    fn golden_hello_of_version_1() {
        let hello = Hello { version: 1, token: "t".into(), client: "c/1".into(), capabilities: vec![] };
        let frame = hello.to_frame();
        assert_eq!(&frame[..10], &[58, 0, 0, 0, 1, 128, 0, 0, 1, 0]);
        assert_eq!(&frame[10..], br#"{"version":1,"token":"t","client":"c/1","capabilities":[]}"#.as_slice());
    }

    #[test]
    fn a_catalogue_without_indicators_has_none() {
        let before: Catalogue = serde_json::from_str(r#"{"instruments":[],"sources":[]}"#).unwrap();
        assert_eq!(before, Catalogue::default());
    }

    #[test]
    fn absent_fields_take_their_default_and_unknown_ones_are_ignored() {
        let subscribe = Subscribe::from_body(br#"{"id":7,"symbols":["EUR*"],"colour":"red"}"#).unwrap();
        assert_eq!(subscribe.kinds, [Kind::Quote]);
        assert_eq!((subscribe.delivery, subscribe.sources, subscribe.resume), (Delivery::Latest, None, None));
        let frame = Hello { version: 1, ..Hello::default() }.to_frame();
        let (frame, _) = Frame::split(&frame, CONTROL_BYTES_MAX).unwrap().unwrap();
        assert_eq!(Hello::from_body(frame.body).unwrap().version, 1);
        let newer = Error::from_body(br#"{"code":"made_of_cheese","text":"x"}"#).unwrap();
        assert_eq!(newer.code, ErrorCode::Unknown);
    }

    #[test]
    fn an_error_names_the_field() {
        let field = |body: &str| Subscribe::from_body(body.as_bytes()).unwrap_err().field;
        assert_eq!(field(r#"{"symbols":[]}"#), "id");
        assert_eq!(field(r#"{"id":-1,"symbols":[]}"#), "id");
        assert_eq!(field(r#"{"id":1,"symbols":[5]}"#), "symbols[0]");
        assert_eq!(field(r#"{"id":1,"symbols":[],"kinds":["cheese"]}"#), "kinds[0]");
        assert_eq!(field(r#"{"id":1,"symbols":[],"delivery":"some"}"#), "delivery");
        assert_eq!(field(r#"{"id":1,"symbols":[],"resume":{"epoch":1}}"#), "resume.seq");
        assert_eq!(field("[]"), ".");
        assert_eq!(field(r#"{"id":1,"symbols":[]} x"#), ".");
    }
}
